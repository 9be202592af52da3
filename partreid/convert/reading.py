"""Named tensors out of a checkpoint of another project. No code of it ever runs.

``torch.save(model)`` writes the name of every class it meets. Here these become records that hold
attributes and do nothing, see :mod:`partreid.utils.pickles`; tensors are gathered from their
``_parameters``, ``_buffers`` and ``_modules``.
"""

import sys
from collections.abc import Iterator
from os.path import isdir, lexists
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from partreid.errors import DataError
from partreid.utils.arguments import door
from partreid.utils.files import regular
from partreid.utils.pickles import Damaged, Foreign, Record, Refused, load
from partreid.utils.tensors import read_tensors

# where training scripts put weights
WRAPPERS: Final = ("state_dict", "model_state_dict", "model", "network", "net")
WRAPPED = 4  # how many of them are taken off, one inside the other
EMPTY = 10**6  # entries that a tensor without numbers may claim
DEPTH = 64  # of modules within modules
REFUSED: Final = sys.stdlib_module_names | {"__builtin__", "copy_reg", "commands"}
PLAIN: Final = frozenset(
    (  # of Python's own library, what a module may be made of
        "builtins.object",
        "__builtin__.object",
        "builtins.dict",
        "__builtin__.dict",
        "builtins.list",
        "__builtin__.list",
        "argparse.Namespace",
    )
)
# called by models' files, and of no use here: what they would give becomes a record
INERT: Final = frozenset(
    (
        "torch.device",
        "torch.nn.backends.thnn._get_thnn_function_backend",
        "functools.partial",
        "numpy.dtype",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
        "_codecs.encode",
        "copyreg._reconstructor",
        "copy_reg._reconstructor",
        "collections.Counter",
        "datetime.datetime",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
        "pathlib._local.PosixPath",
        "pathlib._local.WindowsPath",
    )
)


@door
def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU, as saved; outer dicts and ``module.`` are
    taken off.

    Reads safetensors and whatever ``torch.save`` wrote, today or before version 1.6: state dicts,
    dicts that hold one under a name of ``WRAPPERS``, and whole modules. DataError if the file is
    missing, broken, of another kind, claims more than it holds, or would run code.
    """
    if isdir(path) or (not lexists(path) and isdir(path.parent)):
        raise DataError(f"there is no checkpoint {path}; give the file, not its folder")
    regular(path, "checkpoint")
    if path.suffix == ".safetensors":
        tensors = read_tensors(path, "fetch it again")[0]
    else:
        tensors = dict(_named(_load(path), WRAPPED))
    for name, tensor in tensors.items():
        if not tensor.numel() and max(tensor.shape) > EMPTY:
            raise DataError(
                f"{path} holds '{name[:100]}' of the shape {list(tensor.shape)} without a number; "
                "fetch it again"
            )
    if not tensors:
        raise DataError(
            f"{path} holds no named tensors; give a model's state dict, or a checkpoint that has "
            f"one under {', '.join(WRAPPERS)}"
        )
    # DataParallel, once for each time it was wrapped
    while all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def _load(path: Path) -> Any:
    try:
        return load(
            path, lambda name: name in PLAIN or name.partition(".")[0] not in REFUSED, INERT
        )
    except Refused as error:
        raise DataError(
            f"{path} asks to run '{error.name}', which no model needs, and was not loaded: such a "
            "file can do anything to this machine. If you trust who made it, have them save "
            "model.state_dict()"
        ) from None
    except (Damaged, Foreign) as error:
        reason = (
            error.reason
            if isinstance(error, Damaged)
            else "neither torch.save nor safetensors wrote it"
        )
        raise DataError(
            f"{path} cannot be read as a checkpoint ({reason}); fetch it again, or save the "
            "model's state_dict with torch.save and give that"
        ) from None


def _named(content: Any, wrapped: int) -> Iterator[tuple[str, Tensor]]:
    """Tensors by name. wrapped: how many wrappers may still be taken off."""
    if isinstance(content, Record):
        yield from _of_module(content)
    elif isinstance(content, dict):
        for wrapper in WRAPPERS if wrapped else ():
            inner = dict(_named(content.get(wrapper), wrapped - 1))
            if inner:
                yield from inner.items()
                return
        for name, value in content.items():
            if isinstance(value, Tensor):
                yield str(name), value


def _of_module(module: Record) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of a module and the ones below it, by their state-dict names, each
    module once.

    A file may nest modules without end, or a module within itself; so nothing here recurs.
    """
    left, seen = [("", module, 0)], {id(module)}
    while left:
        prefix, module, depth = left.pop()
        for table in ("_parameters", "_buffers"):
            for name, value in _table(module, table):
                if isinstance(value, Tensor):
                    yield f"{prefix}{name}", value
        below = []
        for name, inner in _table(module, "_modules"):
            if isinstance(inner, Record) and id(inner) not in seen:
                if depth == DEPTH:
                    raise DataError(
                        f"modules of the checkpoint nest more than {DEPTH} deep, which no network "
                        "does; fetch it again"
                    )
                seen.add(id(inner))
                below.append((f"{prefix}{name}.", inner, depth + 1))
        left += reversed(below)  # the first comes first, with all that is below it


def _table(module: Record, name: str) -> list[tuple[Any, Any]]:
    entries = module.values.get(name)
    return list(entries.items()) if isinstance(entries, dict) else []
