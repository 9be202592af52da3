"""The command that serves a gallery."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from partreid.cli.base import Port, app


@app.command
def serve(
    run: Path,
    *,
    gallery: str,
    host: str = "127.0.0.1",
    port: Port = 8517,
    api_key_file: Path | None = None,
    keep_crops: Annotated[bool, Parameter(negative="")] = False,
    calibration: Path | None = None,
    device: str = "auto",
) -> None:
    """Serve a gallery: JSON for programs, and a page for people, at http://127.0.0.1:8517.

    Args:
        run: Run folder or model.safetensors, or a file of partreid export; on a CPU model.onnx in
            the folder is taken, if there is one.
        gallery: Folder of the gallery, made if there is none, or postgresql://user@host/database.
        host: Address to listen on; any that other machines can reach needs a key.
        port: Port to listen on; 0 takes one that is free.
        api_key_file: File with the key that every request must send as Authorization: Bearer;
            default the variable PARTREID_API_KEY, if it is set.
        keep_crops: Keep a small picture of every crop that is enrolled; without it none is kept.
        calibration: What decides; default calibration.json beside the model, see: partreid
            calibrate
        device: auto, cpu or cuda.
    """
    from partreid.serve.server import Address
    from partreid.serve.server import serve as run_service

    run_service(
        run,
        gallery,
        Address(host, port),
        api_key_file=api_key_file,
        keep_crops=keep_crops,
        calibration=calibration,
        device=device,
    )
