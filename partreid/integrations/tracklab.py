"""TrackLab (1.3): a re-identification module, whose trackers take parts with their visibility."""

from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from partreid.errors import DataError
from partreid.integrations.encoder import Describing, Encoder
from partreid.integrations.frames import as_array, cut

BOXES, VECTORS, VISIBILITY = "bbox_ltwh", "embeddings", "visibility_scores"


def TrackLab(model: "str | Path | Describing", batch_size: int = 32) -> Any:
    """A ``DetectionLevelModule`` of TrackLab: boxes in, embeddings [M, D] and visibility [M] out.

    TrackLab's modules inherit from a class of its own, so this one is made when TrackLab is there.
    In a configuration: ``_target_: partreid.integrations.TrackLab`` and ``model: runs/bpbreid``.

    Args:
        model: A run folder, a file of ``partreid export``, or a model that is loaded already.
        batch_size: Crops that go through the network together.

    Raises:
        DataError: TrackLab is not there.
    """
    try:
        home = import_module("tracklab.pipeline.detectionlevel_module")
        tables = import_module("pandas")
    except ModuleNotFoundError as error:
        raise DataError(
            f"this needs TrackLab, of which {error.name} is not there; it was written for tracklab "
            "1.3: pip install tracklab"
        ) from None
    encoder = Encoder(model, "RGB", batch_size)

    base: Any = home.DetectionLevelModule

    class PartReID(base):  # type: ignore[misc]  # a class of somebody else, of any kind to mypy
        """Describes detections by their parts."""

        input_columns: ClassVar = [BOXES]  # lists: TrackLab asks for that kind
        output_columns: ClassVar = [VECTORS, VISIBILITY]
        collate_fn: Any = staticmethod(list)

        def __init__(self) -> None:
            super().__init__(batch_size)

        def preprocess(self, image: Any, detection: Any, metadata: Any) -> Any:
            left, top, width, height = (float(x) for x in detection[BOXES])
            return cut(image, [[left, top, left + width, top + height]])[0]

        def process(self, batch: Any, detections: Any, metadatas: Any) -> Any:
            rows = described(encoder, [None if c is None else as_array(c) for c in batch])
            return tables.DataFrame(rows, index=detections.index, columns=[VECTORS, VISIBILITY])

    return PartReID()


def described(encoder: Encoder, crops: list[Any]) -> list[tuple[Any, Any]]:
    """(vectors [M, D], visibility [M]) of each crop; of None nothing is visible."""
    pack, shown = encoder.packing, [crop for crop in crops if crop is not None]
    e = encoder.model.embed(shown, encoder.batch) if shown else None
    rows, at = [], 0
    for crop in crops:
        if crop is None or e is None:
            rows.append(
                (
                    np.zeros((len(pack.names), pack.width), np.float32),
                    np.zeros(len(pack.names), np.float32),
                )
            )
        else:
            rows.append((as_array(e.vectors[at]), as_array(e.visibility[at])))
            at += 1
    return rows
