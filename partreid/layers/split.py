"""A trunk cut before its last layer, for methods whose branches each end it in their own way
(DSA, MagnifierNet).
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from partreid.errors import RecipeError
from partreid.layers.timm_trunk import Last, TimmTrunk
from partreid.layers.trunks import Residual, ResNetTrunk, SmallTrunk

_BLOCKS = 3  # of a fresh layer beside a timm model: as many as ResNet-50's last has, the papers'


class Early(nn.Sequential):
    """A trunk without its last layer: images [B, 3, H, W] -> [B, ``channels``, H / ``stride``, W
    / ``stride``].
    """

    def __init__(self, *layers: nn.Module, channels: int, stride: int) -> None:
        super().__init__(*layers)
        self.channels, self.stride = channels, stride


@dataclass(frozen=True)
class Split:
    """The two halves of a trunk. ``last`` is the layer cut off, with the trunk's weights, from
    ``early.channels`` to ``channels``, at stride 1 unless it is a timm model's own.
    """

    early: Early | TimmTrunk
    last: nn.Module
    channels: int

    def tail(self) -> nn.Module:
        """A copy of the last layer that starts from the trunk's weights."""
        return deepcopy(self.last)

    def fresh(self, share: int = 1, inputs: int | None = None) -> nn.Module:
        """A last layer of the same make, randomly initialised, with 1/``share`` of the channels on
        each layer; beside a timm model, ResNet's make.

        inputs: channels it starts from, all of ``early`` by default. RecipeError if the channels do
        not divide.
        """
        if self.channels % share:
            raise RecipeError(
                f"{self.channels} channels cannot be shared out among {share} branches; choose a "
                f"trunk with a multiple of {share} channels"
            )
        C, D = inputs or self.early.channels, self.channels // share
        if isinstance(self.last, Residual):
            return Residual(C, D, 1)
        blocks = _BLOCKS if isinstance(self.last, Last) else len(list(self.last.children()))
        return nn.Sequential(*(Bottleneck(C if i == 0 else D, D) for i in range(blocks)))


class Bottleneck(nn.Module):
    """ResNet's 1x1, 3x3, 1x1 block at stride 1, He-initialised: [B, C, h, w] -> [B, D, h, w],
    D/4 channels inside.
    """

    def __init__(self, C: int, D: int) -> None:
        super().__init__()
        d = D // 4
        self.body = nn.Sequential(
            nn.Conv2d(C, d, 1, bias=False),
            nn.BatchNorm2d(d),
            nn.ReLU(inplace=True),
            nn.Conv2d(d, d, 3, padding=1, bias=False),
            nn.BatchNorm2d(d),
            nn.ReLU(inplace=True),
            nn.Conv2d(d, D, 1, bias=False),
            nn.BatchNorm2d(D),
        )
        self.shortcut: nn.Module = nn.Identity()
        if C != D:
            self.shortcut = nn.Sequential(nn.Conv2d(C, D, 1, bias=False), nn.BatchNorm2d(D))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def split(trunk: nn.Module) -> Split:
    """Cut a trunk before its last layer. RecipeError for trunks that have no single last layer.

    A timm model is cut behind its last feature level but one; whatever runs behind that is the last
    layer.
    """
    if isinstance(trunk, ResNetTrunk) and trunk.stride == 16:
        early = Early(
            trunk.stem,
            trunk.layer1,
            trunk.layer2,
            trunk.layer3,
            channels=trunk.channels // 2,
            stride=16,
        )
        return Split(early, trunk.layer4, trunk.channels)
    if isinstance(trunk, SmallTrunk) and trunk.stride == 8:
        blocks = list(trunk.coarse.children())
        early = Early(trunk.stem, trunk.fine, *blocks[:-1], channels=trunk.channels // 2, stride=8)
        return Split(early, blocks[-1], trunk.channels)
    if isinstance(trunk, TimmTrunk):
        channels = trunk.channels
        return Split(*trunk.halves(), channels)
    raise RecipeError(
        "this method branches before the trunk's last layer; choose the backbone resnet50, "
        "resnet50_ibn_a, seresnet50 (at stride 16), small (stride=8) or timm with a model of stages"
    )
