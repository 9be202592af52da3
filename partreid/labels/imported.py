"""Importing a dump of detectron2: the person a crop is of, as one IUV picture under the name of
the image.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

import numpy as np

from partreid.errors import DataError, RecipeError
from partreid.labels.densepose import Coverage, Progress, Surfaces, encode_iuv, read_iuv
from partreid.labels.dumps import Detection, read_dump
from partreid.labels.places import Missing, image_size
from partreid.labels.target import prominence
from partreid.recipes.base import unknown
from partreid.types import Sample
from partreid.utils.files import write_atomically
from partreid.utils.text import brief

Select = Literal["target", "area", "score", "center"]
SHOWN = 3  # broken labels that are told of
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")


def place(detection: Detection, height: int, width: int) -> Surfaces:
    """A detection on an image of that size: its box's corner is cut to whole pixels, what lies
    outside is cut off, uv is clamped to [0, 1], pixels without a number for u or v are background.
    """
    labels, uv = np.zeros((height, width), np.uint8), np.zeros((2, height, width), np.float32)
    left, top = int(detection.box[0]), int(detection.box[1])
    h, w = detection.labels.shape
    rows, columns = (
        slice(max(top, 0), min(top + h, height)),
        slice(max(left, 0), min(left + w, width)),
    )
    if rows.start < rows.stop and columns.start < columns.stop:
        inner = (
            slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left),
        )
        part = detection.uv[:, inner[0], inner[1]]
        body = (detection.labels[inner] > 0) & ~np.isnan(part).any(0)
        labels[rows, columns] = detection.labels[inner] * body
        uv[:, rows, columns] = np.where(body, part.clip(0, 1), 0)
    return Surfaces(labels, uv)


def choose(detections: Sequence[Detection], select: Select, size: tuple[int, int]) -> int:
    """Which of several people a crop is of; the first of equals. size: (height, width) of the
    image.

    "target": the one with the highest area x nearness, see
    :func:`partreid.labels.target.prominence`, on the pixels that lie in the image; "area": the
    largest box; "score": the surest; "center": the box whose middle is nearest to that of the
    image.
    """

    def rank(detection: Detection) -> float:
        x1, y1, x2, y2 = detection.box
        if select == "area":
            return (x2 - x1) * (y2 - y1)
        if select == "score":
            return detection.score
        return -float(np.hypot((y1 + y2 - size[0]) / 2, (x1 + x2 - size[1]) / 2))

    if select not in get_args(Select):
        raise RecipeError(unknown("way to choose a person", select, get_args(Select)))
    if select == "target":
        columns = np.stack([(place(person, *size).labels > 0).sum(0) for person in detections])
        return int(prominence(columns).argmax())
    return max(range(len(detections)), key=lambda i: rank(detections[i]))


def import_dump(
    dump: Path,
    images: Path | Sequence[Path | Sample],
    out: Path,
    select: Select = "target",
    overwrite: bool = False,
    missing: Missing = "error",
    progress: Progress | None = None,
    checking: Progress | None = None,
    before: Callable[[], None] | None = None,
) -> Coverage:
    """Writes ``out/<split>/<stem>.png``, an IUV picture for each image in which the dump has
    somebody.

    images: a folder with images or with folders of images, or the images themselves; split is the
    folder an image lies in. They find their entry of the dump by folder and stem, or by the stem
    alone where only one image has it. Files appear whole, and those already there are kept unless
    ``overwrite``: an interrupted import goes on where it stopped. All entries are looked at before
    the first picture is written: with missing "error" one that cannot be used stops the import with
    a count of such, with "unknown" their images get no picture. progress, checking: called with
    (images done, images in all). before: called when all has been looked at and something is to be
    written.
    """
    paths = _images(images, out)
    entries = read_dump(dump)
    pairs, extra = match(tuple(entries), paths)
    if not pairs:
        raise DataError(
            f"no image has an entry in {dump}: the first of {len(paths)} images is "
            f"{paths[0].name}, the dump names {brief(next(iter(entries), 'none'))}. Give the "
            "images that were dumped"
        )
    targets = {image: out / image.parent.name / f"{image.stem}.png" for image in paths}
    todo = [
        image for image in paths if image in pairs and (overwrite or not targets[image].is_file())
    ]
    broken: dict[Path, str] = {}

    def person_of(image: Path) -> Surfaces | None:
        return _chosen(entries[pairs[image]], image, select, dump)

    for done, image in enumerate(todo, 1):
        fault = fault_of(partial(person_of, image))
        broken |= {image: fault} if fault else {}
        if checking:
            checking(done, len(todo))
    if broken and (missing == "error" or len(broken) == len(pairs)):
        raise DataError(
            f"{faults(broken, len(todo))} Nothing was written. Dump these images again"
            + (
                ", or leave them without a label with --missing unknown"
                if missing == "error"
                else ""
            )
        )
    if before:
        before()
    lost, absent, shares = [], [], []
    for done, image in enumerate(paths, 1):
        target = targets[image]
        if target.is_file() and not overwrite:
            surfaces: Surfaces | None = read_iuv(target, order="iuv")
        else:
            known = image in pairs and image not in broken
            surfaces = person_of(image) if known else None
            if surfaces is not None and surfaces.has_body:
                write_atomically(target, encode_iuv(surfaces))
        if surfaces is not None and surfaces.has_body:
            shares.append(surfaces.coverage)
        else:
            lost.append(image.name)
            absent += [] if image in pairs else [image.name]
        if progress:
            progress(done, len(paths))
    return Coverage(
        len(paths),
        tuple(lost),
        float(np.mean(shares)) if shares else 0.0,
        tuple(absent),
        extra,
        entries.repeated,
        faults(broken, len(todo)) if broken else "",
    )


def fault_of(job: Callable[[], object]) -> str:
    """Runs ``job``. What is wrong with the file that it reads, nothing if it can be used."""
    try:
        job()
    except DataError as error:
        return str(error)
    return ""


def faults(broken: Mapping[Path, str], of: int) -> str:
    """How many label files cannot be used, and the first few, one of each kind before others."""
    kinds: dict[str, list[str]] = {}
    for path, fault in broken.items():
        kinds.setdefault(re.sub(r"\S*[\d/]\S*", "", fault), []).append(f"{path.name}: {fault}")
    first = [fault for rank in zip_longest(*kinds.values()) for fault in rank if fault][:SHOWN]
    more = f" And {len(broken) - len(first):,} more." if len(broken) > len(first) else ""
    return (
        f"{len(broken):,} of {of:,} labels cannot be used, for {len(kinds)} "
        f"reason{'s' if len(kinds) > 1 else ''}. "
        f"{' '.join(f'({i}) {fault}.' for i, fault in enumerate(first, 1))}{more}"
    )


def _chosen(
    people: Sequence[Detection], image: Path, select: Select, dump: Path
) -> Surfaces | None:
    if not people:
        return None
    width, height = image_size(image)
    right, bottom = (max(person.box[i] for person in people) for i in (2, 3))
    if right > width + 1 or bottom > height + 1:
        raise DataError(
            f"{dump} has somebody up to ({right:.0f}, {bottom:.0f}) in {image}, which is {width} x "
            f"{height}: the dump was made of larger images. Give those as the images, and "
            "overwrite what is there"
        )
    return place(people[choose(people, select, (height, width))], height, width)


def _images(images: Path | Sequence[Path | Sample], out: Path) -> list[Path]:
    if isinstance(images, Path):
        folders = [
            images,
            *(folder for folder in images.glob("*") if folder.is_dir() and folder != out),
        ]
        paths = sorted(
            p for folder in folders for p in folder.glob("*") if p.suffix.lower() in SUFFIXES
        )
    else:
        paths = [image.path if isinstance(image, Sample) else image for image in images]
    if not paths:
        raise DataError(
            f"there are no images{f' in {images}' if isinstance(images, Path) else ''} to import "
            "for"
        )
    seen: dict[tuple[str, str], Path] = {}
    for path in dict.fromkeys(paths):
        other = seen.setdefault((path.parent.name, path.stem), path)
        if other != path:
            raise DataError(
                f"{other} and {path} would share one IUV picture; import them into different "
                "folders"
            )
    return list(seen.values())


def match(names: Sequence[str], images: Sequence[Path]) -> tuple[dict[Path, str], tuple[str, ...]]:
    """Image to file name of the dump, and the file names that belong to no image. DataError
    where it is not clear.
    """
    pairs: dict[Path, str] = {}
    by_place = {(image.parent.name, image.stem): image for image in images}
    places = {name: PurePosixPath(name.replace("\\", "/")) for name in names}
    for name, place_ in places.items():
        image = by_place.get((place_.parent.name, place_.stem))
        if image is not None and pairs.setdefault(image, name) != name:
            raise DataError(
                f"the dump has two entries for {image}: {pairs[image]} and {name}; dump it once"
            )
    taken, free = set(pairs.values()), dict[str, list[Path]]()
    for image in images:
        if image not in pairs:
            free.setdefault(image.stem, []).append(image)
    loose: dict[Path, str] = {}
    for name in (name for name in names if name not in taken and places[name].stem in free):
        candidates = free[places[name].stem]
        if len(candidates) > 1:
            raise DataError(
                f"the dump's {name} may be {candidates[0]} or {candidates[1]}; import one folder "
                "at a time"
            )
        if loose.setdefault(candidates[0], name) != name:
            raise DataError(
                f"{candidates[0]} may be the dump's {loose[candidates[0]]} or {name}; remove one "
                "of them"
            )
    pairs |= loose
    named = set(pairs.values())
    return pairs, tuple(name for name in names if name not in named)
