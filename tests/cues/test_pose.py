"""PifPaf fields: under any of their names, of the right shape, and grouped as BPBreID groups them."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from partreid.cues.pose import SUFFIXES, Background, part_masks, pifpaf_labels
from partreid.cues.schemes import PIFPAF
from partreid.errors import DataError
from partreid.types import Sample

FOLDER = Path("masks") / "pifpaf_maskrcnn_filtering" / "bounding_box_train"


def sample(root: Path) -> Sample:
    return Sample(root / "bounding_box_train" / "0001_c1s1_000000_00.jpg", 1, 1)


def fields(hot: dict[int, tuple[int, int]]) -> np.ndarray:
    """All zero but for one pixel of some channels."""
    found = np.zeros((36, 6, 4), np.float32)
    for channel, at in hot.items():
        found[channel][at] = 0.9
    return found


def save(root: Path, name: str, array: np.ndarray) -> None:
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    np.save(root / FOLDER / "x.npy", array)
    (root / FOLDER / "x.npy").rename(root / FOLDER / name)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_three_spellings_are_found(tmp_path: Path, suffix: str) -> None:
    own = sample(tmp_path)
    save(tmp_path, suffix.format(stem=own.path.stem, name=own.path.name), fields({0: (0, 1), 15: (5, 2)}))
    cue = pifpaf_labels(tmp_path, [own], "eight")
    labels = cue[0]
    assert labels.shape == (6, 4) and labels.dtype == np.uint8
    assert cue.scheme.names[labels[0, 1] - 1] == "head" and cue.scheme.names[labels[5, 2] - 1] == "left_foot"
    assert np.count_nonzero(labels) == 2


def test_the_three_spellings_are_the_ones_in_circulation() -> None:
    assert {s.format(stem="a", name="a.jpg") for s in SUFFIXES} == {
        "a.npy", "a.jpg.npy", "a.jpg.confidence_fields.npy"}


def test_another_folder_can_be_named(tmp_path: Path) -> None:
    own = sample(tmp_path)
    save(tmp_path, f"{own.path.stem}.npy", fields({0: (1, 1)}))
    (tmp_path / "masks" / "pifpaf_maskrcnn_filtering").rename(tmp_path / "masks" / "mine")
    assert pifpaf_labels(tmp_path, [own], "eight", folder="mine")[0][1, 1] == 1
    with pytest.raises(DataError, match=r"0001_c1s1_000000_00\.jpg has no label in .*--set cues\.parts\.folder"):
        pifpaf_labels(tmp_path, [own], "eight")


@pytest.mark.parametrize("shape", [(35, 6, 4), (36, 6), (6, 4, 36), (1, 36, 6, 4)])
def test_wrong_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    own = sample(tmp_path)
    save(tmp_path, f"{own.path.stem}.npy", np.zeros(shape, np.float32))
    with pytest.raises(DataError, match=r"should hold 36 confidence fields \[36, h, w\], it is \("):
        pifpaf_labels(tmp_path, [own], "eight")[0]


def test_broken_files_and_pickles_are_refused(tmp_path: Path) -> None:
    own = sample(tmp_path)
    save(tmp_path, f"{own.path.stem}.npy", np.array([{"a": 1}], dtype=object))
    cue = pifpaf_labels(tmp_path, [own], "eight")
    with pytest.raises(DataError, match="cannot be read as a NumPy array.*copy it again"):
        cue[0]  # nothing is unpickled
    (tmp_path / FOLDER / f"{own.path.stem}.npy").write_bytes(b"\x93NUMPY")
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
            parts = [min(max(max(float(drawn[m, r, c]) for m in members), 0), 1) for members in PIFPAF[name].values()]
            empty = {"threshold": float(max(parts) < 0.5), "diff_from_max": 1 - max(parts),
                     "sum": min(max(1 - sum(parts), 0), 1)}[background]
            values = np.array([empty, *parts])
            values = np.exp(sharpness * values) if sharpness else values
            np.testing.assert_allclose(got[:, r, c], values / values.sum(), rtol=1e-4, atol=1e-6)
