"""Verification: of all pairs that a protocol compares, which are said to be one person at a given
distance?

The false-match rate (FPR) is the share of pairs of strangers at or below a threshold, the
true-match rate (TPR) that of pairs of one person. Everything follows from the distances of two
sorts of pairs; nothing here knows of cameras. A pair that shares no part is infinitely far and
never said to match.

Pairs stream by: those of one person are all kept, and of strangers the nearest, where thresholds
are put; of the rest a count in narrow bins. So every point that is computed is an exact point of
the ROC curve, whatever the number of pairs.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan

import numpy as np
from numpy.typing import NDArray

from partreid.metrics.matches import Floats
from partreid.utils.arguments import door, fits, integer, number, require

Integers = NDArray[np.int64]
Integers32 = NDArray[np.int32]
Singles = NDArray[np.float32]
FPRS = (1e-4, 1e-3, 1e-2)

_BINS = 1 << 16  # a bin is told by the upper half of a float32: 2^-7 of the value wide
_INFINITE = _BINS // 2 + 0x7F80  # that of infinity


@dataclass(frozen=True, eq=False)
class Roc:
    """Both kinds of pairs. own: distances of pairs of one person, float32 [P], ascending,
    ``own_query`` their query.

    near: the nearest pairs of strangers, exactly, float32 [n], ascending, ``near_query`` their
    query. Above them ``edges`` float32 [b], ascending, and how many pairs of strangers lie above
    the one before, up to each: ``counts``. ``others_of_query``: of how many pairs of strangers each
    query is one, int64 [Nq].
    """

    own: Singles
    own_query: Integers
    near: Singles
    near_query: Integers
    edges: Singles
    counts: Integers
    others_of_query: Integers

    @property
    def others(self) -> int:
        """How many pairs of strangers there are."""
        return len(self.near) + int(self.counts.sum())

    def threshold_at(self, fpr: float) -> float:
        """The largest distance to be called a match so that no more than the share ``fpr`` of
        strangers are called one.

        float32, or -inf if even the nearest pair of strangers would be too many.
        """
        number("a false-positive rate", fpr, 0, 1)
        allowed = int(fpr * self.others + 1e-9)
        if allowed < len(self.near):
            first = self.near[allowed]  # the nearest pair of strangers that would be too many
        else:
            upto = len(self.near) + np.cumsum(self.counts)
            at = int(np.searchsorted(upto, allowed, "right"))
            if at == len(upto):
                return float("inf")
            first = _least(_bin(self.edges[at : at + 1]))[0]  # it lies in this bin
        return float(np.nextafter(first, np.float32(-np.inf)))

    def tpr_at(self, fpr: float) -> float:
        """Share in [0, 1] of the pairs of one person that are found at that threshold; NaN
        without both kinds.
        """
        if not len(self.own) or not self.others:
            return float("nan")
        return float(np.searchsorted(self.own, np.float32(self.threshold_at(fpr)), "right")) / len(
            self.own
        )

    def rates(self, threshold: float) -> tuple[float, float]:
        """(FPR, TPR) if pairs up to ``threshold`` are called a match; the FPR to the width of a
        bin.
        """
        require(
            fits(threshold, float) and not isnan(threshold), "a threshold", "a number", threshold
        )
        fpr, tpr = self._at(np.array([threshold], np.float32))
        return float(fpr[0]), float(tpr[0])

    @cached_property
    def points(self) -> tuple[NDArray[np.float64], NDArray[np.float64], Singles]:
        """The curve: (FPR, TPR, threshold), all ascending from (0, 0) at -inf, every one a point
        of the exact curve.
        """
        thresholds = np.unique(np.concatenate([self.near, self._alone, self.edges]))
        fpr, tpr = self._at(thresholds)
        return np.append(0.0, fpr), np.append(0.0, tpr), np.append(np.float32(-np.inf), thresholds)

    @property
    def eer(self) -> float:
        """Equal error rate: where the curve, straight between its points, has as many false as
        missed matches.
        """
        if not len(self.own) or not self.others:
            return float("nan")

        def ahead(threshold: np.float32) -> float:
            """TPR + FPR - 1, which rises from -1 to 1 over the points of the curve."""
            fpr, tpr = self.rates(float(threshold))
            return fpr + tpr - 1

        # The two points around the crossing, without working all of them out.
        kinds = [kind for kind in (self.near, self._alone, self.edges) if len(kind)]
        at = [bisect_left(kind, 0.0, key=ahead) for kind in kinds]
        last = min(kind[i] for kind, i in zip(kinds, at, strict=True) if i < len(kind))
        before = max((kind[i - 1] for kind, i in zip(kinds, at, strict=True) if i), default=-np.inf)
        (fpr0, _), (fpr1, _) = (self.rates(float(t)) for t in (before, last))
        low, high = (ahead(np.float32(t)) for t in (before, last))
        return fpr0 + -low / (high - low) * (fpr1 - fpr0)

    @property
    def _alone(self) -> Singles:
        """Pairs of one person around whom strangers are known one by one, or there are none."""
        return self.own[~np.isin(_bin(self.own), _bin(self.edges))]

    @property
    def scores(self) -> dict[str, float]:
        """TPR at FPR 1e-4, 1e-3 and 1e-2, and EER, by name."""
        return {
            **{f"TPR@{fpr:.0e}".replace("e-0", "e-"): self.tpr_at(fpr) for fpr in FPRS},
            "EER": self.eer,
        }

    def _at(self, thresholds: Singles) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        passed = np.searchsorted(self.near, thresholds, "right").astype(np.float64)
        if len(self.edges):
            upto = np.append(0, np.cumsum(self.counts))
            passed += upto[np.searchsorted(self.edges, thresholds, "right")]
        return passed / max(self.others, 1), np.searchsorted(self.own, thresholds, "right") / max(
            len(self.own), 1
        )


@door
def verification(distances: Floats, relevant: NDArray[np.bool_], valid: NDArray[np.bool_]) -> Roc:
    """Of whole matrices [Nq, Ng], exactly: distances without NaN, relevant and valid bool."""
    own, other = relevant & valid, ~relevant & valid
    values = np.asarray(distances, np.float32)

    def ordered(mask: NDArray[np.bool_]) -> tuple[Singles, Integers]:
        order = np.argsort(values[mask], kind="stable")
        return values[mask][order], np.nonzero(mask)[0][order]

    return Roc(
        *ordered(own), *ordered(other), np.empty(0, np.float32), np.empty(0, np.int64), other.sum(1)
    )


class Pairs:
    """Watches distances stream by (see :class:`partreid.metrics.ranking.Watcher`) and ends up with
    a :class:`Roc`.

    least, share: how many of the nearest pairs are kept one by one, besides those of one person:
    all of some ``least``, and of more than that the nearest ``share`` to twice as many, 8 bytes
    each. Thresholds there are exact.
    """

    def __init__(self, least: int = 1 << 20, share: float = 0.01) -> None:
        self.least, self.share = integer("least", least, 0), number("share", share, 0, 1)
        self._own: list[Integers] = []
        self._near: list[Integers] = []
        self._others: list[Integers] = []
        self._bins = np.zeros(_BINS, np.int64)
        self._first = _BINS  # bins from here on are counts only
        self._cut: np.float32 | None = None  # where they begin

    def look(
        self, start: int, part: Singles, ordered: Singles, right: Sequence[Integers]
    ) -> tuple[Integers, Integers, Integers, int, Integers]:
        size = np.array([len(at) for at in right], np.int64)
        query = np.repeat(np.arange(len(part)), size)
        own = _packed(part[query, np.concatenate(right)], start + query)
        # what was removed is NaN, at the end
        rows = [row[: np.searchsorted(row, np.nan)] for row in ordered]
        others = np.array([len(row) for row in rows], np.int64) - size
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
        return own, kept, others, first, np.append(np.diff(upto), infinite)

    def add(self, seen: tuple[Integers, Integers, Integers, int, Integers]) -> None:
        own, near, others, first, counts = seen
        self._others.append(others)
        self._own.append(own)
        self._near.append(near)
        self._bins[first : first + len(counts) - 1] += counts[:-1]
        self._bins[_INFINITE] += counts[-1]
        np.subtract.at(self._bins, _bin(_unpacked(own)[0]), 1)  # strangers are counted
        upto = np.cumsum(self._bins)
        first = int(np.searchsorted(upto, max(self.least, 2 * self.share * upto[-1]), "right"))
        if first < self._first:
            self._first, self._cut = first, _least(np.array([first]))[0]

    def result(self) -> Roc:
        """What was seen so far."""
        own = np.sort(np.concatenate([np.empty(0, np.int64), *self._own]))
        near = np.concatenate([np.empty(0, np.int64), *self._near])
        if self._cut is not None:
            near = near[near < _packed(np.array([self._cut], np.float32), 0)]
        near = np.sort(near)
        self._near = [near]
        near, near_query = _unpacked(_without(near, own))
        distances, queries = _unpacked(own)
        at = self._first + np.flatnonzero(self._bins[self._first :])
        return Roc(
            distances,
            queries,
            near,
            near_query,
            _largest(at),
            self._bins[at],
            np.concatenate([np.empty(0, np.int64), *self._others]),
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
    at = np.searchsorted(ordered, removed, "left") + again
    inside = at < len(ordered)
    at = at[inside]
    keep = np.ones(len(ordered), np.bool_)
    keep[at[ordered[at] == removed[inside]]] = False
    return ordered[keep]
