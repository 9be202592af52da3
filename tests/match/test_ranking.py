"""The whole way from embeddings to scores, against an evaluation written down plainly."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.distance import PartDistance
from partreid.errors import DataError, ShapeError
from partreid.match import ANY_CAMERA, Ranking, bootstrap, bootstrap_difference, evaluate, rank
from partreid.match.protocols import SINGLE_SHOT
from partreid.types import JUNK, Embeddings

IMAGES = st.lists(st.tuples(st.integers(-1, 3), st.integers(1, 3)), min_size=1, max_size=12)
Set = list[tuple[int, int]]


def plainly(distances: np.ndarray, query: Set, gallery: Set, ks: tuple[int, ...]) -> dict[str, float]:
    """Market-1501 rule, one query and one image at a time."""
    aps, inps, firsts = [], [], []
    for row, (identity, camera) in zip(distances, query):
        kept = [(d, j) for j, d in enumerate(row) if gallery[j][0] != -1 and gallery[j] != (identity, camera)]
        hits = [gallery[j][0] == identity > 0 for _, j in sorted(kept)]  # ties by position in the gallery
        if any(hits):
            places = [i + 1 for i, hit in enumerate(hits) if hit]
            aps.append(sum((n + 1) / place for n, place in enumerate(places)) / len(places))
            inps.append(len(places) / places[-1])
            firsts.append(places[0])
    return {"mAP": sum(aps) / len(aps), "mINP": sum(inps) / len(inps),
            **{f"R{k}": sum(first <= k for first in firsts) / len(firsts) for k in ks}}


def case(query: Set, gallery: Set, seed: int) -> tuple[Embeddings, Embeddings]:
    """Coarse values and hidden parts: many ties, some infinite distances."""
    draw = np.random.default_rng(seed)

    def side(n: int) -> Embeddings:
        return Embeddings(torch.from_numpy(draw.integers(-1, 2, (n, 2, 1)).astype(np.float32)),
                          torch.from_numpy(draw.integers(0, 2, (n, 2)).astype(np.float32)), ("head", "legs"))
    return side(len(query)), side(len(gallery))


def run(q: Embeddings, g: Embeddings, query: Set, gallery: Set, **more: object) -> Ranking:
    ids = np.array([*query, *gallery])
    n = len(query)
    return evaluate(PartDistance("euclidean"), q, g, ids[:n, 0], ids[:n, 1], ids[n:, 0], ids[n:, 1],
                    **more)  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
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
    for rows in (1, 2, 5):
        again = run(q, g, query, gallery, top=3, rows=rows)
        assert again.scores == result.scores and np.array_equal(again.top, result.top)


def small() -> tuple[Set, Set, Ranking]:
    query = [(1, 1), (2, 1), (9, 1), (0, 1)]
    gallery = [(1, 1), (1, 2), (2, 2), (0, 2), (-1, 3), (2, 3)]
    distances = torch.tensor([[0.0, 0.5, 0.1, 0.9, 0.0, 1.0], [0.9, 0.8, 0.1, 0.2, 0.0, 0.3],
                              [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.1, 0.2, 0.3, 0.0, 0.5, 0.6]])
    q, g = np.array(query), torch.tensor(gallery)
    return query, gallery, rank([(slice(0, 2), distances[:2]), (slice(2, 4), distances[2:])],
                                q[:, 0], q[:, 1].tolist(), g[:, 0], g[:, 1], ks=(1, 2), top=4)


def test_by_hand() -> None:
    _, _, result = small()
    # query 1: own shot 0 and junk 4 are gone, so 2 1 3 5; query 2: 2 3 5 1 0. Identity 9 and distractors: skipped.
    assert [r.tolist() for r in result.ranks] == [[2], [1, 3], [], []]
    assert result.top.tolist() == [[2, 1, 3, 5], [2, 3, 5, 1], [0, 1, 2, 3], [3, 0, 1, 2]]
    assert result.skipped == 2 and result.protocol == "market1501"
    assert result.first.tolist() == [2, 1, 0, 0]
    np.testing.assert_allclose(result.ap, [1 / 2, (1 + 2 / 3) / 2, np.nan, np.nan])
    np.testing.assert_allclose(result.inp, [1 / 2, 2 / 3, np.nan, np.nan])
    assert result.scores == pytest.approx({"mAP": 2 / 3, "mINP": 7 / 12, "R1": 1 / 2, "R2": 1})
    assert {name: values.mean() for name, values in result.per_query().items()} == pytest.approx(result.scores)


def test_wrong_shapes_and_broken_numbers() -> None:
    one = Embeddings.one("global", torch.rand(3, 4))
    ids = [1, 2, 3]
    with pytest.raises(ShapeError, match=r"gallery_cameras must be \[3\]"):
        evaluate(PartDistance("cosine"), one, one, ids, ids, ids, [1, 2])
    with pytest.raises(ShapeError, match="query_ids must be integers, got float64"):
        evaluate(PartDistance("cosine"), one, one, [0.5, 1, 2], ids, ids, ids)  # type: ignore[list-item]
    with pytest.raises(ShapeError, match="queries from 1 on"):
        rank([(slice(0, 1), torch.rand(1, 3)), (slice(2, 3), torch.rand(1, 3))], ids, ids, ids, [4, 4, 4])
    with pytest.raises(ShapeError, match="1 of 3"):
        rank([(slice(0, 1), torch.rand(1, 3))], ids, ids, ids, [4, 4, 4])
    with pytest.raises(DataError, match="diverged"):
        rank([(slice(0, 3), torch.full((3, 3), torch.nan))], ids, ids, ids, [4, 4, 4])
    with pytest.raises(DataError, match="one camera"):
        evaluate(PartDistance("cosine"), one, one, ids, [1] * 3, ids, [1] * 3)
    assert evaluate(PartDistance("cosine"), one, one, ids, [1] * 3, ids, [1] * 3, ANY_CAMERA).cmc[1] == 1


def fake(people: int, each: int, spread: float, seed: int = 0) -> Ranking:
    """Queries of one person share their luck: first rank 1 or 30."""
    draw = np.random.default_rng(seed)
    lucky = draw.random(people) < spread
    ranks = tuple(np.array([1 if lucky[i // each] else 30]) for i in range(people * each))
    return Ranking("market1501", ranks, np.empty((len(ranks), 0), np.int64), np.repeat(np.arange(people), each) + 1)


def test_bootstrap_draws_identities() -> None:
    """The interval is that of a mean over people, however many queries each of them has."""
    for each in (1, 10):
        result = fake(200, each, 0.5)
        interval = bootstrap(result)["R1"]
        share = result.cmc[1]
        half = 1.96 * np.sqrt(share * (1 - share) / 200)
        assert interval.value == share
        assert interval.low == pytest.approx(share - half, abs=0.015)
        assert interval.high == pytest.approx(share + half, abs=0.015)


def test_bootstrap_is_seeded() -> None:
    draw = np.random.default_rng(0)
    ranks = tuple(np.sort(draw.choice(np.arange(1, 40), 3, replace=False)) for _ in range(90))
    result = Ranking("market1501", ranks, np.empty((90, 0), np.int64), np.repeat(np.arange(30), 3))
    assert bootstrap(result, seed=1) == bootstrap(result, seed=1) != bootstrap(result, seed=2)
    assert bootstrap(result).keys() == result.scores.keys()
    wide, narrow = bootstrap(result, level=0.99)["mAP"], bootstrap(result, level=0.5)["mAP"]
    assert wide.low < narrow.low <= narrow.high < wide.high


def test_bootstrap_skips_what_the_scores_skip() -> None:
    result = small()[2]
    assert {name: i.value for name, i in bootstrap(result).items()} == pytest.approx(result.scores)


def test_paired_difference() -> None:
    a = fake(200, 4, 0.5)
    none = bootstrap_difference(a, a)["mAP"]
    assert (none.value, none.low, none.high) == (0, 0, 0)
    better = Ranking(a.protocol, tuple(np.minimum(r, 29) for r in a.ranks), a.top, a.identities)
    gain = bootstrap_difference(better, a)["mAP"]
    alone = bootstrap(a)["mAP"]
    assert 0 < gain.low < gain.value < gain.high < 1e-2 < alone.high - alone.low  # seen only when paired
    with pytest.raises(DataError, match="same queries"):
        bootstrap_difference(a, fake(100, 4, 0.5))


def test_single_shot_draws_one_image_of_every_person_that_the_query_may_see() -> None:
    """Against a plain loop over queries and draws; the mean over draws is what a score is."""
    random = np.random.default_rng(3)
    g_ids, g_cameras = np.repeat(np.arange(1, 7), 4), np.tile([1, 1, 2, 2], 6)
    g_ids[-1] = JUNK
    q_ids, q_cameras = np.array([1, 3, 6, 9]), np.array([1, 2, 1, 1])
    distances = torch.from_numpy(random.random((4, 24)).astype(np.float32))
    found = rank([(slice(0, 3), distances[:3]), (slice(3, 4), distances[3:])], q_ids, q_cameras, g_ids, g_cameras,
                 SINGLE_SHOT, top=3)
    assert found.draws == 10 and len(found.ranks) == 40 and found.identities.tolist() == q_ids.tolist() * 10
    first = found.first.reshape(10, 4)
    assert (first[:, 3] == 0).all() and (first[:, :3] > 0).all() and len(set(first[:, 0].tolist())) > 1
    for draw in range(10):
        order = np.random.default_rng([20, draw]).permutation(24).tolist()
        for query in range(3):
            may = [i for i in order if g_cameras[i] != q_cameras[query] and g_ids[i] != JUNK]
            one = [next(i for i in may if g_ids[i] == person) for person in sorted({g_ids[i] for i in may})]
            nearer = sorted(one, key=lambda i: (float(distances[query, i]), i))
            assert first[draw, query] == 1 + [g_ids[i] for i in nearer].index(q_ids[query])
            if draw == 0:
                assert found.top[query].tolist() == nearer[:3]
    np.testing.assert_allclose(found.ap_of_query[:3], (1 / first[:, :3]).mean(0))
    assert np.isnan(found.ap_of_query[3]) and found.mAP == pytest.approx(float((1 / first[:, :3]).mean()))
    again = rank([(slice(0, 4), distances)], q_ids, q_cameras, g_ids, g_cameras, SINGLE_SHOT, top=3)
    assert all(np.array_equal(a, b) for a, b in zip(found.ranks, again.ranks, strict=True))
