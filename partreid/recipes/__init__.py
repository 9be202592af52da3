"""Recipes: one Python file per paper, one entry per table row. Listing them imports no torch."""

from partreid.errors import RecipeError
from partreid.recipes import bot, bpbreid, hcga, isp, pcb, synthetic
from partreid.recipes.base import (
    Expected,
    Frozen,
    Recipe,
    Spec,
    Stage,
    from_plain,
    override,
    row,
    to_plain,
    unknown,
)

ROWS: tuple[Recipe, ...] = (*bot.ROWS, *pcb.ROWS, *bpbreid.ROWS, *isp.ROWS, *hcga.ROWS,
                              *synthetic.ROWS)
RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in ROWS}

__all__ = ["RECIPES", "ROWS", "Expected", "Frozen", "Recipe", "Spec", "Stage", "find", "from_plain", "override", "row",
           "to_plain"]


def find(name: str) -> Recipe:
    """The recipe called ``name``. RecipeError suggests the nearest one."""
    if name not in RECIPES:
        raise RecipeError(unknown("recipe", name, RECIPES))
    return RECIPES[name]
