"""The same by Ray."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from partreid.bulk import embed_on_ray, on_ray
from partreid.bulk.job import Job, embed_shards
from partreid.bulk.shards import shards_of
from partreid.errors import DataError
from partreid.types import Benchmark
from tests.bulk.make import same, write_shards


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
    two = embed_on_ray(job, shards, actors=2, step=lambda *progress: steps.append(progress))
    assert one == two and one[4].error and same(tmp_path / "one", tmp_path / "two")
    assert steps[-1] == (20, 20, "crops")
    import ray

    assert not ray.is_initialized()
    again = embed_on_ray(job, shards[:4], actors=2)  # nothing to do: Ray is not started
    assert all(shard.skipped for shard in again)
    with pytest.raises(DataError, match=r"000\.parquet, id 0: the picture cannot be read"):
        embed_on_ray(replace(job, out=tmp_path / "three", strict=True), shards[:2], actors=2)
    with pytest.raises(DataError, match=r"no Ray answers at 127\.0\.0\.1:9 \(Connection refused"):
        embed_on_ray(replace(job, out=tmp_path / "four"), shards, address="127.0.0.1:9")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("auto", r"the Ray at auto does not take this process in \(ConnectionError.*=token here"),
        (None, r"Ray does not start \(ConnectionError.* or leave --engine ray away"),
    ],
)
def test_a_ray_that_fails_is_one_sentence(
    address: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**given: Any) -> None:
        raise ConnectionError("Unauthenticated\n  at core_worker")

    stub = SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setitem(sys.modules, "ray", stub)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(DataError, match=message) as error, on_ray._ray(address, None):
        pass
    assert "\n" not in str(error.value)
