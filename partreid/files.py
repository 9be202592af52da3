"""Files that appear whole or not at all."""

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import Any

from partreid.errors import DataError


def write_atomically(path: Path, data: bytes) -> None:
    """Bytes to a file through a temporary one beside it. DataError with the remedy if they do not fit."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"the disk is full: {path.name} ({len(data) / 2**20:.1f} MiB) could not be saved in "
                            f"{path.parent}. Nothing saved before was touched; free some space, then give the "
                            f"same command again (train: with --resume)") from None
        raise DataError(f"{path} cannot be written ({error.strerror}); choose another folder with --out") from None


def write_json(path: Path, value: Any) -> None:
    """A value as indented JSON, see :func:`write_atomically`."""
    write_atomically(path, (json.dumps(value, indent=1) + "\n").encode())
