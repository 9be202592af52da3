"""Does loading keep up? Images per second and core of decoding, moving and labelling, beside those
of the trunks.

    python benchmarks/loading.py [--json FILE]

The crops are those of the tiny synthetic benchmark, at the sizes of the demo and of the papers. One
thread each, so that the two columns compare: where loading is faster than the trunk, one loader
core feeds at least one trunk core.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from partreid import build
from partreid.data.loader import TrainSet, collate
from partreid.data.synthetic import PRESETS, write
from partreid.data.transforms import crop, erase, mirror
from partreid.labels.parsing import surface_labels
from partreid.layers.memory import FORMAT, arrange
from partreid.layers.trunks import BACKBONES

CASES = (
    ((128, 64), "small", {"width": 24}, 64),
    ((256, 128), "resnet50", {"pretrained": False}, 8),
    ((384, 128), "hrnet_w32", {"pretrained": False}, 4),
)


def rate(images: int, run: Callable[[], object], at_least: float = 2.0) -> float:
    """Images per second; repeated for some seconds after one call that warms up."""
    run()
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < at_least:
        run()
        done += images
    return done / (time.perf_counter() - began)


def measure(world: Path) -> list[dict[str, object]]:
    samples = build.benchmark("synthetic-tiny", world).train
    rows: list[dict[str, object]] = []
    for size, name, options, batch in CASES:
        dataset = TrainSet(
            samples,
            [0] * len(samples),
            size,
            [crop(10), mirror(), erase()],
            {"parts": surface_labels(world, samples)},
            0,
        )
        draws = [(i % len(samples), 0, i) for i in range(48)]
        loading = rate(len(draws), lambda d=dataset, w=draws: collate([d[x] for x in w]))  # type: ignore[misc]
        trunk = arrange(BACKBONES[name](**options).train())
        images = torch.randn(batch, 3, *size).to(memory_format=FORMAT)

        def step(trunk: torch.nn.Module = trunk, images: torch.Tensor = images) -> None:
            trunk(images).square().mean().backward()

        training = rate(batch, step)
        rows.append(
            {
                "size": list(size),
                "trunk": name,
                "loaded_per_second": round(loading, 1),
                "trained_per_second": round(training, 1),
                "ratio": round(loading / training, 1),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(write(PRESETS["tiny"], Path(folder) / "world"))
    print(
        "Loading (decode, resize, move, labels, normalise) beside forward + backward; images per "
        "second and core"
    )
    print(f"  {'size':>9}  {'trunk':<12} {'loaded':>8} {'trained':>8} {'ratio':>6}")
    for row in rows:
        size = "x".join(map(str, row["size"]))  # type: ignore[call-overload]
        print(
            f"  {size:>9}  {row['trunk']:<12} {row['loaded_per_second']:>8} "
            f"{row['trained_per_second']:>8} {row['ratio']:>6}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
