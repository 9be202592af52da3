"""Losses: pure functions of tensors. They log nothing, choose no device and know no method.

Where a loss takes embeddings, a plain tensor float [N, D] or [N, M, D] will do; all of it counts as
visible, unless ``visibility`` is given too. Identities are whole numbers, and none of them is
special: one that must not count is left out of the batch.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from partreid.distance import PartDistance
from partreid.errors import ArgumentError, ShapeError
from partreid.types import UNKNOWN, Embeddings, Vectors
from partreid.utils.arguments import door, number

EUCLIDEAN = PartDistance("euclidean")
Combine = Literal["mean", "max", "min", "max_min", "each"]
_NO_TARGET = -(2**62)  # of cross-entropy: its own -100 would skip an identity of that number


@door
def id_loss(
    logits: Tensor, ids: Tensor, smoothing: float = 0.1, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy with label smoothing over the C identities (eps / C on every class; BPBreID
    Sec. 4.2).

    Args:
        logits: float [N, C], or [N, M, C] for M classifiers per image.
        ids: int64 [N] in 0..C-1.
        smoothing: eps, from 0 to 1.
        weights: float of the logits' leading shape, >= 0, e.g. visibility; ``None`` weighs all
            alike.

    Returns:
        The weighted mean, a scalar; 0 if nothing weighs.

    Raises:
        ShapeError: Shapes do not fit, an identity lies outside 0..C-1, or a weight is negative or
            no number. Values are looked at on the CPU; on a GPU an identity outside stops torch.

    Examples:
        >>> logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
        >>> id_loss(logits, torch.tensor([0, 2]), smoothing=0.0)
        tensor(0.2395)
    """
    number("smoothing", smoothing, 0, 1)
    if logits.ndim not in (2, 3) or not logits.is_floating_point():
        raise ShapeError(
            f"logits must be floats [N, C] or [N, M, C], got {logits.dtype} {list(logits.shape)}"
        )
    _require_ids(ids, len(logits))
    if not ids.is_cuda:
        _require_range(ids, logits.shape[-1])
    if weights is not None:
        if weights.shape != logits.shape[:-1]:
            raise ShapeError(
                f"weights must be {list(logits.shape[:-1])} like the logits, got "
                f"{list(weights.shape)}"
            )
        if not weights.is_cuda and not bool((weights >= 0).all()):  # NaN is not
            raise ShapeError("weights must be numbers of at least 0, got a negative one or NaN")
    ids = ids.long()
    if logits.ndim == 3:
        ids = ids[:, None].expand(logits.shape[:2])
    each = F.cross_entropy(
        logits.flatten(0, -2),
        ids.flatten(),
        ignore_index=_NO_TARGET,
        label_smoothing=smoothing,
        reduction="none",
    )
    if weights is None:
        return each.mean()
    weights = weights.flatten().to(each)
    return (each * weights).sum() / weights.sum().clamp_min(1e-12)


@door
def mine_hardest(distances: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Hardest positive and negative of every anchor that has both (batch-hard mining).

    The anchor itself is never its own positive. A distance of NaN is kept, so that a model that
    diverges shows in its loss.

    Args:
        distances: float [..., N, N], +inf = unusable pair.
        ids: int64 [N].

    Returns:
        Two float [A]: of each of the A anchors the farthest of its own identity and the nearest of
        the others.

    Raises:
        ShapeError: Shapes do not fit, or identities are no whole numbers.

    Examples:
        >>> far = torch.tensor([[0.0, 1.0, 5.0], [1.0, 0.0, 2.0], [5.0, 2.0, 0.0]])
        >>> mine_hardest(far, torch.tensor([0, 0, 1]))
        (tensor([1., 1.]), tensor([5., 2.]))
    """
    if distances.ndim < 2 or ids.ndim != 1 or tuple(distances.shape[-2:]) != (len(ids), len(ids)):
        raise ShapeError(
            f"distances must be [.., N, N] and identities [N], got {list(distances.shape)} and "
            f"{list(ids.shape)}"
        )
    _require_ids(ids, len(ids))
    same = ids[:, None] == ids[None, :]
    itself = torch.eye(len(ids), dtype=torch.bool, device=ids.device)
    unusable = distances.isinf()
    positive = distances.masked_fill(~same | itself | unusable, -torch.inf).amax(-1)
    negative = distances.masked_fill(same | unusable, torch.inf).amin(-1)
    kept = ~(positive.isinf() | negative.isinf())
    return positive[kept], negative[kept]


@door
def margin_loss(positive: Tensor, negative: Tensor, margin: float = 0.3) -> Tensor:
    """Mean of [positive - negative + margin]_+ (BPBreID Eq. 8).

    Args:
        positive: float [A], distances of the anchors to one of their own identity.
        negative: float [A], to one of another.
        margin: >= 0; 0 takes the soft form log(1 + e^(p - n)).

    Returns:
        A scalar; 0 if there are no anchors.

    Raises:
        ShapeError: They are not one for one.

    Examples:
        >>> margin_loss(torch.tensor([1.0, 1.0]), torch.tensor([1.1, 2.0]), margin=0.3)
        tensor(0.1000)
    """
    number("margin", margin, 0)
    if positive.shape != negative.shape or positive.ndim != 1:
        raise ShapeError(
            "positive and negative distances must be [A], one of each for every anchor, got "
            f"{list(positive.shape)} and {list(negative.shape)}"
        )
    if len(positive) == 0:
        return (positive.sum() + negative.sum()) * 0.0  # nothing to rank; keeps the graph alive
    gap = positive - negative
    return (F.softplus(gap) if margin == 0 else F.relu(gap + margin)).mean()  # Eq. 8


@door
def hard_triplet(
    e: Vectors,
    ids: Tensor,
    margin: float = 0.3,
    combine: Combine = "mean",
    *,
    visibility: Tensor | None = None,
) -> Tensor:
    """Batch-hard triplet loss on raw embeddings (BPBreID Sec. 3.3.2, Eq. 7 and 8).

    With M embeddings the distance of a pair is their mean over what both images show (Eq. 7; +inf,
    hence unused, if they share nothing).

    Args:
        e: Embeddings or float [N, D] or [N, M, D].
        ids: int64 [N].
        margin: >= 0; 0 takes the soft form of :func:`margin_loss`.
        combine: Instead of the "mean" the "max" or "min" over shared embeddings, "max_min" (max for
            positives, min for negatives), or "each" embedding mined on its own.
        visibility: Of a plain tensor, float [N, M] in [0, 1]; None: all 1.

    Returns:
        A scalar; 0 with gradient 0 if no anchor has both a positive and a negative.

    Raises:
        ArgumentError: There is no such ``combine``, or the margin is negative.
        ShapeError: Shapes do not fit, identities are no whole numbers, or a visibility lies outside
            0..1.

    Examples:
        >>> vectors, ids = torch.eye(4), torch.tensor([0, 0, 1, 1])  # all as far apart
        >>> hard_triplet(vectors, ids, margin=0.3)
        tensor(0.3000)
    """
    e = Embeddings.of(e, visibility)
    _require_ids(ids, len(e))
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
def gilt_terms(
    logits: Mapping[str, Tensor],
    groups: Mapping[str, Vectors],
    ids: Tensor,
    terms: Sequence[str],
    *,
    smoothing: float = 0.1,
    margin: float = 0.3,
    combine: Combine = "mean",
) -> dict[str, Tensor]:
    """Identity and triplet losses of groups of embeddings, each on its own: GiLt and what BPBreID
    compares it with (Sec. 4.4.2).

    Args:
        logits: By group, what a BN-neck and a classifier make of it: float [N, C], or [N, M, C].
        groups: By name, embeddings or float [N, D] or [N, M, D]. Hidden ones drop out of the losses
            of their group; a plain tensor hides nothing, as in the paper.
        ids: int64 [N] in 0..C-1.
        terms: "id_<group>" for the identity loss on ``logits``, "triplet_<group>" for the triplet
            loss on ``groups``, "triplet_each_part" for one on every part of the group "parts".
        smoothing: Of the identity losses, from 0 to 1.
        margin: Of the triplet losses, >= 0.
        combine: How part distances combine in "triplet_parts", see :func:`hard_triplet`.

    Returns:
        A scalar for each of the terms, by its name and in their order.

    Raises:
        ArgumentError: A term is neither, or the group that it names is not there.
        ShapeError: As of :func:`id_loss` and :func:`hard_triplet`.

    Examples:
        >>> ids, groups = torch.tensor([0, 0, 1, 1]), {"global": torch.eye(4)}
        >>> terms = ["id_global", "triplet_global"]
        >>> losses = gilt_terms({"global": torch.eye(4)}, groups, ids, terms)
        >>> list(losses), losses["triplet_global"]
        (['id_global', 'triplet_global'], tensor(0.3000))
    """
    losses = {}
    for term in terms:
        kind, _, name = term.partition("_")
        group = "parts" if term == "triplet_each_part" else name
        of = {"id": logits, "triplet": groups}.get(kind, {})
        if group not in of:
            raise ArgumentError(
                f"the loss term '{term}' has nothing to go on: there are "
                f"{', '.join([f'id_{n}' for n in logits] + [f'triplet_{n}' for n in groups])}"
            )
        if kind == "id":
            e, made = groups.get(name), logits[name]
            seen = e.visibility if isinstance(e, Embeddings) and made.ndim == 3 else None
            losses[term] = id_loss(made, ids, smoothing, seen)  # L_CE, Eq. 6
        else:
            how: Combine = "each" if group != name else combine if name == "parts" else "mean"
            losses[term] = hard_triplet(groups[group], ids, margin, how)  # Eq. 7 and 8
    return losses


@door
def gilt_loss(
    logits: Tensor | Mapping[str, Tensor],
    parts: Vectors,
    ids: Tensor,
    *,
    visibility: Tensor | None = None,
    smoothing: float = 0.1,
    margin: float = 0.3,
    combine: Combine = "mean",
) -> Tensor:
    """GiLt, global-identity local-triplet: identity losses on the holistic embeddings, one triplet
    loss on the parts (BPBreID Eq. 6).

    The paper's whole objective is ``0.35 * part_loss(...) + gilt_loss(...)`` (Eq. 5), and its
    training takes every part as visible.

    Args:
        logits: What BN-necks and classifiers make of the holistic embeddings f_g, f_f and f_c, by
            name, float [N, C] each; or those of a single one.
        parts: f_1 to f_K before any BN-neck, embeddings or float [N, K, D].
        ids: int64 [N] in 0..C-1.
        visibility: Of parts that are a plain tensor, float [N, K] in [0, 1]; None: all 1.
        smoothing: Of the identity losses, from 0 to 1.
        margin: Of the triplet loss, >= 0.
        combine: How part distances combine, see :func:`hard_triplet`.

    Returns:
        The sum of the losses, a scalar.

    Raises:
        ArgumentError: There are no logits, no such ``combine``, or a number out of its range.
        ShapeError: As of :func:`id_loss` and :func:`hard_triplet`.

    Examples:
        >>> parts, ids = torch.eye(4)[:, None], torch.tensor([0, 0, 1, 1])
        >>> gilt_loss({"global": torch.zeros(4, 2), "foreground": torch.zeros(4, 2)}, parts, ids)
        tensor(1.6863)
    """
    by_name = {"global": logits} if isinstance(logits, Tensor) else dict(logits)
    if not by_name:
        raise ArgumentError(
            "gilt_loss: logits must be of at least one holistic embedding, got none; for the parts "
            "alone take hard_triplet"
        )
    terms = [f"id_{name}" for name in by_name]
    each = gilt_terms(
        by_name,
        {"parts": Embeddings.of(parts, visibility)},
        ids,
        [*terms, "triplet_parts"],
        smoothing=smoothing,
        margin=margin,
        combine=combine,
    )
    return sum(each.values(), start=ids.new_zeros((), dtype=torch.float32))  # Eq. 6


@door
def resize_labels(labels: Tensor, size: tuple[int, int], classes: int) -> Tensor:
    """Labels on a coarser grid: the class that covers most of each cell wins.

    255 (unknown) wins only where nothing is known at all. Ties go to the lower class.

    Args:
        labels: uint8 [B, H, W], 0..classes-1 or 255.
        size: (h, w).
        classes: K + 1, background included.

    Returns:
        uint8 [B, h, w].

    Examples:
        >>> resize_labels(torch.tensor([[[1, 1], [2, 1]]], dtype=torch.uint8), (1, 1), classes=3)
        tensor([[[1]]], dtype=torch.uint8)
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
    """Soft masks as labels: of the masks resized bilinearly, corner on corner, the highest
    (BPBreID's released code). Ties go to the lower class.

    Args:
        masks: float [B, K+1, H, W], background first.
        size: (h, w).

    Returns:
        int64 [B, h, w].

    Examples:
        >>> masks = torch.tensor([[[[0.9, 0.2]], [[0.1, 0.8]]]])  # background, one part; 1 x 2
        >>> highest_mask(masks, (1, 2))
        tensor([[[0, 1]]])
    """
    return F.interpolate(masks, size, mode="bilinear", align_corners=True).argmax(1)


@door
def label_shares(labels: Tensor, size: tuple[int, int], classes: int) -> Tensor:
    """How much of each cell a class covers.

    Args:
        labels: uint8 [B, H, W], 0..classes-1 or 255.
        size: (h, w).
        classes: K + 1, background included.

    Returns:
        float32 [B, classes, h, w] in [0, 1].

    Examples:
        >>> labels = torch.tensor([[[0, 1, 1, 1]]], dtype=torch.uint8)
        >>> label_shares(labels, (1, 2), 2)[0, :, 0]  # background and part, in two cells
        tensor([[0.5000, 0.0000],
                [0.5000, 1.0000]])
    """
    planes = [F.adaptive_avg_pool2d((labels == c).float()[:, None], size) for c in range(classes)]
    return torch.cat(planes, 1)


@door
def part_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0, keep: float = 1.0) -> Tensor:
    """Pixel cross-entropy of the part head (BPBreID Eq. 2, ISP Eq. 6), averaged over the known
    pixels.

    Args:
        logits: float [B, K+1, h, w].
        labels: uint8 [B, H, W] (0 background, 1..K, 255 unknown), brought to h x w by majority; or
            soft masks float [B, K+1, H, W], see :func:`highest_mask`.
        smoothing: eps / (K+1) on every class, from 0 to 1.
        keep: Share of the easiest pixels that count, above 0 and at most 1 (all).

    Returns:
        A scalar; 0 with gradient 0 if no pixel is known.

    Raises:
        ShapeError: Shapes do not fit, or a label is none of the head's.

    Examples:
        >>> labels = torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8)
        >>> part_loss(torch.zeros(1, 3, 2, 2), labels)
        tensor(1.0986)
    """
    number("smoothing", smoothing, 0, 1)
    if number("keep", keep, 0, 1) == 0:
        raise ArgumentError("keep must be a number above 0, or no pixel teaches anything, got 0")
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

    Args:
        logits: float [B, K+1, h, w].
        labels: uint8 [B, H, W] (0 background, 1..K, 255 unknown); each cell takes the pixel under
            its center.
        balanced: The mean over the classes that occur in the batch, of the mean over their pixels;
            otherwise the mean over all known pixels.

    Returns:
        A scalar; 0 with gradient 0 if no pixel is known.

    Raises:
        ShapeError: Shapes do not fit, or a label is none of the head's.

    Examples:
        >>> labels = torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8)
        >>> mask_loss(torch.zeros(1, 3, 2, 2), labels)
        tensor(1.0986)
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
def diversity_loss(z: Vectors, diagonal: bool = False, eps: float = 1e-8) -> Tensor:
    """Mean cosine similarity of the K regions of an image, two by two (MagnifierNet Eq. 3).

    A zero vector is similar to nothing.

    Args:
        z: Embeddings or float [N, K, D] with K >= 2; a visibility does not enter.
        diagonal: Also each region with itself, as the printed sum begins, which adds a constant
            without gradient.
        eps: Least product of two lengths.

    Returns:
        A scalar.

    Raises:
        ShapeError: The regions are not [N, K, D] with at least two of them.

    Examples:
        >>> diversity_loss(torch.tensor([[[1.0, 0.0], [2.0, 0.0]]]))  # both say the same
        tensor(1.)
    """
    number("eps", eps, 0, open_=True)
    z = z.vectors if isinstance(z, Embeddings) else z
    if z.ndim != 3 or z.shape[1] < 2:
        raise ShapeError(f"regions must be [N, K, D] with K of at least 2, got {list(z.shape)}")
    K = z.shape[1]
    length = torch.linalg.vector_norm(z, dim=2)
    similar = z @ z.mT / (length[:, :, None] * length[:, None]).clamp_min(eps)
    return similar.triu(0 if diagonal else 1).sum() / (len(z) * K * (K - 1) / 2)  # Eq. 3


def _require_ids(ids: Tensor, n: int) -> None:
    whole = not (ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool)
    if tuple(ids.shape) != (n,) or not whole:
        raise ShapeError(
            f"identities must be whole numbers [{n}], one per image, got {ids.dtype} "
            f"{list(ids.shape)}"
        )


def _require_range(ids: Tensor, identities: int) -> None:
    """ShapeError unless all identities lie in 0..identities-1."""
    wrong = ids[(ids < 0) | (ids >= identities)]
    if len(wrong):
        raise ShapeError(
            f"identities must lie from 0 to {identities - 1}, those that there are classes for, "
            f"got {int(wrong[0])}; number the people of the training images from 0"
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
    known = labels.masked_fill(labels == UNKNOWN, 0)
    highest = int(known.max()) if labels.numel() else 0
    if labels.dtype != torch.uint8 and labels.numel() and int(known.min()) < 0:
        raise ShapeError(f"part labels begin at 0 (background), got {int(known.min())}")
    if highest >= classes:
        raise ShapeError(
            f"part labels go up to {highest}, the part head knows 0..{classes - 1}; the label "
            "source and the scheme of the recipe do not match"
        )


@door
def center_loss(f: Vectors, centers: Tensor, ids: Tensor, weight: float) -> Tensor:
    """Half the squared distance to the identity's center, mean over the batch (BoT Sec. 3.6).

    Args:
        f: float [N, D], or embeddings of one vector per image.
        centers: float [identities, D].
        ids: int64 [N] in 0..identities-1.
        weight: >= 0; scales the gradient of the embeddings only: the centers follow with their own
            optimizer at full strength, whatever the weight.

    Returns:
        A scalar.

    Raises:
        ShapeError: Shapes do not fit, or an identity has no center.

    Examples:
        >>> centers = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
        >>> center_loss(torch.tensor([[3.0, 4.0]]), centers, torch.tensor([0]), weight=0.0)
        tensor(12.5000)
    """
    number("weight", weight, 0)
    if isinstance(f, Embeddings):
        f = f.vectors.flatten(1) if len(f.names) == 1 else f.vectors
    if f.ndim != 2 or centers.ndim != 2 or f.shape[1] != centers.shape[1]:
        raise ShapeError(
            "embeddings [N, D] and centers [identities, D] must be of one width, got "
            f"{list(f.shape)} and {list(centers.shape)}"
        )
    _require_ids(ids, len(f))
    _require_range(ids, len(centers))
    targets = centers[ids]

    def pull(a: Tensor, b: Tensor) -> Tensor:
        return 0.5 * (a - b).square().sum(1).mean()

    return weight * pull(f, targets.detach()) + pull(f.detach(), targets)
