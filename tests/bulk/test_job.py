"""Shards in, shards out: killed, damaged, and shared out."""

import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from partreid.bulk import job as bulk
from partreid.bulk.job import Job, embed_shards
from partreid.bulk.shards import shards_of
from partreid.cli import app
from partreid.errors import DataError
from partreid.types import Benchmark
from tests.bulk.make import same, write_shards
from tests.conftest import quiet_environment

KILLS = 20 if os.environ.get("PARTREID_ATTACK") else 3


@pytest.mark.usefixtures("near")
def test_bad_images_are_listed_or_end_the_job(
    run: Path, benchmark: Benchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = write_shards(tmp_path / "in", benchmark, 2, 8, bad=4)
    words = ["embed", str(run), str(shards), "--device", "cpu", "--out", str(tmp_path / "out")]
    for skipped in ("", ", 2 of them finished before"):  # the status stays what it is
        with pytest.raises(SystemExit) as ended:
            app(words, exit_on_error=False, print_error=False)
        message = (
            f"12 crops in 2 shards{skipped}; 4 images cannot be read, listed in the folder bad"
        )
        assert ended.value.code == bulk.SOME_BAD and message in capsys.readouterr().err
    for number, ids in enumerate(([0, 4], [8, 12])):
        listed = parquet.read_table(tmp_path / "out" / "bad" / f"{number:03}.parquet")
        assert listed["id"].to_pylist() == ids
    with pytest.raises(DataError, match=r"000\.parquet, id 0: the picture"):
        embed_shards(Job(run, tmp_path / "strict", "cpu", strict=True), shards_of(shards))
    assert not [p for p in (tmp_path / "strict").rglob("*") if p.is_file()]


def test_a_damaged_shard_leaves_the_others_alone(
    run: Path, benchmark: Benchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its end is good, its pages are not; or a row has no id."""
    shards = write_shards(tmp_path / "in", benchmark, 3, 4)
    data = (shards / "000.parquet").read_bytes()
    (shards / "000.parquet").write_bytes(data[:4] + b"\xff" * 400 + data[404:])
    table = pyarrow.table({"id": pyarrow.array([1, None], "int64"), "path": ["a", "b"]})
    parquet.write_table(table, shards / "001.parquet")
    words = ["embed", str(run), str(shards), "--device", "cpu", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        app(words, exit_on_error=False, print_error=False)
    output = capsys.readouterr().err
    assert ended.value.code == 2 and "4 crops in 1 shards" in output
    assert "no embeddings of 000.parquet" in output and "rows without an id" in output
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["002.parquet"]
    with pytest.raises(DataError, match=r"000\.parquet cannot be read"):
        embed_shards(Job(run, tmp_path / "strict", "cpu", strict=True), shards_of(shards))


@pytest.mark.usefixtures("near")
def test_processes_share_the_shards_out(
    run: Path, benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = shards_of(write_shards(tmp_path / "in", benchmark, 3, 2))
    embed_shards(Job(run, tmp_path / "one", "cpu"), shards)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, count in (("0", 2), ("1", 1)):
        monkeypatch.setenv("RANK", rank)
        assert len(embed_shards(Job(run, tmp_path / "two", "cpu"), shards)) == count
    assert same(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize("rank", ["0", "1"])
def test_of_processes_started_together_the_first_alone_speaks(
    rank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bulk.speaks() and not bulk.under_torchrun()
    monkeypatch.setenv("RANK", rank)  # shared out by hand: each for itself
    assert bulk.speaks()
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert bulk.speaks() == (rank == "0")


@pytest.mark.usefixtures("near")
def test_an_interrupted_job_leaves_whole_shards_alone(
    run: Path, benchmark: Benchmark, tmp_path: Path
) -> None:
    shards = shards_of(write_shards(tmp_path / "in", benchmark, 3, 6, bad=3))
    embed_shards(Job(run, tmp_path / "one", "cpu", batch=2), shards)

    def interrupt(done: int, total: int, note: str) -> None:
        if done > 8:  # in the middle of the second shard
            raise KeyboardInterrupt

    job = Job(run, tmp_path / "two", "cpu", batch=2)
    with pytest.raises(KeyboardInterrupt):
        embed_shards(job, shards, interrupt)
    left = [p.relative_to(tmp_path / "two").as_posix() for p in (tmp_path / "two").rglob("*")]
    assert sorted(left) == ["000.parquet", "bad", "bad/000.parquet"]
    assert [shard.skipped for shard in embed_shards(job, shards)] == [True, False, False]
    assert same(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_torchrun_does_the_same_and_waits_for_all(
    run: Path, benchmark: Benchmark, tmp_path: Path
) -> None:
    """The first process is done long before the second, and has bad images to tell of."""
    shards = write_shards(tmp_path / "in", benchmark, 2, 4, bad=2)
    more = write_shards(tmp_path / "more", benchmark, 1, 400)
    shutil.move(more / "000.parquet", shards / "001.parquet")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command = ["-m", "partreid", "embed", run, shards, "--device", "cpu", "--out"]
    ended = subprocess.run(
        [*torchrun, "--standalone", *command, tmp_path / "two"],
        capture_output=True,
        text=True,
        env=quiet_environment(),
        timeout=240,
    )
    assert ended.returncode == 1  # torchrun's own, for any that is not 0
    # told once, by the first process, whatever torchrun writes after it
    assert ended.stderr.count("402 crops in 2 shards; 2 images cannot be read") == 1
    assert "exit status 3, which torchrun turns into a 1 of its own" in ended.stderr
    embed_shards(Job(run, tmp_path / "one", "cpu"), shards_of(shards))
    assert same(tmp_path / "one", tmp_path / "two")


def test_killed_at_random_moments_it_ends_as_undisturbed(
    run: Path, benchmark: Benchmark, tmp_path: Path
) -> None:
    shards = shards_of(write_shards(tmp_path / "in", benchmark, 2 * KILLS, 10, bad=5))
    began = time.monotonic()
    embed_shards(Job(run, tmp_path / "one", "cpu", batch=4), shards)
    whole = time.monotonic() - began
    kills, draw = 0, random.Random(0)
    while kills < KILLS:
        out = tmp_path / f"after-{kills}"
        job, times = Job(run, out, "cpu", batch=4), dict[str, int]()
        ended = False  # by itself: after the last shard there are lists to write
        while not ended:
            process = multiprocessing.get_context("fork").Process(
                target=embed_shards, args=(job, shards)
            )
            process.start()
            process.join(draw.uniform(0, 2 * whole / KILLS) if kills < KILLS else 240)
            kills += process.is_alive()
            process.kill()
            process.join()
            ended = process.exitcode == 0
            for path in out.glob("*.parquet"):  # whole, and not written again
                assert len(parquet.read_table(path)) == 8
                written = path.stat().st_mtime_ns
                assert times.setdefault(path.name, written) == written
        assert same(tmp_path / "one", out)
