"""The service on a port: everything that can be refused is refused before the model is loaded."""

import signal
import socket
import warnings
from dataclasses import dataclass
from os.path import isdir, lexists
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from partreid.errors import DataError
from partreid.evaluation.decision import FILE
from partreid.export.method import Exported
from partreid.gallery import open_gallery
from partreid.inference import Model, load
from partreid.serve.access import Access, read_key, require_key
from partreid.serve.app import create
from partreid.serve.batching import Batcher
from partreid.serve.describe import Describer, Steady
from partreid.serve.desk import Desk
from partreid.serve.limits import Limits
from partreid.serve.metrics import Metrics
from partreid.serve.shelf import Shelf
from partreid.utils import ui
from partreid.utils.arguments import door, integer
from partreid.utils.text import reason

HOST, PORT = "127.0.0.1", 8517
EXPORTED = "model.onnx"  # in a run folder: what describes crops on a CPU
_INSTALL = "the service needs FastAPI and uvicorn: pip install 'partreid[serve,gallery]'"
_PATIENCE = 30  # seconds that requests under way are given when the service is stopped
_CONNECTIONS = 128


@dataclass(frozen=True)
class Address:
    """Where the service listens.

    Args:
        host: A name or address of this machine.
        port: From 1, or 0 for one that is free.
    """

    host: str = HOST
    port: int = PORT


@door
def serve(
    run: Path,
    gallery: str | Path,
    address: Address | None = None,
    *,
    api_key_file: Path | None = None,
    keep_crops: bool = False,
    calibration: Path | None = None,
    device: str = "auto",
    limits: Limits | None = None,
) -> None:
    """Answer until the process is told to stop (SIGTERM, Ctrl-C); what is under way is finished.

    Args:
        run: The model's folder.
        gallery: A folder, or the address of a PostgreSQL database; made if there is none.
        address: Where to listen; None: this machine alone.
        api_key_file: Holds the key that every request must have.
        keep_crops: Keep a small picture of what is enrolled.
        calibration: What decides; None: the one beside the model.
        device: auto, cpu or cuda.
        limits: How much may be asked for; None: the usual.

    Raises:
        DataError: The port is taken, a key is missing, an extra is not installed, or model, gallery
            and calibration do not fit together.
    """
    address, limits = address or Address(), limits or Limits()
    key = read_key(api_key_file)
    require_key(address.host, key)
    uvicorn = _uvicorn()
    # Of pictures that are refused: their senders are told, and nobody else needs to know.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    with _bound(address) as listening:
        model = Steady(served(run, device, calibration))
        metrics = Metrics()

        def took(many: int) -> None:
            metrics.count("batches")
            metrics.count("described_crops", many)

        shelf = Shelf(lambda: open_gallery(gallery, model))
        desk = Desk(
            model,
            shelf,
            Batcher(Describer(model), waiting=limits.waiting, took=took),
            keep_crops,
        )
        config = uvicorn.Config(
            create(desk, Access(key), limits, metrics),
            http="h11",
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,  # who searched for whom is nobody's business
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=limits.idle,
            timeout_graceful_shutdown=_PATIENCE,
        )
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        ui.say(f"serving http://{shown}:{port} with {model.recipe.name}; Ctrl-C stops it")
        if desk.calibration is None:
            ui.say("nothing is decided: this run has no calibration, see partreid calibrate --help")
        _until_stopped(uvicorn.Server(config), listening)
    ui.say("stopped; all that was acknowledged is kept")


def served(run: str | Path, device: str, calibration: str | Path | None) -> Model:
    """The model of a run: on a CPU the exported one that lies in its folder, if there is one, for
    it is faster. One that was exported of other weights than the folder now has is left alone, and
    that is said.

    Args:
        run: Run folder, model.safetensors, or a file of ``partreid export``.
        device: auto, cpu or cuda.
        calibration: What decides; None: the one in the exported file, or beside the model.

    Returns:
        The model.

    Raises:
        DataError: As of :func:`partreid.inference.load`.
    """
    file, beside = Path(run) / EXPORTED, Path(run) / FILE
    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if on_gpu or not isdir(run) or not lexists(file):
        return load(run, device, calibration)
    model, original = load(file, device), load(run, device)
    if not isinstance(model.method, Exported) or model.method.origin != original.bound.model:
        ui.say(
            f"{file} was exported of other weights than the run has, so the run itself describes "
            f"crops; export it again: partreid export {run} --out {file}"
        )
        return load(run, device, calibration)
    if calibration is None and model.calibration is None and lexists(beside):
        calibration = beside
    if calibration is not None:
        model = load(file, device, calibration)
    ui.say(f"describing crops with {file}")
    return model


def _until_stopped(server: Any, listening: socket.socket) -> None:
    """Run it. The signals that stop it end it in order, and are not raised a second time."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: None) for number in signals}
    try:
        server.run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _uvicorn() -> Any:
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn
    except ModuleNotFoundError:
        raise DataError(_INSTALL) from None
    return uvicorn


def _bound(address: Address) -> socket.socket:
    """A socket that has the port, and does not listen yet."""
    integer("the port", address.port, 0, 65535)
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
    except OSError as error:
        raise DataError(
            f"{address.host}:{address.port} cannot be listened on ({reason(error)}); give another "
            "--port, or a --host of this machine"
        ) from None
    return listening
