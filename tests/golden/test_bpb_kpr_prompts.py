"""Keypoint heat maps and prompts against those of KPR's released code."""

from pathlib import Path

import numpy as np
import pytest

from partreid.labels.keypoints import blobs, in_crop
from partreid.labels.schemes import KEYPOINTS

GOLDEN = np.load(Path(__file__).parent / "bpb_kpr_prompts.npz")
PEOPLE = GOLDEN["keypoints_xyc"]
CROP = (64, 128)  # width, height


@pytest.mark.parametrize("size", ["32x64", "64x128"])
@pytest.mark.parametrize(("kind", "radius"), [("keypoints", 0), ("keypoints_gaussian", None)])
def test_heat_maps(kind: str, size: str, radius: int | None) -> None:
    width, height = map(int, size.split("x"))
    np.testing.assert_allclose(
        blobs(PEOPLE[0], CROP, (height, width), radius), GOLDEN[f"{kind}/{size}"], atol=1e-7
    )


def test_heat_maps_weighted_by_confidence() -> None:
    maps = blobs(PEOPLE[0], CROP, (64, 32), weighted=True)
    np.testing.assert_allclose(maps, GOLDEN["keypoints_gaussian_continuous/32x64"], atol=1e-7)


@pytest.mark.parametrize(("size", "radius"), [(5, 2), (23, 11)])
def test_kernels(size: int, radius: int) -> None:
    one = np.zeros((17, 3))
    one[0] = radius, radius, 1
    np.testing.assert_allclose(
        blobs(one, (size, size), (size, size), radius)[0], GOLDEN[f"gkern_{size}"], atol=1e-7
    )


@pytest.mark.parametrize(("key", "row"), [("cck6", "six"), ("cck8", "eight")])
@pytest.mark.parametrize("anyone", [True, False])
def test_prompts(key: str, row: str, anyone: bool) -> None:
    """Background where nobody is, then the other people, then the target's parts."""
    target, *others = [blobs(p if anyone else 0 * p, CROP, (128, 64)) for p in PEOPLE]
    parts = np.stack([target[list(members)].max(0) for members in KEYPOINTS[row].values()])
    shown = np.concatenate([np.stack(others).max((0, 1))[None], parts])
    prompt = np.concatenate([(1 - shown.sum(0)).clip(0, 1)[None], shown])
    np.testing.assert_allclose(
        prompt, GOLDEN[f"{'prompt' if anyone else 'prompt_empty'}/{key}"], atol=1e-6
    )


def test_keypoints_of_a_picture_in_a_crop() -> None:
    moved = in_crop(GOLDEN["img_to_bbox/in"], (10, 20, 40, 60))
    np.testing.assert_array_equal(moved, GOLDEN["img_to_bbox/out"])
