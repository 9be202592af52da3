"""Dumps of detectron2's DensePose, of every age, read without detectron2.

``apply_net.py dump`` has written a list with one dict per image through ``pickle.dump`` (2019 to
2021) and ``torch.save`` (since). The surfaces of a person cover the box of the detection only, and
are stored as labels and coordinates, as eight-bit numbers, as a PNG, or as the network's raw
output.
"""

import base64
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from partreid.errors import DataError
from partreid.labels.densepose import LAST
from partreid.labels.unpickle import load
from partreid.utils.images import read_channels
from partreid.utils.pickles import Record

RAW = ("coarse_segm", "fine_segm", "u", "v")  # the network's output; 2019: S, I, U, V
LARGEST = 2**21  # pixels of a box: the network's 25 maps are drawn at its size
TORCHSCRIPT = "pred_densepose_"


@dataclass(frozen=True, eq=False)
class Detection:
    """One person as dumped: score, box (x1, y1, x2, y2) in pixels of the image, labels uint8 [h, w]
    (0 background, 1..24 chart) and uv float32 [2, h, w] on the box's pixels; uv may leave [0, 1] or
    be NaN.
    """

    score: float
    box: tuple[float, float, float, float]
    labels: NDArray[np.uint8]
    uv: NDArray[np.float32]


class Dump(Mapping[str, list[Detection]]):
    """File name, as the dump has it, to the people found in that image. An image is decoded when it
    is asked for.

    Several entries of one name are one image with the people of all; repeated: the names of such.
    """

    def __init__(self, path: Path, entries: Iterable[tuple[Any, Mapping[str, Any]]]) -> None:
        self.path, self.entries = path, dict[str, list[Mapping[str, Any]]]()
        for name, entry in entries:
            if not isinstance(name, str) or not name.strip():
                raise DataError(
                    f"{path} has an entry whose file name is {name!r:.60}; dump it again"
                )
            self.entries.setdefault(name, []).append(entry)
        self.repeated = tuple(name for name, group in self.entries.items() if len(group) > 1)

    def __getitem__(self, name: str) -> list[Detection]:
        entries = self.entries[name]
        try:
            return [detection for entry in entries for detection in _detections(entry)]
        except DataError as error:
            raise DataError(f"{self.path}, image {name}: {error}") from None
        except Exception as error:  # nothing of what is stored has been checked before
            raise DataError(
                f"{self.path}, image {name}: not stored as DensePose does ({type(error).__name__}: "
                f"{error}); dump this image again"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def read_dump(path: Path) -> Dump:
    """A dump as a mapping from file names to detections; an image without anybody has an empty
    list.

    Taken are: the list of dicts of ``apply_net.py dump``, old and new; a dict from file names to
    such dicts, to detectron2's ``Instances`` or to the dicts of TorchScript exports; and one of
    these alone, whose name is then the dump's own. DataError if the file is no such thing, or could
    run code (see :mod:`partreid.labels.unpickle`).
    """
    content = load(path)
    if _is_entry(content):
        content = [content]
    if isinstance(content, (list, tuple)):
        plain = [_plain(entry) for entry in content]
        if all("file_name" in entry for entry in plain):
            return Dump(path, [(entry["file_name"], entry) for entry in plain])
        if len(plain) == 1 and _is_entry(content[0]):
            return Dump(path, [(path.stem, plain[0])])
    elif (
        isinstance(content, Mapping)
        and content
        and all(_is_entry(entry) for entry in content.values())
    ):
        return Dump(path, [(name, _plain(entry)) for name, entry in content.items()])
    raise DataError(
        f"{path} holds no DensePose results but a {type(content).__name__}; expected what "
        "'apply_net.py dump' writes, a list with one dict per image with 'file_name', "
        "'pred_boxes_XYXY' and 'pred_densepose'. Is it the model instead of its output?"
    )


def _plain(entry: Any) -> Mapping[str, Any]:
    """An entry as a dict, detectron2's Instances opened."""
    if isinstance(entry, Mapping) and "instances" in entry:
        return {**entry, **_fields(entry["instances"])}
    return entry if isinstance(entry, Mapping) else _fields(entry)


def _fields(instances: Any) -> Mapping[str, Any]:
    fields = instances.values.get("_fields") if _is(instances, "Instances") else instances
    return fields if isinstance(fields, Mapping) else {}


def _is(value: Any, name: str) -> bool:
    return isinstance(value, Record) and value.name.rpartition(".")[2] == name


def _is_entry(value: Any) -> bool:
    return any(
        isinstance(key, str) and key.startswith(("file_name", "pred_boxes", "pred_densepose"))
        for key in _plain(value)
    )


def _detections(entry: Mapping[str, Any]) -> list[Detection]:
    charts = entry.get("pred_densepose")
    if f"{TORCHSCRIPT}fine_segm" in entry:
        charts = {key: entry[TORCHSCRIPT + key] for key in RAW}
    if charts is None:  # the key is left out when nobody was found
        return []
    if _is(charts, "DensePoseResult"):
        old = charts.values
        boxes = torch.as_tensor(old["boxes_xywh"], dtype=torch.float32).reshape(-1, 4).clone()
        boxes[:, 2:] += boxes[:, :2]
        charts = [_decoded(text, shape) for shape, text in old["results"]]
    else:
        boxes = entry["pred_boxes_XYXY"] if "pred_boxes_XYXY" in entry else entry["pred_boxes"]
        boxes = (
            torch.as_tensor(boxes.values["tensor"] if isinstance(boxes, Record) else boxes)
            .float()
            .reshape(-1, 4)
        )
    if not isinstance(charts, (list, tuple)):
        charts = _rows(charts)
    scores = torch.as_tensor(entry.get("scores", torch.ones(len(boxes)))).float().reshape(-1)
    if not len(charts) == len(boxes) == len(scores):
        raise DataError(
            f"{len(charts)} surfaces for {len(boxes)} boxes with {len(scores)} scores; dump it "
            "again"
        )
    if len(boxes) and float(((boxes[:, 2:] - boxes[:, :2]).clamp(min=1)).prod(1).max()) > LARGEST:
        raise DataError(
            f"a box has more than {LARGEST / 2**20:.0f} million pixels; no crop has; dump it again"
        )
    if not boxes.isfinite().all():
        raise DataError("a box is not finite; dump it again")
    return [
        Detection(score, (x1, y1, x2, y2), *_surfaces(chart, box))
        for score, (x1, y1, x2, y2), box, chart in zip(
            scores.tolist(), boxes.tolist(), boxes, charts, strict=True
        )
    ]


def _rows(charts: Any) -> list[dict[str, Tensor]]:
    """The network's output for N people [N, C, h, w] as one dict [1, C, h, w] for each."""
    values = _values(charts)
    raw = [values[key] for key in RAW]
    return [
        {key: value[n : n + 1] for key, value in zip(RAW, raw, strict=True)}
        for n in range(len(raw[0]))
    ]


def _values(chart: Any) -> Mapping[str, Any]:
    """The attributes of a stored object. DataError for embeddings, which are no charts."""
    values = chart.values if isinstance(chart, Record) else chart
    if "embedding" in values:
        raise DataError(
            "it comes from a CSE model, which gives embeddings and no charts I, U, V; use a "
            "chart-based model (densepose_rcnn_*.yaml, not one of configs/cse)"
        )
    old = dict(zip(("S", "I", "U", "V"), RAW, strict=True))
    return {old.get(key, key): value for key, value in values.items()}


def _surfaces(chart: Any, box: Tensor) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Labels uint8 [h, w] and uv float32 [2, h, w] of one person, from any of the stored forms."""
    if isinstance(chart, Tensor):
        labels, uv = chart[0], chart[1:] / 255
    elif "fine_segm" in (values := _values(chart)):
        labels, uv = chart_result(
            values["coarse_segm"], values["fine_segm"], values["u"], values["v"], box
        )
    elif "labels_uv_str" in values:
        packed = _decoded(values["labels_uv_str"], values["shape_chw"])
        labels, uv = packed[0], packed[1:] / 255
    elif "labels_uv_uint8" in values:
        labels, uv = values["labels_uv_uint8"][0], values["labels_uv_uint8"][1:] / 255
    else:
        labels, uv = values["labels"], values["uv"]
    height, width = (max(int(side), 1) for side in (box[3] - box[1], box[2] - box[0]))
    if (
        labels.ndim != 2
        or uv.shape != (2, *labels.shape)
        or max(abs(labels.shape[0] - height), abs(labels.shape[1] - width)) > 1
    ):
        raise DataError(
            f"labels {tuple(labels.shape)} and uv {tuple(uv.shape)} do not fill their box of "
            f"{width} x {height} pixels; dump it again, boxes unchanged"
        )
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) <= LAST:
        raise DataError(
            f"charts {int(labels.min())} to {int(labels.max())}, DensePose has 1 to {LAST}; dump "
            "it again"
        )
    return labels.to(torch.uint8).numpy(), uv.float().numpy()


def _decoded(text: str | bytes, shape: Sequence[int]) -> Tensor:
    """Base64 of a PNG whose channels are I, U, V, as uint8 [3, h, w]."""
    data = text.encode() if isinstance(text, str) else text
    pixels = read_channels(io.BytesIO(base64.decodebytes(data)))
    if tuple(shape) != (3, *pixels.shape[:2]):
        raise DataError(f"a PNG {pixels.shape} where {tuple(shape)} was announced; dump it again")
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def chart_result(
    coarse: Tensor, fine: Tensor, u: Tensor, v: Tensor, box: Tensor
) -> tuple[Tensor, Tensor]:
    """The network's output for one person on the pixels of its box, as detectron2 does it.

    coarse: float [1, 2 or 15, h, w]; fine, u, v: float [1, 25, h, w]; box: float32 [4], x1 y1 x2
    y2, its sides cut to whole pixels, at least 1. Labels int64 [height, width] and uv float32 [2,
    height, width], 0 outside the body.
    """
    size = (max(int(box[3] - box[1]), 1), max(int(box[2] - box[0]), 1))

    def resize(x: Tensor) -> Tensor:
        return F.interpolate(x.float(), size, mode="bilinear", align_corners=False)[0]

    labels = resize(fine).argmax(0) * (resize(coarse).argmax(0) > 0)
    uv = torch.zeros(2, *size)
    for chart in labels.unique().tolist():
        if chart:
            both = torch.cat([resize(u[:, chart : chart + 1]), resize(v[:, chart : chart + 1])])
            uv = torch.where(labels == chart, both, uv)
    return labels, uv
