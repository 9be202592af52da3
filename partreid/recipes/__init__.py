"""Recipes: what decides a run, as frozen data, and the rows of every paper. Listing them imports no
torch.
"""

from partreid.errors import RecipeError
from partreid.recipes.base import (
    Expected,
    Frozen,
    Recipe,
    Spec,
    Stage,
    from_plain,
    row,
    to_plain,
    unknown,
)
from partreid.recipes.claims import Claim
from partreid.recipes.labels import LabelSource
from partreid.recipes.papers import PAPERS, SYNTHETIC, Paper, papers
from partreid.recipes.rows import Main, Recipes, Rows
from partreid.recipes.scaled import scaled, split_size
from partreid.recipes.settings import override, value_of

ROWS = Rows()
RECIPES = Recipes()
MAIN = Main()

__all__ = [
    "MAIN",
    "PAPERS",
    "RECIPES",
    "ROWS",
    "SYNTHETIC",
    "Claim",
    "Expected",
    "Frozen",
    "LabelSource",
    "Paper",
    "Recipe",
    "Spec",
    "Stage",
    "find",
    "from_plain",
    "made_small",
    "override",
    "papers",
    "row",
    "to_plain",
    "value_of",
]


def find(name: str) -> Recipe:
    """The recipe called ``name``; ``name@demo`` (tiny, small, full) is that row at the size of a
    synthetic benchmark.

    RecipeError suggests the nearest name.
    """
    plain, size = split_size(name)
    if plain not in RECIPES:
        raise RecipeError(unknown("recipe", plain, RECIPES))
    recipe = RECIPES[plain]
    if size is None:
        return recipe
    if plain.startswith(f"{SYNTHETIC}/"):
        raise RecipeError(
            f"{plain} is a recipe of the synthetic benchmark already; leave out '@{size}'"
        )
    return made_small(recipe, size)


def made_small(recipe: Recipe, size: str) -> Recipe:
    """Any recipe of a registered method at the size of a synthetic benchmark: what sets it apart
    from the main row of its method's paper stays, all else is small.
    """
    method = recipe.method.name
    if method not in MAIN:
        raise RecipeError(unknown("method", method, MAIN))
    return scaled(recipe, MAIN[method], RECIPES[f"{SYNTHETIC}/{size}/{method}"])
