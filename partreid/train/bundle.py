"""Reading finished models: the one place where recipe, parts, identities and tensors of a file are
held together.

A file may have been changed since it was written. Whatever it claims is checked before anything is
allocated for it: the method is built without memory, and must then have exactly the tensors that
are in the file.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from partreid import build
from partreid.errors import DataError, PartReidError, RecipeError
from partreid.methods.base import Method
from partreid.recipes.base import Recipe, from_plain
from partreid.train.checkpoint import load_tensors
from partreid.types import PartScheme
from partreid.utils.arguments import door, fits, integer, quoted, require

# What a small model may have beside its tensors; all else is bounded by what is in the file.
_LARGEST, _MOST_IDENTITIES = 4096, 10**8
_MOST_PIXELS = 2**20  # of an input image: tensors do not tell its size
_CALLS, _CALLS_EACH = 10_000, 100


@door
def read_model(path: Path) -> tuple[Recipe, Method, PartScheme | None]:
    """Recipe, method with its weights and part scheme of a model file.

    DataError if it is missing, no finished model, damaged, or was changed so that its sides do not
    fit together.
    """
    tensors, meta = load_tensors(path)
    if "identities" not in meta:
        raise DataError(
            f"{path} is not a finished model (a checkpoint or embeddings); end the training with "
            "--resume, then give the run folder or its model.safetensors"
        )
    try:
        recipe, scheme, identities = _described(meta)
        return recipe, restore(recipe, identities, scheme, tensors), scheme
    except PartReidError as error:
        raise DataError(
            f"{path} is damaged or was changed: {error}. Restore it, or train again"
        ) from None


@door
def restore(
    recipe: Recipe, identities: int, scheme: PartScheme | None, tensors: dict[str, torch.Tensor]
) -> Method:
    """The method of a recipe with trained weights; nothing is fetched for the trunk."""
    integer("the number of identities", identities, 1, _MOST_IDENTITIES)
    most = max([_LARGEST, *(length for t in tensors.values() for length in t.shape)])
    for part, spec in (("method", recipe.method), ("backbone", recipe.backbone)):
        for name, value in spec.args.items():
            if fits(value, int) and abs(value) > most:
                raise RecipeError(
                    f"{part}.{name} is {quoted(value)}, and no tensor of the file is longer than "
                    f"{most}"
                )
    # What only training uses (DSA's guide: 162 million numbers) is never allocated, nor what the
    # recipe alone claims.
    method = unallocated(recipe, identities, scheme, len(tensors)).strip_for_inference()
    _require_same(method.state_dict(), tensors)
    method.load_state_dict(tensors, assign=True)
    return method


@door
def unallocated(recipe: Recipe, identities: int, scheme: PartScheme | None, tensors: int) -> Method:
    """The method of a recipe as shapes alone, on the meta device. tensors: how many there are to
    fill it.

    RecipeError if the recipe says what no layer can be, or has far more layers than that.
    """
    bare = replace(recipe, backbone=build.unfetched(recipe.backbone))
    try:
        with torch.device("meta"), _Undrawn(_CALLS + _CALLS_EACH * tensors):
            return build.method(bare, identities, scheme)
    except PartReidError:
        raise
    # sizes that no layer can have fail in as many ways as there are layers
    except Exception as error:
        raise RecipeError(
            f"no {recipe.method.name} can be built as the recipe says "
            f"({' '.join(str(error).split())[:200]})"
        ) from None


def _described(meta: Mapping[str, Any]) -> tuple[Recipe, PartScheme | None, int]:
    """Recipe, parts and number of identities of a model file. PartReidError names what is not as
    it is written.
    """
    require(isinstance(meta.get("recipe"), dict), "recipe", "a table of fields", meta.get("recipe"))
    lacking = [
        f.name
        for f in fields(Recipe)
        if f.default is f.default_factory is MISSING and f.name not in meta["recipe"]
    ]
    require(not lacking, "recipe", f"whole; it lacks {', '.join(lacking)}", meta["recipe"])
    recipe = from_plain(meta["recipe"])
    height, width = recipe.size
    require(
        min(height, width) >= 1 and height * width <= _MOST_PIXELS,
        "size",
        f"height and width in pixels, no more than {_MOST_PIXELS:,} in all",
        recipe.size,
    )
    identities = integer("the number of identities", meta["identities"], 1, _MOST_IDENTITIES)
    parts = meta.get("parts")
    require(
        parts is None or (isinstance(parts, dict) and {"names", "flip"} <= set(parts)),
        "parts",
        "null, or a table with names and flip",
        parts,
    )
    if parts is None:
        return recipe, None, identities
    for name in ("names", "flip"):
        require(isinstance(parts[name], list), f"parts.{name}", "a list", parts[name])
    return recipe, PartScheme(tuple(parts["names"]), tuple(parts["flip"])), identities


def _require_same(
    expected: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]
) -> None:
    """RecipeError unless tensors have the names, shapes and kinds that the recipe's method has."""
    lost = [n for n in expected if n not in tensors]
    more = [n for n in tensors if n not in expected]
    if lost or more:
        raise RecipeError(
            "; ".join(
                f"its recipe {what} {len(names)} tensor{'s' * (len(names) > 1)} that it {has}, "
                f"{', '.join(names[:3])}{' and others' * (len(names) > 3)}"
                for what, has, names in (
                    ("needs", "lacks", lost),
                    ("has no place for", "holds", more),
                )
                if names
            )
        )
    for name, like in expected.items():
        mine = tensors[name]
        if mine.shape != like.shape or mine.dtype != like.dtype:
            raise RecipeError(
                f"{name} is {mine.dtype} {list(mine.shape)}, and its recipe needs {like.dtype} "
                f"{list(like.shape)}"
            )


class _Undrawn(TorchFunctionMode):
    """Weights that are about to be replaced are not drawn. On the meta device that would import a
    compiler: seconds.

    most: calls of torch, after which a recipe is taken to claim more layers than its file can fill.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left = most

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.left -= 1
        if self.left < 0:
            raise RecipeError("the recipe has more layers than the file has tensors for")
        given = kwargs or {}
        drawn = getattr(func, "__module__", None) == "torch.nn.init"
        if drawn or func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0] if args else given["tensor"]
        return func(*args, **given)
