"""Image and labels move together: every pixel of a drawn picture says in its color which label
it has.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from partreid.data.transforms import (
    MEAN,
    MEAN_PIXEL,
    STD,
    TRANSFORMS,
    Transform,
    View,
    crop,
    erase,
    jitter,
    mirror,
    resize_nearest,
    to_batch,
    zoom,
)
from partreid.errors import DataError
from partreid.labels.base import PartLabels
from partreid.labels.schemes import SURFACES, scheme_of
from partreid.types import PartScheme
from partreid.utils.images import read_resized

H, W, K = 32, 16, 8
EIGHT = scheme_of(SURFACES["eight"])


def color(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The color that stands for a label; background is black, as the border that cropping adds."""
    return np.stack([label * 30, label * 7, 255 * (label > 0)], -1).astype(np.uint8)


def picture() -> View:
    """Labels in blocks of different sizes, colored after themselves, and a cue that is no map."""
    labels = ((np.arange(H)[:, None] // 4 * 3 + np.arange(W)[None] // 3) % (K + 1)).astype(np.uint8)
    cues = {"parts": labels, "height": np.array([1.8])}
    return View(
        color(labels),
        cues,
        {"parts": lambda a: a[:, ::-1], "height": lambda a: a},
        frozenset({"parts"}),
    )


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("seed", range(8))
def test_a_crop_moves_both_and_pads_with_background(seed: int) -> None:
    before = picture()
    view = crop(pad=5)(before, generator(seed))
    assert view.image.shape == (H, W, 3) and view.cues["parts"].shape == (H, W)
    np.testing.assert_array_equal(view.image, color(view.cues["parts"]))  # type: ignore[arg-type]
    top, left = generator(seed).integers(0, 11, 2)
    padded = np.pad(before.cues["parts"], 5)
    np.testing.assert_array_equal(view.cues["parts"], padded[top : top + H, left : left + W])
    assert view.cues["height"] == [1.8]


def test_crops_reach_every_offset() -> None:
    random = generator(0)
    view = View(
        np.zeros((4, 4, 3), np.uint8), {"at": np.arange(1, 17).reshape(4, 4)}, {}, frozenset({"at"})
    )
    corners = {tuple(crop(pad=1)(view, random).cues["at"].ravel()) for _ in range(300)}
    assert len(corners) == 9


def test_zooming_moves_both_and_cuts_out_every_corner() -> None:
    rows, columns = np.broadcast_arrays(np.arange(H)[:, None] * 6, np.arange(W)[None] * 12)
    where = np.stack([rows, columns], -1).astype(np.uint8)
    view = View(
        np.concatenate([where, where[..., :1]], -1),
        {"at": where, "whole": where},
        {},
        frozenset({"at"}),
    )
    starts = set()
    for seed in range(60):
        moved = zoom(p=1, by=1.25)(view, generator(seed))
        assert moved.image.shape == (H, W, 3) and moved.cues["whole"] is where
        np.testing.assert_allclose(
            moved.image[..., :2].astype(int), moved.cues["at"].astype(int), atol=7
        )
        starts.add((int(moved.cues["at"][0, 0, 0]), int(moved.cues["at"][0, 0, 1])))
    assert {0} < {row for row, _ in starts} and {0} < {column for _, column in starts}
    assert zoom(p=0)(view, generator(0)) is view


def test_a_mirror_turns_both_and_is_its_own_inverse() -> None:
    before = picture()
    once = mirror(p=1)(before, generator(0))
    np.testing.assert_array_equal(once.image, before.image[:, ::-1])
    np.testing.assert_array_equal(once.image, color(once.cues["parts"]))  # type: ignore[arg-type]
    twice = mirror(p=1)(once, generator(0))
    np.testing.assert_array_equal(twice.image, before.image)
    np.testing.assert_array_equal(twice.cues["parts"], before.cues["parts"])


def test_a_mirror_swaps_left_and_right_parts_by_name() -> None:
    labels = np.array([[1, 2, 3], [5, 6, 4], [7, 8, 255]], np.uint8)
    cue = PartLabels(EIGHT, lambda index: labels)
    turned = cue.mirror(cue[0])

    def name(label: int) -> str:
        return EIGHT.names[label - 1] if 0 < label <= 8 else str(label)

    swap = {"left": "right", "right": "left"}
    for row in range(3):
        for column in range(3):
            side, _, rest = name(int(labels[row, 2 - column])).partition("_")
            wanted = f"{swap[side]}_{rest}" if side in swap else side
            assert name(int(turned[row, column])) == wanted
    np.testing.assert_array_equal(cue.mirror(turned), labels)
    without_sides = PartLabels(PartScheme(("head", "legs")), lambda index: labels)
    np.testing.assert_array_equal(without_sides.mirror(labels % 3), labels[:, ::-1] % 3)


@pytest.mark.parametrize("options", [{}, {"sides": (0.15, 0.65)}, {"fill": "released"}])
def test_erasing_takes_one_rectangle_from_both(options: dict[str, object]) -> None:
    fill = (152, 142, 127) if options.get("fill") == "released" else MEAN_PIXEL
    areas = []
    for seed in range(40):
        before = picture()
        view = erase(p=1, **options)(before, generator(seed))  # type: ignore[arg-type]
        gone = (view.image == fill).all(-1)
        rows, columns = np.flatnonzero(gone.any(1)), np.flatnonzero(gone.any(0))
        assert gone[
            rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1
        ].all()  # one solid rectangle
        assert gone.sum() == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        assert (view.cues["parts"][gone] == 0).all()
        np.testing.assert_array_equal(view.image[~gone], before.image[~gone])
        np.testing.assert_array_equal(view.cues["parts"][~gone], before.cues["parts"][~gone])
        assert view.cues["height"] == [1.8]
        areas.append(gone.mean())
        if "sides" in options:
            assert 0.1 < len(rows) / H < 0.7 and 0.1 < len(columns) / W < 0.7
    assert min(areas) > 0.01 and max(areas) < 0.45 and max(areas) > 2 * min(areas)


def test_erasing_can_leave_the_cues_alone() -> None:
    before = picture()
    view = erase(p=1, cues=False)(before, generator(2))
    assert (view.image != before.image).any() and view.cues is before.cues


def test_the_released_fill_is_what_that_code_leaves() -> None:
    """It writes (0.485, 0.456, 0.406) after normalising."""
    view = erase(p=1, fill="released")(picture(), generator(1))
    gone = view.cues["parts"] != picture().cues["parts"]
    normalised = to_batch([view.image])[0].permute(1, 2, 0)[torch.from_numpy(gone)]
    torch.testing.assert_close(
        normalised, torch.tensor(MEAN).expand_as(normalised), atol=0.01, rtol=0
    )


def test_jitter_changes_the_light_and_nothing_else() -> None:
    view = jitter(p=1)(picture(), generator(3))
    np.testing.assert_array_equal(view.cues["parts"], picture().cues["parts"])
    assert view.image.dtype == np.uint8 and (view.image != picture().image).any()
    assert np.corrcoef(view.image.ravel(), picture().image.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("make", [mirror, erase, jitter])
def test_probabilities_are_kept(make: Callable[..., Transform]) -> None:
    random = generator(0)
    unchanged = sum(
        make(p=0.25)(picture(), random).image.tobytes() == picture().image.tobytes()
        for _ in range(400)
    )
    assert 260 < unchanged < 340
    assert make(p=0.0)(picture(), random) is not None
    np.testing.assert_array_equal(make(p=0.0)(picture(), random).image, picture().image)


@pytest.mark.parametrize("name", list(TRANSFORMS))
def test_equal_generators_give_equal_views_and_the_input_is_left_alone(name: str) -> None:
    before = replace(picture(), another=lambda random: picture())
    image, parts = before.image.copy(), before.cues["parts"].copy()
    one, two = (TRANSFORMS[name]()(before, generator(5)) for _ in range(2))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.cues["parts"], two.cues["parts"])
    np.testing.assert_array_equal(before.image, image)
    np.testing.assert_array_equal(before.cues["parts"], parts)
    assert any(
        (TRANSFORMS[name]()(before, generator(s)).image != one.image).any() for s in range(8)
    )


def test_all_together_keep_color_and_label_in_step() -> None:
    for seed in range(30):
        view, random = picture(), generator(seed)
        for transform in (crop(pad=3), mirror(), erase()):
            view = transform(view, random)
        erased = (view.image == MEAN_PIXEL).all(-1)
        np.testing.assert_array_equal(view.image[~erased], color(view.cues["parts"])[~erased])  # type: ignore[arg-type]
        assert (view.cues["parts"][erased] == 0).all()


def test_a_batch_is_normalised() -> None:
    images = [np.random.default_rng(i).integers(0, 256, (4, 3, 3), np.uint8) for i in range(2)]
    batch = to_batch(images)
    assert batch.shape == (2, 3, 4, 3) and batch.dtype == torch.float32
    for b in range(2):
        for c in range(3):
            np.testing.assert_allclose(
                batch[b, c], (images[b][..., c] / 255 - MEAN[c]) / STD[c], atol=1e-5
            )
    grey = to_batch([np.full((2, 2, 3), MEAN_PIXEL, np.uint8)])
    assert grey.abs().max() < 0.01  # what erasing leaves is about 0


def test_labels_take_the_class_under_each_pixel_s_center() -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(4, 3)
    np.testing.assert_array_equal(resize_nearest(labels, (8, 6)), labels.repeat(2, 0).repeat(2, 1))
    assert resize_nearest(labels, (4, 3)) is labels
    for size in ((3, 5), (2, 2), (7, 1)):
        wanted = [
            [
                labels[int((r + 0.5) * 4 / size[0]), int((c + 0.5) * 3 / size[1])]
                for c in range(size[1])
            ]
            for r in range(size[0])
        ]
        np.testing.assert_array_equal(resize_nearest(labels, size), wanted)


def test_images_of_any_mode_come_as_rgb_of_the_size_asked_for(tmp_path: Path) -> None:
    for mode in ("RGB", "L", "P", "RGBA", "CMYK", "1"):
        path = tmp_path / f"{mode}.{'jpg' if mode == 'CMYK' else 'png'}"
        Image.new("RGB", (20, 30), (200, 200, 200)).convert(mode).save(path)
        image = read_resized(path, (16, 8))
        assert image.shape == (16, 8, 3) and image.dtype == np.uint8
        # one bit shows grey as a pattern
        assert abs(int(image.mean()) - 200) < (60 if mode == "1" else 4)
    assert read_resized(path, (30, 20)).shape == (30, 20, 3)


def test_unreadable_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no image .*gone\.jpg"):
        read_resized(tmp_path / "gone.jpg", (4, 4))
    Image.new("RGB", (64, 64), "red").save(tmp_path / "whole.jpg")
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:400])
    (tmp_path / "empty.jpg").touch()
    for name in ("text", "cut", "empty"):
        with pytest.raises(
            DataError, match=rf"{name}\.jpg cannot be read as an image .*replace or remove the file"
        ):
            read_resized(tmp_path / f"{name}.jpg", (4, 4))
