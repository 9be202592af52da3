"""What is known of a training image besides its pixels and identity."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partreid.errors import RecipeError
from partreid.types import PartScheme
from partreid.utils.arguments import door


class FeatureStream(Protocol):
    """Per identity: indices int64 [n], cameras int64 [n], features float [n, C, h, w]; one identity
    at a time.

    margin: the network sees the images mirrored so many pixels beyond their border, and the
    features are those of the image alone.
    """

    def __call__(self, margin: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor]]: ...


class Cue(Protocol):
    """One kind of knowledge, indexed like the training samples.

    spatial: the items are maps on the image's grid and move with crop and erase; a cue may have
    ``finish(item)``, which makes of an item that has moved what a batch carries. A cue that is not
    of part labels has ``example(count, size)``, see :func:`example`. scheme: of part
    labels, None for other knowledge. refresh: called before every epoch; a cue that made new items
    gives a table of what it found, for the journal, any other None.
    """

    spatial: bool

    @property
    def scheme(self) -> PartScheme | None: ...
    def __getitem__(self, index: int) -> NDArray[np.generic]: ...
    def mirror(self, item: NDArray[np.generic]) -> NDArray[np.generic]: ...
    def refresh(self, epoch: int, features: FeatureStream) -> Mapping[str, Any] | None: ...
    def state(self) -> dict[str, Tensor]: ...
    def restore(self, state: dict[str, Tensor]) -> None: ...


@door
def example(cue: Cue, count: int, size: tuple[int, int]) -> Tensor:
    """Made-up items of a cue as a batch of ``count`` images of ``size`` (H, W) carries them, to try
    a method without data: of part labels uint8 [count, H, W] with every part in it, of any other
    cue what its own ``example`` gives. RecipeError if it has none.
    """
    maker = getattr(cue, "example", None)
    if maker is not None:
        made: Tensor = maker(count, size)
        return made
    if cue.scheme is None:
        raise RecipeError(
            f"{type(cue).__name__} has neither a part scheme nor example(count, size); give it one"
        )
    rows = torch.arange(size[0]) * (cue.scheme.K + 1) // size[0]
    return rows.to(torch.uint8)[None, :, None].expand(count, *size).clone()


class PartLabels:
    """Fixed part labels, uint8 [H, W] per image, read by ``read(index)``. Mirroring swaps left and
    right parts, unless ``swap`` is false.
    """

    spatial = True

    @door
    def __init__(
        self, scheme: PartScheme, read: Callable[[int], NDArray[np.uint8]], swap: bool = True
    ) -> None:
        self.scheme, self.read = scheme, read
        self._flip = np.arange(256, dtype=np.uint8)
        if swap:
            self._flip[: scheme.K + 1] = scheme.flip

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.read(index)

    def mirror(self, item: NDArray[np.generic]) -> NDArray[np.generic]:
        return self._flip[item[:, ::-1]]

    def refresh(self, epoch: int, features: FeatureStream) -> None:
        """Fixed labels do not change."""

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold: nothing, the labels lie on disk."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Nothing to put back."""
