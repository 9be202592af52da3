from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Thread

import pytest
import torch

from partreid.distance import PartDistance
from partreid.errors import ArgumentError, DataError, ShapeError
from partreid.gallery import Enrolled, Found, open_gallery
from partreid.types import Embeddings
from tests.gallery.drawn import DISTANCES, brute, saved

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def ids(results: list[list[Found]]) -> list[list[int]]:
    return [[hit.id for hit in hits] for hits in results]


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("distance", DISTANCES)
def test_a_search_gives_the_order_of_the_whole_matrix(
    anywhere: Path | str, distance: PartDistance, soft: bool
) -> None:
    """By SQL, from memory, and as the definition has it."""
    crops, query = saved(distance, 300, 1, soft), saved(distance, 3, 2, soft)
    expected = [[row + 1 for row in rows] for rows in brute(query, crops, range(300))]
    with open_gallery(anywhere, crops, budget=0) as gallery, open_gallery(anywhere) as hot:
        assert gallery.add(crops) == list(range(1, 301)) and len(gallery) == 300
        assert not gallery.warm() and hot.warm() and hot.is_hot
        for top in (1, 10, 400):
            results = gallery.search(query, top)
            assert ids(results) == [row[:top] for row in expected]
            assert hot.search(query, top) == results
        far = distance(query.embeddings, crops.embeddings)
        assert results[0][0].distance == pytest.approx(float(far[0].min()), abs=2e-3)
        limit = results[0][20].distance
        near = [hit for hit in results[0] if hit.distance <= limit]
        assert len(near) > 20 and gallery.within(query, limit)[0] == near
        assert hot.within(query, limit) == gallery.within(query, limit)
        assert not gallery.is_hot


def test_ties_go_to_the_crop_enrolled_first(anywhere: Path | str) -> None:
    one = saved(DISTANCES[0], 1)
    e = one.embeddings.rows([0] * 50)
    same = replace(one, embeddings=e, paths=one.paths * 50, looks=None)
    hidden = replace(same, embeddings=Embeddings(e.vectors, torch.zeros(50, 3), e.names))
    with open_gallery(anywhere, one, budget=0) as gallery, open_gallery(anywhere) as hot:
        gallery.add(hidden)
        gallery.add(same)
        assert hot.warm()
        for view in (gallery, hot):
            assert ids(view.search(one, 7))[0] == list(range(51, 58))
            # what shares no part comes last
            assert ids(view.search(one, 52))[0] == [*range(51, 101), 1, 2]


def test_filters_are_applied_before_the_nearest_are_taken(anywhere: Path | str) -> None:
    distance = DISTANCES[0]
    crops, query = saved(distance, 40, 1), saved(distance, 1, 2)
    with open_gallery(anywhere, crops, budget=0) as gallery, open_gallery(anywhere) as hot:
        for camera, hour, who in ((1, 0, "x"), (2, 1, "x"), (1, 2, None)):
            gallery.add(crops, Enrolled(camera, NOON + timedelta(hours=hour), who))
        gallery.add(saved(distance, 1, 3))  # of whom nothing is known
        later = NOON + timedelta(hours=2)
        hot.warm()
        for view in (gallery, hot):
            hits = view.search(query, 99, cameras=[1], since=later)[0]
            assert {hit.id for hit in hits} == set(range(81, 121))
            assert len(view.search(query, 99, person="x", until=later)[0]) == 80
            assert view.search(query, 99, cameras=[])[0] == []
            assert view.count(cameras=[1, 2]) == 120 and view.count() == 121
        assert gallery.get(41).enrolled == Enrolled(2, NOON + timedelta(hours=1), "x")
        assert gallery.people() == {"x": 80} and gallery.cameras() == {1: 80, 2: 40}
        with pytest.raises(DataError, match="time zone"):
            gallery.search(query, since=datetime(2026, 1, 1))
        with pytest.raises(DataError, match="no crop 999"):
            gallery.get(999)
        with pytest.raises(ArgumentError, match="64 bits"):
            gallery.search(query, cameras=[2**63])


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("close", [0, 4096])
def test_filtered_searches_in_memory_are_those_of_sql(
    empty: Path, distance: PartDistance, close: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the rows that pass are looked at one by one, or after a product with all."""
    monkeypatch.setattr("partreid.gallery.hot._CLOSE", close)
    crops, query = saved(distance, 300, 1), saved(distance, 3, 2)
    known = [Enrolled(i % 5, NOON + timedelta(hours=i % 7), f"p{i % 3}") for i in range(300)]
    hour = {"since": NOON + timedelta(hours=2), "until": NOON + timedelta(hours=3)}
    with open_gallery(empty, crops, budget=0) as cold, open_gallery(empty) as hot:
        cold.add(crops, known)
        assert hot.warm()
        for filters in ({}, {"cameras": [1, 4]}, {"cameras": [2], **hour}, {"person": "p1"}, hour):
            for top in (1, 8, 60, 300):
                results = cold.search(query, top, **filters)
                assert hot.search(query, top, **filters) == results
            limit = results[0][len(results[0]) // 3].distance
            assert hot.within(query, limit, **filters) == cold.within(query, limit, **filters)


def test_vectors_in_memory_follow_what_others_change(anywhere: Path | str) -> None:
    crops, query = saved(DISTANCES[2], 300, 1), saved(DISTANCES[2], 2, 2)
    with open_gallery(anywhere, crops, budget=0) as cold, open_gallery(anywhere) as hot:
        cold.add(crops)
        assert hot.warm()
        for seed in range(40):  # many small additions, which are joined
            number = cold.add(saved(DISTANCES[2], 2, 10 + seed), Enrolled(person=f"p{seed}"))[0]
            assert hot.search(query, 5) == cold.search(query, 5)
        assert hot._hot is not None and len(hot._hot.blocks) < 20
        cold.remove([number, 3, cold.search(query, 1)[0][0].id])
        assert hot.search(query, 5) == cold.search(query, 5) and len(hot._hot) == 377
        cold.forget("p7")
        cold.purge()  # lists of what was removed are gone then
        assert hot.search(query, 400) == cold.search(query, 400) and len(hot._hot) == 375


def test_memory_is_used_once_it_pays_and_never_over_the_budget(empty: Path) -> None:
    crops, query = saved(DISTANCES[0], 200, 1), saved(DISTANCES[0], 4, 2)
    with open_gallery(empty, crops, budget=200_000) as gallery:
        gallery.add(crops)
        assert not gallery.is_hot
        gallery.search(query)
        gallery.search(query)
        assert gallery.is_hot
        gallery.add(saved(DISTANCES[0], 700, 3))
        gallery.search(query)
        assert not gallery.is_hot


def test_what_float32_cannot_tell_is_left_to_sql(empty: Path) -> None:
    crops, query = saved(DISTANCES[0], 60, 1), saved(DISTANCES[0], 3, 2)
    e = crops.embeddings
    faint = replace(crops, embeddings=Embeddings(e.vectors, e.visibility * 1e-25, e.names))
    q = query.embeddings
    query = replace(query, embeddings=Embeddings(q.vectors, q.visibility * 1e-25, q.names))
    with open_gallery(empty, crops, budget=0) as cold, open_gallery(empty) as hot:
        cold.add(faint)
        assert hot.warm()
        results = cold.search(query, 60)
        assert hot.search(query, 60) == results and min(hits[0].distance for hits in results) < 1


@pytest.mark.parametrize("size", [1e-24, 1e24])
def test_vectors_of_any_length_are_compared_as_the_distance_says(empty: Path, size: float) -> None:
    """Squares of such numbers leave the range of float32."""
    distance = PartDistance("unit_euclidean")
    crops, query = saved(distance, 60, 1), saved(distance, 2, 2)
    e = crops.embeddings
    scaled = replace(crops, embeddings=Embeddings(e.vectors * size, e.visibility, e.names))
    with open_gallery(empty, crops, budget=0) as cold, open_gallery(empty) as hot:
        cold.add(scaled)
        assert hot.warm()
        results = cold.search(query, 60)
        assert hot.search(query, 60) == results
        assert ids(results) == [
            [row + 1 for row in rows] for rows in brute(query, scaled, range(60))
        ]


def test_another_model_is_refused_and_a_gallery_reopens(anywhere: Path | str) -> None:
    crops = saved(DISTANCES[0], 5)
    with pytest.raises(DataError, match="there is no gallery in this database"):
        open_gallery(anywhere)
    with open_gallery(anywhere, crops) as gallery:
        gallery.add(crops)
        with pytest.raises(DataError, match="weights differ"):
            gallery.add(replace(crops, weights="2" * 64))
        with pytest.raises(DataError, match="weights differ"):
            gallery.search(replace(crops, weights="2" * 64))
    with pytest.raises(DataError, match="distance differ"):
        open_gallery(anywhere, replace(crops, distance=DISTANCES[1]))
    with open_gallery(anywhere) as gallery:
        assert len(gallery) == 5 and gallery.get(5).source == Path("4.jpg")


def test_what_is_enrolled_comes_back(anywhere: Path | str) -> None:
    crops = saved(DISTANCES[1], 3)
    known = [
        Enrolled(-5, datetime(1969, 7, 20, 20, 17, 40, 123456, timezone.utc), "Zoë"),
        Enrolled(),
    ]
    with open_gallery(anywhere, crops) as gallery:
        gallery.add(crops, [*known, Enrolled(2**63 - 1)], thumbnails=[b"\xff\xd8small", None, b""])
        assert [gallery.get(i).enrolled for i in (1, 2, 3)] == [*known, Enrolled(2**63 - 1)]
        assert gallery.get(1).has_thumbnail and not gallery.get(2).has_thumbnail
        assert [gallery.thumbnail(i) for i in (1, 2, 3)] == [b"\xff\xd8small", None, b""]
        again = gallery.saved([3, 1, 1])
        assert torch.equal(again.embeddings.vectors, crops.embeddings.vectors[[2, 0, 0]])
        assert torch.equal(gallery.embeddings([2]).visibility, crops.embeddings.visibility[1:2])
        assert again.paths == (Path("2.jpg"), Path("0.jpg"), Path("0.jpg"))
        assert crops.looks is not None and again.looks is not None
        assert torch.equal(again.looks, crops.looks[[2, 0, 0]])
        with pytest.raises(DataError, match="no crop 9"):
            gallery.embeddings([1, 9])
        with pytest.raises(ShapeError, match="as many thumbnails, got 1"):
            gallery.add(crops, thumbnails=[b""])


def test_a_digest_is_enrolled_once(anywhere: Path | str) -> None:
    crops = saved(DISTANCES[0], 3)
    marks = [bytes([i]) * 32 for i in range(3)]
    with open_gallery(anywhere, crops) as gallery:
        gallery.add(crops, digests=marks)
        assert gallery.known([marks[1], b"other"]) == {marks[1]}
        with pytest.raises(DataError, match="same digest is enrolled already"):
            gallery.add(crops, digests=[b"new", b"newer", marks[2]])
        assert len(gallery) == 3 == gallery.count(cameras=None)


def test_too_large_numbers_are_refused_and_nothing_is_kept(empty: Path) -> None:
    crops = saved(DISTANCES[1], 3)
    crops.embeddings.vectors[2, 0, 0] = 1e6
    with open_gallery(empty, crops) as gallery:
        with pytest.raises(DataError, match="up to 65504"):
            gallery.add(crops)
        assert len(gallery) == 0 and gallery.verify() == []


def test_removal_is_all_or_nothing(anywhere: Path | str) -> None:
    crops = saved(DISTANCES[0], 5)
    with open_gallery(anywhere, crops) as gallery:
        gallery.add(crops)
        with pytest.raises(DataError, match="has 2 of these 3 crops; nothing was removed"):
            gallery.remove([1, 2, 77])
        assert len(gallery) == 5 and gallery.journal() == []
        done = gallery.remove([1, 2, 2])
        assert (done.crops, done.person, done.reason) == (2, None, "crops") and len(gallery) == 3


def test_threads_share_a_gallery(empty: Path) -> None:
    crops, query = saved(DISTANCES[0], 50), saved(DISTANCES[0], 1, 2)
    faults: list[Exception] = []
    with open_gallery(empty, crops) as gallery:

        def work() -> None:
            try:
                for _ in range(5):
                    gallery.add(crops)
                    gallery.search(query)
            except Exception as error:
                faults.append(error)

        threads = [Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert faults == [] and len(gallery) == 1000 and gallery.verify() == []


@pytest.mark.parametrize("name", ["'; DROP TABLE crops; --", "%s", "\\", '"', "a b\tc", "名"])
def test_names_are_values_and_never_sql(empty: Path, name: str) -> None:
    crops = saved(DISTANCES[0], 2)
    with open_gallery(empty, crops) as gallery:
        gallery.add(crops, Enrolled(person=name))
        assert gallery.people() == {name: 2} and gallery.count(person=name) == 2
        assert [hit.enrolled.person for hit in gallery.search(crops, person=name)[0]] == [name] * 2
        assert gallery.forget(name).crops == 2


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "x" * 5000])
def test_names_that_no_database_keeps_are_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match="person must be a text of 1 to 4096"):
        Enrolled(person=name)


def test_folders_that_can_hold_no_gallery_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    crops = saved(DISTANCES[0], 1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("mine")
    with pytest.raises(DataError, match="holds other files"):
        open_gallery(tmp_path / "mine", crops)
    with pytest.raises(DataError, match="is a file"):
        open_gallery(tmp_path / "mine" / "a.txt", crops)
    with pytest.raises(DataError, match="there is no gallery in"):
        open_gallery(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(DataError, match="there is no folder"):
        open_gallery(tmp_path / "a" / "b", crops)
    with pytest.raises(DataError, match="no PostgreSQL server answers"):
        open_gallery("postgresql://nobody@127.0.0.1:1/none?connect_timeout=2")
    with pytest.raises(DataError, match="no PostgreSQL server answers"):
        open_gallery("postgresql://%")
