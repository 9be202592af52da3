"""``partreid demo``: from nothing to trained, evaluated and explained models, in one command."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from partreid import ui
from partreid.api import Model, load
from partreid.build import benchmark as read_benchmark
from partreid.cues.parsing import label_path, read_labels
from partreid.cues.schemes import SURFACES, lookup
from partreid.data.synthetic import PRESETS, background_colour
from partreid.data.synthetic import write as write_world
from partreid.data.transforms import read_image
from partreid.distance import PartDistance
from partreid.errors import DataError
from partreid.evaluate.extract import Labels, extract, on_grid
from partreid.evaluate.labels import label_quality
from partreid.evaluate.report import LabelStory, Report
from partreid.evaluate.report import write as write_report
from partreid.evaluate.score import Described, Scored, describe, score
from partreid.evaluate.truth import Truth
from partreid.explain.overlays import Shown
from partreid.files import write_json
from partreid.match import bootstrap_difference
from partreid.recipes import Recipe
from partreid.recipes.synthetic import DEMO, DEMO_ALL, QUICK, QUICK_ALL
from partreid.reporting import (
    LIMITS,
    Judged,
    example,
    facts,
    ignoring_visibility,
    judge,
    peak_memory,
    plain,
    print_scores,
    score_rows,
    telling_queries,
)
from partreid.train.checkpoint import load_tensors
from partreid.train.journal import read as read_journal
from partreid.train.loop import Options, train
from partreid.types import UNKNOWN, Benchmark, Embeddings, Output, Sample

NAMES = {"bot": "BoT", "pcb": "PCB", "bpbreid": "BPBreID", "isp": "ISP", "hcga": "HCGA"}
SELF_TAUGHT = ("isp", "hcga")  # methods that label the training images themselves


def run(out: Path, quick: bool = False, results: Path | None = None, seed: int = 1,
        every: bool = False) -> dict[str, Any]:
    """The whole demo into the folder ``out``; returns (and writes to ``results``) its numbers.

    every: ISP and HCGA too. Drawn people and finished runs that are already there with the same settings are used
    again.
    """
    began = time.perf_counter()
    seconds: dict[str, float] = {}
    preset = "tiny" if quick else "demo"
    recipes = {("tiny", False): QUICK, ("tiny", True): QUICK_ALL, ("demo", False): DEMO, ("demo", True): DEMO_ALL}[
        preset, every]
    world = _world(out / f"world-{preset}", preset, seconds)
    benchmark = read_benchmark(recipes[0].train, world)
    models = {r.method.name: _model(replace(r, seed=seed), benchmark, out, seconds) for r in recipes}

    clock = time.perf_counter()
    labels = _labels(world, models["bpbreid"])
    truths: list[Truth] = []
    bot = judge("BoT", models["bot"], benchmark)
    pcb = judge("PCB", models["pcb"], benchmark)
    seeing = judge("BPBreID", models["bpbreid"], benchmark, True, _watch(models["bpbreid"], labels, truths))
    blind = ignoring_visibility(seeing, benchmark)
    oracle = _oracle(models["bpbreid"], benchmark, labels)
    taught = [judge(NAMES[m], models[m], benchmark, True) for m in SELF_TAUGHT if m in models]
    judged = (bot, pcb, blind, seeing, oracle, *taught)
    leak = leak_check(benchmark, labels)
    seconds["evaluate"] = time.perf_counter() - clock

    rows = score_rows(judged, seconds)
    print_scores(rows)
    gain = {s.queries: bootstrap_difference(s.ranking, b.ranking)["mAP"]
            for s, b in zip(seeing.scored, bot.scored, strict=True)}
    headline = _headline(gain)
    print(f"\n{headline}")
    print("Leak check: Rank-1 by background colour alone is "
          + ", ".join(f"{100 * leak[s.queries]:.1f} % ({s.queries})" for s in bot.scored)
          + f"; chance is {100 * leak['chance']:.1f} %.")

    quality = {NAMES[m]: _quality(out / "runs" / m, benchmark, world) for m in SELF_TAUGHT if m in models}
    print_quality(quality)
    clock = time.perf_counter()
    part_iou, seen = truths[-1].iou(), truths[-1].visibility_accuracy()
    numbers: dict[str, Any] = {
        "results": [plain(row) for row in rows], "part_iou": part_iou, "visibility_accuracy": seen, "leak": leak,
        "gain_over_bot": {name: {"mAP": g.value, "interval": [g.low, g.high]} for name, g in gain.items()},
    }
    if quality:
        numbers["label_quality"] = quality
    report = Report(
        "Finding people who are half hidden", subtitle="BPBreID against BoT and PCB, all trained on this machine from "
        "scratch on made-up people", headline=headline, scores=rows,
        examples=_examples(bot, seeing, benchmark), part_iou=part_iou, visibility_accuracy=seen, leak=leak,
        curves={NAMES[m]: [e for e in read_journal(out / "runs" / m / "journal.jsonl") if "loss" in e] for m in models},
        labels=tuple(story for m in SELF_TAUGHT if m in models
                     for story in _stories(NAMES[m], out / "runs" / m, benchmark, world)),
        label_quality=quality,
        label_rounds={NAMES[m]: _rounds(out / "runs" / m) for m in SELF_TAUGHT if m in models},
        facts=facts(models["bpbreid"], benchmark) | {
            "training": ", ".join(f"{NAMES[m]} {seconds[NAMES[m]]:.0f} s" for m in models)},
        notes=(_WORLD, *LIMITS) if not quick else (_QUICK, _WORLD, *LIMITS))
    path = write_report(report, out / "report.html")
    seconds["report"] = time.perf_counter() - clock
    seconds["total"] = time.perf_counter() - began
    numbers |= {"seconds": {k: round(v, 2) for k, v in seconds.items()}, "peak_rss_bytes": peak_memory(), "seed": seed,
                "preset": preset}
    for file in (out / "demo.json", *([results] if results else [])):
        write_json(file, numbers)
    print(f"{seconds['total']:.0f} seconds, {peak_memory() / 2**30:.1f} GiB at most. Report: {path}")
    return numbers


_WORLD = ("These people, clothes and streets are drawn by a program. The numbers rank ways of handling hidden and "
          "misaligned bodies; they do not predict scores on photographs.")
_QUICK = "This is the quick demo: everything runs, but at a size at which the scores mean nothing."


def _world(folder: Path, preset: str, seconds: dict[str, float]) -> Path:
    clock = time.perf_counter()
    with ui.progress("drawing people") as step:
        write_world(PRESETS[preset], folder, progress=step)
    seconds["draw"] = time.perf_counter() - clock
    ui.say(f"people: {folder} ({seconds['draw']:.0f} s)")
    return folder


def _model(recipe: Recipe, benchmark: Benchmark, out: Path, seconds: dict[str, float]) -> Model:
    """A trained model: found finished, taken up where it stopped, or trained."""
    name = recipe.method.name
    folder = out / "runs" / name
    done = folder / "model.safetensors"
    if done.is_file():
        found = load(done)
        if found.recipe.digest != recipe.digest:
            raise DataError(f"{folder} holds a run with other settings; delete it, or choose another folder with --out")
        ui.say(f"{NAMES[name]}: using the finished run in {folder}")
    else:
        with ui.training(f"training {NAMES[name]}") as shown:
            train(recipe, benchmark, folder, Options(resume=folder.is_dir(), progress=shown))
    spent = sum(entry["seconds"] for entry in read_journal(folder / "journal.jsonl") if "seconds" in entry)
    seconds[NAMES[name]] = spent
    ui.say(f"{NAMES[name]}: {folder} ({spent:.0f} s)")
    return load(done)


def _labels(world: Path, model: Model) -> Labels:
    """Exact part labels of any sample, in the scheme that the model knows."""
    parts = model.recipe.cues["parts"].args.get("parts", "five")
    table = lookup(SURFACES[parts])
    return lambda sample: read_labels(label_path(world, sample.path), table)


def _watch(model: Model, labels: Labels, truths: list[Truth],
           ) -> Callable[[Sequence[Sample]], Callable[[slice, Output], Any]]:
    """Score part maps and visibility against the exact labels; the last entry counts every image seen."""
    assert model.scheme is not None
    scheme, size = model.scheme, model.recipe.size

    def see(samples: Sequence[Sample]) -> Callable[[slice, Output], Any]:
        truth = Truth(samples, scheme, size, labels)
        if truths:
            truth.confusion, truth.visibility = truths[-1].confusion, truths[-1].visibility
        truths.append(truth)
        return truth.see

    return see


def _oracle(model: Model, benchmark: Benchmark, labels: Labels) -> Judged:
    """The same weights, but pooled with the exact masks and told exactly which parts show."""
    exact = model.method.seeing(attention="given", visibility="threshold", visible_above=0.0)  # type: ignore[operator]
    with ui.progress("embedding with exact masks") as step:
        described = describe(benchmark, lambda samples: extract(
            exact, samples, model.recipe.size, cues={"parts": on_grid(labels, model.recipe.size)}, device=model.device,
            progress=step))
    return Judged("BPBreID", "oracle", model, described, score(exact.distance, described, benchmark))


def leak_check(benchmark: Benchmark, labels: Labels) -> dict[str, float]:
    """Rank-1 of retrieval by background colour alone per query set, and what chance would give."""

    def look(samples: Sequence[Sample]) -> Embeddings:
        found = []
        for sample in samples:
            truth = labels(sample)
            found.append(background_colour(read_image(sample.path, (truth.shape[0], truth.shape[1])), truth))
        return Embeddings.one("background", torch.from_numpy(np.stack(found)))

    described: Described = describe(benchmark, look)
    scored: tuple[Scored, ...] = score(PartDistance("euclidean"), described, benchmark)
    right = np.mean([_chance(query, benchmark.gallery) for query in benchmark.query])
    return {**{s.queries: s.ranking.cmc[1] for s in scored}, "chance": float(right)}


def _chance(query: Sample, gallery: Sequence[Sample]) -> float:
    """Share of the gallery that is right for a query, under Market's rule."""
    valid = [g for g in gallery if (g.identity, g.camera) != (query.identity, query.camera)]
    return sum(g.identity == query.identity for g in valid) / len(valid)


def _quality(folder: Path, benchmark: Benchmark, world: Path) -> dict[str, float]:
    """How well the labels that a run ended with fit the exact surfaces."""
    labels = load_tensors(folder / "checkpoint.safetensors")[0]["cue/parts/labels"].numpy()
    return dict(label_quality(labels, benchmark.train, _surfaces(world)))


def _surfaces(world: Path) -> Labels:
    table = np.arange(256, dtype=np.uint8)
    table[28:] = 0  # occluders and other people
    return lambda sample: read_labels(label_path(world, sample.path), table)


def print_quality(quality: Mapping[str, Mapping[str, float]]) -> None:
    """The table of label quality in percent, if there is any."""
    if quality:
        names = list(next(iter(quality.values())))
        ui.table("Labels found without a parser, overlap with the exact truth in %", ("method", *names),
                 [(method, *(f"{100 * row[name]:.1f}" for name in names)) for method, row in quality.items()])


def _rounds(folder: Path) -> list[dict[str, Any]]:
    """The journal's lines on every round of labelling, with the number of people who needed a fallback."""
    entries = read_journal(folder / "journal.jsonl")
    needed: dict[int, int] = {}
    for entry in entries:
        if entry.get("event") == "fallback":
            needed[entry["epoch"]] = needed.get(entry["epoch"], 0) + entry["people"]
    rounds = [entry for entry in entries if entry.get("event") == "labels"]
    return [{**entry, "fallbacks": needed.get(entry["epoch"], 0)} for entry in rounds]


def _stories(method: str, folder: Path, benchmark: Benchmark, world: Path) -> list[LabelStory]:
    """What a run called parts on a few training images, round by round, and the truth."""
    rounds = [load_tensors(path) for path in sorted((folder / "labels").glob("*.safetensors"))]
    if not rounds:
        return []
    exact, truth_table = _surfaces(world), lookup(SURFACES["five"])
    stories = []
    for i, row in enumerate(rounds[0][0]["rows"].tolist()):
        sample = benchmark.train[row]
        pictures = [(f"epoch {meta['epoch'] + 1}", _as_maps(sample, tensors["labels"][i].numpy(), 0, "part"))
                    for tensors, meta in rounds]
        pictures.append(("truth", _as_maps(sample, truth_table[exact(sample)], 5, "")))
        stories.append(LabelStory(method, tuple(pictures)))
    return stories


def _as_maps(sample: Sample, labels: NDArray[np.uint8], K: int, name: str) -> Shown:
    """Labels drawn as if they were sure part maps."""
    K = K or max(6, int(labels[labels != UNKNOWN].max(initial=0)))
    probs = (labels == np.arange(K + 1)[:, None, None]).astype(np.float64)
    names = tuple(f"{name}{k}" for k in range(1, K + 1)) if name else tuple(SURFACES["five"])
    return Shown(sample.path, sample.identity, sample.camera, probs, names)


def _headline(gain: Mapping[str, Any]) -> str:
    said = []
    for queries, g in gain.items():
        better = "ahead of" if g.value > 0 else "behind"
        sure = "" if g.low > 0 or g.high < 0 else ", which chance could explain"
        said.append(f"on {queries} queries BPBreID is {abs(100 * g.value):.1f} points of mAP {better} BoT "
                    f"(95 % interval {100 * g.low:.1f} to {100 * g.high:.1f}{sure})")
    sentence = "; ".join(said)
    return sentence[0].upper() + sentence[1:] + "."


def _examples(bot: Judged, own: Judged, benchmark: Benchmark) -> tuple[Any, ...]:
    rival, mine = (next(s for s in j.scored if s.queries == "occluded") for j in (bot, own))
    rescued, failed = telling_queries(rival, mine)
    found = []
    for row in rescued:
        found.append(example(
            "Half hidden, found", f"BPBreID's first answer is right; BoT's first right answer comes at place "
            f"{rival.ranking.first[row]}.", (bot, own), benchmark, "occluded", row))
    for row in failed:
        found.append(example(
            "Half hidden, missed", f"BPBreID's first right answer comes at place {mine.ranking.first[row]}, BoT's at "
            f"{rival.ranking.first[row]}.", (bot, own), benchmark, "occluded", row))
    return tuple(found)
