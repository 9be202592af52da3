"""A bulk job on Ray: a pool of actors with a model each, which take a shard at a time."""

import contextlib
import logging
import os
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from math import ceil
from pathlib import Path
from typing import Any

from partreid.bulk.shards import Head
from partreid.bulk.worker import Done, Job, Step, Worker, begun
from partreid.data.folders import needed
from partreid.errors import DataError
from partreid.utils.text import reason

REACHED = 10.0  # seconds in which a Ray cluster must answer


def embed_on_ray(
    job: Job,
    shards: Sequence[Path],
    address: str | None = None,
    actors: int | None = None,
    step: Step | None = None,
) -> list[Done]:
    """The same on Ray: a pool of actors with a model each, which take a shard at a time.

    Shards, run and output must have the same paths on every machine, which has partreid installed.

    Args:
        job: Model, output and how.
        shards: See :func:`partreid.bulk.shards.shards_of`.
        address: Of the cluster; None: Ray is started on this machine.
        actors: How many; None: one for each GPU, or for each CPU if there is none.
        step: Called with crops done and crops in all, after each shard.

    Returns:
        What became of each shard, by name.

    Raises:
        DataError: As of :func:`embed_shards`; Ray is not installed, does not start, or has not the
            processors for so many actors.
    """
    needed("ray", "ray", "--engine ray")
    there = replace(job, run=job.run.absolute(), out=job.out.absolute())
    # Here on a CPU, as this machine need not have the GPUs; refused before any actor starts.
    _, done, open_ = begun(replace(there, device="cpu"), [shard.absolute() for shard in shards])
    if open_:
        with _ray(address, actors) as ray:
            for finished in _mapped(ray, there, open_, actors, step):
                done.append(finished)
    return sorted(done, key=lambda shard: shard.name)


@contextlib.contextmanager
def _ray(address: str | None, actors: int | None) -> Iterator[Any]:
    """Ray, connected or started, and left as it was."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    import ray

    mine = not ray.is_initialized()
    if mine:
        here: dict[str, Any] = {"include_dashboard": False}
        if actors is not None:
            here["num_cpus"] = max(actors, os.cpu_count() or 1)
        given = address or os.environ.get("RAY_ADDRESS")
        _require_reachable(given)
        try:
            ray.init(
                log_to_driver=False,
                logging_level="ERROR",
                **(here if given in (None, "local") else {"address": given}),
            )
        except Exception as error:  # of many kinds: ConnectionError, RuntimeError, Exception itself
            if given not in (None, "local"):
                raise DataError(
                    f"the Ray at {given} does not take this process in ({reason(error)}); check "
                    "that both are one version of Ray and Python, and set RAY_AUTH_MODE=token here "
                    "if it was started with a token, as Ray 2.60 does where it finds one"
                ) from None
            raise DataError(
                f"Ray does not start ({reason(error)}); check what else runs on this "
                "machine, or leave --engine ray away: torchrun shares the shards out, too"
            ) from None
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()


def _require_reachable(address: str | None) -> None:
    """DataError if nobody listens there: Ray itself goes on trying for many minutes."""
    match = re.fullmatch(r"(?:ray://)?(.+):(\d{1,5})", address or "")
    if match is None:  # "local", "auto"
        return
    try:
        socket.create_connection((match[1], int(match[2])), REACHED).close()
    except (OSError, OverflowError) as error:
        raise DataError(
            f"no Ray answers at {address} ({reason(error)}); check --address, and that ray start "
            "has run there"
        ) from None


def _mapped(
    ray: Any, job: Job, open_: Sequence[Head], actors: int | None, step: Step | None
) -> Iterator[Done]:
    """Shards as they are done. DataError of an actor ends it."""
    from ray import data

    has = ray.cluster_resources()
    cpus, gpus = int(has.get("CPU", 0)), int(has.get("GPU", 0)) if job.device != "cpu" else 0
    if job.device == "cuda" and not gpus:
        raise DataError("Ray knows of no GPU; leave --device away, or start Ray where there is one")
    count = min(actors or gpus or cpus, len(open_))
    if count > cpus:
        raise DataError(
            f"Ray has {cpus} CPUs, and {count} actors need one each; give fewer --actors"
        )
    data.DataContext.get_current().enable_progress_bars = False  # there is ours
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = data.from_items(
        [{"shard": i} for i in range(len(open_))], override_num_blocks=len(open_)
    ).map(
        _Actor,
        fn_constructor_args=(job, list(open_)),
        compute=data.ActorPoolStrategy(size=count),
        num_cpus=1,
        num_gpus=1 / ceil(count / gpus) if gpus else 0,  # whole actors share a GPU
    )
    crops, total = 0, sum(head.rows for head in open_)
    for row in rows.iter_rows():
        if row["refused"]:
            raise DataError(row["refused"])
        crops += row["rows"]
        if step is not None:
            step(crops, total, "crops")
        yield Done(row["name"], row["crops"], row["bad"], row["skipped"], row["error"])


class _Actor:
    """A worker that Ray hands shards."""

    def __init__(self, job: Job, open_: Sequence[Head]) -> None:
        self.worker, self.open = Worker(job), open_

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        head = self.open[row["shard"]]
        done, refused = Done(head.file.name), ""
        try:
            done = self.worker(head)
        except DataError as error:  # Ray would wrap it in a traceback
            refused = str(error)
        return {**asdict(done), "rows": head.rows, "refused": refused}
