"""The one distance of every method on numpy arrays; see :mod:`partreid.distance` for the same on
tensors.

With v, v' the visibilities of part m in two images, e, e' its embeddings and a its weight:
Euclid ``d = sum_m a v v' |e - e'| / sum_m v v'`` (BPBreID Eq. 9), cosine ``d = 1 - sum_m a v v'
cos(e, e') / sum_m v v'`` (ISP Eq. 10, HCGA Eq. 10); with S = sum_m v v' parts of evidence and
``lambda`` more that say ``far``, ``d' = (S d + lambda far) / (S + lambda)``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ArgumentError, ShapeError
from partreid.runtime.evidence import Evidence
from partreid.runtime.types import Embeddings
from partreid.utils.arguments import check_fields, number

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]

_COLUMNS = 8192  # of the gallery at once, so that memory is that of the result and a little
_TINY = 1e-12  # a shorter vector has no direction, as in torch's normalize


@dataclass(frozen=True)
class PartDistance:
    """A metric, weights of the M embeddings or None, and how distances on little evidence are
    shrunk; as :class:`partreid.distance.PartDistance`.

    Raises:
        ArgumentError: There is no such metric, or a number is negative or not finite.

    Examples:
        >>> one = np.array([[[3.0, 4.0]], [[0.0, 0.0]]])
        >>> e = Embeddings(one, np.ones((2, 1)), ("global",))
        >>> PartDistance("euclidean")(e, e).tolist()
        [[0.0, 5.0], [5.0, 0.0]]
    """

    metric: Literal["cosine", "euclidean", "unit_euclidean"]
    weights: tuple[float, ...] | None = None
    shrink: float = 0.0
    far: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        for weight in self.weights or ():
            number("a weight of a distance", weight, 0)
        number("shrink of a distance", self.shrink, 0)
        number("far of a distance", self.far or 0.0, 0)
        if self.shrink and self.far is None and self.metric == "euclidean":
            raise ArgumentError("shrink on metric euclidean needs far, got None")

    @property
    def missing(self) -> float:
        """What missing evidence adds to the numerator, ``lambda far``."""
        unrelated = 1.0 if self.metric == "cosine" else math.sqrt(2)
        return self.shrink * (unrelated if self.far is None else self.far)

    @property
    def rule(self) -> str:
        """In words, as a calibration is bound to it."""
        return (
            f"metric {self.metric}, weights {self.weights or 1}, shrink {self.shrink:g}, "
            f"far {self.far}"
        )

    def __call__(self, q: Embeddings, g: Embeddings) -> Singles:
        """All distances of the queries to the gallery: float32 [Nq, Ng], +inf where a pair shares
        no part (``far`` if shrunk). ShapeError if they have not the same embeddings.
        """
        self._check(q, g)
        out = np.empty((len(q), len(g)), np.float32)
        x, left = self._side(q)
        for start in range(0, len(g), _COLUMNS):
            columns = slice(start, start + _COLUMNS)
            y, right = self._side(g.rows(columns))
            out[:, columns] = self._tile(x, left, y, right)
        return out

    def nearest(self, q: Embeddings, g: Embeddings, k: int) -> NDArray[np.int64]:
        """Gallery rows of the k nearest (or of all), nearest first; of equal distances the first
        row is nearer: int64 [Nq, k].
        """
        k, rows = min(k, len(g)), max(1, 2**24 // max(1, len(g)))
        nearest = [np.zeros((0, k), np.int64)]
        for start in range(0, len(q), rows):
            far = self(q.rows(slice(start, start + rows)), g)
            nearest.append(np.argsort(far, axis=1, kind="stable")[:, :k].astype(np.int64))
        return np.concatenate(nearest)

    def explain(
        self, q: Embeddings, g: Embeddings, rows_q: Sequence[int], rows_g: Sequence[int]
    ) -> list[Evidence]:
        """Evidence of the pairs (rows_q[i], rows_g[i]), worked out in float64."""
        self._check(q, g)
        one, other = q.rows(list(rows_q)), g.rows(list(rows_g))
        x, y = (self._unit(e.vectors.astype(np.float64)) for e in (one, other))
        far = 1 - (x * y).sum(2) if self.metric == "cosine" else np.sqrt(np.square(x - y).sum(2))
        v, w = (e.visibility.astype(np.float64) for e in (one, other))
        both = v * w
        total = both.sum(1, keepdims=True)
        weight = np.array(self.weights or (1.0,) * len(q.names))
        cost = 1 - weight * (1 - far) if self.metric == "cosine" else weight * far
        if self.shrink:
            share = (both * cost + self.missing / len(q.names)) / (total + self.shrink)
        else:
            share = np.where(total == 0, np.inf, both / np.where(total == 0, 1, total) * cost)
        parts = np.where(both == 0, np.nan, far)
        return [
            Evidence(
                q.names, math.fsum(share[i]), parts[i], share[i], v[i], w[i], self.shrink,
                self.missing,
            )
            for i in range(len(rows_q))
        ]  # fmt: skip

    def _side(self, e: Embeddings) -> tuple[Any, Any]:
        """Vectors [M, N, D], of length 1 if the metric has it so, and visibility [M, N]."""
        # |e - e'|^2 = |e|^2 - 2 e e' + |e'|^2 of near vectors does not survive single precision
        kind = np.float32 if self.metric == "cosine" else np.float64
        x = self._unit(e.vectors.astype(kind, copy=False))
        return x.transpose(1, 0, 2), e.visibility.astype(kind).T

    def _tile(self, x: Any, left: Any, y: Any, right: Any) -> Any:
        weight = self.weights or (1.0,) * len(x)
        cost = np.zeros((x.shape[1], y.shape[1]), x.dtype)
        for m, a in enumerate(weight):
            product = x[m] @ y[m].T
            if self.metric == "cosine":
                far = 1 - a * product
            else:
                square = np.square(x[m]).sum(1)[:, None] + np.square(y[m]).sum(1) - 2 * product
                far = a * np.sqrt(np.maximum(square, 0))
            cost += far * left[m][:, None] * right[m]
        total = left.T @ right
        if self.shrink:
            return (cost + self.missing) / (total + self.shrink)
        return np.where(total == 0, np.inf, cost / np.where(total == 0, 1, total))

    def _unit(self, x: Any) -> Any:
        if self.metric == "euclidean":
            return x
        return x / np.maximum(np.sqrt(np.square(x).sum(2, keepdims=True)), _TINY)

    def _check(self, q: Embeddings, g: Embeddings) -> None:
        if q.names != g.names or q.vectors.shape[2] != g.vectors.shape[2]:
            raise ShapeError(
                f"query and gallery must have the same embeddings; query has {', '.join(q.names)}, "
                f"{q.vectors.shape[2]} wide; gallery has {', '.join(g.names)}, "
                f"{g.vectors.shape[2]} wide"
            )
        if self.weights is not None and len(self.weights) != len(q.names):
            raise ShapeError(
                f"{len(self.weights)} weights for {len(q.names)} embeddings: {', '.join(q.names)}"
            )
