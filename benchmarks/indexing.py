"""How long until a data set is known? Seconds to read the layouts of MSMT17's size, names only,
from a warm disk.

    python -m benchmarks.indexing [--json FILE]

The trees are made of empty files: 1,041 people in 32,621 images as folders of people, as Market's
one folder, as a table and as MSMT17's lists. Read five times each; the fastest and the slowest are
told.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from partreid.build import benchmark

PEOPLE, IMAGES, CAMERAS, QUERIES = 1041, 32621, 15, 1041
TIMES = 5


def make(root: Path) -> None:
    """All layouts below ``root``: folders/, market1501/, table/ and msmt17/."""
    crops = [(1 + i % PEOPLE, 1 + (i // PEOPLE) % CAMERAS, i) for i in range(IMAGES)]
    tests = crops[: 2 * QUERIES]
    for split, chosen in (
        ("train", crops),
        ("query", tests[:QUERIES]),
        ("gallery", tests[QUERIES:]),
    ):
        market = {"train": "bounding_box_train", "gallery": "bounding_box_test"}.get(split, split)
        for folder in (
            f"folders/{split}",
            f"market1501/{market}",
            f"table/{split}",
            f"msmt17/{_msmt(split)}",
        ):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for person in range(1, PEOPLE + 1):
            (root / "folders" / split / f"{person:04d}").mkdir()
            (root / "msmt17" / _msmt(split) / f"{person - 1:04d}").mkdir(exist_ok=True)
        lines = []
        for person, camera, i in chosen:
            (
                root / "folders" / split / f"{person:04d}" / f"{person:04d}_c{camera}_{i:06d}.jpg"
            ).touch()
            (root / "market1501" / market / f"{person:04d}_c{camera}s1_{i:06d}_00.jpg").touch()
            (root / "table" / split / f"{i:06d}.jpg").touch()
            name = f"{person - 1:04d}/{person - 1:04d}_{i:06d}_{camera:02d}_0303morning_0000_0.jpg"
            (root / "msmt17" / _msmt(split) / name).touch()
            lines.append(f"{name} {person - 1}\n")
        (root / "msmt17" / f"list_{split}.txt").write_text("".join(lines[split == "train" :]))
        if split == "train":
            (root / "msmt17" / "list_val.txt").write_text(lines[0])
        with open(root / "table" / "table.csv", "a", encoding="utf-8") as table:
            if split == "train":
                table.write("path,identity,camera,split\n")
            table.writelines(
                f"{split}/{i:06d}.jpg,{person},{camera},{split}\n" for person, camera, i in chosen
            )


def _msmt(split: str) -> str:
    return "train" if split == "train" else "test"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        make(Path(scratch))
        for name in ("folders", "market1501", "table", "msmt17"):
            seconds, cpu = [], []
            for _ in range(TIMES):
                began, busy = time.perf_counter(), time.process_time()
                data = benchmark(name, Path(scratch) / name)
                seconds.append(time.perf_counter() - began)
                cpu.append(time.process_time() - busy)
            n = len(data.train) + len(data.query) + len(data.gallery)
            rows.append(
                {
                    "layout": name,
                    "images": n,
                    "seconds": min(seconds),
                    "slowest": max(seconds),
                    "cpu_seconds": min(cpu),
                }
            )
            print(
                f"{name:12} {n:6} images  {min(seconds):.2f} s  (slowest of {TIMES}: "
                f"{max(seconds):.2f} s; of the processor: {min(cpu):.2f} s)"
            )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
