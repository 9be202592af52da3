"""The nearest k are those of sorting whole rows, for every metric, with ties and with pairs that
share nothing.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partreid import distance as module
from partreid.distance import Metric, PartDistance
from partreid.errors import ArgumentError, DataError
from partreid.retrieval.search import nearest
from partreid.types import Embeddings

METRICS: tuple[Metric, ...] = ("cosine", "euclidean", "unit_euclidean")


def some(n: int, seed: int, hidden: float = 0.4, values: int = 3) -> Embeddings:
    """Few values and much hidden: many ties and many pairs that share nothing."""
    draw = torch.Generator().manual_seed(seed)
    visibility = (torch.rand(n, 2, generator=draw) >= hidden).float()
    return Embeddings(
        torch.randint(-1, values - 1, (n, 2, 2), generator=draw).float(),
        visibility,
        ("head", "legs"),
    )


def sorted_whole(
    distance: PartDistance, q: Embeddings, g: Embeddings, k: int
) -> tuple[np.ndarray, np.ndarray]:
    order = torch.argsort(distance(q, g), dim=1, stable=True)[:, :k]
    return order.numpy(), distance(q, g).gather(1, order).numpy()


@given(
    st.integers(1, 12),
    st.integers(1, 60),
    st.integers(1, 70),
    st.integers(0, 999),
    st.sampled_from(METRICS),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.sampled_from([(4, 7), (3, 64), (64, 2)]),
)
def test_nearest_is_a_sort_of_whole_rows(
    queries: int,
    gallery: int,
    k: int,
    seed: int,
    metric: Metric,
    hidden: float,
    tile: tuple[int, int],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TILE_CPU", tile)
        q, g = some(queries, seed, hidden), some(gallery, seed + 1, hidden)
        index, far = nearest(PartDistance(metric), q, g, k)
        expected = sorted_whole(PartDistance(metric), q, g, k)
    assert (
        index.shape == (queries, min(k, gallery))
        and index.dtype == np.int64
        and far.dtype == np.float32
    )
    np.testing.assert_array_equal(far, expected[1])
    np.testing.assert_array_equal(index, expected[0])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 3, 50, 500])
def test_many_tiles_of_real_numbers_and_duplicates(
    metric: Metric, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TILE_CPU", (16, 64))
    draw = torch.Generator().manual_seed(0)
    q, g = (
        Embeddings(
            torch.randn(n, 3, 8, generator=draw),
            (torch.rand(n, 3, generator=draw) > 0.5).float(),
            ("a", "b", "c"),
        )
        for n in (40, 400)
    )
    index, far = nearest(PartDistance(metric, shrink=0.0), q, g, k)
    expected = sorted_whole(PartDistance(metric), q, g, k)
    np.testing.assert_array_equal(index, expected[0])
    np.testing.assert_array_equal(far, expected[1])
    ready = PartDistance(metric).prepare(g)
    for output, wanted in zip(nearest(PartDistance(metric), q, ready, k), expected, strict=True):
        np.testing.assert_array_equal(output, wanted)
    with pytest.raises(ArgumentError, match="the gallery must be prepared for"):
        nearest(PartDistance(metric, shrink=1.0, far=1.0), q, ready, k)


def test_double_precision_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TILE_CPU", (4, 4))
    near = 1 + torch.arange(9, 0, -1, dtype=torch.float64) * 1e-12  # no two differ in float32
    g = Embeddings(near[:, None, None].expand(9, 1, 1), torch.ones(9, 1), ("a",))
    nowhere = Embeddings(torch.zeros(1, 1, 1, dtype=torch.float64), torch.ones(1, 1), ("a",))
    index, far = nearest(PartDistance("euclidean"), nowhere, g, 9)
    prepared = nearest(PartDistance("euclidean"), nowhere, PartDistance("euclidean").prepare(g), 9)
    assert prepared[1].dtype == np.float64 and prepared[0].tolist() == index.tolist()
    assert far.dtype == np.float64 and index.tolist() == [[8, 7, 6, 5, 4, 3, 2, 1, 0]]


def test_memory_is_that_of_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor or array of queries x gallery is ever made: the largest that the tiles give is
    counted.
    """
    monkeypatch.setattr(module, "TILE_CPU", (8, 32))
    seen = [tile.numel() for _, _, tile in PartDistance("cosine").tiles(some(64, 1), some(1024, 2))]
    assert max(seen) <= 8 * 32 and sum(seen) == 64 * 1024


def test_what_cannot_be_searched() -> None:
    e = some(3, 0)
    for k in (0, -1, 1.5, "3", True):
        with pytest.raises(ArgumentError, match="k must be"):
            nearest(PartDistance("cosine"), e, e, k)  # type: ignore[arg-type]
    broken = Embeddings(torch.full((1, 2, 2), torch.nan), torch.ones(1, 2), e.names)
    with pytest.raises(DataError, match="not all numbers"):
        nearest(PartDistance("cosine"), broken, some(3, 0, hidden=0.0), 1)
    index, far = nearest(PartDistance("cosine"), e, e.rows([]), 3)
    assert index.shape == far.shape == (3, 0)
