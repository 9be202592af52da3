"""One warden for each test worker, and a longer fuzz on demand.

Every test run tries an even share of the bad files and of the strange command lines; ``make
attack`` tries all of them, see ``share.py``.
"""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.attack.harness import Warden
from tests.attack.share import tried
from tests.attack.stage import Stage


@pytest.fixture(scope="session")
def warden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warden]:
    keeper = Warden(tmp_path_factory.mktemp("warden"), tmp_path_factory.getbasetemp())
    yield keeper
    keeper.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """How much of the corpus a test tried goes into its report."""
    tried.clear()
    yield
    item.user_properties.extend(tried.items())


@pytest.fixture(scope="session")
def stage(warden: Warden, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Stage]:
    """The stage of a door, laid out once per worker."""
    made: dict[str, Stage] = {}

    def of(name: str) -> Stage:
        if name not in made:
            made[name] = Stage(name, warden, tmp_path_factory.mktemp("door"))
        return made[name]

    return of


@pytest.fixture(scope="session")
def minutes() -> float:
    """Of fuzzing, over all doors: ``PARTREID_FUZZ=30 pytest tests/attack/test_mutations.py``; 0:
    the usual few.
    """
    return float(os.environ.get("PARTREID_FUZZ", "0"))
