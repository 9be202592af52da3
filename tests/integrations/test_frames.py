"""Boxes in frames: clipped, empty ones told, other kinds of boxes refused."""

import numpy as np
import pytest
import torch

from partreid.errors import ArgumentError, ShapeError
from partreid.integrations import cut

FRAME = np.arange(60 * 80 * 3, dtype=np.uint32).astype(np.uint8).reshape(60, 80, 3)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_crops_are_what_lies_in_the_boxes(kind: type) -> None:
    boxes = kind([[10.2, 5.0, 30.0, 44.6], [-7.0, -9.0, 4.0, 3.0], [70.0, 50.0, 99.0, 99.0]])
    one, two, three = cut(FRAME, boxes)
    np.testing.assert_array_equal(one, FRAME[5:45, 10:30])
    np.testing.assert_array_equal(two, FRAME[:3, :4])
    np.testing.assert_array_equal(three, FRAME[50:, 70:])
    np.testing.assert_array_equal(
        cut(torch.from_numpy(FRAME), boxes, "BGR")[0], FRAME[5:45, 10:30, ::-1]
    )


def test_what_shows_nothing_is_none() -> None:
    assert (
        cut(FRAME, [[5, 5, 5, 20], [80, 0, 90, 9], [-9, 0, 0, 9], [3.1, 3, 3.2, 9]]) == [None] * 4
    )
    assert cut(FRAME, []) == [] and cut(FRAME, np.zeros((0, 4))) == []


@pytest.mark.parametrize(
    ("boxes", "error", "words"),
    [
        ([[1, 2, 3]], ShapeError, r"boxes must be \[N, 4\]"),
        ([1, 2, 3, 4], ShapeError, r"boxes must be \[N, 4\]"),
        ([[0, 0, float("nan"), 9]], ArgumentError, "finite"),
        ([[50, 40, 20, 60]], ArgumentError, "x, y, width, height becomes"),
    ],
)
def test_other_boxes_are_refused(boxes: list, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        cut(FRAME, boxes)


def test_other_frames_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"a frame must be \[H, W, 3\]"):
        cut(FRAME[..., 0], [[0, 0, 5, 5]])
    with pytest.raises(ArgumentError, match="uint8"):
        cut(FRAME / 255, [[0, 0, 5, 5]])
    with pytest.raises(ArgumentError, match="'RGB' or 'BGR'"):
        cut(FRAME, [[0, 0, 5, 5]], "rgb")  # type: ignore[arg-type]
