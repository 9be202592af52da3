"""The articulated figure at rest: skeleton, joints and the mesh of the body as clothes shape it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from partreid.data.synthetic import mesh as m
from partreid.data.synthetic.mesh import (
    FloatArray,
    Mesh,
    blend,
    join,
    loft,
    mirrored,
    patch,
    rigid,
    rows,
)

REST_HEIGHT: Final = 1.765  # metres, barefoot
# Pivots of the 16 bones at rest. A bag's pivot is moved to the carrying hand when a pose is made.
PIVOTS: Final = np.array(
    [
        [0, 0.95, 0], [0, 1.06, -0.01], [0, 1.49, -0.012],
        [0.176, 1.405, -0.012], [0.222, 1.115, -0.018], [0.248, 0.865, -0.008],
        [-0.176, 1.405, -0.012], [-0.222, 1.115, -0.018], [-0.248, 0.865, -0.008],
        [0.088, 0.90, 0], [0.093, 0.495, 0.004], [0.095, 0.085, -0.012],
        [-0.088, 0.90, 0], [-0.093, 0.495, 0.004], [-0.095, 0.085, -0.012],
        [0.25, 0.80, 0],
    ]
)  # fmt: skip
PARENTS: Final = (-1, 0, 1, 1, 3, 4, 1, 6, 7, 0, 9, 10, 0, 12, 13, -1)
# COCO-17 joints: bone, rest position, radius of the flesh around it (metres).
JOINT_BONES: Final = (2, 2, 2, 2, 2, 3, 6, 4, 7, 5, 8, 9, 12, 10, 13, 11, 14)
JOINT_RESTS: Final = np.array(
    [
        [0, 1.618, 0.10], [0.032, 1.648, 0.082], [-0.032, 1.648, 0.082],
        [0.077, 1.632, 0], [-0.077, 1.632, 0],
        [0.176, 1.405, -0.012], [-0.176, 1.405, -0.012],
        [0.222, 1.115, -0.018], [-0.222, 1.115, -0.018],
        [0.248, 0.865, -0.008], [-0.248, 0.865, -0.008],
        [0.098, 0.90, 0], [-0.098, 0.90, 0],
        [0.093, 0.495, 0.004], [-0.093, 0.495, 0.004],
        [0.095, 0.085, -0.012], [-0.095, 0.085, -0.012],
    ]
)  # fmt: skip
JOINT_RADII: Final = np.array([0.03, 0.03, 0.03, 0.04, 0.04] + [0.085] * 2 + [0.065] * 2
                              + [0.05] * 2 + [0.145] * 2 + [0.09] * 2 + [0.075] * 2)  # fmt: skip

_TORSO = (  # height, half width, forward, backward, center z
    (0.805, 0.080, 0.060, 0.060, 0.000), (0.86, 0.158, 0.090, 0.112, 0.000),
    (0.92, 0.171, 0.098, 0.118, 0.000),
    (0.98, 0.163, 0.100, 0.104, 0.000), (1.05, 0.146, 0.100, 0.088, 0.000),
    (1.12, 0.146, 0.100, 0.088, 0.000),
    (1.20, 0.157, 0.108, 0.096, 0.000), (1.28, 0.168, 0.116, 0.106, 0.000),
    (1.34, 0.177, 0.110, 0.112, -0.005),
    (1.39, 0.184, 0.094, 0.108, -0.008), (1.425, 0.168, 0.076, 0.092, -0.010),
    (1.452, 0.128, 0.062, 0.078, -0.012), (1.478, 0.084, 0.056, 0.068, -0.014),
    (1.505, 0.059, 0.052, 0.060, -0.014),
)  # fmt: skip
_HEAD = (
    (1.455, 0.056, 0.050, 0.060, -0.014), (1.50, 0.052, 0.048, 0.058, -0.012),
    (1.535, 0.053, 0.052, 0.062, -0.008),
    (1.548, 0.053, 0.076, 0.066, -0.004), (1.562, 0.058, 0.088, 0.070, 0.000),
    (1.585, 0.065, 0.090, 0.078, 0.000),
    (1.612, 0.070, 0.089, 0.088, 0.000), (1.645, 0.0735, 0.087, 0.096, 0.000),
    (1.68, 0.0745, 0.090, 0.100, 0.000),
    (1.71, 0.071, 0.085, 0.096, 0.000), (1.735, 0.061, 0.071, 0.082, 0.000),
    (1.752, 0.045, 0.052, 0.060, 0.000),
    (1.7615, 0.025, 0.029, 0.034, 0.000), (1.765, 0.003, 0.003, 0.004, 0.000),
)  # fmt: skip
_LEG = (  # height, half width, forward, backward, center x, center z
    (0.94, 0.070, 0.078, 0.098, 0.086, 0), (0.86, 0.086, 0.088, 0.100, 0.088, 0),
    (0.75, 0.079, 0.084, 0.086, 0.090, 0),
    (0.62, 0.066, 0.072, 0.070, 0.092, 0), (0.53, 0.057, 0.063, 0.058, 0.093, 0.003),
    (0.49, 0.054, 0.060, 0.055, 0.093, 0.004), (0.42, 0.051, 0.051, 0.061, 0.094, 0.0),
    (0.34, 0.051, 0.048, 0.068, 0.094, -0.004), (0.24, 0.041, 0.042, 0.051, 0.095, -0.009),
    (0.14, 0.034, 0.036, 0.041, 0.095, -0.012), (0.085, 0.034, 0.038, 0.042, 0.095, -0.012),
    (0.055, 0.032, 0.036, 0.040, 0.095, -0.012),
)  # fmt: skip
_ARM = (
    (1.447, 0.008, 0.010, 0.010, 0.150, -0.012), (1.437, 0.032, 0.036, 0.036, 0.156, -0.012),
    (1.418, 0.043, 0.050, 0.050, 0.166, -0.012), (1.385, 0.047, 0.054, 0.054, 0.178, -0.012),
    (1.33, 0.045, 0.051, 0.051, 0.188, -0.013), (1.24, 0.042, 0.046, 0.046, 0.203, -0.015),
    (1.16, 0.039, 0.041, 0.041, 0.215, -0.017), (1.115, 0.038, 0.040, 0.040, 0.222, -0.018),
    (1.06, 0.039, 0.041, 0.040, 0.228, -0.017), (1.00, 0.036, 0.038, 0.037, 0.234, -0.015),
    (0.92, 0.028, 0.031, 0.030, 0.242, -0.011), (0.855, 0.023, 0.028, 0.027, 0.249, -0.008),
)  # fmt: skip
_HAND = (
    (0.868, 0.020, 0.026, 0.026, 0.248, -0.008), (0.835, 0.019, 0.038, 0.033, 0.250, -0.004),
    (0.795, 0.018, 0.046, 0.037, 0.252, 0.002), (0.755, 0.016, 0.036, 0.034, 0.252, 0.004),
    (0.715, 0.013, 0.026, 0.026, 0.250, 0.006), (0.693, 0.006, 0.010, 0.010, 0.248, 0.008),
    (0.692, 0.001, 0.001, 0.001, 0.248, 0.008),
)  # fmt: skip
# distance from the ankle towards the toes, half width, height of the instep, height of the sole
_FOOT = (
    (-0.0785, 0.001, 0.012, 0.001), (-0.078, 0.014, 0.034, 0.012), (-0.068, 0.030, 0.055, 0.026),
    (-0.03, 0.037, 0.072, 0.028),
    (0.02, 0.040, 0.070, 0.028), (0.07, 0.044, 0.046, 0.028), (0.12, 0.048, 0.030, 0.028),
    (0.16, 0.043, 0.022, 0.027), (0.185, 0.027, 0.014, 0.024), (0.194, 0.008, 0.005, 0.010),
    (0.1945, 0.001, 0.001, 0.001),
)  # fmt: skip

LEFT_TO_RIGHT: Final = {
    4: 3,
    5: 6,
    8: 7,
    10: 9,
    12: 11,
    14: 13,
    15: 16,
    17: 18,
    19: 20,
    21: 22,
    24: 23,
}
# heights [n] -> how much thicker clothes make the body there, metres
Offset = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Fit:
    """What clothes and build do to the naked figure: thickness added at a height, and scales."""

    torso: Offset
    arm: Offset
    leg: Offset
    shoe: float  # metres
    # (along [n, 1], across [1, m]) -> metres [n, m]
    hair: Callable[[FloatArray, FloatArray], FloatArray]
    width: float  # 1 = average; scales trunk and limbs sideways
    belly: float  # metres forward at the waist
    hips: float  # scale of the hips against the shoulders
    hood: float  # metres of cloth behind the neck


def _halves(half: int) -> FloatArray:
    return np.linspace(0.0, 1.0, half + 1)


def _torso(fit: Fit) -> list[Mesh]:
    heights = np.linspace(1.505, 0.805, 22)
    p = rows(_TORSO, heights)
    profile = np.stack([heights, p[:, 1], p[:, 2], p[:, 3], np.zeros_like(heights), p[:, 4]], 1)
    wide = 1 + (fit.width - 1) * np.interp(heights, [1.40, 1.48], [1.0, 0.4])
    wide *= np.interp(
        heights, [0.86, 0.95, 1.15, 1.3], [fit.hips, fit.hips, 1.0, 1.0 / np.sqrt(fit.hips)]
    )
    profile[:, 1:4] *= wide[:, None]
    profile[:, 2] += fit.belly * np.exp(-(((heights - 1.08) / 0.12) ** 2))
    profile[:, 1:4] += fit.torso(heights)[:, None]
    profile[:, 3] += fit.hood * np.exp(-(((heights - 1.45) / 0.035) ** 2))
    weights = blend(
        heights,
        (1.505, m.HEAD),
        (1.465, m.CHEST),
        (1.12, m.CHEST),
        (0.99, m.PELVIS),
        (0.8, m.PELVIS),
    )
    along = np.interp(heights, [0.805, 1.505], [1.0, 0.0])
    shade = np.interp(heights, [0.80, 0.90, 1.44, 1.50], [0.6, 0.9, 1.0, 0.85])[:, None]
    side = np.abs(np.cos(np.linspace(0, np.pi, 10)))[None]
    shade = shade * (
        1 - 0.30 * side**3 * np.exp(-(((heights - 1.25) / 0.14) ** 2))[:, None]
    )  # under the arms
    out = []
    for surface, sign in ((2, 1.0), (1, -1.0)):
        positions, normals = loft(profile, sign * np.linspace(0, 180, 10), 2.35)
        out.append(patch(positions, normals, along, _halves(9), surface, weights, shade))
    return out


def _head(fit: Fit) -> list[Mesh]:
    heights = np.array([y for y, *_ in _HEAD])[::-1]
    p = rows(_HEAD, heights)
    profile = np.stack([heights, p[:, 1], p[:, 2], p[:, 3], np.zeros_like(heights), p[:, 4]], 1)
    along = np.interp(heights, [1.455, 1.765], [1.0, 0.0])
    across = np.array([0, 0.06, 0.14, 0.24, 0.36, 0.48, 0.56, 0.68, 0.84, 1.0])
    shade = np.interp(heights, [1.455, 1.50, 1.545, 1.57], [0.55, 0.6, 0.7, 1.0])[:, None]
    weights = blend(heights, (1.54, m.HEAD), (1.455, m.CHEST))
    out = []
    for surface, sign in ((24, -1.0), (23, 1.0)):
        positions, normals = loft(profile, 90 + sign * 180 * across, 2.1)
        nose = (
            np.exp(-(((along - 0.475) / 0.045) ** 2))[:, None]
            * np.exp(-((across / 0.055) ** 2))[None]
        )
        ear = (
            np.exp(-(((along - 0.43) / 0.07) ** 2))[:, None]
            * np.exp(-(((across - 0.52) / 0.05) ** 2))[None]
        )
        bump = 0.020 * nose + 0.012 * ear + fit.hair(along[:, None], across[None])
        positions = positions + normals * bump[..., None]
        out.append(patch(positions, normals, along, across, surface, weights, shade))
    return out


def _limb(
    table: tuple[tuple[float, ...], ...],
    heights: FloatArray,
    offset: FloatArray,
    scale: float,
    cut: int,
    turn: float,
    surfaces: tuple[tuple[int, int], tuple[int, int]],
    weights: FloatArray,
    shade: FloatArray,
) -> list[Mesh]:
    """A left limb, cut at row `cut` into upper and lower, each with a front and a back half."""
    profile = rows(table, heights)
    profile[:, 1:4] = profile[:, 1:4] * scale + offset[:, None]
    out = []
    for half, sign in ((0, 1.0), (1, -1.0)):
        positions, normals = loft(profile, turn + sign * np.linspace(0, 180, 7))
        for pair, part in ((surfaces[0], slice(0, cut + 1)), (surfaces[1], slice(cut, None))):
            along = (heights[part][0] - heights[part]) / (heights[part][0] - heights[part][-1])
            out.append(
                patch(
                    positions[part],
                    normals[part],
                    along,
                    _halves(6),
                    pair[half],
                    weights[part],
                    shade[part],
                )
            )
    return out


def _left_limbs(fit: Fit) -> list[Mesh]:
    heights = np.array(
        [
            0.94,
            0.90,
            0.86,
            0.80,
            0.72,
            0.63,
            0.55,
            0.495,
            0.45,
            0.40,
            0.34,
            0.27,
            0.20,
            0.13,
            0.09,
            0.055,
        ]
    )
    hip = blend(
        heights,
        (0.98, m.PELVIS),
        (0.84, m.THIGH[0]),
        (0.545, m.THIGH[0]),
        (0.455, m.SHIN[0]),
        (0.0, m.SHIN[0]),
    )
    shade = np.interp(heights, [0.05, 0.6, 0.72, 0.86], [0.9, 0.95, 0.82, 0.62])[:, None] * np.ones(
        (1, 7)
    )
    # only the inside of the thigh is dark
    shade = shade + (1 - shade) * np.linspace(1, 0, 7)[None] ** 1.5
    out = _limb(
        _LEG,
        heights,
        fit.leg(heights),
        (1 + fit.width) / 2,
        7,
        0.0,
        ((10, 8), (14, 12)),
        hip,
        shade,
    )

    heights = np.array(
        [1.447, 1.437, 1.418, 1.385, 1.33, 1.27, 1.21, 1.15, 1.115, 1.07, 1.02, 0.96, 0.90, 0.855]
    )
    bones = blend(
        heights,
        (1.46, m.CHEST),
        (1.37, m.ARM[0]),
        (1.155, m.ARM[0]),
        (1.075, m.FOREARM[0]),
        (0.5, m.FOREARM[0]),
    )
    shade = np.linspace(1.0, 0.78, 7)[None] * np.ones((len(heights), 1))
    # the cap of the shoulder must not puff up
    taper = np.interp(heights, [1.385, 1.447], [1.0, 0.35])
    # The front half of an arm is the inner one: it is turned 60 degrees towards the trunk.
    out += _limb(
        _ARM,
        heights,
        fit.arm(heights) * taper,
        (1 + fit.width) / 2,
        8,
        60.0,
        ((15, 17), (19, 21)),
        bones,
        shade,
    )

    heights = np.array([y for y, *_ in _HAND])
    positions, normals = loft(rows(_HAND, heights), np.linspace(180, -180, 9), 2.3)
    out.append(
        patch(
            positions,
            normals,
            np.linspace(0, 1, len(heights)),
            _halves(8),
            4,
            rigid(m.HAND[0], len(heights)),
        )
    )

    p = np.asarray(_FOOT)
    ring = np.stack([p[:, 0], p[:, 1], p[:, 2], p[:, 3], np.zeros(len(p)), np.zeros(len(p))], 1)
    ring[1:-1, 1:4] += fit.shoe
    positions, normals = loft(ring, np.linspace(-90, 270, 11), 2.4)
    # The loft runs along y; a foot runs along z, with the loft's forward depth pointing up.
    positions, normals = positions[..., [0, 2, 1]], normals[..., [0, 2, 1]]
    positions = positions + np.array([0.095, 0.03, -0.012])
    shade = np.interp(positions[..., 1], [0.0, 0.06], [0.6, 1.0])
    out.append(
        patch(
            positions,
            normals,
            (p[:, 0] + 0.0785) / 0.273,
            _halves(10),
            5,
            rigid(m.FOOT[0], len(p)),
            shade,
        )
    )
    return out


def figure(fit: Fit) -> Mesh:
    """The dressed body without extra garments, about 1,400 vertices."""
    left = _left_limbs(fit)
    bones = dict([m.ARM, m.FOREARM, m.HAND, m.THIGH, m.SHIN, m.FOOT])
    return join(
        [*_torso(fit), *_head(fit), *left, *(mirrored(part, LEFT_TO_RIGHT, bones) for part in left)]
    )
