"""Listings of folders: images in the order of their names, the same on every file system."""

import os
from collections.abc import Iterator
from pathlib import Path

from partreid.errors import DataError
from partreid.utils.arguments import door
from partreid.utils.images import ENDINGS
from partreid.utils.text import brief

IMAGES = ENDINGS
DEEPEST = 50  # folders below a root


@door
def is_image(name: str) -> bool:
    """Whether a file of this name should hold an image; what begins with a dot never does."""
    return os.path.splitext(name)[1].lower() in IMAGES and not name.startswith(".")


@door
def images_in(
    folder: Path, recursive: bool = False, above: tuple[object, ...] = ()
) -> Iterator[Path]:
    """Image files below ``folder`` in the order of their names, the same on every file system.

    One listing per folder; no file is looked at, so a slow disk costs little. above: folders that
    it lies in, in which a link must not lead back. DataError if one does, or if folders nest
    without end.
    """
    above = above or (_place(folder),)
    for entry in entries(folder):
        if is_image(entry.name):
            yield folder / entry.name
        elif recursive and not entry.name.startswith(".") and is_folder(entry):
            place = _place(entry.path)
            if place in above:
                raise DataError(
                    f"{brief(entry.path, 300)} links back to a folder that it lies in; remove the "
                    "link"
                )
            if len(above) > DEEPEST:
                raise DataError(
                    f"{brief(folder, 300)} lies over {DEEPEST} folders deep; crops are not; check "
                    "the root"
                )
            yield from images_in(folder / entry.name, True, (*above, place))


@door
def entries(folder: Path | str) -> "list[os.DirEntry[str]]":
    """What lies in a folder, by name; no entry is looked at. DataError if it cannot be listed."""
    try:
        with os.scandir(folder) as listing:
            return sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise _unlisted(folder, error) from None


def _place(folder: Path | str) -> tuple[int, int]:
    try:
        status = os.stat(folder)
    except OSError as error:
        raise _unlisted(folder, error) from None
    return status.st_dev, status.st_ino


def _unlisted(folder: Path | str, error: OSError) -> DataError:
    return DataError(
        f"the folder {brief(folder, 300)} cannot be listed ({error.strerror}); check its "
        "permissions"
    )


@door
def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a listing is a folder or a link to one; a link that leads to itself is
    none.
    """
    try:
        return entry.is_dir()
    except OSError:
        return False
