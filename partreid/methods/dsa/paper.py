"""DSA-reID: what is known of the paper."""

from partreid.methods.dsa import recipes
from partreid.recipes.base import Recipe
from partreid.recipes.claims import Claim
from partreid.recipes.papers import Paper

_FULL = "dsa/table2/market1501"
CLAIMS = (
    Claim(_FULL, "dsa/table3/baseline-re-ls", "87.6 > 81.2", "DSA Table 3"),
    Claim(_FULL, "dsa/table3/baseline-two-branches", "87.6 > 83.4", "DSA Table 3"),
    Claim(_FULL, "dsa/table4/csa", "87.6 > 84.1", "DSA Table 4"),
    Claim(_FULL, "dsa/table5/concat", "87.6 > 81.6", "DSA Table 5"),
)
STUDIES = {
    "DSA-reID when the surfaces are wrong": (
        "dsa/table3/baseline-re-ls",
        _FULL,
        "dsa/noise/moderate",
        "dsa/noise/heavy",
    ),
}
# GMAC by (branches, with guide): the guide alone takes 11.54, of which 8.6 its global head; it sees
# 24 tiles whatever the image's size.
_GMAC = {
    ("global", False): 0.0,
    ("both", False): 0.533,
    ("global", True): 10.47,
    ("parts", True): 1.573,
    ("both", True): 12.076,
}
_SMALL = 1.31  # on the small trunk, in shares of it


def cost(recipe: Recipe, trunk: float) -> float:
    """The branches and the guide that the loss terms need."""
    if recipe.backbone.name == "small":
        return _SMALL * trunk
    built = [b for b in ("global", "parts") if any(term.endswith(b) for term in recipe.terms)]
    branches = built[0] if len(built) == 1 else "both"
    return _GMAC[branches, any("fused" in term for term in recipe.terms)]


PAPER = Paper(
    "dsa",
    title="DSA-reID",
    citation="Zhang et al., Densely Semantically Aligned Person Re-Identification, CVPR 2019",
    year=2019,
    method="partreid.methods.dsa.model:DSA",
    main=recipes.MARKET,
    rows=recipes.ROWS,
    synthetic=recipes.synthetic,
    claims=CLAIMS,
    studies=STUDIES,
    cost=cost,
    lesson="surfaces",
)
