"""Market-1501 (Zheng et al., ICCV 2015) and the data sets that took over its layout.

Identity 0 = distractor: seen by every query and always wrong; -1 = junk: dropped here.
"""

from dataclasses import replace
from pathlib import Path

from partreid.data.folders import UNSEEN, Counts, market_folder, read_folder
from partreid.types import DISTRACTOR, Benchmark

LAYOUT = """\
Market-1501-v15.09.15/
  bounding_box_train/0002_c1s1_000451_03.jpg
  query/0001_c1s1_001051_00.jpg
  bounding_box_test/0000_c1s1_000151_01.jpg"""
MORE = "gt_bbox"  # optional: 25,259 images for multi-query scores, named as those of the query are
LAYOUT_500K = (
    LAYOUT
    + """
  images/*.jpg                  the further 500,000 distractors"""
)

COUNTS: dict[str, Counts] = {
    # gallery without junk, with identity 0
    "train": (751, 12936),
    "query": (750, 3368),
    "gallery": (751, 15913),
}
COUNTS_500K: dict[str, Counts] = {**COUNTS, "gallery": (751, None)}  # "over 500k"


def load(root: Path, name: str = "market1501", distractors: bool = True) -> Benchmark:
    """Read the three folders below ``root``; a further query set is any folder query_<name>.
    DataError if absent.

    distractors: keep the gallery's images of identity 0, as every published number does. If there
    is a folder gt_bbox, its images become ``multi_query``.
    """
    query = {"query": market_folder(root / "query")}
    query |= {
        folder.name.removeprefix("query_"): market_folder(folder)
        for folder in sorted(root.glob("query_*"))
        if folder.is_dir()
    }
    gallery = market_folder(root / "bounding_box_test")
    if not distractors:
        gallery = tuple(s for s in gallery if s.identity != DISTRACTOR)
    multi_query = market_folder(root / MORE) if (root / MORE).is_dir() else ()
    return Benchmark(
        name, root, market_folder(root / "bounding_box_train"), query, gallery, multi_query
    )


def load_500k(root: Path) -> Benchmark:
    """The same with the distractors of ``root``/images, whatever their names, at the end of the
    gallery.
    """
    benchmark = load(root, "market1501_500k")
    further = read_folder(root / "images", lambda path: (DISTRACTOR, UNSEEN), recursive=True)
    return replace(benchmark, gallery=benchmark.gallery + further)
