"""Matching: distances -> ranks -> scores."""

from partreid.match.protocols import ANY_CAMERA, MARKET, PROTOCOLS, Protocol
from partreid.match.ranking import (
    Interval,
    Ranking,
    bootstrap,
    bootstrap_difference,
    bootstrap_values,
    evaluate,
    rank,
)
from partreid.match.rerank import KReciprocal

__all__ = ["ANY_CAMERA", "MARKET", "PROTOCOLS", "Interval", "KReciprocal", "Protocol", "Ranking", "bootstrap",
           "bootstrap_difference", "bootstrap_values", "evaluate", "rank"]
