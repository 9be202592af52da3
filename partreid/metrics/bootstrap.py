"""How far scores can be trusted: intervals by drawing people, comparisons of two runs, several
seeds.

Queries of one person stand or fall together: drawing single queries would give intervals far too
narrow. So people are drawn with replacement, each with all of his queries; the gallery stays as it
is.

Plain percentiles of such draws are too narrow for few people: of 50, 95 % intervals of R1 held the
truth 91-94 times in 100, of 20 people 86-92 times. So intervals are bias-corrected and accelerated
(BCa: Efron, JASA 1987), with Student's quantile and sqrt(n / (n - 1)) in place of the normal one
(Hesterberg, American Statistician 2015), n being the people there would be if all had equally many
queries. Of one person nothing is known: both ends are then the value.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError, ShapeError
from partreid.metrics.arrays import Doubles, Ids, Integers, as_int64
from partreid.metrics.open_set import FPIRS, Searches
from partreid.metrics.ranking import Ranking
from partreid.metrics.student_t import (
    by_people,
    by_seed,
    people_of,
    quantile,
    student_t,
    together,
)
from partreid.metrics.verification import FMRS, Roc
from partreid.utils.arguments import door, integer, number, require

Scores = Mapping[str, Doubles]  # what is averaged, by name: float64 [n], one for each query

SAMPLES = 2000
_GRID = 512  # distances at which the curves of all draws are read


@dataclass(frozen=True)
class Interval:
    """A value and the range that holds it with the stated confidence."""

    value: float
    low: float
    high: float

    def points(self) -> str:
        """As a gain in hundredths: ``+1.3 [-0.7, +3.2]``."""
        return f"{100 * self.value:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


@dataclass(frozen=True)
class Difference(Interval):
    """A difference, its range, and p: how often one as large would come by chance if neither
    were better.
    """

    p: float


@door
def bootstrap_ranking(
    ranking: Ranking, samples: int = SAMPLES, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Intervals of all scores of a ranking, by drawing people with all of their queries.

    Args:
        ranking: what :func:`partreid.metrics.evaluate` gave.
        samples: how many draws.
        seed: of the draws.
        level: of the interval, in (0, 1).

    Returns:
        An :class:`Interval` for each of ``ranking.scores``, by name.

    Raises:
        ArgumentError: a number is out of its range.

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import evaluate
        >>> draw = np.random.default_rng(0)
        >>> ids = np.repeat(np.arange(10), 2)
        >>> distances = draw.random((20, 20)) + 0.4 * (ids[:, None] != ids)
        >>> ranking = evaluate(distances, q_ids=ids, g_ids=ids)
        >>> from partreid.metrics import bootstrap_ranking
        >>> interval = bootstrap_ranking(ranking, samples=100)["mAP"]
        >>> interval.low <= interval.value == ranking.mAP <= interval.high
        True
    """
    return bootstrap_values(
        ranking.per_query(), ranking.identities[ranking.scored], samples, seed, level
    )


@door
def bootstrap_difference(
    a: Ranking, b: Ranking, samples: int = SAMPLES, seed: int = 0, level: float = 0.95
) -> dict[str, Difference]:
    """a - b on the same queries: intervals of people drawn together, p by exchanging the two for
    people.

    p is two-sided: for every person at random, all of his queries keep or change sign.

    Args:
        a: a ranking.
        b: another of the same queries.
        samples: how many draws.
        seed: of the draws.
        level: of the interval, in (0, 1).

    Returns:
        A :class:`Difference` for each score, by name.

    Raises:
        DataError: the two did not score the same queries.

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import evaluate
        >>> draw = np.random.default_rng(0)
        >>> ids = np.repeat(np.arange(10), 2)
        >>> distances = draw.random((20, 20)) + 0.4 * (ids[:, None] != ids)
        >>> ranking = evaluate(distances, q_ids=ids, g_ids=ids)
        >>> from partreid.metrics import bootstrap_difference
        >>> better = evaluate(distances - (ids[:, None] == ids), q_ids=ids, g_ids=ids)
        >>> change = bootstrap_difference(better, ranking, samples=100)["mAP"]
        >>> change.value > 0 and change.p < 0.05
        True
    """
    mine, other = same_queries([a, b])
    change = {name: mine[name] - other[name] for name in mine}
    people = a.identities[a.scored]
    intervals = bootstrap_values(change, people, samples, seed, level)
    p = _exchanged(change, people, samples, seed)
    return {name: Difference(i.value, i.low, i.high, p[name]) for name, i in intervals.items()}


@door
def bootstrap_values(
    values: Scores, ids: Ids, samples: int = SAMPLES, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Intervals of the means of named values.

    Args:
        values: float64 [n] each, by name.
        ids: integers [n], the person of each value.
        samples: how many draws.
        seed: of the draws.
        level: of the interval, in (0, 1).

    Returns:
        An :class:`Interval` of each mean, by name.

    Raises:
        ShapeError: ids are no integers or not one per value.

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import bootstrap_values
        >>> bootstrap_values({"share": np.ones(4)}, [1, 1, 2, 2], samples=10)["share"]
        Interval(value=1.0, low=1.0, high=1.0)
    """
    _require_draws(samples, seed, level)
    _, person, queries = np.unique(_fitting(ids, values), return_inverse=True, return_counts=True)
    drawn = _draws(len(queries), samples, seed)
    weight = drawn @ queries  # queries in each draw
    result = {}
    for name, value in values.items():
        sums = np.bincount(person, value, len(queries))
        without = (sums.sum() - sums) / np.maximum(queries.sum() - queries, 1)
        result[name] = _interval(
            float(value.mean()), drawn @ sums / weight, without, queries, level
        )
    return result


@door
def bootstrap_sums(
    counts: Doubles,
    ids: Ids,
    of: Callable[[Doubles], Scores],
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Intervals of what a function makes of sums over people, where a mean of single values would
    not do: an overlap over all pixels is one quotient, not the mean of many.

    Args:
        counts: float64 [n, k], what is summed.
        ids: integers [n], the person of each row.
        of: takes sums float64 [m, k] of m draws, gives values float64 [m] by name.
        samples: how many draws.
        seed: of the draws.
        level: of the interval, in (0, 1).

    Returns:
        An :class:`Interval` of each value, by name.

    Raises:
        ShapeError: counts are not [n, k], or ids are no integers or not one per row.

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import bootstrap_sums
        >>> hits_and_areas = np.array([[1.0, 2.0], [3.0, 6.0]])
        >>> share = lambda sums: {"share": sums[:, 0] / sums[:, 1]}
        >>> bootstrap_sums(hits_and_areas, [1, 2], share, samples=10)["share"]
        Interval(value=0.5, low=0.5, high=0.5)
    """
    _require_draws(samples, seed, level)
    if counts.ndim != 2 or not counts.size:
        raise ShapeError(
            f"counts must be [n, k], one row and one column or more, got {list(counts.shape)}"
        )
    _, person, rows = np.unique(
        _fitting(ids, {"counts": counts[:, 0]}), return_inverse=True, return_counts=True
    )
    sums = np.zeros((len(rows), counts.shape[1]))
    np.add.at(sums, person, counts)
    total = sums.sum(0, keepdims=True)
    whole = of(total)
    if len(rows) == 1:  # without the only person nothing is left to ask ``of`` about
        return {name: Interval(*[float(value[0])] * 3) for name, value in whole.items()}
    drawn, without = of(_draws(len(rows), samples, seed) @ sums), of(total - sums)
    return {
        name: _interval(float(value[0]), drawn[name], without[name], rows, level)
        for name, value in whole.items()
    }


@door
def over_seeds(
    runs: Sequence[Ranking], samples: int = SAMPLES, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Mean scores of runs that differ in their seed alone, and the range that holds those of all
    seeds and people.

    Two sources of error add: the people who were drawn (by each query's mean over the runs) and the
    few seeds (variance between runs over their number). The range is Student's, so three seeds that
    differ much make it wide. With one run it is :func:`bootstrap_ranking`: what other seeds do
    remains unknown.

    Args:
        runs: rankings of the same queries.
        samples: how many draws.
        seed: of the draws.
        level: of the interval, in (0, 1).

    Returns:
        An :class:`Interval` of each mean score, by name.

    Raises:
        DataError: the runs did not score the same queries.
        ArgumentError: there are none.

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import evaluate
        >>> draw = np.random.default_rng(0)
        >>> ids = np.repeat(np.arange(10), 2)
        >>> distances = draw.random((20, 20)) + 0.4 * (ids[:, None] != ids)
        >>> ranking = evaluate(distances, q_ids=ids, g_ids=ids)
        >>> from partreid.metrics import over_seeds
        >>> again = evaluate(draw.random((20, 20)), q_ids=ids, g_ids=ids)
        >>> mean = over_seeds([ranking, again])["mAP"]
        >>> mean.low < mean.value < mean.high
        True
    """
    _require_draws(samples, seed, level)
    require(len(runs) > 0, "what is averaged", "one run or more", runs)
    if len(runs) == 1:
        return bootstrap_ranking(runs[0], samples, seed, level)
    each = same_queries(runs)
    mean = {name: np.mean([scores[name] for scores in each], 0) for name in each[0]}
    people = runs[0].identities[runs[0].scored]
    intervals = {}
    for name, values in mean.items():
        value, seeds = float(values.mean()), by_seed([scores[name] for scores in each], people)
        half, _ = student_t(value, [by_people(values, people), seeds], level)
        intervals[name] = Interval(value, value - half, value + half)
    return intervals


@door
def difference_over_seeds(
    a: Sequence[Ranking],
    b: Sequence[Ranking],
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = 0.95,
    same_runs: bool = False,
) -> dict[str, Difference]:
    """Mean of the runs a less mean of the runs b; one run each: :func:`bootstrap_difference`.

    People are paired; seeds only if a[i] and b[i] are ``same_runs`` scored in two ways, as with and
    without re-ranking: what a seed does to both then drops out. p is that of Student's t and
    cautious: with three seeds each and no difference it falls below 0.05 in 1 to 4 of 100 cases.

    Args:
        a: rankings of one recipe.
        b: rankings of another, of the same queries.
        samples: how many draws.
        seed: of the draws.
        level: of the interval, in (0, 1).
        same_runs: whether ``a[i]`` and ``b[i]`` are one run.

    Returns:
        A :class:`Difference` for each score, by name.

    Raises:
        DataError: the runs did not score the same queries, or those that should be the same are not
            as many.

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import evaluate
        >>> draw = np.random.default_rng(0)
        >>> ids = np.repeat(np.arange(10), 2)
        >>> distances = draw.random((20, 20)) + 0.4 * (ids[:, None] != ids)
        >>> ranking = evaluate(distances, q_ids=ids, g_ids=ids)
        >>> from partreid.metrics import difference_over_seeds
        >>> difference_over_seeds([ranking, ranking], [ranking, ranking])["mAP"].value
        0.0
    """
    _require_draws(samples, seed, level)
    require(
        len(a) > 0 and len(b) > 0,
        "what is compared",
        "one run or more on either side",
        f"{len(a)} and {len(b)}",
    )
    if len(a) == len(b) == 1:
        return bootstrap_difference(a[0], b[0], samples, seed, level)
    each = same_queries([*a, *b])
    mine, other = each[: len(a)], each[len(a) :]
    if same_runs and len(a) != len(b):
        raise DataError(
            f"the same runs scored in two ways are as many in both; got {len(a)} and {len(b)}"
        )
    people = a[0].identities[a[0].scored]
    differences = {}
    for name in each[0]:
        change = np.mean([s[name] for s in mine], 0) - np.mean([s[name] for s in other], 0)
        sides = (
            [[x[name] - y[name] for x, y in zip(mine, other, strict=True)]]
            if same_runs
            else [[s[name] for s in side] for side in (mine, other) if len(side) > 1]
        )
        seeds = [by_seed(side, people) for side in sides]
        value = float(change.mean())
        half, p = student_t(value, [by_people(change, people), together(seeds)], level)
        differences[name] = Difference(value, value - half, value + half, p)
    return differences


@door
def bootstrap_roc(
    roc: Roc, *, q_ids: Ids, samples: int = SAMPLES, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Intervals of :attr:`Roc.scores`, a threshold being chosen anew in each draw.

    Curves are read at 512 distances. A score whose threshold lies above the pairs that were kept
    one by one has no interval and is left out.

    Args:
        roc: what :func:`partreid.metrics.roc_curve` gave.
        q_ids: integers [Nq], who the queries are.
        samples: how many draws.
        seed: of the draws.
        level: of the interval, in (0, 1).

    Returns:
        An :class:`Interval` for each score, by name; none without both kinds of pairs.

    Raises:
        ShapeError: q_ids are no integers.

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import evaluate
        >>> draw = np.random.default_rng(0)
        >>> ids = np.repeat(np.arange(10), 2)
        >>> distances = draw.random((20, 20)) + 0.4 * (ids[:, None] != ids)
        >>> ranking = evaluate(distances, q_ids=ids, g_ids=ids)
        >>> from partreid.metrics import bootstrap_roc, roc_curve
        >>> roc = roc_curve(distances, q_ids=ids, g_ids=ids)
        >>> bootstrap_roc(roc, q_ids=ids, samples=50)["EER"].value == roc.eer
        True
    """
    _require_draws(samples, seed, level)
    if not len(roc.genuine) or not len(roc.nearest):
        return {}
    people, person, queries = np.unique(
        as_int64("q_ids", q_ids), return_inverse=True, return_counts=True
    )
    counts = np.unique(np.geomspace(1, len(roc.nearest), _GRID).astype(np.int64))
    edges = np.append(roc.nearest[counts - 1], roc.nearest[-1])
    impostors = _histogram(roc.nearest, person[roc.nearest_query], edges, len(people))
    genuine = _histogram(roc.genuine, person[roc.genuine_query], edges, len(people))
    total = np.bincount(person, roc.impostors_of_query, len(people))
    matches = np.bincount(person[roc.genuine_query], minlength=len(people))
    values: dict[str, list[float]] = {name: [] for name in roc.scores}
    for drawn in _portions(len(people), samples, seed):
        fmr = np.cumsum(drawn @ impostors, 1) / np.maximum(drawn @ total, 1)[:, None]
        tpr = np.cumsum(drawn @ genuine, 1) / np.maximum(drawn @ matches, 1)[:, None]
        for x, y in zip(fmr, tpr):
            for rate in FMRS:
                # The grid is read where the last threshold within the rate lies: rates between its
                # points are kept low.
                index = int(np.searchsorted(x, rate + 1e-12, "right"))
                if index < len(x):
                    values[f"TPR@{rate:.0e}".replace("e-0", "e-")].append(
                        _between(x, y, index, rate)
                    )
            crossed = int(np.argmax(x + y >= 1))
            if x[crossed] + y[crossed] >= 1:
                values["EER"].append(float(x[crossed] + 1 - y[crossed]) / 2)
    scores = roc.scores
    return {
        name: _interval(
            scores[name],
            np.array(v[1 : -len(people)]),
            np.array(v[-len(people) :]),
            queries,
            level,
            v[0],
        )
        for name, v in values.items()
        if len(v) == 1 + samples + len(people)
    }


@door
def bootstrap_searches(
    outcome: Searches,
    *,
    q_ids: Ids,
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Intervals of :attr:`Searches.scores`, the limit being chosen anew in each draw.

    Args:
        outcome: what :func:`partreid.metrics.searches` gave.
        q_ids: integers [Nq], who the queries are.
        samples: how many draws.
        seed: of the draws.
        level: of the interval, in (0, 1).

    Returns:
        An :class:`Interval` for each score, by name; none without queries of both kinds.

    Raises:
        ShapeError: q_ids are no integers.

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics import evaluate
        >>> draw = np.random.default_rng(0)
        >>> ids = np.repeat(np.arange(10), 2)
        >>> distances = draw.random((20, 20)) + 0.4 * (ids[:, None] != ids)
        >>> ranking = evaluate(distances, q_ids=ids, g_ids=ids)
        >>> from partreid.metrics import bootstrap_searches, searches
        >>> outcome = searches(distances, q_ids=ids, g_ids=ids, junk={0, 1, 2})
        >>> bootstrap_searches(outcome, q_ids=ids, samples=50)["AUROC"].value == outcome.auroc
        True
    """
    _require_draws(samples, seed, level)
    if not outcome.mated.any() or outcome.mated.all():
        return {}
    people, person, queries = np.unique(
        as_int64("q_ids", q_ids), return_inverse=True, return_counts=True
    )
    absent, present = np.flatnonzero(~outcome.mated), np.flatnonzero(outcome.mated)
    non_mated = absent[np.argsort(outcome.nearest[absent], kind="stable")]
    mated = present[np.argsort(outcome.right[present], kind="stable")]
    far, right_answer = outcome.nearest[non_mated], outcome.right[mated]
    below, upto = (np.searchsorted(far, outcome.nearest[mated], side) for side in ("left", "right"))
    means: dict[str, list[Doubles]] = {name: [] for name in outcome.scores}
    for drawn in _portions(len(people), samples, seed):
        weight = drawn[:, person].astype(np.float64)
        non_mates, mates, first = (
            np.pad(np.cumsum(w, 1), ((0, 0), (1, 0)))
            for w in (
                weight[:, non_mated],
                weight[:, mated],
                weight[:, mated] * outcome.first[mated],
            )
        )
        away, searched = np.maximum(non_mates[:, -1], 1e-9), np.maximum(mates[:, -1], 1e-9)
        for fpir in FPIRS:
            limit = np.append(far, np.inf)[(non_mates[:, 1:] <= fpir * away[:, None] + 1e-9).sum(1)]
            nearer = np.searchsorted(right_answer, limit, "left")[:, None]
            returned, named = (
                np.take_along_axis(summed, nearer, 1)[:, 0] / searched for summed in (mates, first)
            )
            means[f"FNIR@{fpir:.0%}"].append(1 - returned)
            means[f"DIR@{fpir:.0%}"].append(named)
        lost = ((non_mates[:, below] + non_mates[:, upto]) * weight[:, mated]).sum(1) / (
            2 * away * searched
        )
        means["AUROC"].append(1 - lost)
    scores = outcome.scores
    read = {name: np.concatenate(values) for name, values in means.items()}
    return {
        name: _interval(
            scores[name], v[1 : -len(people)], v[-len(people) :], queries, level, float(v[0])
        )
        for name, v in read.items()
    }


def _require_draws(samples: int, seed: int, level: float) -> None:
    integer("the number of draws", samples, 1)
    integer("the seed", seed, 0)
    number("the level", level, 0, 1, open_=True)


def _fitting(ids: Ids, values: Scores) -> Integers:
    """The ids as int64 [n]. ShapeError unless there is one for every value."""
    people = as_int64("ids", ids)
    for name, value in values.items():
        if value.shape != people.shape:
            raise ShapeError(
                f"{name} must have one value per id, {len(people)}, got {list(value.shape)}"
            )
    return people


@door
def same_queries(runs: Sequence[Ranking]) -> list[dict[str, Doubles]]:
    """What each run's scores average, query by query. DataError if they did not score the same
    queries.
    """
    require(len(runs) > 0, "what is compared", "one run or more", runs)
    first = runs[0]
    for other in runs[1:]:
        same = np.array_equal(first.identities, other.identities) and np.array_equal(
            first.scored, other.scored
        )
        if not same or first.ks != other.ks:
            raise DataError(
                "two rankings can be compared only on the same queries and ranks; the first scored "
                f"{first.scored.sum()} of {len(first.ranks)} queries at {first.ks}, the second "
                f"{other.scored.sum()} of {len(other.ranks)} at {other.ks}"
            )
    return [run.per_query() for run in runs]


def _draws(people: int, samples: int, seed: int) -> Integers:
    """How often each person is drawn, int64 [samples, people]."""
    return np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), samples)


def _portions(people: int, samples: int, seed: int, rows: int = 100) -> Iterator[Integers]:
    """How often each person counts, int64 [at most rows, people]: once, as drawn, and with each
    one left out.
    """
    every = np.vstack(
        [np.ones((1, people), int), _draws(people, samples, seed), 1 - np.eye(people, dtype=int)]
    )
    return (every[start : start + rows] for start in range(0, len(every), rows))


def _interval(
    value: float,
    drawn: Doubles,
    without: Doubles,
    queries: Integers,
    level: float,
    center: float | None = None,
) -> Interval:
    """BCa, widened for few people. drawn: the value in each draw; without: [people], with each one
    left out.

    queries: int64 [people]. center: what ``drawn`` scatters about, if not quite ``value``.
    """
    if len(queries) == 1:
        return Interval(value, value, value)
    people, center = people_of(queries), value if center is None else center
    below = (
        np.mean(drawn < center - 1e-12) + np.mean(drawn <= center + 1e-12)
    ) / 2  # ties count half
    bias = NormalDist().inv_cdf(min(max(float(below), 1e-3), 1 - 1e-3))
    change = without.mean() - without
    skew = float((change**3).sum() / max(6 * (change**2).sum() ** 1.5, 1e-300))
    wide = float(np.sqrt(people / (people - 1)) * quantile(people - 1, level))
    ends = [bias + (bias + z) / max(1 - skew * (bias + z), 0.1) for z in (-wide, wide)]
    low, high = np.quantile(drawn, [NormalDist().cdf(z) for z in ends])
    return Interval(value, min(float(low), value), max(float(high), value))


def _exchanged(change: Scores, identities: Integers, samples: int, seed: int) -> dict[str, float]:
    """Two-sided p of each mean change, from exchanging the two runs person by person."""
    _, person = np.unique(identities, return_inverse=True)
    signs = np.random.default_rng([seed, 1]).choice((-1.0, 1.0), (samples, person.max() + 1))
    p_values = {}
    for name, value in change.items():
        sums = np.bincount(person, value)
        chance = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-12
        p_values[name] = float(1 + chance.sum()) / (1 + samples)
    return p_values


def _histogram(
    values: NDArray[np.float32], person: Integers, edges: NDArray[np.float32], people: int
) -> Doubles:
    """How many values of each person lie at or below each edge and above the one before: float64
    [people, edges].
    """
    bins = np.searchsorted(edges, values, "left")
    inside = bins < len(edges)
    flat = np.bincount(person[inside] * len(edges) + bins[inside], minlength=people * len(edges))
    return flat.reshape(people, len(edges)).astype(np.float64)


def _between(x: Doubles, y: Doubles, index: int, rate: float) -> float:
    """y where x reaches the rate, straight between the point at ``index`` and the one before."""
    x0, y0 = (x[index - 1], y[index - 1]) if index else (0.0, 0.0)
    return float(y0 + (y[index] - y0) * (rate - x0) / max(x[index] - x0, 1e-300))
