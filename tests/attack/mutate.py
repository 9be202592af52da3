"""Random changes to a good file, each known by its number: the same seed and number make the
same bytes anywhere.
"""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.attack.corpus.structures import JUNK, paths, replaced, text, without
from tests.attack.corpus.tensors import closed, opened

Draw = np.random.Generator
NUMBERS = (
    0,
    1,
    2,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
)


def mutant(valid: bytes, kind: str, number: int, seed: int = 0) -> bytes:
    """The ``number``-th change of a good file of this kind."""
    draw = np.random.default_rng([seed, number, *kind.encode()])
    inner = INNER.get(kind)
    if inner is not None and draw.random() < 0.7:
        try:
            return inner(valid, draw)
        except (ValueError, KeyError, IndexError, zipfile.BadZipFile):
            pass
    data = valid
    for _ in range(int(draw.integers(1, 4))):
        data = BYTES[int(draw.integers(len(BYTES)))](data, draw) if data else data
    return data


# Of bytes, whatever they mean


def _flip(data: bytes, draw: Draw) -> bytes:
    out = bytearray(data)
    for position in draw.integers(0, len(out), int(draw.integers(1, 9))):
        out[position] ^= 1 << int(draw.integers(8))
    return bytes(out)


def _near_front(data: bytes, draw: Draw) -> bytes:
    """Headers stand in front."""
    out = bytearray(data)
    out[int(draw.integers(min(len(out), 256)))] = int(draw.integers(256))
    return bytes(out)


def _cut(data: bytes, draw: Draw) -> bytes:
    return data[: int(draw.integers(len(data)))]


def _drop(data: bytes, draw: Draw) -> bytes:
    position = int(draw.integers(len(data)))
    return data[:position] + data[position + int(draw.integers(1, 64)) :]


def _double(data: bytes, draw: Draw) -> bytes:
    position, many = int(draw.integers(len(data))), int(draw.integers(1, 64))
    return (
        data[:position]
        + data[position : position + many] * int(draw.integers(2, 9))
        + data[position + many :]
    )


def _splice(data: bytes, draw: Draw) -> bytes:
    """A piece of it elsewhere."""
    a, b, many = (int(v) for v in (*draw.integers(0, len(data), 2), draw.integers(1, 200)))
    return data[:a] + data[b : b + many] + data[a + many :]


def _number(data: bytes, draw: Draw) -> bytes:
    """A length or an offset overwritten, in either byte order."""
    size = int(draw.choice((1, 2, 4, 8)))
    position = int(draw.integers(max(len(data) - size, 1)))
    value = NUMBERS[int(draw.integers(len(NUMBERS)))] & (2 ** (8 * size) - 1)
    return (
        data[:position]
        + value.to_bytes(size, "little" if draw.random() < 0.5 else "big")
        + data[position + size :]
    )


def _noise(data: bytes, draw: Draw) -> bytes:
    position = int(draw.integers(len(data)))
    return data[:position] + draw.bytes(int(draw.integers(1, 64))) + data[position:]


BYTES: tuple[Callable[[bytes, Draw], bytes], ...] = (
    _flip,
    _flip,
    _near_front,
    _cut,
    _drop,
    _double,
    _splice,
    _number,
    _number,
    _noise,
)


# Of what the bytes mean


def _changed(value: Any, draw: Draw) -> Any:
    """A value as JSON has it, with one to three places changed."""
    for _ in range(int(draw.integers(1, 4))):
        places = list(paths(value, first=3))
        path = places[int(draw.integers(len(places)))]
        inner = value
        for step in path:
            inner = inner[step]
        way = int(draw.integers(6))
        if way == 0 and path:
            value = without(value, path)
        elif way == 1 and isinstance(inner, (int, float)) and not isinstance(inner, bool):
            value = replaced(
                value, path, inner * float(draw.choice((-1, 0, 0.5, 1000, 1e12, 1e300)))
            )
        elif way == 2:  # a value from elsewhere in it
            other: Any = value
            for step in places[int(draw.integers(len(places)))]:
                other = other[step]
            value = replaced(value, path, other)
        elif way == 3 and isinstance(inner, list) and inner:
            value = replaced(value, path, inner * 2 if draw.random() < 0.5 else inner[::-1])
        elif way == 4 and isinstance(inner, str) and inner:
            value = replaced(
                value,
                path,
                inner[int(draw.integers(len(inner))) :] + chr(int(draw.integers(0x2FF))),
            )
        else:
            value = replaced(value, path, JUNK[int(draw.integers(len(JUNK)))])
    return value


def _json(valid: bytes, draw: Draw) -> bytes:
    return text(_changed(json.loads(valid), draw)).encode("utf-8", "surrogatepass")


def _lines(valid: bytes, draw: Draw) -> bytes:
    lines = valid.decode().splitlines()
    index = int(draw.integers(len(lines)))
    lines[index] = text(_changed(json.loads(lines[index]), draw))
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")


def _tensors(valid: bytes, draw: Draw) -> bytes:
    header, body = opened(valid)
    meta = header.get("__metadata__", {})
    texts = [key for key in meta if meta[key][:1] in "[{"]
    if texts and draw.random() < 0.6:
        key = texts[int(draw.integers(len(texts)))]
        return closed(
            {**header, "__metadata__": {**meta, key: text(_changed(json.loads(meta[key]), draw))}},
            body,
        )
    if draw.random() < 0.5:
        return closed(_changed(header, draw), body)
    out = bytearray(body)  # numbers, sometimes large ones
    for index in draw.integers(0, len(out) // 4, 3):
        out[4 * index : 4 * index + 4] = struct.pack(
            "<f", float(draw.choice((np.nan, np.inf, -1e38, 1e-40, 0.0, 7.0)))
        )
    return closed(header, bytes(out))


def _zip(valid: bytes, draw: Draw) -> bytes:
    """A member changed, and packed again."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(valid)) as archive,
        zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as made,
    ):
        names = archive.namelist()
        chosen = (
            next((n for n in names if n.endswith("data.pkl")), names[0])
            if draw.random() < 0.7
            else names[int(draw.integers(len(names)))]
        )
        for name in names:
            data = archive.read(name)
            if name == chosen and data:
                data = BYTES[int(draw.integers(len(BYTES)))](data, draw)
            made.writestr(name, data)
    return out.getvalue()


def _table(valid: bytes, draw: Draw) -> bytes:
    """Cells exchanged, doubled, emptied or filled with junk."""
    rows = [line.split(",") for line in valid.decode().splitlines()]
    for _ in range(int(draw.integers(1, 4))):
        a, b = (rows[int(i)] for i in draw.integers(0, len(rows), 2))
        i, j = int(draw.integers(len(a))) if a else 0, int(draw.integers(len(b))) if b else 0
        way = int(draw.integers(4))
        if not a or not b:
            continue
        if way == 0:
            a[i], b[j] = b[j], a[i]
        elif way == 1:
            a[i] = ""
        elif way == 2:
            a.insert(i, b[j])
        else:
            a[i] = str(JUNK[int(draw.integers(len(JUNK)))])[:300]
    return "\n".join(",".join(row) for row in rows).encode("utf-8", "surrogatepass")


INNER: dict[str, Callable[[bytes, Draw], bytes]] = {
    **dict.fromkeys(("json", "people", "coco", "results", "calibration", "recipe"), _json),
    **dict.fromkeys(("lines", "ledger"), _lines),
    **dict.fromkeys(("model", "weights", "cache", "checkpoint safetensors"), _tensors),
    **dict.fromkeys(("npz", "dump zip", "checkpoint zip", "module zip"), _zip),
    "csv": _table,
    "list": _table,
}
