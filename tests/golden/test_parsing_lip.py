"""A recorded label image of LIP, its mirror image, and its parts in every set."""

from pathlib import Path

import numpy as np
import pytest

from partreid.labels.parsing import palette, to_parts
from partreid.labels.schemes import lookup
from partreid.labels.sources import SOURCES, isp_masks, mirrored

GOLDEN = np.load(Path(__file__).parent / "parsing_lip_example.npz")
LIP = GOLDEN["lip"]


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("mag8", "seven"),
        ("hul4", "three"),
        ("bpb5", "five"),
        ("bpb5v", "five_v"),
        ("bpb8", "eight"),
    ],
)
def test_parts(key: str, parts: str) -> None:
    """The record is the table alone; where trousers get a side and the torso is cut, the rest
    stays as it is.
    """
    np.testing.assert_array_equal(lookup(SOURCES["lip"].sets[parts])[LIP], GOLDEN[key])
    labels = to_parts(LIP, "lip", parts, allow_missing_parts=parts == "seven")
    geometry = {"five_v": SOURCES["lip"].torso, "eight": (3, 8, 9, 12)}.get(parts, ())
    by_table = ~np.isin(LIP, geometry)
    np.testing.assert_array_equal(labels[by_table], GOLDEN[key][by_table])
    if parts == "eight":
        # trousers beside the left leg, one column nearer than the right shoe
        assert labels[1, 1] == 5
    if parts == "five_v":
        assert labels[0, 3] == 3  # one row of torso: its middle is not above the middle


def test_mirror() -> None:
    np.testing.assert_array_equal(mirrored(LIP, "lip"), GOLDEN["lip_hflip"])


def test_isp_masks() -> None:
    masks = isp_masks(LIP, "lip")
    for name in ("head", "legs", "shoes"):
        np.testing.assert_array_equal(masks[name], GOLDEN[f"isp_{name}"])
    np.testing.assert_array_equal(masks["foreground"], LIP > 0)


def test_palette() -> None:
    np.testing.assert_array_equal(palette(20), GOLDEN["palette"])
