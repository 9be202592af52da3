"""Scores of embeddings that the test places, query set by query set."""

from pathlib import Path

import pytest
import torch

from partreid.distance import PartDistance
from partreid.errors import DataError
from partreid.evaluation.score import Embedded, cameras, embed_benchmark, identities, score
from partreid.retrieval import Expansion
from partreid.types import Benchmark, Embeddings, Sample

EUCLID = PartDistance("euclidean")


def sample(identity: int, camera: int) -> Sample:
    return Sample(Path(f"{identity}_{camera}.jpg"), identity, camera)


# Every image lies on a line at its own place; the gallery's third entry is a distractor, its last
# one junk.
GALLERY = (sample(1, 2), sample(2, 2), sample(0, 3), sample(1, 1), sample(2, 3), sample(-1, 2))
PLACES = torch.tensor([0.0, 4.0, 1.0, 9.0, 6.0, 0.2])
BENCHMARK = Benchmark(
    "made", Path("."), (), {"easy": (sample(1, 1), sample(2, 1)), "hard": (sample(2, 1),)}, GALLERY
)


def points(places: list[float]) -> Embeddings:
    return Embeddings.single("x", torch.tensor(places)[:, None])


def described() -> Embedded:
    return Embedded({"easy": points([0.1, 4.1]), "hard": points([1.2])}, points(PLACES.tolist()))


def test_ranks_by_hand() -> None:
    """Query 1 (camera 1) at 0.1: entry 0 is right and nearest; its own camera's entry 3 and junk
    are left out. Query 2 at 4.1: right entries 1 and 4 come first and second. The hard one at 1.2:
    the distractor, 0, 1, 4.
    """
    easy, hard = score(EUCLID, described(), BENCHMARK)
    assert (easy.queries, hard.queries) == ("easy", "hard")
    assert easy.ranking.mAP == 1 and easy.ranking.cmc[1] == 1
    assert hard.ranking.first.tolist() == [3]
    assert hard.ranking.mAP == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert hard.ranking.mINP == pytest.approx(2 / 4)
    assert (hard.ranking.cmc[1], hard.ranking.cmc[5]) == (0, 1)
    assert easy.seconds > 0


def test_intervals_hold_the_numbers_and_are_wide_for_few_people() -> None:
    easy, hard = score(EUCLID, described(), BENCHMARK)
    for scored in (easy, hard):
        for name, value in (("R1", scored.ranking.cmc[1]), ("mAP", scored.ranking.mAP)):
            assert scored.intervals[name].low <= value <= scored.intervals[name].high


def test_expansion_gives_every_query_its_own_answer_in_whatever_order_they_come() -> None:
    draw = torch.Generator().manual_seed(0)
    gallery = tuple(sample(1 + i % 6, 1 + i % 4) for i in range(48))
    queries = tuple(sample(1 + i % 6, 1 + i % 3) for i in range(18))
    places = Embedded(
        {"q": Embeddings.single("x", torch.randn(18, 4, generator=draw))},
        Embeddings.single("x", torch.randn(48, 4, generator=draw)),
    )
    (expanded,) = score(
        EUCLID,
        places,
        Benchmark("made", Path("."), (), {"q": queries}, gallery),
        after=Expansion(k=2),
    )
    (plain,) = score(EUCLID, places, Benchmark("made", Path("."), (), {"q": queries}, gallery))
    assert (
        expanded.roc is None
        and expanded.searches is None
        and expanded.ranking.mAP != plain.ranking.mAP
    )
    for i in range(18):  # a query alone needs no order
        alone = Benchmark("made", Path("."), (), {"q": queries[i : i + 1]}, gallery)
        (one,) = score(
            EUCLID,
            Embedded({"q": places.queries["q"].rows([i])}, places.gallery),
            alone,
            after=Expansion(k=2),
        )
        assert one.ranking.top[0].tolist() == expanded.ranking.top[i].tolist()
        assert (
            one.ranking.ap[0] == expanded.ranking.ap[i]
            and one.ranking.identities[0] == expanded.ranking.identities[i]
        )
        assert one.ranking.hits[0].tolist() == expanded.ranking.hits[i].tolist()
        assert one.ranking.size[0] == expanded.ranking.size[i]


def test_every_set_of_embeddings_is_changed() -> None:
    hidden = Embedded(
        {"easy": Embeddings(torch.zeros(2, 1, 1), torch.zeros(2, 1), ("x",))}, points([1.0])
    )
    changed = hidden.change(Embeddings.all_visible)
    assert changed.queries["easy"].visibility.eq(1).all() and changed.gallery.visibility.eq(1).all()
    assert hidden.queries["easy"].visibility.eq(0).all()


def test_the_gallery_is_described_once() -> None:
    calls: list[tuple[Sample, ...]] = []

    def extract(samples: object) -> Embeddings:
        calls.append(tuple(samples))  # type: ignore[arg-type]
        return points([0.0] * len(calls[-1]))

    embedded = embed_benchmark(BENCHMARK, extract)
    assert calls.count(GALLERY) == 1 and len(calls) == 3
    assert (
        len(embedded.queries["easy"]),
        len(embedded.queries["hard"]),
        len(embedded.gallery),
    ) == (2, 1, 6)


def test_nothing_to_find_is_a_sentence() -> None:
    alone = Benchmark("m", Path("."), (), {"q": (sample(7, 1),)}, GALLERY)
    with pytest.raises(DataError, match="query and gallery share no identity"):
        score(EUCLID, Embedded({"q": points([0.0])}, points(PLACES.tolist())), alone)
    one_camera = Benchmark("m", Path("."), (), {"q": (sample(1, 1),)}, (sample(1, 1), sample(2, 1)))
    with pytest.raises(DataError, match="all images come from one camera"):
        score(EUCLID, Embedded({"q": points([0.0])}, points([0.0, 1.0])), one_camera)


def test_identities_and_cameras_in_order() -> None:
    assert identities(GALLERY) == [1, 2, 0, 1, 2, -1] and cameras(GALLERY) == [2, 2, 3, 1, 3, 2]
