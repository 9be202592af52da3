"""Distances in tiles, without gradients: what each side brings, made ready for one product of
matrices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

# Rows (query, gallery) worked on at a time. On a CPU a tile of distances should stay in the last
# cache between the passes over it, yet be large: where other programs compete for the cores, each
# meeting of the threads costs milliseconds. A GPU wants fewer, larger launches. Neither changes a
# result by more than rounding.
TILE_CPU = (2048, 2048)
TILE_GPU = (8192, 8192)


@dataclass(frozen=True)
class Side:
    """What a query or gallery brings to the tiles besides its vectors."""

    shown: Tensor  # visibilities [M, N]; [M + 1, N] if shrunk
    factor: Tensor  # [N, M], to multiply the vectors by
    ends: Tensor | None  # [N, M, 2], columns to append to them after that; None for cosine

    def rows(self, index: slice) -> "Side":
        return Side(
            self.shown[:, index],
            self.factor[index],
            None if self.ends is None else self.ends[index],
        )

    def ready(self, vectors: Tensor) -> Tensor:
        vectors = vectors.to(self.shown.dtype) * self.factor[:, :, None]
        return vectors if self.ends is None else torch.cat([vectors, self.ends], 2)


def sum_euclid(out: Tensor, x: Tensor, y: Tensor, shown: Tensor) -> None:
    """Add the numerator of BPBreID Eq. 9 for a tile [rows, columns]: x [rows, M, D+2], y
    [columns, M, D+2].
    """
    far = torch.empty(out.shape, dtype=out.dtype, device=out.device)
    for m in range(x.shape[1]):
        torch.mm(x[:, m], y[:, m].T, out=far)
        far.clamp_min_(0).sqrt_()
        if bool((shown[m] == 1).all()):
            out.add_(far)  # BPBreID Eq. 9
        else:
            out.addcmul_(far, shown[m])  # BPBreID Eq. 9


def spans(n: int, most: int) -> Iterator[slice]:
    """Cut 0..n into the fewest spans of at most ``most``, nearly equal, so that no sliver is
    left over.
    """
    size = max(1, ceil(n / max(1, ceil(n / most))))
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
