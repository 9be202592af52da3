"""Where the label of an image lies, and whether it shows the same crop, the same way up."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError
from partreid.types import Sample
from partreid.utils.files import regular
from partreid.utils.images import SWAPPED, orientation, read_index, size_of, turned

Missing = Literal["error", "unknown"]
MISSING: tuple[Missing, ...] = ("error", "unknown")
T = TypeVar("T", bound=np.generic)
QUARTER = (6, 8)  # EXIF orientations that turn to the side and do not mirror


def label_path(root: Path, image: Path, folder: str = "labels") -> Path:
    """Where the label of an image lies: the same place below ``root/folder``, as PNG."""
    return root / folder / image.parent.name / f"{image.stem}.png"


def find_file(root: Path, folder: str, image: Path, names: Sequence[str]) -> Path | None:
    """The file that belongs to an image, or None: the first of ``names`` in the first folder that
    has one.

    Folders: below ``root/folder`` the image's own place, the same without its last step (the
    released labels of Occluded-REID and P-DukeMTMC drop the identity), and the last step alone.
    names: {stem} 0001_c1, {name} 0001_c1.jpg, {cut} the name less four characters, as SCHP names
    its files.
    """
    steps = (
        image.parent.relative_to(root) if image.is_relative_to(root) else Path(image.parent.name)
    )
    for place in dict.fromkeys((steps, steps.parent, Path(image.parent.name))):
        for name in names:
            path = (
                root
                / folder
                / place
                / name.format(stem=image.stem, name=image.name, cut=image.name[:-4])
            )
            if path.exists():  # a pipe or folder in a label's place is told of when it is read
                return path
    return None


def require_files(
    paths: Sequence[object | None],
    samples: Sequence[Sample],
    folder: Path,
    missing: Missing,
    names: Sequence[str] = (),
) -> None:
    """DataError that counts the images without a file, unless ``missing`` lets some, but not all,
    be unknown.

    names: of files, as :func:`find_file` takes them, to be told.
    """
    lost = [sample.path for sample, path in zip(samples, paths, strict=True) if path is None]
    if lost and (missing == "error" or len(lost) == len(paths)):
        first = lost[0]
        wanted = " or ".join(
            name.format(stem=first.stem, name=first.name, cut=first.name[:-4]) for name in names
        )
        leave = (
            ""
            if missing == "unknown"
            else ", or leave such images out of the part loss with --set cues.parts.missing=unknown"
        )
        raise DataError(
            f"{len(lost)} of {len(paths)} training images have no label in {folder}; the first is "
            f"{first.parent.name}/{first.name}{wanted and f', which needs {wanted}'}. Make or copy "
            f"the labels to that folder, name another one with --set cues.parts.folder=...{leave}; "
            "stripes in their place are --set cues.parts=stripes"
        )


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) of the upright image, from its header. DataError if it has none."""
    return size_of(path)


def fitted(label: NDArray[T], path: Path, image: Path, what: str = "label") -> NDArray[T]:
    """A label [H, W, ...] as its image is seen: turned along where the image's EXIF turns it.

    A label with the proportions of the upright image is taken as it is, one with those of the image
    as stored is turned with it by the same quarter. Where both fit (a half turn, a mirror, a
    square) it is taken as it is, as from tools that read images through OpenCV. DataError if
    neither fits: they do not show the same crop.
    """
    width, height = size_of(image)
    if _alike(label.shape, width, height):
        return label
    turn = orientation(image)
    if turn in QUARTER and _alike(label.shape, height, width):
        return turned(label, turn)
    raise DataError(
        f"{what} {path} is {label.shape[1]} x {label.shape[0]} but its image is {width} x "
        f"{height}: they do not show the same crop; make the label again"
    )


def either_way_up(image: Path) -> bool:
    """Whether an image is turned by its EXIF so that a label's size cannot tell if the label is
    too.
    """
    turn = orientation(image)
    width, height = size_of(image)
    return turn != 1 and (turn not in SWAPPED or _alike((width, height), width, height))


def _alike(shape: tuple[int, ...], width: int, height: int) -> bool:
    return abs(width * shape[0] - height * shape[1]) <= max(width, height) * 2


def lossless(path: Path) -> None:
    """DataError if a picture that should hold numbers is a JPEG or WEBP, which changes them."""
    with open(regular(path, "label"), "rb") as file:
        head = file.read(12)
    kind = "JPEG" if head.startswith(b"\xff\xd8") else "WEBP" if head[8:] == b"WEBP" else None
    if kind:
        raise DataError(f"{path} is a {kind} file, which changes the numbers; write it as PNG")


def read_numbers(path: Path) -> tuple[NDArray[np.generic], str]:
    """One class per pixel of a palette or grey picture: values uint8 or uint16 [H, W], and the
    mode P, L or I;16.
    """
    lossless(path)
    return read_index(path)
