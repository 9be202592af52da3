"""Label quality of a run on images with a reference: exact surfaces, or a parser's classes under
ISP's groups.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from partreid.cli.base import app
from partreid.errors import DataError, RecipeError
from partreid.evaluation.quality import BELL, LABELS, PREDICTED, quality
from partreid.inference import load
from partreid.labels.places import label_path
from partreid.recipes import Spec
from partreid.train.checkpoint import load_tensors, save_tensors
from partreid.types import Benchmark

Trained = Callable[[str], Path]
SURFACES = Spec("surfaces")
# Surfaces as LIP's classes: head, clothes, arms, legs and shoes; bags are none of them.
LIP = np.zeros(256, np.uint8)
for surfaces, lip in (
    ((23, 24, 27), 13),
    ((1, 2), 5),
    ((3, 4, *range(15, 23)), 14),
    (range(7, 15), 16),
    ((5, 6), 18),
):
    LIP[list(surfaces)] = lip


@pytest.fixture()
def with_truth(trained: Trained, benchmark: Benchmark, world: Path, tmp_path: Path) -> Path:
    """An ISP run whose checkpoint holds the exact labels of the training images as the labels it
    made.
    """
    parts = np.zeros(256, np.uint8)
    for part, members in enumerate(
        ((23, 24, 27), (1, 2, 25, 26), (3, 4, *range(15, 23)), range(7, 15), (5, 6)), 1
    ):
        parts[list(members)] = part
    made = np.stack(
        [parts[np.asarray(Image.open(label_path(world, s.path)))] for s in benchmark.train]
    )
    tensors, meta = load_tensors(trained("isp") / "model.safetensors")
    save_tensors(tmp_path / "run" / "model.safetensors", tensors, meta)
    save_tensors(
        tmp_path / "run" / "checkpoint.safetensors",
        {"cue/parts/labels": torch.from_numpy(made)},
        {},
    )
    return tmp_path / "run"


def test_exact_labels_agree_fully_and_beat_what_looks_at_nothing(
    with_truth: Path, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = quality(with_truth, world, SURFACES, device="cpu")
    assert set(report.agreement) == {LABELS, PREDICTED, BELL, "stripes"} and report.images == 48
    assert all(a.inside == a.outside == a.mean == 1 for a in report.agreement[LABELS].values())
    for what, of in report.agreement.items():
        if what != LABELS:
            assert all(a.inside is not None and a.inside < 1 for a in of.values()), what
    assert (
        (report.agreement[BELL]["foreground"].inside or 0)
        > (report.agreement["stripes"]["foreground"].inside or 0)
        > 0.2
    )
    assert report.stands_for[LABELS] == {"head": ["part1"], "legs": ["part4"], "shoes": ["part5"]}
    assert "as the released code" in report.how
    assert set(report.over_bell) == {LABELS, PREDICTED}
    for what, of in report.over_bell.items():
        assert set(of) == {"foreground", "head", "legs", "shoes"}
        for region, gain in of.items():
            mine, blind = (report.agreement[w][region].inside or 0 for w in (what, BELL))
            assert gain.value == pytest.approx(mine - blind)
            assert gain.low <= gain.value <= gain.high
            assert what != LABELS or gain.low > 0
    report.show()
    shown = capsys.readouterr().out
    assert "over the bell, in points [95 % when the people are drawn anew]" in shown
    assert f"[+{100 * report.over_bell[LABELS]['foreground'].low:.1f}, " in shown


def test_a_parser_s_classes_are_grouped_as_isp_does(
    with_truth: Path, world: Path, benchmark: Benchmark, own_world: Path
) -> None:
    """Bags are no class of LIP's: labels that hold them lose foreground, and nothing else."""
    for sample in benchmark.train[1:]:
        path = label_path(own_world, sample.path, "parsing")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(LIP[np.asarray(Image.open(label_path(world, sample.path)))]).save(path)
    with pytest.raises(DataError, match="1 of 48 training images have no label in .*parsing"):
        quality(with_truth, own_world, Spec("parsing", source="lip"), device="cpu")
    report = quality(
        with_truth, own_world, Spec("parsing", source="lip", missing="unknown"), device="cpu"
    )
    assert (report.images, report.left_out) == (47, 1)
    made = report.agreement[LABELS]
    assert 0.8 < (made["foreground"].inside or 0) < 1 == made["legs"].inside == made["shoes"].inside
    with pytest.raises(DataError, match="holds class 18; source 'atr' has 0 to 17"):
        quality(
            with_truth, own_world, Spec("parsing", source="atr", missing="unknown"), device="cpu"
        )


def test_a_run_that_was_taught_is_judged_by_its_predictions_alone(
    trained: Trained, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app(
        [
            "labels",
            "quality",
            str(trained("bpbreid")),
            "--data",
            str(world),
            "--against",
            "surfaces",
            "--on",
            "test",
            "--device",
            "cpu",
            "--json",
        ],
        result_action="return_value",
    )
    report = json.loads(capsys.readouterr().out)
    assert LABELS not in report["iou"] and report["parts_by"] == "by what a part covers most of"
    assert set(report["parts"][PREDICTED]) == {"head", "legs", "shoes"}
    assert set(report["iou"][PREDICTED]["head"]) == {"inside", "outside", "mean"}
    assert set(report["over_bell"]) == {PREDICTED}
    value, low, high = report["over_bell"][PREDICTED]["foreground"]
    assert low <= value <= high
    app(
        [
            "labels",
            "quality",
            str(trained("bpbreid")),
            "--data",
            str(world),
            "--against",
            "surfaces",
            "--on",
            "test",
            "--device",
            "cpu",
        ],
        result_action="return_value",
    )
    output = capsys.readouterr()
    assert (
        "of the region (the paper)" in output.out
        and "mean of both (the released code)" in output.out
    )
    assert "stripes" in output.out and "bell that looks at nothing" in output.out
    assert "stripes, head: row1; legs: row3, row4; shoes: row5 (by what" in output.err


def test_what_cannot_be_compared_is_said(trained: Trained, with_truth: Path, world: Path) -> None:
    with pytest.raises(
        DataError, match=r"\(bot\) has no part maps that could be compared; take a run of BPBreID"
    ):
        quality(trained("bot"), world, SURFACES, device="cpu")
    with pytest.raises(RecipeError, match="unknown parsing source: 'lit'. Did you mean 'lip'"):
        quality(with_truth, world, Spec("parsing", source="lit"), device="cpu")
    with pytest.raises(
        RecipeError, match="the reference 'parsing' takes folder, missing, source, not 'parts'"
    ):
        quality(with_truth, world, Spec("parsing", parts="five"), device="cpu")
    with pytest.raises(RecipeError, match="the reference must be parsing.* got 'pifpaf'"):
        quality(with_truth, world, Spec("pifpaf"), device="cpu")
    tensors, _ = load_tensors(with_truth / "checkpoint.safetensors")
    save_tensors(with_truth / "checkpoint.safetensors", {n: t[:5] for n, t in tensors.items()}, {})
    with pytest.raises(DataError, match="holds labels of 5 images, the training set has 48"):
        quality(with_truth, world, SURFACES, device="cpu")
    assert load(with_truth, "cpu").scheme is not None
