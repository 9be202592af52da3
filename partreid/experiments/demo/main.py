"""The whole demo, in order: draw people, train, judge, explain."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from partreid.build import benchmark as read_benchmark
from partreid.data.synthetic import PRESETS
from partreid.data.synthetic import write as write_world
from partreid.errors import DataError
from partreid.evaluation.run import (
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
from partreid.evaluation.truth import Truth
from partreid.experiments.demo import decide
from partreid.experiments.demo.labels import print_quality, quality_of, rounds, stories
from partreid.experiments.demo.lessons import lessons
from partreid.experiments.demo.truth import exact_labels, leak_check, watch, with_exact_masks
from partreid.inference import Model, load
from partreid.metrics import Interval, bootstrap_difference
from partreid.recipes import Recipe
from partreid.recipes.synthetic import DEMO, DEMO_ALL, QUICK, QUICK_ALL
from partreid.report.content import Report
from partreid.report.pages import write as write_report
from partreid.train.journal import read as read_journal
from partreid.train.loop import Options, train
from partreid.train.run import has_checkpoint
from partreid.types import Benchmark
from partreid.utils import ui
from partreid.utils.files import writable, write_json

NAMES = {
    "bot": "BoT",
    "pcb": "PCB",
    "bpbreid": "BPBreID",
    "isp": "ISP",
    "hcga": "HCGA",
    "dsa": "DSA-reID",
    "magnifier": "MagnifierNet",
}
CORE = ("bot", "pcb", "bpbreid")
SELF_TAUGHT = ("isp", "hcga")  # methods that label the training images themselves


def run(
    out: Path, quick: bool = False, results: Path | None = None, seed: int = 1, every: bool = False
) -> dict[str, Any]:
    """The whole demo into the folder ``out``; returns (and writes to ``results``) its numbers.

    every: the other four papers too. Drawn people and finished runs that are already there with the
    same settings are used again.
    """
    began = time.perf_counter()
    seconds: dict[str, float] = {}
    preset = "tiny" if quick else "demo"
    recipes = {
        ("tiny", False): QUICK,
        ("tiny", True): QUICK_ALL,
        ("demo", False): DEMO,
        ("demo", True): DEMO_ALL,
    }[preset, every]
    recipes = tuple(replace(r, seed=seed) for r in recipes)
    writable(results, out / "report.html", out / "demo.json")
    for r in recipes:
        _finished(r, out)  # another run there is said before the first is trained
    world = _world(
        out / f"world-{preset}", preset, any("uv_tiles" in r.cues for r in recipes), seconds
    )
    benchmark = read_benchmark(recipes[0].train, world)
    models = {r.method.name: _model(r, benchmark, out, seconds) for r in recipes}

    clock = time.perf_counter()
    labels = exact_labels(world, models["bpbreid"])
    truths: list[Truth] = []
    bot = judge("BoT", models["bot"], benchmark)
    pcb = judge("PCB", models["pcb"], benchmark)
    seeing = judge(
        "BPBreID", models["bpbreid"], benchmark, True, watch(models["bpbreid"], labels, truths)
    )
    blind = ignoring_visibility(seeing, benchmark)
    oracle = with_exact_masks(models["bpbreid"], benchmark, labels)
    others = [
        judge(NAMES[m], models[m], benchmark, True if m in SELF_TAUGHT else None)
        for m in models
        if m not in CORE
    ]
    judged = (bot, pcb, blind, seeing, oracle, *others)
    leak = leak_check(benchmark, labels)
    seconds["evaluate"] = time.perf_counter() - clock

    rows = score_rows(judged, seconds)
    print_scores(rows)
    gains = {j.name: gain_over(bot, j) for j in (seeing, *others)}
    headline = _headline("BPBreID", gains["BPBreID"])
    ui.show("", *(_headline(name, gain) for name, gain in gains.items()))
    ui.show(
        "Leak check: Rank-1 by background colour alone is "
        + ", ".join(f"{100 * leak[s.queries]:.1f} % ({s.queries})" for s in bot.scored)
        + f"; chance is {100 * leak['chance']:.1f} %."
    )

    quality = {
        NAMES[m]: quality_of(out / "runs" / m, benchmark, world) for m in SELF_TAUGHT if m in models
    }
    print_quality(quality)
    clock = time.perf_counter()
    made = decide.decided(seeing, benchmark, out / "runs" / "bpbreid")
    if made is not None:
        ui.show(decide.said(made))
    part_iou, seen = truths[-1].iou(), truths[-1].visibility_accuracy()
    numbers: dict[str, Any] = {
        "results": [plain(row) for row in rows],
        "part_iou": part_iou,
        "visibility_accuracy": seen,
        "leak": leak,
        "gain_over_bot": _plain_gain(gains["BPBreID"]),
    }
    if others:
        numbers["gains_over_bot"] = {name: _plain_gain(gain) for name, gain in gains.items()}
    if quality:
        numbers["label_quality"] = quality
    if made is not None:
        numbers["threshold"] = decide.plain(made)
    who = "Five papers and two baselines" if every else "BPBreID against BoT and PCB"
    report = Report(
        "Finding people who are half hidden",
        subtitle=f"{who}, all trained on this machine from scratch on made-up people",
        headline=headline,
        scores=rows,
        examples=_examples(bot, seeing, benchmark),
        part_iou=part_iou,
        visibility_accuracy=seen,
        leak=leak,
        curves={
            NAMES[m]: [e for e in read_journal(out / "runs" / m / "journal.jsonl") if "loss" in e]
            for m in models
        },
        labels=tuple(
            story
            for m in SELF_TAUGHT
            if m in models
            for story in stories(NAMES[m], out / "runs" / m, benchmark, world)
        ),
        label_quality=quality,
        label_rounds={NAMES[m]: rounds(out / "runs" / m) for m in SELF_TAUGHT if m in models},
        lessons=lessons(models, benchmark),
        sections=() if made is None else (decide.section(seeing, benchmark, made),),
        facts=facts(models["bpbreid"], benchmark)
        | {"training": ", ".join(f"{NAMES[m]} {seconds[NAMES[m]]:.0f} s" for m in models)},
        notes=(_WORLD, *LIMITS) if not quick else (_QUICK, _WORLD, *LIMITS),
    )
    path = write_report(report, out / "report.html")
    seconds["report"] = time.perf_counter() - clock
    seconds["total"] = time.perf_counter() - began
    numbers |= {
        "seconds": {k: round(v, 2) for k, v in seconds.items()},
        "peak_rss_bytes": peak_memory(),
        "seed": seed,
        "preset": preset,
    }
    for file in (out / "demo.json", *([results] if results else [])):
        write_json(file, numbers)
    ui.show(
        f"{seconds['total']:.0f} seconds, {peak_memory() / 2**30:.1f} GiB at most. Report: {path}"
    )
    return numbers


_WORLD = (
    "These people, clothes and streets are drawn by a program. The numbers rank ways of handling "
    "hidden and misaligned bodies; they do not predict scores on photographs."
)
_QUICK = "This is the quick demo: everything runs, but at a size at which the scores mean nothing."


def _world(folder: Path, preset: str, iuv: bool, seconds: dict[str, float]) -> Path:
    clock = time.perf_counter()
    with ui.progress("drawing people") as step:
        write_world(PRESETS[preset], folder, iuv=iuv, progress=step)
    seconds["draw"] = time.perf_counter() - clock
    ui.say(f"people: {folder} ({seconds['draw']:.0f} s)")
    return folder


def _model(recipe: Recipe, benchmark: Benchmark, out: Path, seconds: dict[str, float]) -> Model:
    """A trained model: found finished, taken up where it stopped, or trained."""
    name = recipe.method.name
    folder = out / "runs" / name
    if _finished(recipe, out):
        ui.say(f"{NAMES[name]}: using the finished run in {folder}")
    else:
        with ui.training(f"training {NAMES[name]}") as shown:
            train(recipe, benchmark, folder, Options(resume=has_checkpoint(folder), progress=shown))
    spent = sum(
        entry["seconds"] for entry in read_journal(folder / "journal.jsonl") if "seconds" in entry
    )
    seconds[NAMES[name]] = spent
    ui.say(f"{NAMES[name]}: {folder} ({spent:.0f} s)")
    return load(folder)


def _finished(recipe: Recipe, out: Path) -> bool:
    """Whether this run is there already. DataError if another one is."""
    folder = out / "runs" / recipe.method.name
    if not (folder / "model.safetensors").is_file():
        return False
    if load(folder).recipe.digest != recipe.digest:
        raise DataError(
            f"{folder} holds a run with other settings; delete it, or choose another folder with "
            "--out"
        )
    return True


def gain_over(rival: Judged, own: Judged) -> dict[str, Interval]:
    """What ``own`` gains in mAP over ``rival`` per query set, with 95 % intervals."""
    return {
        s.queries: bootstrap_difference(s.ranking, r.ranking)["mAP"]
        for s, r in zip(own.scored, rival.scored, strict=True)
    }


def _plain_gain(gain: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: {"mAP": g.value, "interval": [g.low, g.high]} for name, g in gain.items()}


def _headline(method: str, gain: Mapping[str, Interval]) -> str:
    said = []
    for queries, g in gain.items():
        better = "ahead of" if g.value > 0 else "behind"
        sure = "" if g.low > 0 or g.high < 0 else ", which chance could explain"
        said.append(
            f"on {queries} queries {method} is {abs(100 * g.value):.1f} points of mAP {better} BoT "
            f"(95 % interval {100 * g.low:.1f} to {100 * g.high:.1f}{sure})"
        )
    sentence = "; ".join(said)
    return sentence[0].upper() + sentence[1:] + "."


def _examples(bot: Judged, own: Judged, benchmark: Benchmark) -> tuple[Any, ...]:
    rival, mine = (next(s for s in j.scored if s.queries == "occluded") for j in (bot, own))
    rescued, failed = telling_queries(rival, mine)
    found = []
    for row in rescued:
        found.append(
            example(
                "Half hidden, found",
                "BPBreID's first answer is right; BoT's first right answer comes at place "
                f"{rival.ranking.first[row]}.",
                (bot, own),
                benchmark,
                "occluded",
                row,
            )
        )
    for row in failed:
        found.append(
            example(
                "Half hidden, missed",
                f"BPBreID's first right answer comes at place {mine.ranking.first[row]}, BoT's at "
                f"{rival.ranking.first[row]}.",
                (bot, own),
                benchmark,
                "occluded",
                row,
            )
        )
    return tuple(found)
