"""Geometry of the report's few drawings: numbers in, SVG coordinates out. The template draws
them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partreid.report.content import Forest, Gain, Heat, Plot

Array = NDArray[np.float64]

WIDTH, HEIGHT = 340.0, 180.0  # of a curve, in SVG units
LEFT, RIGHT, TOP, BOTTOM = 34.0, 8.0, 8.0, 24.0  # margins around the plotting area
PLOT_HEIGHT, PLOT_BOTTOM = 226.0, 38.0  # of a plot, whose x axis has a name below it
# Of series: (on a light page, on a dark one, dashes). The solid three stay apart for color-blind
# readers too.
INKS = (
    ("#2a5cb8", "#7ea6ee", ""),
    ("#dd6b20", "#f0894a", ""),
    ("#2e2e2b", "#e4e2d8", ""),
    ("#b0478f", "#dd86c9", "7 3"),
    ("#14857a", "#45c2a5", "2 3"),
    ("#a07f00", "#d6b03f", "9 3 2 3"),
)
SLOTS = len(INKS)
_LEAST, _MOST = 1e-290, 1e290  # sizes between which powers of ten and differences are numbers
NOT_A_TERM = ("step", "epoch", "loss", "lr", "seconds", "images", "stage", "time", "rank")


@dataclass(frozen=True)
class Tick:
    position: float  # SVG units
    label: str


@dataclass(frozen=True)
class Line:
    """One curve: SVG path, its name, and the first and last value, smoothed as drawn."""

    name: str
    path: str
    first: float
    last: float


@dataclass(frozen=True)
class Curve:
    """Training of one method: the loss as a chart, its terms as small lines."""

    method: str
    loss: Line
    terms: tuple[Line, ...]
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    unit: str  # of the x axis


def curve(method: str, rows: Sequence[Mapping[str, float]]) -> Curve | None:
    """Drawing of journal rows, or None if fewer than two of them carry a loss."""
    rows = [row for row in rows if _finite(row.get("loss")) and _finite(row.get("step", 0))]
    if len(rows) < 2:
        return None
    # Epochs are what people think in, but a short run has too few whole ones to place its points
    # by.
    steps = [float(row.get("step", i)) for i, row in enumerate(rows)]
    epochs = [float(row["epoch"]) for row in rows if _finite(row.get("epoch"))]
    unit, end = "step", steps[-1]
    first = steps[0]
    if len(epochs) == len(rows) and epochs[-1] - epochs[0] >= 2:
        unit, first, end = "epoch", 0.0, epochs[-1] + (0.0 if float(epochs[0]) == 1.0 else 1.0)
    place = np.array(steps)
    place = (place - place[0]) / max(place[-1] - place[0], 1e-12)
    loss = np.array([float(row["loss"]) for row in rows])
    px, py = thinned(place, loss)
    high = nice_above(float(py.max()))
    low = 0.0 if py.min() >= 0 else -nice_above(-float(py.min()))
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    x = LEFT + px * wide
    y = TOP + (high - py) / (high - low) * tall
    names = [n for n in rows[0] if n not in NOT_A_TERM and all(_finite(row.get(n)) for row in rows)]
    return Curve(
        method,
        Line("loss", _path(x, y), float(py[0]), float(py[-1])),
        tuple(sparkline(n, place, np.array([float(row[n]) for row in rows])) for n in names),
        tuple(
            Tick(LEFT + wide * (t - first) / max(end - first, 1e-12), _short(t))
            for t in ticks(first, end)
        ),
        tuple(Tick(TOP + (high - t) / (high - low) * tall, _short(t)) for t in ticks(low, high, 3)),
        unit,
    )


@dataclass(frozen=True)
class Stroke:
    """A series as drawn: its path, and circles (x, y, what they stand for) at its marks."""

    name: str
    path: str
    slot: int
    dots: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True)
class Drawn:
    """A plot in SVG units. even: path of the line x = y, or None."""

    strokes: tuple[Stroke, ...]
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    even: str | None


def drawn(plot: Plot) -> Drawn | None:
    """The plot, or None if no series has a point that can stand on its axes. On a log axis x
    must be above 0.
    """
    kept = []
    for s in plot.series:
        x, y = np.array(s.x, np.float64), np.array(s.y, np.float64)
        fits = np.isfinite(x) & np.isfinite(y) & ((x > 0) | (not plot.log))
        if fits.any():
            kept.append((s, x[fits], y[fits]))
    if not kept:
        return None
    scale = np.log10 if plot.log else np.positive
    every = np.concatenate([x for _, x, _ in kept])
    left, right = (
        (0.0, 1.0) if plot.shares and not plot.log else (float(every.min()), float(every.max()))
    )
    values = np.concatenate([y for _, _, y in kept])
    high = math.ceil(10 * values.max() - 1e-9) / 10 if plot.high is None else plot.high
    low = (
        min(math.floor(10 * values.min() + 1e-9) / 10, high - 0.1) if plot.low is None else plot.low
    )
    high = max(high, low + 0.1)  # of values that are all alike, a perfect score's above all
    wide, tall = WIDTH - LEFT - RIGHT, PLOT_HEIGHT - TOP - PLOT_BOTTOM
    span = max(float(scale(right) - scale(left)), 1e-12)

    def across(x: Array | float) -> Array:
        return np.asarray(LEFT + wide * (scale(x) - scale(left)) / span)

    def down(y: Array | float) -> Array:
        return np.asarray(TOP + tall * (high - np.clip(y, low, high)) / (high - low))

    strokes = tuple(
        Stroke(
            s.name,
            _path(across(x), down(y)),
            s.slot,
            tuple(
                (round(float(across(m.x)), 1), round(float(down(m.y)), 1), m.label)
                for m in s.marks
                if left * (1 - 1e-9) <= m.x <= right * (1 + 1e-9) and math.isfinite(m.y)
            ),
        )
        for s, x, y in kept
    )
    positions = log_ticks(left, right) if plot.log else ticks(left, right)
    if (
        not plot.log
        and left not in positions
        and positions
        and positions[0] - left > 0.1 * (positions[1] - positions[0] if len(positions) > 1 else 1)
    ):
        positions = [left, *positions]
    diagonal = np.array([max(left, low), min(right, high)])
    return Drawn(
        strokes,
        tuple(
            Tick(round(float(across(t)), 1), _share(t) if plot.shares else _short(t))
            for t in positions
        ),
        tuple(Tick(round(float(down(t)), 1), _short(100 * t)) for t in ticks(low, high)),
        _path(across(diagonal), down(diagonal)) if plot.even else None,
    )


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten from ``low`` to ``high``; over fewer than two decades 1, 2 and 5 times them;
    else the ends.
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1,) if math.log10(high / low) >= 2 else (1, 2, 5)
    positions = [
        s * 10.0**p
        for p in powers
        for s in steps
        if low * (1 - 1e-9) <= s * 10.0**p <= high * (1 + 1e-9)
    ]
    return positions if len(positions) > 1 else sorted({low, high})


@dataclass(frozen=True)
class Bar:
    """A difference as drawn, in percent of the axis' width: its range and its value. sure: zero
    lies outside.
    """

    gain: Gain
    left: float
    width: float
    position: float
    sure: bool
    slot: int


@dataclass(frozen=True)
class Bars:
    """A forest as drawn. zero: where the line stands; ticks at percent of the width, in points."""

    bars: tuple[Bar, ...]
    zero: float
    ticks: tuple[Tick, ...]


def bars(forest: Forest) -> Bars:
    """All differences on one axis that holds zero and every range."""
    ends = [0.0, *(v for g in forest.gains for v in (g.low, g.value, g.high) if math.isfinite(v))]
    low, high = min(ends), max(ends)
    room = 0.04 * max(high - low, 0.01)
    low, high = low - room, high + room

    # an interval that nothing bounds runs to the end of the axis
    def percent(value: float) -> float:
        value = 0.0 if math.isnan(value) else min(max(value, low), high)
        return 100 * (value - low) / (high - low)

    return Bars(
        tuple(
            Bar(
                g,
                percent(g.low),
                percent(g.high) - percent(g.low),
                percent(g.value),
                g.low > 0 or g.high < 0,
                g.slot,
            )
            for g in forest.gains
        ),
        percent(0.0),
        tuple(Tick(percent(t), _signed(t)) for t in ticks(low, high)),
    )


def shades(heat: Heat) -> tuple[tuple[float, ...], ...]:
    """How dark each cell is, 0 to 1: its place on the scale, or between the least and the
    greatest; 0 if empty.
    """
    values = [v for _, row in heat.rows for v in row if v is not None and _finite(v)]
    low, high = heat.scale or (min(values, default=0.0), max(values, default=0.0))

    def shade(v: float | None) -> float:
        if v is None or not _finite(v):
            return 0.0
        return (v - low) / (high - low) if high > low else 0.5

    return tuple(tuple(map(shade, row)) for _, row in heat.rows)


def sparkline(name: str, x: Array, y: Array, width: float = 120, height: float = 22) -> Line:
    """A curve in a small box of its own scale; a constant runs through the middle."""
    px, py = thinned(x, y, 60)
    low, high = float(py.min()), float(py.max())
    level = (py - low) / (high - low) if high > low else np.full(len(py), 0.5)
    return Line(
        name,
        _path(1 + px * (width - 2), height - 2 - level * (height - 4)),
        float(py[0]),
        float(py[-1]),
    )


def thinned(x: Array, y: Array, most: int = 120) -> tuple[Array, Array]:
    """Means over at most ``most`` runs of neighbours; the ends of the first and last run stay in
    place.
    """
    runs = np.array_split(np.arange(len(x)), min(most, len(x)))
    px, py = np.array([x[r].mean() for r in runs]), np.array([y[r].mean() for r in runs])
    px[0], px[-1] = x[0], x[-1]
    return px, py


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, at most about ``most`` of them."""
    if not high - low > _LEAST:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    return [
        k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def nice_above(value: float) -> float:
    """The next round number at or above a positive value."""
    if value <= _LEAST:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * m for m in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if power * m >= value * 0.999999)


def _path(x: Array, y: Array) -> str:
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y))


def _short(value: float) -> str:
    return f"{value:.6g}"


def _share(value: float) -> str:
    return f"{100 * value:.6g} %"


def _signed(value: float) -> str:
    return "0" if abs(value) < 1e-9 else f"{100 * value:+.6g}".replace("-", "\N{MINUS SIGN}")


def _finite(value: object) -> bool:
    """Whether a value is a number that can stand on a page; beyond ``_MOST`` differences are no
    longer finite.
    """
    return isinstance(value, (int, float)) and math.isfinite(value) and abs(value) <= _MOST
