"""Trunks: images [B, 3, H, W] to one feature map [B, C, h, w], with ``.channels`` C and ``.stride``
H / h.

ResNet, SE-ResNet and HRNet come from timm; the stride surgery, IBN-a, the HRNet fusion and the
small trunk for work without a GPU are ours. timm is imported only when one of its models is asked
for.
"""

import importlib
from collections.abc import Callable
from difflib import get_close_matches
from types import ModuleType
from typing import Any, Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partreid.errors import RecipeError
from partreid.layers.weights import DEFAULT, LOCAL, fetched, fill, is_file, timm_local
from partreid.utils.arguments import Count, door, require
from partreid.utils.registry import Registry

Stem = Literal["usual", "no_relu", "unpadded"]

_DECLARED: list[Any] = []  # keeps the operator declaration of import_timm alive


def import_timm() -> ModuleType:
    """timm, also beside a torchvision whose compiled operators were built for another torch.

    timm imports torchvision for a batch norm class; a CPU torch next to a CUDA torchvision then
    fails on an operator that neither timm nor we ever call. Declaring the operator is enough.
    """
    try:
        return importlib.import_module("timm")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _DECLARED.append(library)
    return importlib.import_module("timm")


@runtime_checkable
class Sized(Protocol):
    """A trunk with layers that depend on the size of the images, which it is told before it is
    used.
    """

    def set_size(self, height: int, width: int) -> None:
        """Set the size of the images in pixels. RecipeError if they do not fit."""


@door
def width_of(trunk: nn.Module) -> int:
    """C, how many channels a trunk gives: what it says of itself in ``.channels``."""
    channels: Any = getattr(trunk, "channels", None)
    require(
        isinstance(channels, int) and channels > 0,
        "trunk",
        "a module that says in .channels how many channels its map has",
        trunk,
    )
    return int(channels)


@door
def create_timm(name: str, tag: str | None, *, local: str = LOCAL, **options: Any) -> nn.Module:
    """A timm model with the weights of a tag, None: as it is initialised.

    name: may end in a tag of its own, which then says what the images are normalised by. local: how
    a file is given instead, for errors.
    """
    timm = import_timm()
    plain, _, suffix = name.partition(".")
    if not plain or not timm.is_model(plain):
        near = get_close_matches(plain, timm.list_models(), 4)
        hint = f"the nearest are {', '.join(near)}" if near else "see timm.list_models()"
        raise RecipeError(f"timm has no model '{plain}'; {hint}")
    if tag is not None:
        return fetched(timm, plain, tag, options, local)
    tags = _tags(timm, plain)
    if suffix and suffix not in tags:
        raise RecipeError(f"{plain} has no weights '{suffix}'; known are {', '.join(tags)}")
    model: nn.Module = timm.create_model(name, pretrained=False, **options)
    return model


@door
def timm_tag(name: str, weights: str) -> str:
    """The tag of timm's weights that a model's name and a recipe's ``weights`` mean together."""
    timm = import_timm()
    plain, _, suffix = name.partition(".")
    if weights != DEFAULT:
        if suffix and suffix != weights:
            raise RecipeError(
                f"backbone.model asks for the weights {suffix} and backbone.weights for {weights}; "
                "name them once"
            )
        return weights
    tags = _tags(timm, plain) if timm.is_model(plain) else [""]  # an unknown model is said later
    if not tags:
        raise RecipeError(
            f"timm has no weights of {plain}; {timm_local(plain)}. Or train from nothing: --set "
            "backbone.weights=none"
        )
    if suffix or not tags[0]:
        return suffix
    tag: str = timm.get_pretrained_cfg(plain).tag
    return tag


def _tags(timm: Any, model: str) -> list[str]:
    return [name.partition(".")[2] for name in timm.list_pretrained(f"{model}.*")]


class ResNetTrunk(nn.Module):
    """A timm ResNet up to layer4, with layer4's stride 1 *without* dilation (re-ID's "last stride
    1").

    last_stride: 2 leaves it as ImageNet has it (torchreid's resnet50). stem: "no_relu" goes from
    the first batch norm straight to pooling (reid-strong-baseline, its issue 4); "unpadded" pools
    from the corner of the map (BPBreID's ResNet-50-IBN).
    """

    stride = 16

    @door
    def __init__(
        self,
        name: str,
        tag: str | None = None,
        ibn: bool = False,
        upsample: int = 1,
        last_stride: int = 1,
        stem: Stem = "usual",
    ) -> None:
        super().__init__()
        if last_stride not in (1, 2):
            raise RecipeError(f"the last stride of a ResNet is 1 or 2, got {last_stride}")
        net: Any = create_timm(name, tag, num_classes=0, global_pool="")
        act = nn.Identity() if stem == "no_relu" else getattr(net, "act1", nn.ReLU())
        pool = nn.MaxPool2d(3, 2, ceil_mode=True) if stem == "unpadded" else net.maxpool
        self.stem = nn.Sequential(net.conv1, net.bn1, act, pool)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            net.layer1,
            net.layer2,
            net.layer3,
            net.layer4,
        )
        for module in (m for m in self.layer4.modules() if isinstance(m, nn.Conv2d | nn.AvgPool2d)):
            if module.stride in (2, (2, 2)):
                module.stride = (last_stride, last_stride)
        if ibn:
            for layer in (self.layer1, self.layer2, self.layer3):
                for block in layer:
                    block.bn1 = IBN(block.bn1)
        self.upsample = upsample
        self.stride = 16 * last_stride // upsample
        self.channels = int(net.num_features)

    def forward(self, images: Tensor) -> Tensor:
        f: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(images)))))
        if self.upsample > 1:
            f = F.interpolate(f, scale_factor=self.upsample, mode="bilinear", align_corners=False)
        return f


class IBN(nn.Module):
    """Instance norm on the first half of the channels, batch norm on the second (IBN-a, Pan et
    al., ECCV 2018).
    """

    @door
    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.split = norm.num_features // 2
        self.instance = nn.InstanceNorm2d(self.split, affine=True)
        self.batch = nn.BatchNorm2d(norm.num_features - self.split)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.instance(x[:, : self.split]), self.batch(x[:, self.split :])], 1)


class HRNetTrunk(nn.Module):
    """HRNet-W32 with its four branches fused: 256 + 512 + 1024 + 128 = 1920 channels at stride 4
    (ISP Sec. 4.1).

    ``reduce`` adds a 1x1 convolution + BN + ReLU to that many channels. Branches are upsampled
    bilinearly to the finest one; align_corners as in the released ISP and BPBreID code.
    """

    stride = 4

    def __init__(self, tag: str | None = None, reduce: int | None = None) -> None:
        super().__init__()
        net: Any = create_timm("hrnet_w32", tag, features_only=True, out_indices=(1, 2, 3, 4))
        self.net, channels = net, sum(net.feature_info.channels())
        self.reduce: nn.Module = nn.Identity()
        if reduce is not None:
            self.reduce = nn.Sequential(
                nn.Conv2d(channels, reduce, 1), nn.BatchNorm2d(reduce), nn.ReLU()
            )
        self.channels = reduce or channels

    def forward(self, images: Tensor) -> Tensor:
        finest, *coarser = self.net(images)
        size = finest.shape[2:]
        up = [F.interpolate(f, size=size, mode="bilinear", align_corners=True) for f in coarser]
        fused: Tensor = self.reduce(torch.cat([finest, *up], 1))
        return fused


class Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    @door
    def __init__(self, before: Count, after: Count, stride: Count) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class SmallTrunk(nn.Module):
    """About a million parameters at width 28: a stem and three residual blocks, 8 x width channels
    at stride 8.

    For CPU work, tests and the synthetic benchmark; trained from scratch. With ``stride`` 4 the
    first block's finer map is put beside the last one upsampled, the way HRNet fuses its branches:
    10 x width channels.
    """

    def __init__(self, width: int = 28, stride: int = 8) -> None:
        super().__init__()
        if stride not in (4, 8):
            raise RecipeError(f"the small trunk has stride 4 or 8, got {stride}")
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.fine = Residual(width, 2 * width, 2)
        self.coarse = nn.Sequential(
            Residual(2 * width, 4 * width, 2), Residual(4 * width, 8 * width, 1)
        )
        self.channels, self.stride = (8 if stride == 8 else 10) * width, stride

    def forward(self, images: Tensor) -> Tensor:
        fine = self.fine(self.stem(images))
        f: Tensor = self.coarse(fine)
        if self.stride == 4:
            f = torch.cat(
                [fine, F.interpolate(f, fine.shape[2:], mode="bilinear", align_corners=False)], 1
            )
        return f


@door
def resnet50(
    pretrained: bool = True,
    weights: str = "tv_in1k",
    upsample: int = 1,
    last_stride: int = 1,
    stem: Stem = "usual",
) -> nn.Module:
    """weights: timm's tag, torchvision's first ones by default, or a file; not read if not
    ``pretrained``.
    """
    return _started(
        pretrained,
        weights,
        lambda tag: ResNetTrunk("resnet50", tag, False, upsample, last_stride, stem),
    )


@door
def resnet50_ibn_a(
    pretrained: bool = True, weights: str | None = None, stem: Stem = "usual"
) -> nn.Module:
    """weights: a file, for no library distributes ImageNet weights of IBN-a. RecipeError without
    it.
    """
    if pretrained and (weights is None or not is_file(weights)):
        raise RecipeError(
            f"resnet50_ibn_a needs a file of its ImageNet weights, got {weights!r}: no library "
            "distributes them. The authors of IBN-Net publish resnet50_ibn_a-*.pth in the releases "
            f"of github.com/XingangPan/IBN-Net; {LOCAL}. Or train from nothing: --set "
            "backbone.pretrained=false"
        )
    return _started(
        pretrained, weights or "", lambda tag: ResNetTrunk("resnet50", tag, True, stem=stem)
    )


def seresnet50(pretrained: bool = True, weights: str = "a1_in1k", upsample: int = 1) -> nn.Module:
    """weights: timm's tag or a file."""
    return _started(
        pretrained, weights, lambda tag: ResNetTrunk("seresnet50", tag, upsample=upsample)
    )


def hrnet_w32(
    pretrained: bool = True, weights: str = "ms_in1k", reduce: int | None = None
) -> nn.Module:
    """weights: timm's tag, HRNet's authors' own by default, or a file."""
    return _started(pretrained, weights, lambda tag: HRNetTrunk(tag, reduce))


def _started(pretrained: bool, weights: str, make: Callable[[str | None], nn.Module]) -> nn.Module:
    if not pretrained:
        return make(None)
    if not is_file(weights):
        return make(weights)
    trunk = make(None)
    fill(trunk, weights)
    return trunk


def small(width: int = 28, stride: int = 8) -> nn.Module:
    return SmallTrunk(width, stride)


BACKBONES: Registry[Callable[..., nn.Module]] = Registry(
    "trunk",
    "partreid.trunks",
    {
        "resnet50": resnet50,
        "resnet50_ibn_a": resnet50_ibn_a,
        "seresnet50": seresnet50,
        "hrnet_w32": hrnet_w32,
        "small": small,
        "timm": "partreid.layers.timm_trunk:timm_trunk",
    },
)
