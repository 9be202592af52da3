"""Breakdowns on the page are those of the matching room, side by side and complete."""

from dataclasses import replace

import pytest

from partreid.evaluation.slices import FEW, break_down, broken_down, by_occlusion_of
from partreid.metrics import MARKET
from partreid.report.content import Heat, Plot, Table
from tests.evaluate.made_up import BENCHMARK, DISTANCE, described, scored

ONE = {"names": ("global",), "hidden": 0.0}


@pytest.fixture(scope="module")
def of():
    return by_occlusion_of(
        {
            "one": break_down(
                DISTANCE, described(1, 1.5, **ONE), BENCHMARK, MARKET, scored(1, 1.5, **ONE)
            ),
            "parts": break_down(DISTANCE, described(3, 0.8), BENCHMARK, MARKET, scored(3, 0.8)),
        }
    )


def blocks(section):
    return {block.title: block.items for block in section.blocks}


def test_what_makes_no_sense_is_not_there(of):
    judge, broken = of
    assert judge == "parts"
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
    one = {
        "one": break_down(
            DISTANCE, described(1, 1.5, **ONE), BENCHMARK, MARKET, scored(1, 1.5, **ONE)
        )
    }
    judge, broken = by_occlusion_of(one)
    assert judge == "" and "occlusion" not in broken["one"]["holistic"].slices
    assert "By what the query shows" not in blocks(broken_down(broken, judge, {"one": 0}))


def test_the_section_holds_every_slice(of):
    judge, broken = of
    shown = blocks(broken_down(broken, judge, {"one": 0, "parts": 1}))
    assert list(shown) == [
        "By cameras",
        "By what the query shows",
        "By shared parts",
        "By part alone",
        # all people have as many right images: nothing to tell apart
        "By gallery size",
    ]
    heats = shown["By cameras"]
    assert len(heats) == 4 and all(
        isinstance(h, Heat) and h.columns == ("1", "2", "3") for h in heats
    )
    pairs = {s.key: s for s in broken["parts"]["holistic"].slices["cameras"]}
    heat = next(h for h in heats if h.title == "parts, holistic queries")
    for a, (row, values) in enumerate(heat.rows, 1):
        assert row == str(a)
        for b, value in enumerate(values, 1):
            assert value == (pairs[a, b].scores["mAP"] if a != b else None)
            assert heat.counts[a - 1][b - 1] == (pairs[a, b].pairs if a != b else 0)
    assert len({h.scale for h in heats}) == 1  # so that shades compare

    table = shown["By what the query shows"][0]
    assert isinstance(table, Table) and table.columns == ("one", "parts")
    for (name, small, cells), s in zip(
        table.rows, broken["parts"]["holistic"].slices["occlusion"], strict=True
    ):
        assert (name, small.split()[0]) == (s.name, str(s.queries)) and cells[1].value == s.scores[
            "mAP"
        ]
        assert (cells[1].interval is None) == (s.queries < FEW)

    (shared, _), gallery = shown["By shared parts"], shown["By gallery size"]
    assert (
        isinstance(shared, Plot)
        and [s.name for s in shared.series] == ["parts"]
        and shared.series[0].slot == 1
    )
    assert [s.name for s in gallery[0].series] == ["one", "parts"] and gallery[0].log
    end = broken["one"]["holistic"].ranking
    assert gallery[0].series[0].y[-1] == pytest.approx(end.mAP)
    assert gallery[0].series[0].x[-1] == max(int(n) - len(r) for n, r in zip(end.size, end.ranks))

    (alone,) = shown["By part alone"]
    assert alone.title == "parts" and alone.columns == ("holistic", "occluded")
    assert [name for name, _, _ in alone.rows] == [
        "whole figure",
        "head",
        "legs",
        "parts together",
        "all together",
    ]
    assert alone.rows[-1][2][0].value == pytest.approx(broken["parts"]["holistic"].ranking.mAP)


def test_small_slices_have_no_interval_and_are_never_the_best(of):
    judge, broken = of
    few = {
        name: {
            q: replace(
                b,
                slices={
                    **b.slices,
                    "occlusion": tuple(replace(s, queries=FEW - 1) for s in b.slices["occlusion"]),
                },
            )
            for q, b in sets.items()
        }
        for name, sets in broken.items()
    }
    table = blocks(broken_down(few, judge, {}))["By what the query shows"][0]
    assert all(c.interval is None and not c.best for _, _, cells in table.rows for c in cells)


def test_plain_slices_are_ready_for_json(of):
    import json

    found = json.loads(json.dumps(of[1]["parts"]["occluded"].plain(), allow_nan=False))
    assert set(found) == {"cameras", "shared", "alone", "size", "gallery", "occlusion"}
    assert set(found["cameras"][0]) == {
        "name",
        "key",
        "queries",
        "pairs",
        "weight",
        "scores",
        "intervals",
    }
