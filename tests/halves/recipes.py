"""Halves: one row, and one with the mean in place of the maximum."""

from partreid.recipes.base import Frozen, Recipe, Spec, Stage, row
from partreid.recipes.trunks import RESNET50

MAIN = Recipe(
    "halves/market1501",
    method=Spec("halves"),
    backbone=RESNET50,
    train="market1501",
    test=("market1501",),
    size=(256, 128),
    stages=(Stage(120, Frozen({"id_parts": 1.0, "triplet_parts": 1.0})),),
)

ROWS = (MAIN, row(MAIN, "halves/market1501/mean", method=Spec("halves", pool="mean")))
