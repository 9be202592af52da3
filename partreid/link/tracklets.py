"""Tracklets: which crops a tracker took for one person in one camera, and when.

They come from a table with a line for every crop, or from a tracker's files in MOT format with the
frames beside them.
"""

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partreid.data.apart import read_apart
from partreid.data.folders import entries, images_in, needed
from partreid.data.mot import MotBox, read_mot
from partreid.errors import DataError, ShapeError
from partreid.link.truth import OVERLAP, people_of, read_truth
from partreid.utils.arguments import Count, check_fields, door, number
from partreid.utils.files import MIB, read_text, regular
from partreid.utils.images import read_image, save_image
from partreid.utils.text import brief

Times = NDArray[np.float64]
Rows = NDArray[np.int64]
_NEEDED: Final = ("path", "tracklet", "camera")
_COLUMNS: Final = (*_NEEDED, "time", "identity")
_LIMIT: Final = 1024 * MIB  # of a table: some ten million crops
MOST: Final = 20_000  # tracklets; all pairs of them are looked at
_SMALLEST: Final = 4  # pixels on either side of what is worth a crop


@dataclass(frozen=True)
class TrackedCrop:
    """One crop of a tracklet.

    Args:
        path: Its file.
        tracklet: Its tracklet's name, which need not be different in another camera.
        camera: The camera's name.
        time: In seconds, or in any unit that all cameras share; NaN: nobody knows.
        identity: Who it truly is; "": nobody says.

    Raises:
        DataError: A name is empty, or the time is infinite.

    Examples:
        >>> TrackedCrop("a.jpg", "7", "yard", 12.5).identity
        ''
    """

    path: str | Path
    tracklet: str
    camera: str
    time: float = math.nan
    identity: str = ""

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("path", "tracklet", "camera"):
            if not str(getattr(self, name)):
                raise DataError(f"the {name} of a crop is empty; fill it in or take the crop out")
        if math.isinf(self.time):
            raise DataError(f"the time of {self.path} is infinite; leave it empty if nobody knows")


@dataclass(frozen=True, eq=False)
class Tracklets:
    """T tracklets of N crops.

    Args:
        names: T texts, as the tracker calls them.
        cameras: T texts.
        start: float64 [T], the earliest time of a crop; NaN if none has one.
        end: float64 [T], the latest.
        crop_of: int64 [N] in 0..T-1, the tracklet of each crop.
        times: float64 [N].
        paths: N files.
        people: N texts, who each crop truly shows; None: nobody says.

    Raises:
        ShapeError: The rows do not fit together.

    Examples:
        >>> crops = [TrackedCrop("a.jpg", "1", "c1", 3.0), TrackedCrop("b.jpg", "1", "c1", 2.0)]
        >>> t = Tracklets.of(crops)
        >>> len(t), t.start, t.end, t.counts
        (1, array([2.]), array([3.]), array([2]))
    """

    names: tuple[str, ...]
    cameras: tuple[str, ...]
    start: Times
    end: Times
    crop_of: Rows
    times: Times
    paths: tuple[Path, ...]
    people: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        many, crops = len(self.names), len(self.paths)
        for name, value, wanted in (
            ("cameras", self.cameras, many),
            ("start", self.start, many),
            ("end", self.end, many),
            ("crop_of", self.crop_of, crops),
            ("times", self.times, crops),
            ("people", self.people if self.people is not None else self.paths, crops),
        ):
            if len(value) != wanted:
                raise ShapeError(f"{name} of tracklets must be [{wanted}], got [{len(value)}]")
        if set(self.crop_of.tolist()) != set(range(many)):
            raise ShapeError(
                f"crop_of must name each of the {many} tracklets, from 0, at least once"
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def counts(self) -> Rows:
        """Crops of each tracklet, int64 [T]."""
        return np.bincount(self.crop_of, minlength=len(self)).astype(np.int64)

    @property
    def timeless(self) -> int:
        """How many tracklets have no time at all, so that nothing is impossible for them."""
        return int(np.isnan(self.start).sum())

    @classmethod
    @door
    def of(cls, crops: Iterable[TrackedCrop]) -> "Tracklets":
        """Crops to tracklets, in the order in which their first crops come. A tracklet is a name
        within a camera.

        Args:
            crops: In any order.

        Raises:
            DataError: There are none, one file is in two tracklets, or there are more than 20,000
                tracklets.
        """
        given = list(crops)
        rows: dict[tuple[str, str], int] = {}
        owner: dict[str, int] = {}
        crop_of = []
        for crop in given:
            row = rows.setdefault((crop.camera, crop.tracklet), len(rows))
            if owner.setdefault(str(crop.path), row) != row:
                raise DataError(
                    f"{crop.path} is a crop of two tracklets, of {crop.tracklet} of {crop.camera} "
                    "and of an earlier one; leave the line that counts"
                )
            crop_of.append(row)
        if not given:
            raise DataError("there are no crops to link; give a table with a line for each")
        if len(rows) > MOST:
            raise DataError(
                f"{len(rows):,} tracklets are more than the {MOST:,} whose pairs are looked at "
                "together; link shorter times one by one"
            )
        times = np.array([crop.time for crop in given], np.float64)
        start, end = np.full(len(rows), np.inf), np.full(len(rows), -np.inf)
        known = ~np.isnan(times)
        row_of = np.array(crop_of, np.int64)
        np.minimum.at(start, row_of[known], times[known])
        np.maximum.at(end, row_of[known], times[known])
        never = np.isinf(start)
        start[never] = end[never] = np.nan
        named = any(crop.identity for crop in given)
        return cls(
            tuple(name for _, name in rows),
            tuple(camera for camera, _ in rows),
            start,
            end,
            row_of,
            times,
            tuple(Path(crop.path) for crop in given),
            tuple(crop.identity for crop in given) if named else None,
        )


@door
def read_crops(table: str | Path) -> Tracklets:
    """Tracklets of a table with a line for every crop.

    Args:
        table: CSV or Parquet with columns path (seen from the table's folder), tracklet and camera,
            and, where known, time and identity. Other columns are not looked at.

    Returns:
        The tracklets, in the table's order.

    Raises:
        DataError: Names the column that is missing, or the first line that is wrong.

    Examples:
        >>> lines = ("path,tracklet,camera,time", "a.jpg,1,c1,0.5", "b.jpg,1,c2,9")
        >>> _ = Path("crops.csv").write_text("\\n".join(lines))
        >>> read_crops("crops.csv").cameras
        ('c1', 'c2')
    """
    file = regular(table, "table")
    if file.suffix.lower() == ".parquet":
        needed("pyarrow", "parquet", f"reading {file.name} (CSV needs nothing)")
        header, lines = _parquet(file)
    elif file.suffix.lower() in (".csv", ".tsv", ".txt"):
        header, lines = _csv(file)
    else:
        raise DataError(f"{file} is neither .csv nor .parquet; give a table, or a folder of tracks")
    crops = []
    for line, fields in lines:
        values = dict(zip(header, fields, strict=True))
        try:
            crops.append(
                TrackedCrop(
                    file.parent / values["path"].replace("\\", "/") if values["path"] else "",
                    values["tracklet"],
                    values["camera"],
                    _time(values.get("time", "")),
                    values.get("identity", ""),
                )
            )
        except DataError as error:
            raise DataError(f"{file.name}, line {line}: {error}") from None
    try:
        return Tracklets.of(crops)
    except DataError as error:
        raise DataError(f"{file.name}: {error}") from None


def _time(text: str) -> float:
    if text == "" or text.lower() == "nan":
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise DataError(
            f"the time is '{brief(text, 60)}'; give a number, such as seconds, or leave it empty"
        ) from None


def _csv(file: Path) -> tuple[list[str], Iterable[tuple[int, list[str]]]]:
    text = read_text(file, _LIMIT, "table")
    first = text[: text.find("\n") + 1] or text
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    try:
        names, places = _places(file, next(reader, []))
        lines = [
            (reader.line_num, [fields[i].strip() if i < len(fields) else "" for i in places])
            for fields in reader
            if any(fields)
        ]
    except csv.Error as error:
        raise DataError(f"{file} is not a table ({error}); save it as CSV with UTF-8") from None
    return names, lines


def _parquet(file: Path) -> tuple[list[str], Iterable[tuple[int, list[str]]]]:
    """Row by row as they come, so that the first wrong one ends it."""
    batches = read_apart("measured", file, *_COLUMNS, remedy="write it again")
    names, _ = _places(file, next(batches))
    rows = (row for batch in batches for row in batch)
    return names, ((i, [cell.strip() for cell in row]) for i, row in enumerate(rows, 1))


def _places(file: Path, header: Sequence[str]) -> tuple[list[str], list[int]]:
    """Our columns that are there, in our order, and where."""
    if not header:
        raise DataError(f"{file} is empty; give a table with the columns {', '.join(_NEEDED)}")
    names = [name.strip().lower() for name in header]
    for column in _COLUMNS:
        if column in _NEEDED and column not in names:
            raise DataError(
                f"{file} has no column '{column}', only {brief(', '.join(header), 200)}; "
                "rename the one that is meant"
            )
        if names.count(column) > 1:
            raise DataError(
                f"{file} has {names.count(column)} columns '{column}'; leave the one that counts"
            )
    columns: list[str] = [column for column in _COLUMNS if column in names]
    return columns, [names.index(column) for column in columns]


@door
def read_tracks(
    folder: str | Path,
    crops: str | Path,
    *,
    tracks: str = "tracks.txt",
    frames: str = "img1",
    fps: float | None = None,
    every: Count = 1,
    truth: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tracklets:
    """Tracklets of a tracker's files: FOLDER/<camera>/tracks.txt in MOT format, with the frames in
    FOLDER/<camera>/img1. Crops are cut and written.

    Args:
        folder: A folder for each camera in it.
        crops: Where the crops go, <camera>/<id>-<frame>.jpg.
        tracks: Name of the file in each camera's folder.
        frames: Name of the folder of frames in it; they are numbered from 1.
        fps: Frames a second; None: what seqinfo.ini in the camera's folder says.
        every: One frame in so many gives crops; a tracklet that would have none gives its first.
        truth: Name of the file of true people in each camera's folder, numbered alike in all
            cameras, such as gt/gt.txt, see :func:`partreid.link.truth.people_of`; None: nobody
            says.
        progress: Called with (crops written, crops in all).

    Returns:
        The tracklets; boxes that have less than 4 pixels in the picture give no crop.

    Raises:
        DataError: A camera's files, a frame or its frame rate is missing, a line is no box, or no
            box overlaps a true person.

    Examples:
        >>> Path("yard/img1").mkdir(parents=True)
        >>> _ = Path("yard/tracks.txt").write_text("1,7,2,2,20,40\\n")
        >>> Image.new("RGB", (64, 48)).save("yard/img1/000001.jpg")
        >>> read_tracks(".", "cut", fps=10).paths
        (PosixPath('cut/yard/7-000001.jpg'),)
    """
    folder, crops = Path(folder), Path(crops)
    cameras = [entry.name for entry in entries(folder) if (folder / entry.name / tracks).is_file()]
    if not cameras:
        raise DataError(
            f"no folder in {folder} holds {tracks}; give a table of crops, or a folder with "
            f"<camera>/{tracks} and <camera>/{frames}"
        )
    wanted: list[tuple[str, float, Path, list[MotBox]]] = []
    shown: dict[tuple[str, int, int], str] = {}
    for camera in cameras:
        rate = _rate(folder / camera, fps)
        boxes = [box for box in read_mot(folder / camera / tracks) if box.id >= 0]
        if truth is not None:
            people = people_of(boxes, read_truth(folder / camera / truth))
            shown |= {(camera, b.frame, b.id): who for b, who in zip(boxes, people, strict=True)}
        if not (folder / camera / frames).is_dir():
            raise DataError(
                f"there is no folder {folder / camera / frames}; put the frames of {camera} there, "
                "or name their folder with --frames"
            )
        numbers = {_frame_number(path): path for path in images_in(folder / camera / frames)}
        for frame, members in _sampled(boxes, every).items():
            if frame not in numbers:
                raise DataError(
                    f"{folder / camera / tracks} tells of frame {frame}, which is not in "
                    f"{folder / camera / frames}; give all frames, numbered from 1"
                )
            wanted.append((camera, rate, numbers[frame], members))
    if truth is not None and not any(shown.values()):
        raise DataError(
            f"no box of {tracks} overlaps one of {truth} by {OVERLAP:.0%} in its frame; both must "
            "be of the same frames and in their pixels"
        )
    total, tracked = sum(len(members) for *_, members in wanted), []
    for camera, rate, path, members in wanted:
        picture = read_image(path)
        for box in members:
            cut = _cut(picture, box)
            if cut is not None:
                target = crops / camera / f"{box.id}-{box.frame:06d}.jpg"
                target.parent.mkdir(parents=True, exist_ok=True)
                save_image(cut, target)
                who = shown.get((camera, box.frame, box.id), "")
                tracked.append(
                    TrackedCrop(target, str(box.id), camera, (box.frame - 1) / rate, who)
                )
        if progress is not None:
            progress(len(tracked), total)
    if not tracked:
        raise DataError(
            f"no {tracks} in {folder} has a box of {_SMALLEST} pixels or more in its frame; give "
            "what a tracker wrote of these frames"
        )
    return Tracklets.of(tracked)


def _rate(folder: Path, fps: float | None) -> float:
    if fps is not None:
        return number("fps, frames a second", fps, 0, open_=True)
    file = folder / "seqinfo.ini"
    lines = read_text(file).splitlines() if file.is_file() else []
    for line in lines:
        name, _, value = line.partition("=")
        if name.strip().lower() == "framerate":
            try:
                return number(f"frameRate in {file}", float(value), 0, open_=True)
            except ValueError:
                raise DataError(f"frameRate in {file} is no number: '{brief(value, 40)}'") from None
    raise DataError(f"{folder} has no seqinfo.ini that says frameRate; give --fps")


def _frame_number(path: Path) -> int:
    digits = path.stem.lstrip("framegiFRAMEGI_-")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else -1


def _sampled(boxes: Sequence[MotBox], every: int) -> dict[int, list[MotBox]]:
    """Boxes that give crops, by frame."""
    chosen = [box for box in boxes if (box.frame - 1) % every == 0]
    there = {box.id for box in chosen}
    for box in sorted(boxes, key=lambda box: box.frame):
        if box.id not in there:
            there.add(box.id)
            chosen.append(box)
    out: dict[int, list[MotBox]] = {}
    for box in sorted(chosen, key=lambda box: (box.frame, box.id)):
        out.setdefault(box.frame, []).append(box)
    return out


def _cut(picture: Image.Image, box: MotBox) -> Image.Image | None:
    left, top = max(0, math.floor(box.left)), max(0, math.floor(box.top))
    right = min(picture.width, math.ceil(box.left + box.width))
    bottom = min(picture.height, math.ceil(box.top + box.height))
    large = right - left >= _SMALLEST and bottom - top >= _SMALLEST
    return picture.crop((left, top, right, bottom)) if large else None
