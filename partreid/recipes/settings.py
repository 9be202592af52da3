"""``--set field=value``: a recipe with some fields changed, checked like any other."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from partreid.errors import RecipeError
from partreid.recipes.base import Recipe, from_plain, to_plain, unknown
from partreid.recipes.trunks import noted
from partreid.utils.arguments import door


@door
def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """``recipe`` with ``a.b=c`` assignments applied, checked against the types of the fields.

    ``stages.epochs=2`` sets a field in every stage, ``stages.0.epochs=2`` in the first. Values are
    read as JSON where that works and as plain text otherwise.

    Another name (``backbone=timm``) drops the arguments of what stood there; a note of the recipe
    says which. RecipeError if one of them was assigned before it.
    """
    data, dropped, earlier = to_plain(recipe), list[str](), list[str]()
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise RecipeError(f"--set needs the form field=value, got '{assignment}'")
        notes: list[str] = []
        _assign(data, path.split("."), value_of(text), path, notes)
        lost = [before for before in earlier if before.startswith(f"{path.removesuffix('.name')}.")]
        if notes and lost:
            raise RecipeError(
                f"--set {assignment} drops what --set {lost[0]} gives; put {lost[0]} behind it"
            )
        dropped += notes
        earlier.append(assignment)
    changed = from_plain(data)
    changed = noted(changed) if changed.backbone != recipe.backbone else changed
    return replace(changed, notes=(*changed.notes, *dropped)) if dropped else changed


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


def _assign(data: Any, keys: list[str], value: Any, path: str, dropped: list[str]) -> None:
    """One assignment, in place. dropped: gets a sentence if arguments go with a name."""
    key, rest = keys[0], keys[1:]
    if isinstance(data, list):
        if not _is_index(key):  # a field of every element
            if not data or not isinstance(data[0], dict):
                raise RecipeError(
                    f"--set {path}: '{key}' must be the number of an element, 0..{len(data) - 1}"
                )
            for element in data:
                _assign(element, keys, value, path, dropped)
            return
        if int(key) >= len(data):
            raise RecipeError(f"--set {path}: there is no element {key}, only 0..{len(data) - 1}")
        if not rest:
            _drop(data[int(key)], value, path, dropped)
            data[int(key)] = value
        else:
            _assign(data[int(key)], rest, value, path, dropped)
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
        _drop(data if key == "name" else data.get(key), value, path, dropped)
        data[key] = value
        return
    if isinstance(data.get(key), str) and (
        path.startswith("cues.") or key in ("method", "backbone", "distance")
    ):
        data[key] = {"name": data[key], "args": {}}  # set by an assignment before this one
    if data.get(key) is None:
        data[key] = {"name": key, "args": {}}
    _assign(data[key], rest, value, path, dropped)


def _drop(old: Any, new: Any, path: str, dropped: list[str]) -> None:
    """Empties the arguments of a name and arguments that get another name, with a sentence."""
    is_spec = isinstance(old, dict) and set(old) == {"name", "args"}
    if not is_spec or not isinstance(new, str) or not old["args"]:
        return
    if path.endswith(".name") and new == old["name"]:
        return
    given = ", ".join(f"{name}={json.dumps(value)}" for name, value in old["args"].items())
    dropped.append(f"{path}={new} leaves out what {old['name']} was given: {given}.")
    old["args"] = {}
