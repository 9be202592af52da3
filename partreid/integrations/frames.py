"""Crops out of video frames."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ArgumentError, ShapeError
from partreid.utils.arguments import require

Colors = Literal["RGB", "BGR"]


def cut(frame: Any, boxes: Any, colors: Colors = "RGB") -> list[NDArray[np.uint8] | None]:
    """The crops of boxes in a frame, in their order.

    A box is clipped to the frame. One that then covers no whole pixel gives None: nothing of the
    person can be seen.

    Args:
        frame: uint8 [H, W, 3], an array or a tensor.
        boxes: Numbers [N, 4], left, top, right and bottom in pixels (xyxy), an array, a tensor or a
            list; right and bottom lie outside.
        colors: The order of the frame's colors; OpenCV reads BGR.

    Returns:
        N crops, uint8 RGB [h, w, 3], or None.

    Raises:
        ShapeError: Frame or boxes have another shape.
        ArgumentError: The frame is not uint8, or a box holds NaN or infinity, or its right end lies
            left of its left one, as in boxes that are given as x, y, width, height.

    Examples:
        >>> frame = np.zeros((100, 80, 3), np.uint8)
        >>> [None if c is None else c.shape for c in cut(frame, [[-5, 10, 20, 50], [90, 0, 99, 9]])]
        [(40, 20, 3), None]
    """
    image, corners = as_array(frame), as_array(boxes)
    if image.ndim != 3 or image.shape[2] != 3:
        raise ShapeError(f"a frame must be [H, W, 3], got {list(image.shape)}")
    require(image.dtype == np.uint8, "a frame", "uint8, from 0 to 255", image.dtype)
    require(colors in ("RGB", "BGR"), "colors", "'RGB' or 'BGR'", colors)
    if corners.size == 0:
        return []
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise ShapeError(
            f"boxes must be [N, 4], left, top, right, bottom, got {list(corners.shape)}"
        )
    corners = corners.astype(np.float64)
    if not np.isfinite(corners).all():
        raise ArgumentError("boxes must be finite numbers; one holds NaN or infinity")
    if bool((corners[:, 2:] < corners[:, :2]).any()):
        wrong = corners[(corners[:, 2:] < corners[:, :2]).any(1)][0].tolist()
        raise ArgumentError(
            f"boxes must be left, top, right, bottom, got {wrong}, which ends before it begins; "
            "x, y, width, height becomes x, y, x + width, y + height"
        )
    height, width = image.shape[:2]
    limits = np.array([width, height, width, height])
    whole = np.clip(np.rint(corners), 0, limits).astype(np.int64)
    crops: list[NDArray[np.uint8] | None] = []
    for left, top, right, bottom in whole.tolist():
        crop = image[top:bottom, left:right]
        if colors == "BGR":
            crop = crop[..., ::-1]
        crops.append(np.ascontiguousarray(crop) if crop.size else None)
    return crops


def as_array(given: Any) -> NDArray[Any]:
    """A tensor, an array or a list as an array."""
    if hasattr(given, "detach"):  # a tensor, perhaps on a GPU
        given = given.detach().cpu().numpy()
    return np.asarray(given)
