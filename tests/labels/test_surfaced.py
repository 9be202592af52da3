"""Surfaces made worse on purpose: how often, by how much, and repeatably."""

import numpy as np
import pytest

from partreid.labels.surfaced import NOISE, Noise, disturbed
from partreid.layers.warp import LEFT_RIGHT

LABELS = np.repeat(np.arange(25, dtype=np.uint8)[:, None], 40, 1)
UV = np.full((2, 25, 40), 0.5, np.float32)


def draws(noise: Noise, count: int = 400) -> list[tuple[np.ndarray, np.ndarray]]:
    return [disturbed(LABELS, UV, noise, np.random.default_rng(i)) for i in range(count)]


@pytest.mark.parametrize("row", ["moderate", "heavy"])
def test_how_often_nothing_is_found_and_sides_are_swapped(row: str) -> None:
    noise = NOISE[row]
    surfaces = draws(noise)
    dropped = [not labels.any() for labels, _ in surfaces]
    kept = [labels for labels, _ in surfaces if labels.any()]
    swapped = [np.array_equal(labels[:, 0], LEFT_RIGHT) for labels in kept]
    assert all(s or np.array_equal(labels, LABELS) for s, labels in zip(swapped, kept, strict=True))
    for share, wanted in ((np.mean(dropped), noise.drop), (np.mean(swapped), noise.swap)):
        assert abs(share - wanted) < 3.5 * (wanted * (1 - wanted) / len(kept)) ** 0.5


def test_how_far_u_and_v_are_moved() -> None:
    moved = np.stack([uv - UV for _, uv in draws(Noise(jitter=0.05))])  # [n, 2, chart, pixel]
    charts = moved.mean(3)
    assert abs(charts.std() - 0.05) < 0.002 and abs(charts.mean()) < 0.002
    assert abs((moved - charts[..., None]).std() - 0.025) < 0.001
    assert (
        abs(np.corrcoef(charts[:, 0].ravel(), charts[:, 1].ravel())[0, 1]) < 0.05
    )  # u and v apart
    assert abs(np.corrcoef(charts[:, 0, 1], charts[:, 0, 2])[0, 1]) < 0.2  # charts apart


def test_u_and_v_stay_on_their_chart_and_nothing_else_changes() -> None:
    far = np.stack([uv for _, uv in draws(Noise(jitter=0.8), 20)])
    assert far.min() == 0 and far.max() == 1 and far.dtype == np.float32
    for noise in (NOISE["none"], Noise(drop=1.0), Noise(swap=1.0)):
        labels, uv = disturbed(LABELS, UV, noise, np.random.default_rng(0))
        assert np.array_equal(uv, UV) and labels.dtype == np.uint8
    assert np.array_equal(LABELS[:, 0], np.arange(25)) and (UV == 0.5).all()
