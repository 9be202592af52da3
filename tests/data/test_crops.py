"""Whatever a user calls a crop becomes the same pixels, or is refused with one sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from partreid.data.crops import Crop, crops_of
from partreid.errors import ArgumentError, DataError, PartReidError, ShapeError
from partreid.utils.images import read_resized

SIZE = (32, 16)


@pytest.fixture()
def file(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 20, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_every_kind_gives_the_pixels_of_the_file(file: Path) -> None:
    array = np.asarray(Image.open(file))
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    kinds: list[Any] = [str(file), file, Image.open(file), array, tensor]
    kinds += [array / 255, array.astype(np.float32) / 255, tensor / 255, (tensor / 255).double()]
    crops = crops_of(kinds)
    assert [crop.path for crop in crops] == [file, file, *[None] * 7]
    for crop in crops:
        assert np.array_equal(crop.pixels(SIZE), read_resized(file, SIZE)), crop.name
    assert [crop.name for crop in crops[3:5]] == ["crop 4 (an array)", "crop 5 (a tensor)"]


def test_stacks_are_as_many_crops_wherever_they_stand(file: Path) -> None:
    array = np.stack([np.asarray(Image.open(file))] * 2)
    for stack in (array, torch.from_numpy(array).permute(0, 3, 1, 2)):
        assert len(crops_of(stack)) == 2 and len(crops_of([stack, file, stack])) == 5
        for crop in crops_of(stack):
            assert np.array_equal(crop.pixels(SIZE), read_resized(file, SIZE))
    assert len(crops_of(Image.open(file) for _ in range(3))) == 3  # a generator
    assert len(crops_of(file.parent)) == len(crops_of(str(file))) == 1


def test_pictures_are_read_as_files_are(tmp_path: Path) -> None:
    """Turned by their orientation, greys and alpha included."""
    for i, mode in enumerate(("L", "RGBA", "P", "1")):
        picture = Image.effect_noise((20, 48), 60).convert(mode)
        exif = picture.getexif()
        exif[0x0112] = 6
        picture.save(tmp_path / f"{i}.png", exif=exif)
        (crop,) = crops_of(Image.open(tmp_path / f"{i}.png"))
        assert np.array_equal(crop.pixels(SIZE), read_resized(tmp_path / f"{i}.png", SIZE))
        assert isinstance(crop.source, Image.Image) and crop.source.size == (48, 20)
    assert Crop("a", tmp_path / "0.png").source == tmp_path / "0.png"


BYTES = np.zeros((48, 20, 3), np.uint8)


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (BYTES[..., 0], ShapeError, r"\[H, W, 3\].*got \[48, 20\]; a grey picture has to say so"),
        (BYTES.transpose(2, 0, 1), ShapeError, r"channels come last: np.moveaxis"),
        (torch.from_numpy(BYTES), ShapeError, r"\[3, H, W\].*channels come first: .movedim"),
        (BYTES[:0], ShapeError, r"must be \[H, W, 3\].*got \[0, 20, 3\]"),
        (np.zeros((2, 3, 4, 5, 3), np.uint8), ShapeError, r"got \[2, 3, 4, 5, 3\]"),
        (BYTES.astype(np.int64), ArgumentError, "uint8, 0 to 255, or floats, 0 to 1, got int64"),
        (BYTES.astype(bool), ArgumentError, "got bool"),
        (
            BYTES + 200.0,
            ArgumentError,
            "from 0 .* to 1 .*, got 200 to 200; give pixels that are not",
        ),
        (BYTES - 1.5, ArgumentError, "got -1.5 to -1.5"),
        (BYTES + np.nan, ArgumentError, "got nan"),
        (BYTES + 1e-4, ArgumentError, r"got 0.0001 to 0.0001"),  # 0..1 or 0..255?
        ([BYTES, 7], ArgumentError, "each of the crops must be a file, .* got 7"),
        (7, ArgumentError, "crops must be a folder, a file, a picture"),
        (None, ArgumentError, "crops must be a folder"),
        ([], DataError, "the list holds no images"),
        (np.zeros((0, 48, 20, 3), np.uint8), DataError, "holds no images"),
        ([Image.new("RGB", (2000, 2))], DataError, "one side is over 256 times the other"),
        (Image.new("I", (20, 48)), DataError, "greys of 32 bits"),
        (["gone.jpg"], DataError, "there is no image gone.jpg"),
    ],
)
def test_what_is_no_crop_is_refused_before_any_work(
    given: Any, kind: type[PartReidError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        crops_of(given)
