"""The harness sees what it is there to see, and goes on afterwards."""

import pytest

from tests.attack.acts import ACTS, OUTSIDE
from tests.attack.harness import Warden
from tests.attack.mutate import mutant
from tests.attack.readers import DOORS

ENDS = {
    "memory, with a word": "memory",
    "ran, in Python": "ran",
    "outside": "result",
    "exit": "killed",
    "leave": "traceback",
}


@pytest.mark.parametrize("act", ACTS)
def test_everything_that_a_reader_must_not_do_is_seen(warden: Warden, act: str) -> None:
    outcome = warden.act(act)
    if act == "outside":
        assert not warden.fenced or (outcome.message == "'held'" and not OUTSIDE.exists())
        OUTSIDE.unlink(missing_ok=True)
    # on a busy machine the clock runs out first
    wanted = {"slow": ("slow", "hang")}.get(act, (ENDS.get(act, act),))
    assert outcome.kind in wanted, outcome
    assert outcome.good == (outcome.kind in ("result", "refused"))
    assert warden.act("refused").message == "this is no picture; give another"


def test_a_mutant_is_the_same_everywhere_and_no_two_are_alike() -> None:
    valid = bytes(range(256)) * 4
    for kind in ("picture", "people"):
        made = [mutant(valid, kind, number) for number in range(50)]
        assert made == [mutant(valid, kind, number) for number in range(50)]
        assert len(set(made)) > 45 and valid not in made
    assert mutant(valid, "picture", 1, seed=1) != mutant(valid, "picture", 1)


def test_bad_files_are_put_into_the_tests_own_folders_only() -> None:
    for name, door in DOORS.items():
        assert not door.place.startswith("/") and ".." not in door.place, name
