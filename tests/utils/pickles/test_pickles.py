"""Foreign pickles: what comes back of the three forms, and that no file costs more than it is
long.
"""

import io
import os
import pickle
import resource
import struct
import sys
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from partreid.errors import DataError
from partreid.utils.pickles import LEGACY, Damaged, Foreign, Record, Refused, load

Write = Callable[[Any, Path], None]


def torch_zip(value: Any, path: Path) -> None:
    torch.save(value, path)


def torch_legacy(value: Any, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def plain(value: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(value))


WRITERS = [torch_zip, torch_legacy, plain]


def none(name: str) -> bool:
    return False


def state() -> Any:
    whole = torch.arange(24.0).view(4, 6)
    return OrderedDict(
        [
            ("a", whole.t()),
            ("b", whole[1, 2:5]),
            ("half", torch.ones(2, dtype=torch.bfloat16)),
            ("flag", torch.tensor([True, False])),
            ("none", torch.empty(0, 3)),
            ("one", torch.tensor(3)),
            ("parameter", torch.nn.Parameter(torch.ones(2))),
            ("wide", torch.ones(1).expand(3)),
        ]
    )


@pytest.mark.parametrize("write", WRITERS)
def test_values_come_back(tmp_path: Path, write: Write) -> None:
    value = {
        "state": state(),
        "text": "é\ud800",
        "bytes": b"\x00\xff",
        "big": 2**70,
        "small": -5,
        "pi": 3.25,
        "no": None,
        "list": [1, (2, (3, 4, 5, 6)), {}],
        7: True,
        (1, "a"): False,
        "shape": torch.Size([3, 1]),
        "set": {1},
    }
    write(value, tmp_path / "a")
    loaded = load(tmp_path / "a", none)
    assert list(loaded) == list(value) and list(loaded["state"]) == list(value["state"])
    for name, expected in value["state"].items():
        got = loaded["state"][name]
        assert got.dtype == expected.dtype and torch.equal(got, expected), name
    loaded["state"]["b"] += 1  # ours alone: the file does not change
    assert list(loaded.pop("set")) == [1]
    assert {**loaded, "state": 0} == {**{k: v for k, v in value.items() if k != "set"}, "state": 0}
    assert torch.equal(load(tmp_path / "a", none)["state"]["b"], value["state"]["b"])


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_all_binary_protocols(tmp_path: Path, protocol: int) -> None:
    value = [
        {
            "a": [1, 300, 70000, 2**40, -1.5, "x" * 300, b"y" * 300, bytearray(b"z")],
            "b": list(range(2000)),
        }
    ] * 2
    (tmp_path / "a").write_bytes(pickle.dumps(value, protocol))
    loaded = load(tmp_path / "a", none, inert={"builtins.bytearray", "__builtin__.bytearray"})
    assert (
        loaded[0] is loaded[1]
        and loaded[0]["b"] == list(range(2000))
        and loaded[0]["a"][:6] == value[0]["a"][:6]
    )


def test_classes_become_records(tmp_path: Path) -> None:
    class_ = b"\x80\x02cmine\nThing\n)\x81}q\x00(U\x01aK\x01U\x01bNub."
    (tmp_path / "a").write_bytes(class_)
    record = load(tmp_path / "a", {"mine.Thing"}.__contains__)
    assert (
        isinstance(record, Record)
        and record.name == "mine.Thing"
        and record.values == {"a": 1, "b": None}
    )
    with pytest.raises(Refused, match=r"asks for 'mine\.Thing'") as caught:
        load(tmp_path / "a", none)
    assert caught.value.name == "mine.Thing"
    (tmp_path / "a").write_bytes(b"\x80\x02cmine\nThing\n)R.")
    with pytest.raises(Refused, match=r"mine\.Thing"):  # a class is not called
        load(tmp_path / "a", {"mine.Thing"}.__contains__)
    assert isinstance(load(tmp_path / "a", none, inert={"mine.Thing"}), Record)


class Runs:
    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.sentinel),)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("where", ["alone", "key", "deep"])
def test_nothing_runs(tmp_path: Path, write: Write, where: str) -> None:
    attack = Runs(tmp_path / "ran")
    write({"alone": attack, "key": {attack: 1}, "deep": [({"a": attack},)]}[where], tmp_path / "a")
    for permitted in (none, lambda name: True):
        with pytest.raises(Refused, match=r"(posix|nt)\.mkdir"):
            load(tmp_path / "a", permitted)
    assert not (tmp_path / "ran").exists()


def archive(pickled: bytes, **storages: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("archive/data.pkl", pickled)
        for key, data in storages.items():
            made.writestr(f"archive/data/{key[1:]}", data)
    return file.getvalue()


def tensor(
    size: tuple[int, ...], stride: tuple[int, ...], numel: int = 4, offset: int = 0
) -> bytes:
    """The operations that make a tensor on the storage 0."""

    def number(n: int) -> bytes:
        return b"\x8a\x08" + struct.pack("<q", n)

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpu"
        + number(numel)
        + b"tQ"
        + number(offset)
        + numbers(size)
        + numbers(stride)
        + b"\x89}tR"
    )


def packed() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("archive/data.pkl", b"\x80\x02" + tensor((2**20,), (1,), 2**20) + b".")
        made.writestr("archive/data/0", bytes(2**22))
    return file.getvalue()


def legacy(*parts: bytes) -> bytes:
    return (
        LEGACY + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2) + b"".join(parts)
    )


def colliding(n: int) -> bytes:
    """A dict whose keys are whole numbers of one hash."""
    keys = b"".join(
        b"\x8a\x20" + (i * (2**61 - 1)).to_bytes(32, "little") + b"N" for i in range(1, n)
    )
    return b"\x80\x02}(" + keys + b"u."


DEEP = b"\x80\x02)" + b"\x85" * 300_000
FOUR = bytes(16)
HOSTILE: dict[str, bytes] = {
    "a memo index of 2^28": b"\x80\x02Nr\x00\x00\x00\x10j\x00\x00\x00\x11.",
    "a tuple of tuples as a key": b"\x80\x02}" + DEEP[2:] + b"Ns.",
    "a tuple of tuples in a set": b"\x80\x04\x8f(" + DEEP[2:] + b"\x90}h\x00.",
    "colliding keys": colliding(20_000),
    "colliding tuples": b"\x80\x02}(" + b"(K\x01(K\x02tt" * 5000 + b"u.",
    "a string longer than the file": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "bytes of 2^63": b"\x80\x04\x8e" + b"\xff" * 8 + b"abc.",
    "a whole number of 2 GiB": b"\x80\x02\x8b\xff\xff\xff\x7f1.",
    "a frame of 2^60": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"Ijunk",
    "a list that is copied again and again": b"\x80\x02]("
    + b"K\x01" * 10**5
    + b"eq\x000"
    + b"ctorch\nSize\nh\x00\x85R0" * 5000
    + b"N.",
    "millions of lists": b"\x80\x02" + b"]" * 2_400_000 + b".",
    "a stride of 0": archive(b"\x80\x02" + tensor((2**31,), (0,)) + b".", _0=FOUR),
    "many tensors on one storage": archive(
        b"\x80\x02(" + tensor((2**22,), (1,), 2**22) * 20 + b"t.", _0=bytes(2**24)
    ),
    "a tensor beyond its storage": archive(b"\x80\x02" + tensor((8,), (1,)) + b".", _0=FOUR),
    "an offset beyond its storage": archive(
        b"\x80\x02" + tensor((1,), (1,), offset=4) + b".", _0=FOUR
    ),
    "a negative stride": archive(b"\x80\x02" + tensor((2,), (-1,)) + b".", _0=FOUR),
    "a size of 2^62": archive(b"\x80\x02" + tensor((2**62, 2**62), (0, 0)) + b".", _0=FOUR),
    "a storage of other bytes": archive(b"\x80\x02" + tensor((4,), (1,), 5) + b".", _0=FOUR),
    "a storage that is not there": archive(b"\x80\x02" + tensor((4,), (1,)) + b"."),
    "packed numbers": packed(),
    "a zip without a pickle": archive(b"").replace(b"data.pkl", b"data.txt"),
    "a legacy storage of 2^40": legacy(
        b"\x80\x02" + tensor((1,), (1,), 2**40) + b".", pickle.dumps(["0"], 2)
    ),
    "a legacy storage that never comes": legacy(
        b"\x80\x02" + tensor((1,), (1,)) + b".", pickle.dumps([], 2)
    ),
    "text operations": b"\x80\x02I" + b"9" * 5000 + b"\n.",
    "an inner file within an inner "
    "file": b"\x80\x04ctorch.storage\n_load_from_bytes\nC\x02\x80\x02\x85R.",
    "nothing to pop": b"\x80\x02R.",
    "an odd number of entries": b"\x80\x02}(K\x01u.",
    "no end": b"\x80\x02]",
}


@pytest.mark.skipif(sys.platform != "linux", reason="limits the process's memory")
@pytest.mark.parametrize("case", HOSTILE)
def test_what_a_file_claims_is_bounded_by_its_length(tmp_path: Path, case: str) -> None:
    """Each of these took gigabytes, minutes, the process itself, or gave numbers that are
    nobody's.
    """
    (tmp_path / "a").write_bytes(HOSTILE[case])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    begin = time.process_time()
    resource.setrlimit(resource.RLIMIT_AS, (memory_in_use() + 768 * 2**20, limits[1]))
    try:
        with pytest.raises(
            (Damaged, Foreign), match=r"a (cannot be read \(.+\);|was written neither)"
        ) as caught:
            load(tmp_path / "a", lambda name: True)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert "MemoryError" not in str(caught.value) and time.process_time() - begin < 30


def memory_in_use() -> int:
    """Of this process, addresses and not only pages, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def test_deep_values_are_given_and_die_quietly(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DEEP + b".")
    nested, depth = load(tmp_path / "a", none), 0
    while nested:
        nested, depth = nested[0], depth + 1
    assert depth == 300_000


def test_a_checksum_is_looked_at(tmp_path: Path) -> None:
    torch.save(torch.arange(64.0), tmp_path / "a")
    data = bytearray((tmp_path / "a").read_bytes())
    start = data.index(torch.arange(64.0).numpy().tobytes())
    data[start + 40] ^= 1
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(Damaged, match="checksum"):
        load(tmp_path / "a", none)


@pytest.mark.parametrize("write", WRITERS)
def test_every_cut_and_every_changed_byte_is_an_answer(tmp_path: Path, write: Write) -> None:
    write({"a": torch.arange(4.0), "b": ["text", 3, None]}, tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    for cut in range(0, len(data), max(1, len(data) // 150)):
        for broken in (data[:cut], data[:cut] + bytes([data[cut] ^ 0x55]) + data[cut + 1 :]):
            (tmp_path / "a").write_bytes(broken)
            try:
                load(tmp_path / "a", lambda name: True)
            except DataError as error:
                assert len(str(error)) < 500


def test_other_files(tmp_path: Path) -> None:
    for content in (b"", b"<html>", b"(lp0\n."):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(Foreign):
            load(tmp_path / "a", none)
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(DataError, match=r"is a folder|there is no file"):
            load(path, none)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="named pipe"):
        load(tmp_path / "pipe", none)
