"""DSA-reID's tree, sizes, losses and schedule against numbers written down from the paper."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from partreid.layers.trunks import BACKBONES
from partreid.layers.warp import MERGE_FB, MERGE_LR, REGIONS
from partreid.methods.dsa.guide import Guide, merge
from partreid.methods.dsa.model import DSA
from partreid.recipes import find
from partreid.train.loop import weighted_sum
from partreid.train.schedule import factor
from partreid.types import Batch, Embeddings, Output

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "dsa_mag.json").read_text())
RECIPE = find("dsa/table2/market1501")


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_merging() -> None:
    known = GOLDEN["merging"]
    assert [list(charts) for charts in MERGE_LR] == known["level1_part_ids"]
    assert [list(groups) for groups in MERGE_FB] == known["level2_group_ids"]
    assert list(REGIONS) == known["level2_names"]
    x = torch.tensor(known["input"])[None, :, None, None]  # x_p = p
    one = merge(x, MERGE_LR)
    assert one.flatten().tolist() == known["level1_sum"]
    assert merge(one, MERGE_FB).flatten().tolist() == known["level2_sum"]


def test_table1_s_parameters_and_shapes() -> None:
    known = GOLDEN["dsag"]
    with torch.device("meta"):
        guide = Guide(128, 2048)
        sizes = {
            "conv3_x": guide.single,
            "conv4_x": guide.paired,
            "conv5_g": guide.heads["global"],
            "conv5_l": guide.heads["parts"],
            "conv1": guide.stem[:2],
            "conv2": guide.stem[3:5],
        }
        assert {name: count(module) for name, module in sizes.items()} == known["params"]
        assert count(guide) == known["total"] == 162_025_472
        x = torch.empty(2, *known["shapes"]["input"])
        for name, layer in (
            ("conv1", guide.stem[:3]),
            ("conv2", guide.stem[3:]),
            ("conv3_x", guide.single),
            ("merge1", lambda x: merge(x, MERGE_LR)),
            ("conv4_x", guide.paired),
            ("merge2_D", lambda x: merge(x, MERGE_FB)),
        ):
            x = layer(x.flatten(1, 2) if x.ndim == 5 else x)
            branches, *rest = known["shapes"][name]
            assert list(x.shape) == [2, branches * rest[0], *rest[1:]], name
        for name in ("global", "parts"):
            assert list(guide.heads[name](x).shape) == [2, 2048, 8, 8]
        maps = guide(torch.empty(2, *known["shapes"]["input"]))
    assert list(maps["global"].shape) == [2, *known["shapes"]["d_G"]]
    assert list(maps["parts"].flatten(1).shape) == [2, *known["shapes"]["d_L"]]


@pytest.mark.parametrize(
    ("local_input", "heads", "strip_for_inference"),
    [("full", 4_184_064, 27_692_096), ("slice", 1_890_304, 25_398_336)],
)
def test_the_whole_network_s_parameters(
    local_input: Any, heads: int, strip_for_inference: int
) -> None:
    with torch.device("meta"):
        method = DSA(
            BACKBONES["resnet50"](pretrained=False), 751, RECIPE.terms, local_input=local_input
        )
    assert count(method.heads["parts"]) == heads and count(method.heads["global"]) == 14_964_736
    assert method.guide is not None and count(method.guide) == 162_025_472
    assert {name: count(head) for name, head in method.id.items()} == {
        "global": 1_435_375,
        "fused_global": 1_435_375,
        "fused_parts": 1_435_375,
        "parts": 8 * 517_871,
    }
    assert count(method.strip_for_inference()) == strip_for_inference


class Fixed(nn.Module):
    """A classifier between two identities under which the cross-entropy of each embedding of
    identity i is known.
    """

    def __init__(self, losses: list[float], ids: Tensor) -> None:
        super().__init__()
        ahead = -torch.tensor(losses).expm1().log()  # log(1 + e^-x) = loss
        one_hot = nn.functional.one_hot(ids)[:, None].float()
        self.logits = one_hot * ahead[None, :, None]

    def forward(self, e: Embeddings) -> Tensor:
        return self.logits


def pairs(loss: float, width: int) -> Tensor:
    """Two images of each of two people: positives 1 apart, negatives as far as a triplet loss of
    ``loss`` wants.
    """
    apart = 1 + 0.3 - loss
    return nn.functional.pad(torch.tensor([[0, 0], [1, 0], [0, apart], [1, apart]]), (0, width - 2))


@pytest.mark.parametrize("part_id", ["sum", "mean"])
def test_total_loss(part_id: Any) -> None:
    known, ids = GOLDEN["dsa_loss"]["terms"], torch.tensor([0, 0, 1, 1])
    method = DSA(BACKBONES["small"](width=4), 2, RECIPE.terms, part_id=part_id, smoothing=0.0)
    entropies = {
        "global": [known["id_fG"]],
        "parts": known["id_fL"],
        "fused_global": [known["id_zG"]],
        "fused_parts": [known["id_zL"]],
    }
    method.id = nn.ModuleDict({name: Fixed(losses, ids) for name, losses in entropies.items()})
    parts = pairs(known["tri_zL"], 32).view(4, 8, 4)
    out = Output(
        torch.zeros(4, 1, 1, 1),
        None,
        {
            "global": Embeddings.single("global", torch.zeros(4, 32)),
            "parts": Embeddings.visible(torch.zeros(4, 8, 4), REGIONS),
            "fused_global": Embeddings.single("fused_global", pairs(known["tri_zG"], 32)),
            "fused_parts": Embeddings.visible(parts, REGIONS),
        },
    )
    terms = method.losses(out, Batch(torch.zeros(4, 3, 8, 8), ids, ids))
    total = float(weighted_sum(terms, RECIPE.stages[0].weights))
    assert total == pytest.approx(GOLDEN["dsa_loss"][f"total_part_{part_id}"], rel=1e-6)


def test_learning_rate() -> None:
    stage = RECIPE.stages[0]
    for epoch, rate in GOLDEN["dsa_lr"]["linear"].items():
        assert stage.lr * factor(stage, int(epoch)) == pytest.approx(rate, rel=1e-9), epoch
    assert stage.epochs == 320 and stage.batch == (16, 4) and stage.weight_decay == 5e-4
