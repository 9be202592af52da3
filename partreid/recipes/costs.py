"""What training a recipe costs: images x epochs x multiply-adds, from numbers that tests count anew
on the real models.

An estimate to plan by, not a measurement: loading, labelling and testing are left out.
"""

from typing import NamedTuple

from partreid.recipes.base import Recipe
from partreid.recipes.papers import PAPERS, label_sources

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
    "cuhk03_pair1": Training(743, 7239),
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
_FINE = ("hrnet_w32",)  # their map has stride 4, not 16


def gmac(recipe: Recipe) -> float | None:
    """Multiply-adds of one image through trunk and method in training, in 10^9; classifiers and
    part heads left out. None for a trunk that nobody has counted.
    """
    trunk = trunk_gmac(recipe)
    if trunk is None:
        return None
    cost = PAPERS[recipe.method.name].cost
    return trunk + (cost(recipe, trunk) if cost is not None else 0.0)


def trunk_gmac(recipe: Recipe) -> float | None:
    """The same of the trunk alone."""
    spec = recipe.backbone
    if spec.name not in TRUNKS:
        return None
    cost = TRUNKS[spec.name] * area(recipe)
    if spec.name in _CHANNELS:
        return cost + reduction(recipe, spec.args.get("reduce") or 0)
    return cost * (spec.args.get("width", 28) / 24) ** 2


def area(recipe: Recipe) -> float:
    """The area of its images, in that of 256 x 128."""
    return recipe.size[0] * recipe.size[1] / _AREA


def reduction(recipe: Recipe, width: int) -> float:
    """GMAC of a 1x1 convolution from the trunk's channels to ``width`` of them on its map; 0 on the
    small trunk, whose few channels do not count.
    """
    spec = recipe.backbone
    fine = spec.name in _FINE or spec.args.get("upsample") == 4
    cells = area(recipe) * _AREA / (4 if fine else 16) ** 2
    return _CHANNELS.get(spec.name, 0) * width * cells / 1e9


def hours(recipe: Recipe) -> float | None:
    """Hours on the GPU that ``ASSUMED`` speaks of; None for a data set or a trunk that nobody has
    counted.
    """
    once = gmac(recipe)
    if recipe.train not in TRAINING or once is None:
        return None
    sources = label_sources()
    passes = 3.0 + sum(
        1 / spec.args.get("every", 1)
        for spec in recipe.cues.values()
        if spec.name in sources and sources[spec.name].learns
    )
    epochs = sum(stage.epochs for stage in recipe.stages)
    return TRAINING[recipe.train].images * epochs * once * 1e9 * 2 * passes / FLOPS / 3600
