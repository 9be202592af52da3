"""What an evaluation came to, and how it is told: tables, JSON, one page."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from partreid.errors import DataError
from partreid.evaluation.ledger import Entry, entries, trained_for
from partreid.evaluation.rows import Arm, Row, as_score, asked, plain, rows, rule
from partreid.evaluation.rows import csv as csv_of
from partreid.evaluation.rows import latex as latex_of
from partreid.evaluation.run import LIMITS, Judged, example, facts, peak_memory, print_scores
from partreid.evaluation.slices import Breakdown, broken_down, by_occlusion_of
from partreid.inference import Model
from partreid.layers.trunks import BACKBONES
from partreid.metrics import Difference
from partreid.report.content import Example, Report
from partreid.report.pages import write as write_report
from partreid.report.sections import (
    Gains,
    compared,
    differences,
    found,
    headline,
    searched,
    slots,
    verified,
)
from partreid.report.trust import Trust, trusted
from partreid.types import Benchmark
from partreid.utils import ui
from partreid.utils.arguments import door
from partreid.utils.files import write_atomically, write_json

RERANKED, EXPANDED = "re-ranked", "expanded"
_DETAILS = ("TPR@1e-3", "EER", "DIR@1%", "DIR@10%", "AUROC")
_MOST_RIVALS = 3  # whose answers are drawn beside the reference's


@dataclass(frozen=True)
class Options:
    """What ``partreid eval`` may be asked for.

    visibility: False compares all parts, also hidden ones. rerank, expand, shrink, multi_query:
    further rows, re-ranked, after expansion, with ``PartDistance.shrink``, and with all of a
    person's images from a camera as one query. calibration: the file to judge, of the only run;
    None: that beside a model, if any. details: breakdowns and risks too. pictures: answers too.
    described: what a gallery stores instead, of the embeddings that the method makes. row: whose
    way of storing and comparing is taken, a row that scores this very training. devices: processes
    that share the images out.
    """

    visibility: bool = True
    rerank: bool = False
    expand: bool = False
    shrink: float = 0.0
    multi_query: bool = False
    calibration: Path | None = None
    details: bool = False
    pictures: bool = False
    described: tuple[str, ...] = ()
    row: str | None = None
    device: str = "auto"
    devices: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.shrink < float("inf"):
            raise DataError(f"--shrink is a number of parts, 0 or more, got {self.shrink:g}")


@dataclass(frozen=True, eq=False)
class Finished:
    """What one run gave: the method as it is, then what was asked for besides; breakdowns by
    query set; risks.
    """

    folder: Path
    judged: tuple[Judged, ...]
    breakdowns: Mapping[str, Breakdown]
    trust: Trust | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All methods, the reference first, each with its runs, one a seed."""

    data: str
    benchmark: Benchmark
    methods: Mapping[str, tuple[Finished, ...]]
    options: Options
    seconds: float

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """Every method under every rule."""
        return tuple(
            Arm(
                name,
                runs[0].judged[i].visibility,
                tuple(r.judged[i].model.recipe.seed for r in runs),
                tuple(r.judged[i].scored for r in runs),
                i == 0,
                tuple(
                    trained_for(r.folder if r.folder.is_dir() else r.folder.parent) for r in runs
                ),
            )
            for name, runs in self.methods.items()
            for i in range(len(runs[0].judged))
        )

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        return rows(self.arms)

    @cached_property
    def gains(self) -> Gains:
        """Differences of all other methods and rules to the reference."""
        return differences(self.arms[0], self.arms[1:]) if len(self.arms) > 1 else {}

    def plain(self) -> dict[str, Any]:
        """Everything for JSON: numbers in 0..1."""
        return {
            "results": [plain(row) for row in self.rows],
            "reference": self.arms[0].label,
            "differences": [
                {
                    "method": label,
                    "queries": queries,
                    "score": name,
                    "value": d.value,
                    "low": d.low,
                    "high": d.high,
                    "p": d.p,
                }
                for (label, queries), of in self.gains.items()
                for name, d in of.items()
            ],
            "breakdowns": [
                {"method": name, "queries": queries, **b.plain()}
                for name, sets in self._breakdowns()[1].items()
                for queries, b in sets.items()
            ],
            "trust": {
                name: runs[0].trust.plain()
                for name, runs in self.methods.items()
                if runs[0].trust is not None
            },
            "runs": [
                {
                    "method": name,
                    "run": str(r.folder),
                    "recipe": r.judged[0].model.recipe.name,
                    "digest": r.judged[0].model.recipe.digest,
                    "seed": r.judged[0].model.recipe.seed,
                }
                for name, runs in self.methods.items()
                for r in runs
            ],
            "facts": self.facts(),
        }

    def write(
        self,
        *,
        report: Path | None = None,
        json: Path | None = None,
        csv: Path | None = None,
        latex: Path | None = None,
    ) -> dict[str, Path]:
        """The files asked for; what each is called and where it lies. DataError if one cannot be
        written.
        """
        for path, text in ((csv, csv_of), (latex, latex_of)):
            if path is not None:
                write_atomically(path, text(self.rows).encode())
        if json is not None:
            write_json(json, self.plain())
        if report is not None:
            write_report(self.page(), report)
        named = {"report": report, "scores": json, "table": csv, "rows": latex}
        return {what: path for what, path in named.items() if path is not None}

    def entries(self) -> list[Entry]:
        """Lines for the ledger, of plain and re-ranked scores: those that recipes are judged by."""
        return [
            entry
            for runs in self.methods.values()
            for run in runs
            for entry in entries(
                run.folder,
                self.data,
                self.benchmark,
                [j for i, j in enumerate(run.judged) if i == 0 or j.visibility == RERANKED],
            )
        ]

    def show(self) -> None:
        """The tables on standard output: scores, then what thresholds do, then differences."""
        of, names = self.rows, ", ".join(self.methods)
        print_scores([as_score(row) for row in of], f"{names} on {self.data}")
        with_thresholds = [row for row in of if "EER" in row.scores]
        ui.show("")
        ui.table(
            "Pairs and open set, percent",
            ("method", "compares", "queries", *_DETAILS),
            [
                (
                    row.method,
                    rule(row.visibility),
                    row.queries,
                    *(f"{100 * row.scores[n]:.1f}" for n in _DETAILS),
                )
                for row in with_thresholds
            ],
            left=3,
        )
        if self.gains:
            ui.show("")
            ui.table(
                f"Against {self.arms[0].label}, points",
                ("method", "queries", "Rank-1 [95 %]", "p", "mAP [95 %]", "p"),
                [
                    (
                        label,
                        queries,
                        *(cell for name in ("R1", "mAP") for cell in _points(of_[name])),
                    )
                    for (label, queries), of_ in self.gains.items()
                ],
                left=2,
            )

    def page(self) -> Report:
        """The report: of one method, or of several against the first."""
        arms, of, colours, gains = self.arms, self.rows, slots(self.arms), self.gains
        judge_of, broken = self._breakdowns()
        several = any(len(runs) > 1 for runs in self.methods.values())
        foot = "Of methods with several seeds the first is taken apart. " if several else ""
        sections = [
            compared(arms[0], gains, colours) if gains else None,
            found(arms, colours),
            verified(arms, of, colours),
            searched(arms, of, colours),
        ]
        if all(broken.values()):
            sections.append(broken_down(broken, judge_of, colours, foot))
        sure = {
            name: runs[0].trust for name, runs in self.methods.items() if runs[0].trust is not None
        }
        if sure:
            sections.append(trusted(sure, colours, foot))
        names = list(self.methods)
        return Report(
            f"{names[0]} on {self.data}" if len(names) == 1 else f"{_and(names)}, compared",
            f"{self.benchmark.name}: {len(self.benchmark.gallery)} gallery images"
            if len(names) == 1
            else f"on {self.data}; {names[0]} is the reference",
            headline(arms[0], {k: d for k, d in gains.items() if k[0] in names}),
            tuple(as_score(row) for row in of),
            self._examples() if self.options.pictures else (),
            facts=self.facts(),
            notes=LIMITS,
            sections=tuple(s for s in sections if s is not None),
        )

    def facts(self) -> dict[str, str]:
        """What a reader needs to judge or repeat the numbers."""
        first = next(iter(self.methods.values()))[0].judged[0]
        said = facts(first.model, self.benchmark)
        del said["recipe"]  # said with more below
        for name, runs in self.methods.items():
            recipe = runs[0].judged[0].model.recipe
            height, width = recipe.size
            said[name] = (
                f"{recipe.name}, "
                + ", ".join(
                    f"seed {r.judged[0].model.recipe.seed} ({r.judged[0].model.recipe.digest})"
                    for r in runs
                )
                + f"; {height} x {width} pixels; {_trunk(runs[0].judged[0].model)}; distance "
                f"{_matching(runs[0].judged[0])}"
            )
        o = self.options
        besides = {
            "re-ranking (k-reciprocal, k1 20, k2 6, weight 0.3)": o.rerank,
            "expansion (mean with the 3 nearest from other cameras, own weight 2)": o.expand,
            f"evidence shrunk by {o.shrink:g} parts": o.shrink > 0,
            "multi-query (mean over all images of a person from the query's camera)": o.multi_query,
        }
        said["other rules"] = (
            ", ".join(what for what, wanted in besides.items() if wanted) or "none"
        )
        said["time"] = f"{self.seconds:.0f} s, {peak_memory() / 2**30:.1f} GiB at most"
        return said

    def _breakdowns(self) -> tuple[str, dict[str, dict[str, Breakdown]]]:
        return by_occlusion_of({name: runs[0].breakdowns for name, runs in self.methods.items()})

    def _examples(self) -> tuple[Example, ...]:
        judged = [runs[0].judged[0] for runs in self.methods.values()]
        made = []
        if len(judged) == 1:
            for s in judged[0].scored:
                best, worst = (
                    int(at(s.ranking.ap_of_query)) for at in (np.nanargmax, np.nanargmin)
                )
                for row in dict.fromkeys((best, worst)):
                    word = "Found" if s.ranking.first[row] == 1 else "Missed"
                    made.append(
                        example(
                            f"{word}: {asked(s.queries)}",
                            "",
                            judged,
                            self.benchmark,
                            s.queries,
                            row,
                        )
                    )
            return tuple(made)
        rivals = judged[1 : 1 + _MOST_RIVALS]
        for rival in rivals:
            for queries, row, gain in regrets(judged[0], rival, 2 if len(rivals) == 1 else 1):
                winner, loser = (rival, judged[0]) if gain > 0 else (judged[0], rival)
                place = next(s for s in loser.scored if s.queries == queries).ranking.first[row]
                made.append(
                    example(
                        f"{winner.name} right, {loser.name} wrong",
                        f"From the {asked(queries)}. The average precision is "
                        f"{100 * abs(gain):.0f} points higher with {winner.name}; {loser.name}'s "
                        f"first right answer comes at place {place}.",
                        (judged[0], rival),
                        self.benchmark,
                        queries,
                        row,
                    )
                )
        return tuple(made)


@door
def regrets(reference: Judged, rival: Judged, each: int) -> list[tuple[str, int, float]]:
    """(query set, row, gain in AP) of the queries where one is right at once and the other is not.

    The ``each`` greatest gains of the rival, then its ``each`` greatest losses, one query of a
    person.
    """
    candidates: list[tuple[float, str, int, int]] = []
    for a, b in zip(reference.scored, rival.scored, strict=True):
        n = len(a.ranking.top)
        first, other = a.ranking.first[:n], b.ranking.first[:n]  # the first draw's come first
        gain = b.ranking.ap_of_query - a.ranking.ap_of_query
        for row in np.flatnonzero((first > 0) & ((first == 1) != (other == 1))).tolist():
            if (other[row] == 1) == (gain[row] > 0):
                candidates.append(
                    (float(gain[row]), a.queries, row, int(a.ranking.identities[row]))
                )
    chosen: list[tuple[str, int, float]] = []
    people: set[int] = set()
    for order in (
        sorted(c for c in candidates if c[0] > 0)[::-1],
        sorted(c for c in candidates if c[0] < 0),
    ):
        left = each
        for gained, queries, row, person in order:
            if left and person not in people:
                chosen.append((queries, row, gained))
                people.add(person)
                left -= 1
    return chosen


def _trunk(model: Model) -> str:
    """The trunk and what it started from."""
    spec, start = model.recipe.backbone, model.recipe.start
    known = inspect.signature(BACKBONES[spec.name]).parameters
    default = known["pretrained"].default if "pretrained" in known else False
    named = spec.args.get("weights", known["weights"].default if "weights" in known else None)
    weights = (
        f"ImageNet weights {Path(named or '').name}".strip()
        if spec.args.get("pretrained", default)
        else "no pretraining"
    )
    return f"trunk {spec.name}, {weights if start is None else f'started from {start}'}"


def _matching(judged: Judged) -> str:
    distance = judged.model.method.distance
    return ", ".join(
        [
            distance.metric,
            *([rule(judged.visibility)] if judged.visibility is not None else []),
            *([f"shrink {distance.shrink:g}"] if distance.shrink else []),
        ]
    )


def _points(d: Difference) -> tuple[str, str]:
    return (
        f"{100 * d.value:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]",
        "< 0.001" if d.p < 0.001 else f"{d.p:.3f}",
    )


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
