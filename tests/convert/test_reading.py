"""Checkpoints of every form are read, and none can run code."""

import json
import os
import pickle
import re
import resource
import struct
import sys
import time
import types
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from partreid.convert import read
from partreid.errors import DataError

pytestmark = pytest.mark.filterwarnings(
    "ignore:Couldn't retrieve source code", "ignore:Detected pickle protocol"
)


def tensors() -> dict[str, Tensor]:
    whole = torch.arange(24.0).view(4, 6)
    return {
        "a.weight": whole.t(),
        "a.bias": whole[1, 2:5],
        "b": torch.tensor(3),
        "c": torch.ones(2, dtype=torch.half),
        "none": torch.empty(0),
    }


def same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(actual) == list(expected)
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype and torch.equal(actual[name], value), name


FORMS = [True, False]  # of torch.save: today's zip, and the one before version 1.6


@pytest.mark.parametrize("new", FORMS)
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "net"])
def test_wrapped_and_parallel(tmp_path: Path, new: bool, wrapper: str | None) -> None:
    plain = OrderedDict((f"module.{name}", value) for name, value in tensors().items())
    saved: Any = (
        plain
        if wrapper is None
        else {
            wrapper: plain,
            "epoch": 3,
            "rank1": np.float64(0.9),
            "best": np.float32(1),
            "curve": np.arange(3),
            "optimizer": {"lr": 1.0},
        }
    )
    torch.save(saved, tmp_path / "a.pth.tar", _use_new_zipfile_serialization=new)
    same(read(tmp_path / "a.pth.tar"), tensors())


def test_numpy_numbers_under_both_module_names(tmp_path: Path) -> None:
    """numpy 1 wrote numpy.core where numpy 2 writes numpy._core."""
    torch.save(
        {"rank1": np.float64(0.9), "at": np.int64(4), "w": torch.ones(2)},
        tmp_path / "b.pth",
        _use_new_zipfile_serialization=False,
    )
    new = (tmp_path / "b.pth").read_bytes()
    old = new.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert old != new
    (tmp_path / "old.pth").write_bytes(old)
    for name in ("b.pth", "old.pth"):
        same(read(tmp_path / name), {"w": torch.ones(2)})


def test_safetensors(tmp_path: Path) -> None:
    save_file({"module.x": torch.ones(3)}, tmp_path / "a.safetensors")
    same(read(tmp_path / "a.safetensors"), {"x": torch.ones(3)})
    (tmp_path / "b.safetensors").write_bytes(b"no")
    with pytest.raises(DataError, match="not a readable safetensors"):
        read(tmp_path / "b.safetensors")


class Config(dict):  # type: ignore[type-arg]
    """As HRNet's modules hold one."""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))
        self.classifier = nn.Linear(4, 5)
        self.register_buffer("seen", torch.arange(3))
        self.empty: nn.Parameter | None = nn.Parameter(torch.empty(0))
        self.settings, self.rank = Config(width=4, deep=Config(a=[1])), np.float64(0.5)
        self.options = Namespace(lr=0.1)


@pytest.fixture()
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> type[Net]:
    """Net as a class of a project that will not be there when its file is read."""
    project = types.ModuleType("modeling_of_a_paper")
    for kind in (Net, Config):
        monkeypatch.setattr(kind, "__module__", project.__name__)
        setattr(project, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, project.__name__, project)
    return Net


@pytest.mark.parametrize("new", FORMS)
@pytest.mark.parametrize("wrap", ["module", "parallel", "model", "parallel in model"])
def test_whole_modules(tmp_path: Path, elsewhere: type[Net], new: bool, wrap: str) -> None:
    model = elsewhere().train()
    model.base(torch.randn(2, 3, 4, 4))  # moves the running statistics
    saved: Any = nn.DataParallel(model) if "parallel" in wrap else model
    saved = {"model": saved, "epoch": 2} if "model" in wrap else saved
    torch.save(saved, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
    del sys.modules["modeling_of_a_paper"]
    same(read(tmp_path / "a.pth"), {**model.state_dict(), "empty": model.state_dict()["empty"]})


def test_views_that_share_a_storage(tmp_path: Path, elsewhere: type[Net]) -> None:
    model = elsewhere()
    whole = torch.arange(40.0).view(5, 8)
    model.classifier.weight = nn.Parameter(whole[:, 1:5])
    model.classifier.bias = nn.Parameter(whole[2, :5])
    for new in FORMS:
        torch.save(model, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
        weights = read(tmp_path / "a.pth")
        assert torch.equal(weights["classifier.weight"], whole[:, 1:5])
        assert torch.equal(weights["classifier.bias"], whole[2, :5])


def test_a_cuda_tensor_comes_to_the_cpu(tmp_path: Path, elsewhere: type[Net]) -> None:
    """Files of GPU models name 'cuda:0' as the place of every storage."""
    torch.save(elsewhere(), tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    data = (tmp_path / "a.pth").read_bytes()
    moved = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0").replace(
        b"ctorch\nFloatStorage\n", b"ctorch.cuda\nFloatStorage\n"
    )
    assert moved != data
    (tmp_path / "b.pth").write_bytes(moved)
    assert read(tmp_path / "b.pth")["classifier.weight"].device.type == "cpu"


class Attack:
    """Pickles into a call."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("new", FORMS)
@pytest.mark.parametrize("where", ["alone", "beside", "in a module"])
@pytest.mark.parametrize("function", [os.system, exec, eval, getattr])
def test_code_is_refused_and_does_not_run(
    tmp_path: Path, elsewhere: type[Net], new: bool, where: str, function: Any
) -> None:
    sentinel = tmp_path / "ran"
    args = {os.system: (f"touch {sentinel}",), getattr: (0, "real")}.get(
        function, (f"open({str(sentinel)!r}, 'w')",)
    )
    attack: Any = Attack(function, *args)
    saved: Any = {"alone": attack, "beside": {"model": tensors(), "extra": attack}}.get(where)
    if where == "in a module":
        saved = elsewhere()
        saved.extra = attack
    torch.save(saved, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
    with pytest.raises(DataError, match="asks to run '.*(system|exec|eval|getattr)'"):
        read(tmp_path / "a.pth")
    assert not sentinel.exists()
    if function is not getattr:  # the file does what it is feared for
        torch.load(tmp_path / "a.pth", weights_only=False)
        assert sentinel.exists()


def program(*code: bytes) -> bytes:
    """A file of torch.save before version 1.6 whose object is this pickle program."""
    head = b"".join(
        pickle.dumps(x, protocol=2) for x in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    )
    return head + b"".join(code) + pickle.dumps([], protocol=2)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        # a function of an unknown module
        (b"\x80\x02csome.project\nmake\n)R.", "asks to run 'some.project.make'"),
        # even a bare new object
        (b"\x80\x02csubprocess\nPopen\n)\x81.", "asks to run 'subprocess.Popen'"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.", "asks to run 'the state of a function"),
        (b"\x80\x02ctorch.hub\nload\nX\x01\x00\x00\x00a\x85R.", "asks to run 'torch.hub.load'"),
        (
            b"\x80\x02cargparse\nNamespace\nN}X\x05\x00\x00\x00extraNs\x86b.",
            "asks to run 'the state of a",
        ),
        (
            b"\x80\x02csome.project\nNet\n)\x81}X\x01\x00\x00\x00aK\x01sb.",
            "holds no named tensors",
        ),  # does nothing
    ],
)
def test_names_cannot_be_called_or_changed(tmp_path: Path, code: bytes, message: str) -> None:
    (tmp_path / "a.pth").write_bytes(program(code))
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.pth")


def storage(numel: int) -> bytes:
    """Pushes a float storage of so many numbers."""
    return (
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu\x8a\x08" + struct.pack("<q", numel) + b"NtQ"
    )


def view(numel: int, size: int, stride: int) -> bytes:
    """Pushes a tensor of one dimension on that storage."""
    whole = b"".join(b"\x8a\x08" + struct.pack("<q", n) + b"\x85" for n in (size, stride))
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(numel) + b"K\x00" + whole + b"\x89}tR"


def packed(path: Path, size: int) -> None:
    """A zip of torch.save whose numbers are packed zeros: a few hundred bytes claim ``size`` of
    them.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}X\x01\x00\x00\x00w" + view(size, size, 1) + b"s.")
        with archive.open("a/data/0", "w", force_zip64=True) as file:
            for _ in range(size // 2**18):
                file.write(bytes(2**20))


NAME = b"X\x01\x00\x00\x00w"
# a tuple within tuples as the key of a dict
DEEP = b"\x80\x02}" + b"K\x01" + b"\x85" * 500_000 + b"K\x01s."
HOSTILE: dict[str, tuple[bytes, str]] = {
    "memo index of 2^28": (b"\x80\x02Nr\x00\x00\x00\x10.", "no named tensors|cannot be read"),
    "storage of 2^40": (program(b"\x80\x02}" + NAME + view(2**40, 4, 1) + b"s."), "cannot be read"),
    "stride 0": (program(b"\x80\x02}" + NAME + view(4, 2**31, 0) + b"s."), "cannot be read"),
    "beyond its storage": (
        program(b"\x80\x02}" + NAME + view(4, 2000, 1) + b"s."),
        "cannot be read",
    ),
    "size of 2^62": (program(b"\x80\x02}" + NAME + view(4, 2**62, 1) + b"s."), "cannot be read"),
    "nested key": (program(DEEP), "cannot be read"),
    "colliding keys": (
        program(
            b"\x80\x02}("
            + b"".join(
                b"\x8a\x09" + (i * (2**61 - 1)).to_bytes(9, "little") + b"N" for i in range(1, 30)
            )
            * 1000
            + b"u."
        ),
        "cannot be read|no named tensors",
    ),
    "an endless string": (program(b"\x80\x02X\xff\xff\xff\xff."), "cannot be read"),
    "a module within itself": (
        program(
            b"\x80\x02csome.project\nNet\n)\x81q\x00}"
            b"X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00ah\x00ssb."
        ),
        "no named tensors",
    ),
    "modules without end": (
        program(
            b"\x80\x02csome.project\nNet\n)\x81"
            + b"".join(
                b"q\x010csome.project\nNet\n)\x81}"
                b"X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00ah\x01ssb"
                for _ in range(5000)
            )
            + b"."
        ),
        "nest more than 64 deep",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_file_claims_is_held_against_the_file(tmp_path: Path, name: str) -> None:
    """Each took gigabytes, minutes or the process with it. Under 3 GiB of address space and 20
    seconds each ends in a sentence.
    """
    data, message = HOSTILE[name]
    (tmp_path / "a.pth").write_bytes(data)
    assert re.search(message, bounded(tmp_path / "a.pth"))


def test_packed_numbers_are_refused(tmp_path: Path) -> None:
    packed(tmp_path / "a.pth", 2**28)
    assert "packed" in bounded(tmp_path / "a.pth")


def bounded(path: Path) -> str:
    """What reading says, in this process, with no more memory than it has now and 1 GiB."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, hard))
    start = time.monotonic()
    try:
        with pytest.raises(DataError) as refused:
            read(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert time.monotonic() - start < 20
    return str(refused.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            {"w": {"dtype": "F32", "shape": [100000, 100000], "data_offsets": [0, 16]}},
            "claims the shape",
        ),
        (
            {
                "w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
                "v": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
            },
            "share bytes",
        ),
        ({"w": {"dtype": "F99", "shape": [2, 2], "data_offsets": [0, 16]}}, "says nothing"),
        ({"w": {"dtype": "F32", "shape": [-2, -2], "data_offsets": [0, 16]}}, "says nothing"),
        ({"w": {"dtype": "F32", "shape": "4", "data_offsets": [0, 16]}}, "says nothing"),
        ({"w": 3}, "says nothing"),
        ({"w": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}, "have 64 bytes"),
        ([1], "no table"),
        ({"__metadata__": {"a": 1}}, "no texts"),
    ],
)
def test_headers_of_safetensors_are_held_against_the_file(
    tmp_path: Path, header: Any, message: str
) -> None:
    text = json.dumps(header).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    with pytest.raises(DataError, match=f"not a readable safetensors file .*{message}"):
        read(tmp_path / "a.safetensors")


def test_tensors_that_lie_about_themselves(tmp_path: Path, elsewhere: type[Net]) -> None:
    model = nn.Module()
    model.register_buffer("x", torch.arange(4.0))
    model.note = elsewhere  # type: ignore[assignment]
    torch.save(model, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    data = (tmp_path / "a.pth").read_bytes()
    size = b"K\x04\x85"  # the tuple (4,)
    assert data.count(size) == 1
    for broken, message in (
        (data.replace(size, b"K\x09\x85"), "does not lie in its storage"),
        (data[:-3], "in the middle"),
        (data[: len(data) // 2], "cannot be read"),
        (b"", "cannot be read"),
        (data[:-24] + struct.pack("<q", 2**40) + data[-16:], "numbers, not 4"),
    ):
        (tmp_path / "b.pth").write_bytes(broken)
        with pytest.raises(DataError, match=message):
            read(tmp_path / "b.pth")


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no checkpoint"):
        read(tmp_path)
    for content in (b"<html>", b"PK\x03\x04", pickle.dumps({"a": 1})):
        (tmp_path / "a.pth").write_bytes(content)
        with pytest.raises(DataError, match="a.pth"):
            read(tmp_path / "a.pth")
    torch.save({"epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(DataError, match="no named tensors"):
        read(tmp_path / "a.pth")
