"""The side of :mod:`partreid.data.apart` that reads: MATLAB 5, MATLAB 7.3 and Parquet, each in a
child process.

Every value goes out as one line of JSON {"value": ...}; a file that is not as released ends with
{"error": why}, a disk that takes no more with {"disk": sentence}. Sizes that a file claims are
compared with stated ones first.
"""

import base64
import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CONFIG_MIB = 64
PAIRS, PEOPLE, CELLS, SPLITS, SIDE = 100, 10_000, 10, 1000, 4096
ROWS = 100_000_000
TEXT = 4096  # characters of a path or a name
BATCH = 16_384
COLUMNS, NOTE = 1000, 2**20  # of a shard, and characters of what it says of itself
STEP, PIECE = (
    64,
    8 * 2**20,
)  # rows and bytes that are handed on together; a picture has at most so many


class Unreadable(Exception):
    """Why a file is not what it should be."""


def answer(task: str, path: str, *arguments: str) -> None:
    """Do a task and say its values; whatever goes wrong is said too."""
    out = sys.stdout.buffer
    try:
        for value in TASKS[task](Path(path), *arguments):
            out.write(json.dumps({"value": value}).encode() + b"\n")
            out.flush()
    except Unreadable as error:
        out.write(json.dumps({"error": str(error)[:300]}).encode() + b"\n")
    except OSError as error:
        disk = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
        reply = (
            {
                "disk": f"{error.filename or 'the disk'}: {error.strerror}; free some space or "
                "choose another folder, "
                f"then give the same command again"
            }
            if disk
            else {"error": " ".join(str(error).split())[:300]}
        )
        out.write(json.dumps(reply).encode() + b"\n")
    # the parsers raise what they like; MemoryError is the limit of this process
    except BaseException as error:
        reason = (
            "it asks for more memory than such a file needs"
            if isinstance(error, MemoryError)
            else (f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        )
        out.write(json.dumps({"error": reason}).encode() + b"\n")
    out.flush()


def protocol(path: Path) -> Iterator[dict[str, Any]]:
    """CUHK03's new protocol, MATLAB 5: {"names": texts, "train", "query", "gallery": indices
    from 0}.
    """
    from scipy import io

    if path.stat().st_size > CONFIG_MIB * 2**20:
        raise Unreadable(f"it has more than {CONFIG_MIB} MiB")
    with path.open("rb") as file:
        if not file.read(19).startswith(b"MATLAB 5.0 MAT-file"):
            raise Unreadable("it does not begin like MATLAB 5")
    indices = {split: f"{split}_idx" for split in ("train", "query", "gallery")}
    table = io.loadmat(path, variable_names=["filelist", *indices.values()])
    absent = [name for name in ("filelist", *indices.values()) if name not in table]
    if absent:
        raise Unreadable(f"it has no {', '.join(absent)}")
    lists: dict[str, Any] = {"names": [_text(cell) for cell in table["filelist"].ravel()]}
    for split, name in indices.items():
        numbers = table[name].ravel()
        if (
            numbers.dtype.kind not in "iuf"
            or not len(numbers)
            or (numbers != numbers.astype("int64")).any()
        ):
            raise Unreadable(f"{name} is not a list of whole numbers")
        places = numbers.astype("int64") - 1
        if places.min() < 0 or places.max() >= len(lists["names"]):
            raise Unreadable(
                f"{name} goes from {places.min() + 1} to {places.max() + 1}, the file names "
                f"{len(lists['names'])} images"
            )
        lists[split] = places.tolist()
    yield lists


def unpack(path: Path, kind: str, out: str) -> Iterator[Any]:
    """CUHK03's images of one kind, MATLAB 7.3, to the folder ``out``: a name for each, at the
    end the test sets.
    """
    import h5py
    import numpy as np
    from PIL import Image

    with h5py.File(path, "r") as file:

        def dataset(key: Any, what: str) -> Any:
            if not isinstance(key, str) and not key:
                raise Unreadable(f"{what} is a null reference")
            array = file[key]
            if not isinstance(array, h5py.Dataset) or array.is_virtual or array.external:
                raise Unreadable(f"{what} is no array")
            return array

        def references(key: Any, what: str, most: int) -> Any:
            array = dataset(key, what)
            if array.dtype != h5py.ref_dtype or not 0 < array.size <= most:
                raise Unreadable(
                    f"{what} is {array.dtype} {array.shape}, not up to {most} references"
                )
            return array[()]

        n = 0
        for pair, people in enumerate(np.ravel(references(kind, kind, PAIRS)), 1):
            cells = references(people, f"pair {pair} of {kind}", PEOPLE * CELLS)
            if cells.ndim != 2 or cells.shape[0] != CELLS:
                raise Unreadable(
                    f"pair {pair} of {kind} is {cells.shape}, not {CELLS} images of each person"
                )
            for person, row in enumerate(cells.T, 1):
                for number, cell in enumerate(row, 1):
                    image = dataset(cell, f"image {pair}, {person}, {number} of {kind}")
                    if image.size <= 3 and image.dtype.kind in "iuf":
                        continue  # no tenth image: of what is empty MATLAB writes the sizes
                    colors = image.dtype == np.uint8 and image.ndim == 3 and image.shape[0] == 3
                    if not colors or not all(0 < side <= SIDE for side in image.shape):
                        raise Unreadable(
                            f"image {pair}, {person}, {number} is {image.dtype} {image.shape}"
                        )
                    name = f"{pair}_{person:03d}_{1 if number <= 5 else 2}_{number:02d}.png"
                    # MATLAB's arrays lie transposed in the file
                    pixels = np.ascontiguousarray(image[()].T)
                    Image.fromarray(pixels).save(os.path.join(out, name), compress_level=1)
                    n += 1
                    yield name
        if not n:
            raise Unreadable(f"it holds no {kind} images")
        tests = []
        for i, cell in enumerate(np.ravel(references("testsets", "testsets", SPLITS)), 1):
            matrix = dataset(cell, f"test set {i}")
            if (
                matrix.ndim != 2
                or matrix.shape[0] != 2
                or matrix.size > 2 * PEOPLE
                or matrix.dtype.kind not in "iuf"
            ):
                raise Unreadable(
                    f"test set {i} is {matrix.dtype} {matrix.shape}, not pairs of numbers"
                )
            pairs = matrix[()].T
            if (
                (pairs != pairs.astype("int64")).any()
                or pairs.min(initial=1) < 1
                or pairs.max(initial=1) > PEOPLE
            ):
                raise Unreadable(f"test set {i} holds other than whole numbers from 1")
            tests.append(pairs.astype("int64").tolist())
        yield {"tests": tests}


def parquet(path: Path, *columns: str, fractions: bool = False) -> Iterator[Any]:
    """A table: first its column names, then lists of rows, each the texts of ``columns`` that are
    there, in order.

    Text and whole numbers are taken; floats that are whole, or not there. Other types are refused
    before any is read. fractions: floats are taken as they are.
    """
    import pyarrow as arrow
    import pyarrow.compute as compute
    from pyarrow import parquet as tables

    file = tables.ParquetFile(path)
    names = [str(name).strip().lower() for name in file.schema_arrow.names]
    yield [str(name)[:TEXT] for name in file.schema_arrow.names[:1000]]
    if file.metadata.num_rows > ROWS:
        raise Unreadable(f"it claims {file.metadata.num_rows:,} rows")
    chosen = [names.index(column) for column in columns if column in names]
    kinds = arrow.types
    for i in chosen:
        field = file.schema_arrow.field(i)
        kind = field.type.value_type if kinds.is_dictionary(field.type) else field.type
        if not (
            kinds.is_string(kind)
            or kinds.is_large_string(kind)
            or kinds.is_integer(kind)
            or kinds.is_floating(kind)
            or kinds.is_null(kind)
        ):
            raise Unreadable(
                f"its column {field.name} is {field.type}; make it "
                + ("numbers" if fractions else "text or whole numbers")
            )
    original = [file.schema_arrow.field(i).name for i in chosen]
    # As dictionaries a text that stands in a million rows is held once.
    texts = [
        name
        for i, name in zip(chosen, original)
        if not kinds.is_primitive(file.schema_arrow.field(i).type)
    ]
    dictionary = tables.ParquetFile(path, read_dictionary=texts)
    for batch in dictionary.iter_batches(BATCH, columns=original, use_threads=False):
        lists = []
        for name in original:
            column = batch.column(batch.schema.names.index(name))
            values = column.dictionary if kinds.is_dictionary(column.type) else column
            if not kinds.is_primitive(values.type) and not kinds.is_null(values.type):
                values.validate(full=True)  # texts that are not UTF-8
                longest = compute.max(compute.binary_length(values)).as_py() or 0
                if longest > TEXT:
                    raise Unreadable(f"its column {name} holds a text of {longest:,} bytes")
            lists.append([_cell(value, name, fractions) for value in column.to_pylist()])
        yield [list(row) for row in zip(*lists)]


def measured(path: Path, *columns: str) -> Iterator[Any]:
    """The same of a table whose columns may hold measures, such as times."""
    yield from parquet(path, *columns, fractions=True)


def heads(path: Path, *others: str) -> Iterator[dict[str, Any]]:
    """Of each of several Parquet files: its rows, its columns as [name, kind], and what its
    metadata says under keys that begin with "partreid".
    """
    from pyarrow import parquet as tables

    for one in (path, *others):
        with tables.ParquetFile(one) as file:
            about = file.metadata
            if about.num_rows > ROWS:
                raise Unreadable(f"it claims {about.num_rows:,} rows")
            if len(file.schema_arrow) > COLUMNS:
                raise Unreadable(f"it has {len(file.schema_arrow):,} columns")
            notes = {
                key.decode(): value.decode()
                for key, value in (about.metadata or {}).items()
                if key.startswith(b"partreid") and len(value) <= NOTE
            }
            columns = [[field.name[:TEXT], _kind(field.type)] for field in file.schema_arrow]
            yield {"rows": about.num_rows, "columns": columns, "notes": notes}


def shard(path: Path, *columns: str) -> Iterator[dict[str, Any]]:
    """Columns of a Parquet file as Arrow streams of a few rows, in base64; the first has none, and
    says the types. Dictionaries are unfolded.

    A picture of more than 8 MiB is left out, and its size is told instead.
    """
    import pyarrow as arrow
    import pyarrow.compute as compute
    from pyarrow import parquet as tables

    # A buffer for each column instead of whole row groups.
    with tables.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        fields = [file.schema_arrow.field(name) for name in columns]
        plain = arrow.schema([(field.name, _unfolded(field.type)) for field in fields])
        yield {"rows": _stream(plain.empty_table()), "large": 0}
        for some in file.iter_batches(STEP, columns=list(columns), use_threads=False):
            some.validate(full=True)  # texts that are not UTF-8, lists that end elsewhere
            table = arrow.Table.from_batches([some]).select(list(columns)).cast(plain)
            for name in columns:
                if _kind(plain.field(name).type) == "texts":
                    longest = compute.max(compute.binary_length(table[name])).as_py() or 0
                    if longest > TEXT:
                        raise Unreadable(f"its column {name} holds a text of {longest:,} bytes")
            for piece in _pieces(table):
                large = piece.nbytes if piece.nbytes > PIECE else 0
                for i, field in enumerate(plain if large else ()):
                    if _kind(field.type) == "bytes":
                        piece = piece.set_column(i, field, arrow.nulls(1, field.type))
                if piece.nbytes > PIECE:
                    raise Unreadable(f"it has a row of {piece.nbytes:,} bytes")
                yield {"rows": _stream(piece), "large": large}


def _pieces(table: Any) -> Iterator[Any]:
    """Halves of halves, until each is small or a single row."""
    if table.nbytes <= PIECE or len(table) == 1:
        yield table
        return
    half = len(table) // 2
    yield from _pieces(table[:half])
    yield from _pieces(table[half:])


def _stream(table: Any) -> str:
    import pyarrow as arrow

    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return base64.b64encode(sink.getvalue()).decode()


def _unfolded(kind: Any) -> Any:
    import pyarrow as arrow

    return kind.value_type if arrow.types.is_dictionary(kind) else kind


def _kind(kind: Any) -> str:
    """What a type is to the reader of a shard; what none can be is told by its own name."""
    from pyarrow import types as kinds

    kind = _unfolded(kind)
    tests = {
        "whole numbers": kinds.is_integer,
        "texts": lambda k: kinds.is_string(k) or kinds.is_large_string(k),
        "bytes": lambda k: kinds.is_binary(k) or kinds.is_large_binary(k),
        "numbers": kinds.is_floating,
        "times": lambda k: kinds.is_timestamp(k) or kinds.is_date(k),
        "nothing": kinds.is_null,
        "vectors": lambda k: kinds.is_fixed_size_list(k) and kinds.is_floating(k.value_type),
    }
    return next((word for word, fits in tests.items() if fits(kind)), str(kind)[:TEXT])


def _cell(value: Any, column: str, fractions: bool) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float) and fractions:
        return repr(value)
    if isinstance(value, float):
        if value != int(value):
            raise Unreadable(f"its column {column} holds {value}; make it text or whole numbers")
        return str(int(value))
    return str(value)


def _text(cell: Any) -> str:
    """The text of a cell of MATLAB's, which nests them in arrays of one."""
    values = cell.ravel() if hasattr(cell, "ravel") else [cell]
    if len(values) != 1 or not isinstance(values[0], str) or not 0 < len(values[0]) <= 255:
        raise Unreadable("filelist holds other than names")
    return str(values[0])


TASKS: dict[str, Callable[..., Iterator[Any]]] = {
    "protocol": protocol,
    "unpack": unpack,
    "parquet": parquet,
    "measured": measured,
    "heads": heads,
    "shard": shard,
}
