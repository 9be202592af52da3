"""``python -m tests.attack.worker``: the warden and its workers, see ``harness.py``.

Jobs come as lines of JSON on standard input, an outcome goes back for each. The warden is never
where a file is read.
"""

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from partreid.errors import PartReidError
from tests.attack.fence import shut
from tests.attack.harness import (
    ACT_CPU,
    ACT_WALL,
    CPU,
    LONGEST,
    MARK,
    MEMORY,
    WALL,
    Kind,
    Outcome,
    Unsound,
)

NEEDED = (
    "scipy.io",
    "h5py",
    "pyarrow.parquet",
    "partreid.cli",
    "partreid.evaluation",
    "partreid.convert",
    "tests.attack.acts",
    "tests.attack.calls",
    "tests.attack.commands",
    "tests.attack.readers",
)
GREEDY = (
    "can't allocate memory",
    "not enough memory",
    "Unable to allocate",
    "MemoryError",
    "Cannot allocate",
    "malloc of size",
    "realloc of size",
    "out of memory",
    "not fit into memory",
)
Job = dict[str, Any]


def serve(jobs: IO[str], answers: IO[str]) -> None:
    """Jobs, a line each, through workers that may die."""
    worker: Worker | None = None
    opened: dict[str, Job] = {}  # the good example of each door, with which a new worker warms up
    for line in jobs:
        job = json.loads(line)
        if job["warm"]:
            opened[job["name"]] = job
        if worker is None:
            worker = Worker()
            if job["what"] == "door" and not job["warm"]:
                worker.do(opened[job["name"]], 20 * WALL)
        wall = ACT_WALL if job["what"] == "act" else WALL
        outcome = worker.do(job, 20 * wall if job["warm"] else wall)
        if job["what"] == "command" and worker.alive:
            worker.end()  # a command leaves things behind in its process, as it may
        if not worker.alive:
            worker = None
        print(json.dumps(asdict(outcome)), file=answers, flush=True)


class Worker:
    """A fork of the warden that reads until it is ended or dies."""

    def __init__(self) -> None:
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

    def do(self, job: Job, patience: float) -> Outcome:
        began = time.monotonic()
        self.jobs.write(json.dumps(job) + "\n")
        self.jobs.flush()
        ready, _, _ = select.select([self.answers], [], [], patience)
        line = self.answers.readline() if ready else ""
        if line:
            return Outcome(**json.loads(line))
        code = os.waitstatus_to_exitcode(self.end(kill=not ready))
        if not ready:
            return Outcome("hang", f"no answer in {patience:.0f} s", time.monotonic() - began)
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


def attempt(job: Job) -> Outcome:
    """One job in this process."""
    cpu = ACT_CPU if job["what"] == "act" else CPU
    (act, sound), mark = action(job), Path.cwd() / MARK
    _limit(None if job["warm"] else MEMORY)
    before, began = _forget_peak(), time.process_time()
    kind: Kind = "result"
    try:
        output = act()
        message = f"{output!r:.200}"
        sound(output)
    except PartReidError as error:
        message = str(error)
        kind = (
            "memory"
            if _greedy(error)
            else "wordy"
            if len(message) > LONGEST or not message.strip()
            else "refused"
        )
    except Unsound as error:
        kind, message = "unsound", str(error)
    except BaseException as error:  # whatever it is
        kind, message = "memory" if _greedy(error) else "traceback", _end_of(error)
    seconds, grown = time.process_time() - began, _peak() - before
    _limit(None)
    if mark.exists():
        mark.rmdir()
        kind = "ran"
    elif kind in ("result", "refused") and not job["warm"] and (grown > MEMORY or seconds > cpu):
        kind = "memory" if grown > MEMORY else "slow"
    return Outcome(kind, message[:4000], seconds, grown)


def action(job: Job) -> tuple[Callable[[], Any], Callable[[Any], object]]:
    """What a job asks for, and what may be said against its result."""
    from tests.attack import acts, calls, commands, readers

    if job["what"] == "door":
        door = readers.DOORS[job["name"]]
        return lambda: door.read(Path(job["root"])), door.sound
    if job["what"] == "call":
        return lambda: calls.called(job["name"], job["junk"], job["at"]), lambda output: None
    if job["what"] == "act":
        return acts.ACTS[job["name"]], lambda output: None
    return lambda: commands.run(job["arguments"], Path(job["root"])), lambda output: None


def _end_of(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))[-4000:]
    except MemoryError:
        return type(error).__name__


def _greedy(error: BaseException) -> bool:
    """Whether the limit on memory is behind this, even where a sentence was made of it."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, MemoryError) or any(word in str(one)[:400] for word in GREEDY):
            return True
        todo += [one.__context__, one.__cause__]
    return False


def _limit(more: int | None) -> None:
    """No more than ``more`` bytes of addresses beside those in use; None: no limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = _status("VmSize")
    resource.setrlimit(
        resource.RLIMIT_AS, (used + more if more is not None and used else hard, hard)
    )


def _status(name: str) -> int:
    """Bytes of a line of /proc/self/status; 0 where there is none."""
    try:
        with open("/proc/self/status") as lines:
            return next(
                int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":")
            )
    except (OSError, StopIteration):
        return 0


def _forget_peak() -> int:
    """The memory in use, from which the next peak counts."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status("VmRSS") or _peak()


def _peak() -> int:
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever is printed
    for name in NEEDED:
        importlib.import_module(name)
    import torch

    from partreid.layers.trunks import import_timm

    import_timm()
    torch.set_num_threads(1)
    shared = Path("/dev/shm")  # what torch's loader processes hand over lies there
    fenced = shut([Path(sys.argv[1]), *([shared] if shared.is_dir() else [])])
    print("fenced" if fenced else "open", file=answers, flush=True)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
