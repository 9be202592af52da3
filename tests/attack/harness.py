"""A process that reads bad files for the tests, so that a crash, a hang or a greedy read costs one case and no more.

The tests talk to a warden, a Python that has imported everything once. It forks a worker, which reads file after file
under limits; when a worker dies or does not answer, the warden says so and forks the next. What a file may not do:

* end in anything but a result or a PartReidError,
* make a result that its door calls unsound (NaN, labels that no part has),
* take more than ``MEMORY`` beside what the process had, ``CPU`` seconds of work or ``WALL`` seconds of waiting,
* run a program: the worker's PATH leads to stand-ins that leave a mark, and so does the code in the crafted pickles.
"""

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

MEMORY = 2**30  # bytes that reading one small file may ask for
CPU, WALL = 10.0, 30.0  # seconds
LONGEST = 4000  # characters of a sentence
MARK = "RAN"  # a folder of this name in the worker's working directory: something was run
STAND_INS = ("gs", "gswin32c", "gswin64c", "touch", "sh", "convert", "xdg-open")

Kind = Literal["result", "refused", "traceback", "unsound", "memory", "slow", "hang", "killed", "ran", "wordy",
               "accepted"]


class Unsound(Exception):
    """A result that should have been refused."""


@dataclass(frozen=True)
class Outcome:
    """How one reading ended. said: the sentence, the end of the traceback, or the signal. grown: bytes."""

    kind: Kind
    said: str = ""
    seconds: float = 0.0
    grown: int = 0

    @property
    def good(self) -> bool:
        return self.kind in ("result", "refused")

    @property
    def place(self) -> str:
        """Where it went wrong: the last line of ours in a traceback, and the error. The same for the same fault."""
        ours = [line.strip() for line in self.said.splitlines() if "/partreid/" in line and line.startswith("  File")]
        last = self.said.strip().splitlines()[-1:] or [""]
        return f"{self.kind}: {ours[-1].split('/partreid/')[-1] if ours else ''} {last[0].partition(':')[0]}"


class Warden:
    """The other end of :func:`_serve`."""

    def __init__(self, scratch: Path) -> None:
        root = Path(__file__).resolve().parents[2]
        tools, home = scratch / "bin", scratch / "home"
        for folder in (tools, home):
            folder.mkdir(parents=True, exist_ok=True)
        for name in STAND_INS:
            (tools / name).write_text(f"#!{sys.executable}\nimport os\nos.makedirs({str(home / MARK)!r})\n")
            (tools / name).chmod(0o755)
        environment = {
            **os.environ, "PATH": str(tools), "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "", "MALLOC_ARENA_MAX": "1", "PYTHONFAULTHANDLER": "", "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen([sys.executable, "-m", "tests.attack.harness"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=open(scratch / "stderr.txt", "ab"), cwd=home,
                                        env=environment, text=True)

    def read(self, door: str, root: Path, warm: bool = False) -> Outcome:
        """What comes of the door's file below ``root``. warm: without limits, as a door is opened for the first
        time, when it imports its libraries."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"door": door, "root": str(root), "warm": warm}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the warden died with {self.process.wait()}")
        return Outcome(**json.loads(line))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def _serve(jobs: IO[str], answers: IO[str], attempt: Callable[[dict[str, Any]], Outcome]) -> None:
    """Jobs, a line each, through workers that may die."""
    worker: _Worker | None = None
    opened: dict[str, dict[str, Any]] = {}  # the good example of each door, with which a new worker warms up
    for line in jobs:
        job = json.loads(line)
        if job["warm"]:
            opened[job["door"]] = job
        if worker is None:
            worker = _Worker(attempt)
            if not job["warm"] and job["door"] in opened:
                worker.do(opened[job["door"]], patience=20 * WALL)
        outcome = worker.do(job, patience=WALL if not job["warm"] else 20 * WALL)
        if not worker.alive:
            worker = None
        print(json.dumps(asdict(outcome)), file=answers, flush=True)


class _Worker:
    def __init__(self, attempt: Callable[[dict[str, Any]], Outcome]) -> None:
        ask, to_do = os.pipe()
        done, say = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(to_do)
            os.close(done)
            with os.fdopen(ask) as jobs, os.fdopen(say, "w") as answers:
                for line in jobs:
                    print(json.dumps(asdict(attempt(json.loads(line)))), file=answers, flush=True)
            os._exit(0)
        os.close(ask)
        os.close(say)
        self.jobs, self.answers, self.alive = os.fdopen(to_do, "w"), os.fdopen(done), True

    def do(self, job: dict[str, Any], patience: float) -> Outcome:
        began = time.monotonic()
        self.jobs.write(json.dumps(job) + "\n")
        self.jobs.flush()
        ready, _, _ = select.select([self.answers], [], [], patience)
        line = self.answers.readline() if ready else ""
        if line:
            return Outcome(**json.loads(line))
        self.alive = False
        if not ready:
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        for pipe in (self.jobs, self.answers):
            pipe.close()
        if not ready:
            return Outcome("hang", f"no answer in {patience:.0f} s", time.monotonic() - began)
        code = os.waitstatus_to_exitcode(status)
        return Outcome("killed", f"by {signal.Signals(-code).name}" if code < 0 else f"exit {code}")


def attempt(job: dict[str, Any]) -> Outcome:
    """One reading in this process."""
    from partreid.errors import PartReidError
    from tests.attack.readers import DOORS

    door, mark = DOORS[job["door"]], Path.cwd() / MARK
    _limit(None if job["warm"] else MEMORY)
    before, began = _forget_peak(), time.process_time()
    kind: Kind = "result"
    said = ""
    try:
        found = door.read(Path(job["root"]))
        said = f"{found!r:.200}"
        door.sound(found)
    except PartReidError as error:
        said = str(error)
        kind = "memory" if _greedy(error) else "wordy" if len(said) > LONGEST or not said.strip() else "refused"
    except Unsound as error:
        kind, said = "unsound", f"{error}; {said}"
    except BaseException as error:  # whatever it is
        kind, said = "memory" if _greedy(error) else "traceback", _end_of(error)
    seconds, grown = time.process_time() - began, _peak() - before
    _limit(None)
    if mark.exists():
        mark.rmdir()
        kind = "ran"
    elif kind in ("result", "refused") and not job["warm"] and (grown > MEMORY or seconds > CPU):
        kind = "memory" if grown > MEMORY else "slow"
    return Outcome(kind, said[:LONGEST], seconds, grown)


def _end_of(error: BaseException) -> str:
    lines = traceback.format_exception(error)
    try:
        return "".join(lines)[-LONGEST:]
    except MemoryError:
        return type(error).__name__


def _greedy(error: BaseException) -> bool:
    """Whether the limit on memory is behind this."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, MemoryError) or any(word in str(one)[:400] for word in (
                "can't allocate memory", "not enough memory", "Unable to allocate", "MemoryError", "Cannot allocate",
                "malloc of size", "realloc of size", "out of memory", "MemoryAllocat")):
            return True
        todo += [one.__context__, one.__cause__]
    return False


def _limit(more: int | None) -> None:
    """No more than ``more`` bytes of addresses beside those in use; None: no limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = _status("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (used + more if more is not None and used else hard, hard))


def _status(name: str) -> int:
    """Bytes of a line of /proc/self/status; 0 where there is none."""
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))
    except (OSError, StopIteration):
        return 0


def _forget_peak() -> int:
    """The memory in use, from which the next peak counts."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass
    return _status("VmRSS") or _peak()


def _peak() -> int:
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _import() -> None:
    """What doors need, so that no worker does."""
    import importlib

    from partreid.layers.backbones import import_timm

    import_timm()
    for name in ("torch", "scipy.io", "h5py", "pyarrow.parquet", "safetensors.torch", "partreid.api",
                 "partreid.build", "partreid.convert", "partreid.labels.importing", "partreid.labels.sheet",
                 "partreid.labels.findings", "partreid.train.loop", "partreid.evaluation", "tests.attack.readers"):
        importlib.import_module(name)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever is printed
    _import()
    import torch

    torch.set_num_threads(1)
    _serve(sys.stdin, answers, attempt)


if __name__ == "__main__":
    main()
