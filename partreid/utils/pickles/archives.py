"""The three forms: torch.save's zip, torch.save's older file, and plain pickles with such files
inside.
"""

import io
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, Final

import torch

from partreid.errors import DataError
from partreid.utils.files import MIB, regular, unreadable
from partreid.utils.pickles.budget import Budget
from partreid.utils.pickles.machine import DTYPES, Buffer, Machine, Name, Refusal, Store

ZIP: Final = b"PK\x03\x04"  # torch.save since 1.6
# torch.save before: its magic number, pickled
LEGACY: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
FILE_LIMIT: Final = 16_384 * MIB  # more than any dump or checkpoint has
PICKLE: Final = b"\x80"  # pickle.dump, any protocol from 2


class Refused(DataError):
    """The file asks for a name that nothing needs. name: which, with its module."""

    def __init__(self, path: object, name: str) -> None:
        super().__init__(
            f"{path} asks for '{name}' and was not loaded, because a file that names what it likes "
            "can run any code; have it written again with tensors alone"
        )
        self.name = name


class Damaged(DataError):
    """The file is broken, or claims what cannot be. reason: for the middle of a sentence."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path} cannot be read ({reason}); copy or download it again")
        self.reason = reason


class Foreign(DataError):
    """The file was written neither by ``torch.save`` nor by ``pickle.dump``."""

    def __init__(self, path: object) -> None:
        super().__init__(
            f"{path} was written neither by torch.save nor by pickle.dump (protocol 2 or later); "
            "give another file"
        )


def load(path: Path | str, classes: Callable[[str], bool], inert: Container[str] = ()) -> Any:
    """The value that ``path`` holds, whichever of the three forms it has; tensors on the CPU, of a
    zip mapped.

    classes: whether a name, such as ``package.module.Class``, may stand for a class, whose objects
    become Records. inert: names that may be called as well; what they would give is an empty
    Record. Sets become lists or tuples, torch.Size a tuple. Raises :class:`Refused`,
    :class:`Damaged` or :class:`Foreign`, or another DataError if the path is none of a readable
    file.
    """
    path = regular(path)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                raise Foreign(path)
            if size > FILE_LIMIT:
                raise Damaged(
                    path,
                    f"it has {size / MIB:,.0f} MiB, and at most {FILE_LIMIT / MIB:,.0f} are read",
                )
            data = Buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        budget = Budget(len(data))
        kind = _kind(data)
        if kind == PICKLE:
            return Machine(
                data,
                budget,
                classes,
                inert,
                lambda inner: _file(Machine(Buffer(bytearray(inner)), budget, classes, inert)),
            ).run(0)
        if kind is not None:
            return _file(Machine(data, budget, classes, inert))
    except DataError:
        raise
    except Refusal as refusal:
        raise Refused(path, str(refusal)) from None
    except OSError as error:
        raise unreadable(path, error) from None
    except Exception as error:  # a damaged or hostile file can make any line here fail
        reason = " ".join(str(error).split())[:200]
        raise Damaged(
            path, reason if isinstance(error, ValueError) else f"{type(error).__name__}: {reason}"
        ) from None
    raise Foreign(path)


def _kind(data: Buffer) -> bytes | None:
    head = bytes(data[: len(LEGACY)])
    return next((kind for kind in (ZIP, LEGACY, PICKLE) if head.startswith(kind)), None)


def _file(machine: Machine) -> Any:
    """What a file of torch.save holds."""
    read = {ZIP: _zip, LEGACY: _legacy}.get(_kind(machine.data) or b"")
    if read is None:
        raise ValueError("a storage that torch.save did not write")
    return read(machine)


def _zip(machine: Machine) -> Any:
    """What a zip of torch.save holds. Entries are read where they lie, so packed ones cannot be."""
    data, budget = machine.data, machine.budget
    stores: dict[str, Store] = {}
    with zipfile.ZipFile(_File(data)) as archive:
        entries = {info.filename: info for info in archive.infolist()}
    pickled = next((name for name in entries if name.rpartition("/")[2] == "data.pkl"), None)
    if pickled is None:
        raise ValueError("a zip archive without data.pkl")
    root = pickled.removesuffix("data.pkl")

    def place(name: str) -> tuple[int, int]:
        """Where an entry begins and ends."""
        info = entries[name]
        head = bytes(data[info.header_offset : info.header_offset + 30])
        begin = info.header_offset + 30 + sum(struct.unpack("<HH", head[26:30]))
        if (
            head[:4] != ZIP
            or info.compress_type != zipfile.ZIP_STORED
            or begin + info.file_size > len(data)
        ):
            raise ValueError(f"the entry {name} is packed or does not lie in the archive")
        if zlib.crc32(data[begin : begin + info.file_size]) != info.CRC:
            raise ValueError(f"the checksum of {name} is wrong")
        return begin, begin + info.file_size

    def persistent(saved: Any) -> Store:
        dtype, key, numel = _storage(saved)
        if key not in stores:
            size = budget.store(numel, dtype)
            begin, end = place(f"{root}data/{key}")
            if end - begin != size:
                raise ValueError(f"storage {key} has {end - begin:,} bytes, not {size:,}")
            numbers = torch.empty(0, dtype=dtype)
            if size:
                raw = torch.frombuffer(data, dtype=torch.uint8, count=size, offset=begin)
                raw = raw.ne(0) if dtype == torch.bool else raw
                numbers = (raw if begin % 64 == 0 else raw.clone()).view(dtype)
            stores[key] = Store(numbers)
        if (stores[key].numbers.dtype, len(stores[key].numbers)) != (dtype, numel):
            raise ValueError(f"storage {key} is of two kinds")
        return stores[key]

    if (
        f"{root}byteorder" in entries
        and bytes(data[slice(*place(f"{root}byteorder"))]) != b"little"
    ):
        raise ValueError("written on a big-endian machine")
    machine.persistent = persistent
    return machine.run(*place(pickled))


def _legacy(machine: Machine) -> Any:
    """What torch.save wrote before version 1.6: five pickles, then the numbers of all storages."""
    stores: dict[str, Store] = {}

    def persistent(saved: Any) -> Any:
        if type(saved) is tuple and saved[:1] == ("module",):  # a class came with its source text
            return saved[1]
        dtype, key, numel = _storage(saved)
        if key not in stores:
            machine.budget.store(numel, dtype)
            stores[key] = Store(torch.empty(numel, dtype=dtype), filled=False)
        if (stores[key].numbers.dtype, len(stores[key].numbers)) != (dtype, numel):
            raise ValueError(f"storage {key} is of two kinds")
        return stores[key]

    machine.run(0)  # the magic number
    machine.run(machine.position)  # version of the format
    about = machine.run(machine.position)
    if not isinstance(about, dict) or about.get("little_endian") is not True:
        raise ValueError("written on a big-endian machine")
    machine.persistent = persistent
    value = machine.run(machine.position)
    keys = machine.run(machine.position)
    machine.end = len(machine.data)
    for key in keys:
        store = stores[key]
        (numel,) = struct.unpack("<q", machine.take(8))
        if numel != len(store.numbers):
            raise ValueError(f"storage {key} has {numel} numbers, not {len(store.numbers)}")
        if numel:
            raw = torch.frombuffer(
                machine.take(numel * store.numbers.dtype.itemsize), dtype=torch.uint8
            )
            store.numbers.view(torch.uint8).copy_(
                raw.ne(0) if store.numbers.dtype == torch.bool else raw
            )
        store.filled = True
    if not all(store.filled for store in stores.values()):
        raise ValueError("the numbers of a storage are not there")
    return value


def _storage(saved: Any) -> tuple[torch.dtype, str, Any]:
    """dtype, key and length out of a persistent id: ("storage", type, key, device, length), in
    old files a view too.
    """
    if (
        type(saved) is not tuple
        or len(saved) not in (5, 6)
        or saved[0] != "storage"
        or type(saved[1]) is not Name
        or saved[1].full not in DTYPES
        or type(saved[2]) is not str
        or saved[5:] not in ((), (None,))
    ):
        raise ValueError("a persistent id of another kind")
    return DTYPES[saved[1].full], saved[2], saved[4]


class _File(io.RawIOBase):
    """A buffer as a file that zipfile can search, without a copy of it."""

    def __init__(self, data: Buffer) -> None:
        self.data, self.position = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = max(0, offset + (0, self.position, len(self.data))[whence])
        return self.position

    def read(self, size: int | None = -1) -> bytes:
        end = (
            len(self.data)
            if size is None or size < 0
            else min(self.position + size, len(self.data))
        )
        chunk = bytes(self.data[self.position : end])
        self.position = max(self.position, end)
        return chunk
