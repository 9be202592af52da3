"""Several images asking as one, against a loop over queries, images and parts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.distance import PartDistance
from partreid.errors import ArgumentError, ShapeError
from partreid.metrics import evaluate_embeddings
from partreid.retrieval.multi_query import How, pooled
from partreid.types import Embeddings

IMAGES = st.lists(st.tuples(st.integers(-1, 2), st.integers(1, 2)), min_size=1, max_size=8)
Set = list[tuple[int, int]]
NAMES = ("head", "legs")


def described(n: int, draw: np.random.Generator) -> Embeddings:
    return Embeddings(
        torch.from_numpy(draw.normal(size=(n, 2, 3)).astype(np.float32)),
        torch.from_numpy(draw.choice([0, 0, 0.25, 1], (n, 2)).astype(np.float32)),
        NAMES,
    )


def plainly(
    query: Embeddings, groups: Set, more: Embeddings, given_: Set, how: str, unit: bool
) -> tuple[list, list]:
    vectors, visibility = query.vectors.tolist(), query.visibility.tolist()
    for i, who in enumerate(groups):
        for m in range(2):
            looks = [
                (more.vectors[j, m].numpy().astype(float), float(more.visibility[j, m]))
                for j, other in enumerate(given_)
                if other == who and who[0] > 0 and more.visibility[j, m] > 0
            ]
            if not looks:
                continue
            if unit:
                looks = [(e / np.linalg.norm(e), v) for e, v in looks]
            if how == "mean":
                vectors[i][m] = (sum(v * e for e, v in looks) / sum(v for _, v in looks)).tolist()
            else:
                vectors[i][m] = np.max([e for e, _ in looks], 0).tolist()
            visibility[i][m] = max(v for _, v in looks)
    return vectors, visibility


@settings(max_examples=200)
@given(IMAGES, IMAGES, st.sampled_from(["mean", "max"]), st.booleans(), st.integers(0, 999))
def test_matches_loops(groups: Set, given_: Set, how: How, unit: bool, seed: int) -> None:
    draw = np.random.default_rng(seed)
    query, more = described(len(groups), draw), described(len(given_), draw)
    before = query.vectors.clone(), query.visibility.clone()
    (q_ids, q_cams), (ids, cams) = (zip(*images) for images in (groups, given_))
    rule = {"how": how, "unit": unit, "distractor": 0, "junk": -1}
    further = {"multi_query": more, "multi_query_ids": ids, "multi_query_cams": cams}
    embeddings = pooled(query, q_ids=q_ids, q_cams=q_cams, **further, **rule)
    vectors, visibility = plainly(query, groups, more, given_, how, unit)
    np.testing.assert_allclose(embeddings.vectors, vectors, atol=1e-5)
    np.testing.assert_allclose(embeddings.visibility, visibility, atol=1e-6)
    assert (
        embeddings.names == NAMES
        and torch.equal(query.vectors, before[0])
        and torch.equal(query.visibility, before[1])
    )
    # without further images queries are grouped
    alone = pooled(query, q_ids=q_ids, q_cams=q_cams, **rule)
    np.testing.assert_allclose(
        alone.vectors, plainly(query, groups, query, groups, how, unit)[0], atol=1e-5
    )


def test_by_hand() -> None:
    """Two images of person 1 from camera 1; the head is seen in one of them, the legs in both,
    differently well.
    """
    query = Embeddings(
        torch.tensor([[[9.0, 9.0], [9.0, 9.0]], [[5.0, 5.0], [5.0, 5.0]]]),
        torch.tensor([[0.0, 1.0], [1.0, 0.0]]),
        NAMES,
    )
    more = Embeddings(
        torch.tensor(
            [[[2.0, 4.0], [1.0, 0.0]], [[8.0, 8.0], [0.0, 4.0]], [[7.0, 7.0], [7.0, 7.0]]]
        ),
        torch.tensor([[1.0, 0.25], [0.0, 0.75], [1.0, 1.0]]),
        NAMES,
    )
    labels = {
        "q_ids": [1, 2],
        "q_cams": [1, 1],
        "multi_query": more,
        "multi_query_ids": [1, 1, 1],
        "multi_query_cams": [1, 1, 2],
    }
    mean = pooled(query, **labels)
    assert mean.vectors[0].tolist() == [[2, 4], [0.25, 3]] and mean.visibility[0].tolist() == [
        1,
        0.75,
    ]
    assert torch.equal(mean.vectors[1], query.vectors[1])  # nobody of person 2
    largest = pooled(query, **labels, how="max")
    assert largest.vectors[0].tolist() == [[2, 4], [1, 4]] and largest.visibility[0].tolist() == [
        1,
        0.75,
    ]


def test_a_hidden_part_is_found_through_another_image() -> None:
    """Alone the query shares nothing with its right image; together with the second look it is
    the nearest.
    """
    query = Embeddings(torch.tensor([[[1.0], [0.0]]]), torch.tensor([[1.0, 0.0]]), NAMES)
    more = Embeddings(
        torch.tensor([[[1.0], [0.0]], [[0.0], [3.0]]]),
        torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        NAMES,
    )
    gallery = Embeddings(
        torch.tensor([[[0.0], [3.0]], [[1.5], [9.0]]]),
        torch.tensor([[0.0, 1.0], [1.0, 1.0]]),
        NAMES,
    )
    ids = {"q_ids": [1], "g_ids": [1, 2]}
    alone = evaluate_embeddings(PartDistance("euclidean"), query, gallery, **ids)
    assert alone.first.tolist() == [2]
    together = pooled(
        query,
        q_ids=[1],
        q_cams=[1],
        multi_query=more,
        multi_query_ids=[1, 1],
        multi_query_cams=[1, 1],
    )
    both = evaluate_embeddings(PartDistance("euclidean"), together, gallery, **ids)
    assert both.first.tolist() == [1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_precision_stays(dtype: torch.dtype) -> None:
    e = Embeddings(torch.full((3, 2, 4), 0.5, dtype=dtype), torch.ones(3, 2, dtype=dtype), NAMES)
    for how in ("mean", "max"):
        embeddings = pooled(e, q_ids=[1, 1, 1], q_cams=[1, 1, 2], how=how)  # type: ignore[arg-type]
        assert (
            torch.equal(embeddings.vectors, e.vectors)
            and embeddings.visibility.dtype == embeddings.vectors.dtype == dtype
        )


def test_what_does_not_fit_is_said() -> None:
    one, other = (
        Embeddings.single("head", torch.rand(2, 3)),
        Embeddings.single("legs", torch.rand(2, 3)),
    )
    with pytest.raises(ArgumentError, match="how must be one of 'mean', 'max', got 'min'"):
        pooled(one, q_ids=[1, 2], q_cams=[1, 1], how="min")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"q_ids must be \[2\]"):
        pooled(one, q_ids=[1], q_cams=[1, 1])
    with pytest.raises(ShapeError, match=r"multi_query_cams must be \[2\]"):
        labels = {"q_ids": [1, 2], "q_cams": [1, 1], "multi_query_ids": [1, 2]}
        pooled(one, **labels, multi_query=one, multi_query_cams=[1])
    with pytest.raises(ShapeError, match="queries have head, 3 wide; the others legs, 3 wide"):
        pooled(one, **labels, multi_query=other, multi_query_cams=[1, 1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("how", ["mean", "max"])
def test_cuda_pools_as_the_cpu_does(how: How) -> None:
    draw = np.random.default_rng(0)
    query, more = described(30, draw), described(200, draw)
    ids = draw.integers(1, 8, 230)
    labels = {
        "q_ids": ids[:30],
        "q_cams": ids[:30] % 2,
        "multi_query_ids": ids[30:],
        "multi_query_cams": ids[30:] % 2,
    }
    here = pooled(query, multi_query=more, **labels, how=how)
    there = pooled(query.to("cuda"), multi_query=more.to("cuda"), **labels, how=how)
    torch.testing.assert_close(there.vectors.cpu(), here.vectors, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(there.visibility.cpu(), here.visibility)
