"""Pairs of strangers: where a threshold goes, how sure its false-match rate is, and whether others
look alike.

The false-match rate (FMR) is the share of all pairs of strangers that are called one person. Pairs
that share a person stand or fall together, so ranges come from drawing people, on both sides of the
pairs at once.
"""

from typing import Any

import numpy as np

from partreid.metrics.pairs import Doubles, KnownPairs
from partreid.utils.arguments import door, require

DRAWS = 1000
# (z^2 + 1) / 4 with z = 1.96: Student's t is about 1 + that / f times as wide as the normal
_WIDER = 1.21


@door
def threshold_at(found: Doubles, rate: float) -> float:
    """Log odds from which on no more than the share ``rate`` of these strangers is called one
    person; NaN never is.
    """
    ordered = np.sort(found[~np.isnan(found)])[::-1]
    allowed = int(rate * len(found) + 1e-9)
    if allowed >= len(ordered):
        return float(np.nextafter(ordered[-1], -np.inf))
    first = float(ordered[allowed])  # the first stranger who would be too many
    if allowed == 0 or ordered[allowed - 1] == first:
        return float(np.nextafter(first, np.inf))
    # between two, so that rounding elsewhere changes nothing
    return (float(ordered[allowed - 1]) + first) / 2


@door
def log_ratios(accepted: Doubles, pairs: Doubles, samples: int = DRAWS, seed: int = 0) -> Doubles:
    """How far, in logarithms, the FMR of drawn people is from that of all: float64 [samples].

    accepted, pairs: float64 [people, people], how many pairs of strangers were called one person,
    and how many there are, by the person on either side. A person is drawn w times on both sides:
    FMR* = sum w_i w_j C_ij / sum w_i w_j N_ij. A pair then varies by w_i w_j, three times as much
    as a pair should (Owen 2007), so the draws are brought to the variance of pairs that are
    dependent only through a person in common (Fafchamps and Gubert 2007); and, for the few people
    whom most false matches may be about, as much wider as Student's t is.
    """
    people, total, hits = len(pairs), pairs.sum(), accepted.sum()
    if not hits or total <= hits:
        return np.zeros(samples)
    weight = (
        np.random.default_rng([seed, 11])
        .multinomial(people, np.full(people, 1 / people), samples)
        .astype(float)
    )
    drawn = ((weight @ accepted) * weight).sum(1) / np.maximum(
        ((weight @ pairs) * weight).sum(1), 1
    )
    found = np.log(np.maximum(drawn * total / hits, 0.5 / hits))
    surplus = accepted - hits / total * pairs
    both = surplus + surplus.T
    # nobody is a stranger to himself: the diagonal is 0
    variance = (both.sum(1) ** 2).sum() - (both**2).sum() / 2
    # of the logarithm; no less than that of single pairs
    variance = max(float(variance) / hits**2, 1 / hits)
    spread = float(drawn.std()) * total / hits
    about = (accepted + accepted.T).sum(1)
    # people, as if all were equally involved
    freedom = max(float(about.sum() ** 2 / (about**2).sum()) - 1, 1.0)
    return found * (np.sqrt(variance) / max(spread, 1e-12) * (1 + _WIDER / freedom))


def as_distances(values: Any) -> Doubles:
    """Distances as float64 of any shape. ArgumentError if there are none, or if they are
    something else.
    """
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.zeros(0)
    require(found.size > 0, "what is compared", "one distance or more", values)
    return found


@door
def percentiles(distances: Any) -> tuple[float, ...]:
    """101 of them, each one of the distances, +inf included."""
    ordered = np.sort(as_distances(distances), axis=None)
    return tuple(ordered[np.round(np.linspace(0, len(ordered) - 1, 101)).astype(np.int64)].tolist())


@door
def shift(reference: tuple[float, ...], distances: Any) -> float:
    """Kolmogorov-Smirnov distance between distances and percentiles of others, in [0, 1]; +inf
    is a value too.
    """
    ordered, at = np.sort(as_distances(distances), axis=None), np.asarray(reference)
    finite = np.isfinite(at)
    expected = np.searchsorted(at, at, "right") - 1  # of ties, the last
    seen = np.searchsorted(ordered, at, "right") / max(len(ordered), 1)
    gaps = np.abs(seen - expected / (len(at) - 1))[finite]
    never = (
        abs(np.isfinite(ordered).mean() - (finite.sum() - 1) / (len(at) - 1))
        if not finite.all()
        else 0.0
    )
    return float(max(gaps.max(initial=0.0), never))


@door
def usual_shift(pairs: KnownPairs, seed: int = 0, draws: int = 100, most: int = 400_000) -> float:
    """99 % of random halves of the people have distances of strangers that are no farther apart
    than this.
    """
    draw = np.random.default_rng([seed, 17])
    strangers = np.flatnonzero(~pairs.same)
    some = draw.choice(strangers, most, replace=False) if len(strangers) > most else strangers
    distance, query, gallery = pairs.distance[some], pairs.query[some], pairs.gallery[some]
    found = []
    for _ in range(draws):
        half = pairs.ordered(draw) < 0.5
        one, other = (half[query] & half[gallery]), (~half[query] & ~half[gallery])
        if one.any() and other.any():
            found.append(shift(percentiles(distance[one]), distance[other]))
    return float(np.quantile(found, 0.99)) if found else 1.0
