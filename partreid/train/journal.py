"""What happened in a run: one JSON line per entry, cut back when a run resumes from an earlier step."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from partreid.errors import DataError
from partreid.files import write_atomically


class Journal:
    """Lines of ``journal.jsonl`` in a run folder. Every entry has "step"; training steps have "loss" and terms."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: io.TextIOWrapper | None = None

    def write(self, entry: Mapping[str, Any]) -> None:
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 - kept open for the run
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
        except OSError as error:
            raise DataError(f"{self.path} cannot be written ({error.strerror}); nothing saved before was touched: free "
                            f"some space or choose another disk, then go on with --resume") from None

    def rewind(self, step: int) -> None:
        """Forget every entry after ``step``, a last line that a kill cut short, and that the run had finished."""
        self.close()
        kept = [entry for entry in read(self.path) if entry["step"] <= step and entry.get("event") != "finished"]
        write_atomically(self.path, "".join(json.dumps(entry) + "\n" for entry in kept).encode())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def read(path: Path) -> list[dict[str, Any]]:
    """All whole entries of a journal; none if there is no file."""
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break  # the last line of a killed run
    return entries


def write_csv(entries: list[dict[str, Any]], path: Path) -> None:
    """The training steps of a journal as a table, one column per loss term."""
    rows = [entry for entry in entries if "loss" in entry]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
