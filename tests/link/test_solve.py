"""Average linkage against plain loops, and what it never does."""

import numpy as np
import pytest

from partreid.errors import ArgumentError, ShapeError
from partreid.link import agglomerate
from partreid.link.evidence import Doubles

NONE = np.zeros((3, 3), bool)


def by_loops(odds: Doubles, conflict: np.ndarray) -> set[frozenset[int]]:  # type: ignore[type-arg]
    """Join the two groups of the highest mean while it is above 0 and nothing forbids it."""
    groups = [frozenset([t]) for t in range(len(odds))]
    while True:
        best: tuple[float, frozenset[int], frozenset[int]] | None = None
        for a in groups:
            for b in groups:
                if a == b or any(conflict[i, j] for i in a for j in b):
                    continue
                mean = float(np.mean([odds[i, j] for i in a for j in b]))
                if mean > 0 and (best is None or mean > best[0]):
                    best = mean, a, b
        if best is None:
            return set(groups)
        groups = [g for g in groups if g not in best[1:]] + [best[1] | best[2]]


def test_it_is_what_loops_find() -> None:
    draw = np.random.default_rng(3)
    for many in (2, 5, 9, 14):
        for _ in range(12):
            odds = np.triu(draw.normal(-0.5, 2, (many, many)), 1)
            odds = odds + odds.T
            conflict = np.triu(draw.random((many, many)) < 0.25, 1)
            conflict = conflict | conflict.T
            label, steps = agglomerate(odds, conflict)
            groups = {frozenset(np.flatnonzero(label == g).tolist()) for g in set(label.tolist())}
            assert groups == by_loops(odds, conflict)
            assert len(steps) == many - len(groups)
            for a, b, mean in steps:
                assert mean == pytest.approx(np.mean([odds[i, j] for i in a for j in b]))


def test_a_conflict_outweighs_any_evidence() -> None:
    odds = np.full((3, 3), 1e6)
    conflict = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    label, _ = agglomerate(odds, conflict)
    assert label[0] != label[1] and len(set(label.tolist())) == 2


def test_odds_of_zero_join_nobody_and_few_are_no_trouble() -> None:
    assert agglomerate(np.zeros((3, 3)), NONE)[0].tolist() == [0, 1, 2]
    assert agglomerate(np.zeros((1, 1)), NONE[:1, :1])[0].tolist() == [0]
    assert agglomerate(np.zeros((0, 0)), NONE[:0, :0])[0].tolist() == []


def test_what_is_no_table_of_pairs_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"must be \[T, T\]"):
        agglomerate(np.zeros((3, 2)), NONE)
    with pytest.raises(ArgumentError, match="log ratios must be finite and symmetric"):
        agglomerate(np.array([[0, 1.0, 0], [2.0, 0, 0], [0, 0, 0]]), NONE)
    with pytest.raises(ArgumentError, match="log ratios must be finite and symmetric"):
        agglomerate(np.full((3, 3), np.nan), NONE)
    with pytest.raises(ArgumentError, match="conflicts must be symmetric"):
        agglomerate(np.zeros((3, 3)), np.triu(np.ones((3, 3), bool), 1))
