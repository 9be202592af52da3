"""Uploads: what is taken, what is refused with which sentence, and that neither costs memory."""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid.errors import DataError
from partreid.serve.pictures import THUMB, WIDE, Picture, picture_of, thumbnail
from partreid.utils.images import read_resized
from tests.serve.made import bomb, encoded, noise

SIZE, MOST = (64, 32), 2**24


def taken(data: bytes, most: int = MOST) -> Picture:
    return picture_of(data, "the crop", SIZE, most)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("shape", [(128, 64), (700, 350), (3, 5)])
def test_it_is_read_as_a_file_of_the_same_bytes(
    kind: str, shape: tuple[int, int], tmp_path: Path
) -> None:
    data = encoded(noise(*shape), kind)
    file = tmp_path / f"a.{kind.lower()}"
    file.write_bytes(data)
    picture = taken(data)
    assert np.array_equal(picture.pixels, read_resized(file, SIZE))
    assert picture.small.height <= THUMB and picture.small.mode == "RGB"


def test_it_is_turned_as_its_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = noise(40, 80)
    turned = taken(encoded(image, "PNG", exif=exif)).pixels
    assert np.array_equal(turned, taken(encoded(image.rotate(-90, expand=True), "PNG")).pixels)


def test_a_small_picture_has_pixels_and_nothing_else() -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    kept = thumbnail(taken(encoded(noise(600, 300), "PNG", exif=exif)).small)
    assert b"taken at home" not in kept and b"Exif" not in kept
    with Image.open(io.BytesIO(kept)) as image:
        assert image.size == (THUMB // 2, THUMB) and not image.getexif()


def test_a_wide_strip_is_shown_small() -> None:
    small = taken(encoded(Image.new("RGB", (4000, 100)), "PNG")).small
    assert small.width == WIDE


GIF = encoded(noise(20, 10), "GIF")
PNG = encoded(noise(20, 10), "PNG")
JPEG = encoded(noise(20, 10), "JPEG")


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("run.sh", "echo hello")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the crop is empty"),
        (b"hello", "cannot be read as a picture; send a JPEG, PNG or WebP"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "cannot be read as a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot be read as a picture"),
        (GIF, "the crop is a GIF picture"),
        (encoded(noise(20, 10), "BMP"), "the crop is a BMP picture"),
        (encoded(noise(20, 10), "TIFF"), "the crop is a TIFF picture"),
        (JPEG[:-20], "cut short"),
        (PNG[:-20], "cut short"),
        (PNG[:30] + bytes(len(PNG) - 42) + PNG[-12:], "cannot be read as a picture"),
        (PNG + archive(), "holds other data behind its picture"),
        (JPEG + archive(), "holds other data behind its picture"),
        (encoded(noise(20, 10), "WEBP") + archive(), "holds other data behind its picture"),
        (GIF[:6] + b"/*" + GIF[8:] + b"*/=1;alert(1)", "the crop is"),
        (encoded(Image.new("RGB", (9000, 4)), "PNG"), "one side is over 256 times"),
        (encoded(Image.new("RGB", (5000, 5000)), "PNG"), "5,000 x 5,000 pixels, and at most"),
        (bomb(12_000), "claims more than 64 million pixels"),
        (bomb(30_000), "pixels"),
        (bomb(2**31 - 1), "pixels"),
    ],
)
def test_what_is_no_crop_is_refused_in_one_sentence_of_ours(data: bytes, says: str) -> None:
    with pytest.raises(DataError) as refused:
        taken(data)
    text = str(refused.value)
    assert says in text and text.startswith("the crop ")
    assert "0x" not in text and "\n" not in text and "BytesIO" not in text


def test_padding_behind_a_picture_is_no_other_data() -> None:
    assert np.array_equal(taken(JPEG + bytes(64)).pixels, taken(JPEG).pixels)


def test_a_picture_whose_pieces_lie_about_their_size_is_refused() -> None:
    body = struct.pack(">IIBBBBB", 20, 10, 8, 2, 0, 0, 0)
    chunk = (
        struct.pack(">I", 2**31 - 1)
        + b"IHDR"
        + body
        + struct.pack(">I", zlib.crc32(b"IHDR" + body))
    )
    with pytest.raises(DataError, match="cannot be read as a picture"):
        taken(PNG[:8] + chunk + PNG[33:])
