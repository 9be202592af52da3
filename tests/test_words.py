"""Names say what they hold, in the field's words: none of those that the house has given up is left
as the name of a variable, an argument, a field, a function or a class.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GIVEN_UP = {
    "found": "the noun for what was found: problems, scores, rows",
    "said": "the noun: message, output",
    "told": "the noun: message, report",
    "asked": "the noun: queries, request",
    "own": "whose it is: own_distance, labels",
    "at": "index, position or moment",
    "judge": "evaluate_run",
    "Judged": "RunResult",
    "describe": "embed",
    "at_test": "strip_for_inference",
    "seeing": "with_visibility",
    "label_identity": "parse_person",
    "strangers": "impostor pairs, or non-mated searches",
    "optimiser": "optimizer",
    "centre": "center",
    "colour": "color",
}
NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler)


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of everything that source gives a name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, NAMED) and node.name:
            yield node.lineno, node.name


def complaints(source: str, where: str) -> list[str]:
    return [
        f"{where}:{line}: '{name}'; say instead: {GIVEN_UP[name]}"
        for line, name in names(ast.parse(source))
        if name in GIVEN_UP
    ]


@pytest.mark.parametrize("room", ["partreid", "benchmarks", "tests", "tools"])
def test_no_name_that_was_given_up_is_left(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files, f"nothing to read in {room}"
    assert [
        complaint
        for file in files
        for complaint in complaints(file.read_text(), str(file.relative_to(ROOT)))
    ] == []


@pytest.mark.parametrize(
    "source",
    [
        "found = 1",
        "for at in (): pass",
        "def f(*, own): ...",
        "def judge(): ...",
        "class Judged: ...",
        "class A:\n    at: int",
        "x.told = 1",
        "[said for said in ()]",
        "if (asked := 1): ...",
        "try: ...\nexcept E as found: ...",
        "lambda at: 0",
    ],
)
def test_the_checker_catches(source: str) -> None:
    assert len(complaints(source, "x")) == 1


def test_the_checker_lets_reading_and_longer_names_be() -> None:
    assert complaints("found_at = x.found + f(found, at=own)\n'found'", "x") == []
