"""Verification (1:1): of all pairs that a protocol compares, which match at a given distance?

A pair is *genuine* if both images show one person and *impostor* otherwise. The false-match rate
(FMR) is the share of impostor pairs at or below a threshold, the true-match rate (TPR) that of
genuine pairs. A pair that shares no part is infinitely far and never matches.

Pairs stream by: genuine ones are all kept, and of impostor pairs the nearest, where thresholds are
put; of the rest a count in narrow bins. So every point that is computed is an exact point of the
ROC curve, whatever the number of pairs.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan

import numpy as np
from numpy.typing import NDArray

from partreid.metrics.arrays import (
    Doubles,
    Ids,
    Integers,
    Labels,
    Mask,
    Matrix,
    Singles,
    as_matrix,
    require_numbers,
)
from partreid.metrics.protocols import Protocol, Special
from partreid.utils.arguments import door, fits, integer, number, require

Integers32 = NDArray[np.int32]
FMRS = (1e-4, 1e-3, 1e-2)

_BINS = 1 << 16  # a bin is told by the upper half of a float32: 2^-7 of the value wide
_INFINITE = _BINS // 2 + 0x7F80  # that of infinity


@dataclass(frozen=True, eq=False)
class Roc:
    """The distances of both kinds of pairs.

    genuine: of genuine pairs, float32 [P], ascending; ``genuine_query``: their query, int64 [P].
    nearest: of the nearest impostor pairs, one by one, float32 [n], ascending; ``nearest_query``:
    their query. Above them ``edges`` float32 [b], ascending, and how many impostor pairs lie above
    the edge before, up to each: ``counts`` int64 [b]. impostors_of_query: of how many impostor
    pairs each query is one, int64 [Nq].
    """

    genuine: Singles
    genuine_query: Integers
    nearest: Singles
    nearest_query: Integers
    edges: Singles
    counts: Integers
    impostors_of_query: Integers

    @classmethod
    @door
    def of_masks(cls, distances: Matrix, relevant: Mask, valid: Mask) -> "Roc":
        """Of a whole matrix and what a protocol says of it, exactly.

        Args:
            distances: [Nq, Ng], numpy, torch or lists, without NaN.
            relevant: bool [Nq, Ng], the genuine pairs.
            valid: bool [Nq, Ng], the pairs that count.
        """
        values = as_matrix(distances).astype(np.float32)
        require_numbers(values, 0, len(values))
        genuine, impostor = relevant & valid, ~relevant & valid

        def ordered(mask: Mask) -> tuple[Singles, Integers]:
            order = np.argsort(values[mask], kind="stable")
            return values[mask][order], np.nonzero(mask)[0][order]

        return cls(
            *ordered(genuine),
            *ordered(impostor),
            np.empty(0, np.float32),
            np.empty(0, np.int64),
            impostor.sum(1),
        )

    @property
    def impostors(self) -> int:
        """How many impostor pairs there are."""
        return len(self.nearest) + int(self.counts.sum())

    def threshold_at(self, fmr: float) -> float:
        """The largest distance to be called a match so that no more than the share ``fmr`` of
        impostor pairs is called one.

        float32, or -inf if even the nearest impostor pair would be too many.
        """
        number("a false-match rate", fmr, 0, 1)
        allowed = int(fmr * self.impostors + 1e-9)
        if allowed < len(self.nearest):
            first = self.nearest[allowed]  # the nearest impostor pair that would be too many
        else:
            upto = len(self.nearest) + np.cumsum(self.counts)
            index = int(np.searchsorted(upto, allowed, "right"))
            if index == len(upto):
                return float("inf")
            first = _least(_bin(self.edges[index : index + 1]))[0]  # it lies in this bin
        return float(np.nextafter(first, np.float32(-np.inf)))

    def tpr_at(self, fmr: float) -> float:
        """Share in [0, 1] of the genuine pairs at or below that threshold; NaN without both
        kinds.
        """
        if not len(self.genuine) or not self.impostors:
            return float("nan")
        return float(
            np.searchsorted(self.genuine, np.float32(self.threshold_at(fmr)), "right")
        ) / len(self.genuine)

    def rates(self, threshold: float) -> tuple[float, float]:
        """(FMR, TPR) if pairs up to ``threshold`` are called a match; the FMR to the width of a
        bin.
        """
        require(
            fits(threshold, float) and not isnan(threshold), "a threshold", "a number", threshold
        )
        fmr, tpr = self._at(np.array([threshold], np.float32))
        return float(fmr[0]), float(tpr[0])

    @cached_property
    def points(self) -> tuple[Doubles, Doubles, Singles]:
        """The curve: (FMR, TPR, threshold), all ascending from (0, 0) at -inf, every one a point
        of the exact curve.
        """
        thresholds = np.unique(np.concatenate([self.nearest, self._alone, self.edges]))
        fmr, tpr = self._at(thresholds)
        return np.append(0.0, fmr), np.append(0.0, tpr), np.append(np.float32(-np.inf), thresholds)

    @property
    def eer(self) -> float:
        """Equal error rate: where the curve, straight between its points, has as many false as
        missed matches.
        """
        if not len(self.genuine) or not self.impostors:
            return float("nan")

        def ahead(threshold: np.float32) -> float:
            """TPR + FMR - 1, which rises from -1 to 1 over the points of the curve."""
            fmr, tpr = self.rates(float(threshold))
            return fmr + tpr - 1

        # The two points around the crossing, without working all of them out.
        kinds = [kind for kind in (self.nearest, self._alone, self.edges) if len(kind)]
        indices = [bisect_left(kind, 0.0, key=ahead) for kind in kinds]
        last = min(kind[i] for kind, i in zip(kinds, indices, strict=True) if i < len(kind))
        before = max(
            (kind[i - 1] for kind, i in zip(kinds, indices, strict=True) if i), default=-np.inf
        )
        (fmr0, _), (fmr1, _) = (self.rates(float(t)) for t in (before, last))
        low, high = (ahead(np.float32(t)) for t in (before, last))
        return fmr0 + -low / (high - low) * (fmr1 - fmr0)

    @property
    def _alone(self) -> Singles:
        """Genuine pairs around which impostor pairs are known one by one, or there are none."""
        return self.genuine[~np.isin(_bin(self.genuine), _bin(self.edges))]

    @property
    def scores(self) -> dict[str, float]:
        """TPR at FMR 1e-4, 1e-3 and 1e-2, and EER, by name."""
        return {
            **{f"TPR@{fmr:.0e}".replace("e-0", "e-"): self.tpr_at(fmr) for fmr in FMRS},
            "EER": self.eer,
        }

    def _at(self, thresholds: Singles) -> tuple[Doubles, Doubles]:
        passed = np.searchsorted(self.nearest, thresholds, "right").astype(np.float64)
        if len(self.edges):
            upto = np.append(0, np.cumsum(self.counts))
            passed += upto[np.searchsorted(self.edges, thresholds, "right")]
        return passed / max(self.impostors, 1), np.searchsorted(
            self.genuine, thresholds, "right"
        ) / max(len(self.genuine), 1)


@door
def roc_curve(
    distances: Matrix,
    *,
    q_ids: Ids,
    g_ids: Ids,
    q_cams: Ids | None = None,
    g_cams: Ids | None = None,
    protocol: Protocol | None = None,
    distractor: Special = None,
    junk: Special = None,
) -> Roc:
    """Verification on a whole matrix of distances: every pair that the protocol compares.

    Args:
        distances: [Nq, Ng], smaller is closer; a numpy array, a torch tensor or lists.
        q_ids: integers [Nq].
        g_ids: integers [Ng].
        q_cams: integers [Nq], or None where nobody knows the cameras.
        g_cams: integers [Ng] or None.
        protocol: which pairs are left out; None: see :func:`partreid.metrics.evaluate`.
        distractor: an identity, or several, that is nobody's: all its pairs are impostor pairs.
        junk: an identity, or several, whose gallery images are left out.

    Returns:
        The :class:`Roc`: TPR at an FMR, the threshold for it, EER. Rates are NaN without both
        kinds of pairs.

    Raises:
        ShapeError: shapes do not fit or ids are no integers.
        ArgumentError: distances are no real numbers, or cameras are missing for the protocol.
        DataError: a distance is NaN.

    Examples:
        >>> from partreid.metrics import roc_curve
        >>> roc = roc_curve([[0.1, 0.4, 0.3], [0.2, 0.6, 0.5]], q_ids=[1, 2], g_ids=[1, 1, 2])
        >>> len(roc.genuine), roc.impostors
        (3, 3)
        >>> round(roc.tpr_at(0.34), 3)
        0.333
    """
    values = as_matrix(distances)
    shape = (values.shape[0], values.shape[1])
    labels = Labels.of(shape, q_ids, g_ids, q_cams, g_cams, protocol, distractor, junk)
    return Roc.of_masks(values, *labels.masks())


class PairAccumulator:
    """Takes distances as they stream by (see :class:`partreid.metrics.Accumulator`) and ends up
    with a :class:`Roc`.

    Args:
        least: how many of the nearest impostor pairs are kept one by one at least; 8 bytes each.
        share: of more than that the nearest ``share``, in [0, 1], to twice as many. Thresholds
            there are exact.

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import PairAccumulator, evaluate
        >>> pairs = PairAccumulator()
        >>> distances = np.array([[0.1, 0.4, 0.3], [0.2, 0.6, 0.5]])
        >>> ranking = evaluate(distances, q_ids=[1, 2], g_ids=[1, 1, 2], accumulators=[pairs])
        >>> pairs.result().impostors
        3
    """

    def __init__(self, least: int = 1 << 20, share: float = 0.01) -> None:
        self.least, self.share = integer("least", least, 0), number("share", share, 0, 1)
        self._genuine: list[Integers] = []
        self._near: list[Integers] = []
        self._impostors: list[Integers] = []
        self._bins = np.zeros(_BINS, np.int64)
        self._first = _BINS  # bins from here on are counts only
        self._cut: np.float32 | None = None  # where they begin

    def summarize(
        self, start: int, part: Singles, ordered: Singles, right: Sequence[Integers]
    ) -> tuple[Integers, Integers, Integers, int, Integers]:
        size = np.array([len(columns) for columns in right], np.int64)
        query = np.repeat(np.arange(len(part)), size)
        genuine = _packed(part[query, np.concatenate(right)], start + query)
        # what was removed is NaN, at the end
        rows = [row[: np.searchsorted(row, np.nan)] for row in ordered]
        impostors = np.array([len(row) for row in rows], np.int64) - size
        near = np.flatnonzero(ordered == ordered if self._cut is None else ordered < self._cut)
        kept = _packed(ordered.ravel()[near], start + near // ordered.shape[1])
        # A sorted row is counted into bins by looking up their ends, a few hundred, instead of all
        # its entries.
        finite = [row[: np.searchsorted(row, np.inf)] for row in rows]
        ends = np.array([x for row in finite if len(row) for x in (row[0], row[-1])], np.float32)
        first, last = (
            (int(_bin(x)[0]) for x in (ends.min(keepdims=True), ends.max(keepdims=True)))
            if len(ends)
            else (0, -1)
        )
        bounds = _least(np.arange(first, last + 1))
        upto = np.sum([np.append(np.searchsorted(row, bounds), len(row)) for row in finite], 0)
        infinite = sum(map(len, rows)) - sum(map(len, finite))
        return genuine, kept, impostors, first, np.append(np.diff(upto), infinite)

    def update(self, summary: tuple[Integers, Integers, Integers, int, Integers]) -> None:
        genuine, near, impostors, first, counts = summary
        self._impostors.append(impostors)
        self._genuine.append(genuine)
        self._near.append(near)
        self._bins[first : first + len(counts) - 1] += counts[:-1]
        self._bins[_INFINITE] += counts[-1]
        np.subtract.at(
            self._bins, _bin(_unpacked(genuine)[0]), 1
        )  # only impostor pairs are counted
        upto = np.cumsum(self._bins)
        first = int(np.searchsorted(upto, max(self.least, 2 * self.share * upto[-1]), "right"))
        if first < self._first:
            self._first, self._cut = first, _least(np.array([first]))[0]

    def result(self) -> Roc:
        """Of all distances so far."""
        genuine = np.sort(np.concatenate([np.empty(0, np.int64), *self._genuine]))
        near = np.concatenate([np.empty(0, np.int64), *self._near])
        if self._cut is not None:
            near = near[near < _packed(np.array([self._cut], np.float32), 0)]
        near = np.sort(near)
        self._near = [near]
        near, near_query = _unpacked(_without(near, genuine))
        distances, queries = _unpacked(genuine)
        bins = self._first + np.flatnonzero(self._bins[self._first :])
        return Roc(
            distances,
            queries,
            near,
            near_query,
            _largest(bins),
            self._bins[bins],
            np.concatenate([np.empty(0, np.int64), *self._impostors]),
        )


def _key(values: Singles) -> Integers32:
    """Integers in the order of the values."""
    bits = values.view(np.int32)
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))


def _value(keys: Integers32) -> Singles:
    return (keys ^ ((keys >> 31) & np.int32(0x7FFFFFFF))).view(np.float32)


def _bin(values: Singles) -> Integers32:
    return (_key(values) >> 16) + np.int32(_BINS // 2)


def _least(bins: Integers | Integers32) -> Singles:
    """The smallest value of each bin."""
    return _value(((bins - _BINS // 2) << 16).astype(np.int32))


def _largest(bins: Integers | Integers32) -> Singles:
    """The largest value of each bin."""
    values = _value((((bins - _BINS // 2) << 16) + 0xFFFF).astype(np.int32))
    # the last bin of numbers ends above infinity
    return np.where(np.isnan(values), np.float32(np.inf), values)


def _packed(values: Singles, query: int | Integers) -> Integers:
    """Value and query in one integer, in the order of the values."""
    return (_key(values.astype(np.float32, copy=False)).astype(np.int64) << 32) | query


def _unpacked(packed: Integers) -> tuple[Singles, Integers]:
    return _value((packed >> 32).astype(np.int32)), packed & 0xFFFFFFFF


def _without(ordered: Integers, removed: Integers) -> Integers:
    """What is left of sorted integers when those in ``removed``, sorted too, are taken out, each
    as often.
    """
    if not len(removed) or not len(ordered):
        return ordered
    again = np.arange(len(removed)) - np.searchsorted(removed, removed, "left")
    positions = np.searchsorted(ordered, removed, "left") + again
    inside = positions < len(ordered)
    positions = positions[inside]
    keep = np.ones(len(ordered), np.bool_)
    keep[positions[ordered[positions] == removed[inside]]] = False
    return ordered[keep]
