"""The examples of the gallery's docstrings run, each with a gallery of five crops of its own."""

import doctest
import importlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from partreid.gallery import Enrolled, Gallery, open_gallery
from partreid.inference import load
from partreid.types import Benchmark
from tests.gallery.conftest import clear

MODULES = ("decide", "rows", "session", "store")
OPENS = ("Gallery", "open_gallery")  # these open one themselves


@pytest.fixture
def place(
    empty: Path,
    trained: Callable[[str], Path],
    benchmark: Benchmark,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A folder with what the examples name: runs/bpbreid, a.jpg, crops/, and people."""
    shutil.copytree(trained("bpbreid"), tmp_path / "runs" / "bpbreid")
    (tmp_path / "crops").mkdir()
    for i, sample in enumerate(benchmark.gallery[:5]):
        shutil.copy(sample.path, tmp_path / "crops" / f"{i}.jpg")
    shutil.copy(benchmark.query[0].path, tmp_path / "a.jpg")
    (tmp_path / "people").symlink_to(empty)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def examples(module: Any) -> Iterator[doctest.DocTest]:
    for test in doctest.DocTestFinder().find(module):
        if test.examples:
            yield test


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, place: Path, empty: Path) -> None:
    module = importlib.import_module(f"partreid.gallery.{name}")
    model = load("runs/bpbreid", "cpu")
    crops = model.index("crops")
    anna, bob = Enrolled(camera=1, person="anna"), Enrolled(camera=2, person="bob")
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in examples(module):
        clear(empty)
        shutil.rmtree(place / "backup", ignore_errors=True)
        test.globs["model"] = model
        if test.name.split(".")[-1] in OPENS:
            runner.run(test)
            continue
        with open_gallery("people", model) as gallery:
            gallery.add(crops, [anna, anna, bob, Enrolled(camera=2), Enrolled()])
            test.globs |= {"gallery": gallery, "crops": crops}
            runner.run(test)
    assert runner.tries and not runner.failures


def test_every_method_of_a_gallery_shows_what_it_does() -> None:
    public = {
        name: value
        for name, value in vars(Gallery).items()
        if callable(value) and not name.startswith("_") and name != "close"
    }
    assert len(public) > 20
    assert [name for name, value in public.items() if ">>>" not in (value.__doc__ or "")] == []
