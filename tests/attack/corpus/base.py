"""What a bad file is, and those that are bad whatever they should have been."""

import os
import pickle
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.attack.harness import MARK


@dataclass(frozen=True)
class Bad:
    """A file that nobody should take for a good one.

    write: puts it at a path, where nothing is. refused: whether it must be; otherwise a sound
    result is as good. device: whether it leads to a device of this machine, which a fault could
    replace where there is no fence.
    """

    name: str
    write: Callable[[Path], object]
    refused: bool = True
    device: bool = False

    @classmethod
    def of(cls, name: str, data: bytes | str, refused: bool = True) -> "Bad":
        content = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
        return cls(name, lambda path: path.write_bytes(content), refused)


def sparse(size: int, head: bytes = b"") -> Callable[[Path], object]:
    """A file of zeros that takes no room on the disk."""

    def write(path: Path) -> None:
        path.write_bytes(head)
        os.truncate(path, size)

    return write


def runs(function: str) -> bytes:
    """A pickle that leaves the mark by calling one of Python's own functions."""

    class Payload:
        def __reduce__(self) -> Any:
            return {
                "mkdir": (os.mkdir, (MARK,)),
                "eval": (eval, (f"__import__('os').mkdir({MARK!r})",)),
                "exec": (exec, (f"import os; os.mkdir({MARK!r})",)),
                "system": (os.system, (f"mkdir {MARK}",)),
            }[function]

    return pickle.dumps(Payload(), 2)


POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 64 32
%%EndComments
0 0 moveto 64 32 lineto stroke
%%EOF
"""


def anything(valid: bytes) -> Iterator[Bad]:
    """Bad whatever it should be. Truncations may by chance leave a whole file."""
    draw = np.random.default_rng(0)
    yield Bad.of("empty", b"")
    yield Bad.of("one byte", b"\x00")
    yield Bad.of("zeros", bytes(4096))
    yield Bad.of("noise", draw.bytes(4096))
    yield Bad.of("its first bytes, then noise", valid[:16] + draw.bytes(4096), refused=False)
    yield Bad.of("text", "hello, this is nothing of the kind\n" * 3)
    yield Bad.of("a page of the web", "<!DOCTYPE html><html><body>404 Not Found</body></html>\n")
    yield Bad.of(
        "an unfetched file of git's",
        "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n",
    )
    yield Bad.of("PostScript", POSTSCRIPT)
    yield Bad.of("not UTF-8", b"\xff\xfe\xfa\x80\x81" * 20)
    for part in (0.1, 0.5, 0.9):
        yield Bad.of(f"cut at {part:.0%}", valid[: int(part * len(valid))], refused=False)
    yield Bad.of("cut by one byte", valid[:-1], refused=False)
    yield Bad.of("twice", valid + valid, refused=False)
    yield Bad.of("noise behind it", valid + draw.bytes(300), refused=False)
    yield Bad("a huge file of zeros", sparse(2**35))
    yield Bad("itself, then 32 GiB of zeros", sparse(2**35, valid), refused=False)
    yield Bad("a folder", lambda path: path.mkdir())
    yield Bad("a named pipe", lambda path: os.mkfifo(path))
    yield Bad("a link to itself", lambda path: path.symlink_to(path.name))
    yield Bad("a link to nothing", lambda path: path.symlink_to("nowhere"))
    yield Bad("a link to /dev/zero", lambda path: path.symlink_to("/dev/zero"), device=True)
    yield Bad("a link to /dev/null", lambda path: path.symlink_to("/dev/null"), device=True)
    for function in ("mkdir", "eval", "exec", "system"):
        yield Bad.of(f"a pickle that calls {function}", runs(function))


def flipped(valid: bytes, position: int, value: int) -> bytes:
    data = bytearray(valid)
    data[position] = value
    return bytes(data)


@cache
def packed_zeros(mib: int, head: bytes = b"") -> tuple[bytes, int]:
    """Raw deflated ``head`` and then so many MiB of zeros, and their CRC-32; a MiB is packed
    once and repeated.
    """

    def flushed(data: bytes, how: int) -> bytes:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(data) + packer.flush(how)

    zeros = bytes(2**20)
    total = zlib.crc32(head)
    for _ in range(mib):
        total = zlib.crc32(zeros, total)
    data = (
        flushed(head, zlib.Z_FULL_FLUSH)
        + flushed(zeros, zlib.Z_FULL_FLUSH) * mib
        + flushed(b"", zlib.Z_FINISH)
    )
    return data, total


def zlib_zeros(mib: int) -> bytes:
    """The same as a stream of zlib's, as PNG and MATLAB have it. Its last four bytes are wrong: who
    reads so far has unpacked it all.
    """
    return b"\x78\xda" + packed_zeros(mib)[0] + bytes(4)


def zipped(members: Mapping[str, tuple[bytes, int, int]]) -> bytes:
    """A zip of members that are deflated already: name to (deflated, CRC-32, size it unpacks
    to).
    """
    out, index = b"", b""
    for name, (data, crc, size) in members.items():
        common = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, crc, len(data), size, len(name), 0)
        index += (
            b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, len(out))
        )
        index += name.encode()
        out += b"PK\3\4" + common + name.encode() + data
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(index), len(out), 0)
    return out + index + b"PK\5\6" + end
