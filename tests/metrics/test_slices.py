"""Slices that add up to the whole, and small galleries against drawing them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from partreid.distance import PartDistance
from partreid.errors import DataError, ShapeError
from partreid.metrics import Ranking, bootstrap_ranking, evaluate_embeddings, rank
from partreid.metrics.protocols import MARKET, SINGLE_SHOT, Protocol
from partreid.metrics.slices import (
    Slice,
    _expected,
    by_camera_pair,
    by_gallery_size,
    by_identity_size,
    by_occlusion,
    by_part,
    by_shared_parts,
    parts,
)
from partreid.types import Embeddings

IMAGES = st.lists(st.tuples(st.integers(-1, 3), st.integers(1, 3)), min_size=1, max_size=12)
Set = list[tuple[int, int]]
NAMES = ("foreground", "head", "torso", "legs")


def described(n: int, draw: np.random.Generator) -> Embeddings:
    """Coarse values and hidden parts: ties and infinite distances; the foreground is always
    there.
    """
    shown = draw.choice([0.0, 0.4, 1.0], (n, 4))
    shown[:, 0] = draw.choice([0.0, 1.0], n, p=(0.1, 0.9))
    return Embeddings(
        torch.from_numpy(draw.integers(-1, 2, (n, 4, 2)).astype(np.float32)),
        torch.from_numpy(shown.astype(np.float32)),
        NAMES,
    )


class World:
    """Query and gallery images, their embeddings and the ranking; ``None`` where nothing can be
    ranked.
    """

    def __init__(self, query: Set, gallery: Set, seed: int, protocol: Protocol) -> None:
        draw = np.random.default_rng(seed)
        self.q_ids, self.q_cameras = np.array(query, np.int64).T
        self.g_ids, self.g_cameras = np.array(gallery, np.int64).T
        self.q, self.g = described(len(query), draw), described(len(gallery), draw)
        self.labels = {
            "q_ids": self.q_ids,
            "g_ids": self.g_ids,
            "q_cams": self.q_cameras,
            "g_cams": self.g_cameras,
            "protocol": protocol,
            "distractor": 0,
            "junk": -1,
        }
        self.ranking: Ranking | None
        try:
            self.ranking = evaluate_embeddings(
                PartDistance("cosine"), self.q, self.g, **self.labels, ks=(1, 5)
            )
        except DataError:
            self.ranking = None


def whole(slices: Sequence[Slice], name: str) -> float:
    return sum(s.weight * s.scores[name] for s in slices)


DRAWN = replace(SINGLE_SHOT, draws=2)
WORLD = st.builds(
    World, IMAGES, IMAGES, st.integers(0, 999), st.sampled_from([MARKET, MARKET, DRAWN])
)


@settings(max_examples=80)
@given(WORLD)
def test_camera_pairs_add_up(world: World) -> None:
    assume(world.ranking is not None)
    ranking = world.ranking
    assert ranking is not None
    slices = by_camera_pair(ranking, q_cams=world.q_cameras, g_cams=world.g_cameras, ks=(1, 5))
    assert sum(s.weight for s in slices) == pytest.approx(1)
    assert whole(slices, "mAP") == pytest.approx(ranking.mAP, abs=1e-12)
    assert [s.key for s in slices] == sorted({s.key for s in slices})
    n, scored = len(world.q_ids), int(ranking.scored.sum())
    for s in slices:  # once more, hit by hit
        weight = precision = first = pairs = 0.0
        for i, (ranks, hits) in enumerate(zip(ranking.ranks, ranking.hits)):
            for k, (place, hit) in enumerate(zip(ranks, hits), 1):
                if (world.q_cameras[i % n], world.g_cameras[hit]) == s.key:
                    share = 1 / (len(ranks) * scored)
                    pairs, weight, precision = (
                        pairs + 1,
                        weight + share,
                        precision + share * k / place,
                    )
                    first += share * (place == 1)
        assert s.pairs == pairs and s.weight == pytest.approx(weight)
        assert s.scores["mAP"] == pytest.approx(precision / weight)
        assert (
            s.scores["found@1"] == pytest.approx(first / weight)
            and s.scores["found@5"] >= s.scores["found@1"]
        )


@settings(max_examples=80)
@given(WORLD)
def test_shared_parts_add_up(world: World) -> None:
    assume(world.ranking is not None)
    assert world.ranking is not None
    slices = by_shared_parts(world.ranking, world.q, world.g)
    assert whole(slices, "mAP") == pytest.approx(world.ranking.mAP, abs=1e-12)
    both = ((world.q.visibility[:, None] * world.g.visibility[None]) > 0).sum(2).numpy()
    n = len(world.q_ids)
    for s in slices:
        pairs = [
            (i, h)
            for i, hits in enumerate(world.ranking.hits)
            for h in hits
            if both[i % n, h] == s.key[0]
        ]
        assert s.pairs == len(pairs) and s.queries == len({i for i, _ in pairs})
    bodies = by_shared_parts(
        world.ranking, world.q.select(*parts(NAMES)), world.g.select(*parts(NAMES))
    )
    assert max(s.key[0] for s in bodies) <= 3 and sum(s.pairs for s in bodies) == sum(
        s.pairs for s in slices
    )


@settings(max_examples=60)
@given(WORLD)
def test_queries_add_up(world: World) -> None:
    """Every score, not only the mAP."""
    assume(world.ranking is not None)
    assert world.ranking is not None
    for slices in (
        by_occlusion(world.ranking, world.q.visibility, 20),
        by_identity_size(world.ranking, 20),
    ):
        assert sum(s.queries for s in slices) == world.ranking.scored.sum()
        assert sum(s.pairs for s in slices) == sum(len(r) for r in world.ranking.ranks)
        for name, value in world.ranking.scores.items():
            assert whole(slices, name) == pytest.approx(value, abs=1e-12)
        for s in slices:
            assert all(
                i.low <= s.scores[name] == i.value <= i.high for name, i in s.intervals.items()
            )


def by_hand() -> tuple[Ranking, np.ndarray, np.ndarray]:
    """Two queries of camera 1. The first has right images of cameras 2 and 3 at ranks 1 and 4,
    the second at 2.
    """
    far = torch.tensor([[0.1, 0.4, 0.2, 0.3, 0.9], [0.2, 0.3, 0.1, 0.4, 0.5]])
    cameras = np.array([2, 3, 2, 2, 3])
    ids = np.array([1, 1, 7, 8, 9])
    far[1] = torch.tensor([0.9, 0.8, 0.2, 0.1, 0.5])
    return (
        rank([(slice(0, 2), far)], q_ids=[1, 7], g_ids=ids, q_cams=[1, 1], g_cams=cameras),
        np.array([1, 1]),
        cameras,
    )


def test_by_hand() -> None:
    ranking, of_query, of_gallery = by_hand()
    assert [r.tolist() for r in ranking.ranks] == [[1, 4], [2]]
    two, three = by_camera_pair(ranking, q_cams=of_query, g_cams=of_gallery)
    # weights: 1/4 and 1/4 for the first query's, 1/2 for the second's; precisions 1, 2/4 and 1/2
    assert (two.name, two.key, two.queries, two.pairs, two.weight) == (
        "camera 1 -> 2",
        (1, 2),
        2,
        2,
        0.75,
    )
    assert two.scores == pytest.approx(
        {"mAP": (1 / 4 + 1 / 4) / 0.75, "found@1": 1 / 3, "found@10": 1}
    )
    assert (three.name, three.queries, three.pairs, three.weight) == ("camera 1 -> 3", 1, 1, 0.25)
    assert three.scores == pytest.approx({"mAP": 0.5, "found@1": 0, "found@10": 1})
    few, more = by_identity_size(ranking)
    assert (few.name, few.key, few.queries, few.scores["mAP"]) == ("1 right image", (1, 1), 1, 0.5)
    assert (more.name, more.key, more.pairs, more.scores["mAP"]) == (
        "2-3 right images",
        (2, 3),
        2,
        0.75,
    )
    least, most = by_occlusion(ranking, torch.tensor([[0.0, 0.2, 1.0], [0, 1, 0]]))
    assert (least.name, least.weight, least.scores["R1"]) == ("1 part shown", 0.5, 0)
    assert (most.name, most.weight, most.scores["R1"]) == ("2 parts shown", 0.5, 1)


# ---- smaller galleries


def thinned(ranking: Ranking, size: int) -> dict[str, float]:
    """The scores' mean over every way to keep ``size`` of each list's wrong entries."""
    lists = []
    for ranks, length in zip(ranking.ranks, ranking.size):
        if not len(ranks):
            continue
        wrong = [place for place in range(1, length + 1) if place not in ranks]
        ways = list(combinations(wrong, min(size, len(wrong))))
        total = np.zeros(4)
        for kept in ways:
            places = [k + sum(w < r for w in kept) for k, r in enumerate(ranks, 1)]
            total += (
                np.mean([k / p for k, p in enumerate(places, 1)]),
                len(places) / places[-1],
                places[0] <= 1,
                places[0] <= 5,
            )
        lists.append(total / len(ways))
    return dict(zip(("mAP", "mINP", "R1", "R5"), np.mean(lists, 0)))


@settings(max_examples=60)
@given(WORLD, st.integers(0, 8))
def test_smaller_galleries_match_every_way_to_draw_them(world: World, size: int) -> None:
    assume(world.ranking is not None)
    assert world.ranking is not None
    (row,) = by_gallery_size(world.ranking, [size])
    assert row.scores == pytest.approx(thinned(world.ranking, size), abs=1e-9)
    full = by_gallery_size(world.ranking)[-1]
    assert full.scores == pytest.approx(world.ranking.scores, abs=1e-9)
    assert by_gallery_size(world.ranking, [0])[0].scores == pytest.approx(
        {"mAP": 1, "mINP": 1, "R1": 1, "R5": 1}
    )


def test_expected_precision_of_long_lists() -> None:
    """Against the sum over all X, for lists long enough that only a part of it is summed."""
    draw = np.random.default_rng(0)
    W = draw.integers(2, 30_000, 60)
    w, n = draw.integers(0, W + 1), draw.integers(0, W + 1)
    w[:20] = np.minimum(w[:20], draw.integers(0, 60, 20))  # near the top, as right entries are
    k = draw.integers(1, 40, 60)
    for *case, value in zip(k.tolist(), w.tolist(), W.tolist(), n.tolist(), _expected(k, w, W, n)):
        nth, before, total, kept = case
        ways = [math.lgamma(a + 1) for a in (before, total - before, total, kept, total - kept)]
        want = chance = 0.0
        for x in range(max(0, kept - (total - before)), min(before, kept) + 1):
            p = math.exp(
                ways[0]
                - math.lgamma(x + 1)
                - math.lgamma(before - x + 1)
                + ways[1]
                - math.lgamma(kept - x + 1)
                - math.lgamma(total - before - kept + x + 1)
                - ways[2]
                + ways[3]
                + ways[4]
            )
            want, chance = want + p * nth / (nth + x), chance + p
        assert chance == pytest.approx(1, abs=1e-7)
        assert value == pytest.approx(want / chance, abs=1e-10), case


def test_sizes_by_default() -> None:
    draw = np.random.default_rng(0)
    far = torch.from_numpy(draw.random((3, 2500)).astype(np.float32))
    ids = np.full(2500, 9)
    ids[[3, 70, 900]] = 1, 2, 3
    ranking = rank([(slice(0, 3), far)], q_ids=[1, 2, 3], g_ids=ids)
    slices = by_gallery_size(ranking)
    assert [s.key[0] for s in slices] == [100, 1000, 2499] and slices[0].name == "100 wrong images"
    assert all(a.scores["mAP"] > b.scores["mAP"] for a, b in zip(slices, slices[1:]))
    for first, s in zip(ranking.first, by_gallery_size(ranking, [100])):  # C(W - w, n) / C(W, n)
        assert s.scores["R1"] == pytest.approx(
            np.mean([math.comb(2499 - (r - 1), 100) / math.comb(2499, 100) for r in ranking.first]),
            abs=1e-9,
        ), first
    with pytest.raises(ShapeError, match="0 or more, got -1"):
        by_gallery_size(ranking, [-1])


# ---- part by part


def test_every_part_alone() -> None:
    gallery = [(1, 2), (2, 2), (3, 1), (1, 3), (0, 2), (2, 3), (-1, 1)]
    world = World([(1, 1), (2, 1), (3, 2), (0, 1)], gallery, 0, MARKET)
    distance = PartDistance("cosine", weights=(1.0, 0.5, 0.5, 0.25))
    slices = by_part(distance, world.q, world.g, **world.labels, ks=(1, 5), samples=50)
    assert [s.name for s in slices] == [*NAMES, "parts together", "all together"]
    assert [s.key for s in slices] == [(0,), (1,), (2,), (3,), (1, 2, 3), (0, 1, 2, 3)]
    for m, (name, s) in enumerate(zip(NAMES, slices)):
        plain = evaluate_embeddings(
            PartDistance("cosine"),
            world.q.select(name),
            world.g.select(name),
            **world.labels,
            ks=(1, 5),
        )
        assert s.scores == plain.scores and s.intervals == bootstrap_ranking(plain, 50)
        shown = [(e.visibility[:, m] > 0).tolist() for e in (world.q, world.g)]
        right = [
            (i, j)
            for i in range(4)
            for j in range(7)
            if world.q_ids[i] == world.g_ids[j] > 0 and world.q_cameras[i] != world.g_cameras[j]
        ]
        assert s.pairs == sum(shown[0][i] and shown[1][j] for i, j in right)
        assert s.queries == sum(shown[0][i] for i in {i for i, _ in right})
    together = evaluate_embeddings(
        PartDistance("cosine", weights=(0.5, 0.5, 0.25)),
        world.q.select(*NAMES[1:]),
        world.g.select(*NAMES[1:]),
        **world.labels,
        ks=(1, 5),
    )
    assert slices[4].scores == together.scores
    everything = evaluate_embeddings(distance, world.q, world.g, **world.labels, ks=(1, 5))
    assert slices[5].scores == everything.scores


def test_a_hidden_part_ranks_last_in_the_gallery_s_order() -> None:
    """The query that hides it ranks the gallery as it stands; a right image that hides it comes
    after all that show.
    """
    vectors = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    q = Embeddings(vectors, torch.tensor([[1.0], [0.0]]), ("head",))
    g = Embeddings(
        torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.1]]]),
        torch.tensor([[0.0], [1.0], [1.0]]),
        ("head",),
    )
    (row,) = by_part(
        PartDistance("cosine", shrink=1.0), q, g, q_ids=[1, 2], g_ids=[1, 2, 3], ks=(1, 3)
    )
    # the first finds its image after the two that show the head, the second its own at place 2
    assert row.scores == pytest.approx(
        {"mAP": (1 / 3 + 1 / 2) / 2, "mINP": (1 / 3 + 1 / 2) / 2, "R1": 0, "R3": 1}
    )
    assert (row.queries, row.pairs, row.weight) == (1, 0, 0)


def test_parts_are_told_from_the_whole() -> None:
    names = ("global", "foreground", "joined", "global+foreground", "head", "left+right")
    assert parts(names) == ("head", "left+right")


def test_what_does_not_fit_is_said() -> None:
    ranking, of_query, of_gallery = by_hand()
    with pytest.raises(ShapeError, match="q_cams must have one row per query, 2, got 3"):
        by_camera_pair(ranking, q_cams=[1, 1, 1], g_cams=of_gallery)
    with pytest.raises(ShapeError, match="visibility must have one row per query"):
        by_occlusion(ranking, torch.ones(3, 2))
    bare = Ranking("market1501", ranking.ranks, ranking.top, ranking.identities)
    with pytest.raises(ShapeError, match="rank again"):
        by_camera_pair(bare, q_cams=of_query, g_cams=of_gallery)
    with pytest.raises(ShapeError, match="rank again"):
        by_gallery_size(bare)
