"""Re-ranking on part distances: it brings friends of friends nearer, bears hidden parts, and
says what it cannot do.
"""

from itertools import pairwise

import numpy as np
import pytest
import torch

from benchmarks.reference import k_reciprocal
from partreid.distance import PartDistance
from partreid.errors import DataError
from partreid.metrics import evaluate_embeddings, rank
from partreid.retrieval import neighbors as neighbours
from partreid.retrieval.k_reciprocal import KReciprocal
from partreid.types import Embeddings


def people(n: int, images: int, noise: float, seed: int) -> tuple[Embeddings, list[int]]:
    draw = torch.Generator().manual_seed(seed)
    centers = torch.randn(n, 1, 2, 8, generator=draw)
    vectors = (centers + noise * torch.randn(n, images, 2, 8, generator=draw)).flatten(0, 1)
    visibility = (torch.rand(n * images, 2, generator=draw) > 0.2).float()
    visibility[:, 0] = 1
    return Embeddings(vectors, visibility, ("a", "b")), [
        i for i in range(1, n + 1) for _ in range(images)
    ]


def test_it_helps_where_people_have_several_images() -> None:
    e, ids = people(12, 8, 0.6, 3)
    query, gallery = e.rows(slice(0, 96, 8)), e.rows([i for i in range(96) if i % 8])
    q_ids, g_ids = ids[::8], [x for i, x in enumerate(ids) if i % 8]
    known = {"q_ids": q_ids, "g_ids": g_ids}
    plain = evaluate_embeddings(PartDistance("cosine"), query, gallery, **known)
    done: list[tuple[int, int]] = []
    blocks = KReciprocal(k1=7, k2=3)(
        PartDistance("cosine"), query, gallery, rows=10, progress=lambda i, n: done.append((i, n))
    )
    again = rank(blocks, **known, shape=(12, 84))
    assert again.mAP > plain.mAP + 0.02
    assert done[-1] == (111, 111) and done == sorted(done)


def settings(draw: np.random.Generator) -> KReciprocal:
    k1 = int(draw.integers(1, 26))
    return KReciprocal(
        k1,
        int(draw.integers(1, min(k1 + 1, 8) + 1)),
        float(draw.choice([0, 0.3, 1])),
        int(draw.choice([1, 2, 3])),
    )


@pytest.mark.parametrize("seed", range(8))
def test_any_matrix_of_distances_against_the_dense_definition(seed: int) -> None:
    """Few distinct distances, so that nearly everything ties; not symmetric, with +inf,
    galleries of one image.
    """
    draw = np.random.default_rng(seed)
    for _ in range(25):
        n = int(draw.integers(2, 40))
        queries = int(draw.integers(1, n))
        far = draw.integers(0, int(draw.choice([2, 6, 200])), (n, n)).astype(np.float32) / 16
        far[draw.random((n, n)) < draw.choice([0, 0.3])] = np.inf
        if draw.random() < 0.5:
            far = np.minimum(far, far.T)
        if draw.random() < 0.2:
            far[draw.integers(n)] = draw.choice([0, np.inf])
        rerank = settings(draw)
        blocks = rerank.blocks(far.__getitem__, queries, n, rows=int(draw.choice([3, 7, 64])))
        distances = np.concatenate([block for _, block in blocks])
        np.testing.assert_allclose(
            distances, dense(rerank, far, queries), atol=1e-5, err_msg=str(rerank)
        )


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "unit_euclidean"])
@pytest.mark.parametrize("seed", range(3))
def test_embeddings_with_ties_and_hidden_parts_against_the_dense_definition(
    metric: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors of +1 and -1, four wide: every distance is exact, many tie, some images are the
    same.
    """
    draw = np.random.default_rng(seed)
    for _ in range(12):
        monkeypatch.setattr(neighbours, "_SIDE", int(draw.choice([6, 11, 64])))
        monkeypatch.setattr(neighbours, "_AT_ONCE", int(draw.choice([60, 2000])))
        n = int(draw.integers(2, 30))
        queries = int(draw.integers(1, n))
        vectors = torch.from_numpy(draw.choice([-1, 1], (n, 3, 4)).astype(np.float32))
        visibility = torch.from_numpy(
            (draw.random((n, 3)) >= draw.choice([0, 0.5])).astype(np.float32)
        )
        e = Embeddings(vectors, visibility, ("a", "b", "c"))
        distance = PartDistance(metric, (1.0, 0.5, 0.5) if draw.random() < 0.5 else None)  # type: ignore[arg-type]
        rerank = settings(draw)
        blocks = rerank(
            distance,
            e.rows(slice(0, queries)),
            e.rows(slice(queries, n)),
            int(draw.choice([1, 7, 64])),
        )
        distances = torch.cat([block for _, block in blocks]).numpy()
        np.testing.assert_allclose(
            distances,
            dense(rerank, distance(e, e).numpy(), queries),
            atol=1e-5,
            err_msg=str(rerank),
        )


def dense(rerank: KReciprocal, far: np.ndarray, queries: int) -> np.ndarray:
    return k_reciprocal(far, queries, rerank.k1, rerank.k2, rerank.weight, rerank.power)


def test_progress_tells_of_the_result_as_well_and_blocks_come_as_they_are_asked_for() -> None:
    e, _ = people(10, 4, 0.6, 0)
    done: list[tuple[int, int]] = []
    blocks = KReciprocal()(
        PartDistance("cosine"),
        e.rows(slice(0, 16)),
        e.rows(slice(16, 40)),
        rows=5,
        progress=lambda *step: done.append(step),
    )
    assert not done  # nothing is computed before it is asked for
    assert [span for span, _ in blocks] == [slice(0, 5), slice(5, 10), slice(10, 15), slice(15, 16)]
    assert all(a <= b for a, b in pairwise(done)) and {everything for _, everything in done} == {59}
    assert [d for d, _ in done][-5:] == [43, 48, 53, 58, 59]


def test_the_same_twice_and_in_any_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    e, _ = people(12, 5, 0.6, 2)
    sides = PartDistance("euclidean"), e.rows(slice(0, 20)), e.rows(slice(20, 60))
    once, twice = (torch.cat([block for _, block in KReciprocal(7, 3)(*sides)]) for _ in range(2))
    assert torch.equal(once, twice)
    monkeypatch.setattr(neighbours, "_SIDE", 7)
    torch.testing.assert_close(
        torch.cat([block for _, block in KReciprocal(7, 3)(*sides, rows=3)]),
        once,
        rtol=0,
        atol=1e-5,
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_as_on_a_cpu() -> None:
    e, _ = people(40, 8, 0.6, 2)
    query, gallery = e.rows(slice(0, 60)), e.rows(slice(60, 320))
    here, there = (
        torch.cat([block for _, block in KReciprocal()(PartDistance("cosine"), q, g)])
        for q, g in ((query, gallery), (query.to("cuda"), gallery.to("cuda")))
    )
    torch.testing.assert_close(there, here, atol=1e-4, rtol=0)


def test_what_comes_from_a_function_is_not_changed() -> None:
    far = np.random.default_rng(0).random((12, 12)).astype(np.float32)
    before = far.copy()
    list(KReciprocal(3, 2).blocks(lambda span: far[span], 4, 12))
    np.testing.assert_array_equal(far, before)


def test_embeddings_that_hold_nan_are_refused() -> None:
    e, _ = people(3, 3, 0.5, 0)
    e.vectors[7, 1, 2] = torch.nan
    with pytest.raises(DataError, match="not all numbers"):
        next(KReciprocal()(PartDistance("cosine"), e.rows(slice(0, 3)), e.rows(slice(3, 9))))


def test_images_that_share_nothing_come_last_and_no_number_is_lost() -> None:
    e, _ = people(4, 4, 0.5, 0)
    e.visibility[:] = 1
    e.visibility[3], e.visibility[5] = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    for weight in (0.3, 1.0):  # 1: the original distance alone
        blocks = KReciprocal(k1=3, k2=2, weight=weight)(
            PartDistance("euclidean"), e.rows(slice(0, 4)), e.rows(slice(4, 16))
        )
        distances = torch.cat([block for _, block in blocks])
        assert distances.isfinite().all()
    assert distances[3, 1] == distances[3].max() == 1


def test_a_gallery_smaller_than_k1() -> None:
    e, _ = people(2, 2, 0.1, 1)
    ((_, block),) = KReciprocal()(PartDistance("cosine"), e.rows([0]), e.rows([1, 2, 3]))
    assert block.shape == (1, 3) and block.isfinite().all()


@pytest.mark.parametrize("wrong", [{"k1": 0}, {"k2": 0}, {"k2": 30}, {"weight": 1.5}, {"power": 0}])
def test_senseless_numbers_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(DataError, match="re-ranking needs"):
        KReciprocal(**wrong)  # type: ignore[arg-type]
