"""DukeMTMC-reID (Zheng et al., ICCV 2017): Market's layout. Withdrawn by its authors' institution in 2019."""

from pathlib import Path

from partreid.data import market1501
from partreid.types import Benchmark

COUNTS = {"train": (702, 16522), "query": (702, 2228), "gallery": (1110, 17661)}


def load(root: Path) -> Benchmark:
    """For those who hold the data already; nothing of it is ever downloaded."""
    return market1501.load(root, "dukemtmc")
