"""Tables and tracker files to tracklets; a bad one is one clear sentence."""

import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from partreid.errors import DataError, ShapeError
from partreid.link import TrackedCrop, Tracklets, read_crops, read_tracks, tracklets

HEAD = "path,tracklet,camera,time,identity\n"


def written(folder: Path, text: str) -> Path:
    (folder / "crops.csv").write_text(text)
    return folder / "crops.csv"


def test_a_table_is_read_whatever_its_columns_order_and_its_rows(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "camera;Time;x;tracklet;path\nyard;4.5;1;7;a.jpg\ndoor;;2;7;b.jpg\nyard;2;3;7;sub/c.jpg\n",
    )
    t = read_crops(file)
    assert (t.names, t.cameras, t.people) == (("7", "7"), ("yard", "door"), None)
    assert t.start[0] == 2 and t.end[0] == 4.5 and math.isnan(t.start[1]) and t.timeless == 1
    assert t.crop_of.tolist() == [0, 1, 0] and t.counts.tolist() == [2, 1]
    assert t.paths == (tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "sub/c.jpg")


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    columns = {
        "path": ["a.jpg", "b.jpg"], "tracklet": [1, 2], "camera": ["c1", "c1"],
        "time": [0.25, None], "identity": [3, 4], "other": [[1], [2]],
    }  # fmt: skip
    parquet.write_table(pyarrow.table(columns), tmp_path / "crops.parquet")
    one = read_crops(tmp_path / "crops.parquet")
    other = read_crops(written(tmp_path, f"{HEAD}a.jpg,1,c1,0.25,3\nb.jpg,2,c1,,4\n"))
    assert (one.names, one.people, one.paths) == (other.names, other.people, other.paths)
    np.testing.assert_array_equal(one.times, other.times)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; give a table with the columns path, tracklet, camera"),
        ("path,camera\na.jpg,c1\n", "has no column 'tracklet', only path, camera"),
        ("path,tracklet,camera,time,time\n", "has 2 columns 'time'"),
        (HEAD, "there are no crops to link"),
        (f"{HEAD}a.jpg,1,c1,0,\n,1,c1,0,\n", "line 3: the path of a crop is empty"),
        (f"{HEAD}a.jpg,,c1,0,\n", "line 2: the tracklet of a crop is empty"),
        (f"{HEAD}a.jpg,1,,0,\n", "line 2: the camera of a crop is empty"),
        (f"{HEAD}a.jpg,1,c1,noon,\n", "line 2: the time is 'noon'; give a number"),
        (f"{HEAD}a.jpg,1,c1,inf,\n", "line 2: the time of .*a.jpg is infinite"),
        (f"{HEAD}a.jpg,1,c1,0,\na.jpg,2,c1,0,\n", "a.jpg is a crop of two tracklets, of 2 of c1"),
    ],
)
def test_a_bad_table_is_one_clear_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_crops(written(tmp_path, text))
    assert "\n" not in str(error.value)


def test_the_first_wrong_row_ends_the_reading_of_millions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def batches(*_: object, **__: object) -> Iterator[list[list[str]] | list[str]]:
        yield ["path", "tracklet", "camera", "time"]
        for i in range(1000):
            seen.append(i)
            yield [["a.jpg", "1", "c1", "noon"]] * 1000

    (tmp_path / "crops.parquet").touch()
    monkeypatch.setattr(tracklets, "read_apart", batches)
    with pytest.raises(DataError, match="line 1: the time is 'noon'"):
        read_crops(tmp_path / "crops.parquet")
    assert seen == [0]


def test_other_files_and_broken_parquet_are_refused(tmp_path: Path) -> None:
    (tmp_path / "crops.xlsx").write_text("x")
    with pytest.raises(DataError, match="neither .csv nor .parquet"):
        read_crops(tmp_path / "crops.xlsx")
    (tmp_path / "crops.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="cannot be read"):
        read_crops(tmp_path / "crops.parquet")
    with pytest.raises(DataError, match="there is no table"):
        read_crops(tmp_path / "gone.csv")


def test_points_in_time_are_no_numbers(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    when = datetime(2026, 1, 1)
    table = {"path": ["a.jpg"], "tracklet": ["1"], "camera": ["c1"], "time": [when]}
    parquet.write_table(arrow.table(table), tmp_path / "crops.parquet")
    with pytest.raises(DataError, match=r"its column time is timestamp.*; make it numbers\)"):
        read_crops(tmp_path / "crops.parquet")


def test_fields_that_do_not_fit_are_refused() -> None:
    t = Tracklets.of([TrackedCrop("a.jpg", "1", "c1", 0.0)])
    with pytest.raises(ShapeError, match=r"cameras of tracklets must be \[1\], got \[2\]"):
        Tracklets(t.names, ("a", "b"), t.start, t.end, t.crop_of, t.times, t.paths)
    with pytest.raises(ShapeError, match="crop_of must name each of the 1 tracklets"):
        Tracklets(t.names, t.cameras, t.start, t.end, t.crop_of + 1, t.times, t.paths)


def filmed(folder: Path, lines: str, camera: str = "c1", frames: int = 3) -> Path:
    (folder / camera / "img1").mkdir(parents=True)
    for number in range(1, frames + 1):
        picture = Image.new("RGB", (60, 40), (10 * number, 0, 0))
        picture.save(folder / camera / "img1" / f"{number:06d}.png")
    (folder / camera / "tracks.txt").write_text(lines)
    (folder / camera / "seqinfo.ini").write_text("[Sequence]\nname=c1\nframeRate=4\n")
    return folder


def test_boxes_are_cut_from_frames_and_clipped(tmp_path: Path) -> None:
    root = filmed(
        tmp_path / "in", "1,5,-10,2.5,30,20\n3,5,50,10,30,40\n2,6,100,0,9,9\n2,-1,0,0,9,9\n"
    )
    t = read_tracks(root, tmp_path / "cut")
    assert (t.names, t.cameras, t.times.tolist()) == (("5",), ("c1",), [0.0, 0.5])
    sizes = []
    for path in t.paths:
        with Image.open(path) as crop:
            sizes.append((crop.size, crop.getpixel((1, 1))[0]))
    assert sizes[0][0] == (20, 21) and sizes[1][0] == (10, 30)
    assert abs(sizes[0][1] - 10) <= 3 and abs(sizes[1][1] - 30) <= 3


def test_one_frame_in_so_many_gives_crops_and_none_is_without(tmp_path: Path) -> None:
    root = filmed(tmp_path / "in", "1,5,0,0,20,20\n2,5,0,0,20,20\n3,5,0,0,20,20\n2,6,0,0,20,20\n")
    t = read_tracks(root, tmp_path / "cut", every=2, fps=2)
    assert {name: int(n) for name, n in zip(t.names, t.counts)} == {"5": 2, "6": 1}
    assert sorted(t.times.tolist()) == [0.0, 0.5, 1.0]


def test_what_is_missing_beside_tracks_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"no folder in {tmp_path} holds tracks.txt"):
        read_tracks(tmp_path, tmp_path / "cut")
    root = filmed(tmp_path / "in", "9,5,0,0,20,20\n")
    with pytest.raises(DataError, match="tells of frame 9, which is not in"):
        read_tracks(root, tmp_path / "cut")
    (root / "c1" / "tracks.txt").write_text("")
    with pytest.raises(DataError, match=r"no tracks\.txt in .* has a box of 4 pixels or more"):
        read_tracks(root, tmp_path / "cut")
    (root / "c1" / "img1").rename(root / "c1" / "frames")
    with pytest.raises(DataError, match=r"there is no folder .*img1; put the frames of c1 there"):
        read_tracks(root, tmp_path / "cut")
    (root / "c1" / "seqinfo.ini").unlink()
    with pytest.raises(DataError, match="has no seqinfo.ini that says frameRate; give --fps"):
        read_tracks(root, tmp_path / "cut")
