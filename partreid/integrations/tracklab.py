"""TrackLab (1.3): a re-identification module, whose trackers take parts with their visibility."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from partreid.errors import DataError
from partreid.integrations.encoder import Describing, Encoder, load
from partreid.integrations.frames import as_array, cut
from partreid.integrations.packing import FAR, Singles
from partreid.runtime.types import Embeddings

BOXES, VECTORS, VISIBILITY = "bbox_ltwh", "embeddings", "visibility_scores"
_TRACKER, _DISTANCE = "bpbreid_strong_sort", "compute_distance_matrix_using_bp_features"


def TrackLab(
    model: "str | Path | Describing",
    batch_size: int = 32,
    device: Any = "cpu",
    tracking_dataset: Any = None,
) -> Any:
    """A ``DetectionLevelModule`` of TrackLab: boxes in, embeddings [M, D] and visibility [M] out.

    TrackLab's modules inherit from a class of its own, so this one is made when TrackLab is there.
    In a configuration: ``_target_: partreid.integrations.TrackLab`` and ``model: runs/bpbreid``.

    Its tracker of parts, ``BPBReIDStrongSORT``, asks a function of its module for distances, which
    comes from a package that TrackLab does not bring. It gets the model's own distance there, for
    all trackers of a process; of two models that of the last.

    Args:
        model: A run folder, a file of ``partreid export``, or a model that is loaded already.
        batch_size: Crops that go through the network together.
        device: As TrackLab tells its modules; on any but a CUDA device a run folder works on the
            CPU, and an exported file always.
        tracking_dataset: As TrackLab tells its modules; nothing is done with it.

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
    if isinstance(model, str | Path):
        model = load(model, "cuda" if str(device).startswith("cuda") else "cpu")
    encoder = Encoder(model, "RGB", batch_size)
    if find_spec(_TRACKER) is not None:
        setattr(import_module(f"{_TRACKER}.sort.nn_matching"), _DISTANCE, by_parts(encoder))

    base: Any = home.DetectionLevelModule

    class PartReID(base):  # type: ignore[misc]  # a class of somebody else, of any kind to mypy
        """Describes detections by their parts."""

        input_columns: ClassVar = [BOXES]  # lists: TrackLab asks for that kind
        output_columns: ClassVar = [VECTORS, VISIBILITY]
        collate_fn: Any = staticmethod(apart)

        def __init__(self) -> None:
            super().__init__(batch_size)

        def preprocess(self, image: Any, detection: Any, metadata: Any) -> Any:
            left, top, width, height = (float(x) for x in detection[BOXES])
            return cut(image, [[left, top, left + width, top + height]])[0]

        def process(self, batch: Any, detections: Any, metadatas: Any) -> Any:
            rows = described(encoder, [None if c is None else as_array(c) for c in batch])
            return tables.DataFrame(rows, index=detections.index, columns=[VECTORS, VISIBILITY])

    return PartReID()


def by_parts(encoder: Encoder) -> Callable[..., tuple[Singles]]:
    """What TrackLab's tracker of parts compares by: the model's own distance between parts of
    length 1, at most 2, which is also what two boxes get that share no part.
    """

    def distances(
        a: Any, b: Any, a_seen: Any, b_seen: Any, use_gpu: bool = False
    ) -> tuple[Singles]:
        one, other = (
            Embeddings(as_array(vectors), as_array(seen), encoder.packing.names)
            for vectors, seen in ((a, a_seen), (b, b_seen))
        )
        return (np.minimum(encoder.packing.distance(one, other), FAR).astype(np.float32),)

    return distances


def apart(samples: list[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    """(their indices, what :meth:`preprocess` made of them) of TrackLab's samples."""
    return [index for index, _ in samples], [crop for _, crop in samples]


def described(encoder: Encoder, crops: list[Any]) -> list[tuple[Any, Any]]:
    """(vectors [M, D], visibility [M]) of each crop; of None nothing is visible."""
    pack, shown = encoder.packing, [crop for crop in crops if crop is not None]
    e = encoder.model.embed(shown, encoder.batch) if shown else None
    rows, row = [], 0
    for crop in crops:
        if crop is None or e is None:
            rows.append(
                (
                    np.zeros((len(pack.names), pack.width), np.float32),
                    np.zeros(len(pack.names), np.float32),
                )
            )
        else:
            rows.append((as_array(e.vectors[row]), as_array(e.visibility[row])))
            row += 1
    return rows
