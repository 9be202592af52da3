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
from partreid.evaluation.result import RunResult
from partreid.metrics.calibration import Calibration, Check, RiskCoverage, risk_coverage
from partreid.types import Embeddings, Sample

RISKS = (0.01, 0.05, 0.1)
_AT_ONCE = 1024  # pairs looked at together


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
        values: dict[str, Any] = {
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
            values["calibration"] = {
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
        return values


def measure_trust(result: RunResult, calibration: Calibration | None) -> Trust:
    """How far the certainty of a result can be trusted, and what a calibration of its model does on
    the very images that it was scored on.
    """
    described, benchmark = result.described, result.benchmark
    answers = {}
    for s in result.query_sets:
        queries = np.flatnonzero(
            s.ranking.scored[: len(s.ranking.top)] & (s.ranking.top[:, 0] >= 0)
        )
        far, shared = _firsts(
            result.distance,
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
        result.distance,
        {q: _rows(e, benchmark.queries[q], fewer.queries[q]) for q, e in described.queries.items()},
        _rows(described.gallery, benchmark.gallery, fewer.gallery),
        fewer,
        result.protocol,
    )
    return Trust(answers, calibration.check(pairs), calibration.rate)


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
        for start in range(0, len(rows), _AT_ONCE):
            a, b = (
                query.rows(rows[start : start + _AT_ONCE].tolist()),
                gallery.rows(nearest[start : start + _AT_ONCE].tolist()),
            )
            far.append(distance.terms(a, b).sum(1).double().cpu().numpy())
            shared.append((a.visibility * b.visibility > 0).sum(1).cpu().numpy())
    return np.concatenate(far), np.concatenate(shared)


def _rows(e: Embeddings, whole: Sequence[Sample], some: Sequence[Sample]) -> Embeddings:
    """The rows of some of the samples, in their order."""
    if len(some) == len(whole):
        return e
    row_of = {sample: i for i, sample in enumerate(whole)}
    return e.rows([row_of[sample] for sample in some])
