"""The real libraries over a short film, where they are installed: ``make integrations``."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import partreid
from benchmarks.trackers import WAYS, Seen, scores
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


@pytest.mark.parametrize(("name", "way"), EACH, ids=" ".join)
def test_it_tracks(name: str, way: str, trained: Callable[[str], Path]) -> None:
    import_timm()  # they import torchvision, perhaps that of another torch
    pytest.importorskip(name, reason=f"{name} is not installed: make integrations")
    start, _ = WAYS[name]
    step, around = start(partreid.load(trained("bpbreid"), "cpu"), way)
    with around:
        numbers = [step(seen) for seen in film()]
    assert len({tuple(n) for n in numbers[2:]}) == 1 and -1 not in numbers[-1]
    right, total, given, switches = scores([[1, 2]] * 8, numbers)
    assert right == given >= 12 and total == 16 and switches == 0


def test_boxmot_takes_it_for_an_encoder(trained: Callable[[str], Path]) -> None:
    import_timm()
    reid = pytest.importorskip("boxmot.reid", reason="boxmot is not installed: make integrations")
    encoder = partreid.integrations.BoxMOT(trained("bpbreid"))
    assert isinstance(encoder, reid.AppearanceEncoder)
