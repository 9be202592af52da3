"""Samples to batches: in the sampler's order, a function of the seed alone, whatever the number
of workers.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from partreid.data.loader import TrainSet, image_batches, loading, prefetched, train_loader
from partreid.data.sampler import IdentitySampler
from partreid.data.transforms import crop, erase, mirror, to_batch
from partreid.errors import DataError
from partreid.labels.base import PartLabels
from partreid.types import Batch, PartScheme, Sample
from partreid.utils.images import read_resized

SIZE = (16, 8)
SCHEME = PartScheme(("upper", "lower"))


@pytest.fixture()
def samples(tmp_path: Path) -> list[Sample]:
    """Six people, four crops each; the crop's grey says which it is, its lower half is a little
    brighter.
    """
    crops = []
    for i in range(24):
        pixels = np.full((32, 16, 3), 10 * i, np.uint8)
        pixels[16:] += 5
        Image.fromarray(pixels).save(tmp_path / f"{i:02d}.png")
        crops.append(Sample(tmp_path / f"{i:02d}.png", i // 4, 1 + i % 3))
    return crops


def batches(
    samples: list[Sample], workers: int = 0, seed: int = 1, epoch: int = 0, start: int = 0
) -> list[Batch]:
    ids = [s.identity for s in samples]
    # [8, 4]: brought to the image's grid
    labels = np.repeat(np.array([1, 2], np.uint8), 4)[:, None].repeat(4, 1)
    cues = {"parts": PartLabels(SCHEME, lambda index: labels)}
    dataset = TrainSet(samples, ids, SIZE, [crop(pad=2), mirror(), erase()], cues, seed)
    sampler = IdentitySampler(ids, 3, 2, seed)
    sampler.enter(epoch, start)
    return list(train_loader(dataset, sampler, workers))  # type: ignore[arg-type]


def equal(one: list[Batch], two: list[Batch]) -> bool:
    return len(one) == len(two) and all(
        torch.equal(a.images, b.images)
        and torch.equal(a.ids, b.ids)
        and torch.equal(a.cues["parts"], b.cues["parts"])
        for a, b in zip(one, two)
    )


def test_batches_hold_what_the_sampler_drew(samples: list[Sample]) -> None:
    ids = [s.identity for s in samples]
    sampler = IdentitySampler(ids, 3, 2, 1)
    for batch, draws in zip(batches(samples), sampler, strict=True):
        assert batch.images.shape == (6, 3, *SIZE) and batch.cues["parts"].shape == (6, *SIZE)
        assert batch.ids.tolist() == [ids[i] for i, _, _ in draws]
        assert batch.cameras.tolist() == [samples[i].camera for i, _, _ in draws]
        assert batch.ids.dtype == torch.int64 and batch.cues["parts"].dtype == torch.uint8


def test_workers_change_nothing(samples: list[Sample]) -> None:
    assert equal(batches(samples), batches(samples, workers=2))


def test_every_epoch_and_seed_augments_anew_and_any_step_can_be_entered(
    samples: list[Sample],
) -> None:
    whole = batches(samples)
    assert equal(whole, batches(samples))
    assert equal(whole[2:], batches(samples, start=2))
    assert not equal(whole, batches(samples, epoch=1)) and not equal(
        whole, batches(samples, seed=2)
    )


def test_labels_lie_where_their_pixels_are(samples: list[Sample]) -> None:
    """Whatever was done to the image: the brighter half of each crop is the lower part, erased
    pixels nobody's.
    """
    seen: set[int] = set()
    for batch in batches(samples):
        grey = batch.images[:, 0]
        for image, labels in zip(grey, batch.cues["parts"]):
            upper, lower = (image[labels == k] for k in (1, 2))
            if len(upper) and len(lower):
                assert upper.max() < lower.min()
            seen |= set(labels.unique().tolist())
    assert seen == {0, 1, 2}


def test_test_images_come_whole_in_order_with_a_short_last_batch(samples: list[Sample]) -> None:
    tensors = list(image_batches(samples, SIZE, batch=10))
    assert [len(b) for b in tensors] == [10, 10, 4]
    assert torch.equal(torch.cat(tensors), to_batch([read_resized(s.path, SIZE) for s in samples]))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_named(samples: list[Sample], workers: int) -> None:
    samples[5].path.write_text("no picture")
    with pytest.raises(DataError, match=r"05\.png cannot be read as an image"):
        list(image_batches(samples, SIZE, workers=workers))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
            r"ended from outside .*fewer --workers",
        ),
        (
            RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"),
            "ended from outside .*fewer --workers",
        ),
        (
            RuntimeError(
                "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that "
                "dataloader's workers are out of shared memory."
            ),
            "/dev/shm.*--shm-size",
        ),
        (
            RuntimeError("unable to write to file </torch_7_1>: No space left on device (28)"),
            "/dev/shm.*--workers",
        ),
        (OSError(28, "No space left on device"), "/dev/shm.*--workers"),
        (OSError(24, "Too many open files"), "ulimit -n"),
        (
            DataError(
                "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent "
                "call last):\n"
                "partreid.errors.DataError: x.jpg is broken"
            ),
            "^x.jpg is broken$",
        ),
    ],
)
def test_what_goes_wrong_in_a_loading_process_has_its_own_remedy(
    error: Exception, message: str
) -> None:
    with pytest.raises(DataError, match=message), loading():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        OSError(28, "No space left on device", "/data/x"),
        KeyError("x"),
    ],
)
def test_what_has_nothing_to_do_with_loading_stays_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as met, loading():
        raise error
    assert met.value is error


KILLED = """
import os, signal
from torch.utils.data import DataLoader, Dataset
from partreid.data.loader import loading
from partreid.errors import DataError

class Killing(Dataset):
    def __len__(self): return 8
    def __getitem__(self, index):
        if index == 3: os.kill(os.getpid(), signal.SIGKILL)
        return index

try:
    with loading():
        list(DataLoader(Killing(), num_workers=1))
except DataError as error:
    print(error, flush=True)
    os._exit(0)
"""


def test_a_loading_process_that_is_killed_is_one_sentence(environment: dict[str, str]) -> None:
    """In a process apart: PyTorch tells of it wherever the main process happens to be, here in
    the test runner.
    """
    done = subprocess.run(
        [sys.executable, "-c", KILLED], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0 and "ended from outside" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()]
)
def test_a_pipe_that_ends_is_a_killed_process(error: Exception) -> None:
    with pytest.raises(DataError, match="ended from outside"), loading():
        raise error


def test_the_death_that_is_told_after_the_pipe_has_ended_is_waited_for() -> None:
    def death(*_: object) -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    before = signal.signal(signal.SIGALRM, death)
    try:
        with pytest.raises(DataError, match="ended from outside .DataLoader worker"), loading():
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            raise ConnectionResetError(104, "Connection reset by peer")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_prefetching_keeps_the_order_and_hands_errors_on() -> None:
    assert list(prefetched(iter([]))) == []

    def batches() -> Iterator[Batch]:
        for i in range(3):
            yield Batch(torch.zeros(1, 3, 2, 2), torch.tensor([i]), torch.tensor([1]))
        raise DataError("the fourth is broken")

    seen = []
    with pytest.raises(DataError, match="the fourth is broken"):
        for batch in prefetched(batches()):
            seen.append(int(batch.ids))
    assert seen == [0, 1, 2]
