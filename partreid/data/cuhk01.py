"""CUHK01 (Li et al., ACCV 2012): 971 people, two cameras, two crops of each; 485 people train, 486
test.

Ten splits are usual and none was published: ours are drawn by the number of the split. All test
crops ask and all answer; protocol 'single_shot' leaves out the query's own camera, so both
directions are scored at once.
"""

from pathlib import Path

from partreid.data.folders import Counts, drawn, is_number, read_folder
from partreid.errors import DataError
from partreid.types import Benchmark

LAYOUT = """\
CUHK01/
  campus/0001001.png            person 0001; 001 and 002 are camera 1, 003 and 004 camera 2"""

COUNTS: dict[str, Counts] = {"train": (485, 1940), "query": (486, 1944), "gallery": (486, 1944)}
SPLITS = 10


def load(root: Path, split: int = 0) -> Benchmark:
    """Read root/campus. DataError for a file that is not seven digits."""
    samples = read_folder(root / "campus", _parse)
    people = {s.identity for s in samples}
    train = drawn(people, len(people) // 2, split)
    test = tuple(s for s in samples if s.identity not in train)
    return Benchmark(
        "cuhk01", root, tuple(s for s in samples if s.identity in train), {"query": test}, test
    )


def _parse(path: Path) -> tuple[int, int]:
    if not (len(path.stem) == 7 and is_number(path.stem) and int(path.stem[4:]) > 0):
        raise DataError(
            f"{path} is not named like 0001001.png (four digits of the person, three of the crop); "
            "rename it or move it out of campus"
        )
    return int(path.stem[:4]), (int(path.stem[4:]) + 1) // 2
