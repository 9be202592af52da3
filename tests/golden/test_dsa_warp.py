"""The warp against numbers worked out by hand-checkable loops: 16 pixels of 7 charts."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from partreid.layers.warp import (
    ALIGN,
    CHARTS,
    FLIP_U,
    FLIP_V,
    LEFT_RIGHT,
    MERGE_FB,
    MERGE_LR,
    REGIONS,
    Align,
    Collision,
    align_tiles,
    boxes,
    coarse,
    mirror_tiles,
    warp,
)

GOLDEN = np.load(Path(__file__).with_name("dsa_warp.npz"))
TABLES = json.loads(Path(__file__).with_name("dsa_mag.json").read_text())
SIZE = int(GOLDEN["S"])


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    pixels = torch.from_numpy(GOLDEN["image"]).permute(2, 0, 1)[None]
    labels = torch.from_numpy(GOLDEN["labels"]).to(torch.uint8)[None]
    return pixels, labels, torch.from_numpy(np.stack([GOLDEN["u"], GOLDEN["v"]]))[None]


def same(tiles: Tensor, key: str) -> None:
    np.testing.assert_allclose(tiles[0].permute(0, 2, 3, 1), GOLDEN[key], atol=1e-12)


@pytest.mark.parametrize("collision", ["last", "first", "mean"])
def test_collisions(collision: Collision) -> None:
    tiles, count = warp(*inputs(), SIZE, collision)
    same(tiles, f"dsap_{collision}")
    np.testing.assert_array_equal(count[0], GOLDEN["count"])
    assert tiles.dtype == torch.float64


def test_what_a_picture_holds() -> None:
    """U = 0.5 is 127 on file, hence 0.498, hence one row higher."""
    v, u, i = torch.from_numpy(GOLDEN["iuv_png_pil_order"].copy())[None].unbind(3)
    pixels, labels, _ = inputs()
    np.testing.assert_array_equal(i, labels)
    q = torch.stack([u, v], 1)
    for uv in (q, q.double() / 255, q.float() / 255):
        same(warp(pixels, i, uv, SIZE)[0], "dsap_mean_from_png")


@pytest.mark.parametrize("align", ["lr", "lr_fb"])
def test_alignment_after_the_warp(align: Align) -> None:
    tiles, _ = warp(*inputs(), SIZE)
    same(align_tiles(tiles, align), f"dsap_{align}_aligned")
    assert torch.equal(align_tiles(align_tiles(tiles, align), align), tiles)


def test_mirroring() -> None:
    same(mirror_tiles(warp(*inputs(), SIZE)[0]), "dsap_hflip")


def test_boxes_of_the_coarse_variant() -> None:
    pixels, labels, _ = inputs()
    want = TABLES["warp"]["csa_boxes_y0x0y1x1"]
    extents = boxes(labels)[0]
    assert {str(p + 1): box.tolist() for p, box in enumerate(extents) if box.any()} == want
    tiles, count = coarse(pixels, labels, SIZE)
    assert [p + 1 for p in range(24) if count[0, p].any()] == TABLES["warp"]["present_parts"]
    # feet and legs are single pixels here: the whole tile is that pixel
    for part in ("5", "6", "9", "10"):
        y, x, *_ = want[part]
        assert torch.allclose(
            tiles[0, int(part) - 1], pixels[0, :, y, x, None, None].expand(3, SIZE, SIZE)
        )


def test_tables() -> None:
    table = TABLES["densepose"]
    assert [name.replace("_", " ") for name in table["names24"][1:]] == list(CHARTS)
    assert list(LEFT_RIGHT) == table["sym24"]
    assert sorted(FLIP_U) == table["hflip_u"] and sorted(FLIP_V) == table["hflip_v"]
    assert sorted(ALIGN["lr"][0]) == table["lr_flip_u"] and not ALIGN["lr"][1]
    assert ALIGN["lr_fb"][0] - ALIGN["lr"][0] == {*table["fb_flip_u"], *table["fb_rot180"]}
    assert sorted(ALIGN["lr_fb"][1]) == table["fb_rot180"]


def test_merging_tree() -> None:
    table = TABLES["merging"]
    assert [list(group) for group in MERGE_LR] == table["level1_part_ids"]
    assert [list(group) for group in MERGE_FB] == table["level2_group_ids"]
    assert list(REGIONS) == table["level2_names"]
    level1 = [sum(table["input"][p - 1] for p in group) for group in MERGE_LR]
    assert level1 == table["level1_sum"]
    assert [sum(level1[g] for g in group) for group in MERGE_FB] == table["level2_sum"]
