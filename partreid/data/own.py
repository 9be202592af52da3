"""Data of one's own: a folder for every person, or a table with a line for every crop.

People and cameras may have any names. Where all are whole numbers from 1 they stay as they are;
otherwise they are numbered from 1 in the order of their names. The names 'distractor' and 'junk'
are people that are wrong for every query and that no query sees.
"""

import csv
import io
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from partreid.data.apart import read_apart
from partreid.data.folders import UNSEEN, entries, images_in, is_image, needed, require_files
from partreid.errors import DataError
from partreid.types import DISTRACTOR, JUNK, Benchmark, Sample
from partreid.utils.arguments import door
from partreid.utils.files import MIB, read_text
from partreid.utils.text import brief

FOLDERS_LAYOUT = """\
mine/
  train/anna/yard_c1_001.jpg    any names; _c1 (or cam01) is camera 1, for all crops or for none
  query/ben/door_c1_007.jpg
  gallery/ben/yard_c2_031.jpg"""
TABLE_LAYOUT = (
    "mine/\n"
    "  table.csv                     or table.parquet; columns path, identity, camera (may be "
    "missing), split\n"
    "  ...                           the crops, where the column path says, seen from mine/"
)

# yard_c2_031.jpg, c2.jpg, 7_c2s1_3.jpg, yard_cam02_031.jpg, camera-2/031.jpg; but camA_7.jpg,
# cam-left/7.jpg
CAMERA = re.compile(
    r"(?:^|[_.\s-])c(?:am(?:era)?[_\s-]?)?(\d{1,9})(?=s\d|[_.\s-]|$)", re.IGNORECASE
)
NAMELESS = re.compile(r"(?:^|[_.\s-])(?:(?i:cam(?:era)?)[_\s-]|(?:[Cc]am(?:era)?)(?=[A-Z0-9]))")
SPECIAL = {"distractor": DISTRACTOR, "junk": JUNK, "-1": JUNK}
MEANT = (
    "train",
    "training",
    "test",
    "testing",
    "val",
    "validation",
    "query",
    "queries",
    "probe",
    "gallery",
)
COLUMNS = ("path", "identity", "camera", "split")
TABLES = ("table.csv", "table.parquet")
LONGEST = 4096  # characters of a cell
TABLE_LIMIT = 1024 * MIB  # some ten million crops


class Row(NamedTuple):
    """A crop as it is told: names of the person, the camera ("" if nobody knows) and the split."""

    path: Path
    identity: str
    camera: str
    split: str


@door
def load_folders(root: Path) -> Benchmark:
    """root/<split>/<person>/<any>.jpg with splits train, query, query_<name> and gallery; train
    may be missing.
    """
    rows, splits = _folder_rows(root)
    for split in ("query", "gallery"):
        if not any(
            name == split or (split == "query" and name.startswith("query_")) for name in splits
        ):
            raise DataError(
                f"there is no folder {root / split}; give the folder that holds train, query and "
                "gallery with --data, each with a folder for every person"
            )
    return assemble("folders", root, rows)


@door
def listed_rows(name: str, root: Path) -> list[Row]:
    """All crops of a data set of one's own as they are told, junk too; none of any other data
    set.
    """
    return (
        _folder_rows(root)[0]
        if name == "folders"
        else _table_rows(root)[1]
        if name == "table"
        else []
    )


@door
def split_folders(root: Path) -> tuple[list[Path], list[str]]:
    """The folders of the splits, and names of others that look as if they were meant to be one:
    Test, Query, val.
    """
    names = [
        entry.name for entry in entries(root) if not entry.name.startswith(".") and entry.is_dir()
    ]
    meant = [name for name in names if not _is_split(name) and name.lower() in MEANT]
    return [root / name for name in names if _is_split(name)], meant


def _folder_rows(root: Path) -> tuple[list[Row], list[str]]:
    """All crops, and the splits that there are."""
    rows: list[Row] = []
    splits = [folder.name for folder in split_folders(root)[0]]
    for split in splits:
        for entry in entries(root / split):
            if is_image(entry.name):
                raise DataError(
                    f"{entry.path} lies directly in {split}; every person needs a folder, as in "
                    f"{split}/anna/{entry.name}, or a table.csv says who it is"
                )
            if not entry.name.startswith(".") and entry.is_dir():
                person = root / split / entry.name
                rows += [
                    Row(path, entry.name, camera_of(path.relative_to(person)), split)
                    for path in images_in(person, recursive=True)
                ]
    return rows, splits


@door
def camera_of(path: Path) -> str:
    """The camera that a crop's name tells, or the nearest folder's; "" if none does.

    path: seen from the person's folder. DataError if a camera is named there that has no number: it
    would quietly count as a crop without one.
    """
    for part in (path.stem, *reversed(path.parts[:-1])):
        match = CAMERA.search(part)
        if match:
            return str(int(match[1]))
        if NAMELESS.search(part):
            raise DataError(
                f"{path} names a camera without a number of its own; name it like yard_c2_031.jpg "
                "or yard_cam02_031.jpg, or say the cameras in a table.csv, where they may have any "
                "names"
            )
    return ""


@door
def load_table(root: Path) -> Benchmark:
    """root/table.csv or root/table.parquet, or such a file itself; paths are seen from its
    folder.
    """
    file, rows = _table_rows(root)
    require_files([row.path for row in rows], file.name)
    return assemble("table", file.parent, rows)


def _table_rows(root: Path) -> tuple[Path, list[Row]]:
    """The file of the table and its crops."""
    files = (
        [root] if root.is_file() else [root / name for name in TABLES if (root / name).is_file()]
    )
    if len(files) != 1:
        raise DataError(
            f"there is no {' or '.join(TABLES)} in {root}; give the folder of one with --data"
            if not files
            else f"{root} holds {' and '.join(TABLES)}; leave the one that counts"
        )
    read = _parquet if files[0].suffix.lower() == ".parquet" else _csv
    rows = []
    seen: dict[tuple[str, str], int] = {}
    for line, (path, identity, camera, split) in read(files[0]):
        if not path or not identity:
            raise DataError(
                f"{files[0].name}, line {line}: {'path' if not path else 'identity'} is empty; "
                "fill it in or take the line out"
            )
        if not _is_split(split):
            raise DataError(
                f"{files[0].name}, line {line}: split is '{brief(split)}'; make it train, query, "
                "query_<name> or gallery"
            )
        if max(len(path), len(identity), len(camera)) > LONGEST:
            raise DataError(
                f"{files[0].name}, line {line}: a cell has over {LONGEST:,} characters; is a quote "
                "missing?"
            )
        before = seen.setdefault((path, split), line)
        if before != line:
            raise DataError(
                f"{files[0].name}, line {line}: {brief(path)} is in {split} since line {before} "
                "already; take one of the two lines out"
            )
        rows.append(Row(files[0].parent / path.replace("\\", "/"), identity, camera, split))
    return files[0], rows


@door
def assemble(name: str, root: Path, rows: Sequence[Row]) -> Benchmark:
    """Rows to a benchmark. DataError if there is nothing to ask or to answer, or only some test
    crops have cameras.
    """
    people = numbered([row.identity for row in rows if row.identity.lower() not in SPECIAL])
    cameras = numbered([row.camera for row in rows if row.camera])
    test = [row for row in rows if row.split != "train"]
    without = [row for row in test if not row.camera]
    if 0 < len(without) < len(test):
        raise DataError(
            f"{len(without)} of {len(test)} test crops do not say their camera, first "
            f"{without[0].path}; give all their cameras (_c1, _c2, ... or the column camera) or "
            "none"
        )
    splits: dict[str, list[Sample]] = {"train": [], "gallery": []}
    for row in rows:
        identity = SPECIAL.get(row.identity.lower(), people.get(row.identity, JUNK))
        if identity != JUNK:
            sample = Sample(row.path, identity, cameras.get(row.camera, UNSEEN))
            splits.setdefault(row.split, []).append(sample)
    train, gallery = tuple(splits.pop("train")), tuple(splits.pop("gallery"))
    queries = {split.removeprefix("query_"): tuple(splits[split]) for split in sorted(splits)}
    if not queries or not gallery:
        raise DataError(
            f"{root} has no crops to {'answer: the gallery' if queries else 'ask with: query'} is "
            "empty; put crops of the same people into query and gallery"
        )
    return Benchmark(name, root, train, queries, gallery)


@door
def numbered(names: Collection[str]) -> dict[str, int]:
    """Numbers from 1 for names: their own if all are different whole numbers from 1, else by
    their order.
    """
    every = set(names)
    values = {
        name: int(name) for name in every if name.isascii() and name.isdigit() and len(name) < 19
    }
    if len(values) < len(every) or len(set(values.values())) < len(every):
        return {name: i for i, name in enumerate(sorted(every), 1)}
    if min(values.values(), default=1) > 0:
        return values
    return {name: i for i, name in enumerate(sorted(every, key=lambda name: values[name]), 1)}


def _is_split(name: str) -> bool:
    return name in ("train", "query", "gallery") or (
        name.startswith("query_") and len(name) > len("query_")
    )


def _csv(file: Path) -> Iterable[tuple[int, tuple[str, str, str, str]]]:
    text = read_text(file, TABLE_LIMIT, "table")
    first = text[: text.find("\n") + 1] or text
    delimiter = max(",;\t", key=first.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        columns = _columns(file, next(reader, []))
        for fields in reader:
            if any(fields):
                yield (
                    reader.line_num,
                    _row([fields[i] if 0 <= i < len(fields) else "" for i in columns]),
                )
    except csv.Error as error:
        raise DataError(f"{file} is not a table ({error}); save it as CSV with UTF-8") from None


def _parquet(file: Path) -> Iterable[tuple[int, tuple[str, str, str, str]]]:
    needed("pyarrow", "parquet", f"reading {file.name} (table.csv needs nothing)")
    values = read_apart("parquet", file, *COLUMNS, remedy="write it again")
    header = next(values)
    columns = _columns(file, header)
    # the columns come in our order, without those that are not there
    order = [i for i in columns if i >= 0]
    number = 0
    for rows in values:
        for row in rows:
            number += 1
            yield number, _row([row[order.index(i)] if i >= 0 else "" for i in columns])


def _columns(file: Path, header: Sequence[str]) -> list[int]:
    """Where path, identity, camera and split stand; -1 for a camera that is not there."""
    names = [name.strip().lower() for name in header]
    for column in COLUMNS:
        if column not in names and column != "camera":
            raise DataError(
                f"{file} has no column '{column}', only {brief(', '.join(header), 200) or 'none'}; "
                "rename the one that is meant"
            )
        if names.count(column) > 1:
            raise DataError(
                f"{file} has {names.count(column)} columns '{column}'; leave the one that counts"
            )
    return [names.index(column) if column in names else -1 for column in COLUMNS]


def _row(fields: Sequence[str]) -> tuple[str, str, str, str]:
    """Trimmed; a number that a spreadsheet or a column with gaps has turned into 3.0 or nan is 3
    or nothing again.
    """
    path, identity, camera, split = (field.strip() for field in fields)
    identity, camera = (re.sub(r"^(-?\d+)\.0+$", r"\1", field) for field in (identity, camera))
    identity = "" if identity in ("nan", "NaN") else identity  # but Nan is a person
    return path, identity, "" if camera.lower() == "nan" else camera, split.lower()
