"""Matching: distances -> ranks -> scores."""

from partreid.match.protocols import ANY_CAMERA, MARKET, PROTOCOLS, Protocol
from partreid.match.ranking import (
    Interval,
    Ranking,
    bootstrap,
    bootstrap_difference,
    evaluate,
    rank,
)

__all__ = ["ANY_CAMERA", "MARKET", "PROTOCOLS", "Interval", "Protocol", "Ranking", "bootstrap", "bootstrap_difference",
           "evaluate", "rank"]
from partreid.match.rerank import KReciprocal
