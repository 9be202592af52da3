"""Breakdowns on the page are those of the evaluation, side by side and complete."""

from dataclasses import replace

import pytest

from partreid.evaluation.slices import break_down, by_occlusion_of
from partreid.report.breakdowns import FEW, breakdown_section
from partreid.report.content import Heat, Plot, Table
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


def blocks(section):
    return {block.title: block.items for block in section.blocks}


def test_the_section_holds_every_slice(of):
    reference, broken = of
    shown = blocks(breakdown_section(broken, reference, {"one": 0, "parts": 1}))
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
    reference, broken = of
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
    table = blocks(breakdown_section(few, reference, {}))["By what the query shows"][0]
    assert all(c.interval is None and not c.best for _, _, cells in table.rows for c in cells)


def test_nobody_who_sees_hidden_parts_is_no_block():
    reference, broken = by_occlusion_of({"one": break_down(result("one", "", 1, 1.5, **ONE))})
    assert "By what the query shows" not in blocks(breakdown_section(broken, reference, {"one": 0}))
