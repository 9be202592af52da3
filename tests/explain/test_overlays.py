"""Part maps land where they should, in their own color, and hidden parts do not shine."""

import os
import re
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from partreid.errors import DataError, ShapeError
from partreid.explain.overlays import (
    PALETTE,
    Shown,
    color,
    part_cutout,
    part_overlay,
    photo,
    upsampled,
)
from partreid.types import Embeddings, PartMaps, PartScheme, Sample

NAMES = ("head", "legs")


@pytest.fixture
def crop(tmp_path):
    path = tmp_path / "0001_c1.png"
    pixels = np.random.default_rng(0).integers(0, 255, (64, 32, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def halves(visibility=None, path=None):
    """Head in the upper half of the left, legs in its lower half, background on the right."""
    probs = np.zeros((3, 8, 4))
    probs[0, :, 2:] = probs[1, :4, :2] = probs[2, 4:, :2] = 1
    return Shown(path, 1, 2, probs, NAMES, visibility)


def colorfulness(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image, float)
    return pixels.max(2) - pixels.min(2)


def test_parts_are_tinted_with_their_own_color_and_background_stays_grey(crop):
    image = part_overlay(halves(path=crop), 128)
    assert image.size == (64, 128) and image.mode == "RGB"
    pixels = np.asarray(image, float)
    for name, rows in (("head", slice(8, 48)), ("legs", slice(80, 120))):
        paint = np.array(ImageColor.getrgb(color(name)), float)
        mean = pixels[rows, 8:24].mean((0, 1))
        others = [np.array(ImageColor.getrgb(color(n)), float) for n in NAMES if n != name]
        assert np.abs(mean - paint).sum() < min(np.abs(mean - o).sum() for o in others)
    assert colorfulness(image)[:, 48:].max() == 0


def test_hidden_parts_are_hatched_in_grey(crop):
    image = part_overlay(halves(np.array([1.0, 0.0]), crop), 128)
    assert colorfulness(image)[80:120, 8:24].max() == 0
    assert colorfulness(image)[8:48, 8:24].min() > 20
    plain = part_overlay(
        Shown(crop, 1, 2, halves(path=crop).probs * [[[1]], [[1]], [[0]]], NAMES), 128
    )
    assert (
        np.asarray(image)[80:120, 8:24].mean() < np.asarray(plain)[80:120, 8:24].mean()
    )  # dark lines on it


def test_a_crop_without_maps_is_left_alone(crop):
    np.testing.assert_array_equal(part_overlay(Shown(crop, 1, 2), 128), photo(crop, 128))


def test_upsampling_is_bilinear_between_cell_centers():
    out = upsampled(np.array([[[0.0, 1.0]]]), (1, 4))
    np.testing.assert_allclose(out[0, 0], [0, 0.25, 0.75, 1])


def test_cutout_is_the_piece_of_the_photograph_under_the_part(crop):
    shown = halves(path=crop)
    piece = part_cutout(shown, "legs", 64)
    assert piece.mode == "RGBA" and piece.width <= 20 and 28 <= piece.height <= 36
    solid = np.asarray(piece)[..., 3] == 255
    lower = np.asarray(photo(crop, 64))[-piece.height :, : piece.width]
    np.testing.assert_array_equal(np.asarray(piece)[..., :3][solid], lower[solid])
    assert part_cutout(shown, "foreground", 64).height == 64
    assert part_cutout(shown, "arms") is None and part_cutout(Shown(crop, 1, 2), "legs") is None
    empty = Shown(
        crop, 1, 2, np.stack([np.ones((8, 4)), np.zeros((8, 4)), np.zeros((8, 4))]), NAMES
    )
    assert part_cutout(empty, "legs") is None


def test_shown_of_takes_maps_and_visibility_of_one_row(crop):
    maps = PartMaps(torch.randn(2, 3, 8, 4), PartScheme(NAMES))
    e = Embeddings(
        torch.randn(2, 3, 5),
        torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]),
        ("foreground", *NAMES),
    )
    shown = Shown.of(Sample(crop, 7, 3), maps, e, 1)
    assert (shown.identity, shown.camera, shown.names) == (7, 3, NAMES)
    np.testing.assert_allclose(shown.probs, maps.probs[1].numpy())
    np.testing.assert_array_equal(shown.visibility, [0, 1])
    assert shown.hidden("head") and not shown.hidden("legs") and not shown.hidden("tail")
    assert Shown.of(Sample(crop, 7, 3)).probs is None


def test_wrong_shapes_and_broken_images_are_refused(tmp_path, crop):
    with pytest.raises(ShapeError, match=r"\[3, h, w\]"):
        Shown(crop, 1, 2, np.zeros((2, 8, 4)), NAMES)
    with pytest.raises(ShapeError, match=r"must be \[2\]"):
        Shown(crop, 1, 2, np.zeros((3, 8, 4)), NAMES, np.ones(3))
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    script = tmp_path / "script.jpg"
    # for which Pillow would start Ghostscript
    script.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    os.mkfifo(tmp_path / "pipe.jpg")  # whoever opens it waits for ever
    for path in (broken, script, tmp_path / "missing.jpg", tmp_path / "pipe.jpg"):
        with pytest.raises(DataError, match=re.escape(str(path))):
            photo(path)


def test_a_name_always_has_the_same_color():
    assert color("head") == PALETTE["head"] and color("tail") == color("tail")
    assert len({color(f"stripe{i}") for i in range(1, 7)}) == 6


MACHADO = {  # how a display's linear RGB looks to dichromats (Machado, Oliveira and Fernandes 2009)
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.01182, 0.04294, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.3039),
    ),
    "everyone": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}


def lab(hexadecimal: str, eyes: np.ndarray) -> np.ndarray:
    rgb = np.array(ImageColor.getrgb(hexadecimal)) / 255
    linear = np.clip(
        eyes @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4), 0, 1
    )
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    t = to_xyz @ linear / (0.9505, 1, 1.089)
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", MACHADO)
@pytest.mark.parametrize(
    "names",
    [
        ("head", "torso", "arms", "legs", "feet"),
        ("head", "torso", "arms", "upper_legs", "lower_legs", "feet"),
        ("head", "chest", "upper_arm", "lower_arm", "upper_leg", "lower_leg", "foot"),
    ],
)
def test_parts_stay_apart_for_color_blind_readers(names, eyes):
    seen = {name: lab(color(name), np.array(MACHADO[eyes])) for name in names}
    for a, b in combinations(names, 2):
        assert np.linalg.norm(seen[a] - seen[b]) > 20, (a, b)
