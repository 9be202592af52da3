"""Part maps and visibility against exact labels, counted pixel by pixel."""

from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.evaluation.truth import SHOWN_PIXELS, Truth, exact_visibilities, exact_visibility
from partreid.types import Embeddings, Output, PartMaps, PartScheme, Sample

SCHEME = PartScheme(("head", "torso", "legs"))
SIZE = (12, 8)
SAMPLES = [Sample(Path(f"{i}.jpg"), i, 1) for i in range(5)]
DRAWN = np.random.default_rng(0).integers(0, 4, (5, *SIZE)).astype(np.uint8)
DRAWN[1][DRAWN[1] == 2] = 0  # no torso in image 1


def output(predicted: np.ndarray, visible: np.ndarray) -> Output:
    logits = (
        9
        * torch.nn.functional.one_hot(torch.from_numpy(predicted).long(), 4)
        .permute(0, 3, 1, 2)
        .float()
    )
    e = Embeddings(
        torch.zeros(len(predicted), 3, 2), torch.from_numpy(visible).float(), SCHEME.names
    )
    return Output(logits, PartMaps(logits, SCHEME), {"parts": e})


def truth(labels: np.ndarray = DRAWN) -> Truth:
    return Truth(SAMPLES, SCHEME, SIZE, lambda sample: labels[sample.identity])


def test_numbers_match_loops_over_pixels() -> None:
    predicted = np.random.default_rng(1).integers(0, 4, DRAWN.shape)
    visible = np.random.default_rng(2).integers(0, 2, (5, 3))
    counted = truth()
    counted.see(slice(0, 3), output(predicted[:3], visible[:3]))
    counted.see(slice(3, 5), output(predicted[3:], visible[3:]))

    pairs = list(zip(DRAWN.ravel().tolist(), predicted.ravel().tolist()))
    iou = counted.iou()
    for k, name in enumerate(SCHEME.names, 1):
        both, either = sum(a == b == k for a, b in pairs), sum(k in pair for pair in pairs)
        assert iou[name] == pytest.approx(both / either)
    assert iou["mean"] == pytest.approx(sum(iou[n] for n in SCHEME.names) / 3)
    assert iou["foreground"] == pytest.approx(
        sum(a > 0 and b > 0 for a, b in pairs) / sum(a > 0 or b > 0 for a, b in pairs)
    )
    accuracy = counted.visibility_accuracy()
    for m, name in enumerate(SCHEME.names):
        right = [bool(visible[i, m]) == bool((DRAWN[i] == m + 1).any()) for i in range(5)]
        assert accuracy[name] == pytest.approx(sum(right) / 5)
    assert accuracy["mean"] == pytest.approx(sum(accuracy[n] for n in SCHEME.names) / 3)


def test_what_is_exactly_right_scores_one() -> None:
    counted = truth()
    seen = np.stack([[(labels == k).any() for k in (1, 2, 3)] for labels in DRAWN])
    counted.see(slice(0, 5), output(DRAWN, seen))
    assert set(counted.iou().values()) == {1.0} and set(counted.visibility_accuracy().values()) == {
        1.0
    }


def test_coarser_maps_and_labels_meet_at_the_image_s_size() -> None:
    # four bands on a 4 x 4 grid
    coarse = np.repeat(np.arange(4, dtype=np.uint8), 1)[:, None].repeat(4, 1)
    counted = truth(np.stack([coarse] * 5))
    fine = coarse.repeat(3, 0).repeat(2, 1)
    counted.see(slice(0, 1), output(fine[None], np.ones((1, 3))))
    assert counted.iou()["mean"] == 1
    # interpolated: only edges may differ
    counted.see(slice(1, 2), output(coarse[None], np.ones((1, 3))))
    assert counted.iou()["mean"] > 0.7


def test_an_image_counts_where_its_row_stands() -> None:
    """Also every second row, as one of two processes sees them."""
    counted = truth()
    seen = np.stack([[(labels == k).any() for k in (1, 2, 3)] for labels in DRAWN])
    counted.see(slice(1, 5, 2), output(DRAWN[1::2], seen[1::2]))
    assert counted.iou()["mean"] == 1 and counted.confusion.sum() == 2 * DRAWN[0].size


def test_a_method_without_part_maps_counts_nothing() -> None:
    counted = truth()
    counted.see(slice(0, 5), Output(torch.zeros(5, 1, 1, 1), None, {}))
    assert not counted.confusion.any() and not counted.visibility.any()


def test_a_part_is_there_from_its_least_share_on() -> None:
    labels = np.zeros((128, 64), np.uint8)
    least = int(SHOWN_PIXELS * labels.size)
    assert least == 16
    labels.ravel()[:least] = 1
    labels.ravel()[least : 2 * least - 1] = 2
    assert exact_visibility(labels, 3).tolist() == [True, False, False]
    both = exact_visibilities(SAMPLES[:2], 3, lambda sample: labels)
    assert both.tolist() == [[1, 0, 0]] * 2 and both.dtype == torch.float32
