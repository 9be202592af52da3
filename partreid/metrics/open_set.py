"""Open-set search (1:N): is the person in the gallery at all, and does the search say so?

A query is *mated* if it has a right answer, *non-mated* otherwise. A search returns what lies below
a threshold. Of the non-mated queries FPIR is the share to which it returns anybody at all; of the
mated ones FNIR is the share whose person it does not return, and DIR the share whose person it
returns first. AUROC: how well the nearest distance alone tells mated queries from others. (Grother
et al., NIST FRVT 1:N; Liao et al., arXiv 1408.0872.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from partreid.metrics.arrays import (
    Ids,
    Integers,
    Labels,
    Mask,
    Matrix,
    Singles,
    as_int64,
    as_matrix,
    require_numbers,
)
from partreid.metrics.protocols import Protocol, Special, special
from partreid.utils.arguments import door, integer, number

FPIRS = (0.01, 0.1)


@dataclass(frozen=True, eq=False)
class Searches:
    """The outcome of Nq searches, each [Nq]. mated: bool. right, wrong: float32 distance of the
    nearest right and the nearest wrong answer, +inf where there is none. first: bool, whether the
    nearest of all is right.
    """

    mated: Mask
    right: Singles
    wrong: Singles
    first: Mask

    @classmethod
    @door
    def of_masks(cls, distances: Matrix, relevant: Mask, valid: Mask) -> "Searches":
        """Of a whole matrix and what a protocol says of it: a query without a relevant and valid
        entry is not mated.

        Args:
            distances: [Nq, Ng], numpy, torch or lists, without NaN.
            relevant: bool [Nq, Ng], the right answers.
            valid: bool [Nq, Ng], what a query may see.
        """
        matrix = as_matrix(distances)
        require_numbers(matrix, 0, len(matrix))
        values = np.where(valid, matrix.astype(np.float32), np.nan)
        mates = relevant & valid
        right, wrong = (
            _nearest(np.where(mates, values, np.nan)),
            _nearest(np.where(mates, np.nan, values)),
        )
        first = [
            _first(row, np.flatnonzero(mate), r, w)
            for row, mate, r, w in zip(values, mates, right, wrong, strict=True)
        ]
        return cls(np.asarray(mates.any(1)), right, wrong, np.array(first, np.bool_))

    @property
    def nearest(self) -> Singles:
        """Distance of the nearest answer of all."""
        return np.minimum(self.right, self.wrong)

    def limit(self, fpir: float) -> float:
        """Answers nearer than this are returned, so that no more than the share ``fpir`` of
        non-mated queries get any.

        +inf if all of them may; a pair that shares no part is never returned. NaN without non-mated
        queries.
        """
        number("a false-positive identification rate", fpir, 0, 1)
        non_mated = np.sort(self.nearest[~self.mated])
        if not len(non_mated):
            return float("nan")
        allowed = int(fpir * len(non_mated) + 1e-9)
        return float(non_mated[allowed]) if allowed < len(non_mated) else float("inf")

    def fnir_at(self, fpir: float) -> float:
        """False-negative identification rate in [0, 1], at any rank; NaN without queries of both
        kinds.
        """
        return self._share(~(self.right < self.limit(fpir)), fpir)

    def dir_at(self, fpir: float) -> float:
        """Detection and identification rate in [0, 1]: the right person returned, and first."""
        return self._share((self.right < self.limit(fpir)) & self.first, fpir)

    def _share(self, of: Mask, fpir: float) -> float:
        if not self.mated.any() or np.isnan(self.limit(fpir)):
            return float("nan")
        return float(np.mean(of[self.mated]))

    @property
    def auroc(self) -> float:
        """Probability in [0, 1] that a mated query has a nearer answer than another one; ties
        count half.
        """
        mated, non_mated = self.nearest[self.mated], np.sort(self.nearest[~self.mated])
        if not len(mated) or not len(non_mated):
            return float("nan")
        below, upto = (np.searchsorted(non_mated, mated, side) for side in ("left", "right"))
        return float(1 - (below + upto).mean() / (2 * len(non_mated)))

    @property
    def scores(self) -> dict[str, float]:
        """FNIR and DIR at FPIR 1 % and 10 %, and AUROC, by name."""
        return {
            **{f"FNIR@{fpir:.0%}": self.fnir_at(fpir) for fpir in FPIRS},
            **{f"DIR@{fpir:.0%}": self.dir_at(fpir) for fpir in FPIRS},
            "AUROC": self.auroc,
        }


@door
def searches(
    distances: Matrix,
    *,
    q_ids: Ids,
    g_ids: Ids,
    q_cams: Ids | None = None,
    g_cams: Ids | None = None,
    protocol: Protocol | None = None,
    distractor: Special = None,
    junk: Special = None,
) -> Searches:
    """Open-set search on a whole matrix of distances: a query without a right answer is non-mated.

    Args:
        distances: [Nq, Ng], smaller is closer; a numpy array, a torch tensor or lists.
        q_ids: integers [Nq].
        g_ids: integers [Ng].
        q_cams: integers [Nq], or None where nobody knows the cameras.
        g_cams: integers [Ng] or None.
        protocol: what a query may not see; None: see :func:`partreid.metrics.evaluate`.
        distractor: an identity, or several, that is wrong for every query.
        junk: an identity, or several, that no query sees.

    Returns:
        The :class:`Searches`: FNIR and DIR at an FPIR, AUROC. Rates are NaN without queries of
        both kinds.

    Raises:
        ShapeError: shapes do not fit or ids are no integers.
        ArgumentError: distances are no real numbers, or cameras are missing for the protocol.
        DataError: a distance is NaN.

    Examples:
        >>> from partreid.metrics import searches
        >>> outcome = searches([[0.1, 0.4], [0.3, 0.5]], q_ids=[1, 9], g_ids=[1, 2])
        >>> outcome.mated.tolist(), outcome.fnir_at(0.0), outcome.dir_at(0.0)
        ([True, False], 0.0, 1.0)
    """
    values = as_matrix(distances)
    shape = (values.shape[0], values.shape[1])
    labels = Labels.of(shape, q_ids, g_ids, q_cams, g_cams, protocol, distractor, junk)
    return Searches.of_masks(values, *labels.masks())


class OpenSetAccumulator:
    """Takes distances as they stream by (see :class:`partreid.metrics.Accumulator`), in a gallery
    that lacks some people, and ends up with :class:`Searches`.

    A seeded share of the people that are both asked for and in the gallery is taken out of it:
    their queries become non-mated, so no other data are needed. The draw depends on the identities
    alone, so it is the same for all models. Distractors stay in.

    Args:
        q_ids: integers [Nq].
        g_ids: integers [Ng].
        absent: the share of the people, in [0, 1], that is taken out of the gallery.
        seed: who they are.
        distractor: an identity, or several, that is wrong for every query.
        junk: an identity, or several, that no query sees.

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import OpenSetAccumulator, evaluate
        >>> ids = np.arange(10)
        >>> distances = np.abs(np.subtract.outer(ids, ids)).astype(float)
        >>> open_set = OpenSetAccumulator(q_ids=ids, g_ids=ids)
        >>> ranking = evaluate(distances, q_ids=ids, g_ids=ids, accumulators=[open_set])
        >>> len(open_set.absent), open_set.result().auroc
        (5, 1.0)
    """

    @door
    def __init__(
        self,
        *,
        q_ids: Ids,
        g_ids: Ids,
        absent: float = 0.5,
        seed: int = 0,
        distractor: Special = None,
        junk: Special = None,
    ) -> None:
        number("the share of absent people", absent, 0, 1)
        integer("the seed", seed, 0)
        query_ids, present = as_int64("q_ids", q_ids), as_int64("g_ids", g_ids)
        nobody = special("distractor", distractor) | special("junk", junk)
        both = np.setdiff1d(np.intersect1d(query_ids, present), sorted(nobody))
        self.absent = np.sort(
            np.random.default_rng(seed).permutation(both)[: round(absent * len(both))]
        )
        self._non_mated = np.isin(query_ids, self.absent)
        # added, it removes them
        self._out = np.where(np.isin(present, self.absent), np.nan, 0).astype(np.float32)
        self._summaries: list[tuple[Mask, Singles, Singles, Mask]] = []

    def summarize(
        self, start: int, part: Singles, ordered: Singles, right: Sequence[Integers]
    ) -> tuple[Mask, Singles, Singles, Mask]:
        mated = np.array(
            [
                len(columns) > 0 and not self._non_mated[start + i]
                for i, columns in enumerate(right)
            ],
            np.bool_,
        )
        near = np.full(len(part), np.inf, np.float32)
        wrong = part + self._out
        for i in np.flatnonzero(mated).tolist():
            near[i] = part[i, right[i]].min()
            wrong[i, right[i]] = np.nan
        far = _nearest(wrong)
        first = [
            bool(m) and _first(row, columns, o, w, self._out)
            for m, row, columns, o, w in zip(mated, part, right, near, far, strict=True)
        ]
        return mated, near, far, np.array(first, np.bool_)

    def update(self, summary: tuple[Mask, Singles, Singles, Mask]) -> None:
        self._summaries.append(summary)

    def result(self) -> Searches:
        """Of all distances so far."""
        return Searches(*(np.concatenate(column) for column in zip(*self._summaries, strict=True)))


def _nearest(rows: Singles) -> Singles:
    """Minimum of each row without NaN, +inf where nothing else is left."""
    if not rows.shape[1]:
        return np.full(len(rows), np.inf, np.float32)
    least = np.fmin.reduce(rows, axis=1)
    return np.where(np.isnan(least), np.float32(np.inf), least).astype(np.float32)


def _first(
    row: Singles,
    right: Integers,
    nearest: np.float32,
    wrong: np.float32,
    out: Singles | None = None,
) -> bool:
    """Whether a right entry comes first; ties keep the order of the row, less what is NaN in
    ``out``.
    """
    if nearest != wrong or not len(right):
        return bool(nearest < wrong)
    left = row if out is None else row + out
    return int(right[row[right] == nearest][0]) == int(np.flatnonzero(left == nearest)[0])
