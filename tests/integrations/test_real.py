"""The real libraries over a short film, where they are installed: ``make integrations``."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import partreid
from benchmarks.trackers import STRICT, WAYS, Seen, scores
from partreid.layers.trunks import import_timm

EACH = [(name, way) for name, (_, ways) in WAYS.items() for way in ways]


def film() -> list[Seen]:
    """Two people of two colors who walk side by side."""
    frames = []
    for t in range(8):
        image = np.full((120, 200, 3), 90, np.uint8)
        boxes = np.array([[10 + 3 * t, 20, 40 + 3 * t, 100], [110 + 3 * t, 20, 140 + 3 * t, 100]])
        for (left, top, right, bottom), color in zip(boxes, ((200, 30, 30), (30, 30, 200))):
            image[top:bottom, left:right] = color
        frames.append(Seen(t, image, boxes.astype(np.float32), [1, 2]))
    return frames


@pytest.mark.parametrize(("name", "way"), EACH, ids=["-".join(e).replace(" ", "_") for e in EACH])
def test_it_tracks(
    name: str, way: str, trained: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import_timm()  # they import torchvision, perhaps that of another torch
    pytest.importorskip(name, reason=f"{name} is not installed: make integrations")
    track, _ = WAYS[name]
    model, described = partreid.load(trained("bpbreid"), "cpu"), 0
    embed = partreid.inference.Model.embed

    def counted(self: partreid.inference.Model, crops: Any, batch: int = 64) -> Any:
        nonlocal described
        described += len(crops)
        return embed(self, crops, batch)

    monkeypatch.setattr(partreid.inference.Model, "embed", counted)
    numbers = track(model, way, film(), 0.2 if STRICT in way else None)
    # or its vectors would never come to the tracker
    assert (described >= 16) == (way != "boxes alone")
    assert len({tuple(n) for n in numbers[2:]}) == 1 and -1 not in numbers[-1]
    right, total, given, switches = scores([[1, 2]] * 8, numbers)
    assert right == given >= 12 and total == 16 and switches == 0


def test_boxmot_takes_it_for_an_encoder(trained: Callable[[str], Path]) -> None:
    import_timm()
    reid = pytest.importorskip("boxmot.reid", reason="boxmot is not installed: make integrations")
    encoder = partreid.integrations.BoxMOT(trained("bpbreid"))
    assert isinstance(encoder, reid.AppearanceEncoder)


def test_it_stands_in_for_a_model_of_reid(trained: Callable[[str], Path]) -> None:
    """The same arguments, and an array of the same kind."""
    import_timm()
    reid = pytest.importorskip("reid", reason="reid is not installed: make integrations")
    import supervision

    ours = partreid.integrations.Supervision(trained("bpbreid"))
    theirs = signature(reid.ReIDModel.extract_embeddings).parameters
    assert [p for p in theirs if p != "self"] == list(signature(ours.extract_embeddings).parameters)
    seen = film()[0]
    flat = ours.extract_embeddings(supervision.Detections(xyxy=seen.boxes), seen.image[..., ::-1])
    assert flat.dtype == np.float32 and flat.shape == (2, ours.encoder.packing.length)


def test_tracklabs_main_program_makes_it(trained: Callable[[str], Path]) -> None:
    """From words alone, as in a configuration."""
    import_timm()
    pytest.importorskip("tracklab", reason="tracklab is not installed: make integrations")
    from hydra.utils import instantiate
    from tracklab.pipeline import Pipeline

    words = {"_target_": "partreid.integrations.TrackLab", "model": str(trained("bpbreid"))}
    module = instantiate(words, device="cpu", tracking_dataset=None)
    assert module.level == "detection"
    Pipeline([module]).validate({"image": set(), "detection": {"bbox_ltwh"}})
