"""Scenes: repeatable, and their truth is true."""

import csv
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partreid.data.mot import read_mot
from partreid.data.synthetic import SCENES, Scenes, write_scenes
from partreid.data.synthetic.footage import frame_of, frames
from partreid.data.synthetic.walks import FASTEST, Walk, eye, least_seconds, things, walks
from partreid.errors import ArgumentError, DataError
from partreid.link import conflicts, read_cameras, read_crops, score, violations

# Three cameras, the first two at one place.
SMALL = replace(SCENES["tiny"], seconds=6.0, people=10, width=240, height=135)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(SMALL, tmp_path_factory.mktemp("scenes") / "s", workers=1)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def table(root: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((root / "crops.csv").read_text().splitlines()))


def test_two_processes_and_an_interrupted_run_give_the_same_bytes(
    root: Path, tmp_path: Path
) -> None:
    class Interrupt(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Interrupt

    with pytest.raises(Interrupt):
        write_scenes(SMALL, tmp_path / "again", workers=1, progress=stop)
    assert not (tmp_path / "again" / "crops.csv").exists()
    write_scenes(SMALL, tmp_path / "again", workers=2)
    assert files(tmp_path / "again") == files(root)


def test_a_frame_does_not_depend_on_those_before_it_and_a_seed_changes_all() -> None:
    whole = list(frames(SMALL, 2, 3, 9))
    alone = next(frames(SMALL, 2, 9, 9))
    assert np.array_equal(whole[-1].image, alone.image) and whole[-1].people == alone.people
    other = next(frames(replace(SMALL, seed=2), 2, 9, 9))
    assert not np.array_equal(other.image, alone.image)


def test_finished_scenes_are_left_alone_and_others_refused(root: Path, tmp_path: Path) -> None:
    before = files(root)
    write_scenes(SMALL, root)
    assert files(root) == before
    with pytest.raises(DataError, match="holds other scenes"):
        write_scenes(replace(SMALL, seed=9), root)
    (tmp_path / "mine").write_text("x")
    with pytest.raises(DataError, match="is not empty and holds no scenes"):
        write_scenes(SMALL, tmp_path)
    with pytest.raises(DataError, match="is a file; scenes need a folder"):
        write_scenes(SMALL, tmp_path / "mine")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"people": 0}, "people of scenes must be 1 to 64, got 0"),
        ({"cameras": 1}, "cameras of scenes must be 2 to 9, got 1"),
        ({"seconds": 0.5}, "the seconds of scenes"),
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((DataError, ArgumentError), match=message):
        Scenes(**changes)


def test_the_truth_of_a_camera_is_what_is_drawn(root: Path) -> None:
    for camera in (1, 2, 3):
        drawn = {
            (frame.number, s.identity): s
            for frame in frames(SMALL, camera)
            for s in frame.people
            if s.visible > 0
        }
        boxes = {
            (box.frame, box.id): box for box in read_mot(root / f"c{camera}" / "gt" / "gt.txt")
        }
        assert boxes.keys() == drawn.keys()
        for key, box in boxes.items():
            assert (box.left, box.top, box.width, box.height) == drawn[key].box
            assert box.visibility == pytest.approx(drawn[key].visible, abs=5e-5)


def standing(identity: int, across: float, near: float) -> Walk:
    """Somebody who stands in the first place for a minute, as camera 1 sees it."""
    turned = eye(SMALL, 1).azimuth
    c, s = np.cos(turned), np.sin(turned)
    ground = np.array([across * c + near * s, near * c - across * s])
    clock = 0.05 * np.arange(1200)
    rows = np.ones((len(clock), 1))
    return Walk(identity, 0, clock, rows * ground, rows * [1.0, 0.0], 0 * clock, 0 * clock)


def test_who_stands_nearer_hides_whom() -> None:
    front, back = standing(5001, 0.1, 2.7), standing(5002, 0.0, 2.0)
    seen = {s.identity: s.visible for s in frame_of(SMALL, 1, 2, [front, back]).people}
    assert seen[1] == 1.0 and seen[2] < 0.75
    # the order in which they are drawn does not matter, their places do
    assert {s.identity: s.visible for s in frame_of(SMALL, 1, 2, [back, front]).people} == seen
    swapped = frame_of(SMALL, 1, 2, [standing(5001, 0.1, 2.0), standing(5002, 0.0, 2.7)])
    seen = {s.identity: s.visible for s in swapped.people}
    assert seen[1] < 0.75 and seen[2] == 1.0


def test_things_hide_who_is_behind_and_nobody_in_front() -> None:
    thing = things(SMALL, 0)[0]  # the first is a tall one
    spot = eye(SMALL, 1).in_view(np.array([[thing.x, thing.z]]))[0]
    behind, before = (
        frame_of(SMALL, 1, 2, [standing(5001, spot[0], spot[1] + step)]).people[0].visible
        for step in (-0.9, 0.9)
    )
    assert behind < 0.5 and before > 0.9


def test_tracklets_break_where_a_person_is_lost(root: Path) -> None:
    for camera in (1, 2, 3):
        truth = {
            (box.frame, box.id): box.visibility
            for box in read_mot(root / f"c{camera}" / "gt" / "gt.txt")
        }
        boxes = {
            (box.frame, box.left, box.top): box.id
            for box in read_mot(root / f"c{camera}" / "gt" / "gt.txt")
        }
        tracks: dict[int, list[tuple[int, int]]] = {}
        for box in read_mot(root / f"c{camera}" / "tracks.txt"):
            who = boxes[box.frame, box.left, box.top]
            tracks.setdefault(box.id, []).append((box.frame, who))
            assert truth[box.frame, who] >= SMALL.lost
        for members in tracks.values():
            numbers = [frame for frame, _ in members]
            assert len({who for _, who in members}) == 1
            assert all(b - a <= SMALL.patience + 1 for a, b in zip(numbers, numbers[1:]))
        for a, b in combinations(tracks.values(), 2):  # else they would be one
            if a[0][1] == b[0][1]:
                first, second = sorted((a, b))
                assert second[0][0] - first[-1][0] > SMALL.patience + 1


def test_crops_are_cut_where_the_table_says(root: Path) -> None:
    rows = table(root)
    assert len(rows) == json.loads((root / "scenes.json").read_text())["crops"] > 20
    for row in rows[::7]:
        with Image.open(root / row["camera"] / "img1" / f"{int(row['frame']):06d}.jpg") as frame:
            x, y, w, h = (int(row[name]) for name in ("x", "y", "width", "height"))
            cut = np.asarray(frame.convert("RGB").crop((x, y, x + w, y + h)), np.int16)
        with Image.open(root / row["path"]) as crop:
            assert np.abs(np.asarray(crop.convert("RGB"), np.int16) - cut).mean() < 6
        assert float(row["time"]) == pytest.approx((int(row["frame"]) - 1) / SMALL.fps)


def test_both_tables_say_the_same(root: Path) -> None:
    one, other = read_crops(root / "crops.csv"), read_crops(root / "crops.parquet")
    assert one.names == other.names and one.people == other.people and one.paths == other.paths
    assert np.array_equal(one.times, other.times)


def test_nobody_breaks_the_constraints_that_the_scenes_state() -> None:
    """True identities violate nothing, over many seeds; the bound is what a walker cannot beat."""
    for seed in range(1, 9):
        scenes = replace(SCENES["tiny"], seed=seed, people=12)
        by_person: dict[int, list[Any]] = {}
        for walk in walks(scenes):
            by_person.setdefault(walk.identity, []).append(walk)
            steps = np.hypot(*np.diff(walk.ground, axis=0).T) / np.diff(walk.clock)
            assert steps.max() < FASTEST
        for mine in by_person.values():
            mine.sort(key=lambda walk: walk.start)
            for a, b in zip(mine, mine[1:]):
                least = least_seconds(scenes, *(scenes.looking_at(w.place)[0] for w in (a, b)))
                assert b.start - a.end >= least
        for place in range(scenes.places):
            assert things(scenes, place)


def test_the_truth_scores_perfectly_and_violates_nothing(root: Path) -> None:
    tracklets = read_crops(root / "crops.csv")
    pairs = read_cameras(root / "cameras.csv", sorted(set(tracklets.cameras)))
    assert tracklets.people is not None
    who = np.empty(len(tracklets), np.int64)
    who[tracklets.crop_of] = [int(name) for name in tracklets.people]
    assert violations(who, conflicts(tracklets, pairs)) == 0
    scores = score(tracklets, who, samples=10)
    assert (scores.idf1.value, scores.precision, scores.recall, scores.bcubed) == (
        1.0,
        1.0,
        1.0,
        1.0,
    )
