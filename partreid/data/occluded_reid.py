"""Occluded-REID (Zhuo et al., ICME 2018): 200 people, 5 occluded and 5 whole crops each; test only.

root/{occluded,whole}_body_images/<identity>/<identity>_<n>.tif. The files carry no cameras: occluded crops count
as camera 1 and whole ones as camera 2. Models are trained elsewhere, usually on Market-1501.
"""

from pathlib import Path

from partreid.data.folders import read_folder
from partreid.errors import DataError
from partreid.types import Benchmark

COUNTS = {"query": (200, 1000), "gallery": (200, 1000)}


def load(root: Path) -> Benchmark:
    """Occluded crops ask, whole crops answer; there is nothing to train on."""
    query = read_folder(root / "occluded_body_images", lambda path: (leading_identity(path), 1), recursive=True)
    gallery = read_folder(root / "whole_body_images", lambda path: (leading_identity(path), 2), recursive=True)
    return Benchmark("occluded_reid", root, (), {"query": query}, gallery)


def leading_identity(path: Path) -> int:
    """The number before the first underscore of a file name."""
    number = path.name.split("_")[0]
    if not number.isdigit():
        raise DataError(f"{path} does not begin with an identity number and an underscore, like 001_01.tif")
    return int(number)
