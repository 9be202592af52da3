"""The fields of requests: how they are declared, and what a value must be."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from partreid.errors import DataError
from partreid.serve.desk import Filters
from partreid.serve.limits import Limits
from partreid.utils.text import printable

NAME = 200  # characters of a person
MOST_ID = 2**63 - 1
_YEARS = (1900, 2200)  # of a time that can be meant


@dataclass(frozen=True)
class Kinds:
    """What FastAPI is told of the fields that several requests have, one for each name."""

    crop: Any
    crops: Any
    person: Any
    label: Any
    camera: Any
    time: Any
    cameras: Any
    since: Any
    until: Any
    top: Any
    prior: Any
    number: Any
    purge: Any

    @classmethod
    def of(cls, limits: Limits) -> "Kinds":
        """With the service's limits."""
        from fastapi import File, Form

        return cls(
            File(description="A JPEG, PNG or WebP picture"),
            File(description="JPEG, PNG or WebP pictures"),
            Form(min_length=1, max_length=NAME, description="A name or label"),
            Form(max_length=NAME, description="A name or label, if it is known"),
            Form(ge=0, le=MOST_ID),
            Form(description="With a time zone"),
            Form(description="Only these cameras"),
            Form(description="Only from then on, with a time zone"),
            Form(description="Only before, with a time zone"),
            Form(ge=1, le=limits.top),
            Form(gt=0, lt=1, description="How likely one person was beforehand"),
            Form(ge=1, le=MOST_ID, alias="id"),
            Form(description="Also write the server's files anew; no trace stays in them"),
        )


def name_of(text: str, what: str = "person") -> str:
    """A name that can be kept and shown. DataError otherwise."""
    name = text.strip()
    if not name or name != printable(name):
        raise DataError(
            f"{what} must be a text of visible characters, got '{printable(text)[:60]}'"
        )
    return name


def time_of(time: datetime | None, what: str = "time") -> datetime | None:
    """A time that says its zone and can be meant. DataError otherwise."""
    if time is not None and time.tzinfo is None:
        raise DataError(f"{what} must have a time zone, got {time.isoformat()}; add e.g. +00:00")
    if time is not None and not _YEARS[0] <= time.year < _YEARS[1]:
        raise DataError(
            f"{what} must lie between the years {_YEARS[0]} and {_YEARS[1]}, got {time.year}"
        )
    return time


def filters_of(
    cameras: list[int] | None, since: datetime | None, until: datetime | None, person: str | None
) -> Filters:
    """Filters as a request has them. DataError if one cannot be."""
    for camera in cameras or ():
        if not 0 <= camera <= MOST_ID:
            raise DataError(f"a camera is a whole number of at least 0, got {camera}")
    return Filters(
        tuple(cameras) if cameras else None,
        time_of(since, "since"),
        time_of(until, "until"),
        name_of(person) if person else None,
    )
