"""A model file that was changed is refused in a sentence, whatever was changed, before memory is
asked for.
"""

import json
import math
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

import partreid
from partreid.errors import DataError
from partreid.train.bundle import read_model
from partreid.train.checkpoint import load_tensors, save_tensors

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def model(trained: Callable[[str], Path]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    return load_tensors(trained("bpbreid") / "model.safetensors")


def refused(path: Path) -> str:
    with pytest.raises(DataError) as error:
        read_model(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 1000
    return str(error.value)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ("{", "is not JSON"),
        ("null", "are None"),
        ("7", "are 7"),
        ("[]", r"are \[\]"),
        ('"text"', "are 'text'"),
        ("[" * 1000 + "]" * 1000, "nests more than"),
        ('{"identities": 1e400}', "not finite"),
        ('{"identities": ' + "9" * 500 + "}", "whole number of 500 digits"),
        ("{}", "is not a finished model"),
    ],
)
def test_metadata_that_are_none(tmp_path: Path, model: Any, meta: str, message: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(save(model[0], {"partreid": meta}))
    with pytest.raises(DataError, match=message):
        read_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(identities=-5), "identities must be .* got -5"),
        (lambda m: m.update(identities="12"), "identities must be .* got '12'"),
        (lambda m: m.update(identities=10**15), "identities must be .* got 10+"),
        (lambda m: m.update(identities=None), "identities must be .* got None"),
        (lambda m: m.update(identities=m["identities"] + 1), "its recipe needs"),
        (lambda m: m.pop("recipe"), "recipe"),
        (lambda m: m.update(recipe=[1]), "recipe"),
        (lambda m: m["recipe"].pop("method"), "method"),
        (lambda m: m["recipe"].update(size=[100000, 100000]), "size"),
        (lambda m: m["recipe"].update(size="64"), "size"),
        (lambda m: m["recipe"].update(size=[0, 3]), "size"),
        (lambda m: m["recipe"].update(method=5), "method"),
        (lambda m: m["recipe"].update(stages=[]), "stage"),
        (
            lambda m: m["recipe"]["backbone"]["args"].update(width=4 * 10**8),
            "backbone.width is 400000000",
        ),
        (
            lambda m: m["recipe"]["backbone"]["args"].update(width=3000),
            "numbers for .* identities; at most",
        ),
        (lambda m: m["recipe"]["method"]["args"].update(dim=10**15), "method.dim is 10+"),
        (
            lambda m: m["recipe"]["method"]["args"].update(dim=-8),
            "'dim' of method 'bpbreid' must lie from 1",
        ),
        (lambda m: m["recipe"]["method"]["args"].update(visibility="argmx"), "visibility"),
        (
            lambda m: (
                m["recipe"]["method"].update(name="pcb", args={"stripes": 4000})
                or m["recipe"].update(
                    stages=[{**s, "weights": {"id_parts": 1}} for s in m["recipe"]["stages"]]
                )
            ),
            "'stripes' of method 'pcb' must lie from 1 to 256",
        ),
        (lambda m: m.update(parts=None), "part scheme"),
        (lambda m: m.update(parts=[1]), "parts must be"),
        (lambda m: m["parts"].update(names="five"), "parts.names must be a list"),
        (
            lambda m: m["parts"].update(names=[1, 2]),
            "names must be a list whose entries are each a text",
        ),
        (lambda m: m["parts"].update(flip=[5, 5]), "flip must permute"),
    ],
)
def test_metadata_that_were_changed(
    tmp_path: Path, model: Any, change: Change, message: str
) -> None:
    tensors, meta = model
    changed = json.loads(json.dumps(meta))
    change(changed)
    save_tensors(tmp_path / "m.safetensors", tensors, changed)
    assert "m.safetensors is damaged or was changed" in refused(tmp_path / "m.safetensors")
    with pytest.raises(DataError, match=message):
        partreid.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(next(iter(t))), "its recipe needs 1 tensor that it lacks"),
        (lambda t: t.update(extra=torch.ones(3)), "has no place for 1 tensor that it holds, extra"),
        (
            lambda t: t.update({n: x.double() for n, x in t.items() if x.is_floating_point()}),
            "is torch.float64",
        ),
        (
            lambda t: t.update({n: x[None].clone() for n, x in list(t.items())[:1]}),
            "its recipe needs torch",
        ),
        (lambda t: _some_weight(t).fill_(math.nan), "holds NaN or infinity"),
        (lambda t: _some_weight(t).view(-1)[-1].fill_(math.inf), "holds NaN or infinity"),
    ],
)
def test_tensors_that_were_changed(
    tmp_path: Path, model: Any, change: Change, message: str
) -> None:
    tensors = {name: tensor.clone() for name, tensor in model[0].items()}
    change(tensors)
    save_tensors(tmp_path / "m.safetensors", tensors, model[1])
    with pytest.raises(DataError, match=message):
        read_model(tmp_path / "m.safetensors")


def test_a_header_that_claims_a_giant_is_held_against_the_file(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [100_000, 100_000], "data_offsets": [0, 40_000_000_000]}
    header = json.dumps({"w": entry}).encode()
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    assert "its tensors have 40,000,000,000 bytes and the file 0" in refused(
        tmp_path / "m.safetensors"
    )


def test_what_cannot_be_read_is_named_with_the_remedy(
    trained: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(trained("bpbreid") / "model.safetensors", tmp_path))
    monkeypatch.setattr("builtins.open", _forbidden)  # root may read all
    assert "model.safetensors may not be read by this user" in refused(path)


def _some_weight(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return next(
        t for name, t in tensors.items() if name.startswith("trunk.") and t.is_floating_point()
    )


def _forbidden(*args: Any, **options: Any) -> Any:
    raise PermissionError(13, "Permission denied")


def test_a_pipe_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.safetensors")
    assert "is a named pipe" in refused(tmp_path / "m.safetensors")


def test_a_folder_that_may_not_be_entered_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("os", "posix"):  # as everything below a folder of mode 600
        monkeypatch.setattr(f"{module}.stat", _forbidden)
        monkeypatch.setattr(f"{module}.lstat", _forbidden)
    with pytest.raises(
        DataError, match=r"model.safetensors cannot be reached \(Permission denied\); check .* perm"
    ):
        partreid.load(tmp_path / "model.safetensors")
