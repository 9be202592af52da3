"""A process that reads bad files for the tests, so that a crash, a hang or a greedy read costs one case and no more.

The tests talk to a warden, a Python that has imported everything once. It forks a worker, which reads file after file
under limits; when a worker dies or does not answer, the warden says so and forks the next. What a file may not do:

* end in anything but a result or a PartReidError,
* make a result that its door calls unsound (NaN, labels that no part has),
* take more than ``MEMORY`` beside what the process had, ``CPU`` seconds of work or ``WALL`` seconds of waiting,
* run a program: the worker's PATH leads to stand-ins that leave a mark, and so does the code in the crafted pickles.

Where the system offers one, a fence keeps all of it from writing outside the tests' own folder, see ``fence.py``.
"""

import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

from tests.attack.fence import shut

MEMORY = 2**30  # bytes that reading one small file may ask for
CPU, WALL = 10.0, 30.0  # seconds
LONGEST = 20_000  # characters of a sentence
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

    def __init__(self, scratch: Path, inside: Path, wall: float = WALL, cpu: float = CPU) -> None:
        """scratch: for itself. inside: below which all that it is given lies; it can write nowhere else, if ``fenced``.
        wall, cpu: its patience in seconds."""
        root = Path(__file__).resolve().parents[2]
        tools, home, temporary = scratch / "bin", scratch / "home", scratch / "tmp"
        for folder in (tools, home, temporary):
            folder.mkdir(parents=True, exist_ok=True)
        for name in STAND_INS:
            (tools / name).write_text(f"#!{sys.executable}\nimport os\nos.makedirs({str(home / MARK)!r})\n")
            (tools / name).chmod(0o755)
        environment = {
            **os.environ, "PATH": str(tools), "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "", "MALLOC_ARENA_MAX": "1", "PYTHONFAULTHANDLER": "", "HF_HUB_OFFLINE": "1",
            "HOME": str(home), "TMPDIR": str(temporary), "COLUMNS": "80"}
        self.process = subprocess.Popen([sys.executable, "-m", "tests.attack.harness", str(inside), str(wall),
                                         str(cpu)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=open(scratch / "stderr.txt", "ab"), cwd=home,
                                        env=environment, text=True)
        assert self.process.stdout is not None
        self.fenced = self.process.stdout.readline() == "fenced\n"

    def read(self, door: str, root: Path, warm: bool = False) -> Outcome:
        """What comes of the door's file below ``root``. warm: without limits, as a door is opened for the first
        time, when it imports its libraries."""
        return self._do({"what": "door", "door": door, "root": str(root), "warm": warm})

    def call(self, name: str, junk: str, at: str | None = None) -> Outcome:
        """What comes of a documented function if it is given ``junk``, see :mod:`tests.attack.calls`."""
        return self._do({"what": "call", "door": name, "junk": junk, "at": at, "warm": False})

    def command(self, arguments: Sequence[str], folder: Path, warm: bool = False) -> Outcome:
        """What comes of ``partreid ARGUMENTS`` in a folder: a result if all is well, refused if the exit status is 2."""
        return self._do({"what": "command", "door": arguments[0] if arguments else "", "arguments": list(arguments),
                         "root": str(folder), "warm": warm})

    def act(self, name: str) -> Outcome:
        """Something that a reader must not do, see :mod:`tests.attack.acts`."""
        return self._do({"what": "act", "door": name, "warm": False})

    def _do(self, job: dict[str, Any]) -> Outcome:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
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


def _serve(jobs: IO[str], answers: IO[str], wall: float, cpu: float) -> None:
    """Jobs, a line each, through workers that may die."""
    worker: _Worker | None = None
    opened: dict[str, dict[str, Any]] = {}  # the good example of each door, with which a new worker warms up
    for line in jobs:
        job = json.loads(line)
        if job["warm"]:
            opened[job["door"]] = job
        if worker is None:
            worker = _Worker(cpu)
            if not job["warm"] and job["door"] in opened:
                worker.do(opened[job["door"]], patience=20 * wall)
        outcome = worker.do(job, patience=wall if not job["warm"] else 20 * wall)
        if job["what"] == "command" and worker.alive:
            worker.end()  # a command leaves things behind in its process, as it may
        if not worker.alive:
            worker = None
        print(json.dumps(asdict(outcome)), file=answers, flush=True)


class _Worker:
    def __init__(self, cpu: float) -> None:
        ask, to_do = os.pipe()
        done, say = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(to_do)
            os.close(done)
            with os.fdopen(ask) as jobs, os.fdopen(say, "w") as answers:
                for line in jobs:
                    print(json.dumps(asdict(attempt(json.loads(line), cpu))), file=answers, flush=True)
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
        status = self.end(kill=not ready)
        if not ready:
            return Outcome("hang", f"no answer in {patience:.0f} s", time.monotonic() - began)
        code = os.waitstatus_to_exitcode(status)
        return Outcome("killed", f"by {signal.Signals(-code).name}" if code < 0 else f"exit {code}")


    def end(self, kill: bool = True) -> int:
        """No more of it; how it ended."""
        self.alive = False
        if kill:
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        for pipe in (self.jobs, self.answers):
            with contextlib.suppress(OSError):
                pipe.close()
        return status


def attempt(job: dict[str, Any], cpu: float) -> Outcome:
    """One reading in this process, which may take so many seconds of work."""
    from partreid.errors import PartReidError

    act, sound, mark = *_action(job), Path.cwd() / MARK
    _limit(None if job["warm"] else MEMORY)
    before, began = _forget_peak(), time.process_time()
    kind: Kind = "result"
    said = ""
    try:
        found = act()
        said = f"{found!r:.200}"
        sound(found)
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
    elif kind in ("result", "refused") and not job["warm"] and (grown > MEMORY or seconds > cpu):
        kind = "memory" if grown > MEMORY else "slow"
    return Outcome(kind, said[:4000], seconds, grown)


def _action(job: dict[str, Any]) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    """What a job asks for, and what is to be said against its result."""
    if job["what"] == "door":
        from tests.attack.readers import DOORS

        door = DOORS[job["door"]]
        return lambda: door.read(Path(job["root"])), door.sound
    if job["what"] == "call":
        from tests.attack.calls import called

        return lambda: called(job["door"], job["junk"], job["at"]), lambda found: None
    if job["what"] == "act":
        from tests.attack.acts import ACTS

        return ACTS[job["door"]], lambda found: None
    from tests.attack.commands import run

    return lambda: run(job["arguments"], Path(job["root"])), lambda found: None


def _end_of(error: BaseException) -> str:
    lines = traceback.format_exception(error)
    try:
        return "".join(lines)[-4000:]
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
    shared = Path("/dev/shm")  # what torch's loader processes hand over lies there
    fenced = shut([Path(sys.argv[1]), *([shared] if shared.is_dir() else [])])
    print("fenced" if fenced else "open", file=answers, flush=True)
    _serve(sys.stdin, answers, float(sys.argv[2]), float(sys.argv[3]))


if __name__ == "__main__":
    from tests.attack.harness import main as start  # not as __main__: the readers know this module by its name

    start()
