"""Shards in, shards out: killed, damaged, shared out, and by Ray."""

import importlib.util
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet

import partreid
from partreid.bulk import job as bulk
from partreid.bulk.job import Done, Job, embed_shards
from partreid.bulk.shards import shards_of
from partreid.cli import app
from partreid.data import foreign
from partreid.errors import DataError
from partreid.types import Benchmark
from partreid.utils.lock import alone_in
from tests.bulk.make import same, write_shards
from tests.conftest import quiet_environment

KILLS = 20 if os.environ.get("PARTREID_ATTACK") else 3


@pytest.fixture()
def run(trained: Callable[[str], Path]) -> Path:
    return trained("bpbreid")


@pytest.mark.usefixtures("near")
def test_embeddings_are_those_of_the_model(run: Path, benchmark: Benchmark, tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "in", benchmark, 2, 5)
    steps: list[tuple[object, ...]] = []
    job = Job(run, tmp_path / "out", "cpu", batch=2)
    done = embed_shards(job, shards_of(shards), lambda *told: steps.append(told))
    assert done == [Done("000.parquet", 5), Done("001.parquet", 5)]
    assert steps[-1] == (10, 10, "crops, shard 2 of 2")
    table = parquet.read_table(tmp_path / "out" / "001.parquet")
    assert table["id"].to_pylist() == [5, 6, 7, 8, 9]
    assert table["camera"].to_pylist() == [1] * 5 and table["time"].to_pylist() == [0.5] * 5
    assert table.schema.field("vectors").type.value_type == pyarrow.float16()
    e = partreid.load(run, "cpu").embed([sample.path for sample in benchmark.gallery[:5]])
    vectors = np.array(table["vectors"].to_pylist(), np.float32)
    assert np.allclose(vectors, e.vectors.flatten(1).numpy(), rtol=2e-3, atol=2e-3)
    visibility = np.array(table["visibility"].to_pylist(), np.float32)
    assert torch.allclose(torch.from_numpy(visibility), e.visibility, atol=1e-5)
    written = (tmp_path / "out" / "001.parquet").read_bytes()
    again = embed_shards(job, shards_of(shards))
    assert again == [Done("000.parquet", 5, skipped=True), Done("001.parquet", 5, skipped=True)]
    assert (tmp_path / "out" / "001.parquet").read_bytes() == written


@pytest.mark.usefixtures("near")
def test_paths_are_seen_from_the_shard(run: Path, benchmark: Benchmark, tmp_path: Path) -> None:
    shutil.copy(benchmark.gallery[0].path, tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    paths = ["a.jpg", "none.jpg", None, "pipe.jpg", str(tmp_path / "a.jpg")]
    table = pyarrow.table({"id": list("abcde"), "path": paths})
    parquet.write_table(table, tmp_path / "s.parquet")
    done = embed_shards(Job(run, tmp_path / "out", "cpu"), [tmp_path / "s.parquet"])
    assert done == [Done("s.parquet", 2, bad=3)]
    listed = parquet.read_table(tmp_path / "out" / "bad" / "s.parquet").to_pylist()
    assert [row["id"] for row in listed] == ["b", "c", "d"]
    for row, words in zip(listed, ("there is no crop", "has no picture", "a named pipe")):
        assert words in row["reason"]
    kept = parquet.read_table(tmp_path / "out" / "s.parquet")
    assert kept["path"].to_pylist() == ["a.jpg", str(tmp_path / "a.jpg")]
    assert kept["vectors"][0] == kept["vectors"][1]


@pytest.mark.usefixtures("near")
def test_bad_images_are_listed_or_end_the_job(
    run: Path, benchmark: Benchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = write_shards(tmp_path / "in", benchmark, 2, 8, bad=4)
    words = ["embed", str(run), str(shards), "--device", "cpu", "--out", str(tmp_path / "out")]
    for skipped in ("", ", 2 of them finished before"):  # the status stays what it is
        with pytest.raises(SystemExit) as ended:
            app(words, exit_on_error=False, print_error=False)
        told = f"12 crops in 2 shards{skipped}; 4 images cannot be read, listed in the folder bad"
        assert ended.value.code == bulk.SOME_BAD and told in capsys.readouterr().err
    for number, ids in enumerate(([0, 4], [8, 12])):
        listed = parquet.read_table(tmp_path / "out" / "bad" / f"{number:03}.parquet")
        assert listed["id"].to_pylist() == ids
    with pytest.raises(DataError, match=r"000\.parquet, id 0: the picture"):
        embed_shards(Job(run, tmp_path / "strict", "cpu", strict=True), shards_of(shards))
    assert not [p for p in (tmp_path / "strict").rglob("*") if p.is_file()]


def test_a_picture_too_large_is_listed_and_what_surrounds_it_is_not(
    run: Path, benchmark: Benchmark, tmp_path: Path
) -> None:
    whole = Path(benchmark.gallery[0].path).read_bytes()
    images = [whole, whole + b"\0" * (foreign.PIECE + 1), whole]
    table = pyarrow.table({"id": [1, 2, 3], "image": images})
    parquet.write_table(table, tmp_path / "s.parquet")
    done = embed_shards(Job(run, tmp_path / "out", "cpu"), [tmp_path / "s.parquet"])
    assert done == [Done("s.parquet", 2, bad=1)]
    (row,) = parquet.read_table(tmp_path / "out" / "bad" / "s.parquet").to_pylist()
    assert row["id"] == 2 and "a crop has at most 8 MiB" in row["reason"]


@pytest.mark.usefixtures("near")
def test_bad_tables_are_told_before_the_work(
    run: Path, benchmark: Benchmark, tmp_path: Path
) -> None:
    job, good, file = (
        Job(run, tmp_path / "out", "cpu"),
        tmp_path / "a.parquet",
        tmp_path / "s.parquet",
    )
    shutil.move(write_shards(tmp_path / "in", benchmark, 1, 1) / "000.parquet", good)
    for table, words in (
        ({"id": [1]}, "s.parquet must have the columns id and either path or image"),
        ({"id": [1], "path": ["a"], "image": [b"a"]}, "must have the columns id and either"),
        ({"id": [1], "path": [b"a"]}, "path must be texts, and is bytes"),
        ({"id": [0.5], "path": ["a"]}, "id must be whole numbers or texts, and is numbers"),
        ({"id": [1], "path": ["a"], "camera": [[1]]}, "camera must be .* and is list<"),
    ):
        parquet.write_table(pyarrow.table(table), file)
        with pytest.raises(DataError, match=words):
            embed_shards(job, [good, file])
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(DataError, match=r"s\.parquet cannot be read"):
        embed_shards(job, [good, file])
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="would be replaced by its embeddings"):
        embed_shards(Job(run, tmp_path, "cpu"), [good])


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
    told = capsys.readouterr().err
    assert ended.value.code == 2 and "4 crops in 1 shards" in told
    assert "no embeddings of 000.parquet" in told and "rows without an id" in told
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["002.parquet"]
    with pytest.raises(DataError, match=r"000\.parquet cannot be read"):
        embed_shards(Job(run, tmp_path / "strict", "cpu", strict=True), shards_of(shards))


@pytest.mark.usefixtures("near")
def test_finished_shards_of_others_are_refused(
    run: Path, trained: Callable[[str], Path], benchmark: Benchmark, tmp_path: Path
) -> None:
    shards, out = write_shards(tmp_path / "in", benchmark, 1, 2), tmp_path / "out"
    embed_shards(Job(run, out, "cpu"), shards_of(shards))
    with pytest.raises(DataError, match=r"000\.parquet is of another model \(.*bpbreid.*bot"):
        embed_shards(Job(trained("bot"), out, "cpu"), shards_of(shards))
    shutil.rmtree(shards)
    write_shards(shards, benchmark, 1, 3)
    with pytest.raises(DataError, match=r"000\.parquet was made from another shard of this name"):
        embed_shards(Job(run, out, "cpu"), shards_of(shards))
    shutil.copy(shards / "000.parquet", out)
    with pytest.raises(DataError, match="holds no embeddings and is in the way"):
        embed_shards(Job(run, out, "cpu"), shards_of(shards))
    (out / "000.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"out/000\.parquet cannot be read"):
        embed_shards(Job(run, out, "cpu"), shards_of(shards))


def test_a_shard_that_another_process_is_at_is_refused(
    run: Path, benchmark: Benchmark, tmp_path: Path
) -> None:
    shards = shards_of(write_shards(tmp_path / "in", benchmark, 1, 2))
    busy = pytest.raises(DataError, match=r"out/000\.parquet is in use by")
    with alone_in(tmp_path / "out", "000.parquet"), busy:
        embed_shards(Job(run, tmp_path / "out", "cpu"), shards)


@pytest.mark.usefixtures("near")
def test_numbers_that_float16_cannot_hold_are_refused(
    run: Path, benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = shards_of(write_shards(tmp_path / "in", benchmark, 1, 2))
    monkeypatch.setattr(bulk, "LARGEST", 1e-6)
    with pytest.raises(DataError, match="float16 ends at"):
        embed_shards(Job(run, tmp_path / "out", "cpu"), shards)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("near")
def test_processes_share_the_shards_out(
    run: Path, benchmark: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = shards_of(write_shards(tmp_path / "in", benchmark, 3, 2))
    embed_shards(Job(run, tmp_path / "one", "cpu"), shards)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, own in (("0", 2), ("1", 1)):
        monkeypatch.setenv("RANK", rank)
        assert len(embed_shards(Job(run, tmp_path / "two", "cpu"), shards)) == own
    assert same(tmp_path / "one", tmp_path / "two")


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
    assert "402 crops in 2 shards; 2 images cannot be read" in ended.stderr
    embed_shards(Job(run, tmp_path / "one", "cpu"), shards_of(shards))
    assert same(tmp_path / "one", tmp_path / "two")


def test_killed_at_random_moments_it_ends_as_undisturbed(
    run: Path, benchmark: Benchmark, tmp_path: Path
) -> None:
    shards = shards_of(write_shards(tmp_path / "in", benchmark, 2 * KILLS, 10, bad=5))
    began = time.monotonic()
    embed_shards(Job(run, tmp_path / "one", "cpu", batch=4), shards)
    whole = time.monotonic() - began
    job = Job(run, tmp_path / "two", "cpu", batch=4)
    kills, draw, times = 0, random.Random(0), dict[str, int]()
    while len(times) < len(shards):
        process = multiprocessing.get_context("fork").Process(
            target=embed_shards, args=(job, shards)
        )
        process.start()
        process.join(draw.uniform(0, 2 * whole / KILLS) if kills < KILLS else 240)
        kills += process.is_alive()
        process.kill()
        process.join()
        for path in (tmp_path / "two").glob("*.parquet"):  # whole, and not written again
            assert len(parquet.read_table(path)) == 8
            written = path.stat().st_mtime_ns
            assert times.setdefault(path.name, written) == written
    assert kills and same(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_ray_does_the_same(run: Path, benchmark: Benchmark, tmp_path: Path) -> None:
    """A damaged shard is told at the end, one of another model at once; what was finished stays."""
    shards = shards_of(write_shards(tmp_path / "in", benchmark, 5, 4, bad=4))
    data = shards[4].read_bytes()
    shards[4].write_bytes(data[:4] + b"\xff" * 400 + data[404:])
    steps: list[tuple[object, ...]] = []
    one = embed_shards(Job(run, tmp_path / "one", "cpu"), shards)
    job = Job(run, tmp_path / "two", "cpu")
    two = bulk.embed_on_ray(job, shards, actors=2, step=lambda *told: steps.append(told))
    assert one == two and one[4].error and same(tmp_path / "one", tmp_path / "two")
    assert steps[-1] == (20, 20, "crops")
    import ray

    assert not ray.is_initialized()
    again = bulk.embed_on_ray(job, shards[:4], actors=2)  # nothing to do: Ray is not started
    assert all(shard.skipped for shard in again)
    with pytest.raises(DataError, match=r"000\.parquet, id 0: the picture cannot be read"):
        bulk.embed_on_ray(replace(job, out=tmp_path / "three", strict=True), shards[:2], actors=2)
    with pytest.raises(DataError, match=r"no Ray answers at 127\.0\.0\.1:9 \(Connection refused"):
        bulk.embed_on_ray(replace(job, out=tmp_path / "four"), shards, address="127.0.0.1:9")
