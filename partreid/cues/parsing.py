"""Part labels from label images: one PNG per crop whose pixel values are classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partreid.cues.base import PartLabels
from partreid.cues.schemes import SURFACES, find, lookup, scheme_of
from partreid.errors import DataError
from partreid.types import Sample


def surface_labels(root: Path, samples: Sequence[Sample], parts: str = "five",
                   folder: str = "labels") -> PartLabels:
    """Labels of DensePose surfaces and belongings (palette PNGs) under ``root/folder/<split>/<stem>.png``.

    parts: a row of :data:`partreid.cues.schemes.SURFACES`. Every file is looked for at once: DataError names the
    first missing one.
    """
    groups = find(SURFACES, parts, "surface grouping")
    paths = [label_path(root, sample.path, folder) for sample in samples]
    first = next((p for p in paths if not p.is_file()), None)
    if first is not None:
        missing = sum(not p.is_file() for p in paths)
        raise DataError(f"{missing} of {len(paths)} training images have no label; the first missing is {first}. "
                        f"Make or copy the labels to that folder, or choose a method that needs none (bot, pcb)")
    table = lookup(groups)
    return PartLabels(scheme_of(groups), lambda index: read_labels(paths[index], table, samples[index].path))


def label_path(root: Path, image: Path, folder: str = "labels") -> Path:
    """Where the label of an image lies: the same place below ``root/folder``, as PNG."""
    return root / folder / image.parent.name / f"{image.stem}.png"


def read_labels(path: Path, table: NDArray[np.uint8], image: Path | None = None) -> NDArray[np.uint8]:
    """A label image through ``table`` [256] as uint8 [H, W]. DataError if unreadable or not shaped like its image."""
    try:
        with Image.open(path) as file:
            if file.mode not in ("P", "L"):
                raise DataError(f"{path} is a {file.mode} picture; a label image holds one class per pixel (palette "
                                f"or grey PNG). Export the class indices, not the colours")
            labels = np.asarray(file)
    except (OSError, SyntaxError) as error:
        raise DataError(f"{path} cannot be read as a label image ({error}); make it again or remove it") from None
    if image is not None:
        (height, width), (photo_width, photo_height) = labels.shape, _image_size(image)
        if abs(photo_width * height - photo_height * width) > max(photo_width, photo_height) * 2:
            raise DataError(f"label {path} is {width} x {height} but its image is {photo_width} x {photo_height}: "
                            f"they do not show the same crop; make the label again")
    return table[labels]


def _image_size(path: Path) -> tuple[int, int]:
    """(width, height) from the file's header."""
    try:
        with Image.open(path) as file:
            return file.size
    except OSError as error:
        raise DataError(f"{path} cannot be read as an image ({error}); replace or remove the file") from None


