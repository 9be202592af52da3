"""Losses: pure functions of tensors. They log nothing, choose no device and know no method."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from partreid.distance import PartDistance
from partreid.errors import ShapeError
from partreid.types import UNKNOWN, Embeddings
from partreid.utils.arguments import door, number

EUCLIDEAN = PartDistance("euclidean")
Combine = Literal["mean", "max", "min", "max_min", "each"]


@door
def id_loss(
    logits: Tensor, ids: Tensor, smoothing: float = 0.1, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy with label smoothing over the C identities (eps / C on every class; BPBreID
    Sec. 4.2).

    logits: float [N, C], or [N, M, C] for M classifiers per image. ids: int64 [N]. weights: float
    of the logits' leading shape, >= 0, e.g. visibility; ``None`` weighs all alike. Returns the
    weighted mean, 0 if nothing weighs.
    """
    number("smoothing", smoothing, 0, 1)
    _require_ids(logits, ids)
    if weights is not None and weights.shape != logits.shape[:-1]:
        raise ShapeError(
            f"weights must be {list(logits.shape[:-1])} like the logits, got {list(weights.shape)}"
        )
    if logits.ndim == 3:
        ids = ids[:, None].expand(logits.shape[:2])
    each = F.cross_entropy(
        logits.flatten(0, -2), ids.flatten(), label_smoothing=smoothing, reduction="none"
    )
    if weights is None:
        return each.mean()
    weights = weights.flatten().to(each)
    return (each * weights).sum() / weights.sum().clamp_min(1e-12)


@door
def mine_hardest(distances: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Hardest positive and negative of every anchor that has both (batch-hard mining).

    distances: float [..., N, N], +inf = unusable pair. ids: int64 [N]. Returns two float [A]
    vectors. The anchor itself is never its own positive.
    """
    if distances.ndim < 2 or tuple(distances.shape[-2:]) != (len(ids), len(ids)) or ids.ndim != 1:
        raise ShapeError(
            f"distances must be [.., N, N] and identities [N], got {list(distances.shape)} and "
            f"{list(ids.shape)}"
        )
    same = ids[:, None] == ids[None, :]
    itself = torch.eye(len(ids), dtype=torch.bool, device=ids.device)
    usable = distances.isfinite()
    positive = distances.masked_fill(~(same & ~itself & usable), -torch.inf).amax(-1)
    negative = distances.masked_fill(same | ~usable, torch.inf).amin(-1)
    kept = positive.isfinite() & negative.isfinite()
    return positive[kept], negative[kept]


@door
def margin_loss(positive: Tensor, negative: Tensor, margin: float = 0.3) -> Tensor:
    """Mean of [positive - negative + margin]_+ (BPBreID Eq. 8); with margin 0 the soft form
    log(1 + e^(p - n)).
    """
    number("margin", margin, 0)
    if len(positive) == 0:
        return (positive.sum() + negative.sum()) * 0.0  # nothing to rank; keeps the graph alive
    gap = positive - negative
    return (F.softplus(gap) if margin == 0 else F.relu(gap + margin)).mean()  # Eq. 8


@door
def hard_triplet(
    e: Embeddings, ids: Tensor, margin: float = 0.3, combine: Combine = "mean"
) -> Tensor:
    """Batch-hard triplet loss on raw embeddings (BPBreID Sec. 3.3.2, Eq. 7 and 8).

    With M embeddings the distance of a pair is their mean over what both images show (Eq. 7; +inf,
    hence unused, if they share nothing). ``combine`` other than "mean": the "max" or "min" over
    shared embeddings, "max_min" (max for positives, min for negatives), or "each" embedding mined
    on its own.
    """
    _require_ids(e.vectors, ids)
    if combine == "mean":
        return margin_loss(*mine_hardest(EUCLIDEAN.within(e), ids), margin)  # Eq. 7
    per_part = torch.stack([EUCLIDEAN.within(e.select(name)) for name in e.names])  # [M, N, N]
    if combine == "each":
        return margin_loss(*mine_hardest(per_part, ids), margin)
    highest = per_part.masked_fill(per_part.isinf(), -torch.inf).amax(0)
    highest = highest.masked_fill(highest.isinf(), torch.inf)  # shares nothing: unusable again
    lowest = per_part.amin(0)
    if combine == "max_min":
        same = ids[:, None] == ids[None, :]
        return margin_loss(*mine_hardest(torch.where(same, highest, lowest), ids), margin)
    return margin_loss(*mine_hardest(highest if combine == "max" else lowest, ids), margin)


@door
def resize_labels(labels: Tensor, size: tuple[int, int], classes: int) -> Tensor:
    """Labels uint8 [B, H, W] on a coarser grid [B, h, w]: the class that covers most of each cell
    wins.

    255 (unknown) wins only where nothing is known at all. Ties go to the lower class.
    """
    if tuple(labels.shape[1:]) == tuple(size):
        return labels
    share = label_shares(labels, size, classes)
    known = F.adaptive_avg_pool2d((labels != UNKNOWN).float()[:, None], size)[:, 0] > 0
    return torch.where(
        known,
        share.argmax(1).to(torch.uint8),
        torch.tensor(UNKNOWN, dtype=torch.uint8, device=labels.device),
    )


@door
def highest_mask(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Soft masks float [B, K+1, H, W] as labels int64 [B, h, w]: of the masks resized bilinearly,
    corner on corner, the highest (BPBreID's released code). Ties go to the lower class.
    """
    return F.interpolate(masks, size, mode="bilinear", align_corners=True).argmax(1)


@door
def label_shares(labels: Tensor, size: tuple[int, int], classes: int) -> Tensor:
    """How much of each cell a class covers: uint8 [B, H, W] -> float32 [B, classes, h, w] in [0,
    1].
    """
    planes = [F.adaptive_avg_pool2d((labels == c).float()[:, None], size) for c in range(classes)]
    return torch.cat(planes, 1)


@door
def part_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0, keep: float = 1.0) -> Tensor:
    """Pixel cross-entropy of the part head (BPBreID Eq. 2, ISP Eq. 6), averaged over the known
    pixels.

    logits: float [B, K+1, h, w]. labels: uint8 [B, H, W] (0 background, 1..K, 255 unknown), brought
    to h x w by majority; or soft masks float [B, K+1, H, W], see :func:`highest_mask`. smoothing:
    eps / (K+1) on every class. keep: share of the easiest pixels that count (1 = all).
    """
    number("smoothing", smoothing, 0, 1)
    number("keep", keep, 0, 1)
    if labels.ndim == 4:
        _check_masks(labels, logits)
        target = highest_mask(labels, (logits.shape[2], logits.shape[3]))
    else:
        _check_labels(labels, logits)
        target = resize_labels(labels, (logits.shape[2], logits.shape[3]), logits.shape[1]).long()
    target = target.masked_fill(target == UNKNOWN, -100)
    each = F.cross_entropy(logits, target, label_smoothing=smoothing, reduction="none")[
        target != -100
    ]
    if keep < 1:
        each = each.topk(int(len(each) * keep), largest=False).values
    return each.mean() if len(each) else logits.sum() * 0.0


@door
def mask_loss(logits: Tensor, labels: Tensor, balanced: bool = True) -> Tensor:
    """Pixel cross-entropy of MagnifierNet's mask module, L_mask of its Eq. 4.

    logits: float [B, K+1, h, w]. labels: uint8 [B, H, W] (0 background, 1..K, 255 unknown); each
    cell takes the pixel under its centre. balanced: the mean over the classes that occur in the
    batch, of the mean over their pixels; otherwise the mean over all known pixels. 0 if none is
    known.
    """
    _check_labels(labels, logits)
    classes = logits.shape[1]
    rows, columns = (
        ((torch.arange(m, device=labels.device) + 0.5) * n / m).long()
        for n, m in zip(labels.shape[1:], logits.shape[2:], strict=True)
    )
    target = labels[:, rows[:, None], columns].long()
    known = target != UNKNOWN
    each = F.cross_entropy(logits, target.masked_fill(~known, -100), reduction="none")
    if not balanced:
        return each.sum() / known.sum().clamp_min(1)
    member = (
        target[:, None] == torch.arange(classes, device=labels.device)[:, None, None]
    )  # [B, K+1, h, w]
    total, count = (each[:, None] * member).sum((0, 2, 3)), member.sum((0, 2, 3))
    return (total / count.clamp_min(1)).sum() / (count > 0).sum().clamp_min(1)


@door
def diversity_loss(z: Tensor, diagonal: bool = False, eps: float = 1e-8) -> Tensor:
    """Mean cosine similarity of the K regions of an image, two by two (MagnifierNet Eq. 3). z:
    float [N, K, D].

    A zero vector is similar to nothing. diagonal: also each region with itself, as the printed sum
    begins, which adds a constant without gradient.
    """
    if z.ndim != 3:
        raise ShapeError(f"regions must be [N, K, D], got {list(z.shape)}")
    K = z.shape[1]
    length = torch.linalg.vector_norm(z, dim=2)
    similar = z @ z.mT / (length[:, :, None] * length[:, None]).clamp_min(eps)
    return similar.triu(0 if diagonal else 1).sum() / (len(z) * K * (K - 1) / 2)  # Eq. 3


def _require_ids(of: Tensor, ids: Tensor) -> None:
    if of.ndim < 2 or tuple(ids.shape) != (len(of),) or ids.is_floating_point():
        raise ShapeError(
            f"identities must be whole numbers [{len(of) if of.ndim else 1}], one per image, got "
            f"{ids.dtype} {list(ids.shape)} for {list(of.shape)}"
        )


def _check_masks(masks: Tensor, logits: Tensor) -> None:
    if logits.ndim != 4 or masks.shape[:2] != logits.shape[:2] or not masks.is_floating_point():
        raise ShapeError(
            f"part masks must be float {[*logits.shape[:2]]} x height x width like the logits, "
            f"background included, got {masks.dtype} {list(masks.shape)}; the label source and the "
            "scheme of the recipe do not match"
        )


def _check_labels(labels: Tensor, logits: Tensor) -> None:
    if (
        logits.ndim != 4
        or labels.ndim != 3
        or len(labels) != len(logits)
        or labels.is_floating_point()
    ):
        raise ShapeError(
            "part logits [B, K+1, h, w] need labels [B, H, W] of whole numbers, got "
            f"{list(logits.shape)} and {labels.dtype} {list(labels.shape)}"
        )
    classes = logits.shape[1]
    highest = int(labels.masked_fill(labels == UNKNOWN, 0).max()) if labels.numel() else 0
    if highest >= classes:
        raise ShapeError(
            f"part labels go up to {highest}, the part head knows 0..{classes - 1}; the label "
            "source and the scheme of the recipe do not match"
        )


@door
def centre_loss(f: Tensor, centres: Tensor, ids: Tensor, weight: float) -> Tensor:
    """Half the squared distance to the identity's centre, mean over the batch (BoT Sec. 3.6).

    f: float [N, D]. centres: float [identities, D]. Scaled by ``weight`` for the embeddings only:
    the centres follow with their own optimiser at full strength, whatever the weight.
    """
    number("weight", weight, 0)
    if f.ndim != 2 or centres.ndim != 2 or f.shape[1] != centres.shape[1]:
        raise ShapeError(
            "embeddings [N, D] and centres [identities, D] must be of one width, got "
            f"{list(f.shape)} and {list(centres.shape)}"
        )
    _require_ids(f, ids)
    own = centres[ids]

    def pull(a: Tensor, b: Tensor) -> Tensor:
        return 0.5 * (a - b).square().sum(1).mean()

    return weight * pull(f, own.detach()) + pull(f.detach(), own)
