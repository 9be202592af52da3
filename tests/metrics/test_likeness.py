"""Crops like those of a calibration, and others: alarms as often as said, and both signs heard."""

import numpy as np
import pytest

from partreid.errors import ArgumentError, ShapeError
from partreid.metrics.likeness import ALARMS, Crops, Likeness, fit_likeness

NAMES = ("light", "color", "edges")


def crops(
    n: int, seed: int, looks_at: float = 0.0, vectors_at: float = 0.0, each: int = 4
) -> Crops:
    """n crops of n / each people: people differ in their vectors, crops of one a little."""
    draw = np.random.default_rng(seed)
    who = np.arange(n) // each
    center = draw.normal(vectors_at, 1, (who[-1] + 1, 2, 12))
    vectors = center[who] + draw.normal(0, 0.3, (n, 2, 12))
    seen = (draw.random((n, 2)) > 0.2).astype(float)
    return Crops(vectors, seen, draw.normal(looks_at, 1, (n, 3)), who)


@pytest.fixture(scope="module")
def made() -> Likeness:
    return fit_likeness(crops(1200, 1), crops(1200, 2), NAMES)


def test_further_people_raise_as_many_alarms_as_said(made: Likeness) -> None:
    rates = [float((made.score(crops(800, seed)) > 1).mean()) for seed in range(3, 13)]
    assert np.mean(rates) == pytest.approx(ALARMS, abs=0.008)
    assert not any(made.many(made.score(crops(800, seed))) for seed in range(3, 13))


@pytest.mark.parametrize("where", ["looks_at", "vectors_at"])
def test_other_looks_and_other_vectors_are_heard_each_by_itself(made: Likeness, where: str) -> None:
    odd = made.score(crops(200, 3, **{where: 8.0}))
    assert (odd > 1).mean() > 0.95 and made.many(odd)
    slight = made.score(crops(400, 3, **{where: 1.5}))
    assert made.share(slight) > made.share(made.score(crops(400, 3)))


def test_vectors_count_alone_where_pictures_are_not_at_hand(made: Likeness) -> None:
    some = crops(50, 4, looks_at=50.0)
    assert (made.score(some) > 1).all()
    assert (made.score(Crops(some.vectors, some.visibility)) > 1).mean() < 0.2


def test_a_hidden_part_says_nothing(made: Likeness) -> None:
    some = crops(40, 5)
    vectors = some.vectors.copy()
    vectors[some.visibility == 0] = 1e6
    other = Crops(vectors, some.visibility, some.looks)
    np.testing.assert_array_equal(made.score(some), made.score(other))


def test_what_does_not_fit_is_refused(made: Likeness) -> None:
    with pytest.raises(ShapeError, match=r"made of vectors \[n, 2, 12\]"):
        made.score(Crops(np.ones((3, 2, 5)), np.ones((3, 2))))
    with pytest.raises(ShapeError, match=r"looks must be \[n, 3\]"):
        made.score(Crops(np.ones((3, 2, 12)), np.ones((3, 2)), np.ones((3, 4))))
    with pytest.raises(ArgumentError, match="with their looks and people"):
        fit_likeness(Crops(np.ones((3, 2, 5)), np.ones((3, 2))), crops(8, 1), NAMES)
