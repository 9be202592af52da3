"""Occluded-Duke from DukeMTMC-reID and name lists."""

import os
from pathlib import Path

import pytest

from partreid.build import benchmark
from partreid.data.occluded_duke import convert_occluded_duke
from partreid.errors import DataError
from tests.data.trees import DUKE, touch


@pytest.fixture()
def duke(tmp_path: Path) -> Path:
    root = touch(tmp_path / "duke", *DUKE)
    for path in root.rglob("*.jpg"):
        path.write_text(path.name)
    return root


@pytest.fixture()
def lists(tmp_path: Path) -> Path:
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "train.list").write_text("0001_c2_f0046182.jpg\n")
    (folder / "query.list").write_text("0005_c1_f0044158.jpg\n\n")  # lies in Duke's gallery
    (folder / "gallery.list").write_text(
        "bounding_box_test/0005_c2_f0046985.jpg 5\n0006_c1_f0044158.jpg 6\n"
    )
    return folder


@pytest.mark.parametrize("copy", [False, True])
def test_images_go_where_the_lists_say(duke: Path, lists: Path, tmp_path: Path, copy: bool) -> None:
    out = tmp_path / "Occluded_Duke"
    assert convert_occluded_duke(duke, lists, out, copy) == {"train": 1, "query": 1, "gallery": 2}
    dataset = benchmark("occluded_duke", out)
    assert [s.identity for s in dataset.train] == [1]
    assert [(s.identity, s.camera) for s in dataset.query] == [(5, 1)]
    assert [(s.identity, s.camera) for s in dataset.gallery] == [(5, 2), (6, 1)]
    (query,) = dataset.query
    assert query.path.read_text() == query.path.name
    assert query.path.samefile(duke / "bounding_box_test" / query.path.name) is not copy
    assert not list(tmp_path.glob("*.part"))


def test_images_are_copied_where_nothing_can_be_linked(
    duke: Path, lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: object) -> None:
        raise OSError("cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    convert_occluded_duke(duke, lists, tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 4


def test_nothing_is_written_unless_all_is_there(duke: Path, lists: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (lists / "query.list").open("a") as file:
        file.write("9999_c1_f0000001.jpg\n")
    with pytest.raises(
        DataError, match=r"1 listed images are not in .*, first 9999_c1_f0000001\.jpg; the copy"
    ):
        convert_occluded_duke(duke, lists, out)
    (lists / "query.list").unlink()
    with pytest.raises(DataError, match=r"one list for query .*found 0"):
        convert_occluded_duke(duke, lists, out)
    with pytest.raises(
        DataError, match=r"there is no folder .*elsewhere; give the folder with the name lists"
    ):
        convert_occluded_duke(duke, tmp_path / "elsewhere", out)
    assert not out.exists() and not list(tmp_path.glob("*.part"))
    out.mkdir()
    with pytest.raises(DataError, match="out exists already"):
        convert_occluded_duke(duke, lists, out)
