"""Every data set's own layout, on small made trees, and what `data check` says about them."""

from dataclasses import replace
from pathlib import Path

import pytest

from partreid.build import benchmark
from partreid.data import market1501
from partreid.data.registry import BENCHMARKS, WITHDRAWN, check, protocol_of
from partreid.errors import DataError, RecipeError
from partreid.metrics.protocols import PROTOCOLS
from partreid.types import Benchmark, Sample
from tests.data.trees import touch

DOCS = Path(__file__).resolve().parents[2] / "docs" / "data.md"


@pytest.fixture()
def market(tmp_path: Path) -> Path:
    touch(
        tmp_path,
        "bounding_box_train/0002_c1s1_000001_00.jpg",
        "bounding_box_train/0002_c2s1_000001_00.jpg",
        "bounding_box_train/0007_c1s1_000001_00.jpg",
        "query/0003_c1s1_000001_00.jpg",
        "query_occluded/0003_c4s1_000001_00.jpg",
        "bounding_box_test/0003_c2s1_000001_00.jpg",
        "bounding_box_test/0000_c3s1_000001_00.jpg",
        "bounding_box_test/-1_c2s1_000001_00.jpg",
        "readme.txt",
    )
    return tmp_path


@pytest.mark.parametrize("name", ["market1501", "dukemtmc", "occluded_duke"])
def test_market_s_layout(name: str, market: Path) -> None:
    dataset = benchmark(name, market)
    assert (dataset.name, dataset.root) == (name, market)
    assert [(s.identity, s.camera) for s in dataset.train] == [(2, 1), (2, 2), (7, 1)]
    # distractor stays, junk goes
    assert [(s.identity, s.camera) for s in dataset.gallery] == [(0, 3), (3, 2)]
    assert {k: [(s.identity, s.camera) for s in v] for k, v in dataset.queries.items()} == {
        "query": [(3, 1)],
        "occluded": [(3, 4)],
    }
    assert dataset.query == dataset.queries["query"]


def test_market_without_and_with_more_distractors(market: Path) -> None:
    assert {s.identity for s in market1501.load(market, distractors=False).gallery} == {3}
    touch(market, "images/00000001.jpg", "images/b/x.jpg")
    dataset = benchmark("market1501_500k", market)
    assert dataset.gallery[:2] == benchmark("market1501", market).gallery
    assert [(s.path.name, s.identity, s.camera) for s in dataset.gallery[2:]] == [
        ("00000001.jpg", 0, 0),
        ("x.jpg", 0, 0),
    ]
    assert dataset.name == "market1501_500k" and protocol_of(dataset.name, dataset) == "market1501"


def test_market_s_further_images_of_the_queries_are_read_if_they_are_there(market: Path) -> None:
    before = benchmark("market1501", market)
    assert before.multi_query == ()
    notes = check("market1501", before)
    touch(
        market,
        "gt_bbox/0003_c1s1_000001_00.jpg",
        "gt_bbox/0003_c1s1_000077_00.jpg",
        "gt_bbox/-1_c1s1_000077_00.jpg",
        "gt_bbox/0008_c2s1_000001_00.jpg",
        "images/00000001.jpg",
    )
    dataset = benchmark("market1501", market)
    assert [(s.path.name, s.identity, s.camera) for s in dataset.multi_query] == [
        ("0003_c1s1_000001_00.jpg", 3, 1),
        ("0003_c1s1_000077_00.jpg", 3, 1),
        ("0008_c2s1_000001_00.jpg", 8, 2),
    ]
    # they count nowhere
    assert replace(dataset, multi_query=()) == before and check("market1501", dataset) == notes
    assert benchmark("market1501_500k", market).multi_query == dataset.multi_query


def test_the_synthetic_world_names_its_query_sets(market: Path) -> None:
    with pytest.raises(
        DataError, match="this looks like market1501, not synthetic-tiny; read it as market1501"
    ):
        benchmark("synthetic-tiny", market)
    (market / "world.json").touch()
    assert list(benchmark("synthetic-tiny", market).queries) == ["holistic", "occluded"]


def test_occluded_reid(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "occluded_body_images/001/001_01.tif",
        "occluded_body_images/002/002_01.tif",
        "whole_body_images/001/001_01.tif",
        "whole_body_images/001/001_02.tif",
    )
    dataset = benchmark("occluded_reid", tmp_path)
    assert dataset.train == ()
    assert [(s.identity, s.camera) for s in dataset.query] == [(1, 1), (2, 1)]
    assert [(s.identity, s.camera) for s in dataset.gallery] == [(1, 2), (1, 2)]
    touch(tmp_path, "whole_body_images/001/copy.tif")
    with pytest.raises(DataError, match=r"copy\.tif does not begin with an identity number"):
        benchmark("occluded_reid", tmp_path)


def test_p_dukemtmc(tmp_path: Path) -> None:
    for split, identity in (("train", 5), ("test", 6)):
        touch(
            tmp_path / split,
            f"occluded_body_images/{identity}/{identity}_1.jpg",
            f"whole_body_images/{identity}/{identity}_1.jpg",
            f"whole_body_images/{identity}/{identity}_2.jpg",
        )
    dataset = benchmark("p_dukemtmc", tmp_path)
    assert [(s.identity, s.camera) for s in dataset.train] == [(5, 1), (5, 2), (5, 2)]
    assert [(s.identity, s.camera) for s in dataset.query] == [(6, 1)]
    assert [(s.identity, s.camera) for s in dataset.gallery] == [(6, 2), (6, 2)]


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_a_root_that_lacks_a_folder_says_which(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="there is no (folder|table.csv|world.json) .*(--data|--dataset)"
    ):
        benchmark(name, tmp_path)
    with pytest.raises(
        DataError, match=f"there is no folder .*gone; say where {name} lies with --data"
    ):
        benchmark(name, tmp_path / "gone")


def test_an_unknown_name_lists_the_data_sets(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match="unknown data set: 'market'. Did you mean 'market1501'.*occluded_duke"
    ):
        benchmark("market", tmp_path)


def test_what_was_withdrawn_says_so() -> None:
    assert {name for name, d in BENCHMARKS.items() if d.status == WITHDRAWN} == {
        "dukemtmc",
        "occluded_duke",
        "p_dukemtmc",
    }


def test_every_row_says_what_may_be_done_how_large_it_is_and_how_it_is_scored() -> None:
    for name, row in BENCHMARKS.items():
        assert (
            row.status.endswith(".") and row.licence and row.layout and row.protocol in PROTOCOLS
        ), name
        assert row.withdrawn == (row.status == WITHDRAWN)
        query_is_gallery = row.protocol == "single_shot"
        images = [
            n for split, (_, n) in row.counts.items() if not query_is_gallery or split != "query"
        ]
        if row.size is not None and None not in images:  # the size is that of the splits together
            assert sum(images) == row.size.images, name  # type: ignore[arg-type]


def test_the_page_about_data_has_every_name_and_every_tree() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for name, row in BENCHMARKS.items():
        assert f"`{name}`" in text, name
        for line in row.layout.splitlines():
            assert line.split()[0] in text, (name, line)


def made(query: list[tuple[int, int]], gallery: list[tuple[int, int]]) -> Benchmark:
    def samples(rows: list[tuple[int, int]]) -> tuple[Sample, ...]:
        return tuple(Sample(Path("x.jpg"), i, c) for i, c in rows)

    return Benchmark("m", Path("."), samples([(9, 1)]), {"query": samples(query)}, samples(gallery))


def test_a_sound_data_set_has_no_notes(benchmark: Benchmark) -> None:
    assert check("synthetic-tiny", benchmark) == []
    assert check("own", made([(1, 1)], [(1, 2)])) == []


def test_another_release_is_noted_split_by_split() -> None:
    notes = check("market1501", made([(1, 1)], [(1, 2)]))
    assert [n.split(" has ")[0] for n in notes] == [
        "market1501: train",
        "market1501: query",
        "market1501: gallery",
    ]
    assert "expected 751 identities in 12936 images" in notes[0]


def test_sets_in_which_nothing_can_be_found_are_noted() -> None:
    (note,) = check("own", made([(1, 1)], [(2, 2)]))
    assert note.startswith("query: no identity of the query is in the gallery")
    (note,) = check("own", made([(1, 1)], [(1, 1), (2, 1)]))
    assert note.startswith("query: all crops are of one camera") and "_c1, _c2" in note
    both = replace(
        made([(1, 1)], [(2, 2)]),
        queries={"a": made([(1, 1)], []).query, "b": made([(2, 1)], []).query},
    )
    assert [n.split(":")[0] for n in check("own", both)] == ["a"]
