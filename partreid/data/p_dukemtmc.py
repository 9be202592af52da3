"""P-DukeMTMC-reID (Zhuo et al., ICME 2018): occluded against whole crops. Made from the withdrawn
DukeMTMC.

The files carry no cameras: occluded crops count as camera 1 and whole ones as camera 2.
"""

from pathlib import Path

from partreid.data.folders import Counts, read_folder
from partreid.data.occluded_reid import leading_identity
from partreid.types import Benchmark, Sample

LAYOUT = """\
P-DukeMTMC-reID/
  train/occluded_body_images/<identity>/<identity>_<n>.jpg
  train/whole_body_images/...
  test/occluded_body_images/...
  test/whole_body_images/..."""

COUNTS: dict[str, Counts] = {"train": (665, 12927), "query": (634, 2163), "gallery": (634, 9053)}


def load(root: Path) -> Benchmark:
    """For those who hold the data already; nothing of it is ever downloaded."""

    def read(split: str, kind: str, camera: int) -> tuple[Sample, ...]:
        return read_folder(
            root / split / f"{kind}_body_images",
            lambda path: (leading_identity(path), camera),
            True,
        )

    train = read("train", "occluded", 1) + read("train", "whole", 2)
    return Benchmark(
        "p_dukemtmc", root, train, {"query": read("test", "occluded", 1)}, read("test", "whole", 2)
    )
