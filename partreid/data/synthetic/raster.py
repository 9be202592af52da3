"""A deterministic z-buffer in plain NumPy, without a Python loop over triangles."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Hits:
    """The front-most triangle of every covered pixel."""

    pixel: NDArray[np.intp]  # [P] row * width + column, ascending
    triangle: NDArray[np.intp]  # [P]
    weights: NDArray[np.float32]  # [P, 3] barycentric
    depth: NDArray[np.float32]  # [P]


_CANDIDATE_BITS = 26
_DEPTH_STEPS = float(1 << 24)


def rasterise(
    points: NDArray[np.float64],
    triangles: NDArray[np.int32],
    two_sided: NDArray[np.bool_],
    height: int,
    width: int,
) -> Hits:
    """Draws triangles.

    points: [N, 3] of column, row (pixels; pixel centers lie at .5) and depth (positive, growing
    away). Triangles that appear clockwise on the screen are seen from behind and skipped unless
    two-sided.
    """
    corner = points[triangles]
    x, y, z = corner[..., 0], corner[..., 1], corner[..., 2]
    x0, x1, x2 = x[:, 0], x[:, 1], x[:, 2]
    y0, y1, y2 = y[:, 0], y[:, 1], y[:, 2]
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    left = np.maximum(np.ceil(np.minimum(np.minimum(x0, x1), x2) - 0.5), 0).astype(np.int64)
    right = np.minimum(np.floor(np.maximum(np.maximum(x0, x1), x2) - 0.5), width - 1).astype(
        np.int64
    )
    top = np.maximum(np.ceil(np.minimum(np.minimum(y0, y1), y2) - 0.5), 0).astype(np.int64)
    bottom = np.minimum(np.floor(np.maximum(np.maximum(y0, y1), y2) - 0.5), height - 1).astype(
        np.int64
    )
    # Rows grow downwards on the screen, so what is counter-clockwise in space has negative area
    # here.
    seen = ((area < -1e-9) | (two_sided & (area > 1e-9))) & (right >= left) & (bottom >= top)
    kept = np.flatnonzero(seen)
    if not len(kept):
        nothing = np.zeros(0, np.intp)
        return Hits(nothing, nothing, np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    x0, x1, x2, y0, y1, y2, area = (v[kept] for v in (x0, x1, x2, y0, y1, y2, area))
    z0, z1, z2 = z[kept, 0], z[kept, 1], z[kept, 2]
    left, top = left[kept], top[kept]
    columns = right[kept] - left + 1
    counts = columns * (bottom[kept] - top + 1)

    # Each barycentric weight and the depth are planes over the screen: value = gx * column + gy *
    # row + c.
    inverse = 1.0 / area
    ax, ay = (y1 - y2) * inverse, (x2 - x1) * inverse
    bx, by = (y2 - y0) * inverse, (x0 - x2) * inverse
    a0 = 1.0 + ax * (left + 0.5 - x0) + ay * (top + 0.5 - y0)
    b0 = bx * (left + 0.5 - x0) + by * (top + 0.5 - y0)

    def spread(values: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float32]:
        return np.repeat(values.astype(np.float32), counts)

    owner = np.repeat(np.arange(len(kept), dtype=np.int32), counts)
    inner = np.arange(len(owner), dtype=np.float32) - spread(np.cumsum(counts) - counts)
    # Half a pixel in the middle keeps the quotient clear of rounding; all numbers are far below
    # 2^24.
    row = np.floor((inner + 0.5) * spread(1.0 / columns))
    column = inner - row * spread(columns)
    wa = spread(a0) + spread(ax) * column + spread(ay) * row
    wb = spread(b0) + spread(bx) * column + spread(by) * row
    inside = np.flatnonzero((wa >= 0) & (wb >= 0) & (wa + wb <= 1))
    owner, wa, wb = owner[inside], wa[inside], wb[inside]
    corner_pixel = top * width + left
    pixel = corner_pixel[owner] + (row[inside] * width + column[inside]).astype(np.int64)
    wc = 1 - wa - wb
    depth = wa * z0[owner] + wb * z1[owner] + wc * z2[owner]

    near, far = float(z.min()), float(z.max())
    scaled = np.clip((depth - near) / max(far - near, 1e-9), 0, 1) * (_DEPTH_STEPS - 1)
    key = (scaled.astype(np.int64) << _CANDIDATE_BITS) | np.arange(len(pixel), dtype=np.int64)
    empty = np.iinfo(np.int64).max
    buffer = np.full(height * width, empty, np.int64)
    np.minimum.at(buffer, pixel, key)
    covered = np.flatnonzero(buffer != empty)
    winner = buffer[covered] & ((1 << _CANDIDATE_BITS) - 1)
    weights = np.stack([wa[winner], wb[winner], wc[winner]], 1).astype(np.float32)
    return Hits(covered, kept[owner[winner]], weights, depth[winner].astype(np.float32))
