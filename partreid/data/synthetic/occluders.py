"""Objects that stand in front of a person, drawn in the picture's own space.

Each painter gets the share of the person it should roughly hide and draws an RGBA picture whose
alpha is the object's exact outline; `place` repeats until the hidden share is within bounds.
"""

import colorsys
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from partreid.data.synthetic.streams import Stream

BoolArray = NDArray[np.bool_]
RGBA = tuple[int, int, int, int]
Painter = Callable[[ImageDraw.ImageDraw, Stream, BoolArray, float], None]


def _color(s: Stream, value: tuple[float, float] = (0.25, 0.8), saturation: float = 0.5) -> RGBA:
    r, g, b = colorsys.hsv_to_rgb(s.uniform(), s.uniform(0.03, saturation), s.uniform(*value))
    return int(r * 255), int(g * 255), int(b * 255), 255


def _tone(color: RGBA, factor: float) -> RGBA:
    r, g, b = (min(255, int(c * factor)) for c in color[:3])
    return r, g, b, 255


def _row_above(person: BoolArray, share: float) -> int:
    """The row below which `share` of the person lies."""
    below = np.cumsum(person.sum(1)[::-1])
    return len(below) - 1 - int(np.searchsorted(below, share * below[-1]))


def _columns(person: BoolArray, share: float, start: float) -> tuple[int, int]:
    """Two columns between which `share` of the person lies, after the first `start` share of it."""
    passed = np.cumsum(person.sum(0))
    low, high = np.searchsorted(passed, (start * passed[-1], (start + share) * passed[-1]))
    return int(low), int(max(high, low + 1))


def _wall(draw: ImageDraw.ImageDraw, s: Stream, person: BoolArray, share: float) -> None:
    h, w = person.shape
    top, color, cap = _row_above(person, share), _color(s, (0.4, 0.75), 0.2), 0.035 * h
    slope = s.normal(0, 0.02) * h
    draw.polygon((0, top + slope, w, top - slope, w, h, 0, h), fill=color)
    kind = s.choice(("brick", "planks", "plain"))
    if kind == "brick":
        step = max(3.0, 0.035 * h)
        for j in range(int((h - top) / step) + 2):
            y = top + cap + j * step
            draw.line((0, y + slope, w, y - slope), fill=_tone(color, 0.78))
            for i in range(-1, int(w / (2 * step)) + 2):
                x = (2 * i + j % 2) * step
                draw.line((x, y, x, min(h, y + step)), fill=_tone(color, 0.78))
    elif kind == "planks":
        for x in np.arange(0, w, max(4.0, 0.09 * w)):
            draw.line((x, top + abs(slope), x, h), fill=_tone(color, 0.7), width=max(1, w // 64))
    draw.polygon(
        (0, top + slope, w, top - slope, w, top - slope + cap, 0, top + slope + cap),
        fill=_tone(color, 1.2),
    )


def _car(draw: ImageDraw.ImageDraw, s: Stream, person: BoolArray, share: float) -> None:
    h, w = person.shape
    top = _row_above(person, share * 1.06)
    flip, length, paint = s.chance(0.5), s.uniform(1.6, 2.4) * w, _color(s)
    start = s.uniform(-0.75, -0.25) * w

    def point(a: float, b: float) -> tuple[float, float]:
        x = start + a * length
        return (w - x if flip else x), top + b * (h * 1.06 - top)

    body = [(0, 1), (0, 0.52), (0.04, 0.40), (0.22, 0.34), (0.36, 0.04), (0.42, 0), (0.66, 0),
            (0.74, 0.05), (0.88, 0.36), (0.98, 0.42), (1, 0.6), (1, 1)]  # fmt: skip
    draw.polygon([point(*p) for p in body], fill=paint)
    glass = (52, 60, 68, 255)
    draw.polygon(
        [point(*p) for p in ((0.26, 0.34), (0.38, 0.07), (0.53, 0.06), (0.53, 0.34))], fill=glass
    )
    draw.polygon(
        [point(*p) for p in ((0.56, 0.34), (0.56, 0.06), (0.68, 0.07), (0.80, 0.34))], fill=glass
    )
    draw.polygon(
        [point(*p) for p in ((0.30, 0.30), (0.38, 0.10), (0.42, 0.09), (0.34, 0.30))],
        fill=(96, 108, 118, 255),
    )
    draw.line([point(0.01, 0.46), point(0.99, 0.46)], fill=_tone(paint, 1.3), width=max(1, h // 90))
    draw.line(
        [point(0.545, 0.36), point(0.545, 0.92)], fill=_tone(paint, 0.7), width=max(1, h // 128)
    )
    draw.line(
        [point(0.02, 0.86), point(0.98, 0.86)], fill=_tone(paint, 0.55), width=max(1, h // 40)
    )
    for a in (0.17, 0.83):
        (x, y), r = point(a, 0.92), 0.105 * length * 0.62
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(26, 26, 28, 255))
        draw.ellipse((x - r / 2, y - r / 2, x + r / 2, y + r / 2), fill=(134, 136, 140, 255))


def _plant(draw: ImageDraw.ImageDraw, s: Stream, person: BoolArray, share: float) -> None:
    h, w = person.shape
    top = _row_above(person, share * 1.10)
    hue, middle, radius = s.uniform(0.22, 0.36), s.uniform(0.3, 0.7) * w, s.uniform(0.55, 0.85) * w
    spots = s.array(230, 5)
    spots = spots[np.argsort(spots[:, 3])]
    for a, b, size, tone, turn in spots.tolist():
        x = middle + (2 * a - 1) * radius
        arch = 1 - ((x - middle) / (radius * 1.02)) ** 2
        y = h - (h - top) * b**0.8 * np.sqrt(max(arch, 0.0)) + 0.03 * h
        d = (0.045 + 0.05 * size) * w
        r, g, blue = colorsys.hsv_to_rgb(
            hue + 0.03 * (turn - 0.5), 0.5, 0.16 + 0.40 * tone * (1.15 - 0.5 * (y / h))
        )
        fill = (int(r * 255), int(g * 255), int(blue * 255), 255)
        c, si = np.cos(turn * np.pi) * d * 1.5, np.sin(turn * np.pi) * d * 1.5
        draw.polygon(
            (
                x - c,
                y - si,
                x + si * 0.45,
                y - c * 0.45,
                x + c,
                y + si,
                x - si * 0.45,
                y + c * 0.45,
            ),
            fill=fill,
        )


def _pole(draw: ImageDraw.ImageDraw, s: Stream, person: BoolArray, share: float) -> None:
    h, w = person.shape
    low, high = _columns(person, share, s.uniform(0.05, 0.95 - share))
    color, banded = _color(s, (0.3, 0.75), 0.3), s.chance(0.3)
    for x in range(low, high + 1):
        round_ = np.sqrt(max(0.0, 1 - ((2 * (x - low) / max(1, high - low)) - 1) ** 2))
        draw.line((x, 0, x, h), fill=_tone(color, 0.55 + 0.5 * round_))
    if banded:
        band = _color(s, (0.6, 0.9), 0.6)
        step = max(8, h // 8)
        for y in range(s.integer(0, step), h, 2 * step):
            draw.rectangle((low, y, high, y + step * 0.5), fill=band)
    elif s.chance(0.5):
        y = s.uniform(0.2, 0.5) * h
        draw.rectangle((low, y, high, y + 0.14 * h), fill=_tone(_color(s, (0.7, 0.95), 0.25), 1.0))
        for k in range(3):
            draw.line(
                (low + 2, y + (k + 1) * 0.035 * h, high - 2, y + (k + 1) * 0.035 * h),
                fill=(70, 70, 74, 255),
            )


def _bin(draw: ImageDraw.ImageDraw, s: Stream, person: BoolArray, share: float) -> None:
    h, w = person.shape
    top = _row_above(person, min(0.9, share * 1.12))
    half, color = s.uniform(0.30, 0.42) * w, _color(s, (0.2, 0.55), 0.4)
    columns = np.flatnonzero(person[top:].any(0))
    middle = float(columns.mean()) if len(columns) else w / 2
    middle += s.normal(0, 0.04) * w
    for x in range(int(middle - half), int(middle + half) + 1):
        across = (x - middle) / half
        inset = abs(across) * 0.02 * h
        draw.line(
            (x, top + inset, x, h),
            fill=_tone(color, 0.6 + 0.55 * np.sqrt(max(0.0, 1 - (across - 0.25) ** 2))),
        )
    lid = 0.05 * h
    draw.rounded_rectangle((middle - half * 1.08, top - lid, middle + half * 1.08, top + lid),
                           radius=int(lid), fill=_tone(color, 0.62))  # fmt: skip
    draw.line(
        (middle - half, top - lid * 0.5, middle + half, top - lid * 0.5), fill=_tone(color, 1.3)
    )
    for k in (0.35, 0.7):
        y = top + k * (h - top)
        draw.line(
            (middle - half, y, middle + half, y), fill=_tone(color, 0.5), width=max(1, h // 100)
        )


def _board(draw: ImageDraw.ImageDraw, s: Stream, person: BoolArray, share: float) -> None:
    h, w = person.shape
    bottom = _row_above(person, s.uniform(0.0, max(0.02, min(0.30, 0.9 - share))))
    rows = np.cumsum(person.sum(1)[::-1]) / max(1, person.sum())
    below = rows[h - 1 - bottom] if bottom < h else 0.0
    top = _row_above(person, min(0.97, below + share * 1.08))
    columns = np.flatnonzero(person[top : bottom + 1].any(0))
    low, high = (columns[0], columns[-1]) if len(columns) else (0.3 * w, 0.7 * w)
    low, high = low - s.uniform(-0.02, 0.10) * w, high + s.uniform(-0.02, 0.10) * w
    face, frame = _color(s, (0.45, 0.92), 0.4), _tone(_color(s, (0.15, 0.4), 0.2), 1.0)
    for leg in (low + 0.12 * (high - low), high - 0.12 * (high - low)):
        draw.rectangle((leg - 0.02 * w, bottom, leg + 0.02 * w, h), fill=frame)
    draw.rectangle((low, top, high, bottom), fill=frame)
    edge = 0.025 * w
    draw.rectangle((low + edge, top + edge, high - edge, bottom - edge), fill=face)
    accent = _color(s, (0.25, 0.8), 0.7)
    wide, tall = high - low, bottom - top
    draw.rectangle(
        (low + 0.12 * wide, top + 0.10 * tall, high - 0.12 * wide, top + 0.32 * tall), fill=accent
    )
    for k in range(4):
        y = top + (0.46 + 0.12 * k) * tall
        draw.line((low + 0.14 * wide, y, low + (0.5 + 0.35 * s.uniform()) * wide, y),
                  fill=_tone(face, 0.5), width=max(1, h // 80))  # fmt: skip


PAINTERS: Final[dict[str, Painter]] = {
    "board": _board, "car": _car, "plant": _plant, "wall": _wall, "pole": _pole, "bin": _bin,
}  # fmt: skip


def place(
    s: Stream, person: BoolArray, coverage: tuple[float, float]
) -> tuple[str, NDArray[np.uint8]]:
    """An object that hides a share of the person within `coverage`.

    person: bool [H, W]. Gives the object's kind and uint8 [H, W, 4] RGBA with alpha 0 or 255.
    """
    low, high = coverage
    h, w = person.shape
    kind, total = s.choice(tuple(PAINTERS)), int(person.sum())
    for attempt in range(12):
        share = low + (high - low) * s.uniform(0.05, 0.95)
        if attempt == 11:
            kind, share = "wall", (low + high) / 2
        picture = Image.new("RGBA", (w, h), (0, 0, 0, 0))
        PAINTERS[kind](ImageDraw.Draw(picture), s, person, share)
        pixels = np.array(picture)
        pixels[..., 3] = np.where(pixels[..., 3] > 127, 255, 0)
        if low <= int((person & (pixels[..., 3] > 0)).sum()) / max(1, total) <= high:
            break
    return kind, pixels
