"""How a synthetic world gets to disk: by several processes, every file whole or not at all."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from PIL import Image

T = TypeVar("T")
Progress = Callable[[int, int], None]
_THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def over_processes(
    job: Callable[[T], int], chunks: Sequence[T], workers: int | None
) -> Iterator[int]:
    """What the job gives for each chunk, as they come. workers: None = one per core, 1 = none but
    this process.
    """
    workers = min(workers or os.cpu_count() or 1, len(chunks))
    if workers <= 1:
        yield from map(job, chunks)
        return
    # NumPy reads these when a worker imports it; more threads than processes only get in each
    # other's way.
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            yield from pool.imap_unordered(job, chunks)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def save(image: Image.Image, path: Path, form: str, **options: Any) -> None:
    """A picture through a file beside it."""
    partial_file = path.with_name(f".{path.name}.part")
    image.save(partial_file, form, **options)
    os.replace(partial_file, path)


def write_text(path: Path, text: str) -> None:
    """A text through a file beside it."""
    partial_file = path.with_name(f".{path.name}.part")
    partial_file.write_text(text)
    os.replace(partial_file, path)
