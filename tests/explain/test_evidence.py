"""Shares add up to the distance, whatever the metric, weights and visibilities; and the words
say what they say.
"""

import json
import math

import numpy as np
import pytest
import torch

from partreid.distance import PartDistance
from partreid.errors import ShapeError
from partreid.explain.evidence import Evidence, addends, explain_pair, explain_pairs, listed, spoken
from partreid.types import Embeddings

NAMES = ("foreground", "head", "torso", "arms", "legs", "feet")
WEIGHTS = (1.0, 0.5, 0.25, 2.0, 0.0, 1.0)


def embeddings(n: int, seed: int, soft: bool = False) -> Embeddings:
    g = torch.Generator().manual_seed(seed)
    seen = torch.rand(n, len(NAMES), generator=g)
    seen = seen if soft else (seen > 0.4).float()
    seen[:, 0] = 1
    return Embeddings(torch.randn(n, len(NAMES), 16, generator=g), seen, NAMES)


def evidence(
    parts: list[float], query: list[float], match: list[float], names: tuple[str, ...] = NAMES
) -> Evidence:
    far, both = np.array(parts), np.array(query) * np.array(match)
    share = both * far / both.sum() if both.any() else np.full(len(far), np.inf)
    return Evidence(
        names,
        float(share.sum()),
        np.where(both > 0, far, np.nan),
        share,
        np.array(query),
        np.array(match),
    )


@pytest.mark.parametrize("shrink", [0.0, 1.5])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "unit_euclidean"])
def test_shares_add_up_to_the_distance(metric, soft, weights, shrink):
    far = 3.0 if metric == "euclidean" else None
    distance, q, g = (
        PartDistance(metric, weights, shrink, far),
        embeddings(5, 1, soft),
        embeddings(7, 2, soft),
    )
    rows = [(i, j) for i in range(5) for j in range(7)]
    explained = explain_pairs(distance, q, g, [i for i, _ in rows], [j for _, j in rows])
    all_distances = distance(q, g)
    exact = distance(
        Embeddings(q.vectors.double(), q.visibility.double(), NAMES),
        Embeddings(g.vectors.double(), g.visibility.double(), NAMES),
    )
    for (i, j), e in zip(rows, explained, strict=True):
        assert math.fsum(e.share) == e.distance
        # the matrix takes roots of differences
        assert e.distance == pytest.approx(float(exact[i, j]), abs=1e-7)
        assert e.distance == pytest.approx(float(all_distances[i, j]), abs=1e-5)
        assert e.percent.sum() == pytest.approx(1)
        assert e.counted.all() if shrink else (e.counted == e.shared).all()
        assert math.fsum(e.share[e.counted]) == pytest.approx(e.distance, abs=1e-12)
        printed, total = addends(e.share[e.counted])
        assert round(sum(map(float, printed)), 6) == float(total) == round(e.distance, 3)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("metric", ["cosine", "unit_euclidean"])
def test_what_shrinking_adds_decides_nothing(metric, weights):
    """A part claims the same whatever is added for evidence that is not there."""
    q, g = embeddings(4, 9, True), embeddings(9, 10, True)
    rows = ([i for i in range(4) for _ in range(9)], [j for _ in range(4) for j in range(9)])
    plain, shrunk = (
        explain_pairs(PartDistance(metric, weights, a), q, g, *rows) for a in (0.0, 2.0)
    )
    for one, other in zip(plain, shrunk, strict=True):
        np.testing.assert_allclose(other._cost(), one._cost(), atol=1e-12)
        np.testing.assert_array_equal(other.parts, one.parts)
    decided = 0
    for i in range(0, 36, 9):  # evidence of one query
        for j in range(i, i + 9):
            for k in range(i, i + 9):
                if (plain[j].distance < plain[k].distance) == (
                    shrunk[j].distance < shrunk[k].distance
                ):
                    assert shrunk[j].deciding(shrunk[k]) == plain[j].deciding(plain[k])
                    decided += bool(plain[j].deciding(plain[k]))
    assert decided > 20


def test_parts_that_are_not_shared_add_nothing_and_have_no_distance():
    q, g = embeddings(3, 3), embeddings(3, 4)
    e = explain_pair(PartDistance("unit_euclidean"), q, g, 1, 2)
    both = (q.visibility[1] * g.visibility[2]).numpy() > 0
    assert 0 < both.sum() < len(NAMES)
    np.testing.assert_array_equal(e.shared, both)
    np.testing.assert_array_equal(np.isnan(e.parts), ~both)
    assert (e.share[~both] == 0).all()
    np.testing.assert_allclose(e.share[both], e.parts[both] / both.sum(), rtol=1e-12)


def test_nothing_shared_is_infinitely_far_and_says_so():
    q = Embeddings(torch.randn(1, 2, 4), torch.tensor([[1.0, 0.0]]), ("head", "legs"))
    g = Embeddings(torch.randn(1, 2, 4), torch.tensor([[0.0, 1.0]]), ("head", "legs"))
    e = explain_pair(PartDistance("cosine"), q, g)
    assert math.isinf(e.distance)
    assert e.sentence() == "The two images show no part in common, so they cannot be compared."
    assert (e.percent == 0).all()
    assert e.to_dict()["distance"] is None
    shrunk = explain_pair(PartDistance("cosine", shrink=1.0), q, g)
    assert shrunk.distance == 1 and shrunk.share.tolist() == [0.5, 0.5]
    assert shrunk.sentence() == (
        "The two images show no part in common, so they cannot be compared; 1.00 is what missing "
        "evidence counts as."
    )
    assert shrunk.deciding(e) == () and shrunk.to_dict()["distance"] == 1


def test_to_dict_is_strict_json_and_keeps_every_number():
    e = explain_pair(PartDistance("unit_euclidean"), embeddings(2, 5), embeddings(2, 6))
    back = json.loads(json.dumps(e.to_dict(), allow_nan=False))
    assert back["distance"] == e.distance
    assert sum(p["share"] for p in back["parts"]) == pytest.approx(e.distance, abs=1e-12)
    for m, part in enumerate(back["parts"]):
        assert part["name"] == NAMES[m]
        assert part["distance"] == (e.parts[m] if e.shared[m] else None)
        assert part["query_visibility"] == e.query_visibility[m]


def test_wrong_shapes_and_unequal_pairs_are_refused():
    with pytest.raises(ShapeError, match=r"share \[6\]"):
        Evidence(NAMES, 1.0, np.zeros(6), np.zeros(5), np.ones(6), np.ones(6))
    with pytest.raises(ShapeError, match="as many"):
        explain_pairs(PartDistance("cosine"), embeddings(2, 1), embeddings(2, 2), [0, 1], [0])


def test_sentence_names_best_worst_and_hidden():
    e = evidence([0.5, 0.9, 0.7, 0.6, 0.2, 0.8], [1, 1, 1, 0, 1, 1], [1, 1, 1, 1, 1, 0])
    assert e.sentence() == (
        "Legs match best (0.20), head least (0.90). Arms are hidden in the query and are not "
        "compared. Feet are hidden in the match and are not compared."
    )
    assert "hidden in b" in e.sentence(hidden_in=("a", "b"))


def test_sentence_with_a_rival_names_what_decides():
    ones = [1.0] * 6
    near = evidence([0.5, 0.9, 0.7, 0.6, 0.2, 0.8], ones, ones)
    far = evidence([1.4, 1.0, 0.7, 0.6, 0.9, 0.8], ones, ones)
    assert near.deciding(far) == ("legs",)  # the whole figure gains most, but explains less
    assert (
        near.sentence(far, "the nearest wrong person")
        == "Legs decide: distance 0.20 here, but 0.90 to the nearest wrong person."
    )
    two = evidence([1.4, 1.5, 0.7, 0.6, 0.9, 0.8], ones, ones)
    assert near.deciding(two) == ("legs", "head")
    assert (
        near.sentence(two, "B")
        == "Legs and head decide: distance 0.20 and 0.90 here, but 0.90 and 1.50 to B."
    )
    assert far.deciding(near) == () and far.sentence(near).startswith("Arms match best")
    assert near.deciding(None) == ()


def test_a_part_of_weight_zero_never_decides():
    q, g = embeddings(1, 7).all_visible(), embeddings(30, 8).all_visible()
    distance = PartDistance("euclidean", (0.0, 1.0, 1.0, 1.0, 0.0, 1.0))
    every = sorted(explain_pairs(distance, q, g, [0] * 30, range(30)), key=lambda e: e.distance)
    assert all(every[0].deciding(e) for e in every[1:])
    assert not any({"legs", "foreground"} & set(every[0].deciding(e)) for e in every[1:])


def test_one_global_vector_has_no_parts_to_point_at():
    e = evidence([0.4], [1.0], [1.0], ("global",))
    assert "no parts to point at" in e.sentence(e)


@pytest.mark.parametrize("seed", range(20))
def test_printed_addends_add_up_to_the_printed_total(seed):
    values = np.random.default_rng(seed).normal(0.2, 0.2, 7)
    printed, total = addends(values)
    assert (
        round(sum(map(float, printed)), 6)
        == float(total)
        == pytest.approx(values.sum(), abs=0.00051)
    )
    assert all(abs(float(p) - v) < 0.001 for p, v in zip(printed, values, strict=True))


def test_names_are_spoken_as_people_say_them():
    assert [spoken(n) for n in ("left_arm", "stripe3", "foreground", "head")] == [
        "left arm",
        "stripe 3",
        "whole figure",
        "head",
    ]
    assert [listed(w) for w in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
