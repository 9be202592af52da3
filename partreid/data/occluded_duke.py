"""Occluded-Duke (Miao et al., ICCV 2019): Market's layout. Made from the withdrawn DukeMTMC."""

from pathlib import Path

from partreid.data import market1501
from partreid.types import Benchmark

COUNTS = {"train": (702, 15618), "query": (519, 2210), "gallery": (1110, 17661)}


def load(root: Path) -> Benchmark:
    """For those who hold the data already; nothing of it is ever downloaded."""
    return market1501.load(root, "occluded_duke")
