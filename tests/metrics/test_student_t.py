"""Quantiles against printed tables, ranges against what normal theory says they should hold."""

import numpy as np
import pytest

from partreid.metrics.student_t import by_people, by_seed, people_of, quantile, student_t, together


@pytest.mark.parametrize(
    "freedom, level, want",
    [
        (1, 0.95, 12.706),
        (2, 0.95, 4.303),
        (10, 0.95, 2.228),
        (100, 0.95, 1.984),
        (10, 0.99, 3.169),
        (3000, 0.95, 1.961),
    ],
)
def test_quantiles(freedom: float, level: float, want: float) -> None:
    """Printed tables; of |t|, so 0.95 is the 0.975 of a one-sided one."""
    assert quantile(freedom, level) == pytest.approx(want, abs=6e-4)
    half, p = student_t(3 * want, [(9.0, freedom)], level)
    assert half == pytest.approx(3 * want, abs=2e-3) and p == pytest.approx(1 - level, abs=1e-4)


def test_student_adds_variances() -> None:
    """Two alike add, a negligible one does not count, others are averaged; no variance, no
    doubt.
    """
    assert student_t(0, [(1, 5), (1, 5)], 0.95)[0] == pytest.approx(np.sqrt(2) * quantile(5, 0.95))
    assert student_t(0, [(1, 5), (1e-9, 1)], 0.95)[0] == pytest.approx(quantile(5, 0.95), rel=1e-4)
    half, p = student_t(2.0, [(3, 2), (1, 10)], 0.95)
    assert half == pytest.approx((3 * 4.303 + 2.228) / 2, abs=1e-3) and 0.05 < p < 1
    assert student_t(half, [(3, 2), (1, 10)], 0.95)[1] == pytest.approx(0.05, abs=1e-5)
    assert student_t(0.3, [(0, 5)], 0.95) == (0, 0) and student_t(0, [(0, 5)], 0.95) == (0, 1)


@pytest.mark.parametrize(
    "parts, least",
    [
        ([(1.0, 59), (0.05, 2)], 0.945),
        ([(1.0, 59), (0.5, 2)], 0.945),
        ([(1.0, 59), (5.0, 2)], 0.945),
        ([(1.0, 59), (20.0, 1)], 0.93),
    ],
)
def test_ranges_of_two_variances(parts: list[tuple[float, float]], least: float) -> None:
    """Errors and estimated variances as normal theory has them: 20,000 of each, at every ratio."""
    draw = np.random.default_rng(0)
    error = draw.normal(0, np.sqrt(sum(v for v, _ in parts)), 20_000)
    estimated = [v * draw.chisquare(f, len(error)) / f for v, f in parts]
    total = np.sum(estimated, 0)
    half = sum(v * quantile(f, 0.95) for v, (_, f) in zip(estimated, parts)) / np.sqrt(total)
    assert student_t(1.0, [(v[0], f) for v, (_, f) in zip(estimated, parts)], 0.95)[
        0
    ] == pytest.approx(half[0])
    assert least <= np.mean(abs(error) <= half) <= 0.975


def test_variances_of_one_kind() -> None:
    """Two alike have both their degrees of freedom; a negligible one adds nothing."""
    assert together([(1.0, 2), (1.0, 2)]) == (2, 4)
    assert together([(1.0, 2), (1e-9, 2)]) == pytest.approx((1, 2))
    assert together([(0.0, 2), (0.0, 2)]) == (0, 4) and together([(0.5, 2)]) == (0.5, 2)


def test_variance_of_people() -> None:
    """Of one value each it is that of a mean; people with many queries count as often."""
    values = np.array([0.1, 0.4, 0.8, 0.3])
    assert by_people(values, np.array([4, 2, 3, 9])) == pytest.approx((values.var(ddof=1) / 4, 3))
    twice = by_people(np.repeat(values, 2), np.repeat([4, 2, 3, 9], 2))
    assert twice == pytest.approx((values.var(ddof=1) / 4, 3))
    assert people_of(np.array([3, 3, 3])) == 3 and people_of(np.array([9, 1])) == 2
    assert people_of(np.array([4, 1, 1])) == pytest.approx(36 / 18)


def test_variance_of_seeds_is_theirs_alone() -> None:
    """An analysis of variance with known parts: on average each gives its own, the interaction
    hardly counts twice.
    """
    draw, people, runs = np.random.default_rng(0), 40, 3
    ids, chance = np.arange(people), 0.3**2 / people / runs
    for spread, least, most in (
        (0.0, 0, 0.7 * chance),
        (0.1, 0.95 * 0.1**2 / runs, 0.1**2 / runs + chance),
    ):
        variances = []
        for _ in range(1000):
            values = draw.normal(0, 0.2, people) + draw.normal(0, 0.3, (runs, people))
            values += draw.normal(0, spread, (runs, 1))
            variances.append((by_people(values.mean(0), ids)[0], by_seed(list(values), ids)[0]))
        of_people, of_seeds = np.mean(variances, 0)
        assert of_people == pytest.approx(0.2**2 / people + chance, rel=0.03)
        assert least <= of_seeds <= most
    assert by_seed([np.array([0.5, 0.1])] * 3, np.array([1, 2])) == (0, 2)


def runs(
    seeds: int, people: np.ndarray, spread: float, level: float, draw: np.random.Generator
) -> list[np.ndarray]:
    """Hits of each run, three queries of each person: each run has its luck, each person is hard
    or easy for all.
    """
    ease = np.repeat(people, 3)
    return [
        (draw.random(len(ease)) < level + draw.normal(0, spread) + ease).astype(np.float64)
        for _ in range(seeds)
    ]


@pytest.mark.parametrize("spread", [0.0, 0.03, 0.1])
def test_ranges_over_three_seeds_hold_the_truth(spread: float) -> None:
    """Seeds that do not differ, differ as much as 60 people do, and much more: the truth is the
    mean of all of both.
    """
    draw, ids, held = np.random.default_rng(0), np.repeat(np.arange(60), 3), []
    for _ in range(600):
        values = runs(3, draw.normal(0, 0.15, 60), spread, 0.5, draw)
        mean = np.mean(values, 0)
        half, _ = student_t(0, [by_people(mean, ids), by_seed(values, ids)], 0.95)
        held.append(abs(mean.mean() - 0.5) <= half)
    assert 0.93 <= np.mean(held) <= 0.985


def test_differences_over_three_seeds() -> None:
    """Two recipes on the same people: nothing between them, or 20 points. Three seeds a side
    make it cautious.
    """
    draw, ids = np.random.default_rng(0), np.repeat(np.arange(60), 3)
    for gain, spread, least, most in (
        (0.0, 0.02, 0, 0.05),
        (0.0, 0.1, 0.02, 0.06),
        (0.2, 0.02, 0.85, 1.0),
    ):
        held, p = [], []
        for _ in range(300):
            people = draw.normal(0, 0.15, 60)
            a, b = (runs(3, people, spread, level, draw) for level in (0.4 + gain, 0.4))
            change = np.mean(a, 0) - np.mean(b, 0)
            seeds = together([by_seed(a, ids), by_seed(b, ids)])
            half, chance = student_t(change.mean(), [by_people(change, ids), seeds], 0.95)
            held.append(abs(change.mean() - gain) <= half)
            p.append(chance)
        assert np.mean(held) >= 0.93 and least <= np.mean(np.array(p) <= 0.05) <= most
