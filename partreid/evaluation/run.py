"""Scores of trained models to tables and answers, for ``partreid demo`` and ``partreid eval``
alike.
"""

import platform
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from partreid import build
from partreid.data.loader import finished, image_batches
from partreid.data.transforms import resize_nearest
from partreid.evaluation.extract import Known, extract
from partreid.evaluation.score import Described, Scored, describe, score
from partreid.explain.evidence import explain_pairs
from partreid.explain.overlays import Shown
from partreid.explain.sheets import PAPER, Match, ranking_sheet
from partreid.inference import Hit, Model
from partreid.labels.base import Cue
from partreid.report.content import Example, Score
from partreid.types import Benchmark, Embeddings, Output, Sample
from partreid.utils import ui

LIMITS = (
    "Re-identification is used on people who did not ask for it. A distance is evidence, not "
    "proof: similar clothes give small distances between strangers. Let a person decide wherever a "
    "decision touches one.",
)


@dataclass(frozen=True, eq=False)
class Judged:
    """A model with what it made of a data set, under one visibility rule ("oracle": pooled with
    exact masks).
    """

    name: str
    visibility: bool | str | None
    model: Model
    described: Described
    scored: tuple[Scored, ...]


def judge(
    name: str,
    model: Model,
    benchmark: Benchmark,
    visibility: bool | None = None,
    see: Callable[[Sequence[Sample]], Callable[[slice, Output], Any] | None] | None = None,
) -> Judged:
    """Describe and score the test images. visibility False compares all parts; None: the method has
    none.

    see: for a list of samples, what shall look at the outputs as they stream by.
    """
    with ui.progress(f"embedding with {name}") as step:
        described = describe(
            benchmark,
            lambda samples: extract(
                model.method,
                samples,
                model.recipe.size,
                device=model.device,
                progress=step,
                cues=known_cues(model, benchmark, samples),
                see=see(samples) if see is not None else None,
            ),
        )
    if visibility is False:
        described = described.change(Embeddings.all_visible)
    return Judged(
        name,
        visibility,
        model,
        described,
        score(model.method.distance, described, benchmark, build.protocol(benchmark)),
    )


def known_cues(model: Model, benchmark: Benchmark, samples: Sequence[Sample]) -> Known:
    """Cues of test images from the recipe's own sources, for a method that cannot do without."""
    of = replace(benchmark, train=tuple(samples))
    at = {sample.path: i for i, sample in enumerate(samples)}

    def items(cue: Cue) -> Callable[[Sample], NDArray[np.generic]]:
        size = model.recipe.size

        def item(sample: Sample) -> NDArray[np.generic]:
            found = cue[at[sample.path]]
            return finished(cue, resize_nearest(found, size) if cue.spatial else found)

        return item

    return {
        name: items(build.cue(model.recipe.cues[name], of))
        for name in sorted(model.method.needs_at_test)
    }


def ignoring_visibility(judged: Judged, benchmark: Benchmark) -> Judged:
    """The same embeddings matched as if every part were visible in every image."""
    described = judged.described.change(Embeddings.all_visible)
    return Judged(
        judged.name,
        False,
        judged.model,
        described,
        score(judged.model.method.distance, described, benchmark, build.protocol(benchmark)),
    )


def score_rows(
    judged: Sequence[Judged], seconds: Mapping[str, float] | None = None
) -> tuple[Score, ...]:
    """Rows of the report's table; seconds: of training, per method."""
    rows = []
    for j in judged:
        for s in j.scored:
            r = s.ranking
            rows.append(
                Score(
                    j.name,
                    s.queries,
                    j.visibility,
                    r.cmc[1],
                    r.cmc[5],
                    r.mAP,
                    r.mINP,
                    (s.intervals["R1"].low, s.intervals["R1"].high),
                    (s.intervals["mAP"].low, s.intervals["mAP"].high),
                    (seconds or {}).get(j.name),
                    s.setting,
                )
            )
    return tuple(rows)


def plain(row: Score) -> dict[str, Any]:
    """A row for JSON; numbers in 0..1."""
    return {
        "method": row.method,
        "queries": row.queries,
        "visibility": row.visibility or False,
        "rank1": row.rank1,
        "rank5": row.rank5,
        "mAP": row.mAP,
        "mINP": row.mINP,
        "rank1_interval": row.rank1_interval,
        "mAP_interval": row.mAP_interval,
        **(
            {}
            if row.setting is None
            else {"queries_scored": row.setting.scored, "setting": row.setting.plain()}
        ),
    }


def print_scores(rows: Sequence[Score], title: str = "") -> None:
    """The table on standard output, percent with 95 % intervals; below it what each query set
    was scored over.
    """
    rules = {True: "visible parts", False: "all parts", "oracle": "exact masks", None: ""}

    def percent(value: float, interval: tuple[float, float] | None) -> str:
        if interval is None:
            return f"{100 * value:.1f}"
        return f"{100 * value:5.1f} [{100 * interval[0]:4.1f}, {100 * interval[1]:4.1f}]"

    ui.table(
        title,
        (
            "method",
            "compares",
            "queries",
            "Rank-1 [95 %]",
            "mAP [95 %]",
            "Rank-5",
            "mINP",
            "scored",
            "training, s",
        ),
        [
            (
                r.method if r.seeds == 1 else f"{r.method} ({r.seeds} seeds)",
                rules.get(r.visibility, str(r.visibility)),
                r.queries,
                percent(r.rank1, r.rank1_interval),
                percent(r.mAP, r.mAP_interval),
                percent(r.rank5, None),
                percent(r.mINP, None),
                r.setting.counted if r.setting is not None else "",
                f"{r.seconds:.0f}" if r.seconds is not None else "",
            )
            for r in rows
        ],
        left=3,
    )
    ui.show(
        *dict.fromkeys(f"{r.queries}, {r.setting.sentence}" for r in rows if r.setting is not None)
    )


def shown(model: Model, samples: Sequence[Sample]) -> list[Shown]:
    """Samples with the model's part maps and visibilities."""
    found = []
    at = 0
    with torch.inference_mode():
        for images in image_batches(samples, model.recipe.size):
            out = model.method(images.to(model.device))
            for row in range(len(images)):
                found.append(Shown.of(samples[at + row], out.parts, out.groups.get("parts"), row))
            at += len(images)
    return found


def answers_picture(
    model: Model, asked: Sequence[Path], found: Sequence[Sequence[Hit]]
) -> Image.Image:
    """Queries with their answers, one sheet below the other; ticked where a calibration calls
    them the same person.
    """
    sheets = []
    for path, hits in zip(asked, found, strict=True):
        query, *answers = shown(model, [Sample(p, 0, 0) for p in (path, *(h.file for h in hits))])
        matches = [Match(s, h.same or None, h.evidence) for s, h in zip(answers, hits, strict=True)]
        title = (
            path.name
            if model.calibration is None
            else f"{path.name}: ticked if called the same person"
        )
        sheets.append(ranking_sheet(query, {title: matches}, len(matches)))
    whole = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), PAPER)
    for i, one in enumerate(sheets):
        whole.paste(one, (0, sum(s.height for s in sheets[:i])))
    return whole


def ranking_of(
    judged: Judged, benchmark: Benchmark, queries: str, row: int, top: int = 10
) -> tuple[Match, ...]:
    """What a model answers to one query, nearest first, with evidence."""
    found = next(s for s in judged.scored if s.queries == queries)
    nearest = [int(i) for i in found.ranking.top[row][:top] if i >= 0]
    evidence = explain_pairs(
        judged.model.method.distance,
        judged.described.queries[queries],
        judged.described.gallery,
        [row] * len(nearest),
        nearest,
    )
    query = benchmark.queries[queries][row]
    samples = [benchmark.gallery[i] for i in nearest]
    return tuple(
        Match(s, sample.identity == query.identity, e)
        for s, sample, e in zip(shown(judged.model, samples), samples, evidence, strict=True)
    )


def example(
    title: str, story: str, judged: Sequence[Judged], benchmark: Benchmark, queries: str, row: int
) -> Example:
    """A query and what every model answers; beside the photograph it is shown as the last model
    with maps sees it.
    """
    seen = {j.name: shown(j.model, [benchmark.queries[queries][row]])[0] for j in judged}
    query = next((s for s in reversed(seen.values()) if s.probs is not None), seen[judged[-1].name])
    return Example(
        title, story, query, {j.name: ranking_of(j, benchmark, queries, row) for j in judged}, seen
    )


def telling_queries(
    rival: Scored, own: Scored, rescued: int = 3, failed: int = 2
) -> tuple[list[int], list[int]]:
    """Queries that ``own`` answers right at once and ``rival`` does not, by greatest gain in AP,
    one per identity; and the ones where ``own`` does worst against the rival.
    """
    gain = np.nan_to_num(own.ranking.ap_of_query - rival.ranking.ap_of_query)
    first, other = own.ranking.first, rival.ranking.first  # the first draw's come first

    def pick(order: NDArray[np.int64], wanted: NDArray[np.bool_], n: int) -> list[int]:
        found: dict[int, int] = {}
        for i in order:
            if wanted[i] and int(own.ranking.identities[i]) not in found and len(found) < n:
                found[int(own.ranking.identities[i])] = int(i)
        return list(found.values())

    return (
        pick(np.argsort(-gain, kind="stable"), (first == 1) & (other > 1), rescued),
        pick(np.argsort(gain, kind="stable"), (first > 1) & (other >= 1), failed),
    )


def facts(model: Model, benchmark: Benchmark) -> dict[str, str]:
    """What a reader needs to judge or repeat the numbers."""
    return {
        "data": f"{benchmark.name}: {len(benchmark.gallery)} gallery images, "
        + ", ".join(f"{len(s)} {name} queries" for name, s in benchmark.queries.items()),
        "protocol": f"{build.protocol(benchmark).name}: {build.protocol(benchmark).sentence}",
        "recipe": f"{model.recipe.name} ({model.recipe.digest}), seed {model.recipe.seed}",
        "device": f"{model.device}, {torch.get_num_threads()} threads, PyTorch "
        f"{torch.__version__}, "
        f"Python {platform.python_version()}",
    }


def peak_memory() -> int:
    """Peak resident memory of this process in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
