"""Matching: distances -> ranks -> scores."""

from partreid.metrics.bootstrap import (
    Difference,
    Interval,
    bootstrap,
    bootstrap_difference,
    bootstrap_roc,
    bootstrap_searches,
    bootstrap_values,
    difference_over_seeds,
    over_seeds,
)
from partreid.metrics.open_set import Searches, Watchlist, searches
from partreid.metrics.protocols import ANY_CAMERA, MARKET, PROTOCOLS, Protocol
from partreid.metrics.ranking import Ranking, Watcher, evaluate, rank
from partreid.metrics.verification import Pairs, Roc, verification

__all__ = [
    "ANY_CAMERA",
    "MARKET",
    "PROTOCOLS",
    "Difference",
    "Interval",
    "Pairs",
    "Protocol",
    "Ranking",
    "Roc",
    "Searches",
    "Watcher",
    "Watchlist",
    "bootstrap",
    "bootstrap_difference",
    "bootstrap_roc",
    "bootstrap_searches",
    "bootstrap_values",
    "difference_over_seeds",
    "evaluate",
    "over_seeds",
    "rank",
    "searches",
    "verification",
]
