"""A run that is interrupted anywhere and taken up again is the run that was never interrupted,
bit for bit.
"""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from partreid.cli.base import app
from partreid.errors import DataError, RecipeError
from partreid.recipes import Recipe
from partreid.train.checkpoint import load_tensors
from partreid.train.journal import read
from partreid.train.loop import Options, train
from partreid.types import Benchmark

Toy = Callable[..., Recipe]


def curve(folder: Path) -> list[dict[str, Any]]:
    """The journal's training steps without what a clock says."""
    return [
        {k: v for k, v in e.items() if k != "seconds"}
        for e in read(folder / "journal.jsonl")
        if "loss" in e
    ]


def assert_same_run(one: Path, other: Path) -> None:
    a, b = (load_tensors(folder / "model.safetensors")[0] for folder in (one, other))
    assert set(a) == set(b)
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert curve(one) == curve(other)
    assert [e["step"] for e in curve(one)] == list(range(1, len(curve(one)) + 1))


@pytest.mark.slow  # a process of its own, which imports torch
def test_sigkill_at_a_random_step(
    world: Path,
    benchmark: Benchmark,
    toy: Toy,
    toy_options: tuple[str, ...],
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    kill_after = random.Random(20).randint(3, 14)  # of some 33 steps
    longer = ("--set", "stages.epochs=6")
    command = [
        "train",
        "synthetic/tiny/bpbreid",
        "--data",
        str(world),
        "--out",
        str(tmp_path / "killed"),
        "--save-every",
        "4",
        *toy_options,
        *longer,
    ]
    journal = tmp_path / "killed" / "journal.jsonl"
    start = [sys.executable, "-m", "partreid", *command]
    with subprocess.Popen(start, env=environment, stderr=subprocess.PIPE, text=True) as child:
        while not (journal.is_file() and len(journal.read_bytes().splitlines()) >= kill_after):
            assert child.poll() is None, child.stderr.read() if child.stderr else ""
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    assert kill_after <= len(curve(tmp_path / "killed")) < 30

    app([*command, "--resume"], result_action="return_value")
    train(toy("bpbreid", "stages.epochs=6"), benchmark, tmp_path / "whole")
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize(
    ("method", "changes", "stop", "workers"),
    [
        ("bpbreid", (), 3, 0),  # in the middle of the first epoch
        ("bpbreid", (), 8, 1),  # in the middle of the second, images loaded by another process
        ("bpbreid", ("stages.accumulate=2",), 4, 0),
        ("bpbreid", ("stages.optimizer=sgd",), 2, 0),
        ("bot", ("stages.weights.center=1.0",), 4, 0),  # two optimizers
        ("pcb", (), 6, 0),  # where an epoch ends
    ],
)  # fmt: skip
def test_stopped_and_resumed(
    method: str,
    changes: tuple[str, ...],
    stop: int,
    workers: int,
    benchmark: Benchmark,
    toy: Toy,
    tmp_path: Path,
) -> None:
    recipe = toy(method, *changes)
    train(recipe, benchmark, tmp_path / "whole")
    left = train(recipe, benchmark, tmp_path / "parts", Options(stop_after=stop, workers=workers))
    assert load_tensors(left)[1]["place"]["step"] == stop == len(curve(tmp_path / "parts"))
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    train(recipe, benchmark, tmp_path / "parts", Options(resume=True, workers=workers))
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_checkpoints_come_within_an_epoch(benchmark: Benchmark, toy: Toy, tmp_path: Path) -> None:
    seen: list[dict[str, int]] = []

    def look(entry: object, done: int, total: int) -> None:
        if (tmp_path / "run" / "checkpoint.safetensors").is_file():
            seen.append(load_tensors(tmp_path / "run" / "checkpoint.safetensors")[1]["place"])

    train(toy("bot"), benchmark, tmp_path / "run", Options(save_every=2, progress=look))
    # progress comes before the step's own checkpoint: at step 3 the one of step 2 is there
    # so that a kill before the first can go on
    assert seen[0] == {"stage": 0, "epoch": 0, "within": 0, "step": 0}
    assert seen[2] == {"stage": 0, "epoch": 0, "within": 2, "step": 2}
    assert {place["step"] for place in seen} >= {2, 4}


def test_a_step_that_still_accumulates_is_not_saved(
    benchmark: Benchmark, toy: Toy, tmp_path: Path
) -> None:
    """A checkpoint holds no gradients, so it may only be written where none are pending."""
    left = train(
        toy("bot", "stages.accumulate=2"), benchmark, tmp_path, Options(save_every=1, stop_after=3)
    )
    assert load_tensors(left)[1]["place"]["step"] == 2
    assert len(curve(tmp_path)) == 3
    train(toy("bot", "stages.accumulate=2"), benchmark, tmp_path, Options(resume=True))
    train(toy("bot", "stages.accumulate=2"), benchmark, tmp_path / "whole")
    assert_same_run(tmp_path, tmp_path / "whole")


def test_two_runs_of_one_seed_are_the_same_and_another_seed_is_not(
    benchmark: Benchmark, toy: Toy, tmp_path: Path
) -> None:
    for name, seed in (("one", 1), ("two", 1), ("other", 2)):
        torch.manual_seed(len(name))  # what came before must not matter
        train(toy("bpbreid", "stages.epochs=1", f"seed={seed}"), benchmark, tmp_path / name)
    assert_same_run(tmp_path / "one", tmp_path / "two")
    assert curve(tmp_path / "one") != curve(tmp_path / "other")


def test_a_finished_run_resumes_to_itself(benchmark: Benchmark, toy: Toy, tmp_path: Path) -> None:
    model = train(toy("bot"), benchmark, tmp_path)
    before = model.read_bytes()
    assert train(toy("bot"), benchmark, tmp_path, Options(resume=True)).read_bytes() == before
    events = [e for e in read(tmp_path / "journal.jsonl") if "event" in e]
    assert len(events) == 1


def test_stages_follow_one_another_across_a_stop(
    benchmark: Benchmark, toy: Toy, tmp_path: Path
) -> None:
    from dataclasses import replace

    first = toy("bpbreid", "stages.epochs=1").stages[0]
    second = replace(first, lr=1e-4, weights={**first.weights, "parsing": 0.0})
    recipe = replace(toy("bpbreid"), stages=(first, second))
    train(recipe, benchmark, tmp_path / "whole")
    steps = [e["stage"] for e in curve(tmp_path / "whole")]
    border = steps.index(1)
    for stop in (border, border + 2):
        folder = tmp_path / str(stop)
        train(recipe, benchmark, folder, Options(stop_after=stop))
        train(recipe, benchmark, folder, Options(resume=True))
        assert_same_run(folder, tmp_path / "whole")


def test_a_folder_is_not_overwritten_nor_resumed_with_other_settings(
    benchmark: Benchmark, toy: Toy, tmp_path: Path
) -> None:
    train(toy("bot"), benchmark, tmp_path, Options(stop_after=2))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(DataError, match="already holds a run of synthetic/tiny/bot.*--resume"):
        train(toy("bot"), benchmark, tmp_path)
    with pytest.raises(RecipeError, match="begun with another recipe.*--out"):
        train(toy("bot", "stages.lr=0.5"), benchmark, tmp_path, Options(resume=True))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
