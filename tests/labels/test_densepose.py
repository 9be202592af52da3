"""IUV pictures: both channel orders, several people, everything that is no such picture; labels
and coverage.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from partreid.data.synthetic import write
from partreid.data.synthetic.render import render
from partreid.data.synthetic.world import World, plan
from partreid.errors import DataError, RecipeError, ShapeError
from partreid.labels.densepose import (
    Surfaces,
    coverage,
    densepose_labels,
    encode_iuv,
    read_iuv,
    surfaces_of,
)
from partreid.labels.schemes import SURFACES, lookup
from partreid.types import Sample

Array = NDArray[Any]


def iuv(seed: int = 0, shape: tuple[int, int] = (6, 4)) -> Array:
    """uint8 [H, W, 3] of I, U, V with some background, U and V over their whole range."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
    pixels[..., 0] = random.integers(0, 25, shape)
    pixels[0, :2] = (1, 255, 255), (24, 0, 0)
    return pixels * (pixels[..., :1] > 0)


def save(pixels: Array, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def crop(root: Path, stem: str = "0001_c1s1_000000_00", size: tuple[int, int] = (4, 6)) -> Sample:
    path = root / "bounding_box_train" / f"{stem}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)
    return Sample(path, 1, 1)


@pytest.mark.parametrize(
    ("labels", "uv"),
    [
        (np.zeros((3, 2), np.int64), np.zeros((2, 3, 2), np.float32)),
        (np.zeros((3, 2, 1), np.uint8), np.zeros((2, 3, 2), np.float32)),
        (np.zeros((3, 2), np.uint8), np.zeros((3, 2, 2), np.float32)),
        (np.zeros((3, 2), np.uint8), np.zeros((2, 3, 2), np.float64)),
    ],
)
def test_surfaces_are_checked_at_the_door(labels: Array, uv: Array) -> None:
    with pytest.raises(ShapeError, match="must be (uint8|float32)"):
        Surfaces(labels, uv)


def test_coverage_of_a_person() -> None:
    labels = np.zeros((4, 2), np.uint8)
    assert not Surfaces(labels, np.zeros((2, 4, 2), np.float32)).has_body
    labels[0] = 3
    surfaces = Surfaces(labels, np.zeros((2, 4, 2), np.float32))
    assert surfaces.has_body and surfaces.coverage == 0.25
    assert Surfaces(np.zeros((0, 0), np.uint8), np.zeros((2, 0, 0), np.float32)).coverage == 0


@pytest.mark.parametrize("name", ["a.png", "a_IUV.png"])
@pytest.mark.parametrize("order", ["iuv", "vui"])
def test_the_order_of_channels_is_found_and_nothing_is_lost(
    tmp_path: Path, order: str, name: str
) -> None:
    @given(st.integers(0, 2**31))
    def holds(seed: int) -> None:
        pixels = iuv(seed)
        path = save(pixels if order == "iuv" else pixels[..., ::-1], tmp_path / name)
        surfaces = read_iuv(path)
        np.testing.assert_array_equal(surfaces.labels, pixels[..., 0])
        np.testing.assert_array_equal(
            surfaces.uv, pixels[..., 1:].transpose(2, 0, 1) / np.float32(255)
        )
        again = read_iuv(path, order=order)  # type: ignore[arg-type]
        np.testing.assert_array_equal(again.labels, surfaces.labels)
        path.write_bytes(encode_iuv(surfaces))
        # the very numbers, in our order
        np.testing.assert_array_equal(np.asarray(Image.open(path)), pixels)

    holds()


@given(st.integers(0, 2**31))
def test_what_is_written_is_truncated_as_densepose_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    uv = random.random((2, 5, 3), np.float32)
    with Image.open(io.BytesIO(encode_iuv(Surfaces(np.full((5, 3), 7, np.uint8), uv)))) as file:
        pixels = np.asarray(file)
    assert (pixels[..., 0] == 7).all()
    error = 255 * uv.transpose(1, 2, 0) - pixels[..., 1:]
    assert error.min() >= 0 and error.max() < 1


def test_an_unclear_order_is_settled_by_where_the_others_are_then_by_name(tmp_path: Path) -> None:
    small = np.zeros((4, 3, 3), np.uint8)
    small[1:3] = (9, 12, 11)  # both ends within 24
    small[1, 0] = (9, 12, 0)  # but only I is positive wherever the others are
    for name in ("a.png", "a_IUV.png"):
        assert set(np.unique(read_iuv(save(small, tmp_path / name)).labels)) == {0, 9}
        assert set(np.unique(read_iuv(save(small[..., ::-1], tmp_path / name)).labels)) == {0, 9}
    small[1, 0] = (9, 12, 11)
    assert read_iuv(save(small, tmp_path / "a.png")).labels.max() == 9
    assert read_iuv(save(small, tmp_path / "a_IUV.png")).labels.max() == 11
    assert read_iuv(save(small, tmp_path / "a_IUV.png"), order="iuv").labels.max() == 9
    assert not read_iuv(save(small * 0, tmp_path / "nobody.png")).has_body


@pytest.mark.parametrize("mode", ["P", "L", "RGBA", "I;16"])
def test_pictures_of_other_kinds_are_refused(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    (Image.new("I;16", (4, 6)) if mode == "I;16" else Image.fromarray(iuv()).convert(mode)).save(
        path
    )
    with pytest.raises(
        DataError,
        match=rf"a\.png is a {mode} picture; one with three channels of 8 bits is expected",
    ):
        read_iuv(path)


def test_other_files_are_told_what_is_wrong(tmp_path: Path) -> None:
    drawing = save(np.full((4, 3, 3), 90), tmp_path / "drawing.png")
    with pytest.raises(
        DataError,
        match="drawing.png is no IUV picture: neither its first nor its last channel stays",
    ):
        read_iuv(drawing)
    pixels = np.zeros((4, 3, 3))
    pixels[..., 2] = 90
    with pytest.raises(
        DataError, match="a.png has charts up to 90 when read as vui, DensePose has 24"
    ):
        read_iuv(save(pixels, tmp_path / "a.png"), order="vui")
    with pytest.raises(
        DataError, match="a.jpg is a JPEG file, which changes the numbers; write it as PNG"
    ):
        read_iuv(save(iuv(), tmp_path / "a.jpg"))
    (tmp_path / "half.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    for name, message in (
        ("half.png", r"half\.png cannot be read as an image"),
        ("gone.png", r"no label .*gone\.png"),
    ):
        with pytest.raises(DataError, match=message):
            read_iuv(tmp_path / name)


def test_one_person_of_several(tmp_path: Path) -> None:
    """As DensePose pastes them: ids are ranks from the least certain, and id 0 looks like
    background.
    """
    pixels, ids = np.zeros((6, 4, 3), np.uint8), np.zeros((6, 4), np.uint8)
    pixels[:2], pixels[2:5] = (5, 50, 50), (6, 60, 60)  # 8 pixels of person 0, 12 of person 2
    ids[2:5] = 2
    path = save(pixels[..., ::-1], tmp_path / "a_IUV.png")
    assert set(np.unique(read_iuv(path).labels)) == {0, 5, 6}  # nobody tells them apart
    with pytest.raises(
        DataError, match="cannot be asked for person 2: there is no a_INDS.png beside it"
    ):
        read_iuv(path, person=2)
    save(ids, tmp_path / "a_INDS.png")
    largest = read_iuv(path)
    assert np.unique(largest.labels).tolist() == [0, 6] and (largest.labels > 0).sum() == 12
    assert (largest.uv[:, :2] == 0).all() and (largest.uv[:, 2:5] == np.float32(60 / 255)).all()
    assert (read_iuv(path, person=0).labels > 0).sum() == 8
    with pytest.raises(DataError, match="a_INDS.png has no person 1, only 0, 2"):
        read_iuv(path, person=1)
    save(ids * 0, tmp_path / "a_INDS.png")  # one detection: every id is 0
    assert (read_iuv(path).labels > 0).sum() == (read_iuv(path, person=0).labels > 0).sum() == 20
    save(ids[:3], tmp_path / "a_INDS.png")
    with pytest.raises(DataError, match="a_INDS.png is 4 x 3 but its IUV picture is 4 x 6"):
        read_iuv(path)
    save(pixels * 0, path)
    save(ids, tmp_path / "a_INDS.png")
    assert not read_iuv(path).has_body


def test_the_synthetic_world_s_pictures_are_read(tmp_path: Path) -> None:
    world = World(
        "small",
        height=64,
        width=32,
        train_identities=2,
        test_identities=2,
        distractors=0,
        cameras=2,
        supersample=1,
        query_per_identity=1,
        occluded_query_per_identity=1,
    )
    root = write(world, tmp_path / "world", iuv=True, workers=1)
    shots = [shot for shot in plan(world) if shot.split == "bounding_box_train"]
    samples = [
        Sample(root / shot.split / f"{shot.stem}.jpg", shot.identity, shot.camera) for shot in shots
    ]
    paths = surfaces_of(root, samples)
    cue = densepose_labels(root, samples, "eight")
    for i, (path, shot) in enumerate(zip(paths, shots, strict=True)):
        assert path is not None
        surfaces, truth = (
            read_iuv(path),
            render(world, shot.identity, shot.camera, shot.index, shot.occluded),
        )
        body = truth.labels * (truth.labels <= 24)
        np.testing.assert_array_equal(surfaces.labels, body)
        error = truth.uv.transpose(2, 0, 1) * (body > 0) - surfaces.uv
        assert error.min() > -1e-6 and error.max() <= 1 / 255 + 1e-6
        np.testing.assert_array_equal(cue[i], lookup(SURFACES["eight"])[body])


def test_each_spelling_of_the_file_is_found(tmp_path: Path) -> None:
    samples = [crop(tmp_path, stem) for stem in ("0001_c1", "0002_c1", "0003_c1.night", "0004_c1")]
    place = tmp_path / "mine" / "bounding_box_train"
    ours = save(iuv(), place / "0001_c1.png")
    theirs = save(iuv()[..., ::-1], place / "0002_c1_IUV.png")
    cut = save(iuv()[..., ::-1], place / "0003_c1_IUV.png")  # DensePose cuts names at the first dot
    assert surfaces_of(tmp_path, samples, "mine") == (ours, theirs, cut, None)
    with pytest.raises(
        DataError,
        match=r"none of 4 images has a DensePose picture; expected for the first one "
        r".*iuv/bounding_box_train/0001_c1\.png or \.\.\._IUV\.png",
    ):
        surfaces_of(tmp_path, samples)
    assert surfaces_of(tmp_path, []) == ()


def test_coverage_of_a_data_set_is_counted_and_said(tmp_path: Path) -> None:
    samples = [crop(tmp_path, f"{i:04d}_c1") for i in range(1, 8)]
    place, half = tmp_path / "iuv" / "bounding_box_train", np.zeros((6, 4, 3))
    half[:3] = (2, 90, 90)
    save(half, place / "0001_c1.png")
    save(np.full((6, 4, 3), (2, 90, 90)), place / "0002_c1.png")
    save(half * 0, place / "0003_c1.png")  # a picture of nobody
    seen: list[tuple[int, int]] = []
    body_coverage = coverage(
        tmp_path, samples, progress=lambda done, total: seen.append((done, total))
    )
    assert (body_coverage.images, body_coverage.with_body, body_coverage.share) == (7, 2, 0.75)
    assert body_coverage.missing == tuple(f"{i:04d}_c1.jpg" for i in range(3, 8))
    assert seen == [(i, 7) for i in range(1, 8)]
    assert body_coverage.sentence() == (
        "DensePose found a person in 2 of 7 images (28.6 %), on 75 % of their pixels. Nobody in "
        "0003_c1.jpg, 0004_c1.jpg, 0005_c1.jpg and 2 more."
    )


def test_part_labels_and_images_without_a_person(tmp_path: Path) -> None:
    samples = [crop(tmp_path, f"000{i}_c1") for i in (1, 2, 3)]
    place, pixels = tmp_path / "iuv" / "bounding_box_train", iuv()
    save(pixels, place / "0001_c1.png")
    save(pixels * 0, place / "0003_c1.png")
    with pytest.raises(
        DataError,
        match=r"found nobody in 1 of 3 training images: 0002_c1\.jpg\. Say what they count",
    ):
        densepose_labels(tmp_path, samples)
    for missing, value in (("unknown", 255), ("background", 0)):
        cue = densepose_labels(tmp_path, samples, missing=missing)  # type: ignore[arg-type]
        assert cue.spatial and cue.scheme.names == tuple(SURFACES["five"])
        np.testing.assert_array_equal(cue[0], lookup(SURFACES["five"])[pixels[..., 0]])
        for i in (1, 2):
            np.testing.assert_array_equal(cue[i], np.full((6, 4), value))
            np.testing.assert_array_equal(cue.mirror(cue[i]), cue[i])
    # "error" is about files
    assert not densepose_labels(tmp_path, [samples[0], samples[2]])[1].any()
    with pytest.raises(RecipeError, match="unknown surface grouping: 'nine'"):
        densepose_labels(tmp_path, samples, "nine")


def test_labels_must_show_the_same_crop(tmp_path: Path) -> None:
    sample, path = (
        crop(tmp_path),
        tmp_path / "iuv" / "bounding_box_train" / "0001_c1s1_000000_00.png",
    )
    save(iuv(shape=(48, 32)), path)
    # an enlarged copy is the same crop
    assert densepose_labels(tmp_path, [sample])[0].shape == (48, 32)
    save(iuv(shape=(32, 48)), path)
    with pytest.raises(
        DataError, match="is 48 x 32 but its image is 4 x 6: they do not show the same crop"
    ):
        densepose_labels(tmp_path, [sample])[0]
    sample.path.write_text("no picture")
    with pytest.raises(DataError, match=r"000000_00\.jpg cannot be read as an image"):
        densepose_labels(tmp_path, [sample])[0]
