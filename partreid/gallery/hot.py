"""The same search over vectors in memory, for those who search often.

Blocks of rows are read once and prepared as :class:`partreid.distance.PreparedGallery`; the table
says what has changed since, and only the blocks that it concerns are read again. Products of
float32 matrices choose the candidates, with an allowance for all that rounding can do to them;
differences of the same vectors in float64 leave few of these, or are all that is needed where few
rows pass the filters; and what is left is scored from the table in float64: the answers are those
of SQL.
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
_CLOSE = 4096  # rows that pass the filters, up to which each is looked at by itself
_AT_ONCE = 1024  # rows whose vectors are held in float64 together
_FAINT = 1e-10  # visibilities above 0 and below this leave the range of float32 when multiplied
_SHORT = 1e-15  # vectors above 0 and shorter than this, too, or longer than its inverse
_UNKNOWN = np.iinfo(np.int64).min  # a camera or a time that nobody knows
_ROUND = 2.0**-24
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

Rows = NDArray[np.int64]  # places in all blocks, one after the other


@dataclass(frozen=True, eq=False)
class Block:
    """Rows with ids of low <= id <= high: all there are.

    ids, cameras, times (microseconds): int64 [n]. people: n names. longest: norm of a vector.
    faint: whether a visibility or a vector is too small or too large for products in float32.
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
                moment = _micro(limit)
                good &= (self.times >= moment) if is_first else (self.times < moment)
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
        self._last: tuple[Embeddings, NDArray[np.float32], float] | None = None

    def __len__(self) -> int:
        return sum(len(block.ids) for block in self.blocks)

    def refresh(self, table: Table, version: int) -> None:
        """Take over what has changed up to ``version``, inside a transaction that sees just
        that.
        """
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
                "SELECT max(id) FROM (SELECT id FROM crops WHERE id > %s ORDER BY id LIMIT %s) "
                "AS next",
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
        start = 0
        while start < len(self.blocks):
            end, count = start + 1, len(self.blocks[start].ids)
            while end < len(self.blocks) and count + len(self.blocks[end].ids) <= BLOCK:
                count += len(self.blocks[end].ids)
                end += 1
            first, last = self.blocks[start], self.blocks[end - 1]
            joined.append(first if end == start + 1 else _read(table, first.low, last.high))
            start = end
        self.blocks = joined

    def nearest(
        self, table: Table, q: Embeddings, top: int, filters: Filters
    ) -> list[Found] | None:
        """As :meth:`Table.nearest`; None where memory cannot tell, and SQL must."""
        if self._is_faint(q):
            return None
        rows = self._passing(filters)
        if rows is None or len(rows) > _CLOSE:
            return self._nearest_of_many(table, q, top, rows)
        near, off = self._closely(q, rows)
        return self._chosen(table, q, top, self._ids[rows], near, off)

    def _nearest_of_many(
        self, table: Table, q: Embeddings, top: int, rows: Rows | None
    ) -> list[Found] | None:
        far, allowed = self._measured(q)
        ids = self._ids
        if rows is None:
            rows = np.arange(len(ids))
        far = far[rows]
        if len(far) > top:
            least = np.argpartition(far, top - 1)[:top]
            if np.isfinite(far[least]).all():
                near, off = self._closely(q, rows[least])
                also = far <= near.max() + off + allowed
                if also.sum() > _MOST * 4:
                    return None
                rows = rows[also]
                near, off = self._closely(q, rows)
                return self._chosen(table, q, top, ids[rows], near, off)
        return self._chosen(table, q, top, ids[rows], far.astype(np.float64), allowed)

    def _chosen(
        self,
        table: Table,
        q: Embeddings,
        top: int,
        ids: NDArray[np.int64],
        near: NDArray[np.float64],
        off: float,
    ) -> list[Found] | None:
        """The nearest of some rows whose distances are known but for ``off``: those among which
        they must be are scored from the table.
        """
        finite = np.isfinite(near)
        if finite.sum() < top:  # all that share a part, then the first of the others
            others = np.sort(ids[~finite])[: max(0, top - int(finite.sum()))]
            ids = np.concatenate([ids[finite], others])
        else:
            worst = np.partition(near, top - 1)[top - 1]
            ids = ids[near <= worst + 2 * off]
        if len(ids) > _MOST + top:
            return None
        return table.scored_ids(q, ids.tolist())[:top]

    def within(
        self, table: Table, q: Embeddings, limit: float, filters: Filters
    ) -> list[Found] | None:
        """As :meth:`Table.within`; None where memory cannot tell."""
        if self._is_faint(q):
            return None
        rows = self._passing(filters)
        if rows is None or len(rows) > _CLOSE:
            far, allowed = self._measured(q)
            close = far <= limit + allowed
            rows = np.flatnonzero(close) if rows is None else rows[close[rows]]
        if len(rows) <= _MOST * 4:
            near, off = self._closely(q, rows)
            rows = rows[near <= limit + off]
        hits = table.scored_ids(q, self._ids[rows].tolist())
        return [hit for hit in hits if hit.distance is not None and hit.distance <= limit]

    def _is_faint(self, q: Embeddings) -> bool:
        return _is_faint(q) or any(block.faint for block in self.blocks)

    @property
    def _ids(self) -> NDArray[np.int64]:
        return np.concatenate([np.empty(0, np.int64), *(block.ids for block in self.blocks)])

    def _passing(self, filters: Filters) -> Rows | None:
        """Places of the rows that pass; None: all do."""
        if not filters:
            return None
        passing = [block.passing(filters) for block in self.blocks]
        return np.flatnonzero(np.concatenate([np.empty(0, np.bool_), *passing]))

    def _measured(self, q: Embeddings) -> tuple[NDArray[np.float32], float]:
        """Float32 distances of one query to all rows, and how far these may be off."""
        if self._last is None or not _is_same(self._last[0], q):
            far, off = [np.empty(0, np.float32)], 0.0
            for block in self.blocks:
                far.append(block.prepared(q)[0].numpy())
                off = max(off, rounding(block.prepared.distance, q, block.longest))
            self._last = q, np.concatenate(far), off
        return self._last[1:]

    def _closely(self, q: Embeddings, rows: Rows) -> tuple[NDArray[np.float64], float]:
        """Distances to some rows, in float64 of what is held, and how far these may be off."""
        near, start, off = np.empty(len(rows)), 0, 0.0
        for block in self.blocks:
            mine = np.flatnonzero((rows >= start) & (rows < start + len(block.ids)))
            for offset in range(0, len(mine), _AT_ONCE):
                some = mine[offset : offset + _AT_ONCE]
                near[some] = block.prepared.closely(q, torch.from_numpy(rows[some] - start)).numpy()
            if len(mine):
                off = max(off, scaling(block.prepared.distance, q, block.longest))
            start += len(block.ids)
        return near, off


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


def scaling(distance: PartDistance, q: Embeddings, longest: float) -> float:
    """How far a distance from differences of scaled float32 vectors can lie from the true one, at
    most: norms are sums of D squares, and factors and products are rounded once each.
    """
    width = q.vectors.shape[2]
    norm = float(torch.linalg.vector_norm(q.vectors, dim=2).max()) + longest
    both = norm if distance.metric == "euclidean" else 2.0
    return max(distance.weights or (1.0,)) * both * (width + 40) * _ROUND + 2.0**-24


def _read(table: Table, low: int, high: int) -> Block:
    rows = table.rows(
        "SELECT id, camera, time, person, vectors, visibility FROM crops "
        "WHERE id BETWEEN %s AND %s ORDER BY id",
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
        _is_faint(e),
    )


def _is_same(a: Embeddings, b: Embeddings) -> bool:
    return torch.equal(a.vectors, b.vectors) and torch.equal(a.visibility, b.visibility)


def _is_faint(e: Embeddings) -> bool:
    """Whether products of its numbers leave the range of float32."""
    norms = torch.linalg.vector_norm(e.vectors, dim=2, dtype=torch.float64)
    odd = ((norms > 0) & (norms < _SHORT)) | (norms > 1 / _SHORT)
    faint = (e.visibility > 0) & (e.visibility < _FAINT)
    return bool(faint.any()) or bool(odd.any())


def _micro(time: datetime) -> int:
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
