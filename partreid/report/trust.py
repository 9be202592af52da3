"""How far a method's own certainty can be trusted: risk over coverage, and what a calibration
does on these data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from partreid.distance import PartDistance
from partreid.evaluation.decision import hash_of_images, known_pairs, sampled
from partreid.evaluation.score import Described, Scored
from partreid.metrics import Protocol
from partreid.metrics.calibration import Calibration, Check, RiskCoverage, risk_coverage
from partreid.report.content import Block, Cell, Mark, Plot, Section, Series, Table
from partreid.report.sections import Slots, title
from partreid.types import Benchmark, Embeddings, Sample

RISKS = (0.01, 0.05, 0.1)
FEW = 10  # answers below which a risk says nothing
_AT_ONCE = 1024  # pairs looked at together
_DRAWN = 200  # points of a curve


@dataclass(frozen=True, eq=False)
class Trust:
    """answers: risk over coverage of first answers, by query set; sure by the probability if there
    is a ``check``, by the distance alone if not. check: of the calibration, on people on whom
    nothing was fitted; rate: the false-match rate that it was asked for. own_data: the calibration
    was made on these very images.
    """

    answers: Mapping[str, RiskCoverage]
    check: Check | None = None
    rate: float = 0.0
    own_data: bool = False

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {
            "sure_by": "distance" if self.check is None else "probability",
            "answers": {
                queries: {
                    "aurc": a.aurc,
                    "coverage_at_risk": {f"{r:g}": a.coverage_at(r) for r in RISKS},
                }
                for queries, a in self.answers.items()
            },
        }
        if self.check is not None:
            c, r = self.check, self.check.reliability
            found["calibration"] = {
                "rate_asked": self.rate,
                "own_data": self.own_data,
                "ece": c.ece,
                "fmr": [c.fmr.value, c.fmr.low, c.fmr.high],
                "tpr": [c.tpr.value, c.tpr.low, c.tpr.high],
                "reliability": [
                    {"low": a, "high": b, "probability": p, "same": s, "pairs": n}
                    for a, b, p, s, n in zip(
                        r.low, r.high, r.probability, r.same, r.pairs, strict=True
                    )
                ],
            }
        return found


def trust(
    distance: PartDistance,
    described: Described,
    benchmark: Benchmark,
    protocol: Protocol,
    scored: Sequence[Scored],
    calibration: Calibration | None,
) -> Trust:
    """Of one run, whose ``scored`` are those of ``described``."""
    answers = {}
    for s in scored:
        queries = np.flatnonzero(
            s.ranking.scored[: len(s.ranking.top)] & (s.ranking.top[:, 0] >= 0)
        )
        far, shared = _firsts(
            distance,
            described.queries[s.queries],
            described.gallery,
            queries,
            s.ranking.top[queries, 0],
        )
        sure = -far if calibration is None else calibration.probability(far, shared)
        answers[s.queries] = risk_coverage(sure, s.ranking.first[queries] == 1)
    if calibration is None:
        return Trust(answers)
    if calibration.source.images == hash_of_images(benchmark.queries, benchmark.gallery):
        return Trust(answers, calibration.checked, calibration.rate, True)
    fewer, _ = sampled(benchmark)
    pairs = known_pairs(
        distance,
        {q: _rows(e, benchmark.queries[q], fewer.queries[q]) for q, e in described.queries.items()},
        _rows(described.gallery, benchmark.gallery, fewer.gallery),
        fewer,
        protocol,
    )
    return Trust(answers, calibration.check(pairs), calibration.rate)


def trusted(of: Mapping[str, Trust], colours: Slots, foot: str = "") -> Section:
    """The section of all methods, by label."""
    sets = dict.fromkeys(q for found in of.values() for q in found.answers)
    checked = {name: t for name, t in of.items() if t.check is not None}
    risks = tuple(
        Plot(
            title(queries),
            "queries answered",
            "first answers wrong, %",
            tuple(
                _risk(name, t.answers[queries], colours[name])
                for name, t in of.items()
                if name in colours
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
                            _reliability(name, t.check, colours[name])
                            for name, t in checked.items()
                            if name in colours and t.check is not None
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


def _risk(name: str, found: RiskCoverage, slot: int) -> Series:
    n = len(found.risk)
    at = np.unique(np.linspace(min(FEW, n) - 1, n - 1, min(_DRAWN, n)).astype(np.int64))
    return Series(name, tuple(found.coverage[at].tolist()), tuple(found.risk[at].tolist()), slot)


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


def _firsts(
    distance: PartDistance,
    query: Embeddings,
    gallery: Embeddings,
    rows: NDArray[np.int64],
    nearest: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distances of pairs (row of the queries, row of the gallery), and how many parts each
    shares.
    """
    far, shared = [np.empty(0)], [np.empty(0, np.int64)]
    with torch.inference_mode():
        for at in range(0, len(rows), _AT_ONCE):
            a, b = (
                query.rows(rows[at : at + _AT_ONCE].tolist()),
                gallery.rows(nearest[at : at + _AT_ONCE].tolist()),
            )
            far.append(distance.terms(a, b).sum(1).double().cpu().numpy())
            shared.append((a.visibility * b.visibility > 0).sum(1).cpu().numpy())
    return np.concatenate(far), np.concatenate(shared)


def _rows(e: Embeddings, whole: Sequence[Sample], some: Sequence[Sample]) -> Embeddings:
    """The rows of some of the samples, in their order."""
    if len(some) == len(whole):
        return e
    at = {sample: i for i, sample in enumerate(whole)}
    return e.rows([at[sample] for sample in some])
