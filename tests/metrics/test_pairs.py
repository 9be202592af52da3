"""Curves of match probability: against slow definitions, and the choice between them."""

from math import erfc, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import ks_2samp

from partreid.metrics.pairs import (
    CANDIDATES,
    FOLDS,
    Curve,
    KnownPairs,
    Tally,
    choose,
    line,
    line_by_parts,
    log_ratios,
    logits,
    percentiles,
    pool,
    shift,
    steps,
    threshold_at,
    usual_shift,
)
from partreid.runtime import doubt


def made(
    people: int = 24,
    images: int = 3,
    gap: float = 2.0,
    parts: int = 3,
    effect: float = 0.0,
    seed: int = 0,
    by_parts: bool = False,
) -> KnownPairs:
    """Normal distances of spread 1 around 10 for impostor pairs, ``gap`` nearer for one person.

    by_parts: with p shared parts all distances are p farther, which a rule that does not know of p
    cannot tell.
    """
    draw = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), images)
    query, gallery = (x.ravel() for x in np.meshgrid(who, who, indexing="ij"))
    distinct = ~np.eye(len(who), dtype=bool).ravel()
    query, gallery = query[distinct], gallery[distinct]
    same, shared = query == gallery, draw.integers(1, parts + 1, len(query))
    typical = draw.normal(0, effect, people)
    far = (
        draw.normal(10 - gap * same, 1)
        + typical[query]
        + typical[gallery]
        + (2 * shared if by_parts else 0)
    )
    return KnownPairs(
        far.astype(np.float32), shared, same, query, gallery, np.full(people, 2 * images)
    )


def tally(pairs: KnownPairs) -> Tally:
    return Tally.of(pairs, float(pairs.distance.max()) * 1.05, int(pairs.shared.max()))


def test_a_curve_is_straight_between_its_knots_and_flat_outside() -> None:
    curve = Curve((0.0, 1.0, 3.0), (4.0, 2.0, -2.0))
    assert curve([-1, 0, 0.5, 2, 3, 9]).tolist() == [4, 4, 3, 0, -2, -2]
    assert [curve.reach(x) for x in (5.0, 3.0, 0.0, -2.0)] == [None, 0.5, 2.0, 3.0]
    assert curve(curve.reach(1.3)) == pytest.approx(1.3)


def test_log_odds_follow_the_number_of_shared_parts_and_are_unknown_without_any() -> None:
    curves = (Curve((0.0, 1.0), (1.0, 0.0)), Curve((0.0, 1.0), (3.0, 0.0)))
    odds = logits(curves, [0.5, 0.5, 0.5, 0.5, np.inf, np.inf], [0, 1, 2, 7, 0, 2])
    np.testing.assert_allclose(odds, [np.nan, 0.5, 1.5, 1.5, np.nan, np.nan])
    assert float(logits(curves, 0.5, 1)) == 0.5
    assert logits(curves[:1], [0.5, 0.5], [1, 6]).tolist() == [0.5, 0.5]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 5)), min_size=1, max_size=30))
def test_pooled_blocks_are_the_falling_fit(entries: list[tuple[float, float]]) -> None:
    """Against the min-max formula of isotonic regression (Robertson, Wright, Dykstra 1988,
    Theorem 1.4.4).
    """
    values, weights = (np.array(x) for x in zip(*entries))
    sizes = pool(values, weights)
    assert sizes.sum() == len(values)
    ends = np.cumsum(sizes)
    means = np.concatenate(
        [
            np.full(n, np.average(values[e - n : e], weights=weights[e - n : e]))
            for n, e in zip(sizes, ends)
        ]
    )

    def mean(i: int, j: int) -> float:
        return float(np.average(values[i : j + 1], weights=weights[i : j + 1]))

    n = len(values)
    expected = [min(max(mean(i, j) for j in range(k, n)) for i in range(k + 1)) for k in range(n)]
    np.testing.assert_allclose(means, expected, atol=1e-9)


def test_a_line_is_the_logistic_regression_of_weighed_pairs() -> None:
    pairs = made()
    (curve,) = line(tally(pairs))
    far, same = pairs.distance.astype(np.float64), pairs.same
    weight = np.where(same, 1.0, same.sum() / (~same).sum())
    sure = (same.sum() + 1) / (same.sum() + 2)  # Platt's targets
    target = np.where(same, sure, 1 - sure)

    def loss(theta: np.ndarray) -> float:
        odds = theta[0] + theta[1] * far
        return float((weight * (np.logaddexp(0, odds) - target * odds)).sum())

    a, b = minimize(loss, [0.0, 0.0], method="BFGS").x
    np.testing.assert_allclose(
        curve([7.0, 9.0, 11.0]), [a + b * x for x in (7, 9, 11)], atol=0.02
    )  # cells of 2048


def test_lines_of_normal_distances_have_the_true_odds() -> None:
    """Two normals of spread 1 at 8 and 10 have log odds 18 - 2 d."""
    (curve,) = line(tally(made(people=60)))
    np.testing.assert_allclose(curve([8.0, 9.0, 10.0]), [2, 0, -2], atol=0.25)


def test_a_line_of_few_pairs_borrows_from_all() -> None:
    pairs = made(parts=2)
    rare = KnownPairs(
        pairs.distance,
        np.where(np.arange(len(pairs)) == 5, 2, 1),
        pairs.same,
        pairs.query,
        pairs.gallery,
        pairs.images,
    )
    (every,), (most, few) = line(tally(rare)), line_by_parts(tally(rare))
    for curve in (most, few):
        np.testing.assert_allclose(curve([8.0, 10.0]), every([8.0, 10.0]), atol=0.15)


def test_number_of_parts_counts_as_evidence_too() -> None:
    """Strangers share one part twice as often as two, one person as often; distances say
    nothing.
    """
    draw = np.random.default_rng(0)
    same = np.repeat([True, False], 30_000)
    shared = np.where(draw.random(60_000) < np.where(same, 0.5, 1 / 3), 2, 1)
    people = np.arange(60_000)
    pairs = KnownPairs(
        draw.normal(10, 1, 60_000).astype(np.float32), shared, same, people, people, np.ones(60_000)
    )
    one, two = line_by_parts(tally(pairs))
    assert float(one(10.0)) == pytest.approx(np.log(0.5 / (2 / 3)), abs=0.05)
    assert float(two(10.0)) == pytest.approx(np.log(0.5 / (1 / 3)), abs=0.05)


@pytest.mark.parametrize("draw", CANDIDATES.values(), ids=CANDIDATES)
@pytest.mark.parametrize("gap", [3.0, 0.0, -3.0])
def test_nearer_is_never_less_probable(draw, gap: float) -> None:  # type: ignore[no-untyped-def]
    """Also where impostor pairs are nearer, and where the kinds cannot be told apart."""
    for curve in draw(tally(made(gap=gap))):
        far = np.linspace(0, curve.distances[-1], 5000)
        assert (np.diff(curve(far)) < 0).all() and np.isfinite(curve.logits).all()


def test_kinds_that_do_not_overlap_have_finite_odds() -> None:
    pairs = made(gap=9.0)
    for draw in CANDIDATES.values():
        for curve in draw(tally(pairs)):
            assert 2 < float(curve(1.0)) < 200 and -200 < float(curve(10.0)) < -2


def test_the_plain_line_is_taken_if_nothing_else_helps() -> None:
    kind, curves, losses = choose(made())
    assert kind == "line" and len(curves) == 1 and set(losses) == set(CANDIDATES)
    assert all(0 < loss < np.log(2) for loss in losses.values())


def test_lines_by_parts_are_taken_if_distances_depend_on_their_number() -> None:
    kind, curves, losses = choose(made(by_parts=True))
    assert kind == "line_by_parts" and len(curves) == 3
    assert losses["line_by_parts"] < losses["line"] - 0.05


def test_steps_are_taken_if_odds_are_far_from_a_line() -> None:
    """Distances that say all below 5 and nothing above."""
    draw = np.random.default_rng(3)
    pairs = made(people=40, images=6)
    near = pairs.same & (draw.random(len(pairs)) < 0.5)
    far = np.where(near, draw.uniform(0, 5, len(pairs)), draw.uniform(5, 40, len(pairs))).astype(
        np.float32
    )
    kind, curves, _ = choose(
        KnownPairs(
            far, np.ones_like(pairs.shared), pairs.same, pairs.query, pairs.gallery, pairs.images
        )
    )
    assert kind == "steps"
    # log(0.5 / 1) above 5
    assert float(curves[0](2.0)) > 3 and -1.2 < float(curves[0](20.0)) < -0.3


def test_candidates_are_scored_on_people_they_have_not_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs, seen = made(people=20), []
    real = KnownPairs.among

    def watched(self: KnownPairs, people: np.ndarray) -> KnownPairs:
        seen.append(people)
        return real(self, people)

    monkeypatch.setattr(KnownPairs, "among", watched)
    choose(pairs)
    tested, fitted = seen[::2], seen[1::2]
    assert len(seen) == 2 * FOLDS and (np.sum(tested, 0) == 1).all()
    assert all(not (a & b).any() and (a | b).all() for a, b in zip(tested, fitted))


def test_pairs_among_people_and_their_counts() -> None:
    pairs = made(people=5, images=2)
    some = pairs.among(np.array([True, False, True, True, False]))
    assert set(some.query) == set(some.gallery) == {0, 2, 3} and some.images.tolist() == [
        4,
        0,
        4,
        4,
        0,
    ]
    counts = some.counts(~some.same)
    assert counts.tolist() == (4 * (1 - np.eye(3))).tolist()


def test_log_loss_by_hand() -> None:
    pairs = KnownPairs(
        np.array([1, 1, 3, 3, 3], np.float32),
        np.ones(5, np.int64),
        np.array([True, False, True, False, False]),
        np.arange(5),
        np.arange(5),
        np.ones(5, np.int64),
    )
    curve = Curve((0.0, 2.0, 2.001, 4.0), (1.0, 1.0, -1.0, -1.0))
    p = 1 / (1 + np.exp(-1))
    expected = 0.5 * (-np.log(p) - np.log(1 - p)) / 2 + 0.5 * (-np.log(1 - p) - 2 * np.log(p)) / 3
    assert Tally.of(pairs, 4.0, 1).loss((curve,)) == pytest.approx(expected)


def test_steps_of_one_distance() -> None:
    pairs = KnownPairs(
        np.full(4, 2, np.float32),
        np.ones(4, np.int64),
        np.array([True, True, False, False]),
        np.arange(4),
        np.arange(4),
        np.ones(4, np.int64),
    )
    (curve,) = steps(tally(pairs))
    assert float(curve(2.0)) == pytest.approx(0, abs=0.01)


# Thresholds for impostor pairs: exact, with ranges that hold for other people as often as they say.


@given(
    st.lists(
        st.one_of(st.integers(-3, 3).map(float), st.just(float("nan"))), min_size=1, max_size=40
    ),
    st.sampled_from([0.01, 0.1, 0.25, 0.5, 0.9]),
)
def test_a_threshold_lets_as_many_impostors_through_as_it_may(
    odds: list[float], rate: float
) -> None:
    values = np.array(odds)
    if np.isnan(values).all():
        return
    threshold = threshold_at(values, rate)
    passed = (values >= threshold).sum()
    assert passed <= rate * len(values) + 1e-9
    lower = values[values < threshold]  # to let the next ones through would be too many
    assert not len(lower) or (values >= lower.max()).sum() > rate * len(values) + 1e-9


def test_rounding_does_not_move_a_pair_across_the_threshold() -> None:
    odds = np.array([3.0, 2.0, 1.0, 0.0])
    assert threshold_at(odds, 0.5) == 1.5
    assert threshold_at(odds, 0.1) > 3.0


def impostor_odds(people: int, images: int, effect: float, draw: np.random.Generator) -> np.ndarray:
    """Log odds [people, people, images] of impostor pairs; some people resemble everybody."""
    typical = draw.normal(0, effect, people)
    return (typical[:, None] + typical)[:, :, None] + draw.normal(0, 1, (people, people, images))


def counts(odds: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    away = 1.0 - np.eye(len(odds))
    return (odds >= threshold).sum(2) * away, odds.shape[2] * away


def test_draws_are_those_of_people_on_both_sides() -> None:
    """Before they are brought to another width: one person at a time, in a loop."""
    draw = np.random.default_rng(0)
    accepted, pairs = counts(impostor_odds(12, 5, 0.8, draw), 2.0)
    ratios = log_ratios(accepted, pairs, 50, seed=4)
    weight = np.random.default_rng([4, 11]).multinomial(12, np.full(12, 1 / 12), 50)
    slow = []
    for w in weight:
        hits = sum(w[i] * w[j] * accepted[i, j] for i in range(12) for j in range(12))
        many = sum(w[i] * w[j] * pairs[i, j] for i in range(12) for j in range(12))
        slow.append(np.log(max(hits / many / (accepted.sum() / pairs.sum()), 0.5 / accepted.sum())))
    assert np.corrcoef(ratios, slow)[0, 1] == pytest.approx(1)
    assert np.ptp(ratios / slow) < 1e-9


def test_without_person_effects_draws_vary_as_single_pairs_do() -> None:
    """Nothing but chance in every pair: the relative variance is 1 / accepted, not three times
    that.
    """
    draw = np.random.default_rng(1)
    widths = []
    for _ in range(20):
        accepted, pairs = counts(impostor_odds(60, 3, 0.0, draw), 2.3)
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
        odds = impostor_odds(people, images, effect, draw)
        threshold = threshold_at(odds[~np.eye(people, dtype=bool)].ravel(), rate)
        accepted, pairs = counts(odds, threshold)
        ratios = log_ratios(accepted, pairs, 400, seed=world)
        again, _ = counts(impostor_odds(people, images, effect, draw), threshold)
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


def test_spreads_of_distances_add_up() -> None:
    draw = np.random.default_rng(0)
    reference = percentiles(np.append(draw.normal(size=900).round(1), [np.inf] * 100))
    for seed in range(20):
        far = np.random.default_rng(seed).normal(0.2, 1.1, 500).round(1)
        far[seed:40] = np.inf
        parts = [doubt.spread(reference, some) for some in np.split(far, [100, 101])]
        whole = doubt.shift(reference, parts[0] + parts[1] + parts[2])
        assert whole == shift(reference, far)


def pairs_of(odds: np.ndarray) -> KnownPairs:
    people, _, images = odds.shape
    query, gallery, _ = (x.ravel() for x in np.indices(odds.shape))
    return KnownPairs(
        (10 - odds).ravel().astype(np.float32),
        np.ones(odds.size, np.int64),
        query == gallery,
        query,
        gallery,
        np.full(people, images),
    )


def test_usual_shift_grows_with_what_people_have_of_their_own() -> None:
    draw = np.random.default_rng(2)
    plain, personal = (
        usual_shift(pairs_of(impostor_odds(40, 4, effect, draw))) for effect in (0.0, 1.0)
    )
    assert plain < 0.1 < personal
    two = impostor_odds(
        80, 4, 1.0, draw
    )  # other people of the same world: no farther apart than usual
    one, other = (pairs_of(two[half, half]) for half in (slice(40), slice(40, None)))
    far = [p.distance[~p.same] for p in (one, other)]
    assert shift(percentiles(far[0]), far[1]) < 2 * usual_shift(one)
