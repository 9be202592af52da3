"""Thresholds for strangers: exact, with ranges that hold for other people as often as they say."""

from math import erfc, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from partreid.metrics.pairs import (
    KnownPairs,
    log_ratios,
    percentiles,
    shift,
    threshold_at,
    usual_shift,
)


@given(
    st.lists(
        st.one_of(st.integers(-3, 3).map(float), st.just(float("nan"))), min_size=1, max_size=40
    ),
    st.sampled_from([0.01, 0.1, 0.25, 0.5, 0.9]),
)
def test_a_threshold_lets_as_many_strangers_through_as_it_may(
    odds: list[float], rate: float
) -> None:
    found = np.array(odds)
    if np.isnan(found).all():
        return
    threshold = threshold_at(found, rate)
    passed = (found >= threshold).sum()
    assert passed <= rate * len(found) + 1e-9
    lower = found[found < threshold]  # to let the next ones through would be too many
    assert not len(lower) or (found >= lower.max()).sum() > rate * len(found) + 1e-9


def test_rounding_does_not_move_a_pair_across_the_threshold() -> None:
    found = np.array([3.0, 2.0, 1.0, 0.0])
    assert threshold_at(found, 0.5) == 1.5
    assert threshold_at(found, 0.1) > 3.0


def strangers(people: int, images: int, effect: float, draw: np.random.Generator) -> np.ndarray:
    """Log odds [people, people, images] of pairs of strangers; some people resemble everybody."""
    typical = draw.normal(0, effect, people)
    return (typical[:, None] + typical)[:, :, None] + draw.normal(0, 1, (people, people, images))


def counts(found: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    away = 1.0 - np.eye(len(found))
    return (found >= threshold).sum(2) * away, found.shape[2] * away


def test_draws_are_those_of_people_on_both_sides() -> None:
    """Before they are brought to another width: one person at a time, in a loop."""
    draw = np.random.default_rng(0)
    accepted, pairs = counts(strangers(12, 5, 0.8, draw), 2.0)
    found = log_ratios(accepted, pairs, 50, seed=4)
    weight = np.random.default_rng([4, 11]).multinomial(12, np.full(12, 1 / 12), 50)
    slow = []
    for w in weight:
        hits = sum(w[i] * w[j] * accepted[i, j] for i in range(12) for j in range(12))
        many = sum(w[i] * w[j] * pairs[i, j] for i in range(12) for j in range(12))
        slow.append(np.log(max(hits / many / (accepted.sum() / pairs.sum()), 0.5 / accepted.sum())))
    assert np.corrcoef(found, slow)[0, 1] == pytest.approx(1)
    assert np.ptp(found / slow) < 1e-9


def test_without_person_effects_draws_vary_as_single_pairs_do() -> None:
    """Nothing but chance in every pair: the relative variance is 1 / accepted, not three times
    that.
    """
    draw = np.random.default_rng(1)
    widths = []
    for _ in range(20):
        accepted, pairs = counts(strangers(60, 3, 0.0, draw), 2.3)
        widths.append(log_ratios(accepted, pairs, 400).std() * sqrt(accepted.sum()))
    assert 0.9 < np.mean(widths) < 1.35  # Student's t makes it a little wider


@pytest.mark.parametrize(
    ("people", "images", "effect", "rate"),
    [(30, 4, 0.0, 0.01), (30, 4, 0.5, 0.01), (60, 3, 0.3, 0.002), (50, 6, 0.8, 0.005)],
)
def test_ranges_hold_for_other_people(people: int, images: int, effect: float, rate: float) -> None:
    """A threshold put on some people, the rate realised on as many others and the true rate: 95 %
    ranges hold both.

    240 worlds each; the share inside must lie in 90 to 98.5 %, where chance alone gives 92 to 98.
    """
    draw = np.random.default_rng(5)
    others_in = true_in = 0
    for world in range(240):
        found = strangers(people, images, effect, draw)
        threshold = threshold_at(found[~np.eye(people, dtype=bool)].ravel(), rate)
        accepted, pairs = counts(found, threshold)
        ratios = log_ratios(accepted, pairs, 400, seed=world)
        again, _ = counts(strangers(people, images, effect, draw), threshold)
        realised = again.sum() / pairs.sum()
        low, high = rate * np.exp(np.percentile(ratios - np.roll(ratios, 1), (2.5, 97.5)))
        others_in += bool(low <= realised <= high)
        truth = 0.5 * erfc(threshold / sqrt(2 * (1 + 2 * effect**2)))
        low, high = accepted.sum() / pairs.sum() * np.exp(np.percentile(-ratios, (2.5, 97.5)))
        true_in += bool(low <= truth <= high)
    assert 0.90 <= others_in / 240 <= 0.985
    assert 0.90 <= true_in / 240 <= 0.985


def test_nobody_accepted_has_no_draws() -> None:
    assert log_ratios(np.zeros((4, 4)), np.ones((4, 4)), 7).tolist() == [0] * 7


def test_shift_is_that_of_kolmogorov_and_smirnov() -> None:
    draw = np.random.default_rng(0)
    reference, other = draw.normal(size=20_000), draw.normal(0.4, 1.3, 3_000)
    expected = ks_2samp(reference, other).statistic
    # percentiles: steps of 1 %
    assert shift(percentiles(reference), other) == pytest.approx(expected, abs=0.015)
    assert shift(percentiles(reference), reference) <= 0.0101
    assert shift(percentiles(reference), np.full(5, 9.0)) == pytest.approx(1, abs=0.0101)


def test_pairs_that_share_nothing_count_in_a_shift() -> None:
    some = np.linspace(0, 1, 1000)
    half = np.where(np.arange(1000) % 2, np.inf, some)
    assert shift(percentiles(half), half) <= 0.0101
    assert shift(percentiles(half), some) == pytest.approx(0.5, abs=0.02)
    assert shift(percentiles(some), half) == pytest.approx(0.5, abs=0.02)


def pairs_of(found: np.ndarray) -> KnownPairs:
    people, _, images = found.shape
    query, gallery, _ = (x.ravel() for x in np.indices(found.shape))
    return KnownPairs(
        (10 - found).ravel().astype(np.float32),
        np.ones(found.size, np.int64),
        query == gallery,
        query,
        gallery,
        np.full(people, images),
    )


def test_usual_shift_grows_with_what_people_have_of_their_own() -> None:
    draw = np.random.default_rng(2)
    plain, own = (usual_shift(pairs_of(strangers(40, 4, effect, draw))) for effect in (0.0, 1.0))
    assert plain < 0.1 < own
    two = strangers(80, 4, 1.0, draw)  # other people of the same world: no farther apart than usual
    one, other = (pairs_of(two[at, at]) for at in (slice(40), slice(40, None)))
    far = [p.distance[~p.same] for p in (one, other)]
    assert shift(percentiles(far[0]), far[1]) < 2 * usual_shift(one)
