"""Clothes, hair and belongings as geometry: thickness added to the body, and separate pieces of
mesh.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from partreid.data.synthetic import mesh as m
from partreid.data.synthetic.body import PIVOTS, Fit
from partreid.data.synthetic.mesh import (
    BONE_COUNT,
    FloatArray,
    Mesh,
    blend,
    box,
    loft,
    patch,
    rigid,
    unit,
)
from partreid.data.synthetic.surfaces import BACKPACK, HANDBAG, HAT
from partreid.data.synthetic.wardrobe import STYLES, Attributes, Bag, Lower, Shoe, Upper

# Pages of the texture atlas beside the 27 that belong to one label each.
DRAPE_FRONT, DRAPE_BACK, HAIR_PAGE, PAGES = 28, 29, 30, 31

THICKNESS: Final = {"tee": 0.008, "shirt": 0.010, "sweater": 0.015, "hoodie": 0.021,
                    "jacket": 0.020, "coat": 0.024, "puffer": 0.038, "tank": 0.006}  # fmt: skip
HEM: Final = {"tee": 0.885, "shirt": 0.87, "sweater": 0.90, "hoodie": 0.88, "jacket": 0.87,
              "coat": 0.80, "puffer": 0.88, "tank": 0.90}  # heights in metres  # fmt: skip
SLEEVE: Final = {"none": 1.47, "short": 1.19, "long": 0.865}
LEGS_END: Final = {
    "jeans": 0.075,
    "slim": 0.10,
    "wide": 0.06,
    "shorts": 0.56,
    "skirt": 0.60,
    "long skirt": 0.34,
}
HAIR_VOLUME: Final = {"bald": 0.0, "crop": 0.005, "short": 0.014, "swept": 0.022, "bob": 0.024,
                      "long": 0.018, "ponytail": 0.010, "bun": 0.010, "afro": 0.055}  # fmt: skip
HAT_EDGE: Final = 0.275  # along the head; below it hair shows


def hairline(style: str, across: FloatArray | NDArray[np.float32]) -> FloatArray:
    """Down to which `along` of the head hair grows, at each `across` (0 face .. 1 nape)."""
    knots = (0.0, 0.10, 0.20, 0.30, 0.37, 0.45, 0.52, 0.58, 0.66, 0.80, 1.0)
    lines = {
        "bald": (0.0,) * 11,
        "crop": (0.21, 0.20, 0.18, 0.22, 0.30, 0.40, 0.34, 0.38, 0.56, 0.62, 0.62),
        "short": (0.20, 0.19, 0.18, 0.24, 0.36, 0.46, 0.36, 0.42, 0.60, 0.66, 0.67),
        "swept": (0.16, 0.18, 0.24, 0.28, 0.36, 0.46, 0.38, 0.46, 0.62, 0.68, 0.69),
        "bob": (0.22, 0.24, 0.27, 0.34, 0.56, 0.68, 0.72, 0.73, 0.74, 0.76, 0.78),
        "long": (0.17, 0.19, 0.24, 0.34, 0.58, 0.74, 0.84, 0.9, 0.95, 1.0, 1.0),
        "ponytail": (0.18, 0.19, 0.20, 0.25, 0.32, 0.42, 0.38, 0.44, 0.58, 0.62, 0.63),
        "bun": (0.17, 0.18, 0.20, 0.25, 0.32, 0.42, 0.38, 0.44, 0.58, 0.60, 0.60),
        "afro": (0.19, 0.20, 0.22, 0.28, 0.40, 0.50, 0.54, 0.58, 0.62, 0.66, 0.67),
    }  # fmt: skip
    return np.interp(across, knots, lines[style])


def hem_height(upper: Upper, lower: Lower) -> float:
    """Where an upper garment ends, metres above the ground; it is tucked into a skirt."""
    return 1.0 if "skirt" in lower.kind else HEM[upper.kind]


def fit(person: Attributes, upper: Upper, lower: Lower, shoe: Shoe) -> Fit:
    """How clothes, hair and build thicken the body."""
    cloth, hem, sleeve = THICKNESS[upper.kind], hem_height(upper, lower), SLEEVE[upper.sleeve]
    end = LEGS_END[lower.kind]
    skirt = "skirt" in lower.kind
    style = STYLES[person.style]
    volume = HAIR_VOLUME[style]

    def torso(heights: FloatArray) -> FloatArray:
        below = 0.004 if skirt else 0.007
        return np.where(heights > hem, cloth, below) * np.interp(heights, [1.44, 1.49], [1.0, 0.35])

    def arm(heights: FloatArray) -> FloatArray:
        flare = 0.012 if upper.sleeve == "short" else 0.0
        loose = cloth * 0.75 + flare * np.clip((1.36 - heights) / 0.17, 0, 1)
        return np.where(heights > sleeve, loose, 0.0)

    def leg(heights: FloatArray) -> FloatArray:
        if skirt:
            return np.zeros_like(heights)
        if lower.kind == "wide":
            loose = np.interp(heights, [0.06, 0.5, 0.8], [0.045, 0.030, 0.008])
        elif lower.kind == "shorts":
            loose = np.interp(heights, [0.56, 0.85], [0.030, 0.008])
        else:
            loose = np.interp(heights, [0.06, 0.2, 0.5, 0.8], [0.020, 0.016, 0.010, 0.006])
            loose = loose * (0.35 if lower.kind == "slim" else 1.0)
        boot = 0.012 if shoe.kind == "boot" else 0.0
        return np.where(heights > end, loose, 0.0) + np.where(heights < 0.30, boot, 0.0)

    def hair(along: FloatArray, across: FloatArray) -> FloatArray:
        inside = np.clip((hairline(style, across) - along) / 0.06, 0, 1)
        grown = volume * inside * (1 + 0.5 * np.clip((across - 0.3) / 0.4, 0, 1) * (style == "bob"))
        if person.hat:
            grown = np.where(along < HAT_EDGE + 0.03, 0.0, np.minimum(grown, 0.022))
        return grown

    return Fit(
        torso=torso,
        arm=arm,
        leg=leg,
        shoe=0.004 if shoe.kind == "leather" else 0.009,
        hair=hair,
        width=person.width,
        belly=person.belly,
        hips=1.05 if person.female else 0.96,
        hood=0.045 if upper.kind == "hoodie" else 0.0,
    )


def drape(top: float, hem: float, width: float, flare: float, opening: bool) -> list[Mesh]:
    """A skirt or the tails of a coat, labelled as the legs they hide."""
    heights = np.unique(np.concatenate([np.linspace(top, hem, 9), [0.495] if hem < 0.495 else []]))[
        ::-1
    ]
    down = (top - heights) / (top - hem)
    half = np.interp(down, [0, 0.25, 1], [0.170, 0.197, 0.197 + flare]) * width
    deep = np.interp(down, [0, 0.25, 1], [0.116, 0.140, 0.142 + flare]) * width
    zeros = np.zeros_like(heights)
    profile = np.stack([heights, half, deep, deep * 1.05, zeros, zeros], 1)
    out = []
    for side, surfaces in enumerate(((10, 8, 14, 12), (9, 7, 13, 11))):
        for half_index, turn in ((0, 1.0), (1, -1.0)):
            start = 0.0 if side == 0 else 180.0
            angles = np.linspace(
                start, 90.0 if half_index == 0 else (-90.0 if side == 0 else 270.0), 7
            )
            if opening and half_index == 0:
                angles = angles[:-1]
            positions, normals = loft(profile, angles, 2.2)
            weights = _drape_weights(heights, positions[..., 0] / half[:, None], down)
            across = np.abs(angles - start) / 90.0
            page = DRAPE_FRONT if turn > 0 else DRAPE_BACK
            split = int(np.argmin(np.abs(heights - 0.495))) if hem < 0.495 else len(heights) - 1
            shade = (1 - 0.12 * np.cos(np.radians(angles * 10)))[None] * np.ones((len(heights), 1))
            for part, surface, first, last in (
                (slice(0, split + 1), surfaces[half_index], 0.93, 0.495),
                (slice(split, None), surfaces[2 + half_index], 0.495, 0.06),
            ):
                if len(heights[part]) > 1:
                    along = (first - heights[part]) / (first - last)
                    out.append(
                        patch(positions[part], normals[part], along, across, surface, weights[part],
                              shade[part], two_sided=True, page=page)
                    )  # fmt: skip
    return out


def _drape_weights(heights: FloatArray, side: FloatArray, down: FloatArray) -> FloatArray:
    weights = np.zeros((*side.shape, BONE_COUNT))
    follow = 0.62 * np.clip(down * 1.3, 0, 1)[:, None]
    weights[..., m.THIGH[0]] = follow * (0.5 + 0.5 * side)
    weights[..., m.THIGH[1]] = follow * (0.5 - 0.5 * side)
    weights[..., m.PELVIS] = 1 - follow
    return weights


def _hanging_hair(style: str) -> list[Mesh]:
    tables = {
        # y, half width, forward, backward, center z
        "long": [(1.70, 0.050, 0.0, 0.055, -0.062), (1.62, 0.085, 0.0, 0.062, -0.055),
        (1.54, 0.098, 0.0, 0.070, -0.050),
                 (1.46, 0.105, 0.0, 0.070, -0.062), (1.38, 0.100, 0.0, 0.058, -0.085),
                 (1.31, 0.080, 0.0, 0.045, -0.095),
                 (1.27, 0.040, 0.0, 0.030, -0.100)],
        "ponytail": [(1.715, 0.018, 0.018, 0.018, -0.105), (1.70, 0.030, 0.028, 0.030, -0.128),
                     (1.65, 0.034, 0.030, 0.032, -0.145), (1.57, 0.032, 0.028, 0.030, -0.148),
                     (1.48, 0.026, 0.022, 0.025, -0.142), (1.40, 0.008, 0.008, 0.008, -0.138)],
        "bun": [(1.765, 0.006, 0.006, 0.006, -0.085), (1.755, 0.034, 0.034, 0.034, -0.09),
        (1.73, 0.046, 0.046, 0.046, -0.095),
                (1.70, 0.040, 0.040, 0.040, -0.098), (1.68, 0.012, 0.012, 0.012, -0.098)],
    }  # fmt: skip
    if style not in tables:
        return []
    table = np.array(tables[style])
    profile = np.stack(
        [table[:, 0], table[:, 1], table[:, 2], table[:, 3], np.zeros(len(table)), table[:, 4]], 1
    )
    if style == "long":
        weights = blend(table[:, 0], (1.60, m.HEAD), (1.40, m.CHEST))
    else:
        weights = rigid(m.HEAD, len(table))
    out = []
    for surface, sign in ((24, 1.0), (23, -1.0)):
        if style == "long":
            angles = (-90.0 + sign * np.linspace(0, 105, 7))[::-1]
        else:
            angles = (-90.0 + sign * np.linspace(0, 180, 7))[::-1]
        positions, normals = loft(profile, angles)
        along = np.linspace(0.30, 0.98, len(table))
        out.append(
            patch(positions, normals, along, np.linspace(0.55, 1, len(angles)), surface, weights,
                  two_sided=True, page=HAIR_PAGE)
        )  # fmt: skip
    return out


def _hat(kind: int) -> list[Mesh]:
    edge = {1: 1.685, 2: 1.668, 3: 1.685, 4: 1.685}[kind]
    heights = np.array([edge, edge + 0.018, edge + 0.022, 1.72, 1.745, 1.765, 1.775, 1.778])
    grow = np.array([0.020, 0.022, 0.016, 0.015, 0.014, 0.012, 0.010, 0.0]) + (
        0.010 if kind == 2 else 0.0
    )
    base_y = np.array([1.66, 1.68, 1.71, 1.735, 1.752, 1.7615, 1.78])
    half = (
        np.interp(heights - 0.010, base_y, [0.075, 0.0745, 0.071, 0.061, 0.045, 0.025, 0.0]) + grow
    )
    deep = (
        np.interp(heights - 0.010, base_y, [0.098, 0.098, 0.093, 0.080, 0.058, 0.032, 0.0]) + grow
    )
    half[-1] = deep[-1] = 0.002
    zeros = np.zeros(8)
    profile = np.stack([heights, half, deep * 0.92, deep, zeros, zeros], 1)[::-1]
    angles = np.linspace(-90, 270, 17)
    positions, normals = loft(profile, angles, 2.1)
    across = np.linspace(0, 1, 17)
    out = [patch(positions, normals, np.linspace(0, 0.8, 8), across, HAT, rigid(m.HEAD, 8))]
    if kind == 2:
        return out
    span = {1: (25.0, 155.0), 3: (-90.0, 270.0), 4: (205.0, 335.0)}[kind]
    angles = np.linspace(*span, 15)
    reach = (
        0.062
        if kind == 3
        else 0.080 * np.sin(np.radians((angles - span[0]) / (span[1] - span[0]) * 180)) ** 0.6
    )
    c, s = np.cos(np.radians(angles)), np.sin(np.radians(angles))
    inner = np.stack([half[0] * c, np.full(15, edge + 0.006), deep[0] * s], 1)
    outward = np.stack([c, np.full(15, -0.22), s], 1)
    brim = np.stack([inner, inner + outward * np.broadcast_to(reach, 15)[:, None]])
    up = np.broadcast_to(unit(np.array([0.0, 1.0, 0.05])), brim.shape)
    out.append(
        patch(
            brim, up, np.array([0.85, 1.0]), np.linspace(0, 1, 15), HAT, rigid(m.HEAD, 2), 0.9, True
        )
    )
    return out


def _strap(points: FloatArray, width: FloatArray, label: int, bone: int) -> Mesh:
    """A thin band along `points` [n, 3], `width` [3] wide."""
    band = np.stack([points - width / 2, points + width / 2], 1)
    normal = unit(np.cross(np.gradient(points, axis=0), width))
    normals = np.broadcast_to(normal[:, None], band.shape)
    along = np.full(len(points), 0.02)
    return patch(
        band,
        normals,
        along,
        np.array([0.0, 0.1]),
        label,
        rigid(bone, len(points)),
        0.9,
        two_sided=True,
    )


def _bag(bag: Bag, cloth: float, width: float) -> list[Mesh]:
    side = 1.0 if bag.side == 0 else -1.0
    if bag.kind == "backpack":
        back = -(0.100 + cloth)
        return [
            box((0, 1.245, back - 0.075), (0.142, 0.215, 0.080), BACKPACK, m.CHEST, 4.0, 0.86),
            box((0, 1.150, back - 0.160), (0.105, 0.085, 0.022), BACKPACK, m.CHEST, 4.0),
        ]
    arch = np.linspace(0, np.pi, 9)
    if bag.kind == "handbag":
        x, y, z = PIVOTS[m.HAND[bag.side]] + np.array([0.0, -0.085, 0.012])
        loop = np.stack([np.full(9, x), y - 0.10 + 0.10 * np.sin(arch), z - 0.10 * np.cos(arch)], 1)
        return [
            box((x, y - 0.20, z), (0.052, 0.105, 0.150), HANDBAG, m.BAG, 5.0, 0.85),
            _strap(loop, np.array([0.022, 0, 0]), HANDBAG, m.BAG),
        ]
    if bag.kind == "tote":
        x = side * (0.215 + cloth) * width
        loop = np.stack(
            [x - side * 0.075 * np.sin(arch), 1.10 + 0.36 * np.sin(arch), -0.09 * np.cos(arch)], 1
        )
        return [
            box((x, 0.96, -0.02), (0.045, 0.165, 0.155), HANDBAG, m.CHEST, 6.0),
            _strap(loop, np.array([0.0, 0, 0.024]), HANDBAG, m.CHEST),
        ]
    if bag.kind == "crossbody":
        return [
            box(
                (side * (0.185 + cloth) * width, 0.955, 0.055),
                (0.040, 0.080, 0.115),
                HANDBAG,
                m.PELVIS,
                5.0,
            )
        ]
    return []


def extras(person: Attributes, upper: Upper, lower: Lower, bag: Bag) -> list[Mesh]:
    """Everything worn that is more than a thicker body: skirts, coat tails, hanging hair, hats,
    bags.
    """
    pieces: list[Mesh] = []
    if "skirt" in lower.kind:
        pieces += drape(
            1.0, LEGS_END[lower.kind], person.width, 0.075 if lower.kind == "skirt" else 0.09, False
        )
    elif upper.kind == "coat":
        pieces += drape(1.01, 0.56, person.width * 1.10, 0.05, True)
    if not (person.hat and STYLES[person.style] == "bun"):
        pieces += _hanging_hair(STYLES[person.style])
    if person.hat:
        pieces += _hat(person.hat)
    return pieces + _bag(bag, THICKNESS[upper.kind], person.width)
