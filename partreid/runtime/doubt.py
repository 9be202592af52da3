"""About which crops a calibration decides nothing: those that are unlike the ones it was made of.

The rule is one for the whole package, as that of :mod:`partreid.runtime.decision` is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.runtime.likeness import EACH, USUAL, Crops, Likeness
from partreid.utils.arguments import check_fields, integer, number, require

FEW = 100  # pairs of crops from which on their distances are held against those of the calibration
APART = 0.15  # chosen on the synthetic worlds: crops of 20 other people raised no alarm
_MOST = 1000  # crops between which distances are looked at


@dataclass(frozen=True)
class Origin:
    """The crops that a calibration was made of.

    Args:
        made_of: These, in words.
        likeness: What they look like; None in calibrations of earlier versions.
        impostors: Percentiles 0 to 100 of the distances of all impostor pairs.
        usual_shift: How far apart those of two halves of the people are in 99 % of draws
            (Kolmogorov-Smirnov).
        people: How many took part.
    """

    made_of: str
    likeness: Likeness | None
    impostors: tuple[float, ...]
    usual_shift: float
    people: int

    def __post_init__(self) -> None:
        check_fields(self)
        number("its usual shift", self.usual_shift, 0, 1)
        integer("the number of people of a calibration", self.people, 0)
        require(
            len(self.impostors) > 1
            and all(a <= b for a, b in zip(self.impostors, self.impostors[1:])),
            "the distances of impostor pairs",
            "ascending",
            self.impostors,
        )

    def apart(self, distances: Any, images: int) -> str | None:
        """A sentence if distances between crops of whoever lie otherwise than those of the
        calibration's impostor pairs, None if all looks well.

        Most pairs should be of two people. They are unlike if they lie more than ``APART`` and
        twice the usual from those of the calibration (Kolmogorov-Smirnov). What is usual grows as
        one over the root of the number of people, who are taken to have ``EACH`` crops.

        Args:
            distances: Of all pairs of some crops, or how they are spread beside ``impostors``.
            images: How many these are.
        """
        if not isinstance(distances, Spread):
            distances = np.asarray(distances, np.float64)
        gap = shift(self.impostors, distances)
        usual = self.usual_shift * max(1.0, sqrt(self.people / 2 / (images / EACH)))
        if gap <= max(APART, 2 * usual):
            return None
        return (
            "the distances between these crops are not like those between crops of "
            f"{self.made_of}, of which the calibration was made: they lie {gap:.2f} apart on a "
            f"scale from 0 to 1, where {usual:.2f} is usual"
        )


@dataclass(frozen=True, eq=False)
class Doubt:
    """Which crops a calibration decides nothing about, and why.

    every: a sentence if it decides about none of them. query, gallery: bool [Nq], [Ng], the crops
    that are unlike those it was made of. made_of: these, in words. remedy: what to do.
    """

    every: str | None
    query: Any
    gallery: Any
    made_of: str
    remedy: str

    def of(self, i: int, j: int, names: tuple[str, str] = ("the query", "this crop")) -> str | None:
        """Why nothing is decided about query i and crop j of the gallery, which are called
        ``names``; None if it is.
        """
        if self.every is not None:
            return self.every
        odd = [name for name, is_odd in zip(names, (self.query[i], self.gallery[j])) if is_odd]
        if not odd:
            return None
        verb = "does" if len(odd) == 1 else "do"
        return (
            f"nothing is decided: {' and '.join(odd)} {verb} not look like the crops of "
            f"{self.made_of}, of which the calibration was made; {self.remedy}"
        )


def scored(origin: Origin, crops: Crops) -> NDArray[np.float64]:
    """How far out each crop lies, see :meth:`partreid.runtime.likeness.Likeness.score`; 0 where a
    calibration keeps no statistics.
    """
    return np.zeros(len(crops)) if origin.likeness is None else origin.likeness.score(crops)


def doubted(
    origin: Origin,
    query: NDArray[np.float64],
    gallery: NDArray[np.float64],
    apart: Callable[[], str | None],
    remedy: str,
    renewal: str,
) -> Doubt:
    """Which of these crops look like those that a calibration was made of: each by itself, then all
    of them together, then the distances between them.

    Args:
        origin: What the calibration was made of.
        query: Scores of the queries, see :func:`scored`.
        gallery: The same of the gallery.
        apart: Asked last: a sentence if the distances between them are unlike.
        remedy: What to do about crops that are unlike.
        renewal: What to do about a calibration that keeps no statistics.
    """
    likeness = origin.likeness
    every, both = None, np.concatenate([query, gallery])
    if likeness is None:
        every = (
            "nothing is decided: the calibration keeps no statistics of its crops, as those of "
            "earlier versions, so it cannot tell whether these are like them; make it again: "
            f"{renewal}"
        )
    elif likeness.many(both):
        every = (
            f"nothing is decided: these crops do not look like those of {origin.made_of}, of which "
            f"the calibration was made: {likeness.share(both):.0%} lie as far out as {USUAL:.0%} "
            f"of its own; {remedy}"
        )
    elif sentence := apart():
        every = f"nothing is decided: {sentence}; {remedy}"
    return Doubt(every, query > 1, gallery > 1, origin.made_of, remedy)


def chosen(lengths: Sequence[int]) -> list[NDArray[np.int64]] | None:
    """Which crops of several groups are looked at together, evenly over all of them; None where
    there are too few.
    """
    every = sum(lengths)
    n = min(every, _MOST)
    if n * (n - 1) // 2 < FEW:
        return None
    positions, start, rows = np.linspace(0, every - 1, n).astype(np.int64), 0, []
    for length in lengths:
        rows.append(positions[(positions >= start) & (positions < start + length)] - start)
        start += length
    return rows


@dataclass(frozen=True, eq=False)
class Spread:
    """How distances lie beside ascending percentiles of others: all that :func:`shift` needs to
    know of them. Two of them add up, so that a few more distances need no look at the many.

    below: int64 [K], how many are no larger than each percentile. finite, count: how many are
    finite, and how many there are.
    """

    below: NDArray[np.int64]
    finite: int
    count: int

    def __add__(self, other: "Spread") -> "Spread":
        return Spread(
            self.below + other.below, self.finite + other.finite, self.count + other.count
        )


def spread(reference: tuple[float, ...], distances: Any) -> Spread:
    """How distances lie beside percentiles; +inf is a value too."""
    ordered = np.sort(np.asarray(distances, np.float64), axis=None)
    below = np.searchsorted(ordered, np.asarray(reference), "right")
    return Spread(below, int(np.isfinite(ordered).sum()), len(ordered))


def shift(reference: tuple[float, ...], distances: Any) -> float:
    """Kolmogorov-Smirnov distance between distances, or their spread, and percentiles of others, in
    [0, 1]; +inf is a value too.
    """
    sample = distances if isinstance(distances, Spread) else spread(reference, distances)
    percentiles, count = np.asarray(reference), max(sample.count, 1)
    finite = np.isfinite(percentiles)
    expected = np.searchsorted(percentiles, percentiles, "right") - 1  # of ties, the last
    gaps = np.abs(sample.below / count - expected / (len(percentiles) - 1))[finite]
    never = (
        abs(sample.finite / count - (finite.sum() - 1) / (len(percentiles) - 1))
        if not finite.all()
        else 0.0
    )
    return float(max(gaps.max(initial=0.0), never))
