"""What channels last is worth: images per second of trunks in both layouts, described and trained,
on one thread.

    python -m benchmarks.memory [--rounds 5] [--json FILE]

The layouts take turns, and of each the best round counts: what else the machine does then touches
both alike. oneDNN's kernels are chosen by the processor; ONEDNN_MAX_CPU_ISA=AVX2 before the command
has a larger one do as a smaller.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from partreid.layers.memory import FORMAT, arrange
from partreid.layers.trunks import BACKBONES

CASES: tuple[tuple[str, dict[str, Any], tuple[int, int], int], ...] = (
    ("small", {"width": 28}, (128, 64), 64),
    ("resnet50", {"pretrained": False}, (256, 128), 8),
)


def measure(rounds: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name, options, size, batch in CASES:
        plain = BACKBONES[name](**options)
        last = arrange(BACKBONES[name](**options))
        images = torch.randn(batch, 3, *size)
        both = ((plain, images), (last, images.to(memory_format=FORMAT)))
        row: dict[str, object] = {"trunk": name, **options, "size": list(size), "batch": batch}
        for what, run in (("described", _describe), ("trained", _train)):
            best = [
                min(times)
                for times in zip(
                    *([_seconds(run, *case) for case in both] for _ in range(rounds)), strict=True
                )
            ]
            row[what] = {
                "contiguous": round(batch / best[0], 2),
                "channels_last": round(batch / best[1], 2),
            }
        rows.append(row)
    return rows


def _describe(trunk: torch.nn.Module, images: torch.Tensor) -> None:
    with torch.inference_mode():
        trunk.eval()(images)


def _train(trunk: torch.nn.Module, images: torch.Tensor) -> None:
    trunk.zero_grad()
    trunk.train()(images).square().mean().backward()


def _seconds(run: Callable[..., None], *arguments: object) -> float:
    run(*arguments)  # warms up
    began = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    rows = measure(options.rounds)
    print(
        f"images per second on one thread ({torch.backends.cpu.get_cpu_capability()}): contiguous, "
        "channels last"
    )
    for row in rows:
        for what in ("described", "trained"):
            rates: Any = row[what]
            print(
                f"{row['trunk']:>9} {what:>9}: {rates['contiguous']:7.2f} "
                f"{rates['channels_last']:7.2f}  "
                f"({rates['channels_last'] / rates['contiguous']:.2f} times)"
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
