"""Geometry of the report's few drawings: numbers in, SVG coordinates out. The template draws them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WIDTH, HEIGHT = 340.0, 180.0  # of a curve, in SVG units
LEFT, RIGHT, TOP, BOTTOM = 34.0, 8.0, 8.0, 24.0  # margins around the plotting area
NOT_A_TERM = ("step", "epoch", "loss", "lr", "seconds", "images", "stage", "time", "rank")


@dataclass(frozen=True)
class Tick:
    at: float  # SVG units
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
    rows = [row for row in rows if _finite(row.get("loss"))]
    if len(rows) < 2:
        return None
    # Epochs are what people think in, but a short run has too few whole ones to place its points by.
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
        method, Line("loss", _path(x, y), float(py[0]), float(py[-1])),
        tuple(sparkline(n, place, np.array([float(row[n]) for row in rows])) for n in names),
        tuple(Tick(LEFT + wide * (t - first) / max(end - first, 1e-12), _short(t)) for t in ticks(first, end)),
        tuple(Tick(TOP + (high - t) / (high - low) * tall, _short(t)) for t in ticks(low, high, 3)), unit)


def sparkline(name: str, x: Array, y: Array, width: float = 120, height: float = 22) -> Line:
    """A curve in a small box of its own scale; a constant runs through the middle."""
    px, py = thinned(x, y, 60)
    low, high = float(py.min()), float(py.max())
    level = (py - low) / (high - low) if high > low else np.full(len(py), 0.5)
    return Line(name, _path(1 + px * (width - 2), height - 2 - level * (height - 4)), float(py[0]), float(py[-1]))


def thinned(x: Array, y: Array, most: int = 120) -> tuple[Array, Array]:
    """Means over at most ``most`` runs of neighbours; the ends of the first and last run stay in place."""
    runs = np.array_split(np.arange(len(x)), min(most, len(x)))
    px, py = np.array([x[r].mean() for r in runs]), np.array([y[r].mean() for r in runs])
    px[0], px[-1] = x[0], x[-1]
    return px, py


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, at most about ``most`` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def nice_above(value: float) -> float:
    """The next round number at or above a positive value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * m for m in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if power * m >= value * 0.999999)


def _path(x: Array, y: Array) -> str:
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y))


def _short(value: float) -> str:
    return f"{value:.6g}"


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
