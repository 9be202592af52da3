"""Where a score comes from: by cameras, by shared parts, by what the query shows, by people, by
part, by gallery size.

All but the last two take a :class:`Ranking` apart that is there already. The mAP is a mean over
queries of means over right pairs, so each right pair has a weight, 1 / (right pairs of its query x
scored queries), and a value, the precision at its rank; any sorting of the pairs gives slices whose
weight x value add up to the mAP exactly. Sorting the queries instead does the same for every score.
Under a protocol of several draws each draw's list is a query of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from partreid.distance import PartDistance
from partreid.errors import ShapeError
from partreid.metrics.arrays import Doubles, Ids, Integers, as_int64
from partreid.metrics.bootstrap import SAMPLES, Interval, bootstrap_ranking, bootstrap_values
from partreid.metrics.protocols import Protocol, Special
from partreid.metrics.ranking import KS, Ranking, evaluate_embeddings
from partreid.types import Embeddings
from partreid.utils.arguments import door

WHOLE = ("global", "foreground", "joined")  # embeddings of more than one part


@dataclass(frozen=True)
class Slice:
    """One row of a breakdown.

    name: for a table. key: what it stands for, to sort and plot by. queries, pairs: scored queries
    and right pairs in it. weight: its share of the mAP's weight, in [0, 1]. scores: by name, in [0,
    1]. intervals: of some or all of them.
    """

    name: str
    key: tuple[int, ...]
    queries: int
    pairs: int
    weight: float
    scores: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)


@door
def by_camera_pair(
    ranking: Ranking, *, q_cams: Ids, g_cams: Ids, ks: Sequence[int] = (1, 10)
) -> tuple[Slice, ...]:
    """Right pairs by (camera of the query, camera of the right image), in that order.

    scores: ``mAP``, the weighted mean precision at the right image, which weighted over all slices
    gives the mAP of the ranking; ``found@k``, the weighted share that ranks k or better. There is
    no Rank-1 of a pair of cameras: the right answers of a query from other cameras stand in the
    same list.

    Args:
        ranking: what :func:`partreid.metrics.evaluate` gave.
        q_cams: integers [Nq].
        g_cams: integers [Ng].
        ks: ranks of ``found@k``.

    Returns:
        A :class:`Slice` for each pair of cameras.

    Raises:
        ShapeError: cameras are no integers or not one per query.

    Examples:
        >>> from partreid.metrics import evaluate
        >>> from partreid.metrics.slices import by_camera_pair
        >>> ranking = evaluate([[0.1, 0.4, 0.3]], q_ids=[1], g_ids=[1, 1, 2])
        >>> [s.name for s in by_camera_pair(ranking, q_cams=[1], g_cams=[2, 3, 2])]
        ['camera 1 -> 2', 'camera 1 -> 3']
    """
    of_query, of_gallery = (
        as_int64("q_cams", q_cams),
        as_int64("g_cams", g_cams),
    )
    pairs = _pairs(ranking)
    _fits("q_cams", len(of_query), ranking)
    keys = np.stack([of_query[pairs.query], of_gallery[pairs.hit]], 1)
    return _sliced(pairs, keys, lambda key: f"camera {key[0]} -> {key[1]}", ks)


@door
def by_shared_parts(
    ranking: Ranking, query: Embeddings, gallery: Embeddings, ks: Sequence[int] = (1, 10)
) -> tuple[Slice, ...]:
    """Right pairs by the number of embeddings that both images show (v v' > 0), fewest first; as
    above.

    Holistic embeddings count too, as they do in the distance; give
    ``query.select(*parts(query.names))`` and the gallery's to count body parts alone. Pairs that
    share none are infinitely far apart.

    Args:
        ranking: What is cut into slices.
        query: The Nq embeddings that were ranked with.
        gallery: The Ng that were ranked.
        ks: Places of the CMC.

    Returns:
        A :class:`Slice` for every number of shared embeddings that occurs.

    Raises:
        ShapeError: There are not as many queries as in the ranking.
    """
    pairs = _pairs(ranking)
    _fits("query", len(query), ranking)
    shown = [(e.visibility.detach().cpu().numpy() > 0) for e in (query, gallery)]
    both = (shown[0][pairs.query] & shown[1][pairs.hit]).sum(1)
    return _sliced(pairs, both[:, None], lambda key: _counted(key[0], "shared part"), ks)


@door
def by_occlusion(ranking: Ranking, visibility: Tensor, samples: int = SAMPLES) -> tuple[Slice, ...]:
    """Queries by how many parts they show, fewest first; visibility: float [Nq, M], shown where
    above 0.

    Every score, with its interval. weight: the share of scored queries; weighted over all slices
    each score is that of the ranking.
    """
    _fits("visibility", len(visibility), ranking)
    shown = (visibility.detach().cpu().numpy() > 0).sum(1)
    return _grouped(
        ranking, np.tile(shown, ranking.draws), lambda n: _counted(n, "part") + " shown", samples
    )


@door
def by_identity_size(ranking: Ranking, samples: int = SAMPLES) -> tuple[Slice, ...]:
    """Queries by how many right images they have, 1, 2-3, 4-7 and so on; otherwise as
    :func:`by_occlusion`.

    A person with many right images is found first more easily and found wholly less easily. key:
    the range.
    """
    sizes = np.array([len(ranks) for ranks in ranking.ranks], np.int64)
    least = 2 ** np.floor(np.log2(np.maximum(sizes, 1))).astype(np.int64)
    slices = _grouped(
        ranking,
        least,
        lambda n: "1 right image" if n == 1 else f"{n}-{2 * n - 1} right images",
        samples,
    )
    return tuple(replace(s, key=(s.key[0], 2 * s.key[0] - 1)) for s in slices)


@door
def by_gallery_size(ranking: Ranking, sizes: Sequence[int] | None = None) -> tuple[Slice, ...]:
    """Expected scores if only so many of each list's wrong entries were there, drawn at random;
    right ones all stay.

    sizes: numbers of wrong entries, default 100, 1000, ... and as many as there are; a list that
    has fewer keeps all of its own. Of n out of W wrong entries, w of which stand before the k-th
    right one, X is hypergeometric, the new rank is k + X and the precision k / (k + X): all scores
    are exact expectations (rounding apart, nothing is drawn and no distance is computed again), at
    the full size the ranking's own.

    Distractors can be thinned out here but not invented: what a larger gallery would do only a
    larger gallery tells. Nor is this a benchmark with fewer people: right entries of other people
    leave one by one.
    """
    kept = [i for i, ranks in enumerate(ranking.ranks) if len(ranks)]
    counts = np.array([len(ranking.ranks[i]) for i in kept], np.int64)
    if len(ranking.size) != len(ranking.ranks):
        raise ShapeError("this ranking does not say how long its lists are; rank again")
    wrong = ranking.size[kept] - counts
    largest = int(wrong.max(initial=0))
    if sizes is None:
        sizes = [*(10**e for e in range(2, 12) if 10**e < largest), largest]
    ks = max(ranking.ks, default=1)
    starts = np.append(0, np.cumsum(counts)[:-1])
    nth = np.concatenate([np.arange(1, n + 1) for n in counts])
    before = np.concatenate([ranking.ranks[i] for i in kept]) - nth
    total = np.repeat(wrong, counts)
    rows = []
    for size in sizes:
        if size < 0:
            raise ShapeError(f"a gallery size is a number of wrong entries, 0 or more, got {size}")
        precision = _expected(nth, before, total, np.minimum(size, total))
        first = _cumulative(before[starts], wrong, np.minimum(size, wrong), ks)
        scores = {
            "mAP": float((np.add.reduceat(precision, starts) / counts).mean()),
            "mINP": float(precision[starts + counts - 1].mean()),
            **{f"R{k}": float(first[:, k - 1].mean()) for k in ranking.ks},
        }
        rows.append(Slice(f"{size} wrong images", (int(size),), len(kept), len(nth), 1.0, scores))
    return tuple(rows)


@door
def by_part(
    distance: PartDistance,
    query: Embeddings,
    gallery: Embeddings,
    *,
    q_ids: Ids,
    g_ids: Ids,
    q_cams: Ids | None = None,
    g_cams: Ids | None = None,
    protocol: Protocol | None = None,
    distractor: Special = None,
    junk: Special = None,
    ks: Sequence[int] = KS,
    samples: int = SAMPLES,
) -> tuple[Slice, ...]:
    """What each embedding finds alone, then the body parts together and all together (the form of
    BPBreID's Table 3).

    Each name is that of the embedding that was ranked by; in the released code's table they are off
    by one. The metric is that of ``distance``; alone, a part is compared without weight and without
    ``shrink``: a weight above 0 cannot change the order of one part's distances. Together they keep
    both.

    A pair of which not both show the part is infinitely far and ranks last, in the order of the
    gallery; a query that hides it so ranks its whole gallery and still counts, as in the paper. How
    far that matters: ``queries`` are the scored queries that show the part, ``pairs`` the right
    pairs of which both do, ``weight`` the share of the mAP's weight that these pairs have. key: the
    places of the embeddings.

    Args:
        distance: how images are compared, with the weights of all embeddings.
        query: Nq embeddings.
        gallery: Ng embeddings.
        q_ids: integers [Nq].
        g_ids: integers [Ng].
        q_cams: integers [Nq] or None.
        g_cams: integers [Ng] or None.
        protocol: see :func:`partreid.metrics.evaluate`, as the next three.
        distractor: an identity, or several, that is wrong for every query.
        junk: an identity, or several, that no query sees.
        ks: ranks of the CMC.
        samples: draws of the intervals.

    Returns:
        A :class:`Slice` for each embedding, for the body parts together and for all.

    Raises:
        ShapeError, ArgumentError, DataError: as :func:`partreid.metrics.evaluate`.

    Examples:
        >>> import torch
        >>> from partreid import Embeddings, PartDistance
        >>> from partreid.metrics.slices import by_part
        >>> e = Embeddings.visible(torch.eye(4).reshape(2, 2, 4), ("head", "legs"))
        >>> rows = by_part(PartDistance("cosine"), e, e, q_ids=[1, 2], g_ids=[1, 2], samples=10)
        >>> [row.name for row in rows]
        ['head', 'legs', 'all together']
    """
    single = replace(distance, weights=None, shrink=0.0, far=None)
    rows: list[tuple[str, tuple[str, ...], PartDistance]] = [
        (name, (name,), single) for name in query.names
    ]
    part_names = parts(query.names)
    rows += (
        [("parts together", part_names, distance)] if 1 < len(part_names) < len(query.names) else []
    )
    rows += [("all together", query.names, distance)] if len(query.names) > 1 else []
    slices = []
    for title, names, how in rows:
        indices = tuple(query.names.index(name) for name in names)
        if how.weights is not None:
            how = replace(how, weights=tuple(how.weights[m] for m in indices))
        q, g = query.select(*names), gallery.select(*names)
        ranking = evaluate_embeddings(
            how,
            q,
            g,
            q_ids=q_ids,
            g_ids=g_ids,
            q_cams=q_cams,
            g_cams=g_cams,
            protocol=protocol,
            distractor=distractor,
            junk=junk,
            ks=ks,
            top=0,
        )
        pairs = _pairs(ranking)
        shows, shown = ((e.visibility.detach().cpu().numpy() > 0) for e in (q, g))
        both = (shows[pairs.query] & shown[pairs.hit]).any(1)
        asks = np.tile(shows.any(1), ranking.draws) & ranking.scored
        slices.append(
            Slice(
                title,
                indices,
                int(asks.sum()),
                int(both.sum()),
                float(pairs.weight[both].sum()),
                ranking.scores,
                bootstrap_ranking(ranking, samples),
            )
        )
    return tuple(slices)


@door
def parts(names: Sequence[str]) -> tuple[str, ...]:
    """The embeddings of single body parts: those not made of the global, foreground or joined
    ones.
    """
    return tuple(name for name in names if not set(name.split("+")) <= set(WHOLE))


@dataclass(frozen=True, eq=False)
class _Pairs:
    """All right pairs of a ranking, one entry each: the list, its query, the gallery image,
    rank, precision, weight.
    """

    row: Integers
    query: Integers
    hit: Integers
    rank: Integers
    precision: Doubles
    weight: Doubles


def _pairs(ranking: Ranking) -> _Pairs:
    if len(ranking.hits) != len(ranking.ranks):
        raise ShapeError(
            "this ranking does not say which gallery images its right answers are; rank again"
        )
    counts = np.array([len(ranks) for ranks in ranking.ranks], np.int64)
    row = np.repeat(np.arange(len(counts)), counts)
    rank = np.concatenate([np.empty(0, np.int64), *ranking.ranks])
    nth = np.arange(1, len(row) + 1) - np.repeat(np.cumsum(counts) - counts, counts)
    hit = np.concatenate([np.empty(0, np.int64), *ranking.hits])
    return _Pairs(
        row,
        row % max(len(counts) // ranking.draws, 1),
        hit,
        rank,
        nth / rank,
        1 / (counts[row] * np.count_nonzero(counts)),
    )


def _sliced(
    pairs: _Pairs, keys: Integers, name: Callable[[list[int]], str], ks: Sequence[int]
) -> tuple[Slice, ...]:
    slices = []
    distinct, group_of = np.unique(keys, axis=0, return_inverse=True)
    group_of = group_of.reshape(-1)
    for i, key in enumerate(distinct.tolist()):
        mine = group_of == i
        weight = pairs.weight[mine]
        share = weight / weight.sum()
        scores = {
            "mAP": float(share @ pairs.precision[mine]),
            **{f"found@{k}": float(share @ (pairs.rank[mine] <= k)) for k in ks},
        }
        slices.append(
            Slice(
                name(key),
                tuple(key),
                len(np.unique(pairs.row[mine])),
                int(mine.sum()),
                float(weight.sum()),
                scores,
            )
        )
    return tuple(slices)


def _grouped(
    ranking: Ranking, keys: Integers, name: Callable[[int], str], samples: int
) -> tuple[Slice, ...]:
    """Slices of the scored lists; keys: int64, one per list."""
    keys, counts = (
        keys[ranking.scored],
        np.array([len(r) for r in ranking.ranks if len(r)], np.int64),
    )
    values, people = ranking.per_query(), ranking.identities[ranking.scored]
    slices = []
    for key in np.unique(keys).tolist():
        mine = keys == key
        intervals = bootstrap_values({n: v[mine] for n, v in values.items()}, people[mine], samples)
        slices.append(
            Slice(
                name(key),
                (key,),
                int(mine.sum()),
                int(counts[mine].sum()),
                float(mine.mean()),
                {n: i.value for n, i in intervals.items()},
                intervals,
            )
        )
    return tuple(slices)


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _fits(name: str, length: int, ranking: Ranking) -> None:
    if length * ranking.draws != len(ranking.ranks):
        raise ShapeError(
            f"{name} must have one row per query, {len(ranking.ranks) // ranking.draws}, got "
            f"{length}"
        )


# X of n drawn out of W stand before the hit, w of which could: hypergeometric, from log factorials.


def _expected(k: Integers, w: Integers, W: Integers, n: Integers) -> Doubles:
    """E[k / (k + X)] for each row."""
    cases, back = np.unique(np.stack([k, w, W, n], 1), axis=0, return_inverse=True)
    table = _log_factorials(int(W.max(initial=0)))
    blocks = [
        _expected_some(table, *cases[start : start + 4096].T)
        for start in range(0, len(cases), 4096)
    ]
    return np.concatenate([np.empty(0), *blocks])[back.reshape(-1)]


def _expected_some(table: Doubles, k: Integers, w: Integers, W: Integers, n: Integers) -> Doubles:
    share = w / np.maximum(W, 1)
    mean, deviation = n * share, np.sqrt(n * share * (1 - share) * (W - n) / np.maximum(W - 1, 1))
    least, most = np.maximum(0, n - (W - w)), np.minimum(w, n)
    # What lies 9 deviations away weighs 1e-16. X is a sum of independent coins, so inside its range
    # one value in sigma / 2 gives the same mean, to exp(-32) (Poisson's sum formula). So rows are
    # short.
    low, high = np.floor(mean - 9 * deviation - 10), np.ceil(mean + 9 * deviation + 10)
    inside = (low > least) & (high < most)
    step = np.where(inside, np.maximum(np.floor(deviation / 2), 1), 1).astype(np.int64)
    low, high = (a.astype(np.int64) for a in (np.maximum(low, least), np.minimum(high, most)))
    x = low[:, None] + step[:, None] * np.arange(int(((high - low) // step).max(initial=0)) + 1)
    beyond = x > high[:, None]
    x = np.minimum(x, high[:, None])
    logs = _log_ways(table, x, w[:, None], (W - w)[:, None], n[:, None])
    logs[beyond] = -np.inf
    chance = np.exp(logs - logs.max(1, keepdims=True))
    mean_precision: Doubles = (chance * (k[:, None] / (k[:, None] + x))).sum(1) / chance.sum(1)
    return mean_precision


def _cumulative(w: Integers, W: Integers, n: Integers, ks: int) -> Doubles:
    """P(X < k) for k = 1 .. ks: float64 [rows, ks]."""
    table = _log_factorials(int(W.max(initial=0)))
    x = np.arange(ks)[None]
    least, most = np.maximum(0, n - (W - w))[:, None], np.minimum(w, n)[:, None]
    logs = _log_ways(table, np.clip(x, least, most), w[:, None], (W - w)[:, None], n[:, None])
    logs -= (table[W] - table[n] - table[W - n])[:, None]
    chance: Doubles = np.cumsum(np.where((x >= least) & (x <= most), np.exp(logs), 0), 1)
    return np.minimum(chance, 1)


def _log_ways(
    table: Doubles, x: Integers, before: Integers, after: Integers, n: Integers
) -> Doubles:
    """Log of the number of ways to draw x of those before and n - x of those after."""
    ways: Doubles = (
        table[before]
        - table[x]
        - table[before - x]
        + table[after]
        - table[n - x]
        - table[after - n + x]
    )
    return ways


def _log_factorials(n: int) -> Doubles:
    return np.append(0, np.cumsum(np.log(np.arange(1, n + 1), dtype=np.float64)))
