"""Everything that a reader must not do, done on purpose: what the harness is tested with."""

import ctypes
import math
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from partreid.errors import DataError
from tests.attack.harness import MARK, MEMORY, Unsound

OUTSIDE = Path(__file__).with_name("escaped")


def _gulped() -> None:
    bytearray(2 * MEMORY)


def _gulped_and_said_sorry() -> None:
    try:
        _gulped()
    except MemoryError:
        raise DataError("too large for this machine") from None


def _wrote_outside() -> str:
    try:
        OUTSIDE.write_text("no")
        return "wrote"
    except PermissionError:
        return "held"


def _nan() -> None:
    if math.isnan(math.nan):
        raise Unsound("NaN")


def _span() -> None:
    until = time.process_time() + 12
    while time.process_time() < until:
        pass


def _said(sentence: str) -> None:
    raise DataError(sentence)


ACTS: Mapping[str, Callable[[], Any]] = {
    "result": lambda: 5,
    "refused": lambda: _said("this is no picture; give another"),
    "traceback": lambda: {}["key"],
    "killed": lambda: ctypes.string_at(0),
    "hang": lambda: time.sleep(600),
    "slow": _span,
    "memory": _gulped,
    "memory, with a word": _gulped_and_said_sorry,
    "unsound": _nan,
    "ran": lambda: subprocess.run(["gs"], check=False),
    "ran, in Python": lambda: os.mkdir(MARK),
    "wordy": lambda: _said("x" * 10**6),
    "outside": _wrote_outside,
    "exit": lambda: os._exit(3),
    "leave": lambda: (_ for _ in ()).throw(SystemExit(0)),
}
