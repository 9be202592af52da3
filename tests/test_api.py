"""The front door: what ``dir``, a type checker and a reader of docstrings find there, works."""

import doctest
import importlib
import inspect
import pkgutil
import shutil
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow
import pytest
from pyarrow import parquet

import partreid
from partreid.bulk import Job, embed_shards, shards_of
from partreid.errors import ArgumentError
from partreid.layers import warp
from partreid.methods import METHODS
from partreid.methods.base import Method
from partreid.types import Benchmark
from partreid.utils.arguments import hints

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTED = (  # modules whose examples run; each may name what the front door shows
    "partreid",
    "partreid.data.mot",
    "partreid.bulk.job",
    "partreid.bulk.shards",
    "partreid.distance",
    *(
        f"partreid.inference.{name}"
        for name in ("files", "loading", "model", "ranking", "results", "saved")
    ),
    "partreid.layers.heads",
    "partreid.layers.pooling",
    *(
        f"partreid.link.{name}"
        for name in (
            "associate",
            "constraints",
            "evidence",
            "page",
            "score",
            "solve",
            "tables",
            "tracklets",
        )
    ),
    "partreid.losses",
    "partreid.runtime.types",
    "partreid.types",
    "partreid.utils.crops",
    "partreid.utils.registry",
)
USER = """
import numpy as np
import torch

import partreid
from partreid import Embeddings, PartDistance
from partreid.losses import gilt_loss, hard_triplet
from partreid.metrics import evaluate

model = partreid.load("runs/bpbreid", device="cpu")
e: Embeddings = model.embed(["a.jpg", np.zeros((64, 32, 3), np.uint8), torch.zeros(3, 64, 32)])
saved = partreid.save_embeddings(model, "crops", "embedded")
hits: list[list[partreid.Hit]] = model.search(e, saved, top=3)
far: torch.Tensor = PartDistance("cosine")(torch.rand(2, 4), torch.rand(3, 4))
ids = torch.tensor([0, 0, 1, 1])
loss: torch.Tensor = hard_triplet(torch.rand(4, 3, 8), ids) + gilt_loss(far, e, ids)
map_: float = evaluate(far, q_ids=[1, 2], g_ids=[1, 2, 2]).mAP
partreid.metrics, partreid.data.crops
"""
WRONG = {
    'partreid.laod("runs/bpbreid")': 'Module has no attribute "laod"',
    'reveal_type(partreid.load("runs/bpbreid"))': '"partreid.inference.model.Model"',
    'partreid.load("runs/bpbreid").embd("a.jpg")': '"Model" has no attribute "embd"',
    'partreid.PartDistance("manhattan")': "incompatible type \"Literal['manhattan']\"",
}


def python(code: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_dir_and_the_lazy_names_agree(tmp_path: Path) -> None:
    shown = {name for name in dir(partreid) if not name.startswith("__")}
    assert shown == set(partreid.__all__) - {"__version__"} and "__version__" in dir(partreid)
    packages = {name for name in shown if inspect.ismodule(getattr(partreid, name))}
    assert {"losses", "metrics", "methods", "data", "retrieval", "recipes", "labels"} <= packages
    for name in shown - packages:
        value = getattr(partreid, name)
        home = importlib.import_module(value.__module__)
        assert getattr(home, name) is value and value.__doc__
    with pytest.raises(AttributeError, match="module 'partreid' has no attribute 'laod'"):
        getattr(partreid, "laod")  # noqa: B009
    code = (
        "import partreid, sys; assert 'torch' not in sys.modules; partreid.metrics; partreid.load"
    )
    python(code, tmp_path)


def test_importing_the_package_is_instant(tmp_path: Path) -> None:
    code = "from time import perf_counter as t; s = t(); import partreid; print(t() - s)"
    assert min(float(python(code, tmp_path)) for _ in range(3)) < 0.1


@pytest.mark.slow
def test_a_users_lines_pass_a_strict_type_checker(tmp_path: Path) -> None:
    """Correct ones pass; a misspelt name, method or metric is found, and nothing is Any."""
    user = tmp_path / "user.py"
    user.write_text(USER + "\n".join(WRONG) + "\n")
    cache = ROOT / ".mypy_cache" / "user"  # kept: only the first run reads all of torch
    options = ["--strict", "--no-error-summary", "--cache-dir", str(cache)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, user.name],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    first = USER.count("\n") + 1
    lines = [line for line in done.stdout.splitlines() if line.startswith("user.py:")]
    complaints = {int(line.split(":")[1]): line for line in lines}
    assert set(complaints) == set(range(first, first + len(WRONG))), done.stdout + done.stderr
    for number, words in enumerate(WRONG.values(), first):
        assert words in complaints[number]


@pytest.fixture(scope="module")
def place(
    trained: Callable[[str], Path], benchmark: Benchmark, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with what the examples name: runs/bpbreid, a.jpg, b.jpg, crops/, shards/ and
    embedded-shards/.
    """
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(trained("bpbreid"), folder / "runs" / "bpbreid")
    (folder / "crops").mkdir()
    for i, sample in enumerate(benchmark.gallery[:5]):
        shutil.copy(sample.path, folder / "crops" / f"{i}.jpg")
    for name, sample in zip(("a.jpg", "b.jpg"), benchmark.query):
        shutil.copy(sample.path, folder / name)
    (folder / "shards").mkdir()
    for name, rows in (("a", range(3)), ("b", range(3, 5))):
        table = {"id": list(rows), "path": [f"../crops/{row}.jpg" for row in rows]}
        parquet.write_table(pyarrow.table(table), folder / "shards" / f"{name}.parquet")
    job = Job(folder / "runs" / "bpbreid", folder / "embedded-shards", "cpu")
    embed_shards(job, shards_of(folder / "shards"))
    return folder


@pytest.mark.parametrize("name", DOCUMENTED)
def test_examples_of_docstrings_run(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    module = importlib.import_module(name)
    shown = {name: getattr(partreid, name) for name in partreid.__all__}
    failed, ran = doctest.testmod(
        module, extraglobs=shown | vars(module), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert ran and not failed


def functions(module: Any) -> Iterator[tuple[str, Any]]:
    """Public functions and classes that a module defines, with the classes' public methods."""
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__ or name.startswith("_"):
            continue
        if inspect.isfunction(value) or inspect.isclass(value):
            yield name, value
        if inspect.isclass(value):
            for part, method in vars(value).items():
                if inspect.isfunction(method) and not part.startswith("_"):
                    yield f"{name}.{part}", method


def test_the_names_of_the_api_are_documented() -> None:
    """Every loss, distance, layer and name of the front door says what it takes and shows it."""
    api = {n: getattr(partreid, n) for n in partreid.__all__ if n != "__version__"}
    api = {n: v for n, v in api.items() if not inspect.ismodule(v)}
    for name in ("losses", "layers.heads", "layers.pooling"):
        api |= dict(functions(importlib.import_module(f"partreid.{name}")))
    plain = {"PartReidError", "ArgumentError", "DataError", "RecipeError", "ShapeError", "Recipe"}
    plain |= {"evaluate", "Hit", "Comparison", "SavedEmbeddings"}  # results: attributes alone
    lacking = [
        name
        for name, value in api.items()
        if name not in plain and "." not in name and inspect.signature(value).parameters
        if "Args:" not in (value.__doc__ or "")
        or (">>>" not in value.__doc__ and name not in ("highest_mask", "label_shares"))
    ]
    assert not lacking


def test_every_choice_of_words_is_held_against_them() -> None:
    """An argument that takes one of some words refuses others, in losses, layers and methods:
    ``combine="avg"`` once acted as "min".
    """
    rooms = [partreid.distance, partreid.losses]
    for room in (partreid.layers, partreid.methods):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            rooms.append(importlib.import_module(module.name))
    seen = 0
    for room in rooms:
        for name, value in functions(room):
            if inspect.isclass(value) and "__init__" not in vars(value):
                continue
            taken = hints(value)
            if not any(typing.get_origin(kind) is Literal for kind in taken.values()):
                continue
            seen += 1
            start = value.__init__ if inspect.isclass(value) else value
            is_door = hasattr(start, "__wrapped__") or hasattr(value, "__dataclass_fields__")
            is_method = inspect.isclass(value) and issubclass(value, Method)
            # layers.warp refuses them inside, see test_wrong_shapes_and_names there
            if room is warp:
                continue
            assert is_door or is_method, f"{room.__name__}.{name} has no door"
    assert seen > 10
    for kind in METHODS.values():
        for word in (w for w, k in hints(kind).items() if typing.get_origin(k) is Literal):
            with pytest.raises(ArgumentError, match=f"{word} must be one of .* got 'befor'"):
                kind.check_arguments({word: "befor"})
