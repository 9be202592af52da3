"""Trained runs to results: one model on one data set, or several runs with every matching asked
for.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid import build
from partreid.data.loader import finished
from partreid.data.transforms import resize_nearest
from partreid.distance import PartDistance, typical
from partreid.errors import DataError
from partreid.evaluation.copies import without_copies
from partreid.evaluation.extract import Known, extract
from partreid.evaluation.ledger import trained_for
from partreid.evaluation.result import (
    EXPANDED,
    MULTI_QUERY,
    OFFICIAL,
    RERANKED,
    Embedded,
    Matching,
    QuerySetResult,
    RunResult,
)
from partreid.evaluation.score import Official, cameras, embed_benchmark, identities, score
from partreid.evaluation.slices import break_down
from partreid.evaluation.trust import measure_trust
from partreid.evaluation.variant import variant_of
from partreid.inference import Model, load
from partreid.labels.base import Cue
from partreid.metrics.calibration import Calibration
from partreid.recipes.papers import PAPERS
from partreid.retrieval import Expansion, KReciprocal
from partreid.retrieval.multi_query import pooled
from partreid.types import DISTRACTOR, JUNK, Benchmark, Embeddings, Output, Sample
from partreid.utils import ui
from partreid.utils.arguments import door
from partreid.utils.files import real
from partreid.utils.registry import resolve

Watch = Callable[[Sequence[Sample]], Callable[[slice, Output], Any] | None]
"""For a list of samples, what shall look at the outputs as they stream by."""


@dataclass(frozen=True)
class Options:
    """What ``partreid eval`` may be asked for.

    visibility: False compares all parts, also hidden ones. rerank, expand, shrink, multi_query:
    further results, re-ranked, after expansion, with ``PartDistance.shrink``, and with all of a
    person's images from a camera as one query. official: further rows under the rule of the
    released code. calibration: the file to judge, of the only run; None: that beside a model, if
    any. details: breakdowns and risks too. embeddings: keep them, since answers will be drawn.
    described: what a gallery stores instead, of the embeddings that the method makes. row: whose
    way of storing and comparing is taken, a row that scores this very training. devices: processes
    that share the images out.
    """

    visibility: bool = True
    rerank: bool = False
    expand: bool = False
    shrink: float = 0.0
    multi_query: bool = False
    official: bool = False
    calibration: Path | None = None
    details: bool = False
    embeddings: bool = False
    described: tuple[str, ...] = ()
    row: str | None = None
    device: str = "auto"
    devices: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.shrink < float("inf"):
            raise DataError(f"--shrink is a number of parts, 0 or more, got {self.shrink:g}")


PLAIN = Options()


@door
def evaluate_run(
    model: Model,
    benchmark: Benchmark,
    *,
    name: str | None = None,
    visibility: bool = True,
    watch: Watch | None = None,
) -> RunResult:
    """Embed the test images of a data set with a model, rank the gallery and score.

    Args:
        model: What :func:`partreid.load` gives.
        benchmark: The data set; its queries, gallery and protocol count.
        name: What tables call the method; default the name that its recipe gives it.
        visibility: False compares all parts, also hidden ones.
        watch: Given the samples of a query set or the gallery, returns what is shown every batch of
            their outputs, e.g. to score part maps; or None.

    Returns:
        Rankings, scores and 95 % intervals of every query set, with the embeddings.

    Raises:
        DataError: An image cannot be read, the model gives no numbers, or query and gallery share
            no identity.
    """
    began = time.perf_counter()
    name = name or model.recipe.method.name
    with ui.progress(f"embedding with {name}") as step:
        described = embed_benchmark(
            benchmark,
            lambda samples: extract(
                model.method,
                samples,
                model.recipe.size,
                device=model.device,
                progress=step,
                cues=known_cues(model, benchmark, samples),
                see=watch(samples) if watch is not None else None,
            ),
        )
    # a method without part maps, or with one vector for all parts, has nothing to leave out
    knows = model.scheme is not None and described.gallery.vectors.shape[1] > 1
    if not visibility and model.scheme is not None:
        described = described.change(Embeddings.all_visible)
    protocol = build.protocol(benchmark)
    return RunResult(
        name,
        Matching("" if not knows else "visible parts" if visibility else "all parts"),
        model,
        benchmark,
        benchmark.name,
        protocol,
        described,
        score(model.method.distance, described, benchmark, protocol),
        time.perf_counter() - began,
    )


@door
def ignoring_visibility(result: RunResult) -> RunResult:
    """The same embeddings matched as if every part were visible in every image."""
    began = time.perf_counter()
    described = result.described.change(Embeddings.all_visible)
    return replace(
        result,
        matching=Matching("all parts"),
        described=described,
        query_sets=score(result.distance, described, result.benchmark, result.protocol),
        seconds=time.perf_counter() - began,
    )


@door
def known_cues(model: Model, benchmark: Benchmark, samples: Sequence[Sample]) -> Known:
    """Cues of test images from the recipe's own sources, for a method that cannot do without."""
    place = {sample.path: i for i, sample in enumerate(samples)}

    def items(cue: Cue) -> Callable[[Sample], NDArray[np.generic]]:
        size = model.recipe.size

        def item(sample: Sample) -> NDArray[np.generic]:
            value = cue[place[sample.path]]
            return finished(cue, resize_nearest(value, size) if cue.spatial else value)

        return item

    return {
        name: items(build.cue(model.recipe.cues[name], benchmark, samples=samples))
        for name in sorted(model.method.needs_at_test)
    }


@door
def evaluate_runs(
    runs: Sequence[Path], root: Path, dataset: str | None = None, options: Options = PLAIN
) -> tuple[RunResult, ...]:
    """Score runs on the test images below ``root``.

    Args:
        runs: Run folders or their model.safetensors. Those of one recipe that differ in the seed
            alone are seeds of one method and get one name.
        root: Root folder of the test data.
        dataset: Which data set that is; None: what the recipes name.
        options: What is asked for besides.

    Returns:
        Results in the order of the runs' methods, the first being the reference; of each run the
        method as it is, then every further matching. Empty on all processes but the first.

    Raises:
        DataError: One run is given twice, the runs were made for different data and no data set is
            named, or images cannot be read.
    """
    _require_distinct(runs)
    if options.calibration is not None and len(runs) > 1:
        raise DataError(
            f"a calibration belongs to one model, and there are {len(runs)} runs; leave "
            "--calibration out and put each file beside its model, as calibration.json"
        )
    device = build.device(options.device)
    models = [
        variant_of(load(run, device, options.calibration), run, options.described, options.row)
        for run in runs
    ]
    data = dataset or _data(runs, models)
    whole = build.benchmark(data, root)
    benchmark, left_out = without_copies(whole, build.protocol(whole))
    speaks = _together(models, options.devices)
    if left_out is not None:
        ui.say(f"note: {left_out}")
    results: list[RunResult] = []
    for name, members in _methods(runs, models).items():
        for i in members:
            plain = evaluate_run(models[i], benchmark, name=name, visibility=options.visibility)
            more = _more(models[i], benchmark, options.visibility) if options.multi_query else None
            if speaks:
                folder = runs[i] if runs[i].is_dir() else runs[i].parent
                plain = replace(
                    plain, data=data, folder=runs[i], training_seconds=trained_for(folder)
                )
                results += _finish(plain, more, options, first=i == members[0])
    return tuple(results)


def _finish(
    plain: RunResult, more: Embeddings | None, options: Options, *, first: bool
) -> list[RunResult]:
    """A result and its further matchings; first: of its method, which alone is taken apart and
    keeps its embeddings.
    """
    every = [plain, *_further(plain, more, options)]
    if first and options.details:
        every[0] = replace(
            plain,
            breakdowns=break_down(plain),
            trust=measure_trust(plain, _calibration(plain.model)),
        )
    if first and options.embeddings:
        return every
    nothing = Embedded({}, plain.described.gallery.rows([]))
    return [replace(result, described=nothing) for result in every]


def _further(plain: RunResult, more: Embeddings | None, options: Options) -> Iterator[RunResult]:
    """The result under every further matching that is asked for."""
    name, benchmark, described = plain.name, plain.benchmark, plain.described
    if options.rerank:
        with ui.progress(f"re-ranking {name}") as step:
            yield _rematched(
                plain,
                RERANKED,
                lambda: score(
                    plain.distance, described, benchmark, plain.protocol, KReciprocal(), step
                ),
            )
    if options.expand:
        if _one_camera(benchmark):
            ui.say(
                f"{name}: all images count as one camera's; expansion is over other cameras, so "
                "it changes nothing"
            )
        yield _rematched(
            plain,
            EXPANDED,
            lambda: score(plain.distance, described, benchmark, plain.protocol, Expansion()),
        )
    if options.shrink:
        if _even(described):
            ui.say(
                f"{name}: every image shows every part, so shrinking changes no order; its rows "
                "are as they are"
            )
        yield _rematched(
            plain,
            f"evidence shrunk by {options.shrink:g}",
            lambda: score(
                shrunken(plain.distance, described, options.shrink),
                described,
                benchmark,
                plain.protocol,
            ),
        )
    if options.official:
        paper = PAPERS[plain.model.recipe.method.name]
        if paper.official is None and not paper.trapezoid:
            ui.say(f"{name}: its released code scores as we do, so it has no further rows")
        else:
            # without visibility, all in one vector, the released codes had the usual AP
            apart = described.gallery.vectors.shape[1] > 1
            rule = Official(resolve(paper.official), paper.trapezoid and apart)
            yield _rematched(
                plain,
                OFFICIAL,
                lambda: score(plain.distance, described, benchmark, plain.protocol, rule),
            )
    if options.multi_query:
        if not benchmark.multi_query and all(_each_once(s) for s in benchmark.queries.values()):
            ui.say(
                f"{name}: no query has a further image of its person by its camera, so "
                "multi-query changes nothing"
            )
        yield _rematched(
            plain,
            MULTI_QUERY,
            lambda: score(plain.distance, _pooled(plain, more), benchmark, plain.protocol),
        )


def _rematched(
    plain: RunResult, after: str, scored: Callable[[], tuple[QuerySetResult, ...]]
) -> RunResult:
    began = time.perf_counter()
    query_sets = scored()
    return replace(
        plain,
        matching=replace(plain.matching, after=after),
        query_sets=query_sets,
        seconds=time.perf_counter() - began,
    )


def _pooled(plain: RunResult, more: Embeddings | None) -> Embedded:
    """Queries that are each the mean over all images of a person from one camera."""
    benchmark = plain.benchmark
    queries = {
        name: pooled(
            e,
            q_ids=identities(benchmark.queries[name]),
            q_cams=cameras(benchmark.queries[name]),
            multi_query=more,
            multi_query_ids=identities(benchmark.multi_query),
            multi_query_cams=cameras(benchmark.multi_query),
            distractor=DISTRACTOR,
            junk=JUNK,
            unit=plain.distance.metric != "euclidean",
        )
        for name, e in plain.described.queries.items()
    }
    return Embedded(queries, plain.described.gallery)


def _calibration(model: Model) -> Calibration | None:
    """The model's calibration; one that lies beside it but was made for another model is told of
    and left.
    """
    try:
        return model.calibration
    except DataError as error:
        ui.say(f"note: {error}")
        return None


@door
def shrunken(distance: PartDistance, described: Embedded, shrink: float) -> PartDistance:
    """The distance with ``shrink``; where the metric has no ``far`` of its own it is estimated
    from the gallery.
    """
    far = (
        typical(distance, described.gallery)
        if distance.metric == "euclidean" and distance.far is None
        else distance.far
    )
    return replace(distance, shrink=shrink, far=far)


def _one_camera(benchmark: Benchmark) -> bool:
    """Whether all test images count as one camera's."""
    of = (benchmark.gallery, *benchmark.queries.values())
    return len({c for samples in of for c in cameras(samples)}) == 1


def _each_once(samples: Sequence[Sample]) -> bool:
    """Whether no camera has two of these images of one person."""
    return len({(s.identity, s.camera) for s in samples}) == len(samples)


def _even(described: Embedded) -> bool:
    """Whether all images show the same parts."""
    first = described.gallery.visibility[:1]
    return all(
        bool((e.visibility == first).all())
        for e in (described.gallery, *described.queries.values())
    )


def _more(model: Model, benchmark: Benchmark, visibility: bool) -> Embeddings | None:
    """The further images of the people asked for, if the data set has any."""
    if not benchmark.multi_query:
        return None
    with ui.progress("embedding further images") as step:
        further = extract(
            model.method,
            benchmark.multi_query,
            model.recipe.size,
            device=model.device,
            progress=step,
            cues=known_cues(model, benchmark, benchmark.multi_query),
        )
    return further if visibility else further.all_visible()


def _methods(runs: Sequence[Path], models: Sequence[Model]) -> dict[str, list[int]]:
    """Which runs are seeds of one method, by its name: the shortest that tells the methods
    apart.
    """
    groups: dict[str, list[int]] = {}
    for i, model in enumerate(models):
        groups.setdefault(replace(model.recipe, seed=0).digest, []).append(i)
    parted: list[list[int]] = []
    for members in groups.values():
        seeds = {models[i].recipe.seed for i in members}
        # equal seeds are no seeds
        parted += [members] if len(seeds) == len(members) else [[i] for i in members]
    parted.sort()
    for names in _names(runs, models):
        chosen = ["/".join(dict.fromkeys(names[i] for i in members)) for members in parted]
        if len(set(chosen)) == len(chosen):
            return dict(zip(chosen, parted, strict=True))
    return {f"{i}: {runs[members[0]]}": members for i, members in enumerate(parted, 1)}


def _names(runs: Sequence[Path], models: Sequence[Model]) -> Iterator[list[str]]:
    yield [m.recipe.method.name for m in models]
    yield [m.recipe.name for m in models]
    yield [real(run if run.is_dir() else run.parent).name for run in runs]


def _data(runs: Sequence[Path], models: Sequence[Model]) -> str:
    """The data set that the recipes name; DataError if they name different ones."""
    names = [m.recipe.test[0] for m in models]
    for run, name in zip(runs, names, strict=True):
        if name != names[0]:
            raise DataError(
                f"{runs[0]} is to be tested on {names[0]} and {run} on {name}, and scores on "
                "different data do not compare; say with --dataset which data set lies there"
            )
    return names[0]


def _require_distinct(runs: Sequence[Path]) -> None:
    """DataError if two runs hold the same weights."""
    seen: dict[str, Path] = {}
    for run in runs:
        file = run / "model.safetensors" if run.is_dir() else run
        if len(runs) > 1 and file.is_file():
            with open(file, "rb") as opened:
                digest = (
                    hashlib.file_digest(opened, "sha256").hexdigest()
                    if hasattr(hashlib, "file_digest")
                    else hashlib.sha256(opened.read()).hexdigest()
                )
            if digest in seen:
                raise DataError(
                    f"{seen[digest]} and {run} hold the same model, and a run compared with itself "
                    "says nothing; name each run once"
                )
            seen[digest] = run


def _together(models: Sequence[Model], devices: int) -> bool:
    """Whether this process speaks; with several devices, after they have found each other."""
    if devices == 1:
        return True
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator=models[0].device, devices=devices, strategy="ddp")
    fabric.launch()
    for model in models:
        model.device = str(fabric.device)
    return bool(fabric.is_global_zero)
