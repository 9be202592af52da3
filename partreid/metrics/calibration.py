"""Which distance means the same person: a probability, a threshold for a false-match rate, and how
far to trust both.

A pair is *genuine* if both images show one person and *impostor* otherwise. The false-match rate
(FMR) is the share of all impostor pairs that are called one person. Pairs that share a person stand
or fall together, so all ranges come from drawing people, on both sides of the pairs at once.

None of this is proof. A pair above the threshold may show two people: at a rate of 1 in 1,000 a
gallery of 1,000 other people holds one such pair on average, for every query.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from partreid.errors import ArgumentError, DataError, ShapeError
from partreid.metrics.arrays import Doubles, Mask
from partreid.metrics.bootstrap import Interval
from partreid.metrics.likeness import Crops, Likeness, fit_likeness
from partreid.metrics.pairs import (
    DRAWS,
    Curves,
    KnownPairs,
    choose,
    log_ratios,
    logits,
    percentiles,
    threshold_at,
    usual_shift,
)
from partreid.runtime import decision
from partreid.runtime.decision import require_prior as require_prior
from partreid.runtime.doubt import Origin
from partreid.utils.arguments import check_fields, door, integer, number, quoted, require

# people, genuine pairs and accepted impostor pairs, below which a rate says nothing
LEAST = 10
_TAILS = (2.5, 97.5)
KINDS = ("drawn", "real", "unknown")  # people: of a synthetic world, photographed, or nobody says


@dataclass(frozen=True)
class Slice:
    """What was looked at. people: those among the queries. genuine, impostors: pairs of either
    kind. apart: pairs of both kinds that share no part.
    """

    images: int
    people: int
    genuine: int
    impostors: int
    apart: int

    def __post_init__(self) -> None:
        check_fields(self)
        for f in fields(self):
            integer(f"the number of {f.name}", getattr(self, f.name), 0)

    @classmethod
    def of(cls, pairs: KnownPairs) -> "Slice":
        genuine = int(pairs.same.sum())
        return cls(
            int(pairs.images.sum()),
            len(np.unique(pairs.query)),
            genuine,
            len(pairs) - genuine,
            int((~pairs.known).sum()),
        )


@dataclass(frozen=True)
class Reliability:
    """Do pairs that get p turn out to be one person in p of the cases? One entry for every bin that
    holds any.

    low, high: ends of the bin. weight: its share of all, they sum to 1. probability: their mean
    probability. same: the share that came true. pairs: how many.
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


@dataclass(frozen=True)
class Check:
    """What a threshold did to pairs of other people. fmr, tpr: shares of impostor and of genuine
    pairs that it called one person, with 95 % ranges. reliability: of the probability, both
    kinds of pairs weighed equally.
    """

    slice: Slice
    fmr: Interval
    tpr: Interval
    reliability: Reliability

    def __post_init__(self) -> None:
        check_fields(self)
        _require_rates(fmr=self.fmr, tpr=self.tpr)

    @property
    def ece(self) -> float:
        return self.reliability.ece


@dataclass(frozen=True)
class Source:
    """Where a calibration comes from and what it is for: it holds only for this model.

    model: SHA-256 of weights, distance, part names and recipe. weights: of the weights alone.
    distance: the matching rule in words. names: of the M embeddings. data, queries: name of the
    data set and of its query sets. images, gallery: SHA-256 of all images, and of the gallery's,
    with their people and cameras. date: ISO 8601. kind: drawn or real people, unknown for one's own
    crops and files of before. people, cameras: how many, 0 where nobody counted.
    """

    model: str
    weights: str
    distance: str
    names: tuple[str, ...]
    recipe: str
    data: str
    queries: tuple[str, ...]
    images: str
    gallery: str
    version: str
    date: str
    kind: str = "unknown"
    people: int = 0
    cameras: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        require(self.kind in KINDS, "the kind of people", f"one of {', '.join(KINDS)}", self.kind)
        for name in ("people", "cameras"):
            integer(f"the number of {name}", getattr(self, name), 0)

    @property
    def made_of(self) -> str:
        """What a calibration was made of, e.g. 150 drawn people of synthetic-demo, seen by 6
        cameras.
        """
        return decision.made_of(self.data, self.kind, self.people, self.cameras)


@dataclass(frozen=True)
class Calibration:
    """A threshold for a false-match rate, a match probability, and how both did on people they were
    not fitted on.

    curves: log odds of ``one person``, both being as likely beforehand; one for every number of
    shared parts, or one. kind, losses: which curves and the log loss of all candidates on people
    not fitted. threshold: log odds from which on a pair is called one person. rate: the FMR asked
    for. true_rate: FMR on the people fitted, with the 95 % range of the true rate. expected: the
    rate asked for with the wider range in which the rate on as many other people lies. fitted: the
    people that curves and threshold come from; checked: the other people, on whom nothing was
    fitted. impostors: percentiles 0 to 100 of the distances of all impostor pairs; usual_shift: how
    far apart those of two halves of the people are in 99 % of draws (Kolmogorov-Smirnov). share,
    seed: of the people to fit on, and who they were. likeness: what its crops look like; without it
    nothing says whether others are like them, see :func:`partreid.evaluation.doubt.doubt_about`.
    """

    curves: Curves
    kind: str
    losses: Mapping[str, float]
    threshold: float
    rate: float
    true_rate: Interval
    expected: Interval
    fitted: Slice
    checked: Check
    impostors: tuple[float, ...]
    usual_shift: float
    share: float
    seed: int
    source: Source
    likeness: Likeness | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        number("the rate of a calibration", self.rate, 0, 1, open_=True)
        number("its share of people", self.share, 0, 1, open_=True)
        number("its usual shift", self.usual_shift, 0, 1)
        integer("its seed", self.seed, 0)
        _require_rates(true_rate=self.true_rate, expected=self.expected)
        require(len(self.curves) > 0, "the curves of a calibration", "one at least", self.curves)
        odds = [x for curve in self.curves for x in curve.logits]
        # a threshold may lie just beyond all odds: then nobody is called same
        slack = 1e-6 * (1 + max(map(abs, odds)))
        require(
            min(odds) - slack <= self.threshold <= max(odds) + slack,
            "the threshold of a calibration",
            f"within the log odds that its curves can give, {min(odds):g} to {max(odds):g}",
            self.threshold,
        )
        require(
            len(self.impostors) > 1
            and all(a <= b for a, b in zip(self.impostors, self.impostors[1:])),
            "the distances of impostor pairs",
            "ascending",
            self.impostors,
        )

    def logit(self, distance: Any, shared: Any) -> Doubles:
        """Log odds of pairs with these distances and numbers of shared parts; NaN where none is
        shared.
        """
        return logits(self.curves, distance, shared)

    def probability(self, distance: Any, shared: Any, prior: float = 0.5) -> Doubles:
        """Probability that a pair is one person; NaN where no part is shared: then nothing is
        known.

        prior: in (0, 1), how likely one person was before anybody looked, e.g. 1 / N for a gallery
        of N people.
        """
        return decision.probability(self.curves, distance, shared, prior)

    def same(self, distance: Any, shared: Any) -> Mask:
        """Bool: called one person. Never where no part is shared."""
        return decision.called_same(self.curves, self.threshold, distance, shared)

    def least(self, prior: float = 0.5) -> float:
        """The probability that the threshold asks for, with this prior."""
        require_prior(prior)
        return float(decision.chance(self.threshold + np.log(prior / (1 - prior))))

    @property
    def people(self) -> int:
        """How many took part, fitted or checked."""
        return self.fitted.people + self.checked.slice.people

    @property
    def distances(self) -> tuple[float | None, ...]:
        """The threshold as a distance, for 1, 2, ... shared parts, or one for all; None: no
        distance is near enough.
        """
        return tuple(curve.reach(self.threshold) for curve in self.curves)

    def check(self, pairs: KnownPairs, seed: int = 0) -> Check:
        """What the threshold does to other labelled pairs."""
        odds = self.logit(pairs.distance, pairs.shared)
        return examine(pairs, odds, odds >= self.threshold, seed)

    @cached_property
    def origin(self) -> Origin:
        """The crops that it was made of, as :mod:`partreid.runtime.doubt` takes them."""
        made_of = self.source.made_of
        return Origin(made_of, self.likeness, self.impostors, self.usual_shift, self.people)


def _require_rates(**rates: Interval) -> None:
    for name, interval in rates.items():
        for end in (interval.value, interval.low, interval.high):
            number(f"{name} of a calibration", end, 0, 1 + 1e-9)
        require(
            interval.low <= interval.high,
            f"the range of {name}",
            "from low to high",
            (interval.low, interval.high),
        )


@door
def calibrate(
    pairs: KnownPairs,
    source: Source,
    rate: float = 1e-3,
    share: float = 0.5,
    seed: int = 0,
    crops: Crops | None = None,
    statistics: tuple[str, ...] = (),
) -> Calibration:
    """Fit on a seeded ``share`` of the people, check on the others.

    Args:
        pairs: labelled pairs.
        source: where they come from and which model made the distances.
        rate: the false-match rate wanted, in (0, 1).
        share: of the people that are fitted on, in (0, 1).
        seed: who they are.
        crops: the crops of the pairs, with looks and people numbered as in ``pairs``; None: the
            calibration cannot tell whether crops are like them.
        statistics: names of the looks.

    Returns:
        A :class:`Calibration`: a probability for a distance, a threshold for the rate, and how it
        did on the people it was not fitted on.

    Raises:
        DataError: there are too few people or pairs for the rate.

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import KnownPairs, calibrate
        >>> from partreid.metrics.calibration import Source
        >>> who = np.repeat(np.arange(40), 2)
        >>> query, gallery = (x.ravel() for x in np.meshgrid(who, who, indexing="ij"))
        >>> same, n = query == gallery, len(query)
        >>> far = np.random.default_rng(0).normal(10 - 6 * same, 1).astype(np.float32)
        >>> images = np.full(40, 4)
        >>> pairs = KnownPairs(far, np.ones(n, np.int64), same, query, gallery, images)
        >>> source = Source("m", "w", "d", ("body",), "r", "made up", ("q",), "i", "g", "0", "-")
        >>> made = calibrate(pairs, source, rate=0.01)
        >>> made.same([3.0, 11.0], [1, 1]).tolist()
        [True, False]
    """
    fit, held = divided(pairs, share, seed)
    require_enough(fit, held, rate)
    kind, curves, losses = choose(fit, seed)
    odds = logits(curves, fit.distance, fit.shared)
    threshold = threshold_at(odds[~fit.same], rate)
    accepted = (odds >= threshold) & ~fit.same
    drawn = log_ratios(fit.counts(accepted), fit.counts(~fit.same), DRAWS, seed)
    # its genuine error and that of other people
    low, high = np.exp(np.percentile(drawn - np.roll(drawn, 1), _TAILS))
    held_odds = logits(curves, held.distance, held.shared)
    return Calibration(
        curves,
        kind,
        losses,
        threshold,
        rate,
        _true_rate(int(accepted.sum()), fit, drawn),
        Interval(rate, rate * float(low), min(1.0, rate * float(high))),
        Slice.of(fit),
        examine(held, held_odds, held_odds >= threshold, seed),
        percentiles(pairs.distance[~pairs.same]),
        usual_shift(pairs, seed),
        share,
        seed,
        source,
        None if crops is None else _likeness(pairs, crops, statistics, share, seed),
    )


def _likeness(
    pairs: KnownPairs, crops: Crops, statistics: tuple[str, ...], share: float, seed: int
) -> Likeness:
    """Of the people that are fitted on, with its alarms counted on the others."""
    if crops.people is None:
        raise ArgumentError("crops of a calibration need people, int64 [n], got None")
    is_fit = _fitting(pairs, share, seed)[crops.people]
    return fit_likeness(crops.rows(is_fit), crops.rows(~is_fit), statistics)


@door
def divided(pairs: KnownPairs, share: float, seed: int) -> tuple[KnownPairs, KnownPairs]:
    """The pairs among a drawn ``share`` of the people, and those among the others."""
    fitting = _fitting(pairs, share, seed)
    return pairs.among(fitting), pairs.among(~fitting)


def _fitting(pairs: KnownPairs, share: float, seed: int) -> Mask:
    """Bool [people]: who is fitted on."""
    drawn: Mask = pairs.ordered(np.random.default_rng([seed, 7])) < share
    return drawn


@door
def require_enough(fit: KnownPairs, held: KnownPairs, rate: float) -> None:
    """DataError, with what is missing, if the pairs cannot carry a rate."""
    if not 0 < rate < 1:
        raise DataError(
            f"a false-match rate lies between 0 and 1, got {rate}; give e.g. --rate 0.001"
        )
    for what, pairs in (("fitted on", fit), ("checked on", held)):
        people, genuine = Slice.of(pairs).people, int(pairs.same.sum())
        if people < LEAST or genuine < LEAST:
            raise DataError(
                f"too little to calibrate with: {people} people with {genuine} genuine pairs to "
                f"be {what}, and it takes {LEAST} of either; give a slice with more people"
            )
        if not (pairs.known & pairs.same).any() or not (pairs.known & ~pairs.same).any():
            raise DataError(
                "no threshold can be put: pairs of one kind never share a part; look at the part "
                "maps with partreid compare --picture"
            )
    impostors = len(fit) - int(fit.same.sum())
    if rate * impostors < LEAST:
        raise DataError(
            f"a false-match rate of {rate:g} needs {int(np.ceil(LEAST / rate))} impostor pairs "
            f"to be fitted on, there are {impostors}: give more people or images, or ask for what "
            f"these can carry, --rate {_carried(impostors):g}"
        )


@door
def examine(pairs: KnownPairs, odds: Doubles, accepted: Mask, seed: int = 0) -> Check:
    """Rates and reliability of pairs with log odds ``odds`` [n], of which ``accepted`` [n] are
    called one person.
    """
    false, true = accepted & ~pairs.same, accepted & pairs.same
    fmr = _true_rate(
        int(false.sum()),
        pairs,
        log_ratios(pairs.counts(false), pairs.counts(~pairs.same), DRAWS, seed),
    )
    genuine, hits = (
        np.bincount(pairs.query[pairs.same], minlength=pairs.people),
        np.bincount(pairs.query[true], minlength=pairs.people),
    )
    genuine, hits = genuine[genuine > 0], hits[genuine > 0]
    weight = np.random.default_rng([seed, 13]).multinomial(
        len(genuine), np.full(len(genuine), 1 / len(genuine)), DRAWS
    )
    tprs = (weight @ hits) / np.maximum(weight @ genuine, 1)
    low, high = np.percentile(tprs, _TAILS)
    known = pairs.known
    kinds = np.bincount(pairs.same[known], minlength=2)
    weights = 1 / np.maximum(kinds, 1)[pairs.same[known].astype(np.int64)]
    probability = decision.chance(odds[known])
    return Check(
        Slice.of(pairs),
        fmr,
        Interval(float(hits.sum() / max(genuine.sum(), 1)), float(low), float(high)),
        reliability(probability, pairs.same[known], weights),
    )


def _true_rate(accepted: int, pairs: KnownPairs, drawn: Doubles) -> Interval:
    """The share accepted of impostor pairs, and the range of the true rate: as far above it as
    draws fall below.
    """
    impostors = max(len(pairs) - int(pairs.same.sum()), 1)
    if not accepted:
        return Interval(0.0, 0.0, min(1.0, 3 / impostors))  # rule of three
    low, high = accepted / impostors * np.exp(np.percentile(-drawn, _TAILS))
    return Interval(accepted / impostors, float(low), min(1.0, float(high)))


def _carried(impostors: int) -> float:
    """The smallest rate that so many impostor pairs carry, rounded up to one digit."""
    least = LEAST / max(impostors, 1)
    digit = 10.0 ** np.floor(np.log10(least))
    return float(np.ceil(least / digit - 1e-9) * digit)


@door
def reliability(probability: Any, same: Any, weights: Any = None, bins: int = 10) -> Reliability:
    """Does a probability come true?

    Args:
        probability: float [n] in [0, 1]; NaN where unknown, which is left out.
        same: bool [n], the truth.
        weights: float [n] >= 0; None: all 1.
        bins: how many, of equal width.

    Returns:
        A :class:`Reliability`; its ``ece`` is the expected calibration error.

    Raises:
        ArgumentError: probabilities or weights lie elsewhere, or are no numbers.
        ShapeError: they are not as many.

    Examples:
        >>> from partreid.metrics import reliability
        >>> reliability([0.9, 0.9, 0.1, 0.1], [True, True, False, False]).pairs
        (2, 2)
        >>> round(reliability([0.9, 0.9, 0.1, 0.1], [True, True, False, False]).ece, 6)
        0.1
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
    bin_of = np.minimum((p * bins).astype(np.int64), bins - 1)
    mass, sums, came = (np.bincount(bin_of, x, bins) for x in (weight, weight * p, weight * truth))
    full = np.flatnonzero(mass > 0)

    def listed(values: Doubles) -> tuple[float, ...]:
        return tuple(values.tolist())

    return Reliability(
        listed(full / bins),
        listed((full + 1) / bins),
        listed(mass[full] / mass.sum()),
        listed(sums[full] / mass[full]),
        listed(came[full] / mass[full]),
        tuple(np.bincount(bin_of, minlength=bins)[full].tolist()),
    )


@door
def ece(probability: Any, same: Any, weights: Any = None, bins: int = 10) -> float:
    """Expected calibration error (Naeini et al. 2015).

    Args:
        probability: see :func:`reliability`, as all that follow.
        same: bool [n].
        weights: float [n] or None.
        bins: how many.

    Returns:
        In [0, 1]; 0 without pairs.

    Raises:
        ArgumentError, ShapeError: as :func:`reliability`.

    Examples:
        >>> from partreid.metrics import ece
        >>> ece([1.0, 0.0], [True, False])
        0.0
    """
    return reliability(probability, same, weights, bins).ece


@door
def risk_coverage(confidence: Any, right: Any) -> RiskCoverage:
    """What is wrong among the answers if only the surest are given.

    Args:
        confidence: float [n] on any scale, NaN the least sure. For identification the match
            probability of the first answer, or its distance, negated.
        right: bool [n].

    Returns:
        A :class:`RiskCoverage`.

    Raises:
        ArgumentError: they are no numbers.
        ShapeError: they are not as many.

    Examples:
        >>> from partreid.metrics import risk_coverage
        >>> curve = risk_coverage([0.9, 0.8, 0.4], [True, True, False])
        >>> round(curve.coverage_at(0.0), 3)
        0.667
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
        column = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(f"{name} must be a list of numbers, got {quoted(values)}") from None
    require(column.ndim == 1, name, "a list of numbers", values)
    return column
