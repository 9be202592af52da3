"""Any model of timm as a trunk: ``--set backbone=timm --set backbone.model=convnext_tiny``.

timm gives every model the same three doors, and only these are used: ``feature_info`` (its feature
levels), ``forward_intermediates`` (their maps, tokens laid out as [B, C, h, w]) and
``prune_intermediate_layers`` (dropping what the maps do not need). No model is named here. The
weights keep timm's names, below ``net.``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partreid.errors import DataError, RecipeError, ShapeError
from partreid.layers.heads import ReduceMap
from partreid.layers.own_trunk import renormalize
from partreid.layers.trunks import create_timm, timm_tag
from partreid.layers.weights import DEFAULT, NOTHING, fill, is_file, timm_local
from partreid.utils.arguments import door

# What some families run behind their last stage, in this order. It stands beside the stages.
_BEHIND = ("norm_pre", "final_conv", "final_act", "conv_head", "bn2", "norm")
_UNNORMED = ("Hiera", "HieraDet")  # whose levels timm gives without their last norm only
_NEAR = 1e-4  # of the largest number in a map: what two ways to compute it may differ by

Info = Sequence[Mapping[str, Any]]


class TimmTrunk(nn.Module):
    """A timm model up to its feature map: images float32 [B, 3, H, W], normalised by ImageNet's
    mean and deviation, -> float32 [B, ``channels``, H / ``stride``, W / ``stride``].

    The images are brought to the model's own mean and deviation first. ``size``: (H, W) of the
    images, None for a model that takes any; :meth:`set_size` changes it.

    Args:
        model: timm's name, which may end in a tag: ``vit_small_patch16_224.dino``.
        tag: of the weights to fetch; None: as timm initialises the model.
        levels: feature levels, counted from the finest, or from the last as -1, -2. Several are
            brought to the size of the finest (bilinear) and laid side by side. None: the map that
            the model itself pools: its last level, and the convolution that some put behind it.
        last_stride: 1 takes the stride of the last stage away, without dilation; None and 2 leave
            it.
        reduce: channels of a 1x1 convolution + BN + ReLU behind the map; None: there is none.

    Raises:
        RecipeError: for a model, tag or level that timm does not have, and for a ``last_stride``
            where the last stage has no stride or it is not known how to take it away.

    Examples:
        >>> trunk = TimmTrunk("resnet18", last_stride=1)
        >>> trunk.channels, trunk.stride, trunk.size
        (512, 16, None)
    """

    @door
    def __init__(
        self,
        model: str,
        tag: str | None = None,
        levels: int | Sequence[int] | None = None,
        last_stride: int | None = None,
        reduce: int | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        net: Any = create_timm(model, tag, local=timm_local(model), num_classes=0)
        self.known = frozenset(net.state_dict())  # names of the model before it is pruned
        config, self.info = net.pretrained_cfg, _feature_levels(model, net)
        if len(config["mean"]) != 3 or config["input_size"][0] != 3:
            raise RecipeError(f"timm's {model} does not take RGB images; choose another model")
        self.strides = [int(level["reduction"]) for level in self.info]
        self.levels = _chosen(model, levels, self.strides)
        self.is_whole = levels is None and net.num_features != self.info[-1]["num_chs"]
        if not self.is_whole:
            net.prune_intermediate_layers(list(self.levels), prune_norm=False, prune_head=True)
        self.is_normed = type(net).__name__ not in _UNNORMED
        self.before, self.net = renormalize(config["mean"], config["std"]), net
        if last_stride is not None:
            self._restride(last_stride)
        is_sized = hasattr(net, "set_input_size") or bool(config.get("fixed_input_size"))
        self.size: tuple[int, int] | None = tuple(config["input_size"][1:]) if is_sized else None
        channels = int(
            net.num_features
            if self.is_whole
            else sum(self.info[level]["num_chs"] for level in self.levels)
        )
        self.reduce: nn.Module = nn.Identity() if reduce is None else ReduceMap(channels, reduce)
        self.channels = channels if reduce is None else reduce
        self.stride = min(self.strides[level] for level in self.levels)
        # PyTorch's hooks are untyped
        self.register_load_state_dict_post_hook(_settle)  # type: ignore[no-untyped-call]

    def forward(self, images: Tensor) -> Tensor:
        if self.size is not None and tuple(images.shape[2:]) != self.size:
            raise ShapeError(
                f"timm's {self.model} is set up for images of {self.size[0]} x {self.size[1]}, got "
                f"{images.shape[2]} x {images.shape[3]}; set_size tells it another size"
            )
        x = self.before(images)
        if self.is_whole:
            reduced: Tensor = self.reduce(self.net.forward_features(x))
            return reduced
        maps = self.net.forward_intermediates(
            x,
            indices=list(self.levels),
            norm=self.is_normed,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        size = max(f.shape[2:] for f in maps)
        even = [
            f
            if f.shape[2:] == size
            else F.interpolate(f, size=size, mode="bilinear", align_corners=False)
            for f in maps
        ]
        fused: Tensor = self.reduce(even[0] if len(even) == 1 else torch.cat(even, 1))
        return fused

    @door
    def set_size(self, height: int, width: int) -> None:
        """Set the size of the images in pixels, in place: position embeddings and windows of
        attention are resized, for a model that has them.

        One image is tried, unless the model is on the meta device: parameters that its map does not
        depend on no longer learn.

        Raises:
            RecipeError: for a size that patches or windows do not fit, or that gives no map.
        """
        if self.size not in (None, (height, width)):
            self._resize(height, width)
            self.size = (height, width)
        if not next(self.parameters()).is_meta:
            self._try(height, width)

    def _resize(self, height: int, width: int) -> None:
        message = f"size {height} x {width} does not fit timm's {self.model}"
        native = list(self.net.pretrained_cfg["input_size"][1:])
        if not hasattr(self.net, "set_input_size"):
            raise RecipeError(
                f"{message}: it takes images of {native[0]} x {native[1]} alone; --set "
                f"size=[{native[0]},{native[1]}], or choose another model"
            )
        patch = getattr(getattr(self.net, "patch_embed", None), "patch_size", (1, 1))
        for side, step in zip((height, width), patch, strict=True):
            if side % step:
                low = max(side // step, 1) * step
                raise RecipeError(
                    f"{message}: its patches are {patch[0]} x {patch[1]} pixels, and {side} does "
                    f"not divide by {step}; {low} and {low + step} do"
                )
        try:
            self.net.set_input_size(img_size=(height, width))
        except Exception as error:  # each family refuses in its own way
            raise RecipeError(f"{message} ({_reason(error)}); its own size is {native}") from None

    def _try(self, height: int, width: int) -> None:
        training, learning = self.training, [p for p in self.parameters() if p.requires_grad]
        try:
            with torch.enable_grad():
                f = self.eval()(learning[0].new_zeros(1, 3, height, width))
                what = str(list(f.shape))
                used = torch.autograd.grad(f.sum(), learning, allow_unused=True)
        except Exception as error:  # whatever a model does with a size that it was not made for
            f, what = None, _reason(error)
        self.train(training)
        if f is None or f.ndim != 4 or f.shape[1] != self.channels:
            raise RecipeError(
                f"timm's {self.model} gives no map [B, {self.channels}, h, w] for images of "
                f"{height} x {width} ({what}); choose another size or model"
            )
        for parameter, gradient in zip(learning, used, strict=True):
            if gradient is None:
                parameter.requires_grad_(False)  # DDP would wait for it

    def halves(self) -> "tuple[TimmTrunk, Last]":
        """This trunk up to its last level but one, in place, and what it was behind that.

        Raises:
            RecipeError: if the model has no last stage that can be told from the rest.
        """
        why = "this method copies the last stage of its trunk once for every branch, and"
        other = (
            "choose a model with stages (convnext_tiny, resnet18, swin_tiny...) or another method"
        )
        if len(self.levels) > 1 or self.levels[0] != len(self.info) - 1:
            raise RecipeError(
                f"{why} levels={list(self.levels)} does not end with it; leave it out"
            )
        if self.info[-1]["reduction"] == self.info[-2]["reduction"]:
            raise RecipeError(
                f"{why} timm's {self.model} has no stages, only equal blocks; {other}"
            )
        last = self._last()
        if last is None:
            raise RecipeError(f"{why} that of timm's {self.model} cannot be told apart; {other}")
        training, is_real = self.training, not next(self.parameters()).is_meta
        whole = self.eval()(self._example()) if is_real else None
        self.levels, self.is_whole = [len(self.info) - 2], False
        self.net.prune_intermediate_layers(list(self.levels), prune_norm=True, prune_head=True)
        self.reduce = nn.Identity()
        self.channels, self.stride = (
            int(self.info[-2]["num_chs"]),
            self.strides[-2],
        )
        if whole is not None and not _same(lambda: last.eval()(self(self._example())), whole):
            raise RecipeError(
                f"{why} in timm's {self.model} more than one map leads to it; {other}"
            )
        return self.train(training), last.train(training)

    def _example(self) -> Tensor:
        height, width = self.size or (64, 64)
        weight = next(self.parameters())
        ramp = torch.arange(3 * height * width, dtype=weight.dtype, device=weight.device)
        return ramp.mul(0.37).sin().view(1, 3, height, width)

    def _last(self) -> "Last | None":
        """What runs behind the last level but one. None if the modules' names do not tell."""
        box, _, name = str(self.info[-2]["module"]).rpartition(".")
        end = str(self.info[-1]["module"])
        try:
            inner = list(self.net.get_submodule(box).named_children())
            names, outer = [n for n, _ in inner], [n for n, _ in self.net.named_children()]
            stages = inner[names.index(name) + 1 : None if box else names.index(end) + 1]
            rest = outer[outer.index(box.partition(".")[0] or end) + 1 :]
        except (AttributeError, ValueError):
            return None
        layers = [layer for _, layer in stages]
        layers += [getattr(self.net, n) for n in _BEHIND if n in rest]
        is_last = getattr(self.net, "output_fmt", "NCHW") == "NHWC"
        return Last(self.model, layers, is_last, getattr(self, "reduce", nn.Identity()))

    def _restride(self, last_stride: int) -> None:
        """Takes the last stage's stride away, in place, or leaves it where it is 2."""
        what = f"timm's {self.model}, whose feature levels have the strides {self.strides}"
        if last_stride not in (1, 2):
            raise RecipeError(f"the last stride of a timm trunk is 1 or 2, got {last_stride}")
        if self.levels[-1] != len(self.strides) - 1:
            raise RecipeError(f"last_stride needs the last level; {what}, gives {self.levels}")
        if len(self.strides) < 2 or self.strides[-1] != 2 * self.strides[-2]:
            raise RecipeError(
                f"{what}, has no stride of 2 in its last stage; leave last_stride out"
            )
        if last_stride == 2:
            return
        last = self._last()
        if last is not None:
            _unstride(last.layers)
            x = torch.zeros(1, self.info[-2]["num_chs"], 6, 4)
            if not last.is_channels_last and _same(
                lambda: last.eval()(x)[0, 0], torch.zeros(6, 4), of_shape=True
            ):
                last.train(self.training)
                self.strides[-1] = self.strides[-2]
                return
        raise RecipeError(
            f"how to take the last stride away is not known for {what}; leave last_stride out, or "
            f"take a finer level: --set backbone.levels={len(self.strides) - 2}"
        )


class Last(nn.Module):
    """What a timm model does behind its last level but one: float32 [B, C, h, w] -> [B, D, h',
    w'], of the model's own layers.

    is_channels_last: whether they work on [B, h, w, C].
    """

    def __init__(
        self, model: str, layers: Sequence[nn.Module], is_channels_last: bool, reduce: nn.Module
    ) -> None:
        super().__init__()
        self.model, self.is_channels_last = model, is_channels_last
        self.layers, self.reduce = nn.Sequential(*layers), reduce
        # PyTorch's hooks are untyped
        self.register_load_state_dict_post_hook(_settle)  # type: ignore[no-untyped-call]

    def forward(self, f: Tensor) -> Tensor:
        if not self.is_channels_last:
            first: Tensor = self.reduce(self.layers(f))
            return first
        last: Tensor = self.reduce(self.layers(f.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return last


@door
def timm_trunk(
    model: str = "",
    weights: str | None = DEFAULT,
    pretrained: bool = True,
    levels: int | Sequence[int] | None = None,
    last_stride: int | None = None,
    reduce: int | None = None,
) -> nn.Module:
    """The trunk ``timm`` of recipes.

    Args:
        model: timm's name, which may end in a tag.
        weights: a tag of timm's for this model; "default", the one that timm takes; a file of
            safetensors with timm's names, or one that ``partreid convert`` wrote; None or "none":
            no weights.
        pretrained: False: no weights, whatever ``weights`` says.
        levels, last_stride, reduce: see :class:`TimmTrunk`.

    Returns:
        A :class:`TimmTrunk`.

    Raises:
        RecipeError: see :class:`TimmTrunk`; also if the weights cannot be fetched.
        DataError: for a file that does not hold this model's weights.

    Examples:
        >>> trunk = timm_trunk("mobilenetv2_050", weights=None)
        >>> trunk.channels, trunk.stride
        (1280, 32)
    """
    if not model:
        raise RecipeError(
            "the trunk timm needs the name of a model: --set backbone.model=convnext_tiny, or any "
            "of timm.list_models()"
        )
    if not pretrained or weights is None or weights == NOTHING:
        return TimmTrunk(model, None, levels, last_stride, reduce)
    if not is_file(weights):
        return TimmTrunk(model, timm_tag(model, weights), levels, last_stride, reduce)
    trunk = TimmTrunk(model, None, levels, last_stride, reduce)
    fill(trunk, weights, timm_local(model), "net.", trunk.known)
    return trunk


def _feature_levels(model: str, net: Any) -> Info:
    info = getattr(net, "feature_info", None)
    doors = ("forward_intermediates", "prune_intermediate_layers", "pretrained_cfg")
    if not isinstance(info, list) or not info or not all(hasattr(net, door) for door in doors):
        raise RecipeError(
            f"timm's {model} gives no feature maps (it has no feature levels); choose another model"
        )
    return info


def _chosen(model: str, levels: int | Sequence[int] | None, strides: Sequence[int]) -> list[int]:
    """Numbers of the levels from 0, ascending."""
    n = len(strides)
    wanted = (-1,) if levels is None else (levels,) if isinstance(levels, int) else levels
    for level in wanted:
        if not -n <= level < n:
            raise RecipeError(
                f"timm's {model} has the feature levels 0 to {n - 1}, of strides "
                f"{', '.join(map(str, strides))}; got {level}"
            )
    chosen = sorted({level % n for level in wanted})
    if not chosen:
        raise RecipeError(f"levels is empty; name some of 0 to {n - 1}, or leave it out")
    return chosen


def _unstride(layers: nn.Module) -> None:
    """Strides of 2 become 1 in place; each layer then keeps the size of its input."""
    for parent in layers.modules():
        for name, layer in parent.named_children():
            if getattr(layer, "stride", None) not in (2, (2, 2)):
                continue
            kernel: Any = getattr(layer, "kernel_size", 0)
            is_even = (kernel if isinstance(kernel, int) else kernel[0]) % 2 == 0
            if isinstance(layer, nn.Conv2d):
                layer.stride = (1, 1)
                if is_even and type(layer) is nn.Conv2d:  # ConvNeXt's 2x2
                    layer.padding = "same"
            elif isinstance(layer, nn.AvgPool2d | nn.MaxPool2d):
                if is_even:
                    setattr(parent, name, nn.Identity())
                else:
                    layer.stride = 1


def _same(compute: Any, expected: Tensor, of_shape: bool = False) -> bool:
    """Whether a computation gives this tensor, or one of this shape; a failure does not."""
    try:
        with torch.no_grad():
            output = compute()
    except Exception:  # layers that were not made for this input fail in as many ways
        return False
    if output.shape != expected.shape or of_shape:
        return bool(output.shape == expected.shape)
    return bool((output - expected).abs().max() <= _NEAR * expected.abs().max())


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _settle(module: nn.Module, _: object) -> None:
    """After weights are loaded onto a model without memory: what timm computes and no file holds
    (masks and indices of windows, frequencies) is made anew.
    """
    weights = next(module.parameters(), None)
    if weights is None or weights.is_meta:
        return
    for layer in module.modules():
        lost = [name for name, b in layer.named_buffers(recurse=False) if b.is_meta]
        if not lost:
            continue
        if not hasattr(layer, "init_non_persistent_buffers"):
            raise DataError(
                f"this version of timm cannot make anew what {type(layer).__name__} keeps beside "
                "its weights; install timm 1.0.31 or newer"
            )
        for name in lost:
            empty = torch.empty_like(layer.get_buffer(name), device=weights.device)
            layer.register_buffer(name, empty, persistent=False)
        renew: Any = layer.init_non_persistent_buffers
        renew()
