"""A run folder keeps what is in it: no model, checkpoint or journal is replaced by a command
that was not meant so.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from partreid.errors import DataError, PartReidError
from partreid.recipes import Recipe
from partreid.train.loop import Options, train
from partreid.train.run import Run
from partreid.types import Benchmark
from partreid.utils.lock import alone_in

Toy = Callable[..., Recipe]
DATA = {"people": 1, "images": 1, "cameras": 1, "digest": "0"}


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("there", ["checkpoint.safetensors", "model.safetensors", "journal.jsonl"])
def test_a_folder_with_something_to_lose_is_refused(there: str, toy: Toy, tmp_path: Path) -> None:
    (tmp_path / there).write_text('{"step": 1, "loss": 1.0}\n')
    before = content(tmp_path)
    with pytest.raises(DataError, match="already holds|holds the journal of 1 step"):
        Run(tmp_path, toy("bot"), False, DATA)
    if there != "checkpoint.safetensors":
        with pytest.raises(
            DataError, match="no checkpoint in .* to go on from; leave out --resume"
        ):
            Run(tmp_path, toy("bot"), True, DATA)
    assert content(tmp_path) == before


def test_going_on_with_nothing_is_refused(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no checkpoint"):
        Run(tmp_path / "none", toy("bot"), True, DATA)
    assert not (tmp_path / "none").exists()


def test_a_finished_model_outlives_its_checkpoint(
    trained: Callable[[str], Path], benchmark: Benchmark, toy: Toy, tmp_path: Path
) -> None:
    for name in ("model.safetensors", "recipe.json", "journal.jsonl"):
        (tmp_path / name).write_bytes((trained("bpbreid") / name).read_bytes())
    before = content(tmp_path)
    for resume in (False, True):
        with pytest.raises(DataError):
            train(toy("bot"), benchmark, tmp_path, Options(resume=resume))
    assert content(tmp_path) == before


def test_a_train_that_fails_before_its_first_step_leaves_the_folder_as_it_was(
    benchmark: Benchmark, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from partreid.methods.bot.model import BoT

    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "recipe.json").write_text("mine")

    def broken(*_: object) -> None:
        raise DataError("no")

    monkeypatch.setattr(BoT, "losses", broken)
    for folder in (tmp_path / "old", tmp_path / "new"):
        with pytest.raises(DataError, match="no"):
            train(toy("bot"), benchmark, folder)
    assert content(tmp_path) == {"old/recipe.json": b"mine"} and not (tmp_path / "new").exists()


def test_a_run_that_is_stopped_before_its_first_save_goes_on(
    benchmark: Benchmark, toy: Toy, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def kill(entry: object, done: int, total: int) -> None:
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        train(toy("bot", "stages.epochs=1"), benchmark, tmp_path / "run", Options(progress=kill))
    model = train(toy("bot", "stages.epochs=1"), benchmark, tmp_path / "run", Options(resume=True))
    whole = train(toy("bot", "stages.epochs=1"), benchmark, tmp_path / "whole")
    assert model.read_bytes() == whole.read_bytes()


HOLD = (
    "import sys, time; from pathlib import Path; from partreid.utils.lock import alone_in\n"
    "with alone_in(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
)


def test_two_processes_do_not_write_one_folder_and_a_killed_one_holds_nothing(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        with (
            pytest.raises(DataError, match=f"in use by process {child.pid} on .*--out"),
            alone_in(tmp_path),
        ):
            pass
        child.kill()
    with (
        alone_in(tmp_path),
        pytest.raises(DataError, match="in use by this very process"),
        alone_in(tmp_path),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_training_holds_its_folder(benchmark: Benchmark, toy: Toy, tmp_path: Path) -> None:
    met = []

    def other(entry: object, done: int, total: int) -> None:
        with pytest.raises(DataError, match="in use by"):
            train(toy("bot"), benchmark, tmp_path / "run", Options(resume=True))
        met.append(done)

    train(
        toy("bot", "stages.epochs=1"),
        benchmark,
        tmp_path / "run",
        Options(progress=other, stop_after=1),
    )
    assert met == [1]


def test_every_command_that_fills_a_folder_waits_for_none(
    trained: Callable[[str], Path], benchmark: Benchmark, tmp_path: Path
) -> None:
    from partreid.convert import convert
    from partreid.data.synthetic import PRESETS, write
    from partreid.inference import load, save_embeddings

    model, crops = load(trained("bpbreid")), [benchmark.query[0].path]
    (tmp_path / "index.json").write_text("mine")
    with pytest.raises(DataError, match="belongs to no embeddings"):
        save_embeddings(model, crops, tmp_path)
    (tmp_path / "index.json").unlink()
    with alone_in(tmp_path):
        for fill in (
            lambda: save_embeddings(model, crops, tmp_path),
            lambda: convert(crops[0], tmp_path),
            lambda: write(PRESETS["tiny"], tmp_path, workers=1),
        ):
            with pytest.raises(DataError, match="in use by"):
                fill()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5])
def test_a_world_has_a_seed_that_every_generator_takes(seed: int) -> None:
    from partreid.data.synthetic import PRESETS

    with pytest.raises(DataError, match="seed of a world"):
        replace(PRESETS["tiny"], seed=seed)


@pytest.mark.parametrize(
    "change",
    [
        {"workers": -1},
        {"workers": 10**6},
        {"save_every": 0},
        {"devices": 0},
        {"devices": 2.0},
        {"stop_after": 0},
    ],
)
def test_numbers_of_a_run_are_checked(change: dict[str, int]) -> None:
    with pytest.raises(PartReidError, match="must be a whole number"):
        Options(**change)  # type: ignore[arg-type]
