"""HCGA's labels of one person: what they find, what the short cuts cost, and whoever comes."""

import pytest
import torch

from benchmarks.people import oddities, person
from partreid.methods.hcga.coparsing import (
    CoParser,
    Weights,
    adjacent,
    background_labels,
    parse_person,
    reassign,
)


def test_labels_find_the_people() -> None:
    overlaps = []
    for seed in range(3):
        f, truth, cameras = person(8, 128, (64, 32), 3, seed)
        labels = parse_person(f, cameras, None, parts=3).labels
        overlaps.append(
            float(((labels > 0) & (truth > 0)).sum() / ((labels > 0) | (truth > 0)).sum())
        )
        rows = torch.arange(64).float()[None, :, None].expand(labels.shape)
        heights = [float(rows[labels == k].mean()) for k in range(1, 4)]
        assert heights == sorted(heights)  # top to bottom, and all there
    assert min(overlaps) > 0.75, overlaps


@pytest.mark.parametrize("case", list(oddities()))
def test_hcga_labels_whoever_comes(case: str) -> None:
    f, cameras = oddities()[case]
    labelled = parse_person(f, cameras, None, parts=3)
    assert labelled.labels.shape == (len(f), *f.shape[2:])
    assert set(labelled.labels.unique().tolist()) <= {0, 1, 2, 3, 255}
    named = {
        "one image": "one_image",
        "camera each": "one_image_per_camera",
        "all blank": "no_foreground",
        "not finite": "not_finite",
    }
    if case in named:
        assert named[case] in labelled.notes
    again = parse_person(f, cameras, labelled.state, parts=3)
    if case in ("all blank", "not finite"):
        assert "kept" in again.notes and torch.equal(again.labels, labelled.labels)


def test_hcga_falls_back_on_an_earlier_step_then_on_isp() -> None:
    f, _, cameras = person(6, 24, (32, 16), 2)
    normal = parse_person(f, cameras, None, parts=3)
    assert set(normal.notes) == {"steps"} and 1 < normal.notes["steps"] < 32
    far = parse_person(f, cameras, None, parts=3, least_labels=1, local=20.0)
    # everything became one label; before, it had not
    assert "earlier_step" in far.notes and far.labels.any()
    none = parse_person(f, cameras, None, parts=3, plausible=(0.999, 1.0))
    assert {"no_foreground", "cascade"} <= set(none.notes)
    kept = parse_person(f, cameras, normal.state, parts=3, plausible=(0.999, 1.0))
    assert torch.equal(kept.labels, normal.labels) and "kept" in kept.notes


def test_fewer_directions_and_images_learn_the_same() -> None:
    """With as many directions as the features have, the compressed net is the whole net."""
    f, _, cameras = person(4, 24, (32, 16), 2)
    mixed = torch.einsum("nchw,dc->ndhw", f, torch.randn(60, 24))  # 60 channels, 24 of them free
    whole, less = (CoParser(mixed, cameras, None, d, True, 0) for d in (None, 24))
    for net in (whole, less):
        net.train(4, 1, 0.1, Weights())
    same = whole.predict(whole.weights[-1]) == less.predict(less.weights[-1])
    assert same.float().mean() > 0.99
    some = CoParser(f, cameras, 2, None, True, 0)
    assert len(some.chosen) == 2 and some.predict(
        [p.detach() for p in some.decoder.parameters()]
    ).shape == (4, 32, 16)


def test_what_is_known_to_show_nobody_counts_for_no_label() -> None:
    """Label 1 is a head that has leaked into the ground beside the person, label 4 a wall."""
    raw = torch.zeros(1, 12, 10, dtype=torch.int64)
    raw[0, :, 9], raw[0, 6:10, 5:9] = 4, 1
    raw[0, 1:3, 2:5], raw[0, 3:7, 2:5], raw[0, 7:11, 2:5] = 1, 2, 3
    shown = torch.zeros(1, 12, 10, dtype=torch.bool)
    shown[0, 1:11, 2:5] = True
    labels, front = reassign(raw, 3)
    assert background_labels(raw) == [0, 4] and front == 3
    # the leak drags the head's label below the torso's, which becomes the topmost
    assert labels[0, 1, 3] == 2 and labels[0, 4, 3] == 1
    labels, front = reassign(raw, 3, person=shown)
    want = torch.zeros(1, 12, 10, dtype=torch.uint8)
    want[0, 1:3, 2:5], want[0, 3:7, 2:5], want[0, 7:11, 2:5] = 1, 2, 3
    assert front == 3 and torch.equal(labels, want)
    everywhere = torch.ones_like(shown)
    plain, filled = reassign(raw, 3), reassign(raw, 3, person=everywhere)
    assert torch.equal(plain[0], filled[0]) and plain[1] == filled[1]
    nothing, front = reassign(raw, 3, person=~everywhere)
    assert front == 0 and not nothing.any()
    assert int((raw == 255).sum()) == 0  # the caller's labels are left alone


def test_adjacent_images() -> None:
    cameras = torch.tensor([2, 1, 2, 1, 3])
    assert adjacent(cameras).tolist() == [[1, 3], [0, 2]]
    assert adjacent(cameras, same_camera=False).tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]
    assert adjacent(cameras[:1]).shape == (0, 2)
