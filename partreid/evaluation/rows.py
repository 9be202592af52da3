"""Scores of methods as rows, over one seed or several: for JSON, for spreadsheets and for
papers.
"""

import csv as csv_format
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from partreid.evaluation.score import Scored
from partreid.evaluation.setting import Setting
from partreid.metrics import over_seeds
from partreid.report.content import Interval, Score
from partreid.utils.text import cell, printable

RULES = {True: "visible parts", False: "all parts", "oracle": "exact masks", None: ""}
_SETTING = {
    "data": "data",
    "protocol": "protocol",
    "shots": "shots",
    "query_images": "queries",
    "queries_scored": "scored",
    "queries_left_out": "left_out",
    "gallery_images": "gallery",
    "distractors": "distractors",
    "junk": "junk",
    "left_out_of_lists": "rule",
}  # column: key
PAPER = {"R1": "Rank-1", "R5": "Rank-5", "mAP": "mAP", "mINP": "mINP"}
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{c: "\\" + c for c in "&%$#_{}"},
}


@dataclass(frozen=True, eq=False)
class Arm:
    """One method under one rule: what each of its runs, which differ in their seed alone, scored.

    visibility: as in :class:`partreid.report.content.Score`. plain: whether it is what the method
    does if nothing else is asked for. seconds: of training, one for each run, where known.
    """

    name: str
    visibility: bool | str | None
    seeds: tuple[int, ...]
    runs: tuple[tuple[Scored, ...], ...]
    plain: bool = True
    seconds: tuple[float | None, ...] = ()

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the query sets."""
        return tuple(s.queries for s in self.runs[0])

    @property
    def label(self) -> str:
        """Name and, where it is not the usual one, rule."""
        return self.name if self.plain else f"{self.name}, {rule(self.visibility)}"

    def on(self, queries: str) -> tuple[Scored, ...]:
        """What each run scored on one query set."""
        return tuple(next(s for s in run if s.queries == queries) for run in self.runs)


@dataclass(frozen=True)
class Row:
    """Scores of one method on one query set, in 0..1 by name; NaN where one has no meaning.

    With several seeds a score is their mean, ``by_seed`` holds each, and intervals are of mAP, mINP
    and Rank-k alone: they hold what other seeds and other people would give. Intervals end where
    scores do, at 0 and 1. setting: what all of it was taken over. seconds: of training.
    """

    method: str
    visibility: bool | str | None
    queries: str
    seeds: tuple[int, ...]
    setting: Setting
    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]
    by_seed: Mapping[str, tuple[float, ...]]
    seconds: float | None = None

    @property
    def scored(self) -> int:
        """Queries that count."""
        return self.setting.scored

    def spread(self, name: str) -> float:
        """Standard deviation over the seeds; NaN with one."""
        values = self.by_seed[name]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def rule(visibility: bool | str | None) -> str:
    """What is compared, in words."""
    return RULES.get(visibility, str(visibility))


def asked(queries: str) -> str:
    """A query set in words; most data sets have one only, called query."""
    return "queries" if queries == "query" else f"{queries} queries"


def rows(arms: Sequence[Arm]) -> tuple[Row, ...]:
    """One for every method, rule and query set; query sets outside."""
    return tuple(
        _row(arm, queries)
        for queries in dict.fromkeys(q for arm in arms for q in arm.sets)
        for arm in arms
        if queries in arm.sets
    )


def _row(arm: Arm, queries: str) -> Row:
    scored = arm.on(queries)
    by_seed = {name: tuple(s.scores[name] for s in scored) for name in scored[0].scores}
    found = scored[0].intervals if len(scored) == 1 else over_seeds([s.ranking for s in scored])
    known = [s for s in arm.seconds if s is not None]
    setting = scored[0].setting
    assert setting is not None  # of what score() made it always is
    return Row(
        arm.name,
        arm.visibility,
        queries,
        arm.seeds,
        setting,
        {name: float(np.mean(values)) for name, values in by_seed.items()},
        {name: (max(i.low, 0.0), min(i.high, 1.0)) for name, i in found.items()},
        by_seed,
        float(np.mean(known)) if known else None,
    )


def as_score(row: Row) -> Score:
    """The row as the page's first table and the terminal show it."""
    s = row.scores
    return Score(
        row.method,
        row.queries,
        row.visibility,
        s["R1"],
        s["R5"],
        s["mAP"],
        s["mINP"],
        row.intervals.get("R1"),
        row.intervals.get("mAP"),
        row.seconds,
        row.setting,
        len(row.seeds),
    )


def plain(row: Row) -> dict[str, Any]:
    """A row for JSON, which knows no NaN; numbers in 0..1."""
    return {
        "method": row.method,
        "queries": row.queries,
        "visibility": row.visibility or False,
        "compares": rule(row.visibility),
        "rank1": row.scores["R1"],
        "rank5": row.scores["R5"],
        "mAP": row.scores["mAP"],
        "mINP": row.scores["mINP"],
        "rank1_interval": row.intervals.get("R1"),
        "mAP_interval": row.intervals.get("mAP"),
        "queries_scored": row.setting.scored,
        "seeds": list(row.seeds),
        "setting": row.setting.plain(),
        "scores": {name: finite(value) for name, value in row.scores.items()},
        "intervals": {name: list(interval) for name, interval in row.intervals.items()},
        "by_seed": {name: [finite(v) for v in values] for name, values in row.by_seed.items()},
    }


def finite(value: float) -> float | None:
    """The value, or None where JSON has none."""
    return value if math.isfinite(value) else None


def csv(of: Sequence[Row]) -> str:
    """A line for every row, with all digits: each score, then _low and _high; empty where there is
    none.

    Names that a spreadsheet would take for formulas have an apostrophe before them.
    """
    names = list(dict.fromkeys(name for row in of for name in row.scores))
    text = io.StringIO()
    out = csv_format.writer(text, lineterminator="\n")
    out.writerow(
        [
            "method",
            "compares",
            "queries",
            "seeds",
            *_SETTING,
            *(column for name in names for column in (name, f"{name}_low", f"{name}_high")),
        ]
    )
    for row in of:
        numbers = []
        for name in names:
            value = row.scores.get(name, math.nan)
            numbers += [
                repr(value) if math.isfinite(value) else "",
                *map(repr, row.intervals.get(name, ())),
            ]
            numbers += [""] * (-len(numbers) % 3)
        said = row.setting.plain()
        out.writerow(
            [
                *map(cell, (row.method, rule(row.visibility), row.queries)),
                " ".join(map(str, row.seeds)),
                *(cell(said[key]) for key in _SETTING.values()),
                *numbers,
            ]
        )
    return text.getvalue()


def latex(of: Sequence[Row]) -> str:
    r"""Rows of a tabular, in percent: value and 95 % interval, or mean :math:`\pm` standard
    deviation over seeds.

    No package is needed. The columns: method, then Rank-1, Rank-5, mAP and mINP; query sets are
    told by rows of their own, with what they are scored over; comments at the end tell it in full.
    """
    told: list[str] = []
    lines = [
        r"\begin{tabular}{l" + "r" * len(PAPER) + "}",
        r"\hline",
        " & ".join(["Method", *PAPER.values()]) + r" \\",
    ]
    for queries in dict.fromkeys(row.queries for row in of):
        own = [row for row in of if row.queries == queries]
        s = own[0].setting
        told.append(f"{asked(queries)}, {s.sentence}")
        lines.append(r"\hline")
        lines += [
            rf"\multicolumn{{{1 + len(PAPER)}}}{{l}}{{{escaped(words)}}} \\"
            for words in (
                f"{asked(queries)} of {s.data}: {s.counted} scored, {s.gallery} gallery images",
                f"protocol {s.protocol}, {s.shots}",
            )
        ]
        for row in own:
            words = rule(row.visibility)
            name = escaped(f"{row.method} ({words})" if words else row.method)
            lines.append(" & ".join([name, *(_cell(row, score) for score in PAPER)]) + r" \\")
    several = sorted({len(row.seeds) for row in of if len(row.seeds) > 1})
    said = (
        ["in brackets: 95 % interval, by drawing people"]
        if any(len(row.seeds) == 1 for row in of)
        else []
    )
    said += (
        [f"+-: standard deviation over {' or '.join(map(str, several))} seeds"] if several else []
    )
    comments = [f"% {printable(words)}" for words in ("; ".join(said), *told)]
    return "\n".join([*lines, r"\hline", r"\end{tabular}", *comments]) + "\n"


def _cell(row: Row, score: str) -> str:
    value = f"{100 * row.scores[score]:.1f}"
    if len(row.seeds) > 1:
        return rf"{value} $\pm$ {100 * row.spread(score):.1f}"
    low, high = row.intervals[score]
    return f"{value} [{100 * low:.1f}, {100 * high:.1f}]"


def escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(_SPECIAL.get(c, c) for c in printable(text))
