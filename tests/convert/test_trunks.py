"""Released trunks number by number: a converted model computes what its authors' code computed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partreid import build
from partreid.convert import convert, trunk_weights
from partreid.errors import DataError
from partreid.inference import load
from partreid.layers.trunks import create_timm, hrnet_w32, resnet50
from partreid.recipes import find
from partreid.train.start import start_from

State = dict[str, Tensor]


def random_numbers(state: State) -> State:
    """Plausible weights of these shapes: a trunk that neither dies nor explodes."""
    tensors = {}
    for name, t in state.items():
        if t.dim() > 1:
            tensors[name] = torch.randn(t.shape) * (2 / t[0].numel()) ** 0.5
        else:
            tensors[name] = torch.tensor(3) if t.dim() == 0 else torch.rand(t.shape) * 0.5 + 0.5
            if name.endswith(("bias", "mean")):
                tensors[name] -= 0.75
    return tensors


@pytest.fixture(scope="module")
def net() -> Iterator[tuple[nn.Module, State]]:
    """A ResNet-50 as torchvision names and computes it."""
    torch.manual_seed(3)
    model = create_timm("resnet50", None, num_classes=0, global_pool="")
    model.load_state_dict(random_numbers(dict(model.state_dict())))
    yield model.eval(), dict(model.state_dict())


def described(folder: Path, images: Tensor) -> Tensor:
    method = load(folder, "cpu").method
    with torch.inference_mode():
        return method.embed(method(images)).vectors[:, 0]


def test_torchreid_scores_as_its_authors_scored_it(tmp_path: Path, net: tuple[Any, State]) -> None:
    model, state = net
    head = {"classifier.weight": torch.rand(702, 2048), "classifier.bias": torch.rand(702)}
    released = {f"module.{n}": t for n, t in {**state, **head}.items()}
    torch.save({"state_dict": released, "epoch": 60}, tmp_path / "a.pth.tar")
    done = convert(tmp_path / "a.pth.tar", tmp_path / "out")
    assert done.layout == "torchreid" and done.identities == 702
    assert (
        list(done.matched.dropped) == ["classifier.bias"]
        and done.matched.used[0][0] == "conv1.weight"
    )
    images = torch.randn(2, 3, 64, 32)
    with torch.inference_mode():
        expected = model.forward_features(images).mean((2, 3))  # last stride 2, no neck
    assert torch.allclose(described(tmp_path / "out", images), expected, rtol=1e-3, atol=1e-4)
    assert load(tmp_path / "out", "cpu").method.distance.metric == "euclidean"


def test_strong_baseline_scores_as_its_authors_scored_it(
    tmp_path: Path, net: tuple[Any, State]
) -> None:
    model, state = net
    neck = random_numbers(
        {f"bottleneck.{n}": t for n, t in nn.BatchNorm1d(2048).state_dict().items()}
    )
    head = {**neck, "classifier.weight": torch.rand(751, 2048)}
    torch.save({**{f"base.{n}": t for n, t in state.items()}, **head}, tmp_path / "a.pth")
    done = convert(tmp_path / "a.pth", tmp_path / "out")
    assert done.layout == "strong-baseline" and done.identities == 751
    images = torch.randn(2, 3, 64, 32)
    blocks = model.layer4
    strides = {
        m: m.stride for m in blocks.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)
    }
    try:
        for m in strides:
            m.stride = (1, 1)
        with torch.inference_mode():
            f = model.layer3(
                model.layer2(model.layer1(model.maxpool(model.bn1(model.conv1(images)))))
            )  # no ReLU
            f = blocks(f).mean((2, 3))
            expected = F.batch_norm(
                f,
                neck["bottleneck.running_mean"],
                neck["bottleneck.running_var"],
                neck["bottleneck.weight"],
                neck["bottleneck.bias"],
            )
    finally:
        for m, stride in strides.items():
            m.stride = stride
    assert torch.allclose(described(tmp_path / "out", images), expected, rtol=1e-3, atol=1e-4)


def test_hrnet_keeps_its_numbers(tmp_path: Path) -> None:
    with torch.device("meta"):
        names = create_timm("hrnet_w32", None).state_dict()
    state = {n: torch.full(t.shape, i, dtype=t.dtype) for i, (n, t) in enumerate(names.items())}
    torch.save(state, tmp_path / "hrnetv2_w32.pth")
    trunk = hrnet_w32(pretrained=False, reduce=8)
    mapping = trunk_weights(tmp_path / "hrnetv2_w32.pth", trunk)
    assert len(mapping.used) == 1926 and len(mapping.dropped) == 30
    assert set(mapping.fresh) == {
        f"trunk.reduce.{n}"
        for n in ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var")
    }
    for name, value in trunk.net.state_dict().items():  # type: ignore[union-attr,operator]
        assert torch.equal(value, state[name]), name


def test_a_trunk_alone_starts_a_training(tmp_path: Path, net: tuple[Any, State]) -> None:
    _, state = net
    torch.save(
        {**state, "fc.weight": torch.rand(1000, 2048), "fc.bias": torch.rand(1000)},
        tmp_path / "resnet50.pth",
    )
    done = convert(tmp_path / "resnet50.pth", tmp_path / "out")
    assert done.layout == "trunk" and done.recipe is None and done.matched.share_of_ours == 1
    recipe = find("bot/bpbreid-table1/market1501")
    method = build.method(replace(recipe, backbone=recipe.backbone.but(pretrained=False)), 5, None)
    start_from(method, tmp_path / "out" / "trunk.safetensors")
    ours = method.state_dict()
    assert torch.equal(ours["trunk.layer3.5.conv2.weight"], state["layer3.5.conv2.weight"])
    assert torch.equal(ours["trunk.stem.1.running_var"], state["bn1.running_var"])
    with pytest.raises(DataError, match="not a finished model"):
        load(tmp_path / "out" / "trunk.safetensors")
    with torch.device("meta"), pytest.raises(DataError, match="does not fit layout trunk"):
        trunk_weights(tmp_path / "resnet50.pth", hrnet_w32(pretrained=False))
    torch.save({"a": torch.ones(2)}, tmp_path / "b.pth")
    with pytest.raises(DataError, match="no ResNet-50, no SE-ResNet-50 and no HRNet-W32"):
        trunk_weights(tmp_path / "b.pth", resnet50(pretrained=False))


def test_torchreid_s_other_networks_are_said_not_to_be_read(tmp_path: Path) -> None:
    osnet = {
        "conv1.conv.weight": torch.ones(64, 3, 7, 7),
        "conv2.0.conv1.conv.weight": torch.ones(16, 64, 1, 1),
        "conv2.0.conv2a.conv1.weight": torch.ones(16, 16, 1, 1),
        "fc.0.weight": torch.ones(512, 512),
        "classifier.weight": torch.ones(751, 512),
    }
    other = {
        "features.conv0.weight": torch.ones(64, 3, 7, 7),
        "classifier.weight": torch.ones(751, 1024),
    }
    for tensors, what in ((osnet, "an OSNet"), (other, "neither a ResNet-50 nor an HRNet-W32")):
        torch.save(tensors, tmp_path / "a.pth")
        with pytest.raises(
            DataError, match=f"This one is {what}: of torchreid's networks only resnet50 is read"
        ):
            convert(tmp_path / "a.pth", tmp_path / "out")
