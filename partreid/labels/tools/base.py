"""Which crops labels are for, and where labels lie: a data set's training images, or all crops
below a folder.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from partreid import __version__, build
from partreid.data.folders import images_in, is_folder, is_image
from partreid.errors import DataError
from partreid.recipes.base import Spec
from partreid.types import Benchmark, Sample
from partreid.utils import files

T = TypeVar("T")
Progress = Callable[[int, int], None]
# where cues look for labels: no crops in them
FOLDERS = ("cache", "iuv", "keypoints", "labels", "masks", "parsing")
ORIGIN = "origin.json"  # beside labels that we wrote: what they were made of
NAMED = 3  # names in a sentence
CHUNK = 64  # items read ahead by threads


@dataclass(frozen=True)
class Written:
    """What an import or a making has done: a sentence about coverage, and the cue that reads it
    in training.
    """

    sentence: str
    cue: Spec

    @property
    def settings(self) -> str:
        """For ``partreid train`` and ``partreid labels check``."""
        shown = [f"cues.parts={self.cue.name}"]
        shown += [f"cues.parts.{name}={value}" for name, value in self.cue.args.items()]
        return " ".join(
            f"--set {setting}" if " " not in setting else f"--set '{setting}'" for setting in shown
        )


def crops(root: Path, name: str | None = None) -> Benchmark:
    """The data set ``name``, whose training images cues are for; without a name, all crops below a
    folder as such.

    Folders of labels (``FOLDERS`` directly in ``root``, and wherever ``origin.json`` lies) hold no
    crops. DataError if there are none.
    """
    if name is not None:
        benchmark = build.benchmark(name, root)
    elif (root / ORIGIN).is_file():
        raise DataError(f"{root} holds labels, not crops; give the folder of the crops themselves")
    elif root.is_dir():
        benchmark = Benchmark("crops", root, tuple(map(Sample.of_nobody, _below(root))), {}, ())
    else:
        raise DataError(
            f"there is no folder {root}; give a folder of crops, or with --dataset the root of a "
            "data set"
        )
    if not benchmark.train:
        raise DataError(
            f"{root} holds no {'training images' if name else 'crops'}; labels are made for those"
        )
    return benchmark


def _below(root: Path) -> Iterator[Path]:
    yield from images_in(root)
    for folder in sorted(
        entry.name
        for entry in os.scandir(root)
        if is_folder(entry)
        and entry.name not in FOLDERS
        and not is_image(entry.name)
        and not entry.name.startswith(".")
        and not (root / entry.name / ORIGIN).is_file()
    ):
        yield from images_in(root / folder, recursive=True)


def as_labels(spec: Spec) -> Spec:
    """The cue of labels, where ``spec`` asks for soft masks: what wins in them is what can be
    looked at.
    """
    return Spec(spec.name, **spec.args.without("masks"))


def place_of(root: Path, image: Path) -> Path:
    """The folders of an image below ``root``, under which its label lies too; at least the one
    it lies in.
    """
    inside = image.is_relative_to(root) and image.parent != root
    return image.parent.relative_to(root) if inside else Path(image.parent.name)


def refuse_shared(targets: Sequence[Path], images: Sequence[Path]) -> None:
    """DataError if two images would have one label file."""
    seen: dict[Path, Path] = {}
    for target, image in zip(targets, images, strict=True):
        other = seen.setdefault(target, image)
        if other != image:
            raise DataError(
                f"{other} and {image} would share the label {target}; rename one of them, or label "
                "one folder at a time"
            )


def in_order(job: Callable[[int], T], count: int, progress: Progress | None = None) -> Iterator[T]:
    """``job(0)``, ``job(1)``, ... by threads, a few ahead of who asks. progress: called with
    (done, in all).
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, count, CHUNK):
            for done, value in enumerate(
                pool.map(job, range(start, min(start + CHUNK, count))), start + 1
            ):
                yield value
                if progress:
                    progress(done, count)


def some(names: Sequence[str]) -> str:
    """The first names and how many more there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def claim(folder: Path, about: dict[str, Any], overwrite: bool) -> None:
    """Says in ``folder`` what its labels are made of. DataError if it holds others, which none
    may be mixed with.
    """
    path, about = folder / ORIGIN, {**about, "partreid": __version__}
    if path.is_file() and not overwrite:
        before = read_json(path)
        differ = [key for key in about if key != "partreid" and before.get(key) != about[key]]
        if differ:
            what = ", ".join(f"{key} {before.get(key)!r} and not {about[key]!r}" for key in differ)
            raise DataError(
                f"{folder} already holds other labels ({what}); choose another folder with --out, "
                "or replace them with --overwrite"
            )
        return
    files.write_json(path, about)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of ours. DataError if it is broken."""
    content = files.read_json(path)
    if not isinstance(content, dict):
        raise DataError(
            f"{path} should say where labels come from, it holds a {type(content).__name__}; "
            "remove it, or make the labels anew with --overwrite"
        )
    return content
