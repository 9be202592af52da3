"""Embedding shards: in one process, in those of ``torchrun``, or by Ray.

A shard is the unit of work. One worker embeds a shard; all three engines call it.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from partreid.bulk.on_ray import embed_on_ray as embed_on_ray
from partreid.bulk.worker import BAD, begun
from partreid.bulk.worker import Done as Done
from partreid.bulk.worker import Job as Job
from partreid.bulk.worker import Step as Step
from partreid.utils.arguments import door

SOME_BAD = 3  # exit status: all is done but for images that cannot be read
WAIT = timedelta(days=7)  # until the slowest process of torchrun has done its share


@door
def embed_shards(job: Job, shards: Sequence[Path], step: Step | None = None) -> list[Done]:
    """Embed shards one after the other; under ``torchrun`` each process takes its share, and all
    wait for the last.

    Args:
        job: Model, output and how.
        shards: See :func:`partreid.bulk.shards.shards_of`.
        step: Called with crops done, crops in all and a note, of this process alone.

    Returns:
        What became of each shard, by name; those of all processes.

    Raises:
        DataError: Before the work if a shard is no table of crops, or a finished one is of another
            model or source.

    Examples:
        >>> from partreid.bulk.shards import shards_of
        >>> job = Job(Path("runs/bpbreid"), Path("embedded-shards"), device="cpu")
        >>> done = embed_shards(job, shards_of(Path("shards")))
        >>> [shard.skipped for shard in done]  # finished before: nothing is done twice
        [True, True]
    """
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if torch.cuda.is_available() and world > 1:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    with _together(world) as gathered:
        worker, done, open_ = begun(job, list(shards[rank::world]))
        crops, total = 0, sum(head.rows for head in open_)
        for number, head in enumerate(open_, 1):
            note = f"crops, shard {number} of {len(open_)}"
            if world > 1:
                note += f", process {rank + 1} of {world}"

            def on(n: int, note: str = note) -> None:
                nonlocal crops
                crops += n
                if step is not None:
                    step(crops, total, note)

            done.append(worker(head, on))
        return sorted(gathered(done), key=lambda shard: shard.name)


@contextlib.contextmanager
def _together(world: int) -> Iterator[Callable[[list[Done]], list[Done]]]:
    """What gathers the shards of all processes that torchrun started. It waits for the slowest: an
    exit status other than 0 makes torchrun end the others.
    """
    if world == 1 or not _together_started():  # shared out by hand: each for itself
        yield lambda done: done
        return
    from torch import distributed

    distributed.init_process_group("gloo", timeout=WAIT)

    def gathered(done: list[Done]) -> list[Done]:
        every: list[Any] = [None] * world
        distributed.all_gather_object(every, done)
        return [shard for some in every for shard in some]

    try:
        yield gathered
    finally:
        distributed.destroy_process_group()


def _together_started() -> bool:
    return "MASTER_ADDR" in os.environ


def under_torchrun() -> bool:
    """Whether torchrun started this process, whose exit status nobody then sees."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def speaks() -> bool:
    """Whether this process tells of the shards and ends with their status: of processes that were
    started together the first alone. Any other that ended with a status would have torchrun stop
    the first, perhaps before it has spoken.
    """
    return not _together_started() or os.environ.get("RANK", "0") == "0"


def summary(done: Sequence[Done]) -> str:
    """One sentence of what was done."""
    whole = [shard for shard in done if not shard.error]
    bad, before = sum(shard.bad for shard in whole), sum(shard.skipped for shard in whole)
    return (
        f"{sum(shard.crops for shard in whole):,} crops in {len(whole):,} shards"
        + (f", {before:,} of them finished before" if before else "")
        + (f"; {bad:,} images cannot be read, listed in the folder {BAD}" if bad else "")
    )


def status(done: Sequence[Done]) -> int:
    """Exit status: 0, :data:`SOME_BAD` if images cannot be read, 2 if a shard cannot."""
    if any(shard.error for shard in done):
        return 2
    return SOME_BAD if any(shard.bad for shard in done) else 0
