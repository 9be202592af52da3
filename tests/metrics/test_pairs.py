"""Curves of match probability: against slow definitions, and the choice between them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from partreid.metrics.pairs import (
    CANDIDATES,
    FOLDS,
    Curve,
    KnownPairs,
    Tally,
    choose,
    line,
    line_by_parts,
    logits,
    pool,
    steps,
)


def made(
    people: int = 24,
    images: int = 3,
    gap: float = 2.0,
    parts: int = 3,
    effect: float = 0.0,
    seed: int = 0,
    by_parts: bool = False,
) -> KnownPairs:
    """Normal distances of spread 1 around 10 for strangers, ``gap`` nearer for one person.

    by_parts: with p shared parts all distances are p farther, which a rule that does not know of p
    cannot tell.
    """
    draw = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), images)
    query, gallery = (x.ravel() for x in np.meshgrid(who, who, indexing="ij"))
    at = ~np.eye(len(who), dtype=bool).ravel()
    query, gallery = query[at], gallery[at]
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
    found = logits(curves, [0.5, 0.5, 0.5, 0.5, np.inf, np.inf], [0, 1, 2, 7, 0, 2])
    np.testing.assert_allclose(found, [np.nan, 0.5, 1.5, 1.5, np.nan, np.nan])
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
    (found,) = line(tally(pairs))
    far, own = pairs.distance.astype(np.float64), pairs.same
    weight = np.where(own, 1.0, own.sum() / (~own).sum())
    sure = (own.sum() + 1) / (own.sum() + 2)  # Platt's targets
    target = np.where(own, sure, 1 - sure)

    def loss(theta: np.ndarray) -> float:
        odds = theta[0] + theta[1] * far
        return float((weight * (np.logaddexp(0, odds) - target * odds)).sum())

    a, b = minimize(loss, [0.0, 0.0], method="BFGS").x
    np.testing.assert_allclose(
        found([7.0, 9.0, 11.0]), [a + b * x for x in (7, 9, 11)], atol=0.02
    )  # cells of 2048


def test_lines_of_normal_distances_have_the_true_odds() -> None:
    """Two normals of spread 1 at 8 and 10 have log odds 18 - 2 d."""
    (found,) = line(tally(made(people=60)))
    np.testing.assert_allclose(found([8.0, 9.0, 10.0]), [2, 0, -2], atol=0.25)


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
    own = np.repeat([True, False], 30_000)
    shared = np.where(draw.random(60_000) < np.where(own, 0.5, 1 / 3), 2, 1)
    people = np.arange(60_000)
    pairs = KnownPairs(
        draw.normal(10, 1, 60_000).astype(np.float32), shared, own, people, people, np.ones(60_000)
    )
    one, two = line_by_parts(tally(pairs))
    assert float(one(10.0)) == pytest.approx(np.log(0.5 / (2 / 3)), abs=0.05)
    assert float(two(10.0)) == pytest.approx(np.log(0.5 / (1 / 3)), abs=0.05)


@pytest.mark.parametrize("draw", CANDIDATES.values(), ids=CANDIDATES)
@pytest.mark.parametrize("gap", [3.0, 0.0, -3.0])
def test_nearer_is_never_less_probable(draw, gap: float) -> None:  # type: ignore[no-untyped-def]
    """Also where strangers are nearer, and where the kinds cannot be told apart."""
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
