"""The journal keeps what was written, forgets what is run again, and survives a kill in the
middle of a line.
"""

import csv
import errno
import os
import resource
from pathlib import Path

import pytest

from partreid.errors import DataError
from partreid.train.journal import Journal, read, write_csv


def written(path: Path, steps: int) -> Journal:
    journal = Journal(path)
    for step in range(1, steps + 1):
        journal.write({"step": step, "loss": 1 / step})
    return journal


def test_every_entry_is_on_disk_at_once(tmp_path: Path) -> None:
    journal = written(tmp_path / "run" / "journal.jsonl", 3)
    assert read(journal.path) == [{"step": s, "loss": 1 / s} for s in (1, 2, 3)]  # not closed yet


def test_a_resumed_run_forgets_what_it_will_do_again(tmp_path: Path) -> None:
    journal = written(tmp_path / "journal.jsonl", 5)
    journal.rewind(3)
    journal.write({"step": 4, "loss": 9.0})
    assert [(e["step"], e["loss"]) for e in read(journal.path)] == [
        (1, 1),
        (2, 1 / 2),
        (3, 1 / 3),
        (4, 9),
    ]


def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path: Path) -> None:
    journal = written(tmp_path / "journal.jsonl", 2)
    journal.close()
    with open(journal.path, "a") as file:
        file.write('{"step": 3, "lo')
    assert [e["step"] for e in read(journal.path)] == [1, 2]
    journal.rewind(2)
    journal.write({"step": 3, "loss": 0.0})
    assert [e["step"] for e in read(journal.path)] == [1, 2, 3]


def test_a_run_without_a_journal_has_no_entries(tmp_path: Path) -> None:
    assert read(tmp_path / "journal.jsonl") == []


def test_the_table_has_the_training_steps_and_all_terms(tmp_path: Path) -> None:
    write_csv(
        [{"step": 1, "loss": 2.5, "id": 1.0}, {"step": 1, "event": "finished"}],
        tmp_path / "metrics.csv",
    )
    with open(tmp_path / "metrics.csv", newline="") as file:
        assert list(csv.DictReader(file)) == [{"step": "1", "loss": "2.5", "id": "1.0"}]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").symlink_to("/dev/full")
    with pytest.raises(
        DataError,
        match=rf"journal\.jsonl cannot be written \({os.strerror(errno.ENOSPC)}\).*--resume",
    ):
        written(tmp_path / "journal.jsonl", 1)


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    journal = written(tmp_path / "journal.jsonl", 2)
    before = journal.path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, hard))
    try:
        with pytest.raises(DataError, match="--resume"):
            journal.write({"step": 3, "loss": 0.5})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert journal.path.read_bytes() == before
    journal.write({"step": 3, "loss": 0.5})
    assert [e["step"] for e in read(journal.path)] == [1, 2, 3]


@pytest.mark.parametrize("line", ["", "[1]", '{"loss": 1.0}', '{"step": "one"}', "no json"])
def test_a_broken_line_is_named_and_what_follows_is_not_dropped(line: str, tmp_path: Path) -> None:
    journal = written(tmp_path / "journal.jsonl", 2)
    journal.path.write_text(journal.path.read_text() + line + '\n{"step": 4}\n')
    with pytest.raises(DataError, match=r"line 3 of .*journal\.jsonl"):
        read(journal.path)
