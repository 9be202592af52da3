"""Every method on every trunk as an exported file beside PyTorch: how far apart, at batches \
of 1, 7, 64.

    python -m benchmarks.parity [--json FILE] [--methods bot ...] [--trunks resnet50 hrnet_w32]

Random weights, batch norms as after some training, drawn people. Largest difference as a share of
the largest number of that embedding, and visibilities that change.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.about import about
from benchmarks.inference import SIZE, drawn
from partreid import build
from partreid.data.transforms import to_batch
from partreid.errors import RecipeError
from partreid.export.graph import traced
from partreid.methods import METHODS
from partreid.methods.base import Method
from partreid.methods.contract import scheme
from partreid.recipes import find
from partreid.recipes.base import Spec
from partreid.runtime.model import onnxruntime

BATCHES = (1, 7, 64)
_SEEN = 24  # crops that batch norms see


def made(name: str, trunk: str, pixels: Any) -> Method:
    """A method whose batch norms have seen drawn people: fresh ones would let numbers grow from
    layer to layer.
    """
    torch.manual_seed(0)
    recipe = replace(find(f"synthetic/demo/{name}"), backbone=Spec(trunk, pretrained=False))
    method = build.method(recipe, 100, scheme(recipe)).eval()
    norms = [m for m in method.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train().momentum = None  # the mean of all batches
    with torch.no_grad():
        for start in range(0, _SEEN, 8):
            method.embed(method(to_batch(list(pixels[start : start + 8]))))
    return method.eval()


def measure(name: str, trunk: str, pixels: Any) -> list[dict[str, Any]]:
    method = made(name, trunk, pixels)
    package = onnxruntime()
    options = package.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    model = traced(method, SIZE)
    session = package.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    rows = []
    for batch in BATCHES:
        with torch.inference_mode():
            e = method.embed(method(to_batch(list(pixels[:batch]))))
        vectors, visibility = session.run(None, {"images": pixels[:batch]})
        there, seen = e.vectors.float().numpy(), e.visibility.float().numpy()
        scale = np.maximum(np.abs(there).max((0, 2)), 1e-12)
        rows.append(
            {
                "method": name,
                "trunk": trunk,
                "batch": batch,
                "difference": float((np.abs(vectors - there).max((0, 2)) / scale).max()),
                "flips": int(((visibility > 0) != (seen > 0)).sum()),
                "MiB": round(len(model) / 2**20, 1),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--methods", nargs="+", default=sorted(METHODS))
    parser.add_argument("--trunks", nargs="+", default=["resnet50", "hrnet_w32"])
    options = parser.parse_args()
    pixels = np.stack([crop.pixels(SIZE) for crop in drawn(max(BATCHES))])
    rows: list[dict[str, Any]] = []
    print(f"{'method':10} {'trunk':10} {'batch':>5} {'difference':>11} {'flips':>5} {'MiB':>6}")
    for trunk in options.trunks:
        for name in options.methods:
            try:
                measurements = measure(name, trunk, pixels)
            except RecipeError as error:  # as of DSA-reID on HRNet, which has no stage to branch at
                print(f"{name:10} {trunk:10} not built: {error}", flush=True)
                continue
            for r in measurements:
                rows.append(r)
                print(
                    f"{name:10} {trunk:10} {r['batch']:5} {r['difference']:11.1e} {r['flips']:5} "
                    f"{r['MiB']:6}",
                    flush=True,
                )
            if options.json:  # what is done is kept
                named = {
                    **about("python -m benchmarks.parity"),
                    "onnxruntime": onnxruntime().__version__,
                }
                options.json.write_text(json.dumps({**named, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
