"""Whole released models, name by name and shape by shape."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, wraps
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from partreid import build
from partreid.convert import LAYOUTS, detect
from partreid.convert.bundle import matched, plan
from partreid.convert.layouts import canonical, trunk_of
from partreid.convert.report import Matched
from partreid.errors import DataError, RecipeError
from partreid.layers.trunks import BACKBONES, create_timm
from partreid.recipes import Recipe, find, override

State = dict[str, Tensor]


def on_meta(make: Callable[..., State]) -> Callable[..., State]:
    """The same states without numbers: only names and shapes are looked at."""

    @wraps(make)
    def made(*args: Any, **options: Any) -> State:
        with torch.device("meta"):
            return make(*args, **options)

    return made


@cache
def _shapes(name: str, options: tuple[tuple[str, Any], ...]) -> State:
    with torch.device("meta"):
        return dict(create_timm(name, None, **dict(options)).state_dict())


def shapes(name: str, **options: Any) -> State:
    """A timm model's names and shapes, without numbers."""
    return dict(_shapes(name, tuple(options.items())))


def batch_norm(name: str, width: int) -> State:
    return {
        f"{name}.{field}": torch.ones(width)
        for field in ("weight", "bias", "running_mean", "running_var")
    } | {f"{name}.num_batches_tracked": torch.tensor(5)}


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def ibn(state: State) -> State:
    """A ResNet-50's shapes with IBN-a in layers 1 to 3, by IBN-Net's names."""
    tensors: State = {}
    for name, value in state.items():
        head, _, field = name.rpartition(".")
        if head.endswith(".bn1") and not head.startswith("layer4"):
            if "num" not in field:
                half = value[: len(value) // 2]
                tensors |= {f"{head}.BN.{field}": half} | (
                    {f"{head}.IN.{field}": half} if "run" not in field else {}
                )
        else:
            tensors[name] = value
    return tensors


@on_meta
def parsing(identities: int, K: int, bigg: bool = False) -> State:
    """ISP's released model: K counts the background."""
    widths = {"part": 256 * (K - 1), "global": 1920 if bigg else 256, "fore": 256}
    state = under(
        "base.",
        {
            **{
                n: t
                for n, t in shapes("hrnet_w32").items()
                if n.partition(".")[0] not in ("downsamp_modules", "final_layer", "classifier")
            },
            "cls_head.0.weight": torch.ones(256, 1920, 1, 1),
            "cls_head.0.bias": torch.ones(256),
            **batch_norm("cls_head.1", 256),
            "spatial_attn.conv1.conv.weight": torch.ones(1, 256, 3, 3),
            "spatial_attn.conv1.conv.bias": torch.ones(1),
            **batch_norm("spatial_attn.conv1.bn", 1),
            "spatial_attn.conv2.conv.weight": torch.ones(1, 1, 1, 1),
            "spatial_attn.conv2.conv.bias": torch.ones(1),
            **batch_norm("spatial_attn.conv2.bn", 1),
            "part_cls_layer.weight": torch.ones(K, 256, 1, 1),
            "part_cls_layer.bias": torch.ones(K),
        },
    )
    for word, width in widths.items():
        state |= batch_norm(f"bottleneck_{word}", width) | {
            f"classifier_{word}.weight": torch.ones(identities, width)
        }
    return state


@on_meta
def bpb(trunk: str, identities: int, K: int, reduce: str = "after", D: int = 512) -> State:
    """BPBreID's released model, with what it makes and does not use."""
    hrnet = trunk == "hrnet_w32"
    C = 1920 if hrnet else 2048
    base = shapes("hrnet_w32" if hrnet else "resnet50", num_classes=0)
    if hrnet:
        base = {
            n: t
            for n, t in base.items()
            if n.partition(".")[0] not in ("downsamp_modules", "final_layer")
        }
        base |= {
            "cls_head.0.weight": torch.ones(D, C, 1, 1),
            "cls_head.0.bias": torch.ones(D),
            **batch_norm("cls_head.1", D),
        }
    elif trunk == "resnet50":
        base |= {
            "classifier.weight": torch.ones(identities, C),
            "classifier.bias": torch.ones(identities),
        }
    else:
        base = ibn(base)
    state = under("backbone_of_some_name.", base)
    if reduce == "before":
        C = D
        state |= {
            "before_pooling_dim_reduce.layers.0.weight": torch.ones(D, C, 1, 1),
            "before_pooling_dim_reduce.layers.0.bias": torch.ones(D),
            **batch_norm("before_pooling_dim_reduce.layers.1", D),
        }
    for group in ("global", "foreground", "background", "parts") if reduce == "after" else ():
        name = f"{group}_after_pooling_dim_reduce.layers"
        state |= {
            f"{name}.0.weight": torch.ones(D, C),
            f"{name}.0.bias": torch.ones(D),
            **batch_norm(f"{name}.1", D),
        }
    state |= batch_norm("pixel_classifier.bn", C) | {
        "pixel_classifier.classifier.weight": torch.ones(K + 1, C, 1, 1),
        "pixel_classifier.classifier.bias": torch.ones(K + 1),
    }
    heads = {f"{group}_identity_classifier": D for group in ("global", "foreground", "background")}
    heads |= {
        "concat_parts_identity_classifier": K * D,
        **{f"parts_identity_classifier.{k}": D for k in range(K)},
    }
    for name, width in heads.items():
        state |= batch_norm(f"{name}.bn", width) | {
            f"{name}.classifier.weight": torch.ones(identities, width)
        }
    return state


def parameters(state: State) -> int:
    return sum(
        t.numel()
        for name, t in state.items()
        if not name.endswith(("running_mean", "running_var", "tracked"))
    )


def bare(recipe: Recipe) -> Recipe:
    """The recipe without ImageNet's weights."""
    return replace(recipe, backbone=recipe.backbone.but(pretrained=False))


@cache
def trunk(name: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return BACKBONES[name](**options)


def fitted(
    state: State, layout: str | None = None, recipe: Recipe | None = None
) -> tuple[Recipe, Matched]:
    """What a conversion decides and matches, on shapes alone."""
    name = detect(state)
    assert name == (layout or name)
    planned, identities, scheme = plan(LAYOUTS[name], canonical(state), recipe)
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        spec = planned.backbone
        ready = trunk(spec.name, **{**spec.args, "pretrained": False})  # made once for all cases
        patch.setitem(
            BACKBONES,
            spec.name,
            lambda pretrained, weights="", reduce=None, last_stride=1, stem="usual": ready,
        )
        method = build.method(bare(planned), identities, scheme)
    return planned, matched(LAYOUTS[name], {n: t.to("meta") for n, t in state.items()}, method)


def complete(mapping: Matched) -> None:
    assert not mapping.missing and not mapping.unexpected and not mapping.misshaped
    assert mapping.share_of_ours == mapping.share_of_theirs == 1


# Numbers of parameters were counted in the released models themselves.
@pytest.mark.parametrize(
    "trunk, identities, K, reduce, count, row",
    [
        ("hrnet_w32", 702, 8, "after", 42_674_377, "bpbreid/released/occluded_duke"),
        ("hrnet_w32", 751, 5, "after", 40_832_070, "bpbreid/released/market1501"),
        ("hrnet_w32", 702, 8, "before", 38_984_265, "bpbreid/released/occluded_duke"),
        ("resnet50", 702, 8, "after", 36_017_927, "bpbreid/released/occluded_duke"),
        ("resnet50", 751, 5, "after", 34_275_637, "bpbreid/released/market1501"),
        ("resnet50_ibn_a", 702, 8, "after", 34_579_529, "bpbreid/released/occluded_duke"),
    ],
)
def test_bpbreid(trunk: str, identities: int, K: int, reduce: str, count: int, row: str) -> None:
    state = bpb(trunk, identities, K, reduce)
    assert parameters(state) == count
    recipe, mapping = fitted(state, "bpbreid")
    complete(mapping)
    assert recipe.name == row and recipe.backbone.name == trunk
    assert recipe.size == ((256, 128) if trunk == "resnet50" else (384, 128))
    assert (
        recipe.method.args["visibility"] == "argmax"
        and recipe.method.args["foreground_pool"] == "mean"
    )
    assert recipe.method.args["reduce"] == ("after" if reduce == "after" else "none")
    assert recipe.backbone.args.get("reduce") == (512 if reduce == "before" else None)
    assert recipe.backbone.args.get("stem") == ("unpadded" if trunk == "resnet50_ibn_a" else None)


@pytest.mark.parametrize(
    "identities, K, bigg, count, row, matching",
    [
        (751, 7, False, 32_920_398, "isp/released/market1501", "concat"),
        (702, 7, False, None, "isp/released/dukemtmc", "concat"),
        (702, 6, False, None, "isp/released/occluded_duke", "released"),
        (767, 7, True, None, "isp/released/cuhk03_labeled", "concat"),
        (767, 6, True, None, "isp/released/cuhk03_detected", "concat"),
        (751, 4, False, None, "isp/released/market1501", "concat"),
    ],
)
def test_isp(
    identities: int, K: int, bigg: bool, count: int | None, row: str, matching: str
) -> None:
    state = parsing(identities, K, bigg)
    assert count is None or parameters(state) == count  # 32.92 M
    recipe, mapping = fitted(state, "isp")
    complete(mapping)
    assert (
        recipe.name == row
        and recipe.method.args["matching"] == matching
        and recipe.method.args["mask"] is True
    )
    assert recipe.cues["parts"].args["parts"] == K - 1
    assert recipe.method.args["global_from"] == ("trunk" if bigg else "features")


@pytest.mark.parametrize(
    "identities, row",
    [
        (702, "hcga/released/occluded_duke"),
        (751, "hcga/released/market1501"),
        (100, "hcga/released/occluded_reid"),
    ],
)
def test_hcga(identities: int, row: str) -> None:
    unused = {
        "base.red1.0.weight": torch.ones(8, 4),
        "base.spatial_attn1.conv1.conv.weight": torch.ones(4),
        "base.thresh.fc.weight": torch.ones(3),
    }
    recipe, mapping = fitted(parsing(identities, 4) | unused, "hcga")
    complete(mapping)
    assert recipe.name == row and set(unused) == set(mapping.dropped)
    assert recipe.method.args["kept"] == 0.5 and recipe.method.args["visibility"] == "argmax"
    duke, mapping = fitted(parsing(identities, 4) | unused, "hcga", find("hcga/released/dukemtmc"))
    complete(mapping)
    assert duke.method.args["kept"] is None and duke.method.args["matching"] == "concat"


def test_what_is_not_computed_here_is_refused() -> None:
    plain = shapes("resnet50", num_classes=0)
    cases: tuple[tuple[State, str], ...] = (
        (
            bpb("resnet50", 702, 8) | {"backbone_of_some_name.NL_2.0.g.weight": torch.ones(2)},
            "non-local",
        ),
        (under("base.", ibn(plain)) | batch_norm("bottleneck", 2048), "IBN"),
        (
            under("base.", plain)
            | batch_norm("bottleneck", 2048)
            | {"base.layer1.0.se.fc.weight": torch.ones(1)},
            "squeeze",
        ),
        (
            plain
            | {"fc.0.weight": torch.ones(512, 2048), "classifier.weight": torch.ones(751, 512)},
            "fc512",
        ),
    )
    for state, reason in cases:
        with pytest.raises(DataError, match=reason):
            fitted(state)


def test_part_names_must_be_known() -> None:
    state = bpb("resnet50", 751, 6)
    with pytest.raises(RecipeError, match="no released model of .* has 6 parts"):
        fitted(state)
    recipe, mapping = fitted(
        state, recipe=override(find("bpbreid/released"), ["cues.parts.parts=six_new"])
    )
    complete(mapping)
    with pytest.raises(RecipeError, match="has 8 parts and the checkpoint 6"):
        fitted(state, recipe=find("bpbreid/released"))
    with pytest.raises(RecipeError, match="is a recipe of isp"):
        fitted(state, recipe=find("isp/released/market1501"))


def test_detection() -> None:
    with pytest.raises(DataError, match="could be isp or strong-baseline; say which with --layout"):
        detect(parsing(751, 7) | under("base.", shapes("resnet50")) | batch_norm("bottleneck", 8))
    with pytest.raises(DataError, match="of no known release .*encoder.x"):
        detect({"encoder.x": torch.ones(1)})
    assert trunk_of(canonical(under("some.thing.", shapes("hrnet_w32")))) == "hrnet_w32"
    assert trunk_of(canonical(ibn(shapes("resnet50")))) == "resnet50_ibn_a"
    assert trunk_of(canonical(shapes("resnet18"))) is None
    for name in ("hrnet_w32", "resnet50"):
        assert detect(shapes(name)) == "trunk"
