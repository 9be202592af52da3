"""What is known of crops besides their pictures: a table, or names in the style of Market-1501."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from os.path import abspath
from pathlib import Path

from partreid.data.apart import read_apart
from partreid.data.folders import needed
from partreid.errors import DataError, PartReidError
from partreid.gallery.rows import Enrolled
from partreid.utils.arguments import door
from partreid.utils.files import MIB, read_text
from partreid.utils.text import brief

COLUMNS = ("file", "camera", "time", "person")
_LIMIT = 1024 * MIB
_MARKET = re.compile(r"^(-1|\d{4})_c(\d+)s\d+_\d+_\d+")


@door
def read_table(file: Path) -> dict[str, Enrolled]:
    """What a table says of each crop, by its absolute path.

    Args:
        file: .csv or .parquet with the columns file, camera, time and person, of which only the
            first must be there. Files are seen from the table's folder. A camera is a whole number,
            a time ISO 8601 with its zone, an empty cell unknown.

    Raises:
        DataError: It cannot be read, or names the line that is wrong.
    """
    lines = _parquet(file) if file.suffix.lower() == ".parquet" else _csv(file)
    records: dict[str, Enrolled] = {}
    for number, (name, camera, time, person) in lines:
        where = f"{file.name}, line {number}"
        if not name:
            raise DataError(f"{where}: file is empty; fill it in or take the line out")
        path = abspath(file.parent / name.replace("\\", "/"))
        if path in records:
            raise DataError(f"{where}: {brief(name)} stands there twice; take one line out")
        try:
            records[path] = Enrolled(_camera(camera), as_time(time), person or None)
        except PartReidError as error:
            raise DataError(f"{where}: {error}") from None
    return records


@door
def from_market_names(paths: Sequence[Path | None]) -> list[Enrolled]:
    """Person and camera of names such as 0002_c1s1_000451_03.jpg; -1 and 0000 are nobody.

    Raises:
        DataError: A crop has another name, or none.
    """
    records = []
    for path in paths:
        match = None if path is None else _MARKET.match(path.name)
        if match is None:
            raise DataError(
                f"{'a crop without a file' if path is None else path} is not named as in "
                "Market-1501 (0002_c1s1_000451_03.jpg); say what is known in a table, see: "
                "partreid gallery add --help"
            )
        records.append(
            Enrolled(int(match[2]), None, None if match[1] in ("-1", "0000") else match[1])
        )
    return records


@door
def as_time(text: str | None) -> datetime | None:
    """ISO 8601 with a time zone, such as 2026-11-26T14:00:00+01:00; None of an empty text.

    Raises:
        DataError: It is not.
    """
    if not text:
        return None
    try:
        time = datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", text))
    except ValueError:
        raise DataError(
            f"'{brief(text)}' is no time; write it as 2026-11-26T14:00:00+01:00"
        ) from None
    if time.tzinfo is None:
        raise DataError(f"'{brief(text)}' must have a time zone; add e.g. +00:00")
    return time


def _camera(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"-?\d{1,18}", text):
        raise DataError(f"camera must be a whole number, got '{brief(text)}'")
    return int(text)


def _csv(file: Path) -> Iterable[tuple[int, Sequence[str]]]:
    text = read_text(file, _LIMIT, "table")
    first = text[: text.find("\n") + 1] or text
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    try:
        places = _places(file, next(reader, []))
        for fields in reader:
            if any(fields):
                cells = [fields[i].strip() if 0 <= i < len(fields) else "" for i in places]
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{file} is not a table ({error}); save it as CSV with UTF-8") from None


def _parquet(file: Path) -> Iterable[tuple[int, Sequence[str]]]:
    needed("pyarrow", "parquet", f"reading {file.name} (a .csv needs nothing)")
    pieces = read_apart("parquet", file, *COLUMNS, remedy="write it again")
    places = _places(file, next(pieces))
    # the columns come in our order, without those that are not there
    there = [k for k, i in enumerate(places) if i >= 0]
    number = 0
    for rows in pieces:
        for row in rows:
            number += 1
            cells = [""] * len(COLUMNS)
            for k, cell in zip(there, row, strict=True):
                cells[k] = _whole(cell.strip())
            yield number, cells


def _whole(cell: str) -> str:
    """A number that a column with gaps has turned into 3.0 or nan is 3 or nothing again."""
    return "" if cell == "nan" else re.sub(r"^(-?\d+)\.0+$", r"\1", cell)


def _places(file: Path, header: Sequence[str]) -> list[int]:
    """Where the columns stand; -1 for one that is not there."""
    names = [name.strip().lower() for name in header]
    if "file" not in names:
        raise DataError(
            f"{file} has no column 'file', only {brief(', '.join(header), 200) or 'none'}; rename "
            "the one that is meant"
        )
    for column in COLUMNS:
        if names.count(column) > 1:
            raise DataError(f"{file} has {names.count(column)} columns '{column}'; leave one")
    return [names.index(column) if column in names else -1 for column in COLUMNS]
