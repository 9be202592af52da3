"""What training a recipe costs: images x epochs x multiply-adds, from numbers that tests count anew
on the real models.

An estimate to plan by, not a measurement: loading, labelling and testing are left out.
"""

from typing import NamedTuple

from partreid.recipes.base import Recipe

FLOPS = 30e12  # what the estimate takes a GPU to sustain, an assumption
ASSUMED = (
    "hours: training images x epochs x multiply-adds x 3 (forward and backward; one more for every "
    "relabelling) on a GPU that sustains 30 TFLOP/s, an estimate"
)


class Training(NamedTuple):
    """People and images of a training split."""

    identities: int
    images: int


TRAINING: dict[str, Training] = {
    "market1501": Training(751, 12936),
    "dukemtmc": Training(702, 16522),
    "occluded_duke": Training(702, 15618),
    "p_dukemtmc": Training(665, 12927),
    "cuhk03_labeled": Training(767, 7368),
    "cuhk03_detected": Training(767, 7365),
    "cuhk01": Training(485, 1940),
    "occluded_reid_half": Training(100, 1000),
    "synthetic-tiny": Training(8, 48),
    "synthetic-demo": Training(150, 1800),
    "synthetic-full": Training(700, 16800),
}

# Data sets that their authors' institution withdrew; what that means says `partreid data list`.
WITHDRAWN = ("dukemtmc", "occluded_duke", "p_dukemtmc")

# GMAC for one image of 256 x 128, last stride 1; the small trunk at width 24.
_AREA = 256 * 128
TRUNKS = {
    "resnet50": 4.053,
    "resnet50_ibn_a": 4.053,
    "seresnet50": 4.056,
    "hrnet_w32": 5.305,
    "small": 0.412,
}
_CHANNELS = {"resnet50": 2048, "resnet50_ibn_a": 2048, "seresnet50": 2048, "hrnet_w32": 1920}
# Beyond the trunk. DSA by (branches, with guide): the guide alone takes 11.54, of which 8.6 its
# global head; it sees 24 tiles whatever the image's size. MagnifierNet by ``tails``: one more layer
# 4 and the mask module, or less, or more.
_DSA = {
    ("global", False): 0.0,
    ("both", False): 0.533,
    ("global", True): 10.47,
    ("parts", True): 1.573,
    ("both", True): 12.076,
}
_MAGNIFIER = {"semantic": 2.551, "none": 0.325, "shared_all": 0.639, "separate": 4.464}
_SMALL = {"dsa": 1.31, "magnifier": 0.79}  # on the small trunk, in shares of it


def gmac(recipe: Recipe) -> float:
    """Multiply-adds of one image through trunk and method in training, in 10^9; classifiers and
    part heads left out.
    """
    trunk, area = recipe.backbone.name, recipe.size[0] * recipe.size[1] / _AREA
    own = TRUNKS[trunk] * area
    if trunk == "small":
        return (
            own
            * (recipe.backbone.args.get("width", 28) / 24) ** 2
            * (1 + _SMALL.get(recipe.method.name, 0.0))
        )
    if recipe.method.name == "dsa":
        return own + _DSA[_branches(recipe), any("fused" in term for term in recipe.terms)]
    if recipe.method.name == "magnifier":
        return own + area * _MAGNIFIER[recipe.method.args.get("tails", "semantic")]
    return own + area * _reduction(recipe)


def hours(recipe: Recipe) -> float | None:
    """Hours on the GPU that ``ASSUMED`` speaks of; None for a data set that nobody has counted."""
    if recipe.train not in TRAINING:
        return None
    passes = 3.0 + sum(
        1 / spec.args.get("every", 1)
        for spec in recipe.cues.values()
        if spec.name in ("isp_clusters", "hcga_coparsing")
    )
    epochs = sum(stage.epochs for stage in recipe.stages)
    return TRAINING[recipe.train].images * epochs * gmac(recipe) * 1e9 * 2 * passes / FLOPS / 3600


def _branches(recipe: Recipe) -> str:
    built = [
        name for name in ("global", "parts") if any(term.endswith(name) for term in recipe.terms)
    ]
    return built[0] if len(built) == 1 else "both"


def _reduction(recipe: Recipe) -> float:
    """GMAC of the 1x1 convolution to ``reduce`` or ``dim`` channels on a map of stride 4, at 256
    x 128.
    """
    fine = recipe.backbone.name == "hrnet_w32" or recipe.backbone.args.get("upsample") == 4
    asks = recipe.backbone.args.get("reduce") or (
        recipe.method.args.get("dim") if recipe.method.name in ("isp", "hcga") else None
    )
    width = asks or 0
    return _CHANNELS[recipe.backbone.name] * width * _AREA / (4 if fine else 16) ** 2 / 1e9
