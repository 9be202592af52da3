"""Are these crops like those that a calibration was made of? A score for one crop, and a test of
many. :mod:`partreid.metrics.likeness` makes what is held against them here.

A crop is described by its looks (:mod:`partreid.utils.looks`) and by the model's vectors of it.
Some people are fitted on; on crops of others, who are held out, the scores are counted. A score of
1 is reached by ``ALARMS`` of the crops of people held out, and what lies above is *unlike*.

- Looks: the squared Mahalanobis distance from the mean of the crops fitted on, by number of
  statistics. Their covariance is shrunk towards its diagonal, and no deviation counts as less than
  a little: what is constant in a data set, such as the shape of its crops, would forbid all else.
- Vectors: for every part that is seen its logarithmic norm, how far it lies from the mean within
  the ``RANK`` main directions and how far outside them; and how visible each part is. The mean of
  the squares of all these, each in standard deviations.
- The two are divided by what ``ALARMS`` of the crops held out exceed, the larger one counts, and it
  is divided once more, so that both together raise no more alarms than one alone. Without looks the
  vectors count alone.

One crop in a hundred is unlike by mere chance. Of many crops the share above the score that
``USUAL`` of the crops held out exceed is looked at: crops of one person stand together, so that its
chance is that of a number of people who have ``EACH`` crops.
"""

import base64
import binascii
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ArgumentError, ShapeError
from partreid.utils.arguments import check_fields, integer, number, require

Doubles = NDArray[np.float64]

ALARMS = 0.01  # crops of the calibration's own kind that are called unlike
USUAL = 0.1  # crops above the score that is looked at among many
EACH = 4  # crops of a person among crops of whom nothing is known
RANK = 8  # main directions of each part's vectors
_SURE = 3.0  # standard deviations by which a share must lie above the usual
FLAT = 1e-6  # norm that a vector counts as at least
_EACH_PART = 4  # numbers of a part: norm, within, outside, visibility
_MOST = 4096  # crops whose vectors are looked at together


@dataclass(frozen=True, eq=False)
class Crops:
    """n crops that are looked at.

    vectors: float [n, M, D]. visibility: float [n, M] in 0..1. looks: float64 [n, F], or None where
    the pictures are not at hand. people: int64 [n], who is on each; needed to fit alone.
    """

    vectors: NDArray[np.floating]
    visibility: NDArray[np.floating]
    looks: Doubles | None = None
    people: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.vectors.ndim != 3 or self.visibility.shape != self.vectors.shape[:2]:
            raise ShapeError(
                "crops need vectors [n, M, D] and visibilities [n, M], got "
                f"{list(self.vectors.shape)} and {list(self.visibility.shape)}"
            )
        for name in ("looks", "people"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.vectors):
                raise ShapeError(f"{len(self.vectors)} crops need as many {name}, got {len(value)}")

    def __len__(self) -> int:
        return len(self.vectors)

    def rows(self, index: Any) -> "Crops":
        """Some of them: whole numbers, a mask or a slice."""
        return Crops(
            self.vectors[index],
            self.visibility[index],
            None if self.looks is None else self.looks[index],
            None if self.people is None else self.people[index],
        )


@dataclass(frozen=True)
class Likeness:
    """What a calibration knows of the crops that it was made of.

    statistics: names of the F looks. mean [F], whiten [F x F, row by row]: a crop's looks x become
    whiten (x - mean), which has the deviation 1 in each direction. parts: M. length: D. basis: mean
    and main directions of each part's vectors, float16 [M, 1 + RANK, D], as base64. middle, spread
    [4 M]: mean and deviation of what is made of them. scale_looks, scale_vectors, limit: what
    scores are divided by. usual: the score that ``USUAL`` of the crops held out exceed. crops,
    people: how many were held out.
    """

    statistics: tuple[str, ...]
    mean: tuple[float, ...]
    whiten: tuple[float, ...]
    parts: int
    length: int
    basis: str
    middle: tuple[float, ...]
    spread: tuple[float, ...]
    scale_looks: float
    scale_vectors: float
    limit: float
    usual: float
    crops: int
    people: int

    def __post_init__(self) -> None:
        check_fields(self)
        f = len(self.statistics)
        for name, value, wanted in (
            ("mean", self.mean, f),
            ("whiten", self.whiten, f * f),
            ("middle", self.middle, _EACH_PART * self.parts),
            ("spread", self.spread, _EACH_PART * self.parts),
        ):
            require(
                len(value) == wanted and bool(np.isfinite(value).all()),
                f"{name} of the crops of a calibration",
                f"{wanted} finite numbers",
                value,
            )
        require(min(self.spread, default=0) > 0, "the spread of vectors", "above 0", self.spread)
        for name in ("scale_looks", "scale_vectors", "limit"):
            number(f"{name} of a likeness", getattr(self, name), 0, open_=True)
        number("the usual score", self.usual, 0)
        integer("the number of parts", self.parts, 1)
        integer("the length of vectors", self.length, 1)
        integer("the number of crops held out", self.crops, 1)
        integer("the number of people held out", self.people, 1)
        _ = self._directions  # a basis that cannot be read is refused now

    @property
    def alarms(self) -> float:
        """The share of crops of its own kind that it calls unlike. With fewer than 99 crops held
        out it cannot tell so small a share, and none of them is.
        """
        return max(ALARMS, 1 / (self.crops + 1))

    @cached_property
    def _directions(self) -> Doubles:
        """float64 [M, 1 + RANK, D]."""
        shape = (self.parts, 1 + RANK, self.length)
        try:
            read = np.frombuffer(base64.b64decode(self.basis, validate=True), "<f2")
        except (ValueError, binascii.Error):
            read = np.empty(0, "<f2")
        if read.size != np.prod(shape) or not np.isfinite(read).all():
            raise ArgumentError(
                f"the basis of a likeness must be base64 of finite float16 {list(shape)}, got "
                f"{read.size} numbers"
            )
        return read.astype(np.float64).reshape(shape)

    def score(self, crops: Crops) -> Doubles:
        """How far out each crop lies, float64 [n]; above 1 it is unlike."""
        if crops.vectors.shape[1:] != (self.parts, self.length):
            raise ShapeError(
                f"the calibration was made of vectors [n, {self.parts}, {self.length}], got "
                f"{list(crops.vectors.shape)}"
            )
        scores = self.of_vectors(crops) / self.scale_vectors
        if crops.looks is not None:
            scores = np.maximum(scores, self.of_looks(crops.looks) / self.scale_looks)
        return scores / self.limit

    def many(self, scores: Doubles) -> bool:
        """Whether many crops with these scores are unlike, though each may be like."""
        chance = EACH / max(len(scores), 1) + 1 / self.people
        return self.share(scores) > USUAL + _SURE * sqrt(USUAL * (1 - USUAL) * chance)

    def share(self, scores: Doubles) -> float:
        """The share above the score that ``USUAL`` of the crops held out exceed."""
        return float((scores > self.usual).mean()) if len(scores) else 0.0

    def of_looks(self, looks: Doubles) -> Doubles:
        f = len(self.statistics)
        if looks.ndim != 2 or looks.shape[1] != f:
            raise ShapeError(f"looks must be [n, {f}], got {list(looks.shape)}")
        white = (looks - np.array(self.mean)) @ np.array(self.whiten).reshape(f, f).T
        scores: Doubles = np.square(white).sum(1) / f
        return scores

    def of_vectors(self, crops: Crops) -> Doubles:
        middle, spread = np.array(self.middle), np.array(self.spread)
        scores = [np.empty(0)]
        for start in range(0, len(crops), _MOST):
            some = numbers(crops.rows(slice(start, start + _MOST)), self._directions)
            scores.append(np.nanmean(np.square((some - middle) / spread), 1))
        return np.concatenate(scores)


def unit(vectors: Doubles) -> Doubles:
    unit: Doubles = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), FLAT)
    return unit


def numbers(crops: Crops, directions: Doubles) -> Doubles:
    """Of each part log norm, log distance from the mean within and outside the main directions, NaN
    where it is hidden, and visibility: float64 [n, 4 M].
    """
    # |u - mean|^2 and its part along the directions, from one product of the vectors as they are
    vectors = crops.vectors.astype(np.float64)
    norm = np.linalg.norm(vectors, axis=2)
    scale = 1 / np.maximum(norm, FLAT)
    along = np.matmul(vectors.transpose(1, 0, 2), directions.transpose(0, 2, 1)).transpose(1, 0, 2)
    along *= scale[..., None]  # [n, M, 1 + RANK] of the unit vectors u
    of_mean = np.matmul(directions, directions[:, 0, :, None])[..., 0]  # [M, 1 + RANK]
    inside = np.square(along[..., 1:] - of_mean[:, 1:]).sum(2)
    whole = np.maximum(np.square(norm * scale) - 2 * along[..., 0] + of_mean[:, 0], 0)
    values = np.stack(
        [
            np.log(np.maximum(norm, FLAT)),
            0.5 * np.log(inside + FLAT),
            0.5 * np.log(np.maximum(whole - inside, 0) + FLAT),
        ],
        2,
    )
    seen = crops.visibility > 0
    values = np.where(seen[..., None], values, np.nan)
    both = np.concatenate([values, crops.visibility[..., None].astype(np.float64)], 2)
    flat: Doubles = both.reshape(len(crops), -1)
    return flat
