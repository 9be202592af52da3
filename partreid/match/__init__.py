"""Matching: distances -> ranks -> scores."""

from partreid.match.expand import Expansion
from partreid.match.openset import Searches, Watchlist, searches
from partreid.match.protocols import ANY_CAMERA, MARKET, PROTOCOLS, Protocol
from partreid.match.ranking import Ranking, Watcher, evaluate, rank
from partreid.match.rerank import KReciprocal
from partreid.match.statistics import (
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
from partreid.match.verification import Pairs, Roc, verification

__all__ = ["ANY_CAMERA", "MARKET", "PROTOCOLS", "Difference", "Expansion", "Interval", "KReciprocal", "Pairs",
           "Protocol", "Ranking", "Roc", "Searches", "Watcher", "Watchlist", "bootstrap", "bootstrap_difference",
           "bootstrap_roc", "bootstrap_searches", "bootstrap_values", "difference_over_seeds", "evaluate", "over_seeds",
           "rank", "searches", "verification"]
