"""The guide's grouped branches against networks of their own; what is added up; Table 1's sizes
are in tests/golden.
"""

import pytest
import torch
from torch import nn

from benchmarks.guide import Separate
from partreid.errors import ShapeError
from partreid.layers.warp import MERGE_FB, MERGE_LR, REGIONS
from partreid.methods.dsa.guide import Block, Guide, merge


def tiles(batch: int = 3, size: int = 8) -> torch.Tensor:
    return torch.randn(batch, 24, 3, size, size)


def shaken(guide: Guide) -> Guide:
    """With running statistics and scales that differ between branches."""
    for module in guide.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.weight, module.running_var):
                nn.init.uniform_(value, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
    return guide


@pytest.mark.parametrize("training", [True, False])
def test_grouped_branches_are_networks_of_their_own(training: bool) -> None:
    guide = shaken(Guide(8, 32, ("parts",))).train(training)
    separate = Separate(guide).double().train(training)
    guide.double()
    x = tiles().double()
    one, two = guide(x)["parts"], separate(x)[1]
    assert two is not None and tuple(one.shape) == (3, 8, 4)
    torch.testing.assert_close(one, two, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(guide.features(x), separate(x)[0], atol=1e-10, rtol=1e-10)
    one.square().sum().backward()
    two.square().sum().backward()
    for p in (0, 4, 23):  # conv1 of some branches
        torch.testing.assert_close(
            guide.stem[0].weight.grad.chunk(24)[p], separate.stem[p][0].weight.grad
        )


def test_single_precision_agrees_to_one_in_a_million() -> None:
    guide = Guide(16, 64, ("parts",)).eval()
    x = tiles(2, 16)
    with torch.no_grad():
        one, two = guide(x)["parts"], Separate(guide).eval()(x)[1]
    assert two is not None
    assert float((one - two).abs().max() / one.abs().max()) < 1e-6


def test_a_tile_moves_its_own_region_and_no_other() -> None:
    guide, x = Guide(8, 32).eval(), tiles(1)
    with torch.no_grad():
        before = guide(x)
        for part in range(24):
            group = next(i for i, charts in enumerate(MERGE_LR) if part + 1 in charts)
            region = next(i for i, groups in enumerate(MERGE_FB) if group in groups)
            changed = x.clone()
            changed[:, part] += 1
            after = guide(changed)
            moved = (after["parts"] != before["parts"]).any(2)[0]
            assert moved.nonzero().flatten().tolist() == [region], (part, REGIONS[region])
            assert (after["global"] != before["global"]).any()


def test_merging_adds_up() -> None:
    x = torch.randn(2, 6, 3, 3)  # three branches of two channels
    merged = merge(x, ((0,), (1, 2)))
    torch.testing.assert_close(merged[:, :2], x[:, :2])
    torch.testing.assert_close(merged[:, 2:], x[:, 2:4] + x[:, 4:])
    for groups in (MERGE_LR, MERGE_FB):  # neighbours in order, which merge() relies on
        flat = [i for group in groups for i in group]
        assert flat == list(range(flat[0], flat[0] + len(flat)))


def test_heads_are_means_over_the_map() -> None:
    guide, x = Guide(8, 32).eval(), tiles(2)
    with torch.no_grad():
        d = guide.features(x)
        assert tuple(d.shape) == (2, 64, 2, 2)
        torch.testing.assert_close(
            guide(x)["global"], guide.heads["global"](d).flatten(2).sum(2) / 4
        )  # Eq. 1
        # the second region's four channels
        mean = guide.heads["parts"](d)[:, 4:8].flatten(2).sum(2) / 4
        torch.testing.assert_close(guide(x)["parts"][:, 1], mean)  # Eq. 2


def test_only_the_heads_asked_for_are_built() -> None:
    for heads in (("global",), ("parts",), ("global", "parts")):
        guide = Guide(4, 16, heads)
        assert set(guide.heads) == set(guide(tiles())) == set(heads)


def test_branches_start_as_one_alone_would() -> None:
    block = Block(8, 16, 32)
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            alone = nn.Conv2d(module.in_channels // 8, 32, module.kernel_size, bias=False)
            nn.init.kaiming_normal_(alone.weight, mode="fan_out", nonlinearity="relu")
            assert module.weight.std().item() == pytest.approx(alone.weight.std().item(), rel=0.1)


def test_the_smallest_guide_still_works() -> None:
    assert Guide(1, 8)(tiles(2))["parts"].shape == (2, 8, 1)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(
        ShapeError, match=r"the guide sees tiles \[B, 24, 3, S, S\], got \[2, 3, 8, 8\]"
    ):
        Guide(4, 16)(torch.zeros(2, 3, 8, 8))
