"""HCGA: what is known of the paper."""

from partreid.methods.hcga import recipes
from partreid.recipes.base import Recipe
from partreid.recipes.claims import Claim
from partreid.recipes.costs import reduction
from partreid.recipes.labels import LabelSource
from partreid.recipes.papers import Paper

_TABLE6 = "hcga/table6/occluded_duke"
CLAIMS = (
    Claim(
        "hcga/table1/occluded_duke",
        "hcga/table1/occluded_duke/no-gam",
        "57.5 > 56.0",
        "HCGA Table I",
        "occluded",
    ),
    *(
        Claim(f"{_TABLE6}/{better}", f"{_TABLE6}/{worse}", published, "HCGA Table VI", "occluded")
        for better, worse, published in (
            ("extra-info", "baseline", "50.2 > 49.7"),
            ("coparsing", "extra-info", "56.0 > 50.2"),
            ("coparsing", "isp", "56.0 > 52.3"),
        )
    ),
    *(
        Claim(
            "hcga/table7/all", f"hcga/table7/{name}", f"56.0 > {mAP}", "HCGA Table VII", "occluded"
        )
        for name, mAP in (
            ("semantic", 52.9),
            ("semantic+local", 53.0),
            ("semantic+background", 52.3),
        )
    ),
    *(
        Claim(
            "hcga/table8/f+p", f"hcga/table8/{name}", f"56.0 > {mAP}", "HCGA Table VIII", "occluded"
        )
        for name, mAP in (("f", 55.2), ("p", 55.6), ("i+f+p", 54.9))
    ),
    Claim("hcga/table8/gam-t4", "hcga/table8/gam-t2", "57.5 > 54.7", "HCGA Table VIII", "occluded"),
    *(  # no module at test time, or another rule of what is seen
        Claim(f"hcga/control/{way}", "hcga/control/gam-at-test", "no number", "of ours", queries)
        for way in ("gam-in-training", "gam-argmax")
        for queries in ("holistic", "occluded")
    ),
)


def cost(recipe: Recipe, trunk: float) -> float:
    """The convolution to ``dim`` channels, unless the trunk reduces its own."""
    reduces = not recipe.backbone.args.get("reduce")
    return reduction(recipe, recipe.method.args.get("dim") or 0) if reduces else 0.0


PAPER = Paper(
    "hcga",
    title="HCGA",
    citation="Dou et al., Human Co-parsing Guided Alignment for Occluded Person "
    "Re-identification, TIP 2023",
    year=2023,
    method="partreid.methods.hcga.model:HCGA",
    main=recipes.OCCLUDED,
    rows=recipes.ROWS,
    synthetic=recipes.synthetic,
    claims=CLAIMS,
    labels={
        "hcga_coparsing": LabelSource(
            "partreid.methods.hcga.coparsing:hcga_coparsing",
            learns=True,
            tuned=("every", "height", "seeded", "margin"),
        )
    },
    cost=cost,
    official="partreid.metrics.official:hcga_official",
    trapezoid=True,
)
