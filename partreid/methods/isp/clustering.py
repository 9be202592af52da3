"""Clustering of pixels, for part labels that a network finds by itself. Pure functions, seeded,
hence repeatable.

Feature maps stay where and how they lie ([n, C, p] views of [n, C, h, w], either memory format):
nothing is gathered or copied, every pass is two thin matrix products per image. That is what makes
a round cheap.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_PATIENCE = 1e-3  # a pass that moves less than this share of the pixels is the last
_SURE = 0.02  # no place is so near the rim, or so far from it, that it is surer than this
_RIDGE = 0.1  # of channels of variance 1
_FLAT = 1e-5  # a channel whose variance is less than this share of its mean square tells nothing


@dataclass(frozen=True)
class Pixels:
    """The points to cluster: pixel i, j stands at ``maps[i, :, j] * scale[i, j]`` and takes part if
    scale > 0.

    maps: float32 [n, C, p], any strides. scale: float32 [n, p] >= 0.
    """

    maps: Tensor
    scale: Tensor

    @property
    def active(self) -> Tensor:
        """Bool [n, p]: the pixels that take part."""
        return self.scale > 0


@dataclass(frozen=True)
class Clusters:
    """labels: int64 [n, p] in 0..k-1, -1 where a pixel takes no part. centers: float32 [k, C].
    counts: int64 [k].

    cold: whether the centers were drawn anew, although some were given or because none were.
    """

    labels: Tensor
    centers: Tensor
    counts: Tensor
    cold: bool


def norms(maps: Tensor) -> Tensor:
    """Euclidean norm of every pixel: [n, C, p] -> float32 [n, p]."""
    if maps.stride(1) == 1 or maps.is_cuda:  # the channels lie side by side
        return torch.linalg.vector_norm(maps, dim=1)
    lengths = maps.new_empty(maps.shape[0], maps.shape[2])
    ones = maps.new_ones(1, maps.shape[1])
    # one image at a time stays in the cache: twice as fast
    for row, image in zip(lengths, maps, strict=True):
        torch.mm(ones, image.square(), out=row[None])
    return lengths.sqrt_()


def inside(maps: Tensor, rim: int) -> Tensor:
    """Maps whose outermost ``rim`` cells are those next to them: [n, C, h, w] -> the same shape.

    What a trunk gives at the rim is as much a picture of its zero padding as of the crop. Maps that
    are too small to have anything inside stay as they are.
    """
    if rim == 0 or min(maps.shape[2:]) <= 2 * rim:
        return maps
    return F.pad(maps[:, :, rim:-rim, rim:-rim], (rim,) * 4, mode="replicate")


def window(h: int, w: int, like: Tensor) -> Tensor:
    """A bell over the middle of a crop: float32 [h, w], 1 at the center, 1/e at 0.6 of the way to
    the sides and at the upper and lower rim. Where a person is likely to stand.
    """
    y = torch.linspace(-1, 1, h, device=like.device)[:, None]
    x = torch.linspace(-1, 1, w, device=like.device)
    return torch.exp(-(x / 0.6).square() - y**4)


def ellipse(h: int, w: int, like: Tensor) -> Tensor:
    """How likely a person is to stand at a place of a crop: float32 [h, w] in 0..1, 1/2 on an
    ellipse half as wide as the crop and nine tenths as high, the bell that tables show beside
    labels.
    """
    y = (torch.arange(h, device=like.device) + 0.5) / h - 0.5
    x = (torch.arange(w, device=like.device) + 0.5) / w - 0.5
    return torch.sigmoid(2 - 2 * ((x / 0.25).square() + (y[:, None] / 0.45).square()))


def seeded_foreground(maps: Tensor, steps: int = 4) -> Tensor | None:
    """How likely every cell shows the person: [n, C, h, w] -> float32 [n, h, w] in 0..1, None if
    all cells are alike.

    A linear discriminant with one covariance for person and background, learned from the cells of
    all images. It starts from :func:`ellipse`, and each of ``steps`` rounds weighs the cells by
    what the last one made of them; the ellipse stays their prior. So features decide, and place
    decides where they do not.
    """
    n, C, h, w = maps.shape
    flat = maps.flatten(2)
    mean = flat.mean((0, 2)).double()
    square = torch.bmm(flat, flat.transpose(1, 2)).sum(0).double() / (n * h * w)
    variance = (square.diagonal() - mean.square()).clamp_min(0)
    alive = variance > _FLAT * square.diagonal()
    if not bool(alive.any()):
        return None
    scale = torch.where(alive, variance, torch.inf).rsqrt()  # every channel to variance 1
    total = (square - torch.outer(mean, mean)) * torch.outer(scale, scale)
    total += _RIDGE * torch.eye(C, dtype=total.dtype, device=total.device)
    prior = ellipse(h, w, maps).clamp(_SURE, 1 - _SURE).flatten()
    likely = prior.expand(n, -1)
    for _ in range(steps):
        share = likely.mean().double().clamp(_SURE, 1 - _SURE)
        person = torch.bmm(flat, likely[:, :, None]).sum((0, 2)).double()
        person = (person / likely.sum().double() - mean) * scale
        beside = -share / (1 - share) * person  # the mean of all is 0
        within = total - share / (1 - share) * torch.outer(person, person)
        direction = torch.linalg.solve(within, person - beside)
        offset = direction @ (person + beside) / 2 + (direction * scale) @ mean
        score = torch.matmul((direction * scale).to(flat.dtype), flat) - offset.to(flat.dtype)
        likely = torch.sigmoid(score + torch.logit(prior))
    return likely.view(n, h, w)


def split_in_two(values: Tensor) -> Tensor:
    """Exact 2-means of numbers: bool like ``values``, True in the upper cluster, all False if all
    are equal.

    The cut that leaves the least variance inside both sides, found by sorting; equal values stay
    together.
    """
    ordered = values.flatten().sort().values
    n = len(ordered)
    if n < 2:
        return torch.zeros_like(values, dtype=torch.bool)
    below = ordered.double().cumsum(0)
    size = torch.arange(1, n, device=values.device, dtype=torch.float64)
    left, right = below[:-1], below[-1] - below[:-1]
    gain = left.square() / size + right.square() / (n - size)
    gain = gain.masked_fill(ordered[1:] == ordered[:-1], -torch.inf)
    if not gain.max().isfinite():
        return torch.zeros_like(values, dtype=torch.bool)
    return values >= ordered[gain.argmax() + 1]


def kmeans(
    pixels: Pixels,
    k: int,
    start: Tensor | None = None,
    steps: int = 3,
    seed: int = 0,
    sample: int = 2048,
    restarts: int = 8,
) -> Clusters:
    """Lloyd's k-means by Euclidean distance; the centers are plain means.

    start: centers float32 [k, C] of an earlier run, followed for at most ``steps`` passes. Without
    them, or if one of them ends up with no pixel, ``restarts`` k-means++ draws compete on
    ``sample`` pixels and the best goes on. A cluster may end empty where there are fewer different
    pixels than clusters: its count is 0. ValueError if no pixel takes part.
    """
    if start is not None:
        clusters = _lloyd(pixels, start, steps)
        if bool((clusters.counts > 0).all()):
            return clusters
    points = _draw(pixels, sample, seed)
    clusters = _lloyd(pixels, _best_start(points, k, restarts, seed), steps)
    return Clusters(clusters.labels, clusters.centers, clusters.counts, True)


def ranked(labels: Tensor, by: Tensor, k: int) -> Tensor:
    """Order of the clusters by the mean of ``by`` over their members, lowest first: int64 [k],
    empty ones last.

    labels: int64, -1 for none. by: float, broadcast to the labels. Ties keep the lower cluster
    first.
    """
    member = labels[None] == torch.arange(k, device=labels.device).view(-1, *[1] * labels.ndim)
    member = member.flatten(1)
    total = member.double() @ by.expand(labels.shape).double().flatten()
    count = member.sum(1)
    return torch.where(count > 0, total / count.clamp_min(1), torch.inf).argsort(stable=True)


def _lloyd(pixels: Pixels, centers: Tensor, steps: int) -> Clusters:
    """At most ``steps`` passes of assignment and means, fewer if hardly a pixel moves."""
    active = pixels.active
    total = int(active.sum())
    labels, counts = _assign(pixels, centers, active)
    for _ in range(steps):
        centers = _means(pixels, labels, counts, centers)
        before = labels
        labels, counts = _assign(pixels, centers, active)
        if int((labels != before).sum()) <= _PATIENCE * total:
            break
    return Clusters(labels, _means(pixels, labels, counts, centers), counts, False)


def _assign(pixels: Pixels, centers: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest center of every pixel int64 [n, p], by x c - |c|^2 / 2, and how many each got [k]."""
    n, k = len(pixels.maps), len(centers)
    score = torch.bmm(centers.expand(n, -1, -1), pixels.maps)
    score = score.mul_(pixels.scale[:, None]).sub_(0.5 * centers.square().sum(1)[:, None])
    labels = score.max(1).indices.masked_fill(~active, -1)
    return labels, torch.bincount(labels.flatten() + 1, minlength=k + 1)[1:]


def _means(pixels: Pixels, labels: Tensor, counts: Tensor, centers: Tensor) -> Tensor:
    """Mean of each cluster's pixels; one without pixels keeps its center."""
    member = (
        labels[:, None] == torch.arange(len(centers), device=labels.device)[:, None]
    )  # [n, k, p]
    sums = torch.bmm(member * pixels.scale[:, None], pixels.maps.transpose(1, 2)).sum(0)
    return torch.where(counts[:, None] > 0, sums / counts[:, None].clamp_min(1), centers)


def _draw(pixels: Pixels, sample: int, seed: int) -> Tensor:
    """At most ``sample`` of the active pixels as points [m, C], drawn without replacement."""
    index = pixels.active.flatten().nonzero()[:, 0]
    if len(index) == 0:
        raise ValueError("no pixel takes part in the clustering")
    order = torch.randperm(len(index), generator=torch.Generator().manual_seed(seed))[:sample]
    index = index[order.to(index.device)]
    image, place = index // pixels.maps.shape[2], index % pixels.maps.shape[2]
    return pixels.maps[image, :, place] * pixels.scale[image, place, None]


def _best_start(x: Tensor, k: int, restarts: int, seed: int, steps: int = 8) -> Tensor:
    """The centers [k, C] with the least inertia of ``restarts`` k-means++ draws on points [m,
    C], all run at once.
    """
    m, r = len(x), restarts
    luck = torch.rand(
        k, r, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64
    ).to(x.device)
    square = x.square().sum(1)
    chosen = [(luck[0] * m).long().clamp_max(m - 1)]
    nearest = torch.full((r, m), torch.inf, device=x.device)
    for j in range(1, k):
        c = x[chosen[-1]]
        far = (square - 2 * (c @ x.T) + c.square().sum(1)[:, None]).clamp_min_(0)
        nearest = torch.minimum(nearest, far)
        mass = nearest.double().cumsum(1)
        chosen.append(
            torch.searchsorted(mass, (luck[j] * mass[:, -1])[:, None])[:, 0].clamp_max(m - 1)
        )
    centers = x[torch.stack(chosen, 1)]  # [r, k, C]
    index = torch.arange(k, device=x.device)[:, None]
    for step in range(steps + 1):
        score = (
            torch.mm(centers.flatten(0, 1), x.T).view(r, k, m)
            - 0.5 * centers.square().sum(2)[..., None]
        )
        best, labels = score.max(1)
        if step == steps:
            break
        member = (labels[:, None] == index).to(x.dtype)  # [r, k, m]
        count = member.sum(2, keepdim=True)
        means = torch.mm(member.flatten(0, 1), x).view_as(centers) / count.clamp_min(1)
        centers = torch.where(count > 0, means, centers)
    return centers[best.sum(1).argmax()]
