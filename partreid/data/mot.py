"""Boxes in the MOTChallenge's format, one line each: frame, id, left, top, width, height,
confidence, class, visibility.

Frames count from 1. Left and top are pixels from the frame's upper left corner, and a box may reach
beyond the frame. Trackers write -1 for what they do not know, and some a tenth column.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from partreid.errors import DataError
from partreid.utils.arguments import check_fields, door
from partreid.utils.files import JSON_LIMIT, read_text, write_atomically
from partreid.utils.text import brief

_MOST = 2**31


@dataclass(frozen=True)
class MotBox:
    """One line of a file in MOT format.

    Args:
        frame: From 1.
        id: Of a person or a tracklet; -1 for a detection that nobody has told apart.
        left: Pixels from the frame's left edge; below 0 outside it.
        top: Pixels from its upper edge.
        width: Pixels, above 0.
        height: Pixels, above 0.
        confidence: As the detector says; 0 in a truth's lines means: do not count it.
        category: 1 is a pedestrian, -1 unknown.
        visibility: Share of the person that can be seen, 0 to 1; -1 unknown.

    Raises:
        DataError: A number lies out of its range.

    Examples:
        >>> MotBox(frame=1, id=7, left=10.0, top=20.0, width=30.0, height=80.0).visibility
        -1.0
    """

    frame: int
    id: int
    left: float
    top: float
    width: float
    height: float
    confidence: float = 1.0
    category: int = 1
    visibility: float = -1.0

    def __post_init__(self) -> None:
        check_fields(self)
        numbers = (self.left, self.top, self.width, self.height, self.confidence, self.visibility)
        if not all(math.isfinite(n) and abs(n) < _MOST for n in numbers):
            raise DataError("a box's numbers must be finite")
        if not 1 <= self.frame < _MOST:
            raise DataError(f"frames count from 1, got {self.frame}")
        if self.width <= 0 or self.height <= 0:
            raise DataError(
                f"a box must be wider and higher than 0 pixels, got {self.width:g} x "
                f"{self.height:g}"
            )
        if self.visibility != -1 and not 0 <= self.visibility <= 1:
            raise DataError(f"a visibility is 0 to 1, or -1: unknown; got {self.visibility:g}")


@door
def write_mot(boxes: Iterable[MotBox], file: str | Path) -> Path:
    """Boxes to a file, in the order given.

    Args:
        boxes: Of one camera.
        file: Such as gt.txt.

    Returns:
        The file.

    Raises:
        DataError: It cannot be written.

    Examples:
        >>> write_mot([MotBox(1, 7, 10.0, 20.0, 30.5, 80.0, visibility=0.75)], "gt.txt").read_text()
        '1,7,10,20,30.5,80,1,1,0.75\\n'
    """
    text = "".join(
        ",".join(
            (
                *(str(n) for n in (box.frame, box.id)),
                *(f"{n:.10g}" for n in (box.left, box.top, box.width, box.height, box.confidence)),
                str(box.category),
                f"{box.visibility:.10g}",
            )
        )
        + "\n"
        for box in boxes
    )
    file = Path(file)
    write_atomically(file, text.encode())
    return file


@door
def read_mot(file: str | Path) -> tuple[MotBox, ...]:
    """Boxes of a file, in its order.

    Args:
        file: Lines of 6 to 10 numbers, separated by commas or spaces.

    Returns:
        The boxes; what a line leaves out is unknown.

    Raises:
        DataError: Names the first line that is none of these, or tells one id's box twice in a
            frame.

    Examples:
        >>> _ = Path("tracks.txt").write_text("1,7,10,20,30.5,80,0.9,-1,-1,-1\\n")
        >>> read_mot("tracks.txt")[0].category
        -1
    """
    out: list[MotBox] = []
    where: dict[tuple[int, int], int] = {}
    for number, line in enumerate(read_text(file, JSON_LIMIT, "file of boxes").splitlines(), 1):
        fields = line.replace(",", " ").split()
        if not fields:
            continue
        try:
            box = _box(fields)
        except DataError as error:
            raise DataError(
                f"line {number} of {file} is no box ({error}); a line is frame,id,left,top,width,"
                "height,confidence,class,visibility"
            ) from None
        if box.id >= 0 and (first := where.setdefault((box.frame, box.id), number)) != number:
            raise DataError(
                f"lines {first} and {number} of {file} both tell where {box.id} is in frame "
                f"{box.frame}; leave the one that counts"
            )
        out.append(box)
    return tuple(out)


def _box(fields: list[str]) -> MotBox:
    if not 6 <= len(fields) <= 10:
        raise DataError(f"it has {len(fields)} numbers, where 6 to 10 are expected")
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        raise DataError(f"'{brief(' '.join(fields), 80)}' are not numbers") from None
    whole = [n for i, n in enumerate(numbers) if i in (0, 1) or (i == 7 and len(numbers) < 10)]
    if any(not math.isfinite(n) or n != int(n) for n in whole):
        raise DataError("frame, id and class must be whole numbers")
    of_tracker = len(numbers) == 10  # its last three are a place in the world, -1 mostly
    return MotBox(
        int(numbers[0]),
        int(numbers[1]),
        numbers[2],
        numbers[3],
        numbers[4],
        numbers[5],
        numbers[6] if len(numbers) > 6 else 1.0,
        int(numbers[7]) if len(numbers) > 7 and not of_tracker else -1,
        numbers[8] if len(numbers) > 8 and not of_tracker else -1.0,
    )
