"""A folder that one process writes at a time; whoever holds it loses it when it dies, however it
dies.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from partreid.errors import DataError

LOCK = ".lock"
_HELD: set[str] = set()  # by this process: the system's lock does not keep its own threads apart


@contextlib.contextmanager
def alone_in(folder: Path, file: str | None = None) -> Iterator[None]:
    """While this is entered no other process gets into ``folder``, which is made if need be.
    DataError if one is there.

    file: only this file in it is held; others may write the others.

    The lock is a record lock on ``.lock``, or ``.NAME.lock``: the system drops it with the process,
    also one that was killed, and children do not inherit it. The lock's file goes when the folder
    is left, and the folder too if it was made here and stayed empty.
    """
    real = os.path.realpath(folder)
    lock = os.path.join(real, LOCK if file is None else f".{file}{LOCK}")
    held = folder if file is None else folder / file
    if lock in _HELD:
        raise _busy(held, "this very process")
    made = not os.path.isdir(real)
    try:
        os.makedirs(real, exist_ok=True)
        number = _locked(Path(lock), held)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written ({error.strerror}); choose another folder with --out"
        ) from None
    _HELD.add(lock)
    try:
        yield
    finally:
        _HELD.discard(lock)
        # the name goes first: nobody can lock what is about to be removed
        with contextlib.suppress(OSError):
            os.unlink(lock)
        os.close(number)
        if made:
            with contextlib.suppress(OSError):
                os.rmdir(real)


def _locked(path: Path, folder: Path) -> int:
    """An open lock file that is ours, and still the one that lies there. DataError if it is
    another's.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            holder = os.pread(file, 200, 0).decode(errors="replace").strip()
            os.close(file)
            raise _busy(folder, holder or "another process") from None
        # Windows, and file systems that cannot lock: then as without
        except (ImportError, OSError):
            return file
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(file).st_ino == os.stat(path).st_ino:
                os.truncate(file, 0)
                # a full disk: the name of the holder is only a help
                with contextlib.suppress(OSError):
                    os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
                return file
        os.close(file)  # whoever held it removed it meanwhile


def _busy(folder: Path, holder: str) -> DataError:
    return DataError(
        f"{folder} is in use by {holder}; wait until it has ended, or choose another folder with "
        "--out"
    )
