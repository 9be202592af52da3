"""Who the boxes of a tracker truly show, told from boxes of true people."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from partreid.data.folders import needed
from partreid.data.mot import MotBox, read_mot
from partreid.errors import DataError
from partreid.utils.arguments import door

OVERLAP: Final = 0.5  # least intersection by union of a box and the person whom it shows
_PEOPLE: Final = (1, 7, -1)  # categories of MOTChallenge: pedestrian, static person, unknown


@door
def people_of(boxes: Sequence[MotBox], truth: Sequence[MotBox]) -> list[str]:
    """The person whom each box of a tracker shows.

    Frame by frame, each box goes to one person and each person to one box: of all ways to pair
    those that overlap by half or more (intersection by union), the one with the largest sum. Of
    equal sums the lower numbers come together.

    Args:
        boxes: Of one camera, by tracklet.
        truth: Of the same camera, by person. Lines with confidence 0 and of other categories than
            people do not count, as is usual.

    Returns:
        The number of a person for each box, as text; "": nobody is there, or the truth says nothing
        of that frame.

    Raises:
        DataError: A person has no number, or scipy is missing.

    Examples:
        >>> boxes = [MotBox(1, 5, 0.0, 0.0, 10.0, 20.0), MotBox(1, 6, 50.0, 0.0, 10.0, 20.0)]
        >>> people_of(boxes, [MotBox(1, 3, 1.0, 0.0, 10.0, 20.0)])
        ['3', '']
    """
    needed("scipy", "link", "matching boxes with the truth")
    from scipy.optimize import linear_sum_assignment

    there: dict[int, list[MotBox]] = defaultdict(list)
    for box in truth:
        if box.confidence != 0 and box.category in _PEOPLE:
            if box.id < 0:
                raise DataError(
                    f"the truth has a box without a person in frame {box.frame}; give each person "
                    "a number, the same in all cameras"
                )
            there[box.frame].append(box)
    mine: dict[int, list[int]] = defaultdict(list)
    for i in sorted(range(len(boxes)), key=lambda i: boxes[i].id):
        mine[boxes[i].frame].append(i)
    out = [""] * len(boxes)
    for frame, rows in mine.items():
        people = sorted(there.get(frame, ()), key=lambda box: box.id)
        if not people:
            continue
        shared = overlaps([boxes[i] for i in rows], people)
        shared[shared < OVERLAP] = 0
        for row, column in zip(*linear_sum_assignment(shared, maximize=True), strict=True):
            if shared[row, column] > 0:
                out[rows[row]] = str(people[column].id)
    return out


def read_truth(file: Path) -> tuple[MotBox, ...]:
    """Boxes of true people, numbered alike in all cameras. DataError if there is no such file."""
    if not file.is_file():
        raise DataError(
            f"there is no {file}; the truth is a file in MOT format in each camera's folder: give "
            "all of them, or leave --truth away"
        )
    return read_mot(file)


def overlaps(a: Sequence[MotBox], b: Sequence[MotBox]) -> NDArray[np.float64]:
    """Intersection by union of every pair, float64 [Na, Nb] in 0..1."""
    one, other = (
        np.array([(x.left, x.top, x.left + x.width, x.top + x.height) for x in some], np.float64)
        for some in (a, b)
    )
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(2)
    areas = [(x[:, 2:] - x[:, :2]).prod(1) for x in (one, other)]
    iou: NDArray[np.float64] = both / (areas[0][:, None] + areas[1][None] - both)
    return iou
