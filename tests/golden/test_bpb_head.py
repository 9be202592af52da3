"""BPBreID's whole head, in every variant, against outputs of the released code with the same
weights.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from partreid.methods.bpbreid.model import BPBreID
from partreid.types import PartScheme

GOLDEN = torch.load(Path(__file__).with_name("bpb_head.pt"), weights_only=True)
SCHEME = PartScheme(("p1", "p2", "p3", "p4"))
TERMS = ("id_global", "id_foreground", "id_joined", "id_parts", "parsing")

OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "before_pooling": {"reduce": "before"},
    "before_and_after": {"reduce": "both"},
    "no_reduce": {"reduce": "none"},
    "continuous_vis": {"visibility": "soft"},
    "shared_id": {"shared_id": True},
    "gap": {"pool": "mean"},
    "gmp": {"pool": "max"},
    "soft_target": {"target": "soft"},
    "hard_target": {"target": "hard"},
    "fixed_attention": {"attention": "given"},
}


class Features(nn.Module):
    """A trunk that hands the feature map through."""

    channels, stride = GOLDEN["dims"]["C"], 1

    def forward(self, x: Tensor) -> Tensor:
        return x


def renamed(name: str) -> str | None:
    """Our name of a released weight."""
    for old, new in (
        ("concat_parts_identity_classifier", "id.id_joined"),
        ("before_pooling_dim_reduce.layers", "before"),
        ("pixel_classifier.bn", "part_head.norm"),
        ("pixel_classifier", "part_head"),
    ):
        name = name.replace(old, new)
    for group in ("global", "foreground", "parts"):
        name = name.replace(f"{group}_after_pooling_dim_reduce", f"after.{group}")
        name = name.replace(f"{group}_identity_classifier", f"id.id_{group}")
    if "background" in name:
        return None
    return (
        name.replace(".bn.", ".norm.").replace("classifier.weight", "classifier")
        if name.startswith("id.")
        else name
    )


def built(variant: str) -> BPBreID:
    options: dict[str, Any] = {"visibility": "argmax", "foreground_pool": "mean"} | OPTIONS[variant]
    model = BPBreID(Features(), 9, SCHEME, TERMS, dim=GOLDEN["dims"]["D"], **options)
    weights: dict[str, Tensor] = {}
    for old, value in GOLDEN["variants"][variant]["state_dict"].items():
        name = renamed(old)
        if name is None:
            continue
        fields = name.split(".")
        # K classifiers become one stacked tensor
        if name.startswith("id.id_parts") and fields[2].isdigit():
            weights.setdefault("/".join([".".join(fields[:2]), ".".join(fields[3:])]), [])  # type: ignore[arg-type]
            weights["/".join([".".join(fields[:2]), ".".join(fields[3:])])].append(value)  # type: ignore[attr-defined]
        else:
            parameter = model.state_dict().get(name)
            weights[name] = value if parameter is None or parameter.dim() != 3 else value[None]
    for name in [n for n in weights if "/" in n]:
        stacked = weights.pop(name)
        joined = (
            torch.stack(list(stacked))
            if name.endswith("classifier")
            else (stacked[0] if "num_batches" in name else torch.cat(list(stacked)))
        )
        weights[name.replace("/", ".")] = joined
    names = set(model.state_dict())
    left = {name: w for name, w in weights.items() if name in names}
    assert names == set(left), names ^ set(left)
    model.load_state_dict(left)
    return model


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("variant", list(OPTIONS))
def test_head(variant: str, mode: str) -> None:
    if mode == "train" and variant.endswith("target"):
        return  # target segmentation exists at test time only
    model = built(variant).train(mode == "train")
    expected = GOLDEN["variants"][variant][mode]
    out = model(GOLDEN["feats"], {"masks": GOLDEN["external_masks"]})
    assert out.parts is not None
    if expected["pixels_cls_scores"] is not None:
        assert torch.allclose(
            out.parts.logits if "hard" not in variant else model.part_head(out.features).logits,  # type: ignore[misc]
            expected["pixels_cls_scores"],
            atol=1e-4,
        )
    for ours, theirs in (("global", "globl"), ("foreground", "foreg"), ("parts", "parts")):
        e = out.groups[ours]
        want = expected["embeddings"][theirs]
        assert torch.allclose(e.vectors.view_as(want), want, atol=3e-4), ours
    want = expected["visibility"]["parts"].float()
    assert torch.allclose(out.groups["parts"].visibility, want, atol=1e-4)
    necked = (
        {
            "bn_globl": model.id["id_global"].neck(out.groups["global"]),  # type: ignore[operator]
            "bn_parts": model.id["id_parts"].neck(out.groups["parts"]),
        }
        if mode == "eval"
        else {}
    )  # type: ignore[operator]
    for theirs, e in necked.items():
        want = expected["embeddings"][theirs]
        assert torch.allclose(e.vectors.view_as(want), want, atol=3e-4), theirs
    if mode == "eval":
        scores = {
            "globl": model.id["id_global"](out.groups["global"])[:, 0],
            "foreg": model.id["id_foreground"](out.groups["foreground"])[:, 0],
            "conct": model.id["id_joined"](out.groups["parts"]),
            "parts": model.id["id_parts"](out.groups["parts"]),
        }
        for theirs, logits in scores.items():
            assert torch.allclose(logits, expected["id_cls_scores"][theirs], atol=2e-3), theirs
        described = model.embed(out)
        assert torch.allclose(
            described.vectors, GOLDEN["variants"][variant]["test_embeddings"], atol=3e-4
        )
        # there the released foreground visibility includes the background
        if variant != "continuous_vis":
            assert torch.equal(
                described.visibility, GOLDEN["variants"][variant]["test_visibility"].float()
            )


def test_running_statistics_after_a_training_step() -> None:
    model = built("default").train()
    model(GOLDEN["feats"])
    after = GOLDEN["variants"]["default"]["state_dict_after_train_forward"]
    assert torch.allclose(
        model.state_dict()["part_head.norm.running_mean"],
        after["pixel_classifier.bn.running_mean"],
        atol=1e-5,
    )
    assert torch.allclose(
        model.state_dict()["after.parts.layers.1.running_var"],
        after["parts_after_pooling_dim_reduce.layers.1.running_var"],
        atol=1e-5,
    )
