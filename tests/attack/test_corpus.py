"""Every bad file at every door: a word, or a sound result; no traceback, no hang, no gigabytes,
nothing run.
"""

from collections.abc import Callable

import pytest

from tests.attack.corpus import bad
from tests.attack.readers import DOORS
from tests.attack.share import share
from tests.attack.stage import Stage


@pytest.mark.parametrize("door", DOORS)
def test_every_bad_file_is_answered_with_a_sentence(
    stage: Callable[[str], Stage], door: str
) -> None:
    here = stage(door)
    wrong = []
    for one in share(list(bad(here.door.kind, here.valid)), here.door.cost):
        outcome = here.attack(one)
        if not outcome.good:
            wrong.append(f"{one.name}: {outcome.kind}\n{outcome.message[-600:]}")
    assert not wrong, f"{len(wrong)} at the door '{door}':\n" + "\n".join(wrong[:20])
