"""One list: ranks and scores against sorting, with ties, holes and infinite distances."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.metrics.lists import (
    average_precision,
    cumulative_matches,
    inverse_negative_penalty,
    match_ranks,
    nearest,
)

# few values, so that ties are the rule
ENTRY = st.tuples(
    st.sampled_from([-0.5, -0.0, 0.0, 0.25, 0.5, 1.0, math.inf]), st.booleans(), st.booleans()
)
LIST = st.lists(ENTRY, max_size=25)


def columns(entries: list[tuple[float, bool, bool]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.array([e[0] for e in entries], np.float32),
        np.array([e[1] for e in entries], bool),
        np.array([e[2] for e in entries], bool),
    )


def by_sorting(entries: list[tuple[float, bool, bool]]) -> list[tuple[int, bool]]:
    """(index, relevant) of the valid entries, nearest first; Python's sort is stable."""
    kept = [(d, i, relevant) for i, (d, relevant, valid) in enumerate(entries) if valid]
    return [(i, relevant) for _, i, relevant in sorted(kept, key=lambda e: e[0])]


@settings(max_examples=400, deadline=None)
@given(LIST)
def test_ranks_match_sorting(entries: list[tuple[float, bool, bool]]) -> None:
    want = [rank for rank, (_, relevant) in enumerate(by_sorting(entries), 1) if relevant]
    assert match_ranks(*columns(entries)).tolist() == want


@settings(max_examples=200, deadline=None)
@given(LIST, st.integers(1, 12))
def test_nearest_match_sorting(entries: list[tuple[float, bool, bool]], k: int) -> None:
    distances, _, valid = columns(entries)
    want = [i for i, _ in by_sorting(entries)][:k]
    assert nearest(distances, valid, k).tolist() == want + [-1] * (k - len(want))


@settings(max_examples=200, deadline=None)
@given(LIST)
def test_scores_match_their_definitions(entries: list[tuple[float, bool, bool]]) -> None:
    hits = [relevant for _, relevant in by_sorting(entries)]
    if not any(hits):
        return
    precisions = [sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit]
    last = max(i for i, hit in enumerate(hits) if hit) + 1
    ranks = match_ranks(*columns(entries))
    assert average_precision(ranks) == pytest.approx(sum(precisions) / sum(hits), abs=1e-12)
    assert inverse_negative_penalty(ranks) == pytest.approx(sum(hits) / last, abs=1e-12)


def test_inputs_are_left_as_they_were() -> None:
    distances, relevant, valid = columns([(0.5, True, False), (0.25, True, True)])
    match_ranks(distances, relevant, valid)
    nearest(distances, valid, 1)
    assert distances.tolist() == [0.5, 0.25]


def test_scores_of_ranks_by_hand() -> None:
    ranks = np.array([1, 3, 6])
    assert average_precision(ranks) == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)
    assert inverse_negative_penalty(ranks) == pytest.approx(3 / 6)
    assert cumulative_matches(np.array([1, 2, 7, 30]), (1, 5, 10, 20)) == {
        1: 0.25,
        5: 0.5,
        10: 0.75,
        20: 0.75,
    }


def test_perfect_list() -> None:
    assert average_precision(np.arange(1, 9)) == inverse_negative_penalty(np.arange(1, 9)) == 1


def test_a_list_by_hand() -> None:
    """Ten entries, two of them removed, three right: 0.2 first, the tie at 0.4 by place,
    infinity last.
    """
    distances = np.array([0.4, 0.2, 0.4, 0.9, math.inf, 0.1, math.inf, 0.4, -1.0, 0.3], np.float32)
    relevant = np.array([0, 1, 1, 0, 0, 0, 1, 0, 0, 0], bool)
    valid = np.array([1, 1, 1, 1, 1, 0, 1, 1, 0, 1], bool)
    ranks = match_ranks(distances, relevant, valid)  # in order: 1, 9, 0, 2, 7, 3, 4, 6
    assert ranks.tolist() == [1, 4, 8]
    assert nearest(distances, valid, 9).tolist() == [1, 9, 0, 2, 7, 3, 4, 6, -1]
    assert average_precision(ranks) == pytest.approx((1 / 1 + 2 / 4 + 3 / 8) / 3)
    assert inverse_negative_penalty(ranks) == pytest.approx(3 / 8)


def test_lists_with_nothing_in_them() -> None:
    nothing = np.empty(0, np.float32), np.empty(0, bool), np.empty(0, bool)
    assert match_ranks(*nothing).tolist() == [] and nearest(nothing[0], nothing[2], 2).tolist() == [
        -1,
        -1,
    ]
    # what was removed is never right
    alone = np.float32([0.5]), np.array([True]), np.array([False])
    assert match_ranks(*alone).tolist() == [] and nearest(alone[0], alone[2], 1).tolist() == [-1]
