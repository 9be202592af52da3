"""Reading the pickles of another package without that package, and without running what they ask for.

A pickle is a program. Here it may only build lists, dicts, strings, numbers and tensors, and empty shells that bear the
names of DensePose's and detectron2's classes (:class:`Record`); at any other name reading stops with a DataError.
"""

import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, Final

import torch

from partreid.errors import DataError

ZIP: Final = b"PK\x03\x04"  # torch.save since 1.6
LEGACY: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save before: its magic number, pickled
PICKLE: Final = b"\x80"  # pickle.dump, any protocol from 2

CLASSES: Final = (
    "DensePoseChartResult", "DensePoseChartResultWithConfidences", "DensePoseChartResultQuantized",
    "DensePoseChartResultCompressed", "DensePoseChartPredictorOutput", "DensePoseEmbeddingPredictorOutput",
    "DensePoseResult", "DensePoseOutput", "Instances", "Boxes",
)  # fmt: skip
MODULES: Final = (  # where these classes have lived over the years
    "densepose.structures", "densepose.structures.chart", "densepose.structures.chart_result",
    "densepose.structures.cse", "densepose.data.structures", "detectron2.structures",
    "detectron2.structures.instances", "detectron2.structures.boxes",
)  # fmt: skip


class Record:
    """An object of a class that need not be installed: its name is ``type(record).__name__``, its attributes are as
    they were saved and have passed no check."""


class _Refused(Exception):
    """A name that no dump needs."""


def load(path: Path) -> Any:
    """What ``torch.save`` or ``pickle.dump`` wrote to ``path``; tensors come to the CPU, those of a zip unread (mmap).

    DataError if the file is missing, damaged, of another kind, or names anything but :data:`CLASSES` and tensors.
    """
    shells = [type(name, (Record,), {"__module__": module}) for module, name in product(MODULES, CLASSES)]
    try:
        with open(path, "rb") as file:
            head = file.read(len(LEGACY))
            file.seek(0)
            if head.startswith((ZIP, LEGACY)):
                with torch.serialization.safe_globals(shells):  # type: ignore[arg-type]
                    return torch.load(path, map_location="cpu", weights_only=True, mmap=head.startswith(ZIP))
            if head.startswith(PICKLE):
                return _Restricted(file, shells).load()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check the path") from None
    except _Refused as error:
        raise _refusal(path, str(error)) from None
    except Exception as error:  # a damaged or hostile file can make any line of an unpickler fail
        names = re.search(r"GLOBAL (\S+?)\.? (?:was not|whose)", str(error))
        if names:
            raise _refusal(path, names[1]) from None
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise DataError(f"{path} cannot be read as a dump ({reason}); copy it again, or write it again with "
                        f"'apply_net.py dump'") from None
    raise DataError(f"{path} is no dump: it was written neither by torch.save nor by pickle.dump. Give the file that "
                    f"'apply_net.py dump --output' names")


def _refusal(path: Path, name: str) -> DataError:
    return DataError(f"{path} asks for '{name}', which no DensePose dump needs, and was not loaded because a file that "
                     f"names what it likes can run any code. If you trust whoever made it, have it written again with "
                     f"'apply_net.py dump' and nothing added")


def _storage(data: bytes) -> Any:
    """The storage of a tensor in a plain pickle. PyTorch's own function of this purpose unpickles whatever is in it."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


class _Restricted(pickle.Unpickler):
    """Knows the shells, and of PyTorch what a tensor needs. Names are looked up here and never imported."""

    def __init__(self, file: Any, shells: list[type]) -> None:
        super().__init__(file)
        # A file can write attributes on whatever it may name: shells are made for it alone, PyTorch's are wrapped.
        known: dict[tuple[str, str], Callable[..., Any]] = {(c.__module__, c.__name__): c for c in shells}
        known["torch._utils", "_rebuild_tensor_v2"] = lambda *a: torch._utils._rebuild_tensor_v2(*a)
        known["torch.storage", "_load_from_bytes"] = lambda data: _storage(data)
        known["collections", "OrderedDict"] = OrderedDict
        known["torch", "Size"] = torch.Size
        self.known = known

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.known:
            raise _Refused(f"{module}.{name}")
        return self.known[module, name]
