"""The documented functions and classes, given what they do not take."""

import inspect
import math
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partreid import PartDistance, build, inference, load
from partreid.evaluation import Options, evaluate_runs
from partreid.inference import Model, crop_paths, save_embeddings
from partreid.recipes import find, override
from partreid.recipes.base import Spec, from_plain, to_plain
from partreid.types import Embeddings
from tests.attack import runs, valid

PAGES = Path(__file__).resolve().parents[2] / "docs" / "api"
JUNK: Mapping[str, Callable[[], Any]] = {
    "None": lambda: None,
    "true": lambda: True,
    "a number": lambda: 3,
    "minus one": lambda: -1,
    "NaN": lambda: math.nan,
    "a huge number": lambda: 10**400,
    "text": lambda: "text",
    "empty text": lambda: "",
    "bytes": lambda: b"bytes",
    "a table": lambda: {},
    "a list": list,
    "a list of None": lambda: [None],
    "an object": object,
    "a function": lambda: len,
    "a class": lambda: int,
    "an array": lambda: np.zeros(3),
    "a tensor": lambda: torch.zeros(2),
    "no tensor": lambda: torch.zeros(0),
    "a path": lambda: Path("nowhere"),
    "a loop": lambda: iter([1]),
}


@cache
def documented() -> Mapping[str, Any]:
    """Public functions and classes that the pages of the Python API show: all of a module, or its
    ``members`` there; and what partreid.inference shows, by the modules that define it.
    """
    modules: dict[str, set[str] | None] = {}
    for page in sorted(PAGES.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for name, options in re.findall(r"^::: (\S+)\n((?: +.*\n)*)", text + "\n", re.M):
            listed = re.search(r"members: \[(.*)\]", options)
            modules.setdefault(name, set(re.split(r",\s*", listed[1])) if listed else None)
    for name in inference.__all__:
        members = modules.setdefault(getattr(inference, name).__module__, set())
        if members is not None:
            members.add(name)
    entries = {}
    for name, members in modules.items():
        for key, value in vars(import_module(name)).items():
            if (
                not key.startswith("_")
                and (members is None or key in members)
                and getattr(value, "__module__", None) == name
                and _takes(value)
            ):
                entries[f"{name}.{key}"] = value
    return entries


def _takes(value: Any) -> bool:
    """Whether it is a function or a class that can be made."""
    if inspect.isclass(value):
        return not (
            issubclass(value, BaseException)
            or getattr(value, "_is_protocol", False)
            or inspect.isabstract(value)
            or hasattr(value, "_fields")
        )
    return inspect.isfunction(value)


def needed(value: Any) -> list[str]:
    """Names of the arguments that it cannot do without."""
    return [
        p.name
        for p in inspect.signature(value).parameters.values()
        if p.default is p.empty
        and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]


def called(name: str, junk: str, argument: str | None) -> Any:
    """It, with junk for all that it needs, or for one ``argument`` alone if there is a good call
    of it.
    """
    if argument is not None:
        function, given = GOOD[name](material())
        return function(**{**given, argument: JUNK[junk]()})
    value = documented()[name]
    places, words = [], {}
    for p in inspect.signature(value).parameters.values():
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            places.append(JUNK[junk]())
        elif p.default is p.empty and p.kind == p.KEYWORD_ONLY:
            words[p.name] = JUNK[junk]()
    output = value(*places, **words)
    return list(output) if isinstance(output, Iterator) else output


@dataclass(frozen=True)
class Material:
    """What right calls are made with."""

    root: Path
    run: Path
    data: Path
    crops: list[Path]
    model: Model
    e: Embeddings


@cache
def material() -> Material:
    root = Path(tempfile.mkdtemp(prefix="attack-calls-"))
    run = runs.run(root / "run")
    valid.own_folders(root / "data")
    model, crops = load(run, "cpu"), [run / "a.jpg", run / "b.jpg"]
    return Material(root, run, root / "data", crops, model, model.embed(crops))


Call = Callable[[Material], tuple[Callable[..., Any], dict[str, Any]]]
GOOD: Mapping[str, Call] = {
    "load": lambda m: (load, {"run": m.run, "device": "cpu", "calibration": None}),
    "Model.embed": lambda m: (m.model.embed, {"crops": m.crops, "batch": 2}),
    "Model.compare": lambda m: (m.model.compare, {"a": m.crops[0], "b": m.crops[1], "prior": 0.5}),
    "Model.rank": lambda m: (
        m.model.rank,
        {"query": m.crops[0], "gallery": m.crops, "top": 1, "prior": 0.5},
    ),
    "Model.search": lambda m: (
        m.model.search,
        {"query": m.e, "gallery": m.e, "paths": m.crops, "top": 1, "prior": 0.5},
    ),
    "crop_paths": lambda m: (crop_paths, {"crops": m.crops}),
    "save_embeddings": lambda m: (
        save_embeddings,
        {"model": m.model, "crops": m.crops, "folder": m.root / "kept"},
    ),
    "Embeddings": lambda m: (
        Embeddings,
        {"vectors": m.e.vectors, "visibility": m.e.visibility, "names": m.e.names},
    ),
    "Embeddings.single": lambda m: (Embeddings.single, {"name": "a", "vectors": m.e.vectors[:, 0]}),
    "Embeddings.rows": lambda m: (m.e.rows, {"index": [0]}),
    "PartDistance": lambda m: (
        PartDistance,
        {"metric": "cosine", "weights": None, "shrink": 0.0, "far": None},
    ),
    "PartDistance()": lambda m: (PartDistance("cosine"), {"q": m.e, "g": m.e}),
    "build.benchmark": lambda m: (build.benchmark, {"name": "folders", "root": m.data}),
    "build.device": lambda m: (build.device, {"name": "cpu"}),
    "build.cue": lambda m: (
        build.cue,
        {"spec": Spec("stripes"), "of": build.benchmark("folders", m.data)},
    ),
    "build.method": lambda m: (
        build.method,
        {"recipe": runs.recipe(), "identities": 3, "scheme": runs.scheme()},
    ),
    "recipes.find": lambda m: (find, {"name": "synthetic/tiny/bot"}),
    "recipes.override": lambda m: (override, {"recipe": runs.recipe(), "assignments": ["seed=2"]}),
    "recipes.from_plain": lambda m: (from_plain, {"data": to_plain(runs.recipe())}),
    "evaluate_runs": lambda m: (
        evaluate_runs,
        {"runs": [m.run], "root": m.data, "dataset": "folders", "options": Options(device="cpu")},
    ),
}
