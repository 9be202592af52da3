"""A folder with one of each strange file: each is named, and says whether one can go on."""

import os
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid.cli.base import app
from partreid.data.copies import same_files
from partreid.data.findings import explain
from partreid.data.inspection import alike
from partreid.errors import DataError
from partreid.types import Sample
from tests.data.trees import pictures
from tests.utils.test_images import png

COLORS = np.random.default_rng(1).integers(0, 256, (8, 4, 3), dtype=np.uint8)


def sound(root: Path) -> Path:
    return pictures(
        root,
        "train/cleo/1_c1.png",
        "train/cleo/2_c2.png",
        "query/anna/1_c1.png",
        "gallery/anna/1_c2.png",
        "gallery/ben/1_c2.png",
    )


def words(root: Path, images: int | None = None) -> list[str]:
    return [
        ("wrong: " if p.grave else "note: ") + str(p)
        for p in explain("folders", root, images).problems
    ]


def strange(folder: Path) -> dict[str, str]:
    """One strange file of each kind; what has to be said of it."""
    os.mkfifo(folder / "pipe_c2.png")
    (folder / "device_c2.png").symlink_to("/dev/null")
    (folder / "folder_c2.png").mkdir()
    (folder / "gone_c2.png").symlink_to("nowhere")
    (folder / "empty_c2.png").touch()
    (folder / "bomb_c2.png").write_bytes(png(50_000, 50_000))
    (folder / "strip_c2.png").write_bytes(png(1, 10_000))
    (folder / "script_c2.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n")
    Image.fromarray(COLORS).save(folder / "cut_c2.png")
    (folder / "cut_c2.png").write_bytes((folder / "cut_c2.png").read_bytes()[:-60])
    Image.fromarray(COLORS).save(
        folder / "several_c2.gif", save_all=True, append_images=[Image.new("RGB", (4, 8))]
    )
    Image.fromarray(COLORS[..., 0].astype(np.int32)).save(folder / "deep_c2.tif")
    Image.fromarray(COLORS[..., 0].astype(np.uint16) * 257).save(folder / "wide_c2.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLORS).save(folder / "turned_c2.jpg", exif=exif)
    Image.fromarray(COLORS).convert("RGBA").save(folder / "clear_c2.png")
    (folder / ".hidden_c2.png").write_bytes(b"x")
    for name in ("a_c2.heic", "b_c2.avif", "notes"):
        (folder / name).write_bytes(b"x")
    (folder / os.fsdecode(b"caf\xe9_c2.png")).write_bytes(png(4, 8))
    return {
        "pipe_c2": "wrong: .*are named pipes",
        "device_c2": "wrong: .*are devices",
        "folder_c2": "wrong: .*are folders named like images",
        "gone_c2": "wrong: .*links to nothing",
        "empty_c2": "wrong: .*empty files",
        "bomb_c2": "wrong: .*claim more pixels",
        "strip_c2": "wrong: .*strips",
        "script_c2": "wrong: .*cannot be decoded",
        "cut_c2": "wrong: .*cannot be decoded",
        "several_c2": "wrong: .*several pictures",
        "deep_c2": "wrong: .*32-bit greys",
        "wide_c2": "note: .*16-bit",
        "turned_c2": "note: .*EXIF orientation",
        "clear_c2": "note: .*transparency",
        "hidden_c2": "note: .*a dot",
        "a_c2.heic": r"note: .*left out for their ending: 1 .avif .*1 .heic",
        "notes": "note: .*no ending",
        "caf": "note: .*not UTF-8",
    }


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_each_strange_file_is_named(tmp_path: Path) -> None:
    root = sound(tmp_path)
    for name, message in strange(root / "gallery" / "ben").items():
        assert any(name in line and re.match(message, line) for line in words(root)), (
            name,
            message,
        )


def test_the_exit_status_says_whether_one_can_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = sound(tmp_path)
    assert explain("folders", root).sound
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(COLORS).save(root / "gallery" / "ben" / "[red]_c2.jpg", exif=exif)
    app(["data", "check", "folders", str(root), "--all"], result_action="return_value")
    out = capsys.readouterr().out
    assert (
        "note: 1 of 6 images are turned" in out
        and "[red]_c2.jpg" in out
        and "6 images decoded" in out
    )
    (root / "query" / "anna" / "0_c1.png").touch()
    with pytest.raises(SystemExit) as ended:
        app(["data", "check", "folders", str(root)], result_action="return_value")
    assert (
        ended.value.code == 2 and "wrong: 1 of 7 images are empty files" in capsys.readouterr().out
    )


def test_copies_by_bytes_and_by_pixels(tmp_path: Path) -> None:
    root = sound(tmp_path)
    query = root / "query" / "anna" / "1_c1.png"
    (root / "gallery" / "anna" / "copy_c3.png").write_bytes(query.read_bytes())
    Image.open(root / "train" / "cleo" / "1_c1.png").save(root / "gallery" / "ben" / "again_c1.bmp")
    lines = words(root)
    assert any(
        "note: 1 queries lie in the gallery as the same file" in line and "copy_c3" in line
        for line in lines
    )
    assert any(
        "1 training images lie in the test as the same pixels in another file" in line
        and "again_c1" in line
        for line in lines
    )
    assert not any("same pixels" in line and "copy_c3" in line for line in lines)


def test_links_are_copies_and_the_unreadable_is_none(tmp_path: Path) -> None:
    one = pictures(tmp_path, "one.png", "other.png") / "one.png"
    (tmp_path / "soft.png").symlink_to(one)
    os.link(one, tmp_path / "hard.png")
    os.mkfifo(tmp_path / "pipe.png")
    samples = [
        Sample(tmp_path / f"{name}.png", 1, 1)
        for name in ("one", "other", "soft", "hard", "pipe", "gone")
    ]
    pairs = {(a.path.stem, b.path.stem) for a, b in same_files(samples[:2], samples[1:])}
    assert pairs == {("one", "soft"), ("one", "hard"), ("other", "other")}


def test_spellings_of_one_person() -> None:
    composed, apart = unicodedata.normalize("NFC", "Zoë"), unicodedata.normalize("NFD", "Zoë")
    (problem,) = alike(["007", "7", "8", composed, apart, "Bo", "bo"])
    assert (
        "3 people have names" in problem.what and "007 and 7" in problem.what and not problem.grave
    )
    assert alike(["7", "70", "anna", "ben"]) == []


def test_a_root_a_level_off_is_named_before_training(tmp_path: Path) -> None:
    from partreid.build import benchmark

    sound(tmp_path / "data" / "mine")
    for root in (tmp_path / "data", tmp_path, tmp_path / "data" / "mine" / "query"):
        with pytest.raises(
            DataError, match=f"folders does not lie in {root} but (below|above) it; give .*mine"
        ):
            benchmark("folders", root)
    flat = pictures(tmp_path / "CUHK01", "0001001.png", "0001003.png")
    with pytest.raises(
        DataError, match="CUHK01's images lie directly in .*; move them into .*campus"
    ):
        benchmark("cuhk01", flat)


def test_folders_that_lead_nowhere(tmp_path: Path) -> None:
    from partreid.build import benchmark

    root = sound(tmp_path / "loop")
    (root / "gallery" / "ben" / "again").symlink_to(root / "gallery" / "ben")
    with pytest.raises(DataError, match="links back to a folder that it lies in"):
        benchmark("folders", root)
    (root / "gallery" / "ben" / "again").unlink()
    (root / "gallery" / "ben" / "/".join("d" * 60)).mkdir(parents=True)
    with pytest.raises(DataError, match="over 50 folders deep"):
        benchmark("folders", root)


def test_what_lies_where_no_split_reads_is_named(tmp_path: Path) -> None:
    """A person all of whose crops have another ending would be gone without a word, and a folder
    called Test too.
    """
    root = sound(tmp_path)
    pictures(
        root,
        "gallery/junk/1_c2.png",
        "gallery/.dora/1_c2.png",
        "Test/emil/1_c2.png",
        "parsing/train/1.png",
    )
    (root / "gallery" / "carl").mkdir()
    for name in ("gallery/carl/1_c2.heic", "gallery/loose.avif"):
        (root / name).write_bytes(b"x")
    text = "\n".join(words(root))
    assert re.search(
        r"note: 2 files are left out for their ending: 1 .avif .*loose.avif.*1 .heic .*carl", text
    )
    assert ".dora" in text and "the folders Test beside the splits are not read" in text
    assert "junk" not in text and "parsing" not in text
    market = pictures(
        tmp_path / "market",
        "bounding_box_train/0002_c1s1_1.png",
        "query/0001_c1s1_1.png",
        "bounding_box_test/0001_c2s1_1.png",
        "bounding_box_test/more/0001_c3s1_1.png",
    )
    assert any(
        "1 images lie beside those that are read" in str(p) and "0001_c3s1_1" in str(p)
        for p in explain("market1501", market).problems
    )


def test_folders_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A superuser may list every folder, so the system's answer is made up."""
    root, listed = sound(tmp_path), os.scandir

    def closed(folder: str | Path) -> object:
        if Path(folder).name == "ben":
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(os, "scandir", closed)
    (problem,) = explain("folders", root).problems
    assert problem.grave and "ben cannot be listed (Permission denied)" in problem.what
