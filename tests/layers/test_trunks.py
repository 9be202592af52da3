"""Trunks at full size on tiny images: strides, channels, and what was changed in timm's
networks.
"""

from typing import Any

import pytest
import torch
from torch import nn

from partreid.errors import RecipeError
from partreid.layers import trunks as backbones
from partreid.layers.trunks import BACKBONES, IBN


def out(trunk: nn.Module, size: tuple[int, int]) -> torch.Size:
    with torch.inference_mode():
        return trunk.eval()(torch.zeros(1, 3, *size)).shape


@pytest.fixture(scope="module")
def resnet() -> Any:
    return BACKBONES["resnet50"](pretrained=False)


@pytest.mark.parametrize(("name", "options", "channels", "stride"), [
    ("resnet50", {"pretrained": False}, 2048, 16),
    ("resnet50", {"pretrained": False, "upsample": 4}, 2048, 4),
    ("resnet50_ibn_a", {"pretrained": False}, 2048, 16),
    ("seresnet50", {"pretrained": False}, 2048, 16),
    ("hrnet_w32", {"pretrained": False}, 1920, 4),
    ("hrnet_w32", {"pretrained": False, "reduce": 32}, 32, 4),
    ("small", {"width": 8}, 64, 8),
    ("small", {"width": 8, "stride": 4}, 80, 4),
])  # fmt: skip
def test_channels_and_stride_are_what_they_say(
    name: str, options: dict[str, Any], channels: int, stride: int
) -> None:
    trunk: Any = BACKBONES[name](**options)
    assert (trunk.channels, trunk.stride) == (channels, stride)
    assert out(trunk, (64, 32)) == (1, channels, 64 // stride, 32 // stride)


def test_last_stride_1_gives_16_by_8_of_256_by_128(resnet: Any) -> None:
    assert out(resnet, (256, 128)) == (1, 2048, 16, 8)


@pytest.mark.parametrize("name", ["resnet50", "resnet50_ibn_a", "seresnet50"])
def test_the_last_stride_is_removed_without_dilation(name: str) -> None:
    trunk: Any = BACKBONES[name](pretrained=False)
    convolutions = [m for m in trunk.modules() if isinstance(m, nn.Conv2d)]
    assert all(m.dilation == (1, 1) for m in convolutions)
    assert all(m.stride == (1, 1) for m in trunk.layer4.modules() if isinstance(m, nn.Conv2d))
    strided = [m for m in convolutions if m.stride == (2, 2)]
    assert len(strided) == 1 + 2 * 2  # the stem, and 3x3 and shortcut of layers 2 and 3


def test_resnet_is_timm_s_but_for_that_stride(resnet: Any) -> None:
    ours = {n: p.shape for n, p in resnet.named_parameters()}
    theirs: Any = backbones.import_timm().create_model("resnet50", num_classes=0, global_pool="")
    assert sum(p.numel() for p in resnet.parameters()) == sum(
        p.numel() for p in theirs.parameters()
    )
    assert {
        n: p.shape for n, p in theirs.named_parameters() if n.startswith("layer")
    }.items() <= ours.items()
    theirs.load_state_dict(
        {
            n.replace("stem.0", "conv1").replace("stem.1", "bn1"): t
            for n, t in resnet.state_dict().items()
        }
    )
    x = torch.randn(2, 3, 64, 32)
    with torch.inference_mode():
        one = resnet.eval().layer3(resnet.layer2(resnet.layer1(resnet.stem(x))))
        theirs.eval()
        two = theirs.layer3(
            theirs.layer2(theirs.layer1(theirs.maxpool(theirs.act1(theirs.bn1(theirs.conv1(x))))))
        )
    torch.testing.assert_close(one, two)


def test_ibn_a_splits_the_first_norm_of_layers_1_to_3() -> None:
    trunk: Any = BACKBONES["resnet50_ibn_a"](pretrained=False)
    for layer, count in ((trunk.layer1, 3), (trunk.layer2, 4), (trunk.layer3, 6)):
        assert [isinstance(block.bn1, IBN) for block in layer] == [True] * count
        assert not any(isinstance(m, IBN) for block in layer for m in (block.bn2, block.bn3))
    assert not any(isinstance(m, IBN) for m in trunk.layer4.modules())


def test_ibn_normalises_half_by_image_and_half_by_batch() -> None:
    ibn = IBN(nn.BatchNorm2d(6)).train()
    x = torch.randn(4, 6, 5, 5) * torch.tensor([1.0, 2, 3, 4])[:, None, None, None] + 7
    y = ibn(x)
    assert (
        y[:, :3].mean((2, 3)).abs().max() < 1e-5
        and (y[:, :3].var((2, 3), correction=0) - 1).abs().max() < 1e-3
    )
    assert y[:, 3:].mean((0, 2, 3)).abs().max() < 1e-5
    assert y[:, 3:].mean((2, 3)).abs().max() > 0.01  # an image alone is not centered there


def test_se_resnet_has_an_attention_in_every_block() -> None:
    trunk: Any = BACKBONES["seresnet50"](pretrained=False)
    blocks = [
        b for layer in (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4) for b in layer
    ]
    assert len(blocks) == 16 and all(b.se is not None for b in blocks)


def test_hrnet_lays_its_four_branches_side_by_side() -> None:
    trunk: Any = BACKBONES["hrnet_w32"](pretrained=False).eval()
    assert sorted(trunk.net.feature_info.channels()) == [128, 256, 512, 1024]
    x = torch.randn(1, 3, 64, 32)
    with torch.inference_mode():
        fused, branches = trunk(x), trunk.net(x)
    assert [f.shape[2] for f in branches] == [16, 8, 4, 2]
    torch.testing.assert_close(fused[:, : branches[0].shape[1]], branches[0])
    # aligned corners keep values
    corners = fused[:, -branches[-1].shape[1] :][:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    torch.testing.assert_close(corners, branches[-1][:, :, [0, 0, -1, -1], [0, -1, 0, -1]])


def test_the_small_trunk_has_about_a_million_parameters() -> None:
    trunk: Any = BACKBONES["small"]()
    assert 0.9e6 < sum(p.numel() for p in trunk.parameters()) < 1.3e6
    with pytest.raises(RecipeError, match="stride 4 or 8, got 16"):
        BACKBONES["small"](stride=16)


def test_the_small_trunk_takes_images_of_any_size() -> None:
    for stride, size in ((8, (13, 7)), (4, (25, 13))):
        assert out(BACKBONES["small"](width=4, stride=stride), (100, 50))[2:] == size


def test_the_finer_small_trunk_keeps_its_fine_map_beside_the_coarse_one() -> None:
    trunk: Any = BACKBONES["small"](width=4, stride=4).eval()
    x = torch.randn(1, 3, 64, 32)
    with torch.inference_mode():
        f, fine = trunk(x), trunk.fine(trunk.stem(x))
        coarse = nn.functional.interpolate(trunk.coarse(fine), scale_factor=2, mode="bilinear")
    torch.testing.assert_close(f, torch.cat([fine, coarse], 1))


def test_every_trunk_gives_gradients_to_all_of_its_parameters() -> None:
    for name, options in (("resnet50_ibn_a", {"pretrained": False}), ("small", {"width": 4})):
        trunk: Any = BACKBONES[name](**options).train()
        trunk(torch.randn(2, 3, 64, 32)).square().mean().backward()
        assert [
            n for n, p in trunk.named_parameters() if p.grad is None or not p.grad.isfinite().all()
        ] == []
