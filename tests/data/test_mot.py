"""MOT files: what is written is read, and a bad line is named."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partreid.data.mot import MotBox, read_mot, write_mot
from partreid.errors import DataError

LENGTHS = st.integers(1, 40_000).map(lambda n: n / 8)
PLACES = st.integers(-40_000, 40_000).map(lambda n: n / 8)
SHARES = st.integers(0, 64).map(lambda n: n / 64)
BOXES = st.builds(
    MotBox,
    frame=st.integers(1, 10**6),
    id=st.integers(0, 10**6),
    left=PLACES,
    top=PLACES,
    width=LENGTHS,
    height=LENGTHS,
    confidence=SHARES,
    category=st.sampled_from([1, 2, 7, -1]),
    visibility=SHARES | st.just(-1.0),
)


@settings(max_examples=40)
@given(st.lists(BOXES, max_size=8, unique_by=lambda box: (box.frame, box.id)))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, boxes: list[MotBox]
) -> None:
    file = tmp_path_factory.mktemp("mot") / "gt.txt"
    assert read_mot(write_mot(boxes, file)) == tuple(boxes)


def test_the_lines_of_trackers_are_read(tmp_path: Path) -> None:
    file = tmp_path / "tracks.txt"
    file.write_text(
        "1,3,794.27,247.59,71.245,174.88,-1,-1,-1,-1\n\n2 3 795 248 71 175\n2,-1,1,1,5,5,0.5\n"
    )
    first, second, detection = read_mot(file)
    assert (first.id, first.left, first.confidence, first.category) == (3, 794.27, -1.0, -1)
    assert first.visibility == second.visibility == -1.0
    assert (second.confidence, detection.id, detection.confidence) == (1.0, -1, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3,4,5\n", "line 1 .*it has 5 numbers, where 6 to 10 are expected"),
        ("1,1,0,0,9,9,1,1,1\n1,2,x,0,9,9\n", "line 2 .* are not numbers"),
        ("0,1,0,0,9,9\n", "frames count from 1, got 0"),
        ("1.5,1,0,0,9,9\n", "frame, id and class must be whole numbers"),
        ("nan,1,0,0,9,9\n", "frame, id and class must be whole numbers"),
        ("1,1,0,0,0,9\n", "wider and higher than 0 pixels, got 0 x 9"),
        ("1,1,inf,0,9,9\n", "numbers must be finite"),
        ("1,1,0,0,9,9,1,1,1.5\n", "a visibility is 0 to 1, or -1: unknown; got 1.5"),
        ("1,1,0,0,9,9\n2,1,0,0,9,9\n1,1,4,4,9,9\n", "lines 1 and 3 .* where 1 is in frame 1"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "gt.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=message) as error:
        read_mot(file)
    assert "\n" not in str(error.value)
