"""From distances to ranks to scores, some queries at a time: memory does not grow with queries x
gallery. What a list is, and how ties rank, stands in :mod:`partreid.metrics.lists`.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias
from typing import Protocol as Interface

import numpy as np
import torch
from torch import Tensor

from partreid.distance import PartDistance
from partreid.errors import ShapeError
from partreid.metrics.arrays import (
    Doubles,
    Floats,
    Ids,
    Integers,
    Labels,
    Mask,
    Matrix,
    Singles,
    as_floats,
    as_matrix,
    require_numbers,
)
from partreid.metrics.lists import (
    Ranks,
    average_precision,
    cumulative_matches,
    inverse_negative_penalty,
    nearest,
    nearest_of_rows,
    ranks_of_rows,
)
from partreid.metrics.lists import match_ranks as match_ranks
from partreid.metrics.protocols import Protocol, Special
from partreid.types import Embeddings
from partreid.utils.arguments import door, integer, require

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
    top: Integers
    identities: Integers
    ks: tuple[int, ...] = KS
    draws: int = 1
    hits: tuple[Integers, ...] = ()
    distances: tuple[Singles, ...] = ()
    size: Integers = field(default_factory=lambda: np.empty(0, np.int64))

    @cached_property
    def scored(self) -> Mask:
        """Bool [Nq]: the queries that have a right answer."""
        return np.array([len(ranks) > 0 for ranks in self.ranks], np.bool_)

    @property
    def skipped(self) -> int:
        """How many queries have no right answer in the gallery."""
        return int((~self.scored).sum())

    @cached_property
    def ap(self) -> Doubles:
        """Average precision of each query [Nq]; NaN where skipped."""
        return np.array(
            [average_precision(r) if len(r) else np.nan for r in self.ranks], np.float64
        )

    @cached_property
    def inp(self) -> Doubles:
        """Inverse negative penalty of each query [Nq]; NaN where skipped."""
        return np.array(
            [inverse_negative_penalty(r) if len(r) else np.nan for r in self.ranks], np.float64
        )

    @cached_property
    def first(self) -> Integers:
        """Rank of each query's first right entry [Nq]; 0 where skipped."""
        return np.array([r[0] if len(r) else 0 for r in self.ranks], np.int64)

    @property
    def ap_of_query(self) -> Doubles:
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

    def reordered(self, order: Integers) -> "Ranking":
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

    def per_query(self) -> dict[str, Doubles]:
        """What ``scores`` averages, by the same names: float64 [scored queries]."""
        first = self.first[self.scored]
        return {
            "mAP": self.ap[self.scored],
            "mINP": self.inp[self.scored],
            **{f"R{k}": (first <= k).astype(np.float64) for k in self.ks},
        }


class Accumulator(Interface):
    """What else looks at the distances as they stream by, such as
    :class:`partreid.metrics.PairAccumulator`.

    ``summarize(start, part, ordered, right)`` is called in threads with the distances of the
    queries from ``start`` on, float32 [n, Ng] with NaN where the protocol removes an entry, the
    same sorted along each row, NaN last, and the right entries of each of these queries. What it
    returns is given to ``update``, in the order of the queries.
    """

    def summarize(
        self, start: int, part: Singles, ordered: Singles, right: Sequence[Integers]
    ) -> Any: ...

    def update(self, summary: Any) -> None: ...


@door
def evaluate(
    distances: Matrix,
    *,
    q_ids: Ids,
    g_ids: Ids,
    q_cams: Ids | None = None,
    g_cams: Ids | None = None,
    protocol: Protocol | None = None,
    distractor: Special = None,
    junk: Special = None,
    ks: Sequence[int] = KS,
    top: int = 10,
    accumulators: Sequence[Accumulator] = (),
) -> Ranking:
    """CMC, mAP and mINP of a whole matrix of distances.

    Args:
        distances: [Nq, Ng], smaller is closer, +inf where a pair cannot be compared; a numpy array,
            a torch tensor on any device or lists, of any float type.
        q_ids: integers [Nq], who the queries are.
        g_ids: integers [Ng], who is on the gallery images.
        q_cams: integers [Nq], which camera saw the queries; None: nobody knows.
        g_cams: integers [Ng]; given with ``q_cams`` or not at all.
        protocol: which gallery images a query may not see. None: with cameras those of its own
            identity from its own camera (Market-1501), without cameras all may be seen.
        distractor: an identity, or several, that is wrong for every query (0 in Market-1501).
        junk: an identity, or several, that no query sees (-1 in Market-1501).
        ks: ranks of the CMC.
        top: how many nearest entries to remember of each query.
        accumulators: what else to take from the distances.

    Returns:
        A :class:`Ranking`; ``.scores`` has mAP, mINP and R1, R5, ... in [0, 1].

    Raises:
        ShapeError: shapes do not fit or ids are no integers.
        ArgumentError: distances are no real numbers, or cameras are missing for the protocol.
        DataError: a distance is NaN, or no query has a right answer.

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import evaluate
        >>> distances = np.array([[0.1, 0.4, 0.3], [0.2, 0.6, 0.5]])
        >>> ranking = evaluate(distances, q_ids=[1, 2], g_ids=[1, 1, 2])
        >>> round(ranking.mAP, 3), ranking.cmc[1]
        (0.667, 0.5)
    """
    matrix = as_matrix(distances)
    return rank(
        [(slice(0, len(matrix)), matrix)],
        q_ids=q_ids,
        g_ids=g_ids,
        q_cams=q_cams,
        g_cams=g_cams,
        protocol=protocol,
        distractor=distractor,
        junk=junk,
        ks=ks,
        top=top,
        shape=(matrix.shape[0], matrix.shape[1]),
        accumulators=accumulators,
    )


@door
def evaluate_embeddings(
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
    top: int = 10,
    rows: int | None = None,
    accumulators: Sequence[Accumulator] = (),
) -> Ranking:
    """The same from embeddings: no matrix of distances is ever held whole.

    Args:
        distance: how two images are compared.
        query: Nq embeddings.
        gallery: Ng embeddings with the same names.
        q_ids: see :func:`evaluate`, as all that follow but ``rows``.
        g_ids: integers [Ng].
        q_cams: integers [Nq] or None.
        g_cams: integers [Ng] or None.
        protocol: which gallery images a query may not see.
        distractor: an identity, or several, that is wrong for every query.
        junk: an identity, or several, that no query sees.
        ks: ranks of the CMC.
        top: how many nearest entries to remember of each query.
        rows: queries whose distances are held at a time; None: 256 MiB of them or less.
        accumulators: what else to take from the distances.

    Returns:
        A :class:`Ranking`.

    Raises:
        ShapeError, ArgumentError, DataError: as :func:`evaluate`; before any distance is computed
            if no query has a right answer.

    Examples:
        >>> import torch
        >>> from partreid import Embeddings, PartDistance
        >>> from partreid.metrics import evaluate_embeddings
        >>> e = Embeddings.single("global", torch.eye(3))
        >>> ranking = evaluate_embeddings(
        ...     PartDistance("cosine"), e, e, q_ids=[1, 2, 3], g_ids=[1, 2, 3]
        ... )
        >>> ranking.mAP
        1.0
    """
    if rows is not None:
        integer("the rows of a block", rows, 1)
    blocks = distance.blocks(
        query, gallery, rows or min(2048, max(AT_ONCE, BLOCK // max(1, len(gallery))))
    )
    return rank(
        blocks,
        q_ids=q_ids,
        g_ids=g_ids,
        q_cams=q_cams,
        g_cams=g_cams,
        protocol=protocol,
        distractor=distractor,
        junk=junk,
        ks=ks,
        top=top,
        shape=(len(query), len(gallery)),
        accumulators=accumulators,
    )


@door
def rank(
    blocks: Iterable[tuple[slice, Tensor | Floats]],
    *,
    q_ids: Ids,
    g_ids: Ids,
    q_cams: Ids | None = None,
    g_cams: Ids | None = None,
    protocol: Protocol | None = None,
    distractor: Special = None,
    junk: Special = None,
    ks: Sequence[int] = KS,
    top: int = 10,
    shape: tuple[int, int] | None = None,
    accumulators: Sequence[Accumulator] = (),
) -> Ranking:
    """The same from distances that stream by, some queries at a time.

    Args:
        blocks: (slice of queries, float [rows, Ng]) in order, e.g. of
            :meth:`partreid.PartDistance.blocks`.
        q_ids: see :func:`evaluate`, as all that follow but ``shape``.
        g_ids: integers [Ng].
        q_cams: integers [Nq] or None.
        g_cams: integers [Ng] or None.
        protocol: which gallery images a query may not see.
        distractor: an identity, or several, that is wrong for every query.
        junk: an identity, or several, that no query sees.
        ks: ranks of the CMC.
        top: how many nearest entries to remember of each query.
        shape: (Nq, Ng), where it is known beforehand, to hold the ids against it at once.
        accumulators: what else to take from the distances.

    Returns:
        A :class:`Ranking`.

    Raises:
        ShapeError, ArgumentError, DataError: as :func:`evaluate`.

    Examples:
        >>> import torch
        >>> from partreid import Embeddings, PartDistance
        >>> from partreid.metrics import rank
        >>> e = Embeddings.single("global", torch.eye(3))
        >>> blocks = PartDistance("cosine").blocks(e, e, rows=2)
        >>> rank(blocks, q_ids=[1, 2, 3], g_ids=[1, 2, 3]).cmc[1]
        1.0
    """
    integer("top", top, 0)
    require(all(k >= 1 for k in ks), "the ranks of the CMC", "whole numbers of at least 1", ks)
    labels = Labels.of(shape, q_ids, g_ids, q_cams, g_cams, protocol, distractor, junk)
    labels.require_matches()
    queries, size = len(labels.q_ids), len(labels.g_ids)
    lists = labels.lists
    shots = SingleShot(labels) if labels.protocol.draws else None
    draws = labels.protocol.draws or 1
    lists_scored: list[Scored] = []
    best = np.full((queries, top), -1, np.int64)

    def score(start: int, part: Floats) -> tuple[list[Scored], list[Any]]:
        """The queries from ``start`` on, whose distances ``part`` holds, and what the accumulators
        make of them.
        """
        require_numbers(part, start, start + len(part))
        drawn = None if shots is None else shots.score(start, part, best)
        if drawn is not None and not accumulators:
            return drawn, []
        kept = [
            lists.of(int(labels.q_ids[i]), int(labels.q_cams[i]))
            for i in range(start, start + len(part))
        ]
        part = part + np.float32(0)  # a copy in which -0 is 0
        part[:, lists.junk] = np.nan
        for row, (_, removed) in zip(part, kept, strict=True):
            row[removed] = np.nan
        ordered = np.sort(part, axis=1)
        single, same = (
            a if a.dtype == np.float32 else a.astype(np.float32) + np.float32(0)
            for a in (part, ordered)
        )
        summaries = [
            one.summarize(start, single, same, [right for right, _ in kept]) for one in accumulators
        ]
        if drawn is not None:
            return drawn, summaries
        left = np.array([size - len(lists.junk) - len(removed) for _, removed in kept], np.int64)
        if top:
            best[start : start + len(part)] = nearest_of_rows(ordered, part, left, top)
        ranks = ranks_of_rows(ordered, part, [right for right, _ in kept])
        each = [
            _scored(*one)
            for one in zip(ranks, (right for right, _ in kept), part, left.tolist(), strict=True)
        ]
        return each, summaries

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # sorting lets go of Python's lock
        for rows, block in blocks:
            done = len(lists_scored) // draws
            if rows.start != done or tuple(block.shape) != (rows.stop - rows.start, size):
                raise ShapeError(
                    f"expected distances of queries from {done} on, [rows, {size}]; got "
                    f"{list(block.shape)} for queries {rows.start} to {rows.stop}"
                )
            distances = as_floats("distances", block)
            for each, summaries in pool.map(
                lambda i, d=distances, first=rows.start: score(first + i, d[i : i + AT_ONCE]),
                range(0, len(distances), AT_ONCE),
            ):
                lists_scored.extend(each)
                for accumulator, summary in zip(accumulators, summaries, strict=True):
                    accumulator.update(summary)
    if len(lists_scored) != queries * draws:
        raise ShapeError(f"distances came for {len(lists_scored) // draws} of {queries} queries")
    lists_scored = [one for draw in range(draws) for one in lists_scored[draw::draws]]
    return Ranking(
        labels.protocol.name,
        tuple(one[0] for one in lists_scored),
        best,
        np.tile(labels.q_ids, draws),
        tuple(ks),
        draws,
        tuple(one[1] for one in lists_scored),
        tuple(one[2] for one in lists_scored),
        np.array([one[3] for one in lists_scored], np.int64),
    )


# ranks, hits, distances, size of the list
Scored: TypeAlias = tuple[Ranks, Integers, Singles, int]


def _scored(ranks: Ranks, right: Integers, row: Floats, size: int) -> Scored:
    order = np.argsort(ranks)
    hits = right[order]
    return ranks[order], hits, row[hits].astype(np.float32), size


class SingleShot:
    """Galleries in which every person has one image, drawn at random for each draw among those a
    query may see.

    A draw is the same for all queries that may see the same images, and the same in every run.
    """

    @door
    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        shuffled = [
            np.random.default_rng([20, draw]).permutation(len(labels.g_ids))
            for draw in range(labels.protocol.draws)
        ]
        self.orders = [order[np.argsort(labels.g_ids[order], kind="stable")] for order in shuffled]

    def score(self, start: int, part: Floats, best: Integers) -> list[Scored]:
        """The queries from ``start`` on, all draws of one before the next; ``best``: the first
        draw's.
        """
        labels = self.labels
        scored: list[Scored] = []
        for row, query in enumerate(range(start, start + len(part))):
            relevant, valid = labels.protocol.masks(
                int(labels.q_ids[query]),
                int(labels.q_cams[query]),
                labels.g_ids,
                labels.g_cams,
                distractor=labels.distractor,
                junk=labels.junk,
            )
            for draw, order in enumerate(self.orders):
                left = order[valid[order]]
                first = np.ones(len(left), np.bool_)  # of each person's images
                first[1:] = np.diff(labels.g_ids[left]) != 0
                one = np.sort(left[first])
                short = part[row, one]
                ranks = ranks_of_rows(
                    np.sort(short)[None], short[None], [np.flatnonzero(relevant[one])]
                )[0]
                scored.append(_scored(ranks, one[relevant[one]], part[row], len(one)))
                if draw == 0 and best.shape[1]:
                    near = nearest(short, np.ones(len(one), np.bool_), best.shape[1])
                    best[query] = np.append(one, -1)[near]  # -1 stays -1, in an empty list too
        return scored
