"""Commands of the command line with strange words and strange names of files."""

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any

from partreid.errors import DataError
from tests.attack.harness import Unsound


class Tape(io.TextIOWrapper):
    """Keeps what is printed, as bytes in UTF-8, strictly: what a terminal could not show is an
    error there too.
    """

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    @property
    def text(self) -> str:
        raw: Any = self.buffer
        return raw.getvalue().decode("utf-8", "replace")


def run(arguments: list[str], folder: Path) -> str:
    """``partreid ARGUMENTS``. A DataError stands for exit status 2 with one sentence; Unsound
    for a bad answer.
    """
    from partreid.cli import main

    out, err, before, argv = Tape(), Tape(), Path.cwd(), sys.argv
    sys.argv = ["partreid", *arguments]
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        os.chdir(before)
        sys.argv = argv
    for name, text in (("output", out.text), ("errors", err.text)):
        strange = sorted(
            {c for c in text if (ord(c) < 32 and c not in "\n\t\r") or 0x7F <= ord(c) < 0xA0}
        )
        if strange:
            raise Unsound(f"the {name} hold {strange}: {text[-300:]!r}")
        if "Traceback (most recent" in text:
            raise Unsound(f"a traceback among the {name}: {text[-500:]}")
    if code == 0:
        return out.text[-1000:]
    lines = err.text.strip().splitlines()
    is_report = "thing(s) to look at" in out.text  # `data check` lists what it finds
    if code != 2 or not (lines or is_report):
        raise Unsound(f"exit status {code}: {err.text[-300:]}")
    sentences = [line for line in lines if line.startswith("partreid: ")]
    if len(sentences) != 1 and not is_report:
        raise Unsound(f"not one sentence: {err.text[-500:]}")
    raise DataError(sentences[0].removeprefix("partreid: ") if sentences else out.text[-300:])
