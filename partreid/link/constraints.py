"""Which tracklets cannot be one person, whatever they look like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError, ShapeError
from partreid.link.tracklets import Tracklets
from partreid.utils.arguments import check_fields, door, number
from partreid.utils.files import read_text
from partreid.utils.text import brief

Mask = NDArray[np.bool_]
OVERLAP: Final = "overlap"


@dataclass(frozen=True)
class CameraPairs:
    """How far apart cameras are.

    Args:
        seconds: By two camera names in order: the least time in which anybody gets from the one
            camera's picture into the other's, in the unit of the crops' times; None: they see one
            place, so that a person may be in both at once.

    Raises:
        DataError: A camera is paired with itself, or a time is negative or not finite.

    Examples:
        >>> pairs = CameraPairs.of({("yard", "door"): 12.0, ("door", "hall"): None})
        >>> pairs.least("hall", "door") is None
        True
    """

    seconds: Mapping[tuple[str, str], float | None]

    def __post_init__(self) -> None:
        check_fields(self)
        for (a, b), least in self.seconds.items():
            if a >= b:
                raise DataError(f"cameras are paired in the order of their names, not {a}, {b}")
            if least is not None:
                number(f"the time between {a} and {b}", least, 0)

    @classmethod
    @door
    def of(cls, pairs: Mapping[tuple[str, str], float | None]) -> "CameraPairs":
        """The same from pairs in any order.

        Args:
            pairs: Seconds, or None, by two names.

        Raises:
            DataError: As of the class, or two pairs are the same one.
        """
        seconds: dict[tuple[str, str], float | None] = {}
        for (a, b), least in pairs.items():
            if a == b:
                raise DataError(f"camera {a} is paired with itself; take the pair out")
            key = (min(a, b), max(a, b))
            if key in seconds:
                raise DataError(f"cameras {a} and {b} are paired twice; leave the pair that counts")
            seconds[key] = least
        return cls(seconds)

    @classmethod
    @door
    def apart(cls, cameras: Sequence[str]) -> "CameraPairs":
        """No two of these cameras see one place, and nobody knows how long the way takes.

        Args:
            cameras: Their names.

        Examples:
            >>> CameraPairs.apart(["a", "b"]).least("a", "b")
            0.0
        """
        return cls({pair: 0.0 for pair in combinations(sorted(set(cameras)), 2)})

    def least(self, a: str, b: str) -> float | None:
        """The time between two different cameras; KeyError for a pair that nobody told of."""
        return self.seconds[min(a, b), max(a, b)]


@door
def read_cameras(file: str | Path, cameras: Sequence[str]) -> CameraPairs:
    """Camera pairs of a CSV file: columns first, second, seconds, where seconds is the least travel
    time, or the word overlap.

    Args:
        file: The table.
        cameras: Those of the tracklets; each two must be in the table.

    Returns:
        The pairs.

    Raises:
        DataError: Names the line that is wrong, or the pair that is missing.

    Examples:
        >>> _ = Path("cameras.csv").write_text("first,second,seconds\\nyard,door,12.5\\n")
        >>> read_cameras("cameras.csv", ["door", "yard"]).least("yard", "door")
        12.5
    """
    lines = [line.split(",") for line in read_text(file, what="table of cameras").splitlines()]
    if not lines or [name.strip().lower() for name in lines[0]] != ["first", "second", "seconds"]:
        raise DataError(
            f"{file} must begin with the line first,second,seconds, and then name two cameras and "
            "the least seconds between them, or overlap, a line"
        )
    seconds: dict[tuple[str, str], float | None] = {}
    for line_number, fields in enumerate(lines[1:], 2):
        if not any(field.strip() for field in fields):
            continue
        if len(fields) != 3:
            raise DataError(
                f"{file}, line {line_number}: three fields are expected, got {len(fields)}"
            )
        a, b, text = (field.strip() for field in fields)
        key = (min(a, b), max(a, b))
        if a == b or not a or not b:
            raise DataError(
                f"{file}, line {line_number}: name two different cameras, not '{a}' and '{b}'"
            )
        if key in seconds:
            raise DataError(
                f"{file}, line {line_number}: {a} and {b} are there already; leave one line"
            )
        seconds[key] = (
            None if text.lower() == OVERLAP else _seconds(text, f"{file}, line {line_number}")
        )
    pairs = CameraPairs(seconds)
    for pair in combinations(sorted(set(cameras)), 2):
        if pair not in seconds:
            raise DataError(
                f"{file} says nothing of {pair[0]} and {pair[1]}; add the line "
                f"{pair[0]},{pair[1]},SECONDS, or {pair[0]},{pair[1]},overlap"
            )
    return pairs


def _seconds(text: str, where: str) -> float:
    try:
        least = float(text)
    except ValueError:
        least = -1.0
    if not 0 <= least < float("inf"):
        raise DataError(
            f"{where}: seconds is '{brief(text, 40)}'; give a number from 0 on, or overlap"
        )
    return least


@door
def conflicts(tracklets: Tracklets, pairs: CameraPairs | None = None) -> Mask:
    """Which two tracklets cannot be one person.

    A tracklet is there from its first crop to its last, both included. In one camera two that are
    there at one moment are two people. In two cameras that do not see one place, the later one must
    begin after the earlier one ends, by the travel time at least. Nothing is known of tracklets
    without times.

    Args:
        tracklets: T of them.
        pairs: Of cameras; None: nothing is known of any two different ones.

    Returns:
        bool [T, T], symmetric; a tracklet has no conflict with itself.

    Raises:
        DataError: The pairs say nothing of two cameras of the tracklets.

    Examples:
        >>> from partreid.link import TrackedCrop
        >>> crops = [TrackedCrop("a.jpg", "1", "c1", 0.0), TrackedCrop("b.jpg", "2", "c1", 0.0)]
        >>> conflicts(Tracklets.of(crops))
        array([[False,  True],
               [ True, False]])
    """
    start, end = tracklets.start, tracklets.end
    # Seconds from the end of the one to the start of the other, whichever is earlier; NaN without
    # times, which no comparison holds for.
    gap = np.maximum(start[:, None] - end[None], start[None] - end[:, None])
    names, camera_of = np.unique(np.array(tracklets.cameras), return_inverse=True)
    # Per pair of cameras: the gap must exceed 0 and reach this; -inf: it need do neither.
    wanted = np.full((len(names), len(names)), -np.inf)
    np.fill_diagonal(wanted, 0.0)
    if pairs is not None:
        for (i, a), (j, b) in combinations(enumerate(names.tolist()), 2):
            if (a, b) not in pairs.seconds:
                raise DataError(f"nothing is said of the cameras {a} and {b}; add the pair")
            least = pairs.least(a, b)
            wanted[i, j] = wanted[j, i] = -np.inf if least is None else least
    least_ = wanted[camera_of[:, None], camera_of[None]]
    out: Mask = ((gap <= 0) & (least_ >= 0)) | (gap < least_)
    np.fill_diagonal(out, False)
    return out


@door
def violations(identity: Any, conflict: Mask) -> int:
    """How many pairs of tracklets share an identity and cannot.

    Args:
        identity: integers [T].
        conflict: bool [T, T], see :func:`conflicts`.

    Returns:
        The number of pairs, each counted once.

    Raises:
        ShapeError: There are not as many identities as rows.

    Examples:
        >>> violations([1, 1, 2], np.ones((3, 3), bool))
        1
    """
    who = np.asarray(identity)
    if who.shape != conflict.shape[:1] or conflict.shape != (len(who), len(who)):
        raise ShapeError(
            f"{list(who.shape)} identities do not fit conflicts {list(conflict.shape)}"
        )
    together = (who[:, None] == who[None]) & conflict
    return int(np.triu(together, 1).sum())
