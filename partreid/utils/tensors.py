"""Files of named tensors: their headers are held against the file before anything is allocated
for them.
"""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import load
from torch import Tensor

from partreid.errors import DataError
from partreid.utils.files import MIB, parse_json, regular, unreadable

BYTES: Final = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E5M2": 1,
    "F8_E4M3": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
    "C64": 8,
}
HEADER_LIMIT: Final = 64 * MIB
# four times the largest model that is built, so with its optimizer's state
FILE_LIMIT: Final = 16_384 * MIB
# tensors; the largest trunk of the papers has some 2,000, and its optimizer 4,000
MOST: Final = 16_384
_DIMENSIONS = 32


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself. shapes: (kind, lengths) of each tensor; texts: its
    metadata.
    """

    shapes: dict[str, tuple[str, tuple[int, ...]]]
    texts: dict[str, str]


def read_header(path: Path, remedy: str) -> Header:
    """The header of a safetensors file, checked against the file's length. DataError, with
    ``remedy``, if it is none.

    Every tensor must lie in the file, have as many bytes as its kind and shape say, and share none
    with another.
    """
    try:
        with open(regular(path), "rb") as file:
            end = file.seek(0, 2)
            file.seek(0)
            length = struct.unpack("<Q", file.read(8))[0] if end >= 8 else 0
            if end > FILE_LIMIT:
                raise _broken(
                    path,
                    f"it has {end / MIB:,.0f} MiB, at most {FILE_LIMIT / MIB:,.0f} are read",
                    remedy,
                )
            if not 2 <= length <= min(end - 8, HEADER_LIMIT):
                raise _broken(path, "it has no header", remedy)
            text = file.read(length)
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        header = parse_json(text, f"the header of {path}")
    except DataError as error:
        raise _broken(path, str(error), remedy) from None
    if not isinstance(header, dict):
        raise _broken(path, "its header is no table", remedy)
    texts = header.pop("__metadata__", {})
    if not isinstance(texts, dict) or not all(isinstance(v, str) for v in texts.values()):
        raise _broken(path, "its metadata are no texts", remedy)
    if len(header) > MOST:
        raise _broken(
            path, f"it names {len(header):,} tensors, and no model has over {MOST:,}", remedy
        )
    shapes, places = {}, []
    for name, entry in header.items():
        kind, shape, start, stop = _entry(path, name, entry, remedy)
        shapes[name] = kind, shape
        places.append((start, stop))
    position = 0
    for start, stop in sorted(places):
        if start != position:
            raise _broken(path, "its tensors leave gaps or share bytes", remedy)
        position = stop
    if position != end - 8 - length:
        raise _broken(
            path,
            f"its tensors have {position:,} bytes and the file {end - 8 - length:,} for them",
            remedy,
        )
    return Header(shapes, texts)


def read_tensors(
    path: Path, remedy: str, device: str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file and its metadata, see :func:`read_header`."""
    header = read_header(path, remedy)
    try:
        if not _is_unicode(path):  # safetensors opens no file of such a name
            tensors = load(path.read_bytes())
            return {name: tensors[name].to(device) for name in header.shapes}, header.texts
        with safe_open(str(path), framework="pt", device=device) as file:
            return {name: file.get_tensor(name) for name in header.shapes}, header.texts
    except PermissionError as error:
        raise unreadable(path, error) from None
    # a kind torch has not
    except (SafetensorError, OSError, ValueError, RuntimeError, AttributeError) as error:
        raise _broken(path, " ".join(str(error).split())[:200], remedy) from None


def require_finite(path: Path, tensors: dict[str, Tensor]) -> None:
    """DataError, which names the tensor, if one of these of a file holds NaN or infinity."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise DataError(
                f"{path} holds NaN or infinity ({name}): the training diverged, or the file is "
                "damaged. Restore it, or train again with a lower rate"
            )


def _is_unicode(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _entry(path: Path, name: str, entry: Any, remedy: str) -> tuple[str, tuple[int, ...], int, int]:
    entry = entry if isinstance(entry, dict) else {}
    kind, shape, offsets = entry.get("dtype"), entry.get("shape", ()), entry.get("data_offsets", ())
    if not (
        isinstance(kind, str)
        and kind in BYTES
        and _counts(shape)
        and len(shape) <= _DIMENSIONS
        and _counts(offsets)
        and len(offsets) == 2
    ):
        raise _broken(path, f"its header says nothing that can be of '{name[:100]}'", remedy)
    if prod(shape) * BYTES[kind] != offsets[1] - offsets[0]:
        raise _broken(
            path,
            f"'{name[:100]}' claims the shape {shape} and has {offsets[1] - offsets[0]:,} bytes",
            remedy,
        )
    return kind, tuple(shape), offsets[0], offsets[1]


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)


def _broken(path: Path, why: str, remedy: str) -> DataError:
    return DataError(f"{path} is not a readable safetensors file ({why}); {remedy}")
