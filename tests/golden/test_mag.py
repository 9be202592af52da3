"""MagnifierNet's region sampling, pooling, mask resizing, diversity loss and total against
recorded numbers.
"""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from partreid.labels.schemes import SURFACES, scheme_of
from partreid.layers.pooling import max_pool
from partreid.losses import diversity_loss
from partreid.methods.magnifier import recipes as magnifier
from partreid.methods.magnifier.regions import (
    RegionDropout,
    kept_sets,
    label_regions,
    region_max,
    upper_and_lower,
)
from partreid.train.loop import weighted_sum

HERE = Path(__file__).parent
FACTS: dict[str, Any] = json.loads((HERE / "dsa_mag.json").read_text())
SEVEN = scheme_of(SURFACES["seven"])


def golden(name: str) -> dict[str, Any]:
    return dict(np.load(HERE / f"{name}.npz"))


def tensor(a: Any) -> Tensor:
    return torch.from_numpy(np.asarray(a).copy())


def drawn(dropout: RegionDropout, draws: int) -> set[tuple[int, ...]]:
    return {
        tuple(row.nonzero()[:, 0].tolist()) for row in dropout.draw(draws, len(SEVEN.names) + 1)
    }


def test_regions_and_their_two_groups() -> None:
    facts = FACTS["mag_sampling"]
    assert ["background", *SEVEN.names] == facts["regions"]
    assert upper_and_lower(SEVEN) == (facts["upper"], facts["lower"])


@pytest.mark.parametrize("keep", [2, 4, 6])
def test_random_torso_draws_exactly_the_allowed_sets(keep: int) -> None:
    allowed = {tuple(kept) for kept in FACTS["mag_sampling"]["random_torso"][str(keep)]}
    groups = upper_and_lower(SEVEN)
    assert drawn(RegionDropout(groups, keep), 600) == allowed == set(kept_sets(groups, keep))
    assert len(allowed) == FACTS["mag_sampling"]["counts_random_torso"][str(keep)]


@pytest.mark.parametrize("keep", range(1, 9))
def test_random_baseline_draws_any_regions(keep: int) -> None:
    allowed = set(combinations(range(8), keep))
    assert (
        drawn(RegionDropout((range(8),), keep), 1200)
        == allowed
        == set(kept_sets((range(8),), keep))
    )
    assert len(allowed) == FACTS["mag_sampling"]["counts_random_baseline"][str(keep)]


@pytest.mark.parametrize("pool", [max_pool, region_max])
def test_pooling_of_regions_and_of_those_that_are_kept(pool: Any) -> None:
    z = golden("mag_pool")
    f, masks = tensor(z["feat"]).requires_grad_(), tensor(z["masks"])
    np.testing.assert_array_equal(pool(f, masks).detach(), z["region_feats"])
    np.testing.assert_array_equal(
        pool(f, masks[:, z["keep"]].sum(1, keepdim=True))[:, 0].detach(), z["adv_feat"]
    )
    np.testing.assert_array_equal(pool(f, masks.sum(1, keepdim=True))[:, 0].detach(), z["all_feat"])


def test_masks_go_to_the_feature_grid_bilinearly() -> None:
    z = golden("mag_mask_resize")
    labels = tensor(z["mask_4x4"]).argmax(0).to(torch.uint8)[None]
    np.testing.assert_allclose(label_regions(labels, (2, 2), 2)[0], z["mask_2x2"], atol=1e-6)


def test_diversity_and_its_gradient() -> None:
    z = golden("mag_sd_loss")
    assert diversity_loss(tensor(z["z"])).item() == pytest.approx(float(z["sd_strict"]), abs=1e-12)
    assert diversity_loss(tensor(z["z"]), True).item() == pytest.approx(
        float(z["sd_with_diagonal"]), abs=1e-12
    )
    for diagonal in (False, True):  # the diagonal moves nothing
        z2 = tensor(z["z2"]).requires_grad_()
        loss = diversity_loss(z2, diagonal)
        loss.backward()
        wanted = z["sd2_with_diagonal" if diagonal else "sd2_strict"]
        assert loss.item() == pytest.approx(float(wanted), abs=1e-12)
        np.testing.assert_allclose(z2.grad, z["grad2_strict"], atol=1e-12)


def test_eq4_in_both_stages() -> None:
    """The recorded total has one identity and one triplet term; ours are many, with weight 1
    each.
    """
    facts = FACTS["mag_total"]
    given = {"id_global": "cls", "triplet_global": "tri", "diversity": "sd", "mask": "mask"}
    terms = {
        name: torch.tensor(facts["terms"].get(given.get(name, ""), 0.0))
        for name in magnifier.STAGES[0].weights
    }
    for stage, name in zip(magnifier.STAGES, ("stage1", "stage2"), strict=True):
        assert weighted_sum(terms, stage.weights).item() == pytest.approx(facts[name], abs=1e-6)
    assert magnifier.STAGES[1].weights["diversity"] == facts["gamma"]
    assert all(stage.weights["mask"] == facts["lam"] for stage in magnifier.STAGES)
