"""A run to embed with, and reading in this very process what is known to be good: a process apart
costs a third of a second.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from partreid.bulk import shards
from partreid.data import foreign
from partreid.errors import DataError


@pytest.fixture()
def run(trained: Callable[[str], Path]) -> Path:
    return trained("bpbreid")


@pytest.fixture()
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(task: str, path: Path, *arguments: str, remedy: str, most: int = 0) -> Iterator[Any]:
        try:
            for value in foreign.TASKS[task](path, *arguments):
                yield json.loads(json.dumps(value))
        except Exception as error:  # the parser raises what it likes
            raise DataError(f"{path} cannot be read ({error}); {remedy}") from None

    monkeypatch.setattr(shards, "read_apart", read)
