"""What happened in a run: one JSON line per entry, cut back when a run resumes from an earlier
step.
"""

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partreid.errors import DataError
from partreid.utils.arguments import door
from partreid.utils.files import JSON_LIMIT, append_whole, parse_json, read_text, write_atomically

NUMBERS = ("loss", "lr", "seconds")  # of an entry, where it has them


class Journal:
    """Lines of ``journal.jsonl`` in a run folder. Every entry has "step"; training steps have
    "loss" and terms.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def write(self, entry: Mapping[str, Any]) -> None:
        """One line, whole or not at all. DataError if the disk is full."""
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            append_whole(self._file, (json.dumps(entry) + "\n").encode())
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written ({error.strerror}); nothing saved before was "
                "touched: free some space or choose another disk, then go on with --resume"
            ) from None

    def rewind(self, step: int) -> None:
        """Forget every entry after ``step``, a last line that a kill cut short, and that the run
        had finished.
        """
        self.close()
        kept = [
            entry
            for entry in read(self.path)
            if entry["step"] <= step and entry.get("event") != "finished"
        ]
        write_atomically(self.path, "".join(json.dumps(entry) + "\n" for entry in kept).encode())

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


@door
def read(path: Path) -> list[dict[str, Any]]:
    """All whole entries of a journal; none if there is no file. DataError names a line that is
    none.

    A last line without an end was cut short by a kill and does not count.
    """
    if not path.exists():
        return []
    lines = read_text(path, JSON_LIMIT, "journal").split("\n")
    entries = []
    # what follows the last end of line is nothing, or half a line
    for number, line in enumerate(lines[:-1], 1):
        entry = parse_json(line, f"line {number} of {path}")
        fine = (
            isinstance(entry, dict)
            and type(entry.get("step")) is int
            and all(type(entry.get(name, 0)) in (int, float) for name in NUMBERS)
        )
        if not fine:
            raise DataError(f"line {number} of {path} is no entry of a journal; remove that line")
        entries.append(entry)
    return entries


@door
def write_csv(entries: list[dict[str, Any]], path: Path) -> None:
    """The training steps of a journal as a table, one column per loss term."""
    rows = [entry for entry in entries if "loss" in entry]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
