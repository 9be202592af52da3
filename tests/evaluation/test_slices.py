"""Breakdowns are those of the metrics, for every query set, judged by one method."""

import pytest

from partreid.evaluation.slices import break_down, by_occlusion_of
from tests.evaluation.made_up import result

ONE = {"names": ("global",), "hidden": 0.0}


@pytest.fixture(scope="module")
def of():
    return by_occlusion_of(
        {
            "one": break_down(result("one", "", 1, 1.5, **ONE)),
            "parts": break_down(result("parts")),
        }
    )


def test_what_makes_no_sense_is_not_there(of):
    reference, broken = of
    assert reference == "parts"
    assert set(broken["one"]["holistic"].slices) == {"cameras", "size", "gallery", "occlusion"}
    assert set(broken["parts"]["holistic"].slices) == {
        "cameras",
        "shared",
        "alone",
        "size",
        "gallery",
        "occlusion",
    }


def test_all_methods_are_judged_on_the_same_queries(of):
    _, broken = of
    for queries in ("holistic", "occluded"):
        mine, other = (broken[name][queries].slices["occlusion"] for name in ("one", "parts"))
        assert [(s.key, s.queries) for s in mine] == [(s.key, s.queries) for s in other] and len(
            mine
        ) == 3
        assert sum(s.queries for s in mine) == 36


def test_nobody_who_sees_hidden_parts_is_no_slice():
    one = {"one": break_down(result("one", "", 1, 1.5, **ONE))}
    reference, broken = by_occlusion_of(one)
    assert reference == "" and "occlusion" not in broken["one"]["holistic"].slices


def test_plain_slices_are_ready_for_json(of):
    import json

    values = json.loads(json.dumps(of[1]["parts"]["occluded"].plain(), allow_nan=False))
    assert set(values) == {"cameras", "shared", "alone", "size", "gallery", "occlusion"}
    assert set(values["cameras"][0]) == {
        "name",
        "key",
        "queries",
        "pairs",
        "weight",
        "scores",
        "intervals",
    }
