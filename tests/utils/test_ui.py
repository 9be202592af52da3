"""What the command line prints beside its results."""

import ast
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from partreid.utils import ui

HOSTILE = (
    "[cam1]anna.png",
    "[/red]",
    "[bold]x[/bold]",
    ":car:.png",
    "a\x1b[2Jb",
    "a\u202eb",
    "caf\udce9.jpg",
    "a\nb",
    "\\[x]",
    "{0}",
    "%s",
)


def test_of_several_processes_only_the_first_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank, heard in (("0", "here\n"), ("1", ""), (None, "here\n")):
        monkeypatch.delenv("LOCAL_RANK", raising=False)
        if rank is not None:
            monkeypatch.setenv("LOCAL_RANK", rank)
        ui.say("here")
        assert capsys.readouterr().err == heard


def test_progress_off_a_terminal_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(ui.time, "monotonic", lambda: float(next(clock)))
    with ui.training("training x") as step:
        for done in range(1, 13):
            step({"epoch": 0, "loss": 1.0}, done, 12)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 5 and all(
        line.startswith("  training x: ") and "epoch 1, loss 1.000" in line for line in lines
    )


def test_a_table_keeps_long_rows_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    ui.table("scores", ("name", "x"), [("a" * 100, "1.0"), ("b", "[2.0]")])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "scores"
    assert [line.split() for line in lines[2:4]] == [["a" * 100, "1.0"], ["b", "[2.0]"]]


def test_a_mistake_in_a_loader_process_is_still_one_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    relayed = (
        "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call "
        "last):\n"
        '  File "x.py", line 1, in f\n    raise DataError(...)\n'
        "partreid.errors.DataError: a.jpg is broken; go\n"
    )
    with pytest.raises(SystemExit) as end:
        ui.fail(relayed)
    assert end.value.code == 2 and capsys.readouterr().err == "partreid: a.jpg is broken; go\n"


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> Iterator[io.StringIO]:
    """Standard output and error are one terminal of so many columns."""
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True, raising=False)
    with monkeypatch.context() as m:
        m.setattr(sys, "stdout", shown)
        for name in ("console", "out"):
            m.setattr(
                ui,
                name,
                Console(
                    file=shown,
                    highlight=False,
                    width=width,
                    force_terminal=True,
                    color_system=None,
                    legacy_windows=False,
                    _environ={},
                ),
            )
        yield shown


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_printed_as_it_is_and_never_obeyed(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = ui.printable(name)
    ui.table(name, ("place", name), [("1", name), (name, "2")], left=2)
    ui.show(name)
    ui.say(name)
    output = capsys.readouterr()
    assert [line.rstrip() for line in output.out.splitlines()] == [
        shown,
        f"{'place':{len(shown)}}  {shown}" if len(shown) > 5 else f"place  {shown}",
        f"{'1':{max(len(shown), 5)}}  {shown}",
        f"{shown:{max(len(shown), 5)}}  2",
        shown,
    ]
    assert output.err == f"{shown}\n"
    with pytest.raises(SystemExit):
        ui.fail(name)
    assert capsys.readouterr().err == f"partreid: {shown}\n"
    with terminal(monkeypatch, 60) as screen, ui.progress(name) as step:
        step(1, 2, name)
        assert ui.console.file is screen
        ui.table(name, (name, "x"), [(name, "1")])
    assert screen.getvalue().count(shown) >= 4 and "\x1b[2J" not in screen.getvalue()


def test_nothing_is_cut_where_no_terminal_sets_the_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    long, numbers = "x" * 3000, "28.9 [24.4, 33.5]"
    # as continuous integration sets it: rich then calls a pipe a terminal
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    ui.table(
        long, ("place", "crop", "distance"), [("1", long, numbers), ("2", "y", numbers)], left=2
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[2].split() == ["1", long, *numbers.split()]
    ui.say(long)
    assert capsys.readouterr().err == f"{long}\n"


def test_a_narrow_terminal_folds_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    long, numbers = "abcdefghij" * 20, "28.9 [24.4, 33.5]"
    with terminal(monkeypatch, 50) as screen:
        ui.table("", ("place", "crop", "distance", "p"), [("1", long, numbers, "0.001")], left=2)
    lines = screen.getvalue().splitlines()
    assert all(len(line) <= 50 for line in lines) and "…" not in screen.getvalue()
    assert "".join(c for line in lines[1:] for c in line if c in "abcdefghij") == long
    assert all(number in screen.getvalue() for number in (*numbers.split(), "0.001"))


def test_a_character_that_the_encoding_lacks_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = io.BytesIO()
    monkeypatch.setattr(
        sys, "stdout", io.TextIOWrapper(kept, encoding="ascii", errors="strict", write_through=True)
    )
    ui.forgiving()
    ui.show("24.1 ± 0.3 王")
    ui.table("", ("crop",), [("→ café",)])
    assert kept.getvalue().decode("ascii").split("\n")[0] == "24.1 \\xb1 0.3 \\u738b"
    assert "caf\\xe9" in kept.getvalue().decode("ascii")


def test_what_names_may_stand_in_is_printed_here_alone() -> None:
    """Others print what holds no name: JSON, which spells everything out, and our own recipes."""
    package = Path(ui.__file__).parent
    printing = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    }
    assert printing <= {"ui.py", "cli/papers.py", "cli/__init__.py"}
