"""Ultralytics (8.4): an encoder for its BoT-SORT, with part by part matching."""

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError
from partreid.integrations.boxmot import vectors
from partreid.integrations.encoder import Describing, Encoder
from partreid.integrations.frames import as_array


class Ultralytics:
    """What Ultralytics' BoT-SORT calls for the vectors of its detections.

        tracker = Ultralytics("runs/bpbreid").into(BOTSORT(args))

    Args:
        model: A run folder, a file of ``partreid export``, or a model that is loaded already.
        batch: Crops that go through the network together.
    """

    def __init__(self, model: "str | Path | Describing", batch: int = 64) -> None:
        self.encoder = Encoder(model, "BGR", batch)

    def __call__(self, image: Any, boxes: Any) -> list[NDArray[np.float32] | None]:
        """A flat vector for each detection, None for one that lies outside of the frame.

        Args:
            image: uint8 [H, W, 3] in BGR.
            boxes: [N, 4 or more], center x, center y, width and height, as Ultralytics has them.
        """
        given = as_array(boxes)
        if not given.size:
            return []
        center, size = given[:, :2].astype(np.float64), given[:, 2:4].astype(np.float64)
        e = self.encoder(image, np.concatenate([center - size / 2, center + size / 2], 1))
        flat = self.encoder.packing(e)
        shown = (e.visibility > 0).sum(1)
        return [row if many else None for row, many in zip(flat, shown, strict=True)]

    def into(self, tracker: Any, by_parts: bool = True) -> Any:
        """The same BOTSORT, which now describes its detections by this model.

        Args:
            tracker: A BOTSORT, made with ``with_reid: False``, so that it loads no model of its
                own.
            by_parts: Compare part by part; otherwise as the tracker compares flat vectors.

        Raises:
            DataError: It is no BOTSORT of a version that this was written for.
        """
        wanted = ("encoder", "args", "get_dists", "appearance_thresh", "proximity_thresh")
        missing = [name for name in wanted if not hasattr(tracker, name)]
        if missing:
            raise DataError(
                f"{type(tracker).__name__} has no {', '.join(missing)}; this was written for "
                "BOTSORT of ultralytics 8.4"
            )
        motion, pack = tracker.get_dists, self.encoder.packing
        tracker.encoder, tracker.args = self, copy(tracker.args)  # others may be made of the same
        tracker.args.with_reid = True
        tracker.args.model = "partreid"  # with its default, "auto", it gives no frame to an encoder
        if not by_parts:
            return tracker

        def distances(tracks: Sequence[Any], detections: Sequence[Any]) -> Any:
            # without appearance: how far boxes lie apart, in [0, 1]
            tracker.args.with_reid = False
            try:
                apart = np.asarray(motion(tracks, detections))
            finally:
                tracker.args.with_reid = True
            if not apart.size:
                return apart
            alike = pack.compare(
                vectors(tracks, "smooth_feat", pack.length),
                vectors(detections, "curr_feat", pack.length),
            )
            near = _overlaps(tracks, detections) >= tracker.proximity_thresh
            # BoT-SORT (Aharon et al. 2022, Eqs. 11 and 12): half the distance, where near and alike
            cost = np.where(near & (alike / 2 <= 1 - tracker.appearance_thresh), alike / 2, 1.0)
            return np.minimum(apart, cost)

        tracker.get_dists = distances
        return tracker


def _overlaps(tracks: Sequence[Any], detections: Sequence[Any]) -> NDArray[np.float64]:
    """Intersection over union of all pairs of boxes."""
    a, b = (
        np.stack([as_array(x.xyxy) for x in some]).astype(np.float64)[:, :4]
        for some in (tracks, detections)
    )
    corner = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.clip(corner[1] - corner[0], 0, None).prod(2)
    area = [(x[:, 2:] - x[:, :2]).prod(1) for x in (a, b)]
    return np.asarray(both / np.maximum(area[0][:, None] + area[1][None] - both, 1e-12))
