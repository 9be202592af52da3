"""Files are whole or not there, broken and foreign ones are named, and an optimizer survives the
way to disk.
"""

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from partreid.errors import DataError
from partreid.train.checkpoint import (
    flatten_optimizer,
    load_tensors,
    save_tensors,
    unflatten_optimizer,
)

OLD, NEW = {"w": torch.zeros(3)}, {"w": torch.ones(3)}


def test_tensors_and_metadata_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x.safetensors"
    strided = torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
    tensors = {
        "a": strided,
        "b": torch.tensor(7),
        "c": torch.randn(2).bfloat16(),
        "d": torch.arange(3).byte(),
    }
    save_tensors(path, tensors, {"place": [1, 2], "none": None})
    loaded, meta = load_tensors(path)
    assert meta == {"place": [1, 2], "none": None}
    assert set(loaded) == set(tensors)
    assert all(
        torch.equal(loaded[k], tensors[k]) and loaded[k].dtype == tensors[k].dtype for k in tensors
    )


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_tensors(path, OLD, {"step": 1})

    def full(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            DataError, match=r"disk is full: checkpoint\.safetensors.*free some space.*--resume"
        ):
            save_tensors(path, NEW, {"step": 2})
    tensors, meta = load_tensors(path)
    assert meta == {"step": 1} and torch.equal(tensors["w"], OLD["w"])
    # no half-written file stays behind and fills the disk
    assert os.listdir(tmp_path) == [path.name]


def test_a_kill_between_writing_and_naming_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, OLD, {})

    class Killed(BaseException):
        pass

    def kill(source: object, target: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", kill)
        with pytest.raises(Killed):
            save_tensors(path, NEW, {})
    assert torch.equal(load_tensors(path)[0]["w"], OLD["w"])


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/x\.safetensors cannot be written.*--out"):
        save_tensors(tmp_path / "file" / "x.safetensors", NEW, {})


def test_missing_broken_and_foreign_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no .*gone\.safetensors"):
        load_tensors(tmp_path / "gone.safetensors")
    whole = tmp_path / "whole.safetensors"
    save_tensors(whole, NEW, {})
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-4])
    torch.save(NEW, tmp_path / "pickle.safetensors")
    for name in ("cut", "pickle"):
        with pytest.raises(
            DataError, match=rf"{name}\.safetensors is not a readable safetensors file"
        ):
            load_tensors(tmp_path / f"{name}.safetensors")
    save_file(NEW, tmp_path / "foreign.safetensors")
    with pytest.raises(DataError, match=r"foreign\.safetensors was not written by partreid"):
        load_tensors(tmp_path / "foreign.safetensors")


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_an_optimizer_goes_on_as_if_it_had_never_been_saved(
    kind: type[torch.optim.Optimizer], tmp_path: Path
) -> None:
    def start() -> tuple[list[torch.Tensor], torch.optim.Optimizer]:
        params = [torch.ones(2, 3, requires_grad=True), torch.full((4,), 2.0, requires_grad=True)]
        extra = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        return params, kind(params, lr=0.1, **extra)  # type: ignore[call-arg]

    def go(params: list[torch.Tensor], optimizer: torch.optim.Optimizer, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            sum(((p - 0.3) ** 2).sum() for p in params).backward()  # type: ignore[union-attr]
            optimizer.step()

    whole, optimizer = start()
    go(whole, optimizer, 3)
    tensors, rest = flatten_optimizer(optimizer.state_dict(), "o")
    save_tensors(tmp_path / "x.safetensors", tensors, {"rest": rest})
    loaded, meta = load_tensors(tmp_path / "x.safetensors")
    again, fresh = start()
    with torch.no_grad():
        for mine, other in zip(again, whole):
            mine.copy_(other)
    fresh.load_state_dict(unflatten_optimizer(loaded, meta["rest"], "o"))
    go(whole, optimizer, 3)
    go(again, fresh, 3)
    assert all(torch.equal(a, b) for a, b in zip(again, whole))
