"""Samples to batches: in training with identities, augmentation and cues; at test time images
alone.
"""

import errno
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from partreid.data.sampler import Draw, IdentitySampler
from partreid.data.transforms import Pixels, Transform, View, resize_nearest, to_batch
from partreid.errors import DataError, PartReidError
from partreid.types import Batch, Sample
from partreid.utils.arguments import door, require
from partreid.utils.images import read_resized


class CueSource(Protocol):
    """What the loader asks of a cue (see :class:`partreid.labels.Cue`)."""

    spatial: bool

    def __getitem__(self, index: int) -> NDArray[np.generic]: ...
    def mirror(self, item: NDArray[np.generic]) -> NDArray[np.generic]: ...


Row = tuple[Pixels, int, int, dict[str, NDArray[np.generic]]]


class TrainSet(Dataset[Row]):
    """Augmented crops with their cues. Every item is a pure function of its draw and the seed.

    ids: int per sample, 0..N-1. cues are indexed like the samples; spatial ones are brought to the
    image's grid.
    """

    @door
    def __init__(
        self,
        samples: Sequence[Sample],
        ids: Sequence[int],
        size: tuple[int, int],
        augment: Sequence[Transform],
        cues: Mapping[str, CueSource],
        seed: int,
    ) -> None:
        self.samples, self.ids, self.size = samples, ids, size
        self.augment, self.cues, self.seed = augment, cues, seed
        self.spatial = frozenset(name for name, cue in cues.items() if cue.spatial)
        self.several = len(set(ids)) > 1

    def __len__(self) -> int:
        return len(self.samples)

    # Dataset says int; our sampler draws (index, epoch, position)
    def __getitem__(self, draw: Draw) -> Row:  # type: ignore[override]
        index, epoch, position = draw
        sample = self.samples[index]
        view = self._read(index)
        if self.several:
            view = replace(view, another=partial(self._another, index))
        random = np.random.Generator(
            np.random.Philox(np.random.SeedSequence([self.seed, 23, epoch, position]))
        )
        for transform in self.augment:
            view = transform(view, random)
        return (
            view.image,
            self.ids[index],
            sample.camera,
            {n: finished(self.cues[n], c) for n, c in view.cues.items()},
        )

    def _read(self, index: int) -> View:
        items = {name: cue[index] for name, cue in self.cues.items()}
        return View(
            read_resized(self.samples[index].path, self.size),
            {
                name: resize_nearest(item, self.size) if name in self.spatial else item
                for name, item in items.items()
            },
            {n: c.mirror for n, c in self.cues.items()},
            self.spatial,
        )

    def _another(self, index: int, random: np.random.Generator) -> View:
        """Any image of any other identity, as it is."""
        while self.ids[other := int(random.integers(len(self.samples)))] == self.ids[index]:
            pass
        return self._read(other)


def finished(cue: CueSource, item: NDArray[np.generic]) -> NDArray[np.generic]:
    """What a batch carries of an item that has moved with its image: what the cue makes of it,
    if it makes anything.
    """
    # finish is optional, so the protocol of cues does not name it
    finish: Callable[[NDArray[np.generic]], NDArray[np.generic]] | None
    finish = getattr(cue, "finish", None)
    return item if finish is None else finish(item)


@door
def collate(rows: Sequence[Row]) -> Batch:
    """Rows of a step as one :class:`Batch`."""
    require(len(rows) > 0, "a batch", "at least one row", rows)
    images, ids, cameras, cues = zip(*rows, strict=True)
    return Batch(
        to_batch(images),
        torch.tensor(ids),
        torch.tensor(cameras),
        {name: torch.from_numpy(np.stack([c[name] for c in cues])) for name in cues[0]},
    )


def train_loader(dataset: TrainSet, sampler: IdentitySampler, workers: int = 0) -> DataLoader[Row]:
    """Batches in the sampler's order; the number of workers changes nothing but the speed."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=False,
        prefetch_factor=4 if workers else None,
    )


@contextmanager
def loading() -> Iterator[None]:
    """What goes wrong in the processes that load images, as one sentence with the remedy that
    helps.

    PyTorch tells of a process that died by an error wherever the main one happens to be, so this
    stands around all that goes on while they work.
    """
    try:
        yield
    except PartReidError as error:
        name = f"{type(error).__module__}.{type(error).__qualname__}: "
        if name not in str(error):
            raise
        # without the other process's traceback
        raise type(error)(str(error).rsplit(name, 1)[1].strip()) from None
    except (RuntimeError, OSError, EOFError) as error:
        remedy = _remedy(_original(error))
        if remedy is None:
            raise
        raise DataError(remedy) from None


def _original(error: RuntimeError | OSError | EOFError) -> RuntimeError | OSError | EOFError:
    """The error, or the better one that PyTorch is about to raise for the same death.

    The pipe of a killed process ends a moment before the signal of its death arrives, and
    PyTorch's handler of that signal raises wherever the main thread is: waited for here, else it
    would come out of the lines that answer the first error.
    """
    if isinstance(error, ConnectionError | EOFError):
        try:
            time.sleep(1.0)
        except RuntimeError as death:
            return death
    return error


def _remedy(error: RuntimeError | OSError | EOFError) -> str | None:
    text = str(error)
    on, number = getattr(error, "filename", None), getattr(error, "errno", None)
    full = "No space left on device" in text and (
        "torch_" in text
        or "shared memory" in text
        or (number == errno.ENOSPC and (on is None or str(on).startswith("/dev/shm")))
    )
    # Either PyTorch notices first, or the pipe through which the process handed something on.
    died = isinstance(error, ConnectionError | EOFError) or (
        "DataLoader worker" in text
        and ("killed by signal" in text or "exited unexpectedly" in text)
    )
    if full or (died and "Bus error" in text):
        return (
            "the shared memory (/dev/shm), through which the processes that load images hand them "
            "on, is full: give it more room (a container: --shm-size 8g), or fewer --workers; 0 "
            "needs none. Then go on with --resume"
        )
    if died:
        first = (text.splitlines() or ["its pipe ended"])[0].strip()
        return (
            f"a process that loads images was ended from outside ({first}), mostly because memory "
            "ran out: give fewer --workers (0: none), then go on with --resume"
        )
    if "Too many open files" in text or number == errno.EMFILE:
        return (
            "too many files are open at once: raise the limit (ulimit -n 65536) or give fewer "
            "--workers, then go on with --resume"
        )
    return None


@door
def prefetched(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The same batches in the same order, the next one prepared by a thread while one is trained
    on.
    """
    source = iter(batches)
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(next, source, None)
        while (batch := ahead.result()) is not None:
            ahead = pool.submit(next, source, None)
            yield batch


class TestSet(Dataset[Pixels]):
    """Crops as they are, resized."""

    __test__ = False  # not a test case

    def __init__(self, samples: Sequence[Sample], size: tuple[int, int]) -> None:
        self.samples, self.size = samples, size

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Pixels:
        return read_resized(self.samples[index].path, self.size)


@door
def image_batches(
    samples: Sequence[Sample], size: tuple[int, int], batch: int = 64, workers: int = 0
) -> Iterator[Tensor]:
    """Images float32 [<= batch, 3, H, W] in the order of the samples, a batch at a time."""
    with loading():
        yield from DataLoader(
            TestSet(samples, size), batch, num_workers=workers, collate_fn=to_batch
        )
