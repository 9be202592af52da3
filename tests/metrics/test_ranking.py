"""The whole way from embeddings to scores, against an evaluation written down plainly."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.distance import PartDistance
from partreid.errors import DataError, ShapeError
from partreid.metrics import (
    ANY_CAMERA,
    OpenSetAccumulator,
    PairAccumulator,
    Ranking,
    evaluate_embeddings,
    rank,
)
from partreid.metrics.protocols import SINGLE_SHOT
from partreid.types import JUNK, Embeddings

IMAGES = st.lists(st.tuples(st.integers(-1, 3), st.integers(1, 3)), min_size=1, max_size=12)
Set = list[tuple[int, int]]


def plainly(
    distances: np.ndarray, query: Set, gallery: Set, ks: tuple[int, ...]
) -> dict[str, float]:
    """Market-1501 rule, one query and one image at a time."""
    aps, inps, firsts = [], [], []
    for row, (identity, camera) in zip(distances, query):
        kept = [
            (d, j)
            for j, d in enumerate(row)
            if gallery[j][0] != -1 and gallery[j] != (identity, camera)
        ]
        # ties by position in the gallery
        hits = [gallery[j][0] == identity > 0 for _, j in sorted(kept)]
        if any(hits):
            places = [i + 1 for i, hit in enumerate(hits) if hit]
            aps.append(sum((n + 1) / place for n, place in enumerate(places)) / len(places))
            inps.append(len(places) / places[-1])
            firsts.append(places[0])
    return {
        "mAP": sum(aps) / len(aps),
        "mINP": sum(inps) / len(inps),
        **{f"R{k}": sum(first <= k for first in firsts) / len(firsts) for k in ks},
    }


def case(query: Set, gallery: Set, seed: int) -> tuple[Embeddings, Embeddings]:
    """Coarse values and hidden parts: many ties, some infinite distances."""
    draw = np.random.default_rng(seed)

    def side(n: int) -> Embeddings:
        return Embeddings(
            torch.from_numpy(draw.integers(-1, 2, (n, 2, 1)).astype(np.float32)),
            torch.from_numpy(draw.integers(0, 2, (n, 2)).astype(np.float32)),
            ("head", "legs"),
        )

    return side(len(query)), side(len(gallery))


def run(q: Embeddings, g: Embeddings, query: Set, gallery: Set, **more: object) -> Ranking:
    ids = np.array([*query, *gallery])
    n = len(query)
    return evaluate_embeddings(
        PartDistance("euclidean"),
        q,
        g,
        q_ids=ids[:n, 0],
        g_ids=ids[n:, 0],
        q_cams=ids[:n, 1],
        g_cams=ids[n:, 1],
        distractor=0,
        junk=-1,
        **more,
    )  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(IMAGES, IMAGES, st.integers(0, 999))
def test_matches_plain_evaluation(query: Set, gallery: Set, seed: int) -> None:
    q, g = case(query, gallery, seed)
    if not any(i > 0 and i == j and c != d for i, c in query for j, d in gallery):
        with pytest.raises(DataError):
            run(q, g, query, gallery)
        return
    result = run(q, g, query, gallery, top=3)
    want = plainly(PartDistance("euclidean")(q, g).numpy(), query, gallery, (1, 5, 10, 20))
    assert result.scores == pytest.approx(want, abs=1e-9)
    for rows in (1, 5):
        again = run(q, g, query, gallery, top=3, rows=rows)
        assert again.scores == result.scores and np.array_equal(again.top, result.top)


def small() -> tuple[Set, Set, Ranking]:
    query = [(1, 1), (2, 1), (9, 1), (0, 1)]
    gallery = [(1, 1), (1, 2), (2, 2), (0, 2), (-1, 3), (2, 3)]
    distances = torch.tensor(
        [
            [0.0, 0.5, 0.1, 0.9, 0.0, 1.0],
            [0.9, 0.8, 0.1, 0.2, 0.0, 0.3],
            [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
            [0.1, 0.2, 0.3, 0.0, 0.5, 0.6],
        ]
    )
    q, g = np.array(query), torch.tensor(gallery)
    return (
        query,
        gallery,
        rank(
            [(slice(0, 2), distances[:2]), (slice(2, 4), distances[2:])],
            q_ids=q[:, 0],
            g_ids=g[:, 0],
            q_cams=q[:, 1].tolist(),
            g_cams=g[:, 1],
            distractor=0,
            junk={-1},
            ks=(1, 2),
            top=4,
        ),
    )


def test_by_hand() -> None:
    _, _, result = small()
    # query 1: own shot 0 and junk 4 are gone, so 2 1 3 5; query 2: 2 3 5 1 0. Identity 9 and
    # distractors: skipped.
    assert [r.tolist() for r in result.ranks] == [[2], [1, 3], [], []]
    assert result.top.tolist() == [[2, 1, 3, 5], [2, 3, 5, 1], [0, 1, 2, 3], [3, 0, 1, 2]]
    assert result.skipped == 2 and result.protocol == "market1501"
    assert result.first.tolist() == [2, 1, 0, 0]
    np.testing.assert_allclose(result.ap, [1 / 2, (1 + 2 / 3) / 2, np.nan, np.nan])
    np.testing.assert_allclose(result.inp, [1 / 2, 2 / 3, np.nan, np.nan])
    assert result.scores == pytest.approx({"mAP": 2 / 3, "mINP": 7 / 12, "R1": 1 / 2, "R2": 1})
    assert {name: values.mean() for name, values in result.per_query().items()} == pytest.approx(
        result.scores
    )


def test_wrong_shapes_and_broken_numbers() -> None:
    one = Embeddings.single("global", torch.rand(3, 4))
    ids = {"q_ids": [1, 2, 3], "g_ids": [1, 2, 3]}
    with pytest.raises(ShapeError, match=r"g_cams must be \[3\], one per column"):
        evaluate_embeddings(
            PartDistance("cosine"), one, one, **ids, q_cams=[1, 2, 3], g_cams=[1, 2]
        )
    with pytest.raises(ShapeError, match="q_ids must be integers, one per image, got float64"):
        evaluate_embeddings(PartDistance("cosine"), one, one, q_ids=[0.5, 1, 2], g_ids=[1, 2, 3])  # type: ignore[list-item]
    with pytest.raises(ShapeError, match="queries from 1 on"):
        rank([(slice(0, 1), torch.rand(1, 3)), (slice(2, 3), torch.rand(1, 3))], **ids)
    with pytest.raises(ShapeError, match="1 of 3"):
        rank([(slice(0, 1), torch.rand(1, 3))], **ids)
    with pytest.raises(DataError, match="diverged"):
        rank([(slice(0, 3), torch.full((3, 3), torch.nan))], **ids)
    one_camera = {"q_cams": [1] * 3, "g_cams": [1] * 3}
    with pytest.raises(DataError, match="one camera"):
        evaluate_embeddings(PartDistance("cosine"), one, one, **ids, **one_camera)
    ranking = evaluate_embeddings(
        PartDistance("cosine"), one, one, **ids, **one_camera, protocol=ANY_CAMERA
    )
    assert ranking.cmc[1] == 1


def test_single_shot_draws_one_image_of_every_person_that_the_query_may_see() -> None:
    """Against a plain loop over queries and draws; the mean over draws is what a score is."""
    random = np.random.default_rng(3)
    g_ids, g_cameras = np.repeat(np.arange(1, 7), 4), np.tile([1, 1, 2, 2], 6)
    g_ids[-1] = JUNK
    q_ids, q_cameras = np.array([1, 3, 6, 9]), np.array([1, 2, 1, 1])
    distances = torch.from_numpy(random.random((4, 24)).astype(np.float32))
    labels = {
        "q_ids": q_ids,
        "g_ids": g_ids,
        "q_cams": q_cameras,
        "g_cams": g_cameras,
        "protocol": SINGLE_SHOT,
        "junk": JUNK,
    }
    ranking = rank(
        [(slice(0, 3), distances[:3]), (slice(3, 4), distances[3:])],
        **labels,
        top=3,
    )
    assert (
        ranking.draws == 10
        and len(ranking.ranks) == 40
        and ranking.identities.tolist() == q_ids.tolist() * 10
    )
    first = ranking.first.reshape(10, 4)
    assert (
        (first[:, 3] == 0).all() and (first[:, :3] > 0).all() and len(set(first[:, 0].tolist())) > 1
    )
    for draw in range(10):
        order = np.random.default_rng([20, draw]).permutation(24).tolist()
        for query in range(3):
            may = [i for i in order if g_cameras[i] != q_cameras[query] and g_ids[i] != JUNK]
            one = [
                next(i for i in may if g_ids[i] == person)
                for person in sorted({g_ids[i] for i in may})
            ]
            nearer = sorted(one, key=lambda i: (float(distances[query, i]), i))
            assert first[draw, query] == 1 + [g_ids[i] for i in nearer].index(q_ids[query])
            if draw == 0:
                assert ranking.top[query].tolist() == nearer[:3]
    np.testing.assert_allclose(ranking.ap_of_query[:3], (1 / first[:, :3]).mean(0))
    assert np.isnan(ranking.ap_of_query[3]) and ranking.mAP == pytest.approx(
        float((1 / first[:, :3]).mean())
    )
    again = rank([(slice(0, 4), distances)], **labels, top=3)
    assert all(np.array_equal(a, b) for a, b in zip(ranking.ranks, again.ranks, strict=True))


def test_right_entries_come_with_their_place_in_the_gallery_and_their_distance() -> None:
    _, _, result = small()
    assert [h.tolist() for h in result.hits] == [[1], [2, 5], [], []]
    assert [d.tolist() for d in result.distances] == [
        [0.5],
        np.float32([0.1, 0.3]).tolist(),
        [],
        [],
    ]
    assert result.size.tolist() == [4, 5, 5, 5]  # without junk and the own shot


@settings(max_examples=100, deadline=None)
@given(IMAGES, IMAGES, st.integers(0, 999))
def test_hits_follow_from_the_distances(query: Set, gallery: Set, seed: int) -> None:
    q, g = case(query, gallery, seed)
    if not any(i > 0 and i == j and c != d for i, c in query for j, d in gallery):
        return
    result, far = run(q, g, query, gallery), PartDistance("euclidean")(q, g).numpy()
    for row, (identity, camera), ranks, hits, distances, size in zip(
        far, query, result.ranks, result.hits, result.distances, result.size, strict=True
    ):
        seen = [
            j for j, other in enumerate(gallery) if other[0] != JUNK and other != (identity, camera)
        ]
        listed = sorted(seen, key=lambda j: (row[j], j))
        assert size == len(listed)
        assert hits.tolist() == [j for j in listed if gallery[j][0] == identity > 0]
        assert ranks.tolist() == [1 + listed.index(j) for j in hits]
        assert distances.tolist() == row[hits].tolist()


def looked_at(
    threads: int, blocks: list[tuple[slice, torch.Tensor]], ids: np.ndarray
) -> tuple[object, ...]:
    torch.set_num_threads(threads)
    who = {"q_ids": ids[:150, 0], "g_ids": ids[150:, 0], "distractor": 0, "junk": -1}
    pairs, open_set = PairAccumulator(least=50, share=0.01), OpenSetAccumulator(**who)
    ranking = rank(
        blocks,
        **who,
        q_cams=ids[:150, 1],
        g_cams=ids[150:, 1],
        accumulators=[pairs, open_set],
    )
    roc, outcome = pairs.result(), open_set.result()
    return (
        ranking.scores,
        ranking.top.tolist(),
        [h.tolist() for h in ranking.hits],
        roc.scores,
        roc.genuine.tolist(),
        roc.nearest.tolist(),
        roc.counts.tolist(),
        outcome.scores,
        outcome.right.tolist(),
        outcome.first.tolist(),
    )


def test_neither_threads_nor_blocks_change_anything() -> None:
    """More queries than a thread takes at once, many ties, and impostor pairs mostly counted
    in bins.
    """
    draw = np.random.default_rng(0)
    ids = draw.integers((-1, 1), (12, 4), (350, 2))
    far = torch.from_numpy(draw.normal(size=(150, 200)).round(1).astype(np.float32))

    def cut(rows: int) -> list[tuple[slice, torch.Tensor]]:
        return [
            (slice(start, min(start + rows, 150)), far[start : start + rows])
            for start in range(0, 150, rows)
        ]

    want = looked_at(1, cut(150), ids)
    for threads, rows in ((4, 150), (3, 70), (1, 7), (2, 1)):
        assert looked_at(threads, cut(rows), ids) == want


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_distances_of_other_precision(dtype: torch.dtype) -> None:
    """Steps that float64 tells apart and float32 does not are ranked as they are; accumulators see
    float32.
    """
    far = torch.tensor([[1 + 1e-12, 1.0, 2.0, -1e-60]], dtype=torch.float64).to(dtype)
    pairs = PairAccumulator()
    result = rank([(slice(0, 1), far)], q_ids=[1], g_ids=[2, 1, 3, 4], accumulators=[pairs])
    assert result.first.tolist() == [2 if dtype == torch.float64 else 3]
    roc = pairs.result()
    assert (roc.genuine.tolist(), roc.nearest.tolist()) == ([1], [0, 1, 2])


def test_an_empty_gallery_or_no_query_is_said() -> None:
    with pytest.raises(DataError, match="the gallery set is empty"):
        rank([(slice(0, 2), torch.empty(2, 0))], q_ids=[1, 2], g_ids=[])
    with pytest.raises(DataError, match="the query set is empty"):
        rank([], q_ids=[], g_ids=[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_cuda_ranks_as_the_cpu_does(metric: str) -> None:
    draw = torch.Generator().manual_seed(0)
    q, g = (
        Embeddings(
            torch.randn(n, 4, 32, generator=draw),
            torch.rand(n, 4, generator=draw).gt(0.3).float(),
            ("a", "b", "c", "d"),
        )
        for n in (40, 300)
    )
    ids = np.random.default_rng(0).integers((0, 1), (20, 5), (340, 2))
    labels = {
        "q_ids": ids[:40, 0],
        "g_ids": ids[40:, 0],
        "q_cams": ids[:40, 1],
        "g_cams": ids[40:, 1],
    }
    distance = PartDistance(metric)  # type: ignore[arg-type]
    here, there = (
        evaluate_embeddings(distance, q.to(d), g.to(d), **labels, rows=16) for d in ("cpu", "cuda")
    )
    assert there.scores == pytest.approx(here.scores, abs=1e-4)
    for a, b in zip(here.distances, there.distances, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    far = distance(q.to("cuda"), g.to("cuda"))
    again = rank(
        [(slice(0, 40), far)], **{name: torch.from_numpy(a).cuda() for name, a in labels.items()}
    )
    assert again.scores == pytest.approx(here.scores, abs=1e-4)


def test_short_and_empty_lists_of_single_shot() -> None:
    """The first query may see two people, the second, of the gallery's only camera, nobody."""
    far = torch.tensor([[0.3, 0.1, 0.2], [0.1, 0.2, 0.3]])
    ranking = rank(
        [(slice(0, 2), far)],
        q_ids=[1, 2],
        g_ids=[1, 2, -1],
        q_cams=[1, 2],
        g_cams=[2, 2, 2],
        protocol=SINGLE_SHOT,
        junk=-1,
        top=4,
    )
    assert ranking.top.tolist() == [[1, 0, -1, -1], [-1] * 4]
    assert (
        ranking.size.tolist() == [2, 0] * 10
        and ranking.first.tolist() == [2, 0] * 10
        and ranking.skipped == 10
    )
