"""The picture of hidden regions: what is kept is the photograph itself, what is hidden hardly
shows.
"""

import numpy as np
import pytest
from numpy.typing import NDArray

from partreid.errors import ShapeError
from partreid.explain.regions import hidden_regions

NAMES = ("head", "chest", "foot")
RNG = np.random.default_rng(0)
# 64 x 32, flat squares
IMAGE = np.repeat(np.repeat(RNG.integers(0, 256, (4, 2, 3), np.uint8), 16, 0), 16, 1)
# background on top, then head, chest, foot
LABELS = np.repeat(np.arange(4, dtype=np.uint8)[:, None], 2, 1)

CELL, GAP, EDGE, HEAD = 124, 20, 24, 26  # how the sheet is laid out


def crop(sheet: NDArray[np.uint8], column: int) -> NDArray[np.uint8]:
    x = EDGE + column * (CELL + GAP)
    return sheet[EDGE + HEAD : EDGE + HEAD + 64, x : x + 32]


def test_kept_regions_are_the_photograph_and_hidden_ones_are_veiled() -> None:
    sheet = np.asarray(hidden_regions(IMAGE, LABELS, NAMES, [(1, 3), (0, 2)], height=64))
    photo = crop(sheet, 0)
    np.testing.assert_array_equal(photo, IMAGE)
    for column, kept in ((2, (1, 3)), (3, (0, 2))):
        shown = crop(sheet, column)
        for k in range(4):
            rows = slice(16 * k, 16 * k + 16)
            if k in kept:
                np.testing.assert_array_equal(shown[rows], photo[rows])
            else:
                assert shown[rows].min() > 180 and np.ptp(shown[rows].astype(int).mean((0, 1))) < 25


def test_regions_are_painted_in_their_own_colors() -> None:
    painted = crop(np.asarray(hidden_regions(IMAGE, LABELS, NAMES, [], height=64)), 1).astype(int)
    rows = [painted[16 * k : 16 * k + 16].reshape(-1, 3).mean(0) for k in range(4)]
    assert np.ptp(rows[0]) < 8  # the background stays grey
    assert all(np.abs(rows[a] - rows[b]).sum() > 60 for a in range(1, 4) for b in range(1, a))


def test_what_is_unknown_is_hidden_and_every_draw_widens_the_sheet() -> None:
    labels = LABELS.copy()
    labels[1] = 255
    sheets = [hidden_regions(IMAGE, labels, NAMES, [(0, 1, 2, 3)] * n, height=64) for n in (1, 3)]
    assert sheets[1].width - sheets[0].width == 2 * (CELL + GAP) and sheets[0].mode == "RGB"
    assert crop(np.asarray(sheets[0]), 2)[16:32].min() > 180


def test_the_list_below_tells_kept_from_hidden_and_present_from_absent() -> None:
    def listed(labels: NDArray[np.uint8], kept: tuple[int, ...]) -> NDArray[np.uint8]:
        sheet = np.asarray(hidden_regions(IMAGE, labels, NAMES, [kept], height=64))
        return sheet[EDGE + HEAD + 64 + 14 :, EDGE + 2 * (CELL + GAP) :]

    assert (listed(LABELS, (1, 3)) != listed(LABELS, (1, 2))).any()
    without = np.where(LABELS == 3, 0, LABELS).astype(np.uint8)
    assert (listed(LABELS, (1, 3))[63:] != listed(without, (1, 3))[63:]).any()  # (foot) in brackets
    np.testing.assert_array_equal(listed(LABELS, (1, 3))[:63], listed(without, (1, 3))[:63])


@pytest.mark.parametrize(("labels", "draws"), [(LABELS + np.uint8(1), [(1,)]), (LABELS, [(1, 4)])])
def test_regions_without_a_name_are_refused(
    labels: NDArray[np.uint8], draws: list[tuple[int, ...]]
) -> None:
    with pytest.raises(ShapeError, match="know regions up to 4, names are given for 1 to 3"):
        hidden_regions(IMAGE, labels, NAMES, draws)
