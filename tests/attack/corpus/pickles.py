"""Crafted pickles, plain, of torch's older format and in its zips: what asks for code, for
memory, or for a crash.
"""

import io
import pickle
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

import torch

from tests.attack.corpus.base import Bad, packed_zeros, runs, zipped
from tests.attack.harness import MARK

LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save before 1.6: its magic number
SYSTEM = b"(S'mkdir " + MARK.encode() + b"'\nios\nsystem\n."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def opcodes() -> Iterator[tuple[str, bytes]]:
    """Streams by hand: the words of a pickle in orders that no pickler writes."""
    two = b"\x80\x02"
    yield "GLOBAL and REDUCE", two + b"cposix\nsystem\n" + text(f"mkdir {MARK}") + b"\x85R."
    yield "INST", SYSTEM
    yield "OBJ", two + b"(cposix\nsystem\n" + text(f"mkdir {MARK}") + b"o."
    yield (
        "STACK_GLOBAL",
        b"\x80\x04"
        + text("builtins")
        + text("eval")
        + b"\x93"
        + text(f"__import__('os').mkdir('{MARK}')")
        + b"\x85R.",
    )
    yield "NEWOBJ", two + b"cbuiltins\nmap\ncposix\nmkdir\n" + text(MARK) + b"\x85\x86\x81."
    yield (
        "BUILD with a method",
        two
        + b"ccollections\nOrderedDict\n)R}"
        + text("__setstate__")
        + b"cposix\nsystem\nsb"
        + text("x")
        + b"b.",
    )
    yield "EXT1", b"\x80\x02\x82\x01."
    yield "EXT4 of minus one", b"\x80\x02\x84\xff\xff\xff\xff."
    yield "PERSID", b"Pposix.system\n."
    yield (
        "a dotted name",
        b"\x80\x04"
        + text("torch")
        + text("serialization.os.system")
        + b"\x93"
        + text(f"mkdir {MARK}")
        + b"\x85R.",
    )
    yield "a name with NUL", two + b"cposix\0\nsystem\n."
    yield "torch's own loader", two + b"ctorch\nload\n" + text("x.pth") + b"\x85R."
    yield "torch's hub", two + b"ctorch.hub\nload\n."
    yield (
        "getattr",
        two + b"cbuiltins\ngetattr\n" + b"cposix\nsystem\n" + text("__call__") + b"\x86R.",
    )
    yield "memo 2^28", two + b"]r\x00\x00\x00\x10."
    yield "memo 2^31", two + b"]r\xff\xff\xff\x7f."
    yield "memo 2^28 by PUT", two + b"]p268435456\n."
    yield "a memo never set", two + b"h\x05."
    yield "a text of 4 GiB", two + b"X\xff\xff\xff\xff" + b"abc."
    yield "a text of 2^62", b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"abc."
    yield "bytes of 2^62", b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc."
    yield "a bytearray of 2^40", b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"abc."
    yield "a frame of 2^62", b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N."
    yield "a number of 2^31 bytes", two + b"\x8b\xff\xff\xff\x7f" + b"abc."
    yield "a number of minus bytes", two + b"\x8b\xff\xff\xff\xff" + b"abc."
    yield "a number of 100,000 digits", two + b"L" + b"9" * 100_000 + b"L\n."
    yield "no end", two + b"]"
    yield "an end without a value", two + b"."
    yield "a mark never closed", two + b"(" * 100_000
    yield "tuples in tuples", two + b")" + b"\x85" * 150_000 + b"."
    yield "tuples in tuples as a key", two + b"})" + b"\x85" * 150_000 + b"Ns."
    yield "tuples in tuples in a set", b"\x80\x04\x8f(" + b")" + b"\x85" * 150_000 + b"\x90."
    yield "lists in lists", two + b"]" * 100_000 + b"a" * 99_999 + b"."
    yield "a list in itself", two + b"]q\x00h\x00a."
    yield "a table in itself", two + b"}q\x00" + text("a") + b"h\x00s."
    yield (
        "a list that doubles",
        two
        + b"]q\x00"
        + b"(h\x00h\x00e" * 3
        + b"]q\x01"
        + b"".join(
            b"]q" + bytes([i + 2]) + b"(h" + bytes([i + 1]) + b"h" + bytes([i + 1]) + b"e"
            for i in range(60)
        )
        + b".",
    )
    yield (
        "colliding keys",
        two
        + b"}("
        + b"".join(
            b"\x8a" + bytes([len(raw)]) + raw + b"N"
            for raw in ((k * (2**61 - 1)).to_bytes(10, "little") for k in range(1, 40_000))
        )
        + b"u.",
    )
    yield "a protocol of 255", b"\x80\xff."
    yield "buffers out of band", b"\x80\x05\x97."


def entries() -> Iterator[tuple[str, Any]]:
    """What a dump may hold that no DensePose wrote; of types that every reader lets through."""
    box, chart = (
        torch.tensor([[4.0, 8.0, 24.0, 56.0]]),
        {"labels": torch.zeros(48, 20, dtype=torch.int64), "uv": torch.zeros(2, 48, 20)},
    )
    good = {
        "file_name": "0001_c1s1_000001_00.jpg",
        "scores": torch.tensor([0.9]),
        "pred_boxes_XYXY": box,
        "pred_densepose": [chart],
    }
    yield "an empty list", []
    yield "an empty table", {}
    yield "a number", 3
    yield "a tensor", torch.zeros(3)
    yield "a list of numbers", [1, 2]
    yield "an empty entry", [{}]
    yield "the file twice", [good, {**good, "scores": torch.tensor([0.1])}]
    for value in (None, 5, [], {}, "", "..", "a\0b", "x" * 100_000, b"a.jpg"):
        yield f"a file name {str(value)[:12]!r}", [{**good, "file_name": value}]
    for key in ("scores", "pred_boxes_XYXY", "pred_densepose"):
        for name, value in (
            ("None", None),
            ("a number", 5),
            ("text", "abc"),
            ("empty", []),
            ("a table", {"a": 1}),
            ("nested", [[[1]]]),
            ("NaN", torch.tensor([float("nan")])),
            ("huge", torch.tensor([1e38])),
            ("complex", torch.zeros(1, 4, dtype=torch.complex64)),
            ("sparse", torch.zeros(1, 4).to_sparse()),
            ("stride 0", torch.zeros(1).expand(2**31)),
            ("on meta", torch.zeros(1, 4, device="meta")),
            ("bool", torch.ones(1, 4, dtype=torch.bool)),
        ):
            yield f"{key} {name}", [{**good, key: value}]
    for name, boxes in (
        ("inside out", [[24, 56, 4, 8]]),
        ("far away", [[1e9, 1e9, 2e9, 2e9]]),
        ("as large as the world", [[0, 0, 1e30, 1e30]]),
        ("2^31", [[0, 0, 2.0**31, 2.0**31]]),
        ("of 60,000", [[0, 0, 60_000, 60_000]]),
        ("empty", [[0, 0, 0, 0]]),
        ("negative", [[-1e9] * 4]),
    ):
        yield (
            f"a box {name}",
            [{**good, "pred_boxes_XYXY": torch.tensor(boxes, dtype=torch.float32)}],
        )
        raw = {
            key: torch.zeros(1, 2 if key == "coarse_segm" else 25, 4, 4)
            for key in ("coarse_segm", "fine_segm", "u", "v")
        }
        yield (
            f"a raw box {name}",
            [
                {
                    **good,
                    "pred_boxes_XYXY": torch.tensor(boxes, dtype=torch.float32),
                    "pred_densepose": raw,
                }
            ],
        )
    for name, field, value in (
        ("labels beyond", "labels", chart["labels"] + 25),
        ("labels below", "labels", chart["labels"] - 1),
        ("labels of float", "labels", chart["labels"] + 0.5),
        ("labels of NaN", "labels", chart["labels"] * float("nan")),
        ("labels stride 0", "labels", torch.zeros(1, dtype=torch.int64).expand(2**31)),
        ("labels of two", "labels", chart["labels"][:2]),
        ("uv of one", "uv", chart["uv"][:1]),
        ("uv complex", "uv", chart["uv"] + 1j),
        ("uv NaN", "uv", chart["uv"] * float("nan")),
        ("uv huge", "uv", chart["uv"] + 1e38),
        ("uv text", "uv", "abc"),
        ("labels None", "labels", None),
    ):
        yield f"a chart with {name}", [{**good, "pred_densepose": [{**chart, field: value}]}]
    yield (
        "a PNG that is none",
        [{**good, "pred_densepose": [{"labels_uv_str": "aGVsbG8=", "shape_chw": (3, 48, 20)}]}],
    )
    yield (
        "a PNG that is a number",
        [{**good, "pred_densepose": [{"labels_uv_str": 5, "shape_chw": (3, 48, 20)}]}],
    )


def states() -> Iterator[tuple[str, Any]]:
    """What a checkpoint may hold that is no model."""
    yield "an empty table", {}
    yield "a number", 3
    yield "a list", [torch.zeros(3)]
    yield "a tensor", torch.zeros(3)
    yield "tables in tables", {"state_dict": {"state_dict": {"model": {"model": {}}}}}
    yield "names that are numbers", {1: torch.zeros(3), 2: torch.zeros(3)}
    yield "names that are tuples", {(1, 2): torch.zeros(3)}
    yield "names that are None", {None: torch.zeros(3)}
    yield "nothing but module.", {"module.": torch.zeros(3)}
    yield "sparse", {"a.weight": torch.zeros(3, 3).to_sparse()}
    yield "complex", {"a.weight": torch.zeros(3, dtype=torch.complex64)}
    yield "quantised", {"a.weight": torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8)}
    yield "NaN", {"a.weight": torch.full((3,), float("nan"))}
    yield "on meta", {"a.weight": torch.zeros(10**6, 10**6, device="meta")}
    yield "stride 0", {"a.weight": torch.zeros(1).expand(10**9)}
    yield "stride 0 by 2^40", {"a.weight": torch.zeros(1).expand(2**20, 2**20)}
    yield "a name of 100,000 characters", {"a" * 100_000: torch.zeros(3)}
    yield "names of escapes", {"\x1b[31m": torch.zeros(3)}
    loop: dict[str, Any] = {"a": torch.zeros(2)}
    loop["state_dict"] = loop
    yield "a table in itself", loop


def lying_storage() -> bytes:
    """A plain pickle's tensor that is larger than what it says to lie in (torch's zip, edited)."""
    file = io.BytesIO()
    torch.save({"a.weight": torch.arange(6.0)}, file)
    return rezipped(
        file.getvalue(),
        lambda name, data: (
            data.replace(b"K\x06\x85", b"M\x00\x40\x85") if name.endswith("data.pkl") else data
        ),
    )


def rezipped(data: bytes, change: Any, kind: int = zipfile.ZIP_STORED) -> bytes:
    """A zip with its members changed: a function of name and bytes, None to leave one out."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w", kind) as made:
        for name in archive.namelist():
            content = change(name, archive.read(name))
            if content is not None:
                made.writestr(name, content)
    return out.getvalue()


def of_torch(value: Any, zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def zips(valid: bytes) -> Iterator[Bad]:
    """torch's zip, changed."""

    def with_(name: str, change: Any, kind: int = zipfile.ZIP_STORED, refused: bool = True) -> Bad:
        return Bad.of(name, rezipped(valid, change, kind), refused)

    yield with_("nothing in the zip", lambda name, data: None)
    yield with_(
        "no pickle in the zip", lambda name, data: None if name.endswith("data.pkl") else data
    )
    yield with_("no numbers in the zip", lambda name, data: None if "/data/" in name else data)
    yield with_(
        "fewer numbers in the zip", lambda name, data: data[:4] if "/data/" in name else data
    )
    yield with_(
        "more numbers in the zip",
        lambda name, data: data + bytes(64) if "/data/" in name else data,
        refused=False,
    )
    yield with_("a packed zip", lambda name, data: data, zipfile.ZIP_DEFLATED, refused=False)
    yield Bad.of("a zip bomb", bombed(valid, "/data/"), refused=False)
    yield Bad.of("a bomb for a pickle", bombed(valid, "data.pkl"))
    yield with_(
        "big-endian",
        lambda name, data: b"big" if name.endswith("byteorder") else data,
        refused=False,
    )
    yield with_(
        "a strange version",
        lambda name, data: b"99999999999" if name.endswith("version") else data,
        refused=False,
    )
    yield with_(
        "a version of text",
        lambda name, data: b"abc" if name.endswith("version") else data,
        refused=False,
    )
    for name, code in opcodes():
        yield with_(
            f"{name} in the zip",
            lambda member, data, code=code: code if member.endswith("data.pkl") else data,
        )
    for function in ("mkdir", "eval", "exec"):
        yield with_(
            f"{function} in the zip",
            lambda name, data, f=function: runs(f) if name.endswith("data.pkl") else data,
        )
    yield Bad.of("a zip of 386 bytes and 10 GB", small_bomb())


def small_bomb() -> bytes:
    """A stored member that claims ten gigabytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, 2))
        archive.writestr("a/data/0", b"abcdefgh")
    data = bytearray(file.getvalue())
    for mark, offset in ((b"PK\x03\x04", 18), (b"PK\x01\x02", 20)):
        place = data.rindex(mark)
        data[place + offset : place + offset + 8] = struct.pack("<II", 2**32 - 2, 2**32 - 2)
    return bytes(data)


def bombed(data: bytes, where: str) -> bytes:
    """A zip in which the members with ``where`` in their names unpack to 2 GiB more of zeros."""
    members: dict[str, tuple[bytes, int, int]] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            content, mib = archive.read(name), 2048 if where in name else 0
            members[name] = (*packed_zeros(mib, content), len(content) + mib * 2**20)
    return zipped(members)


def plain(valid: bytes) -> Iterator[Bad]:
    for name, code in opcodes():
        yield Bad.of(name, code if code[:1] == b"\x80" else b"\x80\x02" + code)


def legacy(valid: bytes) -> Iterator[Bad]:
    """torch's older format: a magic number, a version, a machine, the value, its storages."""
    head = (
        LEGACY
        + pickle.dumps(1001, 2)
        + pickle.dumps(
            {
                "protocol_version": 1001,
                "little_endian": True,
                "type_sizes": {"short": 2, "int": 4, "long": 4},
            },
            2,
        )
    )
    assert valid.startswith(LEGACY)
    for name, code in opcodes():
        whole = code if code[:1] == b"\x80" else b"\x80\x02" + code
        yield Bad.of(f"{name}, older", head + whole + pickle.dumps([], 2))
    yield Bad.of("another version", LEGACY + pickle.dumps(1, 2) + valid[60:])
    yield Bad.of(
        "a machine that is none",
        LEGACY + pickle.dumps(1001, 2) + pickle.dumps(5, 2) + pickle.dumps({}, 2),
    )
    yield Bad.of(
        "storages that are none", head + pickle.dumps({}, 2) + pickle.dumps([5, "x", None], 2)
    )
    yield Bad.of("storages that are a number", head + pickle.dumps({}, 2) + pickle.dumps(5, 2))
    for numel in (-1, 2**40, 2**62):
        entry = (
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(("
            + text("storage")
            + b"ctorch\nFloatStorage\n"
            + text("0")
            + text("cpu")
            + b"\x8a\x08"
            + struct.pack("<q", numel)
            + b"NtQK\x00K\x02\x85K\x01\x85\x89N"
            b"tR."
        )
        yield Bad.of(
            f"a storage of {numel} numbers",
            head + entry + pickle.dumps(["0"], 2) + struct.pack("<q", 2) + bytes(8),
        )


def dumps(kind: str) -> Any:
    def made(valid: bytes) -> Iterator[Bad]:
        if kind == "pickle":
            yield from plain(valid)
            for name, value in entries():
                if not isinstance(value, torch.Tensor):
                    try:
                        data = pickle.dumps(value, 2)
                    except Exception:  # a tensor that only torch.save can write
                        continue
                    yield Bad.of(name, data, refused=False)
            return
        yield from zips(valid) if kind == "zip" else legacy(valid)
        for name, value in entries():
            try:
                data = of_torch(value, kind == "zip")
            except Exception:  # nor it
                continue
            if len(data) < 2**22:
                yield Bad.of(name, data, refused=False)

    return made


def checkpoints(kind: str) -> Any:
    def made(valid: bytes) -> Iterator[Bad]:
        yield from zips(valid) if kind == "zip" else legacy(valid)
        yield from plain(valid)
        for name, value in states():
            try:
                data = of_torch(value, kind == "zip")
            except Exception:  # as above
                continue
            if len(data) < 2**22:
                yield Bad.of(f"a checkpoint of {name}", data, refused=False)
        yield Bad.of("a tensor beyond its storage", lying_storage())

    return made
