"""Work that is done one batch ahead: the next is read while the current one is computed on."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

One = TypeVar("One")
Made = TypeVar("Made")


def ahead(
    items: Sequence[One], make: Callable[[One], Made], batch: int, workers: int = 1
) -> Iterator[tuple[Sequence[One], list[Made]]]:
    """Batches of items with what is made of each, in order.

    While a batch is in the caller's hands the next is made by threads; no more than these two are
    held. Reading pictures and resizing them leave Python's lock to others, so that this overlaps
    with a network at work.

    Args:
        items: All of them.
        make: Called once for each, in threads; what it raises reaches the caller with its batch.
        batch: How many at once, at least 1.
        workers: Threads, at least 1.

    Examples:
        >>> for some, squares in ahead([1, 2, 3], lambda x: x * x, batch=2):
        ...     print(some, squares)
        [1, 2] [1, 4]
        [3] [9]
    """
    batches = [items[start : start + batch] for start in range(0, len(items), batch)]
    if not batches:
        return
    with ThreadPoolExecutor(workers) as pool:
        coming = [pool.submit(make, item) for item in batches[0]]
        try:
            for index, some in enumerate(batches):
                done = [job.result() for job in coming]
                following = batches[index + 1] if index + 1 < len(batches) else ()
                coming = [pool.submit(make, item) for item in following]
                yield some, done
        finally:
            for job in coming:
                job.cancel()  # the caller is done, or has failed
