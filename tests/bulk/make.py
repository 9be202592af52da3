"""Shards for tests."""

from pathlib import Path

import pyarrow
from pyarrow import parquet

from partreid.types import Benchmark


def write_shards(folder: Path, benchmark: Benchmark, shards: int, rows: int, bad: int = 0) -> Path:
    """Shards of encoded bytes; every ``bad``-th picture is half a file."""
    folder.mkdir()
    pictures = [Path(sample.path).read_bytes() for sample in benchmark.gallery]
    for number in range(shards):
        data = []
        for row in range(rows):
            whole = pictures[row % len(pictures)]
            data.append(whole[:60] if bad and row % bad == 0 else whole)
        ids = list(range(number * rows, (number + 1) * rows))
        table = {"id": ids, "image": data, "camera": [1] * rows, "time": [0.5] * rows}
        parquet.write_table(pyarrow.table(table), folder / f"{number:03}.parquet")
    return folder


def same(a: Path, b: Path) -> bool:
    """Whether two folders hold the same files byte for byte, and nothing else."""
    one, other = (
        {p.relative_to(f).as_posix(): p.read_bytes() for p in f.rglob("*") if p.is_file()}
        for f in (a, b)
    )
    return one == other
