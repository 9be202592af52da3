"""Any model of timm under any method: maps, strides, statistics, weights and where branches
begin.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from partreid import build
from partreid.convert.bundle import convert, trunk_weights
from partreid.errors import ArgumentError, DataError, RecipeError, ShapeError
from partreid.layers import timm_trunk as timm_trunks
from partreid.layers import weights
from partreid.layers.own_trunk import Renormalize, as_trunk
from partreid.layers.split import split
from partreid.layers.timm_trunk import TimmTrunk, timm_trunk
from partreid.layers.trunks import BACKBONES, create_timm, import_timm
from partreid.methods import METHODS
from partreid.methods.base import Method
from partreid.recipes import Recipe, Spec, find, override
from partreid.train import bundle
from partreid.types import MEAN, STD, Batch, PartScheme

SIZE = (64, 32)
FAMILIES = ("resnet18", "mobilenetv2_050", "convnext_atto", "vit_tiny_patch16_224",
            "swin_tiny_patch4_window7_224")  # fmt: skip
STAGED = [name for name in FAMILIES if not name.startswith("vit")]
BRANCHING = ("dsa", "magnifier")
PARTS = PartScheme(tuple(f"part{k + 1}" for k in range(5)))
IMAGES = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))


# What makes these models small enough for many tests; everything else is theirs.
SMALLER: dict[str, dict[str, Any]] = {
    "resnet18": {"channels": (8, 16, 32, 64)},
    "convnext_atto": {"depths": (1, 1, 1, 1), "dims": (8, 16, 32, 64)},
    "vit_tiny_patch16_224": {"depth": 2, "embed_dim": 48},
    "swin_tiny_patch4_window7_224": {
        "depths": (1, 1, 2, 2), "embed_dim": 12, "num_heads": (1, 2, 3, 4),
    },
}  # fmt: skip


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    def create(model: str, tag: str | None, **options: Any) -> nn.Module:
        return create_timm(model, tag, **options, **SMALLER.get(model, {}))

    monkeypatch.setattr(timm_trunks, "create_timm", create)


def trunk(model: str, **options: Any) -> Any:
    made: Any = timm_trunk(model, pretrained=False, **options)
    made.set_size(*SIZE)
    return made.eval()


def recipe(method: str, model: str) -> Recipe:
    changes = ["backbone=timm", f"backbone.model={model}", "backbone.weights=none", "size=[64,32]"]
    changes += {
        "pcb": ["method.stripes=2"],
        "magnifier": ["method.sampling=random_baseline"],
    }.get(method, [])
    if method in BRANCHING and model == "mobilenetv2_050":
        changes += ["backbone.levels=-1"]  # 160 channels instead of 1280: DSA's guide is as wide
    return override(find(f"synthetic/tiny/{method}"), changes)


def built(method: str, model: str) -> Method:
    torch.manual_seed(0)
    scheme = PARTS if "parts" in recipe(method, model).cues else None
    return build.method(recipe(method, model), 2, scheme)


def batch(method: Recipe) -> Batch:
    """Two images of each of two people, with labels in which every part appears."""
    rows = (torch.arange(SIZE[0]) * (PARTS.K + 1) // SIZE[0]).to(torch.uint8)
    given = {"parts": rows[None, :, None].expand(4, *SIZE).clone()}
    given["uv_tiles"] = torch.randint(256, (4, 24, 4, 16, 16), dtype=torch.uint8)
    cues = {name: cue for name, cue in given.items() if name in method.cues}
    return Batch(torch.randn(4, 3, *SIZE), torch.arange(4) // 2, torch.arange(4) % 2, cues)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_learns_on_every_family(method: str, model: str) -> None:
    if method in BRANCHING and model not in STAGED:
        with pytest.raises(RecipeError, match=f"{model} has no stages, only equal blocks"):
            built(method, model)
        return
    made, some = built(method, model).train(), batch(recipe(method, model))
    terms = made.losses(made(some.images, some.cues), some)
    assert list(terms) == list(recipe(method, model).terms)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    grads = {n: p.grad for n, p in made.named_parameters() if p.requires_grad}
    assert [n for n, g in grads.items() if g is None or not g.isfinite().all()] == []
    with torch.inference_mode():
        e = made.eval().embed(made(some.images, some.cues))
    assert len(e) == 4 and e.vectors.isfinite().all() and e.vectors.any()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("model", "channels", "stride"),
    [*zip(FAMILIES, (64, 1280, 64, 48, 96), (32, 32, 32, 16, 32), strict=True)],
)
def test_channels_and_stride_are_what_they_say_also_when_exported(
    model: str, channels: int, stride: int
) -> None:
    made = trunk(model)
    assert (made.channels, made.stride) == (channels, stride)
    with torch.no_grad():
        f = made(IMAGES)
        again = torch.export.export(made, (IMAGES,), strict=False).module()(IMAGES)
    assert f.shape == (2, channels, SIZE[0] // stride, SIZE[1] // stride)
    torch.testing.assert_close(again, f)


def test_a_plain_cnn_gives_what_timm_gives() -> None:
    theirs: Any = import_timm().create_model("resnet18", num_classes=0).eval()
    made = trunk("resnet18")
    made.net.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        assert torch.equal(made(IMAGES), theirs.forward_features(IMAGES))


def test_tokens_become_a_map_row_by_row() -> None:
    made = trunk("vit_tiny_patch16_224")
    with torch.no_grad():
        tokens = made.net.forward_features(made.before(IMAGES))
        f = made(IMAGES)
    assert tokens.shape == (2, 1 + 4 * 2, 192)  # a class token before them
    assert torch.equal(f[0, :, 3, 1], tokens[0, 1 + 3 * 2 + 1])


@pytest.mark.parametrize("model", ["resnet18", "convnext_atto", "mobilenetv2_050", "densenet121"])
def test_last_stride_1_keeps_every_value_of_stride_2(model: str) -> None:
    """Without dilation the first strided layer's outputs at even places stay what they were."""
    plain, fine = trunk(model), trunk(model, last_stride=1)
    fine.load_state_dict(plain.state_dict())
    assert (fine.stride, fine.channels) == (16, plain.channels)
    with torch.no_grad():
        assert fine(IMAGES).shape[2:] == (4, 2) and plain(IMAGES).shape[2:] == (2, 1)
        assert [m for m in fine.modules() if getattr(m, "dilation", 1) not in (1, (1, 1))] == []
    if model == "convnext_atto":  # its even kernel needs a padding of its own
        one, two = (t.net.stages[3].downsample for t in (plain, fine))
        x = torch.randn(1, 160, 6, 4)
        with torch.no_grad():
            torch.testing.assert_close(two(x)[:, :, ::2, ::2], one(x))


def test_levels_are_chosen_and_laid_side_by_side() -> None:
    one, both = trunk("resnet18", levels=-2), trunk("resnet18", levels=[3, 4])
    both.load_state_dict({**both.state_dict(), **one.state_dict()})
    assert (one.channels, one.stride, both.channels, both.stride) == (256, 16, 768, 16)
    assert not any(n.startswith("net.layer4") for n in one.state_dict())
    with torch.no_grad():
        assert both(IMAGES).shape == (2, 768, 4, 2)
        assert torch.equal(both(IMAGES)[:, :256], one(IMAGES))
    assert trunk("resnet18", reduce=24)(IMAGES).shape == (2, 24, 2, 1)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("convnxt_tiny", {}, "no model 'convnxt_tiny'; the nearest are convnext_tiny"),
        ("", {}, "needs the name of a model: --set backbone.model="),
        ("resnet18", {"levels": 5}, "levels 0 to 4, of strides 2, 4, 8, 16, 32; got 5"),
        ("resnet18", {"levels": []}, "levels is empty"),
        ("resnet18", {"last_stride": 3}, "is 1 or 2, got 3"),
        ("resnet18", {"last_stride": 1, "levels": 2}, "last_stride needs the last level"),
        ("vit_tiny_patch16_224", {"last_stride": 1}, "no stride of 2 in its last stage"),
        ("swin_tiny_patch4_window7_224", {"last_stride": 1},
         "last stride away is not known .*levels=2"),
        ("resnet18.nope", {}, "resnet18 has no weights 'nope'; known are a1_in1k"),
    ],
)  # fmt: skip
def test_what_a_model_does_not_have_is_said(
    model: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message), torch.device("meta"):
        timm_trunk(model, weights=None, **options)


@pytest.mark.parametrize(
    ("model", "size", "message"),
    [
        ("vit_tiny_patch16_224", [250, 128], "16 x 16 pixels, and 250 does not divide by 16; 240 "),
        ("swin_tiny_patch4_window7_224", [64, 30], "30 does not divide by 4; 28 and 32 do"),
        ("mixer_s16_224", [256, 128], r"takes images of 224 x 224 alone; --set size=\[224,224\]"),
    ],
)
def test_a_size_that_does_not_fit_is_said_before_any_work(
    model: str, size: list[int], message: str
) -> None:
    with pytest.raises(RecipeError, match=message), torch.device("meta"):
        build.method(override(recipe("bot", model), [f"size={size}"]), 4, None)


def test_images_of_another_size_are_said() -> None:
    with pytest.raises(ShapeError, match="set up for images of 64 x 32, got 32 x 32; set_size"):
        trunk("vit_tiny_patch16_224")(torch.zeros(1, 3, 32, 32))
    assert trunk("resnet18")(torch.zeros(1, 3, 96, 32)).shape[2:] == (3, 1)


def test_position_embeddings_follow_the_size() -> None:
    made: Any = timm_trunk("vit_tiny_patch16_224", weights=None)
    before = made.net.pos_embed.detach().clone()
    made.set_size(256, 128)
    assert made.net.pos_embed.shape == (1, 1 + 16 * 8, 192)
    assert torch.equal(made.net.pos_embed[:, 0], before[:, 0])  # the class token's stays
    made.set_size(256, 128)
    assert made(torch.zeros(1, 3, 256, 128)).shape == (1, 192, 16, 8)


def test_images_reach_a_model_by_its_own_mean_and_deviation() -> None:
    pixels = torch.rand(2, 3, 8, 8)
    channel = (slice(None), None, None)
    images = (pixels - torch.tensor(MEAN)[channel]) / torch.tensor(STD)[channel]
    for mean, std in (((0.5,) * 3, (0.5,) * 3), ((0.4, 0.3, 0.2), (0.25, 0.5, 1.0))):
        expected = (pixels - torch.tensor(mean)[channel]) / torch.tensor(std)[channel]
        torch.testing.assert_close(Renormalize(mean, std)(images), expected, atol=1e-6, rtol=1e-6)
    halves: Any = timm_trunk("vit_tiny_patch16_224", weights=None)  # by 0.5
    torch.testing.assert_close(halves.before(images), 2 * pixels - 1, atol=1e-6, rtol=1e-6)
    clip: Any = timm_trunk("vit_tiny_patch16_224", weights=None).before
    assert isinstance(clip, Renormalize) and isinstance(trunk("resnet18").before, nn.Identity)
    with pytest.raises(ArgumentError, match="std must be three numbers"):
        Renormalize((0.5, 0.5, 0.5), (0.5, 0.0, 0.5))


@pytest.mark.parametrize("model", STAGED)
def test_the_halves_are_the_whole(model: str) -> None:
    made = trunk(model)
    with torch.no_grad():
        expected, channels = made(IMAGES), made.channels
        halves = split(made)
        f = halves.early(IMAGES)
        torch.testing.assert_close(halves.tail()(f), expected)
    assert f.shape == (2, halves.early.channels, 4, 2) and halves.early.stride == 16
    assert halves.channels == channels
    assert halves.fresh(8)(f).shape == (2, channels // 8, 4, 2)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("hrnet_w18_small", {}, "in timm's hrnet_w18_small more than one map leads to it"),
        ("resnet18", {"levels": [3, 4]}, r"levels=\[3, 4\] does not end with it"),
    ],
)
def test_models_without_a_last_stage_of_their_own_are_refused(
    model: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        split(trunk(model, **options))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("method", ["bot", "magnifier"])
def test_a_finished_model_comes_back_without_anything_fetched(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Swin's window masks and indices are in no file and are made anew."""
    made = built(method, "swin_tiny_patch4_window7_224").eval()
    fetched = recipe(method, "swin_tiny_patch4_window7_224")
    fetched = replace(fetched, backbone=fetched.backbone.but(weights="default"))
    monkeypatch.setattr(weights, "fetched", lambda *given: pytest.fail("fetched weights"))
    scheme = PARTS if method == "magnifier" else None
    again = bundle.restore(fetched, 2, scheme, dict(made.strip_for_inference().state_dict())).eval()
    with torch.inference_mode():
        one, two = (m.embed(m(IMAGES)).vectors for m in (made, again))
    assert torch.equal(one, two)


def numbered(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        n: torch.full_like(t, (i % 100) / 64) if t.is_floating_point() else t
        for i, (n, t) in enumerate(state.items())
    }


def test_a_file_in_timm_s_names_fills_the_trunk(tmp_path: Path) -> None:
    state = numbered(dict(import_timm().create_model("convnext_atto").state_dict()))
    file, pickled = tmp_path / "a.safetensors", tmp_path / "a.pth"
    save_file(state, file)
    torch.save({"state_dict": state}, pickled)
    done = convert(pickled, tmp_path / "out", "timm:convnext_atto")
    assert done.matched.share_of_ours == done.matched.share_of_theirs == 1
    converted = tmp_path / "out" / "trunk.safetensors"
    assert f"backbone.model=convnext_atto --set backbone.weights={converted}" in done.notes[0]
    for path in (file, converted):
        filled = timm_trunk("convnext_atto", str(path), reduce=8).state_dict()
        assert torch.equal(filled["net.stages.3.blocks.1.gamma"], state["stages.3.blocks.1.gamma"])
    bare = timm_trunk("convnext_atto", None, levels=2)
    assert trunk_weights(pickled, bare).share_of_ours == 1
    assert torch.equal(
        bare.state_dict()["net.stages.2.blocks.5.gamma"], state["stages.2.blocks.5.gamma"]
    )


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    state = dict(import_timm().create_model("convnext_atto").state_dict())
    file = tmp_path / "a.safetensors"
    save_file(state | {"stages.2.blocks.6.gamma": torch.ones(160)}, file)  # one block more
    with pytest.raises(DataError, match=r"holds 1 tensors more in the same modules \(net\.stages"):
        timm_trunk("convnext_atto", str(file))
    with pytest.raises(DataError, match="does not hold .*--layout timm:resnet18 --out FOLDER"):
        timm_trunk("resnet18", str(file))
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(
        DataError, match=r"is no file of safetensors; .*--layout timm:convnext_atto"
    ):
        timm_trunk("convnext_atto", str(tmp_path / "a.pth"))


def test_weights_are_asked_for_by_tag_and_never_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import huggingface_hub as hub

    monkeypatch.setattr(weights, "_cached", lambda timm, name: None)
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    for name, given, tag in (
        ("convnext_atto", "default", "d2_in1k"),
        ("vit_small_patch16_224.dino", "default", "dino"),
        ("resnet18", "tv_in1k", "tv_in1k"),
    ):
        plain = name.partition(".")[0]
        with pytest.raises(
            RecipeError,
            match=rf"weights of {plain} \({tag}\) could not be fetched .*--layout timm:.*"
            rf"hf download timm/{plain}\.{tag}, .*=false",
        ):
            timm_trunk(name, given)
    with pytest.raises(RecipeError, match="the weights dino and backbone.weights for augreg"):
        timm_trunk("vit_small_patch16_224.dino", "augreg_in1k")
    with pytest.raises(RecipeError, match="resnet18 has no weights 'x'; known are .*timm:resnet18"):
        timm_trunk("resnet18", "x")


class TestOwnTrunk:
    def test_a_network_becomes_a_trunk_of_any_method_that_does_not_branch(self) -> None:
        for method in sorted(set(METHODS) - set(BRANCHING)):
            plain, made = find(f"synthetic/tiny/{method}"), METHODS[method]
            wrapped = as_trunk(nn.Conv2d(3, 16, 8, stride=8), channels=16, stride=8)
            given: dict[str, Any] = dict(plain.method.args)
            if "parts" in plain.cues:
                given["scheme"] = PARTS
            one = made(wrapped, 2, terms=plain.terms, **given).train()  # type: ignore[call-arg]
            some = batch(plain)
            losses = one.losses(one(some.images, some.cues), some)
            torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
            assert wrapped.net.weight.grad.any()  # type: ignore[union-attr, operator]

    def test_what_is_no_map_is_said(self) -> None:
        images = torch.zeros(1, 3, 16, 16)
        for net in (nn.Flatten(), nn.Conv2d(3, 5, 1)):
            with pytest.raises(ShapeError, match=r"one feature map \[B, 4, h, w\], got \[1, "):
                as_trunk(net, channels=4, stride=1)(images)
        with pytest.raises(RecipeError, match="timm with a model of stages"):
            split(as_trunk(nn.Conv2d(3, 4, 1), channels=4, stride=1))

    def test_it_sees_images_by_its_own_statistics(self) -> None:
        black = -torch.tensor(MEAN) / torch.tensor(STD)
        made = as_trunk(nn.Identity(), channels=3, stride=1, mean=(0.5,) * 3, std=(0.5,) * 3)
        seen = made(black[None, :, None, None])
        torch.testing.assert_close(seen, torch.full((1, 3, 1, 1), -1.0))


def test_a_recipe_says_its_trunk_and_what_was_left_out() -> None:
    changed = override(find("bot/bpbreid-table1/market1501"), ["backbone=timm", "backbone.model=x"])
    assert changed.backbone == Spec("timm", model="x")
    assert changed.notes[-2:] == (
        "the trunk is timm's x; it starts from the weights that timm takes for it by default.",
        'backbone=timm leaves out what resnet50 was given: weights="tv_in1k".',
    )
    assert not any("torchvision" in note for note in changed.notes)
    nothing = override(changed, ["backbone.weights=none"])
    assert "the trunk is timm's x; it starts from nothing: no weights are read." in nothing.notes
    assert override(changed, ["backbone.name=small"]).backbone == Spec("small")
    with pytest.raises(RecipeError, match=r"drops what --set backbone\.model=x gives; put"):
        override(find("synthetic/tiny/bot"), ["backbone.model=x", "backbone=timm"])


def test_it_stands_among_the_trunks() -> None:
    assert BACKBONES["timm"] is timm_trunk and isinstance(trunk("resnet18"), TimmTrunk)
