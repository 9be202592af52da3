"""``--set field=value``: a recipe with some fields changed, checked like any other."""

import json
from collections.abc import Sequence
from typing import Any

from partreid.errors import RecipeError
from partreid.recipes.base import Recipe, from_plain, to_plain, unknown
from partreid.utils.arguments import door


@door
def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """``recipe`` with ``a.b=c`` assignments applied, checked against the types of the fields.

    ``stages.epochs=2`` sets a field in every stage, ``stages.0.epochs=2`` in the first. Values are
    read as JSON where that works and as plain text otherwise.
    """
    data = to_plain(recipe)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise RecipeError(f"--set needs the form field=value, got '{assignment}'")
        _assign(data, path.split("."), value_of(text), path)
    return from_plain(data)


def value_of(text: str) -> Any:
    """A value as it is typed: JSON where that works, plain text otherwise (also what JSON only
    tolerates: NaN).
    """
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return text


def _no_number(word: str) -> None:
    raise ValueError(word)


def _is_index(key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) < 10


def _assign(data: Any, keys: list[str], value: Any, path: str) -> None:
    key, rest = keys[0], keys[1:]
    if isinstance(data, list):
        if not _is_index(key):  # a field of every element
            if not data or not isinstance(data[0], dict):
                raise RecipeError(
                    f"--set {path}: '{key}' must be the number of an element, 0..{len(data) - 1}"
                )
            for element in data:
                _assign(element, keys, value, path)
            return
        if int(key) >= len(data):
            raise RecipeError(f"--set {path}: there is no element {key}, only 0..{len(data) - 1}")
        if not rest:
            data[int(key)] = value
        else:
            _assign(data[int(key)], rest, value, path)
        return
    if not isinstance(data, dict):
        raise RecipeError(f"--set {path}: '{key}' has no fields below it")
    free = (
        "args" in data
        or path.split(".")[0] == "cues"
        or {"args", "weights"} & set(path.split(".")[:-1])
    )
    # method.dim=64 is short for method.args.dim=64
    if set(data) == {"name", "args"} and key not in data:
        data = data["args"]
    elif key not in data and not free:
        raise RecipeError(unknown("recipe field", key, data))
    if not rest:
        data[key] = value
        return
    if isinstance(data.get(key), str) and (
        path.startswith("cues.") or key in ("method", "backbone", "distance")
    ):
        data[key] = {"name": data[key], "args": {}}  # set by an assignment before this one
    if data.get(key) is None:
        data[key] = {"name": key, "args": {}}
    _assign(data[key], rest, value, path)
