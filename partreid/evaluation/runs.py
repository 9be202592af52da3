"""Runs to scores: one run, or several against the first."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from partreid import build
from partreid.distance import PartDistance, typical
from partreid.errors import DataError
from partreid.evaluation.copies import without_copies
from partreid.evaluation.extract import extract
from partreid.evaluation.outcome import EXPANDED, RERANKED, Evaluation, Finished, Options
from partreid.evaluation.rescored import rescored
from partreid.evaluation.run import judge, known_cues
from partreid.evaluation.score import Described, cameras, identities, score
from partreid.evaluation.slices import break_down
from partreid.inference import Model, load
from partreid.metrics.calibration import Calibration
from partreid.report.trust import trust
from partreid.retrieval import Expansion, KReciprocal
from partreid.retrieval.multi_query import pooled
from partreid.types import DISTRACTOR, JUNK, Benchmark, Embeddings, Sample
from partreid.utils import ui
from partreid.utils.arguments import door

PLAIN = Options()


@door
def evaluate_runs(
    runs: Sequence[Path], root: Path, name: str | None = None, options: Options = PLAIN
) -> Evaluation | None:
    """Score runs on the test images below ``root``. None on all processes but the first.

    name: of the data set; None: what the recipes name. Runs of one recipe that differ in the seed
    alone are seeds of one method. DataError if one run is given twice, or if the runs were made for
    different data and no name is given.
    """
    began = time.perf_counter()
    _require_distinct(runs)
    if options.calibration is not None and len(runs) > 1:
        raise DataError(
            f"a calibration belongs to one model, and there are {len(runs)} runs; leave "
            "--calibration out and put each file beside its model, as calibration.json"
        )
    device = build.device(options.device)
    models = [
        rescored(load(run, device, options.calibration), run, options.described, options.row)
        for run in runs
    ]
    data = name or _data(runs, models)
    whole = build.benchmark(data, root)
    benchmark, left_out = without_copies(whole, build.protocol(whole))
    first = _together(models, options.devices)
    if left_out is not None:
        ui.say(f"note: {left_out}")
    methods = {}
    for label, members in _methods(runs, models).items():
        finished = [
            _finish(
                label, runs[i], models[i], benchmark, options, speaks=first, whole=i == members[0]
            )
            for i in members
        ]
        methods[label] = tuple(f for f in finished if f is not None)
    return (
        Evaluation(data, benchmark, methods, options, time.perf_counter() - began)
        if first
        else None
    )


def _finish(
    label: str,
    folder: Path,
    model: Model,
    benchmark: Benchmark,
    options: Options,
    *,
    speaks: bool,
    whole: bool,
) -> Finished | None:
    """One run scored under every rule asked for; whole: with breakdowns, if asked for, and with
    its embeddings.
    """
    protocol, distance = build.protocol(benchmark), model.method.distance
    plain_ = judge(
        label, model, benchmark, options.visibility if model.scheme is not None else None
    )
    more = _more(model, benchmark, options.visibility) if options.multi_query else None
    if not speaks:
        return None
    described = plain_.described
    # one vector for all parts: there is nothing to leave out
    if described.gallery.vectors.shape[1] == 1:
        plain_ = replace(plain_, visibility=None)
    judged = [plain_]
    if options.rerank:
        with ui.progress(f"re-ranking {label}") as step:
            judged.append(
                replace(
                    plain_,
                    visibility=RERANKED,
                    scored=score(distance, described, benchmark, protocol, KReciprocal(), step),
                )
            )
    if options.expand:
        if (
            len(
                {*cameras(benchmark.gallery)}
                | {c for q in benchmark.queries.values() for c in cameras(q)}
            )
            == 1
        ):
            ui.say(
                f"{label}: all images count as one camera's; expansion is over other cameras, so "
                "it changes nothing"
            )
        judged.append(
            replace(
                plain_,
                visibility=EXPANDED,
                scored=score(distance, described, benchmark, protocol, Expansion()),
            )
        )
    if options.shrink:
        if _even(described):
            ui.say(
                f"{label}: every image shows every part, so shrinking changes no order; its rows "
                "are as they are"
            )
        shrunk = shrunken(distance, described, options.shrink)
        judged.append(
            replace(
                plain_,
                visibility=f"evidence shrunk by {options.shrink:g}",
                scored=score(shrunk, described, benchmark, protocol),
            )
        )
    if options.multi_query:
        asked = Described(
            {
                q: pooled(
                    e,
                    q_ids=identities(benchmark.queries[q]),
                    q_cams=cameras(benchmark.queries[q]),
                    multi_query=more,
                    multi_query_ids=identities(benchmark.multi_query),
                    multi_query_cams=cameras(benchmark.multi_query),
                    distractor=DISTRACTOR,
                    junk=JUNK,
                    unit=distance.metric != "euclidean",
                )
                for q, e in described.queries.items()
            },
            described.gallery,
        )
        if not benchmark.multi_query and all(
            _each_once(samples) for samples in benchmark.queries.values()
        ):
            ui.say(
                f"{label}: no query has a further image of its person by its camera, so "
                "multi-query changes nothing"
            )
        judged.append(
            replace(
                plain_, visibility="multi-query", scored=score(distance, asked, benchmark, protocol)
            )
        )
    broken = (
        break_down(distance, described, benchmark, protocol, plain_.scored)
        if whole and options.details
        else {}
    )
    sure = (
        trust(distance, described, benchmark, protocol, plain_.scored, _calibration(model))
        if whole and options.details
        else None
    )
    if not (whole and options.pictures):
        judged = [replace(j, described=Described({}, described.gallery.rows([]))) for j in judged]
    return Finished(folder, tuple(judged), broken, sure)


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
def shrunken(distance: PartDistance, described: Described, shrink: float) -> PartDistance:
    """The distance with ``shrink``; where the metric has no ``far`` of its own it is estimated
    from the gallery.
    """
    far = (
        typical(distance, described.gallery)
        if distance.metric == "euclidean" and distance.far is None
        else distance.far
    )
    return replace(distance, shrink=shrink, far=far)


def _each_once(samples: Sequence[Sample]) -> bool:
    """Whether no camera has two of these images of one person."""
    return len({(s.identity, s.camera) for s in samples}) == len(samples)


def _even(described: Described) -> bool:
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
        found = extract(
            model.method,
            benchmark.multi_query,
            model.recipe.size,
            device=model.device,
            progress=step,
            cues=known_cues(model, benchmark, benchmark.multi_query),
        )
    return found if visibility else found.all_visible()


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
    yield [(run if run.is_dir() else run.parent).resolve().name for run in runs]


def _data(runs: Sequence[Path], models: Sequence[Model]) -> str:
    """The data set that the recipes name; DataError if they name different ones."""
    names = [m.recipe.test[0] for m in models]
    for run, name in zip(runs, names, strict=True):
        if name != names[0]:
            raise DataError(
                f"{runs[0]} is to be tested on {names[0]} and {run} on {name}, and scores on "
                "different data do not compare; say with --name which data set lies there"
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
