"""Roboflow's supervision (0.31), ``trackers`` (2.6) and ``reid`` (0.1): embeddings travel with the
detections.

``trackers`` compares boxes alone; what stands in ``detections.data`` passes through it, so that
each tracked box still has its parts when it comes out, for a gallery or ``partreid link``.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.integrations.encoder import Describing, Encoder
from partreid.integrations.frames import Colors
from partreid.runtime.types import Embeddings

VECTORS, VISIBILITY = "partreid_vectors", "partreid_visibility"


class Supervision:
    """Embeddings for ``supervision.Detections``.

        tracked = tracker.update(Supervision("runs/bpbreid").into(detections, frame))

    Args:
        model: A run folder, a file of ``partreid export``, or a model that is loaded already.
        colors: The order of the frames' colors; OpenCV, and with it ``reid``, has BGR.
        batch: Crops that go through the network together.
    """

    def __init__(
        self, model: "str | Path | Describing", colors: Colors = "BGR", batch: int = 64
    ) -> None:
        self.encoder = Encoder(model, colors, batch)

    def into(self, detections: Any, frame: Any) -> Any:
        """The same detections with vectors [N, M, D] and visibility [N, M] in their ``data``."""
        e = self.encoder(frame, detections.xyxy)
        detections.data[VECTORS], detections.data[VISIBILITY] = e.vectors, e.visibility
        return detections

    def of(self, detections: Any) -> Embeddings:
        """The embeddings that :meth:`into` put into detections, in their present order."""
        data = detections.data
        return Embeddings(
            np.asarray(data[VECTORS]), np.asarray(data[VISIBILITY]), self.encoder.packing.names
        )

    def extract_embeddings(
        self, detections: Any, frame: Any, *, batch_size: int | None = None
    ) -> NDArray[np.float32]:
        """Flat vectors float32 [N, M D], as ``reid.ReIDModel.extract_embeddings`` gives its own."""
        if batch_size is not None:
            self.encoder.batch = batch_size
        return self.encoder.flat(frame, detections.xyxy)
