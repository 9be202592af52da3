"""Images a second on one core: PyTorch, the exported file, and the same in 8 bits.

    python -m benchmarks.inference [--json FILE] [--trunks resnet50 hrnet_w32] [--batches 1 16]
        [--runs N]

BPBreID at 256 x 128 with random weights, so that speed is measured and not recognition; drawn
people, one thread. All of one table are measured in one run, round after round of every way in
turn, and the best round of each counts: ratios can then be compared although a machine is shared.
Beside each the least mean cosine of any embedding with PyTorch's. CPU seconds are counted, not the
clock.
"""

import argparse
import json
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.about import about
from partreid import build
from partreid.data.synthetic import PRESETS, render
from partreid.data.transforms import to_batch
from partreid.export.graph import traced
from partreid.export.quantise import LEAST, quantised
from partreid.layers.memory import FORMAT
from partreid.methods.contract import scheme
from partreid.recipes import find
from partreid.recipes.base import Spec
from partreid.runtime.model import mean_cosines, onnxruntime
from partreid.utils.crops import Crop

SIZE = (256, 128)
Way = Callable[[Any], Any]


def drawn(many: int) -> list[Crop]:
    world = PRESETS["full"]
    return [
        Crop(f"person {i}", picture=render(world, i // 3 + 1, i % 3 + 1, 0, i % 3 == 2).image)
        for i in range(many)
    ]


def ways(trunk: str, crops: list[Crop]) -> dict[str, Way]:
    """Pixels uint8 [N, H, W, 3] to vectors [N, M, D], by name."""
    torch.manual_seed(0)
    recipe = replace(find("synthetic/demo/bpbreid"), backbone=Spec(trunk, pretrained=False))
    method = build.method(recipe, 100, scheme(recipe)).eval()
    plain = traced(method, SIZE)
    small = quantised(plain, crops, SIZE)

    def by_torch(memory: torch.memory_format, kind: torch.dtype = torch.float32) -> Way:
        twin = deepcopy(method).to(memory_format=memory)

        def run(pixels: Any) -> Any:
            x = to_batch(list(pixels)).contiguous(memory_format=memory)
            with torch.inference_mode(), torch.autocast("cpu", kind, kind is not torch.float32):
                return twin.embed(twin(x)).vectors.float().numpy()

        return run

    return {
        "eager": by_torch(torch.contiguous_format),
        "eager, channels last": by_torch(FORMAT),
        "eager, bfloat16": by_torch(FORMAT, torch.bfloat16),
        "ONNX": by_onnx(plain),
        "int8": by_onnx(small),
    }


def by_onnx(model: bytes) -> Way:
    package = onnxruntime()
    options = package.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = package.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(["vectors"], {"images": pixels})[0]


def measure(trunk: str, batches: list[int], runs: int) -> list[dict[str, Any]]:
    crops = drawn(max(2 * LEAST, *batches))
    every = ways(trunk, crops)
    rows = []
    for batch in batches:
        pixels = np.stack([crop.pixels(SIZE) for crop in crops[:batch]])
        truth = every["eager"](pixels)
        cosine = {n: float(mean_cosines(truth, run(pixels)).min()) for n, run in every.items()}
        best = dict.fromkeys(every, float("inf"))
        for _ in range(runs):
            for name, run in every.items():
                start = time.process_time()
                run(pixels)
                best[name] = min(best[name], time.process_time() - start)
        rows += [
            {
                "trunk": trunk,
                "batch": batch,
                "way": name,
                "images_per_cpu_second": batch / best[name],
                "ratio": best["eager"] / best[name],
                "cosine": cosine[name],
            }
            for name in every
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--trunks", nargs="+", default=["resnet50", "hrnet_w32"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    print(f"{'trunk':10} {'batch':>5} {'way':22} {'images/s':>9} {'ratio':>6} {'cosine':>8}")
    for trunk in options.trunks:
        measurements = measure(trunk, options.batches, options.runs)
        for r in measurements:
            print(
                f"{r['trunk']:10} {r['batch']:5} {r['way']:22} {r['images_per_cpu_second']:9.1f} "
                f"{r['ratio']:6.2f} {r['cosine']:8.5f}",
                flush=True,
            )
        rows += measurements
    if options.json:
        made = about("python -m benchmarks.inference")
        named = {**made, "onnxruntime": onnxruntime().__version__, "cpu": capability()}
        options.json.write_text(json.dumps({**named, "rows": rows}, indent=1) + "\n")


def capability() -> str:
    """What the processor can, as PyTorch names it, and whether it has VNNI."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text().split() if info.is_file() else []
    vnni = "VNNI" if any("vnni" in flag for flag in flags) else "no VNNI"
    return f"{torch.backends.cpu.get_cpu_capability()}, {vnni}"


if __name__ == "__main__":
    main()
