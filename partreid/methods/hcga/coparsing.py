"""HCGA's co-parsing: a small net per person, trained by three consistency losses, labels their
images (Sec. III-B).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partreid.errors import RecipeError
from partreid.labels.pseudo import Labelled, PseudoLabels, State
from partreid.layers.memory import FORMAT, arrange
from partreid.methods.isp import labels as isp_labels
from partreid.methods.isp.clustering import inside, norms, seeded_foreground
from partreid.methods.isp.clustering import window as middle_of
from partreid.types import Sample
from partreid.utils.arguments import Axes, Count, door

Norm = Literal["l1", "l2"]
Predictions = Annotated[Tensor, Axes("n C' h w")]
RawLabels = Annotated[Tensor, Axes("n h w")]
Pairs = Annotated[Tensor, Axes("m 2")]
Reassign = Literal["structure", "mean"]

Offset = tuple[int, int]

# Every pair of neighbours once is Eq. 2's sum over all neighbours. The released "5 x 5" reaches two
# cells along the axes, no more.
AXES: dict[int, tuple[Offset, ...]] = {3: ((1, 0), (0, 1)), 5: ((1, 0), (0, 1), (2, 0), (0, 2))}
DIAGONALS: tuple[Offset, ...] = ((1, 1), (1, -1))
OUTSIDE = 255  # the raw label of cells that are known to show no person


@door
def hcga_coparsing(
    root: Path,
    samples: Sequence[Sample],
    parts: int = 3,
    every: int = 1,
    until: int | None = 101,
    least_labels: int = 18,
    steps: int = 32,
    local: float = 2.0,
    background: float = 1.0,
    diagonal: float = 1.0,
    norm: Norm = "l1",
    window: int = 3,
    same_camera: bool = True,
    how: Reassign | None = None,
    images: int | None = 8,
    dimensions: int | None = 32,
    central: bool = False,
    rim: int = 0,
    height: float = 0.0,
    seeded: bool = False,
    margin: int = 0,
    aligned: bool = True,
) -> PseudoLabels:
    """The cue: labels of ``parts`` parts (the paper's C - 1), co-parsed anew every ``every`` epochs
    before ``until``.

    how: None is "structure" for 3 parts, which is all it can make, and "mean" otherwise. The rest:
    :func:`parse_person`; margin, aligned: see :class:`partreid.labels.pseudo.PseudoLabels`.
    """
    if window not in AXES:
        raise RecipeError(f"the window of the local loss is 3 or 5 cells wide, got {window}")
    isp_labels.require_rim(rim)
    isp_labels.require_height(height)
    isp_labels.require_one_way(seeded, central)
    how = how or ("structure" if parts == 3 else "mean")
    labeller = partial(
        parse_person,
        parts=parts,
        least_labels=least_labels,
        steps=steps,
        local=local,
        background=background,
        diagonal=diagonal,
        norm=norm,
        window=window,
        same_camera=same_camera,
        how=how,
        images=images,
        dimensions=dimensions,
        central=central,
        rim=rim,
        height=height,
        seeded=seeded,
    )
    return PseudoLabels(
        samples, parts, labeller, every=every, until=until, aligned=aligned, margin=margin
    )


class Decoder(nn.Sequential):
    """D of Eq. 1: four convolutions with batch norm, [n, C, h, w] to prediction vectors y [n, C',
    h, w].

    The convolutions need no bias, which a batch norm on the batch's own statistics takes away
    again. Drawn from ``seed`` alone (Kaiming uniform, as PyTorch's default), so every person starts
    from the same weights.
    """

    @door
    def __init__(
        self, channels: Count, wide: Count = 64, labels: Count = 32, seed: int = 0
    ) -> None:
        super().__init__(
            nn.Conv2d(channels, wide, 3, padding=1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.Conv2d(wide, labels, 1, bias=False),
            nn.BatchNorm2d(labels),
            nn.ReLU(),
            nn.Conv2d(labels, wide, 3, padding=1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.Conv2d(wide, labels, 1, bias=False),
            nn.BatchNorm2d(labels),
        )
        draw = torch.Generator().manual_seed(seed)
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                bound = layer.weight[0].numel() ** -0.5
                layer.weight.data = (torch.rand(layer.weight.shape, generator=draw) * 2 - 1) * bound


@door
def local_loss(y: Predictions, norm: Norm = "l1", offsets: Sequence[Offset] = AXES[3]) -> Tensor:
    """L_local, Eq. 2: how much y [n, C', h, w] differs from its neighbours at ``offsets``: a
    mean each, not a sum.
    """
    return torch.stack([_differ(*_shifted(y, *offset), norm) for offset in offsets]).sum()


@door
def semantic_loss(y: Predictions) -> Tensor:
    """L_sem, Eq. 3: cross-entropy of every pixel with its own most probable label; a mean, not a
    sum.
    """
    return F.cross_entropy(y, y.argmax(1))


@door
def background_loss(y: Predictions, pairs: Pairs, norm: Norm = "l1") -> Tensor:
    """L_back, Eq. 4: how much adjacent images differ; pairs int64 [m, 2] of :func:`adjacent`. 0
    without pairs.
    """
    return _differ(y[pairs[:, 0]], y[pairs[:, 1]], norm) if len(pairs) else y.sum() * 0.0


@door
def adjacent(cameras: Tensor, same_camera: bool = True) -> Tensor:
    """Pairs int64 [m, 2] of images next to each other in the list: of the same camera (the paper),
    or of any, as the released code has it.
    """
    order = torch.sort(cameras, stable=True).indices if same_camera else torch.arange(len(cameras))
    order = order.cpu()
    pairs = torch.stack([order[:-1], order[1:]], 1)
    seen = cameras.cpu()[pairs]
    return pairs[seen[:, 0] == seen[:, 1]] if same_camera else pairs


@dataclass(frozen=True)
class Weights:
    """lambda_L, lambda_B, a weight of its own for the diagonal neighbours, p of the norms, and
    R.
    """

    local: float = 2.0
    background: float = 1.0
    diagonal: float = 1.0
    norm: Norm = "l1"
    window: int = 3


@door
def total_loss(y: Predictions, pairs: Pairs, weights: Weights) -> Tensor:
    """L_HCNet, Eq. 5. For reading and testing; training uses :func:`descent`, its gradient."""
    near = weights.local * local_loss(y, weights.norm, AXES[weights.window])
    slanted = weights.diagonal * local_loss(y, weights.norm, DIAGONALS)
    return (
        semantic_loss(y)
        + near
        + slanted
        + weights.background * background_loss(y, pairs, weights.norm)
    )


@door
def descent(y: Predictions, pairs: Pairs, weights: Weights) -> tuple[Tensor, Tensor]:
    """The gradient of :func:`total_loss` by y, and the labels int64 [n, h, w] that y stands for.

    Written out, as every term is a plain difference: a third of the time that autograd takes for
    its slices.
    """
    labels = y.max(1, keepdim=True).indices
    gradient = (
        y.softmax(1)
        .scatter_add_(1, labels, y.new_full((1,), -1).expand_as(labels))
        .div_(labels.numel())
    )
    directions = [(offset, weights.local) for offset in AXES[weights.window]]
    for offset, weight in [*directions, *((offset, weights.diagonal) for offset in DIAGONALS)]:
        if weight:
            _push(*_shifted(gradient, *offset), *_shifted(y, *offset), weight, weights.norm)
    for a, b in pairs.tolist() if weights.background else ():
        _push(gradient[a], gradient[b], y[a], y[b], weights.background / len(pairs), weights.norm)
    return gradient, labels[:, 0]


@door
def background_labels(labels: RawLabels, rows: float = 1 / 2, columns: float = 1 / 3) -> list[int]:
    """Labels that hold the border of int64 [n, h, w]: more than ``rows`` of a width on the two top
    and two bottom rows looked at, or more than ``columns`` of a height on the two outermost
    columns, per image (CPLR).
    """
    n, h, w = labels.shape
    inner = round(3 * h / 64)
    level = torch.cat([labels[:, row].flatten() for row in (0, inner, h - 1 - inner, h - 1)])
    upright = torch.cat([labels[:, :, 0].flatten(), labels[:, :, -1].flatten()])
    border = (torch.bincount(level, minlength=256) > n * w * rows) | (
        torch.bincount(upright, minlength=256) > n * h * columns
    )
    return [int(label) for label in border.nonzero()[:, 0]]


@door
def reassign(
    labels: RawLabels,
    parts: int,
    how: Reassign = "structure",
    person: Annotated[Tensor, Axes("n h w")] | None = None,
) -> tuple[Tensor, int]:
    """CPLR: raw labels int64 [n, h, w] to uint8 0 background, 1..parts from top to bottom; and how
    many different raw labels the foreground had (0: all is background).

    structure: head, body and legs at 1/(2 K) and 2/K of the range of heights; there are three
    whatever ``parts``. mean: as many raw labels in each part as in the next, by mean height.
    person: ours, bool [n, h, w]; what is not there is background whatever its label, and counts for
    none: neither for its height nor for the border.
    """
    if person is not None:
        labels = labels.masked_fill(~person, OUTSIDE)
    behind = {OUTSIDE, *background_labels(labels)}
    front = [int(label) for label in labels.unique() if int(label) not in behind]
    row = torch.arange(labels.shape[1], device=labels.device, dtype=torch.float64)[
        None, :, None
    ].expand(labels.shape)
    height = {label: float(row[labels == label].mean()) for label in front}
    table = torch.zeros(256, dtype=torch.uint8, device=labels.device)
    if how == "structure":
        low = min(height.values(), default=0.0)
        segment = (max(height.values(), default=0.0) - low) / parts
        for label, y in height.items():
            table[label] = 1 if y < low + segment / 2 else 2 if y < low + 2 * segment else 3
    else:
        for place, label in enumerate(sorted(front, key=lambda label: height[label])):
            table[label] = next(k for k in range(1, parts + 1) if place < k * len(front) // parts)
    return table[labels], len(front)


@door
def parse_person(
    features: Tensor,
    cameras: Tensor,
    state: State | None,
    *,
    parts: int,
    least_labels: int = 18,
    steps: int = 32,
    lr: float = 0.1,
    local: float = 2.0,
    background: float = 1.0,
    diagonal: float = 1.0,
    norm: Norm = "l1",
    window: int = 3,
    same_camera: bool = True,
    how: Reassign = "structure",
    images: int | None = 8,
    dimensions: int | None = 32,
    central: bool = False,
    rim: int = 0,
    height: float = 0.0,
    seeded: bool = False,
    plausible: tuple[float, float] = (0.02, 0.95),
    seed: int = 0,
) -> Labelled:
    """Labels uint8 [n, h, w] of one person's n images by Algorithm 1: 0 background, 1..parts from
    top to bottom.

    features: float32 [n, C, h, w]; cameras: int64 [n]. least_labels: min_L, training stops when no
    more different labels are left. local, background, diagonal, norm, window, same_camera: see the
    losses. how: see
    :func:`reassign`. images, dimensions: train on so many of the images, evenly drawn, and on the
    features' main directions only; all are labelled (None for the paper's net, which sees
    everything). central: ours, features fade towards the rim, for trunks that start from nothing.
    rim: ours, so many cells at the rim count as those next to them, see
    :func:`partreid.methods.isp.clustering.inside`. height, seeded: ours, see
    :func:`partreid.methods.isp.labels.parse_person`; features fade where the discriminant sees no
    person, and a cell that it calls background counts for no raw label.
    plausible: least and greatest share of foreground that is believed.
    """
    isp_labels.require_one_way(seeded, central)
    n = len(features)
    f = inside(features.float(), rim)
    if not bool(f.sum().isfinite()):
        return isp_labels.fallback("not_finite", features, state)
    likely = seeded_foreground(f) if seeded else None
    if seeded and likely is None:
        return isp_labels.fallback("flat_activation", features, state)
    if height > 0:
        f = isp_labels.with_height(f, norms(f.flatten(2)), height)
    person = None
    if likely is not None:
        f, person = f * likely[:, None], likely > 0.5
    notes: dict[str, float] = {}
    if len(adjacent(cameras, same_camera)) == 0:
        # L_back has nothing to compare
        notes["one_image" if n == 1 else "one_image_per_camera"] = 1
    net = CoParser(f, cameras, images, dimensions, same_camera, seed, central)
    net.train(steps, least_labels, lr, Weights(local, background, diagonal, norm, window))
    notes["steps"] = len(net.weights)
    best: Tensor | None = None
    few = 0
    # too few labels left: an earlier step had more
    for back, weights in enumerate(reversed(net.weights)):
        labels, front = reassign(net.predict(weights), parts, how, person)
        share = float((labels > 0).float().mean())
        if plausible[0] <= share <= plausible[1] and front > few:
            best, few = labels, front
            if front >= parts:
                notes |= {"earlier_step": 1} if back else {}
                break
    if best is not None:
        return Labelled(best, None, notes | ({"few_labels": 1} if few < parts else {}))
    if state is not None:
        return isp_labels.fallback("no_foreground", features, state)
    cascade = isp_labels.parse_person(
        features,
        cameras,
        state,
        parts=parts,
        central=central,
        rim=rim,
        height=height,
        seeded=seeded,
        seed=seed,
    )
    return Labelled(
        cascade.labels, None, {**notes, **cascade.notes, "no_foreground": 1, "cascade": 1}
    )


class CoParser:
    """The decoder of one person, its training and what it makes of all their images.

    features float32 [n, C, h, w], cameras int64 [n]; images, dimensions, same_camera, central: see
    :func:`parse_person`.
    ``weights``: the decoder's parameters before each update.
    """

    @door
    def __init__(
        self,
        features: Tensor,
        cameras: Tensor,
        images: int | None,
        dimensions: int | None,
        same_camera: bool,
        seed: int,
        central: bool = False,
    ) -> None:
        self.decoder = Decoder(features.shape[1], seed=seed).to(features.device)
        if dimensions is not None and dimensions < features.shape[1]:
            features = _compressed(self.decoder, features, dimensions)
        if central:
            features = features * middle_of(features.shape[2], features.shape[3], features)
        self.features = features.contiguous(memory_format=FORMAT)
        arrange(self.decoder).train()
        chosen = torch.arange(len(features))
        if images is not None and images < len(features):
            order = torch.sort(cameras, stable=True).indices.cpu()
            chosen = order[torch.linspace(0, len(features) - 1, images).round().long()]
        self.chosen, self.pairs = (
            self.features[chosen.to(features.device)],
            adjacent(cameras.cpu()[chosen], same_camera),
        )
        self.weights: list[list[Tensor]] = []

    def train(self, steps: int, least_labels: int, lr: float, weights: "Weights") -> None:
        """Algorithm 1: at most ``steps`` updates, until ``least_labels`` or fewer different
        labels are left.
        """
        optimizer = torch.optim.SGD(self.decoder.parameters(), lr=lr, momentum=0.9)
        with torch.enable_grad():
            for _ in range(steps):
                self.weights.append([p.detach().clone() for p in self.decoder.parameters()])
                y = self.decoder(self.chosen)
                gradient, raw = descent(y.detach(), self.pairs, weights)
                optimizer.zero_grad()
                y.backward(gradient)
                optimizer.step()
                if int((torch.bincount(raw.flatten(), minlength=1) > 0).sum()) <= least_labels:
                    break

    def predict(self, weights: Sequence[Tensor]) -> Tensor:
        """Y'_k: raw labels int64 [n, h, w] of all images by the decoder with these parameters."""
        with torch.no_grad():
            for p, value in zip(self.decoder.parameters(), weights, strict=True):
                p.copy_(value)
            return self.decoder(self.features).max(1).indices


def _compressed(decoder: Decoder, f: Tensor, dimensions: int) -> Tensor:
    """Features along their ``dimensions`` main directions, and the first convolution turned to
    suit.

    With an orthonormal basis V, W f = (W V)(V' f) for all f in its span, and descent on W V is
    descent on W within that span: the net learns as it would on all channels, but for what the
    left-out directions carry.
    """
    flat = f.flatten(2)
    some = flat[:, :, :: max(1, len(f) * flat.shape[2] // 4096)].transpose(1, 2).flatten(0, 1)
    basis = (
        torch.linalg.eigh((some.T @ some).double()).eigenvectors[:, -dimensions:].float()
    )  # [C, D]
    first = decoder[0]
    assert isinstance(first, nn.Conv2d)
    turned = nn.Conv2d(dimensions, first.out_channels, 3, padding=1, bias=False).to(f.device)
    turned.weight.data = torch.einsum("ochw,cd->odhw", first.weight.data, basis)
    decoder[0] = turned
    return torch.matmul(basis.T, flat).unflatten(2, f.shape[2:])


def _shifted(y: Predictions, down: int, right: int) -> tuple[Tensor, Tensor]:
    """y and y moved by an offset, where both are: down >= 0, right of any sign."""
    h, w = y.shape[2:]
    a = y[:, :, down:, max(right, 0) : w + min(right, 0)]
    return a, y[:, :, : h - down, max(-right, 0) : w - max(right, 0)]


def _differ(a: Tensor, b: Tensor, norm: Norm) -> Tensor:
    return (a - b).abs().mean() if norm == "l1" else (a - b).square().mean()


def _push(to_a: Tensor, to_b: Tensor, a: Tensor, b: Tensor, weight: float, norm: Norm) -> None:
    """Add the gradient of weight * _differ(a, b) to those of a and b, in place."""
    force = (a - b).sign_() if norm == "l1" else (a - b).mul_(2)
    to_a.add_(force, alpha=weight / force.numel())
    to_b.sub_(force, alpha=weight / force.numel())
