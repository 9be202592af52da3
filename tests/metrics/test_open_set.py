"""Searches for people who may be in no gallery, against one query and one threshold at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.errors import DataError
from partreid.metrics import ANY_CAMERA, MARKET, OpenSetAccumulator, Searches, rank
from partreid.metrics.protocols import SINGLE_SHOT, Protocol

VALUES = (-0.5, -0.0, 0.0, 0.25, 0.5, 1.0, np.inf)
IMAGES = st.lists(st.tuples(st.integers(-1, 4), st.integers(1, 3)), min_size=1, max_size=12)
FPIRS = (0.0, 0.01, 0.1, 0.3, 0.5, 1.0)
Set = list[tuple[int, int]]


class Plain:
    """The same from nested loops: each query's right and wrong distances in the order of the
    gallery.
    """

    def __init__(self, far: np.ndarray, relevant: np.ndarray, valid: np.ndarray) -> None:
        self.mated, self.right, self.wrong, self.first = [], [], [], []
        for row, right, listed in zip(far.tolist(), relevant.tolist(), valid.tolist()):
            ranked = sorted((d, j) for j, d in enumerate(row) if listed[j])
            mine, others = ([d for d, j in ranked if right[j] is kind] for kind in (True, False))
            self.mated.append(bool(mine))
            self.right.append(min(mine, default=np.inf))
            self.wrong.append(min(others, default=np.inf))
            self.first.append(bool(mine) and right[ranked[0][1]])
        self.nearest = [min(pair) for pair in zip(self.right, self.wrong)]
        self.non_mated = [n for n, mated in zip(self.nearest, self.mated) if not mated]

    def rates(self, fpir: float) -> tuple[float, float]:
        """(FNIR, DIR): the best of all limits under which few enough non-mated queries get an
        answer nearer than it.
        """
        pairs = []
        for limit in {*self.right, *self.wrong, np.inf}:
            if sum(n < limit for n in self.non_mated) <= fpir * len(self.non_mated) + 1e-9:
                mated = [(o < limit, f) for o, f, m in zip(self.right, self.first, self.mated) if m]
                pairs.append(
                    (
                        sum(not hit for hit, _ in mated) / len(mated),
                        sum(hit and f for hit, f in mated) / len(mated),
                    )
                )
        return min(f for f, _ in pairs), max(d for _, d in pairs)

    @property
    def auroc(self) -> float:
        wins = [
            (n < s) + (n == s) / 2
            for n, m in zip(self.nearest, self.mated)
            if m
            for s in self.non_mated
        ]
        return sum(wins) / len(wins)


def agree(outcome: Searches, plain: Plain) -> None:
    assert outcome.mated.tolist() == plain.mated and outcome.first.tolist() == plain.first
    assert outcome.right.tolist() == plain.right and outcome.wrong.tolist() == plain.wrong
    if all(plain.mated) or not any(plain.mated):
        assert all(np.isnan(value) for value in outcome.scores.values())
        return
    for fpir in FPIRS:
        assert (outcome.fnir_at(fpir), outcome.dir_at(fpir)) == pytest.approx(
            plain.rates(fpir), abs=1e-12
        )
        returned = outcome.nearest[~outcome.mated] < outcome.limit(fpir)
        assert returned.mean() <= fpir + 1e-12  # never more than allowed
    assert outcome.auroc == pytest.approx(plain.auroc, abs=1e-12)


@settings(max_examples=300)
@given(st.tuples(st.integers(1, 7), st.integers(1, 10)), st.integers(0, 9999), st.booleans())
def test_whole_matrices_match_loops(shape: tuple[int, int], seed: int, coarse: bool) -> None:
    draw = np.random.default_rng(seed)
    far = (draw.choice(VALUES, shape) if coarse else draw.normal(size=shape)).astype(np.float32)
    relevant, valid = draw.random(shape) < 0.2, draw.random(shape) < 0.8
    agree(Searches.of_masks(far, relevant, valid), Plain(far, relevant, valid))


@settings(max_examples=200)
@given(
    IMAGES,
    IMAGES,
    st.integers(0, 9999),
    st.sampled_from([MARKET, ANY_CAMERA, SINGLE_SHOT]),
    st.integers(1, 5),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_a_gallery_that_lacks_people_matches_loops(
    query: Set, gallery: Set, seed: int, protocol: Protocol, rows: int, absent: float
) -> None:
    """Through ``rank``, in blocks: people taken out of the gallery are neither right nor wrong
    answers.
    """
    q, g = (np.array(images, np.int64) for images in (query, gallery))
    far = np.random.default_rng(seed).choice(VALUES, (len(q), len(g))).astype(np.float32)
    special = {"distractor": 0, "junk": -1}
    masks = [protocol.masks(i, c, g[:, 0], g[:, 1], **special) for i, c in query]
    who = {"q_ids": q[:, 0], "g_ids": g[:, 0], **special}
    open_set = OpenSetAccumulator(**who, absent=absent, seed=seed)
    labels = {**who, "q_cams": q[:, 1], "g_cams": g[:, 1], "protocol": protocol}
    blocks = [
        (slice(start, min(start + rows, len(q))), torch.from_numpy(far[start : start + rows]))
        for start in range(0, len(q), rows)
    ]
    if not any(relevant.any() for relevant, _ in masks):
        with pytest.raises(DataError):
            rank(blocks, **labels, accumulators=[open_set])
        return
    rank(blocks, **labels, accumulators=[open_set])
    left = ~np.isin(g[:, 0], open_set.absent)
    relevant, valid = (np.stack(side) & left for side in zip(*masks))
    agree(open_set.result(), Plain(far + np.float32(0), relevant, valid))


def test_by_hand() -> None:
    """Four queries and six images; the first two are mated, the third's person has left, the
    fourth's never came.
    """
    far = np.float32(
        [
            [0.4, 0.3, 0.9, 0.9, 0.1, 0.8],
            [0.7, 0.9, 0.2, 0.6, 0.1, 0.5],
            [0.9, 0.5, 0.8, 0.6, 0.1, 0.9],
            [0.6, 0.9, 0.35, 0.9, 0.1, 0.9],
        ]
    )
    ids = np.array([1, 5, 2, 2, 3, 0])  # person 3 is taken out, 0 is a distractor
    outcome = Searches.of_masks(
        far, np.array([[1], [2], [3], [9]]) == ids, np.broadcast_to(ids != 3, far.shape)
    )
    assert outcome.mated.tolist() == [True, True, False, False]
    np.testing.assert_allclose(outcome.right, [0.4, 0.2, np.inf, np.inf])
    np.testing.assert_allclose(outcome.wrong, [0.3, 0.5, 0.5, 0.35])
    assert outcome.first.tolist() == [False, True, False, False]
    # no non-mated query may get an answer: nearer than .35, so query 1 (.4) is missed; one of two:
    # nearer than .5
    assert (outcome.limit(0), outcome.fnir_at(0), outcome.dir_at(0)) == (
        pytest.approx(0.35),
        0.5,
        0.5,
    )
    # 1 is returned, but second
    assert (outcome.limit(0.5), outcome.fnir_at(0.5), outcome.dir_at(0.5)) == (0.5, 0, 0.5)
    assert outcome.limit(1) == np.inf
    assert outcome.auroc == 1  # .3 and .2 are nearer than .5 and .35
    assert outcome.scores == {
        "FNIR@1%": 0.5,
        "FNIR@10%": 0.5,
        "DIR@1%": 0.5,
        "DIR@10%": 0.5,
        "AUROC": 1,
    }


def test_the_draw_of_people_depends_on_identities_alone() -> None:
    query, gallery = np.array([5, 3, 1, 1, 8, 0, -1]), np.array([1, 3, 3, 5, 7, 0, 0, -1])

    def absent(queries: np.ndarray, there: np.ndarray, seed: int = 0) -> list[int]:
        drawn = OpenSetAccumulator(q_ids=queries, g_ids=there, seed=seed, distractor=0, junk=-1)
        return drawn.absent.tolist()

    one, again = absent(query, gallery), absent(query[::-1].copy(), gallery[[0, 1, 3, 4, 5]])
    # half of 1, 3 and 5, rounded
    assert one == again and len(one) == 2
    # neither distractors nor those whom nobody asks for
    assert set(one) < {1, 3, 5}
    assert len({tuple(absent(query, gallery, seed)) for seed in range(20)}) == 3


def test_nobody_absent_and_nobody_present_have_no_scores() -> None:
    far = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    for absent in (0.0, 1.0):
        open_set = OpenSetAccumulator(q_ids=[1, 2], g_ids=[1, 2], absent=absent)
        rank([(slice(0, 2), far)], q_ids=[1, 2], g_ids=[1, 2], accumulators=[open_set])
        outcome = open_set.result()
        assert outcome.mated.tolist() == [absent == 0] * 2
        assert all(np.isnan(value) for value in outcome.scores.values())
