"""Crops in bulk: into the table, out into files, and back."""

import base64
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partreid.errors import DataError, PartReidError
from partreid.gallery import forget
from partreid.gallery.rows import (
    Enrolled,
    Row,
    columns,
    decode,
    encode,
    require_fit,
)
from partreid.gallery.schema import Bound
from partreid.gallery.search import Table
from partreid.inference import SavedEmbeddings, load_embeddings
from partreid.train.checkpoint import save_tensors
from partreid.types import Embeddings
from partreid.utils.arguments import fits
from partreid.utils.files import (
    MIB,
    parse_json,
    read_json,
    read_text,
    writable,
    write_atomically,
    write_json,
)

SHARD = 20_000  # crops of one file
_BATCH = 2048  # crops whose rows are built together
_INDEX, _TABLE = "gallery.json", "crops.jsonl"
_FORMAT = 1
_LIMIT = 4096 * MIB


@dataclass(frozen=True)
class Exported:
    """What was written: crops, and folders of embeddings."""

    crops: int
    folders: int


@dataclass(frozen=True)
class Imported:
    """What became of an export.

    Args:
        crops: How many were enrolled.
        forgotten: How many were not, as they show people who were forgotten here.
        known: How many were not, as their pictures are here already.
    """

    crops: int
    forgotten: int
    known: int


def next_ids(connection: Any, n: int) -> list[int]:
    """Ids of n new crops. Whoever asks must hold the version, so that they come in order."""
    rows = connection.execute(
        "SELECT nextval('crop_ids') FROM generate_series(1, %s)", (n,)
    ).fetchall()
    return [row[0] for row in rows]


def insert(table: Table, e: Embeddings, rows: Sequence[Row], into: str = "crops") -> None:
    """Rows with their embeddings, by binary COPY. DataError if a digest is there already."""
    import psycopg

    require_fit(table.distance, e)
    names = columns(len(table.names))
    marks = [row.digest for row in rows if row.digest is not None]
    # Over several servers no index can see it. Nobody else changes crops meanwhile.
    if len(set(marks)) < len(marks) or known_digests(table, marks, into):
        raise _twice()
    try:
        with table.connection.cursor().copy(
            f"COPY {into} ({names}) FROM STDIN (FORMAT BINARY)"
        ) as copy:
            for piece in encode(table.distance, e, rows, _BATCH):
                copy.write(piece)
    except psycopg.errors.UniqueViolation:
        raise _twice() from None
    table.connection.execute("UPDATE gallery SET crops = crops + %s", (len(rows),))


def known_digests(table: Table, digests: Sequence[bytes], of: str = "crops") -> set[bytes]:
    """Which of these digests are enrolled."""
    rows = table.rows(f"SELECT digest FROM {of} WHERE digest = ANY(%s::bytea[])", (list(digests),))
    return {bytes(row[0]) for row in rows}


def _twice() -> DataError:
    return DataError(
        "a crop with the same digest is enrolled already, or comes twice; leave out those that "
        "Gallery.known names"
    )


def read(table: Table, size: int) -> Iterator[tuple[list[Row], Embeddings]]:
    """All crops in the order of their ids, ``size`` at a time."""
    last = -(2**63)
    while batch := table.rows(
        "SELECT id, camera, time, person, source, digest, looks, thumbnail, enrolled, vectors, "
        "visibility FROM crops WHERE id > %s ORDER BY id LIMIT %s",
        (last, size),
    ):
        rows = [
            Row(
                r[0],
                Enrolled(*r[1:4]),
                None if r[4] is None else Path(r[4]),
                None if r[5] is None else bytes(r[5]),
                None if r[6] is None else torch.from_numpy(np.frombuffer(r[6], np.float32).copy()),
                None if r[7] is None else bytes(r[7]),
                r[8],
            )
            for r in batch
        ]
        yield rows, decode([r[9] for r in batch], [r[10] for r in batch], table.names, table.width)
        last = batch[-1][0]


def export(
    table: Table, bound: Bound, recipe: str, folder: Path, progress: Callable[..., None]
) -> Exported:
    """Write all crops, inside a transaction that sees one version. The index comes last, so that an
    export that was cut off is known as such.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} is not an empty folder; an export needs one of its own")
    writable(folder / _INDEX)
    folder.mkdir(parents=True, exist_ok=True)
    total = int(table.rows("SELECT crops FROM gallery")[0][0])
    shards: list[int] = []
    done = 0
    for rows, e in read(table, SHARD):
        for some in _alike(rows):
            _write(
                folder / _shard(len(shards)), bound, recipe, rows[some], e.rows(some), len(shards)
            )
            shards.append(some.stop - some.start)
        done += len(rows)
        progress(done, total)
    journal = table.rows("SELECT reason, person, crops, thumbnails, at FROM journal ORDER BY id")
    index = {
        "partreid_gallery": _FORMAT,
        "bound": json.loads(str(bound)),
        "recipe": recipe,
        "crops": done,
        "shards": shards,
        "salt": forget.salt_of(table.connection).hex(),
        "journal": [
            {
                "reason": r[0],
                "person": None if r[1] is None else r[1].hex(),
                "crops": r[2],
                "thumbnails": r[3],
                "at": r[4].isoformat(),
            }
            for r in journal
        ],
    }
    write_json(folder / _INDEX, index)
    return Exported(done, len(shards))


def import_(table: Table, bound: Bound, folder: Path, progress: Callable[..., None]) -> Imported:
    """Enrol an export, inside a transaction that alone changes crops."""
    index = _index(folder, bound)
    connection = table.connection
    empty = not table.rows("SELECT crops FROM gallery")[0][0]
    if empty and not table.rows("SELECT count(*) FROM journal")[0][0]:
        _take_over(connection, index)
    salt, gone = forget.salt_of(connection), set(forget.forgotten_since(connection))
    taken = done = forgotten = known = highest = 0
    for i, size in enumerate(index["shards"]):
        saved, rows = _read(folder / _shard(i), bound, size)
        there = known_digests(table, [row.digest for row in rows if row.digest is not None])
        chosen: list[int] = []
        for position, row in enumerate(rows):
            person = row.enrolled.person
            if person is not None and forget.digest(salt, person) in gone:
                forgotten += 1
            elif row.digest in there:
                known += 1
            else:
                chosen.append(position)
        kept = [rows[position] for position in chosen]
        if not empty:
            ids = next_ids(connection, len(kept))
            kept = [replace(row, id=n) for row, n in zip(kept, ids, strict=True)]
        if kept:
            insert(table, saved.embeddings.rows(chosen), kept)
            highest = max(highest, kept[-1].id)
        taken, done = taken + len(kept), done + size
        progress(done, index["crops"])
    if empty and highest:
        connection.execute("SELECT setval('crop_ids', %s)", (highest,))
    return Imported(taken, forgotten, known)


def first(folder: Path) -> SavedEmbeddings:
    """The first crops of an export, which say what model it is of."""
    if not (folder / _INDEX).is_file():
        raise _incomplete(folder)
    if not (folder / _shard(0)).is_dir():
        raise DataError(f"{folder} is the export of an empty gallery; there is nothing to import")
    return load_embeddings(folder / _shard(0))


def _incomplete(folder: Path) -> DataError:
    return DataError(
        f"{folder} is no complete export, as it has no {_INDEX}; give a folder that partreid "
        "gallery export has finished"
    )


def _shard(i: int) -> str:
    return f"part-{i:05d}"


def _alike(rows: Sequence[Row]) -> Iterator[slice]:
    """Runs of rows that all have looks, or none of them: a file has them for all its crops."""
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or (rows[end].looks is None) != (rows[start].looks is None):
            yield slice(start, end)
            start = end


def _write(
    folder: Path, bound: Bound, recipe: str, rows: Sequence[Row], e: Embeddings, number: int
) -> None:
    folder.mkdir()
    index = {
        "crops": [None if row.source is None else str(row.source) for row in rows],
        "names": list(e.names),
        "recipe": recipe,
        "digest": bound.digest,
        "weights": bound.weights,
        "distance": asdict(bound.distance),
    }
    tensors = {"vectors": e.vectors, "visibility": e.visibility}
    looks = [row.looks for row in rows if row.looks is not None]
    if looks:
        tensors["looks"] = torch.stack(looks)
    save_tensors(folder / "embeddings.safetensors", tensors, index)
    write_json(folder / "index.json", index)
    lines = []
    for row in rows:
        known = row.enrolled
        line = {
            "id": row.id,
            "camera": known.camera,
            "time": None if known.time is None else known.time.isoformat(),
            "person": known.person,
            "digest": None if row.digest is None else row.digest.hex(),
            "enrolled": row.added.isoformat(),
            "thumbnail": None
            if row.thumbnail is None
            else base64.b64encode(row.thumbnail).decode(),
        }
        lines.append(json.dumps(line) + "\n")
    write_atomically(folder / _TABLE, "".join(lines).encode())


def _index(folder: Path, bound: Bound) -> dict[str, Any]:
    file = folder / _INDEX
    if not file.is_file():
        raise _incomplete(folder)
    index = read_json(file)
    kinds = {"crops": int, "shards": list[int], "salt": str, "journal": list[Any], "recipe": str}
    good = isinstance(index, dict) and index.get("partreid_gallery") == _FORMAT
    if not good or not all(fits(index.get(name), kind) for name, kind in kinds.items()):
        raise DataError(f"{file} is damaged, or of another version; export again")
    try:
        theirs = Bound.read(json.dumps(index["bound"]))
    except (KeyError, TypeError, PartReidError):
        raise DataError(f"{file} does not say which model it is of; export again") from None
    bound.require(theirs, f"{index['recipe']}, weights {theirs.weights[:12]}")
    return index


def _take_over(connection: Any, index: dict[str, Any]) -> None:
    """Salt and journal of the gallery that was exported, so that who is forgotten stays so."""
    try:
        salt = bytes.fromhex(index["salt"])
        entries = [
            (
                str(one["reason"]),
                None if one["person"] is None else bytes.fromhex(one["person"]),
                int(one["crops"]),
                int(one["thumbnails"]),
                datetime.fromisoformat(one["at"]),
            )
            for one in index["journal"]
        ]
    except (KeyError, TypeError, ValueError):
        raise DataError("the journal of the export is damaged; export again") from None
    connection.execute("UPDATE gallery SET salt = %s", (salt,))
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO journal (reason, person, crops, thumbnails, at) "
            "VALUES (%s, %s, %s, %s, %s)",
            entries,
        )


def _read(folder: Path, bound: Bound, size: int) -> tuple[SavedEmbeddings, list[Row]]:
    saved = load_embeddings(folder)
    bound.require(Bound.of(saved), saved.model)
    file = folder / _TABLE
    lines = read_text(file, _LIMIT, "table of crops").splitlines()
    if not len(saved) == len(lines) == size:
        raise DataError(
            f"{folder} should hold {size} crops, and has {len(saved)} embeddings and {len(lines)} "
            "lines; export again"
        )
    rows = []
    for i, line in enumerate(lines):
        try:
            one = parse_json(line, f"line {i + 1} of {file}")
            rows.append(
                Row(
                    int(one["id"]),
                    Enrolled(one["camera"], _time(one["time"]), one["person"]),
                    saved.paths[i],
                    None if one["digest"] is None else bytes.fromhex(one["digest"]),
                    None if saved.looks is None else saved.looks[i],
                    None
                    if one["thumbnail"] is None
                    else base64.b64decode(one["thumbnail"], validate=True),
                    datetime.fromisoformat(one["enrolled"]),
                )
            )
        except (KeyError, TypeError, ValueError, PartReidError):
            raise DataError(f"line {i + 1} of {file} is damaged; export again") from None
    return saved, rows


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(re.sub("Z$", "+00:00", text))
