"""One list: the ranks of its right entries, its nearest entries, and its scores.

A list is a row of distances with two masks: ``relevant`` (right answers) and ``valid`` (entries
that take part; the others are removed before ranking). Ranks count from 1.

**Ties.** Of two entries at the same distance the one that comes first in the gallery ranks first,
as in a stable sort; +inf ranks last, by the same rule. So the same distances give the same scores,
always.
"""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from partreid.metrics.arrays import Floats, Integers, Mask
from partreid.utils.arguments import door

Ranks = NDArray[np.int64]


@door
def match_ranks(distances: Floats, relevant: Mask, valid: Mask) -> Ranks:
    """Ranks of the right entries of one list.

    Args:
        distances: float [Ng], smaller is closer, no NaN.
        relevant: bool [Ng], the right entries.
        valid: bool [Ng], the entries that take part.

    Returns:
        int64 [P], ascending from 1; P = 0 if there are none.

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import match_ranks
        >>> right, there = np.array([True, False, True]), np.array([True, True, True])
        >>> match_ranks(np.array([0.3, 0.2, 0.9]), right, there).tolist()
        [2, 3]
    """
    row = _without(distances, valid)[None]
    return np.sort(ranks_of_rows(np.sort(row), row, [np.flatnonzero(relevant & valid)])[0])


@door
def ranks_of_rows(ordered: Floats, rows: Floats, hits: Sequence[Integers]) -> list[Ranks]:
    """Ranks of the entries ``hits`` of each row, in their order; removed entries are NaN; ordered:
    the rows sorted.

    Only right entries need a rank, so the values alone are sorted: several times faster than
    sorting indices.
    """
    starts = [0, *accumulate(map(len, hits))]
    which, column = (
        np.repeat(np.arange(len(rows)), np.diff(starts)),
        np.concatenate([np.empty(0, np.int64), *hits]),
    )
    values = rows[which, column]
    places = [
        np.searchsorted(row, values[first:last])
        for row, first, last in zip(ordered, starts, starts[1:])
    ]
    ranks = 1 + np.concatenate([np.empty(0, np.int64), *places])
    behind = ranks < ordered.shape[1]
    # an entry as close comes next in order
    behind[behind] = ordered[which[behind], ranks[behind]] == values[behind]
    for i in np.flatnonzero(behind).tolist():
        ranks[i] += np.count_nonzero(rows[which[i], : column[i]] == values[i])
    return [ranks[first:last] for first, last in zip(starts, starts[1:])]


@door
def nearest(distances: Floats, valid: Mask, k: int) -> Ranks:
    """Indices of the k nearest valid entries, nearest first: int64 [k], ended by -1 where there
    are fewer.
    """
    row = _without(distances, valid)[None]
    return nearest_of_rows(np.sort(row), row, np.array([np.count_nonzero(valid)]), k)[0]


@door
def nearest_of_rows(ordered: Floats, rows: Floats, valid: Integers, k: int) -> Integers:
    """The same of rows whose removed entries are NaN: int64 [n, k]. ordered: the rows sorted;
    valid: int64 [n], how many entries of each are left.
    """
    counts = np.minimum(k, valid)
    best = np.full((len(rows), k), -1, np.int64)
    if not rows.shape[1]:
        return best
    farthest = np.where(counts > 0, ordered[np.arange(len(rows)), counts - 1], -np.inf)
    which, column = np.divmod(np.flatnonzero(rows <= farthest[:, None]), rows.shape[1])
    order = np.lexsort((column, rows[which, column], which))
    which, column = which[order], column[order]
    place = np.arange(len(which)) - np.searchsorted(which, which)
    kept = place < counts[which]
    best[which[kept], place[kept]] = column[kept]
    return best


def _without(distances: Floats, valid: Mask) -> Floats:
    row = distances.copy()
    row[~valid] = np.nan  # sorted last, and neither closer than anything nor as close
    return row


@door
def average_precision(ranks: Ranks) -> float:
    """Mean of the precision at each right entry, as information retrieval defines it.

    The older trapezoid rule of Market-1501 is :func:`partreid.metrics.official.trapezoid_ap`.

    Args:
        ranks: int64 [P], ascending, P > 0.

    Returns:
        In (0, 1].

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import average_precision
        >>> average_precision(np.array([1, 4]))
        0.75
    """
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


@door
def inverse_negative_penalty(ranks: Ranks) -> float:
    """INP = P / rank of the last right entry: what finding them all costs (AGW, TPAMI 2021).

    Args:
        ranks: int64 [P], ascending, P > 0.

    Returns:
        In (0, 1].

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import inverse_negative_penalty
        >>> inverse_negative_penalty(np.array([1, 4]))
        0.5
    """
    return float(len(ranks) / ranks[-1])


@door
def cumulative_matches(first: Ranks, ks: Sequence[int]) -> dict[int, float]:
    """CMC: the share of lists whose first right entry has rank k or better.

    Args:
        first: int64 [N], N > 0, the rank of each list's first right entry.
        ks: ranks.

    Returns:
        Rank -> share in [0, 1].

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import cumulative_matches
        >>> cumulative_matches(np.array([1, 3, 8, 1]), [1, 5])
        {1: 0.5, 5: 0.75}
    """
    return {k: float(np.mean(first <= k)) for k in ks}
