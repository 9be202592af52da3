"""Reliability, risk and coverage against plain loops."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partreid.metrics.calibration import ece, reliability, risk_coverage

PAIRS = st.lists(
    st.tuples(st.floats(0, 1), st.booleans(), st.floats(0.1, 3)), min_size=1, max_size=40
)


@given(PAIRS, st.integers(1, 12))
def test_reliability_is_a_mean_in_every_bin(
    entries: list[tuple[float, bool, float]], bins: int
) -> None:
    p, same, weight = (np.array(x) for x in zip(*entries))
    found = reliability(p, same, weight, bins)
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
    got = list(zip(found.low, found.high, found.weight, found.probability, found.same, found.pairs))
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
    found = risk_coverage(sure, right)
    orders = [
        list(order)
        for order in permutations(range(len(sure)))
        if (np.diff(sure[list(order)]) <= 0).all()
    ]
    expected = np.mean(
        [np.cumsum(~right[order]) / np.arange(1, len(sure) + 1) for order in orders], 0
    )
    np.testing.assert_allclose(found.risk, expected, atol=1e-12)
    np.testing.assert_allclose(found.coverage, np.arange(1, len(sure) + 1) / len(sure))
    assert found.aurc == pytest.approx(found.risk.mean()) and found.risk[-1] == pytest.approx(
        1 - right.mean()
    )


def test_risk_and_coverage_by_hand() -> None:
    found = risk_coverage([0.9, np.nan, 0.5, 0.7], [True, False, False, True])
    assert found.risk.tolist() == [0, 0, 1 / 3, 1 / 2] and found.confidence.tolist() == [
        0.9,
        0.7,
        0.5,
        -np.inf,
    ]
    assert (
        found.coverage_at(0) == 0.5 and found.coverage_at(0.4) == 0.75 and found.coverage_at(1) == 1
    )
    assert np.isnan(risk_coverage([], []).aurc) and risk_coverage([], []).coverage_at(0.5) == 0
