"""Names of files to identities and cameras."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from partreid.data.folders import (
    count_note,
    counts,
    drawn,
    images_in,
    market_folder,
    needed,
    optional,
    read_folder,
    require_files,
)
from partreid.data.own import load_folders
from partreid.data.registry import BENCHMARKS
from partreid.errors import DataError
from partreid.types import JUNK, Sample
from tests.data.trees import pictures


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_images_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    touch(
        tmp_path, "b.jpg", "a.PNG", "c.tif", ".hidden.jpg", "Thumbs.db", "notes.txt", "sub/d.jpeg"
    )
    assert [p.name for p in images_in(tmp_path)] == ["a.PNG", "b.jpg", "c.tif"]
    assert [p.name for p in images_in(tmp_path, recursive=True)] == [
        "a.PNG",
        "b.jpg",
        "c.tif",
        "d.jpeg",
    ]


def test_market_names(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "0002_c1s1_000451_03.jpg",
        "-1_c3s2_000011_01.jpg",
        "0000_c6s3_000001_00.jpg",
        "1501_c2_f5.jpg",
    )
    numbers = {s.path.name: (s.identity, s.camera) for s in market_folder(tmp_path, junk=True)}
    assert numbers == {
        "0002_c1s1_000451_03.jpg": (2, 1),
        "-1_c3s2_000011_01.jpg": (JUNK, 3),
        "0000_c6s3_000001_00.jpg": (0, 6),
        "1501_c2_f5.jpg": (1501, 2),
    }
    assert {s.identity for s in market_folder(tmp_path)} == {2, 0, 1501}  # junk is left out


def test_what_is_not_named_so_is_refused_with_an_example(tmp_path: Path) -> None:
    touch(tmp_path / "query", "0002_c1s1_000451_03.jpg", "IMG_20200101.jpg")
    with pytest.raises(
        DataError, match=r"IMG_20200101\.jpg is not named like 0002_c1s1_000451_03\.jpg.*rename it"
    ):
        market_folder(tmp_path / "query")


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"there is no folder .*query; give the data set's root with --data"
    ):
        market_folder(tmp_path / "query")
    touch(tmp_path / "query", "readme.txt")
    with pytest.raises(DataError, match=r"query holds no images .*unpacked"):
        market_folder(tmp_path / "query")


def test_parse_sees_every_path(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    samples = read_folder(tmp_path, lambda path: (int(path.stem), 9), recursive=True)
    assert samples == (Sample(tmp_path / "a/1.jpg", 1, 9), Sample(tmp_path / "b/2.jpg", 2, 9))


def test_counts_and_their_notes() -> None:
    samples = [Sample(Path("x"), i, 1) for i in (1, 1, 2)]
    assert counts(samples) == (2, 3)
    expected = {"train": (2, 3), "query": (5, 5)}
    assert count_note("m", {"train": (2, 3)}, expected) == []
    (note,) = count_note("m", {"train": (2, 3), "query": (5, 4)}, expected)
    assert note == (
        "m: query has 5 identities in 4 images, expected 5 identities in 5 images; some are "
        "missing: unpack or copy this split again"
    )
    (note,) = count_note("m", {"query": (6, 6)}, expected)
    assert note.endswith("; this is another release, or files were added")


def test_what_a_release_does_not_say_is_not_compared() -> None:
    assert count_note("m", {"train": (9, 7)}, {"train": (None, 7)}) == []
    (note,) = count_note("m", {"train": (9, 7)}, {"train": (8, None)})
    assert "expected 8 identities; this is another release" in note


def test_files_and_folders_of_the_system_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", ".cache/2.jpg", "__MACOSX/a/._1.jpg", "a.jpg", "a/.3.jpg")
    assert list(images_in(tmp_path, recursive=True)) == [tmp_path / "a/1.jpg", tmp_path / "a.jpg"]


def test_the_order_is_that_of_sorted_paths(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b/1.jpg",
        "a-b/1.jpg",
        "a/2.jpg",
        "a/10.jpg",
        "a/B/1.jpg",
        "a.jpg",
        "Z.jpg",
        "a.b/1.jpg",
    )
    assert list(images_in(tmp_path, recursive=True)) == sorted(tmp_path.rglob("*.jpg"))


def test_the_order_in_which_a_disk_lists_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(
        tmp_path,
        *(
            f"{split}/{person}/{n}.jpg"
            for split in ("train", "query", "gallery")
            for person in ("bo", "ida", "cleo")
            for n in range(3)
        ),
    )
    as_listed = load_folders(tmp_path), list(images_in(tmp_path, recursive=True))
    scandir = os.scandir

    def backwards(folder: Path) -> Any:
        with scandir(folder) as listing:
            return nullcontext(sorted(listing, key=lambda entry: entry.name, reverse=True))

    monkeypatch.setattr(os, "scandir", backwards)
    assert (load_folders(tmp_path), list(images_in(tmp_path, recursive=True))) == as_listed


def test_no_file_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, *(f"{i:04d}_c1_{i}.jpg" for i in range(20)))
    looks = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path, *a, **k: looks.append(path) or stat(path, *a, **k))
    assert len(market_folder(tmp_path)) == 20
    assert [path for path in looks if str(path).endswith(".jpg")] == []


def test_missing_files_of_a_list_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg")
    require_files([tmp_path / "a/1.jpg", tmp_path / "b/1.jpg"], "x")
    with pytest.raises(
        DataError, match=r"2 of 3 images that list\.txt names are not there, first .*2\.jpg; unpack"
    ):
        require_files(
            [tmp_path / "a/1.jpg", tmp_path / "b/2.jpg", tmp_path / "gone/1.jpg"], "list.txt"
        )


def test_lots_are_drawn_from_people_and_the_seed_alone() -> None:
    assert (
        drawn(range(1, 11), 5, 0) == drawn([*range(10, 0, -1)] * 2, 5, 0) == {3, 4, 7, 9, 10}
    )  # for ever
    assert len({drawn(range(100), 50, seed) for seed in range(10)}) == 10
    share = [sum(i in drawn(range(50), 25, seed) for seed in range(200)) / 200 for i in range(50)]
    assert all(0.35 < s < 0.65 for s in share)


def test_an_absent_library_is_named_with_its_extra() -> None:
    with pytest.raises(
        DataError, match=r"reading x needs nosuchlibrary, .* pip install 'partreid\[mat\]'$"
    ):
        optional("nosuchlibrary.io", "mat", "reading x")
    assert optional("os.path", "mat", "reading x") is os.path


def test_a_folder_of_its_name_is_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nosuchlibrary").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DataError, match=r"x needs nosuchlibrary, which is not installed"):
        needed("nosuchlibrary", "mat", "x")
    needed("numpy", "mat", "x")


@pytest.mark.parametrize(
    "name, path",
    [
        ("cuhk01", "campus/000100\u00b2.png"),
        ("occluded_reid", "occluded_body_images/1/\u00b2_01.png"),
        ("occluded_reid", f"occluded_body_images/1/{10**30}_01.png"),
        ("market1501", f"query/{10**30}_c1.png"),
        ("market1501", f"query/1_c{10**30}.png"),
        ("market1501", "query/-7_c1.png"),
        ("market1501", "query/\u0661_c\u0661.png"),
    ],
)
def test_numbers_that_are_none_or_too_large_for_64_bits(
    tmp_path: Path, name: str, path: str
) -> None:
    pictures(tmp_path, path)
    with pytest.raises(DataError, match="is not named like|does not begin with an identity"):
        BENCHMARKS[name].load(tmp_path)
