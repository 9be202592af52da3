"""Recipes: one Python file per paper, one entry per table row. Listing them imports no torch."""

from partreid.errors import RecipeError
from partreid.methods.bot import recipes as bot
from partreid.methods.bpbreid import recipes as bpbreid
from partreid.methods.dsa import recipes as dsa
from partreid.methods.hcga import recipes as hcga
from partreid.methods.isp import recipes as isp
from partreid.methods.magnifier import recipes as magnifier
from partreid.methods.pcb import recipes as pcb
from partreid.recipes import claims, synthetic
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
from partreid.recipes.scaled import scaled, split_size
from partreid.recipes.settings import override, value_of
from partreid.recipes.trunks import noted

ROWS: tuple[Recipe, ...] = tuple(
    map(
        noted,
        (
            *bot.ROWS,
            *pcb.ROWS,
            *bpbreid.ROWS,
            *isp.ROWS,
            *hcga.ROWS,
            *dsa.ROWS,
            *magnifier.ROWS,
            *claims.CONTROLS,
            *synthetic.ROWS,
        ),
    )
)
RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in ROWS}
MAIN = {
    "bot": bot.MARKET,
    "pcb": pcb.MARKET,
    "bpbreid": bpbreid.DUKE,
    "isp": isp.DUKE,
    "hcga": hcga.OCCLUDED,
    # the row that a paper's other rows are variants of
    "dsa": dsa.MARKET,
    "magnifier": magnifier.CUHK03,
}

__all__ = [
    "RECIPES",
    "ROWS",
    "Expected",
    "Frozen",
    "Recipe",
    "Spec",
    "Stage",
    "find",
    "from_plain",
    "override",
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
    if plain.startswith("synthetic/"):
        raise RecipeError(
            f"{plain} is a recipe of the synthetic benchmark already; leave out '@{size}'"
        )
    return scaled(
        recipe, MAIN[recipe.method.name], RECIPES[f"synthetic/{size}/{recipe.method.name}"]
    )
