"""``partreid serve`` as a process: what it refuses at the start, and how it stops."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from partreid.export.method import Exported
from tests.conftest import Run
from tests.serve.conftest import Running
from tests.serve.made import encoded, person


def refused(done: "subprocess.CompletedProcess[str]", *words: str) -> None:
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("partreid: ") and all(word in line for word in words), line


def test_an_open_address_without_a_key_is_refused(partreid: Run, tmp_path: Path) -> None:
    done = partreid("serve", "none", "--gallery", tmp_path / "g", "--host", "0.0.0.0")
    refused(done, "0.0.0.0 can be reached", "--api-key-file", "PARTREID_API_KEY")
    assert not (tmp_path / "g").exists()


def test_a_port_that_is_taken_is_said_before_any_work(
    partreid: Run, database: Callable[[], str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = partreid("serve", "none", "--gallery", tmp_path / "g", "--port", str(port))
    refused(done, f"127.0.0.1:{port}", "another --port")


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from partreid.errors import DataError
    from partreid.serve.server import serve

    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(DataError, match=r"pip install 'partreid\[serve,gallery\]'"):
        serve(tmp_path / "run", tmp_path / "gallery")


def test_a_stop_loses_nothing_that_was_acknowledged(
    calibrated: Path,
    database: Callable[[], str],
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    import httpx2
    import psycopg

    url, key = database(), tmp_path / "key"
    key.write_text("a-key-of-many-letters")
    words = ["serve", calibrated, "--gallery", url, "--port", "0", "--api-key-file", key]
    process = subprocess.Popen(
        [sys.executable, "-m", "partreid", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stderr is not None
    address = None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if match := re.search(r"serving (http://127\.0\.0\.1:\d+) ", line):
            address = match[1]
            break
    assert address, "".join(lines)
    acknowledged: list[int] = []
    enough = threading.Event()
    headers = {"authorization": "Bearer a-key-of-many-letters"}

    def enrol(seed: int) -> None:
        with httpx2.Client(
            base_url=address, headers=headers, transport=httpx2.HTTPTransport(retries=5)
        ) as client:
            for shot in range(500):
                try:
                    got = client.post("/enrol", files={"crops": encoded(person(seed, shot))})
                except httpx2.TransportError:
                    return  # stopped; this one was not acknowledged
                if got.status_code != 201:
                    return
                acknowledged.extend(got.json()["ids"])
                if len(acknowledged) > 20:
                    enough.set()

    threads = [threading.Thread(target=enrol, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    assert enough.wait(120)
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.read()
    assert process.wait(60) == 0, rest
    for thread in threads:
        thread.join(30)
    assert "stopped; all that was acknowledged is kept" in rest and "Traceback" not in rest
    with psycopg.connect(url) as connection:
        kept = {row[0] for row in connection.execute("SELECT id FROM partreid.crops")}
    assert len(acknowledged) > 20 and set(acknowledged) <= kept
    # requests under way were finished and answered, so there is hardly one more
    assert len(kept - set(acknowledged)) <= 4


def test_a_gallery_of_another_model_is_refused(
    calibrated: Path,
    trained: Callable[[str], Path],
    database: Callable[[], str],
    partreid: Run,
) -> None:
    from partreid.gallery import open_gallery
    from partreid.inference import load

    url: Any = database()
    open_gallery(url, load(calibrated, "cpu")).close()
    done = partreid("serve", trained("bot"), "--gallery", url, "--port", "0")
    assert done.returncode == 2 and "made for another model" in done.stderr


@pytest.fixture
def with_export(
    calibrated: Path, exported: Callable[[str], Path], tmp_path: Path
) -> Callable[[str], Path]:
    """The run that decides, with a file beside it that was exported of some run."""

    def make(method: str) -> Path:
        run = Path(shutil.copytree(calibrated, tmp_path / "run"))
        shutil.copy(exported(method), run / "model.onnx")
        return run

    return make


def test_the_exported_model_describes_crops(
    with_export: Callable[[str], Path],
    calibrated: Path,
    running: Running,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from partreid.inference import load
    from partreid.serve.server import served

    run = with_export("bpbreid")
    model, original = served(run, "cpu", None), load(calibrated, "cpu")
    assert isinstance(model.method, Exported)
    assert f"describing crops with {run / 'model.onnx'}" in capsys.readouterr().err
    crops = [person(seed, shot) for seed in range(3) for shot in range(2)]
    mine, theirs = model.embed(crops), original.embed(crops)
    assert torch.allclose(mine.vectors, theirs.vectors, atol=1e-4)
    assert torch.allclose(mine.visibility, theirs.visibility, atol=1e-4)
    with running(model=model, keep_crops=True) as service:
        ids = [service.enrol(seed, person=f"p{seed}")[0] for seed in range(3)]
        hits = service.search(1, 1)["hits"]
        far = original.method.distance(theirs.rows([3]), theirs.rows([0, 2, 4]))[0].tolist()
        ranked = sorted(zip(far, ids, strict=True))
        assert [hit["crop"]["id"] for hit in hits] == [number for _, number in ranked]
        assert [hit["pair"]["distance"] for hit in hits] == pytest.approx(
            [distance for distance, _ in ranked], abs=1e-4
        )
        assert hits[0]["pair"]["same"] is not None or hits[0]["pair"]["reason"]
        assert service.client.get(f"/crops/{ids[0]}/parts").status_code == 200


def test_an_export_of_other_weights_is_left_alone_and_that_is_said(
    with_export: Callable[[str], Path], calibrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from partreid.serve.server import served

    run = with_export("bot")
    model = served(run, "cpu", None)
    output = capsys.readouterr().err
    assert "exported of other weights" in output and f"partreid export {run} --out" in output
    assert not isinstance(model.method, Exported) and model.calibration is not None
