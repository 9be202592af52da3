"""Arrays in NumPy's files: what a header claims is held against the file before any memory is
asked for.
"""

import io
import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError
from partreid.utils.files import MIB, regular, unreadable
from partreid.utils.text import reason

ARRAY_LIMIT = 2048 * MIB
HEADER_LIMIT = 65_536  # bytes; those of arrays of numbers have 128
DIMENSIONS = 32
MAGIC = b"\x93NUMPY"
ENVELOPE = re.compile(r"\s*\{[^{}\[\]]*\}\s*")
FIELDS = {
    "descr": re.compile(r"'descr'\s*:\s*'([^']{1,16})'"),
    "order": re.compile(r"'fortran_order'\s*:\s*(True|False)\b"),
    "shape": re.compile(r"'shape'\s*:\s*\(((?:\s*\d{1,19}L?\s*,?)*)\)"),
}
ENTRIES = 10_000  # of a zip archive
NUMBERS = "biuf"  # NumPy's kinds that are numbers: truth values, whole numbers, floats


def read_array(
    path: Path | str, kinds: str = NUMBERS, limit: int = ARRAY_LIMIT
) -> NDArray[np.generic]:
    """The array of an .npy file; nothing is unpickled. DataError if it is broken, empty or of
    another kind.

    kinds: NumPy's letters of the dtypes that are taken; default numbers. What the header claims is
    compared with the length of the file before any memory is asked for.
    """
    path = regular(path, "array")
    try:
        with open(path, "rb") as file:
            if file.read(2) == b"PK":
                raise DataError(
                    f"{path} is an .npz archive under the name of an .npy; give it its own ending"
                )
            file.seek(0)
            return _array(file, path.stat().st_size, path, kinds, limit)
    except OSError as error:
        raise unreadable(path, error) from None


def read_arrays(
    path: Path | str, kinds: str = NUMBERS, limit: int = ARRAY_LIMIT
) -> dict[str, NDArray[np.generic]]:
    """The arrays of an .npz archive by name, see :func:`read_array`; unpacked they have
    ``limit`` bytes at most.
    """
    path = regular(path, "array")
    try:
        with open(path, "rb") as file:
            if file.read(6) == b"\x93NUMPY":
                raise DataError(
                    f"{path} is an .npy file under the name of an .npz; give it its own ending"
                )
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if not members:
                raise DataError(f"{path} holds no arrays; save it again")
            total = sum(member.file_size for member in members)
            if len(members) > ENTRIES or total > limit:
                raise DataError(
                    f"{path} would unpack to {total / MIB:,.0f} MiB in {len(members)} arrays; at "
                    f"most {limit / MIB:.0f} MiB in {ENTRIES} are read. Save what is needed alone"
                )
            return {
                member.filename.removesuffix(".npy"): _array(
                    io.BytesIO(archive.read(member)),
                    member.file_size,
                    f"{path}: {member.filename}",
                    kinds,
                    limit,
                )
                for member in members
            }
    except OSError as error:
        raise unreadable(path, error) from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path} cannot be read as an .npz archive ({reason(error)}); save or copy it again"
        ) from None


def _array(
    file: BinaryIO, length: int, source: object, kinds: str, limit: int
) -> NDArray[np.generic]:
    dtype, columns_first, shape = _header(file, source)
    if dtype.hasobject or dtype.kind not in kinds:
        raise DataError(
            f"{source} holds {dtype}, not numbers; save it as an array of whole numbers or floats"
        )
    count = math.prod(shape)
    if count == 0:
        raise DataError(f"{source} is empty: its shape is {shape}; make it again")
    size, left = count * dtype.itemsize, length - file.tell()
    if size > left:
        raise DataError(
            f"{source} claims {size:,} bytes of numbers, shape {shape}, and has {left:,}; it is "
            "cut off or damaged: copy it again"
        )
    if size > limit:
        raise DataError(
            f"{source} holds {size / MIB:,.0f} MiB; at most {limit / MIB:.0f} are read from one "
            "file"
        )
    array = np.frombuffer(bytearray(file.read(size)), dtype, count)
    return array.reshape(shape, order="F" if columns_first else "C")


def _header(file: BinaryIO, source: object) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    """dtype, whether columns come first, and shape. Read by a pattern: NumPy's own reader parses
    it as Python.
    """
    broken = f"{source} cannot be read as a NumPy array"
    if file.read(6) != MAGIC:
        raise DataError(f"{broken} (it does not begin like one); save or copy it again")
    version = tuple(file.read(2))
    if version not in ((1, 0), (2, 0)):  # 3.0 is for names of fields beyond Latin-1
        raise DataError(
            f"{broken} (its format is {'.'.join(map(str, version)) or 'missing'}; plain arrays of "
            "numbers have 1.0); save or copy it again"
        )
    size = int.from_bytes(file.read(2 if version == (1, 0) else 4), "little")
    text = file.read(size).decode("latin-1") if size <= HEADER_LIMIT else ""
    fields = {name: match[1] for name, pattern in FIELDS.items() if (match := pattern.search(text))}
    if len(text) != size or len(fields) < len(FIELDS) or not ENVELOPE.fullmatch(text):
        raise DataError(
            f"{broken} (its header is none of an array of numbers); save or copy it again"
        )
    try:
        dtype = np.dtype(fields["descr"])
    except (TypeError, ValueError):
        raise DataError(
            f"{broken} (no dtype is called {fields['descr']!r}); save or copy it again"
        ) from None
    shape = tuple(int(n.rstrip("L")) for n in fields["shape"].replace(" ", "").split(",") if n)
    if len(shape) > DIMENSIONS:
        raise DataError(f"{broken} (it claims {len(shape)} dimensions); save or copy it again")
    return dtype, fields["order"] == "True", shape
