"""What the numbers and words of a recipe may be. Each check ends in one sentence: what is
expected, what came.
"""

import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from partreid.errors import RecipeError

SEEDS = 2**63 - 1  # the largest that every generator takes
COUNT = 100_000  # epochs, steps, images of a batch: more of them is a slip of the hand
SIDE = 4096  # pixels of an image
REAL = 1e6  # rates and weights
NESTED = 4  # lists in lists, as an argument


def quoted(value: Any) -> str:
    """A value as an error shows it: short, whatever it is."""
    try:
        text = repr(value)
    # whole numbers of thousands of digits, lists in lists in lists
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__} too long to show"
    return text if len(text) <= 80 else f"{text[:77]}..."


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that is not in a table: the nearest one if there is one, and all
    of them.
    """
    names = sorted(known)
    near = get_close_matches(name, names, 1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    listed = (
        ", ".join(names)
        if len(names) <= 24
        else f"{len(names)} names; list them with 'partreid recipes'"
    )
    return f"unknown {what}: '{name}'.{hint} Known: {listed}"


def expect(ok: bool, where: str, expected: str, data: Any) -> None:
    """RecipeError with the place and what was expected there unless ``ok``."""
    if not ok:
        raise RecipeError(f"{where}: expected {expected}, got {quoted(data)}")


def integer(what: str, value: Any, low: int, high: int) -> None:
    """RecipeError unless ``value`` is a whole number from ``low`` to ``high``."""
    if type(value) is not int or not low <= value <= high:
        raise RecipeError(
            f"{what} must be a whole number from {low} to {high}, got {quoted(value)}"
        )


def number(what: str, value: Any, low: float = 0.0, high: float = REAL) -> None:
    """RecipeError unless ``value`` is a finite number from ``low`` to ``high``."""
    if type(value) not in (int, float) or not low <= value <= high:  # NaN is in no range
        raise RecipeError(f"{what} must be a number from {low:g} to {high:g}, got {quoted(value)}")


def text(what: str, value: Any) -> None:
    """RecipeError unless ``value`` is a text."""
    if not isinstance(value, str):
        raise RecipeError(f"{what} must be a text, got {quoted(value)}")


def choice(what: str, value: Any, choices: tuple[str, ...]) -> None:
    """RecipeError unless ``value`` is one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise RecipeError(f"{what} must be one of {', '.join(choices)}; got {quoted(value)}")


def listed(what: str, value: Any, kind: type, length: int | None = None) -> None:
    """RecipeError unless ``value`` is a tuple of values of type ``kind``, of this length if one
    is given.
    """
    if (
        not isinstance(value, tuple)
        or length not in (None, len(value))
        or not all(isinstance(v, kind) for v in value)
    ):
        kinds = {"int": "whole numbers", "str": "texts"}.get(
            kind.__name__, f"values of type {kind.__name__}"
        )
        raise RecipeError(
            f"{what} must be {'a tuple of' if length is None else length} {kinds}, got "
            f"{quoted(value)}"
        )


def mapped(what: str, value: Any, kind: type | tuple[type, ...]) -> None:
    """RecipeError unless ``value`` is a table from texts to values of type ``kind``."""
    if not isinstance(value, Mapping) or not all(
        isinstance(k, str) and isinstance(v, kind) for k, v in value.items()
    ):
        raise RecipeError(f"{what} must be a table of names and values, got {quoted(value)}")


def argument(what: str, value: Any, depth: int = 0) -> None:
    """RecipeError unless ``value`` is a finite number, a text, true, false, null, or a list of
    such.
    """
    if isinstance(value, tuple | list) and depth < NESTED:
        for inner in value:
            argument(what, inner, depth + 1)
    elif type(value) is int:
        integer(what, value, -SEEDS, SEEDS)
    elif type(value) is float:
        if not math.isfinite(value):
            raise RecipeError(f"{what} must be a finite number, got {quoted(value)}")
    elif not (value is None or isinstance(value, bool | str)):
        raise RecipeError(
            f"{what} must be a number, a text, true, false, null, or a list of them; got "
            f"{quoted(value)}"
        )
