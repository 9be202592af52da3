"""Halves: what is known of the method."""

from halves import recipes
from partreid.recipes.claims import Claim
from partreid.recipes.papers import Paper

PAPER = Paper(
    "halves",
    title="Halves",
    citation="an example, nowhere published",
    year=2026,
    method="halves.model:Halves",
    main=recipes.MAIN,
    rows=recipes.ROWS,
    claims=(Claim("halves/market1501", "halves/market1501/mean", "drawn", "our Table 1"),),
)
