"""A trunk cut in two computes what it computed whole, and fresh layers have the sizes the papers
give.
"""

import pytest
import torch
from torch import nn

from partreid.errors import RecipeError
from partreid.layers.split import split
from partreid.layers.trunks import BACKBONES


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", ["small", "resnet50"])
def test_the_halves_are_the_whole(name: str) -> None:
    options = {"width": 4} if name == "small" else {"pretrained": False}
    trunk = BACKBONES[name](**options).eval()
    halves = split(trunk)
    images = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        early = halves.early(images)
        assert tuple(early.shape) == (
            1,
            halves.early.channels,
            64 // halves.early.stride,
            32 // halves.early.stride,
        )
        torch.testing.assert_close(halves.tail()(early), trunk(images))
    assert halves.channels == trunk.channels == 2 * halves.early.channels


def test_tails_share_no_weights() -> None:
    halves = split(BACKBONES["small"](width=4))
    one, two = halves.tail(), halves.tail()
    assert all(
        a is not b and torch.equal(a, b)
        for a, b in zip(one.parameters(), two.parameters(), strict=True)
    )


def test_fresh_layers_of_a_resnet_have_the_papers_sizes() -> None:
    """DSA: the global branch, eight local ones on all channels, and eight on a slice of them."""
    with torch.device("meta"):
        halves = split(BACKBONES["resnet50"](pretrained=False))
        assert count(halves.fresh()) == count(halves.last) == 14_964_736
        assert 8 * count(halves.fresh(8)) == 4_184_064
        assert 8 * count(halves.fresh(8, inputs=128)) == 1_890_304
        assert halves.fresh(8)(torch.empty(2, 1024, 4, 2)).shape == (2, 256, 4, 2)


@pytest.mark.parametrize(("share", "inputs"), [(1, None), (8, None), (8, 2), (2, 5)])
def test_fresh_layers_of_the_small_trunk(share: int, inputs: int | None) -> None:
    halves = split(BACKBONES["small"](width=4))
    out = halves.fresh(share, inputs)(torch.randn(2, inputs or 16, 8, 4))
    assert out.shape == (2, 32 // share, 8, 4) and (out >= 0).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hrnet_w32", {}),
        ("resnet50", {"upsample": 4}),
        ("resnet50", {"last_stride": 2}),
        ("small", {"stride": 4}),
    ],
)
def test_trunks_without_a_single_last_layer_are_refused(name: str, options: dict[str, int]) -> None:
    with torch.device("meta"):
        trunk = BACKBONES[name](**({"pretrained": False} if name != "small" else {}), **options)
    with pytest.raises(RecipeError, match="choose the backbone resnet50"):
        split(trunk)


def test_channels_that_do_not_divide_are_refused() -> None:
    with pytest.raises(RecipeError, match="32 channels cannot be shared out among 3"):
        split(BACKBONES["small"](width=4)).fresh(3)
