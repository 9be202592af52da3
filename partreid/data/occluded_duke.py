"""Occluded-Duke (Miao et al., ICCV 2019): another split of the withdrawn DukeMTMC-reID, in Market's
layout.

Its authors publish lists of file names only; :func:`convert_occluded_duke` makes the folders from
them.
"""

import os
import shutil
from pathlib import Path

from partreid.data import market1501
from partreid.data.folders import Counts, images_in
from partreid.errors import DataError
from partreid.types import Benchmark
from partreid.utils.files import read_text
from partreid.utils.text import brief

LAYOUT = """\
Occluded_Duke/                  made by convert_occluded_duke from DukeMTMC-reID and the lists
  bounding_box_train/0001_c2_f0046182.jpg
  query/0005_c2_f0046985.jpg
  bounding_box_test/0002_c1_f0044158.jpg"""

COUNTS: dict[str, Counts] = {"train": (702, 15618), "query": (519, 2210), "gallery": (1110, 17661)}

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
LISTS = (".list", ".txt", ".lst")


def load(root: Path) -> Benchmark:
    """For those who hold the data already; nothing of it is ever downloaded."""
    return market1501.load(root, "occluded_duke")


def convert_occluded_duke(
    duke_root: Path, lists: Path, out: Path, copy: bool = False
) -> dict[str, int]:
    """Make Occluded-Duke in ``out`` from DukeMTMC-reID and the authors' name lists; returns images
    per split.

    duke_root: with bounding_box_train, query and bounding_box_test; a listed image may lie in any
    of them. lists: the folder with the three lists (train, query, and gallery or test in their
    names; one file name a line, what follows it on the line is ignored). copy: copy the images
    instead of hard-linking them; they are copied too where the file system cannot link. DataError
    before anything is written if a list or an image is missing.
    """
    if out.exists():
        raise DataError(f"{out} exists already; choose a folder that does not, or remove it")
    if not lists.is_dir():
        raise DataError(
            f"there is no folder {lists}; give the folder with the name lists of Occluded-Duke"
        )
    names = {split: _read_list(_find_list(lists, split)) for split in FOLDERS}
    where: dict[str, Path] = {}
    for folder in FOLDERS.values():
        if not (duke_root / folder).is_dir():
            raise DataError(
                f"there is no folder {duke_root / folder}; give the root of DukeMTMC-reID"
            )
        where |= {path.name: path for path in images_in(duke_root / folder)}
    absent = [name for listed in names.values() for name in listed if name not in where]
    if absent:
        raise DataError(
            f"{len(absent)} listed images are not in {duke_root}, first {brief(absent[0])}; the "
            "copy of DukeMTMC-reID is incomplete, or these are lists of another data set"
        )
    scratch = out.with_name(out.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    for split, folder in FOLDERS.items():
        (scratch / folder).mkdir(parents=True)
        for name in names[split]:
            _place(where[name], scratch / folder / name, copy)
    os.replace(scratch, out)
    return {split: len(listed) for split, listed in names.items()}


def _find_list(lists: Path, split: str) -> Path:
    words = ("gallery", "test") if split == "gallery" else (split,)
    files = [
        path
        for path in sorted(lists.iterdir())
        if path.suffix.lower() in LISTS and any(word in path.stem.lower() for word in words)
    ]
    if len(files) != 1:
        raise DataError(
            f"{lists} should hold one list for {split} ({' or '.join(words)} in its name, ending "
            f"in {', '.join(LISTS)}), found {len(files)}; leave exactly one there"
        )
    return files[0]


def _read_list(path: Path) -> list[str]:
    lines = [line.split()[0] for line in read_text(path).splitlines() if line.strip()]
    names = [line.replace("\\", "/").rsplit("/", 1)[-1] for line in lines]
    if not names:
        raise DataError(f"{path} names no images; fetch the lists again")
    return list(dict.fromkeys(names))


def _place(source: Path, target: Path, copy: bool) -> None:
    if not copy:
        try:
            os.link(source, target)
            return
        except OSError:  # another disk, or a file system without links
            pass
    shutil.copyfile(source, target)
