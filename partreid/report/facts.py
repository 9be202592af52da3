"""What a reader needs to judge or repeat the numbers of a report."""

import platform
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from partreid import build
from partreid.evaluation.result import EXPANDED, MULTI_QUERY, OFFICIAL, RERANKED, RunResult
from partreid.inference import Model
from partreid.layers.trunks import BACKBONES
from partreid.types import Benchmark

LIMITS = (
    "Re-identification is used on people who did not ask for it. A distance is evidence, not "
    "proof: similar clothes give small distances between different people. Let a person decide "
    "wherever a decision touches one.",
)
_FURTHER = {
    RERANKED: "re-ranking (k-reciprocal, k1 20, k2 6, weight 0.3)",
    EXPANDED: "expansion (mean with the 3 nearest from other cameras, own weight 2)",
    MULTI_QUERY: "multi-query (mean over all images of a person from the query's camera)",
    OFFICIAL: "the released code's rule (its distances; AP by trapezoids where it had that)",
}


def facts(model: Model, benchmark: Benchmark) -> dict[str, str]:
    """Data, protocol, recipe and device of one model."""
    protocol = build.protocol(benchmark)
    return {
        "data": f"{benchmark.name}: {len(benchmark.gallery)} gallery images, "
        + ", ".join(f"{len(s)} {name} queries" for name, s in benchmark.queries.items()),
        "protocol": f"{protocol.name}: {protocol.sentence}",
        "recipe": f"{model.recipe.name} ({model.recipe.digest}), seed {model.recipe.seed}",
        "device": f"{model.device}, {torch.get_num_threads()} threads, PyTorch "
        f"{torch.__version__}, "
        f"Python {platform.python_version()}",
    }


def facts_of_results(results: Sequence[RunResult]) -> dict[str, str]:
    """The same of all methods, each with its seeds, and what was done besides."""
    known = facts(results[0].model, results[0].benchmark)
    del known["recipe"]  # with more below
    plain = [result for result in results if not result.matching.after]
    for name in dict.fromkeys(result.name for result in plain):
        seeds = [result for result in plain if result.name == name]
        recipe = seeds[0].model.recipe
        height, width = recipe.size
        known[name] = (
            f"{recipe.name}, "
            + ", ".join(f"seed {r.seed} ({r.model.recipe.digest})" for r in seeds)
            + f"; {height} x {width} pixels; {_trunk(seeds[0].model)}; distance "
            f"{_distance(seeds[0])}"
        )
    further = dict.fromkeys(r.matching.after for r in results if r.matching.after)
    known["other rules"] = ", ".join(_FURTHER.get(f, f"{f} parts") for f in further) or "none"
    spent = sum(result.seconds for result in results)
    known["time"] = f"{spent:.0f} s, {peak_memory() / 2**30:.1f} GiB at most"
    return known


def peak_memory() -> int:
    """Peak resident memory of this process in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def _trunk(model: Model) -> str:
    """The trunk and what it started from."""
    spec, start = model.recipe.backbone, model.recipe.start
    settings = build.settings("backbone", BACKBONES, spec)
    named = settings.get("weights")
    is_bare = spec.name == "timm" and named in (None, "none")
    weights = (
        f"{'' if spec.name == 'timm' else 'ImageNet '}weights {Path(named or '').name}".strip()
        if settings.get("pretrained", False) and not is_bare
        else "no pretraining"
    )
    kind = f"timm {spec.args['model']}" if spec.name == "timm" else spec.name
    return f"trunk {kind}, {weights if start is None else f'started from {start}'}"


def _distance(result: RunResult) -> str:
    """Metric, matching and shrinkage of the method as it is."""
    distance = result.distance
    return ", ".join(
        [
            distance.metric,
            *([result.matching.parts] if result.matching.parts else []),
            *([f"shrink {distance.shrink:g}"] if distance.shrink else []),
        ]
    )
