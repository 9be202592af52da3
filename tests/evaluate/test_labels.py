"""Quality of self-made labels on maps small enough to count by hand."""

from pathlib import Path

import numpy as np
import pytest

from partreid.evaluate.labels import label_quality
from partreid.types import Sample

SAMPLE = Sample(Path("x.jpg"), 1, 1)
# head, torso and bag, legs, feet
EXACT = np.array([[0, 23, 24, 0], [0, 2, 2, 25], [0, 9, 10, 0], [0, 5, 6, 0]], np.uint8)


def quality(labels: list[list[int]]) -> dict[str, float]:
    return dict(label_quality(np.array([labels], np.uint8), [SAMPLE], lambda sample: EXACT))


def test_perfect_labels_score_one_everywhere() -> None:
    found = quality([[0, 1, 1, 0], [0, 2, 2, 2], [0, 3, 3, 0], [0, 4, 4, 0]])
    assert found == {"foreground": 1, "head": 1, "legs": 1, "shoes": 1, "bags kept": 1}


def test_a_part_over_legs_and_shoes_stands_for_one_of_them() -> None:
    found = quality([[0, 1, 1, 0], [0, 2, 2, 0], [0, 3, 3, 0], [0, 3, 3, 3]])
    assert found["bags kept"] == 0  # the bag was called background
    assert found["foreground"] == pytest.approx(8 / 10)  # 8 pixels right, 1 missed, 1 too many
    assert found["legs"] == pytest.approx(2 / 5) and found["shoes"] == 0  # a tie goes to the upper region


def test_unknown_pixels_do_not_count() -> None:
    found = quality([[0, 1, 1, 0], [0, 2, 2, 255], [0, 3, 3, 0], [0, 4, 4, 255]])
    assert found["foreground"] == 1 and found["bags kept"] == 0  # nothing is known of the bag


def test_labels_on_a_coarser_grid_are_spread() -> None:
    found = label_quality(np.array([[[1], [2]]], np.uint8), [SAMPLE], lambda sample: EXACT)
    assert found["foreground"] == pytest.approx(9 / 16)


def test_background_alone_scores_zero() -> None:
    assert set(quality([[0] * 4] * 4).values()) == {0.0}
