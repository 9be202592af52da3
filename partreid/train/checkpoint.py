"""Saving and loading: tensors in safetensors, everything else as JSON in its header. Nothing is
ever unpickled.
"""

import json
from collections.abc import Mapping
from os.path import isdir, lexists
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from partreid.errors import DataError
from partreid.utils.arguments import door, quoted
from partreid.utils.files import parse_json, write_atomically
from partreid.utils.tensors import read_tensors, require_finite


@door
def save_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write ``path`` whole or not at all; an older file stays until the new one is complete.

    DataError if the disk is full or the folder cannot be written.
    """
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    write_atomically(path, save(plain, {"partreid": json.dumps(meta)}))


@door
def load_tensors(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a file that :func:`save_tensors` wrote, all numbers finite.

    DataError if it is missing, broken, of somebody else, or was changed into what cannot have been
    written.
    """
    # else regular() says what is wrong with the way there
    if not lexists(path) and isdir(path.parent):
        raise DataError(
            f"there is no {path}; a run folder holds model.safetensors once training has ended, "
            "see: partreid train --help, or make one with: partreid demo"
        )
    tensors, texts = read_tensors(path, "restore it or train again", device)
    if "partreid" not in texts:
        raise DataError(
            f"{path} was not written by partreid (no metadata); foreign weights need a conversion, "
            "see: partreid convert --help"
        )
    meta = parse_json(texts["partreid"], f"the metadata of {path}")
    if not isinstance(meta, dict):
        raise DataError(
            f"the metadata of {path} are {quoted(meta)} and no table of names; restore it or train "
            "again"
        )
    require_finite(path, tensors)
    return tensors, meta


@door
def flatten_optimizer(
    state: Mapping[str, Any], prefix: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's ``state_dict`` as named tensors and a JSON-ready rest."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{prefix}/{index}/{key}"] = value
            elif value is not None:
                scalars.setdefault(str(index), {})[key] = value
    return tensors, {"groups": state["param_groups"], "scalars": scalars}


@door
def unflatten_optimizer(
    tensors: Mapping[str, Tensor], rest: Mapping[str, Any], prefix: str
) -> dict[str, Any]:
    """The inverse of :func:`flatten_optimizer`."""
    state: dict[int, dict[str, Any]] = {
        int(i): dict(entries) for i, entries in rest["scalars"].items()
    }
    for name, value in tensors.items():
        if name.startswith(prefix + "/"):
            index, key = name.removeprefix(prefix + "/").split("/")
            state.setdefault(int(index), {})[key] = value
    return {"state": state, "param_groups": rest["groups"]}
