"""How a crop looks: numbers that tell kinds of pictures apart and not people."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from partreid.data.registry import BENCHMARKS
from partreid.errors import ShapeError
from partreid.utils.looks import LOOKS, looks

PIXELS = np.random.default_rng(0).integers(40, 200, (64, 32, 3)).astype(np.uint8)


def named(pixels: np.ndarray) -> dict[str, float]:
    return dict(zip(LOOKS, looks(pixels, 128, 64).tolist(), strict=True))


def test_each_number_moves_with_what_it_is_named_after() -> None:
    as_it_is = named(PIXELS)
    assert as_it_is["shape"] == pytest.approx(np.log(2))
    dark = named(PIXELS // 4)
    assert dark["brightness"] == pytest.approx(as_it_is["brightness"] / 4, abs=0.01)
    assert dark["contrast"] < as_it_is["contrast"] and dark["dark"] > as_it_is["dark"]
    blurred = named(np.asarray(Image.fromarray(PIXELS).filter(ImageFilter.GaussianBlur(2))))
    assert all(blurred[name] < as_it_is[name] for name in ("edges", "sharpness", "grain"))
    grey = named(np.repeat(PIXELS[..., :1], 3, 2))
    assert grey["saturation"] == grey["color spread"] == grey["red"] == grey["blue"] == 0
    red = named(PIXELS + np.array([40, 0, 0], np.uint8))
    assert red["red"] > as_it_is["red"] + 0.1 and red["blue"] == pytest.approx(as_it_is["blue"])


def test_a_flat_crop_has_finite_numbers_and_a_speck_is_refused() -> None:
    assert np.isfinite(looks(np.zeros((3, 3, 3), np.uint8), 3, 3)).all()
    for wrong in (np.zeros((2, 3, 3), np.uint8), np.zeros((8, 8), np.uint8)):
        with pytest.raises(ShapeError, match="3 x 3 at least"):
            looks(wrong, 8, 8)


def test_a_data_set_says_what_its_people_are() -> None:
    kinds = {name: BENCHMARKS[name].people for name in ("market1501", "folders", "synthetic-demo")}
    assert kinds == {"market1501": "real", "folders": "unknown", "synthetic-demo": "drawn"}
