"""From embeddings to scores, some queries at a time: memory does not grow with queries x
gallery.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias
from typing import Protocol as Interface

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partreid.distance import PartDistance
from partreid.errors import DataError, ShapeError
from partreid.metrics.matches import (
    Ranks,
    average_precision,
    cumulative_matches,
    inverse_negative_penalty,
    nearest,
    nearest_of_rows,
    ranks_of_rows,
)
from partreid.metrics.protocols import MARKET, Lists, Protocol, require_matches
from partreid.types import JUNK, Embeddings
from partreid.utils.arguments import door, integer, require

Whole: TypeAlias = Tensor | NDArray[np.integer] | Sequence[int]  # integers, one per image

KS = (1, 5, 10, 20)
AT_ONCE = 64  # queries a thread works on, few enough to stay in cache
BLOCK = 1 << 26  # distances held at a time: the gallery is made ready once for every block


@dataclass(frozen=True, eq=False)
class Ranking:
    """Where the right answers stand in each query's list; every score follows from that.

    ``ranks``: for each of Nq queries the ranks of its right entries, ascending, from 1; empty if it
    has none: such a query is skipped by every score. ``hits``: the gallery indices of these
    entries, in the same order, and ``distances``, float32. ``top``: gallery indices of the nearest
    entries, int64 [Nq, k], -1 where the list is shorter. ``identities``: int64 [Nq]. ``size``: of
    each query's list, int64 [Nq].

    Under a protocol of n ``draws`` everything but ``top`` has n Nq entries, one draw after another,
    and ``top`` is of the first.
    """

    protocol: str
    ranks: tuple[Ranks, ...]
    top: NDArray[np.int64]
    identities: NDArray[np.int64]
    ks: tuple[int, ...] = KS
    draws: int = 1
    hits: tuple[NDArray[np.int64], ...] = ()
    distances: tuple[NDArray[np.float32], ...] = ()
    size: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

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
        return np.array(
            [average_precision(r) if len(r) else np.nan for r in self.ranks], np.float64
        )

    @cached_property
    def inp(self) -> NDArray[np.float64]:
        """Inverse negative penalty of each query [Nq]; NaN where skipped."""
        return np.array(
            [inverse_negative_penalty(r) if len(r) else np.nan for r in self.ranks], np.float64
        )

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """Rank of each query's first right entry [Nq]; 0 where skipped."""
        return np.array([r[0] if len(r) else 0 for r in self.ranks], np.int64)

    @property
    def ap_of_query(self) -> NDArray[np.float64]:
        """Average precision of each query [Nq], over the draws in which it has an answer; NaN
        where it never has.
        """
        ap = self.ap.reshape(self.draws, -1)
        counted = (~np.isnan(ap)).sum(0)
        return np.where(counted > 0, np.nansum(ap, 0) / np.maximum(counted, 1), np.nan)

    @property
    def cmc(self) -> dict[int, float]:
        """Rank k -> share of scored queries whose first right entry is among the first k, in [0,
        1].
        """
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
        return {
            "mAP": self.mAP,
            "mINP": self.mINP,
            **{f"R{k}": share for k, share in self.cmc.items()},
        }

    def reordered(self, order: NDArray[np.int64]) -> "Ranking":
        """The same with query ``order[i]`` at place i; order: a permutation, int64 [Nq]."""
        n = len(self.top)
        rows = (np.arange(self.draws)[:, None] * n + order).ravel().tolist()
        return replace(
            self,
            ranks=tuple(self.ranks[i] for i in rows),
            hits=tuple(self.hits[i] for i in rows),
            distances=tuple(self.distances[i] for i in rows),
            top=self.top[order],
            identities=self.identities[rows],
            size=self.size[rows],
        )

    def per_query(self) -> dict[str, NDArray[np.float64]]:
        """What ``scores`` averages, by the same names: float64 [scored queries]."""
        first = self.first[self.scored]
        return {
            "mAP": self.ap[self.scored],
            "mINP": self.inp[self.scored],
            **{f"R{k}": (first <= k).astype(np.float64) for k in self.ks},
        }


class Watcher(Interface):
    """What else looks at the distances as they stream by, such as
    :class:`partreid.metrics.verification.Pairs`.

    ``look(start, part, ordered, right)`` is called in threads with the distances of the queries
    from ``start`` on, float32 [n, Ng] with NaN where the protocol removes an entry, the same sorted
    along each row, NaN last, and the right entries of each of these queries. What it returns is
    given to ``add``, in the order of the queries.
    """

    def look(
        self,
        start: int,
        part: NDArray[np.float32],
        ordered: NDArray[np.float32],
        right: Sequence[NDArray[np.int64]],
    ) -> Any: ...

    def add(self, seen: Any) -> None: ...


@door
def evaluate(
    distance: PartDistance,
    query: Embeddings,
    gallery: Embeddings,
    query_ids: Whole,
    query_cameras: Whole,
    gallery_ids: Whole,
    gallery_cameras: Whole,
    protocol: Protocol = MARKET,
    ks: Sequence[int] = KS,
    top: int = 10,
    rows: int | None = None,
    watchers: Sequence[Watcher] = (),
) -> Ranking:
    """Rank the gallery for each query, holding ``rows`` x Ng distances at a time (default: 256 MiB
    of them or less).

    query_ids, query_cameras: int [Nq]; gallery_ids, gallery_cameras: int [Ng]. ks: ranks of the
    CMC. top: how many nearest entries to remember for sheets. DataError if no query has a right
    answer, before any distance is computed.
    """
    if rows is not None:
        integer("the rows of a block", rows, 1)
    blocks = distance.blocks(
        query, gallery, rows or min(2048, max(AT_ONCE, BLOCK // max(1, len(gallery))))
    )
    return rank(
        blocks,
        query_ids,
        query_cameras,
        gallery_ids,
        gallery_cameras,
        protocol,
        ks,
        top,
        shape=(len(query), len(gallery)),
        watchers=watchers,
    )


@door
def rank(
    blocks: Iterable[tuple[slice, Tensor]],
    query_ids: Whole,
    query_cameras: Whole,
    gallery_ids: Whole,
    gallery_cameras: Whole,
    protocol: Protocol = MARKET,
    ks: Sequence[int] = KS,
    top: int = 10,
    shape: tuple[int, int] | None = None,
    watchers: Sequence[Watcher] = (),
) -> Ranking:
    """The same from distances, which come as (slice of queries, float [rows, Ng]) in order.

    A whole matrix is ``[(slice(0, Nq), matrix)]``.
    """
    integer("top", top, 0)
    require(all(k >= 1 for k in ks), "the ranks of the CMC", "whole numbers of at least 1", ks)
    q_ids, g_ids = whole("query_ids", query_ids), whole("gallery_ids", gallery_ids)
    q_cameras, g_cameras = (
        whole("query_cameras", query_cameras),
        whole("gallery_cameras", gallery_cameras),
    )
    expected = shape or (len(q_ids), len(g_ids))
    for name, values, n in (
        ("query_ids", q_ids, expected[0]),
        ("query_cameras", q_cameras, expected[0]),
        ("gallery_ids", g_ids, expected[1]),
        ("gallery_cameras", g_cameras, expected[1]),
    ):
        if values.shape != (n,):
            raise ShapeError(f"{name} must be [{n}], one per image, got {list(values.shape)}")
    require_matches(protocol, q_ids, q_cameras, g_ids, g_cameras)
    lists = Lists(protocol, g_ids, g_cameras)
    shots = SingleShot(protocol, q_ids, q_cameras, g_ids, g_cameras) if protocol.draws else None
    draws = protocol.draws or 1
    found: list[Found] = []
    best = np.full((len(q_ids), top), -1, np.int64)

    def score(start: int, part: NDArray[np.float32]) -> tuple[list[Found], list[Any]]:
        """What the queries from ``start`` on find, whose distances ``part`` holds, and what the
        watchers saw.
        """
        if part.size and np.isnan(part.min()):  # min hands NaN on
            raise DataError(
                f"distances of queries {start} to {start + len(part)} are not all numbers; the "
                "embeddings hold NaN, so the model has diverged or its weights are broken"
            )
        drawn = None if shots is None else shots.score(start, part, best)
        if drawn is not None and not watchers:
            return drawn, []
        kept = [lists.of(int(q_ids[i]), int(q_cameras[i])) for i in range(start, start + len(part))]
        part = part + np.float32(0)  # a copy in which -0 is 0
        part[:, lists.junk] = np.nan
        for row, (_, removed) in zip(part, kept, strict=True):
            row[removed] = np.nan
        ordered = np.sort(part, axis=1)
        single, same = (
            a if a.dtype == np.float32 else a.astype(np.float32) + np.float32(0)
            for a in (part, ordered)
        )
        seen = [
            watcher.look(start, single, same, [right for right, _ in kept]) for watcher in watchers
        ]
        if drawn is not None:
            return drawn, seen
        left = np.array(
            [len(g_ids) - len(lists.junk) - len(removed) for _, removed in kept], np.int64
        )
        if top:
            best[start : start + len(part)] = nearest_of_rows(ordered, part, left, top)
        ranks = ranks_of_rows(ordered, part, [right for right, _ in kept])
        each = [
            _found(*one)
            for one in zip(ranks, (right for right, _ in kept), part, left.tolist(), strict=True)
        ]
        return each, seen

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # sorting lets go of Python's lock
        for at, block in blocks:
            done = len(found) // draws
            if at.start != done or tuple(block.shape) != (at.stop - at.start, len(g_ids)):
                raise ShapeError(
                    f"expected distances of queries from {done} on, [rows, {len(g_ids)}]; got "
                    f"{list(block.shape)} for queries {at.start} to {at.stop}"
                )
            distances = block.detach().cpu().numpy()
            for each, seen in pool.map(
                lambda i, d=distances, first=at.start: score(first + i, d[i : i + AT_ONCE]),
                range(0, len(distances), AT_ONCE),
            ):
                found.extend(each)
                for watcher, sight in zip(watchers, seen, strict=True):
                    watcher.add(sight)
    if len(found) != len(q_ids) * draws:
        raise ShapeError(f"distances came for {len(found) // draws} of {len(q_ids)} queries")
    found = [one for draw in range(draws) for one in found[draw::draws]]
    return Ranking(
        protocol.name,
        tuple(one[0] for one in found),
        best,
        np.tile(q_ids, draws),
        tuple(ks),
        draws,
        tuple(one[1] for one in found),
        tuple(one[2] for one in found),
        np.array([one[3] for one in found], np.int64),
    )


# ranks, hits, distances, size of the list
Found: TypeAlias = tuple[Ranks, NDArray[np.int64], NDArray[np.float32], int]


def _found(ranks: Ranks, right: NDArray[np.int64], row: NDArray[np.float32], size: int) -> Found:
    order = np.argsort(ranks)
    hits = right[order]
    return ranks[order], hits, row[hits].astype(np.float32), size


class SingleShot:
    """Galleries in which every person has one image, drawn at random for each draw among those a
    query may see.

    A draw is the same for all queries that may see the same images, and the same in every run.
    """

    @door
    def __init__(
        self,
        protocol: Protocol,
        query_ids: NDArray[np.int64],
        query_cameras: NDArray[np.int64],
        gallery_ids: NDArray[np.int64],
        gallery_cameras: NDArray[np.int64],
    ) -> None:
        self.protocol, self.ids, self.cameras = protocol, query_ids, query_cameras
        self.gallery, self.seen_by = gallery_ids, gallery_cameras
        shuffled = [
            np.random.default_rng([20, draw]).permutation(len(gallery_ids))
            for draw in range(protocol.draws)
        ]
        self.orders = [order[np.argsort(gallery_ids[order], kind="stable")] for order in shuffled]

    def score(self, start: int, part: NDArray[np.float32], best: NDArray[np.int64]) -> list[Found]:
        """What the queries from ``start`` on find, all draws of one before the next; ``best``:
        the first draw's.
        """
        found: list[Found] = []
        for row, query in enumerate(range(start, start + len(part))):
            relevant, valid = self.protocol.masks(
                int(self.ids[query]), int(self.cameras[query]), self.gallery, self.seen_by
            )
            for draw, order in enumerate(self.orders):
                left = order[valid[order]]
                one = np.sort(left[np.diff(self.gallery[left], prepend=JUNK - 1) != 0])
                short = part[row, one]
                ranks = ranks_of_rows(
                    np.sort(short)[None], short[None], [np.flatnonzero(relevant[one])]
                )[0]
                found.append(_found(ranks, one[relevant[one]], part[row], len(one)))
                if draw == 0 and best.shape[1]:
                    near = nearest(short, np.ones(len(one), np.bool_), best.shape[1])
                    best[query] = np.append(one, -1)[near]  # -1 stays -1, in an empty list too
        return found


@door
def whole(name: str, values: Whole) -> NDArray[np.int64]:
    """One integer per image as int64 [N]. ShapeError if they are not integers."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim != 1 or array.size and not np.issubdtype(array.dtype, np.integer):
        raise ShapeError(
            f"{name} must be integers, one per image, got {array.dtype} {list(array.shape)}"
        )
    return array.astype(np.int64)
