"""Crops as a user has them: files, Pillow pictures, arrays and tensors, brought to the pixels that
a model takes.

What an array means is told by its kind and shape, never by its values:

* arrays are uint8 [H, W, 3] RGB, or [N, H, W, 3]; tensors uint8 [3, H, W], or [N, 3, H, W];
* floats mean 0 (black) to 1 (white). Others are refused: they were normalised, or reach to 255;
* grey pictures are refused as arrays; as Pillow pictures and files they are read as such.

A large JPEG file is decoded at a fraction of its size, as in training and evaluation; a picture in
memory is resized from all of its pixels, so its embedding may differ a little from its file's.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from os.path import isdir, join, lexists  # unlike Path's, they never raise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partreid.errors import ArgumentError, DataError, ShapeError
from partreid.utils.arguments import door, fits, quoted, require
from partreid.utils.files import read_text, regular
from partreid.utils.folders import images_in
from partreid.utils.images import Pixels, read_resized, resized, size_of, upright_rgb
from partreid.utils.text import brief

if TYPE_CHECKING:
    from torch import Tensor

    AnyCrop: TypeAlias = "str | Path | Image.Image | NDArray[Any] | Tensor | Crop"
    AnyCrops: TypeAlias = AnyCrop | Iterable[AnyCrop]
else:
    AnyCrop = AnyCrops = Any


@dataclass(frozen=True, eq=False)
class Crop:
    """One crop: a file, or a picture in memory that has no path.

    Args:
        name: What an error calls it.
        path: The file; None for a picture in memory.
        picture: A Pillow picture, or an array [H, W, 3], uint8 or floats in 0..1; None for a file.
    """

    name: str
    path: Path | None = None
    picture: Image.Image | NDArray[Any] | None = None

    def pixels(self, size: tuple[int, int]) -> Pixels:
        """uint8 RGB [H, W, 3], resized bilinearly. DataError if it cannot be read."""
        return read_resized(self.path, size) if self.path is not None else resized(self.rgb(), size)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the upright picture, before it is resized. DataError if it has
        none.
        """
        if self.path is not None:
            width, height = size_of(self.path)
        elif isinstance(self.picture, Image.Image):
            width, height = self.rgb().size
        else:
            assert self.picture is not None, "a crop is a file or a picture"
            height, width = self.picture.shape[:2]
        return height, width

    def rgb(self) -> Image.Image:
        """The picture in memory as RGB of 8 bits, upright."""
        if isinstance(self.picture, Image.Image):
            return upright_rgb(self.picture, self.name)
        assert self.picture is not None, "a crop is a file or a picture"
        pixels = self.picture
        if pixels.dtype != np.uint8:
            pixels = np.rint(pixels.astype(np.float32) * 255).astype(np.uint8)
        return Image.fromarray(np.ascontiguousarray(pixels))

    @property
    def source(self) -> Path | Image.Image:
        """What can be drawn: the file, or the picture."""
        return self.path if self.path is not None else self.rgb()


def crops_of(given: AnyCrops) -> list[Crop]:
    """Crops one by one, in the order given.

    Args:
        given: A folder, a file, a Pillow picture, an array, a tensor, a ``Crop``, or a list of any
            of those; see above. A folder alone is gone through, in a list only files are taken.

    Raises:
        ArgumentError: Something is no crop, or its numbers are neither uint8 nor floats in 0..1.
        ShapeError: An array or a tensor has another shape.
        DataError: A file is missing, or there is no crop at all.

    Examples:
        >>> [crop.name for crop in crops_of(np.zeros((2, 64, 32, 3), np.uint8))]
        ['crop 1 (an array)', 'crop 2 (an array)']
    """
    if isinstance(given, str | Path):
        return [Crop(str(path), path) for path in crop_paths(given)]
    single = isinstance(given, Image.Image | np.ndarray | Crop) or _is_tensor(given)
    entries: Any = [given] if single else given
    require(
        fits(entries, Iterable),
        "crops",
        "a folder, a file, a picture, an array, a tensor or a list of those",
        given,
    )
    crops: list[Crop] = []
    for entry in entries:
        if isinstance(entry, str | Path):
            crops += [Crop(str(path), path) for path in crop_paths([entry])]
        elif isinstance(entry, Crop):
            crops.append(entry)
        else:
            crops += _in_memory(entry, len(crops) + 1)
    if not crops:
        raise DataError("the list holds no images; give a folder of crops or a list of them")
    return crops


def crop_paths(crops: str | Path | Iterable[str | Path]) -> list[Path]:
    """A folder's images in the order of their names (subfolders included), or the given files.

    Args:
        crops: A folder, a file or a list of files.

    Returns:
        One path for each crop.

    Raises:
        DataError: Names the first that is missing or no regular file.

    Examples:
        >>> [path.name for path in crop_paths(["a.jpg", "b.jpg"])]
        ['a.jpg', 'b.jpg']
    """
    if isinstance(crops, str | Path):
        root = Path(crops)
        paths = list(images_in(root, recursive=True)) if isdir(root) else [root]
    else:
        require(fits(crops, Iterable), "crops", "a folder, a file or a list of files", crops)
        paths = []
        for entry in crops:
            require(isinstance(entry, str | Path), "each of the crops", "a text or a Path", entry)
            paths.append(entry if isinstance(entry, Path) else Path(entry))
    if not paths:
        what = str(crops) if isinstance(crops, str | Path) else "the list"
        raise DataError(f"{what} holds no images; give a folder of crops or a list of files")
    for path in paths:
        # else regular() says what is wrong with the way there
        if not lexists(path) and isdir(path.parent):
            raise DataError(
                f"there is no image {brief(path, 400)}; give a crop, a folder of crops or a text "
                "file that lists them"
            )
        regular(path, "crop")
    return paths


@door
def listed(source: Path) -> list[Path] | Path:
    """A text file of paths, one a line (relative ones from the file's folder), or the folder or
    image itself.

    UTF-8 with or without byte order mark, or UTF-16 with one; DataError for other encodings.
    """
    if source.suffix.lower() in (".txt", ".lst", ".csv") and lexists(source) and not isdir(source):
        lines = [line.strip() for line in read_text(source, what="list of crops").splitlines()]
        if not any(lines):
            raise DataError(f"{source} lists no images; write one path a line")
        # an absolute one stays as it is
        return [Path(join(source.parent, line)) for line in lines if line]
    return source


def _in_memory(entry: object, place: int) -> list[Crop]:
    """The crops of one picture, array or tensor, which begin with number ``place``."""
    if isinstance(entry, Image.Image):
        upright_rgb(entry, f"crop {place} (a picture)")  # refused before any work
        return [Crop(f"crop {place} (a picture)", picture=entry)]
    if _is_tensor(entry):
        kind, wanted = "a tensor", "[3, H, W] or [N, 3, H, W]"
        if entry.ndim not in (3, 4) or entry.shape[-3] != 3 or 0 in entry.shape[-2:]:
            hint = _hint(tuple(entry.shape), -1, "channels come first: .movedim(-1, -3)")
            raise ShapeError(
                f"crop {place}: a tensor must be {wanted}, got {list(entry.shape)}{hint}"
            )
        plain = entry.detach().cpu().movedim(-3, -1)
        array = (plain.float() if plain.is_floating_point() else plain).numpy()
    elif isinstance(entry, np.ndarray):
        kind, wanted, array = "an array", "[H, W, 3] or [N, H, W, 3]", entry
        if array.ndim not in (3, 4) or array.shape[-1] != 3 or 0 in array.shape[-3:-1]:
            hint = _hint(array.shape, -3, "channels come last: np.moveaxis(x, -3, -1)")
            raise ShapeError(
                f"crop {place}: an array must be {wanted} RGB, got {list(array.shape)}{hint}"
            )
    else:
        raise ArgumentError(
            "each of the crops must be a file, a Pillow picture, an array or a tensor, got "
            f"{quoted(entry)}"
        )
    _require_pixels(array, f"crop {place} ({kind})")
    each = array if array.ndim == 4 else array[None]
    return [Crop(f"crop {place + i} ({kind})", picture=pixels) for i, pixels in enumerate(each)]


def _is_tensor(given: object) -> "TypeGuard[Tensor]":
    """Whether something is a tensor; where torch was never imported nothing is."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(given, torch.Tensor)


def _hint(shape: tuple[int, ...], axis: int, fix: str) -> str:
    if len(shape) == 2:
        return "; a grey picture has to say so: give it as a Pillow picture"
    return f"; {fix}" if len(shape) in (3, 4) and shape[axis] == 3 else ""


def _require_pixels(array: NDArray[Any], name: str) -> None:
    """ArgumentError unless numbers are uint8, or floats from 0 to 1."""
    if array.dtype == np.uint8 or not array.size:
        return
    if array.dtype.kind != "f":
        raise ArgumentError(
            f"{name}: pixels must be uint8, 0 to 255, or floats, 0 to 1, got {array.dtype}; "
            "convert it with .astype('uint8') or .to(torch.uint8)"
        )
    low, high = float(array.min()), float(array.max())
    # as in a file of floats; NaN fails too
    if not (low >= 0 and 1 / 255 < high <= 1 or low == high == 0):
        raise ArgumentError(
            f"{name}: floats must lie from 0 (black) to 1 (white), got {low:g} to {high:g}; give "
            "pixels that are not normalised, or uint8"
        )
