"""Intervals that hold the truth as often as they say, on made-up people whose truth is known."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, t

from partreid.errors import ArgumentError, DataError, ShapeError
from partreid.metrics import (
    Interval,
    PairAccumulator,
    Ranking,
    Roc,
    Searches,
    bootstrap_difference,
    bootstrap_ranking,
    bootstrap_roc,
    bootstrap_searches,
    bootstrap_sums,
    bootstrap_values,
    difference_over_seeds,
    over_seeds,
)
from partreid.metrics.bootstrap import _exchanged
from partreid.metrics.student_t import by_people, by_seed, student_t, together


def fake(people: int, each: int, spread: float, seed: int = 0) -> Ranking:
    """Queries of one person share their luck: first rank 1 or 30."""
    draw = np.random.default_rng(seed)
    lucky = draw.random(people) < spread
    ranks = tuple(np.array([1 if lucky[i // each] else 30]) for i in range(people * each))
    return ranked(ranks, np.repeat(np.arange(people), each) + 1)


def ranked(ranks: Iterable[np.ndarray], identities: np.ndarray) -> Ranking:
    return Ranking("market1501", tuple(ranks), np.empty((len(identities), 0), np.int64), identities)


def small() -> Ranking:
    """Four queries of three people, two of which have no right answer."""
    nothing = np.empty(0, np.int64)
    return ranked([np.array([2]), np.array([1, 3]), nothing, nothing], np.array([1, 2, 9, 9]))


def share(intervals: Iterable[Interval], truth: float) -> float:
    return float(np.mean([i.low <= truth <= i.high for i in intervals]))


def test_bootstrap_draws_identities() -> None:
    """The interval is that of a mean over people, however many queries each of them has."""
    for each in (1, 10):
        result = fake(200, each, 0.5)
        interval = bootstrap_ranking(result)["R1"]
        mean = result.cmc[1]
        half = 1.96 * np.sqrt(mean * (1 - mean) / 200)
        assert interval.value == mean
        assert interval.low == pytest.approx(mean - half, abs=0.015)
        assert interval.high == pytest.approx(mean + half, abs=0.015)


def test_bootstrap_is_seeded() -> None:
    draw = np.random.default_rng(0)
    ranks = [np.sort(draw.choice(np.arange(1, 40), 3, replace=False)) for _ in range(90)]
    result = ranked(ranks, np.repeat(np.arange(30), 3))
    assert (
        bootstrap_ranking(result, seed=1)
        == bootstrap_ranking(result, seed=1)
        != bootstrap_ranking(result, seed=2)
    )
    assert bootstrap_ranking(result).keys() == result.scores.keys()
    wide, narrow = (
        bootstrap_ranking(result, level=0.99)["mAP"],
        bootstrap_ranking(result, level=0.5)["mAP"],
    )
    assert wide.low < narrow.low <= narrow.high < wide.high


def test_bootstrap_skips_what_the_scores_skip() -> None:
    result = small()
    assert result.skipped == 2
    assert {name: i.value for name, i in bootstrap_ranking(result).items()} == pytest.approx(
        result.scores
    )


def test_of_one_person_and_of_one_value_nothing_more_is_known() -> None:
    assert bootstrap_values({"x": np.array([0.2, 0.6])}, np.array([7, 7]))["x"] == Interval(
        0.4, 0.4, 0.4
    )
    assert bootstrap_values({"x": np.ones(30)}, np.arange(30))["x"] == Interval(1, 1, 1)
    two = bootstrap_values({"x": np.array([0.2, 0.6])}, np.array([1, 2]))["x"]
    assert (two.low, two.high) == pytest.approx((0.2, 0.6))  # as wide as two people can tell


def test_sums_and_means_of_the_same_people_have_the_same_range() -> None:
    """One person's values summed and divided by their number, in either way."""
    draw = np.random.default_rng(3)
    ids = draw.integers(0, 30, 200)
    values = draw.normal(size=200)
    want = bootstrap_values({"mean": values}, ids, samples=500)["mean"]
    counts = np.stack([values, np.ones(200)], 1)
    got = bootstrap_sums(counts, ids, lambda s: {"mean": s[:, 0] / s[:, 1]}, samples=500)["mean"]
    for mine, other in zip(
        (got.value, got.low, got.high), (want.value, want.low, want.high), strict=True
    ):
        assert mine == pytest.approx(other)


def test_a_quotient_of_sums_is_held_as_often_as_it_says() -> None:
    """Overlaps of 40 people, large ones with more luck: hits over areas, 3 in 5 over all."""
    intervals = []
    for trial in range(200):
        draw = np.random.default_rng(trial)
        area = draw.integers(1, 10, 40) * 10.0
        hits = area * np.clip(0.6 + 0.1 * draw.normal(size=40) + (area - 50) / 1000, 0, 1)
        counts = np.stack([hits, area], 1)
        quotient = bootstrap_sums(counts, np.arange(40), lambda s: {"iou": s[:, 0] / s[:, 1]}, 500)
        intervals.append(quotient["iou"])
    sizes = np.arange(1, 10) * 10.0
    truth = float((sizes * (0.6 + (sizes - 50) / 1000)).sum() / sizes.sum())
    assert 0.91 <= share(intervals, truth) <= 0.99


def test_of_one_person_s_sums_nothing_more_is_known() -> None:
    """Nobody is left without him: no share of nothing is asked for."""
    counts = np.array([[1.0, 2.0], [2.0, 2.0]])
    with np.errstate(all="raise"):
        got = bootstrap_sums(counts, [7, 7], lambda s: {"share": s[:, 0] / s[:, 1]}, samples=10)
    assert got["share"] == Interval(0.75, 0.75, 0.75)


def test_a_gain_reads_in_points() -> None:
    assert Interval(0.0131, -0.0069, 0.0322).points() == "+1.3 [-0.7, +3.2]"


def test_sums_that_do_not_fit_are_refused() -> None:
    def first(sums: np.ndarray) -> dict[str, np.ndarray]:
        return {"first": sums[:, 0]}

    with pytest.raises(
        ShapeError, match=r"counts must be \[n, k\], one row and one column or more, got \[3\]"
    ):
        bootstrap_sums(np.ones(3), [1, 2, 3], first)
    with pytest.raises(ShapeError, match=r"column or more, got \[0, 2\]"):
        bootstrap_sums(np.ones((0, 2)), [], first)
    with pytest.raises(ShapeError, match=r"column or more, got \[2, 0\]"):
        bootstrap_sums(np.ones((2, 0)), [1, 2], first)
    with pytest.raises(ShapeError, match="one value per id, 2, got \\[3\\]"):
        bootstrap_sums(np.ones((3, 1)), [1, 2], first)
    with pytest.raises(ArgumentError, match="the number of draws"):
        bootstrap_sums(np.ones((3, 1)), [1, 2, 3], first, samples=0)


def test_few_people_and_people_of_unequal_weight_widen() -> None:
    """Against plain percentiles of the same draws: wider for few, and the same for many."""
    draw = np.random.default_rng(0)
    for people, least, most in ((8, 1.15, 1.6), (2000, 0.97, 1.03)):
        values = draw.random(people)
        i = bootstrap_values({"x": values}, np.arange(people))["x"]
        drawn = (
            np.random.default_rng(0).multinomial(people, np.full(people, 1 / people), 2000)
            @ values
            / people
        )
        low, high = np.percentile(drawn, (2.5, 97.5))
        assert least < (i.high - i.low) / (high - low) < most


def test_bca_of_the_textbook() -> None:
    """Efron's formula, with Student's quantile, on skewed values of 30 people with uneven
    numbers of queries.
    """
    draw = np.random.default_rng(0)
    queries = 1 + draw.geometric(0.3, 30)
    identities = np.repeat(np.arange(30), queries)
    values = draw.exponential(1, 30)[identities] + draw.exponential(0.5, len(identities))
    sums = np.array([values[identities == person].sum() for person in range(30)])
    drawn = np.random.default_rng(3).multinomial(30, np.full(30, 1 / 30), 900)
    means = (drawn * sums).sum(1) / (drawn * queries).sum(1)
    z0 = norm.ppf(np.mean(means < values.mean()))
    left_out = np.array([values[identities != person].mean() for person in range(30)])
    off = left_out.mean() - left_out
    a = (off**3).sum() / (6 * (off**2).sum() ** 1.5)
    n = queries.sum() ** 2 / (queries**2).sum()
    wide = t.ppf(0.95, n - 1) * np.sqrt(n / (n - 1))
    want = [np.quantile(means, norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z)))) for z in (-wide, wide)]
    interval = bootstrap_values({"x": values}, identities, 900, 3, level=0.9)["x"]
    assert (interval.low, interval.high) == pytest.approx(want, abs=1e-6)
    # skewed as the values are
    assert interval.high - interval.value > 1.05 * (interval.value - interval.low)


def queries_of(people: int, even: bool, draw: np.random.Generator) -> np.ndarray:
    """Whom each query is of: four queries each, or one to many."""
    return np.repeat(np.arange(people), 4 if even else 1 + draw.geometric(0.3, people))


def worlds(
    kind: str, identities: np.ndarray, n: int, draw: np.random.Generator
) -> tuple[np.ndarray, float]:
    """n draws of people and queries, float64 [n, queries], and the mean over all people there could
    be.

    Some people are easy and some are hard. AP-like values in (0, 1), or hits and misses.
    """
    a, b = {"ap": (2, 1.2), "hit": (2, 0.8), "rare": (0.5, 2), "sure": (4, 0.3)}[kind]
    ease = draw.beta(a, b, (n, identities.max() + 1))[:, identities]
    if kind == "ap":
        return draw.beta(np.maximum(4 * ease, 1e-3), np.maximum(4 * (1 - ease), 1e-3)), a / (a + b)
    return (draw.random(ease.shape) < ease).astype(np.float64), a / (a + b)


@pytest.mark.parametrize("kind", ["ap", "hit", "rare", "sure"])
@pytest.mark.parametrize("people", [50, 200])
def test_intervals_hold_the_truth_as_often_as_they_say(kind: str, people: int) -> None:
    """2,000 samples of people each, half of them with even numbers of queries.

    Plain percentiles of the same draws hold R1 of 50 people in 91 (``sure``) to 94 of 100 cases.
    """
    draw = np.random.default_rng(people)
    held = []
    for world in range(20):
        identities = queries_of(people, world % 2 == 0, draw)
        values, truth = worlds(kind, identities, 100, draw)
        intervals = bootstrap_values(
            {str(i): v for i, v in enumerate(values)}, identities, samples=500, seed=world
        )
        held.append(share(intervals.values(), truth))
    assert 0.93 <= np.mean(held) <= 0.97


def test_drawing_queries_would_not_hold_it() -> None:
    """Each query a person of its own: what the intervals would be worth if people were not
    drawn.
    """
    draw = np.random.default_rng(0)
    identities = queries_of(50, False, draw)
    values, truth = worlds("ap", identities, 300, draw)
    intervals = bootstrap_values(
        {str(i): v for i, v in enumerate(values)}, np.arange(len(identities)), samples=500
    )
    assert share(intervals.values(), truth) < 0.85


def changes(identities: np.ndarray, n: int, gain: float, draw: np.random.Generator) -> np.ndarray:
    """Differences of two runs on n samples of people, float64 [n, queries]: for some people a
    gain, for some a loss.
    """
    taste = draw.normal(gain, 0.1, (n, identities.max() + 1))[:, identities]
    return taste + draw.laplace(0, 0.1, taste.shape)


@pytest.mark.parametrize("even", [True, False])
def test_paired_differences(even: bool) -> None:
    """Intervals hold the true difference; p is below 0.05 as often as chance says, and mostly if
    there is one.
    """
    draw = np.random.default_rng(0)
    identities = queries_of(60, even, draw)
    for gain, least, most in ((0.0, 0.03, 0.07), (0.06, 0.9, 1.0)):
        some = {str(i): v for i, v in enumerate(changes(identities, 1000, gain, draw))}
        assert 0.93 <= share(bootstrap_values(some, identities, samples=800).values(), gain) <= 0.97
        p = np.array(list(_exchanged(some, identities, 800, 0).values()))
        assert least <= (p <= 0.05).mean() <= most
        if gain == 0:  # uniform
            np.testing.assert_allclose(
                np.quantile(p, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.05
            )


def test_paired_difference() -> None:
    a = fake(200, 4, 0.5)
    none = bootstrap_difference(a, a)["mAP"]
    assert (none.value, none.low, none.high, none.p) == (0, 0, 0, 1)
    better = ranked([np.minimum(r, 29) for r in a.ranks], a.identities)
    gain = bootstrap_difference(better, a)["mAP"]
    alone = bootstrap_ranking(a)["mAP"]
    # seen only when paired
    assert 0 < gain.low < gain.value < gain.high < 1e-2 < alone.high - alone.low
    assert gain.p < 1e-3
    with pytest.raises(DataError, match="same queries"):
        bootstrap_difference(a, fake(100, 4, 0.5))


def trained(
    seeds: int, people: np.ndarray, spread: float, level: float, draw: np.random.Generator
) -> list[Ranking]:
    """Runs of one recipe: each has its own luck of the seed, each person is hard or easy for
    all; R1 is asked.
    """
    identities = np.repeat(np.arange(len(people)), 3)
    runs = []
    for _ in range(seeds):
        hit = draw.random(len(identities)) < level + draw.normal(0, spread) + people[identities]
        runs.append(ranked(list(np.where(hit, 1, 2)[:, None]), identities))
    return runs


def test_ranges_over_seeds_are_student_s() -> None:
    """How often these hold the truth is measured in test_student.py."""
    draw = np.random.default_rng(0)
    people = draw.normal(0, 0.15, 60)
    a, b = (trained(3, people, 0.05, level, draw) for level in (0.5, 0.7))
    ids = a[0].identities
    for name, interval in over_seeds(a).items():
        values = [run.per_query()[name] for run in a]
        mean = np.mean(values, 0)
        half, _ = student_t(0, [by_people(mean, ids), by_seed(values, ids)], 0.95)
        assert (interval.value, interval.high - interval.value) == pytest.approx(
            (mean.mean(), half)
        )
        others = [run.per_query()[name] for run in b]
        gain = np.mean(others, 0) - mean
        seeds = together([by_seed(others, ids), by_seed(values, ids)])
        half, p = student_t(gain.mean(), [by_people(gain, ids), seeds], 0.95)
        difference = difference_over_seeds(b, a)[name]
        want = (gain.mean(), gain.mean() - half, gain.mean() + half, p)
        assert (difference.value, difference.low, difference.high, difference.p) == pytest.approx(
            want
        )
    one = difference_over_seeds(b, a[:1])["R1"]  # of the one nothing is known but its people
    assert one.low < one.value < one.high


def test_the_same_runs_scored_in_two_ways_are_paired() -> None:
    """What a seed does to both drops out: the range of the differences, not that of two sets of
    runs.
    """
    draw = np.random.default_rng(0)
    a = trained(3, draw.normal(0, 0.15, 60), 0.3, 0.5, draw)
    b = [
        replace(run, ranks=tuple(ranks + (i % 7 == 0) for i, ranks in enumerate(run.ranks)))
        for run in a
    ]
    ids = a[0].identities
    paired, apart = (
        difference_over_seeds(a, b, same_runs=True)["mAP"],
        difference_over_seeds(a, b)["mAP"],
    )
    changes = [
        one.per_query()["mAP"] - two.per_query()["mAP"] for one, two in zip(a, b, strict=True)
    ]
    mean = np.mean(changes, 0)
    half, p = student_t(mean.mean(), [by_people(mean, ids), by_seed(changes, ids)], 0.95)
    assert (paired.value, paired.high, paired.p) == pytest.approx(
        (mean.mean(), mean.mean() + half, p)
    )
    assert paired.value == pytest.approx(apart.value)
    assert paired.high - paired.low < 0.5 * (apart.high - apart.low)
    with pytest.raises(DataError, match="got 3 and 2"):
        difference_over_seeds(a, b[:2], same_runs=True)


def test_one_run_is_one_run_over_seeds() -> None:
    a, b = fake(30, 3, 0.5), fake(30, 3, 0.4)
    assert over_seeds([a]) == bootstrap_ranking(a) and difference_over_seeds(
        [a], [b]
    ) == bootstrap_difference(a, b)
    with pytest.raises(DataError, match="same queries"):
        over_seeds([a, fake(20, 3, 0.5)])


def pairs_of(people: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances [queries, 3 right + 40 wrong], which are right, and whose the queries are."""
    identities = np.repeat(np.arange(people), 3)
    right = (
        1
        + draw.normal(0, 0.6, people)[identities, None]
        + draw.normal(0, 0.8, (len(identities), 3))
    )
    wrong = (
        4 + draw.normal(0, 0.3, people)[identities, None] + draw.normal(0, 1, (len(identities), 40))
    )
    far = np.concatenate([right, wrong], 1).astype(np.float32)
    return far, np.broadcast_to(np.arange(43) < 3, far.shape), identities


def test_intervals_of_verification() -> None:
    """Thresholds are quantiles of 6,000 pairs here, so bounds are wider; TPR@1e-4 would hang on
    a single pair.
    """
    draw = np.random.default_rng(0)
    far, right, _ = pairs_of(10_000, draw)
    truth = Roc.of_masks(far, right, np.ones_like(right)).scores
    intervals = []
    for seed in range(60):
        far, right, identities = pairs_of(50, draw)
        intervals.append(
            bootstrap_roc(
                Roc.of_masks(far, right, np.ones_like(right)),
                q_ids=identities,
                samples=250,
                seed=seed,
            )
        )
    for name in ("TPR@1e-3", "TPR@1e-2", "EER"):
        assert 0.87 <= share([i[name] for i in intervals], truth[name]) <= 1, name
        assert all(i[name].low <= i[name].value <= i[name].high for i in intervals)
    assert 0.05 < np.mean([i["TPR@1e-2"].high - i["TPR@1e-2"].low for i in intervals]) < 0.3


def searched(
    people: int, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distances [queries, right + wrong], relevant, valid, identities; half of the people are
    not in the gallery.
    """
    identities = np.repeat(np.arange(people), 3)
    there = (draw.permutation(people) < people // 2)[identities]
    right = 1 + draw.normal(0, 0.6, people)[identities] + draw.normal(0, 0.8, len(identities))
    wrong = 3 + draw.normal(0, 0.3, people)[identities] + draw.normal(0, 0.7, len(identities))
    return (
        np.stack([right, wrong], 1).astype(np.float32),
        np.stack([there, ~there & there], 1),
        np.stack([there, np.ones_like(there)], 1),
        identities,
    )


def test_intervals_of_searches() -> None:
    """1 % of 150 non-mated queries is one query, hence the wider bounds for it."""
    draw = np.random.default_rng(0)
    truth = Searches.of_masks(*searched(50_000, draw)[:3]).scores
    intervals = []
    for seed in range(100):
        far, relevant, valid, identities = searched(100, draw)
        intervals.append(
            bootstrap_searches(
                Searches.of_masks(far, relevant, valid), q_ids=identities, samples=250, seed=seed
            )
        )
    for name, least in (
        ("FNIR@10%", 0.9),
        ("DIR@10%", 0.9),
        ("AUROC", 0.9),
        ("FNIR@1%", 0.85),
        ("DIR@1%", 0.85),
    ):
        assert least <= share([i[name] for i in intervals], truth[name]) <= 0.99, name


def test_intervals_of_thresholds_that_nobody_kept_are_left_out() -> None:
    """Of a stream that kept few pairs one by one, and of searches in which everybody was in the
    gallery.
    """
    far, right, identities = pairs_of(30, np.random.default_rng(0))
    pairs = PairAccumulator(least=20, share=0)
    pairs.update(pairs.summarize(0, far, np.sort(far, 1), [np.flatnonzero(r) for r in right]))
    kept = pairs.result()
    assert len(kept.nearest) <= 20 and kept.impostors == 3600
    assert set(bootstrap_roc(kept, q_ids=identities, samples=50)) == {"TPR@1e-4", "TPR@1e-3"}
    assert (
        bootstrap_searches(Searches.of_masks(far, right, np.ones_like(right)), q_ids=identities)
        == {}
    )
    assert bootstrap_roc(Roc.of_masks(far, right, right), q_ids=identities) == {}


def test_a_bootstrap_of_thresholds_reads_what_the_scores_say() -> None:
    """With everybody counted once the draws' way of reading a curve gives the scores themselves."""
    draw = np.random.default_rng(1)
    far, relevant, valid, identities = searched(100, draw)
    outcome = Searches.of_masks(far, relevant, valid)
    for name, interval in bootstrap_searches(outcome, q_ids=identities, samples=100).items():
        assert (
            interval.value == outcome.scores[name] and interval.low < interval.value < interval.high
        )
    far, right, identities = pairs_of(100, draw)
    roc = Roc.of_masks(far, right, np.ones_like(right))
    for name, interval in bootstrap_roc(roc, q_ids=identities, samples=100).items():
        assert interval.value == roc.scores[name] and interval.low < interval.value < interval.high
