"""MSMT17: people and cameras from the lists of both releases."""

from pathlib import Path

import pytest

from partreid.build import benchmark
from partreid.data import msmt17
from partreid.errors import DataError
from tests.data import trees


@pytest.mark.parametrize("folders", msmt17.FOLDERS)
def test_both_releases(folders: tuple[str, str], tmp_path: Path) -> None:
    dataset = benchmark("msmt17", trees.msmt17(tmp_path, *folders))
    # list_val at the end
    assert [(s.identity, s.camera) for s in dataset.train] == [(1, 1), (2, 15), (1, 2)]
    assert [(s.identity, s.camera) for s in dataset.query] == [(1, 3)]
    assert [(s.identity, s.camera) for s in dataset.gallery] == [(1, 4), (2, 4)]
    assert all(s.path.is_file() for s in (*dataset.train, *dataset.query, *dataset.gallery))


def test_training_without_list_val_is_a_benchmark_of_its_own(tmp_path: Path) -> None:
    dataset = benchmark("msmt17_without_val", trees.msmt17(tmp_path))
    assert dataset.name == "msmt17_without_val" and len(dataset.train) == 2
    assert dataset.gallery == benchmark("msmt17", tmp_path).gallery


def test_the_one_release_below_the_root_is_found_and_of_two_neither_is_guessed(
    tmp_path: Path,
) -> None:
    trees.msmt17(tmp_path / "MSMT17_V2", "mask_train_v2", "mask_test_v2")
    dataset = benchmark("msmt17", tmp_path)
    assert dataset.root == tmp_path and dataset.train[0].path.parts[-4:-2] == (
        "MSMT17_V2",
        "mask_train_v2",
    )
    trees.msmt17(tmp_path / "MSMT17_V1")
    with pytest.raises(
        DataError, match=r"both releases of MSMT17.*; give one of .*MSMT17_V1, .*MSMT17_V2"
    ):
        benchmark("msmt17", tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    trees.msmt17(tmp_path)
    (tmp_path / "test/0000/0000_001_04_0303morning_0008_0.jpg").unlink()
    with pytest.raises(
        DataError, match=r"1 of 2 images that list_gallery\.txt names are not there"
    ):
        benchmark("msmt17", tmp_path)
    (tmp_path / "list_val.txt").unlink()
    with pytest.raises(DataError, match=r"there is no list_val\.txt in .*; put the lists"):
        benchmark("msmt17", tmp_path)
    (tmp_path / "list_train.txt").write_text("0000/0000_000_01_x_0.jpg 0\n\n0001/0001.jpg 1\n")
    with pytest.raises(
        DataError, match=r"line 3 of .*list_train\.txt is '0001/0001\.jpg 1', not like"
    ):
        benchmark("msmt17", tmp_path)
