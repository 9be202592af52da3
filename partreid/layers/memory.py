"""How images and feature maps lie in memory on a CPU: channels last, but where that would not be
safe.

The one place that decides. Channels last is the faster layout for training (docs/speed.md). oneDNN
3.12, on processors with AVX2 alone, then writes past its buffer in one case: the gradient of the
input of a strided 1x1 convolution of 2 to 7 channels, too few for its eight numbers at a time. What
follows is a crash or, worse, none. Such layers get everything contiguous, whatever the layers
around them do and on every processor, so that all compute the same.
"""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

FORMAT = torch.channels_last
NARROW = 8  # channels that AVX2 handles at a time

Module = TypeVar("Module", bound=nn.Module)


def arrange(module: Module) -> Module:
    """The module with its weights channels last and its narrow layers safe, in place."""
    # PyTorch's stub lacks memory_format alone
    module.to(memory_format=FORMAT)  # type: ignore[call-overload]
    return guard(module)


def guard(module: Module) -> Module:
    """The module with its narrow layers safe in whatever layout they are given, in place."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and _narrow(layer):
            _settle(layer)
            if _contiguous not in layer._forward_pre_hooks.values():
                layer.register_forward_pre_hook(_contiguous)
    return module


def _narrow(layer: nn.Conv2d) -> bool:
    return layer.in_channels < NARROW and set(layer.kernel_size) == {1} and layer.stride != (1, 1)


def _contiguous(layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """The layer's input, contiguous, before the layer runs; its weights too, if another layout
    has reached them.
    """
    x, *rest = given
    # only a gradient on a CPU is at stake
    if not (torch.is_grad_enabled() and x.device.type == "cpu"):
        return given
    _settle(layer)
    return _plain(x), *rest


def _settle(layer: Any) -> None:
    plain = _plain(layer.weight.data)
    if layer.weight.stride() != plain.stride():
        layer.weight.data = plain


def _plain(x: Tensor) -> Tensor:
    """The same numbers contiguous, and with the strides that say so: those of a 1x1 kernel could
    mean either layout.
    """
    return x.flatten().view(x.shape)
