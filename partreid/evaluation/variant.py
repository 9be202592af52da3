"""A trained run stored and compared in another way: as another row that scores its training, or
by other embeddings.
"""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from torch import Tensor

from partreid.errors import DataError, RecipeError
from partreid.inference import Model
from partreid.recipes import Recipe, find, override
from partreid.recipes.base import WORDS
from partreid.train.bundle import restore, unallocated
from partreid.train.checkpoint import load_tensors


def variant_of(
    model: Model, run: Path, described: Sequence[str] = (), row: str | None = None
) -> Model:
    """``model``, loaded from ``run``, as ``row`` has it, then with ``described`` in the gallery.

    What a finished run does not keep, because its own row does without at test time, comes from the
    checkpoint beside it. RecipeError if the row scores another training or the method cannot
    describe that, DataError if the weights are gone.
    """
    recipe = model.recipe if row is None else as_row(model.recipe, row, run)
    if described:
        recipe = override(recipe, [f"method.described={json.dumps(list(described))}"])
    return as_recipe(model, run, recipe)


def as_recipe(model: Model, run: Path, recipe: Recipe) -> Model:
    """``model``, loaded from ``run``, as ``recipe`` has it, which is of the same training.

    RecipeError if it is not, DataError if the weights are gone.
    """
    if recipe is model.recipe:
        return model
    if recipe.training != model.recipe.training:
        raise RecipeError(
            f"{run} was trained as {model.recipe.name}, which is another training than that of "
            f"{recipe.name or 'the recipe'}; train it in a folder of its own"
        )
    tensors, meta = load_tensors(run / "model.safetensors" if run.is_dir() else run)
    method = unallocated(
        recipe, meta["identities"], model.scheme, len(tensors)
    ).strip_for_inference()
    wanted = set(method.state_dict())
    if wanted - set(tensors):
        tensors = _of_checkpoint(run if run.is_dir() else run.parent, model.recipe) | tensors
    if lost := wanted - set(tensors):
        raise DataError(
            f"{run} did not keep what this needs ({len(lost)} tensors, the first is {min(lost)}), "
            f"and there is no checkpoint of its end beside it; train {recipe.name} itself: "
            "--set scores=null"
        )
    method = restore(
        recipe, meta["identities"], model.scheme, {name: tensors[name] for name in wanted}
    )
    return Model(recipe, method, model.scheme, model.device, model.decides_by)


def as_row(recipe: Recipe, row: str, run: Path) -> Recipe:
    """The row, with the seed that ``recipe`` was trained with. RecipeError unless both are one
    training.
    """
    wanted = replace(find(row), seed=recipe.seed)
    if wanted.training != recipe.training:
        differ = [
            f.name
            for f in fields(Recipe)
            if f.name not in (*WORDS, "test", "distance")
            and getattr(wanted, f.name) != getattr(recipe, f.name)
        ]
        raise RecipeError(
            f"{run} was trained as {recipe.name}, which is another training than that of {row} "
            f"(they differ in {', '.join(differ)}); train {wanted.scores or row}, or choose with "
            "--described"
        )
    return wanted


def _of_checkpoint(folder: Path, recipe: Recipe) -> dict[str, Tensor]:
    """The weights of a finished run's last checkpoint; none if it is missing or of an earlier
    moment.
    """
    path = folder / "checkpoint.safetensors"
    if not path.is_file():
        return {}
    tensors, header = load_tensors(path)
    place = header.get("place", {})
    if (place.get("stage"), place.get("epoch")) != (
        len(recipe.stages) - 1,
        recipe.stages[-1].epochs,
    ):
        return {}
    return {
        name.removeprefix("model/"): t for name, t in tensors.items() if name.startswith("model/")
    }
