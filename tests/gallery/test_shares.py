"""Crops on several servers: where they lie, what is computed there, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from partreid.distance import PartDistance
from partreid.errors import ArgumentError, DataError
from partreid.gallery import Enrolled, open_gallery
from partreid.gallery.rows import Filters
from partreid.inference import load
from tests.gallery.conftest import clear
from tests.gallery.drawn import DISTANCES, saved

CROPS = saved(DISTANCES[0], 60)


def held(server: str) -> int:
    with psycopg.connect(server) as connection:
        return int(connection.execute("SELECT count(*) FROM partreid.share").fetchall()[0][0])


@pytest.fixture
def empty_servers(servers: list[str]) -> list[str]:
    for server in servers:
        clear(server)
    return servers


def test_crops_lie_on_the_servers_given_and_nowhere_else(empty_servers: list[str]) -> None:
    here, *others = empty_servers
    with open_gallery(here, CROPS, on=others) as gallery:
        gallery.add(CROPS)
    counts = [held(server) for server in others]
    assert sum(counts) == 60 and min(counts) > 10
    with open_gallery(here) as gallery:  # who opens it need not know
        assert len(gallery) == 60 and gallery.verify() == []
        assert gallery._connection.execute("SELECT count(*) FROM ONLY crops").fetchone() == (0,)
        gallery.remove([1, 2, 3, 4])
        assert sum(held(server) for server in others) == 56


@pytest.mark.parametrize("distance", DISTANCES)
def test_bounds_are_computed_where_the_rows_lie(spread: str, distance: PartDistance) -> None:
    """No vector of a crop travels that is not among the nearest."""
    crops = saved(distance, 20)
    with open_gallery(spread, crops) as gallery:
        gallery.add(crops)
        table, q = gallery._table, crops.embeddings.rows([0])
        plan = "\n".join(
            row[0]
            for row in gallery._connection.execute(
                f"EXPLAIN (VERBOSE, COSTS OFF) SELECT id, {table._bound(q)} AS bound FROM crops "
                "WHERE camera = ANY(%(cameras)s) ORDER BY bound, id LIMIT 5",
                table._query(q, Filters(cameras=[1])),
            ).fetchall()
        )
    remote = [line for line in plan.splitlines() if "Remote SQL" in line]
    assert len(remote) == 2, plan
    for line in remote:
        assert ("<#>" if distance.metric == "cosine" else "<->") in line, plan
        assert "ORDER BY" in line and "camera" in line, plan


def test_a_picture_is_enrolled_once_whatever_server_has_it(spread: str) -> None:
    one = saved(DISTANCES[0], 1)
    with open_gallery(spread, one) as gallery:
        gallery.add(one, digests=[b"x" * 32])
        for _ in range(8):  # of which some go to the other server
            with pytest.raises(DataError, match="the same digest is enrolled already"):
                gallery.add(one, digests=[b"x" * 32])
        two = replace(one, embeddings=one.embeddings.rows([0, 0]), paths=(None, None), looks=None)
        with pytest.raises(DataError, match="or comes twice"):
            gallery.add(two, digests=[b"y" * 32] * 2)
        assert len(gallery) == 1 and gallery.known([b"x" * 32, b"y" * 32]) == {b"x" * 32}


def test_verify_finds_what_no_index_sees(spread: str) -> None:
    with open_gallery(spread, CROPS) as gallery:
        gallery.add(CROPS, digests=[bytes([i]) * 32 for i in range(60)])
        rows = gallery._connection.execute(
            "SELECT tableoid::regclass::text, min(id) FROM crops GROUP BY 1 ORDER BY 1"
        ).fetchall()
        numbers = [row[1] for row in rows]
        gallery._connection.execute(
            "UPDATE crops SET digest = (SELECT digest FROM crops WHERE id = %s) WHERE id = %s",
            numbers,
        )
        assert gallery.verify() == ["1 crops have the digest of another one"]


def test_a_commit_that_was_cut_in_the_middle_is_found_and_counted_anew(
    spread: str, servers: list[str]
) -> None:
    """One server had committed a crop, and the gallery's own fell before it could."""
    with open_gallery(spread, CROPS) as gallery:
        gallery.add(CROPS)
        with psycopg.connect(servers[1]) as far:
            row = far.execute("SELECT min(id) FROM partreid.share").fetchone()
            names = far.execute(
                "SELECT string_agg(column_name, ', ') FROM information_schema.columns WHERE "
                "table_name = 'share' AND column_name <> 'id'"
            ).fetchone()
            assert row is not None and names is not None
            copied = f"INSERT INTO partreid.share (id, {names[0]}) SELECT %s, {names[0]} FROM "
            far.execute(copied + "partreid.share WHERE id = %s", (1000, row[0]))
        assert gallery.verify() == ["the gallery counts 60 crops and holds 61"]
        assert any("counted 60 crops and its servers hold 61" in s for s in gallery.purge())
        assert gallery.verify() == [] and len(gallery) == 61


def test_forgetting_reaches_the_other_servers(spread: str, servers: list[str]) -> None:
    crops, others = saved(DISTANCES[0], 30, 1), saved(DISTANCES[0], 30, 2)
    with open_gallery(spread, crops) as gallery:
        gallery.add(others, Enrolled(person="Somebody Else"))
        gallery.add(crops, Enrolled(person="Anna"), thumbnails=[b"a-picture" * 50] * 30)
        before = _sizes(servers)
        assert gallery.forget("Anna").crops == 30
        sentences = gallery.purge()
        assert {sentence.split(":")[0] for sentence in sentences if "share" in sentence} == {
            "share 0",
            "share 1",
        }
        after = _sizes(servers)
        assert all(a < b for a, b in zip(after[1:], before[1:], strict=True))
        assert len(gallery) == 30 and gallery.verify() == []


def _sizes(servers: list[str]) -> list[int]:
    sizes = []
    for server in servers:
        with psycopg.connect(server) as connection:
            size = "SELECT coalesce(pg_total_relation_size(to_regclass('partreid.share')), 0)"
            sizes.append(connection.execute(size).fetchall()[0][0])
    return sizes


def test_a_share_that_is_away_is_told_and_nothing_is_half_done(
    spread: str, servers: list[str]
) -> None:
    with open_gallery(spread, CROPS) as gallery:
        gallery.add(CROPS)
        with psycopg.connect(servers[2], autocommit=True) as far:
            far.execute("ALTER TABLE partreid.share RENAME TO away")
            with pytest.raises(DataError, match="the server of the gallery refused: .*share"):
                gallery.add(CROPS)
            with pytest.raises(DataError, match="the server of the gallery refused"):
                gallery.search(CROPS)
            far.execute("ALTER TABLE partreid.away RENAME TO share")
        assert len(gallery) == 60 and gallery.verify() == []


@pytest.mark.parametrize(
    ("of", "error", "message"),
    [
        (lambda a, b: "x", ArgumentError, "on must be a list .*, got 'x'"),
        (lambda a, b: ["folder"], DataError, "'folder' is no address of a database"),
        (lambda a, b: [a, a], DataError, "two shares cannot lie in one database"),
        (lambda a, b: [a, f"{b}?application_name=x"], DataError, "takes no 'application_name'"),
        (lambda a, b: ["postgresql://127.0.0.1:1/x"], DataError, "no PostgreSQL server answers"),
    ],
)
def test_shares_that_cannot_be_are_refused_and_leave_nothing(
    empty_servers: list[str],
    of: Callable[[str, str], Any],
    error: type[Exception],
    message: str,
) -> None:
    here, *others = empty_servers
    with pytest.raises(error, match=message):
        open_gallery(here, CROPS, on=of(*others))
    with pytest.raises(DataError, match="there is no gallery in this database"):
        open_gallery(here)
    with open_gallery(here, CROPS, on=others) as gallery:
        assert len(gallery) == 0


def test_what_is_there_is_not_taken_over(empty_servers: list[str]) -> None:
    here, *others = empty_servers
    with open_gallery(others[0], CROPS):
        pass
    with pytest.raises(DataError, match="the database of share 0 holds a gallery already"):
        open_gallery(here, CROPS, on=others)
    clear(others[0])
    with open_gallery(here, CROPS, on=others):
        pass
    with pytest.raises(DataError, match="this gallery is there already; where its crops lie"):
        open_gallery(here, CROPS, on=others)


def test_two_shares_in_one_database_by_other_names_do_not_wait_for_each_other(
    empty_servers: list[str],
) -> None:
    here, other, _ = empty_servers
    again = other.replace("127.0.0.1", "localhost")
    for on in ([other, again], [other, here]):
        with pytest.raises(DataError, match="share 1 lies in the database of the gallery or of an"):
            open_gallery(here, CROPS, on=on)
        with pytest.raises(DataError, match="there is no gallery in this database"):
            open_gallery(here)


def test_a_spread_gallery_is_not_renewed_in_place(
    spread: str, trained: Callable[[str], Path]
) -> None:
    model = load(trained("bpbreid"), "cpu")
    with open_gallery(spread, CROPS) as gallery:
        with pytest.raises(DataError, match="spread over several servers and cannot be renewed"):
            gallery.reembed(model)
        assert gallery.shares() == 2
