"""Extraction keeps the order of the samples, whatever the batch size and the number of
processes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from partreid.data.transforms import to_batch
from partreid.errors import DataError
from partreid.evaluation import extract as module
from partreid.evaluation.extract import extract, on_grid
from partreid.methods.base import Method
from partreid.types import NO_CUES, Embeddings, Output, Sample
from partreid.utils.images import read_resized

SIZE = (8, 4)


class Mean(Method):
    """Describes an image by its mean color and, where labels come along, by their sum."""

    def forward(self, images: Tensor, cues: Mapping[str, Tensor] = NO_CUES) -> Output:
        color = images.mean((2, 3))
        parts = (
            cues["parts"].flatten(1).float().sum(1)
            if "parts" in cues
            else color.new_zeros(len(images))
        )
        vectors = torch.stack([color, parts[:, None].expand(-1, 3)], 1)
        seen = torch.stack([torch.ones(len(images)), (parts > 0).float()], 1)
        return Output(images, None, {"all": Embeddings(vectors, seen, ("color", "labels"))})

    def embed(self, out: Output) -> Embeddings:
        return out.groups["all"]


@pytest.fixture()
def samples(tmp_path: Path) -> list[Sample]:
    images = []
    for i in range(7):
        Image.new("RGB", (4, 8), (30 * i, 255 - 30 * i, 7 * i)).save(tmp_path / f"{i}.png")
        images.append(Sample(tmp_path / f"{i}.png", i, 1))
    return images


def by_hand(samples: list[Sample]) -> Tensor:
    return to_batch([read_resized(s.path, SIZE) for s in samples]).mean((2, 3))


@pytest.mark.parametrize(("batch", "workers"), [(64, 0), (3, 0), (1, 0), (2, 1)])
def test_rows_are_the_samples(batch: int, workers: int, samples: list[Sample]) -> None:
    method = Mean().train()
    e = extract(method, samples, SIZE, batch=batch, workers=workers)
    torch.testing.assert_close(e.vectors[:, 0], by_hand(samples))
    assert e.names == ("color", "labels") and e.visibility.tolist() == [[1, 0]] * 7
    assert not method.training and e.vectors.dtype == torch.float32 and not e.vectors.requires_grad


def test_labels_come_with_their_images_on_the_images_grid(samples: list[Sample]) -> None:
    def labels(sample: Sample) -> np.ndarray:
        return np.full((4, 2), sample.identity, np.uint8)  # half the size

    e = extract(Mean(), samples, SIZE, batch=3, cues={"parts": on_grid(labels, SIZE)})
    assert e.vectors[:, 1, 0].tolist() == [32 * i for i in range(7)]
    assert e.visibility[:, 1].tolist() == [0, 1, 1, 1, 1, 1, 1]


def test_outputs_are_shown_with_their_rows_and_progress_is_told(samples: list[Sample]) -> None:
    seen: list[tuple[list[Sample], int]] = []
    steps: list[tuple[int, int]] = []
    extract(
        Mean(),
        samples,
        SIZE,
        batch=3,
        see=lambda rows, out: seen.append((samples[rows], len(out.features))),
        progress=lambda done, total: steps.append((done, total)),
    )
    assert seen == [(samples[:3], 3), (samples[3:6], 3), (samples[6:], 1)]
    assert steps == [(3, 7), (6, 7), (7, 7)]


class Processes:
    """Stands for torch.distributed: the ranks run one after the other, twice, and gather what
    they left.
    """

    def __init__(self, world: int) -> None:
        self.world, self.rank, self.left = world, 0, {}  # type: ignore[var-annotated]

    def is_initialized(self) -> bool:
        return True

    def get_rank(self) -> int:
        return self.rank

    def get_world_size(self) -> int:
        return self.world

    def all_gather(self, parts: list[Tensor], tensor: Tensor) -> None:
        self.left[self.rank] = tensor.clone()
        for rank, part in enumerate(parts):
            part.copy_(self.left.get(rank, torch.zeros_like(part)))

    def run(self, call: Callable[[], Embeddings]) -> list[Embeddings]:
        embeddings: list[Embeddings] = []
        for turn in range(2 * self.world):
            self.rank = turn % self.world
            embeddings.append(call())
        return embeddings[self.world :]


@pytest.mark.parametrize(("n", "world"), [(7, 2), (7, 3), (6, 2), (1, 2), (2, 4)])
def test_several_processes_all_get_the_whole_in_order(
    n: int, world: int, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = extract(Mean(), samples[:n], SIZE)
    processes = Processes(world)
    monkeypatch.setattr(module, "dist", processes)
    seen: dict[int, list[Sample]] = {rank: [] for rank in range(world)}

    def see(rows: slice, out: Output) -> None:
        shown = samples[:n][rows]
        if shown:  # nothing for a process that only repeats the first sample
            torch.testing.assert_close(out.features.mean((2, 3)), by_hand(shown))
        seen[processes.rank] += shown

    for e in processes.run(lambda: extract(Mean(), samples[:n], SIZE, batch=2, see=see)):
        assert torch.equal(e.vectors, alone.vectors) and torch.equal(e.visibility, alone.visibility)
        assert e.names == alone.names
    assert {s for shown in seen.values() for s in shown} >= set(samples[:n])


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_broken_image_stops_it_by_name(content: bytes, samples: list[Sample]) -> None:
    samples[4].path.write_bytes(content)
    with pytest.raises(DataError, match=r"4\.png cannot be read as an image"):
        extract(Mean(), samples, SIZE, batch=2)


def test_images_are_never_held(samples: list[Sample]) -> None:
    """Memory must not grow with the number of images: each output dies with its batch."""
    import gc
    import weakref

    alive: list[Any] = []

    def see(rows: slice, out: Output) -> None:
        gc.collect()
        # at most the batch before, still being replaced
        assert sum(ref() is not None for ref in alive) <= 1
        alive.append(weakref.ref(out.features))

    extract(Mean(), samples * 3, SIZE, batch=2, see=see)
    assert len(alive) == 11
