"""Distances -> ranks -> scores: numpy arrays or torch tensors in, ids by keyword.

``evaluate`` takes a matrix of distances, ``evaluate_embeddings`` embeddings and a distance,
``rank`` distances that stream by. No identity is special unless ``distractor=`` or ``junk=`` says
so. The names below are imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partreid.metrics.bootstrap import (
        Difference,
        Interval,
        bootstrap_difference,
        bootstrap_ranking,
        bootstrap_roc,
        bootstrap_searches,
        bootstrap_sums,
        bootstrap_values,
        difference_over_seeds,
        over_seeds,
    )
    from partreid.metrics.calibration import (
        Calibration,
        Reliability,
        RiskCoverage,
        calibrate,
        ece,
        reliability,
        risk_coverage,
    )
    from partreid.metrics.lists import (
        average_precision,
        cumulative_matches,
        inverse_negative_penalty,
        match_ranks,
    )
    from partreid.metrics.open_set import OpenSetAccumulator, Searches, searches
    from partreid.metrics.pairs import KnownPairs
    from partreid.metrics.protocols import (
        ANY_CAMERA,
        MARKET,
        NO_CAMERA,
        PROTOCOLS,
        SINGLE_SHOT,
        Protocol,
    )
    from partreid.metrics.ranking import (
        Accumulator,
        Ranking,
        evaluate,
        evaluate_embeddings,
        rank,
    )
    from partreid.metrics.verification import PairAccumulator, Roc, roc_curve

_HOMES = {
    "bootstrap": (
        "Difference",
        "Interval",
        "bootstrap_difference",
        "bootstrap_ranking",
        "bootstrap_roc",
        "bootstrap_searches",
        "bootstrap_sums",
        "bootstrap_values",
        "difference_over_seeds",
        "over_seeds",
    ),
    "calibration": (
        "Calibration",
        "Reliability",
        "RiskCoverage",
        "calibrate",
        "ece",
        "reliability",
        "risk_coverage",
    ),
    "lists": (
        "average_precision",
        "cumulative_matches",
        "inverse_negative_penalty",
        "match_ranks",
    ),
    "open_set": ("OpenSetAccumulator", "Searches", "searches"),
    "pairs": ("KnownPairs",),
    "protocols": ("ANY_CAMERA", "MARKET", "NO_CAMERA", "PROTOCOLS", "SINGLE_SHOT", "Protocol"),
    "ranking": (
        "Accumulator",
        "Ranking",
        "evaluate",
        "evaluate_embeddings",
        "rank",
    ),
    "verification": ("PairAccumulator", "Roc", "roc_curve"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = ("official", "slices", *_HOMES)

__all__ = [
    "ANY_CAMERA",
    "MARKET",
    "NO_CAMERA",
    "PROTOCOLS",
    "SINGLE_SHOT",
    "Accumulator",
    "Calibration",
    "Difference",
    "Interval",
    "KnownPairs",
    "OpenSetAccumulator",
    "PairAccumulator",
    "Protocol",
    "Ranking",
    "Reliability",
    "RiskCoverage",
    "Roc",
    "Searches",
    "average_precision",
    "bootstrap_difference",
    "bootstrap_ranking",
    "bootstrap_roc",
    "bootstrap_searches",
    "bootstrap_sums",
    "bootstrap_values",
    "calibrate",
    "cumulative_matches",
    "difference_over_seeds",
    "ece",
    "evaluate",
    "evaluate_embeddings",
    "inverse_negative_penalty",
    "match_ranks",
    "over_seeds",
    "rank",
    "reliability",
    "risk_coverage",
    "roc_curve",
    "searches",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
