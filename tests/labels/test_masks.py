"""Soft masks against the released chain: recorded targets, and a plain walk through its order
with augmentation.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from partreid import build
from partreid.data.loader import TrainSet, collate
from partreid.data.transforms import Transform, View, crop, erase, mirror
from partreid.errors import ArgumentError, RecipeError, ShapeError
from partreid.labels.masks import PartMasks
from partreid.labels.pifpaf import part_masks, pifpaf_labels
from partreid.labels.schemes import PIFPAF
from partreid.labels.tools import cache, check, preview
from partreid.losses import highest_mask, part_loss
from partreid.recipes import Spec, find, override
from partreid.types import Benchmark, Sample

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "bpb_mask_grouping.npz")
CHAINS = sorted({key.split("/")[1] for key in GOLDEN.files if key.startswith("chain/")})
SIZE = (384, 128)
STEM = "0001_c1s1_000000_00"


@pytest.fixture()
def root(tmp_path: Path) -> Path:
    """One training image, and the recorded fields as its label."""
    folder = tmp_path / "masks" / "pifpaf_maskrcnn_filtering" / "bounding_box_train"
    folder.mkdir(parents=True)
    np.save(folder / f"{STEM}.npy", GOLDEN["fields"])
    (tmp_path / "bounding_box_train").mkdir()
    Image.new("RGB", (64, 128)).save(tmp_path / "bounding_box_train" / f"{STEM}.jpg")
    return tmp_path


def samples(root: Path) -> list[Sample]:
    return [Sample(root / "bounding_box_train" / f"{STEM}.jpg", 1, 1)]


def batch(
    root: Path, cue: object, augment: tuple[Transform, ...] = (), draw: int = 0
) -> torch.Tensor:
    """What training sees of the masks, float [1, K+1, h, w]."""
    made = TrainSet(samples(root), [0], SIZE, augment, {"parts": cue}, 1)  # type: ignore[dict-item]
    return collate([made[0, 0, draw]]).cues["parts"]


@pytest.mark.parametrize("name", CHAINS)
def test_training_sees_the_released_target(root: Path, name: str) -> None:
    masks = batch(root, pifpaf_labels(root, samples(root), name, masks=SIZE))
    assert masks.dtype == torch.float32
    np.testing.assert_allclose(masks[0], GOLDEN[f"chain/{name}/mask_96x32"], atol=1e-3)
    for size in ((96, 32), (24, 8), (16, 8)):
        target = GOLDEN[f"chain/{name}/target_{size[0]}x{size[1]}"]
        np.testing.assert_array_equal(highest_mask(masks, size)[0], target)
        logits = 20.0 * torch.nn.functional.one_hot(torch.from_numpy(target).long(), masks.shape[1])
        # this and no other is asked for
        assert part_loss(logits.permute(2, 0, 1)[None].float(), masks) < 1e-6


@pytest.mark.parametrize("draw", range(4))
def test_they_move_in_the_released_order(root: Path, draw: int) -> None:
    """There all 36 fields are enlarged, moved with the image, and only then grouped, given a
    background and thinned.
    """
    moves = (crop(10), mirror(1.0), erase(1.0, sides=(0.15, 0.65)))
    moved = batch(
        root, pifpaf_labels(root, samples(root), "eight", masks=SIZE, swap=False), moves, draw
    )
    fields = GOLDEN["fields"]
    rows, columns = (np.arange(n) * m // n for n, m in zip(SIZE, fields.shape[1:], strict=True))
    large = fields[:, rows[:, None], columns].transpose(1, 2, 0)
    view = View(
        np.zeros((*SIZE, 3), np.uint8),
        {"f": large},
        {"f": lambda item: item[:, ::-1]},
        frozenset({"f"}),
    )
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([1, 23, 0, draw])))
    for move in moves:
        view = move(view, random)
    masks = part_masks(view.cues["f"].transpose(2, 0, 1), PIFPAF["eight"])  # type: ignore[arg-type]
    np.testing.assert_array_equal(moved[0], masks[:, ::4, ::4])
    assert (masks[0] > 0.9).any() and len(np.unique(masks.argmax(0))) > 3


def test_mirroring_swaps_sides_unless_it_is_told_not_to(root: Path) -> None:
    swapped, kept = (
        pifpaf_labels(root, samples(root), "eight", masks=SIZE, swap=swap) for swap in (True, False)
    )
    item = swapped[0]
    left, right = swapped.scheme.names.index("left_arm"), swapped.scheme.names.index("right_arm")
    np.testing.assert_array_equal(swapped.mirror(item)[..., left], item[:, ::-1, right])
    np.testing.assert_array_equal(kept.mirror(item)[..., left], item[:, ::-1, left])
    labels = [pifpaf_labels(root, samples(root), "eight", swap=swap) for swap in (True, False)]
    np.testing.assert_array_equal(labels[1].mirror(labels[1][0]), labels[1][0][:, ::-1])
    assert not np.array_equal(labels[0].mirror(labels[0][0]), labels[0][0][:, ::-1])


def test_the_released_rows_train_on_them() -> None:
    rows = [
        r
        for r in (
            find(f"bpbreid/released/{data}")
            for data in ("market1501", "dukemtmc", "occluded_duke", "occluded_reid", "p_dukemtmc")
        )
    ] + [find("bpbreid/released")]
    for row in rows:
        cue = build.cues(row, Benchmark(row.train, Path(), (), {}, ()))["parts"]
        assert isinstance(cue, PartMasks) and cue.size == row.size
        assert any("soft masks" in note for note in row.notes) and any(
            "mirroring leaves" in note for note in row.notes
        )
        assert row.cues["parts"].args["swap"] is False


def test_what_cannot_take_them_says_so(root: Path) -> None:
    of = Benchmark("market1501", root, tuple(samples(root)), {}, ())
    other = override(
        find("magnifier/table1/market1501"), ["cues.parts=pifpaf", "cues.parts.masks=[384,192]"]
    )
    with pytest.raises(
        RecipeError, match="magnifier takes labels as its cue 'parts', not soft masks"
    ):
        build.cues(other, of)
    with pytest.raises(ArgumentError, match="masks must be 2 values"):
        pifpaf_labels(root, samples(root), masks=(384,))  # type: ignore[arg-type]
    row = find("bpbreid/table2/full")
    with pytest.raises(
        RecipeError, match="the cue 'masks' has the parts head, upper, .* the cue 'parts' others"
    ):
        build.cues(override(row, ["cues.masks=pifpaf", "cues.masks.parts=five_v"]), of)
    with pytest.raises(
        ShapeError, match=r"part masks must be float \[1, 6\] x height .* got torch.float32 \[1, 9"
    ):
        part_loss(torch.zeros(1, 6, 4, 2), torch.zeros(1, 9, 8, 4))


def test_tools_for_labels_look_at_what_wins(root: Path, tmp_path: Path) -> None:
    of = Benchmark("crops", root, tuple(samples(root)), {}, ())
    soft, hard = Spec("pifpaf", parts="eight", masks=SIZE), Spec("pifpaf", parts="eight")
    one, other = check(soft, of), check(hard, of)
    assert one.stats == other.stats and one.stats is not None and one.stats.labelled == 1
    assert preview(soft, of, 1).size == preview(hard, of, 1).size
    with pytest.raises(RecipeError, match="a cache holds labels, and this cue gives soft masks"):
        cache(soft, of, out=tmp_path / "x.safetensors")
