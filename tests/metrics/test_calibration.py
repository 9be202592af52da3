"""Whole calibrations of simulated people."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partreid.errors import ArgumentError, DataError
from partreid.metrics.calibration import (
    Calibration,
    Source,
    calibrate,
    ece,
    reliability,
    require_enough,
    risk_coverage,
)
from partreid.metrics.pairs import Curve, KnownPairs, shift

SOURCE = Source(
    "m", "w", "cosine", ("a", "b", "c"), "r", "made", ("query",), "i", "g", "0", "2026-01-01"
)


def world(
    people: int = 40, images: int = 3, effect: float = 0.3, apart: float = 0.05, seed: int = 0
) -> KnownPairs:
    """One person: distance about 7, two people 10; a shared part less makes all nearer; some
    pairs share nothing.
    """
    draw = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), images)
    query, gallery = (x.ravel() for x in np.meshgrid(who, who, indexing="ij"))
    shared = np.where(draw.random(len(query)) < apart, 0, draw.integers(1, 4, len(query)))
    typical = draw.normal(0, effect, people)
    same = query == gallery
    far = draw.normal(10 - 3 * same, 1) + typical[query] + typical[gallery] + 0.5 * shared
    far = np.where(shared > 0, far, np.inf).astype(np.float32)
    return KnownPairs(far, shared, same, query, gallery, np.full(people, 2 * images))


@pytest.fixture(scope="module")
def pairs() -> KnownPairs:
    return world()


@pytest.fixture(scope="module")
def made(pairs: KnownPairs) -> Calibration:
    return calibrate(pairs, SOURCE, rate=0.01)


# Calibrations


def test_the_threshold_keeps_to_the_rate_on_the_people_fitted(
    pairs: KnownPairs, made: Calibration
) -> None:
    """Fitted and checked people are apart, and the stored numbers are those of a count by hand."""
    assert made.fitted.people == made.checked.slice.people == 20 and made.people == 40
    assert made.fitted.images == made.checked.slice.images == 120
    assert made.fitted.impostors == 20 * 19 * 9 and made.fitted.genuine == 20 * 9
    assert 0 < made.fitted.apart < 0.1 * 20 * 20 * 9
    assert (
        0.009 < made.true_rate.value <= 0.01
        and made.true_rate.low < made.true_rate.value < made.true_rate.high
    )
    half = np.zeros(40, bool)
    half[np.random.default_rng([0, 7]).permutation(40) < 20] = True
    for people, fmr in ((half, made.true_rate.value), (~half, made.checked.fmr.value)):
        some = pairs.among(people)
        called = made.same(some.distance, some.shared)
        assert called[~some.same].mean() == pytest.approx(fmr)
    assert called[some.same].mean() == pytest.approx(made.checked.tpr.value)
    assert made.checked.tpr.low < made.checked.tpr.value < made.checked.tpr.high
    assert made.checked.ece < 0.05 and sum(made.checked.reliability.weight) == pytest.approx(1)
    assert (
        sum(made.checked.reliability.pairs)
        == made.checked.slice.genuine + made.checked.slice.impostors - made.checked.slice.apart
    )


def test_thresholds_differ_by_the_number_of_shared_parts(made: Calibration) -> None:
    assert made.kind == "line_by_parts" and len(made.distances) == 3
    first, second, third = made.distances
    assert first is not None and second is not None and third is not None and first < second < third
    for parts, far in enumerate((first, second, third), 1):
        assert made.same([far - 1e-6, far + 1e-6], [parts, parts]).tolist() == [True, False]


def test_what_shares_no_part_is_unknown_and_never_the_same(made: Calibration) -> None:
    assert np.isnan(made.probability(np.inf, 0)) and not made.same(np.inf, 0)
    # shrunk distances are finite there too
    assert np.isnan(made.probability(0.1, 0)) and not made.same(0.1, 0)


def test_nearer_is_more_probable_and_a_prior_moves_the_odds(made: Calibration) -> None:
    far = np.linspace(4, 12, 50)
    p = made.probability(far, 2)
    assert (np.diff(p) < 0).all() and p[0] > 0.9 and p[-1] < 0.1
    rare = made.probability(far, 2, prior=0.01)
    np.testing.assert_allclose(rare / (1 - rare), p / (1 - p) / 99, rtol=1e-9)
    for prior in (0.0, 1.0, -1.0):
        with pytest.raises(ArgumentError, match="a prior must be a probability between 0 and 1"):
            made.probability(far, 2, prior=prior)


def test_realised_rates_of_other_people_lie_in_the_range_to_be_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """60 worlds: the 95 % range holds the rate on the other people in 88 % or more. Of the
    calibration error most is the chance of 60 genuine pairs.
    """
    # slow, and not asked for
    monkeypatch.setattr("partreid.metrics.calibration.usual_shift", lambda pairs, seed: 0.0)
    inside, errors = 0, []
    for seed in range(60):
        calibration = calibrate(world(people=30, images=2, seed=seed), SOURCE, rate=0.02, seed=seed)
        inside += bool(
            calibration.expected.low <= calibration.checked.fmr.value <= calibration.expected.high
        )
        errors.append(calibration.checked.ece)
    assert 0.88 <= inside / 60 <= 0.999
    assert np.mean(errors) < 0.08 and max(errors) < 0.16


def test_another_world_shows_in_check_and_in_shift(made: Calibration) -> None:
    same, nearer = world(seed=8), world(seed=9)
    nearer = replace(nearer, distance=nearer.distance - 2)
    fine, bad = made.check(same), made.check(nearer)
    assert made.expected.low <= fine.fmr.value <= made.expected.high and fine.ece < 0.05
    assert bad.fmr.value > 5 * made.rate and bad.fmr.low > made.expected.high and bad.ece > 0.1
    far = [p.distance[~p.same] for p in (same, nearer)]
    assert (
        shift(made.impostors, far[0])
        < max(0.1, 2 * made.usual_shift)
        < shift(made.impostors, far[1])
    )


def test_a_check_that_finds_no_false_match_says_how_many_there_may_be(made: Calibration) -> None:
    check = made.check(replace(world(seed=4), distance=world(seed=4).distance + 50))
    assert check.fmr.value == check.fmr.low == 0 and check.fmr.high == pytest.approx(
        3 / (40 * 39 * 9)
    )
    assert check.tpr.value == 0


def test_the_same_seed_gives_the_same_calibration(pairs: KnownPairs, made: Calibration) -> None:
    assert calibrate(pairs, SOURCE, rate=0.01) == made
    assert calibrate(pairs, SOURCE, rate=0.01, seed=1) != made


@pytest.mark.parametrize(
    ("people", "rate", "words"),
    [
        (
            40,
            1e-4,
            "rate of 0.0001 needs 100000 impostor pairs to be fitted on, there are 3420: "
            ".*--rate 0.003",
        ),
        (
            18,
            0.1,
            "too little to calibrate with: 9 people with 81 genuine pairs to be fitted on, "
            "and it takes 10",
        ),
        (40, 0.0, "a false-match rate lies between 0 and 1, got 0"),
    ],
)
def test_too_little_for_a_rate_is_said_with_what_it_takes(
    people: int, rate: float, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        calibrate(world(people=people), SOURCE, rate=rate)
    if "--rate" in words:
        calibrate(world(people=people), SOURCE, rate=0.003)  # what it can carry it does carry


def test_pairs_of_which_one_kind_never_shares_a_part() -> None:
    some = world()
    blind = replace(some, shared=np.where(some.same, 0, some.shared))
    with pytest.raises(DataError, match="pairs of one kind never share a part"):
        require_enough(blind, blind, 0.1)


def test_a_threshold_that_no_distance_reaches() -> None:
    made_up = Curve((0.0, 1.0), (1.0, -1.0))
    assert made_up.reach(2.0) is None


# Does a probability come true?

PAIRS = st.lists(
    st.tuples(st.floats(0, 1), st.booleans(), st.floats(0.1, 3)), min_size=1, max_size=40
)


@given(PAIRS, st.integers(1, 12))
def test_reliability_is_a_mean_in_every_bin(
    entries: list[tuple[float, bool, float]], bins: int
) -> None:
    p, same, weight = (np.array(x) for x in zip(*entries))
    curve = reliability(p, same, weight, bins)
    slow = []
    for i in range(bins):
        inside = [k for k in range(len(p)) if i == min(int(p[k] * bins), bins - 1)]
        if inside:
            w = weight[inside]
            slow.append(
                (
                    i / bins,
                    (i + 1) / bins,
                    w.sum() / weight.sum(),
                    (w * p[inside]).sum() / w.sum(),
                    (w * same[inside]).sum() / w.sum(),
                    len(inside),
                )
            )
    got = list(zip(curve.low, curve.high, curve.weight, curve.probability, curve.same, curve.pairs))
    np.testing.assert_allclose(np.array(got), np.array(slow), atol=1e-12)
    assert ece(p, same, weight, bins) == pytest.approx(
        sum(s[2] * abs(s[3] - s[4]) for s in slow), abs=1e-12
    )


def test_unknown_probabilities_are_left_out_and_true_ones_have_no_error() -> None:
    draw = np.random.default_rng(0)
    p = draw.random(100_000)
    same = draw.random(100_000) < p
    assert ece(p, same) < 0.01
    # in truth 0.75 and 0.25
    assert ece(np.where(p > 0.5, 0.9, 0.1), same) == pytest.approx(0.15, abs=0.01)
    assert reliability([0.3, np.nan], [True, False]).pairs == (1,)


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=5))
def test_risk_and_coverage_are_means_over_all_orders_of_ties(
    entries: list[tuple[int, bool]],
) -> None:
    sure, right = (np.array(x) for x in zip(*entries))
    curve = risk_coverage(sure, right)
    orders = [
        list(order)
        for order in permutations(range(len(sure)))
        if (np.diff(sure[list(order)]) <= 0).all()
    ]
    expected = np.mean(
        [np.cumsum(~right[order]) / np.arange(1, len(sure) + 1) for order in orders], 0
    )
    np.testing.assert_allclose(curve.risk, expected, atol=1e-12)
    np.testing.assert_allclose(curve.coverage, np.arange(1, len(sure) + 1) / len(sure))
    assert curve.aurc == pytest.approx(curve.risk.mean()) and curve.risk[-1] == pytest.approx(
        1 - right.mean()
    )


def test_risk_and_coverage_by_hand() -> None:
    curve = risk_coverage([0.9, np.nan, 0.5, 0.7], [True, False, False, True])
    assert curve.risk.tolist() == [0, 0, 1 / 3, 1 / 2] and curve.confidence.tolist() == [
        0.9,
        0.7,
        0.5,
        -np.inf,
    ]
    assert (
        curve.coverage_at(0) == 0.5 and curve.coverage_at(0.4) == 0.75 and curve.coverage_at(1) == 1
    )
    assert np.isnan(risk_coverage([], []).aurc) and risk_coverage([], []).coverage_at(0.5) == 0
