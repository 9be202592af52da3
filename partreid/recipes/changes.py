"""Changes to a recipe from the command line: ``--set stages.epochs=2``."""

import json
import typing
from typing import Any

from partreid.errors import RecipeError
from partreid.recipes.base import Recipe, from_plain, to_plain, unknown


def override(recipe: Recipe, assignments: typing.Iterable[str]) -> Recipe:
    """``recipe`` with ``a.b=c`` assignments applied, checked against the types of the fields.

    ``stages.epochs=2`` sets a field in every stage, ``stages.0.epochs=2`` in the first. Values are read as JSON
    where that works and as plain text otherwise.
    """
    data = to_plain(recipe)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise RecipeError(f"--set needs the form field=value, got '{assignment}'")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        _assign(data, path.split("."), value, path)
    return from_plain(data)


def _assign(data: Any, keys: list[str], value: Any, path: str) -> None:
    key, rest = keys[0], keys[1:]
    if isinstance(data, list):
        if not key.isdigit():  # a field of every element
            if not data or not isinstance(data[0], dict):
                raise RecipeError(f"--set {path}: '{key}' must be the number of an element, 0..{len(data) - 1}")
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
    free = "args" in data or path.split(".")[0] == "cues" or {"args", "weights"} & set(path.split(".")[:-1])
    if set(data) == {"name", "args"} and key not in data:  # method.dim=64 is short for method.args.dim=64
        data = data["args"]
    elif key not in data and not free:
        raise RecipeError(unknown("recipe field", key, data))
    if not rest:
        data[key] = value
        return
    if isinstance(data.get(key), str) and (path.startswith("cues.") or key in ("method", "backbone", "distance")):
        data[key] = {"name": data[key], "args": {}}  # set by an assignment before this one
    if data.get(key) is None:
        data[key] = {"name": key, "args": {}}
    _assign(data[key], rest, value, path)
