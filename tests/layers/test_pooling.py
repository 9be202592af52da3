"""Pooling against loops over pixels."""

import pytest
import torch

from partreid.errors import ShapeError
from partreid.layers.pooling import POOLS, max_pool, mean_pool, weighted_pool

B, C, M, H, W = 2, 3, 4, 5, 3


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(B, C, H, W), torch.rand(B, M, H, W)


@pytest.mark.parametrize("name", list(POOLS))
def test_eq3_and_its_variants_match_loops(name: str) -> None:
    f, w = inputs()
    got = POOLS[name](f, w)
    assert got.shape == (B, M, C)
    for b in range(B):
        for m in range(M):
            for c in range(C):
                terms = [float(w[b, m, i, j] * f[b, c, i, j]) for i in range(H) for j in range(W)]
                mass = float(w[b, m].sum())
                want = {
                    "weighted": sum(terms) / mass,
                    "mean": sum(terms) / (H * W),
                    "max": max(terms),
                }[name]
                assert float(got[b, m, c]) == pytest.approx(want, abs=1e-5)


def test_a_map_of_ones_is_the_plain_mean() -> None:
    f, _ = inputs()
    ones = torch.ones(B, 1, H, W)
    for pool in (weighted_pool, mean_pool):
        torch.testing.assert_close(pool(f, ones)[:, 0], f.mean((2, 3)))
    torch.testing.assert_close(max_pool(f, ones)[:, 0], f.amax((2, 3)))


def test_weights_count_relative_to_their_sum_only_in_eq3() -> None:
    f, w = inputs()
    torch.testing.assert_close(weighted_pool(f, 3 * w), weighted_pool(f, w))
    torch.testing.assert_close(mean_pool(f, 3 * w), 3 * mean_pool(f, w))


def test_a_map_that_is_nowhere_pools_nothing_and_keeps_gradients_finite() -> None:
    f, w = inputs()
    w[:, 1] = 0
    f.requires_grad_()
    w.requires_grad_()
    for pool in POOLS.values():
        e = pool(f, w)
        assert not e[:, 1].any()
        e.square().sum().backward()
    assert f.grad is not None and f.grad.isfinite().all()
    assert w.grad is not None and w.grad.isfinite().all()


@pytest.mark.parametrize("name", list(POOLS))
def test_maps_lie_on_the_grid_of_the_features(name: str) -> None:
    """Maps of one pixel were spread over all by max_pool."""
    f, w = inputs()
    for wrong in (w[:, :, :1, :1], w[:1]):
        with pytest.raises(ShapeError, match=r"on the grid of the features, \[2, M, 5, 3\]"):
            POOLS[name](f, wrong)
