"""Names of files to identities and cameras."""

from pathlib import Path

import pytest

from partreid.data.folders import count_note, counts, images_in, market_folder, read_folder
from partreid.errors import DataError
from partreid.types import JUNK, Sample


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_images_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a.PNG", "c.tif", ".hidden.jpg", "Thumbs.db", "notes.txt", "sub/d.jpeg")
    assert [p.name for p in images_in(tmp_path)] == ["a.PNG", "b.jpg", "c.tif"]
    assert [p.name for p in images_in(tmp_path, recursive=True)] == ["a.PNG", "b.jpg", "c.tif", "d.jpeg"]


def test_market_names(tmp_path: Path) -> None:
    touch(tmp_path, "0002_c1s1_000451_03.jpg", "-1_c3s2_000011_01.jpg", "0000_c6s3_000001_00.jpg", "1501_c2_f5.jpg")
    found = {s.path.name: (s.identity, s.camera) for s in market_folder(tmp_path, junk=True)}
    assert found == {"0002_c1s1_000451_03.jpg": (2, 1), "-1_c3s2_000011_01.jpg": (JUNK, 3),
                     "0000_c6s3_000001_00.jpg": (0, 6), "1501_c2_f5.jpg": (1501, 2)}
    assert {s.identity for s in market_folder(tmp_path)} == {2, 0, 1501}  # junk is left out


def test_what_is_not_named_so_is_refused_with_an_example(tmp_path: Path) -> None:
    touch(tmp_path / "query", "0002_c1s1_000451_03.jpg", "IMG_20200101.jpg")
    with pytest.raises(DataError, match=r"IMG_20200101\.jpg is not named like 0002_c1s1_000451_03\.jpg.*rename it"):
        market_folder(tmp_path / "query")


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*query; give the data set's root with --data"):
        market_folder(tmp_path / "query")
    touch(tmp_path / "query", "readme.txt")
    with pytest.raises(DataError, match=r"query holds no images .*unpacked"):
        market_folder(tmp_path / "query")


def test_parse_sees_every_path(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    found = read_folder(tmp_path, lambda path: (int(path.stem), 9), recursive=True)
    assert found == (Sample(tmp_path / "a/1.jpg", 1, 9), Sample(tmp_path / "b/2.jpg", 2, 9))


def test_counts_and_their_notes() -> None:
    samples = [Sample(Path("x"), i, 1) for i in (1, 1, 2)]
    assert counts(samples) == (2, 3)
    expected = {"train": (2, 3), "query": (5, 5)}
    assert count_note("m", {"train": (2, 3)}, expected) == []
    (note,) = count_note("m", {"train": (2, 3), "query": (5, 4)}, expected)
    assert note == "m: query has 5 identities in 4 images, expected 5 in 5: the copy is incomplete or another release"
