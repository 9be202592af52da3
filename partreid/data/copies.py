"""Images that are one and the same file, or the same picture under two names."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from partreid.types import Sample
from partreid.utils.files import MIB

Key = TypeVar("Key", bound=Hashable)


def same_files(first: Sequence[Sample], second: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    """Pairs of images of two lists with the same bytes: one file, a link to it, or a copy.

    Sizes are compared first, and only what has an equal on the other side is read, so a large
    gallery costs a look at each file. What cannot be read is nobody's copy; whoever reads it as a
    picture says so.
    """
    sizes = [{size for s in samples if (size := _size(s.path))} for samples in (first, second)]
    both = sizes[0] & sizes[1]

    def content(sample: Sample) -> str | None:
        return _digest(sample.path) if _size(sample.path) in both else None

    return matched(first, second, content)


def matched(
    first: Sequence[Sample], second: Sequence[Sample], key: Callable[[Sample], Key | None]
) -> list[tuple[Sample, Sample]]:
    """Pairs of samples of two lists with the same key; None is like nothing. A path is asked for
    its key once.
    """
    known: dict[Path, Key | None] = {}

    def of(samples: Iterable[Sample]) -> Iterable[tuple[Sample, Key]]:
        for s in samples:
            if s.path not in known:
                known[s.path] = key(s)
            mark = known[s.path]
            if mark is not None:
                yield s, mark

    answers: dict[Key, list[Sample]] = {}
    for s, mark in of(second):
        answers.setdefault(mark, []).append(s)
    return [(s, answer) for s, mark in of(first) for answer in answers.get(mark, ())]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):
        return None


def _digest(path: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(MIB):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()
