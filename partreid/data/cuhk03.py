"""CUHK03 (Li et al., CVPR 2014): 1,467 people seen by one of five pairs of cameras.

Boxes drawn by hand ("labeled", as the files spell it) or found by a detector ("detected"). Two ways
to split it: the new protocol (Zhong et al., CVPR 2017: 767 people train, 700 test), which every
paper of ours uses, and the classic one of 20 splits with 100 test people each. Read from the
released cuhk-03.mat, whose images are unpacked once to images_labeled or images_detected beside it,
or, for the new protocol, from folders in Market's layout.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

from partreid.data import market1501
from partreid.data.apart import read_apart
from partreid.data.folders import (
    Counts,
    images_in,
    is_number,
    needed,
    read_folder,
    require_files,
)
from partreid.errors import DataError
from partreid.types import Benchmark, Sample
from partreid.utils.files import read_json, write_json
from partreid.utils.text import brief

Kind = Literal["labeled", "detected"]

LAYOUT = """\
cuhk03/                         either, as released:
  cuhk03_release/cuhk-03.mat
  cuhk03_new_protocol_config_{kind}.mat
cuhk03-np/                      or, as folders:
  {kind}/bounding_box_train/0003_c1_21.png
  {kind}/query/...
  {kind}/bounding_box_test/..."""
LAYOUT_CLASSIC = """\
cuhk03/
  cuhk03_release/cuhk-03.mat"""

LAYOUT_PAIR1 = """\
labeled/                        give this folder, or the one that holds it
  train/0000_00.jpg             person 0000; 00 to 04 are camera 1, 05 to 09 camera 2
  val/0000_05.jpg               another 0000: people are numbered apart"""

COUNTS: dict[str, dict[str, Counts]] = {
    "labeled": {"train": (767, 7368), "query": (700, 1400), "gallery": (700, 5328)},
    "detected": {"train": (767, 7365), "query": (700, 1400), "gallery": (700, 5332)},
}
COUNTS_CLASSIC: dict[str, Counts] = {
    "train": (1367, None),
    "query": (100, None),
    "gallery": (100, None),
}
COUNTS_PAIR1: dict[str, Counts] = {"train": (743, 7239), "query": (100, 451), "gallery": (100, 487)}
SPLITS = 20
# beside the unpacked images: per split 100 pairs [pair of cameras, person], from 1
TESTSETS = "testsets.json"


def load(root: Path, kind: Kind) -> Benchmark:
    """The new protocol. DataError if neither folders nor cuhk-03.mat with its split is there."""
    name = f"cuhk03_{kind}"
    other = "detected" if kind == "labeled" else "labeled"
    if root.name == other and (root / "bounding_box_train").is_dir():
        raise DataError(
            f"{root} holds the {other} crops; give the folder '{kind}' beside it, or use "
            f"cuhk03_{other}"
        )
    for folder in (root / kind, root):
        if (folder / "bounding_box_train").is_dir():
            return replace(market1501.load(folder, name), root=root)
    folder = images(root, kind)
    config = f"cuhk03_new_protocol_config_{kind}.mat"
    places = [
        place / config for place in (root, root / "cuhk03_release") if (place / config).is_file()
    ]
    if not places:
        raise DataError(
            f"there is no {config} in {root}, which says who trains and who tests; put it there, "
            f"or use cuhk03_{kind}_classic"
        )
    train, query, gallery = (_named(folder, listed) for listed in _new_protocol(places[0]))
    require_files([s.path for s in train + query + gallery], config)
    return Benchmark(name, root, train, {"query": query}, gallery)


def load_classic(root: Path, kind: Kind, split: int = 0) -> Benchmark:
    """One of the 20 splits that cuhk-03.mat carries; all test crops ask and all answer."""
    folder = images(root, kind)
    record = folder / TESTSETS
    test = _test_set(record, split)
    samples = _named(folder, [path.name for path in images_in(folder)])
    held_out = tuple(s for s in samples if s.identity in test)
    return Benchmark(
        f"cuhk03_{kind}_classic",
        root,
        tuple(s for s in samples if s.identity not in test),
        {"query": held_out},
        held_out,
    )


def load_pair1(root: Path) -> Benchmark:
    """The labelled crops of camera pair 1 alone: root/train learns; of root/val, or below
    root/labeled, camera 1 asks and camera 2 answers. DataError for a file of another name.
    """
    folder = root / "labeled" if (root / "labeled" / "train").is_dir() else root
    test = read_folder(folder / "val", _shot)
    return Benchmark(
        "cuhk03_pair1",
        root,
        read_folder(folder / "train", _shot),
        {"query": tuple(s for s in test if s.camera == 1)},
        tuple(s for s in test if s.camera == 2),
    )


def _shot(path: Path) -> tuple[int, int]:
    """0007_05.jpg is person 8 by camera 2."""
    person, _, shot = path.stem.partition("_")
    if not (len(person) == 4 and len(shot) == 2 and is_number(person) and is_number(shot)):
        raise DataError(
            f"{path} is not named like 0007_05.jpg (four digits of the person, two of the shot); "
            f"rename it or move it out of {path.parent.name}"
        )
    return int(person) + 1, 1 if int(shot) < 5 else 2


def images(root: Path, kind: Kind) -> Path:
    """The folder of unpacked images, made from cuhk-03.mat if it is not there yet."""
    folder = root / f"images_{kind}"
    if folder.is_dir():
        return folder
    for mat in (root / "cuhk03_release" / "cuhk-03.mat", root / "cuhk-03.mat"):
        if mat.is_file():
            unpack(mat, kind, folder)
            return folder
    raise DataError(
        f"there is no folder {root / kind / 'bounding_box_train'} and no cuhk-03.mat in {root} or "
        "its cuhk03_release; give the data set's root with --data"
    )


def unpack(mat: Path, kind: Kind, out: Path) -> int:
    """All images of one kind to ``out``/<pair>_<person>_<view>_<n>.png, and the test sets; returns
    how many images.

    ``out`` appears whole or not at all. Needs h5py: the file is MATLAB 7.3. DataError if it cannot
    be read.
    """
    needed("h5py", "mat", f"reading {mat.name}")
    scratch = out.with_name(out.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    *names, last = read_apart(
        "unpack",
        mat,
        kind,
        str(scratch),
        remedy="it is not the released file or was copied "
        "only in part: unpack cuhk03_release.zip again",
    )
    write_json(scratch / TESTSETS, last["tests"])
    os.replace(scratch, out)
    return len(names)


def _new_protocol(config: Path) -> tuple[list[str], ...]:
    """Names of the training, query and gallery images; the file is MATLAB 5."""
    needed("scipy", "mat", f"reading {config.name}")
    (lists,) = read_apart("protocol", config, remedy="fetch it again")
    return tuple(
        [lists["names"][i] for i in lists[split]] for split in ("train", "query", "gallery")
    )


def _test_set(record: Path, split: int) -> set[int]:
    """Identities of one test set. DataError unless the record holds pairs of whole numbers for
    it.
    """
    if not record.is_file():
        raise DataError(
            f"there is no {record}; remove {record.parent} so that cuhk-03.mat is unpacked again"
        )
    sets = read_json(record)
    pairs = sets[split] if isinstance(sets, list) and 0 <= split < len(sets) else None
    if (
        not isinstance(pairs, list)
        or not pairs
        or not all(
            isinstance(pair, list)
            and len(pair) == 2
            and all(type(n) is int and 0 < n < 1000 * 1000 for n in pair)
            for pair in pairs
        )
    ):
        raise DataError(
            f"{record} holds no test set {split + 1} of pairs of numbers; remove {record.parent} "
            "so that cuhk-03.mat is unpacked again"
        )
    return {1000 * pair + person for pair, person in pairs}


def _named(folder: Path, names: list[str]) -> tuple[Sample, ...]:
    """1_003_2_07.png is pair 1, person 3, seen by its second camera: identity 1003, camera 2."""
    samples = []
    for name in names:
        fields = name.split("_")
        if len(fields) != 4 or not all(is_number(field) for field in fields[:3]) or "/" in name:
            raise DataError(
                f"{folder}: {brief(name)} is not named like 1_003_2_07.png (pair, person, view, "
                f"number); remove {folder} so that cuhk-03.mat is unpacked again"
            )
        samples.append(
            Sample(folder / name, 1000 * int(fields[0]) + int(fields[1]), int(fields[2]))
        )
    return tuple(samples)
