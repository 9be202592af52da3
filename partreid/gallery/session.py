"""An open gallery's connection: one thread at a time, and transactions that see one version."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from partreid.errors import DataError
from partreid.gallery import forget
from partreid.gallery.schema import Bound
from partreid.gallery.search import Table
from partreid.gallery.server import server_errors
from partreid.utils.arguments import door

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Session")


def alone(function: "Callable[Concatenate[S, P], R]") -> "Callable[Concatenate[S, P], R]":
    """One thread at a time, and what the server says against it in one sentence."""

    @wraps(function)
    def guarded(session: S, *args: P.args, **kwargs: P.kwargs) -> R:
        with session._lock, server_errors():
            return function(session, *args, **kwargs)

    return guarded


class Session:
    """A connection to a gallery, and the model that this is bound to."""

    @door
    def __init__(self, connection: Any, bound: Bound, recipe: str, folder: Path | None) -> None:
        self._connection, self._folder = connection, folder
        self._lock = threading.RLock()
        self._seen: int | None = None  # the version that a snapshot sees
        self._bind(bound, recipe)

    def _bind(self, bound: Bound, recipe: str) -> None:
        self.bound, self.recipe = bound, recipe
        self.distance, self.names, self.width = bound.distance, bound.names, bound.width
        self._table = Table(self._connection, bound.distance, bound.names, bound.width)

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; what was added stays."""
        self._connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Whatever is asked inside is answered from the crops of one version, and quicker.

        Raises:
            DataError: Something inside changes the gallery.

        Examples:
            >>> with gallery.snapshot():
            ...     len(gallery) == sum(gallery.people().values()) + 2
            True
        """
        with self._lock, server_errors(), self._reading():
            yield

    @contextmanager
    def _reading(self) -> Iterator[int]:
        """A transaction that sees the crops of one version, which it gives."""
        from psycopg import IsolationLevel

        if self._seen is not None:
            yield self._seen
            return
        connection = self._connection
        # Said with BEGIN, for every word to the server is a wait.
        connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True
        try:
            with connection.transaction():
                self._seen = self._require_unchanged()
                yield self._seen
        finally:
            self._seen = None
            if not connection.closed:
                connection.isolation_level, connection.read_only = None, None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction that alone changes crops."""
        self._require_no_snapshot()
        with self._connection.transaction():
            forget.change(self._connection)
            self._require_unchanged()
            yield

    def _require_no_snapshot(self) -> None:
        if self._seen is not None:
            raise DataError(
                "a snapshot of a gallery is for reading; change the gallery, or score new crops, "
                "before or after it"
            )

    def _require_unchanged(self) -> int:
        version, same = self._connection.execute(
            "SELECT version, bound = %s FROM gallery", (str(self.bound),)
        ).fetchone()
        if not same:
            raise DataError(
                "the gallery was taken over to another model since it was opened; open it again"
            )
        return int(version)
