"""Reading foreign pickles: what is taken, and that nothing runs."""

import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from partreid.errors import DataError
from partreid.labels.unpickle import load
from partreid.utils.pickles import LEGACY, ZIP, Record


class Runs:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def touching(sentinel: Path) -> dict[str, Any]:
    """Ways to leave a file behind. The shell is of this system, its module's true name is posix
    or nt.
    """
    write = f"open({str(sentinel)!r}, 'w').close()"
    return {
        "os.system": Runs(os.system, f"touch {sentinel}"),
        "builtins.eval": Runs(eval, write),
        "builtins.exec": Runs(exec, write),
        "nested": [{"file_name": "a.jpg", "scores": {"deep": (1, [Runs(eval, write)])}}],
    }


def torch_zip(value: Any, path: Path) -> None:
    torch.save(value, path)
    assert path.read_bytes().startswith(ZIP)


def torch_legacy(value: Any, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)
    assert path.read_bytes().startswith(LEGACY)


def raw(value: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(value))


WRITERS = [torch_zip, torch_legacy, raw]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("way", ["os.system", "builtins.eval", "builtins.exec", "nested"])
def test_code_is_refused_by_name_and_does_not_run(
    tmp_path: Path, write: Callable[[Any, Path], None], way: str
) -> None:
    sentinel, path = tmp_path / "sentinel", tmp_path / "dump.pkl"
    write(touching(sentinel)[way], path)
    with pytest.raises(
        DataError,
        match=r"asks for '((posix|nt)\.system|(builtins|__builtin__)\.(eval|exec))', which "
        r"no DensePose dump needs, and was not loaded.*can run any code",
    ):
        load(path)
    assert not sentinel.exists()
    torch.load(path, weights_only=False) if write is not raw else pickle.loads(path.read_bytes())
    assert sentinel.exists()  # the file does hurt those who trust it


def stored(data: bytes) -> Runs:
    """What a tensor's storage looks like in a plain pickle."""
    return Runs(torch.storage._load_from_bytes, data)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_hidden_in_the_storage_of_a_tensor_does_not_run(tmp_path: Path, zipped: bool) -> None:
    sentinel, path, inner = tmp_path / "sentinel", tmp_path / "dump.pkl", io.BytesIO()
    torch.save(touching(sentinel)["builtins.eval"], inner, _use_new_zipfile_serialization=zipped)
    raw([{"file_name": "a.jpg", "scores": stored(inner.getvalue())}], path)
    with pytest.raises(DataError, match=r"asks for '__builtin__\.eval'"):
        load(path)
    assert not sentinel.exists()
    pickle.loads(path.read_bytes())
    assert sentinel.exists()


@pytest.mark.parametrize(
    "name", ["DensePoseResult.__init__.__globals__", "DensePoseResult.__class__", "Nothing"]
)
def test_names_are_looked_up_whole(tmp_path: Path, name: str) -> None:
    """Protocol 4 lets a pickle follow dots from a permitted class to whatever hangs on it."""
    path = tmp_path / "dump.pkl"
    strings = b"".join(
        b"\x8c" + struct.pack("<B", len(s)) + s for s in (b"densepose.structures", name.encode())
    )
    path.write_bytes(b"\x80\x04" + strings + b"\x93.")
    with pytest.raises(DataError, match=f"asks for 'densepose.structures.{name}'"):
        load(path)


def test_a_file_cannot_change_what_the_next_one_meets(tmp_path: Path) -> None:
    """BUILD with a slot state sets attributes on whatever it is given, even on the permitted
    function or class.
    """
    path = tmp_path / "dump.pkl"
    before = dict(vars(Record))
    for module, name in (
        ("torch._utils", "_rebuild_tensor_v2"),
        ("densepose.structures", "DensePoseResult"),
    ):
        path.write_bytes(
            b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"N}U\x06hackedK\x01s\x86b."
        )
        with pytest.raises(DataError, match="asks for 'the state of a function or class"):
            load(path)
    assert not hasattr(torch._utils._rebuild_tensor_v2, "hacked")
    assert dict(vars(Record)) == before
    path.write_bytes(b"\x80\x02cdensepose.structures\nDensePoseResult\n)\x81}U\x01aK\x01sb.")
    record = load(path)
    assert (
        isinstance(record, Record) and record.values == {"a": 1} and not hasattr(record, "hacked")
    )


@pytest.mark.parametrize("write", WRITERS)
def test_plain_values_and_tensors_come_back(
    tmp_path: Path, write: Callable[[Any, Path], None]
) -> None:
    value = [
        {
            "file_name": "é.jpg",
            "scores": torch.tensor([0.5, 0.25]),
            "labels": torch.arange(6).view(2, 3),
            "nothing": None,
            "yes": True,
            "shape": (3, 2, 1),
            "half": torch.ones(2, dtype=torch.float16),
        }
    ]
    write(value, tmp_path / "dump.pkl")
    content = load(tmp_path / "dump.pkl")
    assert content[0].keys() == value[0].keys()
    for key, expected in value[0].items():
        torch.testing.assert_close(content[0][key], expected) if isinstance(
            expected, torch.Tensor
        ) else None
        assert isinstance(expected, torch.Tensor) or content[0][key] == expected


def test_a_zip_under_the_name_of_a_pickle_is_no_trap(tmp_path: Path) -> None:
    path = tmp_path / "results.pkl"
    torch_zip([torch.ones(2)], path)
    with open(path, "rb") as file, pytest.raises(pickle.UnpicklingError):
        pickle.load(file)  # what users try
    assert load(path)[0].tolist() == [1, 1]


def test_a_persistent_id_in_a_plain_pickle_is_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "data.pkl").write_bytes(b"\x80\x02X\x01\x00\x00\x00aQ.")
    with pytest.raises(DataError, match=r"cannot be read as a dump \(a persistent id"):
        load(tmp_path / "data.pkl")


@pytest.mark.parametrize("write", WRITERS)
def test_damaged_files_are_told_from_others(
    tmp_path: Path, write: Callable[[Any, Path], None]
) -> None:
    path = tmp_path / "dump.pkl"
    write([{"file_name": "a.jpg", "scores": torch.ones(3)}], path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(
        DataError, match=r"dump\.pkl cannot be read as a dump \(.*copy it again, or write it again"
    ):
        load(path)


def test_other_files_and_none(tmp_path: Path) -> None:
    for content in (b"", b"file_name,score\n", b"(lp0\n."):
        (tmp_path / "a.csv").write_bytes(content)
        with pytest.raises(
            DataError, match=r"a\.csv is no dump: .*neither by torch\.save nor by pickle\.dump"
        ):
            load(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"there is no file .*nothing\.pkl"):
        load(tmp_path / "nothing.pkl")
