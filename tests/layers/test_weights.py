"""Where ImageNet weights come from: tags that timm has, files that were converted, and never a
silent nothing.
"""

import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from partreid import build
from partreid.convert.bundle import convert
from partreid.errors import DataError, RecipeError
from partreid.layers import weights
from partreid.layers.trunks import BACKBONES, import_timm
from partreid.recipes import ROWS, Recipe, find, override

State = dict[str, Tensor]


def numbered(state: State) -> State:
    """The same names with numbers that tell tensors apart."""
    return {
        n: torch.full_like(t, (i % 100) / 64) if t.is_floating_point() else t
        for i, (n, t) in enumerate(state.items())
    }


def published(kind: str) -> State:
    """A file as its publisher names things: IBN-Net's, timm's, or the first port's of SE-ResNet."""
    if kind == "resnet50_ibn_a":
        ours = BACKBONES[kind](pretrained=False).state_dict()
        state = {
            n.replace("stem.0", "conv1")
            .replace("stem.1", "bn1")
            .replace("bn1.instance.", "bn1.IN.")
            .replace("bn1.batch.", "bn1.BN."): t
            for n, t in ours.items()
        }
        return numbered(state) | {"fc.weight": torch.rand(1000, 2048), "fc.bias": torch.rand(1000)}
    state = numbered(dict(import_timm().create_model("seresnet50").state_dict()))
    if kind == "seresnet50":
        return state
    head = {n.replace("fc.", "last_linear."): t for n, t in state.items() if n.startswith("fc.")}
    stem = {f"layer0.{n}": t for n, t in state.items() if n.startswith(("conv1.", "bn1."))}
    return (
        head
        | stem
        | {n.replace(".se.", ".se_module."): t for n, t in state.items() if n.startswith("layer")}
    )


@pytest.mark.parametrize(("kind", "trunk"), [
    ("resnet50_ibn_a", "resnet50_ibn_a"), ("seresnet50", "seresnet50"),
    ("pretrainedmodels", "seresnet50"),
])  # fmt: skip
def test_a_published_file_becomes_the_trunk(kind: str, trunk: str, tmp_path: Path) -> None:
    state = published(kind)
    torch.save(state, tmp_path / "a.pth")
    done = convert(tmp_path / "a.pth", tmp_path / "out")
    file = tmp_path / "out" / "trunk.safetensors"
    assert (
        done.layout == "trunk" and done.matched.share_of_ours == done.matched.share_of_theirs == 1
    )
    assert f"--set backbone={trunk} --set backbone.weights={file}" in done.notes[0]
    assert len(done.notes) == (2 if kind == "pretrainedmodels" else 1)
    filled = BACKBONES[trunk](weights=str(file)).state_dict()
    stem = "layer0.conv1.weight" if kind == "pretrainedmodels" else "conv1.weight"
    assert torch.equal(filled["stem.0.weight"], state[stem])
    assert torch.equal(filled["layer4.2.bn3.running_var"], state["layer4.2.bn3.running_var"])
    if trunk == "resnet50_ibn_a":
        assert torch.equal(filled["layer2.1.bn1.instance.weight"], state["layer2.1.bn1.IN.weight"])
    with pytest.raises(
        DataError, match="does not hold the weights of this trunk: .*partreid convert"
    ):
        BACKBONES["hrnet_w32"](weights=str(file))


def test_a_recipe_takes_a_file(tmp_path: Path) -> None:
    trunk = BACKBONES["resnet50"](pretrained=False)
    file = tmp_path / "trunk.safetensors"
    save_file({f"trunk.{n}": t for n, t in trunk.state_dict().items()}, file)
    recipe = override(find("bot/bpbreid-table1/market1501"), [f"backbone.weights={file}"])
    state = build.method(recipe, 5, None).state_dict()
    assert torch.equal(
        state["trunk.layer4.0.conv1.weight"], trunk.state_dict()["layer4.0.conv1.weight"]
    )
    file.unlink()
    # a finished model needs it not
    build.method(replace(recipe, backbone=build.unfetched(recipe.backbone)), 5, None)
    with pytest.raises(DataError, match=r"trunk\.safetensors"):
        build.method(recipe, 5, None)


def test_files_that_do_not_fit_are_said(tmp_path: Path) -> None:
    state = {
        f"trunk.{n}": t for n, t in BACKBONES["resnet50"](pretrained=False).state_dict().items()
    }
    name = "trunk.layer1.0.conv1.weight"
    for wrong in (
        {n: t for n, t in state.items() if n != name},
        {**state, name: torch.ones(3)},
        {**state, name: state[name] * torch.nan},
    ):
        save_file(wrong, tmp_path / "a.safetensors")
        with pytest.raises(
            DataError, match=r"1 of \d+ tensors are missing, .*layer1\.0\.conv1\.weight"
        ):
            BACKBONES["resnet50"](weights=str(tmp_path / "a.safetensors"))
    (tmp_path / "b.safetensors").write_bytes(b"no tensors")
    with pytest.raises(DataError, match="not a readable safetensors file"):
        BACKBONES["resnet50"](weights=str(tmp_path / "b.safetensors"))
    torch.save({}, tmp_path / "c.pth")
    with pytest.raises(
        DataError, match=r"read after a conversion only; .*partreid convert .*c\.pth --layout trunk"
    ):
        BACKBONES["resnet50"](weights=str(tmp_path / "c.pth"))


def test_an_unknown_tag_names_the_known_ones() -> None:
    with pytest.raises(
        RecipeError,
        match="seresnet50 has no weights 'tv_in1k'; known are a1_in1k, .*partreid convert",
    ):
        BACKBONES["seresnet50"](weights="tv_in1k")


@pytest.mark.parametrize("given", [{}, {"weights": "tv_in1k"}, {"pretrained": True}])
def test_ibn_never_starts_from_nothing_unasked(given: dict[str, Any]) -> None:
    with pytest.raises(
        RecipeError, match="needs a file of its ImageNet weights, .*/IBN-Net.*partreid convert"
    ):
        BACKBONES["resnet50_ibn_a"](**given)


@pytest.mark.parametrize(
    "recipe", [pytest.param(r, id=r.name) for r in ROWS if "resnet50" in r.backbone.name]
)
def test_rows_name_their_weights_and_say_so(recipe: Recipe) -> None:
    """Checked against what timm has; a row that starts from nothing says that."""
    name, args = recipe.backbone.name, recipe.backbone.args
    if args.get("pretrained") is False or recipe.name.startswith(("synthetic/",)):
        return
    if name == "resnet50_ibn_a":
        assert any("needs a file" in note for note in recipe.notes)
    else:
        assert f"{name}.{args['weights']}" in import_timm().list_pretrained(f"{name}.*")
        assert any(args["weights"] in note for note in recipe.notes)


def test_without_a_network_two_ways_out_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A hub that takes the connection and never answers; the client of the hub would try again
    for minutes.
    """
    import huggingface_hub as hub

    monkeypatch.setattr(weights, "_cached", lambda timm, name: None)
    monkeypatch.setattr(weights, "PATIENCE", 0.5)
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        for address in (f"http://127.0.0.1:{server.getsockname()[1]}", "http://127.0.0.1:9"):
            monkeypatch.setattr(hub.constants, "ENDPOINT", address)
            with pytest.raises(
                RecipeError,
                match="resnet50 .tv_in1k. could not be fetched .(Connect|.*Timeout)"
                ".*partreid convert.*hf download timm/resnet50.tv_in1k.*=false",
            ):
                BACKBONES["resnet50"]()
    assert time.monotonic() - began < 30  # of a busy machine; the retries took 128


def test_what_is_in_the_cache_needs_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state = numbered(dict(import_timm().create_model("resnet50").state_dict()))
    save_file(state, tmp_path / "model.safetensors")
    monkeypatch.setattr(weights, "_cached", lambda timm, name: str(tmp_path / "model.safetensors"))
    monkeypatch.setattr(weights, "_answer", lambda name: pytest.fail("asked the network"))
    assert torch.equal(BACKBONES["resnet50"]().state_dict()["stem.0.weight"], state["conv1.weight"])
