"""Random changes to good files, seeded: the same files every time, and others for hours if asked
for.
"""

import time
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.attack.corpus.base import Bad
from tests.attack.mutate import mutant
from tests.attack.readers import DOORS
from tests.attack.stage import Stage

EACH = 0.4  # seconds of work at each door, by what one reading costs there
SEED = 0


def numbers(door: str, minutes: float) -> Iterator[int]:
    """Of the mutants to try: the first few, or all that a share of the minutes leaves time for,
    always others.
    """
    if not minutes:
        yield from range(max(3, int(1000 * EACH / DOORS[door].cost)))
        return
    until = time.monotonic() + 60 * minutes / len(DOORS)
    for number in count(int(time.time()) * 1000):
        if time.monotonic() > until:
            return
        yield number


@pytest.mark.parametrize("door", DOORS)
def test_random_changes_are_answered_with_a_sentence_or_a_sound_result(
    stage: Callable[[str], Stage], door: str, minutes: float
) -> None:
    here = stage(door)
    wrong: dict[str, str] = {}
    for number in numbers(door, minutes):
        data = mutant(here.valid, here.door.kind, number, SEED)
        outcome = here.attack(Bad.of(str(number), data, refused=False))
        if not outcome.good:
            wrong.setdefault(
                outcome.place, f"mutant {number}: {outcome.kind}\n{outcome.message[-600:]}"
            )
    assert not wrong, (
        f"{len(wrong)} faults at the door '{door}'; see one again with python -m tests.attack.show "
        f"'{door}' NUMBER:\n" + "\n".join(list(wrong.values())[:20])
    )
