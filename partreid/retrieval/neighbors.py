"""The nearest neighbours of every image, from tiles of distances that are looked at once and thrown
away.

What is kept of n x n distances are the k smallest of each row and its largest finite one. **Ties.**
Of two images at the same distance the one with the smaller index is nearer, whatever the order of
the tiles; what shares no part (+inf) is farther than all else, by the same rule.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partreid.distance import PartDistance
from partreid.errors import DataError
from partreid.types import Embeddings
from partreid.utils.arguments import Count, Least, door

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]
Tile = tuple[slice, slice, Tensor]  # rows, columns, float [rows, columns]

_SIDE = 2048  # of a tile; it is passed over many times, so it should stay in the last cache
_AT_ONCE = 2**20  # numbers on either side of a few pairs, likewise
_NOBODY = np.int64(0x7F800000 << 32 | 0x7FFFFFFF)  # no image, infinitely far: see Nearest


class Distances(Protocol):
    """Distances among n images, the queries first, computed when they are asked for and not
    stored.
    """

    @property
    def n(self) -> int: ...

    @property
    def queries(self) -> int: ...

    def tiles(self) -> Iterator[Tile]:
        """Every ordered pair of images once."""

    def of(self, i: Integers, j: Integers) -> Floats:
        """Of some pairs, in the order of i: float32 like i and j."""

    def to_gallery(self, rows: int) -> Iterator[tuple[slice, Tensor]]:
        """Some queries at a time: (slice of queries, float [at most rows, n - queries])."""


class OfEmbeddings:
    """A part distance and its two sides. A tile is computed once for both directions."""

    @door
    def __init__(self, distance: PartDistance, query: Embeddings, gallery: Embeddings) -> None:
        query, gallery = (
            Embeddings(e.vectors.detach(), e.visibility.detach(), e.names) for e in (query, gallery)
        )
        self.distance, self.query, self.gallery = distance, query, gallery
        self.queries, self.n = len(query), len(query) + len(gallery)
        # a GPU wants fewer, larger launches
        self.side = 4 * _SIDE if query.vectors.is_cuda else _SIDE

    def tiles(self) -> Iterator[Tile]:
        # no side is copied: the embeddings are the larger part
        ends = ((0, self.query), (self.queries, self.gallery))
        sides = [
            (slice(first + span.start, first + span.stop), e.rows(span))
            for first, e in ends
            for span in slices(len(e), self.side)
        ]
        for i, (rows, left) in enumerate(sides):
            for columns, right in sides[i:]:
                tile = self.distance(left, right)
                yield rows, columns, tile
                if rows != columns:
                    yield columns, rows, tile.T

    def of(self, i: Integers, j: Integers) -> Floats:
        distances = np.empty(len(i), np.float32)
        few = max(1, _AT_ONCE // max(1, self.query.vectors[:1].numel()))
        for left, right in product((self.query, self.gallery), repeat=2):
            a, b = (0 if e is self.query else self.queries for e in (left, right))
            pairs = np.flatnonzero(
                ((i < self.queries) == (a == 0)) & ((j < self.queries) == (b == 0))
            )
            for some in (pairs[part] for part in slices(len(pairs), few)):
                x, y = (
                    left.rows(torch.from_numpy(i[some] - a)),
                    right.rows(torch.from_numpy(j[some] - b)),
                )
                distances[some] = self.distance.terms(x, y).sum(1).float().cpu().numpy()
        return distances

    def to_gallery(self, rows: int) -> Iterator[tuple[slice, Tensor]]:
        return self.distance.blocks(self.query, self.gallery, rows)


@dataclass(frozen=True)
class OfRows:
    """``far(slice)``: distances float [rows, n] of some images to all; of any kind, also one
    that is not symmetric.
    """

    far: Callable[[slice], Floats]
    queries: int
    n: int
    rows: int

    def tiles(self) -> Iterator[Tile]:
        return ((span, slice(0, self.n), self._block(span)) for span in slices(self.n, self.rows))

    def of(self, i: Integers, j: Integers) -> Floats:
        distances = np.empty(len(i), np.float32)
        for span in slices(self.n, self.rows):
            here = np.flatnonzero((i >= span.start) & (i < span.stop))
            if len(here):
                distances[here] = self._block(span).numpy()[i[here] - span.start, j[here]]
        return distances

    def to_gallery(self, rows: int) -> Iterator[tuple[slice, Tensor]]:
        return ((span, self._block(span)[:, self.queries :]) for span in slices(self.queries, rows))

    def _block(self, span: slice) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.far(span), np.float32))


class Nearest:
    """The k nearest of n images among all tiles so far.

    index: int64 [n, k], nearest first; distance: float32 [n, k]; largest: float32 [n], the largest
    finite distance.
    """

    @door
    def __init__(self, n: Annotated[int, Least(0)], k: Count) -> None:
        # A distance's bits above an image's index: floats >= 0 are ordered as their bits are, so
        # that sorting whole numbers sorts by distance and breaks ties by index.
        self._keys = np.full((n, k), _NOBODY)
        self.largest = np.zeros(n, np.float32)

    @property
    def index(self) -> Integers:
        return self._keys & 0x7FFFFFFF

    @property
    def distance(self) -> Floats:
        return (self._keys >> 32).astype(np.int32).view(np.float32)

    def update(self, rows: slice, columns: slice, far: Tensor) -> None:
        """A tile float [rows, columns]. DataError if it holds NaN."""
        largest = far.amax(1)
        if bool((largest == torch.inf).any()):
            largest = far.masked_fill(far == torch.inf, 0).amax(1)
        if bool(largest.isnan().any()):
            raise DataError(
                f"distances of images {rows.start} to {rows.stop} are not all numbers; the "
                "embeddings hold NaN, so the model has diverged or its weights are broken"
            )
        self.largest[rows] = np.maximum(self.largest[rows], largest.float().cpu().numpy())
        kept = self._keys[rows]
        k = kept.shape[1]
        cut = torch.from_numpy((kept[:, -1] >> 32).astype(np.int32).view(np.float32)).to(far)
        close = far <= cut[:, None]
        # as where nothing is cut off yet
        if k < far.shape[1] and int(close.count_nonzero()) > 4 * kept.size:
            close = (
                far
                <= far.topk(k, largest=False, sorted=False)
                .values.amax(1)
                .clamp_min(0)
                .minimum(cut)[:, None]
            )
        row, column = _true(close)
        value = far[torch.from_numpy(row), torch.from_numpy(column)].float().cpu().numpy()
        value = np.maximum(value, 0) + np.float32(0)  # rounding gives numbers below 0; and no -0
        count = np.bincount(row, minlength=len(kept))
        both = np.full((len(kept), k + count.max(initial=0)), _NOBODY)
        both[:, :k] = kept
        place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        both[row, k + place] = value.view(np.int32).astype(np.int64) << 32 | column + columns.start
        both.sort(1)
        self._keys[rows] = both[:, :k]


def _true(close: Tensor) -> tuple[Integers, Integers]:
    """Rows, ascending, and columns of the true entries; a tile that is turned round is read as
    it lies in memory.
    """
    if close.is_contiguous():
        row, column = np.divmod(np.flatnonzero(close.cpu().numpy()), close.shape[1])
        return row, column
    column, row = np.divmod(np.flatnonzero(close.T.cpu().numpy()), close.shape[0])
    order = np.argsort(row, kind="stable")
    return row[order], column[order]


@door
def slices(n: int, rows: int) -> Iterator[slice]:
    """0..n cut into slices of ``rows``, the last one shorter."""
    return (slice(i, min(i + rows, n)) for i in range(0, n, rows))
