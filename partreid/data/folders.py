"""Reading crops from folders whose file names carry identity and camera, and what all data sets
share.
"""

import hashlib
import importlib
import importlib.util
import os
import re
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Any

from partreid.errors import DataError
from partreid.types import JUNK, Sample
from partreid.utils.arguments import door, require
from partreid.utils.folders import IMAGES, entries, images_in, is_folder, is_image
from partreid.utils.text import brief

__all__ = [
    "IMAGES",
    "UNSEEN",
    "Counts",
    "count_note",
    "counts",
    "drawn",
    "entries",
    "images_in",
    "is_folder",
    "is_image",
    "is_number",
    "market_folder",
    "needed",
    "optional",
    "read_folder",
    "require_files",
]

# 0002_c1s1_000451_03.jpg: identity 2, camera 1
MARKET_NAME = re.compile(r"(-1|\d{1,18})_c(\d{1,18})(?!\d)", re.ASCII)
UNSEEN = 0  # camera of a crop whose camera nobody knows

Counts = tuple[int | None, int | None]  # identities and images; None where the release does not say


@door
def market_folder(folder: Path, junk: bool = False) -> tuple[Sample, ...]:
    """Crops named as in Market-1501. Identity -1 is dropped unless ``junk``. DataError if there
    are none.
    """

    def parse(path: Path) -> tuple[int, int]:
        match = MARKET_NAME.match(path.name)
        if match is None:
            raise DataError(
                f"{path} is not named like 0002_c1s1_000451_03.jpg (identity from -1, _c, camera); "
                f"rename it or move it out of {folder.name}"
            )
        return int(match[1]), int(match[2])

    samples = read_folder(folder, parse)
    return samples if junk else tuple(s for s in samples if s.identity != JUNK)


@door
def read_folder(
    folder: Path, parse: Callable[[Path], tuple[int, int]], recursive: bool = False
) -> tuple[Sample, ...]:
    """Samples of all images in ``folder``; ``parse`` gives identity and camera of a path."""
    if not folder.is_dir():
        raise DataError(
            f"there is no folder {folder}; give the data set's root with --data, the folder that "
            f"holds '{folder.name}'"
        )
    samples = tuple(Sample(path, *parse(path)) for path in images_in(folder, recursive))
    if not samples:
        raise DataError(
            f"{folder} holds no images ({', '.join(IMAGES)}); check that the archive was unpacked "
            "fully"
        )
    return samples


@door
def require_files(paths: Sequence[Path], listed_in: str) -> None:
    """DataError if one of the paths is not there; every folder is listed once, no file is looked
    at.
    """
    listings: dict[str, set[str]] = {}
    missing = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in listings:
            listings[folder] = (
                set(os.listdir(folder)) if "\0" not in folder and os.path.isdir(folder) else set()
            )
        if name not in listings[folder]:
            missing.append(path)
    if missing:
        raise DataError(
            f"{len(missing)} of {len(paths)} images that {listed_in} names are not there, first "
            f"{brief(missing[0], 300)}; unpack or copy the images again, or take those lines out"
        )


@door
def drawn(identities: Set[int] | Sequence[int], n: int, seed: int) -> frozenset[int]:
    """``n`` identities at random, the same on every machine and with every release of
    everything.
    """

    def lot(identity: int) -> bytes:
        return hashlib.sha256(f"{seed}:{identity}".encode()).digest()

    return frozenset(sorted(set(identities), key=lot)[:n])


@door
def is_number(text: str) -> bool:
    """Whether a text is a whole number from 0 that fits 64 bits; other alphabets' digits are
    none.
    """
    return text.isascii() and text.isdigit() and len(text) < 19


@door
def optional(module: str, extra: str, purpose: str) -> Any:
    """A library that only some commands need. DataError says how to get it."""
    require(bool(module), "the name of a library", "a text of some characters", module)
    try:
        return importlib.import_module(module)
    except ImportError:
        raise _absent(module.split(".")[0], extra, purpose) from None


@door
def needed(package: str, extra: str, purpose: str) -> None:
    """:func:`optional` for a library that another process imports."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:  # a mere folder of its name, here or on the path
        raise _absent(package, extra, purpose)


def _absent(package: str, extra: str, purpose: str) -> DataError:
    return DataError(
        f"{purpose} needs {package}, which is not installed; install it with pip install "
        f"'partreid[{extra}]'"
    )


@door
def count_note(
    name: str, counts: dict[str, tuple[int, int]], expected: dict[str, Counts]
) -> list[str]:
    """Sentences for every split whose (identities, images) differ from what the data set should
    have.
    """
    notes = []
    for split, (identities, images) in expected.items():
        if split not in counts or (
            identities in (None, counts[split][0]) and images in (None, counts[split][1])
        ):
            continue
        wanted = " in ".join(
            [f"{identities} identities"] * (identities is not None)
            + [f"{images} images"] * (images is not None)
        )
        fewer = any(
            want is not None and have < want
            for want, have in zip((identities, images), counts[split])
        )
        why = (
            "some are missing: unpack or copy this split again"
            if fewer
            else "this is another release, or files were added"
        )
        notes.append(
            f"{name}: {split} has {counts[split][0]} identities in {counts[split][1]} images, "
            f"expected {wanted}; {why}"
        )
    return notes


@door
def counts(samples: Sequence[Sample]) -> tuple[int, int]:
    """(identities, images) of a split."""
    return len({s.identity for s in samples}), len(samples)
