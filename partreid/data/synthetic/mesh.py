"""Low-poly meshes made of lofted tubes, and the bones that move them.

Body space: metres, y up from the ground, x to the person's LEFT, z the way the person faces.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
PELVIS, CHEST, HEAD = 0, 1, 2
ARM, FOREARM, HAND = (3, 6), (4, 7), (5, 8)  # (left, right)
THIGH, SHIN, FOOT = (9, 12), (10, 13), (11, 14)
BAG = 15
BONE_COUNT = 16


@dataclass(frozen=True)
class Mesh:
    """Triangles with everything that drawing needs."""

    positions: FloatArray  # [N, 3] at rest, metres
    normals: FloatArray  # [N, 3] unit length
    coords: NDArray[np.float32]  # [N, 2] (along, across) in [0, 1]
    shade: NDArray[np.float32]  # [N] share of the sky's light that arrives, in [0, 1]
    weights: FloatArray  # [N, 16] bone weights, rows add up to 1
    triangles: NDArray[np.int32]  # [M, 3]
    surface: NDArray[np.uint8]  # [M] label 1..27
    page: NDArray[np.uint8]  # [M] page of the texture atlas; usually the surface's own
    two_sided: NDArray[np.bool_]  # [M] thin sheets are seen from both sides


def join(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several."""
    starts = np.cumsum([0, *(len(m.positions) for m in meshes[:-1])])
    return Mesh(
        positions=np.concatenate([m.positions for m in meshes]),
        normals=np.concatenate([m.normals for m in meshes]),
        coords=np.concatenate([m.coords for m in meshes]),
        shade=np.concatenate([m.shade for m in meshes]),
        weights=np.concatenate([m.weights for m in meshes]),
        triangles=np.concatenate(
            [m.triangles + np.int32(s) for m, s in zip(meshes, starts, strict=True)]
        ),
        surface=np.concatenate([m.surface for m in meshes]),
        page=np.concatenate([m.page for m in meshes]),
        two_sided=np.concatenate([m.two_sided for m in meshes]),
    )


def rows(table: Sequence[Sequence[float]], heights: FloatArray) -> FloatArray:
    """A profile table (first column = height, falling or rising) interpolated at `heights`."""
    known = np.asarray(table, np.float64)
    known = known[np.argsort(known[:, 0])]
    return np.stack(
        [
            heights,
            *(np.interp(heights, known[:, 0], known[:, k]) for k in range(1, known.shape[1])),
        ],
        1,
    )


def loft(
    profile: FloatArray, degrees: FloatArray, power: float = 2.0
) -> tuple[FloatArray, FloatArray]:
    """Rings of superellipses. Gives positions and normals, each [n, m, 3].

    profile: [n, 6] of y, half width, depth forward, depth backward, center x, center z. degrees:
    [m] angles on the ring: 0 = the person's left, 90 = front, 180 = right, 270 or -90 = back.
    """

    def ring(angles: FloatArray) -> FloatArray:
        c, s = np.cos(np.radians(angles)), np.sin(np.radians(angles))
        x = np.sign(c) * np.abs(c) ** (2.0 / power)
        z = np.sign(s) * np.abs(s) ** (2.0 / power)
        y, a, front, back, cx, cz = (profile[:, k, None] for k in range(6))
        depth = np.where(s[None] >= 0, front, back)
        return np.stack(
            [cx + a * x, np.broadcast_to(y, (len(profile), len(angles))), cz + depth * z], -1
        )

    positions = ring(degrees)
    around = ring(degrees + 2.0) - ring(degrees - 2.0)
    down = np.gradient(positions, axis=0)
    return positions, unit(np.cross(around, down) * np.sign(profile[0, 0] - profile[-1, 0]))


def unit(vectors: FloatArray) -> FloatArray:
    """Vectors [..., 3] scaled to length 1; zeros stay zeros."""
    length = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))[..., None]
    out: FloatArray = vectors / np.maximum(length, 1e-12)
    return out


def patch(
    positions: FloatArray,
    normals: FloatArray,
    along: FloatArray,
    across: FloatArray,
    surface: int,
    weights: FloatArray,
    shade: FloatArray | float = 1.0,
    two_sided: bool = False,
    page: int | None = None,
) -> Mesh:
    """A grid of n x m vertices as triangles.

    positions, normals: [n, m, 3]; along: [n]; across: [m]; weights: [n, 16] or [n, m, 16]; shade:
    broadcast to [n, m].
    """
    n, m = positions.shape[:2]
    index = np.arange(n * m).reshape(n, m)
    a, b, c, d = (
        index[:-1, :-1].ravel(),
        index[:-1, 1:].ravel(),
        index[1:, :-1].ravel(),
        index[1:, 1:].ravel(),
    )
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    flat, flat_normals = positions.reshape(-1, 3), normals.reshape(-1, 3)
    # The outside of a triangle is where its vertices' normals point.
    corner = flat[triangles]
    facing = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    inward = (facing * flat_normals[triangles].sum(1)).sum(1) < 0
    triangles[inward] = triangles[inward][:, ::-1]
    coords = np.stack(np.broadcast_arrays(along[:, None], across[None, :]), -1).reshape(-1, 2)
    if weights.ndim == 2:
        weights = np.broadcast_to(weights[:, None], (n, m, BONE_COUNT))
    return Mesh(
        positions=flat,
        normals=flat_normals,
        coords=np.clip(coords, 0.0, 1.0).astype(np.float32),
        shade=np.broadcast_to(shade, (n, m)).reshape(-1).astype(np.float32),
        weights=np.ascontiguousarray(weights.reshape(-1, BONE_COUNT)),
        triangles=triangles.astype(np.int32),
        surface=np.full(len(triangles), surface, np.uint8),
        page=np.full(len(triangles), surface if page is None else page, np.uint8),
        two_sided=np.full(len(triangles), two_sided),
    )


def mirrored(mesh: Mesh, surfaces: dict[int, int], bones: dict[int, int]) -> Mesh:
    """The left limb as a right limb: x negated, surface numbers and bones replaced."""
    flip = np.array([-1.0, 1.0, 1.0])
    weights = mesh.weights.copy()
    for left, right in bones.items():
        weights[:, right] = mesh.weights[:, left]
        weights[:, left] = 0.0
    renumber = np.arange(256, dtype=np.uint8)
    renumber[list(surfaces)] = list(surfaces.values())
    return Mesh(
        mesh.positions * flip,
        mesh.normals * flip,
        mesh.coords,
        mesh.shade,
        weights,
        np.ascontiguousarray(mesh.triangles[:, ::-1]),
        renumber[mesh.surface],
        renumber[mesh.page],
        mesh.two_sided,
    )


def blend(heights: FloatArray, *stops: tuple[float, int]) -> FloatArray:
    """Bone weights [n, 16] along a limb: from stop to stop (height, bone), with smooth changes
    between them.
    """
    ordered = sorted(stops)
    stop_heights = np.array([h for h, _ in ordered])
    position = np.interp(heights, stop_heights, np.arange(len(ordered), dtype=np.float64))
    low = np.clip(position.astype(int), 0, len(ordered) - 2)
    share = position - low
    share = share * share * (3.0 - 2.0 * share)
    bones = np.array([bone for _, bone in ordered])
    weights = np.zeros((len(heights), BONE_COUNT))
    np.add.at(weights, (np.arange(len(heights)), bones[low]), 1.0 - share)
    np.add.at(weights, (np.arange(len(heights)), bones[low + 1]), share)
    return weights


def rigid(bone: int, count: int) -> FloatArray:
    """Bone weights [count, 16] of something that hangs on one bone."""
    weights = np.zeros((count, BONE_COUNT))
    weights[:, bone] = 1.0
    return weights


def box(
    center: tuple[float, float, float],
    half: tuple[float, float, float],
    surface: int,
    bone: int,
    power: float = 5.0,
    taper: float = 1.0,
) -> Mesh:
    """A rounded box: a superellipse tube with closed ends; `taper` narrows its top."""
    heights = np.array([1.0, 0.995, 0.94, 0.3, -0.3, -0.94, -0.995, -1.0])
    size = np.array([0.02, 0.80, 1.0, 1.0, 1.0, 1.0, 0.85, 0.02]) * np.interp(
        heights, [-1, 1], [1.0, taper]
    )
    profile = np.stack(
        [
            center[1] + heights * half[1],
            half[0] * size,
            half[2] * size,
            half[2] * size,
            np.full(8, center[0]),
            np.full(8, center[2]),
        ],
        1,
    )
    angles = np.linspace(-90.0, 270.0, 17)
    positions, normals = loft(profile, angles, power)
    shade = np.interp(heights, [-1, 1], [0.75, 1.0])[:, None]
    return patch(
        positions, normals, (1 - heights) / 2, np.linspace(0, 1, 17), surface, rigid(bone, 8), shade
    )
