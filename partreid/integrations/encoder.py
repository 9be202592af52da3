"""A model that describes boxes in frames."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ShapeError
from partreid.integrations.frames import Colors, as_array, cut
from partreid.integrations.packing import Packing
from partreid.runtime import model as exported
from partreid.runtime.distance import PartDistance
from partreid.runtime.types import Embeddings


class Describing(Protocol):
    """What a model is here: :class:`partreid.inference.Model` and
    :class:`partreid.runtime.Model`.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    def embed(self, crops: Any, batch: int = 64) -> Any: ...


class Encoder:
    """Boxes in frames to embeddings.

    Args:
        model: A run folder, a file of ``partreid export``, or a model that is loaded already.
        colors: The order of the frames' colors; OpenCV reads BGR.
        batch: Crops that go through the network together.

    Examples:
        >>> encoder = Encoder("runs/bpbreid")
        >>> e = encoder(np.zeros((100, 80, 3), np.uint8), [[0, 0, 30, 60], [90, 0, 95, 9]])
        >>> e.vectors.shape[0], e.visibility[1].sum()  # the second lies outside
        (2, 0.0)
    """

    def __init__(
        self, model: "str | Path | Describing", colors: Colors = "RGB", batch: int = 64
    ) -> None:
        self.model: Any = load(model) if isinstance(model, str | Path) else model
        self.colors, self.batch = colors, batch

    @cached_property
    def packing(self) -> Packing:
        """How its parts lie in a flat vector."""
        e = self._described([np.zeros((64, 32, 3), np.uint8)])
        return Packing(e.names, e.vectors.shape[2], self._rule)

    @property
    def _rule(self) -> PartDistance:
        if isinstance(self.model, exported.Model):
            return self.model.rule
        d = self.model.method.distance
        return PartDistance(d.metric, d.weights, d.shrink, d.far)

    def __call__(self, frame: Any, boxes: Any) -> Embeddings:
        """Embeddings of N boxes in a frame, see :func:`cut`. What lies outside of the frame has no
        visible part.
        """
        return self.many([frame], [boxes])[0]

    def many(self, frames: Sequence[Any], boxes: Sequence[Any]) -> list[Embeddings]:
        """The same of several frames, whose crops go through the network together.

        Raises:
            ShapeError: There are not as many lists of boxes as frames.
        """
        if len(frames) != len(boxes):
            raise ShapeError(f"{len(frames)} frames need as many lists of boxes, got {len(boxes)}")
        each = [cut(f, as_array(b), self.colors) for f, b in zip(frames, boxes, strict=True)]
        shown = [crop for crops in each for crop in crops if crop is not None]
        p = self.packing
        embeddings = self._described(shown) if shown else None
        start, lists = 0, []
        for crops in each:
            vectors = np.zeros((len(crops), len(p.names), p.width), np.float32)
            seen = np.zeros((len(crops), len(p.names)), np.float32)
            rows = [i for i, crop in enumerate(crops) if crop is not None]
            if embeddings is not None and rows:
                vectors[rows] = embeddings.vectors[start : start + len(rows)]
                seen[rows] = embeddings.visibility[start : start + len(rows)]
                start += len(rows)
            lists.append(Embeddings(vectors, seen, p.names))
        return lists

    def flat(self, frame: Any, boxes: Any) -> NDArray[np.float32]:
        """The same as :meth:`__call__` in flat vectors, float32 [N, M D]."""
        return self.packing(self(frame, boxes))

    def _described(self, crops: list[NDArray[np.uint8]]) -> Embeddings:
        e = self.model.embed(crops, self.batch)
        return Embeddings(as_array(e.vectors), as_array(e.visibility), tuple(e.names))


def load(model: str | Path, device: str = "auto") -> Describing:
    """A file of ``partreid export`` by onnxruntime on the CPU, a run folder by PyTorch on
    ``device``.
    """
    if Path(model).suffix.lower() == ".onnx":
        return exported.load(model)
    from partreid.inference import load as load_run  # PyTorch only where it is needed

    return load_run(model, device)
