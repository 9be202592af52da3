"""Files: read only if they are what they claim to be, written whole or not at all.

Whatever comes from outside is bounded before anything is allocated for it: sizes, nesting, numbers.
Only regular files are read; a named pipe would hold up whoever opens it.
"""

import codecs
import contextlib
import errno
import json
import math
import os
import re
import socket
import stat
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from partreid.errors import DataError
from partreid.utils.text import brief, reason

MIB = 2**20
TEXT_LIMIT = 64 * MIB
# key points of a large data set; recipes and headers have limits of their own
JSON_LIMIT = 512 * MIB
DEPTH = 64  # of JSON: what we and other tools write nests less than ten times
DIGITS = 20  # of a whole number: 64 bits have at most these
STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{\]}]', re.DOTALL)


def regular(path: Path | str, what: str = "file") -> Path:
    """The path of an existing regular file; links are followed. DataError says what stands there
    instead.

    what: the noun of the sentence, for instance "label".
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise DataError(f"there is no {what} {brief(path, 400)}; check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(
            f"the {what} {brief(path, 400)} cannot be reached ({reason(error)}); check the path "
            "and its permissions"
        ) from None
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is {_kind(mode)}, where a {what} is expected; give a regular file")
    return path


def read_bytes(path: Path | str, limit: int, what: str = "file") -> bytes:
    """The content of a regular file of at most ``limit`` bytes. DataError if it is none, or
    longer.
    """
    path = regular(path, what)
    try:
        with open(path, "rb") as file:
            # Python takes room for all that it may read at once, so no more than the file says
            size = min(limit, os.fstat(file.fileno()).st_size)
            data = file.read(size + 1)
            if len(data) > size:  # it grew, or is one of the kernel's, which say 0
                data += file.read(limit - size)
    except OSError as error:
        raise unreadable(path, error) from None
    if len(data) > limit:
        raise DataError(
            f"{path} has more than {limit / MIB:.0f} MiB, which is too long for what it should "
            "hold; is it the right file?"
        )
    return data


def real(path: Path | str) -> Path:
    """The path without links, whether something is there or not. DataError if a link on the way
    leads back to itself, of which Path.resolve() says nothing from Python 3.13 on.
    """
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DataError(
                f"{brief(path, 400)} leads back to itself by a link; remove the link, or give "
                "another path"
            ) from None
    return Path(os.path.realpath(path))


def unreadable(path: Path | str, error: Exception) -> DataError:
    """What to say of a file that is there and cannot be read."""
    if isinstance(error, PermissionError):
        return DataError(
            f"{path} may not be read by this user; change its permissions (chmod u+r), or run as "
            "its owner"
        )
    return DataError(f"{path} cannot be read ({reason(error)}); copy or download it again")


def read_text(path: Path | str, limit: int = TEXT_LIMIT, what: str = "file") -> str:
    """A text in UTF-8, with or without byte order mark, or in UTF-16 with one. DataError if it
    is in neither.
    """
    data = read_bytes(path, limit, what)
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} is not UTF-8 (byte 0x{data[error.start]:02x} in line {line}); save it as "
            "UTF-8, for instance: iconv -f latin1 -t utf-8"
        ) from None
    if "\0" in text:
        raise DataError(
            f"{path} holds zero bytes: it is no text, or UTF-16 without its mark; save it as UTF-8"
        )
    return text


def parse_json(text: str | bytes, source: object) -> Any:
    """The value of a JSON text. DataError, which names ``source``, if it is none.

    Nesting beyond 64, numbers that are not finite and whole numbers of more than 20 digits are
    refused.
    """
    try:
        text = text if isinstance(text, str) else text.decode("utf-8-sig")
        if _depth(text) > DEPTH:
            raise DataError(
                f"{source} nests more than {DEPTH} levels; no such file does. Is it the right one?"
            )
        return json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    except UnicodeDecodeError:
        raise DataError(f"{source} is not UTF-8; save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{source} is not JSON (line {error.lineno}: {error.msg}); copy it again or make it "
            "anew"
        ) from None
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{source}: {error}") from None


def read_json(path: Path | str, limit: int = JSON_LIMIT, what: str = "file") -> Any:
    """The value of a JSON file, see :func:`parse_json`."""
    return parse_json(read_text(path, limit, what), path)


def writable(*paths: Path | str | None) -> None:
    """Before any work: can each of these files be written, and are they different ones? DataError
    if not.

    None stands for a file that nobody asked for. No folder is created, and nothing is left behind.
    """
    seen: dict[str, Path] = {}
    for path in (Path(path) for path in paths if path is not None):
        try:
            real = os.path.realpath(path)
            mode = os.stat(real).st_mode
        except (FileNotFoundError, NotADirectoryError):
            _creatable(path, Path(real))
            mode = stat.S_IFREG
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise DataError(
                f"{path} cannot be written ({reason(error)}); choose another name"
            ) from None
        else:
            if stat.S_ISDIR(mode):
                raise DataError(
                    f"{path} is a folder, where a file is to be written; give a name inside it"
                )
            if stat.S_ISBLK(mode) or not os.access(real, os.W_OK):
                raise DataError(
                    f"{path} may not be written; choose another name or change its permissions"
                )
        if stat.S_ISREG(mode) and real in seen:
            raise DataError(
                f"two outputs would be written to one file, {path}; give each a name of its own"
            )
        seen[real] = path


def write_atomically(path: Path, data: bytes) -> None:
    """Bytes to a file through a temporary one beside it. DataError with the remedy if they do not
    fit.

    A symbolic link stays one, and what it points to is replaced; into a device such as /dev/null or
    a pipe that somebody reads the bytes are written as they are. What killed processes of this
    machine left beside is removed.
    """
    target = Path(os.path.realpath(path))
    beside: str | None = None
    try:
        mode = target.stat().st_mode if target.exists() else None
        if mode is not None and not stat.S_ISREG(mode):
            _write_through(path, mode, data)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{zlib.crc32(os.fsencode(target.name)):08x}.{_host()}."
        _sweep(target.parent, prefix)
        number, beside = tempfile.mkstemp(".part", f"{prefix}{os.getpid()}.", target.parent)
        with open(number, "wb") as file:
            os.fchmod(number, stat.S_IMODE(mode) if mode is not None else 0o666 & ~_umask())
            file.write(data)
            file.flush()
            os.fsync(number)
        os.replace(beside, target)
        _sync(target.parent)
    except OSError as error:
        if beside is not None:
            with contextlib.suppress(OSError):
                os.unlink(beside)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DataError(
                f"the disk is full: {path.name} ({len(data) / MIB:.1f} MiB) could not be saved in "
                f"{path.parent}. Nothing saved before was touched; free some space, then give the "
                "same command again (train: with --resume)"
            ) from None
        raise DataError(
            f"{path} cannot be written ({error.strerror}); choose another folder with --out"
        ) from None
    except BaseException:
        if beside is not None:
            with contextlib.suppress(OSError):
                os.unlink(beside)
        raise


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write piece by piece, which gets its name when all of it is on the disk.

    Nothing lies under ``path`` before the block has ended well; what killed processes of this
    machine left beside is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{zlib.crc32(os.fsencode(path.name)):08x}.{_host()}."
    _sweep(path.parent, prefix)
    number, beside = tempfile.mkstemp(".part", f"{prefix}{os.getpid()}.", path.parent)
    try:
        with open(number, "wb") as file:
            os.fchmod(number, 0o666 & ~_umask())
            yield file
            file.flush()
            os.fsync(number)
        os.replace(beside, path)
        _sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def append_whole(file: int, data: bytes) -> None:
    """Bytes at the end of an open file, all of them or none: what a full disk took half of is cut
    off again.

    If the last line there has no end, it gets one. OSError if they do not fit.
    """
    length = os.fstat(file).st_size
    if length and os.pread(file, 1, length - 1) != b"\n":
        data = b"\n" + data
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(file, left) :]
    except BaseException:
        with contextlib.suppress(OSError):  # a device
            os.ftruncate(file, length)
        raise


def write_json(path: Path, value: Any) -> None:
    """A value as indented JSON, see :func:`write_atomically`."""
    write_atomically(path, (json.dumps(value, indent=1) + "\n").encode())


def _depth(text: str) -> int:
    """How deep brackets nest, strings left out; found before the parser, which recurses, sees
    them.
    """
    if text.count("[") + text.count("{") <= DEPTH:
        return 0
    depth = deepest = 0
    for match in STRING_OR_BRACKET.finditer(text):
        first = text[match.start()]
        if first in "[{":
            depth += 1
            deepest = max(deepest, depth)
            if deepest > DEPTH:
                break
        elif first in "]}":
            depth -= 1
    return deepest


def _whole(digits: str) -> int:
    if len(digits) > DIGITS + 1:
        raise ValueError(
            f"a whole number of {len(digits)} digits; numbers of at most {DIGITS} are read"
        )
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:30]} is not finite; replace it")
    return value


def _kind(mode: int) -> str:
    kinds: Mapping[int, str] = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "no regular file")


def _creatable(path: Path, real: Path) -> None:
    above = next(parent for parent in real.parents if parent.exists())
    if not above.is_dir():
        raise DataError(f"{path} cannot be written: {above} is not a folder; choose another name")
    try:
        # permissions alone do not tell of every file system
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: nothing can be saved in {above} ({reason(error)}); choose "
            "another folder"
        ) from None
    if len(os.fsencode(real.name)) > 255:
        raise DataError(
            f"{path} cannot be written: the name has more than 255 bytes; choose a shorter one"
        )


def _write_through(path: Path, mode: int, data: bytes) -> None:
    if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        raise DataError(f"{path} is {_kind(mode)}; choose the name of a file")
    # nobody reads: fails at once
    number = os.open(path, os.O_WRONLY | (os.O_NONBLOCK if stat.S_ISFIFO(mode) else 0))
    os.set_blocking(number, True)
    with open(number, "wb") as file:
        file.write(data)


def _sweep(folder: Path, prefix: str) -> None:
    """Remove what processes that are no more left beside a target."""
    with os.scandir(folder) as entries:
        names = [
            entry.name
            for entry in entries
            if entry.name.startswith(prefix) and entry.name.endswith(".part")
        ]
    for name in names:
        process = name.removeprefix(prefix).split(".")[0]
        if process.isdigit() and not _alive(int(process)):
            with contextlib.suppress(OSError):
                (folder / name).unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, PermissionError)  # somebody else's
    return True


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"  # other machines may share the folder


def _umask() -> int:
    """This process's umask. The system only tells it to who sets one; on Linux the process table
    knows it too.
    """
    with contextlib.suppress(OSError, ValueError), open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o022


def _sync(folder: Path) -> None:
    """The new name survives a power cut too; not every file system can be asked for it."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
