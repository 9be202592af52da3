"""BoxMOT (25.0): an appearance encoder for its pipelines, and part by part matching in BoT-SORT."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from partreid.errors import DataError
from partreid.integrations.encoder import Describing, Encoder
from partreid.integrations.frames import as_array

_MATCHING = "boxmot.trackers.box.botsort.tracker"


class BoxMOT:
    """What BoxMOT calls an appearance encoder:
    ``TrackingPipeline(None, tracker, reid=BoxMOT(RUN))``.

    It gives flat vectors (:class:`Packing`). A tracker that compares them as they are takes hidden
    parts for unlike ones; BoT-SORT compares them part by part within :meth:`by_parts`.

    Args:
        model: A run folder, a file of ``partreid export``, or a model that is loaded already.
        batch: Crops that go through the network together.
    """

    def __init__(self, model: "str | Path | Describing", batch: int = 64) -> None:
        self.encoder = Encoder(model, "RGB", batch)

    @property
    def embedding_dim(self) -> int:
        """Numbers of a flat vector."""
        return self.encoder.packing.length

    @cached_property
    def requirements(self) -> Any:
        """Nothing but boxes: BoxMOT's ``EncoderRequirements()``."""
        return _module("boxmot.reid").EncoderRequirements()

    def encode(self, frames: Sequence[Any], detections: Sequence[Any]) -> list[Any]:
        """One float32 tensor [N, embedding_dim] for each frame.

        Args:
            frames: BoxMOT's, whose ``image`` is uint8 [3, H, W] in RGB.
            detections: BoxMOT's, with axis-aligned boxes.
        """
        import torch

        images = [np.moveaxis(as_array(frame.image), 0, -1) for frame in frames]
        boxes = [as_array(d.to_aabb_rows())[:, :4] for d in detections]
        embeddings = self.encoder.many(images, boxes)
        return [torch.from_numpy(self.encoder.packing(e)) for e in embeddings]

    @contextmanager
    def by_parts(self) -> Iterator[None]:
        """While this is entered, BoxMOT's BoT-SORT compares flat vectors part by part.

        BoT-SORT asks a function of its module for appearance distances, for all trackers of a
        process; it is put back on leaving.
        """
        module = _module(_MATCHING)
        before = module.embedding_distance

        def distances(
            tracks: Sequence[Any], detections: Sequence[Any], metric: str = "cosine"
        ) -> Any:
            pack = self.encoder.packing
            return pack.compare(
                vectors(tracks, "smooth_feat", pack.length),
                vectors(detections, "curr_feat", pack.length),
            )

        module.embedding_distance = distances
        try:
            yield
        finally:
            module.embedding_distance = before


def vectors(holders: Sequence[Any], name: str, length: int) -> Any:
    """Flat vectors [N, length] that tracks or detections hold under a name; zeros for one that
    holds none yet, which then shares no part with any.
    """
    held = [getattr(h, name, None) for h in holders]
    rows = [np.zeros(length) if v is None else as_array(v).reshape(-1) for v in held]
    return np.stack(rows) if rows else np.zeros((0, length))


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise DataError(
            f"this needs BoxMOT, of which {error.name} is not there; it was written for boxmot "
            "25.0 (AGPL-3.0): pip install boxmot"
        ) from None
