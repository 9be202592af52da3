"""Part labels from pose: the 36 PifPaf confidence fields that BPBreID distributes for its data sets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from partreid.cues.base import PartLabels
from partreid.cues.schemes import PIFPAF, Groups, find, scheme_of
from partreid.errors import DataError
from partreid.types import Sample

Background = Literal["threshold", "diff_from_max", "sum"]
SUFFIXES = ("{stem}.npy", "{name}.npy", "{name}.confidence_fields.npy")  # the three spellings in circulation


def pifpaf_labels(root: Path, samples: Sequence[Sample], parts: str = "eight",
                  folder: str = "pifpaf_maskrcnn_filtering", background: Background = "threshold",
                  threshold: float = 0.5) -> PartLabels:
    """Labels from fields float [36, h, w] in ``root/masks/<folder>/<split>/``, under any of their three names.

    parts: a row of :data:`partreid.cues.schemes.PIFPAF`. background: which pixels belong to nobody. DataError
    names the first image without a file.
    """
    groups = find(PIFPAF, parts, "PifPaf grouping")
    paths = [_find(root / "masks" / folder, sample.path) for sample in samples]

    def read(index: int) -> NDArray[np.uint8]:
        try:
            fields = np.load(paths[index], allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{paths[index]} cannot be read as a NumPy array ({error}); copy it again") from None
        if fields.ndim != 3 or fields.shape[0] != 36:
            raise DataError(f"{paths[index]} should hold 36 confidence fields [36, h, w], it is {fields.shape}")
        masks = part_masks(fields, groups, background, threshold)
        return masks.argmax(0).astype(np.uint8)

    return PartLabels(scheme_of(groups), read)


def _find(folder: Path, image: Path) -> Path:
    place = folder / image.parent.name
    for suffix in SUFFIXES:
        path = place / suffix.format(stem=image.stem, name=image.name)
        if path.is_file():
            return path
    raise DataError(f"{image.name} has no label in {place}; expected {image.stem}.npy or "
                    f"{image.name}.confidence_fields.npy. Copy the label files there, or name their folder with "
                    f"--set cues.parts.folder=...")


def part_masks(fields: NDArray[np.floating], groups: Groups, background: Background = "threshold",
               threshold: float = 0.5, sharpness: float = 15.0) -> NDArray[np.float32]:
    """Fields [36, h, w] as soft masks float32 [K+1, h, w], background first (BPBreID's released recipe).

    A part is the maximum over its fields, clamped to [0, 1]. background "threshold": 1 where no part reaches
    ``threshold``; "diff_from_max": 1 - the highest part; "sum": 1 - the sum of the parts. Then a softmax over the
    channels times ``sharpness``, or with 0 a division by their sum.
    """
    parts = np.stack([fields[list(members)].max(0) for members in groups.values()]).clip(0, 1)
    top = parts.max(0)
    empty = {"threshold": (top < threshold).astype(parts.dtype), "diff_from_max": (1 - top).clip(0, 1),
             "sum": (1 - parts.sum(0)).clip(0, 1)}[background]
    masks = np.concatenate([empty[None], parts])
    if sharpness > 0:
        masks = np.exp(sharpness * (masks - masks.max(0)))
    return (masks / np.maximum(masks.sum(0), 1e-12)).astype(np.float32)
