"""The one reader of pictures: whatever a file is, upright RGB of 8 bits comes out, or a sentence.

Only the raster formats below are opened, and only regular files: Pillow would start Ghostscript for
a PostScript file under any name. Sizes are read from the header and bounded before pixels are
decoded.

- Values are scaled by the file's own depth: 16-bit greys by 65,535, floats from 0..1. What states
  no white (32-bit
  integers, floats beyond 1, 16-bit files that use less than their lowest 12 bits) is refused, not
  guessed.
- EXIF orientation is applied. What lies under a transparent alpha is not seen: alpha is laid over
  :data:`UNDER`.
- Color profiles are not applied: a data set's crops come from few cameras, and released code
  ignores them too.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from partreid.errors import DataError
from partreid.utils.files import MIB, read_bytes, write_atomically

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Pixels: TypeAlias = NDArray[np.uint8]
else:
    Pixels = Any

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
ENDINGS = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
    ".gif",
    ".ppm",
    ".pgm",
    ".pnm",
)
MAX_PIXELS = 2**26  # 8192 x 8192: more than a frame of any camera, and 192 MiB of RGB
MAX_BYTES = 256 * MIB  # such a picture without any compression, and a little
# of the sides: a thinner strip shows nobody, and drawn at usual height would be vast
MAX_RATIO = 256
# under transparency lies ImageNet's mean color, which becomes about 0 when normalised
UNDER = (124, 116, 104)
TWELVE_BITS = 4096
SWAPPED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height

Source = Path | str | BinaryIO


def read_image(source: Source, least: tuple[int, int] | None = None) -> "Image.Image":
    """The picture as RGB of 8 bits, upright. DataError if it is none or cannot be judged.

    source: a path, or a binary file opened for reading. least: (height, width) that the caller will
    shrink it to; a JPEG may then be decoded at a fraction of its size that is not smaller.
    """
    with _opened(source) as image:
        if least is not None and image.format in ("JPEG", "MPO"):
            size = (least[1], least[0])
            image.draft("RGB", size[::-1] if _orientation(image) in SWAPPED else size)
        turn = _orientation(image)
        return _upright(_rgb(image, source), turn)


def read_resized(source: Source, size: tuple[int, int]) -> Pixels:
    """The picture as a model takes it: uint8 RGB [H, W, 3], upright, resized bilinearly to
    ``size`` (H, W). DataError if it cannot be read.
    """
    return resized(read_image(source, size), size)


def resized(image: "Image.Image", size: tuple[int, int]) -> Pixels:
    """An RGB picture as uint8 [H, W, 3], resized bilinearly to (H, W)."""
    import numpy as np
    from PIL import Image

    if image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image)


def upright_rgb(image: "Image.Image", name: str = "the picture") -> "Image.Image":
    """The same of a picture that Pillow has opened already. DataError, which calls it ``name``.

    Its EXIF orientation is applied, and it must be one picture of at most 64 million pixels.
    """
    with _faults(name):
        _judge(image, name)
        turn = _orientation(image)
        return _upright(_rgb(image, name), turn)


def read_index(source: Source) -> "tuple[NDArray[np.generic], str]":
    """A picture of whole numbers, one class per pixel: values [H, W] as stored, and Pillow's mode
    P, L or I;16.

    uint8, or uint16 of a 16-bit grey; a palette's colors are not looked at. Turned by the file's
    own orientation. DataError if it is no such picture.
    """
    import numpy as np

    with _opened(source) as image:
        mode = "I;16" if _sixteen_bits(image) else image.mode
        if mode not in ("P", "L", "I;16"):
            raise DataError(
                f"{_named(source)} is a {image.mode} picture; a label image holds one class per "
                "pixel (palette or grey PNG). Export the class indices, not the colors"
            )
        turn = _orientation(image)
        values: NDArray[np.generic] = np.asarray(image)
        return turned(values.astype(np.uint16) if mode == "I;16" else values, turn), mode


def read_channels(source: Source) -> "NDArray[np.uint8]":
    """An RGB picture whose channels are numbers and no colors, such as an IUV map: uint8 [H, W,
    3] as stored.
    """
    import numpy as np

    with _opened(source) as image:
        if image.mode != "RGB":
            raise DataError(
                f"{_named(source)} is a {image.mode} picture; one with three channels of 8 bits is "
                "expected. Export it again without a palette or alpha"
            )
        turn = _orientation(image)
        pixels: NDArray[np.uint8] = np.asarray(image)
        return turned(pixels, turn)


def size_of(source: Source) -> tuple[int, int]:
    """(width, height) of the upright picture, from its header alone. DataError if it has none."""
    with _opened(source) as image:
        return image.size[::-1] if _orientation(image) in SWAPPED else image.size


@dataclass(frozen=True)
class Header:
    """What a picture's header says. mode: Pillow's; turn: EXIF orientation, 1 (upright) to 8."""

    format: str
    mode: str
    size: tuple[int, int]
    turn: int
    alpha: bool


def header(source: Source) -> Header:
    """The header of a picture; nothing is decoded. DataError if it has none that can be read."""
    with _opened(source) as image:
        return Header(
            str(image.format),
            "I;16" if _sixteen_bits(image) else image.mode,
            image.size,
            _orientation(image),
            _transparent(image),
        )


def stored_size(source: Source) -> tuple[int, int]:
    """(width, height) as stored, before the orientation is applied."""
    with _opened(source) as image:
        return image.size


def orientation(source: Source) -> int:
    """EXIF orientation, 1 (upright as stored) to 8. DataError if the picture or its EXIF block
    is broken.
    """
    with _opened(source) as image:
        return _orientation(image)


def turned(array: "NDArray[Any]", turn: int) -> "NDArray[Any]":
    """[H, W, ...] as stored with EXIF orientation ``turn`` -> upright; a view where that is
    possible.
    """
    if turn in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        array = array[::-1]
    if turn in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def save_image(image: "Image.Image", path: Path) -> None:
    """A picture to a file, whole or not at all; the format is that of the ending. DataError if
    it cannot be.
    """
    from PIL import Image

    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None or kind not in FORMATS:
        raise DataError(f"{path} has no ending of a picture; name it .png or .jpg")
    data = io.BytesIO()
    image.save(data, format=kind)
    write_atomically(path, data.getvalue())


@contextmanager
def _opened(source: Source) -> "Iterator[Image.Image]":
    """The picture with its header read and judged. Any fault of the file, now or while it is
    decoded, is a DataError.
    """
    from PIL import Image

    # From memory: a chunk that claims gigabytes cannot ask for more than the file has.
    file = (
        io.BytesIO(read_bytes(source, MAX_BYTES, "image"))
        if isinstance(source, Path | str)
        else source
    )
    with _faults(source), Image.open(file, formats=FORMATS) as image:
        _judge(image, source)
        yield image


@contextmanager
def _faults(source: Source) -> Iterator[None]:
    """Any fault of a picture is a DataError that names it.

    Every exception counts: on damaged files Pillow's decoders raise struct.error, KeyError,
    IndexError and more.
    """
    from PIL import Image

    try:
        yield
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(source) from None
    except Image.UnidentifiedImageError:
        raise DataError(
            f"{_named(source)} cannot be read as an image (none of {', '.join(FORMATS)}); replace "
            "or remove the file"
        ) from None
    except MemoryError:
        raise DataError(
            f"{_named(source)} does not fit into memory; make the picture smaller"
        ) from None
    except Exception as error:
        reason = (
            " ".join(str(error).replace(str(source), "").split()).strip(" :'\"")
            or type(error).__name__
        )
        raise DataError(
            f"{_named(source)} cannot be read as an image ({reason[:200]}); replace or remove the "
            "file"
        ) from None


def _judge(image: "Image.Image", source: Source) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise DataError(
            f"{_named(source)} is {width} x {height} pixels; replace or remove the file"
        )
    if width * height > MAX_PIXELS:
        raise _too_large(source, image.size)
    if max(width, height) > MAX_RATIO * min(width, height):
        raise DataError(
            f"{_named(source)} is {width} x {height} pixels: one side is over {MAX_RATIO} times "
            "the other, which shows nobody; replace or remove the file"
        )
    # MPO: the rest are thumbnails
    if image.format not in ("JPEG", "MPO") and getattr(image, "is_animated", False):
        raise DataError(
            f"{_named(source)} holds several pictures; a crop is one. Save the one that is meant"
        )


def _too_large(source: Source, size: tuple[int, int] | None = None) -> DataError:
    claimed = "" if size is None else f" ({size[0]:,} x {size[1]:,})"
    return DataError(
        f"{_named(source)} claims more than {MAX_PIXELS / 2**20:.0f} million pixels{claimed}; "
        "crops are smaller. Cut it, or remove the file"
    )


def _named(source: Source) -> str:
    return str(source) if isinstance(source, Path | str) else "the picture"


def _orientation(image: "Image.Image") -> int:
    """1 to 8; Pillow turns TIFFs by itself. A value that EXIF does not define counts as upright,
    as viewers take it.
    """
    if image.format == "TIFF":
        return 1
    turn = image.getexif().get(0x0112, 1)
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _upright(image: "Image.Image", turn: int) -> "Image.Image":
    from PIL import Image

    if turn == 1:
        return image
    how = Image.Transpose
    return image.transpose(
        {
            2: how.FLIP_LEFT_RIGHT,
            3: how.ROTATE_180,
            4: how.FLIP_TOP_BOTTOM,
            5: how.TRANSPOSE,
            6: how.ROTATE_270,
            7: how.TRANSVERSE,
            8: how.ROTATE_90,
        }[turn]
    )


def _sixteen_bits(image: "Image.Image") -> bool:
    """Greys of 0..65,535. In mode I, which is wider, only what these two formats hold is known
    to be such.
    """
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))


def _transparent(image: "Image.Image") -> bool:
    return "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La")


def _rgb(image: "Image.Image", source: Source) -> "Image.Image":
    from PIL import Image

    if _sixteen_bits(image) or image.mode in ("I", "F"):
        return _scaled(image, source)
    if _transparent(image):
        seen = image.convert("RGBA")
        ground = Image.new("RGBA", seen.size, (*UNDER, 255))
        return Image.alpha_composite(ground, seen).convert("RGB")
    return image.convert("RGB")


def _scaled(image: "Image.Image", source: Source) -> "Image.Image":
    """Greys of more than 8 bits as RGB of 8."""
    import numpy as np
    from PIL import Image

    name, values = _named(source), np.asarray(image)
    if _sixteen_bits(image):
        brightest = int(values.max())
        if 0 < brightest < TWELVE_BITS:
            raise DataError(
                f"{name} has 16 bits of grey but none above {brightest}: 8 or 12 bits in a wider "
                "file, or black? Save it with 8 bits"
            )
        grey = np.rint(values.astype(np.float32) / 257)
    elif image.mode == "F":
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and 1 / 255 < high <= 1 or low == high == 0):  # NaN fails too
            raise DataError(
                f"{name} has floats from {low:g} to {high:g}; only those from 0 (black) to 1 "
                "(white) are read. Save it with 8 bits"
            )
        grey = np.rint(values * 255)
    else:
        raise DataError(
            f"{name} has greys of 32 bits, which do not say where white is; save it with 8 or 16 "
            "bits"
        )
    clear = image.info.get("transparency")
    rgb = np.repeat(grey.astype(np.uint8)[..., None], 3, 2)
    if isinstance(clear, int):
        rgb[values == clear] = UNDER
    return Image.fromarray(rgb)
