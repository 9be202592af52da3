"""What the fast paths are measured against and must agree with: the formulas, written down plainly."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray


def part_distance(q: NDArray[np.float32], g: NDArray[np.float32], q_seen: NDArray[np.float32],
                  g_seen: NDArray[np.float32], metric: str) -> float:
    """Distance of two images in doubles: vectors [M, D], visibilities [M] (BPBreID Eq. 9, ISP Eq. 10)."""
    total, weight = 0.0, 0.0
    for a, b, v, w in zip(q.astype(np.float64), g.astype(np.float64), q_seen.tolist(), g_seen.tolist()):
        if metric == "cosine":
            far = 1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
        else:
            if metric == "unit_euclidean":
                a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
            far = np.linalg.norm(a - b)
        total += v * w * float(far)
        weight += v * w
    return total / weight if weight else np.inf


def scores_by_sorting(distances: NDArray[np.float32], q_ids: NDArray[np.int64], q_cameras: NDArray[np.int64],
                      g_ids: NDArray[np.int64], g_cameras: NDArray[np.int64],
                      kind: Literal["stable", "quicksort"] = "stable") -> dict[str, float]:
    """CMC, mAP and mINP under the Market-1501 rule: sort each query's list, remove, accumulate.

    ``quicksort`` is NumPy's default and leaves the order of ties to chance.
    """
    first, ap, inp = [], [], []
    for row, identity, camera in zip(distances, q_ids, q_cameras):
        order = np.argsort(row, kind=kind)
        ids, cameras = g_ids[order], g_cameras[order]
        keep = (ids != -1) & ~((ids == identity) & (cameras == camera))
        right = ids[keep] == identity
        if not right.any():
            continue
        rank = np.arange(1, len(right) + 1)
        precision = np.cumsum(right) / rank
        ap.append(precision[right].mean())
        first.append(rank[right][0])
        inp.append(right.sum() / rank[right][-1])
    hits = np.array(first)
    return {"mAP": float(np.mean(ap)), "mINP": float(np.mean(inp)),
            **{f"R{k}": float(np.mean(hits <= k)) for k in (1, 5, 10, 20)}}
