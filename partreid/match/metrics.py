"""Scores of one ranked list, from the ranks of its right entries. Nothing here knows of cameras or people.

A list is a row of distances with two masks: ``relevant`` (right answers) and ``valid`` (entries that take
part; the others are removed before ranking). Ranks count from 1.

**Ties.** Of two entries at the same distance the one that comes first in the gallery ranks first, as in a
stable sort; +inf ranks last, by the same rule. So the same distances give the same scores, always.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ranks = NDArray[np.int64]


def match_ranks(distances: Floats, relevant: NDArray[np.bool_], valid: NDArray[np.bool_]) -> Ranks:
    """Ranks of the right entries, ascending: int64 [P]; P = 0 if there are none.

    distances: float [Ng], smaller is closer, no NaN. relevant, valid: bool [Ng].
    """
    row = _without(distances, valid)
    return np.sort(ranks_among(np.sort(row), row, np.flatnonzero(relevant & valid)))


def ranks_among(ordered: Floats, row: Floats, at: NDArray[np.int64]) -> Ranks:
    """Ranks of the entries ``at``, in their order, of a row whose removed entries are NaN; ordered: the row sorted.

    Only right entries need a rank, so the values alone are sorted: several times faster than sorting indices.
    """
    if len(at) == 0:
        return np.empty(0, np.int64)
    values = row[at]
    ranks = 1 + np.searchsorted(ordered, values, "left")
    tied = np.searchsorted(ordered, values, "right") > ranks
    for i in np.flatnonzero(tied).tolist():
        ranks[i] += np.count_nonzero(row[:at[i]] == values[i])
    return ranks


def nearest(distances: Floats, valid: NDArray[np.bool_], k: int) -> Ranks:
    """Indices of the k nearest valid entries, nearest first: int64 [k], ended by -1 where there are fewer."""
    row = _without(distances, valid)
    return nearest_among(np.sort(row), row, int(np.count_nonzero(valid)), k)


def nearest_among(ordered: Floats, row: Floats, valid: int, k: int) -> Ranks:
    """The same of a row whose removed entries are NaN; ordered: the row sorted; valid: how many entries are left."""
    found = min(k, valid)
    best = np.full(k, -1, np.int64)
    if found:
        close = np.flatnonzero(row <= ordered[found - 1])
        best[:found] = close[np.argsort(row[close], kind="stable")[:found]]
    return best


def _without(distances: Floats, valid: NDArray[np.bool_]) -> Floats:
    row = distances.copy()
    row[~valid] = np.nan  # sorted last, and neither closer than anything nor as close
    return row


def average_precision(ranks: Ranks) -> float:
    """Mean of the precision at each right entry, as information retrieval defines it. In (0, 1].

    ranks: int64 [P], ascending, P > 0. The older trapezoid rule of Market-1501 is in ``match.legacy``.
    """
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def inverse_negative_penalty(ranks: Ranks) -> float:
    """INP = P / rank of the last right entry: what finding them all costs (AGW, TPAMI 2021). In (0, 1]."""
    return float(len(ranks) / ranks[-1])


def cumulative_matches(first: Ranks, ks: Sequence[int]) -> dict[int, float]:
    """CMC: the share of lists whose first right entry has rank k or better. first: int64 [N], N > 0."""
    return {k: float(np.mean(first <= k)) for k in ks}
