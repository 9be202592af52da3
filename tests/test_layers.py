"""Imports go downhill only. The tables below are the floor plan; the checker reads imports, runs
nothing.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "partreid"

FLOORS = (  # a room may import rooms of lower floors, and itself
    {"errors", "types", "recipes", "utils"},
    {"distance", "losses", "layers", "runtime"},
    {"data", "labels", "metrics", "retrieval", "explain"},
    {"methods"},
    {
        "build",
        "train",
        "convert",
        "labels.tools",
        "evaluation.extract",
        "evaluation.decision",
        "evaluation.doubt",
        "export.method",
    },
    {
        "inference",
        "bulk",
        "evaluation",
        "export",
        "integrations",
        "report",
        "gallery",
        "link",
        "experiments",
        "methods.contract",
        "serve",
        "cli",
        "__main__",
    },
)
NEIGHBOURS = {  # the few doors between rooms of one floor; one way each
    "utils": {"errors"},
    "types": {"errors", "utils"},
    "recipes": {"errors", "utils"},
    "losses": {"distance"},
    "retrieval": {"metrics"},
    "train": {"build", "evaluation.extract"},
    "convert": {"build", "train"},
    "labels.tools": {"build"},
    "evaluation.decision": {"build", "evaluation.extract"},
    "evaluation.doubt": {"evaluation.decision"},
    "bulk": {"inference"},
    "evaluation": {"inference"},
    "export": {"evaluation", "inference"},
    "integrations": {"inference"},
    "export.method": {"evaluation.decision"},
    "gallery": {"inference"},
    "report": {"evaluation", "inference"},
    "link": {"inference"},
    "experiments": {"evaluation", "inference", "report"},
    "serve": {"gallery", "inference"},
    "cli": {
        "bulk",
        "evaluation",
        "experiments",
        "export",
        "gallery",
        "inference",
        "link",
        "report",
        "serve",
    },
    "__main__": {"cli"},
}
NARROWER = {  # less than the floor allows
    "recipes": {"errors", "utils"},
    "runtime": {"errors", "utils"},
    "methods": {"distance", "errors", "labels", "layers", "losses", "recipes", "types", "utils"},
}
STDLIB_ONLY = {"errors", "recipes"}  # so that `partreid recipes` needs no torch
NAMES_METHODS = "build"  # the others know what a method is (METHOD_TYPE), not which there are
METHOD_TYPE = {"base", "Method"}
BUILDS_ON = {"hcga": {"isp"}, "pcb": {"bpbreid"}}  # papers that use another's labels, or its rows

FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def allowed(room: str) -> set[str]:
    if room in NARROWER:
        return NARROWER[room]
    return {other for other in FLOOR if FLOOR[other] < FLOOR[room]} | NEIGHBOURS.get(room, set())


def room_of(path: list[str]) -> str:
    """The room of a module, or of what is imported from one: most are a folder, some a part of
    it.
    """
    inner = ".".join(path[:2])
    return inner if inner in FLOOR else path[0]


def imports(source: str, module: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported: ``from a import b`` counts as ``a.b``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            home = ".".join([*base, node.module] if node.module else base)
            yield from ((node.lineno, f"{home}.{alias.name}") for alias in node.names)


def offence(module: str, target: str) -> str | None:
    """Why ``module`` may not import ``target``; None if it may. The root module only imports
    lazily.
    """
    top, *path = target.split(".")
    here = module.split(".")[1:]
    room = room_of(here)
    if room not in FLOOR:
        return f"room '{room}' has no floor yet: add it to FLOORS"
    if top != "partreid":
        foreign = room in STDLIB_ONLY and top not in sys.stdlib_module_names
        return f"'{room}' imports only the standard library" if foreign else None
    if path[:1] == ["__version__"]:
        return None
    other = room_of(path) if path else ""
    if other not in FLOOR:
        return "import from the room that defines it, not from the package's front door"
    if other == "methods":
        return _naming(here, path[1:])
    if other == room or other in allowed(room):
        return None
    return f"'{room}' may import {sorted(allowed(room))} and itself"


def _naming(here: list[str], named: list[str]) -> str | None:
    """Why a module may not name ``named`` below methods; None if it may."""
    room, paper = room_of(here), here[1] if len(here) > 2 else ""
    knows_type = not named or named[0] in METHOD_TYPE
    if room == NAMES_METHODS or (knows_type and named and FLOOR[room] >= FLOOR["methods"]):
        return None
    if room == "methods" and named and named[0] in {paper, *BUILDS_ON.get(paper, ())}:
        return None
    return "only build names methods"


def check(source: str, module: str) -> list[str]:
    imported = ((line, target, offence(module, target)) for line, target in imports(source, module))
    return [f"{line}: imports {target}: {why}" for line, target, why in imported if why]


def test_imports_go_downhill() -> None:
    offences = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE.parent)
        module = ".".join(place.with_suffix("").parts)
        if module != "partreid.__init__":
            offences += [f"{place}:{line}" for line in check(path.read_text(), module)]
    assert not offences, "\n" + "\n".join(offences)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("distance", "from partreid.data.loader import Loader"),
        ("distance", "from .metrics import ranking"),
        ("data.loader", "from partreid.labels import CUES"),
        ("labels.pifpaf", "from ..data import transforms"),
        ("labels.pifpaf", "def f():\n    import partreid.data"),
        ("metrics.ranking", "from partreid import methods"),
        ("methods.isp.model", "from partreid.methods.hcga.model import HCGA"),
        ("methods.dsa.model", "from partreid.methods import isp"),
        ("methods.hcga.model", "from partreid.metrics import ranking"),
        ("methods.hcga.model", "from partreid.train.loop import train"),
        ("train.loop", "from partreid.methods import METHODS"),
        ("train.loop", "import partreid.methods.isp"),
        ("metrics.ranking", "from partreid.methods.base import Method"),
        ("train.loop", "from partreid.cli import main"),
        ("recipes.base", "import torch"),
        ("recipes.base", "from partreid.types import PartScheme"),
        ("errors", "import numpy"),
        ("report.pages", "from partreid import Recipe"),
        ("attic", "import os"),
    ],
)
def test_checker_catches(module: str, source: str) -> None:
    assert len(check(source, f"partreid.{module}")) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("types", "import torch\nfrom partreid.errors import ShapeError"),
        ("data.loader", "from partreid.data.sampler import Draw\nfrom . import transforms"),
        (
            "methods.isp.model",
            "from partreid.methods.base import Method\nfrom partreid.layers.heads import IdHead",
        ),
        ("methods.hcga.coparsing", "from partreid.methods.isp.clustering import window"),
        ("build", "from partreid.methods import METHODS, isp"),
        (
            "train.loop",
            "from partreid.methods.base import Method\nfrom partreid.recipes import Recipe",
        ),
        ("recipes.base", "from partreid.recipes.base import Recipe\nimport json"),
        ("cli", "from partreid import __version__\nfrom partreid.inference import load"),
    ],
)
def test_checker_permits(module: str, source: str) -> None:
    assert check(source, f"partreid.{module}") == []


def test_neighbours_stand_on_one_floor_and_form_no_ring() -> None:
    assert all(FLOOR[a] == FLOOR[b] for a, others in NEIGHBOURS.items() for b in others)

    def reaches(room: str, goal: str) -> bool:
        return any(other == goal or reaches(other, goal) for other in NEIGHBOURS.get(room, ()))

    assert not [room for room in NEIGHBOURS if reaches(room, room)]
