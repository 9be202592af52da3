"""Scores against numbers found by hand."""

import numpy as np
import pytest

from partreid.errors import DataError, ShapeError
from partreid.link import TrackedCrop, Tracklets, right_crops, score
from tests.link.made_up import made


def truth(counts: list[int], people: str) -> Tracklets:
    """Tracklet t has so many crops of person t."""
    return Tracklets.of(
        TrackedCrop(f"{t}-{k}.jpg", str(t), "c", float(t), who)
        for t, (n, who) in enumerate(zip(counts, people, strict=True))
        for k in range(n)
    )


def test_by_hand() -> None:
    # crops: A 3 + 1, B 2 + 2; identity 1 holds A3, A1 and B2, identity 2 holds B2
    t = truth([3, 1, 2, 2], "AABB")
    s = score(t, [1, 1, 1, 2], samples=20)
    assert s.idf1.value == pytest.approx(6 / 8)  # A -> 1: 4 crops, B -> 2: 2 crops
    assert right_crops(t, [1, 1, 1, 2]).tolist() == [True] * 4 + [False] * 2 + [True] * 2
    assert s.precision == pytest.approx(1 / 3)  # pairs 01, 02, 12 said; 01 and 23 true
    assert s.recall == pytest.approx(1 / 2)
    assert s.f1 == pytest.approx(0.4)
    # precision: A 4 crops 4/6, B in 1 two crops 2/6, B in 2 two crops 2/2
    assert s.bcubed_precision == pytest.approx((4 * 4 / 6 + 2 * 2 / 6 + 2) / 8)
    assert s.bcubed_recall == pytest.approx((4 * 1 + 4 * 0.5) / 8)
    assert (s.people, s.identities, s.tracklets, s.left_out) == (2, 2, 4, 0)


def test_one_identity_stands_for_one_person_only() -> None:
    # all are one identity: it can stand for A, with 5 of 8 crops
    t = truth([5, 3], "AB")
    assert score(t, [7, 7], samples=5).idf1.value == pytest.approx(5 / 8)
    # A is split: only the greater half counts
    t = truth([5, 3], "AA")
    assert score(t, [1, 2], samples=5).idf1.value == pytest.approx(5 / 8)


def test_idf1_is_what_the_best_of_all_assignments_gives() -> None:
    from itertools import permutations

    draw = np.random.default_rng(2)
    for _ in range(20):
        people = "".join(draw.choice(list("ABCD"), 9))
        t = truth(draw.integers(1, 6, 9).tolist(), people)
        who = draw.integers(1, 5, 9)
        best = 0
        for names in permutations("ABCD"):
            stands = dict(zip(range(1, 5), names))
            hits = sum(int(n) for k, n in enumerate(t.counts) if stands[int(who[k])] == people[k])
            best = max(best, hits)
        assert score(t, who, samples=5).idf1.value == pytest.approx(best / len(t.paths))


def test_mixed_tracklets_and_unknown_crops() -> None:
    crops = [
        TrackedCrop(f"{k}.jpg", name, "c", float(k), who)
        for k, (name, who) in enumerate([("1", "A"), ("1", "B"), ("1", "B"), ("2", "B"), ("3", "")])
    ]
    s = score(Tracklets.of(crops), [1, 1, 2], samples=5)
    assert (s.tracklets, s.left_out, s.identities) == (2, 1, 1)
    assert (s.idf1.value, s.precision, s.recall) == (0.75, 1.0, 1.0)
    assert right_crops(Tracklets.of(crops), [1, 1, 2]).tolist() == [False, True, True, True, False]


def test_without_pairs_nothing_is_wrong() -> None:
    s = score(truth([2, 2], "AB"), [1, 2], samples=5)
    assert (s.precision, s.recall, s.f1) == (1.0, 1.0, 1.0)


def test_the_interval_is_over_people_and_repeats() -> None:
    t = truth([4] * 12, "AABBCCDDEEFF")
    who = [1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9]
    one, two = (score(t, who, samples=200, seed=3) for _ in range(2))
    assert one == two and one.idf1.low < one.idf1.value == 0.75 < one.idf1.high


def test_without_truth_it_says_so() -> None:
    with pytest.raises(DataError, match="nobody says who the crops show"):
        score(made("ab", [0.0, 1.0]), [1, 2])
    with pytest.raises(ShapeError, match=r"identities must be \[2\], got \[3\]"):
        score(truth([1, 1], "AB"), [1, 2, 3])
