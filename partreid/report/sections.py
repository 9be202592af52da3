"""From scores to what the page shows of them: curves over the list, verification, open set,
differences.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from partreid.evaluation.result import Gains, QuerySetResult, RunResult, Seeds, by_method
from partreid.metrics.open_set import FPIRS
from partreid.metrics.verification import FMRS
from partreid.report.charts import SLOTS
from partreid.report.content import Block, Cell, Forest, Gain, Mark, Plot, Section, Series, Table
from partreid.report.rows import Row, query_set_name, rows

LONGEST = 20  # rank up to which the CMC is drawn
_POINTS = 160  # at which a curve is read
COMPARED = ("R1", "mAP", "mINP")
SPOKEN = {"R1": "Rank-1", "R5": "Rank-5", "R10": "Rank-10", "R20": "Rank-20"}

Doubles = NDArray[np.float64]
Slots = Mapping[str, int]
Points = tuple[Iterable[float], Iterable[float], tuple[Mark, ...]]


def color_slots(results: Sequence[RunResult]) -> dict[str, int]:
    """The color of each line on the page, by label: of the methods, then of their other rules;
    six at most.
    """
    order = [r.label for r in sorted(results, key=lambda r: bool(r.matching.after))]
    return {label: i for i, label in enumerate(list(dict.fromkeys(order))[:SLOTS])}


def cmc_section(results: Sequence[RunResult], colors: Slots) -> Section:
    """Cumulative matches over the rank."""

    def line(seeds: Sequence[QuerySetResult]) -> Points:
        ranks = np.arange(1, LONGEST + 1)
        each = [(s.ranking.first[s.ranking.scored] <= ranks[:, None]).mean(1) for s in seeds]
        return ranks, np.mean(each, 0), ()

    return Section(
        "cmc",
        "How far down the list",
        "",
        (
            Block(
                "",
                "Each line tells for how many queries the right person is among the first answers; "
                "higher is better, and the left end is Rank-1.",
                _plots(
                    by_method(results),
                    colors,
                    line,
                    x="answers looked at",
                    y="queries answered, %",
                    low=None,
                ),
            ),
        ),
    )


def verification_section(
    results: Sequence[RunResult], table: Sequence[Row], colors: Slots
) -> Section | None:
    """Verification of pairs, of results that have distances to put a threshold on."""
    groups = _with_thresholds(results)
    if not groups:
        return None

    def line(seeds: Sequence[QuerySetResult]) -> Points:
        rocs = [s.roc for s in seeds if s.roc is not None]
        lowest = 10.0 ** max(-5, math.floor(math.log10(1 / max(rocs[0].impostors, 10)) + 1))
        rates = np.geomspace(lowest, 1, _POINTS)
        each = [_stairs(*roc.points[:2], rates) for roc in rocs]
        eer = float(np.mean([roc.eer for roc in rocs]))
        dots = [
            Mark(f, float(np.mean([roc.tpr_at(f) for roc in rocs])), f"false matches {100 * f:g} %")
            for f in FMRS
        ]
        return rates, np.mean(each, 0), (*dots, Mark(eer, 1 - eer, "equal error rate"))

    names = {
        **{f"TPR@{f:.0e}".replace("e-0", "e-"): f"at {100 * f:g} %" for f in FMRS},
        "EER": "EER",
    }
    return Section(
        "verification",
        "One person or two?",
        "Every query beside every gallery image it may see: a pair is called one person if its "
        "distance is at or below a threshold.",
        (
            Block(
                "",
                "Each line tells what share of genuine pairs is found, by what share of impostor "
                "pairs is wrongly called one person; higher is better. Dots stand at 0.01 %, "
                "0.1 % and 1 %, the ring where as many pairs are missed as are wrongly matched.",
                _plots(
                    groups,
                    colors,
                    line,
                    x="impostor pairs called one person",
                    y="genuine pairs found, %",
                    log=True,
                    shares=True,
                ),
            ),
            Block(
                "",
                "True pairs found at three rates of false matches, and the equal error rate, where "
                "less is better; all in percent, with 95 % intervals.",
                _tables([r for r in table if "EER" in r.scores], names, lower=("EER",)),
            ),
        ),
        _seeds_note(groups),
    )


def open_set_section(
    results: Sequence[RunResult], table: Sequence[Row], colors: Slots
) -> Section | None:
    """Open-set search."""
    groups = _with_thresholds(results)
    if all(
        math.isnan(s.searches.auroc)
        for seeds in groups
        for result in seeds
        for s in result.query_sets
        if s.searches
    ):
        return None

    def line(seeds: Sequence[QuerySetResult]) -> Points:
        each = [s.searches for s in seeds if s.searches is not None]
        non_mated = int((~each[0].mated).sum())
        rates = np.unique(np.append(np.geomspace(max(1e-3, 1 / max(non_mated, 2)), 1, 60), FPIRS))
        dots = [
            Mark(f, float(np.mean([s.dir_at(f) for s in each])), f"false alarms {100 * f:g} %")
            for f in FPIRS
        ]
        return rates, [float(np.mean([s.dir_at(f) for s in each])) for f in rates], tuple(dots)

    names = {f"{kind}@{f:.0%}": f"{kind} at {f:.0%}" for kind in ("DIR", "FNIR") for f in FPIRS} | {
        "AUROC": "AUROC"
    }
    return Section(
        "open-set",
        "Non-mated search: is the person there at all?",
        "Half of the people, drawn at random but always the same, are taken out of the gallery; "
        "whoever asks for one of them should get no answer.",
        (
            Block(
                "",
                "Each line tells how often people who are there are returned first, by how often a "
                "search for somebody who is not there returns anybody; higher is better. Dots "
                "stand at 1 % and 10 %.",
                _plots(
                    groups,
                    colors,
                    line,
                    x="searches for absent people with an answer",
                    y="found, and first, %",
                    log=True,
                    shares=True,
                ),
            ),
            Block(
                "",
                "DIR: found, and first. FNIR: not found, at any place; less is better. AUROC: how "
                "well the nearest distance alone tells people who are there from others. All in "
                "percent, with 95 % intervals.",
                _tables(
                    [r for r in table if "AUROC" in r.scores],
                    names,
                    lower=tuple(n for n in names if n.startswith("FNIR")),
                ),
            ),
        ),
        _seeds_note(groups),
    )


def differences_section(reference: RunResult, gains: Gains, colors: Slots) -> Section:
    """What every other method and matching gains over the reference."""
    sets = dict.fromkeys(queries for _, queries in gains)
    forests = tuple(
        Forest(
            title(queries),
            tuple(
                Gain(
                    label,
                    SPOKEN.get(score, score),
                    d.value,
                    d.low,
                    d.high,
                    d.p,
                    colors.get(label, SLOTS - 1),
                )
                for score in COMPARED
                for (label, q), of in gains.items()
                if q == queries
                for d in (of[score],)
            ),
        )
        for queries in sets
    )
    return Section(
        "differences",
        f"Against {reference.label}",
        f"Differences in points: each method's score less that of {reference.label}, on the very "
        "same queries.",
        (
            Block(
                "",
                "A bar is the 95 % interval of a difference and the dot its value: right of the "
                f"line is better than {reference.label}, and a bar that crosses the line could be "
                "chance.",
                forests,
            ),
        ),
        "p is how often a difference as large would come by chance if neither were better. Of "
        "twenty such numbers one is below 0.05 by chance alone.",
    )


def headline(reference: Seeds, gains: Gains) -> str:
    """What the reference scores or, with others, how far they are from it, in a few sentences."""
    if not gains:
        scores = [
            f"{100 * r.scores['R1']:.1f} % at once and {100 * r.scores['mAP']:.1f} mAP on "
            f"{query_set_name(r.queries)}"
            for r in rows(reference)
        ]
        return f"{reference[0].name} is right for {', '.join(scores)}."
    sentences = []
    for label in dict.fromkeys(label for label, _ in gains):
        parts = []
        for (name, queries), of in gains.items():
            if name == label:
                d = of["mAP"]
                sure = "" if d.low > 0 or d.high < 0 else ", which chance could explain"
                parts.append(
                    f"on {query_set_name(queries)} {abs(100 * d.value):.1f} points of mAP "
                    f"{'ahead of' if d.value > 0 else 'behind'} {reference[0].label} "
                    f"({100 * d.low:+.1f} to {100 * d.high:+.1f}{sure})"
                )
        sentences.append(f"{label} is {'; '.join(parts)}.")
    return " ".join(sentences)


def title(queries: str) -> str:
    """A query set as a heading."""
    words = query_set_name(queries)
    return f"{words[:1].upper()}{words[1:]}"


def _plots(
    groups: Sequence[Seeds],
    colors: Slots,
    line: Callable[[Sequence[QuerySetResult]], Points],
    *,
    x: str,
    y: str,
    log: bool = False,
    shares: bool = False,
    low: float | None = 0.0,
) -> tuple[Plot, ...]:
    """One plot for every query set, a line for every method and matching that has a color."""
    made = []
    for queries in dict.fromkeys(q.queries for seeds in groups for q in seeds[0].query_sets):
        series = []
        for seeds in groups:
            label = seeds[0].label
            if label in colors and queries in {q.queries for q in seeds[0].query_sets}:
                positions, values, marks = line([result.of(queries) for result in seeds])
                series.append(
                    Series(
                        label,
                        tuple(map(float, positions)),
                        tuple(map(float, values)),
                        colors[label],
                        marks,
                    )
                )
        made.append(Plot(title(queries), x, y, tuple(series), log=log, shares=shares, low=low))
    return tuple(made)


def _tables(
    table: Sequence[Row], names: Mapping[str, str], lower: Sequence[str]
) -> tuple[Table, ...]:
    """One table for every query set, the best of each column marked."""
    made = []
    for queries in dict.fromkeys(row.queries for row in table):
        of = [row for row in table if row.queries == queries]
        best = {}
        for name in names:
            values = [row.scores[name] for row in of if math.isfinite(row.scores[name])]
            if len(values) > 1:
                best[name] = min(values) if name in lower else max(values)
        made.append(
            Table(
                title(queries),
                "Method",
                tuple(names.values()),
                tuple(
                    (
                        row.method,
                        row.matching.words,
                        tuple(
                            cell(row.scores[n], row.intervals.get(n), row.scores[n] == best.get(n))
                            for n in names
                        ),
                    )
                    for row in of
                ),
            )
        )
    return tuple(made)


def cell(value: float, interval: tuple[float, float] | None = None, best: bool = False) -> Cell:
    """A cell, empty if the value is no number."""
    return Cell(value, interval, best) if math.isfinite(value) else Cell(None)


def _stairs(x: Doubles, y: Doubles, positions: Doubles) -> Doubles:
    """The last y whose x is at or below each of ``positions``."""
    return y[np.searchsorted(x, positions * (1 + 1e-12), "right") - 1]


def _with_thresholds(results: Sequence[RunResult]) -> list[Seeds]:
    """Results, by method and matching, whose distances a threshold can be put on."""
    return [
        seeds
        for seeds in by_method(results)
        if all(
            q.roc is not None and q.searches is not None
            for result in seeds
            for q in result.query_sets
        )
    ]


def _seeds_note(groups: Sequence[Seeds]) -> str:
    if all(len(seeds) == 1 for seeds in groups):
        return ""
    return "Of methods with several seeds the means are shown, without intervals."
