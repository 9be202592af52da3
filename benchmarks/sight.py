"""Do part maps see who is meant? Runs of BPBreID and HalfSeen on drawn people, whose outlines are
known.

    python -m benchmarks.sight WORLD RUN... [--json FILE]

For each run, on the same weights: pooled by its own maps, by their squares, by its own maps
confined to the exact outline of the person, and by exact maps with exact visibility. And on
occluded queries alone: overlap of its maps with the exact ones, and how often parts show that are
said to be visible with 0-10 %, 10-20 %, ... Nothing is trained here.
"""

import argparse
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.about import about
from partreid import build
from partreid.evaluation.extract import extract, on_grid
from partreid.evaluation.parts import Truth, exact_visibilities
from partreid.evaluation.score import embed_benchmark, score
from partreid.experiments.demo.truth import exact_labels
from partreid.inference import Model, load
from partreid.layers.pooling import weighted_pool
from partreid.losses import label_shares
from partreid.types import NO_CUES, Benchmark, Embeddings, Output, PartMaps, Sample
from partreid.utils.files import write_json

BINS = 10
WAYS = ("own maps", "squared", "inside the exact outline", "exact maps")


def pooled(model: Model, way: str) -> Any:
    """The run's method with other weights to pool by; it asks for the exact labels as a cue."""
    method: Any = model.method
    other, K = copy(method), method.K

    def forward(images: Tensor, cues: Mapping[str, Tensor] = NO_CUES) -> Output:
        f = method.trunk(images)
        maps: PartMaps = method.part_head(f)
        exact = label_shares(cues["parts"], (f.shape[2], f.shape[3]), K + 1).to(f.dtype)
        if way == "exact maps":
            maps = PartMaps.from_probs(exact, maps.scheme)
            seen = maps.visible_above(0.0)
        else:
            seen = method._visible(maps)
        w = maps.probs[:, 1:]
        w = w**2 if way == "squared" else w * (1 - exact[:, :1]) if "outline" in way else w
        vectors = {
            "global": f.mean((2, 3))[:, None],
            "foreground": weighted_pool(f, w.amax(1, keepdim=True)),
            "parts": weighted_pool(f, w),
        }
        groups = {
            name: Embeddings.visible(method.after[name](v), (name,))
            for name, v in vectors.items()
            if name != "parts"
        }
        parts = Embeddings(method.after["parts"](vectors["parts"]), seen, maps.names)
        return Output(f, maps, {**groups, "parts": parts})

    other.forward = forward
    return other


def scores(model: Model, benchmark: Benchmark, world: Path) -> list[dict[str, Any]]:
    """Rank-1 and mAP by query set, 0..1, of each way to pool."""
    labels = exact_labels(world, model)
    cues = {"parts": on_grid(labels, model.recipe.size)}
    rows = []
    ways = (("as it is", model.method), *((way, pooled(model, way)) for way in WAYS))
    for way, method in ways:
        row: dict[str, Any] = {"pooled": way}
        described = embed_benchmark(
            benchmark, lambda s, m=method: extract(m, s, model.recipe.size, cues=cues)
        )
        for s in score(model.method.distance, described, benchmark):
            row[s.queries] = {
                "rank1": round(float(s.ranking.cmc[1]), 4),
                "mAP": round(float(s.ranking.mAP), 4),
            }
        rows.append(row)
        print(
            f"  {way:26}",
            *(
                f"{q}: Rank-1 {100 * v['rank1']:.1f} mAP {100 * v['mAP']:.1f} "
                for q, v in row.items()
                if q != "pooled"
            ),
        )
    return rows


def sight(model: Model, samples: Sequence[Sample], world: Path) -> dict[str, Any]:
    """Overlap of the maps with the exact ones, and the reliability of the soft visibility."""
    labels = exact_labels(world, model)
    assert model.scheme is not None
    truth, soft = Truth(samples, model.scheme, model.recipe.size, labels), []

    def see(span: slice, out: Output) -> None:
        truth.see(span, out)
        assert out.parts is not None
        soft.append(out.parts.visible_softly())

    extract(model.method, samples, model.recipe.size, see=see)
    visibility = torch.cat(soft).numpy().ravel()
    shown = exact_visibilities(samples, model.scheme.K, labels).numpy().ravel()
    bin_of = np.minimum((visibility * BINS).astype(int), BINS - 1)
    bins = [
        {
            "parts": int((bin_of == k).sum()),
            "said": round(float(visibility[bin_of == k].mean()), 3),
            "shown": round(float(shown[bin_of == k].mean()), 3),
        }
        for k in range(BINS)
        if (bin_of == k).any()
    ]
    error = sum(b["parts"] * abs(b["said"] - b["shown"]) for b in bins) / len(visibility)
    numbers = {
        "part_iou": {k: round(v, 4) for k, v in truth.iou().items()},
        "visibility_accuracy": {k: round(v, 4) for k, v in truth.visibility_accuracy().items()},
        "visibility_error": round(error, 4),
        "reliability": bins,
    }
    print(
        f"  occluded queries: part IoU {100 * numbers['part_iou']['mean']:.1f}, foreground "
        f"{100 * numbers['part_iou']['foreground']:.1f}, visibility right in "
        f"{100 * numbers['visibility_accuracy']['mean']:.1f} %, off by {100 * error:.1f} points on "
        "average"
    )
    for b in bins:
        print(f"    said {100 * b['said']:5.1f} %: shown {100 * b['shown']:5.1f} % of {b['parts']}")
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("world", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    numbers = {}
    for run in options.runs:
        model = load(run)
        name = f"{model.recipe.method.name}, seed {model.recipe.seed}"
        print(name)
        benchmark = build.benchmark(model.recipe.train, options.world)
        numbers[name] = {
            "scores": scores(model, benchmark, options.world),
            "occluded": sight(model, benchmark.queries["occluded"], options.world),
        }
    if options.json:
        command = "python -m benchmarks.sight WORLD RUN... --json results/sight.json"
        write_json(options.json, {**about(command), "runs": numbers})


if __name__ == "__main__":
    main()
