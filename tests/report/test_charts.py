"""Charts put numbers where they belong: every place on the page is worked out by hand here."""

import importlib
import math
import re
from itertools import combinations, product

import numpy as np
import pytest

from partreid.report.charts import (
    BOTTOM,
    HEIGHT,
    INKS,
    LEFT,
    PLOT_BOTTOM,
    PLOT_HEIGHT,
    RIGHT,
    SLOTS,
    TOP,
    WIDTH,
    bars,
    curve,
    drawn,
    log_ticks,
    shades,
)
from partreid.report.content import Forest, Gain, Heat, Mark, Plot, Series

WIDE, TALL = WIDTH - LEFT - RIGHT, PLOT_HEIGHT - TOP - PLOT_BOTTOM


def points(path):
    return [tuple(map(float, p.split())) for p in path[1:].split("L")]


def test_a_line_goes_through_its_points():
    plot = Plot(
        "t", "x", "y", (Series("a", (0, 1, 2), (0.0, 0.5, 1.0), 3, (Mark(1, 0.5, "half"),)),)
    )
    d = drawn(plot)
    assert points(d.strokes[0].path) == [
        (LEFT, TOP + TALL),
        (LEFT + WIDE / 2, TOP + TALL / 2),
        (LEFT + WIDE, TOP),
    ]
    assert d.strokes[0].slot == 3 and d.strokes[0].dots == (
        (LEFT + WIDE / 2, TOP + TALL / 2, "half"),
    )
    assert [t.label for t in d.y] == ["0", "20", "40", "60", "80", "100"] and d.y[
        0
    ].position == TOP + TALL
    assert d.even is None and BOTTOM < PLOT_BOTTOM


def test_a_log_axis_gives_every_decade_as_much_room():
    d = drawn(
        Plot(
            "t",
            "x",
            "y",
            (Series("a", (1e-4, 1e-3, 1e-2, 1e-1, 1.0), (0.1,) * 5),),
            log=True,
            shares=True,
        )
    )
    xs = [x for x, _ in points(d.strokes[0].path)]
    assert np.diff(xs) == pytest.approx([WIDE / 4] * 4, abs=0.11)
    assert [t.label for t in d.x] == ["0.01 %", "0.1 %", "1 %", "10 %", "100 %"]
    assert [t.position for t in d.x] == pytest.approx(xs, abs=0.1)


def test_series_share_one_axis_and_what_cannot_stand_on_it_is_left_out():
    a, b = Series("a", (0.0, 0.01, 1.0), (0.0, 0.2, 0.4)), Series("b", (0.1, 0.2), (math.nan, 0.3))
    d = drawn(Plot("t", "x", "y", (a, b, Series("c", (0.0,), (1.0,))), log=True))
    assert [s.name for s in d.strokes] == ["a", "b"] and len(points(d.strokes[0].path)) == 2
    assert points(d.strokes[1].path)[0][0] == pytest.approx(
        LEFT + WIDE * (2 + math.log10(0.2)) / 2, abs=0.1
    )
    assert drawn(Plot("t", "x", "y", (Series("c", (0.0,), (1.0,)),), log=True)) is None
    assert drawn(Plot("t", "x", "y", ())) is None


def test_the_y_axis_is_chosen_in_tens_if_asked():
    d = drawn(Plot("t", "x", "y", (Series("a", (1, 2), (0.57, 0.93)),), low=None, high=None))
    assert points(d.strokes[0].path)[0][1] == pytest.approx(
        TOP + TALL * (1.0 - 0.57) / 0.5, abs=0.06
    )
    flat = drawn(Plot("t", "x", "y", (Series("a", (1, 2), (0.5, 0.5)),), low=None, high=None))
    assert all(TOP <= y <= TOP + TALL for _, y in points(flat.strokes[0].path))


def test_values_beyond_the_axis_stay_inside_the_picture():
    d = drawn(
        Plot("t", "x", "y", (Series("a", (1, 2), (-0.2, 1.4), 0, (Mark(3, 0.5, "outside"),)),))
    )
    assert [y for _, y in points(d.strokes[0].path)] == [TOP + TALL, TOP] and d.strokes[
        0
    ].dots == ()


def test_shares_go_from_nothing_to_all_and_the_even_line_is_the_diagonal():
    d = drawn(Plot("t", "x", "y", (Series("a", (0.25, 0.5), (0.3, 0.4)),), even=True, shares=True))
    assert points(d.even) == [(LEFT, TOP + TALL), (LEFT + WIDE, TOP)]
    assert points(d.strokes[0].path)[0][0] == LEFT + WIDE / 4 and d.x[-1].label == "100 %"


def test_log_ticks():
    assert log_ticks(1e-4, 1) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert log_ticks(10, 600) == pytest.approx([10, 20, 50, 100, 200, 500])
    assert log_ticks(300, 400) == [300, 400] and log_ticks(7, 7) == [7]


def gain(value, low, high):
    return Gain("b", "mAP", value, low, high, 0.5)


def test_a_forest_has_room_for_zero_and_every_range():
    b = bars(Forest("t", (gain(0.2, 0.1, 0.3), gain(-0.05, -0.1, 0.0))))
    span, low = 0.4 * 1.08, -0.1 - 0.016
    assert b.zero == pytest.approx(100 * (0 - low) / span)
    assert b.bars[0].left == pytest.approx(100 * (0.1 - low) / span)
    assert b.bars[0].width == pytest.approx(100 * 0.2 / span)
    assert b.bars[0].position == pytest.approx(100 * (0.2 - low) / span)
    assert [x.sure for x in b.bars] == [True, False]
    assert [t.label for t in b.ticks] == ["−10", "0", "+10", "+20", "+30"] and all(
        0 <= t.position <= 100 for t in b.ticks
    )
    right = bars(Forest("t", (gain(0.2, 0.1, 0.3),)))
    assert 0 < right.zero < right.bars[0].left and right.bars[0].left + right.bars[0].width < 100
    nothing = bars(Forest("t", (gain(0.0, 0.0, 0.0),)))
    assert nothing.bars[0].position == nothing.zero == pytest.approx(50)


def test_shades_follow_the_scale():
    heat = Heat("t", "c", ("1", "2"), (("1", (None, 0.2)), ("2", (0.6, 0.4))))
    assert shades(heat) == ((0.0, 0.0), (1.0, pytest.approx(0.5)))
    assert shades(Heat("t", "c", ("1",), (("1", (0.5,)),), scale=(0.0, 1.0))) == ((0.5,),)
    assert shades(Heat("t", "c", ("1",), (("1", (0.5,)),))) == ((0.5,),)


def test_series_stay_apart_by_color_or_dashes():
    eyes = importlib.import_module("tests.explain.test_overlays")
    assert SLOTS == 6
    for tone in (0, 1):
        for a, b in combinations(INKS, 2):
            if a[2] == b[2]:
                for matrix in eyes.MACHADO.values():
                    far = eyes.lab(a[tone], np.array(matrix)) - eyes.lab(b[tone], np.array(matrix))
                    assert np.linalg.norm(far) > 20, (a, b)


NUMBER = r"-?\d+(?:\.\d+)?"


def assert_inside(d):
    """Every coordinate of a plot is a number, on the picture."""
    assert d is not None and d.strokes
    for s in d.strokes:
        assert re.fullmatch(rf"M{NUMBER} {NUMBER}(L{NUMBER} {NUMBER})*", s.path), s.path
        for x, y in [*points(s.path), *(dot[:2] for dot in s.dots)]:
            assert LEFT - 0.1 <= x <= LEFT + WIDE + 0.1 and TOP - 0.1 <= y <= TOP + TALL + 0.1
    for tick in d.x:
        assert LEFT - 0.1 <= tick.position <= LEFT + WIDE + 0.1
    for tick in d.y:
        assert TOP - 0.1 <= tick.position <= TOP + TALL + 0.1
    assert d.y and d.x and (d.even is None or "nan" not in d.even)


@pytest.mark.parametrize(
    "y",
    [
        (1.0, 1.0),
        (0.0, 0.0),
        (0.5, 0.5),
        (1.0,),
        (0.0,),
        (1e-300, 1e-300),
        (math.nan, 1.0),
        (math.inf, 0.3),
        (0.0, 1.0),
    ],
)
def test_a_plot_of_perfect_missing_or_equal_scores_is_drawn(y):
    for x, (low, high), how in product(
        [(1.0, 20.0), (1.0, 1.0), (0.0, 1.0), (1e-9, 1.0), (5.0, 5.0 + 1e-12)],
        [(None, None), (0.0, 1.0), (None, 1.0), (0.0, None), (1.0, 1.0)],
        [{}, {"log": True}, {"even": True, "shares": True}, {"log": True, "shares": True}],
    ):
        x = tuple(min(v, 1.0) if how.get("shares") else v for v in x)[: len(y)]
        plot = Plot(
            "t",
            "x",
            "y",
            (Series("a", x, y, 0, (Mark(x[0], y[0], "m"),)),),
            low=low,
            high=high,
            **how,
        )
        if any(
            math.isfinite(b) and (a > 0 or not how.get("log")) for a, b in zip(x, y, strict=True)
        ):
            assert_inside(drawn(plot))
        else:
            assert drawn(plot) is None


@pytest.mark.parametrize(
    "losses",
    [
        (0.0, 0.0),
        (1.0, 1.0),
        (5e-324, 5e-324),
        (1e-320, 0.0),
        (1e300, 1.0, 2.0),
        (math.nan, 1.0, 2.0),
        (-1.0, -1.0),
        (-1.0, 1.0),
        (math.inf, 1.0, 1.0),
    ],
)
def test_a_training_curve_of_any_losses_is_drawn(losses):
    for steps in (range(len(losses)), [7] * len(losses)):
        c = curve(
            "m",
            [
                {"step": s, "epoch": 0, "loss": loss, "triplet": 0.0}
                for s, loss in zip(steps, losses)
            ],
        )
        for path in (c.loss.path, *(t.path for t in c.terms)):
            assert re.fullmatch(rf"M{NUMBER} {NUMBER}(L{NUMBER} {NUMBER})*", path), path
        assert all(math.isfinite(t.position) for t in (*c.x, *c.y)) and c.x and c.y
        assert all(0 <= y <= HEIGHT for _, y in points(c.loss.path))
    assert curve("m", []) is None and curve("m", [{"loss": 1.0}]) is None


@pytest.mark.parametrize(
    "ends",
    [
        (0.0, 0.0, 0.0),
        (0.1, 0.1, 0.1),
        (0.1, -math.inf, math.inf),
        (0.1, math.nan, math.nan),
        (1.0, 1.0, 1.0),
        (-1.0, -1.0, -1.0),
        (1e-300, 0.0, 1e-300),
    ],
)
def test_a_difference_without_width_or_without_bounds_stays_on_its_axis(ends):
    for gains in ((gain(*ends),), (gain(*ends), gain(0.05, 0.0, 0.1))):
        b = bars(Forest("t", gains))
        for bar in b.bars:
            assert (
                0 <= bar.left <= bar.position <= 100
                and bar.width >= 0
                and bar.left + bar.width <= 100 + 1e-9
            )
        assert 0 <= b.zero <= 100 and b.ticks and all(0 <= t.position <= 100 for t in b.ticks)
    assert bars(Forest("t", ())).bars == ()


def test_a_heat_of_nothing_or_of_one_value_has_shades():
    for value in (0.0, 1.0, math.nan, None):
        heat = Heat("t", "c", ("1", "2"), (("1", (value, value)),))
        assert all(0 <= shade <= 1 for row in shades(heat) for shade in row)
    assert shades(Heat("t", "c", (), ())) == ()
