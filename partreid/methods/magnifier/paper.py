"""MagnifierNet: what is known of the paper."""

from partreid.methods.magnifier import recipes
from partreid.recipes.base import Recipe
from partreid.recipes.claims import Claim
from partreid.recipes.costs import area
from partreid.recipes.papers import Paper

_TABLE2 = "magnifier/table2/cuhk03_labeled"
_MARKET = "magnifier/table1/market1501"  # at small size one training with all of Table 2
_BOT = "bot/bpbreid-table1/market1501"
CLAIMS = (
    *(
        Claim(f"{_TABLE2}/{better}", f"{_TABLE2}/{worse}", published, "MagnifierNet Table 2")
        for better, worse, published in (
            ("g+m", "g", "69.0 > 67.4"),
            ("g+m+sab", "g+m", "74.6 > 69.0"),
            ("g+m+sfb", "g+m", "75.9 > 69.0"),
            ("g+m+sab+sfb", "g+m+sab", "78.5 > 74.6"),
            ("g+m+sab+sfb", "g+m+sfb", "78.5 > 75.9"),
        )
    ),
    Claim(
        f"{_TABLE2}/g+m+sab+sfb+sd",
        "magnifier/control/no-sd",
        "79.6 > 78.5",
        "MagnifierNet Table 2",
    ),
    Claim("magnifier/figure4/sfb", "magnifier/figure4/ab", "drawn", "MagnifierNet Fig. 4"),
    Claim(
        "magnifier/figure5/torso-4", "magnifier/figure5/baseline-4", "drawn", "MagnifierNet Fig. 5"
    ),
    Claim(_MARKET, _BOT, "89.6 > 85.7", "MagnifierNet Table 1, BPBreID Table 1"),
    Claim(_MARKET, _BOT, "no number", "of ours", "occluded"),
)
STUDIES = {
    "MagnifierNet when training sees other masks than the test": (
        f"{_TABLE2}/g+m+sab+sfb+sd",
        "magnifier/control/as-written",
    ),
}
# GMAC by ``tails``: one more layer 4 and the mask module, or less, or more.
_GMAC = {"semantic": 2.551, "none": 0.325, "shared_all": 0.639, "separate": 4.464}
_SMALL = 0.79  # on the small trunk, in shares of it


def cost(recipe: Recipe, trunk: float) -> float:
    """The branches' own layers and the mask module."""
    if recipe.backbone.name == "small":
        return _SMALL * trunk
    return area(recipe) * _GMAC[recipe.method.args.get("tails", "semantic")]


PAPER = Paper(
    "magnifier",
    title="MagnifierNet",
    citation="Lan, Liu et al., MagnifierNet: Towards Semantic Adversary and Fusion for Person "
    "Re-identification, BMVC 2020",
    year=2020,
    method="partreid.methods.magnifier.model:Magnifier",
    main=recipes.CUHK03,
    rows=recipes.ROWS,
    synthetic=recipes.synthetic,
    claims=CLAIMS,
    studies=STUDIES,
    cost=cost,
    lesson="regions",
)
