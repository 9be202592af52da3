"""Cameras: where they look from, what stands behind the people, and how their pictures come out."""

import colorsys
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from partreid.data.synthetic.streams import Stream, value_noise
from partreid.data.synthetic.world import World

CANVAS: Final = (760, 460)  # pixels, width x height
PIXELS_PER_METRE: Final = 88.0
_FINE: Final = 2  # the canvas is drawn this much larger
RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Camera:
    pitch: float  # degrees, looking down
    distance: float  # metres
    directions: tuple[float, float]  # degrees: the two ways along which most people walk
    spread: float  # degrees, deviation around them
    sun: NDArray[np.float64]  # [3] unit vector towards the light: right, up, towards the camera
    sun_strength: float
    ambient: NDArray[np.float64]  # [3] color of the sky's light, linear
    gain: NDArray[np.float64]  # [3] white balance, linear
    haze: float
    blur: float  # pixels of a 256-pixel-high image
    noise: float  # deviation of grey values, 0..255
    resolution: float  # share of the pixels that the optics resolve
    jpeg_quality: int
    canvas: Image.Image
    grain: NDArray[np.float32]  # [384, 384] noise, mean 0, deviation 1
    ground: int  # row of the canvas where the ground begins


def _muted(s: Stream, value: tuple[float, float], saturation: float = 0.22) -> RGB:
    r, g, b = colorsys.hsv_to_rgb(s.uniform(), s.uniform(0.02, saturation), s.uniform(*value))
    return int(r * 255), int(g * 255), int(b * 255)


def _shade(color: RGB, factor: float) -> RGB:
    r, g, b = (min(255, int(c * factor)) for c in color)
    return r, g, b


def _ground(draw: ImageDraw.ImageDraw, s: Stream, top: int, w: int, h: int) -> str:
    kind = s.choice(("asphalt", "pavers", "grass", "floor", "pavers"))
    base = (88, 112, 66) if kind == "grass" else _muted(s, (0.38, 0.66), 0.12)
    for row in range(top, h):
        near = (row - top) / (h - top)
        draw.line((0, row, w, row), fill=_shade(base, 0.82 + 0.26 * near))
    vanish_x, vanish_y = w * s.uniform(0.2, 0.8), top - (h - top) * s.uniform(0.3, 0.9)
    line = _shade(base, 0.84)
    if kind in ("pavers", "floor"):
        step = s.uniform(0.05, 0.11) * w
        for k in range(-60, 60):
            x = vanish_x + k * step
            x_top = vanish_x + (x - vanish_x) * (top - vanish_y) / (h - vanish_y)
            draw.line((x_top, top, x, h), fill=line, width=2)
        joint, gap = float(top), 7.0
        while joint < h:
            draw.line((0, joint, w, joint), fill=line, width=2)
            joint, gap = joint + gap, gap * 1.17
    elif kind == "asphalt":
        for _ in range(s.integer(1, 3)):
            x = w * s.uniform(0.1, 0.9)
            x_top = vanish_x + (x - vanish_x) * (top - vanish_y) / (h - vanish_y)
            draw.polygon(
                (x_top - 3, top, x_top + 3, top, x + 16, h, x - 16, h), fill=_shade(base, 1.35)
            )
        kerb = top + int((h - top) * 0.06)
        draw.rectangle((0, top, w, kerb), fill=_shade(base, 1.18))
        draw.line((0, kerb, w, kerb), fill=_shade(base, 0.65), width=4)
    return kind


def _wall(draw: ImageDraw.ImageDraw, s: Stream, top: int, w: int) -> str:
    kind = s.choice(("shops", "brick", "concrete", "greenery", "offices"))
    base = _muted(s, (0.42, 0.78))
    draw.rectangle((0, 0, w, top), fill=base)
    if kind == "brick":
        base = _shade((142, 98, 84), s.uniform(0.75, 1.15))
        draw.rectangle((0, 0, w, top), fill=base)
        for j, row in enumerate(range(0, top, 14)):
            draw.line((0, row, w, row), fill=_shade(base, 1.16), width=2)
            for x in range((j % 2) * 20, w, 40):
                draw.line((x, row, x, row + 14), fill=_shade(base, 1.16), width=2)
    if kind in ("shops", "offices", "brick"):
        wide, gap = s.integer(110, 240), s.integer(40, 120)
        foot = top - (24 if kind == "shops" else s.integer(90, 170))
        glass = _shade((86, 98, 108), s.uniform(0.6, 1.2))
        for x in range(-s.integer(0, 120), w, wide + gap):
            draw.rectangle((x - 6, foot - 216, x + wide + 6, foot + 8), fill=_shade(base, 1.22))
            draw.rectangle((x, foot - 210, x + wide, foot), fill=glass)
            draw.polygon((x, foot - 60, x + wide * 0.6, foot - 210, x + wide, foot - 210,
                          x, foot - 10), fill=_shade(glass, 1.22))  # fmt: skip
            draw.line(
                (x + wide // 2, foot - 210, x + wide // 2, foot), fill=_shade(base, 1.1), width=5
            )
            if kind == "shops":
                sign = _muted(s, (0.35, 0.75), 0.55)
                draw.rectangle((x - 6, foot - 262, x + wide + 6, foot - 222), fill=sign)
                for k in range(4):
                    draw.rectangle(
                        (x + 16 + k * 26, foot - 250, x + 32 + k * 26, foot - 234),
                        fill=_shade(sign, 1.5),
                    )
        draw.rectangle((0, top - 14, w, top), fill=_shade(base, 0.72))
    elif kind == "concrete":
        for x in range(s.integer(0, 150), w, s.integer(160, 300)):
            draw.line((x, 0, x, top), fill=_shade(base, 0.82), width=4)
        rail = top - s.integer(110, 180)
        draw.rectangle((0, rail, w, rail + 12), fill=_shade(base, 0.6))
        draw.rectangle((0, top - 20, w, top), fill=_shade(base, 0.78))
    return kind


def leaves(
    draw: ImageDraw.ImageDraw, s: Stream, x: float, y: float, radius: float, count: int
) -> None:
    green = _shade((74, 98, 56), s.uniform(0.7, 1.15))
    spots = s.array(count, 4)
    for a, r, size, tone in spots[np.argsort(spots[:, 3])].tolist():
        angle, far = a * 2 * np.pi, radius * np.sqrt(r)
        px, py, d = (
            x + far * np.cos(angle),
            y + 0.8 * far * np.sin(angle),
            radius * (0.07 + 0.10 * size),
        )
        light = 0.55 + 0.45 * tone + 0.25 * (y - py) / radius
        draw.ellipse((px - d, py - d * 0.8, px + d, py + d * 0.8), fill=_shade(green, light))


def car(draw: ImageDraw.ImageDraw, s: Stream, x: float, foot: float, size: float) -> None:
    paint = _muted(s, (0.25, 0.8), 0.5)
    w, h = 420 * size, 130 * size
    draw.ellipse((x, foot - 14 * size, x + w, foot + 16 * size), fill=(48, 48, 50))
    roof = [(0.18, -0.55), (0.30, -1.0), (0.66, -1.0), (0.80, -0.55)]
    draw.polygon([(x + w * a, foot + h * b) for a, b in roof], fill=_shade(paint, 0.9))
    pane = [(0.22, -0.56), (0.32, -0.93), (0.64, -0.93), (0.76, -0.56)]
    draw.polygon([(x + w * a, foot + h * b) for a, b in pane], fill=(58, 66, 74))
    draw.rounded_rectangle(
        (x, foot - 0.58 * h, x + w, foot - 0.12 * h), radius=int(20 * size), fill=paint
    )
    draw.line(
        (x + 8, foot - 0.40 * h, x + w - 8, foot - 0.40 * h), fill=_shade(paint, 1.25), width=3
    )
    for a in (0.2, 0.8):
        r = 0.25 * h
        draw.ellipse((x + w * a - r, foot - 2 * r, x + w * a + r, foot), fill=(28, 28, 30))
        draw.ellipse(
            (x + w * a - r / 2, foot - 1.5 * r, x + w * a + r / 2, foot - r / 2),
            fill=(120, 122, 124),
        )


def _props(draw: ImageDraw.ImageDraw, s: Stream, top: int, w: int, h: int) -> None:
    for _ in range(s.integer(3, 7)):
        kind = s.choice(("car", "tree", "lamp", "bench", "poster", "hedge", "door"))
        x, foot = s.uniform(0, 0.95) * w, top + s.uniform(0.02, 0.16) * (h - top)
        if kind == "car":
            car(draw, s, x, foot, s.uniform(0.75, 1.05))
        elif kind == "tree":
            bark = _shade((92, 76, 62), s.uniform(0.7, 1.1))
            draw.rectangle((x - 11, foot - 260, x + 11, foot), fill=bark)
            leaves(draw, s, x, foot - 300, s.uniform(90, 150), 130)
        elif kind == "lamp":
            draw.rectangle((x - 5, 0, x + 5, foot), fill=_muted(s, (0.18, 0.5), 0.15))
            draw.rectangle((x - 9, foot - 40, x + 9, foot), fill=(60, 62, 64))
        elif kind == "bench":
            wood = _shade((128, 98, 70), s.uniform(0.7, 1.1))
            for k in range(3):
                draw.rectangle(
                    (x, foot - 80 + 16 * k, x + 170, foot - 70 + 16 * k),
                    fill=_shade(wood, 1 - 0.1 * k),
                )
            for leg in (12, 150):
                draw.rectangle((x + leg, foot - 34, x + leg + 8, foot), fill=(56, 56, 58))
        elif kind == "poster":
            paper = _muted(s, (0.55, 0.9), 0.4)
            draw.rectangle((x - 4, top - 232, x + 104, top - 76), fill=(70, 70, 72))
            draw.rectangle((x, top - 228, x + 100, top - 80), fill=paper)
            draw.rectangle((x + 12, top - 216, x + 88, top - 150), fill=_muted(s, (0.3, 0.8), 0.55))
            for k in range(3):
                draw.line(
                    (x + 14, top - 130 + 16 * k, x + 84, top - 130 + 16 * k),
                    fill=_shade(paper, 0.6),
                    width=5,
                )
        elif kind == "hedge":
            for k in range(6):
                leaves(draw, s, x + 50 * k, foot - 36, 48, 40)
        else:
            paint = _muted(s, (0.25, 0.6), 0.4)
            draw.rectangle((x, top - 250, x + 110, top), fill=_shade(paint, 0.7))
            draw.rectangle((x + 8, top - 242, x + 102, top), fill=paint)
            draw.ellipse((x + 84, top - 124, x + 94, top - 114), fill=(190, 180, 150))


def _background(s: Stream, pitch: float) -> tuple[Image.Image, int]:
    w, h = CANVAS[0] * _FINE, CANVAS[1] * _FINE
    top = int(h * np.interp(pitch, [4, 26], [0.56, 0.30]))
    picture = Image.new("RGB", (w, h))
    draw = ImageDraw.Draw(picture)
    if _wall(draw, s, top, w) == "greenery":
        for k in range(34):
            leaves(
                draw,
                s,
                (k + 0.5) * w / 34 + s.normal(0, 16),
                top * s.uniform(0.2, 0.85),
                s.uniform(90, 130),
                60,
            )
    ground = _ground(draw, s, top, w, h)
    _props(draw, s, top, w, h)
    picture = picture.resize(CANVAS, Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.9))
    pixels = np.asarray(picture, np.float64)
    broad = value_noise(s, (CANVAS[1], CANVAS[0]), (3, 5), 4)
    fine = s.array(CANVAS[1], CANVAS[0]) + s.array(CANVAS[1], CANVAS[0]) - 1
    floor = np.arange(CANVAS[1])[:, None] > top / _FINE
    pixels = (
        pixels
        * (1 + 0.07 * broad + np.where(floor, 0.11 if ground == "grass" else 0.05, 0.02) * fine)[
            ..., None
        ]
    )
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), top // _FINE


@lru_cache(maxsize=9)
def camera(world: World, number: int) -> Camera:
    """Camera 1..9 of a world; about 1.5 MB each."""
    s = Stream(world.seed, "camera", number)
    pitch, direction = s.uniform(4, 24), s.uniform(0, 360)
    canvas, ground = _background(s, pitch)
    azimuth, height = s.uniform(-1.3, 1.3), s.uniform(0.5, 1.1)
    sun = np.array(
        [np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)]
    )
    sun_strength = s.uniform(0.25, 0.75)
    warm = s.uniform(-1, 1) * world.tint_limit / 2
    tint = (s.array(3) * 2 - 1) * world.tint_limit / 2 + np.array([warm, 0, -warm])
    gain = 1 + np.clip(tint - tint.mean(), -world.tint_limit, world.tint_limit)
    grain = sum(s.array(384, 384) for _ in range(3)) - 1.5
    return Camera(
        pitch=pitch,
        distance=s.uniform(5.5, 11),
        directions=(direction, direction + 180),
        spread=s.uniform(18, 35),
        sun=sun,
        sun_strength=sun_strength,
        ambient=np.array([0.97, 1.0, 1.04]) * (1.02 - 0.62 * sun_strength),
        gain=gain,
        haze=s.uniform(0.0, 0.05),
        blur=s.uniform(0.0, 0.9),
        noise=s.uniform(2.0, 6.0),
        resolution=s.uniform(0.45, 0.95),
        jpeg_quality=s.integer(58, 90),
        canvas=canvas,
        grain=(np.asarray(grain) * 2.0).astype(np.float32),
        ground=ground,
    )
