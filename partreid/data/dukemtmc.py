"""DukeMTMC-reID (Zheng et al., ICCV 2017): Market's layout. Withdrawn by its authors'
institution in 2019.
"""

from pathlib import Path

from partreid.data import market1501
from partreid.data.folders import Counts
from partreid.types import Benchmark

LAYOUT = """\
DukeMTMC-reID/
  bounding_box_train/0001_c2_f0046182.jpg
  query/0005_c2_f0046985.jpg
  bounding_box_test/0002_c1_f0044158.jpg"""

COUNTS: dict[str, Counts] = {"train": (702, 16522), "query": (702, 2228), "gallery": (1110, 17661)}


def load(root: Path) -> Benchmark:
    """For those who hold the data already; nothing of it is ever downloaded."""
    return market1501.load(root, "dukemtmc")
