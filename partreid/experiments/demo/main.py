"""The whole demo, in order: draw people, train, judge, explain."""

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from partreid.build import benchmark as read_benchmark
from partreid.data.synthetic import PRESETS
from partreid.data.synthetic import write as write_world
from partreid.errors import DataError, RecipeError
from partreid.evaluation import RunResult, evaluate_run
from partreid.evaluation.parts import Truth
from partreid.evaluation.run import ignoring_visibility
from partreid.experiments.demo import decide
from partreid.experiments.demo.labels import bell_sentence, judged, print_quality, rounds, stories
from partreid.experiments.demo.lessons import lessons
from partreid.experiments.demo.truth import exact_labels, leak_check, watch, with_exact_masks
from partreid.inference import Model, load
from partreid.metrics import Interval, bootstrap_difference
from partreid.recipes import SYNTHETIC, Paper, Recipe, find, papers
from partreid.recipes.base import unknown
from partreid.recipes.papers import label_sources
from partreid.report.content import Report
from partreid.report.examples import example, rescued_and_failed
from partreid.report.facts import LIMITS, facts, peak_memory
from partreid.report.pages import write as write_report
from partreid.report.rows import print_rows, row_to_json, rows
from partreid.train.journal import read as read_journal
from partreid.train.loop import Options, train
from partreid.train.run import has_checkpoint
from partreid.types import Benchmark
from partreid.utils import ui
from partreid.utils.files import writable, write_json

BASELINE, HERO = "bot", "bpbreid"  # what the demo is about: the one against the other
CORE, ALL = "core", "all"  # words for several methods


def chosen(methods: Sequence[str]) -> tuple[Paper, ...]:
    """The papers whose methods a demo trains: those of its core, and all, or those that are named.
    RecipeError for a name that no method has.
    """
    known = papers()
    for name in methods:
        if name not in (CORE, ALL, *(paper.name for paper in known)):
            raise RecipeError(unknown("method", name, (CORE, ALL, *(p.name for p in known))))
    return tuple(p for p in known if p.core or ALL in methods or p.name in methods)


def run(
    out: Path,
    quick: bool = False,
    results: Path | None = None,
    seed: int = 1,
    methods: Sequence[str] = (CORE,),
) -> dict[str, Any]:
    """The whole demo into the folder ``out``; returns (and writes to ``results``) its numbers.

    methods: names of methods to train beside those of the core, or "all". Drawn people and finished
    runs that are already there with the same settings are used again.
    """
    began = time.perf_counter()
    seconds: dict[str, float] = {}
    preset = "tiny" if quick else "demo"
    trained = chosen(methods)
    titles = {paper.name: paper.title for paper in trained}
    recipes = tuple(replace(find(f"{SYNTHETIC}/{preset}/{m}"), seed=seed) for m in titles)
    writable(results, out / "report.html", out / "demo.json")
    for r in recipes:
        _finished(r, out)  # another run there is said before the first is trained
    world = _world(
        out / f"world-{preset}", preset, any("uv_tiles" in r.cues for r in recipes), seconds
    )
    benchmark = read_benchmark(recipes[0].train, world)
    models = {
        m: _model(r, titles[m], benchmark, out, seconds)
        for m, r in zip(titles, recipes, strict=True)
    }
    taught = [m for m in models if learns(models[m].recipe)]

    clock = time.perf_counter()
    hero = models[HERO]
    labels = exact_labels(world, hero)
    truths: list[Truth] = []
    bot = evaluate_run(models[BASELINE], benchmark, name=titles[BASELINE])
    parted = evaluate_run(hero, benchmark, name=titles[HERO], watch=watch(hero, labels, truths))
    blind, oracle = ignoring_visibility(parted), with_exact_masks(parted, labels)
    hero_year = next(p.year for p in trained if p.name == HERO)
    core, others, after = (
        [
            evaluate_run(models[p.name], benchmark, name=titles[p.name])
            for p in trained
            if p.name not in (BASELINE, HERO) and place(p)
        ]
        for place in (
            lambda p: p.core and p.year <= hero_year,
            lambda p: not p.core,
            lambda p: p.core and p.year > hero_year,  # what goes beyond the hero comes last
        )
    )
    scored = [
        replace(result, training_seconds=seconds[result.name])
        for result in (bot, *core, blind, parted, oracle, *others, *after)
    ]
    leak = leak_check(benchmark, labels)
    seconds["evaluate"] = time.perf_counter() - clock

    table = tuple(row for result in scored for row in rows((result,)))
    print_rows(table)
    gains = {j.name: gain_over(bot, j) for j in (parted, *others, *after)}
    best = max(gains, key=lambda name: gains[name]["occluded"].value)
    headline = " ".join(
        _headline(name, bot.name, gains[name]) for name in dict.fromkeys((titles[HERO], best))
    )
    ui.show("", *(_headline(name, bot.name, gain) for name, gain in gains.items()))
    ui.show(
        "Leak check: Rank-1 by background color alone is "
        + ", ".join(f"{100 * leak[s.queries]:.1f} % ({s.queries})" for s in bot.query_sets)
        + f"; chance is {100 * leak['chance']:.1f} %."
    )

    quality, over_bell = judged({titles[m]: out / "runs" / m for m in taught}, benchmark, world)
    print_quality(quality)
    against_bell = tuple(bell_sentence(name, gain) for name, gain in over_bell.items())
    ui.show(*against_bell)
    clock = time.perf_counter()
    made = decide.decided(parted, out / "runs" / HERO)
    if made is not None:
        ui.show(decide.sentence(titles[HERO], made))
    part_iou, seen = truths[-1].iou(), truths[-1].visibility_accuracy()
    numbers: dict[str, Any] = {
        "results": [row_to_json(row) for row in table],
        "part_iou": part_iou,
        "visibility_accuracy": seen,
        "leak": leak,
        "gain_over_bot": _plain_gain(gains[titles[HERO]]),
    }
    if len(gains) > 1:
        numbers["gains_over_bot"] = {name: _plain_gain(gain) for name, gain in gains.items()}
    if quality:
        numbers["label_quality"] = quality
        numbers["label_gain_over_bell"] = {
            name: {region: [g.value, g.low, g.high] for region, g in gain.items()}
            for name, gain in over_bell.items()
        }
    if made is not None:
        numbers["threshold"] = decide.plain(made)
    rivals = [title for m, title in titles.items() if m != HERO]
    who = f"{titles[HERO]} against {', '.join(rivals[:-1])} and {rivals[-1]}"
    report = Report(
        "Finding people who are half hidden",
        subtitle=f"{who}, all trained on this machine from scratch on made-up people",
        headline=headline,
        scores=table,
        examples=_examples(bot, parted),
        part_iou=part_iou,
        visibility_accuracy=seen,
        leak=leak,
        curves={
            titles[m]: [e for e in read_journal(out / "runs" / m / "journal.jsonl") if "loss" in e]
            for m in models
        },
        labels=tuple(
            story
            for m in taught
            for story in stories(titles[m], out / "runs" / m, benchmark, world)
        ),
        label_quality=quality,
        label_notes=against_bell,
        label_rounds={titles[m]: rounds(out / "runs" / m) for m in taught},
        lessons=lessons(models, benchmark),
        sections=() if made is None else (decide.section(parted, made),),
        facts=facts(hero, benchmark)
        | {"training": ", ".join(f"{titles[m]} {seconds[titles[m]]:.0f} s" for m in models)},
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
    ui.show(f"A page that finds these people: {_page(out, world)}")
    return numbers


def _page(out: Path, world: Path) -> str:
    """The line that enrols the people of a world and serves them; it needs two extras."""
    gallery, crops, run = (
        shlex.quote(str(path))
        for path in (out / "gallery", world / "bounding_box_test", out / "runs" / HERO)
    )
    return (
        f"partreid gallery add {gallery} {crops} --run {run} --names market --thumbnails && "
        f"partreid serve {run} --gallery {gallery}"
    )


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


def learns(recipe: Recipe) -> bool:
    """Whether the method labels the training images itself, by its own features."""
    return any(label_sources()[spec.name].learns for spec in recipe.cues.values())


def _model(
    recipe: Recipe, title: str, benchmark: Benchmark, out: Path, seconds: dict[str, float]
) -> Model:
    """A trained model: found finished, taken up where it stopped, or trained."""
    folder = out / "runs" / recipe.method.name
    if _finished(recipe, out):
        ui.say(f"{title}: using the finished run in {folder}")
    else:
        with ui.training(f"training {title}") as shown:
            train(recipe, benchmark, folder, Options(resume=has_checkpoint(folder), progress=shown))
    spent = sum(
        entry["seconds"] for entry in read_journal(folder / "journal.jsonl") if "seconds" in entry
    )
    seconds[title] = spent
    ui.say(f"{title}: {folder} ({spent:.0f} s)")
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


def gain_over(rival: RunResult, result: RunResult) -> dict[str, Interval]:
    """What ``result`` gains in mAP over ``rival`` per query set, with 95 % intervals."""
    return {
        s.queries: bootstrap_difference(s.ranking, r.ranking)["mAP"]
        for s, r in zip(result.query_sets, rival.query_sets, strict=True)
    }


def _plain_gain(gain: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: {"mAP": g.value, "interval": [g.low, g.high]} for name, g in gain.items()}


def _headline(method: str, against: str, gain: Mapping[str, Interval]) -> str:
    clauses = []
    for queries, g in gain.items():
        better = "ahead of" if g.value > 0 else "behind"
        sure = "" if g.low > 0 or g.high < 0 else ", which chance could explain"
        clauses.append(
            f"on {queries} queries {method} is {abs(100 * g.value):.1f} points of mAP {better} "
            f"{against} (95 % interval {100 * g.low:.1f} to {100 * g.high:.1f}{sure})"
        )
    sentence = "; ".join(clauses)
    return sentence[0].upper() + sentence[1:] + "."


def _examples(bot: RunResult, result: RunResult) -> tuple[Any, ...]:
    rival, mine = bot.of("occluded"), result.of("occluded")
    rescued, failed = rescued_and_failed(rival, mine)
    examples = []
    for row in rescued:
        examples.append(
            example(
                "Half hidden, found",
                f"{result.name}'s first answer is right; {bot.name}'s first right answer comes at "
                f"place {rival.ranking.first[row]}.",
                (bot, result),
                "occluded",
                row,
            )
        )
    for row in failed:
        examples.append(
            example(
                "Half hidden, missed",
                f"{result.name}'s first right answer comes at place {mine.ranking.first[row]}, "
                f"{bot.name}'s at {rival.ranking.first[row]}.",
                (bot, result),
                "occluded",
                row,
            )
        )
    return tuple(examples)
