"""MagnifierNet's equations against loops; its branches and options."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from partreid.errors import RecipeError
from partreid.labels.schemes import SURFACES, scheme_of
from partreid.layers.trunks import BACKBONES
from partreid.losses import diversity_loss, hard_triplet, id_loss, mask_loss
from partreid.methods.magnifier.model import Magnifier
from partreid.types import Batch, Embeddings, PartScheme

SEVEN, FIVE = scheme_of(SURFACES["seven"]), scheme_of(SURFACES["five"])
TERMS = Magnifier.TERMS
GLOBAL = ("id_global", "triplet_global")


def net(
    terms: Sequence[str] = TERMS, scheme: PartScheme = SEVEN, width: int = 4, **options: Any
) -> Magnifier:
    method = Magnifier(BACKBONES["small"](width=width), 4, scheme, terms, **options)
    if method.part_head is not None:
        nn.init.normal_(method.part_head.classifier.weight)
    return method


def batch(n: int = 8, K: int = 7, height: int = 64) -> Batch:
    rows = torch.arange(height) * (K + 1) // height
    labels = rows.to(torch.uint8)[None, :, None].repeat(n, 1, 32)
    return Batch(
        torch.randn(n, 3, height, 32),
        torch.arange(n) // 2,
        torch.ones(n, dtype=torch.int64),
        {"parts": labels},
    )


def features(method: Magnifier, images: Tensor, tail: str) -> Tensor:
    return method.tails[tail](method.trunk(images)).detach()  # type: ignore[operator]


def test_eq1_and_eq2_pixel_by_pixel() -> None:
    method, given = net().train(), batch(4)
    for norm in (m for m in method.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.eval()
    torch.manual_seed(3)
    out = method(given.images, given.cues)
    torch.manual_seed(3)
    kept = method.hide.draw(1, 8)[0]  # type: ignore[operator]
    assert kept[0] == 0 and kept[1:5].sum() == 2 and kept[5:].sum() == 2
    f = features(method, given.images, "semantic")
    whole = features(method, given.images, "global")
    for b in range(2):
        regions = torch.zeros(8, f.shape[1])
        adversarial = torch.zeros(f.shape[1])
        for y in range(8):
            for x in range(4):
                pixels = (
                    given.cues["parts"][b, 8 * y + 3 : 8 * y + 5, 8 * x + 3 : 8 * x + 5]
                    .flatten()
                    .tolist()
                )
                share = [pixels.count(k) / 4 for k in range(8)]
                for k in range(8):
                    regions[k] = torch.maximum(
                        regions[k], share[k] * f[b, :, y, x]
                    )  # Eq. 1 and GMP
                seen = sum(share[k] for k in range(8) if kept[k])
                adversarial = torch.maximum(adversarial, seen * f[b, :, y, x])  # Eq. 2
        torch.testing.assert_close(out.groups["parts"].vectors[b].detach(), regions)
        torch.testing.assert_close(out.groups["adversarial"].vectors[b, 0].detach(), adversarial)
        torch.testing.assert_close(
            out.groups["global"].vectors[b, 0].detach(), whole[b].mean((1, 2))
        )
    assert out.groups["parts"].names == ("background", *SEVEN.names)
    assert (out.groups["parts"].visibility == 1).all()


def test_the_same_regions_are_hidden_in_the_whole_batch_or_others_in_every_image() -> None:
    def differ(scope: str) -> bool:
        method, given = net(scope=scope, keep=2).train(), batch(2)
        twice = Batch(
            given.images[:1].repeat(16, 1, 1, 1),
            given.ids[:1].repeat(16),
            given.cameras[:1].repeat(16),
            {"parts": given.cues["parts"][:1].repeat(16, 1, 1)},
        )
        e = method(twice.images, twice.cues).groups["adversarial"].vectors.detach()
        return not torch.allclose(e, e[:1].expand_as(e), atol=1e-5)

    assert differ("image") and not differ("batch")


def test_gru_gate_by_gate_in_the_order_asked_for() -> None:
    order = ("foot", "background", *SEVEN.names[:-1])
    method, given = net(order=order, hidden=6).eval(), batch(2)
    out = method(given.images, given.cues)
    assert method.fusion is not None
    w = {name: p.detach() for name, p in method.fusion.gru.named_parameters()}  # type: ignore[union-attr]
    regions = out.groups["parts"]
    h = torch.zeros(2, 6)
    for name in order:
        x = regions.select(name).vectors[:, 0].detach()
        (ri, zi, ni), (rh, zh, nh) = (
            (v @ w[f"weight_{s}_l0"].T + w[f"bias_{s}_l0"]).chunk(3, 1)
            for v, s in ((x, "ih"), (h, "hh"))
        )
        r, z = torch.sigmoid(ri + rh), torch.sigmoid(zi + zh)
        h = (1 - z) * torch.tanh(ni + r * nh) + z * h
    torch.testing.assert_close(out.groups["fusion"].vectors[:, 0].detach(), h)
    assert net().hide.groups == ((1, 2, 3, 4), (5, 6, 7))
    assert net().fusion.order == list(range(8)) and net().fusion.gru.hidden_size == 16  # type: ignore[union-attr]


def test_the_ablation_of_figure_4_reduces_every_region_on_its_own() -> None:
    method, given = net(fusion="ablation", hidden=24).eval(), batch(2)
    out = method(given.images, given.cues)
    x = out.groups["parts"].vectors.detach()
    weight = method.fusion.reduce.weight.detach()[..., 0]  # type: ignore[union-attr]
    want = torch.cat([x[:, k] @ weight[3 * k : 3 * k + 3].T for k in range(8)], 1)
    torch.testing.assert_close(out.groups["fusion"].vectors[:, 0].detach(), want)


def test_eq4_term_by_term() -> None:
    method, given = net().train(), batch()
    out = method(given.images, given.cues)
    terms = method.losses(out, given)
    assert tuple(terms) == TERMS and out.parts is not None
    for name in ("global", "adversarial", "fusion"):
        e = out.groups[name]
        torch.testing.assert_close(terms[f"triplet_{name}"], hard_triplet(e, given.ids, 0.3))
        torch.testing.assert_close(terms[f"id_{name}"], id_loss(method.id[name](e), given.ids, 0.1))
    regions = out.groups["parts"]
    torch.testing.assert_close(terms["diversity"], diversity_loss(regions.vectors))
    torch.testing.assert_close(terms["mask"], mask_loss(out.parts.logits, given.cues["parts"]))
    each = [id_loss(method.id["parts"](regions)[:, k], given.ids, 0.1) for k in range(8)]
    torch.testing.assert_close(terms["id_parts"], torch.stack(each).mean())
    assert out.parts.logits.shape[2:] == (2 * out.features.shape[2], 2 * out.features.shape[3])
    plain = net(balanced=False, diagonal=True).losses(out, given)
    torch.testing.assert_close(
        plain["mask"], mask_loss(out.parts.logits, given.cues["parts"], balanced=False)
    )
    torch.testing.assert_close(plain["diversity"], diversity_loss(regions.vectors, diagonal=True))


def test_a_region_that_is_not_shown_is_left_out_of_its_own_losses() -> None:
    given = batch()
    given.cues["parts"][given.cues["parts"] == 7] = 0  # no feet anywhere
    given.cues["parts"][0][given.cues["parts"][0] == 1] = 255  # of the first head nothing is known
    method = net().train()
    out = method(given.images, given.cues)
    e = out.groups["parts"]
    assert (
        not e.select("foot").visibility.any()
        and e.select("head").visibility[:, 0].tolist() == [0] + [1] * 7
    )
    assert not e.select("foot").vectors.any() and not e.select("head").vectors[0].any()
    terms = method.losses(out, given)
    logits = method.id["parts"](e)
    shown = e.visibility.bool()
    want = torch.stack(
        [
            id_loss(logits[n, k][None], given.ids[n : n + 1], 0.1)
            for n in range(8)
            for k in range(8)
            if shown[n, k]
        ]
    ).mean()
    torch.testing.assert_close(terms["id_parts"], want)
    moved = Embeddings(
        torch.where(shown[..., None], e.vectors, e.vectors + 9), e.visibility, e.names
    )
    torch.testing.assert_close(hard_triplet(moved, given.ids, 0.3, "each"), terms["triplet_parts"])
    method.skip_absent = False
    every = method.losses(out, given)
    assert (
        every["id_parts"] != terms["id_parts"] and every["triplet_parts"] != terms["triplet_parts"]
    )
    torch.testing.assert_close(every["id_parts"], id_loss(logits, given.ids, 0.1))


def test_masks_come_from_labels_where_there_are_any_and_from_the_head_otherwise() -> None:
    given = batch()
    upside_down = {"parts": 7 - given.cues["parts"]}

    def regions(cues: Any, **options: Any) -> Tensor:
        torch.manual_seed(0)
        e: Tensor = net(**options).train()(given.images, cues).groups["parts"].vectors
        return e.detach()

    with_labels, without = regions(given.cues), regions({})
    assert not torch.equal(with_labels, without)
    assert not torch.equal(regions(upside_down), with_labels)
    for cues in (given.cues, upside_down):
        assert torch.equal(regions(cues, train_source="predicted"), without)
    assert not torch.equal(regions({}, infer="soft"), without)


def test_at_test_time_the_adversarial_branch_sees_all_regions() -> None:
    images = torch.randn(3, 3, 64, 32)
    method = net().eval()
    f = features(method, images, "semantic")
    torch.testing.assert_close(
        method(images).groups["adversarial"].vectors[:, 0].detach(), f.amax((2, 3))
    )
    method.infer_background = False
    less = method(images).groups["adversarial"].vectors[:, 0].detach()
    assert (less <= f.amax((2, 3)) + 1e-6).all() and (less < f.amax((2, 3)) - 1e-3).any()


AS_AT_TEST = {"train_source": "predicted", "infer": "soft", "infer_background": False}


def test_training_can_see_what_the_test_does() -> None:
    """Nothing hidden, the two are one: the same soft masks, the same regions, no background."""
    method, given = net(keep=6, upper=SEVEN.names[:3], **AS_AT_TEST), batch(4)
    method.eval()
    f = features(method, given.images, "semantic")
    out = method(given.images, given.cues)
    assert out.parts is not None
    soft = torch.softmax(out.parts.logits.detach(), 1)  # twice as fine as f
    soft = soft.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean((3, 5))
    torch.testing.assert_close(soft.sum(1), torch.ones_like(soft[:, 0]))
    want = (f * soft[:, 1:].sum(1, keepdim=True)).amax((2, 3))
    torch.testing.assert_close(out.groups["adversarial"].vectors[:, 0].detach(), want)
    method.hide.train()
    method.training = True  # what batch norm does apart
    torch.manual_seed(3)
    hidden = method(given.images, given.cues).groups["adversarial"].vectors[:, 0].detach()
    torch.manual_seed(3)
    kept = method.hide.draw(1, 8)[0]  # type: ignore[operator]
    assert kept[0] == 0 and kept.sum() == 6
    some = (f * (soft * kept[:, None, None]).sum(1, keepdim=True)).amax((2, 3))
    torch.testing.assert_close(hidden, some)


def test_the_masks_learn_by_their_own_loss_alone_and_what_they_cut_out_by_the_others() -> None:
    method, given = net(**AS_AT_TEST).train(), batch()
    terms = method.losses(method(given.images, given.cues), given)
    rest = torch.stack([term for name, term in terms.items() if name != "mask"]).sum()
    assert method.part_head is not None
    head, tail = list(method.part_head.parameters()), list(method.tails["semantic"].parameters())
    assert all(
        g is None for g in torch.autograd.grad(rest, head, retain_graph=True, allow_unused=True)
    )
    assert all(g.any() for g in torch.autograd.grad(rest, tail, retain_graph=True))
    assert all(g.any() for g in torch.autograd.grad(terms["mask"], [*head, *tail]))


def test_background_can_stay_in_training() -> None:
    assert net().hide.always == () and net(background="keep").hide.always == (0,)
    baseline = net(sampling="random_baseline", keep=5)
    assert baseline.hide.groups == (tuple(range(8)),)


@pytest.mark.parametrize(
    ("terms", "branches", "heads"),
    [
        (GLOBAL, ("global",), {"global"}),
        ((*GLOBAL, "mask"), ("global",), {"global"}),
        ((*GLOBAL, "triplet_adversarial", "mask"), ("global", "adversarial"), {"global"}),
        (
            (*GLOBAL, "id_fusion", "id_parts", "mask"),
            ("global", "fusion"),
            {"global", "fusion", "parts"},
        ),
        (("id_fusion", "mask"), ("fusion",), {"fusion"}),
        (("id_global", "diversity", "mask"), ("global",), {"global"}),
    ],
)
@pytest.mark.parametrize("tails", ["semantic", "shared_all", "separate", "none"])
def test_only_what_the_terms_ask_for_is_built_and_all_of_it_learns(
    tails: str, terms: tuple[str, ...], branches: tuple[str, ...], heads: set[str]
) -> None:
    method, given = net(terms, tails=tails).train(), batch()
    assert method.branches == method.described == branches and set(method.id) == heads
    assert (method.part_head is not None) == ("mask" in terms) and (method.fusion is not None) == (
        "fusion" in branches
    )
    torch.stack(
        list(method.losses(method(given.images, given.cues), given).values())
    ).sum().backward()
    assert [
        n
        for n, p in method.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ] == []


@pytest.mark.parametrize(
    ("tails", "millions"),
    [("shared_all", 23.5), ("semantic", 38.5), ("separate", 53.4), ("none", 23.5)],
)
def test_sizes_on_resnet50(tails: str, millions: float) -> None:
    with torch.device("meta"):
        method = Magnifier(BACKBONES["resnet50"](pretrained=False), 751, SEVEN, TERMS, tails=tails)  # type: ignore[arg-type]
    trunk = sum(p.numel() for part in (method.trunk, method.tails) for p in part.parameters())
    assert trunk / 1e6 == pytest.approx(millions, abs=0.06)
    assert method.fusion is not None and method.part_head is not None
    assert method.fusion.gru.hidden_size == 1024  # type: ignore[union-attr]
    if tails != "none":
        assert sum(p.numel() for p in method.fusion.parameters()) == 9_443_328
        assert sum(p.numel() for p in method.part_head.parameters()) == 4_721_160


def test_tails_start_from_the_trunk_s_weights_and_go_their_own_way() -> None:
    torch.manual_seed(1)
    trunk = BACKBONES["small"](width=4)
    method, images = Magnifier(trunk, 4, SEVEN, TERMS).eval(), torch.randn(2, 3, 64, 32)
    for tail in ("global", "semantic"):
        torch.testing.assert_close(features(method, images, tail), trunk.eval()(images).detach())
    pointers = [{p.data_ptr() for p in tail.parameters()} for tail in method.tails.values()]
    assert not pointers[0] & pointers[1]


def test_all_branches_are_described_as_one() -> None:
    images = torch.randn(3, 3, 64, 32)
    method = net().eval()
    out = method(images)
    e = method.embed(out)
    assert (
        e.names == ("joined",)
        and e.vectors.shape == (3, 1, 32 + 32 + 16)
        and (e.visibility == 1).all()
    )
    ends = [
        method.id[name].neck(out.groups[name]).vectors[:, 0]
        for name in ("global", "adversarial", "fusion")
    ]
    torch.testing.assert_close(e.vectors[:, 0], torch.cat(ends, 1))
    alone = net(described=("fusion",)).eval()
    assert alone.embed(alone(images)).names == ("fusion",)


@pytest.mark.parametrize(
    "described", [("global",), ("adversarial",), ("fusion",), ("global", "fusion"), None]
)
@pytest.mark.parametrize("tails", ["semantic", "shared_all", "separate", "none"])
def test_a_finished_model_keeps_what_its_description_needs(
    tails: str, described: tuple[str, ...] | None
) -> None:
    images = torch.randn(2, 3, 64, 32)
    method = net(tails=tails, described=described).eval()
    before = method.embed(method(images))
    whole = sum(p.numel() for p in method.parameters())
    lean = method.strip_for_inference()
    assert torch.equal(lean.embed(lean(images)).vectors, before.vectors)
    assert sum(p.numel() for p in lean.parameters()) < whole and "parts" not in lean.id
    again = net(tails=tails, described=described).strip_for_inference().eval()
    again.load_state_dict(lean.state_dict())
    assert torch.equal(again.embed(again(images)).vectors, before.vectors)
    lean.embed(lean(images)).vectors.square().sum().backward()
    used = {n for n, p in lean.named_parameters() if p.grad is not None}
    idle = {n for n, p in lean.named_parameters() if p.requires_grad} - used
    finding = ("part_head.", f"tails.{lean.home.get('mask')}.")  # masks pass no gradient
    assert all(n.endswith("classifier") or n.startswith(finding) for n in idle), idle


def test_works_with_other_parts_and_under_autocast() -> None:
    method, given = net(scheme=FIVE, keep=4).train(), batch(K=5)
    assert method.hide.groups == ((1, 2, 3), (4, 5))
    with torch.autocast("cpu", torch.bfloat16):
        terms = method.losses(method(given.images, given.cues), given)
    assert all(term.isfinite() for term in terms.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"terms": ("id_global", "id_fusion")}, "regions need the loss term 'mask'"),
        ({"terms": ("id_global", "diversity")}, "regions need the loss term 'mask'"),
        ({"terms": ("mask",)}, "needs a loss term on a branch, e.g. id_global; got mask"),
        (
            {"described": ("parts",)},
            "has no embedding 'parts', its loss terms train global, adversarial, fusion",
        ),
        ({"described": ()}, "must describe a branch"),
        ({"keep": 3}, "keep=3 regions cannot be shared out among 2 groups"),
        (
            {"sampling": "random_baseline", "background": "keep"},
            "background='keep' goes with sampling='random_torso'",
        ),
        (
            {"order": ("head", "foot")},
            "order must name each region once, of background, head, chest",
        ),
        ({"scheme": PartScheme(("stripe1", "stripe2"))}, "cannot tell whether stripe1, stripe2"),
        ({"fusion": "ablation", "hidden": 20}, "shares 20 numbers out among 8 regions"),
    ],
)
def test_refuses_what_cannot_work(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        net(**options)
