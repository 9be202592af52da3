"""What a conversion writes, and when it writes nothing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from partreid.convert import convert
from partreid.errors import DataError, PartReidError, RecipeError
from partreid.inference import load
from partreid.layers.trunks import BACKBONES
from partreid.recipes import find, from_plain

WORDS = {"part": 12, "global": 4, "fore": 4}  # three parts of four channels


class Pixels(nn.Module):
    """A trunk of four channels without weights."""

    channels, stride = 4, 8

    def forward(self, images: Tensor) -> Tensor:
        small = nn.functional.avg_pool2d(images, 8)
        return torch.cat([small, small[:, :1] * 2], 1)


@pytest.fixture(autouse=True)
def _pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        BACKBONES, "hrnet_w32", lambda pretrained=False, weights="", reduce=None: Pixels()
    )


def released(identities: int = 751) -> dict[str, Tensor]:
    state = {
        "base.part_cls_layer.weight": torch.randn(4, 4, 1, 1),
        "base.part_cls_layer.bias": torch.randn(4),
    }
    for word, width in WORDS.items():
        state |= {
            f"bottleneck_{word}.{field}": torch.rand(width) + 0.5
            for field in ("weight", "bias", "running_mean", "running_var")
        }
        state[f"classifier_{word}.weight"] = torch.randn(identities, width)
    return state


def save(tmp_path: Path, state: dict[str, Any]) -> Path:
    torch.save(state, tmp_path / "a.pth")
    return tmp_path / "a.pth"


def test_the_bundle_is_like_that_of_a_finished_run(tmp_path: Path) -> None:
    state = released()
    done = convert(save(tmp_path, state), tmp_path / "out")
    folder = tmp_path / "out"
    assert sorted(p.name for p in folder.iterdir()) == [
        "conversion.json",
        "model.safetensors",
        "recipe.json",
    ]
    recipe = from_plain(json.loads((folder / "recipe.json").read_text()))
    assert recipe == done.recipe and recipe.notes[-1] == "weights converted from a.pth (isp)"
    record = json.loads((folder / "conversion.json").read_text())
    assert (
        record["layout"] == "isp"
        and record["identities"] == 751
        and len(record["used"]) == len(state)
    )
    assert done.lines()[0] == "a.pth read as isp: isp/released/market1501, 751 identities"
    # of the recipe's center losses; not released
    assert all(n.startswith("centers.") for n in done.matched.fresh)
    model = load(folder, "cpu")
    assert torch.equal(
        model.method.state_dict()["id.joined.norm.running_mean"],
        state["bottleneck_part.running_mean"],
    )
    for name in ("a.png", "b.png"):
        Image.fromarray(np.random.randint(0, 255, (64, 32, 3), np.uint8)).save(tmp_path / name)
    e = model.embed([tmp_path / "a.png", tmp_path / "b.png"])
    assert e.vectors.shape == (2, 1, 20) and e.vectors.isfinite().all()
    assert model.compare(tmp_path / "a.png", tmp_path / "a.png").distance == pytest.approx(
        0, abs=1e-5
    )


def test_identities_come_from_the_classifier(tmp_path: Path) -> None:
    assert convert(save(tmp_path, released(9)), tmp_path / "nine").identities == 9
    with pytest.raises(RecipeError, match="knows 9 identities, not 8"):
        convert(tmp_path / "a.pth", tmp_path / "out", identities=8)
    uneven = released(9) | {"classifier_fore.weight": torch.randn(8, 4)}
    with pytest.raises(DataError, match="know 8 and 9 identities"):
        convert(save(tmp_path, uneven), tmp_path / "out")
    bare = {name: t for name, t in released().items() if "classifier" not in name}
    assert convert(save(tmp_path, bare), tmp_path / "seven", identities=7).identities == 7
    done = convert(tmp_path / "a.pth", tmp_path / "one")  # embedding needs no classifier
    assert done.identities == 1 and "id.joined.classifier" in done.matched.fresh
    assert load(tmp_path / "one", "cpu").names == ("all",)


def broken() -> dict[str, tuple[dict[str, Tensor], str]]:
    state = released()
    return {
        "no neck": (
            {n: t for n, t in state.items() if "running_var" not in n},
            "3 missing: id.global.norm",
        ),
        "other width": (
            state | {"bottleneck_fore.weight": torch.ones(5)},
            r"fore.weight \[5\] for .* \[4\]",
        ),
        "much more": (
            state | {"extra.weight": torch.ones(90, 1000)},
            "1 without a counterpart here: extra.weight",
        ),
        "not finite": (
            state | {"bottleneck_fore.weight": torch.full((4,), torch.nan)},
            "not finite",
        ),
    }


@pytest.mark.parametrize("case", ["no neck", "other width", "much more", "not finite"])
def test_what_does_not_fit_is_not_written(tmp_path: Path, case: str) -> None:
    state, message = broken()[case]
    with pytest.raises(DataError, match=message):
        convert(save(tmp_path, state), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_little_more_is_told_and_a_lower_least_takes_more(tmp_path: Path) -> None:
    done = convert(save(tmp_path, released() | {"extra.weight": torch.ones(10)}), tmp_path / "out")
    assert done.matched.unexpected == ("extra.weight",) and 0.99 < done.matched.share_of_theirs < 1
    assert any("extra.weight" in line for line in done.lines())
    much = released() | {"extra.weight": torch.ones(90, 1000)}
    assert convert(save(tmp_path, much), tmp_path / "low", least=0.1).matched.share_of_theirs < 0.5


def test_mistakes(tmp_path: Path) -> None:
    path = save(tmp_path, released())
    cases: tuple[tuple[dict[str, Any], type[PartReidError], str], ...] = (
        ({"layout": "ips"}, RecipeError, "unknown layout: 'ips'. Did you mean 'isp'"),
        ({"least": 1.5}, RecipeError, "between 0 and 1"),
        ({"layout": "bpbreid"}, DataError, "neither a pixel classifier"),
        ({"layout": "strong-baseline"}, DataError, "does not fit layout strong-baseline"),
        ({"layout": "trunk"}, DataError, "no ResNet-50, no SE-ResNet-50 and no HRNet-W32"),
        ({"recipe": find("bot/bpbreid-table1/market1501")}, RecipeError, "is a recipe of bot"),
    )
    for options, kind, message in cases:
        with pytest.raises(kind, match=message):
            convert(path, tmp_path / "out", **options)
    torch.save({"base.cls_head.0.weight": torch.ones(2, 2, 1, 1)}, tmp_path / "b.pth")
    with pytest.raises(DataError, match="it has no base.part_cls_layer.weight"):
        convert(tmp_path / "b.pth", tmp_path / "out", layout="isp")
    convert(path, tmp_path / "out")
    with pytest.raises(DataError, match="already holds model.safetensors"):
        convert(path, tmp_path / "out")
