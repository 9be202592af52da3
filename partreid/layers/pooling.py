"""Pooling a feature map [B, C, h, w] under M weight maps [B, M, h, w] into embeddings [B, M, C]."""

from typing import Annotated

import torch
from torch import Tensor

from partreid.errors import ShapeError
from partreid.utils.arguments import Axes, door

Features = Annotated[Tensor, Axes("B C h w")]
Maps = Annotated[Tensor, Axes("B M h w")]


@door
def weighted_pool(f: Features, w: Maps) -> Tensor:
    """Weighted average, sum(w f) / sum(w); a map that is nowhere gives about zero (BPBreID Eq.
    3).

    Args:
        f: float [B, C, h, w].
        w: float [B, M, h, w], weights >= 0.

    Returns:
        float [B, M, C].

    Raises:
        ShapeError: Maps and features have not the same images or grid.

    Examples:
        >>> f = torch.tensor([[[[1.0, 3.0]]]])
        >>> weighted_pool(f, torch.tensor([[[[1.0, 1.0]], [[0.0, 0.5]]]]))
        tensor([[[2.],
                 [3.]]])
    """
    _require_grid(f, w)
    mass = w.sum((2, 3)).clamp_min(1e-6)
    return torch.einsum("bchw,bmhw->bmc", f, w) / mass[..., None]


@door
def mean_pool(f: Features, w: Maps) -> Tensor:
    """Average of w f over *all* pixels, so that the embedding carries the area of its map (ISP
    Eq. 2).

    Args:
        f: float [B, C, h, w].
        w: float [B, M, h, w].

    Returns:
        float [B, M, C].

    Raises:
        ShapeError: Maps and features have not the same images or grid.

    Examples:
        >>> f = torch.tensor([[[[1.0, 3.0]]]])
        >>> mean_pool(f, torch.tensor([[[[0.0, 1.0]]]]))
        tensor([[[1.5000]]])
    """
    _require_grid(f, w)
    return torch.einsum("bchw,bmhw->bmc", f, w) / (f.shape[2] * f.shape[3])


@door
def max_pool(f: Features, w: Maps) -> Tensor:
    """Maximum of w f over the pixels, one map at a time so that [B, M, C, h, w] never exists.

    Args:
        f: float [B, C, h, w].
        w: float [B, M, h, w].

    Returns:
        float [B, M, C].

    Raises:
        ShapeError: Maps and features have not the same images or grid.

    Examples:
        >>> f = torch.tensor([[[[1.0, 3.0]]]])
        >>> max_pool(f, torch.tensor([[[[1.0, 0.0]]]]))
        tensor([[[1.]]])
    """
    _require_grid(f, w)
    return torch.stack([(f * w[:, m, None]).amax((2, 3)) for m in range(w.shape[1])], 1)


POOLS = {"weighted": weighted_pool, "mean": mean_pool, "max": max_pool}


def _require_grid(f: Tensor, w: Tensor) -> None:
    """Maps of one pixel or one image would be spread over all without a word."""
    if f.shape[0] != w.shape[0] or f.shape[2:] != w.shape[2:]:
        raise ShapeError(
            f"weight maps must lie on the grid of the features, [{f.shape[0]}, M, {f.shape[2]}, "
            f"{f.shape[3]}], got {list(w.shape)}"
        )
