"""Grouping of PifPaf fields against masks made with the released code of BPBreID, and its table as JSON."""

import json
from pathlib import Path

import numpy as np
import pytest

from partreid.cues.pose import part_masks
from partreid.cues.schemes import PIFPAF

HERE = Path(__file__).parent
GOLDEN = np.load(HERE / "bpb_mask_grouping.npz")
TABLE = json.loads((HERE / "bpb_mask_groups.json").read_text())["groups"]


@pytest.mark.parametrize("name", list(PIFPAF))
def test_groups(name: str) -> None:
    groups = PIFPAF[name]
    assert [sorted(members) for members in groups.values()] == [sorted(m) for m in TABLE[name].values()]
    parts = np.stack([GOLDEN["fields"][list(members)].max(0) for members in groups.values()]).clip(0, 1)
    np.testing.assert_array_equal(parts, GOLDEN[f"group/{name}"])


@pytest.mark.parametrize("key", [k for k in GOLDEN.files if k.startswith("bg/") and k.split("/")[1] in PIFPAF])
def test_background(key: str) -> None:
    _, name, background, softmax, threshold = key.split("/")
    masks = part_masks(GOLDEN["fields"], PIFPAF[name], background, float(threshold[3:]), float(softmax[7:]))  # type: ignore[arg-type]
    np.testing.assert_allclose(masks, GOLDEN[key], atol=1e-6)


@pytest.mark.parametrize("name", ["eight", "five_v"])
def test_labels_agree_with_the_released_target(name: str) -> None:
    """Ours are taken at the fields' resolution and voted onto the grid; theirs pass through soft masks. They differ
    only along the borders of parts."""
    labels = part_masks(GOLDEN["fields"], PIFPAF[name]).argmax(0)
    target = GOLDEN[f"chain/{name}/target_24x8"]
    rows = ((np.arange(24) + 0.5) * labels.shape[0] / 24).astype(int)
    columns = ((np.arange(8) + 0.5) * labels.shape[1] / 8).astype(int)
    assert (labels[rows[:, None], columns] == target).mean() > 0.7
