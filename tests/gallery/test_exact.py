"""Nothing is missed in 20,000 crops as trained models describe them, with any method's distance."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from partreid.gallery import open_gallery
from partreid.inference import SavedEmbeddings, load
from partreid.methods import METHODS
from partreid.types import Benchmark, Embeddings
from tests.gallery.drawn import brute

CROPS, TOP = 20_000, 50


def many(crops: SavedEmbeddings, n: int) -> SavedEmbeddings:
    """n crops between those of a small world: the vectors of two of them mixed and shaken a little,
    as visible as one of them.
    """
    draw = torch.Generator().manual_seed(0)
    e = crops.embeddings
    one, other = torch.randint(len(e), (2, n), generator=draw)
    share = torch.rand(n, 1, 1, generator=draw)
    x = share * e.vectors[one] + (1 - share) * e.vectors[other]
    x = x + 0.02 * x.std() * torch.randn(x.shape, generator=draw)
    mixed = Embeddings(x, e.visibility[one].clone(), e.names)
    return replace(crops, embeddings=mixed, paths=(None,) * n, looks=None)


@pytest.mark.parametrize("method", list(METHODS))
def test_recall_is_1_and_the_order_that_of_all_distances(
    method: str, trained: Callable[[str], Path], benchmark: Benchmark, empty: Path
) -> None:
    model = load(trained(method), "cpu")
    crops = many(model.index([s.path for s in benchmark.gallery]), CROPS)
    query = model.index([s.path for s in benchmark.query[:2]])
    expected = [[row + 1 for row in rows[:TOP]] for rows in brute(query, crops, range(CROPS))]
    with open_gallery(empty, crops, budget=0) as gallery, open_gallery(empty) as hot:
        gallery.add(crops)
        assert hot.warm()
        for view in (gallery, hot):
            results = view.search(query, TOP)
            assert [[hit.id for hit in hits] for hits in results] == expected
        far = crops.distance(query.embeddings, crops.embeddings)  # in float32
        for hits, row in zip(results, far):
            assert row[[hit.id - 1 for hit in hits]].tolist() == pytest.approx(
                [hit.distance for hit in hits], abs=2e-3
            )
