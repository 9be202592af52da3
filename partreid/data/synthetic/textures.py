"""Painting a person: one page of 64 x 64 texels per surface."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from partreid.data.synthetic.body import LEFT_TO_RIGHT
from partreid.data.synthetic.clothes import (
    DRAPE_BACK,
    DRAPE_FRONT,
    HAIR_PAGE,
    LEGS_END,
    PAGES,
    SLEEVE,
    hairline,
    hem_height,
)
from partreid.data.synthetic.streams import Stream, value_noise
from partreid.data.synthetic.surfaces import BACKPACK, HANDBAG, HAT
from partreid.data.synthetic.wardrobe import (
    HAIRS,
    SKINS,
    STYLES,
    Attributes,
    Bag,
    Color,
    Lower,
    Shoe,
    Upper,
)

SIZE: Final = 64
_TEXEL: Final = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE
ALONG, ACROSS = _TEXEL[:, None], _TEXEL[None, :]
_TORSO_TOP, _TORSO_LENGTH = 1.505, 0.70
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Atlas:
    """A painted person."""

    colors: NDArray[np.uint8]  # [31, 64, 64, 3] gamma-encoded RGB, page = label for 1..27
    labels: NDArray[np.uint8]  # [31, 64, 64] label painted over the surface (straps), 0 = none


def _mix(
    page: FloatArray, where: FloatArray | BoolArray, color: Color, strength: float = 1.0
) -> None:
    share = np.asarray(where, np.float32)[..., None] * np.float32(strength)
    page += share * (np.asarray(color, np.float32) - page)


def _scaled(color: Color, *factor: float) -> Color:
    f = factor if len(factor) == 3 else (factor[0],) * 3
    return (min(1.0, color[0] * f[0]), min(1.0, color[1] * f[1]), min(1.0, color[2] * f[2]))


def _bump(value: FloatArray, center: float, width: float) -> FloatArray:
    out: FloatArray = np.exp(-(((value - center) / width) ** 2))
    return out


def _pattern(
    kind: str, down: FloatArray, round_: FloatArray, scale: float, trunk: bool
) -> FloatArray | BoolArray:
    """Where the second color is; `down` and `round_` in centimetres from the shoulder and from
    the side seam.
    """
    p, nothing = 6.5 * scale, np.zeros(np.broadcast_shapes(down.shape, round_.shape), bool)
    if kind == "stripes":
        return ((down % p) < 0.45 * p) | nothing
    if kind == "vertical":
        return ((round_ % (0.8 * p)) < 0.3 * p) | nothing
    if kind == "check":
        return np.float32(0.45) * ((round_ % p) < 0.45 * p) + np.float32(0.45) * (
            (down % p) < 0.45 * p
        )
    if kind == "dots":
        p = 0.75 * p
        return (((round_ % p) - p / 2) ** 2 + ((down % p) - p / 2) ** 2) < (0.3 * p) ** 2
    if kind == "block":
        return (down > 20 + 6 * scale) | nothing
    if kind == "band":
        return ((down > 17) & (down < 19 + 6 * scale)) | nothing
    if kind == "raglan":
        return nothing | (not trunk)
    return nothing


def paint(
    stream: Stream, person: Attributes, upper: Upper, lower: Lower, shoe: Shoe, bag: Bag
) -> Atlas:
    """Paints all pages of one person."""
    pages = np.empty((PAGES, SIZE, SIZE, 3), np.float32)
    pages[:] = SKINS[person.skin]
    labels = np.zeros((PAGES, SIZE, SIZE), np.uint8)
    _arms(pages, upper)
    _legs(pages, lower, shoe)
    _torso(pages, upper, lower)
    cloth = [1, 2, *range(7, 23), DRAPE_FRONT, DRAPE_BACK]
    trunk, limbs = _folds()
    for page in cloth:
        folds = stream.choice(trunk if page < 3 else limbs)
        pages[page] *= folds[:: stream.choice((1, -1)), :: stream.choice((1, -1)), None]
    _straps(pages, labels, bag)
    _head(pages, stream, person)
    _things(pages, stream, person, bag)
    colors = np.clip(pages * 255 + 0.5, 0, 255).astype(np.uint8)
    for left, right in LEFT_TO_RIGHT.items():
        if left != 24:
            colors[right] = colors[left]  # limbs and shoes are painted once, on the left
    return Atlas(colors, labels)


@lru_cache(maxsize=1)
def _folds() -> tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]]:
    """Brightness of creased cloth, for the trunk and for limbs: [64, 64] around 1. The same in
    every world.
    """
    out = []
    for tag, cells in (("trunk", (3, 5)), ("limbs", (6, 2))):
        pages = []
        for k in range(12):
            s = Stream(0, tag, k)
            creases = 0.06 * value_noise(s, (SIZE, SIZE), cells) + 0.03 * (
                s.array(SIZE, SIZE) - 0.5
            )
            pages.append((1 + creases).astype(np.float32))
        out.append(tuple(pages))
    return out[0], out[1]


def _torso(pages: FloatArray, upper: Upper, lower: Lower) -> None:
    down, round_ = ALONG * _TORSO_LENGTH * 100, ACROSS * 50
    center = np.abs(round_ - 25.0)
    height = _TORSO_TOP - ALONG * _TORSO_LENGTH
    skin = tuple(pages[2, 0, 0])
    for page, front in ((2, True), (1, False)):
        p = pages[page]
        _mix(p, np.ones((SIZE, SIZE)), upper.color)
        _mix(p, _pattern(upper.pattern, down, round_, upper.scale, True), upper.second)
        if upper.pattern == "print" and front:
            badge = ((center / 9) ** 2 + ((down - 24) / 8) ** 2 < 1) & ((down * 0.9 % 5) < 3.6)
            _mix(p, badge, upper.second)
        if upper.kind == "puffer":
            _mix(p, _bump((down % 7.5), 0.6, 0.9), _scaled(upper.color, 0.55), 0.8)
        if front and upper.kind in ("jacket", "coat"):
            opening = np.interp(down, [0, 12, 40, 70], [5.5, 4.6, 3.6, 2.6])
            _mix(p, center < opening, upper.inner)
            _mix(p, _bump(center - opening, 0.6, 0.8), _scaled(upper.color, 0.6), 0.7)
        elif front and upper.kind in ("hoodie", "puffer", "shirt"):
            _mix(p, center < 0.8, _scaled(upper.color, 0.62), 0.8)
            if upper.kind == "shirt":
                _mix(p, (center < 3.5 - 0.55 * (down - 2)) & (down < 8), skin)
            if upper.kind == "hoodie":
                _mix(p, (np.abs(down - 46) < 0.8) & (center < 11), _scaled(upper.color, 0.7))
        elif upper.kind in ("tee", "sweater", "tank"):
            deep = {"tee": 8.0, "sweater": 5.5, "tank": 12.0}[upper.kind] if front else 4.0
            edge = deep * np.sqrt(np.maximum(0.0, 1 - (center / 9.0) ** 2))
            _mix(p, down < edge, skin)
            _mix(p, _bump(down - edge, 0.7, 0.8) * (center < 9), _scaled(upper.color, 0.72), 0.6)
        if upper.kind in ("hoodie", "jacket", "coat", "puffer"):
            _mix(p, down < 4, _scaled(upper.color, 0.8), 0.8)
        hem = hem_height(upper, lower)
        below = height < hem
        _mix(p, below, lower.color)
        _mix(p, _bump(height, hem, 0.009), _scaled(upper.color, 0.5), 0.55)
        if not front and "skirt" not in lower.kind:
            for side in (-1, 1):
                pocket = (np.abs(round_ - 25 - side * 8) < 4.5) & (np.abs(height - 0.85) < 0.035)
                _mix(p, pocket & below, _scaled(lower.color, 0.82))


def _arms(pages: FloatArray, upper: Upper) -> None:
    end = SLEEVE[upper.sleeve]
    for page, top, bottom in (
        (15, 1.447, 1.115),
        (17, 1.447, 1.115),
        (19, 1.115, 0.855),
        (21, 1.115, 0.855),
    ):
        height = top - ALONG * (top - bottom)
        down, round_ = (1.477 - height) * 100 + 0 * ACROSS, ACROSS * 15 + 0 * ALONG
        covered = height > end
        cloth = np.empty((SIZE, SIZE, 3), np.float32)
        cloth[:] = upper.color
        _mix(cloth, _pattern(upper.pattern, down, round_, upper.scale, False), upper.second)
        if upper.kind == "puffer":
            _mix(cloth, _bump(down % 7.5, 0.6, 0.9), _scaled(upper.color, 0.55), 0.8)
        pages[page] = np.where(
            np.broadcast_to(covered, (SIZE, SIZE))[..., None], cloth, pages[page]
        )
        _mix(pages[page], _bump(height, end + 0.008, 0.010), _scaled(upper.color, 0.6), 0.5)
    _mix(pages[4], ALONG > 0.55, _scaled(tuple(pages[4, 0, 0]), 0.86))
    fingers = _bump((ACROSS * 16) % 1.0, 0.5, 0.2) * (ALONG > 0.6)
    _mix(pages[4], fingers, _scaled(tuple(pages[4, 0, 0]), 0.70), 0.5)


def _legs(pages: FloatArray, lower: Lower, shoe: Shoe) -> None:
    end = LEGS_END[lower.kind]
    skirt = "skirt" in lower.kind
    for page, top, bottom in (
        (10, 0.94, 0.495),
        (8, 0.94, 0.495),
        (14, 0.495, 0.055),
        (12, 0.495, 0.055),
    ):
        p = pages[page]
        height = top - ALONG * (top - bottom)
        covered = height > end
        _mix(p, covered, lower.color)
        if lower.pattern == "side":
            _mix(p, covered & (ACROSS < 0.14), lower.second)
        elif lower.pattern == "check":
            _mix(
                p,
                _pattern("check", height * 100, ACROSS * 24, 0.9, False) * covered,
                lower.second,
                0.6,
            )
        if lower.kind == "jeans":
            _mix(
                p,
                covered * _bump(ACROSS, 0.5, 0.25) * _bump(height, 0.66, 0.2),
                _scaled(lower.color, 1.4),
                0.5,
            )
        if not skirt:
            _mix(p, _bump(height, end + 0.006, 0.008), _scaled(lower.color, 0.6), 0.6)
            _mix(p, covered * _bump(height, 0.50, 0.02), _scaled(lower.color, 0.8), 0.5)
        if shoe.kind == "boot":
            _mix(
                p,
                (height < 0.26) & ~(covered & (not skirt) & (lower.kind in ("wide", "jeans"))),
                shoe.color,
            )
        elif shoe.kind == "sneaker":
            _mix(p, (height < 0.125) & ~covered, (0.88, 0.87, 0.85))
    for page in (DRAPE_FRONT, DRAPE_BACK):
        pages[page] = lower.color
        if lower.pattern == "check":
            _mix(
                pages[page],
                _pattern("check", ALONG * 44, ACROSS * 30, 0.9, False),
                lower.second,
                0.6,
            )
        pleats = 0.5 + 0.5 * np.cos(ACROSS * 2 * np.pi * 5)
        _mix(pages[page], pleats * np.ones((SIZE, 1)), _scaled(lower.color, 0.62), 0.45)
    foot = pages[5]
    _mix(foot, np.ones((SIZE, SIZE)), shoe.color)
    round_ = np.abs(ACROSS - 0.5) * 2  # 0 on the instep, 1 under the sole
    if shoe.kind == "sneaker":
        laces = (round_ < 0.22) & (ALONG > 0.42) & (ALONG < 0.72) & ((ALONG * 24) % 1.0 < 0.55)
        _mix(foot, laces, (0.92, 0.92, 0.90))
        _mix(foot, (np.abs(ALONG - 0.5) < 0.08) & (round_ > 0.3) & (round_ < 0.6), shoe.sole, 0.8)
    _mix(foot, round_ > 0.66, shoe.sole)


def _straps(pages: FloatArray, labels: NDArray[np.uint8], bag: Bag) -> None:
    if bag.kind == "backpack":
        for center in (0.25, 0.75):
            where = (np.abs(ACROSS - center - 0.10 * (0.5 - center) * ALONG) < 0.038) & (
                ALONG < 0.52
            )
            _mix(pages[2], where, bag.color)
            labels[2][where] = BACKPACK
            upper_back = where & (ALONG < 0.16)
            _mix(pages[1], upper_back, bag.color)
            labels[1][upper_back] = BACKPACK
    elif bag.kind == "crossbody":
        top, bottom = (0.80, 0.06) if bag.side == 0 else (0.20, 0.94)
        line = top + (bottom - top) * np.clip((ALONG - 0.02) / 0.68, 0, 1)
        where = (np.abs(ACROSS - line) < 0.030) & (ALONG < 0.72)
        for page in (1, 2):
            _mix(pages[page], where, bag.color)
            labels[page][where] = HANDBAG


def _head(pages: FloatArray, stream: Stream, person: Attributes) -> None:
    skin, hair = SKINS[person.skin], HAIRS[person.hair]
    style = STYLES[person.style]
    head = pages[24]
    _mix(
        head,
        _bump(ALONG, 0.53, 0.07) * _bump(ACROSS, 0.22, 0.10),
        _scaled(skin, 1.02, 0.86, 0.84),
        0.45,
    )
    _mix(head, _bump(ALONG, 0.395, 0.035) * _bump(ACROSS, 0.14, 0.07), _scaled(skin, 0.78), 0.55)
    brow = (np.abs(ALONG - 0.352) < 0.010) & (ACROSS > 0.075) & (ACROSS < 0.215)
    _mix(head, brow, _scaled(hair, 0.8), 0.6)
    _mix(
        head,
        (np.abs(ALONG - 0.398) < 0.014) & (np.abs(ACROSS - 0.143) < 0.042),
        (0.83, 0.81, 0.79),
        0.55,
    )
    _mix(
        head,
        (np.abs(ALONG - 0.398) < 0.014) & (np.abs(ACROSS - 0.143) < 0.019),
        (0.16, 0.12, 0.10),
        0.85,
    )
    _mix(head, _bump(ALONG, 0.512, 0.012) * _bump(ACROSS, 0.03, 0.03), _scaled(skin, 0.66), 0.5)
    _mix(
        head,
        (np.abs(ALONG - 0.592) < 0.013) * _bump(ACROSS, 0.0, 0.085),
        _scaled(skin, 0.82, 0.52, 0.52),
        0.75,
    )
    _mix(head, _bump(ALONG, 0.72, 0.03) * (ACROSS < 0.5), _scaled(skin, 0.75), 0.5)
    if not person.female and stream.chance(0.3):
        beard = (
            (ALONG > 0.53) & (ALONG < 0.70) & (ACROSS < 0.42) & (ALONG > 0.70 - 0.5 * ACROSS - 0.10)
        )
        _mix(head, beard, hair, 0.5)
    strands = (
        1
        + 0.16 * value_noise(stream, (SIZE, SIZE), (3, 16), 2)
        + 0.10 * (stream.array(SIZE, SIZE) - 0.5)
    )
    locks = np.asarray(hair) * strands[..., None]
    covered = np.clip((hairline(style, ACROSS) - ALONG) / 0.02 + 0.5, 0, 1)[..., None]
    strength = 0.80 if style == "crop" else 1.0
    pages[24] = head * (1 - covered * strength) + locks * covered * strength
    pages[23] = pages[24]
    pages[HAIR_PAGE] = locks


def _things(pages: FloatArray, stream: Stream, person: Attributes, bag: Bag) -> None:
    for page in (BACKPACK, HANDBAG):
        p = pages[page]
        p[:] = bag.color
        if bag.kind == "backpack":
            _mix(p, (ALONG > 0.16) & (ALONG < 0.22), _scaled(bag.color, 0.55))
            _mix(p, ALONG > 0.80, bag.second, 0.7)
        else:
            _mix(p, (ALONG > 0.10) & (ALONG < 0.34), _scaled(bag.color, 0.72))
            _mix(
                p,
                (np.abs(ALONG - 0.34) < 0.04)
                & ((ACROSS * 4 % 1.0) > 0.42)
                & ((ACROSS * 4 % 1.0) < 0.58),
                bag.second,
            )
        p *= (1 + 0.05 * value_noise(stream, (SIZE, SIZE), (4, 4)))[..., None]
    hat = pages[HAT]
    colors = (
        (0.13, 0.14, 0.17),
        (0.46, 0.15, 0.15),
        (0.60, 0.55, 0.44),
        (0.18, 0.24, 0.38),
        (0.72, 0.71, 0.68),
    )
    color = stream.choice(colors)
    hat[:] = color
    if person.hat == 2:
        _mix(hat, (ALONG > 0.56) * np.ones((1, SIZE)), _scaled(color, 0.78))
        _mix(
            hat,
            _bump((ACROSS * 20) % 1.0, 0.5, 0.25) * np.ones((SIZE, 1)),
            _scaled(color, 0.8),
            0.5,
        )
    else:
        _mix(hat, (ALONG > 0.60) & (ALONG < 0.72), _scaled(color, 0.6), 0.6)
        _mix(hat, ALONG > 0.84, _scaled(color, 0.85), 0.8)
