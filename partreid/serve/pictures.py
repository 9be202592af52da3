"""Pictures from outside: judged by their headers, decoded only if they are small, never kept."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from partreid.errors import DataError
from partreid.explain.overlays import photo
from partreid.utils.images import Pixels, header, read_image, resized, size_of
from partreid.utils.looks import looks

TAKEN = ("JPEG", "MPO", "PNG", "WEBP")  # what cameras, programs and browsers give
_KINDS = "JPEG, PNG or WebP"
THUMB, WIDE = 256, 1024  # most of a kept picture, and of a shown one


@dataclass(frozen=True, eq=False)
class Picture:
    """A crop, brought to what is needed of it.

    Args:
        pixels: uint8 RGB [H, W, 3], as the model takes them.
        looks: float64 [F], see :func:`partreid.utils.looks.looks`.
        small: It, at most ``THUMB`` pixels high and ``WIDE`` wide.
    """

    pixels: Pixels
    looks: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    small: Image.Image


def picture_of(data: bytes, name: str, size: tuple[int, int], most: int) -> Picture:
    """An upload as the model takes it: the same pixels that a file of these bytes would give.

    Args:
        data: Of the file.
        name: What the sentence calls it, e.g. "the crop".
        size: (H, W) of the model.
        most: Pixels of the picture; more are not decoded.

    Raises:
        DataError: It is no such picture, too large, damaged, or something else as well.
    """
    if not data:
        raise DataError(f"{name} is empty; send a {_KINDS} picture")
    try:
        about = header(io.BytesIO(data))
        if about.format not in TAKEN:
            raise DataError(f"{name} is a {about.format} picture; send it as {_KINDS}")
        if about.size[0] * about.size[1] > most:
            raise DataError(
                f"{name} has {about.size[0]:,} x {about.size[1]:,} pixels, and at most {most:,} "
                "are decoded; cut the person out"
            )
        if not _ends(data, about.format):
            raise DataError(
                f"{name} is cut short, or holds other data behind its picture; save the picture "
                "alone and send that"
            )
        width, height = size_of(io.BytesIO(data))
        rgb = read_image(io.BytesIO(data), size)
    except DataError as error:
        text = str(error)
        # the reader quotes the library, whose words are for programmers
        if "cannot be read as an image" in text:
            text = f"{name} cannot be read as a picture; send a {_KINDS} that is whole"
        raise DataError(text.replace("the picture ", f"{name} ", 1)) from None
    pixels = resized(rgb, size)
    return Picture(pixels, looks(pixels, height, width), _small(rgb))


def thumbnail(picture: Image.Image) -> bytes:
    """A JPEG of the pixels alone: no place, date or camera goes with it."""
    plain = Image.new("RGB", picture.size)
    plain.paste(picture)
    return jpeg(plain, 88)


def jpeg(picture: Image.Image, quality: int = 84) -> bytes:
    """An RGB picture as the page shows it."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()


def _small(rgb: Image.Image) -> Image.Image:
    small = rgb if rgb.height <= THUMB else photo(rgb, THUMB)
    if small.width > WIDE:
        small = small.resize((WIDE, max(1, round(small.height * WIDE / small.width))))
    return small


def _ends(data: bytes, kind: str) -> bool:
    """Whether a file ends where its picture does; zeros behind it are padding."""
    if kind == "PNG":
        return data.rstrip(b"\0").endswith(b"IEND\xaeB`\x82")
    if kind == "WEBP":
        return abs(len(data) - 8 - int.from_bytes(data[4:8], "little")) <= 1
    return data.rstrip(b"\0").endswith(b"\xff\xd9")
