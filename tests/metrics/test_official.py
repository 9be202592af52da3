"""Old rules, from their formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.metrics.lists import average_precision
from partreid.metrics.official import (
    TrapezoidRanking,
    bpbreid_official,
    cuhk03_single_shot,
    isp_official,
    trapezoid_ap,
    trapezoid_mAP,
)
from partreid.metrics.ranking import Ranking
from partreid.types import Embeddings

RANKS = st.sets(st.integers(1, 40), min_size=1, max_size=12).map(lambda r: np.array(sorted(r)))


@settings(max_examples=200, deadline=None)
@given(RANKS)
def test_trapezoid_ap_walks_the_list(ranks: np.ndarray) -> None:
    area = recall = hits = 0.0
    precision = 1.0
    for place in range(1, int(ranks[-1]) + 1):
        hits += place in ranks
        area += (hits / len(ranks) - recall) * (precision + hits / place) / 2
        recall, precision = hits / len(ranks), hits / place
    assert trapezoid_ap(ranks) == pytest.approx(area, abs=1e-12)
    assert trapezoid_ap(ranks) <= average_precision(ranks) + 1e-12


def test_trapezoid_mean_skips_queries_without_an_answer() -> None:
    ranks = (np.array([1, 3]), np.empty(0, np.int64), np.array([2]))
    ranking = Ranking("market1501", ranks, np.empty((3, 0), np.int64), np.arange(3))
    mean = (trapezoid_ap(ranks[0]) + trapezoid_ap(ranks[2])) / 2
    assert trapezoid_mAP(ranking) == pytest.approx(mean)
    other = TrapezoidRanking.of(ranking)
    assert other.mAP == pytest.approx(mean) and other.mAP < ranking.mAP
    assert other.cmc == ranking.cmc and np.isnan(other.ap[1])


def test_pairs_without_a_shared_part_get_the_largest_distance_plus_one() -> None:
    q = Embeddings(torch.tensor([[[1.0, 0], [1, 0]]]), torch.tensor([[1.0, 0]]), ("head", "legs"))
    g = Embeddings(
        torch.tensor([[[0.0, 2], [1, 0]], [[1, 0], [-1, 0]]]),
        torch.tensor([[1.0, 1], [0, 1]]),
        q.names,
    )
    far = bpbreid_official(q, g)
    # the largest distance of a shared part; the unshared legs are 2 apart and do not count
    root = 2**0.5
    torch.testing.assert_close(far, torch.tensor([[root, root + 1]]))
    soft = bpbreid_official(q, g, continuous=True)
    torch.testing.assert_close(soft, torch.tensor([[root, 3.0]]))  # here they do


def test_isp_counts_global_and_foreground_once_however_they_are_stored() -> None:
    draw = torch.Generator().manual_seed(0)
    vectors, seen = torch.randn(5, 4, 3, generator=draw), torch.ones(5, 4)
    seen[1:, 3] = 0
    apart = Embeddings(vectors, seen, ("global", "foreground", "part1", "part2"))
    both = Embeddings.single("global+foreground", vectors[:, :2].flatten(1))
    joined = Embeddings.cat(both, Embeddings(vectors[:, 2:], seen[:, 2:], apart.names[2:]))
    distances = isp_official(apart, apart)
    torch.testing.assert_close(distances, isp_official(joined, joined))
    # images 1 and 2: the joined vector and part 1, a mean of two
    unit = [torch.nn.functional.normalize(x, dim=1) for x in (both.vectors[:, 0], vectors[:, 2])]
    like = sum((1 + (u[1] * u[2]).sum()) / 2 for u in unit) / 2
    torch.testing.assert_close(distances[1, 2], 1 - like)


def test_single_shot_with_one_image_each_is_the_plain_cmc() -> None:
    distances = np.array([0.3, 0.1, 0.2, 0.4], np.float32)
    ids, valid = np.array([5, 6, 7, 8]), np.array([True, True, False, True])
    got = cuhk03_single_shot(distances, 8, ids, valid, (1, 2, 3), np.random.RandomState(0))
    assert got == {1: 0, 2: 0, 3: 1}
