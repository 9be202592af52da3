"""Does a certainty come true? Probabilities against what was so, and how much is wrong among the
surest answers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from partreid.errors import ArgumentError, ShapeError
from partreid.metrics.pairs import Doubles
from partreid.utils.arguments import check_fields, door, integer, number, require, said


@dataclass(frozen=True)
class Reliability:
    """Do pairs that get p turn out to be one person in p of the cases? One entry for every bin that
    holds any.

    low, high: ends of the bin. weight: its share of all, they sum to 1. probability: mean of what
    was said. same: the share that came true. pairs: how many.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    weight: tuple[float, ...]
    probability: tuple[float, ...]
    same: tuple[float, ...]
    pairs: tuple[int, ...]

    def __post_init__(self) -> None:
        check_fields(self)
        columns = (self.low, self.high, self.weight, self.probability, self.same)
        require(
            all(len(c) == len(self.pairs) for c in columns)
            and min(self.pairs, default=0) >= 0
            and all(-1e-9 <= x <= 1 + 1e-9 for c in columns for x in c),
            "a reliability",
            "as many numbers of each kind, all between 0 and 1, and counts of pairs",
            self.probability,
        )

    @property
    def ece(self) -> float:
        """Expected calibration error in [0, 1]: the mean gap between the two, by weight (Naeini
        et al. 2015).
        """
        return float(
            sum(w * abs(p - s) for w, p, s in zip(self.weight, self.probability, self.same))
        )


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """What is wrong among the answers given if only the surest are given: coverage, risk,
    confidence float64 [n].

    Entry i gives the i + 1 surest; equal confidences are in every order at once, so they share one
    risk.
    """

    coverage: Doubles
    risk: Doubles
    confidence: Doubles

    @property
    def aurc(self) -> float:
        """Area under the curve: the mean risk over all coverages (Geifman et al. 2019); NaN
        without answers.
        """
        return float(self.risk.mean()) if len(self.risk) else float("nan")

    def coverage_at(self, risk: float) -> float:
        """The largest share of answers that can be given with no more than this share of them
        wrong.
        """
        number("a risk", risk, 0, 1)
        return float(self.coverage[self.risk <= risk + 1e-12].max(initial=0.0))


@door
def reliability(probability: Any, same: Any, weights: Any = None, bins: int = 10) -> Reliability:
    """Said probabilities in [0, 1] and truths bool, both [n], in bins of equal width. weights [n]
    >= 0; None: all 1.

    Unknown probabilities (NaN) are left out.
    """
    integer("the number of bins", bins, 1)
    p, truth = _column("probability", probability), _column("same", same)
    weight = np.ones(len(p)) if weights is None else _column("weights", weights)
    if not len(p) == len(truth) == len(weight):
        raise ShapeError(
            f"probabilities, truths and weights are as many, got {len(p)}, {len(truth)}, "
            f"{len(weight)}"
        )
    if ((p < 0) | (p > 1)).any() or not (weight >= 0).all():
        raise ArgumentError(
            "probabilities lie between 0 and 1, NaN where unknown, and weights are 0 or more"
        )
    p, truth, weight = (x[~np.isnan(p)] for x in (p, truth, weight))
    at = np.minimum((p * bins).astype(np.int64), bins - 1)
    mass, said, came = (np.bincount(at, x, bins) for x in (weight, weight * p, weight * truth))
    full = np.flatnonzero(mass > 0)

    def listed(values: Doubles) -> tuple[float, ...]:
        return tuple(values.tolist())

    return Reliability(
        listed(full / bins),
        listed((full + 1) / bins),
        listed(mass[full] / mass.sum()),
        listed(said[full] / mass[full]),
        listed(came[full] / mass[full]),
        tuple(np.bincount(at, minlength=bins)[full].tolist()),
    )


@door
def ece(probability: Any, same: Any, weights: Any = None, bins: int = 10) -> float:
    """Expected calibration error in [0, 1], see :class:`Reliability`; 0 without pairs."""
    return reliability(probability, same, weights, bins).ece


@door
def risk_coverage(confidence: Any, right: Any) -> RiskCoverage:
    """Answers by how sure they are: confidence float [n], any scale, NaN the least; right bool [n].

    For identification: confidence is the match probability of the first answer (or its distance,
    negated).
    """
    sure, wrong = (
        np.nan_to_num(_column("confidence", confidence), nan=-np.inf),
        1.0 - _column("right", right),
    )
    if len(sure) != len(wrong):
        raise ShapeError(f"confidences and answers are as many, got {len(sure)} and {len(wrong)}")
    levels, group, size = np.unique(-sure, return_inverse=True, return_counts=True)
    # each of a tie is as wrong as all of it
    tied = np.repeat(np.bincount(group, wrong, len(levels)) / size, size)
    given = np.arange(1, len(sure) + 1)
    return RiskCoverage(
        given / max(len(sure), 1), np.cumsum(tied) / given, np.repeat(-levels, size)
    )


def _column(name: str, values: Any) -> Doubles:
    """Numbers as float64 [n]. ArgumentError if they are something else."""
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(f"{name} must be a list of numbers, got {said(values)}") from None
    require(found.ndim == 1, name, "a list of numbers", values)
    return found
