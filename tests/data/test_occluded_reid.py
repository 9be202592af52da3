"""Occluded-REID whole, and its halves."""

from pathlib import Path

import pytest

from partreid.build import benchmark
from partreid.data.registry import BENCHMARKS
from tests.data.trees import touch


@pytest.fixture()
def root(tmp_path: Path) -> Path:
    return touch(
        tmp_path,
        *(
            f"{body}_body_images/{i:03d}/{i:03d}_{n:02d}.tif"
            for body in ("occluded", "whole")
            for i in range(1, 21)
            for n in (1, 2)
        ),
    )


def test_half_trains_and_the_other_half_is_tested(root: Path) -> None:
    dataset = benchmark("occluded_reid_half", root)
    train = {s.identity for s in dataset.train}
    assert (
        len(train) == 10
        and len(dataset.train) == 40
        and {s.camera for s in dataset.train} == {1, 2}
    )
    assert (
        {s.identity for s in dataset.query}
        == {s.identity for s in dataset.gallery}
        == {*range(1, 21)} - train
    )
    assert {s.camera for s in dataset.query} == {1} and {s.camera for s in dataset.gallery} == {2}


def test_halves_differ_by_their_number_and_stay(root: Path) -> None:
    halves = [benchmark(f"occluded_reid_half-{i}", root).train for i in range(10)]
    assert len(set(halves)) == 10 and benchmark("occluded_reid_half", root).train == halves[0]
    assert sorted({s.identity for s in halves[0]}) == [
        3,
        4,
        7,
        9,
        10,
        14,
        15,
        17,
        18,
        20,
    ]  # for ever


def test_the_two_have_different_names_and_one_protocol_without_cameras() -> None:
    whole, half = BENCHMARKS["occluded_reid"], BENCHMARKS["occluded_reid_half"]
    assert whole.counts != half.counts and whole.protocol == half.protocol == "no_camera"
