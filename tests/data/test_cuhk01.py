"""CUHK01: seven digits, ten splits that everybody draws alike."""

from pathlib import Path

import pytest

from partreid.build import benchmark
from partreid.data import cuhk01
from partreid.errors import DataError, RecipeError
from tests.data.trees import touch


@pytest.fixture()
def root(tmp_path: Path) -> Path:
    return touch(
        tmp_path / "campus",
        *(f"{person:04d}{crop:03d}.png" for person in range(1, 10) for crop in range(1, 5)),
    ).parent


def test_the_last_three_digits_tell_the_camera(root: Path) -> None:
    dataset = cuhk01.load(root)
    cameras = {s.path.name: s.camera for s in dataset.train + dataset.query if s.identity == 7}
    assert cameras == {"0007001.png": 1, "0007002.png": 1, "0007003.png": 2, "0007004.png": 2}


def test_half_of_the_people_train_and_all_crops_of_the_others_ask_and_answer(root: Path) -> None:
    dataset = cuhk01.load(root)
    train, test = {s.identity for s in dataset.train}, {s.identity for s in dataset.query}
    assert len(train) == 4 and len(test) == 5 and not train & test
    assert dataset.query == dataset.gallery and len(dataset.train) + len(dataset.query) == 36


def test_the_full_set_is_485_against_486(tmp_path: Path) -> None:
    touch(tmp_path / "campus", *(f"{person:04d}001.png" for person in range(1, 972)))
    dataset = cuhk01.load(tmp_path, split=3)
    assert (len(dataset.train), len(dataset.query)) == (485, 486)


def test_ten_splits_by_name(root: Path) -> None:
    splits = [benchmark(f"cuhk01-{i}", root) for i in range(10)]
    assert [s.name for s in splits] == [f"cuhk01-{i}" for i in range(10)]
    assert splits[0].train == benchmark("cuhk01", root).train
    assert len({s.train for s in splits}) > 7
    assert benchmark("cuhk01-4", root).train == splits[4].train
    for name in ("cuhk01-10", "cuhk01-03", "cuhk01--1", "market1501-0"):
        with pytest.raises(RecipeError, match="unknown data set"):
            benchmark(name, root)


def test_other_names_are_refused(root: Path) -> None:
    touch(root / "campus", "0001.png")
    with pytest.raises(DataError, match=r"0001\.png is not named like 0001001\.png"):
        cuhk01.load(root)
