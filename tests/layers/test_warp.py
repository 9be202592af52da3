"""The warp against a pixel-by-pixel loop; mirroring and aligning commute with it."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from partreid.errors import RecipeError, ShapeError
from partreid.layers.warp import (
    ALIGN,
    FLIP_U,
    FLIP_V,
    LEFT_RIGHT,
    MERGE_FB,
    MERGE_LR,
    Align,
    align_tiles,
    as_tiles,
    boxes,
    coarse,
    covered,
    mirror_coarse,
    mirror_tiles,
    warp,
)
from partreid.types import MEAN, STD

ALIGNS: tuple[Align, ...] = ("none", "lr", "lr_fb")


def person(seed: int = 0, batch: int = 2, h: int = 12, w: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels uint8 [B, 3, H, W], charts uint8 [B, H, W], uv uint8 [B, 2, H, W], crowded into few
    cells.
    """
    draw = torch.Generator().manual_seed(seed)

    def bytes_(high: int, *shape: int) -> Tensor:
        return torch.randint(0, high, shape, generator=draw, dtype=torch.uint8)

    return bytes_(256, batch, 3, h, w), bytes_(27, batch, h, w), bytes_(4, batch, 2, h, w) * 85


def loops(
    pixels: Tensor, labels: Tensor, uv: Tensor, size: int, collision: str
) -> tuple[Tensor, Tensor]:
    """Sec. 3.1, a pixel at a time."""
    b, _, h, w = pixels.shape
    cells: dict[tuple[int, ...], list[Tensor]] = {}
    for k, y, x in itertools.product(range(b), range(h), range(w)):
        u, v, chart = float(uv[k, 0, y, x]), float(uv[k, 1, y, x]), int(labels[k, y, x])
        if not 1 <= chart <= 24 or np.isnan(u) or np.isnan(v):
            continue
        row, column = (
            int(np.clip(np.floor(np.clip(m, -9, 9) * size), 0, size - 1)) for m in (u, v)
        )
        cells.setdefault((k, chart - 1, row, column), []).append(pixels[k, :, y, x].double())
    tiles, count = torch.zeros(b, 24, 3, size, size).double(), torch.zeros(b, 24, size, size).int()
    for (k, p, row, column), colors in cells.items():
        count[k, p, row, column] = len(colors)
        tiles[k, p, :, row, column] = {
            "mean": torch.stack(colors).mean(0),
            "first": colors[0],
            "last": colors[-1],
        }[collision]
    return tiles, count


@pytest.mark.parametrize("collision", ["mean", "last", "first"])
@pytest.mark.parametrize("size", [1, 4, 32])
def test_warp_is_the_loop(collision: Any, size: int) -> None:
    pixels, labels, q = person(size)
    uv = q.double() / 255 * 1.2 - 0.1  # beyond both ends
    uv[0, 0, :3], uv[1, 1, 2], uv[1, 0, 5, 1], uv[1, 1, 5, 2] = (
        torch.nan,
        torch.nan,
        torch.inf,
        -torch.inf,
    )
    want, count = loops(pixels, labels, uv, size, collision)
    for kind in (torch.uint8, torch.float32, torch.float64, torch.bfloat16):
        tiles, hits = warp(pixels.to(kind), labels, uv, size, collision)
        assert hits.dtype == torch.int32 and torch.equal(hits, count)
        assert tiles.dtype == (torch.float64 if kind == torch.float64 else torch.float32)
        exact = (
            want
            if kind != torch.bfloat16
            else loops(pixels.bfloat16(), labels, uv, size, collision)[0]
        )
        torch.testing.assert_close(tiles.double(), exact, atol=3e-5, rtol=0)
        assert not tiles[(hits == 0)[:, :, None].expand_as(tiles)].any()


def test_order_of_pixels_does_not_matter_to_the_mean() -> None:
    pixels, labels, uv = person(3, h=24, w=24)
    order = torch.randperm(24 * 24)
    shuffled = [m.flatten(-2)[..., order].view(m.shape) for m in (pixels, labels, uv)]
    assert all(map(torch.equal, warp(pixels, labels, uv, 4), warp(*shuffled, 4)))
    assert not torch.equal(warp(pixels, labels, uv, 4, "last")[0], warp(*shuffled, 4, "last")[0])


def test_bytes_are_numbers_over_255_exactly() -> None:
    q = torch.arange(256, dtype=torch.uint8).expand(1, 2, 2, 256)
    pixels, labels = torch.ones(1, 3, 2, 256), torch.ones(1, 2, 256, dtype=torch.uint8)
    for size in (3, 15, 17, 32, 51):  # 17 * 15 / 255 is 1, not 0.9999999
        want = torch.zeros(size, size, dtype=torch.int32)
        for value in range(256):
            want[min(value * size // 255, size - 1), min(value * size // 255, size - 1)] += 2
        assert torch.equal(warp(pixels, labels, q, size)[1][0, 0], want)


def flipped(labels: Tensor, uv: Tensor) -> tuple[Tensor, Tensor]:
    """Charts and uv (bytes) of the mirrored image, by the rule that DensePose's charts follow."""
    labels, uv = labels.flip(-1), uv.flip(-1).clone()
    for chart in range(1, 25):
        here = labels == chart
        uv[:, 0][here] = 255 - uv[:, 0][here] if chart in FLIP_U else uv[:, 0][here]
        uv[:, 1][here] = 255 - uv[:, 1][here] if chart in FLIP_V else uv[:, 1][here]
    return torch.tensor(LEFT_RIGHT, dtype=torch.uint8)[labels.long().clamp_max(24)] * (
        labels <= 24
    ), uv


def aligned(labels: Tensor, uv: Tensor, align: Align) -> Tensor:
    uv = uv.clone()
    for axis, charts in enumerate(ALIGN[align]):
        for chart in charts:
            here = labels == chart
            uv[:, axis][here] = 255 - uv[:, axis][here]
    return uv


@given(
    seed=st.integers(0, 10_000),
    align=st.sampled_from(ALIGNS),
    size=st.sampled_from([1, 2, 4, 7, 32]),
)
def test_mirroring_and_aligning_commute_with_the_warp(seed: int, align: Align, size: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    pixels, labels, _ = person(seed)
    uv = torch.randint(0, 256, (2, 2, 12, 8), generator=draw, dtype=torch.uint8)
    tiles, count = warp(pixels, labels, aligned(labels, uv, align), size)
    assert torch.equal(align_tiles(warp(pixels, labels, uv, size)[0], align), tiles)
    charts, places = flipped(labels, uv)
    want, how_many = warp(pixels.flip(-1), charts, aligned(charts, places, align), size)
    assert torch.equal(mirror_tiles(tiles, align), want)
    assert torch.equal(mirror_tiles(count[:, :, None], align)[:, :, 0], how_many)


@pytest.mark.parametrize("align", ALIGNS)
def test_mirroring_twice_is_nothing_and_needs_no_batch(align: Align) -> None:
    tiles = torch.rand(2, 24, 3, 5, 5)
    once = mirror_tiles(tiles, align)
    assert not torch.equal(once, tiles) and torch.equal(mirror_tiles(once, align), tiles)
    assert torch.equal(mirror_tiles(tiles[1], align), once[1])
    assert torch.equal(mirror_tiles((tiles * 255).byte(), align), (once * 255).byte())


def test_what_is_left_to_mirror_once_left_and_right_are_aligned() -> None:
    """Only the sides swap, and the torso is turned."""
    tiles = torch.rand(24, 3, 4, 4)
    want = tiles[[p - 1 for p in LEFT_RIGHT[1:]]].clone()
    want[:2] = want[:2].flip(-1)
    assert torch.equal(mirror_tiles(tiles, "lr"), want)


def test_every_chart_is_merged_once() -> None:
    assert sorted(p for group in MERGE_LR for p in group) == list(range(1, 25))
    assert all(LEFT_RIGHT[p] in group for group in MERGE_LR for p in group)
    assert sorted(g for group in MERGE_FB for g in group) == list(range(13))


def test_coarse_is_the_cut_out_piece() -> None:
    pixels, labels, _ = person(5)
    labels[:] = 0
    labels[0, 2:6, 1:5], labels[1, 0, 0] = 7, 24
    for mask in (True, False):
        tiles, count = coarse(pixels, labels, 4, mask)
        # its own size: nothing to mix
        assert torch.equal(tiles[0, 6], pixels[0, :, 2:6, 1:5].float())
        assert torch.equal(tiles[1, 23], pixels[1, :, 0, 0].float()[:, None, None].expand(3, 4, 4))
        assert (
            count.flatten(2).sum(2).nonzero().tolist() == [[0, 6], [1, 23]]
            and tiles.count_nonzero() <= 96
        )
    tiles, _ = coarse(pixels, labels, 8, False)
    want = torch.nn.functional.interpolate(pixels[:1, :, 2:6, 1:5].float(), size=8, mode="bilinear")
    torch.testing.assert_close(tiles[0, 6], want[0])


def test_coarse_leaves_out_what_is_not_the_part() -> None:
    pixels, labels, _ = person(6)
    pixels[:], labels[:] = 9, 0
    labels[0, 0:4, 0:4], labels[0, 0:2, 0:2] = 3, 5  # an L, with another part in its corner
    pixels[0, :, labels[0] == 3] = 200
    tiles, count = coarse(pixels, labels, 4)
    assert torch.equal(count[0, 2], (labels[0, :4, :4] == 3).int())
    assert set(tiles[0, 2].unique().tolist()) == {0, 200}
    tiles, count = coarse(pixels, labels, 16)
    assert (
        set(tiles[0, 2].unique().round().tolist()) == {0, 200}
        and 0.6 < count[0, 2].float().mean() < 0.9
    )
    tiles, count = coarse(pixels, labels, 16, mask_outside=False)
    assert count[0, 2].all() and tiles[0, 2].min() == 9


def test_mirrored_coarse_pieces() -> None:
    pixels, labels, uv = person(7)
    tiles, count = coarse(pixels, labels, 6)
    want, seen = coarse(pixels.flip(-1), flipped(labels, uv)[0], 6)
    torch.testing.assert_close(mirror_coarse(tiles), want, atol=1e-3, rtol=0)
    assert torch.equal(mirror_coarse(count[:, :, None])[:, :, 0], seen)


def test_boxes_of_absent_charts_are_empty() -> None:
    labels = torch.zeros(1, 5, 6, dtype=torch.uint8)
    assert not boxes(labels).any()
    labels[0, 4, 5], labels[0, 1, 2] = 2, 2
    assert boxes(labels)[0, 1].tolist() == [1, 2, 5, 6] and not boxes(labels)[0, 2:].any()
    tiles, count = coarse(torch.ones(1, 3, 5, 6), labels * 0, 4)
    assert not tiles.any() and not count.any()


def test_both_kinds_of_cue_feed_the_guide_alike() -> None:
    pixels, labels, uv = person(8)
    labels[1] = 0
    spatial = torch.cat([labels[:, None], uv, pixels], 1).permute(0, 2, 3, 1)
    fed = as_tiles(spatial, 4)
    tiles, count = warp(pixels, labels, uv, 4)
    ready = torch.cat([tiles.round(), (count > 0)[:, :, None]], 2).to(torch.uint8)
    assert fed.shape == (2, 24, 3, 4, 4) and fed.dtype == torch.float32
    torch.testing.assert_close(as_tiles(ready), fed, atol=0.5 / 255 / min(STD) + 1e-5, rtol=0)
    mean, std = (torch.tensor(m)[:, None, None] for m in (MEAN, STD))
    want = (tiles / 255 - mean) / std * (count > 0)[:, :, None]  # the mean color, normalised, is 0
    torch.testing.assert_close(fed, want, atol=1e-5, rtol=0)
    assert covered(spatial).tolist() == covered(ready).tolist() == [True, False]
    assert as_tiles(ready[:, :, :, :2, :2]).shape[-1] == 2  # ready tiles keep their size
    foreign = spatial.clone()
    foreign[..., 0] = 26
    assert not covered(foreign).any() and not as_tiles(foreign, 4).any()


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda p, i, q: warp(p[:, :2], i, q), ShapeError, r"pixels must be \[B, 3, H, W\]"),
        (lambda p, i, q: warp(p, i.long(), q), ShapeError, "labels must be uint8"),
        (lambda p, i, q: coarse(p, i[:, 1:]), ShapeError, "labels must be uint8"),
        (lambda p, i, q: warp(p, i, q[..., 1:]), ShapeError, r"uv must be \[2, 2, 12, 8\]"),
        (lambda p, i, q: warp(p, i, q, 0), ShapeError, "at least 1 cell"),
        (
            lambda p, i, q: warp(p, i, q, 4, "max"),
            RecipeError,
            "collision must be one of mean, last, first",
        ),
        (
            lambda p, i, q: align_tiles(torch.zeros(24, 3, 4, 4), "fb"),
            RecipeError,
            "align must be one of none, lr, lr_fb",
        ),
        (
            lambda p, i, q: mirror_tiles(torch.zeros(23, 3, 4, 4)),
            ShapeError,
            r"tiles must be \[..., 24, C, S, S\]",
        ),
        (lambda p, i, q: as_tiles(p), ShapeError, "the cue uv_tiles is uint8"),
        (
            lambda p, i, q: covered(torch.zeros(2, 24, 4, 4, 4)),
            ShapeError,
            "the cue uv_tiles is uint8",
        ),
    ],
)
def test_wrong_shapes_and_names(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(*person())
