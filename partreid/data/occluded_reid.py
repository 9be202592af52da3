"""Occluded-REID (Zhuo et al., ICME 2018): 200 people, 5 occluded and 5 whole crops each.

The files carry no cameras: occluded crops count as camera 1 and whole ones as camera 2. Most train
elsewhere, usually on Market-1501, and test on all 200 people (BPBreID, Sec. 4.1); HCGA (Sec. IV-A)
trains on half of the people and tests on the others. Two benchmarks, which no table may hold side
by side.
"""

from pathlib import Path

from partreid.data.folders import Counts, drawn, is_number, read_folder
from partreid.errors import DataError
from partreid.types import Benchmark, Sample

LAYOUT = """\
Occluded_REID/
  occluded_body_images/001/001_01.tif
  whole_body_images/001/001_01.tif"""

COUNTS: dict[str, Counts] = {"query": (200, 1000), "gallery": (200, 1000)}
COUNTS_HALF: dict[str, Counts] = {"train": (100, 1000), "query": (100, 500), "gallery": (100, 500)}
HALVES = 10  # as many ways to draw the half


def load(root: Path) -> Benchmark:
    """Occluded crops ask, whole crops answer; there is nothing to train on."""
    query, gallery = _both(root)
    return Benchmark("occluded_reid", root, (), {"query": query}, gallery)


def load_half(root: Path, split: int = 0) -> Benchmark:
    """Half of the people, drawn by ``split``, to train on; the others to test. HCGA's own half
    was not published.
    """
    query, gallery = _both(root)
    people = {s.identity for s in query + gallery}
    known = drawn(people, len(people) // 2, split)
    return Benchmark(
        "occluded_reid_half",
        root,
        tuple(s for s in query + gallery if s.identity in known),
        {"query": tuple(s for s in query if s.identity not in known)},
        tuple(s for s in gallery if s.identity not in known),
    )


def _both(root: Path) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    return (
        read_folder(
            root / "occluded_body_images", lambda path: (leading_identity(path), 1), recursive=True
        ),
        read_folder(
            root / "whole_body_images", lambda path: (leading_identity(path), 2), recursive=True
        ),
    )


def leading_identity(path: Path) -> int:
    """The number before the first underscore of a file name."""
    number = path.name.split("_")[0]
    if not is_number(number):
        raise DataError(
            f"{path} does not begin with an identity number and an underscore, like 001_01.tif; "
            "rename it or take it away"
        )
    return int(number)
