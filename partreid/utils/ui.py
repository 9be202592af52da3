"""What the command line prints: progress, tables and sentences. Everything but results goes to
standard error.

Names of files and people stand in all of it, and may hold anything: nothing here is read as markup,
and every text goes through :func:`printable`.
"""

import contextlib
import io
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from partreid.utils.text import printable

__all__ = [
    "console",
    "fail",
    "forgiving",
    "out",
    "printable",
    "progress",
    "say",
    "show",
    "table",
    "training",
]

console = Console(stderr=True, highlight=False)
out = Console(highlight=False)
_WIDEST = 1 << 20  # of a table that no terminal has to hold: nothing is folded or cut


def forgiving() -> None:
    r"""From here on a character that the terminal's encoding lacks is printed as ``\xb1``,
    instead of an error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError):  # closed
                stream.reconfigure(errors="backslashreplace")


def show(*lines: object) -> None:
    """Results, on standard output: each a line of its own, never folded or cut."""
    for line in lines:
        print(printable(line))


def say(sentence: str) -> None:
    """One line to the user, beside the results; of several processes only the first speaks."""
    if _first():
        console.print(Text(printable(sentence)), soft_wrap=True)


def _first() -> bool:
    # set for processes that Fabric or torchrun start
    return os.environ.get("LOCAL_RANK", "0") == "0"


@contextmanager
def progress(title: str) -> Iterator[Callable[..., None]]:
    """A bar on a terminal, a line every ten seconds elsewhere; called with (done, total, note)."""
    title = printable(title)
    if not (console.is_terminal and _first()):
        last = time.monotonic()

        def line(done: int, total: int, note: str = "") -> None:
            nonlocal last
            if time.monotonic() - last > 10:
                last = time.monotonic()
                say(f"  {title}: {done} of {total} {note}".rstrip())

        yield line
        return
    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, note="")
        yield lambda done, total, note="": bar.update(
            task, completed=done, total=total, note=printable(note)
        )


@contextmanager
def training(title: str) -> Iterator[Callable[[Mapping[str, Any], int, int], None]]:
    """Progress of a training run, fed with its journal entries."""
    with progress(title) as step:
        yield lambda entry, done, total: step(
            done,
            total,
            f"epoch {entry['epoch'] + 1}, loss {entry['loss']:.3f}"
            if "loss" in entry
            else str(entry.get("event", "")),
        )


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """A table on standard output; the first ``left`` columns are text, the others numbers.

    On a terminal too narrow for it cells are folded; elsewhere every row is one line, however long.
    """
    if title:
        show(title)
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        drawn.add_column(
            Text(printable(column)), justify="left" if i < left else "right", overflow="fold"
        )
    for row in rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    narrow = sys.stdout.isatty()  # rich calls a pipe a terminal where FORCE_COLOR is set
    (out if narrow else Console(highlight=False, width=_WIDEST)).print(drawn)


def fail(message: str) -> None:
    """A user's mistake: one sentence, exit status 2."""
    # from a loader process, which sends its traceback; the sentence comes last
    if message.startswith("Caught "):
        message = re.split(r"\npartreid\.errors\.\w+: ", message)[-1].strip()
    print(f"partreid: {printable(message)}", file=sys.stderr)
    raise SystemExit(2)
