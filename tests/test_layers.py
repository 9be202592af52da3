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
    {"distance", "losses", "layers"},
    {"data", "labels", "metrics", "retrieval", "explain"},
    {"methods"},
    {"build", "train", "convert"},
    {"inference", "evaluation", "report", "experiments", "cli", "__main__"},
)
NEIGHBOURS = {  # the few doors between rooms of one floor; one way each
    "utils": {"errors"},
    "types": {"errors", "utils"},
    "recipes": {"errors", "utils"},
    "losses": {"distance"},
    "retrieval": {"metrics"},
    "train": {"build"},
    "convert": {"build", "train"},
    "evaluation": {"inference"},
    "report": {"evaluation"},
    "experiments": {"evaluation", "inference", "report"},
    "cli": {"evaluation", "experiments", "inference", "report"},
    "__main__": {"cli"},
}
NARROWER = {  # less than the floor allows
    "recipes": {"errors", "utils"},
}
STDLIB_ONLY = {"errors", "recipes"}  # so that `partreid recipes` needs no torch
NAMES_METHODS = "build"  # the others know what a method is (METHOD_TYPE), not which there are
METHOD_TYPE = {"base", "Method"}

FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def allowed(room: str) -> set[str]:
    if room in NARROWER:
        return NARROWER[room]
    return {other for other in FLOOR if FLOOR[other] < FLOOR[room]} | NEIGHBOURS.get(room, set())


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
    room = module.split(".")[1]
    if room not in FLOOR:
        return f"room '{room}' has no floor yet: add it to FLOORS"
    if top != "partreid":
        foreign = room in STDLIB_ONLY and top not in sys.stdlib_module_names
        return f"'{room}' imports only the standard library" if foreign else None
    other = path[0] if path else ""
    if other == "__version__":
        return None
    if other not in FLOOR:
        return "import from the room that defines it, not from the package's front door"
    if other == room != "methods":
        return None
    if other == "methods":
        if room == NAMES_METHODS or module == "partreid.methods.__init__":
            return None
        knows = path[1:2] and path[1] in METHOD_TYPE and FLOOR[room] >= FLOOR["methods"]
        return None if knows else "only build names methods"
    return (
        None
        if other in allowed(room)
        else f"'{room}' may import {sorted(allowed(room))} and itself"
    )


def check(source: str, module: str) -> list[str]:
    found = ((line, target, offence(module, target)) for line, target in imports(source, module))
    return [f"{line}: imports {target}: {why}" for line, target, why in found if why]


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
        ("distance", "from .match import metrics"),
        ("data.loader", "from partreid.labels import CUES"),
        ("cues.pose", "from ..data import transforms"),
        ("cues.pose", "def f():\n    import partreid.data"),
        ("gallery.index", "from partreid import methods"),
        ("methods.hcga", "from partreid.methods.isp.model import ISP"),
        ("methods.hcga", "from partreid.methods import isp"),
        ("methods.hcga", "from partreid.metrics import metrics"),
        ("methods.hcga", "from partreid.recipes import Stage"),
        ("train.loop", "from partreid.methods import METHODS"),
        ("train.loop", "import partreid.methods"),
        ("match.metrics", "from partreid.methods import Method"),
        ("train.loop", "from partreid.cli import main"),
        ("recipes.isp", "import torch"),
        ("recipes.isp", "from partreid.types import PartScheme"),
        ("errors", "import numpy"),
        ("evaluate.report", "from partreid import Recipe"),
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
            "methods.isp",
            "from partreid.methods.base import Method\nfrom partreid.layers.heads import IdHead",
        ),
        ("methods.__init__", "from partreid.methods.isp.model import ISP"),
        ("build", "from partreid.methods import METHODS, isp"),
        ("train.loop", "from partreid.methods import Method\nfrom partreid.recipes import Recipe"),
        ("recipes.isp", "from partreid.recipes.base import Recipe\nimport json"),
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
