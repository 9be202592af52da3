"""How far a method's own certainty can be trusted: risk over coverage, and what a calibration
does on these data.
"""

from collections.abc import Mapping

import numpy as np

from partreid.evaluation.trust import RISKS, Trust
from partreid.metrics.calibration import Check, RiskCoverage
from partreid.report.content import Block, Cell, Mark, Plot, Section, Series, Table
from partreid.report.sections import Slots, title

FEW = 10  # answers below which a risk says nothing
_DRAWN = 200  # points of a curve


def trust_section(of: Mapping[str, Trust], colors: Slots, foot: str = "") -> Section:
    """The section of all methods, by label."""
    sets = dict.fromkeys(q for t in of.values() for q in t.answers)
    checked = {name: t for name, t in of.items() if t.check is not None}
    risks = tuple(
        Plot(
            title(queries),
            "queries answered",
            "first answers wrong, %",
            tuple(
                _risk(name, t.answers[queries], colors[name])
                for name, t in of.items()
                if name in colors
            ),
            shares=True,
        )
        for queries in sets
    )
    coverage = tuple(
        Table(
            title(queries),
            "Method",
            tuple(f"at {100 * r:g} % wrong" for r in RISKS) + ("mean risk",),
            tuple(
                (
                    name,
                    "",
                    (
                        *(Cell(t.answers[queries].coverage_at(r)) for r in RISKS),
                        Cell(t.answers[queries].aurc),
                    ),
                )
                for name, t in of.items()
            ),
        )
        for queries in sets
    )
    by = (
        "the calibrated probability"
        if len(checked) == len(of)
        else "its distance"
        if not checked
        else "the calibrated probability where there is a calibration, and its distance where not"
    )
    blocks = [
        Block(
            "If only the surest answers are given",
            "How many first answers are wrong if only so many queries are answered, the surest "
            f"first by {by}; lower is better, and the right end is what Rank-1 misses. Drawn from "
            f"{FEW} answers on.",
            risks,
        ),
        Block(
            "",
            "How many queries can be answered if no more than so many of the answers may be wrong, "
            "in percent; mean risk: the area under the curve, where less is better.",
            coverage,
        ),
    ]
    if checked:
        blocks += [
            Block(
                "Is a probability what it says?",
                "Pairs that got this probability, and how many of them are one person, both kinds "
                "weighed equally: on the dashed line they agree, below it the method is too sure.",
                (
                    Plot(
                        "Match probability",
                        "probability",
                        "one person, %",
                        tuple(
                            _reliability(name, t.check, colors[name])
                            for name, t in checked.items()
                            if name in colors and t.check is not None
                        ),
                        even=True,
                        shares=True,
                    ),
                ),
            ),
            Block(
                "",
                "What the calibrated threshold does here, in percent, with 95 % intervals: false "
                "matches asked for and found, true pairs found; ECE is the mean gap to the dashed "
                "line.",
                (
                    Table(
                        "Calibrated threshold",
                        "Method",
                        ("asked for", "false matches", "true pairs", "ECE"),
                        tuple(
                            (
                                name,
                                _where(t),
                                (
                                    Cell(t.rate),
                                    Cell(c.fmr.value, (c.fmr.low, c.fmr.high)),
                                    Cell(c.tpr.value, (c.tpr.low, c.tpr.high)),
                                    Cell(c.ece),
                                ),
                            )
                            for name, t in checked.items()
                            for c in (t.check,)
                            if c is not None
                        ),
                    ),
                ),
            ),
        ]
    return Section("trust", "How sure, and rightly?", "", tuple(blocks), foot)


def _where(of: Trust) -> str:
    return "on people it was not fitted on" if of.own_data else "fitted on other data"


def _risk(name: str, curve: RiskCoverage, slot: int) -> Series:
    n = len(curve.risk)
    index = np.unique(np.linspace(min(FEW, n) - 1, n - 1, min(_DRAWN, n)).astype(np.int64))
    return Series(
        name, tuple(curve.coverage[index].tolist()), tuple(curve.risk[index].tolist()), slot
    )


def _reliability(name: str, check: Check, slot: int) -> Series:
    r = check.reliability
    return Series(
        name,
        r.probability,
        r.same,
        slot,
        tuple(
            Mark(p, s, f"{n} pairs") for p, s, n in zip(r.probability, r.same, r.pairs, strict=True)
        ),
    )
