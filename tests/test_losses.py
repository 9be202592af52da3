"""Each loss against loops that follow its equation, one number at a time."""

import math

import pytest
import torch
from torch import Tensor

from partreid.errors import ArgumentError, ShapeError
from partreid.losses import (
    Combine,
    center_loss,
    diversity_loss,
    gilt_loss,
    gilt_terms,
    hard_triplet,
    id_loss,
    label_shares,
    margin_loss,
    mask_loss,
    mine_hardest,
    part_loss,
    resize_labels,
)
from partreid.types import UNKNOWN, Embeddings

IDS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])


def group(seed: int = 0, parts: int = 3, hide: bool = True) -> Embeddings:
    draw = torch.Generator().manual_seed(seed)
    vectors = torch.randn(len(IDS), parts, 5, generator=draw)
    seen = (torch.rand(len(IDS), parts, generator=draw) > 0.35).float()
    return Embeddings(
        vectors, seen if hide else torch.ones_like(seen), tuple(f"p{m}" for m in range(parts))
    )


def smoothed(logits: Tensor, target: int, eps: float) -> float:
    """-sum q log p with q = (1 - eps) [c = target] + eps / C."""
    p = torch.softmax(logits.double(), 0).tolist()
    C = len(p)
    return -sum(((1 - eps) * (c == target) + eps / C) * math.log(p[c]) for c in range(C))


@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_id_loss_is_smoothed_cross_entropy(eps: float) -> None:
    logits, ids = torch.randn(5, 7), torch.tensor([0, 6, 3, 3, 1])
    want = sum(smoothed(logits[n], int(ids[n]), eps) for n in range(5)) / 5
    assert id_loss(logits, ids, eps).item() == pytest.approx(want, rel=1e-5)


def test_id_loss_of_parts_is_the_mean_over_those_that_count() -> None:
    logits, ids, seen = (
        torch.randn(4, 3, 6),
        torch.tensor([0, 5, 2, 2]),
        torch.rand(4, 3).round(decimals=1),
    )
    each = [[smoothed(logits[n, m], int(ids[n]), 0.1) for m in range(3)] for n in range(4)]
    flat = [each[n][m] for n in range(4) for m in range(3)]
    assert id_loss(logits, ids, 0.1).item() == pytest.approx(sum(flat) / 12, rel=1e-5)
    weighed = sum(float(seen[n, m]) * each[n][m] for n in range(4) for m in range(3)) / float(
        seen.sum()
    )
    assert id_loss(logits, ids, 0.1, seen).item() == pytest.approx(weighed, rel=1e-5)
    assert id_loss(logits, ids, 0.1, torch.zeros(4, 3)).item() == 0


def pair(e: Embeddings, i: int, j: int, combine: str, same: bool) -> float:
    """The distance of two images from their parts; inf if they share none. Eq. 7 is "mean"."""
    far = [
        float((e.vectors[i, m].double() - e.vectors[j, m].double()).norm())
        for m in range(len(e.names))
        if e.visibility[i, m] and e.visibility[j, m]
    ]
    if not far:
        return math.inf
    how = ("max" if same else "min") if combine == "max_min" else combine
    return {"mean": sum(far) / len(far), "max": max(far), "min": min(far)}[how]


def triplet_by_loops(e: Embeddings, margin: float, combine: str) -> float:
    """Eq. 8 over the anchors that have both a positive and a negative they share a part with."""
    losses = []
    for i in range(len(IDS)):
        pos = [
            d
            for j in range(len(IDS))
            if j != i and IDS[i] == IDS[j]
            for d in [pair(e, i, j, combine, True)]
            if d < math.inf
        ]
        neg = [
            d
            for j in range(len(IDS))
            if IDS[i] != IDS[j]
            for d in [pair(e, i, j, combine, False)]
            if d < math.inf
        ]
        if pos and neg:
            gap = max(pos) - min(neg)
            losses.append(math.log1p(math.exp(gap)) if margin == 0 else max(gap + margin, 0))
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("margin", [0.3, 0.0])
@pytest.mark.parametrize("combine", ["mean", "max", "min", "max_min"])
def test_eq7_and_eq8_match_loops(combine: Combine, margin: float, hide: bool) -> None:
    for seed in range(6):
        e = group(seed, hide=hide)
        assert hard_triplet(e, IDS, margin, combine).item() == pytest.approx(
            triplet_by_loops(e, margin, combine), abs=1e-5
        )


def test_each_part_on_its_own_is_the_mean_over_all_of_their_anchors() -> None:
    e = group(1)
    losses = []
    for name in e.names:
        alone = e.select(name)
        kept = [
            i
            for i in range(len(IDS))
            if any(
                pair(alone, i, j, "mean", True) < math.inf
                for j in range(len(IDS))
                if j != i and IDS[i] == IDS[j]
            )
            and any(
                pair(alone, i, j, "mean", True) < math.inf
                for j in range(len(IDS))
                if IDS[i] != IDS[j]
            )
        ]
        losses.append((triplet_by_loops(alone, 0.3, "mean"), len(kept)))
    want = sum(loss * n for loss, n in losses) / sum(n for _, n in losses)
    assert hard_triplet(e, IDS, 0.3, "each").item() == pytest.approx(want, abs=1e-5)


def test_mining_never_pairs_an_image_with_itself_and_drops_lone_anchors() -> None:
    far = torch.tensor([[9.0, 1.0, 5.0], [1.0, 9.0, 2.0], [5.0, 2.0, 9.0]])
    positive, negative = mine_hardest(far, torch.tensor([0, 0, 1]))  # image 2 has no positive
    assert positive.tolist() == [1, 1] and negative.tolist() == [5, 2]


@pytest.mark.parametrize("ids", [torch.zeros(8, dtype=torch.long), torch.arange(8)])
def test_nothing_to_rank_is_zero_with_a_gradient(ids: Tensor) -> None:
    e = group(0)
    e.vectors.requires_grad_()
    loss = hard_triplet(e, ids)
    loss.backward()
    assert loss.item() == 0 and e.vectors.grad is not None and not e.vectors.grad.any()


def test_margin_loss_is_zero_once_the_margin_is_kept() -> None:
    positive, negative = torch.tensor([1.0, 1.0]), torch.tensor([1.1, 2.0])
    assert margin_loss(positive, negative, 0.3).item() == pytest.approx(0.1)
    assert margin_loss(positive, negative, 0.0).item() == pytest.approx(
        (math.log1p(math.exp(-0.1)) + math.log1p(math.exp(-1))) / 2
    )


def cells(length: int, n: int) -> list[range]:
    """The rows that each of n cells covers, as adaptive pooling cuts them."""
    return [range(i * length // n, -(-(i + 1) * length // n)) for i in range(n)]


@pytest.mark.parametrize("size", [(4, 2), (3, 2), (1, 1), (8, 6)])
def test_labels_go_to_the_coarser_grid_by_majority(size: tuple[int, int]) -> None:
    labels = torch.randint(0, 5, (3, 8, 6)).to(torch.uint8)
    labels[labels == 4] = UNKNOWN
    labels[0, :4, :3] = UNKNOWN
    got = resize_labels(labels, size, 4)
    share = label_shares(labels, size, 4)
    assert got.dtype == torch.uint8 and got.shape == (3, *size)
    for b in range(3):
        for i, rows in enumerate(cells(8, size[0])):
            for j, columns in enumerate(cells(6, size[1])):
                inside = [int(labels[b, r, c]) for r in rows for c in columns]
                counts = [inside.count(k) for k in range(4)]
                best = counts.index(max(counts))  # ties go to the lower class
                assert got[b, i, j] == (best if sum(counts) else UNKNOWN)
                torch.testing.assert_close(share[b, :, i, j], torch.tensor(counts) / len(inside))


@pytest.mark.parametrize("keep", [1.0, 0.5])
def test_eq2_is_smoothed_cross_entropy_of_the_known_pixels(keep: float) -> None:
    logits = torch.randn(2, 4, 4, 3)
    labels = torch.randint(0, 4, (2, 8, 6)).to(torch.uint8)
    labels[:, :2] = UNKNOWN
    target = resize_labels(labels, (4, 3), 4)
    each = [
        smoothed(logits[b, :, i, j], int(target[b, i, j]), 0.1)
        for b in range(2)
        for i in range(4)
        for j in range(3)
        if target[b, i, j] != UNKNOWN
    ]
    assert len(each) == 18
    easiest = sorted(each)[: int(len(each) * keep)]
    assert part_loss(logits, labels, 0.1, keep).item() == pytest.approx(
        sum(easiest) / len(easiest), rel=1e-5
    )


def test_nothing_known_costs_nothing_and_wrong_labels_are_refused() -> None:
    logits = torch.randn(1, 4, 2, 2, requires_grad=True)
    loss = part_loss(logits, torch.full((1, 4, 4), UNKNOWN, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()
    with pytest.raises(ShapeError, match=r"labels go up to 4, the part head knows 0\.\.3"):
        part_loss(logits, torch.full((1, 4, 4), 4, dtype=torch.uint8))


def test_center_loss_pulls_embeddings_by_its_weight_and_centers_at_full_strength() -> None:
    f, centers = torch.randn(5, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    ids = torch.tensor([0, 2, 2, 0, 1])
    loss = center_loss(f, centers, ids, 5e-4)
    loss.backward()
    half = sum(0.5 * float((f[n] - centers[ids[n]]).detach().square().sum()) for n in range(5)) / 5
    assert loss.item() == pytest.approx(half * (1 + 5e-4), rel=1e-5)
    assert f.grad is not None and centers.grad is not None
    torch.testing.assert_close(f.grad, 5e-4 * (f - centers[ids]).detach() / 5)
    for c in range(4):
        members = [n for n in range(5) if ids[n] == c]
        want = sum(((centers[c] - f[n]).detach() for n in members), torch.zeros(3)) / 5
        torch.testing.assert_close(centers.grad[c], want)


@pytest.mark.parametrize("balanced", [True, False])
def test_mask_loss_counts_classes_or_pixels_alike(balanced: bool) -> None:
    # class 4 is nowhere
    logits, labels = torch.randn(2, 5, 4, 3), torch.randint(0, 4, (2, 8, 6)).to(torch.uint8)
    labels[:, :3] = UNKNOWN
    each: dict[int, list[float]] = {}
    for b in range(2):
        for i in range(4):
            for j in range(3):
                # the pixel under the cell's center
                label = int(labels[b, int((i + 0.5) * 2), int((j + 0.5) * 2)])
                if label != UNKNOWN:
                    each.setdefault(label, []).append(smoothed(logits[b, :, i, j], label, 0.0))
    assert len(each) == 4 and len({len(losses) for losses in each.values()}) > 1
    means = [sum(losses) / len(losses) for losses in each.values()]
    flat = [x for losses in each.values() for x in losses]
    want = sum(means) / 4 if balanced else sum(flat) / len(flat)
    assert mask_loss(logits, labels, balanced).item() == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("balanced", [True, False])
def test_mask_loss_of_nothing_is_zero_and_wrong_labels_are_refused(balanced: bool) -> None:
    logits = torch.randn(1, 4, 2, 2, requires_grad=True)
    loss = mask_loss(logits, torch.full((1, 4, 4), UNKNOWN, dtype=torch.uint8), balanced)
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()
    with pytest.raises(ShapeError, match=r"labels go up to 4, the part head knows 0\.\.3"):
        mask_loss(logits, torch.full((1, 4, 4), 4, dtype=torch.uint8), balanced)


@pytest.mark.parametrize("diagonal", [False, True])
def test_magnifier_eq3_matches_loops(diagonal: bool) -> None:
    z = torch.randn(3, 4, 5)
    z[1, 2] = 0  # a region that is not there
    total = 0.0
    for n in range(3):
        for j in range(4):
            for i in range(j if diagonal else j + 1, 4):
                norms = float(z[n, i].norm()) * float(z[n, j].norm())
                total += float(z[n, i] @ z[n, j]) / max(norms, 1e-8)
    z.requires_grad_()
    loss = diversity_loss(z, diagonal)
    assert loss.item() == pytest.approx(total / (3 * 6), abs=1e-6)
    loss.backward()
    assert z.grad is not None and z.grad.isfinite().all() and z.grad[0].any()


def test_plain_tensors_are_embeddings_of_which_all_is_visible() -> None:
    e = group(2)
    for combine in ("mean", "max", "min", "max_min", "each"):
        assert torch.equal(
            hard_triplet(e.vectors, IDS, combine=combine),
            hard_triplet(e.all_visible(), IDS, combine=combine),
        )
        assert torch.equal(
            hard_triplet(e.vectors, IDS, combine=combine, visibility=e.visibility),
            hard_triplet(e, IDS, combine=combine),
        )
    flat = e.vectors[:, 0]
    assert torch.equal(hard_triplet(flat, IDS), hard_triplet(Embeddings.single("a", flat), IDS))
    assert diversity_loss(e).item() == diversity_loss(e.vectors).item()


@pytest.mark.parametrize("hide", [False, True])
def test_gilt_is_the_sum_of_eq6(hide: bool) -> None:
    parts = group(3, hide=hide)
    logits = {name: torch.randn(len(IDS), 3) for name in ("global", "foreground", "joined")}
    want = sum(smoothed(x[n], int(IDS[n]), 0.1) for x in logits.values() for n in range(8)) / 8
    want += triplet_by_loops(parts, 0.3, "mean")
    assert gilt_loss(logits, parts, IDS).item() == pytest.approx(want, rel=1e-5)
    plain = gilt_loss(logits, parts.vectors, IDS, visibility=parts.visibility)
    assert plain.item() == gilt_loss(logits, parts, IDS).item()
    one = gilt_loss(logits["global"], parts, IDS, margin=0.0, smoothing=0.0)
    alone = id_loss(logits["global"], IDS, 0.0) + hard_triplet(parts, IDS, 0.0)
    assert one.item() == pytest.approx(alone.item())


def test_terms_of_gilt_keep_their_order_and_name_what_there_is() -> None:
    parts, ids_of_parts = group(4), torch.randn(len(IDS), 3, 3)
    terms = ["triplet_each_part", "id_parts", "triplet_parts"]
    losses = gilt_terms({"parts": ids_of_parts}, {"parts": parts}, IDS, terms, combine="max")
    assert list(losses) == terms
    assert torch.equal(losses["triplet_each_part"], hard_triplet(parts, IDS, combine="each"))
    assert torch.equal(losses["triplet_parts"], hard_triplet(parts, IDS, combine="max"))
    assert torch.equal(losses["id_parts"], id_loss(ids_of_parts, IDS, weights=parts.visibility))
    for wrong in ("id_global", "triplet_whole", "parsing", "id"):
        with pytest.raises(
            ArgumentError, match=f"'{wrong}' has nothing .* id_parts, triplet_parts"
        ):
            gilt_terms({"parts": ids_of_parts}, {"parts": parts}, IDS, [wrong])
    with pytest.raises(ArgumentError, match="at least one holistic embedding, got none"):
        gilt_loss({}, parts, IDS)


@pytest.mark.parametrize(
    "ids",
    [IDS.float() * torch.nan, IDS.bool(), IDS[:5], IDS[:, None]],
    ids=["nan", "bool", "5", "2d"],
)
def test_identities_are_one_whole_number_per_image(ids: Tensor) -> None:
    e, far = group(0), torch.rand(8, 8)
    for call in (
        lambda: hard_triplet(e.vectors, ids),
        lambda: mine_hardest(far, ids),
        lambda: id_loss(torch.randn(8, 3), ids),
        lambda: gilt_loss(torch.randn(8, 3), e, ids),
        lambda: center_loss(e.vectors[:, 0], torch.randn(3, 5), ids, 1.0),
    ):
        with pytest.raises(ShapeError, match=r"identities"):
            call()


@pytest.mark.parametrize("wrong", [-100, -1, 3])
def test_an_identity_without_a_class_or_a_center_is_refused(wrong: int) -> None:
    """-100 is what cross-entropy skips, and -1 took the last center."""
    ids = torch.tensor([0, wrong])
    with pytest.raises(ShapeError, match=f"must lie from 0 to 2, .* got {wrong}"):
        id_loss(torch.randn(2, 3), ids)
    with pytest.raises(ShapeError, match=f"must lie from 0 to 2, .* got {wrong}"):
        center_loss(torch.randn(2, 4), torch.randn(3, 4), ids, 1.0)


def test_a_model_that_diverges_shows_in_its_triplet_loss() -> None:
    """Distances of NaN were left out, which made the loss 0."""
    e = group(0)
    e.vectors[3] = torch.nan
    for combine in ("mean", "max", "each"):
        assert hard_triplet(e.vectors, IDS, combine=combine).isnan()


def test_numbers_that_mean_nothing_are_refused() -> None:
    logits, labels = torch.randn(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8)
    for call, words in (
        (lambda: margin_loss(torch.rand(3), torch.rand(1)), "one of each for every anchor"),
        (lambda: id_loss(torch.randn(8, 3), IDS, weights=-torch.ones(8)), "numbers of at least 0"),
        (lambda: id_loss(torch.randn(8, 3), IDS, weights=torch.full((8,), torch.nan)), "or NaN"),
        (lambda: id_loss(torch.randn(8, 3).long(), IDS), r"logits must be floats"),
        (lambda: part_loss(logits, labels, keep=0.0), "keep must be a number above 0"),
        (lambda: part_loss(logits, labels.long() - 1), r"begin at 0 \(background\), got -1"),
        (lambda: diversity_loss(torch.rand(2, 1, 4)), "K of at least 2"),
        (lambda: hard_triplet(torch.rand(8, 4), IDS, visibility=torch.full((8,), 2.0)), "got 2"),
        (lambda: hard_triplet(group(0), IDS, visibility=torch.ones(8, 3)), "have their own"),
        (lambda: hard_triplet(torch.rand(8, 4), IDS, margin=math.nan), "margin must be a number"),
    ):
        with pytest.raises((ShapeError, ArgumentError), match=words):
            call()
