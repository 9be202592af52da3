"""The gallery behind one thread: its connection is used by one request at a time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from partreid.errors import DataError, PartReidError
from partreid.gallery import Gallery

T = TypeVar("T")


class Unreachable(PartReidError):
    """The gallery's server does not answer."""


class Shelf:
    """An open gallery that is opened again if its server was away.

    Args:
        reopen: Gives the gallery; called at once, and after its connection was lost.
    """

    def __init__(self, reopen: Callable[[], Gallery]) -> None:
        self._reopen = reopen
        self._gallery: Gallery | None = reopen()
        self._thread = ThreadPoolExecutor(1, "partreid-gallery")

    async def read(self, work: Callable[[Gallery], T]) -> T:
        """What ``work`` makes of the gallery; tried twice if the connection is lost meanwhile.

        Raises:
            Unreachable: The server does not answer.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._twice, work)

    async def write(self, work: Callable[[Gallery], T]) -> T:
        """The same once: whether a change that was cut off has been made, nobody knows."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._once, work)

    def close(self) -> None:
        """Finish what waits, then close the gallery."""
        self._thread.shutdown()
        self._drop()

    def _twice(self, work: Callable[[Gallery], T]) -> T:
        try:
            return self._once(work)
        except Unreachable:
            return self._once(work)

    def _once(self, work: Callable[[Gallery], T]) -> T:
        if self._gallery is None:
            try:
                self._gallery = self._reopen()
            except DataError as error:
                raise Unreachable(str(error)) from None
        try:
            return work(self._gallery)
        except Exception as error:
            if not _is_lost(error):
                raise
            self._drop()
            raise Unreachable(
                "the gallery's server was lost meanwhile; ask again, and if this was a change, "
                "look first whether it was made"
            ) from None

    def _drop(self) -> None:
        gallery, self._gallery = self._gallery, None
        if gallery is not None:
            with suppress(Exception):  # the connection may be gone already
                gallery.close()


def _is_lost(error: BaseException | None) -> bool:
    """Whether an error, or what led to it, is psycopg's word for a server that went away."""
    while error is not None:
        kind = type(error)
        if kind.__module__.partition(".")[0] == "psycopg":
            names = {base.__name__ for base in kind.__mro__}
            if names & {"OperationalError", "InterfaceError"}:
                return True
        error = error.__cause__ or error.__context__
    return False
