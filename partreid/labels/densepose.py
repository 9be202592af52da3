"""DensePose's surfaces of a crop: the pictures it writes (I, U, V), part labels made of them, and
how many there are.

A chart is one of the 24 body surfaces of Güler et al., DensePose, CVPR 2018; every pixel of a body
has a chart I and two coordinates on it, U and V in [0, 1]. Dumps of detectron2 are read by
:mod:`partreid.labels.dumps`, which can turn them into the same pictures.
"""

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partreid.errors import DataError, ShapeError
from partreid.labels.base import PartLabels
from partreid.labels.places import fitted, image_size, lossless
from partreid.labels.schemes import SURFACES, find, lookup, scheme_of
from partreid.labels.target import prominence
from partreid.layers.warp import CHARTS
from partreid.types import UNKNOWN, Sample
from partreid.utils.arguments import check_fields, door
from partreid.utils.images import read_channels, read_index

LAST: Final = len(CHARTS)  # charts are numbered 1..24
STRIPES: Final = "; part labels can be stripes instead: --set cues.parts=stripes"
NAMED: Final = 3  # images named in a sentence

Order = Literal["auto", "iuv", "vui"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Surfaces:
    """What DensePose saw of one person, on the pixels of the image.

    labels: uint8 [H, W], 0 background, 1..24 chart. uv: float32 [2, H, W] in [0, 1], 0 outside the
    body.
    """

    labels: NDArray[np.uint8]
    uv: NDArray[np.float32]

    def __post_init__(self) -> None:
        check_fields(self)
        if self.labels.ndim != 2 or self.labels.dtype != np.uint8:
            raise ShapeError(
                f"labels must be uint8 [H, W], got {self.labels.dtype} {self.labels.shape}"
            )
        if self.uv.shape != (2, *self.labels.shape) or self.uv.dtype != np.float32:
            raise ShapeError(
                f"uv must be float32 {(2, *self.labels.shape)} like the labels, got "
                f"{self.uv.dtype} {self.uv.shape}"
            )

    @property
    def coverage(self) -> float:
        """Share of pixels on a body, 0 to 1."""
        return float((self.labels > 0).mean()) if self.labels.size else 0.0

    @property
    def has_body(self) -> bool:
        """Whether there is a body at all."""
        return bool(self.labels.any())


@door
def read_iuv(path: Path, person: int | None = None, order: Order = "auto") -> Surfaces:
    """An IUV picture: uint8 RGB of I, trunc(255 U), trunc(255 V), as DensePose and this package
    write it.

    DensePose's own tool saves through OpenCV, so that other readers meet V, U, I ("vui"); ours is
    "iuv". "auto" takes for I the channel whose values do not exceed 24; if the first and the last
    both fit, the one that is positive wherever the others are; if that still says nothing,
    ``<stem>_IUV.png`` is "vui" and any other name "iuv".

    ``<stem>_INDS.png`` beside ``<stem>_IUV.png`` tells several people apart. person: an id of that
    file, None for whom the crop shows (:func:`partreid.labels.target.prominence`). The ids are
    ranks by score from 0 up, so that id 0 is those pixels of a body that carry no id.

    U and V are q/255 of the value q on file. DataError if the file is unreadable, lossy or no IUV
    picture.
    """
    lossless(path)
    pixels = read_channels(path)
    if (order if order != "auto" else _order(pixels, path)) == "vui":
        pixels = pixels[..., ::-1]
    labels = pixels[..., 0]
    if labels.max(initial=0) > LAST:
        raise DataError(
            f"{path} has charts up to {labels.max()} when read as {order}, DensePose has {LAST}; "
            "give the other order, or 'auto'"
        )
    ids = path.with_name(f"{path.name.removesuffix('_IUV.png')}_INDS.png")
    if path.name.endswith("_IUV.png") and os.path.lexists(ids):  # whatever it is, it was meant
        labels = np.where(_person(ids, labels, person), labels, 0).astype(np.uint8)
    elif person is not None:
        raise DataError(
            f"{path} cannot be asked for person {person}: there is no {ids.name} beside it that "
            "says which pixels are whose"
        )
    uv = np.where(labels > 0, pixels[..., 1:].transpose(2, 0, 1) / np.float32(255), 0)
    return Surfaces(np.ascontiguousarray(labels), uv.astype(np.float32))


@door
def encode_iuv(surfaces: Surfaces) -> bytes:
    """A PNG of I, trunc(255 U), trunc(255 V) in RGB order. What :func:`read_iuv` gave becomes
    the same PNG again.
    """
    quantised = (surfaces.uv * 255).astype(np.uint8)  # in float32, 255 * (q / 255) is q for every q
    pixels = np.concatenate([surfaces.labels[..., None], quantised.transpose(1, 2, 0)], 2)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _order(pixels: NDArray[np.uint8], path: Path) -> Literal["iuv", "vui"]:
    channels: dict[Literal["iuv", "vui"], int] = {"iuv": 0, "vui": 2}
    fit = [order for order, c in channels.items() if pixels[..., c].max(initial=0) <= LAST]
    if not fit:
        raise DataError(
            f"{path} is no IUV picture: neither its first nor its last channel stays within "
            f"0..{LAST}. Export the numbers (apply_net.py dump, then import the dump), not a "
            "drawing of them"
        )
    if len(fit) == 2:
        body = pixels.any(2)
        fit = [order for order in fit if (pixels[..., channels[order]] > 0)[body].all()]
    if len(fit) == 1:
        return fit[0]
    return "vui" if path.name.endswith("_IUV.png") else "iuv"


def _person(path: Path, labels: NDArray[np.uint8], person: int | None) -> NDArray[np.bool_]:
    """Pixels of one person by the ids of an INDS picture."""
    ids, _ = read_index(path)
    if ids.shape != labels.shape:
        raise DataError(
            f"{path} is {ids.shape[1]} x {ids.shape[0]} but its IUV picture is {labels.shape[1]} x "
            f"{labels.shape[0]}; they belong to different images, remove or replace one"
        )
    people = np.unique(ids[labels > 0])
    if person is None:
        columns = np.stack(
            [((ids == one) & (labels > 0)).sum(0) for one in people]
            or [np.zeros(labels.shape[1], int)]
        )
        person = int(people[prominence(columns).argmax()]) if len(people) else 0
    elif person not in people:
        raise DataError(
            f"{path} has no person {person}, only {', '.join(map(str, people)) or 'nobody'}"
        )
    mask: NDArray[np.bool_] = (ids == person) & (labels > 0)
    return mask


@door
def surfaces_of(
    root: Path, samples: Sequence[Sample], folder: str = "iuv", instead: str = ""
) -> tuple[Path | None, ...]:
    """The IUV picture of each image, ``root/folder/<split>/<stem>.png`` or ``<stem>_IUV.png``; None
    where DensePose found nobody and so wrote none. DataError if not one is there; instead: what its
    sentence says can be had without.
    """
    paths = tuple(
        _beside(root / folder / sample.path.parent.name, sample.path) for sample in samples
    )
    if samples and not any(paths):
        place = root / folder / samples[0].path.parent.name
        raise DataError(
            f"none of {len(samples)} images has a DensePose picture; expected for the first one "
            f"{place / samples[0].path.stem}.png or ..._IUV.png. Import a dump of detectron2 into "
            f"{root / folder} (partreid labels import densepose), or copy DensePose's *_IUV.png "
            f"there{instead}"
        )
    return paths


def _beside(place: Path, image: Path) -> Path | None:
    # DensePose cuts names at the first dot
    stems = dict.fromkeys((image.stem, image.name.split(".")[0]))
    names = (f"{image.stem}.png", *(f"{stem}_IUV.png" for stem in stems))
    return next((place / name for name in names if (place / name).is_file()), None)


@dataclass(frozen=True)
class Coverage:
    """How much of a data set DensePose has seen.

    images: number. missing: names of those in which it found nobody. share: mean share of pixels on
    a body where it did, 0 to 1. absent: those of ``missing`` that the dump does not speak of.
    extra: what it speaks of besides. repeated: files of which it has several entries. broken:
    about entries that could not be used.
    """

    images: int
    missing: tuple[str, ...]
    share: float
    absent: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    broken: str = ""

    @property
    def with_body(self) -> int:
        """Images with a body."""
        return self.images - len(self.missing)

    def sentence(self) -> str:
        """For the user, in one to three sentences."""
        rate = 100 * self.with_body / self.images if self.images else 0.0
        text = (
            f"DensePose found a person in {self.with_body} of {self.images} images ({rate:.1f} %)"
        )
        text += f", on {100 * self.share:.0f} % of their pixels." if self.with_body else "."
        absent = set(self.absent)
        silent = [name for name in self.missing if name not in absent]
        if silent:
            text += f" Nobody in {_some(silent)}."
        if self.absent:
            text += f" Not in the dump: {_some(self.absent)}."
        if self.extra:
            text += f" In the dump but not among the images: {_some(self.extra)}."
        if self.repeated:
            text += (
                f" More than once in the dump, people of all entries taken: {_some(self.repeated)}."
            )
        if self.broken:
            text += f" {self.broken}"
        return text


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


@door
def coverage(
    root: Path, samples: Sequence[Sample], folder: str = "iuv", progress: Progress | None = None
) -> Coverage:
    """Reads every IUV picture once. progress: called with (images done, images in all)."""
    missing, shares = [], []
    for done, (path, sample) in enumerate(
        zip(surfaces_of(root, samples, folder), samples, strict=True), 1
    ):
        surfaces = read_iuv(path) if path else None
        if surfaces is not None and surfaces.has_body:
            shares.append(surfaces.coverage)
        else:
            missing.append(sample.path.name)
        if progress:
            progress(done, len(samples))
    return Coverage(len(samples), tuple(missing), float(np.mean(shares)) if shares else 0.0)


@door
def densepose_labels(
    root: Path,
    samples: Sequence[Sample],
    parts: str = "five",
    folder: str = "iuv",
    missing: Literal["unknown", "background", "error"] = "error",
) -> PartLabels:
    """Part labels from IUV pictures, see :func:`surfaces_of` for where they lie.

    parts: a row of :data:`partreid.labels.schemes.SURFACES`; belongings are not among DensePose's
    charts and count as background. missing: labels of images without a picture: 255, 0, or a
    DataError that counts them at once; also of pictures that are there and empty, but that "error"
    takes these for background.
    """
    groups = find(SURFACES, parts, "surface grouping")
    paths = surfaces_of(root, samples, folder, STRIPES)
    without = [
        sample.path.name for sample, path in zip(samples, paths, strict=True) if path is None
    ]
    if without and missing == "error":
        raise DataError(
            f"DensePose found nobody in {len(without)} of {len(samples)} training images: "
            f"{_some(without)}. Say what they count as: --set cues.parts.missing=unknown (losses "
            "skip them) or =background; stripes for all are --set cues.parts=stripes"
        )
    table, blank = lookup(groups), UNKNOWN if missing == "unknown" else 0

    def read(index: int) -> NDArray[np.uint8]:
        path, image = paths[index], samples[index].path
        surfaces = read_iuv(path) if path else None
        if path is None or surfaces is None or not surfaces.has_body:
            width, height = image_size(image)
            return np.full((height, width), blank, np.uint8)
        return table[fitted(surfaces.labels, path, image)]

    return PartLabels(scheme_of(groups), read)
