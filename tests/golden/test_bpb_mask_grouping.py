"""Grouping of PifPaf fields against masks made with the released code of BPBreID, and its table
as JSON.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from partreid.labels.pifpaf import FIELDS, part_masks
from partreid.labels.schemes import JOINTS, LIMBS, PIFPAF

HERE = Path(__file__).parent
GOLDEN = np.load(HERE / "bpb_mask_grouping.npz")
RECORDED = json.loads((HERE / "bpb_mask_groups.json").read_text())
TABLE = RECORDED["groups"]
STRIPES = {"id", *(f"strp_{k}" for k in range(2, 9))}  # not made of fields: the cue "stripes"
CHAINS = sorted({key.split("/")[1] for key in GOLDEN.files if key.startswith("chain/")})


def test_every_row_is_there() -> None:
    assert set(PIFPAF) == set(TABLE) - STRIPES
    assert not set(PIFPAF) & set(RECORDED["broken"])


def test_the_fields_are_the_recorded_ones() -> None:
    names = RECORDED["channels_36"]
    assert len(names) == FIELDS == 36
    assert [f"{names[a]}_to_{names[b]}" for a, b in LIMBS] == names[JOINTS:]


@pytest.mark.parametrize("name", list(PIFPAF))
def test_groups(name: str) -> None:
    groups = PIFPAF[name]
    assert [sorted(members) for members in groups.values()] == [
        sorted(m) for m in TABLE[name].values()
    ]
    parts = np.stack([GOLDEN["fields"][list(members)].max(0) for members in groups.values()]).clip(
        0, 1
    )
    np.testing.assert_array_equal(parts, GOLDEN[f"group/{name}"])


@pytest.mark.parametrize("key", [k for k in GOLDEN.files if k.startswith("bg/")])
def test_background(key: str) -> None:
    _, name, background, softmax, threshold = key.split("/")
    masks = part_masks(
        GOLDEN["fields"], PIFPAF[name], background, float(threshold[3:]), float(softmax[7:])
    )  # type: ignore[arg-type]
    np.testing.assert_allclose(masks, GOLDEN[key], atol=1e-6)


@pytest.mark.parametrize("name", CHAINS)
def test_the_released_chain_to_a_target(name: str) -> None:
    """Soft masks, taken to 96 x 32 by nearest neighbour and to the part head's grid bilinearly,
    and their highest.
    """
    masks = part_masks(GOLDEN["fields"], PIFPAF[name])
    rows, columns = np.arange(96) * masks.shape[1] // 96, np.arange(32) * masks.shape[2] // 32
    large = masks[:, rows[:, None], columns]
    np.testing.assert_allclose(large, GOLDEN[f"chain/{name}/mask_96x32"], atol=1e-3)
    for size in ((96, 32), (24, 8), (16, 8)):
        grid = interpolate(
            torch.from_numpy(large)[None], size, mode="bilinear", align_corners=True
        )[0]
        np.testing.assert_array_equal(
            grid.argmax(0), GOLDEN[f"chain/{name}/target_{size[0]}x{size[1]}"]
        )


@pytest.mark.parametrize("name", ["eight", "five_v"])
def test_labels_agree_with_the_released_target(name: str) -> None:
    """Ours are taken at the fields' resolution and voted onto the grid; theirs pass through soft
    masks. They differ only along the borders of parts.
    """
    labels = part_masks(GOLDEN["fields"], PIFPAF[name]).argmax(0)
    target = GOLDEN[f"chain/{name}/target_24x8"]
    rows = ((np.arange(24) + 0.5) * labels.shape[0] / 24).astype(int)
    columns = ((np.arange(8) + 0.5) * labels.shape[1] / 8).astype(int)
    assert (labels[rows[:, None], columns] == target).mean() > 0.7
