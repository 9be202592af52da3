"""Nearest neighbours from tiles: the same as sorting whole rows, in whatever order the tiles
come.
"""

import numpy as np
import pytest
import torch

from partreid.errors import DataError
from partreid.retrieval.neighbors import Nearest, slices


def by_sorting(far: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(np.maximum(far, 0), axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("seed", range(60))
def test_against_sorting(seed: int) -> None:
    draw = np.random.default_rng(seed)
    n = int(draw.integers(1, 60))
    k = int(draw.integers(1, n + 1))
    far = draw.integers(-1, int(draw.choice([1, 3, 1000])), (n, n)).astype(np.float32) / 8
    far = np.minimum(far, far.T)
    far[far < 0] = -1e-7  # as rounding leaves it
    far[draw.random((n, n)) < draw.choice([0, 0.4])] = np.inf
    spans = list(slices(n, int(draw.integers(1, 20))))
    tiles = [(rows, columns) for rows in spans for columns in spans]
    near = Nearest(n, k)
    for place in draw.permutation(len(tiles)):
        rows, columns = tiles[place]
        # also turned round
        whole = torch.from_numpy(far if draw.random() < 0.5 else np.ascontiguousarray(far.T).T)
        near.update(rows, columns, whole[rows, columns])
    index = by_sorting(far, k)
    np.testing.assert_array_equal(near.index, index)
    np.testing.assert_array_equal(near.distance, np.maximum(np.take_along_axis(far, index, 1), 0))
    np.testing.assert_array_equal(
        near.largest, np.maximum(np.where(np.isfinite(far), far, 0).max(1), 0)
    )


def test_distances_that_keep_falling() -> None:
    """The worst order: every tile is nearer than all before it."""
    far = torch.arange(300, 0, -1).repeat(4, 1).float()
    near = Nearest(4, 5)
    for columns in slices(300, 50):
        near.update(slice(0, 4), columns, far[:, columns].contiguous())
    assert near.index.tolist() == [[299, 298, 297, 296, 295]] * 4


def test_nan_is_refused() -> None:
    far = torch.zeros(4, 4)
    far[2, 1] = torch.nan
    with pytest.raises(DataError, match="images 10 to 14 are not all numbers"):
        Nearest(20, 3).update(slice(10, 14), slice(0, 4), far)


def test_slices() -> None:
    assert list(slices(7, 3)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(slices(0, 3)) == []
