"""An exported file as a method, so that all that works on a trained model works on it too."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from partreid.distance import PartDistance
from partreid.errors import PartReidError
from partreid.evaluation.decision import Bound, parsed
from partreid.methods.base import Method
from partreid.metrics.calibration import Calibration
from partreid.recipes.base import Recipe, from_plain
from partreid.runtime import Model, load
from partreid.runtime.file import damaged
from partreid.types import MEAN, NO_CUES, STD, Embeddings, Output, PartMaps, PartScheme

ENDING = ".onnx"


class Exported(Method):
    """The network of a file that ``partreid export`` wrote, run by onnxruntime. It learns nothing.

    Args:
        model: The file, loaded.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model, card = model, model.card
        d = card.distance
        self.distance = PartDistance(d.metric, d.weights, d.shrink, d.far)
        self.scheme = PartScheme(card.scheme) if card.scheme else None

    @property
    def bound(self) -> Bound:
        """What a calibration of this file is bound to."""
        card = self.model.card
        return Bound(card.model, card.weights, card.distance.rule, card.names, card.digest)

    @property
    def origin(self) -> str:
        """SHA-256 of the model that it was exported of, see
        :class:`partreid.evaluation.decision.Bound`.
        """
        return self.model.card.origin

    @property
    def calibration(self) -> Calibration | None:
        """The one that the file carries."""
        values = self.model.card.calibration
        return None if values is None else parsed(values, f"the calibration in {self.model.source}")

    def forward(self, images: Tensor, cues: Mapping[str, Tensor] = NO_CUES) -> Output:
        vectors, visibility, *maps = (
            torch.from_numpy(array) for array in self.model.run(_pixels(images))
        )
        e = Embeddings(vectors, visibility.clamp_max(1), self.model.names)
        parts = None if self.scheme is None else PartMaps.from_probs(maps[0], self.scheme)
        return Output(vectors, parts, {"parts": e})

    def embed(self, out: Output) -> Embeddings:
        return out.groups["parts"]


def read_exported(path: Path, device: str) -> tuple[Recipe, Exported]:
    """Recipe and method of a file that ``partreid export`` wrote.

    device: "cuda" runs it on onnxruntime's CUDA. DataError as of :func:`partreid.runtime.load`.
    """
    model = load(path, "cuda" if device == "cuda" else "cpu")
    try:
        return from_plain(model.card.recipe), Exported(model)
    except PartReidError as error:
        raise damaged(path, error) from None


def _pixels(images: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The pixels uint8 [N, H, W, 3] that were normalised to these images: rounding finds them
    again exactly.
    """
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    pixels = ((images.cpu() * std + mean) * 255).round().clamp(0, 255)
    return np.ascontiguousarray(pixels.to(torch.uint8).permute(0, 2, 3, 1).numpy())
