"""Soft part masks: what BPBreID's released code trains on, where the paper has labels."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from partreid.errors import RecipeError
from partreid.labels.base import FeatureStream
from partreid.types import PartScheme
from partreid.utils.arguments import door

THIN = 4  # of the pixels of a moved image every fourth is kept, along both axes

Grouped = NDArray[np.float32]


class PartMasks:
    """How much each pixel belongs to each part, float32 [H, W, K] at ``size``, without a
    background, so that what crop and erase fill with 0 belongs to nobody.

    read: parts float32 [K, h, w] of an image, brought to ``size`` (H, W) as OpenCV's nearest
    neighbour does: a pixel takes what lies under its upper left corner. finish: thinned parts [K,
    H/4, W/4] to what a batch carries, float32 [K+1, H/4, W/4], background first. swap: whether
    mirroring exchanges left and right parts. RecipeError for a size that is none.
    """

    spatial = True

    @door
    def __init__(
        self,
        scheme: PartScheme,
        read: Callable[[int], Grouped],
        size: tuple[int, int],
        finish: Callable[[Grouped], Grouped],
        swap: bool = True,
    ) -> None:
        if len(size) != 2 or min(size) < 1:
            raise RecipeError(
                "masks must be a height and a width, those of the recipe's images, got "
                f"{list(size)}; e.g. --set cues.parts.masks=[384,128]"
            )
        self.scheme, self.read, self.size, self._finish = scheme, read, size, finish
        self._flip = np.array(scheme.flip[1:] if swap else range(1, scheme.K + 1)) - 1

    def __getitem__(self, index: int) -> Grouped:
        parts = self.read(index)
        rows, columns = (
            np.arange(n) * m // n for n, m in zip(self.size, parts.shape[1:], strict=True)
        )
        return parts[:, rows[:, None], columns].transpose(1, 2, 0)

    def mirror(self, item: NDArray[np.generic]) -> NDArray[np.generic]:
        return item[:, ::-1, self._flip]

    def finish(self, item: NDArray[np.generic]) -> Grouped:
        """What has moved with an image, float32 [H, W, K], as a batch carries it: float32 [K+1,
        H/4, W/4].
        """
        return self._finish(
            np.ascontiguousarray(item[::THIN, ::THIN].transpose(2, 0, 1), np.float32)
        )

    def refresh(self, epoch: int, features: FeatureStream) -> Mapping[str, Any] | None:
        """Fixed masks do not change."""
        return None

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold: nothing, the fields lie on disk."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Nothing to put back."""
