"""Scores of methods as rows, over one seed or several: for JSON, for spreadsheets and for
papers.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from partreid.evaluation.result import Matching, RunResult, Seeds, Setting, by_method
from partreid.metrics import over_seeds
from partreid.utils import ui
from partreid.utils.arguments import door
from partreid.utils.text import cell, printable

Interval = tuple[float, float]
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


@dataclass(frozen=True)
class Row:
    """Scores of one method on one query set, in 0..1 by name; NaN where one has no meaning.

    With several seeds a score is their mean, ``by_seed`` holds each, and intervals are of mAP, mINP
    and Rank-k alone: they hold what other seeds and other people would give. Intervals end where
    scores do, at 0 and 1. setting: what all of it was taken over. seconds: of training.
    """

    method: str
    matching: Matching
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


@door
def query_set_name(queries: str) -> str:
    """A query set in words; most data sets have one only, called query."""
    return "queries" if queries == "query" else f"{queries} queries"


@door
def rows(results: Sequence[RunResult]) -> tuple[Row, ...]:
    """One for every method, matching and query set; query sets outside."""
    groups = by_method(results)
    sets = dict.fromkeys(q.queries for seeds in groups for q in seeds[0].query_sets)
    return tuple(
        _row(seeds, queries)
        for queries in sets
        for seeds in groups
        if queries in {q.queries for q in seeds[0].query_sets}
    )


def _row(seeds: Seeds, queries: str) -> Row:
    of = [result.of(queries) for result in seeds]
    by_seed = {name: tuple(q.scores[name] for q in of) for name in of[0].scores}
    intervals = of[0].intervals if len(of) == 1 else over_seeds([q.ranking for q in of])
    trained = [r.training_seconds for r in seeds if r.training_seconds is not None]
    return Row(
        seeds[0].name,
        seeds[0].matching,
        queries,
        tuple(result.seed for result in seeds),
        of[0].setting,
        {name: float(np.mean(values)) for name, values in by_seed.items()},
        {name: (max(i.low, 0.0), min(i.high, 1.0)) for name, i in intervals.items()},
        by_seed,
        float(np.mean(trained)) if trained else None,
    )


@door
def row_to_json(row: Row) -> dict[str, Any]:
    """A row for JSON, which knows no NaN; numbers in 0..1."""
    return {
        "method": row.method,
        "queries": row.queries,
        "visibility": _visibility(row.matching),
        "compares": row.matching.words,
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


def _visibility(matching: Matching) -> bool | str:
    """What JSON says of a matching: true for visible parts, words for more, else false."""
    if matching.after:
        return matching.after
    return "oracle" if matching.parts == "exact masks" else matching.parts == "visible parts"


@door
def finite(value: float) -> float | None:
    """The value, or None where JSON has none."""
    return value if math.isfinite(value) else None


@door
def print_rows(rows: Sequence[Row], title: str = "") -> None:
    """The table on standard output, percent with 95 % intervals; below it what each query set
    was scored over.
    """

    def percent(row: Row, name: str) -> str:
        value, interval = row.scores[name], row.intervals.get(name)
        if interval is None:
            return f"{100 * value:.1f}"
        return f"{100 * value:5.1f} [{100 * interval[0]:4.1f}, {100 * interval[1]:4.1f}]"

    ui.table(
        title,
        (
            "method",
            "compares",
            "queries",
            "Rank-1 [95 %]",
            "mAP [95 %]",
            "Rank-5",
            "mINP",
            "scored",
            "training, s",
        ),
        [
            (
                r.method if len(r.seeds) == 1 else f"{r.method} ({len(r.seeds)} seeds)",
                r.matching.words,
                r.queries,
                percent(r, "R1"),
                percent(r, "mAP"),
                f"{100 * r.scores['R5']:.1f}",
                f"{100 * r.scores['mINP']:.1f}",
                r.setting.counted,
                f"{r.seconds:.0f}" if r.seconds is not None else "",
            )
            for r in rows
        ],
        left=3,
    )
    ui.show(*dict.fromkeys(f"{r.queries}, {r.setting.sentence}" for r in rows))


@door
def csv_table(rows: Sequence[Row]) -> str:
    """A line for every row, with all digits: each score, then _low and _high; empty where there is
    none.

    Names that a spreadsheet would take for formulas have an apostrophe before them.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.scores))
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
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
    for row in rows:
        numbers = []
        for name in names:
            value = row.scores.get(name, math.nan)
            numbers += [
                repr(value) if math.isfinite(value) else "",
                *map(repr, row.intervals.get(name, ())),
            ]
            numbers += [""] * (-len(numbers) % 3)
        setting = row.setting.plain()
        out.writerow(
            [
                *map(cell, (row.method, row.matching.words, row.queries)),
                " ".join(map(str, row.seeds)),
                *(cell(setting[key]) for key in _SETTING.values()),
                *numbers,
            ]
        )
    return text.getvalue()


@door
def latex_rows(rows: Sequence[Row]) -> str:
    r"""Rows of a tabular, in percent: value and 95 % interval, or mean :math:`\pm` standard
    deviation over seeds.

    No package is needed. The columns: method, then Rank-1, Rank-5, mAP and mINP; query sets are
    told by rows of their own, with what they are scored over; comments at the end tell it in full.
    """
    notes: list[str] = []
    lines = [
        r"\begin{tabular}{l" + "r" * len(PAPER) + "}",
        r"\hline",
        " & ".join(["Method", *PAPER.values()]) + r" \\",
    ]
    for queries in dict.fromkeys(row.queries for row in rows):
        of = [row for row in rows if row.queries == queries]
        s = of[0].setting
        notes.append(f"{query_set_name(queries)}, {s.sentence}")
        lines.append(r"\hline")
        lines += [
            rf"\multicolumn{{{1 + len(PAPER)}}}{{l}}{{{escaped(words)}}} \\"
            for words in (
                f"{query_set_name(queries)} of {s.data}: {s.counted} scored, {s.gallery} gallery "
                "images",
                f"protocol {s.protocol}, {s.shots}",
            )
        ]
        for row in of:
            words = row.matching.words
            name = escaped(f"{row.method} ({words})" if words else row.method)
            lines.append(" & ".join([name, *(_cell(row, score) for score in PAPER)]) + r" \\")
    several = sorted({len(row.seeds) for row in rows if len(row.seeds) > 1})
    meaning = (
        ["in brackets: 95 % interval, by drawing people"]
        if any(len(row.seeds) == 1 for row in rows)
        else []
    )
    meaning += (
        [f"+-: standard deviation over {' or '.join(map(str, several))} seeds"] if several else []
    )
    comments = [f"% {printable(words)}" for words in ("; ".join(meaning), *notes)]
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
