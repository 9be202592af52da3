"""The ledger: one JSON line for every set of queries that a run was scored on, and what the lines
say of a recipe.

Reading it imports no torch, so that the list of recipes can show our own numbers and still answer
at once.
"""

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partreid import __version__
from partreid.errors import DataError
from partreid.recipes.base import Recipe
from partreid.train.journal import read as read_journal
from partreid.utils.files import (
    TEXT_LIMIT,
    append_whole,
    parse_json,
    read_bytes,
    regular,
    unreadable,
)

if TYPE_CHECKING:
    from partreid.evaluation.result import RunResult

PACKAGE = Path(__file__).resolve().parent.parent
LIMIT = TEXT_LIMIT
SCORES = ("mAP", "mINP", "R1", "R5", "R10", "R20")
INTERVALS = ("mAP", "R1")
# of two lines that differ in these alone, one is enough
_SAID_ANEW = ("date", "commit", "version", "device")


@dataclass(frozen=True)
class Entry:
    """How a run fared on one set of queries.

    digest: of the recipe with its seed. version, commit: of this package; commit only where it lies
    in a git checkout of its own, with a + if that was changed. scores: in 0..1, under
    ``protocol``; intervals: (low, high), 95 %. visibility: whether only what both images show was
    compared; None where the method cannot tell. device: on which it was scored. seconds: of
    training. date: UTC.
    """

    recipe: str
    digest: str
    seed: int
    data: str
    protocol: str
    queries: str
    reranked: bool
    visibility: bool | None
    scores: Mapping[str, float]
    intervals: Mapping[str, Sequence[float]]
    queries_scored: int
    query_images: int
    gallery_images: int
    seconds: float | None
    device: str
    version: str
    commit: str | None
    date: str


def entries(results: Iterable["RunResult"]) -> list[Entry]:
    """The lines of an evaluation: of plain and re-ranked results, by which recipes are judged."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    commit = own_commit()
    made = []
    for result in results:
        recipe, matching = result.model.recipe, result.matching
        if matching.after not in ("", "re-ranked"):
            continue
        for s in result.query_sets:
            scores = s.ranking.scores
            made.append(
                Entry(
                    recipe.name,
                    recipe.digest,
                    recipe.seed,
                    result.data,
                    s.ranking.protocol,
                    s.queries,
                    matching.after == "re-ranked",
                    matching.parts == "visible parts" if matching.parts else None,
                    {name: scores[name] for name in SCORES},
                    {name: (s.intervals[name].low, s.intervals[name].high) for name in INTERVALS},
                    int(s.ranking.scored.sum()),
                    len(result.benchmark.queries[s.queries]),
                    len(result.benchmark.gallery),
                    result.training_seconds,
                    _device(result.model.device),
                    __version__,
                    commit,
                    now,
                )
            )
    return made


def append(path: Path, new: Iterable[Entry]) -> int:
    """Add lines that are not there yet, all or none, and no two processes at once. Returns how
    many.

    DataError if the file cannot be written, or holds a line that is none; it is then as it was.
    """
    wanted = list(new)
    if not wanted:
        return 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            regular(path, "ledger")
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            _lock(file, alone=True)
            data = read_bytes(path, LIMIT, "ledger")
            there = {_numbers(entry) for entry in _entries(path, data)}
            fresh = [entry for entry in wanted if _numbers(entry) not in there]
            if fresh:
                if torn(data):
                    os.ftruncate(file, data.rfind(b"\n") + 1)
                append_whole(
                    file, "".join(json.dumps(asdict(entry)) + "\n" for entry in fresh).encode()
                )
        finally:
            os.close(file)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}) and is as it was; free some space, or "
            "name another file with --ledger"
        ) from None
    return len(fresh)


def read(path: Path) -> list[Entry]:
    """All lines, oldest first; none if there is no file. DataError names the first line that is
    none of ours.

    A last line that was cut off while it was written (half of an entry, and no end of line) does
    not count: its scores were never reported as added, and the next entry takes its place.
    """
    if not os.path.lexists(path):
        return []
    regular(path, "ledger")
    try:
        with path.open("rb") as file:
            _lock(file.fileno(), alone=False)
            data = read_bytes(path, LIMIT, "ledger")
    except OSError as error:
        raise unreadable(path, error) from None
    return _entries(path, data)


def _entries(path: Path, data: bytes) -> list[Entry]:
    try:
        lines = (data[: data.rfind(b"\n") + 1] if torn(data) else data).decode().split("\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} cannot be read as a ledger ({error}); name another file with --ledger"
        ) from None
    if not lines[-1]:
        del lines[-1]
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(_entry(parse_json(line, "it")))
        except ValueError as error:
            raise DataError(
                f"line {number} of {path} is no entry of a ledger ({error}); mend or remove that "
                "line"
            ) from None
    return rows


def torn(data: bytes) -> bool:
    """Whether the last line of these was cut off while it was written: it has no end and is no
    JSON.
    """
    last = data[data.rfind(b"\n") + 1 :]
    if not (last.strip().startswith(b"{") and last.isascii()):  # no entry of ours, whole or half
        return False
    try:
        parse_json(last, "it")
    except DataError:
        return True
    return False


def _lock(file: int, alone: bool) -> None:
    """Wait until nobody else writes (alone: nor reads), since half of a line may be seen; until
    the file is closed.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
    except (ImportError, OSError):  # Windows, and file systems that cannot: then as before
        pass


def ours(recipe: Recipe, ledger: Iterable[Entry]) -> dict[str, list[Entry]]:
    """By query set, the latest entry of each seed that this recipe was run with, on the data of its
    row.

    Runs count by what they did, not by their name: rows of two tables with the same settings share
    them. A row whose published numbers are re-ranked takes re-ranked scores; scores that ignore
    visibility on request are left out.
    """
    reranked = recipe.expect is not None and recipe.expect.reranked
    latest: dict[str, dict[int, Entry]] = {}
    for entry in ledger:
        if (
            entry.data in recipe.test
            and entry.reranked == reranked
            and entry.visibility is not False
            and entry.digest == digest(recipe, entry.seed)
        ):
            latest.setdefault(entry.queries, {})[entry.seed] = entry
    return {queries: [seeds[seed] for seed in sorted(seeds)] for queries, seeds in latest.items()}


@cache
def digest(recipe: Recipe, seed: int) -> str:
    """The recipe's digest when trained with ``seed``."""
    return replace(recipe, seed=seed).digest


def trained_for(run: Path) -> float | None:
    """Seconds that the steps of a run took, by its journal; None if there is none, as for
    converted weights.
    """
    path = run / "journal.jsonl"
    if not path.is_file():
        return None
    return round(sum(step.get("seconds", 0) for step in read_journal(path) if "loss" in step), 1)


def commit_of(folder: Path) -> str | None:
    """Twelve digits of the commit checked out there, with a + if tracked files were changed;
    None without git.
    """
    try:
        return _git(folder, "rev-parse", "--short=12", "HEAD") + (
            "+" if _git(folder, "status", "--porcelain", "-uno") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


def own_commit() -> str | None:
    """:func:`commit_of` the checkout that this package lies in; None where it is installed, or
    copied into somebody else's repository, whose commits say nothing of it.
    """
    home = PACKAGE.parent
    try:
        project = (home / "pyproject.toml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    if 'name = "partreid"' not in project.splitlines():
        return None
    return commit_of(home) if _tracked(home, PACKAGE / "__init__.py") else None


def _tracked(home: Path, file: Path) -> bool:
    """Whether ``home`` is the root of a checkout that holds ``file``."""
    try:
        root = _git(home, "rev-parse", "--show-toplevel")
        _git(home, "ls-files", "--error-unmatch", str(file))
    except (OSError, subprocess.SubprocessError):
        return False
    return Path(root).resolve() == home.resolve()


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ("git", "-C", str(folder), *words),
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=10,
    ).stdout.strip()


def _entry(line: Any) -> Entry:
    """A line's table as an entry; ValueError in words for anything else."""
    if not isinstance(line, dict):
        raise ValueError(f"expected a table, got {line!r:.40}")
    known = [field.name for field in fields(Entry)]
    for name in (*(n for n in known if n not in line), *(n for n in line if n not in known)):
        raise ValueError(f"'{name}' is {'unknown' if name in line else 'missing'}")
    for name, wanted in (("scores", SCORES), ("intervals", INTERVALS)):
        if not isinstance(line[name], dict) or set(line[name]) != set(wanted):
            raise ValueError(f"'{name}' must hold {', '.join(wanted)}")
    if not all(_is(value, 0, 1) for value in line["scores"].values()):
        raise ValueError("scores must be numbers from 0 to 1")
    if not all(
        isinstance(pair, list) and len(pair) == 2 and all(_is(value, -1, 1) for value in pair)
        for pair in line["intervals"].values()
    ):
        raise ValueError("intervals must be pairs of numbers")
    for name in (
        "recipe",
        "digest",
        "data",
        "protocol",
        "queries",
        "device",
        "version",
        "date",
        "commit",
    ):
        if not isinstance(line[name], str | None if name == "commit" else str):
            raise ValueError(f"'{name}' is {line[name]!r:.40}")
    for name in ("seed", "queries_scored", "query_images", "gallery_images"):
        if type(line[name]) is not int or line[name] < 0:
            raise ValueError(f"'{name}' is {line[name]!r:.40}")
    for name in ("reranked", "visibility"):
        if not (isinstance(line[name], bool) or line[name] is None and name == "visibility"):
            raise ValueError(f"'{name}' is {line[name]!r:.40}")
    if line["seconds"] is not None and not _is(line["seconds"], 0, 1e12):
        raise ValueError(f"'seconds' is {line['seconds']!r:.40}")
    return Entry(**line)


def _is(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high


def _numbers(entry: Entry) -> str:
    """What makes two lines one and the same."""
    plain = asdict(entry)
    return json.dumps(
        {name: value for name, value in plain.items() if name not in _SAID_ANEW}, sort_keys=True
    )


def _device(name: str) -> str:
    import torch

    if torch.device(name).type == "cuda":
        return torch.cuda.get_device_name(torch.device(name))
    return f"CPU, {torch.get_num_threads()} threads"
