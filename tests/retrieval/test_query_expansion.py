"""Expansion averages an image with its nearest from other cameras, part by part, and lets no
protocol be got round.
"""

import numpy as np
import pytest
import torch

from partreid.distance import Metric, PartDistance
from partreid.errors import DataError, ShapeError
from partreid.metrics import evaluate_embeddings, rank
from partreid.retrieval.query_expansion import Expansion
from partreid.types import Embeddings


def people(
    n: int, identities: int, seed: int, noise: float = 1.0
) -> tuple[Embeddings, np.ndarray, np.ndarray]:
    """Embeddings of two parts, the second hidden in a third of the images, identities and
    cameras 1..3.
    """
    draw = np.random.default_rng(seed)
    centers = np.random.default_rng(0).normal(size=(identities, 2, 8))
    ids = draw.integers(0, identities, n)
    vectors = centers[ids] + noise * draw.normal(size=(n, 2, 8))
    visibility = np.stack([np.ones(n), draw.random(n) > 0.33], 1)
    return (
        Embeddings(
            torch.from_numpy(vectors).float(), torch.from_numpy(visibility).float(), ("a", "b")
        ),
        ids + 1,
        draw.integers(1, 4, n),
    )


def by_loops(
    distance: PartDistance,
    e: Embeddings,
    cameras: np.ndarray,
    sources: Embeddings,
    theirs: np.ndarray,
    k: int,
    self_weight: float = 2.0,
    without: int | None = None,
) -> torch.Tensor:
    """Image by image and part by part; ``without``: one more camera that nothing is taken from."""
    far = distance(e, sources)

    def ready(vector: torch.Tensor) -> torch.Tensor:
        return vector if distance.metric == "euclidean" else vector / vector.norm()

    vectors = torch.empty_like(e.vectors)
    for i in range(len(e)):
        friends = [
            j
            for j in range(len(sources))
            if theirs[j] not in (cameras[i], without) and far[i, j] < torch.inf
        ]
        friends = sorted(friends, key=lambda j: (float(far[i, j]), j))[:k]
        for m in range(len(e.names)):
            shown = [
                ready(sources.vectors[j, m])
                for j in friends
                if sources.visibility[j, m] and e.visibility[i, m]
            ]
            vectors[i, m] = (self_weight * ready(e.vectors[i, m]) + sum(shown)) / (
                self_weight + len(shown)
            )
    return vectors


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "unit_euclidean"])
@pytest.mark.parametrize(("k", "self_weight"), [(1, 2.0), (4, 0.5), (50, 1.0)])
def test_against_loops(metric: Metric, k: int, self_weight: float) -> None:
    distance = PartDistance(metric)
    e, _, cameras = people(15, 4, 1)
    sources, _, theirs = people(20, 4, 2)
    e.visibility[3] = 0  # shares nothing with anybody
    expanded = Expansion(k, self_weight)(
        distance, e, sources, cams=cameras.tolist(), source_cams=theirs.tolist()
    )
    torch.testing.assert_close(
        expanded.vectors,
        by_loops(distance, e, cameras, sources, theirs, k, self_weight),
        atol=1e-6,
        rtol=1e-5,
    )
    assert torch.equal(expanded.visibility, e.visibility) and expanded.names == e.names


@pytest.mark.parametrize("rows", [3, 100])
def test_scores_rest_on_nothing_from_the_queries_camera(rows: int) -> None:
    distance = PartDistance("cosine")
    query, _, cameras = people(12, 4, 1)
    order = np.argsort(cameras, kind="stable")
    query, cameras = query.rows(torch.from_numpy(order)), cameras[order]
    gallery, _, theirs = people(25, 4, 2)
    blocks = list(
        Expansion(2).blocks(
            distance, query, gallery, q_cams=cameras, g_cams=torch.from_numpy(theirs), rows=rows
        )
    )
    expanded = by_loops(distance, query, cameras, gallery, theirs, 2)
    assert [span.start for span, _ in blocks] == [0, *(span.stop for span, _ in blocks)][:-1]
    assert blocks[-1][0].stop == 12
    for span, block in blocks:
        for i, row in zip(range(span.start, span.stop), block, strict=True):
            against = by_loops(
                distance, gallery, theirs, gallery, theirs, 2, without=int(cameras[i])
            )
            one = Embeddings(expanded[i : i + 1], query.visibility[i : i + 1], query.names)
            torch.testing.assert_close(
                row, distance(one, Embeddings(against, gallery.visibility, gallery.names))[0]
            )


def test_it_helps_where_people_have_several_images() -> None:
    e, ids, cameras = people(60, 12, 3, noise=0.7)
    order = np.argsort(cameras, kind="stable")
    e, ids, cameras = e.rows(torch.from_numpy(order)), ids[order].tolist(), cameras[order].tolist()
    gallery, g_ids, g_cameras = people(240, 12, 4, noise=0.7)
    cams = {"q_cams": cameras, "g_cams": g_cameras}
    known = {"q_ids": ids, "g_ids": g_ids, **cams}
    plain = evaluate_embeddings(PartDistance("cosine"), e, gallery, **known)
    again = rank(Expansion().blocks(PartDistance("cosine"), e, gallery, **cams), **known)
    assert again.mAP > plain.mAP + 0.05


def test_with_one_camera_nothing_changes() -> None:
    e, _, _ = people(6, 2, 0)
    expanded = Expansion()(PartDistance("euclidean"), e, e, cams=[1] * 6, source_cams=[1] * 6)
    assert torch.equal(expanded.vectors, e.vectors)
    ((_, block),) = Expansion().blocks(
        PartDistance("euclidean"), e, e, q_cams=[1] * 6, g_cams=[1] * 6
    )
    torch.testing.assert_close(block, PartDistance("euclidean")(e, e))
    nobody = e.rows(slice(0, 0))
    assert not len(Expansion()(PartDistance("cosine"), nobody, e, cams=[], source_cams=[1] * 6))


def test_what_makes_no_sense_is_refused() -> None:
    e, _, _ = people(6, 2, 0)
    for wrong in ({"k": 0}, {"self_weight": 0.0}, {"self_weight": float("nan")}):
        with pytest.raises(DataError, match="expansion needs k >= 1"):
            Expansion(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="a camera for each of 6 sources"):
        Expansion()(PartDistance("cosine"), e, e, cams=[1] * 6, source_cams=[1] * 5)
    with pytest.raises(DataError, match="in the order of their cameras"):
        next(
            Expansion().blocks(
                PartDistance("cosine"), e, e, q_cams=[1, 2, 1, 1, 1, 1], g_cams=[3] * 6
            )
        )
