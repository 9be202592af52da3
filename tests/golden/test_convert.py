"""Released weights under their released names, converted, loaded like any run, against the
released code's outputs.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from partreid.convert import Conversion, convert
from partreid.inference import load
from partreid.layers import trunks as backbones
from partreid.layers.trunks import BACKBONES
from partreid.methods.base import Method
from partreid.recipes import Recipe, find, override
from partreid.recipes.base import with_weights
from partreid.types import Embeddings, Output

HERE = Path(__file__).parent
BPB = torch.load(HERE / "bpb_head.pt", weights_only=True)


def golden(name: str) -> dict[str, Any]:
    return dict(np.load(HERE / f"{name}.npz"))


def tensor(a: Any) -> Tensor:
    return torch.from_numpy(np.asarray(a).copy())


class Features(nn.Module):
    """A trunk that hands the feature map through."""

    stride = 1

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.fixture()
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Put a trunk without weights in place of one with."""

    def put(name: str, channels: int) -> None:
        monkeypatch.setitem(
            BACKBONES, name, lambda pretrained=False, weights="", reduce=None: Features(channels)
        )

    return put


Converted = tuple[Conversion, Method]


def converted(tmp_path: Path, state: dict[str, Any], **options: Any) -> Converted:
    torch.save(state, tmp_path / "released.pth")
    done = convert(tmp_path / "released.pth", tmp_path / "out", **options)
    assert not done.matched.missing and not done.matched.unexpected and not done.matched.misshaped
    assert done.matched.share_of_ours == done.matched.share_of_theirs == 1
    return done, load(tmp_path / "out", "cpu").method


NAMES = (
    "bn_{}:fc_{}",
    "bottleneck_{}:classifier_{}",
    "{}_bottleneck:{}_classifier",
    "{}_bnneck:{}_cls",
)


def heads(z: dict[str, Any], names: str = NAMES[0]) -> dict[str, Tensor]:
    """The necks and classifiers of a small golden case, as a module would name them."""
    neck, classifier = names.split(":")
    state: dict[str, Tensor] = {}
    for word in ("part", "global", "fore"):
        mean, weight = tensor(z[f"bn_{word}_mean"]), tensor(z[f"bn_{word}_weight"])
        state |= {
            f"{neck.format(word)}.weight": weight,
            f"{neck.format(word)}.bias": torch.zeros_like(weight),
            f"{neck.format(word)}.running_mean": mean,
            f"{neck.format(word)}.running_var": tensor(z[f"bn_{word}_var"]),
            f"{neck.format(word)}.num_batches_tracked": torch.tensor(7),
            f"{classifier.format(word)}.weight": tensor(z[f"fc_{word}_weight"]),
        }
    return state


def pixels(z: dict[str, Any]) -> dict[str, Tensor]:
    return {
        "base.part_cls_layer.weight": tensor(z["head_weight"])[..., None, None],
        "base.part_cls_layer.bias": tensor(z["head_bias"]),
    }


def close(ours: Tensor, expected: Any, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(ours.detach(), expected, atol=atol)


@pytest.mark.parametrize("names", NAMES)
def test_isp(tmp_path: Path, given: Callable[[str, int], None], names: str) -> None:
    given("hrnet_w32", 8)
    z = golden("isp_a_pool_small")
    done, method = converted(tmp_path, {**pixels(z), **heads(z, names)})
    assert done.layout == "isp" and done.identities == 5
    out = method(tensor(z["M"]))
    close(out.groups["parts"].vectors.flatten(1), z["y_part"])
    e = method.embed(out)
    # holistic data: all joined, nothing hidden
    close(e.vectors[:, 0], z["test_concat_part_global_fore"])
    scores = [
        method.id[ours](out.groups[group])
        for ours, group in (("joined", "parts"), ("global", "global"), ("foreground", "foreground"))  # type: ignore[index,operator]
    ]
    for word, score in zip(("part", "global", "fore"), scores, strict=True):
        neck = e.vectors[:, 0].split((24, 8, 8), 1)[("part", "global", "fore").index(word)]
        close(score.flatten(1), (neck @ tensor(z[f"fc_{word}_weight"]).T).detach())


def test_isp_on_occluded_data(tmp_path: Path, given: Callable[[str, int], None]) -> None:
    given("hrnet_w32", 8)
    z = golden("isp_a_pool_small")
    done, method = converted(
        tmp_path, {**pixels(z), **heads(z)}, recipe=find("isp/released/occluded_duke")
    )
    assert done.recipe is not None and done.recipe.cues["parts"].args["parts"] == 3
    e = method.embed(method(tensor(z["M"])))
    close(e.vectors[:, 0], z["test_arm_global_fore"])
    close(e.vectors[:, 1:, :8], z["test_arm_part"])
    np.testing.assert_array_equal(e.visibility[:, 1:], z["test_arm_visible"])


class Stages(nn.Module):
    """HRNet's four outputs, given."""

    def __init__(self, maps: list[Tensor]) -> None:
        super().__init__()
        self.maps = maps
        self.feature_info = SimpleNamespace(channels=lambda: [m.shape[1] for m in maps])

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.maps


@pytest.mark.parametrize(
    "identities, recipe, whole",
    [(751, "isp/released/market1501", 256), (767, "isp/released/cuhk03_labeled", 1920)],
)
def test_isp_at_full_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identities: int, recipe: str, whole: int
) -> None:
    """The head of the released network in true sizes: reducer, spatial mask, part maps and
    pooling.
    """
    z = golden("isp_a_tail_full")
    stages = Stages([tensor(z[f"stage4_{i}"]) for i in range(4)])
    monkeypatch.setattr(backbones, "create_timm", lambda *a, **k: stages)
    state = {}
    for key, value in z.items():
        for flat, name in (
            ("cls_head_0", "cls_head.0"),
            ("cls_head_1", "cls_head.1"),
            ("attn_conv1_conv", "spatial_attn.conv1.conv"),
            ("attn_conv1_bn", "spatial_attn.conv1.bn"),
            ("attn_conv2_conv", "spatial_attn.conv2.conv"),
            ("attn_conv2_bn", "spatial_attn.conv2.bn"),
            ("part_cls_layer", "part_cls_layer"),
        ):
            if key.startswith(flat):
                state[f"base.{name}.{key.removeprefix(flat + '_')}"] = tensor(value)
    assert len(state) == 2 + 5 + 2 + 5 + 2 + 5 + 2
    widths = {"part": 1536, "global": whole, "fore": 256}
    state |= heads(
        {
            f"{kind}_{word}_{field}": torch.rand(*shape) + 0.5
            for word, width in widths.items()
            for kind, field, shape in (
                ("bn", "mean", (width,)),
                ("bn", "var", (width,)),
                ("bn", "weight", (width,)),
                ("fc", "weight", (identities, width)),
            )
        }
    )
    done, method = converted(tmp_path, {f"module.{name}": value for name, value in state.items()})
    assert done.recipe is not None and done.recipe.name == recipe and done.identities == identities
    out = method(torch.zeros(1, 3, 8, 4))
    assert out.parts is not None
    close(out.features, z["M"], 1e-4)
    close(out.parts.logits, z["part_logits"], 1e-4)
    close(out.groups["parts"].vectors.flatten(1), z["y_part"], 1e-4)
    close(out.groups["foreground"].vectors[:, 0], z["y_fore"], 1e-4)
    close(
        out.groups["global"].vectors[:, 0], z["y_global" if whole == 256 else "y_global_bigG"], 1e-4
    )
    assert method.embed(out).vectors.shape == (1, 1, 1536 + whole + 256)


@pytest.mark.parametrize("t", [2, 3, 4])
def test_hcga(tmp_path: Path, given: Callable[[str, int], None], t: int) -> None:
    given("hrnet_w32", 8)
    z = golden("hcga_f_gam")
    unused = {
        "base.red1.0.weight": torch.ones(3),
        "base.thresh.weight": torch.ones(2),
        "base.spatial_attn1.conv1.conv.weight": torch.ones(1, 8, 3, 3),
    }
    recipe = override(find("hcga/released/occluded_duke"), [f"method.t={t}"])
    done, method = converted(
        tmp_path, {**pixels(z), **heads(z), **unused}, recipe=recipe if t != 4 else None
    )
    assert done.layout == "hcga" and set(done.matched.dropped) == set(unused)
    out = method(tensor(z["M"]))
    close(out.groups["parts"].vectors.flatten(1), z[f"y_part_eval_part_t_T{t}"])
    close(out.groups["foreground"].vectors[:, 0], z["y_fore"])
    if t == 4:
        e = method.embed(out)
        close(e.vectors[:, 0], z["test_arm_fore"])
        close(e.vectors[:, 1:], z["test_arm_part"])
        np.testing.assert_array_equal(e.visibility[:, 1:], z["test_arm_visible"])


def test_hcga_on_whole_people(tmp_path: Path, given: Callable[[str, int], None]) -> None:
    given("hrnet_w32", 8)
    z = golden("hcga_f_gam")
    _, method = converted(
        tmp_path, {**pixels(z), **heads(z)}, layout="hcga", recipe=find("hcga/released/market1501")
    )
    close(method.embed(method(tensor(z["M"]))).vectors[:, 0], z["test_concat_global_fore_part"])


MASKS = ("cues.masks=pifpaf", "cues.masks.parts=four")
CHOSEN = {  # of the recipe, not of the weights
    "default": (),
    "before_pooling": (),
    "before_and_after": (),
    "no_reduce": (),
    "shared_id": (),
    "fixed_attention": ("method.attention=given",),
    "continuous_vis": ("method.visibility=soft",),
    "gap": ("method.pool=mean",),
    "gmp": ("method.pool=max",),
    "soft_target": ("method.target=soft", *MASKS),
    "hard_target": ("method.target=hard", *MASKS),
}


def bpb_recipe(variant: str) -> Recipe:
    recipe = override(find("bpbreid/released"), ["cues.parts.parts=four", *CHOSEN[variant]])
    if variant == "no_reduce":  # as released: no loss on the parts' classifiers
        return recipe
    return replace(
        recipe, stages=with_weights(recipe, recipe.stages[0].weights | {"id_parts": 1.0})
    )


def compare_bpb(method: Method, out: Output, variant: str) -> Embeddings:
    expected = BPB["variants"][variant]["eval"]
    for ours, theirs in (("global", "globl"), ("foreground", "foreg"), ("parts", "parts")):
        close(out.groups[ours].vectors.flatten(1), expected["embeddings"][theirs].flatten(1), 3e-4)
    for ours, theirs, group in (
        ("id_global", "globl", "global"),
        ("id_foreground", "foreg", "foreground"),
        ("id_joined", "conct", "parts"),
        ("id_parts", "parts", "parts"),
    ):
        if ours in method.id:  # type: ignore[operator]
            scores = method.id[ours](out.groups[group])  # type: ignore[index,operator]
            close(scores.flatten(), expected["id_cls_scores"][theirs].flatten(), 2e-3)
    return method.embed(out)


@pytest.mark.parametrize("variant", list(CHOSEN))
def test_bpbreid(tmp_path: Path, given: Callable[[str, int], None], variant: str) -> None:
    given("resnet50", BPB["dims"]["C"])
    state = BPB["variants"][variant]["state_dict"]
    done, method = converted(
        tmp_path,
        {"state_dict": state, "epoch": 120, "rank1": np.float64(0.5)},
        recipe=bpb_recipe(variant),
    )
    assert done.layout == "bpbreid" and done.identities == 9
    unused = [name for name in done.matched.dropped if name.startswith("parts_identity_classifier")]
    assert bool(unused) == (variant == "no_reduce")
    e = compare_bpb(method, method(BPB["feats"], {"masks": BPB["external_masks"]}), variant)
    close(e.vectors, BPB["variants"][variant]["test_embeddings"], 3e-4)
    # there the released foreground visibility includes the background
    if variant != "continuous_vis":
        np.testing.assert_array_equal(
            e.visibility.detach(), BPB["variants"][variant]["test_visibility"].float()
        )
