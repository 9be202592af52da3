"""A look at every file of a data set: what it is, what cannot be read, and what would be left
out without a word.
"""

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from partreid.data.copies import matched, same_files
from partreid.data.folders import IMAGES, entries, is_image
from partreid.data.registry import Problem
from partreid.errors import DataError
from partreid.types import JUNK, Sample
from partreid.utils.images import Header, header, read_image
from partreid.utils.text import brief

Progress = Callable[[int, int], None]
NOISE = (".ds_store", "thumbs.db", "desktop.ini", "._.ds_store", "readme.txt", "readme.md")
UPRIGHT, USUAL = 1, ("RGB", "L")
SHOWN = 6  # names in a sentence


@dataclass(frozen=True)
class Inspected:
    """Problems found, how many files were looked at and how many of them decoded."""

    problems: tuple[Problem, ...]
    files: int
    decoded: int


@dataclass(frozen=True)
class Kept:
    """Where else to look for files that no split reads.

    root: of the data set. known: crops that are left out on purpose. below: folders to look
    through, besides what a split's crops have in common.
    """

    root: Path
    known: frozenset[Path] = frozenset()
    below: tuple[Path, ...] = ()


def inspect(
    splits: Mapping[str, Sequence[Sample]],
    decode: int | None,
    progress: Progress | None = None,
    kept: Kept | None = None,
) -> Inspected:
    """Look at the header of every image, decode some, compare splits.

    splits: "train", "gallery", all others queries. decode: how many to decode as well, evenly
    spread; None for all. progress: called with (files looked at, all). kept: None looks only into
    the folders of crops that are read.
    """
    paths = list(dict.fromkeys(s.path for samples in splits.values() for s in samples))
    unreadable: dict[str, list[Path]] = {}
    headers: dict[Path, Header] = {}
    for done, path in enumerate(paths, 1):
        try:
            _require_whole(path)
            headers[path] = header(path)
        except DataError as error:
            unreadable.setdefault(_reason(path, str(error)), []).append(path)
        if progress is not None:
            progress(done, len(paths))
    chosen = _spread(list(headers), decode)
    pixels: dict[Path, bytes] = {}
    for path in chosen:
        try:
            pixels[path] = _fingerprint(path)
        except DataError as error:
            unreadable.setdefault(_reason(path, str(error)), []).append(path)
            del headers[path]
    problems = [
        Problem(f"{_count(len(files), len(paths))} {reason}: {_names(files)}", fix, True)
        for reason, files in unreadable.items()
        for fix in (_fix(reason),)
    ]
    problems += _looks(headers)
    problems += _names_of(paths)
    problems += _left_out(paths, splits, kept)
    problems += _copies(splits, pixels)
    return Inspected(tuple(problems), len(paths), len(chosen))


def alike(names: Iterable[str], what: str = "people") -> list[Problem]:
    """Names that are probably spellings of one: 007 and 7, two forms of one letter, upper and lower
    case.

    what: "people" or "cameras".
    """
    one = {"people": "person", "cameras": "camera"}[what]
    groups: dict[str, set[str]] = {}
    for name in names:
        plain = unicodedata.normalize("NFKC", name).strip().casefold()
        groups.setdefault(
            str(int(plain)) if plain.isascii() and plain.isdigit() and len(plain) < 19 else plain,
            set(),
        ).add(name)
    doubled = [sorted(group) for group in groups.values() if len(group) > 1]
    if not doubled:
        return []
    shown = ", ".join(" and ".join(_spelled(name) for name in group) for group in doubled[:SHOWN])
    return [
        Problem(
            f"{len(doubled)} {what} have names that look like spellings of one {one} and count as "
            f"several: {shown}",
            f"give each {one} one name",
        )
    ]


def _require_whole(path: Path) -> None:
    """DataError in few words; :func:`_reason` finds them again."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode) and not path.exists():
            raise DataError("broken link")
        if path.is_file() and path.stat().st_size == 0:
            raise DataError("empty")
    except OSError as error:
        raise DataError(
            "broken link" if path.is_symlink() else f"not reachable ({error.strerror})"
        ) from None


def _reason(path: Path, message: str) -> str:
    """What many files have in common: the sentence without the name of this one."""
    known = {"broken link": "are links to nothing", "empty": "are empty files"}
    if message in known:
        return known[message]
    kinds = {
        "a named pipe": "are named pipes",
        "a folder,": "are folders named like images",
        "a device": "are devices",
        "a socket": "are sockets",
        "million pixels": "claim more pixels than a crop has",
        "MiB, which": "are larger than any crop",
        "over 256 times": "are strips that show nobody",
        "may not be read": "may not be read by this user",
        "several pictures": "hold several pictures",
        "16 bits of grey": "have 16 bits of grey and use few of them",
        "floats from": "have floats beyond 0 to 1",
        "greys of 32 bits": "have 32-bit greys without a white",
        "not reachable": "cannot be reached",
        "there is no image": "are not there",
    }
    for sign, words in kinds.items():
        if sign in message:
            return words
    return "cannot be decoded"


def _fix(reason: str) -> str:
    fixes = {
        "are empty files": "unpack or copy them again, for writing them was cut short",
        "are links to nothing": "copy what they should point to, or remove them",
        "may not be read by this user": "change their permissions (chmod u+r)",
        "hold several pictures": "save the one that is meant",
        "cannot be decoded": "fetch these files again, or remove them",
    }
    return fixes.get(
        reason, "replace or remove them: reading one ends the training or the evaluation"
    )


def _looks(headers: Mapping[Path, Header]) -> list[Problem]:
    """Notes about files that are read in a way worth knowing."""
    notes = []
    turned = [path for path, h in headers.items() if h.turn != UPRIGHT]
    if turned:
        notes.append(
            Problem(
                f"{_count(len(turned), len(headers))} are turned by their EXIF orientation: "
                f"{_names(turned)}",
                "nothing to do: they are read upright, perhaps not by other tools",
            )
        )
    clear = [path for path, h in headers.items() if h.alpha]
    if clear:
        notes.append(
            Problem(
                f"{_count(len(clear), len(headers))} have transparency: {_names(clear)}",
                "nothing to do: they are laid over ImageNet's mean color",
            )
        )
    odd = {path: h.mode for path, h in headers.items() if h.mode not in USUAL and not h.alpha}
    for mode, number in Counter(odd.values()).most_common():
        some = [path for path, other in odd.items() if other == mode]
        depth = {
            "I;16": "16-bit grey",
            "F": "floats",
            "1": "black and white",
            "P": "a palette",
            "CMYK": "print colors",
        }
        notes.append(
            Problem(
                f"{_count(number, len(headers))} have "
                f"{depth.get(mode.split('B')[0], f'mode {mode}')}: {_names(some)}",
                "nothing to do: they are read as 8-bit RGB at their own depth",
            )
        )
    colors = Counter(
        "grey" if h.mode in ("L", "I;16", "1", "F") else "color" for h in headers.values()
    )
    if len(colors) == 2 and colors["grey"]:
        notes.append(
            Problem(
                f"{_count(colors['grey'], len(headers))} are grey, the others have colors",
                "make sure that both are meant: a model may tell people by that",
            )
        )
    return notes


def _names_of(paths: Sequence[Path]) -> list[Problem]:
    odd = [path for path in paths if any("\ud800" <= letter <= "\udfff" for letter in str(path))]
    return (
        []
        if not odd
        else [
            Problem(
                f"{_count(len(odd), len(paths))} have names that are not UTF-8: {_names(odd)}",
                "rename them; tables and reports show such names with escapes",
            )
        ]
    )


def _left_out(
    paths: Sequence[Path], splits: Mapping[str, Sequence[Sample]], kept: Kept | None
) -> list[Problem]:
    """Files beside the images, and in folders beside theirs, that no split reads."""
    known = {*map(str, paths), *map(str, kept.known if kept else ())}
    waiting = {os.path.dirname(name) for name in known} | (_tops(splits, kept) if kept else set())
    seen: set[str] = set()
    endings: Counter[str] = Counter()
    first: dict[str, str] = {}
    hidden, odd, closed = [], [], []
    while waiting:
        folder = min(waiting)
        waiting.remove(folder)
        seen.add(folder)
        try:
            listed = entries(folder)
        except DataError:
            closed.append(Path(folder))
            continue
        for entry in listed:
            if entry.path in known or entry.name.lower() in NOISE:
                continue
            if entry.name.startswith("."):
                hidden.append(Path(entry.path))
            elif entry.is_dir():
                if (
                    kept
                    and entry.path not in seen
                    and _within(folder, kept.root)
                    and not entry.is_symlink()
                ):
                    waiting.add(entry.path)
            elif not is_image(entry.name):
                ending = os.path.splitext(entry.name)[1].lower() or "no ending"
                endings[ending] += 1
                first.setdefault(ending, entry.path)
            elif not entry.name.startswith(str(JUNK)):  # Market's junk is left out on purpose
                odd.append(Path(entry.path))
    notes = []
    if closed:
        notes.append(
            Problem(
                f"{len(closed)} folders cannot be listed, so that their crops are left out: "
                f"{_names(closed)}",
                "check their permissions",
            )
        )
    if endings:
        named = ", ".join(
            f"{number} {ending} (first {_spelled(first[ending])})"
            for ending, number in sorted(endings.items(), key=lambda item: (-item[1], item[0]))
        )
        notes.append(
            Problem(
                f"{sum(endings.values())} files are left out for their ending: {named}",
                f"convert those that are crops; read are {', '.join(IMAGES)}",
            )
        )
    if hidden:
        notes.append(
            Problem(
                f"{len(hidden)} files or folders are left out because their names begin with a "
                f"dot: {_names(hidden)}",
                "rename those that are crops",
            )
        )
    if odd:
        notes.append(
            Problem(
                f"{len(odd)} images lie beside those that are read and are named nowhere: "
                f"{_names(odd)}",
                "add them to the lists or the table if they are meant",
            )
        )
    return notes


def _tops(splits: Mapping[str, Sequence[Sample]], kept: Kept) -> set[str]:
    """Folders below the root that hold all crops of a split, and those that are named."""
    tops = {str(folder) for folder in kept.below}
    for samples in splits.values():
        folders = {os.path.dirname(s.path) for s in samples}
        if folders and all(_within(folder, kept.root) for folder in folders):
            tops.add(os.path.commonpath(folders))
    return {top for top in tops if _within(top, kept.root)}


def _within(folder: str, root: Path) -> bool:
    """Whether a folder lies below the root; as the paths are written, for nothing is looked at."""
    return folder != str(root) and root in Path(folder).parents


def _copies(splits: Mapping[str, Sequence[Sample]], pixels: Mapping[Path, bytes]) -> list[Problem]:
    train, gallery = splits.get("train", ()), splits.get("gallery", ())
    queries = [
        s for name, samples in splits.items() if name not in ("train", "gallery") for s in samples
    ]
    notes = []
    for what, first, second, fix in (
        (
            "queries lie in the gallery",
            queries,
            gallery,
            "take the copies out of the gallery: a copy is found by any model; partreid eval "
            "leaves such queries out",
        ),
        (
            "training images lie in the test",
            train,
            [*queries, *gallery],
            "take them out of one of the two: scores come out too good",
        ),
    ):
        for how, copies in (
            ("the same file", same_files(first, second)),
            (
                "the same pixels in another file",
                matched(first, second, lambda s: pixels.get(s.path)),
            ),
        ):
            # One crop that both asks and answers, as CUHK01's do, is hidden from itself by the
            # protocol.
            pairs = [
                (a, b)
                for a, b in copies
                if (a.path, a.camera) != (b.path, b.camera) or first is train
            ]
            if how.startswith("the same pixels"):
                bytewise = {
                    (a.path, b.path)
                    for a, b in same_files([a for a, _ in pairs], [b for _, b in pairs])
                }
                pairs = [(a, b) for a, b in pairs if (a.path, b.path) not in bytewise]
            if pairs:
                a, b = pairs[0]
                notes.append(
                    Problem(
                        f"{len({a.path for a, _ in pairs})} {what} as {how}, first "
                        f"{_spelled(a.path)} = {_spelled(b.path)}",
                        fix,
                    )
                )
    return notes


def _fingerprint(path: Path) -> bytes:
    import hashlib

    image = read_image(path)
    return hashlib.sha256(repr(image.size).encode() + np.asarray(image).tobytes()).digest()


def _spread(paths: Sequence[Path], most: int | None) -> list[Path]:
    if most is None or most >= len(paths):
        return list(paths)
    return [paths[i * len(paths) // most] for i in range(most)] if most > 0 else []


def _count(number: int, total: int) -> str:
    return f"{number} of {total} images"


def _names(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(_spelled(path) for path in paths[:SHOWN]) + more


def _spelled(name: object) -> str:
    """A name for a sentence; forms of one letter that look alike are told apart by escapes where
    they differ.
    """
    text = str(name)
    if unicodedata.normalize("NFC", text) != text:
        text = text.encode("ascii", "backslashreplace").decode()
    return brief(text, 200)
