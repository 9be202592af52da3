"""Pooling a feature map [B, C, h, w] under M weight maps [B, M, h, w] into embeddings [B, M, C]."""

from typing import Annotated

import torch
from torch import Tensor

from partreid.utils.arguments import Axes, door

Features = Annotated[Tensor, Axes("B C h w")]
Maps = Annotated[Tensor, Axes("B M h w")]


@door
def weighted_pool(f: Features, w: Maps) -> Tensor:
    """Weighted average, sum(w f) / sum(w); a map that is nowhere gives about zero (BPBreID Eq.
    3).
    """
    mass = w.sum((2, 3)).clamp_min(1e-6)
    return torch.einsum("bchw,bmhw->bmc", f, w) / mass[..., None]


@door
def mean_pool(f: Features, w: Maps) -> Tensor:
    """Average of w f over *all* pixels, so that the embedding carries the area of its map (ISP
    Eq. 2).
    """
    return torch.einsum("bchw,bmhw->bmc", f, w) / (f.shape[2] * f.shape[3])


@door
def max_pool(f: Features, w: Maps) -> Tensor:
    """Maximum of w f over the pixels, one map at a time so that [B, M, C, h, w] never exists."""
    return torch.stack([(f * w[:, m, None]).amax((2, 3)) for m in range(w.shape[1])], 1)


POOLS = {"weighted": weighted_pool, "mean": mean_pool, "max": max_pool}
