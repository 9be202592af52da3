"""What part labels show: how often each part occurs, how large it is, and whether left and right
are in balance.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError, RecipeError
from partreid.labels.base import Cue
from partreid.labels.places import image_size
from partreid.labels.pseudo import PseudoLabels
from partreid.labels.tools.base import Progress, in_order
from partreid.layers.warp import CHARTS
from partreid.types import UNKNOWN, Sample
from partreid.utils.arguments import door

STRETCH = 1.25  # labels may be this much wider or narrower than their crop: grids of networks are


@dataclass(frozen=True)
class Part:
    """One part. images: number that show it. pixels: mean share, 0 to 1, of the crop in those that
    do (of tiles: of their cells).
    """

    name: str
    images: int
    pixels: float


@dataclass(frozen=True)
class Stats:
    """What the labels of a data set show.

    images: number. labelled: those with at least one part. nobody, unknown: names of those that are
    background throughout, and of those of which nothing is known. person: mean share of the crop on
    a part, 0 to 1, where labelled. broken: image name and sentence of those that could not be read.
    stretched: names of those whose label has other proportions. balance: of each pair of left and
    right parts, the left one's share of the pixels.
    """

    images: int
    labelled: int
    nobody: tuple[str, ...]
    unknown: tuple[str, ...]
    person: float
    parts: tuple[Part, ...]
    balance: dict[str, float]
    broken: tuple[tuple[str, str], ...] = ()
    stretched: tuple[str, ...] = ()

    @property
    def coverage(self) -> float:
        """Share of the images that show at least one part."""
        return self.labelled / self.images if self.images else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "coverage": self.coverage}


@dataclass(frozen=True, eq=False)
class _Item:
    """shares: float [K] of the crop that each part covers (of a tile: of its cells). known: share
    about which anything is known. person: share of the crop, or of all cells, on any part.
    """

    shares: NDArray[np.float64]
    known: float
    person: float = 0.0
    broken: str = ""
    stretched: bool = False


@door
def names_of(cue: Cue) -> tuple[str, ...]:
    """What the items of a cue tell apart: its parts, or DensePose's 24 surfaces. RecipeError for
    labels that are made while training.
    """
    if isinstance(cue, PseudoLabels):
        raise RecipeError(
            "these labels are made while training from the network's own features, so there are "
            "none to look at before; choose a cue with labels on disk (parsing, densepose, pifpaf, "
            "keypoints)"
        )
    return cue.scheme.names if cue.scheme else tuple(chart.replace(" ", "_") for chart in CHARTS)


@door
def measure(cue: Cue, samples: Sequence[Sample], progress: Progress | None = None) -> Stats:
    """Reads every item of a cue. progress: called with (images done, images in all)."""
    names = names_of(cue)

    def look(index: int) -> _Item:
        try:
            return _look(cue, index, samples[index], len(names))
        except DataError as error:
            return _Item(np.zeros(len(names)), 0.0, broken=str(error))

    items = list(in_order(look, len(samples), progress))
    whole = [
        (sample.path.name, item)
        for sample, item in zip(samples, items, strict=True)
        if not item.broken
    ]
    shares = np.array([item.shares for _, item in whole]).reshape(-1, len(names))
    shown = shares > 0
    people = shown.sum(1) > 0
    sizes = [
        float(shares[shown[:, k], k].mean()) if shown[:, k].any() else 0.0
        for k in range(len(names))
    ]
    areas = dict(zip(names, shares.sum(0).tolist(), strict=True))
    pairs = [
        (n.removeprefix("left_"), a, areas[f"right_{n.removeprefix('left_')}"])
        for n, a in areas.items()
        if n.startswith("left_") and f"right_{n.removeprefix('left_')}" in areas
    ]
    return Stats(
        len(samples),
        int(people.sum()),
        tuple(
            name
            for (name, item), person in zip(whole, people, strict=True)
            if item.known > 0 and not person
        ),
        tuple(name for name, item in whole if item.known == 0),
        float(np.mean([item.person for _, item in whole if item.person] or [0.0])),
        tuple(
            Part(name, int(n), size)
            for name, n, size in zip(names, shown.sum(0), sizes, strict=True)
        ),
        {name: left / (left + right) for name, left, right in pairs if left + right},
        tuple(
            (sample.path.name, item.broken)
            for sample, item in zip(samples, items, strict=True)
            if item.broken
        ),
        tuple(name for name, item in whole if item.stretched),
    )


def _look(cue: Cue, index: int, sample: Sample, K: int) -> _Item:
    item = cue[index]
    if cue.scheme is None and item.ndim == 4:  # tiles uint8 [24, 4, S, S]
        seen = item[:, 3].astype(bool)
        return _Item(seen.mean((1, 2)), float(seen.any()), float(seen.mean()))
    if cue.scheme is None:  # maps uint8 [H, W, 6], a pixel large where nobody was found
        counts = np.bincount(item[..., 0].reshape(-1), minlength=256)
        person = float(1 - counts[0] / counts.sum())
        return _Item(counts[1 : K + 1] / counts.sum(), person, person)
    counts = np.bincount(item.reshape(-1), minlength=256)
    strange = np.flatnonzero(counts[K + 1 : UNKNOWN])
    if len(strange):
        raise DataError(
            f"the label of {sample.path.name} holds {K + 1 + strange[0]}; there are {K} parts, 0 "
            "is background and 255 unknown. Make it again"
        )
    (width, height), (h, w) = image_size(sample.path), item.shape
    wider = w * height / (h * width)
    known = 1 - counts[UNKNOWN] / item.size
    stretched = known > 0 and not 1 / STRETCH <= wider <= STRETCH
    return _Item(
        counts[1 : K + 1] / item.size,
        float(known),
        float(counts[1 : K + 1].sum() / item.size),
        "",
        stretched,
    )
