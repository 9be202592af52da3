"""Occluded copies: hidden as much as asked, the same every time, and nothing said that is not
so.
"""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid.build import benchmark
from partreid.data.occlusion import Settings, covered, walked_past, write_occluded
from partreid.data.synthetic.streams import Stream
from partreid.errors import ArgumentError, DataError
from partreid.types import Benchmark

HIGH, WIDE = 64, 32


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people in both cameras; every crop has a mask but one query's."""
    root = tmp_path_factory.mktemp("pair1")
    draw = np.random.default_rng(0)
    person = np.zeros((HIGH, WIDE), np.uint8)
    person[4:60, 10:22] = 255
    for split in ("train", "val"):
        for folder in (root / "labeled" / split, root / "masks" / split):
            folder.mkdir(parents=True)
        for who in range(3):
            for shot in (0, 1, 5):
                name = f"{who:04d}_{shot:02d}"
                pixels = draw.integers(0, 255, (HIGH, WIDE, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(root / "labeled" / split / f"{name}.png")
                if (split, name) != ("val", "0001_01"):
                    Image.fromarray(person).save(root / "masks" / split / f"{name}_fg.png")
    return root


@pytest.fixture(scope="module")
def of(root: Path) -> Benchmark:
    return benchmark("cuhk03_pair1", root)


def test_a_table_that_asks_with_both_and_pictures_that_hide_what_was_asked(
    of: Benchmark, tmp_path: Path
) -> None:
    occlusions = write_occluded(of, tmp_path / "out")
    written = benchmark("table", tmp_path / "out")
    assert {n: len(q) for n, q in written.queries.items()} == {"occluded": 6, "whole": 6}
    assert [s.path.resolve() for s in written.queries["whole"]] == [
        s.path.resolve() for s in of.query
    ]
    for name in ("identity", "camera"):
        values = [[getattr(s, name) for s in q] for q in (of.query, *written.queries.values())]
        assert values[0] == values[1] == values[2]
    assert [s.identity for s in written.gallery] == [s.identity for s in of.gallery]
    assert all(0.24 <= o.hidden <= 0.66 for o in occlusions.values())
    assert [name for name, o in occlusions.items() if o.guessed] == ["00003_0001_01.png"]
    record = json.loads((tmp_path / "out" / "occlusions.json").read_text())
    assert record["complete"] and sum(record["kinds"].values()) == 6 and record["masks"] == 5
    for before, after in zip(of.query, written.queries["occluded"], strict=True):
        a, b = (np.asarray(Image.open(s.path)).astype(int) for s in (before, after))
        # noise under an object is gone, noise beside it is untouched
        changed = (a != b).any(2)
        assert 0.05 < changed.mean() < 0.95


def test_the_same_settings_give_the_same_bytes_and_others_are_refused(
    of: Benchmark, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        write_occluded(of, tmp_path / folder, settings=Settings(seed=3, people=0.5))
    for file in sorted((tmp_path / "a" / "query_occluded").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / "query_occluded" / file.name).read_bytes()
    with pytest.raises(DataError, match=r"other settings \(seed is 3, not 4\)"):
        write_occluded(of, tmp_path / "a", settings=Settings(seed=4, people=0.5))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "mine.txt").touch()
    with pytest.raises(DataError, match=r"holds mine\.txt"):
        write_occluded(of, tmp_path / "c")
    with (tmp_path / "a" / "table.csv").open() as file:
        assert not any(Path(row["path"]).is_absolute() for row in csv.DictReader(file))


@pytest.mark.parametrize("coverage", [(0.2, 0.3), (0.5, 0.7)])
def test_an_object_and_a_person_hide_the_share_that_is_asked(
    coverage: tuple[float, float],
) -> None:
    person = np.zeros((HIGH, WIDE), bool)
    person[4:60, 10:22] = True
    image = np.full((HIGH, WIDE, 3), 90, np.uint8)
    other = np.full((HIGH, WIDE, 3), 200, np.uint8)
    for seed in range(12):
        picture, there, _ = covered(image, person, Stream(seed, "object"), coverage)
        share = (there & person).sum() / person.sum()
        assert coverage[0] - 0.06 <= share <= coverage[1] + 0.06
        far = ~there & ~np.roll(there, 1, 0) & ~np.roll(there, -1, 0)
        far &= ~np.roll(there, 1, 1) & ~np.roll(there, -1, 1)
        assert (picture[far] == 90).mean() > 0.97
        done = walked_past(image, person, other, person, Stream(seed, "person"), coverage)
        if done is not None:
            share = (done[1] & person).sum() / person.sum()
            assert coverage[0] <= share <= coverage[1]
            assert (done[0][done[1]] > 140).all()


def test_what_cannot_be_is_said_before_anything_is_written(
    of: Benchmark, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"no query has a mask .*needs other/val/0000_00\.png"):
        write_occluded(of, tmp_path / "x", "other")
    with pytest.raises(ArgumentError, match="at least 0.05 apart, got 0.3 and 0.3"):
        Settings(coverage=(0.3, 0.3))
    with pytest.raises(ArgumentError, match="people is a share"):
        Settings(people=2)
    assert not (tmp_path / "x").exists()
