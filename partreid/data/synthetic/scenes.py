"""Writing scenes: people who walk past several cameras, with the truth about every frame.

root/c1/img1/000001.jpg   frames of camera 1, numbered from 1
root/c1/gt/gt.txt         MOT format: every person in the picture, by true identity and visibility
root/c1/tracks.txt        MOT format: the same as a tracker without re-identification sees it
root/c1/seqinfo.ini       what tracking tools want to know of a sequence
root/crops/*.jpg          crops of the tracklets
root/crops.csv, .parquet  path, tracklet, camera, time, frame, x, y, width, height, identity,
                          visible, split: query for the first crop of a tracklet, else gallery, so
                          that the table is also a data set to calibrate on
root/cameras.csv          first, second, seconds: least seconds between two cameras, or `overlap`
root/scenes.json          settings and counts; "complete": true is written last

A tracklet ends where a person is lost: hidden but for less than `lost` of the silhouette, or out of
the picture, for more than `patience` frames. Its crop is the box of the whole person, hidden parts
included, as good detectors guess it, with a margin and cut at the frame's rim.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from PIL import Image

from partreid.data.mot import MotBox, write_mot
from partreid.data.synthetic.files import Progress, over_processes, save, write_text
from partreid.data.synthetic.footage import frames
from partreid.data.synthetic.walks import Scenes, eye, least_seconds
from partreid.errors import DataError
from partreid.utils.files import parse_json, read_json
from partreid.utils.lock import LOCK, alone_in
from partreid.utils.text import brief

SCENES_VERSION: Final = 1  # raise it when the pictures change
COLUMNS: Final = (
    "path", "tracklet", "camera", "time", "frame", "x", "y", "width", "height", "identity",
    "visible", "split",
)  # fmt: skip
_CHUNK: Final = 40  # frames drawn together
_SMALLEST: Final = (8, 16)  # width and height in pixels of what is worth a crop
_MARGIN: Final = 0.03  # of a person's height, on every side of a crop
_QUALITY: Final = 92  # of a crop's JPEG


@dataclass(frozen=True)
class _Line:
    """One person in one frame of one camera."""

    camera: int
    frame: int
    identity: int
    box: tuple[float, float, float, float]
    visible: float


def write_scenes(
    scenes: Scenes,
    root: str | Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Films the scenes and writes them to `root`, which it gives back.

    workers: processes; None = one per core, 1 = none but this one. progress: called with (frames
    done, frames in all). Processes are spawned, so a script must call this under `if __name__ ==
    "__main__":` unless workers=1. An interrupted run goes on where it stopped; finished scenes with
    the same settings are left as they are. Raises DataError if `root` holds anything else.
    """
    root = Path(root)
    settings = {"scenes_version": SCENES_VERSION, "scenes": asdict(scenes)}
    every = scenes.cameras * scenes.frames
    if _finished(root, settings):
        if progress:
            progress(every, every)
        return root
    with alone_in(root):
        scratch = root / ".frames"
        scratch.mkdir(exist_ok=True)
        for camera in range(1, scenes.cameras + 1):
            (root / f"c{camera}" / "img1").mkdir(parents=True, exist_ok=True)
        _record(root, {**settings, "complete": False})
        chunks = [
            (camera, first)
            for camera in range(1, scenes.cameras + 1)
            for first in range(1, scenes.frames + 1, _CHUNK)
        ]
        done = 0
        for count in over_processes(partial(_film, scenes, root), chunks, workers):
            done += count
            if progress:
                progress(done, every)
        lines = [line for chunk in chunks for line in _lines(scratch, chunk)]
        counts = _write_truth(scenes, root, lines)
        _record(root, {**settings, "cameras": _cameras(scenes), **counts, "complete": True})
        for path in scratch.iterdir():
            path.unlink()
        scratch.rmdir()
    return root


def _finished(root: Path, settings: dict[str, Any]) -> bool:
    """Whether `root` holds these scenes already. DataError if it holds anything else."""
    if not root.exists():
        return False
    if not root.is_dir():
        raise DataError(f"{root} is a file; scenes need a folder")
    file = root / "scenes.json"
    if not file.exists():
        if any(path.name not in (LOCK, ".frames") for path in root.iterdir()):
            raise DataError(
                f"{root} is not empty and holds no scenes; give an empty or a new folder"
            )
        return False
    state = read_json(file)
    if not isinstance(state, dict) or any(state.get(k) != v for k, v in settings.items()):
        there = brief(json.dumps(state.get("scenes") if isinstance(state, dict) else state), 200)
        raise DataError(f"{root} holds other scenes ({there}); remove them or give another folder")
    return state.get("complete") is True


def _record(root: Path, value: dict[str, Any]) -> None:
    write_text(root / "scenes.json", json.dumps(value, indent=1) + "\n")


def _cameras(scenes: Scenes) -> list[dict[str, Any]]:
    """What is known of each camera: where it stands, in metres and degrees, and whom it shares its
    place with.
    """
    out = []
    for camera in range(1, scenes.cameras + 1):
        viewer = eye(scenes, camera)
        out.append(
            {
                "camera": f"c{camera}",
                "place": scenes.place(camera),
                "azimuth": round(viewer.azimuth * 57.29577951308232, 2),
                "pitch": round(viewer.pitch * 57.29577951308232, 2),
                "distance": round(viewer.distance, 2),
                "focal": round(viewer.focal / scenes.supersample, 2),
                "overlaps": [
                    f"c{c}" for c in scenes.looking_at(scenes.place(camera)) if c != camera
                ],
            }
        )
    return out


def _film(scenes: Scenes, root: Path, chunk: tuple[int, int]) -> int:
    """Draws some frames of a camera, unless they are there; gives their number."""
    camera, first = chunk
    last = min(scenes.frames, first + _CHUNK - 1)
    file = root / ".frames" / f"{camera}-{first:06d}.jsonl"
    paths = [_frame_path(root, camera, number) for number in range(first, last + 1)]
    if not (file.exists() and all(path.exists() for path in paths)):
        lines = []
        for frame, path in zip(frames(scenes, camera, first, last), paths, strict=True):
            image = Image.fromarray(frame.image)
            save(image, path, "JPEG", quality=frame.jpeg_quality, subsampling=2)
            lines += [
                json.dumps([frame.number, s.identity, *s.box, round(s.visible, 4)]) + "\n"
                for s in frame.people
            ]
        write_text(file, "".join(lines))
    return len(paths)


def _frame_path(root: Path, camera: int, number: int) -> Path:
    return root / f"c{camera}" / "img1" / f"{number:06d}.jpg"


def _lines(scratch: Path, chunk: tuple[int, int]) -> Iterator[_Line]:
    camera, first = chunk
    for text in (scratch / f"{camera}-{first:06d}.jsonl").read_text().splitlines():
        number, who, x, y, w, h, visible = parse_json(text, "a frame's record")
        yield _Line(camera, number, who, (x, y, w, h), visible)


def _write_truth(scenes: Scenes, root: Path, lines: list[_Line]) -> dict[str, Any]:
    tracklets = _tracklets(scenes, lines)
    for camera in range(1, scenes.cameras + 1):
        mine = sorted(
            (line for line in lines if line.camera == camera and line.visible > 0),
            key=lambda line: (line.frame, line.identity),
        )
        (root / f"c{camera}" / "gt").mkdir(exist_ok=True)
        write_mot(
            (_mot(line, line.identity) for line in mine), root / f"c{camera}" / "gt" / "gt.txt"
        )
        tracked = sorted(
            (line.frame, number, line)
            for (owner, number), members in tracklets.items()
            if owner == camera
            for line in members
        )
        write_mot(
            (_mot(line, number) for _, number, line in tracked), root / f"c{camera}" / "tracks.txt"
        )
        write_text(root / f"c{camera}" / "seqinfo.ini", _seqinfo(scenes, camera))
    rows = _cut(scenes, root, tracklets)
    _write_table(root, rows)
    write_text(root / "cameras.csv", _camera_pairs(scenes))
    return {
        "frames": scenes.frames,
        "people": len({line.identity for line in lines if line.visible > 0}),
        "tracklets": len({row[1] for row in rows}),
        "crops": len(rows),
    }


def _mot(line: _Line, number: int) -> MotBox:
    return MotBox(line.frame, number, *line.box, 1.0, 1, line.visible)


def _seqinfo(scenes: Scenes, camera: int) -> str:
    return (
        f"[Sequence]\nname=c{camera}\nimDir=img1\nframeRate={scenes.fps}\n"
        f"seqLength={scenes.frames}\n"
        f"imWidth={scenes.width}\nimHeight={scenes.height}\nimExt=.jpg\n"
    )


def _camera_pairs(scenes: Scenes) -> str:
    rows = ["first,second,seconds\n"]
    for a in range(1, scenes.cameras + 1):
        for b in range(a + 1, scenes.cameras + 1):
            together = scenes.place(a) == scenes.place(b)
            apart = "overlap" if together else f"{least_seconds(scenes, a, b):g}"
            rows.append(f"c{a},c{b},{apart}\n")
    return "".join(rows)


def _tracklets(scenes: Scenes, lines: list[_Line]) -> dict[tuple[int, int], list[_Line]]:
    """Lines of each tracklet: (camera, number from 1) -> in order of time."""
    seen: dict[tuple[int, int], list[_Line]] = {}
    for line in lines:
        if (
            line.visible >= scenes.lost
            and line.visible > 0
            and _rectangle(scenes, line) is not None
        ):
            seen.setdefault((line.camera, line.identity), []).append(line)
    pieces: list[list[_Line]] = []
    for _, mine in sorted(seen.items()):
        mine.sort(key=lambda line: line.frame)
        for i, line in enumerate(mine):
            if i == 0 or line.frame - mine[i - 1].frame > scenes.patience + 1:
                pieces.append([])
            pieces[-1].append(line)
    pieces.sort(key=lambda piece: (piece[0].camera, piece[0].frame, piece[0].identity))
    numbers: dict[int, int] = {}
    out: dict[tuple[int, int], list[_Line]] = {}
    for piece in pieces:
        camera = piece[0].camera
        numbers[camera] = numbers.get(camera, 0) + 1
        out[camera, numbers[camera]] = piece
    return out


def _rectangle(scenes: Scenes, line: _Line) -> tuple[int, int, int, int] | None:
    """What is cut: left, top, right, bottom in pixels within the frame; None if it is too small."""
    x, y, w, h = line.box
    margin = _MARGIN * h
    wide = max(
        w + 2 * margin, 0.42 * h
    )  # a person seen from the side is narrow, a detector's box less so
    middle = x + w / 2
    left, right = max(0, round(middle - wide / 2)), min(scenes.width, round(middle + wide / 2))
    top, bottom = max(0, round(y - margin)), min(scenes.height, round(y + h + margin))
    large = right - left >= _SMALLEST[0] and bottom - top >= _SMALLEST[1]
    return (left, top, right, bottom) if large else None


def _cut(
    scenes: Scenes, root: Path, tracklets: dict[tuple[int, int], list[_Line]]
) -> list[tuple[Any, ...]]:
    """Crops from the frames as they were saved, and the table's rows."""
    folder = root / "crops"
    folder.mkdir(exist_ok=True)
    rows: list[tuple[Any, ...]] = []
    wanted: dict[tuple[int, int], list[tuple[int, _Line]]] = {}
    for (camera, number), members in tracklets.items():
        # A tracklet shorter than the stride gives its best frame, so that none is without crops.
        chosen = [line for line in members if (line.frame - 1) % scenes.every == 0]
        for line in chosen or [max(members, key=lambda line: line.visible)]:
            wanted.setdefault((camera, line.frame), []).append((number, line))
    for (camera, frame), members_ in sorted(wanted.items()):
        with Image.open(_frame_path(root, camera, frame)) as image:
            image.load()
            for number, line in members_:
                box = _rectangle(scenes, line)
                assert box is not None
                name = f"c{camera}-{number:04d}-{frame:06d}.jpg"
                save(image.crop(box), folder / name, "JPEG", quality=_QUALITY, subsampling=0)
                rows.append(
                    (
                        f"crops/{name}",
                        f"c{camera}-{number:04d}",
                        f"c{camera}",
                        round((frame - 1) / scenes.fps, 4),
                        frame,
                        box[0],
                        box[1],
                        box[2] - box[0],
                        box[3] - box[1],
                        line.identity,
                        line.visible,
                    )
                )
    rows.sort(key=lambda row: (row[1], row[4]))
    first = {row[1]: row[0] for row in reversed(rows)}
    return [(*row, "query" if first[row[1]] == row[0] else "gallery") for row in rows]


def _write_table(root: Path, rows: list[tuple[Any, ...]]) -> None:
    text = [",".join(COLUMNS) + "\n", *(",".join(map(str, row)) + "\n" for row in rows)]
    write_text(root / "crops.csv", "".join(text))
    if find_spec("pyarrow") is not None:
        import pyarrow
        from pyarrow import parquet

        columns = {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}
        parquet.write_table(pyarrow.table(columns), root / "crops.parquet")
