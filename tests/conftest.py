"""What all tests share: one thread per worker, the same seeds, patient but repeatable property
tests, a tiny world.
"""

import fcntl
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from partreid import build
from partreid.data.registry import BENCHMARKS
from partreid.data.synthetic import PRESETS, write
from partreid.data.transforms import TRANSFORMS
from partreid.export import export
from partreid.labels import LABEL_SOURCES
from partreid.labels.schemes import SCHEMES
from partreid.layers.trunks import BACKBONES
from partreid.recipes import PAPERS, Recipe, find, override
from partreid.train.loop import train
from partreid.types import Benchmark

# The first example of a property may pay for an import; the machine may be busy. Neither is a
# failure.
settings.register_profile(
    "partreid", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("partreid")

torch.set_num_threads(1)

# A training run of a second or two: what is learned does not matter, every line of code runs.
TOY = ("stages.epochs=2", "stages.batch=[4,2]", "size=[64,32]", "backbone.width=8")

Run = Callable[..., subprocess.CompletedProcess[str]]

KINDS = {  # of tests, by where they lie; all others are a room's own
    "tests/golden": "numeric cases of the papers",
    "tests/attack": "bad files and junk",
    "tests/test_cli.py": "command line",
    "tests/test_decide_cli.py": "command line",
    "tests/test_labels_cli.py": "command line",
    "tests/experiments": "whole experiments",
    "tests/test_docs.py": "documentation",
    "tests/test_site.py": "documentation",
    "tests/test_layers.py": "the house itself",
    "tests/test_words.py": "the house itself",
    "tests/test_package.py": "the house itself",
}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many tests of each kind ran, and what was tried of the corpus of bad files."""
    ran: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    for report in (r for kind in ("passed", "failed") for r in terminalreporter.getreports(kind)):
        place = next((place for place in KINDS if report.nodeid.startswith(place)), None)
        ran[KINDS[place] if place else "rooms"] += 1
        tried.update(dict(p for p in report.user_properties if p[0] in ("tried", "all")))
    if ran:
        counts = ", ".join(f"{kind} {n:,}" for kind, n in ran.most_common())
        terminalreporter.write_line(f"tests of each kind: {counts}")
    if tried["tried"] < tried["all"]:
        terminalreporter.write_line(
            f"bad files and command lines tried: {tried['tried']:,} of {tried['all']:,}; "
            f"all of them: make attack"
        )


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Every test starts from the same random state, alone or in company, and leaves torch's
    settings alone.
    """
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    yield
    if torch.get_num_threads() != threads:  # sums of floats, and so what is learned, depend on it
        torch.set_num_threads(threads)
    # setting it imports the compiler: 5 s
    if torch.are_deterministic_algorithms_enabled() != deterministic:
        torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this test session share. Write there only inside
    :func:`alone`.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "common"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def alone(folder: Path, name: str) -> Iterator[Path]:
    """``folder / name`` while no other worker is in here with the same name."""
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder / name


@pytest.fixture(scope="session")
def world(common: Path) -> Path:
    """The tiny synthetic world on disk. Tests must not change it; ``own_world`` is a copy that
    they may.
    """
    with alone(common, "world") as root:
        return write(PRESETS["tiny"], root, iuv=True, workers=1)  # left alone if it is there


@pytest.fixture()
def own_world(world: Path, tmp_path: Path) -> Path:
    """A copy of the tiny world to break."""
    return Path(shutil.copytree(world, tmp_path / "own_world"))


@pytest.fixture(scope="session")
def benchmark(world: Path) -> Benchmark:
    return build.benchmark("synthetic-tiny", world)


@pytest.fixture(scope="session")
def toy() -> Callable[..., Recipe]:
    """``toy("bpbreid", "stages.lr=0.1")``: the tiny recipe of a method, shrunk further."""

    def shrink(method: str = "bpbreid", *changes: str) -> Recipe:
        return override(find(f"synthetic/tiny/{method}"), (*TOY, *changes))

    return shrink


@pytest.fixture(scope="session")
def toy_options() -> tuple[str, ...]:
    """The command-line options that make ``synthetic/tiny/...`` a toy."""
    return tuple(word for change in TOY for word in ("--set", change))


@pytest.fixture(scope="session")
def trained(
    common: Path, benchmark: Benchmark, toy: Callable[..., Recipe]
) -> Callable[[str], Path]:
    """The finished toy run of a method, trained once per session. Tests must not change it."""

    def run(method: str = "bpbreid") -> Path:
        with alone(common, f"run-{method}") as folder:
            if not (folder / "model.safetensors").is_file():
                train(toy(method), benchmark, folder)
            return folder

    return run


@pytest.fixture(scope="session")
def exported(common: Path, trained: Callable[[str], Path]) -> Callable[[str], Path]:
    """The toy run of a method as an ONNX file, exported once per session; that of bpbreid has part
    maps. Tests must not change it.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"exporting needs {package}: partreid[export]")

    def file(method: str = "bpbreid") -> Path:
        run = trained(method)
        with alone(common, f"{method}.onnx") as out:
            if not out.is_file():
                export(run, out, with_parts=method == "bpbreid")
            return out

    return file


@pytest.fixture(scope="session")
def partreid() -> Run:
    """``partreid("train", ...)`` in a process of its own, one thread, without a GPU."""

    def run(
        *arguments: str | Path, cwd: Path | None = None, timeout: float = 240
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "partreid", *map(str, arguments)],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd=cwd,
            timeout=timeout,
            env=quiet_environment(),
        )

    return run


TELEMETRY = "ORT_DISABLE_TELEMETRY"
os.environ[TELEMETRY] = "1"  # tests ask whether onnxruntime is there, and so import it


def quiet_environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    given = {k: v for k, v in os.environ.items() if k != TELEMETRY}  # commands must see to it
    return {
        **given,
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


@pytest.fixture(scope="session")
def together(common: Path, world: Path, partreid: Run, toy_options: tuple[str, ...]) -> Path:
    """A run of isp that two processes trained, once per session. Tests must not change it."""
    with alone(common, "together") as folder:
        if not (folder / "model.safetensors").is_file():
            command = ("train", "synthetic/tiny/isp", "--data", world, "--out", folder)
            done = partreid(*command, "--devices", "2", *toy_options)
            assert done.returncode == 0, done.stderr
            assert done.stderr.count("trained: ") == 1
        return folder


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Environment of a child process: one thread, no GPU, this checkout first."""
    return quiet_environment()


@pytest.fixture(scope="session")
def quick_demo(common: Path, partreid: Run) -> Path:
    """Working folder of ``partreid demo --quick --json demo.json``, run once per session; holds
    partreid-demo/.
    """
    with alone(common, "demo") as folder:
        if not (folder / "demo.json").is_file():
            folder.mkdir(exist_ok=True)
            done = partreid("demo", "--quick", "--json", "demo.json", cwd=folder)
            assert done.returncode == 0, done.stderr
            (folder / "said.txt").write_text(done.stdout)
        return folder


@pytest.fixture()
def own_tables() -> Iterator[None]:
    """What a test registers goes again."""
    every: tuple[MutableMapping[str, Any], ...] = (
        PAPERS,
        LABEL_SOURCES,
        SCHEMES,
        BENCHMARKS,
        BACKBONES,
        TRANSFORMS,
    )
    before = [set(table) for table in every]
    yield
    for table, names in zip(every, before, strict=True):
        for name in set(table) - names:
            del table[name]
