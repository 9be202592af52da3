"""Broken trees, each with its own remedy."""

from pathlib import Path

import pytest

from partreid.data.findings import Findings, Split, explain, looks_like
from partreid.data.registry import BENCHMARKS
from partreid.data.synthetic import PRESETS
from partreid.errors import RecipeError
from partreid.types import Benchmark
from tests.data import trees
from tests.data.trees import DUKE, MARKET, pictures, touch


@pytest.fixture()
def market(tmp_path: Path) -> Path:
    return pictures(tmp_path / "data" / "market" / "Market-1501-v15.09.15", *MARKET)


def others(findings: Findings) -> list[str]:
    """All problems but those of the counts, which no small tree has right."""
    return [str(p) for p in findings.problems if " expected " not in p.what]


def only(name: str, root: Path) -> tuple[str, str]:
    (problem,) = explain(name, root).problems
    return problem.what, problem.fix


def test_a_sound_tree_is_told_split_by_split(market: Path) -> None:
    findings = explain("market1501", market)
    assert findings.splits == (
        Split("train", 2, 3, 2),
        Split("query", 2, 2, 2),
        Split("gallery", 3, 3, 3),
    )
    assert others(findings) == [] and findings.protocol == "market1501" and findings.looked_at == 8
    assert [p.what.split(" has ")[0] for p in findings.problems] == [
        f"market1501: {s}" for s in ("train", "query", "gallery")
    ]


def test_the_synthetic_world_is_sound(benchmark: Benchmark) -> None:
    findings = explain("synthetic-tiny", benchmark.root, images=5)
    assert (
        findings.sound
        and findings.looked_at == 5
        and [s.name for s in findings.splits][0] == "train"
    )


class TestBroken:
    """A tree each."""

    def test_one_level_too_high_and_too_low(self, market: Path) -> None:
        assert only("market1501", market.parent) == (
            f"market1501 does not lie in {market.parent} but below it",
            f"give {market}",
        )
        assert only("market1501", market / "query") == (
            f"market1501 does not lie in {market / 'query'} but above it",
            f"give {market}",
        )
        assert explain("market1501", market.parent.parent).problems[0].fix == f"give {market}"

    def test_a_missing_folder(self, market: Path) -> None:
        for path in (market / "query").iterdir():
            path.unlink()
        (market / "query").rmdir()
        what, fix = only("market1501", market)
        assert what == "the folder 'query' is missing beside 'bounding_box_train'"
        assert fix == f"copy 'query' from the release to {market}"
        (market / "Market-1501.zip").touch()
        assert only("market1501", market)[1] == "unpack Market-1501.zip again"

    def test_another_data_set(self, tmp_path: Path) -> None:
        touch(tmp_path, *DUKE)
        assert only("market1501", tmp_path) == (
            "this looks like dukemtmc, not market1501",
            "read it as dukemtmc, or give the folder of market1501",
        )
        touch(tmp_path / "query", *(f"{i:04d}_c1_f0000001.jpg" for i in range(2227)))
        assert looks_like(tmp_path) == ("dukemtmc",)
        assert "convert_occluded_duke" in only("occluded_duke", tmp_path)[1]

    def test_names_that_nobody_knows(self, market: Path) -> None:
        (market / "query" / "IMG_2041.jpg").write_bytes(b"x")
        what, fix = only("market1501", market)
        assert "IMG_2041.jpg is not named like 0002_c1s1_000451_03.jpg" in what and fix.startswith(
            "rename it or move"
        )

    def test_identities_renumbered_apart(self, market: Path) -> None:
        for path in sorted((market / "query").iterdir()):
            path.rename(path.with_name(path.name.replace("000", "009", 1)))
        (note,) = others(explain("market1501", market))
        assert note.startswith("query: no identity of the query is in the gallery")
        assert "identities were not renumbered apart" in note

    def test_identities_from_0(self, market: Path) -> None:
        path = market / "query" / "0003_c1s1_000001_00.jpg"
        path.rename(path.with_name("0000_c1s1_000001_00.jpg"))
        notes = others(explain("market1501", market))
        assert notes[0].startswith("identity 0, which means a distractor") and "from 1" in notes[0]

    def test_training_people_in_the_test(self, market: Path) -> None:
        pictures(market, "bounding_box_train/0003_c1s1_000009_00.jpg")
        (note,) = others(explain("market1501", market))
        assert note.startswith("1 identities are in training and in test (3)")

    def test_empty_and_cut_images(self, market: Path) -> None:
        (market / "query" / "0003_c1s1_000001_00.jpg").write_bytes(b"")
        broken = market / "bounding_box_test" / "0003_c2s1_000001_00.jpg"
        broken.write_bytes(broken.read_bytes()[:200])
        empty, cut = others(explain("market1501", market))
        assert (
            empty.startswith("1 of 8 images are empty files: ")
            and "unpack or copy them again" in empty
        )
        assert cut.startswith("1 of 8 images cannot be decoded: ") and str(broken) in cut
        assert len(others(explain("market1501", market, images=0))) == 2  # even the header is cut

    def test_half_an_archive(self, market: Path) -> None:
        (market / "Market-1501-v15.09.15.zip").touch()
        assert "unpack Market-1501-v15.09.15.zip again" in [
            p.fix for p in explain("market1501", market).problems
        ]

    def test_nothing_unpacked_and_a_download_that_stopped(self, tmp_path: Path) -> None:
        touch(tmp_path, "CUHK01.zip")
        assert only("cuhk01", tmp_path)[1] == "unpack CUHK01.zip there"
        assert only("cuhk01", tmp_path / "CUHK01.zip") == (
            f"{tmp_path / 'CUHK01.zip'} is an archive",
            "unpack it and give the folder that comes out",
        )
        touch(tmp_path, "other.zip.crdownload")
        assert only("cuhk01", tmp_path) == (
            "other.zip.crdownload is a download that was not finished",
            "finish it, then unpack it",
        )

    def test_a_spelling(self, market: Path) -> None:
        assert only("market1501", market.parent / "Markt" / "x") == (
            f"there is no folder {market.parent / 'Markt' / 'x'}",
            f"check the spelling; {market.parent} is there",
        )

    def test_cameras(self, tmp_path: Path) -> None:
        pictures(tmp_path, "query/anna/a_c1.jpg", "gallery/anna/b_c1.jpg", "gallery/ben/b_c1.jpg")
        (note,) = others(explain("folders", tmp_path))
        assert note.startswith("query: all crops are of one camera") and "(_c1, _c2, ...)" in note
        pictures(tmp_path, "gallery/ben/b_c2.jpg", "query/ben/x_c1.jpg")
        (note,) = others(explain("folders", tmp_path))
        assert note.startswith(
            "query: 1 of 2 queries have no right answer from another camera in the gallery"
        )
        pictures(tmp_path, "gallery/ben/b.jpg")
        assert "do not say their camera" in only("folders", tmp_path)[0]

    def test_no_cameras_at_all_is_sound_under_its_own_protocol(self, tmp_path: Path) -> None:
        pictures(tmp_path, "query/anna/a.jpg", "gallery/anna/b.jpg", "gallery/ben/b.jpg")
        findings = explain("folders", tmp_path)
        assert (
            findings.sound
            and findings.protocol == "no_camera"
            and {s.cameras for s in findings.splits} == {0}
        )


def test_the_broken_trees_have_different_remedies(
    market: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def tree(*names: str) -> Path:
        return pictures(tmp_path_factory.mktemp("tree") / "root", *names)

    zero = tree(*MARKET)
    (zero / "query" / "0003_c1s1_000001_00.jpg").write_bytes(b"")
    broken = [
        ("market1501", market.parent),
        ("market1501", tree(*DUKE)),
        ("market1501", tree(*MARKET[:3], *MARKET[5:])),
        ("market1501", tree(*MARKET, "query/me.jpg")),
        ("folders", tree("query/a/1_c1.jpg", "gallery/a/2_c1.jpg")),
        ("folders", tree("query/a/1.jpg", "gallery/b/2.jpg")),
        ("market1501", zero),
        ("folders", tree("query/a/1.jpg", "gallery/a/2_c1.jpg")),
    ]
    fixes = [
        {p.fix for p in explain(name, root).problems if " expected " not in p.what}
        for name, root in broken
    ]
    assert all(len(f) == 1 for f in fixes) and len(set.union(*fixes)) == len(broken)


def test_layouts_are_known_by_sight(market: Path, tmp_path: Path) -> None:
    assert looks_like(market) == ("market1501", "market1501_500k")
    for names, paths in {
        ("dukemtmc", "occluded_duke"): DUKE,
        ("cuhk01",): ["campus/0001001.png"],
        ("cuhk03_labeled", "cuhk03_detected"): ["labeled/query/0002_c1_11.png"],
        (
            "cuhk03_labeled",
            "cuhk03_detected",
            "cuhk03_labeled_classic",
            "cuhk03_detected_classic",
            "cuhk03_pair1",
        ): ["cuhk-03.mat"],
        ("occluded_reid", "occluded_reid_half"): ["whole_body_images/001/001_01.tif"],
        ("p_dukemtmc",): ["train/whole_body_images/1/1_1.jpg"],
        ("table",): ["table.csv"],
        ("folders",): ["query/a/1.jpg", "gallery/a/1.jpg"],
        (): ["holiday.jpg"],
    }.items():
        assert looks_like(touch(tmp_path / "+".join(names), *paths)) == names
    assert looks_like(trees.msmt17(tmp_path / "msmt")) == ("msmt17", "msmt17_without_val")
    labeled = touch(
        tmp_path / "labeled", "query/0002_c1_11.png", "bounding_box_test/0002_c2_11.png"
    )
    assert looks_like(labeled) == ("cuhk03_labeled",)
    assert looks_like(tmp_path / "nowhere") == ()


def test_every_preset_of_the_synthetic_world_is_known_by_its_record(tmp_path: Path) -> None:
    touch(tmp_path, "world.json")
    assert looks_like(tmp_path) == tuple(f"synthetic-{preset}" for preset in PRESETS)


def test_a_split_by_number_is_looked_for_like_its_data_set(tmp_path: Path) -> None:
    pictures(
        tmp_path / "CUHK01" / "campus",
        *(f"{p:04d}{n:03d}.png" for p in (1, 2, 3) for n in (1, 2, 3, 4)),
    )
    assert only("cuhk01-3", tmp_path) == (
        f"cuhk01 does not lie in {tmp_path} but below it",
        f"give {tmp_path / 'CUHK01'}",
    )
    findings = explain("cuhk01-3", tmp_path / "CUHK01")
    assert others(findings) == [] and findings.protocol == "single_shot"


def test_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Did you mean 'msmt17'"):
        explain("msmt", tmp_path)
    assert len(BENCHMARKS) <= 24  # so that the sentence lists them
