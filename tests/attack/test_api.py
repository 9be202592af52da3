"""The Python API, given anything else than it takes: one sentence at the door that says what it
takes.
"""

import pytest

from tests.attack.calls import GOOD, JUNK, documented, material, needed
from tests.attack.harness import Warden


@pytest.mark.parametrize("name", [name for name, value in documented().items() if needed(value)])
def test_a_documented_function_says_what_it_takes(warden: Warden, name: str) -> None:
    wrong = []
    for junk in JUNK:
        outcome = warden.call(name, junk)
        if not outcome.good:
            wrong.append(f"{junk}: {outcome.kind}, {outcome.message[-300:]}")
    assert not wrong, f"{len(wrong)} of {len(JUNK)}:\n" + "\n".join(wrong[:5])


@pytest.mark.parametrize("name", GOOD)
def test_each_argument_alone(warden: Warden, name: str) -> None:
    wrong = []
    for argument in GOOD[name](material())[1]:
        for junk in JUNK:
            outcome = warden.call(name, junk, argument)
            if not outcome.good:
                wrong.append(f"{argument} is {junk}: {outcome.kind}, {outcome.message[-300:]}")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:10])
