"""What the demo can check because its people are drawn: part maps, visibility, and whether
scenery gives them away.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partreid.data.synthetic import background_color
from partreid.distance import PartDistance
from partreid.evaluation.extract import Labels, extract, on_grid
from partreid.evaluation.parts import Truth
from partreid.evaluation.result import Matching, RunResult
from partreid.evaluation.score import embed_benchmark, score
from partreid.inference import Model
from partreid.labels.parsing import read_labels
from partreid.labels.places import label_path
from partreid.labels.schemes import SURFACES, lookup
from partreid.types import Benchmark, Embeddings, Output, Sample
from partreid.utils import ui
from partreid.utils.images import read_resized


def exact_labels(world: Path, model: Model) -> Labels:
    """Exact part labels of any sample, in the scheme that the model knows."""
    parts = model.recipe.cues["parts"].args.get("parts", "five")
    table = lookup(SURFACES[parts])
    return lambda sample: read_labels(label_path(world, sample.path), table)


def watch(
    model: Model,
    labels: Labels,
    truths: list[Truth],
) -> Callable[[Sequence[Sample]], Callable[[slice, Output], Any]]:
    """Score part maps and visibility against the exact labels; the last entry counts every image
    seen.
    """
    assert model.scheme is not None
    scheme, size = model.scheme, model.recipe.size

    def see(samples: Sequence[Sample]) -> Callable[[slice, Output], Any]:
        truth = Truth(samples, scheme, size, labels)
        if truths:
            truth.confusion, truth.visibility = truths[-1].confusion, truths[-1].visibility
        truths.append(truth)
        return truth.see

    return see


def with_exact_masks(result: RunResult, labels: Labels) -> RunResult:
    """The same weights, but pooled with the exact masks and told exactly which parts show."""
    model, benchmark = result.model, result.benchmark
    method: Any = model.method  # only BPBReID is asked, and what a method is does not name this
    exact = method.with_visibility(attention="given", visibility="threshold", visible_above=0.0)
    with ui.progress("embedding with exact masks") as step:
        described = embed_benchmark(
            benchmark,
            lambda samples: extract(
                exact,
                samples,
                model.recipe.size,
                cues={"parts": on_grid(labels, model.recipe.size)},
                device=model.device,
                progress=step,
            ),
        )
    return replace(
        result,
        matching=Matching("exact masks"),
        described=described,
        query_sets=score(exact.distance, described, benchmark),
    )


def leak_check(benchmark: Benchmark, labels: Labels) -> dict[str, float]:
    """Rank-1 of retrieval by background color alone per query set, and what chance would give."""

    def look(samples: Sequence[Sample]) -> Embeddings:
        colors = []
        for sample in samples:
            truth = labels(sample)
            colors.append(
                background_color(read_resized(sample.path, (truth.shape[0], truth.shape[1])), truth)
            )
        return Embeddings.single("background", torch.from_numpy(np.stack(colors)))

    scored = score(PartDistance("euclidean"), embed_benchmark(benchmark, look), benchmark)
    right = np.mean([_chance(query, benchmark.gallery) for query in benchmark.query])
    return {**{s.queries: s.ranking.cmc[1] for s in scored}, "chance": float(right)}


def _chance(query: Sample, gallery: Sequence[Sample]) -> float:
    """Share of the gallery that is right for a query, under Market's rule."""
    valid = [g for g in gallery if (g.identity, g.camera) != (query.identity, query.camera)]
    return sum(g.identity == query.identity for g in valid) / len(valid)
