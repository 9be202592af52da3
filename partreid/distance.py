"""The one distance of every method: part to part, over the parts that both images show.

With v, v' the visibilities of part m in two images, e, e' its embeddings and a its weight (1 except
in HCGA):

* Euclid: ``d = sum_m a v v' |e - e'| / sum_m v v'`` (BPBreID Eq. 9);
* cosine: ``d = 1 - sum_m a v v' cos(e, e') / sum_m v v'`` (ISP Eq. 10; HCGA Eq. 10 with weights).

Images that share no part are infinitely far apart, unless distances on little evidence are shrunk
(no paper does): with S = sum_m v v' parts of evidence and ``lambda`` more that say ``far``, ``d' =
(S d + lambda far) / (S + lambda)``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite, sqrt
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from partreid.errors import ArgumentError, ShapeError
from partreid.types import Embeddings, Vectors
from partreid.utils.arguments import check_fields, door, integer
from partreid.utils.tiling import TILE_CPU, TILE_GPU, Side, spans, sum_euclid

Metric = Literal["cosine", "euclidean", "unit_euclidean"]

ReadyTile = tuple[slice, Side, Tensor]  # columns, their side, and its vectors for the product


@dataclass(frozen=True)
class PartDistance:
    """A metric, for HCGA one weight per part, and how little evidence is taken at its word.

    All methods take embeddings with the same names and width, or plain tensors float [N, D] or
    [N, M, D], all of which is visible; work on any device; compute in float32 whatever the
    autocast, or in float64 if the vectors are; and are differentiable where not said otherwise,
    with gradient 0 where a Euclidean distance is 0. Visibilities lie in [0, 1] and are multiplied.

    Args:
        metric: ``cosine``; ``euclidean``, on the embeddings as they come; or ``unit_euclidean``,
            which scales each embedding to length 1 first, as the released code of BPBreID does
            when it tests.
        weights: M numbers >= 0, in the order of the embeddings; None means all 1. They scale the
            numerator alone, so with weights below 1 the cosine distance of an image to itself is
            not 0 (HCGA Eq. 10).
        shrink: lambda >= 0, counted in parts; 0 is the papers. Above 0 a distance that rests on few
            shared parts is drawn towards ``far``: a pair that shares none lies there, and no image
            is 0 from itself.
        far: The distance >= 0 that missing evidence counts as. None is that of unrelated
            directions, 1 for cosine and sqrt(2) for unit_euclidean; euclidean has no such number
            and needs one to shrink, e.g. from :func:`typical`.

    Raises:
        ArgumentError: There is no such metric, or a number is negative or not finite.

    Examples:
        >>> q, g = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0], [3.0, 4.0]])
        >>> PartDistance("euclidean")(q, g)
        tensor([[5., 0.]])
    """

    metric: Metric
    weights: tuple[float, ...] | None = None
    shrink: float = 0.0
    far: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for name, values in (
            ("weights", self.weights or ()),
            ("shrink", (self.shrink,)),
            ("far", (self.far or 0.0,)),
        ):
            if not all(isfinite(a) and a >= 0 for a in values):
                raise ArgumentError(
                    f"{name} of a distance must be finite and >= 0, got {getattr(self, name)}"
                )
        if self.shrink and self.far is None and self.metric == "euclidean":
            raise ArgumentError(
                "shrink on metric euclidean needs far, what missing evidence counts as: give it, "
                "e.g. typical(PartDistance('euclidean'), embeddings), or take unit_euclidean"
            )

    @property
    def missing(self) -> float:
        """What missing evidence adds to the numerator, ``lambda far``; 0 in the papers."""
        unrelated = 1.0 if self.metric == "cosine" else sqrt(2)
        return self.shrink * (unrelated if self.far is None else self.far)

    def __call__(
        self,
        q: Vectors,
        g: Vectors,
        *,
        q_visibility: Tensor | None = None,
        g_visibility: Tensor | None = None,
    ) -> Tensor:
        """All distances of the queries to the gallery.

        Without gradients this runs in tiles and needs little memory beyond the result.

        Args:
            q: Queries, embeddings or float [Nq, D] or [Nq, M, D].
            g: Gallery, embeddings or float [Ng, D] or [Ng, M, D].
            q_visibility: Of queries that are a plain tensor, float [Nq, M] in [0, 1]; None: all 1.
            g_visibility: The same of the gallery, float [Ng, M].

        Returns:
            float32 [Nq, Ng], +inf where a pair shares no part (``far`` if shrunk).

        Raises:
            ShapeError: Queries and gallery have not the same embeddings.

        Examples:
            >>> q, g = torch.ones(2, 3, 8), torch.zeros(5, 3, 8)
            >>> hidden = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
            >>> PartDistance("cosine")(q, g, q_visibility=hidden)
            tensor([[1., 1., 1., 1., 1.],
                    [inf, inf, inf, inf, inf]])
        """
        q, g = self._embeddings(q, g, q_visibility, g_visibility)
        inputs = (q.vectors, q.visibility, g.vectors, g.visibility)
        if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
            with _full_precision(q):
                return self._combine(self.per_part(q, g), _shared_parts(q, g, _dtype(q, g)))
        side = self._gallery_side(g, _dtype(q, g))
        return self._whole(
            q, self._query_side(q, _dtype(q, g)), lambda: self._ready(g, side), len(g)
        )

    def blocks(self, q: Vectors, g: Vectors, rows: int = 1024) -> Iterator[tuple[slice, Tensor]]:
        """The same distances, some queries at a time.

        No block is kept here, so memory is what the caller holds on to. Not differentiable.

        Args:
            q: Queries, as for a call.
            g: Gallery.
            rows: Queries in a block, at least 1.

        Returns:
            Pairs of a slice of the queries and float32 [at most rows, Ng].

        Examples:
            >>> q, g = torch.ones(5, 8), torch.ones(3, 8)
            >>> [tuple(block.shape) for _, block in PartDistance("cosine").blocks(q, g, rows=4)]
            [(4, 3), (1, 3)]
        """
        q, g = self._embeddings(q, g)
        integer("the rows of a block", rows, 1)
        query, side = self._query_side(q, _dtype(q, g)), self._gallery_side(g, _dtype(q, g))
        for start in range(0, len(q), rows):
            span = slice(start, min(start + rows, len(q)))
            queries, prepared = q.rows(span), query.rows(span)
            yield span, self._whole(queries, prepared, lambda: self._ready(g, side), len(g))

    def tiles(self, q: Vectors, g: Vectors) -> Iterator[tuple[slice, slice, Tensor]]:
        """The same distances in tiles.

        All tiles of some queries come one after the other, in the order of the gallery, before
        those of the next. Memory depends on neither side's length. The numbers are those of a whole
        matrix. Not differentiable.

        Args:
            q: Queries, as for a call.
            g: Gallery.

        Returns:
            A slice of the queries, a slice of the gallery, and their distances float32.
        """
        q, g = self._embeddings(q, g)
        side = self._gallery_side(g, _dtype(q, g))
        return self._tiles(q, self._query_side(q, _dtype(q, g)), lambda: self._ready(g, side))

    def prepare(self, g: Vectors, *, visibility: Tensor | None = None) -> "PreparedGallery":
        """A gallery made ready once, to be compared with many queries that come one after the
        other.

        Args:
            g: Gallery, embeddings or float [Ng, D] or [Ng, M, D].
            visibility: Of a plain tensor, float [Ng, M] in [0, 1]; None: all 1.

        Returns:
            A :class:`PreparedGallery`, which gives the very numbers that a call gives.

        Examples:
            >>> gallery = PartDistance("euclidean").prepare(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
            >>> gallery(torch.tensor([[3.0, 4.0]]))
            tensor([[5., 0.]])
        """
        e = Embeddings.of(g, visibility)
        self._check(e, e)
        return PreparedGallery(self, e)

    def within(self, e: Vectors, *, visibility: Tensor | None = None) -> Tensor:
        """All distances inside a batch, for triplet losses.

        An image that shows something is exactly 0 from itself, save with weights or shrunk (see
        above).

        Args:
            e: Embeddings or float [N, D] or [N, M, D].
            visibility: Of a plain tensor, float [N, M] in [0, 1]; None: all 1.

        Returns:
            float32 [N, N], +inf where a pair shares no part.

        Examples:
            >>> PartDistance("euclidean").within(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
            tensor([[0., 5.],
                    [5., 0.]])
        """
        e = Embeddings.of(e, visibility)
        self._check(e, e)
        with _full_precision(e):
            return self._combine(self._within_parts(e), _shared_parts(e, e, _dtype(e, e)))

    def per_part(self, q: Vectors, g: Vectors) -> Tensor:
        """Distance of each part: float32 [M, Nq, Ng]; visibilities and weights do not enter.

        This holds M matrices at once: for tables and small sets.
        """
        q, g = self._embeddings(q, g)
        with _full_precision(q):
            x, y = (self._unit(e.vectors.to(_dtype(q, g)).transpose(0, 1)) for e in (q, g))
            if self.metric == "cosine":
                return 1 - x @ y.mT
            return _root(
                x.square().sum(2)[:, :, None] + y.square().sum(2)[:, None] - 2 * (x @ y.mT)
            )

    def parts(self, q: Vectors, g: Vectors) -> Tensor:
        """Distance of each part of row i in both: float32 [N, M], unweighted, NaN where it is
        not shared.
        """
        q, g = self._embeddings(q, g)
        return self._paired(q, g).masked_fill(q.visibility * g.visibility == 0, torch.nan)

    def terms(self, q: Vectors, g: Vectors) -> Tensor:
        """What each part adds to the distance of row i in both.

        A part that is not shared adds 0. Where nothing is shared every term is +inf, as the
        distance is. Shrunk, each of the M parts brings lambda / M of missing evidence, so that
        hidden ones add something too.

        Args:
            q: N images, as for a call.
            g: N others.

        Returns:
            float32 [N, M], summing to the distance of row i in both.

        Raises:
            ShapeError: They have not as many rows each, or not the same embeddings.

        Examples:
            >>> a, b = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[[1.0, 0.0]] * 2])
            >>> PartDistance("cosine").terms(a, b)
            tensor([[0.0000, 0.5000]])
        """
        q, g = self._embeddings(q, g)
        far = self._paired(q, g)
        weight = far.new_tensor(self.weights or (1.0,) * len(q.names))
        both = q.visibility.to(far.dtype) * g.visibility.to(far.dtype)
        total = both.sum(1, keepdim=True)
        cost = 1 - weight * (1 - far) if self.metric == "cosine" else weight * far
        if self.shrink:
            return (both * cost + self.missing / len(q.names)) / (total + self.shrink)
        share = both / total.masked_fill(total == 0, 1)
        # HCGA Eq. 10, term by term
        return (share * cost).masked_fill(total == 0, torch.inf)  # BPBreID Eq. 9

    def _paired(self, q: Embeddings, g: Embeddings) -> Tensor:
        self._check(q, g)
        if len(q) != len(g):
            raise ShapeError(f"pairs need as many rows on both sides, got {len(q)} and {len(g)}")
        x, y = (self._unit(e.vectors.to(_dtype(q, g))) for e in (q, g))
        return 1 - (x * y).sum(2) if self.metric == "cosine" else _root((x - y).square().sum(2))

    def _within_parts(self, e: Embeddings) -> Tensor:
        """Distance of each part inside a batch [M, N, N]."""
        x = self._unit(e.vectors.to(_dtype(e, e)).transpose(0, 1))
        gram = x @ x.mT
        if self.metric == "cosine":
            # Rounding must not make a vector differ from itself, nor push it away from itself.
            itself = (
                torch.eye(len(e), dtype=torch.bool, device=x.device)
                & (x.detach() != 0).any(2)[:, None]
            )
            return (1 - gram).masked_fill(itself, 0)
        # Norms from the Gram matrix itself, so that the terms cancel exactly for a vector and
        # itself.
        norms = gram.diagonal(dim1=1, dim2=2)
        return _root(norms[:, :, None] + norms[:, None] - 2 * gram)

    def _combine(self, far: Tensor, both: Tensor) -> Tensor:
        """Mean over shared parts, from distances and shared visibilities [M, Nq, Ng]: [Nq, Ng]."""
        weight = far.new_tensor(self.weights or (1.0,) * len(far))[:, None, None]
        total = both.sum(0)
        cost = 1 - weight * (1 - far) if self.metric == "cosine" else weight * far
        if self.shrink:
            return ((both * cost).sum(0) + self.missing) / (total + self.shrink)
        # ISP, HCGA Eq. 10
        mean = (both * cost).sum(0) / total.masked_fill(total == 0, 1)  # BPBreID Eq. 9
        return mean.masked_fill(total == 0, torch.inf)

    def _unit(self, x: Tensor) -> Tensor:
        return x if self.metric == "euclidean" else normalize(x, dim=-1, eps=1e-12)

    def _embeddings(
        self,
        q: Vectors,
        g: Vectors,
        q_visibility: Tensor | None = None,
        g_visibility: Tensor | None = None,
    ) -> tuple[Embeddings, Embeddings]:
        """Both sides as embeddings that fit; a plain tensor takes the names of the other side."""
        sides = []
        for side, other, visibility in ((q, g, q_visibility), (g, q, g_visibility)):
            named = (
                isinstance(side, Tensor)
                and isinstance(other, Embeddings)
                and (side.shape[1] if side.ndim == 3 else 1) == len(other.names)
            )
            names = other.names if named and isinstance(other, Embeddings) else None
            sides.append(Embeddings.of(side, visibility, names))
        self._check(*sides)
        return sides[0], sides[1]

    def _check(self, q: Embeddings, g: Embeddings) -> None:
        if q.vectors.device != g.vectors.device:
            raise ShapeError(
                f"query and gallery must lie on one device, got {q.vectors.device} and "
                f"{g.vectors.device}; move one with .to(...)"
            )
        if q.names != g.names or q.vectors.shape[2] != g.vectors.shape[2]:
            raise ShapeError(
                f"query and gallery must have the same embeddings; query has {', '.join(q.names)}, "
                f"{q.vectors.shape[2]} wide; gallery has {', '.join(g.names)}, "
                f"{g.vectors.shape[2]} wide"
            )
        if self.weights is not None and len(self.weights) != len(q.names):
            raise ShapeError(
                f"{len(self.weights)} weights {self.weights} for {len(q.names)} embeddings: "
                f"{', '.join(q.names)}"
            )

    # The path without gradients: tiles, in place.

    # For each part query @ gallery.T is v a v' cos, or (v a |e - e'|)^2 for Euclid: |e - e'|^2 =
    # |e|^2 - 2 e e' + |e'|^2 is one product of vectors with two more columns. A product costs
    # little more; each further pass over a tile is a pass over memory and a meeting of all threads.

    def _query_side(self, q: Embeddings, dtype: torch.dtype) -> Side:
        norm, scale, seen = self._measured(q, dtype)
        weight = torch.tensor(
            self.weights or (1.0,) * len(q.names), dtype=dtype, device=q.vectors.device
        )
        # one more row, so that the product of both sides is S + lambda without a pass of its own
        shown = self._shown(seen, self.shrink)
        if self.metric == "cosine":
            return Side(shown, scale * seen * weight, None)
        square = (seen * weight).square()
        ends = torch.stack([square * (norm * scale).square(), square], 2)
        return Side(shown, -2 * scale * square, ends)

    def _gallery_side(self, g: Embeddings, dtype: torch.dtype) -> Side:
        norm, scale, seen = self._measured(g, dtype)
        shown = self._shown(seen, 1.0)
        if self.metric == "cosine":
            return Side(shown, scale * seen, None)
        ends = torch.stack([torch.ones_like(scale), (norm * scale).square()], 2)
        return Side(shown, scale, ends)

    def _measured(self, e: Embeddings, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Norms, what they are scaled by, and visibilities [N, M]."""
        norm = torch.linalg.vector_norm(e.vectors.detach(), dim=2, dtype=dtype)
        plain = self.metric == "euclidean"
        scale = torch.ones_like(norm) if plain else norm.clamp_min(1e-12).reciprocal()
        return norm, scale, e.visibility.detach().to(dtype)

    def _shown(self, seen: Tensor, last: float) -> Tensor:
        shown = seen.T.contiguous()
        if not self.shrink:
            return shown
        return torch.cat([shown, shown.new_full((1, shown.shape[1]), last)])

    def _ready(self, g: Embeddings, side: Side) -> Iterator[ReadyTile]:
        """The gallery's part of every tile."""
        for columns in spans(len(g), (TILE_GPU if g.vectors.is_cuda else TILE_CPU)[1]):
            right = side.rows(columns)
            with torch.no_grad():
                y = right.ready(g.vectors[columns])
            yield columns, right, y

    def _whole(
        self, q: Embeddings, query: Side, gallery: Callable[[], Iterable[ReadyTile]], count: int
    ) -> Tensor:
        out = torch.empty(len(q), count, dtype=query.shown.dtype, device=q.vectors.device)
        for _ in self._tiles(q, query, gallery, out):
            pass
        return out

    def _tiles(
        self,
        q: Embeddings,
        query: Side,
        gallery: Callable[[], Iterable[ReadyTile]],
        out: Tensor | None = None,
    ) -> Iterator[tuple[slice, slice, Tensor]]:
        """Tile by tile, each a part of ``out`` if that is given. gallery: gives its part of the
        tiles, once for every block of queries.
        """
        for rows in spans(len(q), (TILE_GPU if q.vectors.is_cuda else TILE_CPU)[0]):
            left = query.rows(rows)
            with torch.no_grad():
                x = left.ready(q.vectors[rows])
            for columns, right, y in gallery():
                size = (len(x), columns.stop - columns.start)
                tile = x.new_empty(size) if out is None else out[rows, columns]
                with torch.no_grad(), _full_precision(q):
                    self._fill(tile, left, x, right, y)
                yield rows, columns, tile

    def _fill(self, tile: Tensor, left: Side, x: Tensor, right: Side, y: Tensor) -> None:
        """Distances of some rows to some columns, whose vectors are made ready: x [rows, M, D],
        y [columns, M, D].
        """
        if self.metric == "cosine":
            torch.mm(x.flatten(1), y.flatten(1).T, out=tile)
            if self.missing != self.shrink:  # far is not 1; a pass, for the one saved below
                tile.add_(self.shrink - self.missing)
        else:
            sum_euclid(tile.fill_(self.missing), x, y, right.shown)
        both = left.shown.T @ right.shown
        tile.div_(both)  # BPBreID Eq. 9, ISP Eq. 10, HCGA Eq. 10
        if self.metric == "cosine":
            tile.neg_().add_(1)
        if not self.shrink:
            tile.masked_fill_(both == 0, torch.inf)


class PreparedGallery:
    """What :meth:`PartDistance.prepare` makes: the gallery's side of every product, computed once.

    It holds a copy of the vectors, scaled, in float32 (float64 if they are that), and follows no
    later change of theirs. Not differentiable; queries are computed in its type.

    Examples:
        >>> gallery = PartDistance("cosine").prepare(torch.eye(3))
        >>> len(gallery), gallery.names
        (3, ('global',))
    """

    @door
    def __init__(self, distance: PartDistance, gallery: Embeddings) -> None:
        self.distance, self.names = distance, gallery.names
        self._like = gallery.rows([])
        self.dtype, self._count = _dtype(gallery, gallery), len(gallery)
        self._tiles = list(distance._ready(gallery, distance._gallery_side(gallery, self.dtype)))

    def __len__(self) -> int:
        return self._count

    def __call__(self, q: Vectors) -> Tensor:
        """All distances of the queries to the gallery: [Nq, Ng], see
        :meth:`PartDistance.__call__`.

        Raises:
            ShapeError: Queries and gallery have not the same embeddings.
        """
        return self.distance._whole(*self._sides(q), lambda: self._tiles, len(self))

    def tiles(self, q: Vectors) -> Iterator[tuple[slice, slice, Tensor]]:
        """The same distances in tiles, see :meth:`PartDistance.tiles`."""
        return self.distance._tiles(*self._sides(q), lambda: self._tiles)

    def closely(self, q: Vectors, rows: Sequence[int] | Tensor) -> Tensor:
        """Distances of one query to some rows, from differences in float64 of what is held. They
        are off by no more than the scaling of the vectors was, where those of a product of matrices
        lose half the digits.

        Args:
            q: One query [1, M, D].
            rows: Numbers of n rows of the gallery, from 0; int64 [n] as a tensor.

        Returns:
            float64 [n].

        Raises:
            ShapeError: It is not one query, or has not the gallery's embeddings.

        Examples:
            >>> gallery = PartDistance("euclidean").prepare(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
            >>> gallery.closely(torch.tensor([[0.0, 0.0]]), [1])
            tensor([5.], dtype=torch.float64)
        """
        e = self.distance._embeddings(q, self._like)[0]
        if len(e) != 1:
            raise ShapeError(f"distances to some rows are those of one query, got {len(e)}")
        index = torch.as_tensor(rows, dtype=torch.int64, device=e.vectors.device)
        y, seen = self._held(index)
        x = self.distance._unit(e.vectors.double())[0]
        q_seen, weight = e.visibility[0].double(), x.new_tensor(self.distance.weights or (1.0,))
        both = q_seen * seen
        if self.distance.metric == "cosine":  # y is scaled by its visibility too
            cost = (both - weight * q_seen * (x * y).sum(2)).sum(1)
        else:
            cost = (both * weight * torch.linalg.vector_norm(x - y, dim=2)).sum(1)
        total = both.sum(1)
        if self.distance.shrink:
            return (cost + self.distance.missing) / (total + self.distance.shrink)
        return (cost / total).masked_fill(total == 0, torch.inf)

    def _held(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors [n, M, D] and visibilities [n, M] of some rows as they are held, in float64."""
        parts, width = self._like.vectors.shape[1:]
        y = rows.new_empty((len(rows), parts, width), dtype=torch.float64)
        seen = rows.new_empty((len(rows), parts), dtype=torch.float64)
        for columns, side, ready in self._tiles:
            mine = (rows >= columns.start) & (rows < columns.stop)
            if bool(mine.any()):
                here = rows[mine] - columns.start
                y[mine] = ready[here, :, :width].double()
                seen[mine] = side.shown[:parts, here].T.double()
        return y, seen

    def _sides(self, q: Vectors) -> tuple[Embeddings, Side]:
        e = self.distance._embeddings(q, self._like)[0]
        return e, self.distance._query_side(e, self.dtype)


@door
def shared(q: Vectors, g: Vectors) -> Tensor:
    """How much evidence a distance rests on, ``sum_m v v'``.

    Args:
        q: Queries [Nq, M, D].
        g: Gallery [Ng, M, D].

    Returns:
        float32 [Nq, Ng] between 0 and M.

    Examples:
        >>> e = Embeddings.of(torch.ones(2, 2, 4), torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
        >>> shared(e, e)
        tensor([[2., 1.],
                [1., 1.]])
    """
    q, g = Embeddings.of(q), Embeddings.of(g)
    dtype = _dtype(q, g)
    with _full_precision(q):
        return q.visibility.to(dtype) @ g.visibility.to(dtype).T


@door
def typical(distance: PartDistance, e: Vectors, pairs: int = 10_000, seed: int = 0) -> float:
    """A ``far`` without labels: the median distance, not shrunk, of random pairs of different
    images. Nearly all such pairs are of two people.

    Args:
        distance: How images are compared.
        e: At least 2 images [N, M, D].
        pairs: How many are drawn.
        seed: What they are drawn with.

    Returns:
        The median of the pairs that share a part.

    Raises:
        ArgumentError: There are fewer than 2 images, or no pair shares a part.

    Examples:
        >>> corners = Embeddings.single("global", torch.eye(3))
        >>> round(typical(PartDistance("euclidean"), corners), 4)
        1.4142
    """
    e = Embeddings.of(e)
    if (n := len(e)) < 2 or pairs < 1:
        raise ArgumentError(
            f"a typical distance needs at least 2 images and 1 pair, got {n} and {pairs}"
        )
    draw, plain = torch.Generator().manual_seed(seed), replace(distance, shrink=0.0)
    one = torch.randint(n, (pairs,), generator=draw)
    other = (one + torch.randint(1, n, (pairs,), generator=draw)) % n
    with torch.no_grad():
        far = torch.cat(
            [
                plain.terms(e.rows(one[span]), e.rows(other[span])).sum(1)
                for span in spans(pairs, 1024)
            ]
        )
    if bool(far.isinf().all()):
        raise ArgumentError(
            f"no typical distance: of {pairs} drawn pairs of {n} images none shares a part"
        )
    return float(far[~far.isinf()].median())


def _shared_parts(q: Embeddings, g: Embeddings, dtype: torch.dtype) -> Tensor:
    return q.visibility.to(dtype).T[:, :, None] * g.visibility.to(dtype).T[:, None]


def _root(square: Tensor) -> Tensor:
    """Square root with value and gradient 0 at and below 0, where rounding puts equal vectors."""
    zero = square <= 0
    return square.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)


def _dtype(q: Embeddings, g: Embeddings) -> torch.dtype:
    return torch.float64 if torch.float64 in (q.vectors.dtype, g.vectors.dtype) else torch.float32


def _full_precision(e: Embeddings) -> torch.autocast:
    """Differences of large, nearly equal products do not survive 8 bits of mantissa: no autocast
    in here.
    """
    return torch.autocast(e.vectors.device.type, enabled=False)
