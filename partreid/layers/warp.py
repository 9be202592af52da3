"""A person's surface unwrapped: pixels to 24 part images ("tiles") in UV space, and the tables of
the 24 charts.

Charts are numbered 1..24 as DensePose does (0 is background) and named from the person's own point
of view: 5 is the left foot, 6 the right one, 23 the right half of the head. A tile's rows stand for
U, its columns for V.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from partreid.errors import RecipeError, ShapeError
from partreid.types import MEAN, STD

Align = Literal["none", "lr", "lr_fb"]
Collision = Literal["mean", "last", "first"]

CHARTS = (
    "torso back",
    "torso front",
    "right hand",
    "left hand",
    "left foot",
    "right foot",
    "right upper leg back",
    "left upper leg back",
    "right upper leg front",
    "left upper leg front",
    "right lower leg back",
    "left lower leg back",
    "right lower leg front",
    "left lower leg front",
    "left upper arm front",
    "right upper arm front",
    "left upper arm back",
    "right upper arm back",
    "left lower arm front",
    "right lower arm front",
    "left lower arm back",
    "right lower arm back",
    "head right",
    "head left",
)

# What mirroring the image does: chart p becomes chart LEFT_RIGHT[p], with u -> 1 - u or v -> 1 - v
# on these charts.
LEFT_RIGHT = (
    0,
    1,
    2,
    4,
    3,
    6,
    5,
    8,
    7,
    10,
    9,
    12,
    11,
    14,
    13,
    16,
    15,
    18,
    17,
    20,
    19,
    22,
    21,
    24,
    23,
)
FLIP_U, FLIP_V = frozenset({3, 4, 5, 6, 23, 24}), frozenset({1, 2})

# DensePose lays most left and right charts out alike, but hands, feet and head as mirror images,
# and some backs are turned against their fronts. (Charts whose u is flipped, charts whose v is), so
# that what is added up coincides: "lr" left with right, "lr_fb" also front with back.
ALIGN: dict[Align, tuple[frozenset[int], frozenset[int]]] = {
    "none": (frozenset(), frozenset()),
    "lr": (frozenset({4, 5, 24}), frozenset()),
    "lr_fb": (frozenset({4, 5, 24, 11, 12, 9, 10, 19, 20}), frozenset({9, 10, 19, 20})),
}

# DSA-reID Fig. 4: the charts (1..24) of the 13 groups of left and right, and the groups (0..12) of
# the 8 regions.
MERGE_LR = (
    (1,),
    (2,),
    (3, 4),
    (5, 6),
    (7, 8),
    (9, 10),
    (11, 12),
    (13, 14),
    (15, 16),
    (17, 18),
    (19, 20),
    (21, 22),
    (23, 24),
)
MERGE_FB = ((0, 1), (2,), (3,), (4, 5), (6, 7), (8, 9), (10, 11), (12,))
REGIONS = ("torso", "hand", "foot", "upper_leg", "lower_leg", "upper_arm", "lower_arm", "head")


def warp(
    pixels: Tensor, labels: Tensor, uv: Tensor, size: int = 32, collision: Collision = "mean"
) -> tuple[Tensor, Tensor]:
    """Every pixel of chart i to cell (floor(u S), floor(v S)) of tile i (DSA-reID Sec. 3.1), S =
    ``size``.

    pixels: uint8 or float [B, 3, H, W]. labels: uint8 [B, H, W]; what is not 1..24 is left out. uv:
    float [B, 2, H, W] in [0, 1], or uint8 for q / 255; beyond that range the nearest cell is taken,
    NaN is left out. collision: several pixels in one cell give their mean, or the last (as the
    paper's copying does) or first in raster order. Returns tiles float [B, 24, 3, S, S] in the
    units of the pixels, 0 where nothing fell, and how many pixels did, int32 [B, 24, S, S].
    Repeatable on every device: sums of uint8 pixels are exact, whatever their order.
    """
    _check(pixels, labels, size)
    batch, _, h, w = pixels.shape
    if tuple(uv.shape) != (batch, 2, h, w):
        raise ShapeError(f"uv must be [{batch}, 2, {h}, {w}] like the pixels, got {list(uv.shape)}")
    if collision not in get_args(Collision):
        raise RecipeError(
            f"collision must be one of {', '.join(get_args(Collision))}, got {collision!r}"
        )
    cells = 24 * size * size
    cell = _cells(labels, uv, size).long()  # int64 [B, H W], the last + 1 for what is left out
    dtype = torch.promote_types(pixels.dtype, torch.float32)
    flat = pixels.flatten(2)
    count = torch.zeros(batch, cells + 1, dtype=torch.int32, device=pixels.device)
    count = count.scatter_add_(1, cell, count.new_ones(1, 1).expand_as(cell))[:, :cells]
    tiles = torch.empty(batch, 24, 3, size * size, dtype=dtype, device=pixels.device)
    if collision == "mean":
        divisor = count.clamp(min=1)
        for c in range(3):
            sums = torch.zeros(batch, cells + 1, dtype=dtype, device=pixels.device).scatter_add_(
                1, cell, flat[:, c].to(dtype)
            )
            tiles[:, :, c] = (sums[:, :cells] / divisor).view(batch, 24, -1)
    # writing at repeated indices is undefined, the greatest or least place in raster order is not
    else:
        place = torch.arange(h * w, dtype=torch.int32, device=pixels.device).expand_as(cell)
        taken = (
            torch.zeros(batch, cells + 1, dtype=torch.int32, device=pixels.device)
            .scatter_reduce_(
                1, cell, place, "amax" if collision == "last" else "amin", include_self=False
            )[:, :cells]
            .long()
        )
        for c in range(3):
            tiles[:, :, c] = (flat[:, c].gather(1, taken).to(dtype) * (count > 0)).view(
                batch, 24, -1
            )
    return tiles.view(batch, 24, 3, size, size), count.reshape(batch, 24, size, size)


def _cells(labels: Tensor, uv: Tensor, size: int) -> Tensor:
    """Cell of every pixel in its image's 24 tiles laid end to end: int32 [B, H W]; 24 S S for
    what is left out.
    """
    places = uv.flatten(2).to(torch.promote_types(uv.dtype, torch.float32)) * size
    u, v = (places.div_(255) if uv.dtype == torch.uint8 else places).unbind(1)
    known = (u + v).isnan().logical_not_()
    chart = labels.flatten(1).to(torch.int32)
    known &= (chart >= 1) & (chart <= 24)
    # of no sign: floor
    row, column = (m.nan_to_num(0.0).clamp(0, size - 1).to(torch.int32) for m in (u, v))
    return torch.where(known, ((chart - 1) * size + row) * size + column, 24 * size * size)


def coarse(
    pixels: Tensor, labels: Tensor, size: int = 32, mask_outside: bool = True
) -> tuple[Tensor, Tensor]:
    """The parts merely cut out (CSA of DSA-reID Table 4): the tight box around each chart, resized
    bilinearly to S x S.

    pixels, labels: see :func:`warp`, and so the result, with count 1 where a cell shows the part.
    mask_outside: pixels of the box that are not the part's are left out; a cell takes the weighted
    mean of those that are, if they hold at least half of its weight. (The paper does not say
    whether it masks.) False: the whole box.
    """
    _check(pixels, labels, size)
    batch, dtype = len(pixels), torch.promote_types(pixels.dtype, torch.float32)
    tiles = torch.zeros(batch, 24, 3, size, size, dtype=dtype, device=pixels.device)
    count = torch.zeros(batch, 24, size, size, dtype=torch.int32, device=pixels.device)
    here = (
        labels[:, None]
        == torch.arange(1, 25, device=labels.device, dtype=torch.uint8)[:, None, None]
    )
    image, chart = here.flatten(2).any(2).nonzero(as_tuple=True)
    lines = [_lines(here.any(dim)[image, chart], size) for dim in (3, 2)]
    seen = (
        torch.cat([pixels, labels[:, None].to(pixels.dtype)], 1).permute(0, 2, 3, 1).reshape(-1, 4)
    )
    total = torch.zeros(len(image), size, size, 3, dtype=dtype, device=pixels.device)
    weight = total.new_zeros(len(image), size, size, 1)
    for y, y_share in lines[0]:
        for x, x_share in lines[1]:
            index = (image[:, None, None] * labels.shape[1] + y[:, :, None]) * labels.shape[2] + x[
                :, None
            ]
            values = seen.index_select(0, index.flatten()).view(*index.shape, 4)
            share = (y_share[:, :, None] * x_share[:, None])[..., None].to(dtype)
            if mask_outside:
                share = share * (values[..., 3:] == (chart + 1)[:, None, None, None])
            weight += share
            total += share * values[..., :3]
    known = weight > 0.4999  # half, whatever way it was rounded
    tiles[image, chart] = torch.where(known, total / weight.clamp_min(0.4999), 0.0).permute(
        0, 3, 1, 2
    )
    count[image, chart] = known[..., 0].to(torch.int32)
    return tiles, count


def boxes(labels: Tensor) -> Tensor:
    """Tight box of each chart as y0, x0, y1, x1 (ends excluded): int64 [B, 24, 4], all 0 where
    it is absent.
    """
    here = (
        labels[:, None]
        == torch.arange(1, 25, device=labels.device, dtype=torch.uint8)[:, None, None]
    )
    (y0, y1), (x0, x1) = _extent(here.any(3)), _extent(here.any(2))
    return torch.stack([y0, x0, y1, x1], 2)


def _extent(seen: Tensor) -> tuple[Tensor, Tensor]:
    """First True and the place after the last True along the last dimension; 0, 0 where there is
    none.
    """
    place = torch.arange(seen.shape[-1], device=seen.device)
    start = place.masked_fill(~seen, seen.shape[-1]).amin(-1)
    return torch.where(seen.any(-1), start, 0), (place + 1).masked_fill(~seen, 0).amax(-1)


def _lines(seen: Tensor, size: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Which two lines of seen [n, L] each of S samples between its first and last True lies
    between, and their shares: int64 and float64 [n, S]. Bilinear between centers
    (align_corners=False), clamped at both ends.
    """
    start, stop = (m[:, None] for m in _extent(seen))
    length = (stop - start).double()
    position = (torch.arange(size, device=seen.device) + 0.5) * (length / size) - 0.5
    position = position.clamp_min(0).minimum(length - 1)
    low, high = position.floor(), (position.floor() + 1).minimum(length - 1)
    return ((low.long() + start, 1 - (position - low)), (high.long() + start, position - low))


def align_tiles(tiles: Tensor, align: Align) -> Tensor:
    """Tiles [..., 24, C, S, S] of any dtype as DensePose lays them out -> the same with
    ``ALIGN[align]`` flipped.
    """
    return _turned(tiles, range(25), *_aligned(align))


def mirror_tiles(tiles: Tensor, align: Align = "none") -> Tensor:
    """Aligned tiles [..., 24, C, S, S] of the mirrored image: sides swapped, some charts flipped.
    Exact.

    It is what warping the mirrored image gives, up to pixels that lie just on the border of two
    cells (none if S has no factor 3, 5 or 17 and U, V came in 255 steps).
    """
    return _turned(tiles, LEFT_RIGHT, *mirrored(align))


def mirror_coarse(tiles: Tensor) -> Tensor:
    """Pieces [..., 24, C, S, S] of :func:`coarse`, of the mirrored image: sides swapped, every
    piece mirrored.
    """
    return _turned(tiles, LEFT_RIGHT, frozenset(), frozenset(range(1, 25)))


def mirrored(align: Align) -> tuple[frozenset[int], frozenset[int]]:
    """Charts whose u, and whose v, is flipped when the image is mirrored and both sides are
    aligned by ``align``.
    """
    u, v = (
        frozenset(
            p for p in range(1, 25) if (p in flip) ^ (p in turned) ^ (LEFT_RIGHT[p] in turned)
        )
        for flip, turned in zip((FLIP_U, FLIP_V), _aligned(align))
    )
    return u, v


def _aligned(align: Align) -> tuple[frozenset[int], frozenset[int]]:
    if align not in ALIGN:
        raise RecipeError(f"align must be one of {', '.join(ALIGN)}, got {align!r}")
    return ALIGN[align]


def _turned(
    tiles: Tensor, source: Sequence[int], flip_u: frozenset[int], flip_v: frozenset[int]
) -> Tensor:
    """Tile p from tile source[p], its rows or columns reversed where p is in a set closed under
    left and right.
    """
    if tiles.ndim < 4 or tiles.shape[-4] != 24 or tiles.shape[-1] != tiles.shape[-2]:
        raise ShapeError(f"tiles must be [..., 24, C, S, S], got {list(tiles.shape)}")
    out = tiles[..., [p - 1 for p in source[1:]], :, :, :]
    for flips, dim in ((flip_u, -2), (flip_v, -1)):
        index = [p - 1 for p in sorted(flips)]
        if index:
            out[..., index, :, :, :] = out[..., index, :, :, :].flip(dim)
    return out


def as_tiles(cue: Tensor, size: int = 32) -> Tensor:
    """What a guide is fed, float32 [B, 24, 3, S, S]: ImageNet-normalised, 0 (the mean color) where
    nothing is known.

    cue: ready tiles uint8 [B, 24, 4, S, S] of R, G, B and 1 where known, which keep their S; or
    uint8 [B, H, W, 6] of chart, U, V in 0..255, R, G, B, warped here to S = ``size``, on the cue's
    device.
    """
    if _spatial(cue):
        maps = cue.permute(0, 3, 1, 2).contiguous()
        tiles, count = warp(maps[:, 3:], maps[:, 0], maps[:, 1:3], size)
        known = (count > 0)[:, :, None]
    else:
        tiles, known = cue[:, :, :3].to(torch.float32), cue[:, :, 3:] > 0
    mean, std = (torch.tensor(m, device=cue.device)[:, None, None] for m in (MEAN, STD))
    return tiles.mul_(1 / (255 * std)).sub_(mean / std).mul_(known)


def covered(cue: Tensor) -> Tensor:
    """Bool [B]: whether anything is known of an image's surface; cue: see :func:`as_tiles`."""
    if _spatial(cue):
        return ((cue[..., 0] >= 1) & (cue[..., 0] <= 24)).flatten(1).any(1)
    return (cue[:, :, 3] > 0).flatten(1).any(1)


def _spatial(cue: Tensor) -> bool:
    """Whether a cue is maps on the image's grid, not ready tiles. ShapeError if it is neither."""
    if cue.dtype == torch.uint8 and cue.ndim == 4 and cue.shape[3] == 6:
        return True
    if cue.dtype == torch.uint8 and cue.ndim == 5 and tuple(cue.shape[1:3]) == (24, 4):
        return False
    raise ShapeError(
        f"the cue uv_tiles is uint8 [B, 24, 4, S, S] or [B, H, W, 6], got {cue.dtype} "
        f"{list(cue.shape)}"
    )


def _check(pixels: Tensor, labels: Tensor, size: int) -> None:
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        raise ShapeError(f"pixels must be [B, 3, H, W], got {list(pixels.shape)}")
    if labels.dtype != torch.uint8 or labels.shape != pixels.shape[:1] + pixels.shape[2:]:
        raise ShapeError(
            f"labels must be uint8 {[len(pixels), *pixels.shape[2:]]} like the pixels, got "
            f"{labels.dtype} {list(labels.shape)}"
        )
    if size < 1:
        raise ShapeError(f"tiles must be at least 1 cell wide, got size={size}")
