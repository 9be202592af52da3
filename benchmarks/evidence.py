"""Does it pay to distrust distances that rest on few shared parts? ``PartDistance(shrink=...)`` on
trained runs.

    python -m benchmarks.evidence RUN... [--data WORLD] [--json FILE]

Each run embeds its test images once; then the papers' rule (shrink 0) is compared with others on
the same vectors: with all that a gallery stores, and with the parts alone, where one shared part
often decides; with ``far`` that of unrelated vectors, and the median of the gallery. The best row
is the best of those tried on these very images, and so flatters. First a simulation, with parts as
independent as the argument for shrinking supposes, and with parts that are not. Nothing is trained
here.
"""

import argparse
import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partreid import __version__, build
from partreid.distance import PartDistance, shared, typical
from partreid.evaluation.extract import extract
from partreid.evaluation.ledger import own_commit
from partreid.evaluation.result import Embedded
from partreid.evaluation.score import cameras, embed_benchmark, identities
from partreid.inference import load
from partreid.metrics import (
    ANY_CAMERA,
    Protocol,
    Ranking,
    bootstrap_ranking,
    bootstrap_values,
    evaluate_embeddings,
)
from partreid.types import DISTRACTOR, JUNK, Embeddings
from partreid.utils.files import write_json

SHRINK = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
SCORES = ("mAP", "R1")
PARTS, WIDTH, PEOPLE, SHOTS, NOISE = 6, 32, 800, 5, 1.3  # 4,000 in the gallery, 800 queries
# a part hidden with this chance; a whole figure besides; how much of a part's variance is in all
# parts
SIMULATED = (
    (0.35, False, 0.0),
    (0.35, True, 0.0),
    (0.35, True, 0.5),
    (0.35, True, 0.8),
    (0.07, True, 0.0),
    (0.07, True, 0.5),
)


# people and cameras of the queries, and of the gallery
Who = tuple[list[int], list[int], list[int], list[int]]


class Comparison:
    """One set of queries and its gallery, and how every amount of shrinkage ranks them."""

    def __init__(
        self, distance: PartDistance, q: Embeddings, g: Embeddings, who: Who, protocol: Protocol
    ) -> None:
        self.rankings = {
            a: evaluate_embeddings(
                replace(distance, shrink=a),
                q,
                g,
                q_ids=who[0],
                q_cams=who[1],
                g_ids=who[2],
                g_cams=who[3],
                protocol=protocol,
                distractor=DISTRACTOR,
                junk=JUNK,
                top=1,
            )
            for a in SHRINK
        }
        first = self.rankings[0.0].top[:, 0]
        both = shared(q, g)
        # shared: parts in a pair at random, and with the first answer
        self.facts: dict[str, float | None] = {
            "parts": len(q.names),
            "far": replace(distance, shrink=1.0).missing,
            "hidden_query": 1 - float(q.visibility.mean()),
            "hidden_gallery": 1 - float(g.visibility.mean()),
            "shared": float(both.mean()),
            "shared_by_first": float(both[torch.arange(len(q)), torch.from_numpy(first)].mean()),
            "nothing_shared": float((both == 0).double().mean()),
            "agreement": agreement(distance, q, g),
        }


def agreement(
    distance: PartDistance, q: Embeddings, g: Embeddings, pairs: int = 20_000
) -> float | None:
    """Do parts say the same? Correlation of the distances of two parts over random pairs of images,
    mean over parts.

    Always visible vectors take part. Nearly all pairs are of two people. None if no two parts are
    shared often enough.
    """
    draw = torch.Generator().manual_seed(0)
    one, other = (torch.randint(len(e), (pairs,), generator=draw) for e in (q, g))
    far = torch.cat(
        [distance.parts(q.rows(i), g.rows(j)) for i, j in zip(one.split(1000), other.split(1000))]
    ).numpy()
    correlations = []
    for m in range(far.shape[1]):
        for n in range(m):
            both = np.isfinite(far[:, m]) & np.isfinite(far[:, n])
            if both.sum() > 100:
                correlations.append(np.corrcoef(far[both, m], far[both, n])[0, 1])
    return float(np.mean(correlations)) if correlations else None


def rows(runs: Sequence[dict[float, Ranking]]) -> list[dict[str, Any]]:
    """For every shrinkage the mean scores of runs on the same queries, and what they gain on
    shrinkage 0.

    Intervals draw the people anew; they hold for these trainings.
    """
    people = runs[0][0.0].identities[runs[0][0.0].scored]
    by_shrinkage = []
    for a in SHRINK:
        scores, plain = ([run[b].per_query() for run in runs] for b in (a, 0.0))
        gain = {s: np.mean([x[s] - y[s] for x, y in zip(scores, plain)], 0) for s in SCORES}
        row: dict[str, Any] = {
            "shrink": a,
            **{s: float(np.mean([x[s] for x in scores])) for s in SCORES},
        }
        if a:
            intervals = bootstrap_values(gain, people)
            row |= {
                f"{s}_gain": [intervals[s].value, intervals[s].low, intervals[s].high]
                for s in SCORES
            }
            if len(runs) > 1:
                row |= {
                    f"{s}_by_run": [float((x[s] - y[s]).mean()) for x, y in zip(scores, plain)]
                    for s in SCORES
                }
        by_shrinkage.append(row)
    return by_shrinkage


def study(run: Path, world: Path, device: str) -> tuple[dict[str, Any], dict[str, Comparison]]:
    """What a run is, and how it fares on every set of queries, with and without the vectors that
    are always visible.
    """
    model = load(run, device)
    benchmark = build.benchmark(model.recipe.train, world)
    described = embed_benchmark(
        benchmark, lambda s: extract(model.method, s, model.recipe.size, device=model.device)
    )
    distance, names = model.method.distance, model.names
    assert model.scheme is not None, f"{run} has no parts"
    comparisons = {}
    parts = tuple(n for n in names if n in model.scheme.names)
    for compared, kept in (
        ("all", names),
        ("parts", parts),
        *((("unweighted", names),) if distance.weights else ()),
    ):
        weights = tuple(a for a, n in zip(distance.weights or (), names) if n in kept)
        chosen = Embedded(
            {name: e.select(*kept) for name, e in described.queries.items()},
            described.gallery.select(*kept),
        )
        measure = replace(distance, weights=None if compared == "unweighted" else weights or None)
        fars = {"unrelated": measure}
        if bool((shared(chosen.gallery, chosen.gallery) > 0).any()):
            fars["typical"] = replace(measure, far=typical(measure, chosen.gallery))
        for queries, samples in benchmark.queries.items():
            who = (
                identities(samples),
                cameras(samples),
                identities(benchmark.gallery),
                cameras(benchmark.gallery),
            )
            for far, measure in fars.items():
                comparisons[f"{queries}, {compared}, {far}"] = Comparison(
                    measure, chosen.queries[queries], chosen.gallery, who, build.protocol(benchmark)
                )
    return {
        "recipe": model.recipe.name,
        "seed": model.recipe.seed,
        "digest": model.recipe.digest,
        "metric": distance.metric,
        "weights": distance.weights,
        "embeddings": names,
    }, comparisons


def simulate(hidden: float, figure: bool, common: float, seed: int = 0) -> Comparison:
    """People with a random vector for each part, images with noise on each, parts hidden at
    random.
    """
    draw = torch.Generator().manual_seed(seed)
    # the figure, the parts, what all have in common
    people = torch.randn(PEOPLE, PARTS + 2, WIDTH, generator=draw)

    def images(n: int) -> Embeddings:
        z = people.repeat_interleave(n, 0)
        z = z + NOISE * torch.randn(z.shape, generator=draw)
        vectors = (1 - common) ** 0.5 * z[:, :-1] + common**0.5 * z[:, -1:]
        seen = (torch.rand(len(z), PARTS + 1, generator=draw) >= hidden).float()
        seen[:, 0] = 1
        e = Embeddings(vectors, seen, ("figure", *(f"part{m}" for m in range(PARTS))))
        return e if figure else e.select(*e.names[1:])

    ids = [i for i in range(1, PEOPLE + 1) for _ in range(SHOTS)]
    who = (list(range(1, PEOPLE + 1)), [1] * PEOPLE, ids, [2] * len(ids))
    return Comparison(PartDistance("cosine"), images(1), images(SHOTS), who, ANY_CAMERA)


def table(title: str, by_shrinkage: Sequence[dict[str, Any]]) -> list[str]:
    """Markdown: one row for each shrinkage, in percent."""
    lines = [
        f"\n{title}\n",
        "| shrink | mAP | gain [95 %] | Rank-1 | gain [95 %] |",
        "|---|---|---|---|---|",
    ]
    for row in by_shrinkage:
        cells = [f"{row['shrink']:g}"]
        for s in SCORES:
            v, low, high = (100 * x for x in row.get(f"{s}_gain", (0, 0, 0)))
            cells += [
                f"{100 * row[s]:.1f}",
                f"{v:+.1f} [{low:+.1f}, {high:+.1f}]" if row["shrink"] else "",
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


Rows = Sequence[dict[str, Any]]


def page(record: dict[str, Any]) -> list[str]:
    """The table of docs/algebra.md: gains of lambda = 1."""

    def gain(rows: Rows | None) -> str:
        if rows is None:
            return ""
        v, low, high = (100 * x for x in next(r for r in rows if r["shrink"] == 1)["mAP_gain"])
        return f"{v:+.1f} [{low:+.1f}, {high:+.1f}]"

    def line(name: str, f: dict[str, float], rows: Rows, other: Rows | None) -> str:
        return (
            f"| {name} | {f['hidden_query']:.0%} | {f['agreement']:.2f} | "
            f"{f['shared_by_first']:.2f} / {f['shared']:.2f} | {100 * rows[0]['mAP']:.1f} | "
            f"{gain(rows)} | {gain(other)} |"
        ).replace("%", " %")

    lines = [
        "| what is compared | hidden | agree | first / any | mAP, lambda = 0 | gain, far of "
        "unrelated vectors | gain, far typical |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in record["simulation"]["cases"]:
        what = "figure and parts" if case["figure"] else "parts alone"
        lines.append(
            line(f"simulated, {what}", {**case, "hidden_query": case["hidden"]}, case["rows"], None)
        )
    measured = {
        (m["recipe"].split("/")[-1], m["compared"], m["queries"], m["far"]): m
        for m in record["measured"]
    }
    for method, compared in (("bpbreid", "all"), ("bpbreid", "parts"), ("hcga", "all")):
        for queries in ("holistic", "occluded"):
            m, other = (
                measured[method, compared, queries, far] for far in ("unrelated", "typical")
            )
            each = [
                run["facts"][f"{queries}, {compared}, unrelated"]
                for run in record["runs"]
                if run["recipe"] == m["recipe"]
            ]
            mean = {
                name: statistics.mean(f[name] for f in each)
                for name in ("hidden_query", "agreement", "shared_by_first", "shared")
            }
            title = {"bpbreid": "BPBreID", "hcga": "HCGA"}[method] + (
                ", parts alone" if compared == "parts" else ""
            )
            lines.append(line(f"{title}, {queries} queries", mean, m["rows"], other["rows"]))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="*", type=Path)
    parser.add_argument(
        "--data", type=Path, help="the world; default world-demo beside the folder of each run"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="only print the table of a recorded file"
    )
    options = parser.parse_args()
    if options.page:
        print("\n".join(page(json.loads(options.page.read_text(encoding="utf-8")))))
        return
    device = build.device(options.device)
    simulated: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    groups: dict[tuple[str, str], list[dict[float, Ranking]]] = {}
    for hidden, figure, common in SIMULATED:
        comparison = simulate(hidden, figure, common)
        simulated.append(
            {
                "hidden": hidden,
                "figure": figure,
                "common": common,
                **comparison.facts,
                "rows": rows([comparison.rankings]),
            }
        )
        title = (
            f"simulated: {PARTS} parts{' and a figure' * figure}, {hidden:.0%} hidden, "
            f"{common:.0%} in common"
        )
        print("\n".join(table(title, simulated[-1]["rows"])), flush=True)
    for run in options.run:
        about, comparisons = study(run, options.data or run.parent.parent / "world-demo", device)
        runs.append(
            {
                **about,
                "facts": {name: comparison.facts for name, comparison in comparisons.items()},
                "mAP_interval": {
                    name: [
                        getattr(bootstrap_ranking(comparison.rankings[0.0])["mAP"], end)
                        for end in ("low", "high")
                    ]
                    for name, comparison in comparisons.items()
                },
            }
        )
        for name, comparison in comparisons.items():
            groups.setdefault((about["recipe"], name), []).append(comparison.rankings)
    measured = [
        {
            "recipe": recipe,
            **dict(zip(("queries", "compared", "far"), name.split(", "))),
            "seeds": [r["seed"] for r in runs if r["recipe"] == recipe],
            "rows": rows(rankings),
        }
        for (recipe, name), rankings in groups.items()
    ]
    for m in measured:
        print(
            "\n".join(
                table(
                    f"{m['recipe']}, seeds {m['seeds']}: {m['queries']} queries, {m['compared']}, "
                    f"far {m['far']}",
                    m["rows"],
                )
            )
        )
    print(json.dumps([r["facts"] for r in runs], indent=1))
    if options.json:
        made = {
            "version": __version__,
            "commit": own_commit(),
            "device": device,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "command": "python -m benchmarks.evidence RUN... --json FILE",
        }
        settings = {
            "parts": PARTS,
            "width": WIDTH,
            "people": PEOPLE,
            "shots": SHOTS,
            "noise": NOISE,
        }
        write_json(
            options.json,
            {
                "made": made,
                "simulation": {**settings, "cases": simulated},
                "runs": runs,
                "measured": measured,
            },
        )


if __name__ == "__main__":
    main()
