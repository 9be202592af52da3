"""The feature maps of a training set, for labels that a network finds in them."""

from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from partreid.data.loader import image_batches
from partreid.errors import RecipeError, ShapeError
from partreid.layers.memory import FORMAT
from partreid.methods.base import Method
from partreid.types import Sample
from partreid.utils.arguments import door


@door
def features_by_identity(
    method: Method,
    samples: Sequence[Sample],
    ids: Sequence[int],
    size: tuple[int, int],
    device: torch.device | str,
    margin: int = 0,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Feature maps of the training images, one identity at a time: indices [n], cameras [n], [n, C,
    h, w].

    margin: see :class:`partreid.labels.base.FeatureStream`. Several processes share the identities
    out; all see them with the batch statistics of the first. RecipeError if the trunk cannot see
    images with that margin.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    rows: dict[int, list[int]] = {}
    for index, identity in enumerate(ids):
        rows.setdefault(identity, []).append(index)
    if world > 1:
        for buffer in method.buffers():
            dist.broadcast(buffer, 0)
    training = method.training
    method.eval()
    for indices in [rows[identity] for identity in sorted(rows)][rank::world]:
        person = [samples[i] for i in indices]
        with torch.no_grad():
            maps = [
                seen_with_margin(method, images.to(device), margin)
                for images in image_batches(person, size)
            ]
        # a copy of the features only where it must be
        whole = maps[0] if len(maps) == 1 else torch.cat(maps)
        yield torch.tensor(indices), torch.tensor([s.camera for s in person]), whole
    method.train(training)


@door
def seen_with_margin(method: Method, images: Tensor, margin: int) -> Tensor:
    """The features [B, C, h, w] of the images [B, 3, H, W], which the method sees mirrored
    ``margin`` pixels beyond their border.

    Raises:
        RecipeError: for a margin that the images are too small for, that is no whole number of
            cells, or that the trunk does not take.
    """
    if margin == 0:
        plain: Tensor = method(images).features
        return plain
    if margin < 0:
        raise RecipeError(f"margin is a number of pixels from 0, got {margin}")
    height, width = images.shape[2:]
    if margin >= min(height, width):
        raise RecipeError(
            f"margin={margin} mirrors more than images of {height} x {width} have; set fewer pixels"
        )
    try:
        wide: Tensor = method(F.pad(images, (margin,) * 4, mode="reflect")).features
    except ShapeError as error:
        raise RecipeError(
            f"margin={margin} needs a trunk that takes images of any size; set margin=0: {error}"
        ) from error
    h, w = wide.shape[2:]
    rows, rest = divmod(margin * h, height + 2 * margin)
    columns, beside = divmod(margin * w, width + 2 * margin)
    if rest or beside:
        raise RecipeError(
            f"margin={margin} is no whole number of cells of a {h} x {w} map; set a multiple of "
            "the trunk's stride"
        )
    return wide[:, :, rows : h - rows, columns : w - columns].contiguous(memory_format=FORMAT)
