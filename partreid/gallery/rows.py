"""Crops as rows: what is known of them, what a query asks for, and the bytes that COPY takes."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from partreid.distance import PartDistance
from partreid.errors import ArgumentError, DataError
from partreid.gallery.statement import slack, stored
from partreid.types import Embeddings
from partreid.utils.arguments import check_fields, require
from partreid.utils.text import printable

FOUND = "id, camera, time, person, source, thumbnail IS NOT NULL"
LARGEST = 65504.0  # of float16
_LONGEST = 4096  # characters of a name or a path
_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)
_START, _END = b"PGCOPY\n\xff\r\n\0" + bytes(8), struct.pack("!h", -1)
_NONE = struct.pack("!i", -1)


@dataclass(frozen=True)
class Enrolled:
    """What is known of a crop besides its picture.

    Args:
        camera: A number, or None.
        time: With a time zone, or None.
        person: A name or label, or None.

    Raises:
        DataError: The time has no time zone.
        ArgumentError: The name is empty, or too long.

    Examples:
        >>> noon = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
        >>> Enrolled(camera=2, time=noon, person="anna").camera
        2
    """

    camera: int | None = None
    time: datetime | None = None
    person: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        require_zone("time", self.time)
        require_camera(self.camera)
        if self.person is not None:
            require_text("person", self.person)


@dataclass(frozen=True)
class Found:
    """A crop of a gallery.

    Args:
        id: Its number, in the order of enrolment.
        enrolled: Camera, time and person.
        source: Its file when it was embedded, or None.
        distance: To the query; None if it was not searched for.
        has_thumbnail: Whether a small picture of it is kept.

    Examples:
        >>> Found(7, Enrolled(camera=2), None, distance=0.25).enrolled.camera
        2
    """

    id: int
    enrolled: Enrolled
    source: Path | None
    distance: float | None = None
    has_thumbnail: bool = False


@dataclass(frozen=True)
class Filters:
    """Which crops are looked at, see :meth:`partreid.gallery.Gallery.search`."""

    cameras: Sequence[int] | None = None
    since: datetime | None = None
    until: datetime | None = None
    person: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        require_zone("since", self.since)
        require_zone("until", self.until)
        for camera in self.cameras or ():
            require_camera(camera)
        if self.person is not None:
            require_text("person", self.person)

    def __bool__(self) -> bool:
        return bool(self.values)

    @property
    def where(self) -> str:
        """The condition in SQL; its values go beside it, as parameters."""
        conditions = {
            "cameras": "camera = ANY(%(cameras)s)",
            "since": "time >= %(since)s",
            "until": "time < %(until)s",
            "person": "person = %(person)s",
        }
        return " AND ".join(conditions[name] for name in self.values) or "true"

    @property
    def values(self) -> dict[str, Any]:
        every = {
            "cameras": None if self.cameras is None else list(self.cameras),
            "since": self.since,
            "until": self.until,
            "person": self.person,
        }
        return {name: value for name, value in every.items() if value is not None}


@dataclass(frozen=True)
class Row:
    """What a row holds besides the embeddings.

    digest: of the picture, or None. looks: float32 [F], or None. added: when it was enrolled.
    """

    id: int
    enrolled: Enrolled
    source: Path | None
    digest: bytes | None
    looks: Tensor | None
    thumbnail: bytes | None
    added: datetime


def require_zone(name: str, time: datetime | None) -> None:
    if time is not None and time.tzinfo is None:
        raise DataError(f"{name} must have a time zone, got {time.isoformat()}; add e.g. +00:00")


def require_camera(camera: int | None) -> None:
    good = camera is None or -(2**63) <= camera < 2**63
    require(good, "camera", "a whole number of 64 bits with its sign", camera)


def require_text(name: str, text: str) -> None:
    good = 0 < len(text) <= _LONGEST and "\0" not in text and _is_unicode(text)
    if not good:
        raise ArgumentError(
            f"{name} must be a text of 1 to {_LONGEST} characters that UTF-8 can write, got "
            f"'{printable(text)[:60]}'"
        )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def columns(parts: int) -> str:
    """Names of the columns, in the order of :func:`encode`."""
    halves = ", ".join(f"p{m}, v{m}" for m in range(parts))
    return (
        "id, camera, time, person, source, digest, vectors, visibility, looks, thumbnail, "
        f"enrolled, slack, {halves}"
    )


def require_fit(distance: PartDistance, e: Embeddings) -> None:
    """DataError if float16 cannot hold the numbers, or they are none."""
    most = float(stored(distance, e).abs().amax()) if len(e) else 0.0
    if not most <= LARGEST:
        raise DataError(
            f"a gallery keeps numbers up to {LARGEST:g}, got {most:g}; take a model that compares "
            "by cosine or unit_euclidean"
        )


def encode(
    distance: PartDistance, e: Embeddings, rows: Sequence[Row], size: int
) -> Iterator[bytes]:
    """What ``COPY ... (FORMAT BINARY)`` takes, for ``size`` rows at a time: float32 vectors and
    visibilities as bytes, and half precision for each part.
    """
    yield _START
    for start in range(0, len(rows), size):
        some = slice(start, start + size)
        yield b"".join(_fields(distance, e.rows(some), rows[some]))
    yield _END


def _fields(distance: PartDistance, e: Embeddings, rows: Sequence[Row]) -> Iterator[bytes]:
    parts, width = e.vectors.shape[1:]
    x = stored(distance, e)
    lost = slack(distance, x).tolist()
    field = np.dtype(
        [("p", ">i4"), ("dim", ">i2"), ("unused", ">i2"), ("half", ">f2", width)]
        + [("v", ">i4"), ("seen", ">f4")]  # lengths and values, as the protocol has them
    )
    halves = np.zeros((len(rows), parts), field)
    halves["p"], halves["dim"], halves["v"] = 4 + 2 * width, width, 4
    halves["half"] = x.half().numpy()
    seen = e.visibility.float().contiguous().numpy()
    halves["seen"] = seen
    vectors = e.vectors.float().contiguous().numpy()
    count = struct.pack("!h", 12 + 2 * parts)
    for i, row in enumerate(rows):
        known = row.enrolled
        source = None if row.source is None else str(row.source)
        if source is not None:
            require_text("the path of a crop", source)
        looks = None if row.looks is None else row.looks.float().numpy().tobytes()
        yield from (
            count,
            _number(row.id),
            _number(known.camera),
            _number(None if known.time is None else _micro(known.time)),
            _bytes(None if known.person is None else known.person.encode()),
            _bytes(None if source is None else source.encode()),
            _bytes(row.digest),
            _bytes(vectors[i].tobytes()),
            _bytes(seen[i].tobytes()),
            _bytes(looks),
            _bytes(row.thumbnail),
            _number(_micro(row.added)),
            struct.pack("!id", 8, lost[i]),
            halves[i].tobytes(),
        )


def decode(
    vectors: Sequence[bytes], visibility: Sequence[bytes], names: tuple[str, ...], width: int
) -> Embeddings:
    """The embeddings of rows, float32."""
    shape = (len(vectors), len(names), width)
    if not vectors:
        return Embeddings(torch.empty(shape), torch.empty(shape[:2]), names)
    x = np.frombuffer(b"".join(vectors), np.float32).reshape(shape)
    v = np.frombuffer(b"".join(visibility), np.float32).reshape(shape[:2])
    return Embeddings(torch.from_numpy(x.copy()), torch.from_numpy(v.copy()), names)


def as_found(row: Sequence[Any], distance: float | None = None) -> Found:
    """Of the columns ``FOUND``."""
    number, camera, time, person, source, drawn = row[:6]
    path = None if source is None else Path(source)
    return Found(number, Enrolled(camera, time, person), path, distance, drawn)


def _micro(time: datetime) -> int:
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _number(value: int | None) -> bytes:
    return _NONE if value is None else struct.pack("!iq", 8, value)


def _bytes(value: bytes | None) -> bytes:
    return _NONE if value is None else struct.pack("!i", len(value)) + value
