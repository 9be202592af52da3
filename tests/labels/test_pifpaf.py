"""PifPaf fields: under any of their names, of the right shape, and grouped as BPBreID groups
them.
"""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from partreid.errors import ArgumentError, DataError, RecipeError
from partreid.labels.pifpaf import (
    SUFFIXES,
    Background,
    confidence_fields,
    never_first,
    part_masks,
    pifpaf_labels,
    read_fields,
)
from partreid.labels.schemes import PIFPAF
from partreid.types import Sample

FOLDER = Path("masks") / "pifpaf_maskrcnn_filtering" / "bounding_box_train"


@pytest.fixture(autouse=True)
def upright(monkeypatch: pytest.MonkeyPatch) -> None:
    """The images of these tests need not be there; what EXIF does to labels is tested in
    test_doors.py.
    """
    monkeypatch.setattr("partreid.labels.pifpaf.orientation", lambda image: 1)


def sample(root: Path) -> Sample:
    return Sample(root / "bounding_box_train" / "0001_c1s1_000000_00.jpg", 1, 1)


def fields(hot: dict[int, tuple[int, int]]) -> np.ndarray:
    """All zero but for one pixel of some channels."""
    values = np.zeros((36, 6, 4), np.float32)
    for channel, pixel in hot.items():
        values[channel][pixel] = 0.9
    return values


def save(root: Path, name: str, array: np.ndarray) -> None:
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    np.save(root / FOLDER / "x.npy", array)
    (root / FOLDER / "x.npy").rename(root / FOLDER / name)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_three_spellings_are_found(tmp_path: Path, suffix: str) -> None:
    crop = sample(tmp_path)
    save(
        tmp_path,
        suffix.format(stem=crop.path.stem, name=crop.path.name),
        fields({0: (0, 1), 15: (5, 2)}),
    )
    cue = pifpaf_labels(tmp_path, [crop], "eight")
    labels = cue[0]
    assert labels.shape == (6, 4) and labels.dtype == np.uint8
    assert (
        cue.scheme.names[labels[0, 1] - 1] == "head"
        and cue.scheme.names[labels[5, 2] - 1] == "left_foot"
    )
    assert np.count_nonzero(labels) == 2


def test_the_three_spellings_are_the_ones_in_circulation() -> None:
    assert {s.format(stem="a", name="a.jpg") for s in SUFFIXES} == {
        "a.npy",
        "a.jpg.npy",
        "a.jpg.confidence_fields.npy",
    }


@pytest.mark.parametrize(
    ("image", "label"),
    [
        # BPBreID's Occluded-REID
        ("occluded_body_images/001/001_01.tif", "occluded_body_images/001_01.npy"),
        (
            "occluded_body_images/001/001_01.tif",
            "occluded_body_images/001_01.tif.confidence_fields.npy",
        ),
        (
            "occluded_body_images/001/001_01.tif",
            "occluded_body_images/001_01.jpg.confidence_fields.npy",
        ),  # KPR's
        ("train/whole_body_images/0001/a.jpg", "train/whole_body_images/a.npy"),  # P-DukeMTMC
        ("query/a.jpg", "query/a.jpg.confidence_fields.npy"),  # Occluded-Duke
    ],
)
def test_the_released_places(tmp_path: Path, image: str, label: str) -> None:
    crop = Sample(tmp_path / image, 1, 1)
    path = tmp_path / "masks" / "pifpaf_maskrcnn_filtering" / label
    path.parent.mkdir(parents=True)
    np.save(path, fields({0: (2, 3)}))
    assert pifpaf_labels(tmp_path, [crop])[0][2, 3] == 1


def test_labels_beside_the_image(tmp_path: Path) -> None:
    """Where Partial-REID has them."""
    crop = Sample(tmp_path / "whole" / "001_001.jpg", 1, 1)
    crop.path.parent.mkdir()
    np.save(tmp_path / "whole" / "001_001.jpg.confidence_fields.npy", fields({0: (2, 3)}))
    assert pifpaf_labels(tmp_path, [crop])[0][2, 3] == 1


def raw(plane: int) -> tuple[np.ndarray, np.ndarray]:
    """What OpenPifPaf's two heads give: confidences in one plane, offsets in pixels in all
    others.
    """
    random = np.random.default_rng(plane)
    pif, paf = random.normal(4, 5, (17, 5, 6, 4)), random.normal(4, 5, (19, 9, 6, 4))
    for head in (pif, paf):
        head[:, plane] = random.uniform(0, 1, head[:, 0].shape)
    return pif.astype(np.float32), paf.astype(np.float32)


@pytest.mark.parametrize("plane", [0, 1])
@pytest.mark.parametrize("names", [("pif", "paf"), ("cif", "caf")])
def test_raw_outputs_of_either_release(tmp_path: Path, plane: int, names: tuple[str, str]) -> None:
    pif, paf = raw(plane)
    channels = confidence_fields(pif, paf)
    np.testing.assert_array_equal(channels, np.concatenate([pif[:, plane], paf[:, plane]]))
    crop = sample(tmp_path)
    (tmp_path / FOLDER).mkdir(parents=True)
    np.savez(
        tmp_path / FOLDER / f"{crop.path.stem}.npz", **dict(zip(names, (pif, paf), strict=True))
    )
    expected = part_masks(channels, PIFPAF["eight"]).argmax(0)
    np.testing.assert_array_equal(pifpaf_labels(tmp_path, [crop], "eight")[0], expected)


def test_raw_outputs_that_do_not_tell_their_plane_are_refused() -> None:
    pif, paf = raw(0)
    pif[:, 1] = paf[:, 1] = 0.5
    with pytest.raises(
        DataError,
        match=r"both of the planes 0 and 1 lie in \[0, 1\] throughout.*Save the confidences",
    ):
        confidence_fields(pif, paf)
    pif[:, :2] -= 0.6
    with pytest.raises(DataError, match="neither of the planes"):
        confidence_fields(pif, paf)
    with pytest.raises(
        DataError, match=r"joints \[17, 5, h, w\] and limbs \[19, 9, h, w\].*got \(19, 9, 6, 4\)"
    ):
        confidence_fields(paf, pif)


def test_broken_raw_outputs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros(3))
    with pytest.raises(DataError, match="should hold the arrays 'pif' and 'paf'.*it has x"):
        read_fields(path)
    path.write_bytes(b"PK nothing")
    with pytest.raises(DataError, match=r"a\.npz cannot be read as an .npz archive"):
        read_fields(path)


def test_masks_that_are_no_confidences_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((36, 2, 2), np.uint8))
    with pytest.raises(
        DataError, match=r"should hold confidences, floats in \[0, 1\], it is uint8"
    ):
        read_fields(tmp_path / "a.npy")


def test_rows_whose_parts_could_never_be_seen_are_refused(tmp_path: Path) -> None:
    assert [name for name, groups in PIFPAF.items() if never_first(groups)] == ["ten_ms"]
    with pytest.raises(
        RecipeError,
        match="'ten_ms' cannot be labels: every field of upper, lower belongs to a part",
    ):
        pifpaf_labels(tmp_path, [], "ten_ms")
    with pytest.raises(
        ArgumentError,
        match="background must be one of 'threshold', 'diff_from_max', 'sum', got 'max'",
    ):
        pifpaf_labels(tmp_path, [], background="max")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in PIFPAF if name != "ten_ms"])
def test_every_part_of_every_other_row_can_be_seen(name: str) -> None:
    """One field at a time is 1: its pixel belongs to the first part that has it."""
    seen = set()
    for field in range(36):
        one = np.zeros((36, 1, 1), np.float32)
        one[field] = 1
        label = int(part_masks(one, PIFPAF[name]).argmax(0)[0, 0])
        owners = [i for i, members in enumerate(PIFPAF[name].values(), 1) if field in members]
        assert label == (owners[0] if owners else 0)
        seen.add(label)
    assert seen >= set(range(1, len(PIFPAF[name]) + 1))


def test_another_folder_can_be_named(tmp_path: Path) -> None:
    crop = sample(tmp_path)
    save(tmp_path, f"{crop.path.stem}.npy", fields({0: (1, 1)}))
    (tmp_path / "masks" / "pifpaf_maskrcnn_filtering").rename(tmp_path / "masks" / "mine")
    assert pifpaf_labels(tmp_path, [crop], "eight", folder="mine")[0][1, 1] == 1
    with pytest.raises(
        DataError, match=r"1 of 1 .*needs 0001_c1s1_000000_00\.npy or .*--set cues\.parts\.folder"
    ):
        pifpaf_labels(tmp_path, [crop], "eight")


@pytest.mark.parametrize("shape", [(35, 6, 4), (36, 6), (6, 4, 36), (1, 36, 6, 4)])
def test_wrong_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    crop = sample(tmp_path)
    save(tmp_path, f"{crop.path.stem}.npy", np.zeros(shape, np.float32))
    with pytest.raises(DataError, match=r"should hold 36 confidence fields \[36, h, w\], it is \("):
        pifpaf_labels(tmp_path, [crop], "eight")[0]


def test_broken_files_and_pickles_are_refused(tmp_path: Path) -> None:
    crop = sample(tmp_path)
    save(tmp_path, f"{crop.path.stem}.npy", np.array([{"a": 1}], dtype=object))
    cue = pifpaf_labels(tmp_path, [crop], "eight")
    with pytest.raises(DataError, match="holds object, not numbers"):
        cue[0]  # nothing is unpickled
    (tmp_path / FOLDER / f"{crop.path.stem}.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match="cannot be read as a NumPy array"):
        cue[0]


@pytest.mark.parametrize("background", get_args(Background))
@pytest.mark.parametrize("sharpness", [15.0, 0.0])
@pytest.mark.parametrize("name", list(PIFPAF))
def test_masks_match_loops(name: str, sharpness: float, background: Background) -> None:
    drawn = np.random.default_rng(0).uniform(-0.2, 1.2, (36, 3, 2)).astype(np.float32)
    got = part_masks(drawn, PIFPAF[name], background, 0.5, sharpness)
    assert got.shape == (len(PIFPAF[name]) + 1, 3, 2) and got.dtype == np.float32
    for r in range(3):
        for c in range(2):
            parts = [
                min(max(max(float(drawn[m, r, c]) for m in members), 0), 1)
                for members in PIFPAF[name].values()
            ]
            empty = {
                "threshold": float(max(parts) < 0.5),
                "diff_from_max": 1 - max(parts),
                "sum": min(max(1 - sum(parts), 0), 1),
            }[background]
            values = np.array([empty, *parts])
            values = np.exp(sharpness * values) if sharpness else values
            np.testing.assert_allclose(got[:, r, c], values / values.sum(), rtol=1e-4, atol=1e-6)
