"""Regions: label maps against interpolated one-hot maps, pooling and its gradient, the mask
head, hiding at random.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from partreid.errors import RecipeError
from partreid.labels.schemes import PIFPAF, SURFACES, Groups, scheme_of
from partreid.layers.pooling import max_pool
from partreid.methods.magnifier.regions import (
    MaskHead,
    RegionDropout,
    kept_sets,
    label_regions,
    predicted_regions,
    region_max,
    upper_and_lower,
)
from partreid.types import UNKNOWN, PartMaps, PartScheme

SEVEN = scheme_of(SURFACES["seven"])


@pytest.mark.parametrize("size", [(6, 3), (3, 3), (5, 4), (12, 6), (24, 9), (1, 1)])
def test_label_regions_are_bilinear_one_hot_maps(size: tuple[int, int]) -> None:
    labels = torch.randint(0, 4, (3, 12, 6)).to(torch.uint8)
    one_hot = F.one_hot(labels.long(), 4).permute(0, 3, 1, 2).float()
    got = label_regions(labels, size, 4)
    torch.testing.assert_close(
        got, F.interpolate(one_hot, size, mode="bilinear", align_corners=False)
    )
    torch.testing.assert_close(got.sum(1), torch.ones(3, *size))


def test_what_is_unknown_belongs_to_no_region() -> None:
    labels = torch.ones(1, 4, 4, dtype=torch.uint8)
    labels[:, :, 2:] = UNKNOWN
    labels[:, 0, 0] = UNKNOWN
    assert label_regions(labels, (2, 2), 3)[0].tolist() == [
        [[0, 0], [0, 0]],
        [[0.75, 0], [1, 0]],
        [[0, 0], [0, 0]],
    ]


def test_predicted_regions_are_the_likeliest_or_their_probabilities() -> None:
    logits = torch.randn(2, 8, 6, 4, requires_grad=True)
    parts = PartMaps(logits, SEVEN)
    hard, soft = predicted_regions(parts, (3, 2)), predicted_regions(parts, (3, 2), "soft")
    assert not hard.requires_grad and not soft.requires_grad
    for b in range(2):
        for y in range(3):
            for x in range(2):
                cell = logits[b, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].detach().flatten(1)
                wins = F.one_hot(cell.argmax(0), 8).float().mean(0)
                torch.testing.assert_close(hard[b, :, y, x], wins)
                torch.testing.assert_close(soft[b, :, y, x], cell.softmax(0).mean(1))


def test_the_mask_head_has_the_parameters_of_its_source() -> None:
    with torch.device("meta"):
        head = MaskHead(2048, SEVEN)
    assert sum(p.numel() for p in head.parameters()) == 4_721_160
    small = MaskHead(16, SEVEN, 12)
    parts = small(torch.rand(2, 16, 5, 3))
    assert parts.logits.shape == (2, 8, 10, 6) and parts.names == SEVEN.names
    assert small.up[0].weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert small.classifier.bias is not None and not small.classifier.bias.any()
    assert small.up[1].weight.eq(1).all()  # the batch norm keeps its own start


def pooled(pool: object, f: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    f, w = f.clone().requires_grad_(), w.clone().requires_grad_()
    out = pool(f, w)  # type: ignore[operator]
    (out * torch.arange(out.numel()).view_as(out)).sum().backward()
    assert f.grad is not None and w.grad is not None
    return out.detach(), f.grad, w.grad


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_region_max_is_max_pool_with_the_same_gradient(form: torch.memory_format) -> None:
    f, w = (
        (torch.rand(3, 5, 6, 4) + 0.1).contiguous(memory_format=form),
        torch.rand(3, 4, 6, 4),
    )  # no two alike
    for ours, theirs in zip(pooled(region_max, f, w), pooled(max_pool, f, w), strict=True):
        torch.testing.assert_close(ours, theirs)
    with torch.no_grad():
        torch.testing.assert_close(region_max(f, w), max_pool(f, w))


def test_an_absent_region_pools_zeros_without_a_gradient() -> None:
    w = torch.rand(2, 3, 4, 4)
    w[:, 1] = 0
    out, gradient, _ = pooled(region_max, torch.rand(2, 5, 4, 4).relu(), w)
    assert not out[:, 1].any() and gradient.isfinite().all() and gradient.any()


def test_region_max_keeps_no_map_for_every_region() -> None:
    """What autograd keeps is counted in bytes of the feature map."""
    f, w = torch.rand(2, 64, 12, 6, requires_grad=True), torch.rand(2, 8, 12, 6)

    def kept(pool: object) -> float:
        held: dict[int, int] = {}

        def pack(t: Tensor) -> Tensor:
            held[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            out = pool(f, w)  # type: ignore[operator]
        assert out.requires_grad
        return sum(held.values()) / f.untyped_storage().nbytes()

    assert kept(region_max) < 1.5 and kept(max_pool) > 8


class TestRegionDropout:
    GROUPS = ((1, 2, 3, 4), (5, 6, 7))

    def test_keeps_half_of_each_group_for_the_whole_batch_and_zeroes_the_rest(self) -> None:
        hide, masks = RegionDropout(self.GROUPS, 4).train(), torch.rand(5, 8, 3, 2) + 0.1
        seen = set()
        for _ in range(40):
            out = hide(masks)
            kept = out.flatten(2).amax(2) > 0
            assert (kept == kept[0]).all() and not kept[0, 0]
            assert kept[0, 1:5].sum() == 2 and kept[0, 5:].sum() == 2
            assert torch.equal(out[:, kept[0]], masks[:, kept[0]])
            seen.add(tuple(kept[0].nonzero()[:, 0].tolist()))
        assert len(seen) > 10

    def test_can_draw_for_every_image_and_keep_some_always(self) -> None:
        hide = RegionDropout(self.GROUPS, 2, always=(0,), scope="image").train()
        kept = hide(torch.ones(64, 8, 1, 1))[:, :, 0, 0]
        assert (
            (kept[:, 0] == 1).all() and (kept.sum(1) == 3).all() and len(kept.unique(dim=0)) == 12
        )

    def test_does_nothing_in_eval_and_remembers_nothing(self) -> None:
        hide, masks = RegionDropout(self.GROUPS, 4), torch.rand(2, 8, 3, 2)
        assert hide.eval()(masks) is masks and not hide.state_dict() and not list(hide.buffers())
        hide.train()
        torch.manual_seed(5)
        first = [hide(masks) for _ in range(4)]
        state = torch.get_rng_state()
        then = hide(masks)
        torch.manual_seed(5)
        assert all(torch.equal(hide(masks), a) for a in first)
        torch.set_rng_state(state)  # as a resumed run does
        assert torch.equal(hide(masks), then)

    def test_every_set_is_about_as_likely(self) -> None:
        drawn = RegionDropout(self.GROUPS, 4).draw(9000, 8)
        _, counts = drawn.unique(dim=0, return_counts=True)
        assert len(counts) == 18 and counts.min() > 400 and counts.max() < 600

    @pytest.mark.parametrize(
        ("groups", "keep", "message"),
        [
            (
                GROUPS,
                5,
                "keep=5 regions cannot be shared out among 2 groups evenly with at most 3 of each",
            ),
            (GROUPS, 8, "choose a multiple of 2 from 2 to 6"),
            (GROUPS, 0, "keep=0"),
            ((tuple(range(8)),), 9, "among 1 group evenly with at most 8 of each; choose 1 to 8"),
        ],
    )
    def test_refuses_what_cannot_be_shared_out(
        self, groups: tuple[tuple[int, ...], ...], keep: int, message: str
    ) -> None:
        with pytest.raises(RecipeError, match=message):
            RegionDropout(groups, keep)

    def test_kept_sets_hold_what_is_always_kept(self) -> None:
        assert kept_sets(((1, 2), (3,)), 2, always=(0,)) == [(0, 1, 3), (0, 2, 3)]


@pytest.mark.parametrize(
    ("groups", "upper"),
    [
        (SURFACES["seven"], ("head", "chest", "upper_arm", "lower_arm")),
        (SURFACES["five"], ("head", "torso", "arms")),
        (SURFACES["six"], ("head", "torso", "arms")),
        (PIFPAF["eight"], ("head", "left_arm", "right_arm", "torso")),
        (PIFPAF["five"], ("head", "arms", "torso")),
    ],
)
def test_names_tell_upper_from_lower(groups: Groups, upper: tuple[str, ...]) -> None:
    scheme = scheme_of(groups)
    halves = upper_and_lower(scheme)
    assert tuple(scheme.names[k - 1] for k in halves[0]) == upper
    assert sorted(halves[0] + halves[1]) == list(range(1, scheme.K + 1))


def test_names_that_do_not_tell_must_be_told() -> None:
    scheme = PartScheme(("head", "stripe1", "stripe2", "legs"))
    with pytest.raises(
        RecipeError, match="whether stripe1, stripe2 belongs to the upper or the lower body"
    ):
        upper_and_lower(scheme)
    assert upper_and_lower(scheme, ["stripe1", "head"]) == ([1, 2], [3, 4])
    with pytest.raises(
        RecipeError, match="upper names 'chest', the parts are head, stripe1, stripe2, legs"
    ):
        upper_and_lower(scheme, ["chest"])
    for upper in ([], ["head", "stripe1", "stripe2", "legs"]):
        with pytest.raises(RecipeError, match="needs parts of the upper and of the lower body"):
            upper_and_lower(scheme, upper)
