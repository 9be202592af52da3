"""From scores to what the page shows of them: curves over the list, verification, open set,
differences.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from partreid.evaluation.rows import Arm, Row, asked, rows, rule
from partreid.evaluation.score import Scored
from partreid.metrics import Difference, difference_over_seeds
from partreid.metrics.open_set import FPIRS
from partreid.metrics.verification import FMRS
from partreid.report.charts import SLOTS
from partreid.report.content import Block, Cell, Forest, Gain, Mark, Plot, Section, Series, Table

LONGEST = 20  # rank up to which the CMC is drawn
_POINTS = 160  # at which a curve is read
COMPARED = ("R1", "mAP", "mINP")
SPOKEN = {"R1": "Rank-1", "R5": "Rank-5", "R10": "Rank-10", "R20": "Rank-20"}

Doubles = NDArray[np.float64]
Slots = Mapping[str, int]
Gains = Mapping[tuple[str, str], Mapping[str, Difference]]


def slots(arms: Sequence[Arm]) -> dict[str, int]:
    """The colour of each line on the page, by label: of the methods, then of their other rules;
    six at most.
    """
    order = [a.label for a in sorted(arms, key=lambda a: not a.plain)]
    return {label: i for i, label in enumerate(list(dict.fromkeys(order))[:SLOTS])}


def found(arms: Sequence[Arm], colours: Slots) -> Section:
    """Cumulative matches over the rank."""

    def line(scored: Sequence[Scored]) -> tuple[Iterable[float], Iterable[float], tuple[Mark, ...]]:
        at = np.arange(1, LONGEST + 1)
        each = [(s.ranking.first[s.ranking.scored] <= at[:, None]).mean(1) for s in scored]
        return at, np.mean(each, 0), ()

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
                    arms, colours, line, x="answers looked at", y="queries answered, %", low=None
                ),
            ),
        ),
    )


def verified(arms: Sequence[Arm], of: Sequence[Row], colours: Slots) -> Section | None:
    """Verification of pairs, of arms that have distances to put a threshold on."""
    arms = [a for a in arms if _watched(a)]
    if not arms:
        return None

    def line(scored: Sequence[Scored]) -> tuple[Iterable[float], Iterable[float], tuple[Mark, ...]]:
        rocs = [s.roc for s in scored if s.roc is not None]
        lowest = 10.0 ** max(-5, math.floor(math.log10(1 / max(rocs[0].impostors, 10)) + 1))
        at = np.geomspace(lowest, 1, _POINTS)
        each = [_stairs(*roc.points[:2], at) for roc in rocs]
        eer = float(np.mean([roc.eer for roc in rocs]))
        dots = [
            Mark(f, float(np.mean([roc.tpr_at(f) for roc in rocs])), f"false matches {100 * f:g} %")
            for f in FMRS
        ]
        return at, np.mean(each, 0), (*dots, Mark(eer, 1 - eer, "equal error rate"))

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
                "Each line tells what share of true pairs is found, by what share of pairs of "
                "strangers is wrongly called one person; higher is better. Dots stand at 0.01 %, "
                "0.1 % and 1 %, the ring where as many pairs are missed as are wrongly matched.",
                _plots(
                    arms,
                    colours,
                    line,
                    x="strangers called one person",
                    y="true pairs found, %",
                    log=True,
                    shares=True,
                ),
            ),
            Block(
                "",
                "True pairs found at three rates of false matches, and the equal error rate, where "
                "less is better; all in percent, with 95 % intervals.",
                _tables([r for r in of if "EER" in r.scores], names, lower=("EER",)),
            ),
        ),
        _seeds_told(arms),
    )


def searched(arms: Sequence[Arm], of: Sequence[Row], colours: Slots) -> Section | None:
    """Open-set search."""
    arms = [a for a in arms if _watched(a)]
    if not arms or all(
        math.isnan(s.searches.auroc) for a in arms for run in a.runs for s in run if s.searches
    ):
        return None

    def line(scored: Sequence[Scored]) -> tuple[Iterable[float], Iterable[float], tuple[Mark, ...]]:
        each = [s.searches for s in scored if s.searches is not None]
        strangers = int((~each[0].mated).sum())
        at = np.unique(np.append(np.geomspace(max(1e-3, 1 / max(strangers, 2)), 1, 60), FPIRS))
        dots = [
            Mark(f, float(np.mean([s.dir_at(f) for s in each])), f"false alarms {100 * f:g} %")
            for f in FPIRS
        ]
        return at, [float(np.mean([s.dir_at(f) for s in each])) for f in at], tuple(dots)

    names = {f"{kind}@{f:.0%}": f"{kind} at {f:.0%}" for kind in ("DIR", "FNIR") for f in FPIRS} | {
        "AUROC": "AUROC"
    }
    return Section(
        "open-set",
        "Is the person there at all?",
        "Half of the people, drawn at random but always the same, are taken out of the gallery; "
        "whoever asks for one of them should get no answer.",
        (
            Block(
                "",
                "Each line tells how often people who are there are returned first, by how often a "
                "search for somebody who is not there returns anybody; higher is better. Dots "
                "stand at 1 % and 10 %.",
                _plots(
                    arms,
                    colours,
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
                    [r for r in of if "AUROC" in r.scores],
                    names,
                    lower=tuple(n for n in names if n.startswith("FNIR")),
                ),
            ),
        ),
        _seeds_told(arms),
    )


def differences(reference: Arm, others: Sequence[Arm]) -> Gains:
    """What each of the others gains over the reference, by (label, query set) and score.

    The reference itself under another rule is the same runs scored in two ways.
    """
    return {
        (arm.label, queries): difference_over_seeds(
            [s.ranking for s in arm.on(queries)],
            [s.ranking for s in reference.on(queries)],
            same_runs=arm.name == reference.name,
        )
        for arm in others
        for queries in reference.sets
    }


def compared(reference: Arm, gains: Gains, colours: Slots) -> Section:
    """The same as a section."""
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
                    colours.get(label, SLOTS - 1),
                )
                for score in COMPARED
                for (label, q), found in gains.items()
                if q == queries
                for d in (found[score],)
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


def headline(reference: Arm, gains: Gains) -> str:
    """What the reference scores or, with others, how far they are from it, in a few sentences."""
    if not gains:
        said = [
            f"{100 * r.scores['R1']:.1f} % at once and {100 * r.scores['mAP']:.1f} mAP on "
            f"{asked(r.queries)}"
            for r in rows([reference])
        ]
        return f"{reference.name} is right for {', '.join(said)}."
    said = []
    for label in dict.fromkeys(label for label, _ in gains):
        parts = []
        for (name, queries), of in gains.items():
            if name == label:
                d = of["mAP"]
                sure = "" if d.low > 0 or d.high < 0 else ", which chance could explain"
                parts.append(
                    f"on {asked(queries)} {abs(100 * d.value):.1f} points of mAP "
                    f"{'ahead of' if d.value > 0 else 'behind'} {reference.label} "
                    f"({100 * d.low:+.1f} to {100 * d.high:+.1f}{sure})"
                )
        said.append(f"{label} is {'; '.join(parts)}.")
    return " ".join(said)


def title(queries: str) -> str:
    words = asked(queries)
    return f"{words[:1].upper()}{words[1:]}"


Line = Callable[[Sequence[Scored]], tuple[Iterable[float], Iterable[float], tuple[Mark, ...]]]


def _plots(
    arms: Sequence[Arm],
    colours: Slots,
    line: Line,
    *,
    x: str,
    y: str,
    log: bool = False,
    shares: bool = False,
    low: float | None = 0.0,
) -> tuple[Plot, ...]:
    """One plot for every query set, a line for every arm that has a colour."""
    made = []
    for queries in dict.fromkeys(q for a in arms for q in a.sets):
        series = []
        for arm in arms:
            if arm.label in colours and queries in arm.sets:
                at, values, marks = line(arm.on(queries))
                series.append(
                    Series(
                        arm.label,
                        tuple(map(float, at)),
                        tuple(map(float, values)),
                        colours[arm.label],
                        marks,
                    )
                )
        made.append(Plot(title(queries), x, y, tuple(series), log=log, shares=shares, low=low))
    return tuple(made)


def _tables(of: Sequence[Row], names: Mapping[str, str], lower: Sequence[str]) -> tuple[Table, ...]:
    """One table for every query set, the best of each column marked."""
    made = []
    for queries in dict.fromkeys(row.queries for row in of):
        own = [row for row in of if row.queries == queries]
        best = {}
        for name in names:
            values = [row.scores[name] for row in own if math.isfinite(row.scores[name])]
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
                        rule(row.visibility),
                        tuple(
                            cell(row.scores[n], row.intervals.get(n), row.scores[n] == best.get(n))
                            for n in names
                        ),
                    )
                    for row in own
                ),
            )
        )
    return tuple(made)


def cell(value: float, interval: tuple[float, float] | None = None, best: bool = False) -> Cell:
    """A cell, empty if the value is no number."""
    return Cell(value, interval, best) if math.isfinite(value) else Cell(None)


def _stairs(x: Doubles, y: Doubles, at: Doubles) -> Doubles:
    """The last y whose x is at or below each of ``at``."""
    return y[np.searchsorted(x, at * (1 + 1e-12), "right") - 1]


def _watched(arm: Arm) -> bool:
    return all(s.roc is not None and s.searches is not None for run in arm.runs for s in run)


def _seeds_told(arms: Sequence[Arm]) -> str:
    if all(len(a.seeds) == 1 for a in arms):
        return ""
    return "Of methods with several seeds the means are shown, without intervals."
