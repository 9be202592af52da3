"""One model for all requests: what waits is embedded together."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from partreid.errors import PartReidError

T = TypeVar("T")
R = TypeVar("R")


class Busy(PartReidError):
    """More is asked for than can be done soon."""


@dataclass(frozen=True, eq=False)
class _Request(Generic[T, R]):
    entries: tuple[T, ...]
    answer: "asyncio.Future[list[R]]"


class Batcher(Generic[T, R]):
    """A queue before a function that is quicker with many entries at once.

    While it works, requests gather; they are its next batch. So a single one never waits for
    company, and the busier it is, the larger are the batches.

    Args:
        work: Entries to as many results; runs in a thread of its own, one call at a time.
        most: Entries of a batch, unless one request has more.
        waiting: Entries that may wait; Busy beyond.
        took: Is told how many entries each batch had.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R]],
        most: int = 32,
        waiting: int = 256,
        took: Callable[[int], None] = lambda many: None,
    ) -> None:
        self._work, self._most, self._limit, self._took = work, most, waiting, took
        self._queue: deque[_Request[T, R]] = deque()
        self._thread = ThreadPoolExecutor(1, "partreid-model")
        self._worker: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Entries that wait."""
        return sum(len(request.entries) for request in self._queue)

    async def __call__(self, entries: Sequence[T]) -> list[R]:
        """The results of these entries, in their order.

        Raises:
            Busy: Too many wait already.
        """
        if self.waiting + len(entries) > max(self._limit, len(entries)):
            raise Busy("the model has more to do than it can soon; send it again in a moment")
        request: _Request[T, R] = _Request(
            tuple(entries), asyncio.get_running_loop().create_future()
        )
        self._queue.append(request)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._run())
        return await request.answer

    async def close(self) -> None:
        """Finish what waits, then end the thread."""
        if self._worker is not None:
            await self._worker
        self._thread.shutdown()

    async def _run(self) -> None:
        while self._queue:
            batch = [self._queue.popleft()]
            while self._queue and (
                sum(len(r.entries) for r in batch) + len(self._queue[0].entries) <= self._most
            ):
                batch.append(self._queue.popleft())
            try:
                await self._answer(batch)
            except Exception as error:
                if len(batch) == 1:
                    _fail(batch[0], error)
                else:  # whose entry it was: one bad picture is no failure of others
                    await self._one_by_one(batch)

    async def _one_by_one(self, batch: Sequence[_Request[T, R]]) -> None:
        for request in batch:
            try:
                await self._answer([request])
            except Exception as error:
                _fail(request, error)

    async def _answer(self, batch: Sequence[_Request[T, R]]) -> None:
        entries = [entry for request in batch for entry in request.entries]
        loop = asyncio.get_running_loop()
        results = list(await loop.run_in_executor(self._thread, self._work, entries))
        self._took(len(entries))
        for request in batch:
            mine, results = results[: len(request.entries)], results[len(request.entries) :]
            if not request.answer.done():  # whoever asked may have gone
                request.answer.set_result(mine)


def _fail(request: "_Request[T, R]", error: Exception) -> None:
    if not request.answer.done():
        request.answer.set_exception(error)
