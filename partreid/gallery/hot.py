"""The same search over vectors in memory, for those who search often.

Blocks of rows are read once and prepared as :class:`partreid.distance.PreparedGallery`; the table
says what has changed since, and only the blocks that it concerns are read again. Float32 distances
choose the candidates, with an allowance for all that rounding can do to them, and these are scored
from the table in float64: the answers are those of SQL.
"""

from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
import torch
from numpy.typing import NDArray

from partreid.distance import PartDistance, PreparedGallery
from partreid.gallery import changes
from partreid.gallery.rows import Filters, Found, decode
from partreid.gallery.search import Table
from partreid.types import Embeddings

BLOCK = 8192  # rows of a full block
_SMALL = 16  # blocks that are not full, before they are joined
_MOST = 4096  # candidates; where more lie too close to tell, SQL is the better way
_FAINT = 1e-10  # visibilities above 0 and below this leave the range of float32 when multiplied
_UNKNOWN = np.iinfo(np.int64).min  # a camera or a time that nobody knows
_ROUND = 2.0**-24
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

Measured = tuple[NDArray[np.int64], NDArray[np.float32], float]


@dataclass(frozen=True, eq=False)
class Block:
    """Rows with ids of low <= id <= high: all there are.

    ids, cameras, times (microseconds): int64 [n]. people: n names. longest: norm of a vector. faint:
    whether a visibility is too small for float32.
    """

    low: int
    high: int
    ids: NDArray[np.int64]
    cameras: NDArray[np.int64]
    times: NDArray[np.int64]
    people: NDArray[np.object_]
    prepared: PreparedGallery
    longest: float
    faint: bool

    def passing(self, filters: Filters) -> NDArray[np.bool_]:
        """Which rows pass, bool [n]."""
        good = np.ones(len(self.ids), np.bool_)
        if filters.cameras is not None:
            good &= np.isin(self.cameras, np.array(list(filters.cameras), np.int64))
            good &= self.cameras != _UNKNOWN
        for limit, is_first in ((filters.since, True), (filters.until, False)):
            if limit is not None:
                at = _micro(limit)
                good &= (self.times >= at) if is_first else (self.times < at)
                good &= self.times != _UNKNOWN
        if filters.person is not None:
            good &= self.people == filters.person
        return good


def bytes_of(parts: int, width: int) -> int:
    """Memory that a row takes, prepared; an upper estimate."""
    return parts * (4 * (width + 2) + 16) + 200


class Hot:
    """The rows of a table in memory, as they were at a version of it."""

    def __init__(self) -> None:
        self.version, self.blocks = changes.NEVER, list[Block]()
        self._last: tuple[Embeddings, Measured] | None = (
            None  # the query before, for what follows it
        )

    def __len__(self) -> int:
        return sum(len(block.ids) for block in self.blocks)

    def share(self, filters: Filters) -> float:
        """Of the rows, how many pass."""
        passing = sum(int(block.passing(filters).sum()) for block in self.blocks)
        return passing / max(1, len(self))

    def refresh(self, table: Table, version: int) -> None:
        """Take over what has changed up to ``version``, inside a transaction that sees just that."""
        if version == self.version:
            return
        gone = changes.since(table, self.version).gone
        if gone is None:
            self.blocks = []
        elif len(gone):
            self.blocks = [
                _read(table, block.low, block.high)
                if bool(((gone >= block.low) & (gone <= block.high)).any())
                else block
                for block in self.blocks
            ]
            self.blocks = [block for block in self.blocks if len(block.ids)]
        self._last = None
        after = max((block.high for block in self.blocks), default=0)
        while True:
            high = table.rows(
                "SELECT max(id) FROM (SELECT id FROM crops WHERE id > %s ORDER BY id LIMIT %s) AS next",
                (after, BLOCK),
            )[0][0]
            if high is None:
                break
            self.blocks.append(_read(table, after + 1, high))
            after = high
        self._join(table)
        self.version = version

    def _join(self, table: Table) -> None:
        """Neighbouring blocks become one once there are many small ones."""
        if sum(len(block.ids) < BLOCK // 2 for block in self.blocks) <= _SMALL:
            return
        joined: list[Block] = []
        at = 0
        while at < len(self.blocks):
            end, count = at + 1, len(self.blocks[at].ids)
            while end < len(self.blocks) and count + len(self.blocks[end].ids) <= BLOCK:
                count += len(self.blocks[end].ids)
                end += 1
            first, last = self.blocks[at], self.blocks[end - 1]
            joined.append(first if end == at + 1 else _read(table, first.low, last.high))
            at = end
        self.blocks = joined

    def nearest(
        self, table: Table, q: Embeddings, top: int, filters: Filters
    ) -> list[Found] | None:
        """As :meth:`Table.nearest`; None where float32 cannot tell, and SQL must."""
        measured = self._measured(q, filters)
        if measured is None:
            return None
        ids, far, allowed = measured
        near = np.isfinite(far)
        if near.sum() < top:  # all that share a part, then the first of the others
            first = np.flatnonzero(near)
            others = np.sort(ids[~near])[: top - len(first)]
            chosen = np.concatenate([ids[first], others])
            return None if len(chosen) > _MOST + top else table.scored_ids(q, chosen.tolist())[:top]
        least = np.argpartition(far, top - 1)[:top]
        hits = table.scored_ids(q, ids[least].tolist())
        worst = hits[-1].distance or 0.0
        also = far <= worst + allowed
        also[least] = False
        if also.sum() > _MOST:
            return None
        if also.any():
            hits += table.scored_ids(q, ids[also].tolist())
        return sorted(hits, key=lambda hit: (hit.distance, hit.id))[:top]

    def within(
        self, table: Table, q: Embeddings, limit: float, filters: Filters
    ) -> list[Found] | None:
        """As :meth:`Table.within`; None where float32 cannot tell."""
        measured = self._measured(q, filters)
        if measured is None:
            return None
        ids, far, allowed = measured
        hits = table.scored_ids(q, ids[far <= limit + allowed].tolist())
        return [hit for hit in hits if hit.distance is not None and hit.distance <= limit]

    def _measured(self, q: Embeddings, filters: Filters) -> Measured | None:
        """Ids, float32 distances, and how far these may be off; of one query."""
        if _is_faint(q.visibility) or any(block.faint for block in self.blocks):
            return None
        if self._last is None or not _is_same(self._last[0], q):
            self._last = q, self._all(q)
        ids, far, off = self._last[1]
        if not filters:
            return ids, far, off
        good = np.concatenate([block.passing(filters) for block in self.blocks] or [ids > 0])
        return ids[good], far[good], off

    def _all(self, q: Embeddings) -> Measured:
        ids, far, off = [np.empty(0, np.int64)], [np.empty(0, np.float32)], 0.0
        for block in self.blocks:
            ids.append(block.ids)
            far.append(block.prepared(q)[0].numpy())
            off = max(off, rounding(block.prepared.distance, q, block.longest))
        return np.concatenate(ids), np.concatenate(far), off


def rounding(distance: PartDistance, q: Embeddings, longest: float) -> float:
    """How far a float32 distance of a query can lie from the true one, at most.

    A product of n terms is off by no more than n 2^-24 of the product of norms; the square of a
    Euclidean distance by that of the square of the sum of norms, and its root by the root of that.
    """
    parts, width = q.vectors.shape[1:]
    most = max(distance.weights or (1.0,))
    few = (parts + 40) * _ROUND  # sums over parts, scaling, division
    missing = few * (1 + (distance.missing / distance.shrink if distance.shrink else 0.0))
    if distance.metric == "cosine":
        return most * (parts * width * _ROUND + few) + missing
    norm = float(torch.linalg.vector_norm(q.vectors, dim=2).max())
    both = 2.0 if distance.metric == "unit_euclidean" else norm + longest
    return most * both * float(np.sqrt((width + 40) * _ROUND) + few) + missing


def _read(table: Table, low: int, high: int) -> Block:
    rows = table.rows(
        "SELECT id, camera, time, person, vectors, visibility FROM crops WHERE id BETWEEN %s AND %s "
        "ORDER BY id",
        (low, high),
    )
    e = decode([row[4] for row in rows], [row[5] for row in rows], table.names, table.width)
    norms = torch.linalg.vector_norm(e.vectors, dim=2)
    people = np.empty(len(rows), np.object_)
    people[:] = [row[3] for row in rows]
    return Block(
        low,
        high,
        np.array([row[0] for row in rows], np.int64),
        np.array([_UNKNOWN if row[1] is None else row[1] for row in rows], np.int64),
        np.array([_UNKNOWN if row[2] is None else _micro(row[2]) for row in rows], np.int64),
        people,
        table.distance.prepare(e),
        float(norms.max()) if len(rows) else 0.0,
        _is_faint(e.visibility),
    )


def _is_same(a: Embeddings, b: Embeddings) -> bool:
    return torch.equal(a.vectors, b.vectors) and torch.equal(a.visibility, b.visibility)


def _is_faint(visibility: torch.Tensor) -> bool:
    return bool(((visibility > 0) & (visibility < _FAINT)).any())


def _micro(time: datetime) -> int:
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
