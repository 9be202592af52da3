"""Occluded copies of whole queries: what stands in for an occluded benchmark where none can be had.

An object, drawn as on the synthetic benchmark, or another person, cut out of a training crop, is
pasted over a stated share of the person. Every draw hangs on the seed and the place of the query in
its set, so the same data, masks and seed give the same pictures. How much of whom is hidden is
recorded.
"""

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partreid.data.own import COLUMNS
from partreid.data.synthetic.occluders import place
from partreid.data.synthetic.streams import Stream
from partreid.errors import ArgumentError, DataError
from partreid.types import DISTRACTOR, Benchmark, Sample
from partreid.utils.arguments import door
from partreid.utils.files import read_json, write_atomically, write_json
from partreid.utils.images import read_image, save_image
from partreid.utils.lock import alone_in

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

RECORD = "occlusions.json"
NAMES = ("{}_fg.png", "{}.png")  # of masks
FINE = 4  # objects are drawn so many times as large, and shrunk
TRIES = 14  # places at which another person is tried
LEAST = 0.02  # share of a crop below which a mask shows nobody


@dataclass(frozen=True)
class Occlusion:
    """What was pasted over one query: the kind of an object, or "person"; the share of the person
    that it hides, in 0..1; whether where the person stands was guessed, for want of a mask.
    """

    kind: str
    hidden: float
    guessed: bool


@dataclass(frozen=True)
class Settings:
    """coverage: least and greatest share of a person that is hidden. people: share of queries that
    another person hides, 0..1.
    """

    seed: int = 0
    coverage: tuple[float, float] = (0.3, 0.6)
    people: float = 0.3

    def __post_init__(self) -> None:
        low, high = self.coverage
        if not 0 < low < high < 1 or high - low < 0.05:
            raise ArgumentError(
                f"coverage is two shares between 0 and 1, at least 0.05 apart, got {low} and {high}"
            )
        if not 0 <= self.people <= 1:
            raise ArgumentError(f"people is a share from 0 to 1, got {self.people}")


@door
def write_occluded(
    benchmark: Benchmark,
    out: Path,
    masks: str = "masks",
    settings: Settings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Mapping[str, Occlusion]:
    """A data set ``table`` in the folder ``out``: the queries as they are (query_whole), a copy of
    each with something in front (query_occluded), and the gallery. There is nothing to train on.

    Pictures of the benchmark stay where they are and are named by their path.

    Args:
        benchmark: With one query set.
        out: A new folder, or one of an interrupted or finished run with the same settings.
        masks: Folder below the benchmark's root: masks/<split>/<stem>.png or <stem>_fg.png, grey,
            brighter than 127 where the person is. They say where a query's person stands, and cut
            people out of the training crops.
        settings: Seed and shares.
        progress: Called with (queries done, queries in all).

    Returns:
        What was pasted, by the name of the written picture.

    Raises:
        DataError: There is more than one query set, no mask at all, or ``out`` holds anything else.
    """
    settings = settings or Settings()
    if len(benchmark.queries) != 1:
        raise DataError(
            f"{benchmark.name} has the query sets {', '.join(benchmark.queries)}; only a data set "
            "with one, of whole people, can be given occlusions"
        )
    (queries,) = benchmark.queries.values()
    others = [s for s in benchmark.train if _mask_file(benchmark.root, masks, s.path) is not None]
    known = sum(_mask_file(benchmark.root, masks, s.path) is not None for s in queries)
    if not known:
        raise DataError(
            f"no query has a mask in {benchmark.root / masks}: "
            f"{'/'.join(queries[0].path.parts[-2:])} needs {masks}/{queries[0].path.parent.name}/"
            f"{queries[0].path.stem}.png, grey, bright where the person is"
        )
    if settings.people and not others:
        raise DataError(
            f"no training crop has a mask in {benchmark.root / masks} to cut a person out with; "
            "make some, or ask for objects alone (people 0)"
        )
    out.mkdir(parents=True, exist_ok=True)
    with alone_in(out):
        header = {
            "data": benchmark.name,
            "queries": len(queries),
            "masks": known,
            "cut_out": len(others),
            "seed": settings.seed,
            "coverage": list(settings.coverage),
            "people": settings.people,
        }
        _require_same(out / RECORD, header)
        write_json(out / RECORD, {**header, "complete": False})
        (out / "query_occluded").mkdir(exist_ok=True)
        occlusions: dict[str, Occlusion] = {}
        for i, sample in enumerate(queries):
            name = f"{i:05d}_{sample.path.stem}.png"
            picture, occlusions[name] = _occluded(
                sample, i, benchmark.root, masks, others, settings
            )
            save_image(Image.fromarray(picture), out / "query_occluded" / name)
            if progress:
                progress(i + 1, len(queries))
        write_atomically(
            out / "table.csv", _table(out, queries, list(occlusions), benchmark.gallery)
        )
        write_json(
            out / RECORD,
            {
                **header,
                "complete": True,
                "kinds": dict(sorted(Counter(o.kind for o in occlusions.values()).items())),
                "hidden": {name: round(o.hidden, 4) for name, o in occlusions.items()},
                "guessed": sorted(name for name, o in occlusions.items() if o.guessed),
            },
        )
    return occlusions


@door
def covered(
    image: Pixels, person: Mask, stream: Stream, coverage: tuple[float, float]
) -> tuple[Pixels, Mask, str]:
    """An image uint8 [H, W, 3] with an object in front that hides a share of ``person`` bool
    [H, W]: the picture, where the object is, and its kind.
    """
    h, w = person.shape
    fine = np.repeat(np.repeat(person, FINE, 0), FINE, 1)
    kind, drawn = place(stream, fine, coverage)
    # as bright as the scene, and no cleaner than a photograph
    level = stream.uniform(0.75, 1.05) * float(np.clip(image.mean() / 110, 0.4, 1.3))
    colored = drawn[..., :3] * level + (stream.array(h * FINE, w * FINE, 1) - 0.5) * 24
    alpha = drawn[..., 3:] / 255.0
    small = _shrunk(np.concatenate([colored * alpha, alpha * 255], 2))
    alpha = small[..., 3:] / 255
    mixed = image * (1 - alpha) + small[..., :3]
    return _pixels(mixed), alpha[..., 0] > 0.5, kind


@door
def walked_past(
    image: Pixels,
    person: Mask,
    other: Pixels,
    other_mask: Mask,
    stream: Stream,
    coverage: tuple[float, float],
) -> tuple[Pixels, Mask] | None:
    """An image uint8 [H, W, 3] with another person, cut out of ``other`` by its mask, in front of
    ``person`` bool [H, W]: the picture, and where they are. None if no place was found.
    """
    h, w = person.shape
    whole = int(person.sum())
    for _ in range(TRIES):
        size = stream.uniform(0.95, 1.25) * h / other.shape[0]
        wide, tall = (max(2, round(n * size)) for n in (other.shape[1], other.shape[0]))
        cut = np.asarray(Image.fromarray(other).resize((wide, tall), Image.Resampling.BILINEAR))
        soft = Image.fromarray(other_mask.astype(np.uint8) * 255)
        alpha = np.asarray(soft.resize((wide, tall), Image.Resampling.BILINEAR)) / 255.0
        x = round((w - wide) / 2 + stream.normal(0, 0.3) * w)
        y = round(h - tall + stream.uniform(0.0, 0.2) * h)
        layer, over = np.zeros((h, w, 3)), np.zeros((h, w))
        top, left = max(y, 0), max(x, 0)
        bottom, right = min(y + tall, h), min(x + wide, w)
        if bottom <= top or right <= left:
            continue
        window = np.s_[top:bottom, left:right]
        layer[window] = cut[top - y : bottom - y, left - x : right - x]
        over[window] = alpha[top - y : bottom - y, left - x : right - x]
        there = over > 0.5
        if coverage[0] <= int((there & person).sum()) / max(whole, 1) <= coverage[1]:
            mixed = image * (1 - over[..., None]) + layer * over[..., None]
            return _pixels(mixed), there
    return None


def _occluded(
    sample: Sample,
    number: int,
    root: Path,
    masks: str,
    others: Sequence[Sample],
    settings: Settings,
) -> tuple[Pixels, Occlusion]:
    stream = Stream(settings.seed, "occlude", number)
    image = np.asarray(read_image(sample.path))
    person = _person(root, masks, sample.path, image.shape[:2])
    guessed = person is None
    if person is None:
        person = _middle(image.shape[:2])
    by_person = stream.chance(settings.people)
    if by_person:
        other = stream.choice(others)
        cut_out = np.asarray(read_image(other.path))
        mask = _person(root, masks, other.path, cut_out.shape[:2])
        done = (
            None
            if mask is None
            else walked_past(image, person, cut_out, mask, stream, settings.coverage)
        )
        if done is not None:
            return done[0], Occlusion("person", _share(person, done[1]), guessed)
    picture, there, kind = covered(image, person, stream, settings.coverage)
    return picture, Occlusion(kind, _share(person, there), guessed)


def _share(person: Mask, there: Mask) -> float:
    return float((person & there).sum() / max(int(person.sum()), 1))


def _mask_file(root: Path, masks: str, image: Path) -> Path | None:
    for name in NAMES:
        path = root / masks / image.parent.name / name.format(image.stem)
        if path.exists():
            return path
    return None


def _person(root: Path, masks: str, image: Path, size: tuple[int, ...]) -> Mask | None:
    """Where the person of a crop stands, bool [H, W]; None without a mask that shows anybody."""
    file = _mask_file(root, masks, image)
    if file is None:
        return None
    grey = np.asarray(read_image(file))[..., 0]
    if grey.shape != size[:2]:
        raise DataError(
            f"{file} is {grey.shape[0]} x {grey.shape[1]} pixels, its crop {size[0]} x {size[1]}; "
            "make masks of these very crops"
        )
    mask: Mask = grey > 127
    return mask if mask.mean() >= LEAST else None


def _middle(size: tuple[int, ...]) -> Mask:
    """An ellipse half as wide as the crop and nine tenths as high."""
    y, x = ((np.arange(n) + 0.5) / n - 0.5 for n in size[:2])
    inside: Mask = (x[None] / 0.25) ** 2 + (y[:, None] / 0.45) ** 2 <= 1
    return inside


def _shrunk(fine: NDArray[np.float64]) -> NDArray[np.float64]:
    h, w, c = fine.shape
    small: NDArray[np.float64] = fine.reshape(h // FINE, FINE, w // FINE, FINE, c).mean((1, 3))
    return small


def _pixels(values: NDArray[np.float64]) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _require_same(record: Path, header: Mapping[str, Any]) -> None:
    """DataError if the folder was made with other settings, or holds files that are not ours."""
    if not record.exists():
        there = [name for name in os.listdir(record.parent) if not name.startswith(".")]
        if there:
            raise DataError(
                f"{record.parent} holds {there[0]} and no {RECORD}; give a new or empty folder"
            )
        return
    before = read_json(record)
    differ = [
        f"{key} is {before.get(key) if isinstance(before, dict) else None}, not {value}"
        for key, value in header.items()
        if not isinstance(before, dict) or before.get(key) != value
    ]
    if differ:
        raise DataError(
            f"{record.parent} was made with other settings ({'; '.join(differ)}); give another "
            "folder"
        )


def _table(
    out: Path, queries: Sequence[Sample], occluded: Sequence[str], gallery: Sequence[Sample]
) -> bytes:
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)

    def line(path: Path | str, sample: Sample, split: str) -> None:
        # a plain name: whoever is numbered 0 is a distractor
        who = "distractor" if sample.identity == DISTRACTOR else str(sample.identity)
        lines.writerow((Path(path).as_posix(), who, sample.camera or "", split))

    for sample in queries:
        line(os.path.relpath(sample.path, out), sample, "query_whole")
    for sample, name in zip(queries, occluded, strict=True):
        line(f"query_occluded/{name}", sample, "query_occluded")
    for sample in gallery:
        line(os.path.relpath(sample.path, out), sample, "gallery")
    return text.getvalue().encode()
