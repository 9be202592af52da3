"""Open-set search: may the person asked for be in nobody's gallery, and does the search say so?

A query is *mated* if it has a right answer. A search returns what lies at or below a threshold. Of
the queries that are not mated, FPIR is the share to which it returns anybody at all; of the mated
ones FNIR is the share whose person it does not return, and DIR the share whose person it returns
first. AUROC: how well the nearest distance alone tells mated queries from others. (Grother et al.,
NIST FRVT 1:N; Liao et al., arXiv 1408.0872.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partreid.metrics.matches import Floats
from partreid.utils.arguments import door, integer, number

Integers = NDArray[np.int64]
Singles = NDArray[np.float32]
Mask = NDArray[np.bool_]
FPIRS = (0.01, 0.1)


@dataclass(frozen=True, eq=False)
class Searches:
    """The outcome of Nq searches, each [Nq]. mated: bool. own, other: float32 distance of the
    nearest right and the nearest wrong answer, +inf where there is none. first: bool, whether the
    nearest of all is right.
    """

    mated: Mask
    own: Singles
    other: Singles
    first: Mask

    @property
    def nearest(self) -> Singles:
        """Distance of the nearest answer of all."""
        return np.minimum(self.own, self.other)

    def limit(self, fpir: float) -> float:
        """Answers nearer than this are returned, so that no more than the share ``fpir`` of
        non-mated queries get any.

        +inf if all of them may; a pair that shares no part is never returned. NaN without non-mated
        queries.
        """
        number("a false-positive rate", fpir, 0, 1)
        strangers = np.sort(self.nearest[~self.mated])
        if not len(strangers):
            return float("nan")
        allowed = int(fpir * len(strangers) + 1e-9)
        return float(strangers[allowed]) if allowed < len(strangers) else float("inf")

    def fnir_at(self, fpir: float) -> float:
        """False-negative identification rate in [0, 1], at any rank; NaN without queries of both
        kinds.
        """
        return self._share(~(self.own < self.limit(fpir)), fpir)

    def dir_at(self, fpir: float) -> float:
        """Detection and identification rate in [0, 1]: the right person returned, and first."""
        return self._share((self.own < self.limit(fpir)) & self.first, fpir)

    def _share(self, of: Mask, fpir: float) -> float:
        if not self.mated.any() or np.isnan(self.limit(fpir)):
            return float("nan")
        return float(np.mean(of[self.mated]))

    @property
    def auroc(self) -> float:
        """Probability in [0, 1] that a mated query has a nearer answer than another one; ties
        count half.
        """
        mated, strangers = self.nearest[self.mated], np.sort(self.nearest[~self.mated])
        if not len(mated) or not len(strangers):
            return float("nan")
        below, upto = (np.searchsorted(strangers, mated, side) for side in ("left", "right"))
        return float(1 - (below + upto).mean() / (2 * len(strangers)))

    @property
    def scores(self) -> dict[str, float]:
        """FNIR and DIR at FPIR 1 % and 10 %, and AUROC, by name."""
        return {
            **{f"FNIR@{fpir:.0%}": self.fnir_at(fpir) for fpir in FPIRS},
            **{f"DIR@{fpir:.0%}": self.dir_at(fpir) for fpir in FPIRS},
            "AUROC": self.auroc,
        }


@door
def searches(distances: Floats, relevant: Mask, valid: Mask) -> Searches:
    """Of whole matrices [Nq, Ng]: a query without a relevant and valid entry is not mated."""
    values = np.where(valid, np.asarray(distances, np.float32), np.nan)
    right = relevant & valid
    own, other = (
        _nearest(np.where(right, values, np.nan)),
        _nearest(np.where(right, np.nan, values)),
    )
    first = [
        _first(row, np.flatnonzero(at), o, w)
        for row, at, o, w in zip(values, right, own, other, strict=True)
    ]
    return Searches(np.asarray(right.any(1)), own, other, np.array(first, np.bool_))


class Watchlist:
    """Watches distances stream by (see :class:`partreid.metrics.ranking.Watcher`), in a gallery
    that lacks some people.

    A seeded share of the people that are both asked for and in the gallery is taken out of it:
    their queries become non-mated, so no other data are needed. The draw depends on the identities
    alone, so it is the same for all models. Distractors stay in.
    """

    @door
    def __init__(
        self, query_ids: Integers, gallery_ids: Integers, unknown: float = 0.5, seed: int = 0
    ) -> None:
        number("the share of unknown people", unknown, 0, 1)
        integer("the seed", seed, 0)
        both = np.intersect1d(query_ids, gallery_ids)
        both = both[both > 0]
        self.unknown = np.sort(
            np.random.default_rng(seed).permutation(both)[: round(unknown * len(both))]
        )
        self._stranger = np.isin(query_ids, self.unknown)
        # added, it removes them
        self._out = np.where(np.isin(gallery_ids, self.unknown), np.nan, 0).astype(np.float32)
        self._seen: list[tuple[Mask, Singles, Singles, Mask]] = []

    def look(
        self, start: int, part: Singles, ordered: Singles, right: Sequence[Integers]
    ) -> tuple[Mask, Singles, Singles, Mask]:
        mated = np.array(
            [len(at) > 0 and not self._stranger[start + i] for i, at in enumerate(right)], np.bool_
        )
        own = np.full(len(part), np.inf, np.float32)
        wrong = part + self._out
        for i in np.flatnonzero(mated).tolist():
            own[i] = part[i, right[i]].min()
            wrong[i, right[i]] = np.nan
        other = _nearest(wrong)
        first = [
            bool(m) and _first(row, at, o, w, self._out)
            for m, row, at, o, w in zip(mated, part, right, own, other, strict=True)
        ]
        return mated, own, other, np.array(first, np.bool_)

    def add(self, seen: tuple[Mask, Singles, Singles, Mask]) -> None:
        self._seen.append(seen)

    def result(self) -> Searches:
        """What was seen so far."""
        return Searches(*(np.concatenate(column) for column in zip(*self._seen, strict=True)))


def _nearest(rows: Singles) -> Singles:
    """Minimum of each row without NaN, +inf where nothing else is left."""
    if not rows.shape[1]:
        return np.full(len(rows), np.inf, np.float32)
    least = np.fmin.reduce(rows, axis=1)
    return np.where(np.isnan(least), np.float32(np.inf), least).astype(np.float32)


def _first(
    row: Singles, right: Integers, own: np.float32, other: np.float32, out: Singles | None = None
) -> bool:
    """Whether a right entry comes first; ties keep the order of the row, less what is NaN in
    ``out``.
    """
    if own != other or not len(right):
        return bool(own < other)
    left = row if out is None else row + out
    return int(right[row[right] == own][0]) == int(np.flatnonzero(left == own)[0])
