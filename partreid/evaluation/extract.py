"""Images to embeddings: a batch at a time, nothing kept but the vectors."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from partreid.data.loader import image_batches
from partreid.data.transforms import resize_nearest
from partreid.errors import DataError
from partreid.layers.memory import FORMAT
from partreid.methods.base import Method
from partreid.types import Embeddings, Output, Sample
from partreid.utils.arguments import door

Labels = Callable[[Sample], NDArray[np.uint8]]
Known = Mapping[str, Callable[[Sample], NDArray[Any]]]
"""Per cue, its item of a sample; the items of one cue have one shape."""


def on_grid(labels: Labels, size: tuple[int, int]) -> Labels:
    """Part labels of a sample brought to the grid of the images, (H, W)."""
    return lambda sample: resize_nearest(labels(sample), size).astype(np.uint8)


@door
def extract(
    method: Method,
    samples: Sequence[Sample],
    size: tuple[int, int],
    *,
    batch: int = 64,
    workers: int = 0,
    device: str = "cpu",
    cues: Known | None = None,
    see: Callable[[slice, Output], Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Embeddings:
    """Describe every sample, in order: float32 vectors [N, M, D] on the CPU.

    cues: what is known of a sample, for methods that need it at test time too. see: shown every
    output with the rows it stands for, e.g. to score part maps. Several processes share the samples
    out and all get the whole result.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    # with more processes than samples, some repeat the first
    share = list(samples[rank::world] or samples[:1])
    method.eval().to(device)
    embeddings: list[Embeddings] = []
    done = 0
    with torch.inference_mode():
        for images in image_batches(share, size, batch, workers):
            rows = slice(done, done + len(images))
            given: dict[str, Tensor] = {}
            for name, item in (cues or {}).items():
                given[name] = torch.from_numpy(
                    np.stack([item(sample) for sample in share[rows]])
                ).to(device)
            out = method(images.to(device, memory_format=FORMAT), given)
            e = method.embed(out)
            require_finite(e, [sample.path for sample in share[rows]])
            embeddings.append(
                Embeddings(e.vectors.float().cpu(), e.visibility.float().cpu(), e.names)
            )
            if see is not None:
                see(slice(rank + rows.start * world, rank + rows.stop * world, world), out)
            done = rows.stop
            if progress is not None:
                progress(done, len(share))
    whole = Embeddings.stack(embeddings)
    return whole if world == 1 else _gather(whole, len(samples), rank, world)


@door
def require_finite(e: Embeddings, crops: Sequence[Path | str]) -> None:
    """DataError, which names the first crop, if a model gives anything but numbers for one of
    these.
    """
    good = e.vectors.isfinite().flatten(1).all(1) & (e.visibility >= 0).all(1)  # NaN is not
    if bool(good.all()):
        return
    first = crops[int((~good).nonzero()[0])]
    raise DataError(
        f"the model gives NaN or infinity for {first}: its training diverged or its weights "
        "are broken, since any picture that can be read gives numbers. Train again with a lower "
        "rate, or take another run"
    )


def _gather(share: Embeddings, n: int, rank: int, world: int) -> Embeddings:
    """Rows of all processes, put back into the order of the samples they were dealt from."""
    longest = (n + world - 1) // world
    both = torch.cat([share.vectors.flatten(1), share.visibility], 1)
    padded = torch.zeros(longest, both.shape[1])
    padded[: len(both)] = both
    parts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(parts, padded)
    whole = torch.empty(n, both.shape[1])
    for r, part in enumerate(parts):
        whole[r::world] = part[: len(range(r, n, world))]
    m = len(share.names)
    return Embeddings(whole[:, :-m].reshape(n, m, -1), whole[:, -m:].clone(), share.names)
