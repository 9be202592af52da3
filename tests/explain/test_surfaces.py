"""The picture shows every tile in its place, and no more than is known."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid.errors import ShapeError
from partreid.explain.surfaces import EMPTY, PAIRS, _tint, tiles_picture
from partreid.layers.warp import CHARTS
from tests.explain.test_sheets import count

LABELS = np.zeros((32, 16), np.uint8)
LABELS[4:28, 4:12] = 2


def tiles(*charts: int) -> np.ndarray:
    """Tiles of which these are known, chart p in a color of its own."""
    out = np.zeros((24, 4, 8, 8), np.uint8)
    for chart in charts:
        out[chart - 1, :3] = np.array([255, 10 * chart, 3])[:, None, None]
        out[chart - 1, 3] = 1
    return out


def test_every_chart_has_its_place_beside_its_twin() -> None:
    places = [(title, region, pair) for row in PAIRS for title, region, pair in row]
    assert sorted(p for *_, pair in places for p in pair) == list(range(1, 25))
    for title, region, (first, second) in places:
        names = CHARTS[first - 1], CHARTS[second - 1]
        sides = ("front", "back") if region == "torso" else ("right", "left")
        assert all(side in name for side, name in zip(sides, names, strict=True)), (title, names)
        kind = region.replace("_", " ")
        assert all(kind in name for name in names), (title, names)
        for turned in ("front", "back"):
            if turned in title:
                assert all(name.endswith(turned) for name in names), (title, names)
    # 8 regions, two shades; front and back of a limb share
    assert len({_tint(chart) for chart in range(1, 25)}) == 16


def test_known_cells_in_their_colors_the_rest_grey() -> None:
    photo = Image.new("RGB", (16, 32), "#203040")
    seen = tiles(2, 24)
    seen[23, 3, :4] = 0  # the upper half of the left head is not known
    picture = tiles_picture(photo, LABELS, seen, cell=96)
    assert picture.mode == "RGB"
    assert count(picture, "#ff1403") == 96 * 96 and count(picture, "#fff003") == 96 * 48
    assert 0.95 < count(picture, EMPTY) / (22.5 * 96 * 96) < 1  # but for the words in empty ones
    every = tiles_picture(photo, LABELS, tiles(*range(1, 25)), cell=96)
    assert count(every, EMPTY) == 0 and every.size == picture.size


def test_charts_are_tinted_and_the_rest_is_not(tmp_path: Path) -> None:
    path = tmp_path / "0001.png"
    Image.new("RGB", (16, 32), "#203040").save(path)
    from_file, shown = (tiles_picture(p, LABELS, tiles()) for p in (path, Image.open(path)))
    assert np.array_equal(np.asarray(from_file), np.asarray(shown))
    bare = np.asarray(tiles_picture(path, LABELS * 0, tiles())).astype(int)
    apart = np.abs(np.asarray(shown).astype(int) - bare).max(2) > 20
    rows, columns = np.nonzero(apart)
    high, wide = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
    assert apart.sum() == high * wide and abs(high / wide - 24 / 8) < 0.1
    belongings = np.where(LABELS > 0, 26, 0).astype(np.uint8)
    assert np.array_equal(np.asarray(tiles_picture(path, belongings, tiles())), bare)


@pytest.mark.parametrize(
    "labels, some, words",
    [
        (LABELS, np.zeros((24, 3, 8, 8), np.uint8), r"tiles must be uint8 \[24, 4, S, S\]"),
        (LABELS, np.zeros((24, 4, 8, 8)), "got float64"),
        (LABELS[None], tiles(), r"labels must be uint8 \[H, W\]"),
    ],
)
def test_wrong_shapes(labels: np.ndarray, some: np.ndarray, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        tiles_picture(Image.new("RGB", (16, 32)), labels, some)
