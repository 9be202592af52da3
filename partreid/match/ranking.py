"""From embeddings to scores, some queries at a time: memory does not grow with queries x gallery."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partreid.distance import PartDistance
from partreid.errors import DataError, ShapeError
from partreid.match.metrics import (
    Ranks,
    average_precision,
    cumulative_matches,
    inverse_negative_penalty,
    match_ranks,
    nearest,
    nearest_among,
    ranks_among,
)
from partreid.match.protocols import MARKET, Lists, Protocol, require_matches
from partreid.types import JUNK, Embeddings

Whole: TypeAlias = Tensor | NDArray[np.integer] | Sequence[int]  # integers, one per image

KS = (1, 5, 10, 20)
AT_ONCE = 64  # queries a thread works on, few enough to stay in cache


@dataclass(frozen=True, eq=False)
class Ranking:
    """Where the right answers stand in each query's list; every score follows from that.

    ``ranks``: for each of Nq queries the ranks of its right entries, ascending, from 1; empty if it has none:
    such a query is skipped by every score. ``top``: gallery indices of the nearest entries, int64 [Nq, k], -1
    where the list is shorter. ``identities``: int64 [Nq].

    Under a protocol of n ``draws`` everything but ``top`` has n Nq entries, one draw after another, and ``top`` is of
    the first.
    """

    protocol: str
    ranks: tuple[Ranks, ...]
    top: NDArray[np.int64]
    identities: NDArray[np.int64]
    ks: tuple[int, ...] = KS
    draws: int = 1

    @cached_property
    def scored(self) -> NDArray[np.bool_]:
        """Bool [Nq]: the queries that have a right answer."""
        return np.array([len(ranks) > 0 for ranks in self.ranks], np.bool_)

    @property
    def skipped(self) -> int:
        """How many queries have no right answer in the gallery."""
        return int((~self.scored).sum())

    @cached_property
    def ap(self) -> NDArray[np.float64]:
        """Average precision of each query [Nq]; NaN where skipped."""
        return np.array([average_precision(r) if len(r) else np.nan for r in self.ranks], np.float64)

    @cached_property
    def inp(self) -> NDArray[np.float64]:
        """Inverse negative penalty of each query [Nq]; NaN where skipped."""
        return np.array([inverse_negative_penalty(r) if len(r) else np.nan for r in self.ranks], np.float64)

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """Rank of each query's first right entry [Nq]; 0 where skipped."""
        return np.array([r[0] if len(r) else 0 for r in self.ranks], np.int64)

    @property
    def ap_of_query(self) -> NDArray[np.float64]:
        """Average precision of each query [Nq], over the draws in which it has an answer; NaN where it never has."""
        ap = self.ap.reshape(self.draws, -1)
        counted = (~np.isnan(ap)).sum(0)
        return np.where(counted > 0, np.nansum(ap, 0) / np.maximum(counted, 1), np.nan)

    @property
    def cmc(self) -> dict[int, float]:
        """Rank k -> share of scored queries whose first right entry is among the first k, in [0, 1]."""
        return cumulative_matches(self.first[self.scored], self.ks)

    @property
    def mAP(self) -> float:
        """Mean average precision over scored queries, in (0, 1]."""
        return float(self.ap[self.scored].mean())

    @property
    def mINP(self) -> float:
        """Mean inverse negative penalty over scored queries, in (0, 1]."""
        return float(self.inp[self.scored].mean())

    @property
    def scores(self) -> dict[str, float]:
        """All of them by name: mAP, mINP and R1, R5, ..."""
        return {"mAP": self.mAP, "mINP": self.mINP, **{f"R{k}": share for k, share in self.cmc.items()}}

    def per_query(self) -> dict[str, NDArray[np.float64]]:
        """What ``scores`` averages, by the same names: float64 [scored queries]."""
        first = self.first[self.scored]
        return {"mAP": self.ap[self.scored], "mINP": self.inp[self.scored],
                **{f"R{k}": (first <= k).astype(np.float64) for k in self.ks}}


def evaluate(distance: PartDistance, query: Embeddings, gallery: Embeddings,
             query_ids: Whole, query_cameras: Whole, gallery_ids: Whole, gallery_cameras: Whole,
             protocol: Protocol = MARKET, ks: Sequence[int] = KS, top: int = 10, rows: int = 1024) -> Ranking:
    """Rank the gallery for each query, holding ``rows`` x Ng distances at a time.

    query_ids, query_cameras: int [Nq]; gallery_ids, gallery_cameras: int [Ng]. ks: ranks of the CMC. top: how
    many nearest entries to remember for sheets. DataError if no query has a right answer, before any distance
    is computed.
    """
    blocks = distance.blocks(query, gallery, rows)
    return rank(blocks, query_ids, query_cameras, gallery_ids, gallery_cameras, protocol, ks, top,
                shape=(len(query), len(gallery)))


def rank(blocks: Iterable[tuple[slice, Tensor]], query_ids: Whole, query_cameras: Whole,
         gallery_ids: Whole, gallery_cameras: Whole, protocol: Protocol = MARKET, ks: Sequence[int] = KS,
         top: int = 10, shape: tuple[int, int] | None = None) -> Ranking:
    """The same from distances, which come as (slice of queries, float [rows, Ng]) in order.

    A whole matrix is ``[(slice(0, Nq), matrix)]``.
    """
    q_ids, g_ids = _whole("query_ids", query_ids), _whole("gallery_ids", gallery_ids)
    q_cameras, g_cameras = _whole("query_cameras", query_cameras), _whole("gallery_cameras", gallery_cameras)
    expected = shape or (len(q_ids), len(g_ids))
    for name, values, n in (("query_ids", q_ids, expected[0]), ("query_cameras", q_cameras, expected[0]),
                            ("gallery_ids", g_ids, expected[1]), ("gallery_cameras", g_cameras, expected[1])):
        if values.shape != (n,):
            raise ShapeError(f"{name} must be [{n}], one per image, got {list(values.shape)}")
    require_matches(protocol, q_ids, q_cameras, g_ids, g_cameras)
    lists = Lists(protocol, g_ids, g_cameras)
    shots = SingleShot(protocol, q_ids, q_cameras, g_ids, g_cameras) if protocol.draws else None
    lists_each = protocol.draws or 1
    ranks: list[Ranks] = []
    best = np.full((len(q_ids), top), -1, np.int64)

    def score(start: int, part: NDArray[np.float32]) -> list[Ranks]:
        """Ranks of the queries from ``start`` on, whose distances ``part`` holds."""
        if part.size and np.isnan(part.min()):  # min hands NaN on
            raise DataError(f"distances of queries {start} to {start + len(part)} are not all numbers; "
                            f"the embeddings hold NaN, so the model has diverged or its weights are broken")
        if shots is not None:
            return shots.score(start, part, best)
        kept = [lists.of(int(q_ids[i]), int(q_cameras[i])) for i in range(start, start + len(part))]
        part = part.copy()
        part[:, lists.junk] = np.nan
        for row, (_, removed) in zip(part, kept, strict=True):
            row[removed] = np.nan
        ordered = np.sort(part, axis=1)
        if top:
            for i, (_, removed) in enumerate(kept):
                left = len(g_ids) - len(lists.junk) - len(removed)
                best[start + i] = nearest_among(ordered[i], part[i], left, top)
        return [ranks_among(ordered[i], part[i], right) for i, (right, _) in enumerate(kept)]

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # sorting lets go of Python's lock
        for at, block in blocks:
            done = len(ranks) // lists_each
            if at.start != done or tuple(block.shape) != (at.stop - at.start, len(g_ids)):
                raise ShapeError(f"expected distances of queries from {done} on, [rows, {len(g_ids)}]; "
                                 f"got {list(block.shape)} for queries {at.start} to {at.stop}")
            distances = block.detach().cpu().numpy()
            for found in pool.map(lambda i, d=distances, first=at.start: score(first + i, d[i:i + AT_ONCE]),
                                  range(0, len(distances), AT_ONCE)):
                ranks.extend(found)
    if len(ranks) != len(q_ids) * lists_each:
        raise ShapeError(f"distances came for {len(ranks) // lists_each} of {len(q_ids)} queries")
    ranks = [found for draw in range(lists_each) for found in ranks[draw::lists_each]]
    return Ranking(protocol.name, tuple(ranks), best, np.tile(q_ids, lists_each), tuple(ks), lists_each)


class SingleShot:
    """Galleries in which every person has one image, drawn at random for each draw among those a query may see.

    A draw is the same for all queries that may see the same images, and the same in every run.
    """

    def __init__(self, protocol: Protocol, query_ids: NDArray[np.int64], query_cameras: NDArray[np.int64],
                 gallery_ids: NDArray[np.int64], gallery_cameras: NDArray[np.int64]) -> None:
        self.protocol, self.ids, self.cameras = protocol, query_ids, query_cameras
        self.gallery, self.seen_by = gallery_ids, gallery_cameras
        shuffled = [np.random.default_rng([20, draw]).permutation(len(gallery_ids)) for draw in range(protocol.draws)]
        self.orders = [order[np.argsort(gallery_ids[order], kind="stable")] for order in shuffled]

    def score(self, start: int, part: NDArray[np.float32], best: NDArray[np.int64]) -> list[Ranks]:
        """Ranks of the queries from ``start`` on, all draws of one before the next; ``best`` gets the first draw's."""
        found = []
        for row, query in enumerate(range(start, start + len(part))):
            relevant, valid = self.protocol.masks(int(self.ids[query]), int(self.cameras[query]), self.gallery,
                                                  self.seen_by)
            for draw, order in enumerate(self.orders):
                left = order[valid[order]]
                one = np.sort(left[np.diff(self.gallery[left], prepend=JUNK - 1) != 0])
                found.append(match_ranks(part[row, one], relevant[one], np.ones(len(one), np.bool_)))
                if draw == 0 and best.shape[1]:
                    near = nearest(part[row, one], np.ones(len(one), np.bool_), best.shape[1])
                    best[query] = np.where(near >= 0, one[near], -1)
        return found


@dataclass(frozen=True)
class Interval:
    """A value and the range that holds it with the stated confidence."""

    value: float
    low: float
    high: float


def bootstrap(ranking: Ranking, samples: int = 2000, seed: int = 0,
              level: float = 0.95) -> dict[str, Interval]:
    """Percentile intervals of all scores, by drawing identities with replacement.

    Queries of one person stand or fall together: drawing single queries would give intervals far too narrow.
    """
    return bootstrap_values(ranking.per_query(), ranking.identities[ranking.scored], samples, seed, level)


def bootstrap_difference(a: Ranking, b: Ranking, samples: int = 2000, seed: int = 0,
                         level: float = 0.95) -> dict[str, Interval]:
    """Intervals of a - b on the same queries, drawn together: an interval without 0 is a difference.

    DataError if the two did not score the same queries.
    """
    same = np.array_equal(a.identities, b.identities) and np.array_equal(a.scored, b.scored)
    if not same or a.ks != b.ks:
        raise DataError(f"two rankings can be compared only on the same queries and ranks; the first scored "
                        f"{a.scored.sum()} of {len(a.ranks)} queries at {a.ks}, "
                        f"the second {b.scored.sum()} of {len(b.ranks)} at {b.ks}")
    mine, other = a.per_query(), b.per_query()
    return bootstrap_values({name: mine[name] - other[name] for name in mine}, a.identities[a.scored], samples, seed,
                            level)


def bootstrap_values(values: Mapping[str, NDArray[np.float64]], identities: NDArray[np.int64], samples: int = 2000,
                     seed: int = 0, level: float = 0.95) -> dict[str, Interval]:
    """Percentile intervals of the means of named values float64 [n], one for each query; identities int64 [n]."""
    _, person, queries = np.unique(identities, return_inverse=True, return_counts=True)
    people = len(queries)
    drawn = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), samples)
    weight = drawn @ queries  # queries in each draw
    tail = 100 * (1 - level) / 2
    result = {}
    for name, value in values.items():
        means = drawn @ np.bincount(person, value, people) / weight
        low, high = np.percentile(means, (tail, 100 - tail))
        result[name] = Interval(float(value.mean()), float(low), float(high))
    return result


def _whole(name: str, values: Whole) -> NDArray[np.int64]:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ShapeError(f"{name} must be integers, got {array.dtype}")
    return array.astype(np.int64)
