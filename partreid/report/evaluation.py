"""Results of one run or several as ``partreid eval`` tells them: on the terminal, as JSON and as
one page.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from partreid.evaluation.result import Gains, RunResult, by_method
from partreid.evaluation.slices import Breakdown, by_occlusion_of
from partreid.metrics import Difference
from partreid.report.breakdowns import breakdown_section
from partreid.report.content import Report
from partreid.report.examples import examples
from partreid.report.facts import LIMITS, facts_of_results
from partreid.report.pages import write as write_page
from partreid.report.rows import Row, csv_table, latex_rows, print_rows, row_to_json
from partreid.report.sections import (
    cmc_section,
    color_slots,
    differences_section,
    headline,
    open_set_section,
    verification_section,
)
from partreid.report.trust import trust_section
from partreid.utils import ui
from partreid.utils.arguments import door
from partreid.utils.files import write_atomically, write_json

_THRESHOLDS = ("TPR@1e-3", "EER", "DIR@1%", "DIR@10%", "AUROC")


@door
def print_results(results: Sequence[RunResult], table: Sequence[Row], gains: Gains) -> None:
    """The tables on standard output: scores, then what thresholds do, then differences.

    table, gains: :func:`partreid.report.rows.rows` and
    :func:`partreid.evaluation.result.differences` of the results, as in all functions here.
    """
    print_rows(table, f"{', '.join(_methods(results))} on {results[0].data}")
    ui.show("")
    ui.table(
        "Pairs and open set, percent",
        ("method", "compares", "queries", *_THRESHOLDS),
        [
            (
                row.method,
                row.matching.words,
                row.queries,
                *(f"{100 * row.scores[n]:.1f}" for n in _THRESHOLDS),
            )
            for row in table
            if "EER" in row.scores
        ],
        left=3,
    )
    if gains:
        ui.show("")
        ui.table(
            f"Against {results[0].label}, points",
            ("method", "queries", "Rank-1 [95 %]", "p", "mAP [95 %]", "p"),
            [
                (label, queries, *(cell for name in ("R1", "mAP") for cell in _points(of[name])))
                for (label, queries), of in gains.items()
            ],
            left=2,
        )


@door
def results_to_json(
    results: Sequence[RunResult], table: Sequence[Row], gains: Gains
) -> dict[str, Any]:
    """Everything for JSON: numbers in 0..1."""
    return {
        "results": [row_to_json(row) for row in table],
        "reference": results[0].label,
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
            for (label, queries), of in gains.items()
            for name, d in of.items()
        ],
        "breakdowns": [
            {"method": name, "queries": queries, **b.plain()}
            for name, sets in _breakdowns(results)[1].items()
            for queries, b in sets.items()
        ],
        "trust": {
            name: first.trust.plain()
            for name, first in _methods(results).items()
            if first.trust is not None
        },
        "runs": [
            {
                "method": r.name,
                "run": str(r.folder),
                "recipe": r.model.recipe.name,
                "digest": r.model.recipe.digest,
                "seed": r.seed,
            }
            for r in results
            if not r.matching.after
        ],
        "facts": facts_of_results(results),
    }


@door
def results_page(results: Sequence[RunResult], table: Sequence[Row], gains: Gains) -> Report:
    """The report: of one method, or of several against the first."""
    groups, methods, colors = by_method(results), _methods(results), color_slots(results)
    names, first = list(methods), results[0]
    reference, breakdowns = _breakdowns(results)
    several = any(len(seeds) > 1 for seeds in groups)
    foot = "Of methods with several seeds the first is taken apart. " if several else ""
    trusts = {name: r.trust for name, r in methods.items() if r.trust is not None}
    sections = (
        differences_section(first, gains, colors) if gains else None,
        cmc_section(results, colors),
        verification_section(results, table, colors),
        open_set_section(results, table, colors),
        breakdown_section(breakdowns, reference, colors, foot)
        if all(breakdowns.values())
        else None,
        trust_section(trusts, colors, foot) if trusts else None,
    )
    drawn = len(first.described.gallery) > 0  # embeddings were kept
    return Report(
        f"{names[0]} on {first.data}" if len(names) == 1 else f"{_and(names)}, compared",
        f"{first.benchmark.name}: {len(first.benchmark.gallery)} gallery images"
        if len(names) == 1
        else f"on {first.data}; {names[0]} is the reference",
        headline(groups[0], {key: of for key, of in gains.items() if key[0] in names}),
        tuple(table),
        examples(list(methods.values())) if drawn else (),
        facts=facts_of_results(results),
        notes=LIMITS,
        sections=tuple(section for section in sections if section is not None),
    )


def write_results(
    results: Sequence[RunResult],
    table: Sequence[Row],
    gains: Gains,
    *,
    report: Path | None = None,
    json: Path | None = None,
    csv: Path | None = None,
    latex: Path | None = None,
) -> dict[str, Path]:
    """The files asked for; what each is called and where it lies. DataError if one cannot be
    written.
    """
    for path, text in ((csv, csv_table), (latex, latex_rows)):
        if path is not None:
            write_atomically(path, text(table).encode())
    if json is not None:
        write_json(json, results_to_json(results, table, gains))
    if report is not None:
        write_page(results_page(results, table, gains), report)
    named = {"report": report, "scores": json, "table": csv, "rows": latex}
    return {what: path for what, path in named.items() if path is not None}


def _methods(results: Sequence[RunResult]) -> dict[str, RunResult]:
    """By name, the first result of every method: of its first seed, as the method is."""
    methods: dict[str, RunResult] = {}
    for result in results:
        methods.setdefault(result.name, result)
    return methods


def _breakdowns(results: Sequence[RunResult]) -> tuple[str, dict[str, dict[str, Breakdown]]]:
    """Which method says what a query shows, and the slices of every method and query set."""
    by_name: Mapping[str, Mapping[str, Breakdown]] = {
        name: first.breakdowns for name, first in _methods(results).items()
    }
    return by_occlusion_of(by_name)


def _points(d: Difference) -> tuple[str, str]:
    return (
        d.points(),
        "< 0.001" if d.p < 0.001 else f"{d.p:.3f}",
    )


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
