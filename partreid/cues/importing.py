"""Importing a dump of detectron2: the person a crop is of, as one IUV picture under the name of the image."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from partreid.cues.densepose import Coverage, Progress, Surfaces, encode_iuv, read_iuv
from partreid.cues.dumps import Detection, read_dump
from partreid.cues.parsing import image_size
from partreid.errors import DataError, RecipeError
from partreid.files import write_atomically
from partreid.recipes.base import unknown
from partreid.types import Sample

Select = Literal["area", "score", "centre"]
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")


def place(detection: Detection, height: int, width: int) -> Surfaces:
    """A detection on an image of that size: its box's corner is cut to whole pixels, what lies outside is cut off, uv
    is clamped to [0, 1], pixels without a number for u or v are background."""
    labels, uv = np.zeros((height, width), np.uint8), np.zeros((2, height, width), np.float32)
    left, top = int(detection.box[0]), int(detection.box[1])
    h, w = detection.labels.shape
    rows, columns = slice(max(top, 0), min(top + h, height)), slice(max(left, 0), min(left + w, width))
    if rows.start < rows.stop and columns.start < columns.stop:
        inner = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
        part = detection.uv[:, inner[0], inner[1]]
        body = (detection.labels[inner] > 0) & ~np.isnan(part).any(0)
        labels[rows, columns] = detection.labels[inner] * body
        uv[:, rows, columns] = np.where(body, part.clip(0, 1), 0)
    return Surfaces(labels, uv)


def choose(detections: Sequence[Detection], select: Select, size: tuple[int, int]) -> int:
    """Which of several people a crop is of; the first of equals. "area": the largest box; "score": the surest;
    "centre": the box whose middle is nearest to the middle of the image, size (height, width)."""
    def rank(detection: Detection) -> float:
        x1, y1, x2, y2 = detection.box
        if select == "area":
            return (x2 - x1) * (y2 - y1)
        if select == "score":
            return detection.score
        return -float(np.hypot((y1 + y2 - size[0]) / 2, (x1 + x2 - size[1]) / 2))

    if select not in ("area", "score", "centre"):
        raise RecipeError(unknown("way to choose a person", select, ("area", "score", "centre")))
    return max(range(len(detections)), key=lambda i: rank(detections[i]))


def import_dump(dump: Path, images: Path | Sequence[Path | Sample], out: Path, select: Select = "area",
                overwrite: bool = False, progress: Progress | None = None) -> Coverage:
    """Writes ``out/<split>/<stem>.png``, an IUV picture for each image in which the dump has somebody.

    images: a folder with images or with folders of images, or the images themselves; split is the folder an image lies
    in. They find their entry of the dump by folder and stem, or by the stem alone where only one image has it. Files
    appear whole, and those already there are kept unless ``overwrite``: an interrupted import goes on where it stopped.
    progress: called with (images done, images in all).
    """
    paths = _images(images, out)
    entries = read_dump(dump)
    pairs, strangers = match(tuple(entries), paths)
    if not pairs:
        raise DataError(f"no image has an entry in {dump}: the first of {len(paths)} images is {paths[0].name}, the "
                        f"dump names {next(iter(entries), 'none')}. Give the images that were dumped")
    missing, absent, shares = [], [], []
    for done, image in enumerate(paths, 1):
        target = out / image.parent.name / f"{image.stem}.png"
        if target.is_file() and not overwrite:
            surfaces: Surfaces | None = read_iuv(target, order="iuv")
        else:
            people = entries[pairs[image]] if image in pairs else []
            surfaces = _chosen(people, image, select, dump) if people else None
            if surfaces is not None and surfaces.found:
                write_atomically(target, encode_iuv(surfaces))
        if surfaces is not None and surfaces.found:
            shares.append(surfaces.coverage)
        else:
            missing.append(image.name)
            absent += [] if image in pairs else [image.name]
        if progress:
            progress(done, len(paths))
    return Coverage(len(paths), tuple(missing), float(np.mean(shares)) if shares else 0.0, tuple(absent), strangers)


def _chosen(people: Sequence[Detection], image: Path, select: Select, dump: Path) -> Surfaces:
    width, height = image_size(image)
    right, bottom = (max(person.box[i] for person in people) for i in (2, 3))
    if right > width + 1 or bottom > height + 1:
        raise DataError(f"{dump} has somebody up to ({right:.0f}, {bottom:.0f}) in {image}, which is {width} x "
                        f"{height}: the dump was made of larger images. Give those as the images, and overwrite what "
                        f"is there")
    return place(people[choose(people, select, (height, width))], height, width)


def _images(images: Path | Sequence[Path | Sample], out: Path) -> list[Path]:
    if isinstance(images, Path):
        folders = [images, *(folder for folder in images.glob("*") if folder.is_dir() and folder != out)]
        paths = sorted(p for folder in folders for p in folder.glob("*") if p.suffix.lower() in SUFFIXES)
    else:
        paths = [image.path if isinstance(image, Sample) else image for image in images]
    if not paths:
        raise DataError(f"there are no images{f' in {images}' if isinstance(images, Path) else ''} to import for")
    seen: dict[tuple[str, str], Path] = {}
    for path in dict.fromkeys(paths):
        other = seen.setdefault((path.parent.name, path.stem), path)
        if other != path:
            raise DataError(f"{other} and {path} would share one IUV picture; import them into different folders")
    return list(seen.values())


def match(names: Sequence[str], images: Sequence[Path]) -> tuple[dict[Path, str], tuple[str, ...]]:
    """Image to file name of the dump, and the file names that belong to no image. DataError where it is not clear."""
    pairs: dict[Path, str] = {}
    by_place = {(image.parent.name, image.stem): image for image in images}
    places = {name: PurePosixPath(name.replace("\\", "/")) for name in names}
    for name, place_ in places.items():
        image = by_place.get((place_.parent.name, place_.stem))
        if image is not None and pairs.setdefault(image, name) != name:
            raise DataError(f"the dump has two entries for {image}: {pairs[image]} and {name}; dump it once")
    taken, free = set(pairs.values()), dict[str, list[Path]]()
    for image in images:
        if image not in pairs:
            free.setdefault(image.stem, []).append(image)
    loose: dict[Path, str] = {}
    for name in (name for name in names if name not in taken and places[name].stem in free):
        candidates = free[places[name].stem]
        if len(candidates) > 1:
            raise DataError(f"the dump's {name} may be {candidates[0]} or {candidates[1]}; import one folder at a time")
        if loose.setdefault(candidates[0], name) != name:
            raise DataError(f"{candidates[0]} may be the dump's {loose[candidates[0]]} or {name}; remove one of them")
    pairs |= loose
    named = set(pairs.values())
    return pairs, tuple(name for name in names if name not in named)
