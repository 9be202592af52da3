"""DSA-reID: what is known of the paper."""

from partreid.methods.dsa import recipes
from partreid.recipes.base import Recipe
from partreid.recipes.claims import Claim
from partreid.recipes.costs import area
from partreid.recipes.papers import Paper

_FULL = "dsa/table2/market1501"
_BOT = "bot/bpbreid-table1/market1501"
CLAIMS = (
    Claim(_FULL, "dsa/table3/baseline-re-ls", "87.6 > 81.2", "DSA Table 3"),
    Claim(_FULL, "dsa/table3/baseline-two-branches", "87.6 > 83.4", "DSA Table 3"),
    Claim(_FULL, "dsa/table4/csa", "87.6 > 84.1", "DSA Table 4"),
    Claim(_FULL, "dsa/table5/concat", "87.6 > 81.6", "DSA Table 5"),
    Claim(_FULL, _BOT, "87.6 > 85.7", "DSA Table 2, BPBreID Table 1"),
    Claim(_FULL, _BOT, "no number", "of ours", "occluded"),
    *(  # all but the guide is the same
        Claim(_FULL, "dsa/control/no-guide", "no number", "of ours", queries)
        for queries in ("holistic", "occluded")
    ),
)
STUDIES = {
    "DSA-reID when the surfaces are wrong": (
        "dsa/table3/baseline-re-ls",
        _FULL,
        "dsa/noise/moderate",
        "dsa/noise/heavy",
    ),
    "DSA-reID with the paper's own heads and guide": (_FULL, "dsa/control/as-written"),
}
# GMAC of (the branches at 256 x 128 beyond the trunk, the guide). The guide alone takes 11.54, of
# which 8.6 its global head; it sees 24 tiles whatever the image's size.
_GMAC = {"global": (0.0, 10.47), "parts": (-1.37, 2.943), "both": (0.533, 11.543)}
# On the small trunk, in shares of it, by ``part_share``: another costs what the nearest does.
_SMALL = {8: (0.279, 1.033), 4: (0.662, 1.28), 2: (1.647, 2.237), 1: (5.129, 6.004)}


def cost(recipe: Recipe, trunk: float) -> float:
    """The branches and the guide that the loss terms need."""
    guided = recipe.method.args.get("guide_share", 1.0) > 0
    if recipe.backbone.name == "small":
        share = recipe.method.args.get("part_share", 8)
        branches, guide = _SMALL[min(_SMALL, key=lambda known: abs(known - share))]
        return trunk * (branches + guided * guide)
    built = [b for b in ("global", "parts") if any(term.endswith(b) for term in recipe.terms)]
    branches, guide = _GMAC[built[0] if len(built) == 1 else "both"]
    return area(recipe) * branches + guided * guide * any("fused" in term for term in recipe.terms)


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
