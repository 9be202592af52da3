"""What the fast paths are measured against and must agree with: the formulas, written down
plainly.
"""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


def part_distance(
    q: NDArray[np.float32],
    g: NDArray[np.float32],
    q_seen: NDArray[np.float32],
    g_seen: NDArray[np.float32],
    metric: str,
) -> float:
    """Distance of two images in doubles: vectors [M, D], visibilities [M] (BPBreID Eq. 9, ISP
    Eq. 10).
    """
    total, weight = 0.0, 0.0
    for a, b, v, w in zip(
        q.astype(np.float64), g.astype(np.float64), q_seen.tolist(), g_seen.tolist()
    ):
        if metric == "cosine":
            far = 1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
        else:
            if metric == "unit_euclidean":
                a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
            far = np.linalg.norm(a - b)
        total += v * w * float(far)
        weight += v * w
    return total / weight if weight else np.inf


def scores_by_sorting(
    distances: NDArray[np.float32],
    q_ids: NDArray[np.int64],
    q_cameras: NDArray[np.int64],
    g_ids: NDArray[np.int64],
    g_cameras: NDArray[np.int64],
    kind: Literal["stable", "quicksort"] = "stable",
) -> dict[str, float]:
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
    return {
        "mAP": float(np.mean(ap)),
        "mINP": float(np.mean(inp)),
        **{f"R{k}": float(np.mean(hits <= k)) for k in (1, 5, 10, 20)},
    }


def cascade_by_kmeans(features: NDArray[np.float32], parts: int) -> tuple[str, NDArray[np.uint8]]:
    """ISP's cascaded clustering of [n, C, h, w] by ordinary k-means, one start per stage (Eq. 3,
    4): the name of the implementation and labels uint8 [n, h, w] in no order of parts.
    """
    n, C, h, w = features.shape
    pixels = features.transpose(0, 2, 3, 1).reshape(-1, C)
    length = np.linalg.norm(pixels, axis=1).reshape(n, -1)
    energy = (length / length.max(1, keepdims=True)).reshape(-1, 1)
    try:
        from sklearn.cluster import KMeans

        def kmeans(x: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
            model = KMeans(k, n_init=1, random_state=0).fit(x)
            return model.labels_, model.cluster_centers_

        name = "scikit-learn KMeans, n_init 1"
    except ModuleNotFoundError:
        kmeans, name = lloyd, "NumPy Lloyd"
    side, middle = kmeans(energy, 2)
    front = side == middle[:, 0].argmax()
    front_pixels = pixels[front]
    labels = np.zeros(len(pixels), np.uint8)
    labels[front] = (
        1 + kmeans(front_pixels / np.linalg.norm(front_pixels, axis=1, keepdims=True), parts)[0]
    )
    return name, labels.reshape(n, h, w)


def lloyd(
    x: NDArray[np.float32], k: int, steps: int = 100
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """k-means from random points: labels int64 [N] and centers [k, C]."""
    centers = x[np.random.default_rng(0).choice(len(x), k, replace=False)]
    labels = np.full(len(x), -1)
    for _ in range(steps):
        before = labels
        labels = ((centers**2).sum(1) - 2 * x @ centers.T).argmin(1)
        if (labels == before).all():
            break
        centers = np.stack(
            [x[labels == j].mean(0) if (labels == j).any() else centers[j] for j in range(k)]
        )
    return labels, centers


def co_parse_plainly(
    features: torch.Tensor,
    cameras: torch.Tensor,
    least_labels: int = 18,
    steps: int = 32,
    seed: int = 0,
) -> tuple[torch.Tensor, int]:
    """HCGA's Algorithm 1 line by line, on all images and channels (L1, R = 3, weights 2, 1 and 1):
    raw labels int64 [n, h, w] and the steps taken.
    """
    draw = torch.random.get_rng_state()
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(features.shape[1], 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.Conv2d(64, 32, 1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.Conv2d(64, 32, 1),
        nn.BatchNorm2d(32),
    )
    torch.random.set_rng_state(draw)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    order = torch.sort(cameras, stable=True).indices
    pairs = [(a, b) for a, b in zip(order[:-1], order[1:]) if cameras[a] == cameras[b]]
    first, second = (torch.stack(side) for side in zip(*pairs))
    taken, labels = 0, features
    while taken < steps:
        taken += 1
        y = net(features)
        labels = y.argmax(1)
        down, right = (
            (y[:, :, 1:] - y[:, :, :-1]).abs().mean(),
            (y[..., 1:] - y[..., :-1]).abs().mean(),
        )
        slant = (y[:, :, 1:, 1:] - y[:, :, :-1, :-1]).abs().mean() + (
            y[:, :, 1:, :-1] - y[:, :, :-1, 1:]
        ).abs().mean()
        back = (y[first] - y[second]).abs().mean()
        loss = nn.functional.cross_entropy(y, labels) + 2 * (down + right) + slant + back
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if len(labels.unique()) <= least_labels:
            break
    return labels, taken


def cosine_matrix(vectors: NDArray[np.float32], seen: NDArray[np.float32]) -> NDArray[np.float32]:
    """ISP Eq. 10 of all pairs [n, n] at once: vectors [n, M, D], visibilities [n, M]; +inf where
    nothing is shared.
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), 1e-12)
    shown = (unit * seen[:, :, None]).reshape(len(unit), -1)
    both = seen @ seen.T
    return np.where(both > 0, 1 - shown @ shown.T / np.maximum(both, 1e-12), np.float32(np.inf))


def k_reciprocal(
    far: NDArray[np.float32],
    queries: int,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    power: int = 2,
) -> NDArray[np.float32]:
    """Re-ranking as its definition says (Zhong et al., CVPR 2017, Eq. 1-12), every matrix whole:
    distances [n, n] of queries and gallery to each other in, [Nq, Ng] out. Ties by index; +inf is
    as far as the largest, and comes last.
    """
    n = len(far)
    far = np.maximum(far, 0)  # below 0 by rounding
    largest = np.where(np.isfinite(far), far, 0).max(1, keepdims=True)
    scaled = np.minimum(far / np.maximum(largest, 1e-12), 1) ** power
    order = np.argsort(far, axis=1, kind="stable")

    def mutual(i: int, k: int) -> NDArray[np.int64]:
        near = order[i, : k + 1]
        return near[(order[near, : k + 1] == i).any(1)]

    sets = np.zeros((n, n), np.float32)
    for i in range(n):
        members = mutual(i, k1)
        grown = members
        for candidate in members:
            theirs = mutual(candidate, int(np.around(k1 / 2)))
            if len(np.intersect1d(members, theirs)) > 2 / 3 * len(theirs):
                grown = np.append(grown, theirs)
        grown = np.unique(grown)
        kernel = np.exp(-scaled[i, grown])
        sets[i, grown] = kernel / kernel.sum()
    if k2 > 1:
        sets = np.stack([sets[order[i, :k2]].mean(0) for i in range(n)])
    holders = [np.flatnonzero(column) for column in sets.T]
    result = np.empty((queries, n - queries), np.float32)
    for i in range(queries):
        shared = np.zeros(n, np.float32)
        for j in np.flatnonzero(sets[i]):
            shared[holders[j]] += np.minimum(sets[i, j], sets[holders[j], j])
        jaccard = 1 - shared / (2 - shared)
        result[i] = ((1 - weight) * jaccard + weight * scaled[i])[queries:]
    return result
