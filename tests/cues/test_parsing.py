"""Label images to parts, and every way in which they can be wrong."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid.cues.parsing import label_path, read_labels, surface_labels
from partreid.cues.schemes import SURFACES, lookup
from partreid.cues.stripes import stripe_labels
from partreid.errors import DataError, RecipeError
from partreid.types import Benchmark, Sample

TABLE = lookup(SURFACES["five"])


def crop(root: Path, stem: str = "0001_c1s1_000000_00", size: tuple[int, int] = (16, 32)) -> Sample:
    path = root / "bounding_box_train" / f"{stem}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)
    return Sample(path, 1, 1)


def label(root: Path, sample: Sample, values: np.ndarray, mode: str = "P") -> Path:
    path = label_path(root, sample.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values.astype(np.uint8))
    if mode == "P":
        image.putpalette([255 - i // 3 for i in range(768)])
    image.convert(mode).save(path) if mode not in ("P", "L") else image.save(path)
    return path


def test_labels_lie_beside_their_split(tmp_path: Path) -> None:
    assert label_path(tmp_path, tmp_path / "query" / "a.jpg") == tmp_path / "labels" / "query" / "a.png"
    assert label_path(tmp_path, tmp_path / "query" / "a.jpg", "mine") == tmp_path / "mine" / "query" / "a.png"


@pytest.mark.parametrize("mode", ["P", "L"])
def test_values_are_classes_and_go_through_the_table(tmp_path: Path, mode: str) -> None:
    sample = crop(tmp_path)
    values = np.arange(32 * 16).reshape(32, 16) % 28
    label(tmp_path, sample, values, mode)
    cue = surface_labels(tmp_path, [sample], "five")
    np.testing.assert_array_equal(cue[0], TABLE[values])
    assert cue.spatial and cue.scheme.names == tuple(SURFACES["five"])
    assert cue.state() == {}


def test_the_synthetic_world_s_labels_are_read(benchmark: Benchmark) -> None:
    cue = surface_labels(benchmark.root, benchmark.train, "eight")
    seen = set()
    for i in range(0, len(benchmark.train), 6):
        assert cue[i].shape == (128, 64) and cue[i].dtype == np.uint8
        seen |= set(np.unique(cue[i]).tolist())
    assert seen == set(range(9))


def test_missing_labels_are_counted_and_the_first_named(tmp_path: Path) -> None:
    samples = [crop(tmp_path, f"000{i}_c1s1_000000_00") for i in (1, 2, 3)]
    label(tmp_path, samples[0], np.zeros((32, 16)))
    with pytest.raises(DataError, match=r"2 of 3 training images have no label; the first missing is "
                                        r".*labels/bounding_box_train/0002_c1s1_000000_00\.png"):
        surface_labels(tmp_path, samples)


@pytest.mark.parametrize("size", [(31, 16), (16, 8), (64, 32)])
def test_the_same_crop_at_another_scale_passes(tmp_path: Path, size: tuple[int, int]) -> None:
    sample = crop(tmp_path)
    label(tmp_path, sample, np.ones(size))
    assert surface_labels(tmp_path, [sample])[0].shape == size


@pytest.mark.parametrize("size", [(16, 32), (32, 32), (32, 10)])
def test_a_label_of_another_shape_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    sample = crop(tmp_path)
    label(tmp_path, sample, np.ones(size))
    with pytest.raises(DataError, match=rf"is {size[1]} x {size[0]} but its image is 16 x 32.*make the label again"):
        surface_labels(tmp_path, [sample])[0]


def test_colours_are_not_classes(tmp_path: Path) -> None:
    sample = crop(tmp_path)
    label(tmp_path, sample, np.zeros((32, 16)), "RGB")
    with pytest.raises(DataError, match="is a RGB picture; a label image holds one class per pixel"):
        surface_labels(tmp_path, [sample])[0]


def test_whichever_file_is_broken_is_the_one_named(tmp_path: Path) -> None:
    sample = crop(tmp_path)
    path = label(tmp_path, sample, np.zeros((32, 16)))
    sample.path.write_text("no picture")
    with pytest.raises(DataError, match=r"000000_00\.jpg cannot be read as an image"):
        surface_labels(tmp_path, [sample])[0]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"000000_00\.png cannot be read as a label image.*make it again"):
        read_labels(path, TABLE)


def test_unknown_groupings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unknown surface grouping: 'seven'"):
        surface_labels(tmp_path, [], "seven")


def test_stripes_need_no_files(tmp_path: Path) -> None:
    cue = stripe_labels(tmp_path, [Sample(tmp_path / "gone.jpg", 1, 1)], stripes=6)
    assert cue.scheme.names == tuple(f"stripe{i}" for i in range(1, 7))
    rows = cue[0][:, 0]
    assert (np.diff(rows.astype(int)) >= 0).all() and np.bincount(rows)[1:].tolist() == [8] * 6
    np.testing.assert_array_equal(cue.mirror(cue[0]), cue[0])
    for wrong in (0, 65):
        with pytest.raises(RecipeError, match=f"stripes must be 1 to 64, got {wrong}"):
            stripe_labels(tmp_path, [], wrong)
