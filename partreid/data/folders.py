"""Reading crops from folders whose file names carry identity and camera."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from partreid.errors import DataError
from partreid.types import JUNK, Sample

IMAGES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
MARKET_NAME = re.compile(r"(-?\d+)_c(\d+)")  # 0002_c1s1_000451_03.jpg: identity 2, camera 1


def images_in(folder: Path, recursive: bool = False) -> Iterator[Path]:
    """Image files below ``folder`` in the order of their names, the same on every file system."""
    found = folder.rglob("*") if recursive else folder.iterdir()
    yield from sorted(p for p in found if p.suffix.lower() in IMAGES and not p.name.startswith("."))


def market_folder(folder: Path, junk: bool = False) -> tuple[Sample, ...]:
    """Crops named as in Market-1501. Identity -1 is dropped unless ``junk``. DataError if there are none."""

    def parse(path: Path) -> tuple[int, int]:
        match = MARKET_NAME.match(path.name)
        if match is None:
            raise DataError(f"{path} is not named like 0002_c1s1_000451_03.jpg (identity, _c, camera); rename it or "
                            f"move it out of {folder.name}")
        return int(match[1]), int(match[2])

    samples = read_folder(folder, parse)
    return samples if junk else tuple(s for s in samples if s.identity != JUNK)


def read_folder(folder: Path, parse: Callable[[Path], tuple[int, int]], recursive: bool = False) -> tuple[Sample, ...]:
    """Samples of all images in ``folder``; ``parse`` gives identity and camera of a path."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give the data set's root with --data, the folder that holds "
                        f"'{folder.name}'")
    samples = tuple(Sample(path, *parse(path)) for path in images_in(folder, recursive))
    if not samples:
        raise DataError(f"{folder} holds no images ({', '.join(IMAGES)}); check that the archive was unpacked fully")
    return samples


def count_note(name: str, found: dict[str, tuple[int, int]], expected: dict[str, tuple[int, int]]) -> list[str]:
    """Sentences for every split whose (identities, images) differ from what the data set should have."""
    return [
        f"{name}: {split} has {found[split][0]} identities in {found[split][1]} images, expected "
        f"{expected[split][0]} in {expected[split][1]}: the copy is incomplete or another release"
        for split in expected if split in found and found[split] != expected[split]
    ]


def counts(samples: Sequence[Sample]) -> tuple[int, int]:
    """(identities, images) of a split."""
    return len({s.identity for s in samples}), len(samples)
