"""ISP: what is known of the paper."""

from partreid.methods.isp import recipes
from partreid.recipes.base import Recipe
from partreid.recipes.claims import Claim
from partreid.recipes.costs import reduction
from partreid.recipes.labels import LabelSource
from partreid.recipes.papers import Paper

CLAIMS = (
    Claim(
        "isp/table2/occluded_duke",
        "isp/table2/occluded_duke/no-visibility",
        "52.3 > 51.4",
        "ISP Table 2",
        "occluded",
    ),
    Claim(
        "isp/table5/dukemtmc/extra-info",
        "isp/table5/dukemtmc/baseline",
        "79.1 > 77.2",
        "ISP Table 5",
    ),
    Claim(
        "isp/table5/dukemtmc/isp", "isp/table5/dukemtmc/extra-info", "80.0 > 79.1", "ISP Table 5"
    ),
)


def cost(recipe: Recipe, trunk: float) -> float:
    """The convolution to ``dim`` channels, unless the trunk reduces its own."""
    reduces = not recipe.backbone.args.get("reduce")
    return reduction(recipe, recipe.method.args.get("dim") or 0) if reduces else 0.0


PAPER = Paper(
    "isp",
    title="ISP",
    citation="Zhu et al., Identity-Guided Human Semantic Parsing for Person Re-Identification, "
    "ECCV 2020",
    year=2020,
    method="partreid.methods.isp.model:ISP",
    main=recipes.DUKE,
    rows=recipes.ROWS,
    synthetic=recipes.synthetic,
    claims=CLAIMS,
    labels={
        "isp_clusters": LabelSource(
            "partreid.methods.isp.labels:isp_clusters",
            learns=True,
            tuned=("every", "height", "seeded", "margin"),
        )
    },
    cost=cost,
    official="partreid.metrics.official:isp_official",
    trapezoid=True,
)
