"""What the command line prints beside its results."""

import pytest

from partreid import ui


def test_of_several_processes_only_the_first_speaks(monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    for rank, heard in (("0", "here\n"), ("1", ""), (None, "here\n")):
        monkeypatch.delenv("LOCAL_RANK", raising=False)
        if rank is not None:
            monkeypatch.setenv("LOCAL_RANK", rank)
        ui.say("here")
        assert capsys.readouterr().err == heard


def test_progress_off_a_terminal_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(ui.time, "monotonic", lambda: float(next(clock)))
    with ui.training("training x") as step:
        for done in range(1, 13):
            step({"epoch": 0, "loss": 1.0}, done, 12)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 5 and all(line.startswith("  training x: ") and "epoch 1, loss 1.000" in line
                                        for line in lines)


def test_a_table_keeps_long_rows_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    ui.table("scores", ("name", "x"), [("a" * 100, "1.0"), ("b", "[2.0]")])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "scores"
    assert [line.split() for line in lines[2:4]] == [["a" * 100, "1.0"], ["b", "[2.0]"]]


def test_a_mistake_in_a_loader_process_is_still_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    relayed = ("Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
               '  File "x.py", line 1, in f\n    raise DataError(...)\n'
               "partreid.errors.DataError: a.jpg is broken; go\n")
    with pytest.raises(SystemExit) as end:
        ui.fail(relayed)
    assert end.value.code == 2 and capsys.readouterr().err == "partreid: a.jpg is broken; go\n"
