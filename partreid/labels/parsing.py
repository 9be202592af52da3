"""Part labels from label images: one file per crop whose pixel values are classes, of our own
world or of a parser.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError, RecipeError, ShapeError
from partreid.labels.base import PartLabels
from partreid.labels.places import (
    MISSING,
    Missing,
    find_file,
    fitted,
    image_size,
    label_path,
    read_numbers,
    require_files,
)
from partreid.labels.schemes import HALVED, SIDED, SURFACES, find, lookup, scheme_of
from partreid.labels.sources import SOURCES, Accessories, names_of, require, source_of
from partreid.recipes.base import unknown
from partreid.types import UNKNOWN, PartScheme, Sample
from partreid.utils.arguments import Axes, door
from partreid.utils.arrays import read_array

HIGHEST = 31  # label of surfaces, belongings (from 25) and occluders (30, 31)
LARGEST_LOGIT = 1e6  # networks give tens


@door
def surface_labels(
    root: Path, samples: Sequence[Sample], parts: str = "five", folder: str = "labels"
) -> PartLabels:
    """Labels of DensePose surfaces and belongings (palette PNGs) under
    ``root/folder/<split>/<stem>.png``.

    parts: a row of :data:`partreid.labels.schemes.SURFACES`. Every file is looked for at once:
    DataError names the first missing one.
    """
    groups = find(SURFACES, parts, "surface grouping")
    paths = [label_path(root, sample.path, folder) for sample in samples]
    first = next((p for p in paths if not p.is_file()), None)
    if first is not None:
        missing = sum(not p.is_file() for p in paths)
        raise DataError(
            f"{missing} of {len(paths)} training images have no label; the first missing is "
            f"{first}. Make or copy the labels to that folder, or choose a method that needs none "
            "(bot, pcb); stripes in their place are --set cues.parts=stripes"
        )
    table = lookup(groups)

    def read(index: int) -> NDArray[np.uint8]:
        return read_labels(paths[index], table, samples[index].path)

    return PartLabels(scheme_of(groups), read)


@door
def parsing_labels(
    root: Path,
    samples: Sequence[Sample],
    source: str = "lip",
    parts: str = "five",
    folder: str = "parsing",
    accessories: Accessories = "background",
    allow_missing_parts: bool = False,
    missing: Missing = "error",
) -> PartLabels:
    """Labels of a human parser, from ``<stem>.png``, ``<stem>.npy`` or ``<stem>_seg.npy`` in
    ``root/folder/<split>``.

    source: whose classes they are, a row of :data:`partreid.labels.sources.SOURCES`, or "parts" for
    images that hold the parts themselves. parts: a row of :data:`partreid.labels.schemes.SETS`.
    accessories: what bags count as. missing: what to do about images without a file: "error", or
    "unknown": they teach nothing about parts.

    RecipeError, before any file is looked for, if the source cannot give one of the parts and
    ``allow_missing_parts`` is not set. DataError counts the missing files and names the first.
    """
    mapper = Mapper(source, parts, accessories, allow_missing_parts)
    if missing not in MISSING:
        raise RecipeError(unknown("rule for missing labels", missing, MISSING))
    paths = class_files(root, samples, source, folder, missing)

    def read(index: int) -> NDArray[np.uint8]:
        path, image = paths[index], samples[index].path
        if path is None:
            width, height = image_size(image)
            return np.full((height, width), UNKNOWN, np.uint8)
        return mapper(read_classes(path, source, parts, image))

    return PartLabels(mapper.scheme, read)


@door
def class_files(
    root: Path,
    samples: Sequence[Sample],
    source: str,
    folder: str = "parsing",
    missing: Missing = "error",
) -> list[Path | None]:
    """The file of a parser's classes for each image, None without one. DataError as ``missing``
    has it.
    """
    names = names_of(source)
    paths = [find_file(root, folder, sample.path, names) for sample in samples]
    require_files(paths, samples, root / folder, missing, names[:2])
    return paths


@door
def read_labels(
    path: Path, table: NDArray[np.uint8], image: Path | None = None
) -> NDArray[np.uint8]:
    """A label image through ``table`` [256] as uint8 [H, W]. DataError if unreadable or not
    shaped like its image.
    """
    labels, _ = read_numbers(path)
    if labels.max() > HIGHEST:
        raise DataError(
            f"{path} holds the value {labels.max()}; images of surfaces and belongings have 0 to "
            f"{HIGHEST}; make it again"
        )
    return table[labels if image is None else fitted(labels, path, image)]


@door
def read_classes(
    path: Path, source: str, parts: str = "five", image: Path | None = None
) -> NDArray[np.uint8]:
    """A parser's classes as uint8 [H, W], from a palette or grey PNG, integers [H, W] or logits
    float [H, W, C].

    DataError if it cannot be read, holds classes that ``source`` does not have, or is not shaped
    like its image.
    """
    count = len(source_of(source, parts).classes)
    mode = "npy"
    if path.suffix == ".npy":
        labels = _read_array(path, source, count)
    else:
        labels, mode = read_numbers(path)
    if image is not None:
        labels = fitted(labels, path, image)
    highest, lowest = int(labels.max(initial=0)), int(labels.min(initial=0))
    greys = {grey + up for grey in grey_palette(count) for up in (0, 1)}  # some tools round up
    if mode == "L" and highest >= count and set(np.unique(labels).tolist()) <= greys:
        raise DataError(
            f"{path} holds grey levels of SCHP's palette (up to {highest}), not classes: it was "
            "read or saved as a grey picture, as cv2.imread(..., IMREAD_GRAYSCALE) does, and "
            "different classes have become one. Take the parser's own palette PNG, read with PIL"
        )
    if not 0 <= lowest <= highest < count:
        fits = ", ".join(
            name for name, other in SOURCES.items() if 0 <= lowest <= highest < len(other.classes)
        )
        raise DataError(
            f"{path} holds class {highest if highest >= count else lowest}; source '{source}' has "
            f"0 to {count - 1}. Name the parser that made it with --set cues.parts.source=..., on "
            "import with --parser "
            f"({f'its values fit {fits}' if fits else 'no parser known here has such a class'})"
        )
    return labels.astype(np.uint8)


@door
def palette(count: int) -> NDArray[np.uint8]:
    """Colors uint8 [count, 3] of SCHP's PNGs (PASCAL VOC's): the class's bits, dealt to red,
    green and blue.
    """
    classes = np.arange(count)[:, None]
    channels = np.arange(3)
    return np.sum([(classes >> 3 * i + channels & 1) << 7 - i for i in range(8)], axis=0).astype(
        np.uint8
    )


@door
def grey_palette(count: int) -> list[int]:
    """The grey levels that OpenCV turns :func:`palette` into: 0.299 R + 0.587 G + 0.114 B,
    rounded down.
    """
    return [int(level) for level in palette(count).astype(int) @ [299, 587, 114] // 1000]


class Mapper:
    """Class labels of ``source`` to the parts of a set: ``Mapper("lip", "five")(labels)``. Pure;
    sides follow mirrors.

    scheme: the parts, with "accessories" last if they are their "own". report: what the source
    gives of the set. RecipeError, at once, if parts cannot be had and ``allow_missing_parts`` is
    not set.
    """

    @door
    def __init__(
        self,
        source: str,
        parts: str,
        accessories: Accessories = "background",
        allow_missing_parts: bool = False,
    ) -> None:
        self.report = require(source, parts, accessories, allow_missing_parts)
        self.source, self.parts = source_of(source, parts), parts
        self.by_u = self.source.has_u
        groups = dict(self.source.sets[parts])
        if accessories == "torso":
            torso = next(name for name in ("torso", "chest", "upper") if name in groups)
            groups[torso] += self.source.accessories
        elif accessories == "own":
            groups["accessories"] = self.source.accessories
        self.scheme: PartScheme = scheme_of(groups)
        self.table = lookup(groups)
        self.hung = self.source.accessories if accessories == "torso" else ()

    def __call__(
        self, labels: NDArray[np.uint8], uv: NDArray[np.floating] | None = None
    ) -> NDArray[np.uint8]:
        """Classes uint8 [H, W] to parts uint8 [H, W]: 0 background, 1..K, 255 where a side cannot
        be told.

        uv: DensePose's U and V, float [2, H, W] in [0, 1]; only "five_v" of "densepose24" asks for
        U.
        """
        if labels.ndim != 2 or labels.dtype != np.uint8:
            raise ShapeError(
                f"class labels must be uint8 [H, W], got {labels.dtype} {labels.shape}"
            )
        if uv is not None and (
            uv.shape != (2, *labels.shape) or not np.issubdtype(uv.dtype, np.floating)
        ):
            raise ShapeError(
                f"uv must be float [2, {labels.shape[0]}, {labels.shape[1]}] like the labels, got "
                f"{uv.dtype} {uv.shape}"
            )
        if labels.max(initial=0) >= len(self.source.classes):
            raise DataError(
                f"class {labels.max()} in labels of classes 0 to {len(self.source.classes) - 1}; "
                "name the source they come from"
            )
        out = self.table[labels]
        if self.parts in HALVED and self.source.torso:
            self._cut_torso(out, labels, uv[0] if uv is not None and self.by_u else None)
        if self.parts in SIDED:
            self._take_sides(out, labels)
        return out

    def _cut_torso(
        self, out: NDArray[np.uint8], labels: NDArray[np.uint8], u: NDArray[np.floating] | None
    ) -> None:
        """Torso below half the height of its box, or where U is not below 0.5 (U runs from neck
        to hip), is lower.
        """
        torso, hung = np.isin(labels, self.source.torso), np.isin(labels, self.hung)
        rows = np.flatnonzero((torso if torso.any() else hung).any(1))
        if len(rows):
            below = np.arange(len(out))[:, None] + 0.5 >= (rows[0] + rows[-1] + 1) / 2
            out[hung & below] = self._part("lower")
            out[torso & (below if u is None else ~(u < 0.5))] = self._part("lower")

    def _take_sides(self, out: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """Clothes of both legs (gloves: arms) go to the nearer of the left and right one.

        Where both are as near, or neither is seen, the image's half decides: its left half is the
        right leg, as if the person faced the camera. The middle column of an odd width then stays
        unknown; so does everything if the parser knows no sides at all.
        """
        seen = out.copy()
        for limb, classes in self.source.sideless.items():
            open_ = np.isin(labels, classes)
            members = [
                [
                    self._part(f"{side}_{name}")
                    for name in (("leg", "foot") if limb == "leg" else ("arm",))
                ]
                for side in ("left", "right")
            ]
            if not any(
                self.source.sets[self.parts][self.scheme.names[m - 1]]
                for side in members
                for m in side
            ):
                out[open_] = UNKNOWN
            elif open_.any():
                left, right = (squared_distance(np.isin(seen, side)) for side in members)
                half = np.sign(2 * np.arange(out.shape[1]) + 1 - out.shape[1])
                lean = np.where(left != right, np.sign(right - left), half)  # 1 left, -1 right
                out[open_] = np.array([UNKNOWN, members[0][0], members[1][0]], np.uint8)[
                    lean[open_]
                ]

    def _part(self, name: str) -> int:
        return self.scheme.names.index(name) + 1


@door
def to_parts(
    labels: NDArray[np.uint8],
    source: str,
    parts: str,
    uv: NDArray[np.floating] | None = None,
    accessories: Accessories = "background",
    allow_missing_parts: bool = False,
) -> NDArray[np.uint8]:
    """One image through a :class:`Mapper`: classes uint8 [H, W] to parts uint8 [H, W]."""
    return Mapper(source, parts, accessories, allow_missing_parts)(labels, uv)


@door
def squared_distance(mask: Annotated[NDArray[np.bool_], Axes("H W")]) -> NDArray[np.int64]:
    """Squared distance of every pixel to the nearest one of mask bool [H, W]; beyond all others
    if it is empty.
    """
    height, width = mask.shape
    far = 2 * (height + width)
    y = np.arange(height)[:, None]
    above = np.maximum.accumulate(np.where(mask, y, -far), axis=0)
    under = np.minimum.accumulate(np.where(mask, y, height + far)[::-1], axis=0)[::-1]
    down = np.minimum(y - above, under - y) ** 2
    best = np.full(mask.shape, far * far, np.int64)
    for x in np.flatnonzero(mask.any(0)):
        np.minimum(best, down[:, x : x + 1] + (np.arange(width) - x) ** 2, out=best)
    return best


def _read_array(path: Path, source: str, count: int) -> NDArray[Any]:
    """Class indices [H, W], or the highest of logits [H, W, C]."""
    array: NDArray[Any] = read_array(path)
    if array.ndim == 2 and np.issubdtype(array.dtype, np.integer):
        return array
    if array.ndim == 3 and np.issubdtype(array.dtype, np.floating) and array.shape[2] == count:
        if not (np.abs(array) < LARGEST_LOGIT).all():  # NaN is not either
            raise DataError(
                f"{path} has logits that are not finite or beyond {LARGEST_LOGIT:g}; make it again"
            )
        return array.argmax(2)
    fits = [name for name, other in SOURCES.items() if array.shape[2:] == (len(other.classes),)]
    advice = (
        f"{array.shape[2]} classes are those of {', '.join(fits)}"
        if fits
        else "Save it in one of these forms"
    )
    raise DataError(
        f"{path} is {array.dtype} {array.shape}; source '{source}' needs class indices, integers "
        f"[H, W], or logits, floats [H, W, {count}]. {advice}"
    )
