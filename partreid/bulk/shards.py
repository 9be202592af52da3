"""Shards as files: what is in them, one row after the other, and embeddings read back.

A shard is a Parquet file of crops, or of their embeddings. Both may come from others: they are read
in a process apart, a few rows at a time, see :mod:`partreid.data.apart`.
"""

import base64
import glob
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from os.path import isdir
from pathlib import Path
from typing import Any

import torch

from partreid.data.apart import read_apart
from partreid.data.folders import needed
from partreid.data.own import TABLES
from partreid.distance import PartDistance
from partreid.errors import DataError, PartReidError
from partreid.inference import SavedEmbeddings
from partreid.types import Embeddings
from partreid.utils.arguments import door, fits, require
from partreid.utils.files import parse_json, regular
from partreid.utils.folders import entries, images_in
from partreid.utils.looks import LOOKS
from partreid.utils.text import brief, reason

WRITE, REMOVE = "write it again", "embed the shard again, see: partreid embed --help"
PICTURES = {"path": ("texts",), "image": ("bytes",)}
KNOWN = {  # what is kept of a crop beside its embedding, and the kinds that it may be of
    "id": ("whole numbers", "texts"),
    "camera": ("whole numbers", "texts", "nothing"),
    "time": ("whole numbers", "numbers", "texts", "times", "nothing"),
    "path": ("texts",),
}
OURS = {"vectors": ("vectors",), "visibility": ("vectors",)}
LOOKED = "looks"  # a column that shards of earlier versions have not
KEY, COUNTS = "partreid", "partreid.counts"  # of the metadata
ROWS = 4096  # of embeddings that are held besides a batch
TAIL = 65_536  # bytes at the end of a shard, where Parquet keeps sizes and places of all columns
TOGETHER = 64  # files that one process looks at
SPARE = 0.9  # of the memory that is free, what embeddings may take

Id = int | str
Time = int | float | str | date | datetime


@dataclass(frozen=True)
class Head:
    """What a Parquet file says before its rows are read.

    Args:
        file: The file.
        rows: How many it claims.
        columns: Their names and kinds, "texts" and so on, in order.
        notes: Of its metadata, what begins with "partreid".
    """

    file: Path
    rows: int
    columns: tuple[tuple[str, str], ...]
    notes: Mapping[str, str]

    def require(self, name: str, kinds: Sequence[str], remedy: str = WRITE) -> None:
        """DataError unless there is one column of this name, and of one of these kinds."""
        matches = [kind for column, kind in self.columns if column == name]
        if len(matches) != 1:
            raise DataError(
                f"{self.file} must have one column {name}, and has "
                f"{brief(', '.join(column for column, _ in self.columns) or 'none', 200)}; {remedy}"
            )
        if matches[0] not in kinds:
            raise DataError(
                f"{self.file}: the column {name} must be {' or '.join(kinds)}, and is "
                f"{brief(matches[0], 200)}; {remedy}"
            )

    @property
    def kept(self) -> tuple[str, ...]:
        """Those of the columns id, camera, time and path that it has."""
        return tuple(name for name in KNOWN if name in dict(self.columns))


@dataclass(frozen=True)
class Known:
    """Embeddings of shards with what is known of their crops besides.

    Args:
        saved: N embeddings, float32, with files, model and distance; they are what ``rank`` and a
            gallery take. How the crops look is known if all of the shards say it, as those of
            earlier versions do not.
        ids: N ids, as the shards told them.
        cameras: N cameras, None where nobody knows.
        times: N times, None where nobody knows; fractions of a microsecond are cut off.

    Examples:
        >>> known = load_shards("embedded-shards")
        >>> known.ids, known.cameras
        ((0, 1, 2, 3, 4), (None, None, None, None, None))
    """

    saved: SavedEmbeddings
    ids: tuple[Id, ...]
    cameras: tuple[Id | None, ...]
    times: tuple[Time | None, ...]


def is_shards(source: Path) -> bool:
    """Whether these are shards: a pattern, a .parquet file, or a folder of some without images.

    The table of a folder of one's own crops is none.
    """
    if isdir(source):
        return bool(parquet_in(source)) and not any(True for _ in images_in(source))
    return source.suffix.lower() == ".parquet" or (_is_pattern(source) and not source.exists())


def parquet_in(folder: Path) -> list[Path]:
    """The .parquet files of a folder by name, without the table of one's own crops."""
    return [
        folder / entry.name
        for entry in entries(folder)
        if Path(entry.name).suffix.lower() == ".parquet"
        and not entry.name.startswith(".")
        and entry.name not in TABLES
    ]


def shards_of(source: Path) -> list[Path]:
    """The shards of a folder, a pattern or a file, in the order of their names.

    Args:
        source: One of these.

    Returns:
        Their files.

    Raises:
        DataError: There is none, or two have one name, whose embeddings would be one file.

    Examples:
        >>> [path.name for path in shards_of(Path("shards"))]
        ['a.parquet', 'b.parquet']
    """
    if isdir(source):
        files = parquet_in(source)
    elif source.exists() or not _is_pattern(source):
        files = [source]
    else:
        files = sorted(Path(name) for name in glob.glob(str(source), recursive=True))
    if not files:
        raise DataError(f"{source} names no .parquet file; give a folder or a pattern of shards")
    seen: dict[str, Path] = {}
    for path in files:
        if path.name in seen:
            raise DataError(
                f"{seen[path.name]} and {path} have one name, and so would their embeddings; "
                "rename one"
            )
        seen[path.name] = regular(path, "shard")
    return files


def heads(files: Sequence[Path], remedy: str = WRITE) -> Iterator[Head]:
    """Of each file in order what it says of itself. DataError, which names it, if it is no Parquet
    file.
    """
    needed("pyarrow", "parquet", "reading shards")
    for start in range(0, len(files), TOGETHER):
        some, done = files[start : start + TOGETHER], 0
        try:
            for description in read_apart("heads", some[0], *map(str, some[1:]), remedy=remedy):
                yield _head(some[done], description)
                done += 1
        except DataError:  # of whichever file was next; alone it is called by its name
            for file in some[done:]:
                for description in read_apart("heads", file, remedy=remedy):
                    yield _head(file, description)


def _head(file: Path, description: Mapping[str, Any]) -> Head:
    return Head(
        file,
        description["rows"],
        tuple((n, kind) for n, kind in description["columns"]),
        description["notes"],
    )


def require_crops(head: Head) -> str:
    """The column in which a shard holds its pictures. DataError if it is no shard of crops."""
    names = [name for name, _ in head.columns]
    pictures = [name for name in PICTURES if name in names]
    if "id" not in names or len(pictures) != 1:
        raise DataError(
            f"{head.file} must have the columns id and either path or image (encoded bytes), and "
            f"has {brief(', '.join(names) or 'none', 200)}; {WRITE}"
        )
    for name in (*head.kept, *pictures):
        head.require(name, {**KNOWN, **PICTURES}[name])
    return pictures[0]


def tables(head: Head, columns: Sequence[str], remedy: str = WRITE) -> Iterator[tuple[Any, int]]:
    """(Arrow table, 0) of a few rows at a time; the first is empty and has the types. A row whose
    picture is too large comes alone, with its bytes instead of 0 and without the picture.

    DataError if the file is not as its head says.
    """
    import pyarrow as arrow

    rows = 0
    for piece in read_apart("shard", head.file, *columns, remedy=remedy, most=sys.maxsize):
        table = arrow.ipc.open_stream(base64.b64decode(piece["rows"])).read_all()
        if table["id"].null_count:
            raise DataError(f"{head.file} has rows without an id; give each crop one")
        rows += len(table)
        yield table, piece["large"]
    if rows != head.rows:
        raise DataError(f"{head.file} has {rows:,} rows, and claims {head.rows:,}; {remedy}")


def source_of(shard: Path) -> str:
    """What tells a shard from another of its name: SHA-256 of its size and its last 64 KiB."""
    with open(shard, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        return hashlib.sha256(str(size).encode() + file.read()).hexdigest()


def note_of(head: Head, key: str, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """A note of the metadata, as it was written; None if there is none with these fields and
    types.
    """
    if key not in head.notes:
        return None
    note = parse_json(head.notes[key], f"the metadata of {head.file}")
    good = isinstance(note, dict) and all(fits(note.get(k), kind) for k, kind in wanted.items())
    return note if good else None


MODEL = {
    "names": list[str],
    "width": int,
    "distance": dict[str, Any],
    "recipe": str,
    "digest": str,
    "weights": str,
    "source": str,
    "folder": str,
}


@door
def read_shards(source: str | Path, rows: int = ROWS) -> Iterator[Known]:
    """Embeddings that ``partreid embed`` wrote of shards, a few thousand at a time: memory is that
    of one such piece, however many there are.

    Everything is held against the files before it is believed, as by
    :func:`partreid.load_embeddings`.

    Args:
        source: The folder, a pattern or a .parquet file.
        rows: At least so many crops come together, but for the last.

    Yields:
        Pieces in the order of the files' names and of the crops in them.

    Raises:
        DataError: There are none, one is damaged, or they are of several models.

    Examples:
        >>> [len(known.saved) for known in read_shards("embedded-shards", rows=2)]
        [3, 2]
    """
    shards, _, columns = _of_one_model(Path(source))
    held: list[Known] = []
    for known in _pieces(shards, columns):
        held.append(known)
        if sum(len(k.ids) for k in held) >= rows:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


@door
def load_shards(source: str | Path) -> Known:
    """The same, all of them in memory: N x M x D float32, and nothing twice.

    Args:
        source: The folder, a pattern or a .parquet file.

    Returns:
        All N crops.

    Raises:
        DataError: As of :func:`read_shards`; or they do not fit into the memory that is free.

    Examples:
        >>> from partreid import load
        >>> known, model = load_shards("embedded-shards"), load("runs/bpbreid", device="cpu")
        >>> hits = model.search(model.index("crops/3.jpg"), known.saved, top=2)[0]
        >>> known.ids[hits[0].row], hits[0].path.name
        (3, '3.jpg')
    """
    shards, model, columns = _of_one_model(Path(source))
    n, m, width = sum(head.rows for head in shards), len(model["names"]), model["width"]
    more = len(LOOKS) if LOOKED in columns else 0
    wanted, free = n * (m * (width + 1) + more) * 4, _free()
    if wanted > SPARE * free:
        raise DataError(
            f"{n:,} embeddings take {wanted / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB "
            "are free; read them piece by piece with read_shards, or give fewer shards"
        )
    vectors, visibility = torch.empty(n, m, width), torch.empty(n, m)
    looks = torch.empty(n, more) if more else None
    ids: list[Id] = []
    paths: list[Path | None] = []
    cameras: list[Id | None] = []
    times: list[Time | None] = []
    for known in _pieces(shards, columns):
        here = slice(len(ids), len(ids) + len(known.ids))
        vectors[here] = known.saved.embeddings.vectors
        visibility[here] = known.saved.embeddings.visibility
        if looks is not None and known.saved.looks is not None:
            looks[here] = known.saved.looks
        ids += known.ids
        paths += known.saved.paths
        cameras += known.cameras
        times += known.times
    e = Embeddings(vectors, visibility, tuple(model["names"]))
    return Known(_saved(e, paths, model, looks), tuple(ids), tuple(cameras), tuple(times))


def _of_one_model(source: Path) -> tuple[list[Head], dict[str, Any], tuple[str, ...]]:
    """The shards, their model, and which of the columns of embeddings all of them have."""
    shards: list[Head] = []
    first: dict[str, Any] = {}
    for head in heads(shards_of(source), REMOVE):
        note = note_of(head, KEY, MODEL)
        if note is None or not (note["names"] and note["width"] > 0):
            raise DataError(
                f"{head.file} holds no embeddings of partreid embed; give those that do"
            )
        head.require("id", KNOWN["id"], REMOVE)
        for name, kinds in OURS.items():
            head.require(name, kinds, REMOVE)
        first = first or note
        for what in ("weights", "digest", "names", "width", "distance"):
            if note[what] != first[what]:
                raise DataError(
                    f"{head.file} is of another model ({note['recipe']}, weights "
                    f"{note['weights'][:12]}) than {shards[0].file} ({first['recipe']}, weights "
                    f"{first['weights'][:12]}), and no distance between them means anything; embed "
                    "all with one model"
                )
        shards.append(head)
    if not all(LOOKED in dict(head.columns) for head in shards):
        return shards, first, tuple(OURS)
    for head in shards:
        head.require(LOOKED, ("vectors",), REMOVE)
    return shards, first, (*OURS, LOOKED)


def _pieces(shards: Sequence[Head], columns: Sequence[str]) -> Iterator[Known]:
    """A few embeddings at a time, checked."""
    for head in shards:
        note = note_of(head, KEY, MODEL)
        assert note is not None, "it was there a moment ago"
        for table, _ in tables(head, [*head.kept, *columns], REMOVE):
            if not len(table):
                continue
            try:
                yield _known(table, note)
            except PartReidError as error:
                raise DataError(
                    f"{head.file} is damaged or was changed: {error}; {REMOVE}"
                ) from None


def _known(table: Any, note: Mapping[str, Any]) -> Known:
    n, m = len(table), len(note["names"])
    e = Embeddings(
        _numbers(table, "vectors", m * note["width"]).reshape(n, m, -1),
        _numbers(table, "visibility", m),
        tuple(note["names"]),
    )
    e.require_visibilities()
    folder = Path(note["folder"])
    paths = [None if path is None else folder / path for path in _texts(table, "path")]
    kept = (tuple(_texts(table, name)) for name in ("id", "camera", "time"))
    looked = LOOKED in table.column_names
    looks = _numbers(table, LOOKED, len(LOOKS)) if looked else None
    return Known(_saved(e, paths, note, looks), *kept)


def _numbers(table: Any, name: str, size: int) -> torch.Tensor:
    column = table[name].combine_chunks()
    if column.type.list_size != size or column.null_count or column.flatten().null_count:
        raise DataError(
            f"{name} must be {size} numbers of each crop, and are {column.type} with gaps"
            if column.type.list_size == size
            else f"{name} must be {size} numbers of each crop, and are {column.type.list_size}"
        )
    values = torch.from_numpy(column.flatten().to_numpy(zero_copy_only=False).copy()).float()
    if not bool(values.isfinite().all()):
        raise DataError(f"{name} must be finite numbers, and are not")
    return values.reshape(len(column), size)


def _texts(table: Any, name: str) -> list[Any]:
    import pyarrow as arrow

    if name not in table.column_names:
        return [None] * len(table)
    column = table[name]
    try:
        if arrow.types.is_timestamp(column.type) and column.type.unit == "ns":
            column = column.cast(arrow.timestamp("us", column.type.tz), safe=False)
        return list(column.to_pylist())
    # years beyond 9999, zones that nobody knows: of Arrow, datetime or zoneinfo
    except (ValueError, OverflowError, KeyError, arrow.ArrowException) as error:
        raise DataError(f"{name} holds a value that Python cannot hold ({reason(error)})") from None


def _saved(
    e: Embeddings,
    paths: Sequence[Path | None],
    model: Mapping[str, Any],
    looks: torch.Tensor | None,
) -> SavedEmbeddings:
    rule = dict(model["distance"])
    require(set(rule) == set(PartDistance.__dataclass_fields__), "distance", "a PartDistance", rule)
    if isinstance(rule["weights"], list):
        rule["weights"] = tuple(rule["weights"])
    return SavedEmbeddings(
        e,
        tuple(paths),
        model["recipe"],
        model["digest"],
        model["weights"],
        PartDistance(**rule),
        looks,
    )


def _joined(some: Sequence[Known]) -> Known:
    first = some[0].saved
    every = Embeddings.stack([known.saved.embeddings for known in some])
    looks = [known.saved.looks for known in some if known.saved.looks is not None]
    saved = SavedEmbeddings(
        every,
        tuple(path for known in some for path in known.saved.paths),
        first.recipe,
        first.digest,
        first.weights,
        first.distance,
        torch.cat(looks) if looks else None,
    )
    return Known(
        saved,
        tuple(i for known in some for i in known.ids),
        tuple(camera for known in some for camera in known.cameras),
        tuple(time for known in some for time in known.times),
    )


def _free() -> int:
    """Bytes of memory that can be had, where the system tells."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return sys.maxsize


def _is_pattern(source: Path) -> bool:
    return any(sign in str(source) for sign in "*?[")
