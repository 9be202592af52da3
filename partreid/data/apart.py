"""Reading in a process apart what a damaged file may crash: the parsers of MATLAB and Parquet
files.

They are compiled code that trusts its input; a few wrong bytes end the whole process or ask for
terabytes. Here they run in a child with little memory, which answers in lines of JSON; whatever
becomes of it, the caller gets a sentence.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from partreid.errors import DataError
from partreid.utils.files import MIB, parse_json, regular

MEMORY = 4096 * MIB  # address space of the child: libraries take one of these
ANSWER = 1024 * MIB  # bytes that a child may say
LINE = 16 * MIB
PATIENCE = 60.0  # seconds without a word

# The child finds what the parent finds; isolated, so that nothing else gets in.
START = (
    "import json, resource, sys; sys.path[:] = json.loads(sys.argv[1]); m = int(sys.argv[2]); "
    "resource.setrlimit(resource.RLIMIT_AS, (m, m)); resource.setrlimit(resource.RLIMIT_CORE, (0, "
    "0)); from partreid.data.foreign import answer; answer(*sys.argv[3:])"
)


def read_apart(
    task: str,
    path: Path,
    *arguments: str,
    remedy: str,
    patience: float = PATIENCE,
    most: int = ANSWER,
) -> Iterator[Any]:
    """What the child says of ``path``, value by value; see :mod:`partreid.data.foreign` for its
    tasks.

    remedy: the end of the sentence if the file cannot be read. most: bytes of all answers; a caller
    that keeps none of them may allow any number. DataError for a file that is broken, that crashes
    its parser, asks for more than 4 GiB, or keeps it busy for ``patience`` seconds without a word.
    """
    path = regular(path)
    command = [
        sys.executable,
        "-I",
        "-c",
        START,
        json.dumps(sys.path),
        str(MEMORY),
        task,
        str(path),
        *arguments,
    ]
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **one_thread},
    )
    try:
        for line in _lines(child, path, patience, most):
            reply = parse_json(line, path)
            if "error" in reply:
                raise DataError(f"{path} cannot be read ({reply['error']}); {remedy}")
            if "disk" in reply:
                raise DataError(reply["disk"])
            yield reply["value"]
        status = child.wait(PATIENCE)
        if status:
            how = f"stopped by signal {-status}" if status < 0 else "out of memory"
            raise DataError(f"{path} is damaged: it brought its reader down ({how}); {remedy}")
    finally:
        with contextlib.suppress(OSError):
            child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def _lines(
    child: "subprocess.Popen[bytes]", path: Path, patience: float, most: int
) -> Iterator[bytes]:
    assert child.stdout is not None
    number, rest, total, heard = child.stdout.fileno(), bytearray(), 0, time.monotonic()
    while True:
        ready, _, _ = select.select([number], [], [], max(0.0, heard + patience - time.monotonic()))
        if not ready:
            raise DataError(
                f"{path} kept its reader busy for {patience:.0f} s without a word; it is damaged, "
                "or the disk is very slow: copy it to another one"
            )
        data = os.read(number, MIB)
        if not data:
            return  # a child that ends in the middle of a line has failed, and its status says so
        heard, total = time.monotonic(), total + len(data)
        rest += data
        *whole, last = rest.split(b"\n")
        rest = bytearray(last)
        if total > most or len(rest) > LINE:
            raise DataError(
                f"{path} holds more than {most / MIB:.0f} MiB of names; it is damaged or another "
                "file"
            )
        yield from map(bytes, whole)
        heard = time.monotonic()  # what the caller did meanwhile is not the child's silence
