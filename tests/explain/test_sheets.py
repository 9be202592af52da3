"""Sheets hold what they promise: a frame and a sign for right and wrong, and every crop."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from partreid.errors import ShapeError
from partreid.explain.evidence import Evidence
from partreid.explain.overlays import Shown, color
from partreid.explain.sheets import (
    RIGHT,
    WRONG,
    Match,
    _badge,
    compare_picture,
    number,
    ranking_sheet,
)

NAMES = ("foreground", "head", "legs")


def evidence(seen=(1.0, 1.0, 1.0)):
    far = np.array([0.2, 0.3, 0.7])
    both = np.array(seen)
    share = far * both / both.sum() if both.any() else np.full(3, np.inf)
    return Evidence(
        NAMES, float(share.sum()), np.where(both > 0, far, np.nan), share, both, np.ones(3)
    )


@pytest.fixture
def shown(tmp_path):
    path = tmp_path / "0001_c1.png"
    Image.fromarray(np.full((64, 32, 3), 128, np.uint8)).save(path)
    probs = np.full((3, 8, 4), 1 / 3)
    return Shown(path, 1, 2, probs, NAMES[1:])


def count(image, ink):
    return int((np.asarray(image.convert("RGB")) == ImageColor.getrgb(ink)).all(2).sum())


def test_right_answers_are_green_and_wrong_ones_red(shown):
    def sheet(*right):
        return ranking_sheet(
            shown, {"BPBreID": [Match(shown, r, evidence()) for r in right]}, height=96
        )

    one, other = sheet(True, True), sheet(False, False)
    assert count(one, RIGHT) > 500 and count(one, WRONG) == 0
    assert count(other, WRONG) > 500 and count(other, RIGHT) == 0
    mixed = sheet(True, False)
    assert count(mixed, RIGHT) > 250 and count(mixed, WRONG) > 250
    assert mixed.size == one.size == other.size


def test_an_answer_of_whom_nothing_is_known_has_no_frame(shown):
    unknown = ranking_sheet(shown, {"BPBreID": [Match(shown, None, evidence())]}, height=96)
    assert count(unknown, RIGHT) == count(unknown, WRONG) == 0


def test_right_and_wrong_differ_without_color(shown):
    right, wrong = (np.asarray(_badge(r).convert("LA"), int) for r in (True, False))
    shapes = [np.abs(b[..., 0] - np.median(b[..., 0])) > 60 for b in (right, wrong)]
    assert (shapes[0] != shapes[1]).sum() > 20


def test_every_method_and_answer_takes_its_place(shown):
    plain = Shown(shown.source, 1, 2)
    ten = tuple(Match(shown, i % 2 == 0, evidence()) for i in range(12))
    bare = tuple(Match(plain, False, evidence()) for _ in range(3))
    both = ranking_sheet(shown, {"BoT": bare, "BPBreID": ten}, height=96)
    alone = ranking_sheet(shown, {"BPBreID": ten}, height=96)
    assert both.width == alone.width  # ten, not twelve, in a row
    assert both.height > alone.height
    assert (
        ranking_sheet(plain, {"BoT": bare}, height=96).height < alone.height - 96
    )  # no row of maps
    with pytest.raises(ShapeError, match="at least one method"):
        ranking_sheet(shown, {})


@pytest.mark.parametrize("seen", [(1.0, 1.0, 1.0), (1.0, 0.0, 1.0), (0.0, 0.0, 0.0)])
def test_compare_draws_bars_of_shared_parts_only(shown, seen):
    image = compare_picture(Shown(shown.source, 1, 2), Shown(shown.source, 1, 3), evidence(seen))
    assert image.mode == "RGB"
    for name, v in zip(NAMES, seen, strict=True):
        # a bar and a piece of the sum, or just a dot
        assert (count(image, color(name)) > 1200) == bool(v), name
    with_maps = compare_picture(shown, shown, evidence(seen))
    assert with_maps.width > image.width


def test_numbers_are_printed_with_three_digits():
    assert number(0.12345) == "0.123" and number(float("inf")) == "no shared part"
