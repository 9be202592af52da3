"""Whole pickled modules without their classes.

``torch.save(model)`` writes the name of every class it meets, and reading that back the usual way imports and runs
them. Here a name outside a short list becomes an empty shell that can hold attributes and do nothing; calling one, or
naming anything of Python's own library, ends with a DataError. Tensors are then gathered from ``_parameters``,
``_buffers`` and ``_modules``. PyTorch's own restricted reader cannot do this: it fills no dict-like object of an
unknown class, and HRNet's modules hold their configuration in one.
"""

import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch
from torch import Tensor

from partreid.errors import DataError

MAGIC: Final = 0x1950A86A20F9469CFC6C  # first object of a file that torch.save wrote before version 1.6
DTYPES: Final = {f"{name}Storage": dtype for name, dtype in (
    ("Float", torch.float32), ("Double", torch.float64), ("Half", torch.float16), ("BFloat16", torch.bfloat16),
    ("Long", torch.int64), ("Int", torch.int32), ("Short", torch.int16), ("Char", torch.int8), ("Byte", torch.uint8),
    ("Bool", torch.bool))}


class _Inert(type):
    """Class of the shells: they can be made by a pickle's "new object", but not called."""

    def __call__(cls, *args: Any, **options: Any) -> Any:
        raise _Refused(cls.__qualname__)


class Shell(metaclass=_Inert):
    """An object whose class is not there: its attributes as saved, nothing else of it."""

    def __new__(cls, *args: Any, **options: Any) -> "Shell":
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            vars(self).update({str(key): value for key, value in state.items()})

    def __setitem__(self, key: Any, value: Any) -> None:
        """A pickled dict or list of an unknown class loses its items: no tensor of a model is in one."""

    append = extend = add = lambda self, items: None

    def tensors(self, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Tensor]]:
        """Parameters and buffers of this module and the ones below it, by their state-dict names, each module once."""
        seen = set() if seen is None else seen
        seen.add(id(self))
        for table in ("_parameters", "_buffers"):
            for name, value in _items(self, table):
                if isinstance(value, Piece):
                    yield f"{prefix}{name}", value.tensor()
        for name, module in _items(self, "_modules"):
            if isinstance(module, Shell) and id(module) not in seen:
                yield from module.tensors(f"{prefix}{name}.", seen)


def _items(shell: Shell, table: str) -> list[tuple[Any, Any]]:
    found = vars(shell).get(table)
    return list(found.items()) if isinstance(found, dict) else []


class _Refused(Exception):
    """A name that a model needs nothing of."""


class _Store:
    """The numbers of a storage, once they are read: [numel]."""

    def __init__(self, dtype: torch.dtype, numel: int) -> None:
        self.dtype, self.numel, self.numbers = dtype, numel, torch.empty(0, dtype=dtype)

    def fill(self, data: bytes) -> None:
        if len(data) != self.numel * self.dtype.itemsize:
            raise ValueError(f"a storage of {self.numel} numbers has {len(data)} bytes")
        if data:
            self.numbers = torch.frombuffer(bytearray(data), dtype=self.dtype)


class Piece:
    """A tensor to be: a view of a storage whose numbers may come later in the file."""

    __slots__ = ("offset", "size", "store", "stride")

    def __init__(self, store: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> None:
        self.store, self.offset, self.size, self.stride = store, offset, size, stride

    def __setstate__(self, state: Any) -> None:
        raise _Refused("the state of a tensor")

    def tensor(self) -> Tensor:
        """The view. DataError if it reaches beyond its storage."""
        try:
            view: Tensor = self.store.numbers.as_strided(tuple(self.size), tuple(self.stride), self.offset)
        except Exception as error:  # size, stride and offset are whatever the file says
            raise DataError(f"a tensor of the checkpoint does not lie in its storage ({error}); fetch the file again"
                            ) from None
        return view


class _Known:
    """A function that a pickle may call. Nothing can be written on it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)  # type: ignore[attr-defined]

    def __setattr__(self, name: str, value: Any) -> None:
        raise _Refused(f"an attribute {name} of a function")

    def __setstate__(self, state: Any) -> None:
        raise _Refused("the state of a function")


def _shell(*args: Any) -> Shell:
    return object.__new__(Shell)


_PIECE, _SHELL, _FIRST = _Known(Piece), _Known(_shell), _Known(lambda data, *rest: data)
KNOWN: Final = {
    "torch._utils._rebuild_tensor_v2": _PIECE, "torch._utils._rebuild_tensor": _PIECE,
    "torch._utils._rebuild_parameter": _FIRST, "torch._utils._rebuild_parameter_with_state": _FIRST,
    "collections.OrderedDict": _Known(OrderedDict), "collections.defaultdict": _Known(lambda *factory: {}),
    "builtins.set": _Known(set), "__builtin__.set": _Known(set), "torch.Size": _Known(tuple),
    # Called, but of no use: what they would give becomes a shell.
    **dict.fromkeys((
        "torch.device", "torch.nn.backends.thnn._get_thnn_function_backend", "functools.partial", "numpy.dtype",
        "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct", "_codecs.encode", "copyreg._reconstructor",
        "copy_reg._reconstructor", "collections.Counter", "datetime.datetime", "pathlib.PosixPath",
        "pathlib.WindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath"), _SHELL),
    **dict.fromkeys(("builtins.object", "__builtin__.object", "builtins.dict", "__builtin__.dict", "builtins.list",
                     "__builtin__.list", "argparse.Namespace"), Shell),
}
REFUSED: Final = sys.stdlib_module_names | {"__builtin__", "copy_reg", "commands"}


class _Restricted(pickle.Unpickler):
    """Looks names up in KNOWN and makes shells of the others; imports nothing."""

    def __init__(self, file: Any, store: Callable[[torch.dtype, str, int], _Store]) -> None:
        super().__init__(file, encoding="latin1")
        self.store = store
        self.shells: dict[str, type] = {}

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in KNOWN:
            return KNOWN[full]
        if module in ("torch", "torch.cuda") and name in DTYPES:
            return DTYPES[name]
        if module.partition(".")[0] in REFUSED:
            raise _Refused(full)
        if full not in self.shells:
            self.shells[full] = _Inert(full, (Shell,), {})
        return self.shells[full]

    def persistent_load(self, saved: Any) -> Any:
        kind, *rest = saved
        if kind == "module":  # before version 1.6 a class came with its source text
            return rest[0]
        dtype, key, _, numel, *view = rest
        if kind != "storage" or not isinstance(dtype, torch.dtype) or any(v is not None for v in view):
            raise ValueError(f"unknown kind of object: {kind!r}")
        return self.store(dtype, str(key), int(numel))


def read_module(path: Path) -> Any:
    """What ``torch.save`` wrote, with shells for modules. DataError if it is broken or asks for code."""
    try:
        if zipfile.is_zipfile(path):
            return _zip(path)
        with open(path, "rb") as file:
            return _legacy(file, path.stat().st_size)
    except _Refused as error:
        raise DataError(f"{path} asks to run '{error}', which no model needs, and was not loaded: such a file can do "
                        f"anything to this machine. If you trust who made it, have them save model.state_dict()"
                        ) from None
    except Exception as error:  # a broken or hostile file can make any line of an unpickler fail
        raise DataError(f"{path} is no checkpoint that can be read ({type(error).__name__}: {error}); give a file that "
                        f"torch.save or safetensors wrote") from None


def _zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickled = next(name for name in names if name.endswith("data.pkl"))
        root = pickled.removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("written on a big-endian machine")
        stores: dict[str, _Store] = {}

        def store(dtype: torch.dtype, key: str, numel: int) -> _Store:
            if key not in stores:
                info = archive.getinfo(f"{root}data/{key}")
                if info.compress_type != zipfile.ZIP_STORED:  # torch never packs; what unpacks may fill the memory
                    raise ValueError("packed numbers")
                stores[key] = _Store(dtype, numel)
                stores[key].fill(archive.read(info))
            return stores[key]

        with archive.open(pickled) as file:
            return _Restricted(file, store).load()


def _legacy(file: BinaryIO, limit: int) -> Any:
    if file.read(1) != pickle.PROTO:
        raise ValueError("not a file of torch.save")
    file.seek(0)
    stores: dict[str, _Store] = {}

    def store(dtype: torch.dtype, key: str, numel: int) -> _Store:
        if not 0 <= numel * dtype.itemsize <= limit:
            raise ValueError(f"a storage of {numel} numbers in a file of {limit} bytes")
        return stores.setdefault(key, _Store(dtype, numel))

    def load() -> Any:
        return _Restricted(file, store).load()

    if load() != MAGIC:
        raise ValueError("not a file of torch.save")
    load()  # version of the format
    machine = load()
    if not machine["little_endian"]:
        raise ValueError("written on a big-endian machine")
    found = load()
    for key in load():
        target = stores[key]
        numel, = struct.unpack("<q", file.read(8))
        if numel != target.numel:
            raise ValueError(f"storage {key} has {numel} numbers, not {target.numel}")
        target.fill(file.read(numel * target.dtype.itemsize))
    return found
