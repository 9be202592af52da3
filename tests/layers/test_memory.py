"""The layout in memory: gradients do not depend on it, and layers that one layout would corrupt
never meet it.
"""

import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from partreid import build
from partreid.layers.memory import FORMAT, NARROW, arrange, guard
from partreid.layers.trunks import BACKBONES, Sized
from partreid.recipes import find, override

ROOT = Path(__file__).parent.parent.parent
Format = Callable[[Tensor], Tensor]
TRUNKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("small", {"width": 1}),
    ("small", {"width": 2}),
    ("small", {"width": 7}),
    ("small", {"width": 3, "stride": 4}),
    ("small", {"width": 8}),
    ("resnet50", {"pretrained": False}),
    ("resnet50_ibn_a", {"pretrained": False}),
    ("seresnet50", {"pretrained": False}),
    ("hrnet_w32", {"pretrained": False, "reduce": 2}),
    ("timm", {"model": "resnet18", "weights": None, "reduce": 2}),
    ("timm", {"model": "mobilenetv2_050", "weights": None}),
    ("timm", {"model": "convnext_atto", "weights": None, "last_stride": 1}),
    ("timm", {"model": "vit_tiny_patch16_224", "weights": None}),
    ("timm", {"model": "swin_tiny_patch4_window7_224", "weights": None}),
)


def last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=FORMAT)


def permuted(x: Tensor) -> Tensor:
    """Channels last by way of a permutation, as trunks of attention layers make it."""
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    out = module(x)
    out.backward(torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape))
    assert x.grad is not None
    return [x.grad.double(), *(p.grad.double() for p in module.parameters() if p.grad is not None)]


def lies_last(x: Tensor) -> bool:
    return x.stride() == torch.empty(x.shape).to(memory_format=FORMAT).stride()


@pytest.mark.parametrize(("name", "options"), TRUNKS)
def test_gradients_are_those_of_contiguous_memory(name: str, options: dict[str, Any]) -> None:
    """Against float64, which none of these kernels computes; batch norms at rest, or rounding
    would be amplified.
    """
    plain: Any = BACKBONES[name](**options).eval()
    if isinstance(plain, Sized):
        plain.set_size(64, 32)
    x = torch.randn(2, 3, 64, 32)
    arranged = arrange(deepcopy(plain))
    ours, expected = gradients(arranged, last(x)), gradients(deepcopy(plain).double(), x.double())
    contiguous = gradients(plain, x)
    assert len(ours) == len(expected)
    for a, b, c in zip(ours, contiguous, expected, strict=True):
        assert (a - c).abs().max() <= 2 * (b - c).abs().max() + 1e-4 * c.abs().max()


def test_every_trunk_is_among_them() -> None:
    assert {name for name, _ in TRUNKS} == set(BACKBONES)


@pytest.mark.parametrize("layout", [last, permuted])
@pytest.mark.parametrize("stride", [2, (2, 1), 3])
@pytest.mark.parametrize("channels", [2, 3, 5, NARROW - 1])
def test_a_narrow_strided_layer_sees_contiguous_memory_only(
    channels: int, stride: Any, layout: Format
) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    class Spy(nn.Conv2d):
        def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            seen.append((input, weight))
            return super()._conv_forward(input, weight, bias)

    layer = Spy(channels, 2 * channels, 1, stride, bias=False)
    x = torch.randn(4, channels, 16, 8)
    expected = gradients(deepcopy(layer).double(), x.double())
    # laid out afterwards
    for module in (
        arrange(deepcopy(layer)),
        guard(deepcopy(layer)).to(memory_format=FORMAT),
        deepcopy(arrange(deepcopy(layer))),
    ):
        result = gradients(module, layout(x))
        assert not any(lies_last(t) for t in seen.pop())
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


def test_other_layers_lie_channels_last() -> None:
    trunk = arrange(BACKBONES["small"](width=NARROW))
    assert all(lies_last(m.weight) for m in trunk.modules() if isinstance(m, nn.Conv2d))
    assert not any(m._forward_pre_hooks for m in trunk.modules())
    assert lies_last(trunk(last(torch.randn(2, 3, 64, 32))))


def test_every_built_model_is_guarded_once() -> None:
    recipe = override(find("synthetic/tiny/bot"), ["backbone.width=3"])
    method = arrange(arrange(build.method(recipe, 5, None)))
    hooks = {
        (m.in_channels, *m.kernel_size): len(m._forward_pre_hooks)
        for m in method.modules()
        if isinstance(m, nn.Conv2d)
    }
    assert hooks[3, 1, 1] == hooks[6, 1, 1] == 1  # two shortcuts; the third is wide enough
    assert sum(hooks.values()) == 2


def test_one_file_decides_on_the_layout() -> None:
    files = [path for room in ("partreid", "benchmarks") for path in (ROOT / room).rglob("*.py")]
    assert [p.name for p in files if re.search(r"torch\.channels_last", p.read_text("utf-8"))] == [
        "memory.py"
    ]
