"""Every source's tables against the recorded ones: classes, part sets, sides, and what is
missing.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from partreid.labels.parsing import grey_palette, palette
from partreid.labels.schemes import SETS, lookup
from partreid.labels.sources import COARSE, ISP_MASKS, SOURCES, isp_masks, report

GOLDEN = json.loads((Path(__file__).parent / "parsing_maps.json").read_text())
RECORDED = GOLDEN["sources"]
OURS = {
    "mag8": "seven",
    "hul4": "three",
    "bpb5": "five",
    "bpb5v": "five_v",
    "bpb8": "eight",
    "dsa8": "regions",
}
# the record leaves these gaps to the reader of its tables
NOT_RECORDED = {
    ("pascal", "five_v"): ("feet",),
    ("pascal", "eight"): (
        "left_arm",
        "right_arm",
        "left_leg",
        "right_leg",
        "left_foot",
        "right_foot",
    ),
}

pairs = pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name in RECORDED for key in OURS if key in RECORDED[name]]
)


def test_the_sources_are_the_recorded_ones() -> None:
    assert list(SOURCES) == list(RECORDED)
    assert {key for row in RECORDED.values() for key in row} == {
        *OURS,
        "classes",
        "isp",
        "swap",
        "split_vertical",
        "split_left_right",
        "empty",
    }


def test_part_names() -> None:
    named = {OURS[key]: tuple(names[1:]) for key, names in GOLDEN["parts"].items()}
    short = {"upper_arms_torso": "upper", "lower_arms_torso": "lower"}
    named["five_v"] = tuple(short.get(name, name) for name in named["five_v"])
    assert named == {name: SETS[name] for name in named} and set(SETS) - set(named) == {"regions"}


@pytest.mark.parametrize("name", list(RECORDED))
def test_classes_and_sides(name: str) -> None:
    assert list(SOURCES[name].classes) == RECORDED[name]["classes"]
    assert [list(pair) for pair in SOURCES[name].swap] == RECORDED[name]["swap"]


@pairs
def test_tables(name: str, key: str) -> None:
    source = SOURCES[name]
    groups = source.sets[OURS[key]]
    assert tuple(groups) == SETS[OURS[key]]
    assert lookup(groups)[: len(source.classes)].tolist() == RECORDED[name][key]


@pytest.mark.parametrize("name", list(RECORDED))
def test_splits(name: str) -> None:
    cut, recorded = list(SOURCES[name].torso), RECORDED[name]["split_vertical"]["bpb5v"]
    assert recorded == ("parts 1,2: u<0.5 -> 2, else 3" if name == "densepose24" else cut)
    assert cut == ([1, 2] if name == "densepose24" else recorded)
    sideless = sorted(c for classes in SOURCES[name].sideless.values() for c in classes)
    assert sideless == RECORDED[name]["split_left_right"].get("bpb8", [])


@pairs
def test_missing_parts(name: str, key: str) -> None:
    recorded = tuple(RECORDED[name]["empty"].get(key, ()))
    assert report(name, OURS[key]).missing == (recorded or NOT_RECORDED.get((name, OURS[key]), ()))


@pytest.mark.parametrize("name", list(RECORDED))
def test_isp_masks(name: str) -> None:
    classes = np.arange(len(SOURCES[name].classes), dtype=np.uint8)[None]
    masks = isp_masks(classes, name)
    assert tuple(masks) == ISP_MASKS
    assert {mask: np.flatnonzero(pixels).tolist() for mask, pixels in masks.items()} == {
        mask: sorted(members) for mask, members in RECORDED[name]["isp"].items()
    }
    assert [mask for mask, pixels in masks.items() if not pixels.any()] == RECORDED[name][
        "empty"
    ].get("isp", [])


def test_the_two_densepose_tables_agree() -> None:
    for groups, coarse in zip(
        SOURCES["densepose24"].sets.values(), SOURCES["densepose14"].sets.values(), strict=True
    ):
        np.testing.assert_array_equal(lookup(coarse)[list(COARSE)], lookup(groups)[:25])


def test_palette() -> None:
    assert palette(20).tolist() == GOLDEN["schp_palette"]
    assert grey_palette(20) == GOLDEN["schp_palette_cv2_gray"]
