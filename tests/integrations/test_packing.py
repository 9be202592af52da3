"""Parts come out of a flat vector as they went in, whatever a tracker does to it meanwhile."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partreid.errors import ShapeError
from partreid.integrations.packing import FAR, Packing
from partreid.runtime import Embeddings, PartDistance

NAMES = ("head", "torso", "legs")


def drawn(n: int, seed: int, soft: bool = False) -> Embeddings:
    draw = np.random.default_rng(seed)
    seen = draw.random((n, 3)) if soft else draw.integers(0, 2, (n, 3)).astype(float)
    seen[:, 1] = 1
    return Embeddings(draw.normal(size=(n, 3, 8)), seen, NAMES)


@given(
    seed=st.integers(0, 99),
    metric=st.sampled_from(["cosine", "unit_euclidean"]),
    weights=st.sampled_from([None, (1.0, 0.5, 2.0)]),
    soft=st.booleans(),
    scale=st.floats(0.01, 100),
)
def test_the_models_own_distance_is_found_again(
    seed: int, metric: str, weights: tuple[float, ...] | None, soft: bool, scale: float
) -> None:
    rule = PartDistance(metric, weights)  # type: ignore[arg-type]
    pack, a, b = Packing(NAMES, 8, rule), drawn(4, seed, soft), drawn(5, seed + 100, soft)
    distances = pack.compare(scale * pack(a), pack(b))
    wanted = rule(a, b)
    if metric == "unit_euclidean":
        wanted = np.square(wanted) / 2
    np.testing.assert_allclose(distances, np.minimum(wanted, FAR), atol=1e-4)


def test_a_part_hidden_for_a_while_keeps_its_direction_in_an_average() -> None:
    pack = Packing(NAMES, 8, PartDistance("cosine"))
    (one,) = drawn(1, 3).vectors
    shown = pack(Embeddings(one[None], np.ones((1, 3)), NAMES))
    hidden = pack(Embeddings(one[None], np.array([[0.0, 1.0, 1.0]]), NAMES))
    flat = 0.9 * shown / np.linalg.norm(shown) + 0.1 * hidden / np.linalg.norm(hidden)
    parts = pack.parts(flat / np.linalg.norm(flat))
    unit = one / np.linalg.norm(one, axis=1, keepdims=True)
    np.testing.assert_allclose(parts.vectors[0], unit, atol=1e-6)
    assert 0.8 < parts.visibility[0, 0] < parts.visibility[0, 1] == 1
    assert pack.compare(flat, shown)[0, 0] == pytest.approx(0, abs=1e-6)


def test_the_same_person_is_near_by_parts_and_far_by_flat_vectors() -> None:
    """Of one person in two crops with ever fewer parts in common."""
    pack = Packing(NAMES, 8, PartDistance("cosine"))
    (one,) = drawn(1, 5).vectors
    whole, legs = (
        pack(Embeddings(one[None], np.array([seen]), NAMES)) for seen in ([1.0, 1, 1], [0.0, 0, 1])
    )
    flat = 1 - float((whole @ legs.T)[0, 0]) / np.linalg.norm(whole) / np.linalg.norm(legs)
    assert pack.compare(whole, legs)[0, 0] == pytest.approx(0, abs=1e-6) and flat > 0.4


def test_those_who_share_nothing_and_those_who_show_nothing_are_far() -> None:
    pack = Packing(NAMES, 8, PartDistance("cosine"))
    e = Embeddings(np.ones((3, 3, 8)), np.array([[1.0, 0, 0], [0.0, 1, 0], [0.0, 0, 0]]), NAMES)
    far = pack.compare(pack(e), pack(e))
    assert far[0, 0] == pytest.approx(0, abs=1e-6) and (far[0, 1], far[2, 2]) == (FAR, FAR)
    assert pack.compare(np.zeros((0, 24)), pack(e)).shape == (0, 3)


def test_rows_by_euclid_are_compared_by_direction() -> None:
    pack = Packing(NAMES, 8, PartDistance("euclidean", None, 1.0, 30.0))
    assert pack.distance == PartDistance("unit_euclidean", None, 1.0)


def test_other_vectors_are_refused() -> None:
    pack = Packing(NAMES, 8, PartDistance("cosine"))
    with pytest.raises(ShapeError, match=r"must be \[N, 24\]"):
        pack.parts(np.ones((2, 23)))
    with pytest.raises(ShapeError, match="this packing is for 3 embeddings of 8 numbers"):
        pack(Embeddings(np.ones((1, 1, 8)), np.ones((1, 1)), ("global",)))
