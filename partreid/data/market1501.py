"""Market-1501 (Zheng et al., ICCV 2015) and the data sets that took over its layout.

root/{bounding_box_train,query,bounding_box_test}/0002_c1s1_000451_03.jpg; identity 0 = distractor, -1 = junk.
"""

from pathlib import Path

from partreid.data.folders import market_folder
from partreid.types import Benchmark

COUNTS = {"train": (751, 12936), "query": (750, 3368), "gallery": (751, 15913)}  # gallery without junk, with 0


def load(root: Path, name: str = "market1501") -> Benchmark:
    """Read the three folders below ``root``; a further query set is any folder query_<name>. DataError if absent."""
    query = {"query": market_folder(root / "query")}
    query |= {folder.name.removeprefix("query_"): market_folder(folder)
              for folder in sorted(root.glob("query_*")) if folder.is_dir()}
    return Benchmark(name, root, market_folder(root / "bounding_box_train"), query,
                     market_folder(root / "bounding_box_test"))
