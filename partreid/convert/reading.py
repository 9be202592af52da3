"""Named tensors out of a checkpoint of another project. No code of it ever runs."""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct, scalar  # type: ignore[attr-defined]
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from partreid.convert.shells import Piece, Shell, read_module
from partreid.errors import DataError

WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net")  # under which training scripts put weights
KINDS = tuple({type(np.dtype(kind)) for kind in "?bhilqBHILQefdOSU"})
# Loss and rank are often saved as numpy numbers. They carry one of two module names, by the numpy that wrote them.
NUMPY: tuple[Any, ...] = (*((function, f"numpy.{core}.multiarray.{function.__name__}") for core in ("core", "_core")
                            for function in (scalar, _reconstruct)), np.dtype, np.ndarray, *KINDS)


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU, as saved; outer dicts and ``module.`` are taken off.

    Reads safetensors and whatever ``torch.save`` wrote, today or before version 1.6: state dicts, dicts that hold one
    under a name of ``WRAPPERS``, and whole modules, see :mod:`partreid.convert.shells`. DataError if the file is
    missing, broken, of another kind, or would run code.
    """
    if not path.is_file():
        raise DataError(f"there is no checkpoint {path}; give the file, not its folder")
    tensors = dict(_named(_load(path)))
    if not tensors:
        raise DataError(f"{path} holds no named tensors; give a model's state dict, or a checkpoint that has one under "
                        f"{', '.join(WRAPPERS)}")
    while all(name.startswith("module.") for name in tensors):  # DataParallel, once for each time it was wrapped
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise DataError(f"{path} is not a readable safetensors file ({error}); fetch it again") from None
    try:
        with torch.serialization.safe_globals(list(NUMPY)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # more than tensors, or nothing of torch's: the other reader says which
        return read_module(path)
    except Exception as error:  # a broken file can make any line of an unpickler fail
        raise DataError(f"{path} cannot be read as a checkpoint ({type(error).__name__}: "
                        f"{str(error).splitlines()[0][:150] if str(error) else 'no reason given'}); fetch it again, or "
                        f"save the model's state_dict with torch.save and give that") from None


def _named(found: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(found, Shell):
        yield from found.tensors()
    elif isinstance(found, Mapping):
        for wrapper in WRAPPERS:
            inner = dict(_named(found[wrapper])) if isinstance(found.get(wrapper), Mapping | Shell) else {}
            if inner:
                yield from inner.items()
                return
        for name, value in found.items():
            if isinstance(value, Tensor | Piece):
                yield str(name), value.tensor() if isinstance(value, Piece) else value
