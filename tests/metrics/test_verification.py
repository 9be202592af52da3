"""ROC curves of pairs against going through every pair at every threshold, and streams against
whole matrices.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.errors import DataError
from partreid.metrics import ANY_CAMERA, PairAccumulator, Roc, rank
from partreid.metrics.protocols import MARKET, Protocol

# few values, so that ties are the rule: near and far, nothing shared, the same image, rounding
# below zero
VALUES = (-0.5, -0.0, 0.0, 0.25, 0.5, 1.0, np.inf)
RATES = (0.0, 1e-2, 0.1, 0.3, 0.5, 0.9, 1.0)
SHAPE = st.tuples(st.integers(1, 6), st.integers(1, 12))
Case = tuple[np.ndarray, np.ndarray, np.ndarray]


def case(shape: tuple[int, int], seed: int, coarse: bool = True) -> Case:
    draw = np.random.default_rng(seed)
    far = draw.choice(VALUES, shape) if coarse else draw.normal(size=shape)
    return far.astype(np.float32), draw.random(shape) < 0.3, draw.random(shape) < 0.8


def streamed(pairs: PairAccumulator, made: Case, rows: int) -> Roc:
    """As ``rank`` shows them: removed entries NaN, -0 made 0."""
    far, relevant, valid = made
    for start in range(0, len(far), rows):
        part = far[start : start + rows] + np.float32(0)
        part[~valid[start : start + rows]] = np.nan
        right = [np.flatnonzero(row) for row in (relevant & valid)[start : start + rows]]
        pairs.update(pairs.summarize(start, part, np.sort(part, 1), right))
    return pairs.result()


def plainly(made: Case) -> list[tuple[float, float, float]]:
    """(threshold, FMR, TPR) at every distance that occurs, and below them all; infinity never
    matches.
    """
    far, relevant, valid = made
    genuine, impostor = far[relevant & valid].tolist(), far[~relevant & valid].tolist()
    return [
        (
            t,
            sum(d <= t for d in impostor) / len(impostor),
            sum(d <= t for d in genuine) / len(genuine),
        )
        for t in sorted({-np.inf, *genuine, *impostor})
    ]


def both_kinds(made: Case) -> bool:
    _, relevant, valid = made
    return bool((relevant & valid).any() and (~relevant & valid).any())


def best_within(curve: list[tuple[float, float, float]], fmr: float) -> float:
    return max(tpr for _, rate, tpr in curve if rate <= fmr + 1e-12)


def equal_errors(curve: list[tuple[float, float, float]]) -> float:
    """Where the curve crosses FMR = 1 - TPR, walking from point to point."""
    for (_, x0, y0), (_, x1, y1) in zip(curve, curve[1:]):
        if x1 + y1 >= 1:
            part = (1 - x0 - y0) / (x1 + y1 - x0 - y0)
            return x0 + part * (x1 - x0)
    raise AssertionError("every curve ends at (1, 1)")


@settings(max_examples=300)
@given(SHAPE, st.integers(0, 9999), st.booleans())
def test_rates_match_counting(shape: tuple[int, int], seed: int, coarse: bool) -> None:
    made = case(shape, seed, coarse)
    roc = Roc.of_masks(*made)
    if not both_kinds(made):
        assert np.isnan(roc.eer) and np.isnan(roc.tpr_at(0.5))
        return
    curve = plainly(made)
    for threshold, fmr, tpr in curve:
        assert roc.rates(threshold) == pytest.approx((fmr, tpr), abs=1e-12)
    assert roc.eer == pytest.approx(equal_errors(curve), abs=1e-9)
    for rate in RATES:
        assert roc.tpr_at(rate) == pytest.approx(best_within(curve, rate), abs=1e-12)
        assert roc.rates(roc.threshold_at(rate))[0] <= rate + 1e-12  # never more than allowed
    assert roc.scores == {
        "TPR@1e-4": roc.tpr_at(1e-4),
        "TPR@1e-3": roc.tpr_at(1e-3),
        "TPR@1e-2": roc.tpr_at(1e-2),
        "EER": roc.eer,
    }


@settings(max_examples=200)
@given(
    SHAPE,
    st.integers(0, 9999),
    st.booleans(),
    st.integers(1, 4),
    st.sampled_from([0, 1, 4, 1 << 20]),
)
def test_streams_are_the_whole(
    shape: tuple[int, int], seed: int, coarse: bool, rows: int, least: int
) -> None:
    """All pairs kept: the same. Few kept: counts in bins, every point exact, and no threshold
    lets too many pass.
    """
    made = case(shape, seed, coarse)
    whole, roc = Roc.of_masks(*made), streamed(PairAccumulator(least, 0), made, rows)
    np.testing.assert_array_equal(roc.genuine, whole.genuine)
    assert sorted(zip(roc.genuine, roc.genuine_query)) == sorted(
        zip(whole.genuine, whole.genuine_query)
    )
    np.testing.assert_array_equal(roc.impostors_of_query, whole.impostors_of_query)
    assert roc.impostors == whole.impostors == roc.impostors_of_query.sum()
    kept = len(roc.nearest)
    np.testing.assert_array_equal(roc.nearest, whole.nearest[:kept])
    if least == 1 << 20:
        assert kept == roc.impostors and not len(roc.edges)
        assert sorted(zip(roc.nearest, roc.nearest_query)) == sorted(
            zip(whole.nearest, whole.nearest_query)
        )
    else:
        assert np.all(np.diff(roc.edges) > 0) and (roc.counts > 0).all()
    if not both_kinds(made):
        return
    curve = plainly(made)
    for fmr, tpr, threshold in zip(*roc.points):
        want = max((point for point in curve if point[0] <= threshold), key=lambda point: point[0])
        assert (fmr, tpr) == pytest.approx(want[1:], abs=1e-12)
    for rate in RATES:
        allowed = int(rate * roc.impostors + 1e-9)
        if allowed < kept or coarse:  # among those kept, or one value to a bin
            assert roc.tpr_at(rate) == whole.tpr_at(rate)
        threshold = roc.threshold_at(rate)
        assert whole.rates(threshold)[0] <= rate + 1e-12 and roc.tpr_at(rate) <= whole.tpr_at(rate)
    if coarse:
        assert roc.eer == pytest.approx(whole.eer, abs=1e-12)


@settings(max_examples=100)
@given(SHAPE, st.integers(0, 9999), st.integers(0, 6))
def test_a_curve_rises_from_nothing_to_all(shape: tuple[int, int], seed: int, least: int) -> None:
    fmr, tpr, thresholds = streamed(PairAccumulator(least, 0), case(shape, seed, False), 2).points
    assert (fmr[0], tpr[0], thresholds[0]) == (0, 0, -np.inf)
    assert (
        (np.diff(fmr) >= 0).all() and (np.diff(tpr) >= 0).all() and (np.diff(thresholds) > 0).all()
    )
    if both_kinds(case(shape, seed, False)):
        assert (fmr[-1], tpr[-1]) == (1, 1)


def test_the_nearest_are_kept_one_by_one_and_the_rest_counted_narrowly() -> None:
    """40,000 impostor pairs: at least 1 % are exact, fewer than 2 x 1 % and a bin stay,
    rates agree to a bin.
    """
    draw = np.random.default_rng(0)
    far = draw.normal(3, 1, (100, 404)).astype(np.float32)
    relevant = np.zeros(far.shape, bool)
    relevant[:, :4] = True
    far[:, :4] -= 2
    made = (far, relevant, np.ones_like(relevant))
    whole, roc = Roc.of_masks(*made), streamed(PairAccumulator(least=100, share=0.01), made, 7)
    assert 400 <= len(roc.nearest) < 1000 and roc.impostors == 40_000
    for rate in (1e-4, 1e-3, 1e-2):
        assert roc.threshold_at(rate) == whole.threshold_at(rate) and roc.tpr_at(
            rate
        ) == whole.tpr_at(rate)
    assert roc.eer == pytest.approx(whole.eer, abs=5e-3)
    for threshold in (0.5, 1.5, 3.0):
        assert roc.rates(threshold) == pytest.approx(whole.rates(threshold), abs=5e-3)
        assert roc.rates(threshold)[0] <= whole.rates(threshold)[0]


def four_by_six(protocol: Protocol = MARKET) -> Roc:
    """Query 1 of camera 1, 2 of camera 1, 9 that nobody is, and a distractor; the gallery's
    fifth image is junk.
    """
    pairs = PairAccumulator()
    far = torch.tensor(
        [
            [0.0, 0.5, 0.1, 0.9, 0.0, 1.0],
            [0.9, 0.8, 0.1, 0.2, 0.0, 0.3],
            [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
            [0.1, 0.2, 0.3, 0.0, 0.5, 0.6],
        ]
    )
    rank(
        [(slice(0, 4), far)],
        q_ids=[1, 2, 9, 0],
        g_ids=[1, 1, 2, 0, -1, 2],
        q_cams=[1, 1, 1, 1],
        g_cams=[1, 2, 2, 2, 3, 3],
        protocol=protocol,
        distractor=0,
        junk=-1,
        accumulators=[pairs],
    )
    return pairs.result()


def test_by_hand() -> None:
    """16 impostor pairs: 0 .1 .1 .1 .2 .2 .2 .3 .3 .4 .6 .6 .8 .9 .9 1; of one person .1 .3
    .5.
    """
    roc = four_by_six()
    np.testing.assert_allclose(roc.genuine, [0.1, 0.3, 0.5])
    assert roc.genuine_query.tolist() == [1, 1, 0]
    np.testing.assert_allclose(
        roc.nearest, [0, 0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.3, 0.3, 0.4, 0.6, 0.6, 0.8, 0.9, 0.9, 1]
    )
    assert roc.impostors_of_query.tolist() == [3, 3, 5, 5]
    assert roc.tpr_at(0.2) == 0  # 3 may pass; at .1 it would be 4
    assert roc.tpr_at(0.25) == pytest.approx(1 / 3) and 0.1 <= roc.threshold_at(0.25) < 0.2
    assert roc.tpr_at(0.5) == pytest.approx(1 / 3)  # 8 may pass; at .3 it would be 9
    assert roc.tpr_at(0.6) == pytest.approx(2 / 3) and roc.tpr_at(0.625) == 1
    assert roc.rates(0.3) == pytest.approx((9 / 16, 2 / 3))
    assert roc.eer == pytest.approx(0.5)  # between (7/16, 1/3) and (9/16, 2/3), half the way
    assert roc.scores["TPR@1e-2"] == 0
    everything = four_by_six(ANY_CAMERA)  # the own shot at 0 counts now
    np.testing.assert_allclose(everything.genuine, [0, 0.1, 0.3, 0.5])
    assert everything.tpr_at(1 / 16) == pytest.approx(1 / 4)


def test_pairs_that_share_nothing_never_match() -> None:
    far = np.float32([[np.inf, 0.5, np.inf, 1.0]])
    roc = Roc.of_masks(far, np.array([[True, True, False, False]]), np.ones((1, 4), bool))
    assert roc.rates(1e30) == (0.5, 0.5)
    assert roc.tpr_at(0.5) == 0.5 and roc.tpr_at(0.49) == 0.5 and roc.threshold_at(0.49) < 1
    assert roc.eer == pytest.approx(0.5)


def test_only_one_kind_of_pairs() -> None:
    far, all_right = np.float32([[0.5, 0.25]]), np.array([[True, True]])
    for relevant in (all_right, ~all_right):
        roc = Roc.of_masks(far, relevant, all_right)
        assert all(np.isnan(value) for value in roc.scores.values())
    nothing = PairAccumulator().result()
    assert nothing.impostors == 0 and np.isnan(nothing.eer) and nothing.points[0].tolist() == [0]


@pytest.mark.parametrize(
    "gallery_ids, gallery_cameras, message",
    [
        ([], [], "gallery set is empty"),
        ([1, 1], [1, 1], "one camera"),
        ([0, -1], [2, 2], "share no identity"),
    ],
)
def test_what_cannot_be_ranked_cannot_be_verified(
    gallery_ids: list[int], gallery_cameras: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        rank(
            [(slice(0, 1), torch.zeros(1, len(gallery_ids)))],
            q_ids=[1],
            g_ids=gallery_ids,
            q_cams=[1],
            g_cams=gallery_cameras,
            distractor=0,
            junk=-1,
            accumulators=[PairAccumulator()],
        )
