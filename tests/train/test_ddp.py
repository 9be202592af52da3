"""Two processes on one CPU (gloo): they train together, share no identity, and score like one."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from partreid.data.sampler import IdentitySampler
from partreid.evaluation import Options, evaluate_runs
from partreid.report.rows import row_to_json, rows
from partreid.train.checkpoint import load_tensors
from partreid.train.journal import read
from partreid.types import Benchmark

pytestmark = pytest.mark.slow  # every test starts two processes

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_two_processes_train(together: Path, trained: Callable[[str], Path]) -> None:
    entries = [e for e in read(together / "journal.jsonl") if "loss" in e]
    alone = [e for e in read(trained("isp") / "journal.jsonl") if "loss" in e]
    # as many steps, each line written once
    assert [e["step"] for e in entries] == [e["step"] for e in alone]
    assert entries[-1]["parsing"] < entries[0]["parsing"]
    tensors, meta = load_tensors(together / "model.safetensors")
    assert meta["steps"] == len(entries) and all(t.isfinite().all() for t in tensors.values())
    # no wrapper in the names
    assert set(tensors) == set(load_tensors(trained("isp") / "model.safetensors")[0])


def test_evaluates_to_the_numbers_of_one_process(
    world: Path, trained: Callable[[str], Path], partreid: Run, tmp_path: Path
) -> None:
    alone = evaluate_runs([trained("bpbreid")], world, options=Options(device="cpu"))
    one = [row_to_json(row) for row in rows(alone)]
    done = partreid(
        "eval",
        trained("bpbreid"),
        "--data",
        world,
        "--devices",
        "2",
        "--json",
        tmp_path / "two.json",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Pairs and open set") == 1  # one process speaks
    two = json.loads((tmp_path / "two.json").read_text())["results"]
    assert (
        [row["queries"] for row in two]
        == [row["queries"] for row in one]
        == ["holistic", "occluded"]
    )
    for a, b in zip(one, two):
        assert a["queries_scored"] == b["queries_scored"] == 16
        for number in ("rank1", "rank5", "mAP", "mINP"):
            assert a[number] == pytest.approx(b[number], abs=1e-6)


def test_a_mistake_that_one_process_meets_ends_both_in_words(
    own_world: Path, partreid: Run, toy_options: tuple[str, ...], tmp_path: Path
) -> None:
    image = sorted((own_world / "bounding_box_train").iterdir())[4]
    image.write_text("no picture")
    done = partreid(
        "train",
        "synthetic/tiny/bot",
        "--data",
        own_world,
        "--out",
        tmp_path / "run",
        "--devices",
        "2",
        *toy_options,
    )
    messages = [line for line in done.stderr.splitlines() if line.startswith("partreid: ")]
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert any(image.name in line and "cannot be read as an image" in line for line in messages)
    assert all(image.name in line or "another process of this run did" in line for line in messages)


def test_the_sampler_of_this_run_shared_no_identity(benchmark: Benchmark) -> None:
    identities = [s.identity for s in benchmark.train]
    ranks = [IdentitySampler(identities, 4, 2, seed=1, rank=r, world=2) for r in (0, 1)]
    steps = list(zip(*ranks, strict=True))
    assert len(steps) >= 5
    for mine, other in steps:
        a, b = ({identities[i] for i, _, _ in step} for step in (mine, other))
        assert len(a) == len(b) == 2 and not a & b
