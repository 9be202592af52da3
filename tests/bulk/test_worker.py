"""One shard in, one shard out: what is written, listed and refused."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet

import partreid
from partreid.bulk import worker
from partreid.bulk.job import Done, Job, embed_shards
from partreid.bulk.shards import shards_of
from partreid.data import foreign
from partreid.errors import DataError
from partreid.types import Benchmark
from partreid.utils.lock import alone_in
from tests.bulk.make import write_shards


@pytest.mark.usefixtures("near")
def test_embeddings_are_those_of_the_model(run: Path, benchmark: Benchmark, tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "in", benchmark, 2, 5)
    steps: list[tuple[object, ...]] = []
    job = Job(run, tmp_path / "out", "cpu", batch=2)
    done = embed_shards(job, shards_of(shards), lambda *progress: steps.append(progress))
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
    monkeypatch.setattr(worker, "LARGEST", 1e-6)
    with pytest.raises(DataError, match="float16 ends at"):
        embed_shards(Job(run, tmp_path / "out", "cpu"), shards)
    assert not (tmp_path / "out").exists()
