"""A process that reads bad files for the tests, so that a crash, a hang or a greedy read costs one
case and no more.

The tests talk to a warden, a Python that has imported everything once, see ``worker.py``. It forks
a worker, which reads file after file under limits; when a worker dies or does not answer, the
warden says so and forks the next. What a file may not do:

* end in anything but a result or a PartReidError,
* make a result that its door calls unsound (NaN, labels that no part has),
* take more than ``MEMORY`` beside what the process had, ``CPU`` seconds of work or ``WALL`` seconds
  of waiting,
* run a program: the worker's PATH leads to stand-ins that leave a mark, and so does the code in the
  crafted pickles.

Where the system offers one, a fence keeps all of it from writing outside the tests' own folder, see
``fence.py``.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

MEMORY = 2**30  # bytes that reading one small file may ask for
CPU, WALL = 10.0, 30.0  # seconds
ACT_CPU, ACT_WALL = 0.5, 2.0  # the same for acts, some of which wait for the limit
LONGEST = 20_000  # characters of a sentence
MARK = "RAN"  # a folder of this name in the worker's working directory: something was run
STAND_INS = ("gs", "gswin32c", "gswin64c", "touch", "sh", "convert", "xdg-open")

Kind = Literal[
    "result",
    "refused",
    "accepted",
    "unsound",
    "traceback",
    "wordy",
    "memory",
    "slow",
    "hang",
    "killed",
    "ran",
]


class Unsound(Exception):
    """A result that should have been refused."""


@dataclass(frozen=True)
class Outcome:
    """How one reading ended. message: the sentence, the end of the traceback, or the signal.
    grown: bytes.
    """

    kind: Kind
    message: str = ""
    seconds: float = 0.0
    grown: int = 0

    @property
    def good(self) -> bool:
        return self.kind in ("result", "refused")

    @property
    def place(self) -> str:
        """Where it went wrong: the last line of ours in a traceback, and the error. The same for
        the same fault.
        """
        ours = [
            line.strip()
            for line in self.message.splitlines()
            if "/partreid/" in line and line.startswith("  File")
        ]
        last = self.message.strip().splitlines()[-1:] or [""]
        return (
            f"{self.kind}: {ours[-1].split('/partreid/')[-1] if ours else ''} "
            f"{last[0].partition(':')[0]}"
        )


class Warden:
    """The tests' end of ``worker.py``."""

    def __init__(self, scratch: Path, inside: Path) -> None:
        """scratch: for itself. inside: below which all that it is given lies; it can write nowhere
        else, if ``fenced``.
        """
        root = Path(__file__).resolve().parents[2]
        tools, home, temporary = scratch / "bin", scratch / "home", scratch / "tmp"
        for folder in (tools, home, temporary):
            folder.mkdir(parents=True, exist_ok=True)
        for name in STAND_INS:
            (tools / name).write_text(
                f"#!{sys.executable}\nimport os\nos.makedirs({str(home / MARK)!r})\n"
            )
            (tools / name).chmod(0o755)
        environment = {
            **os.environ,
            "PATH": str(tools),
            "PYTHONPATH": str(root),
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "MALLOC_ARENA_MAX": "1",
            "HF_HUB_OFFLINE": "1",
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "COLUMNS": "80",
        }
        command = (sys.executable, "-m", "tests.attack.worker", str(inside))
        with open(scratch / "stderr.txt", "ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=home,
                env=environment,
                text=True,
            )
        self.fenced = self._answer() == "fenced"

    def read(self, door: str, root: Path, warm: bool = False) -> Outcome:
        """What comes of the door's file below ``root``. warm: without limits, as a door is opened
        for the first time.
        """
        return self._do({"what": "door", "name": door, "root": str(root), "warm": warm})

    def call(self, name: str, junk: str, argument: str | None = None) -> Outcome:
        """What comes of a documented function if it is given ``junk``, see
        :mod:`tests.attack.calls`.
        """
        return self._do({"what": "call", "name": name, "junk": junk, "at": argument, "warm": False})

    def command(self, arguments: Sequence[str], folder: Path) -> Outcome:
        """What comes of ``partreid ARGUMENTS`` in a folder: a result if all is well, refused if
        it exits with 2.
        """
        return self._do(
            {
                "what": "command",
                "name": " ".join(arguments[:2]),
                "arguments": list(arguments),
                "root": str(folder),
                "warm": False,
            }
        )

    def act(self, name: str) -> Outcome:
        """Something that a reader must not do, see :mod:`tests.attack.acts`."""
        return self._do({"what": "act", "name": name, "warm": False})

    def _do(self, job: dict[str, Any]) -> Outcome:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return Outcome(**json.loads(self._answer()))

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"the warden died with {self.process.wait()}; its folder holds stderr.txt"
            )
        return line.strip()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
