"""From labelled pairs to the probability that a pair shows one person: curves over the distance,
which of them to trust, where a threshold goes, and how sure its false-match rate is.

A pair is *genuine* if both images show one person and *impostor* otherwise. A curve gives the log
odds of "genuine" for a distance. The two kinds are weighed equally, so it speaks of a pair that was
as likely genuine as not beforehand. A curve always falls: nearer is never less probable.

Three ways to draw it: ``line`` (Platt 1999, on the distance), ``line_by_parts`` (a line for each
number of shared parts; lines with few pairs borrow from all) and ``steps`` (isotonic, by pooling
adjacent violators, Ayer et al. 1955).

The false-match rate (FMR) is the share of all impostor pairs that are called one person. Pairs that
share a person stand or fall together, so ranges come from drawing people, on both sides of the
pairs at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from partreid.errors import ArgumentError
from partreid.metrics.arrays import Doubles, Integers, Mask, Singles, as_floats
from partreid.runtime import doubt
from partreid.runtime.decision import Curve, Curves, logits
from partreid.utils.arguments import door, require

__all__ = [
    "DRAWS",
    "Curve",
    "Curves",
    "KnownPairs",
    "Tally",
    "as_distances",
    "choose",
    "line",
    "line_by_parts",
    "log_ratios",
    "logits",
    "percentiles",
    "pool",
    "shift",
    "steps",
    "threshold_at",
    "usual_shift",
]

DRAWS = 1000
# (z^2 + 1) / 4 with z = 1.96: Student's t is about 1 + that / f times as wide as the normal
_WIDER = 1.21
CELLS = 2048  # a fit sees distances in so many cells, whatever the number of pairs
BORROWED = 20.0  # genuine pairs: as much as the line of all pairs weighs in that of few
FOLDS = 5
_LEAST_SLOPE = 1e-3  # log odds that a curve falls at least per standard deviation of the distance


@dataclass(frozen=True, eq=False)
class KnownPairs:
    """n pairs of images whose people are known, each once.

    distance: float32 [n], +inf where two images share no part. shared: int64 [n], the number of
    parts that both show. same: bool [n], genuine. query, gallery: int64 [n] in 0..people - 1, the
    person in either image. images: int64 [people], how many there are of each person.
    """

    distance: Singles
    shared: Integers
    same: Mask
    query: Integers
    gallery: Integers
    images: Integers

    def __len__(self) -> int:
        return len(self.distance)

    @property
    def people(self) -> int:
        return len(self.images)

    @property
    def known(self) -> Mask:
        """Bool [n]: the pairs that share a part, so that their distance says something."""
        return np.isfinite(self.distance) & (self.shared > 0)

    def among(self, people: Mask) -> "KnownPairs":
        """The pairs of which both images show one of these people: bool [people]."""
        inside = people[self.query] & people[self.gallery]
        return KnownPairs(
            self.distance[inside],
            self.shared[inside],
            self.same[inside],
            self.query[inside],
            self.gallery[inside],
            np.where(people, self.images, 0),
        )

    def ordered(self, draw: np.random.Generator) -> Doubles:
        """Places of the people in a random order, float64 [people] in [0, 1); queries have
        one of their own.
        """
        is_query = np.zeros(self.people, np.bool_)
        is_query[self.query] = True
        place = np.empty(self.people)
        for of in (is_query, ~is_query):
            place[of] = draw.permutation(int(of.sum())) / max(int(of.sum()), 1)
        return place

    def counts(self, of: Mask) -> Doubles:
        """How many of the pairs ``of`` there are of each two people that occur: float64 [people,
        people].
        """
        present = np.zeros(self.people, np.bool_)
        present[self.query] = present[self.gallery] = True
        index, many = np.cumsum(present) - 1, int(present.sum())
        flat = index[self.query[of]] * many + index[self.gallery[of]]
        return np.bincount(flat, minlength=many**2).reshape(many, many).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Tally:
    """Pairs counted by distance: genuine, impostor float64 [parts, cells]; centers of the cells
    float64 [cells].
    """

    genuine: Doubles
    impostor: Doubles
    centers: Doubles

    @classmethod
    def of(cls, pairs: KnownPairs, reach: float, parts: int) -> "Tally":
        """reach: where the last cell ends. parts: the largest number of shared parts."""
        known = pairs.known
        cell = np.clip(pairs.distance * (CELLS / reach), 0, CELLS - 1).astype(np.int64)
        flat = (pairs.shared - 1) * CELLS + cell
        genuine, impostor = (
            np.bincount(flat[known & of], minlength=parts * CELLS)
            .reshape(parts, CELLS)
            .astype(np.float64)
            for of in (pairs.same, ~pairs.same)
        )
        return cls(genuine, impostor, (np.arange(CELLS, dtype=np.float64) + 0.5) * (reach / CELLS))

    @property
    def balanced(self) -> Doubles:
        """The impostor pairs, weighed so that all of them count as much as all genuine pairs."""
        return self.impostor * (self.genuine.sum() / max(self.impostor.sum(), 1))

    def loss(self, curves: Curves) -> float:
        """Mean log loss in nats, both kinds of pairs weighed equally; log 2 = 0.693 is that of a
        coin.
        """
        total = 0.0
        for part, (genuine, impostor) in enumerate(zip(self.genuine, self.balanced)):
            odds = curves[min(part, len(curves) - 1)](self.centers)
            total += float(genuine @ np.logaddexp(0, -odds) + impostor @ np.logaddexp(0, odds))
        return total / max(2 * self.genuine.sum(), 1)


@door
def line(tally: Tally) -> Curves:
    """One line for all pairs (Platt 1999)."""
    return (_straight(tally, _line(tally, tally.genuine.sum(0), tally.balanced.sum(0))),)


@door
def line_by_parts(tally: Tally) -> Curves:
    """A line for every number of shared parts, drawn towards the line of all as if by
    ``BORROWED`` pairs.
    """
    every = _line(tally, tally.genuine.sum(0), tally.balanced.sum(0))
    return tuple(
        _straight(tally, _line(tally, genuine, impostor, every))
        for genuine, impostor in zip(tally.genuine, tally.balanced)
    )


@door
def steps(tally: Tally) -> Curves:
    """Free but for falling: the share of genuine pairs, pooled until it falls (isotonic
    regression).
    """
    genuine, impostor = tally.genuine.sum(0), tally.balanced.sum(0)
    full = genuine + impostor > 0
    genuine, impostor, centers = genuine[full], impostor[full], tally.centers[full]
    sizes = pool(genuine / (genuine + impostor), genuine + impostor)
    first = np.append(0, np.cumsum(sizes)[:-1])
    block_genuine, block_impostor, weighed = (
        np.add.reduceat(x, first) for x in (genuine, impostor, centers * (genuine + impostor))
    )
    # half a pair of either kind, so that none is certain
    odds = np.log((block_genuine + 0.5) / (block_impostor + 0.5))
    center = weighed / (block_genuine + block_impostor)
    return (_falling(tally, np.r_[0.0, center, tally.centers[-1]], np.r_[odds[0], odds, odds[-1]]),)


@door
def pool(values: Doubles, weights: Doubles) -> Integers:
    """Sizes of the blocks whose weighted means fall and fit ``values`` best in the least
    squares: int64 [blocks].
    """
    blocks: list[tuple[float, float, int]] = []  # sum of values, of weights, number
    for value, weight in zip(values * weights, weights):
        total, mass, size = float(value), float(weight), 1
        # it does not fall: one block
        while blocks and blocks[-1][0] * mass <= total * blocks[-1][1]:
            before = blocks.pop()
            total, mass, size = total + before[0], mass + before[1], size + before[2]
        blocks.append((total, mass, size))
    return np.array([size for _, _, size in blocks], np.int64)


CANDIDATES: Mapping[str, Callable[[Tally], Curves]] = {
    "line": line,
    "line_by_parts": line_by_parts,
    "steps": steps,
}


@door
def choose(pairs: KnownPairs, seed: int = 0) -> tuple[str, Curves, dict[str, float]]:
    """The candidate to trust: (its name, its curves on all pairs, mean log loss of each on people
    not fitted).

    People are dealt into five folds; a fold is scored with curves fitted without its people. A
    richer candidate is taken only if it gains more than one standard error over the folds.
    """
    known = pairs.known
    reach = 1.05 * max(float(pairs.distance[known].max(initial=0.0)), 1e-9)
    parts = int(pairs.shared[known].max(initial=1))
    dealt = (pairs.ordered(np.random.default_rng([seed, 5])) * FOLDS).astype(np.int64)
    folds = []
    for fold in range(FOLDS):
        tested = Tally.of(pairs.among(dealt == fold), reach, parts)
        if tested.genuine.sum() and tested.impostor.sum():
            folds.append((Tally.of(pairs.among(dealt != fold), reach, parts), tested))
    losses = {
        name: np.array([tested.loss(draw(fitted)) for fitted, tested in folds])
        for name, draw in CANDIDATES.items()
    }
    best = "line"
    for name in list(CANDIDATES)[1:]:
        if parts == 1 and name == "line_by_parts":
            continue
        gain = losses[best] - losses[name]
        if len(gain) > 1 and gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)):
            best = name
    mean = {
        name: float(loss.mean()) if len(loss) else float("nan") for name, loss in losses.items()
    }
    return best, CANDIDATES[best](Tally.of(pairs, reach, parts)), mean


def _line(
    tally: Tally, genuine: Doubles, impostor: Doubles, towards: Doubles | None = None
) -> Doubles:
    """(log odds at distance 0, their slope per standard deviation), slope < 0, by Newton's method.

    Labels are smoothed as Platt 1999 did, so that kinds that do not overlap have finite odds.
    towards: a line that counts as much as ``BORROWED`` genuine pairs.
    """
    full = genuine + impostor > 0
    z, genuine, impostor = tally.centers[full] / _spread(tally), genuine[full], impostor[full]
    everywhere = tally.centers / _spread(tally)
    many = max(tally.genuine.sum(), 1.0)
    sure = (many + 1) / (many + 2)
    weight, hits = genuine + impostor, genuine * sure + impostor * (1 - sure)
    start = np.zeros(2) if towards is None else towards
    pull = 1e-9 if towards is None else BORROWED

    def solve(x: Doubles, offset: Doubles, mean: Doubles) -> Doubles:
        lies = np.stack([np.ones_like(everywhere), everywhere], 1)[:, : x.shape[1]]
        prior = pull * (lies.T * _at(tally)) @ lies + 1e-9 * np.eye(x.shape[1])

        def cost(theta: Doubles) -> float:
            odds = offset + x @ theta
            step = theta - mean
            return float(weight @ np.logaddexp(0, odds) - hits @ odds + step @ prior @ step / 2)

        theta = mean.copy()
        for _ in range(60):
            p = 1 / (1 + np.exp(-np.clip(offset + x @ theta, -500, 500)))
            slope = x.T @ (weight * p - hits) + prior @ (theta - mean)
            step = np.linalg.solve(
                (x.T * (weight * p * (1 - p))) @ x + prior + 1e-9 * np.eye(len(theta)), slope
            )
            if np.abs(step).max() < 1e-6:
                break
            size, before = 1.0, cost(theta)
            while size > 1e-3 and cost(theta - size * step) > before:
                size /= 2
            theta = theta - size * step
        return theta

    both = solve(np.stack([np.ones_like(z), z], 1), np.zeros_like(z), start)
    if both[1] <= -_LEAST_SLOPE:
        return both
    return np.array([solve(np.ones((len(z), 1)), -_LEAST_SLOPE * z, start[:1])[0], -_LEAST_SLOPE])


def _at(tally: Tally) -> Doubles:
    """Where a borrowed pair lies: as all pairs do, both kinds weighed equally; sums to a
    quarter, p (1 - p) at most.
    """
    weight = (tally.genuine + tally.balanced).sum(0)
    return weight / max(4 * weight.sum(), 1e-300)


def _spread(tally: Tally) -> float:
    weight = (tally.genuine + tally.balanced).sum(0)
    if not weight.sum():
        return float(tally.centers[-1])
    mean = weight @ tally.centers / weight.sum()
    return float(np.sqrt(weight @ (tally.centers - mean) ** 2 / weight.sum())) or float(
        tally.centers[-1]
    )


def _straight(tally: Tally, theta: Doubles) -> Curve:
    ends = np.array([0.0, tally.centers[-1]])
    return _falling(tally, ends, theta[0] + theta[1] * ends / _spread(tally))


def _falling(tally: Tally, distances: Doubles, odds: Doubles) -> Curve:
    """Knots in order of the distance, each at least a little below the one before, so that no
    two distances tie.
    """
    order = np.flatnonzero(np.diff(distances, prepend=-1.0) > 0)
    knots, fall = distances[order], distances[order] * (_LEAST_SLOPE / _spread(tally))
    return Curve(
        tuple(knots.tolist()), tuple((np.minimum.accumulate(odds[order] + fall) - fall).tolist())
    )


@door
def threshold_at(odds: Doubles, rate: float) -> float:
    """Where a threshold goes for a false-match rate.

    Args:
        odds: log odds of impostor pairs, float64 [n]; NaN where no part is shared.
        rate: the share of them that may be called one person.

    Returns:
        Log odds from which on no more than that share is; NaN never is.
    """
    ordered = np.sort(odds[~np.isnan(odds)])[::-1]
    allowed = int(rate * len(odds) + 1e-9)
    if allowed >= len(ordered):
        return float(np.nextafter(ordered[-1], -np.inf))
    first = float(ordered[allowed])  # the first impostor pair that would be too many
    if allowed == 0 or ordered[allowed - 1] == first:
        return float(np.nextafter(first, np.inf))
    # between two, so that rounding elsewhere changes nothing
    return (float(ordered[allowed - 1]) + first) / 2


@door
def log_ratios(accepted: Doubles, pairs: Doubles, samples: int = DRAWS, seed: int = 0) -> Doubles:
    """How far, in logarithms, the FMR of drawn people is from that of all: float64 [samples].

    accepted, pairs: float64 [people, people], how many impostor pairs were called one person, and
    how many there are, by the person on either side. A person is drawn w times on both sides:
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
    ratios = np.log(np.maximum(drawn * total / hits, 0.5 / hits))
    surplus = accepted - hits / total * pairs
    both = surplus + surplus.T
    # nobody is an impostor of himself: the diagonal is 0
    variance = (both.sum(1) ** 2).sum() - (both**2).sum() / 2
    # of the logarithm; no less than that of single pairs
    variance = max(float(variance) / hits**2, 1 / hits)
    spread = float(drawn.std()) * total / hits
    about = (accepted + accepted.T).sum(1)
    # people, as if all were equally involved
    freedom = max(float(about.sum() ** 2 / (about**2).sum()) - 1, 1.0)
    return ratios * (np.sqrt(variance) / max(spread, 1e-12) * (1 + _WIDER / freedom))


def as_distances(values: Any) -> Doubles:
    """Distances as float64 of any shape. ArgumentError if there are none, or if they are
    something else.
    """
    try:
        distances = as_floats("distances", values).astype(np.float64)
    except ArgumentError:
        distances = np.zeros(0)
    require(distances.size > 0, "what is compared", "one distance or more", values)
    return distances


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
    return doubt.shift(reference, as_distances(distances))


@door
def usual_shift(pairs: KnownPairs, seed: int = 0, draws: int = 100, most: int = 400_000) -> float:
    """99 % of random halves of the people have distances of impostor pairs that are no farther
    apart than this.
    """
    draw = np.random.default_rng([seed, 17])
    impostors = np.flatnonzero(~pairs.same)
    some = draw.choice(impostors, most, replace=False) if len(impostors) > most else impostors
    distance, query, gallery = pairs.distance[some], pairs.query[some], pairs.gallery[some]
    shifts = []
    for _ in range(draws):
        half = pairs.ordered(draw) < 0.5
        one, other = (half[query] & half[gallery]), (~half[query] & ~half[gallery])
        if one.any() and other.any():
            shifts.append(shift(percentiles(distance[one]), distance[other]))
    return float(np.quantile(shifts, 0.99)) if shifts else 1.0
