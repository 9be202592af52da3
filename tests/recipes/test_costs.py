"""What training costs, counted anew on the models themselves."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from partreid import build
from partreid.data.registry import BENCHMARKS
from partreid.data.synthetic import PRESETS
from partreid.data.synthetic.benchmark import plan
from partreid.experiments.smoke import same
from partreid.recipes import ROWS, Spec, find
from partreid.recipes.costs import FLOPS, TRAINING, WITHDRAWN, Training, gmac, hours

COUNTED = (
    "bot/bpbreid-table1/market1501",
    "pcb/market1501",
    "bpbreid/table1/resnet50_ibn_a/market1501",
    "isp/table1/dukemtmc",
    "isp/table6/seresnet50",
    "hcga/table10/resnet50/occluded_duke",
    "dsa/table2/market1501",
    "dsa/table3/baseline",
    "dsa/table3/baseline-two-branches",
    "dsa/table3/global-single",
    "dsa/table3/local-single",
    "magnifier/table1/cuhk03_labeled",
    "magnifier/table2/cuhk03_labeled/g",
    "magnifier/tails/none",
    "magnifier/tails/shared_all",
    "magnifier/tails/separate",
    "synthetic/demo/bot",
    "synthetic/demo/dsa",
    "synthetic/demo/magnifier",
)


@pytest.mark.parametrize("name", COUNTED)
def test_multiply_adds_are_those_of_the_model(name: str) -> None:
    recipe = find(name)
    cues = build.cues(recipe, build.empty(recipe.train))
    scheme = cues["parts"].scheme if "parts" in cues else None
    with torch.device("meta"), torch.no_grad():
        method = build.method(
            replace(recipe, backbone=build.unfetched(recipe.backbone)), 10, scheme
        ).train()
        for module in method.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.forward = same  # type: ignore[method-assign]
        given = {
            cue: torch.zeros(
                (2, 24, 4, 32, 32) if cue == "uv_tiles" else (2, *recipe.size), dtype=torch.uint8
            )
            for cue in cues
        }
        with FlopCounterMode(display=False) as counter:
            method(torch.zeros(2, 3, *recipe.size), given)
    assert gmac(recipe) == pytest.approx(counter.get_total_flops() / 2 / 2 / 1e9, rel=0.02)


def test_the_guide_takes_what_the_paper_s_sizes_give() -> None:
    """24 -> 13 -> 8 branches on 24 tiles of 32 x 32: 11.54 GMAC."""
    with_guide, without = find("dsa/table2/market1501"), find("dsa/table3/baseline-two-branches")
    assert gmac(with_guide) - gmac(without) == pytest.approx(11.54, abs=0.01)


def test_every_row_has_a_cost_of_images_epochs_and_passes() -> None:
    assert [r.name for r in ROWS if hours(r) is None] == []
    bot = find("bot/bpbreid-table1/market1501")
    assert hours(bot) == pytest.approx(12936 * 120 * 4.053e9 * 2 * 3 / FLOPS / 3600)
    labelled = find("isp/table1/dukemtmc")
    seldom = replace(labelled, cues={"parts": Spec("isp_clusters", parts=6, every=2)})
    assert hours(labelled) / hours(seldom) == pytest.approx(4 / 3.5)  # type: ignore[operator]
    two = find("magnifier/table1/cuhk03_labeled")
    assert hours(two) / hours(replace(two, stages=two.stages[:1])) == pytest.approx(500 / 460)  # type: ignore[operator]
    assert hours(replace(bot, train="folders")) is None


def test_counts_and_status_are_those_of_the_loaders() -> None:
    for name, counted in TRAINING.items():
        if name.startswith("synthetic-"):
            shots = [
                s
                for s in plan(PRESETS[name.removeprefix("synthetic-")])
                if s.split == "bounding_box_train"
            ]
            assert counted == Training(len({s.identity for s in shots}), len(shots))
        else:
            assert tuple(counted) == tuple(BENCHMARKS[name].counts["train"])
    assert set(WITHDRAWN) == {name for name in BENCHMARKS if BENCHMARKS[name].withdrawn}
