"""Summaries against loops; log odds; the prior that the pairs tell."""

import numpy as np
import pytest
import torch

from partreid.distance import PartDistance
from partreid.errors import ShapeError
from partreid.link import estimate_prior, log_ratios, pair_ratios, summarize
from partreid.metrics.calibration import Calibration
from partreid.types import Embeddings
from tests.link.made_up import angles


def embeddings(n: int = 9, parts: int = 3) -> Embeddings:
    draw = torch.Generator().manual_seed(1)
    visible = (torch.rand(n, parts, generator=draw) * 4).floor() / 4
    return Embeddings.of(torch.randn(n, parts, 5, generator=draw), visible)


def test_the_mean_weighs_by_visibility_part_by_part() -> None:
    e, of = embeddings(), np.array([0, 1, 0, 2, 1, 0, 2, 0, 1])
    for metric in ("cosine", "unit_euclidean", "euclidean"):
        s = summarize(e, of, 3, PartDistance(metric))
        for t in range(3):
            for m in range(3):
                rows = [i for i in range(9) if of[i] == t]
                x = [e.vectors[i, m] for i in rows]
                if metric != "euclidean":
                    x = [a / a.norm() for a in x]
                v = [float(e.visibility[i, m]) for i in rows]
                total = sum(v)
                wanted = sum((a * w for a, w in zip(x, v)), torch.zeros(5)) / (total or 1)
                torch.testing.assert_close(s.vectors[t, m], wanted)
                assert s.visibility[t, m] == max(v)


def test_the_best_takes_the_three_crops_that_show_a_part_best() -> None:
    v = torch.tensor([[1.0, 0.2], [0.5, 1.0], [1.0, 0.9], [0.7, 0.0], [1.0, 0.2]])
    e = Embeddings.of(torch.eye(5)[:, None].repeat(1, 2, 1), v)
    s = summarize(e, [0] * 5, 1, PartDistance("cosine"), "best")
    # part 1: crops 2, 0 and 4 are as visible; part 2: crops 1, 2, then 0, which comes before 4
    torch.testing.assert_close(s.vectors[0, 0], torch.tensor([1.0, 0, 1, 0, 1]) / 3)
    torch.testing.assert_close(s.vectors[0, 1], torch.tensor([0.2, 1.0, 0.9, 0, 0]) / 2.1)
    assert s.visibility.tolist() == [[1.0, 1.0]]


def test_what_no_crop_shows_says_nothing(calibration: Calibration) -> None:
    e = Embeddings.of(torch.ones(2, 2, 3), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    d = PartDistance("cosine")
    assert log_ratios(calibration, d, summarize(e, [0, 1], 2, d)).tolist() == [[0, 0], [0, 0]]


def test_log_ratios_are_the_calibrations(calibration: Calibration) -> None:
    d = PartDistance("cosine")
    s = Embeddings.of(torch.from_numpy(angles(0, 60, 90)))
    wanted = 4 - 8 * np.array(
        [[0.5, 0.5, 1.0], [0.5, 0.5, 1 - 3**0.5 / 2], [1.0, 1 - 3**0.5 / 2, 0.5]]
    )
    np.testing.assert_allclose(log_ratios(calibration, d, s), wanted, atol=1e-5)


def test_pairs_of_crops_are_averaged_one_by_one(calibration: Calibration) -> None:
    e, of, d = embeddings(40, 3), np.arange(40) * 7 % 5, PartDistance("cosine")
    ratios = pair_ratios(calibration, d, e, of, 5)
    far = d(e, e).double().numpy()
    assert np.isinf(far).any(), "no pair without a part in common"
    for a in range(5):
        for b in range(5):
            pairs = [far[i, j] for i in np.flatnonzero(of == a) for j in np.flatnonzero(of == b)]
            wanted = np.mean([4 - 8 * x for x in pairs if np.isfinite(x)]) if a != b else 0.0
            assert ratios[a, b] == pytest.approx(wanted, abs=1e-5)
    assert np.array_equal(ratios, ratios.T)


def test_pairs_of_crops_are_the_same_in_small_tiles(
    calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    e, of, d = embeddings(40, 3), np.arange(40) * 7 % 5, PartDistance("cosine")
    whole = pair_ratios(calibration, d, e, of, 5)

    def small(self: PartDistance, q: Embeddings, g: Embeddings):  # type: ignore[no-untyped-def]
        for i in range(0, len(q), 7):
            for j in range(0, len(g), 9):
                rows, columns = slice(i, min(i + 7, len(q))), slice(j, min(j + 9, len(g)))
                yield rows, columns, self(q.rows(rows), g.rows(columns))

    monkeypatch.setattr(PartDistance, "tiles", small)
    np.testing.assert_allclose(pair_ratios(calibration, d, e, of, 5), whole, atol=1e-6)


def test_the_prior_is_the_mean_probability_that_it_gives() -> None:
    draw = np.random.default_rng(0)
    truth = draw.random(4950) < 0.07
    # two normal curves two deviations apart: log ratio 2 x
    score = draw.normal(np.where(truth, 1.0, -1.0), 1.0)
    square = np.zeros((100, 100))
    square[np.triu_indices(100, 1)] = 2 * score
    square += square.T
    none = np.zeros((100, 100), bool)
    prior = estimate_prior(square, none)
    assert prior == pytest.approx(truth.mean(), abs=0.02)
    odds = square[np.triu_indices(100, 1)] + np.log(prior / (1 - prior))
    assert prior == pytest.approx((1 / (1 + np.exp(-odds))).mean(), abs=1e-6)
    assert estimate_prior(square, ~none) == 0.5  # no pair could be one person
    assert estimate_prior(np.full((3, 3), 50.0), none[:3, :3]) == 0.5
    assert estimate_prior(np.full((3, 3), -50.0), none[:3, :3]) == 1e-4


def test_rows_that_do_not_fit_are_refused() -> None:
    e, d = embeddings(), PartDistance("cosine")
    with pytest.raises(ShapeError, match=r"crop_of must be \[9\], got \[2\]"):
        summarize(e, [0, 1], 2, d)
    with pytest.raises(ShapeError, match="crop_of must name each of the 3 tracklets"):
        summarize(e, [0, 1, 0, 1, 0, 1, 0, 1, 0], 3, d)
    with pytest.raises(ShapeError, match=r"must be \[T, T\]"):
        estimate_prior(np.zeros((3, 2)), np.zeros((3, 2), bool))
