"""``partreid claims``: does what the papers' tables say of their own variants hold on made-up
people too?

Every variant is trained at the size of the synthetic benchmark with several seeds; two variants are
compared on the same queries, with the people drawn anew for the interval.
"""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from partreid import __version__, build
from partreid.data.registry import BENCHMARKS
from partreid.data.synthetic import PRESETS
from partreid.data.synthetic import write as write_world
from partreid.errors import DataError
from partreid.evaluation import evaluate_run
from partreid.evaluation.ledger import own_commit
from partreid.evaluation.variant import variant_of
from partreid.inference import load
from partreid.metrics import Interval, bootstrap_values
from partreid.recipes import Claim, Recipe, find, papers
from partreid.train.loop import Options, train
from partreid.train.run import has_checkpoint
from partreid.types import Benchmark
from partreid.utils import ui
from partreid.utils.arguments import fits, require
from partreid.utils.files import read_json, write_json

IUV = "uv_tiles"  # the cue that is made of IUV pictures


@dataclass(frozen=True, eq=False)
class Outcome:
    """One trained variant: AP float64 [queries] and identities int64 [queries] by query set,
    Rank-1 hits likewise.
    """

    ap: Mapping[str, NDArray[np.float64]]
    first: Mapping[str, NDArray[np.float64]]
    identities: Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Checked:
    """A claim and how it fared: the gain of the better variant in mAP on the claim's queries, by
    seed and over all.
    """

    claim: Claim
    gain: Interval
    by_seed: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """holds or fails if the interval leaves zero out; undecided otherwise."""
        if self.gain.low > 0:
            return "holds"
        return "fails" if self.gain.high < 0 else "undecided"


def run(
    chosen: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    size: str = "small",
    results: Path | None = None,
    device: str = "auto",
    where: Sequence[str] = (),
) -> dict[str, Any]:
    """Train what the claims of the ``chosen`` papers (all if empty) need, check and print them;
    the numbers go to ``results``.

    where: only claims whose source, or one of whose rows, contains one of these, e.g. "Table 2".

    Finished runs in ``out`` are used again and interrupted ones taken up, so several processes with
    different seeds can share the work if the people are drawn already.
    """
    having = {paper.name: paper for paper in papers() if paper.claims or paper.studies}
    for name in chosen:
        if name not in having:
            raise DataError(f"there are no claims of '{name}'; choose of {', '.join(having)}")
    selected = [paper for name, paper in having.items() if not chosen or name in chosen]
    require(not isinstance(where, str), "where", "a list of words", where)
    every = [claim for paper in selected for claim in paper.claims]
    for word in where:
        if not any(_has(claim, word) for claim in every):
            raise DataError(
                f"no claim of {', '.join(chosen) or 'any paper'} has '{word}' in its source or its "
                "rows; leave it out of --where"
            )
    claims = [c for c in every if not where or any(_has(c, word) for word in where)]
    studies = {title: rows for paper in selected for title, rows in paper.studies.items()}
    names = list(
        dict.fromkeys(
            [
                *(name for c in claims for name in (c.better, c.worse)),
                *(name for rows in studies.values() for name in rows),
            ]
        )
    )
    recipes = {name: find(f"{name}@{size}") for name in names}
    preset = BENCHMARKS[recipes[names[0]].train].preset
    assert preset is not None  # the rows of the synthetic benchmark train on made-up people
    for seed in seeds:  # a wrong one is said before people are drawn
        replace(recipes[names[0]], seed=seed)
    world = out / f"world-{preset}"
    with ui.progress("drawing people") as step:
        write_world(
            PRESETS[preset],
            world,
            iuv=any(IUV in r.cues for r in recipes.values()),
            progress=step,
        )
    benchmark = build.benchmark(recipes[names[0]].train, world)
    first: dict[str, Recipe] = {}  # rows of several tables are often one and the same
    for recipe in recipes.values():
        first.setdefault(recipe.digest, recipe)
    trained: dict[str, Recipe] = {}  # and some only score, each in its way, what one row trains
    for recipe in first.values():
        trained.setdefault(recipe.training, recipe)
    by_digest = {
        (digest, seed): _outcome(
            replace(recipe, seed=seed),
            benchmark,
            out / "runs",
            device,
            replace(trained[recipe.training], seed=seed),
        )
        for seed in seeds
        for digest, recipe in first.items()
    }
    outcomes = {
        (name, seed): by_digest[recipes[name].digest, seed] for name in names for seed in seeds
    }
    checked = [
        check(claim, [(outcomes[claim.better, s], outcomes[claim.worse, s]) for s in seeds])
        for claim in claims
    ]
    table = {name: _scores([outcomes[name, s] for s in seeds]) for name in names}
    _print(checked, table, studies, seeds)
    numbers = {
        "size": size,
        "seeds": list(seeds),
        "made": _made(build.device(device)),
        "variants": table,
        "studies": {title: list(rows) for title, rows in studies.items()},
        "claims": [
            {
                "better": c.claim.better,
                "worse": c.claim.worse,
                "where": c.claim.where,
                "said": c.claim.published,
                "queries": c.claim.queries,
                "gain": c.gain.value,
                "interval": [c.gain.low, c.gain.high],
                "by_seed": list(c.by_seed),
                "verdict": c.verdict,
            }
            for c in checked
        ],
    }
    if results is not None:
        write_json(results, numbers)
    return numbers


def _has(claim: Claim, word: str) -> bool:
    return any(word in text for text in (claim.where, claim.better, claim.worse))


def check(claim: Claim, pairs: Sequence[tuple[Outcome, Outcome]]) -> Checked:
    """A claim against (better, worse) outcomes, one pair a seed; DataError if they answered
    different queries.

    The interval is of the gain averaged over the seeds, under drawing the people anew: it holds for
    these trainings.
    """
    gains = []
    for better, worse in pairs:
        if not np.array_equal(better.identities[claim.queries], worse.identities[claim.queries]):
            raise DataError(
                f"{claim.better} and {claim.worse} answered different queries; run both on one "
                "data set"
            )
        gains.append(better.ap[claim.queries] - worse.ap[claim.queries])
    mean = np.mean(gains, 0)
    interval = bootstrap_values({"mAP": mean}, pairs[0][0].identities[claim.queries])["mAP"]
    return Checked(claim, interval, tuple(float(g.mean()) for g in gains))


def _made(device: str) -> dict[str, str | None]:
    """By what the numbers were put together; runs that were there already may be older."""
    return {
        "version": __version__,
        "commit": own_commit(),
        "device": device,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _folder(recipe: Recipe, runs: Path) -> Path:
    return runs / recipe.name.replace("/", ".") / f"seed{recipe.seed}"


def _outcome(
    recipe: Recipe,
    benchmark: Benchmark,
    runs: Path,
    device: str,
    trained: Recipe | None = None,
) -> Outcome:
    """Score one variant, of the training of the row ``trained`` (None: of its own), which is done
    first if it is not there; or read what an earlier run left.
    """
    trained = recipe if trained is None else trained
    folder = _folder(recipe, runs)
    scores = folder / "claims.json"
    if scores.is_file():
        stored = read_json(scores)
        if not isinstance(stored, dict) or stored.get("digest") != recipe.digest:
            raise DataError(
                f"{folder} holds a run with other settings; delete it, or choose another folder "
                "with --out"
            )
        return _read(stored.get("queries"), scores)
    if not (folder / "model.safetensors").is_file():
        folder = _folder(trained, runs)
    if not (folder / "model.safetensors").is_file():
        with ui.training(f"{trained.name}, seed {trained.seed}") as shown:
            train(
                trained,
                benchmark,
                folder,
                Options(device=device, resume=has_checkpoint(folder), progress=shown),
            )
    model = load(folder, device)
    if model.recipe.digest != recipe.digest:
        model = variant_of(model, folder, row=recipe.name)
    result = evaluate_run(model, benchmark, name=recipe.name)
    queries = {
        s.queries: {
            "ap": s.ranking.ap[s.ranking.scored].tolist(),
            "first": s.ranking.first[s.ranking.scored].tolist(),
            "identities": s.ranking.identities[s.ranking.scored].tolist(),
        }
        for s in result.query_sets
    }
    write_json(scores, {"digest": recipe.digest, "queries": queries})
    return _read(queries, scores)


def _read(queries: Any, source: Path) -> Outcome:
    """Outcomes as ``claims.json`` holds them. DataError if it was changed into something else."""
    if not isinstance(queries, dict) or not queries or not all(map(_scored, queries.values())):
        raise DataError(
            f"{source} was changed or is damaged; delete it, and the run is scored anew"
        )
    return Outcome(
        {q: np.array(v["ap"], np.float64) for q, v in queries.items()},
        {q: (np.array(v["first"]) == 1).astype(np.float64) for q, v in queries.items()},
        {q: np.array(v["identities"], np.int64) for q, v in queries.items()},
    )


def _scored(result: Any) -> bool:
    """Whether these can be the scores of one query set."""
    if not isinstance(result, dict) or set(result) != {"ap", "first", "identities"}:
        return False
    whole = fits(result["first"], list[int]) and fits(result["identities"], list[int])
    return (
        whole
        and fits(result["ap"], list[float])
        and all(0 <= ap <= 1 for ap in result["ap"])
        and len(result["ap"]) == len(result["first"]) == len(result["identities"]) > 0
    )


def _scores(outcomes: Sequence[Outcome]) -> dict[str, dict[str, list[float]]]:
    """mAP and Rank-1 per query set, a number for each seed."""
    return {
        q: {
            "mAP": [float(o.ap[q].mean()) for o in outcomes],
            "rank1": [float(o.first[q].mean()) for o in outcomes],
        }
        for q in outcomes[0].ap
    }


def _print(
    checked: Sequence[Checked],
    table: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
    studies: Mapping[str, Sequence[str]],
    seeds: Sequence[int],
) -> None:
    compared = [name for c in checked for name in (c.claim.worse, c.claim.better)]
    for title, rows in (studies or {}).items():
        _print_scores(title, rows, table)
    _print_scores("All variants", dict.fromkeys([*compared, *table]), table)
    lines = [
        (
            c.claim.better,
            c.claim.worse,
            c.claim.where,
            c.claim.published,
            c.claim.queries,
            c.gain.points(),
            ", ".join(f"{100 * g:+.1f}" for g in c.by_seed),
            c.verdict,
        )
        for c in checked
    ]
    ui.table(
        f"Claims, {len(seeds)} seed(s): gain in mAP [95 %]",
        ("better", "than", "source", "paper", "queries", "gain", "by seed", "here it"),
        lines,
        left=5,
    )
    tally = {
        verdict: sum(c.verdict == verdict for c in checked)
        for verdict in ("holds", "undecided", "fails")
    }
    ui.show(", ".join(f"{count} {verdict}" for verdict, count in tally.items()))


def _print_scores(
    title: str,
    names: Sequence[str] | Mapping[str, Any],
    table: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
) -> None:
    """Mean and half the range over the seeds, percent; of one seed its number alone."""

    def cell(values: Sequence[float]) -> str:
        spread = f" ± {50 * (max(values) - min(values)):.1f}" if len(values) > 1 else ""
        return f"{100 * float(np.mean(values)):.1f}{spread}"

    sets = list(next(iter(table.values())))
    ui.table(
        title,
        ("variant", *(f"{q} {m}" for q in sets for m in ("Rank-1", "mAP"))),
        [
            (name, *(cell(table[name][q][m]) for q in sets for m in ("rank1", "mAP")))
            for name in names
        ],
    )
