"""Who a tracker's boxes truly show."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid.data.mot import MotBox
from partreid.errors import DataError
from partreid.link import read_tracks
from partreid.link.truth import OVERLAP, overlaps, people_of


def box(frame: int, number: int, left: float, top: float = 0.0, width: float = 10.0) -> MotBox:
    return MotBox(frame, number, left, top, width, 20.0)


def test_overlap_by_hand() -> None:
    iou = overlaps([box(1, 1, 0)], [box(1, 1, 0), box(1, 2, 5), box(1, 3, 10), box(1, 4, 0, 10)])
    np.testing.assert_allclose(iou, [[1, 1 / 3, 0, 1 / 3]])


def test_half_is_enough_and_less_is_not() -> None:
    half = box(1, 7, 0, width=5.0)  # 5 x 20 of 10 x 20
    assert people_of([box(1, 1, 0)], [half]) == ["7"]
    assert people_of([box(1, 1, 0)], [replace(half, width=4.99)]) == [""]


def test_each_box_has_one_person_and_each_person_one_box() -> None:
    # the first box alone would take person 8, whom the second needs
    boxes, truth = [box(1, 1, 1), box(1, 2, 3)], [box(1, 9, 0), box(1, 8, 2)]
    assert people_of(boxes, truth) == ["9", "8"]
    assert sorted(people_of(boxes, truth[1:])) == ["", "8"]


def test_of_equal_overlaps_the_lower_numbers_come_together_whatever_the_order() -> None:
    boxes, truth = [box(1, 2, 0), box(1, 1, 0)], [box(1, 6, 0), box(1, 5, 0)]
    assert people_of(boxes, truth) == people_of(boxes, truth[::-1]) == ["6", "5"]
    assert people_of(boxes[::-1], truth) == ["5", "6"]


def test_it_is_what_trying_all_ways_finds() -> None:
    draw = np.random.default_rng(0)
    for _ in range(40):
        boxes, truth = (
            [box(1, i, *draw.uniform(0, 12, 2).tolist()) for i in range(4)] for _ in range(2)
        )
        shared = overlaps(boxes, truth)
        shared[shared < OVERLAP] = 0
        best = max(sum(shared[i, p] for i, p in enumerate(way)) for way in permutations(range(4)))
        people = people_of(boxes, truth)
        assert sum(shared[i, int(p)] for i, p in enumerate(people) if p) == pytest.approx(best)
        assert len({p for p in people if p}) == sum(map(bool, people))


def test_what_does_not_count_and_frames_without_truth() -> None:
    boxes = [box(1, 1, 0), box(2, 1, 0), box(3, 1, 0)]
    ignored = replace(box(1, 7, 0), confidence=0.0)
    car = replace(box(2, 8, 0), category=3)
    assert people_of(boxes, [ignored, car]) == ["", "", ""]
    assert people_of(boxes, [box(3, 4, 0)]) == ["", "", "4"]
    assert people_of([], [box(3, 4, 0)]) == [] and people_of(boxes, []) == [""] * 3
    with pytest.raises(
        DataError, match="a box without a person in frame 3; give each person a num"
    ):
        people_of(boxes, [box(3, -1, 0)])


def test_tracks_take_their_people_from_the_truth(tmp_path: Path) -> None:
    for camera in ("c1", "c2"):
        (tmp_path / camera / "img1").mkdir(parents=True)
        for number in (1, 2):
            Image.new("RGB", (60, 40)).save(tmp_path / camera / "img1" / f"{number:06d}.png")
        (tmp_path / camera / "tracks.txt").write_text(
            "1,1,0,0,10,20\n1,2,30,0,10,20\n2,1,1,0,10,20\n"
        )
    (tmp_path / "c1" / "gt").mkdir()
    (tmp_path / "c1" / "gt" / "gt.txt").write_text("1,7,1,0,10,20,1,1,1\n2,7,1,0,10,20,1,1,1\n")

    def read() -> tuple[str, ...] | None:
        return read_tracks(tmp_path, tmp_path / "cut", fps=2, truth="gt/gt.txt").people

    with pytest.raises(DataError, match=r"there is no .*c2/gt/gt.txt; .* or leave --truth away"):
        read()
    (tmp_path / "c2" / "gt").mkdir()
    (tmp_path / "c2" / "gt" / "gt.txt").write_text("")
    assert read() == ("7", "", "7", "", "", "")
    (tmp_path / "c1" / "gt" / "gt.txt").write_text("1,7,40,0,10,20,1,1,1\n")
    with pytest.raises(DataError, match=r"no box of tracks\.txt overlaps one of gt/gt\.txt by 50%"):
        read()
    assert read_tracks(tmp_path, tmp_path / "cut", fps=2).people is None
