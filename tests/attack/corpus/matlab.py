"""Bad .mat: MATLAB 5's tagged elements and MATLAB 7.3's HDF5, with sizes, types and references
that lie.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.attack.corpus.base import Bad, flipped, zlib_zeros

HEAD = b"MATLAB 5.0 MAT-file, made by hand".ljust(124) + b"\x00\x01IM"


def element(kind: int, data: bytes, length: int | None = None) -> bytes:
    return (
        struct.pack("<II", kind, len(data) if length is None else length)
        + data
        + bytes(-len(data) % 8)
    )


def matrix(name: str, dims: tuple[int, ...], flags: int, body: bytes) -> bytes:
    inner = (
        element(6, struct.pack("<II", flags, 0))
        + element(5, struct.pack(f"<{len(dims)}i", *dims))
        + element(1, name.encode())
        + body
    )
    return element(14, inner)


def mat5(valid: bytes) -> Iterator[Bad]:
    from scipy import io as scipy_io

    doubles = element(9, struct.pack("<2d", 1, 2))
    yield Bad.of("a header alone", HEAD)
    yield Bad.of("big-endian", valid[:126] + b"MI" + valid[128:])
    yield Bad.of("version 7.3 by its header", valid[:124] + b"\x00\x02IM" + valid[128:])
    yield Bad.of("version 4", struct.pack("<5I", 0, 10**6, 10**6, 0, 5) + b"abcd\0" + bytes(64))
    yield Bad.of(
        "version 4 of 2^31", struct.pack("<5I", 0, 2**31 - 1, 2**31 - 1, 0, 2**31 - 1) + bytes(64)
    )
    for name, dims in (
        ("10^12 numbers", (10**6, 10**6)),
        ("2^31 by 2^31", (2**31 - 1, 2**31 - 1)),
        ("minus ones", (-1, -1)),
        ("no dimensions", ()),
        ("40 dimensions", (1,) * 40),
        ("none by 2^31", (0, 2**31 - 1)),
    ):
        for kind, flags in (
            ("doubles", 6),
            ("cells", 1),
            ("structures", 2),
            ("texts", 4),
            ("sparse", 5),
            ("objects", 3),
        ):
            yield Bad.of(f"{name} of {kind}", HEAD + matrix("filelist", dims, flags, doubles))
    yield Bad.of("an element of 4 GiB", HEAD + struct.pack("<II", 14, 2**32 - 1) + bytes(64))
    yield Bad.of("an element of minus one", HEAD + struct.pack("<Ii", 14, -1) + bytes(64))
    yield Bad.of("a packed bomb", HEAD + element(15, zlib_zeros(2048)))
    yield Bad.of("packed noise", HEAD + element(15, b"\x78\x9c" + bytes(range(200))))
    yield Bad.of(
        "packed in packed",
        HEAD + element(15, zlib.compress(element(15, zlib.compress(valid[128:])))),
    )
    for kind in (0, 7, 16, 17, 18, 99, 2**31):
        yield Bad.of(f"an element of type {kind}", HEAD + element(kind, bytes(16)))
    for klass in (0, 7, 16, 17, 18, 19, 63, 255):
        yield Bad.of(
            f"an array of class {klass}", HEAD + matrix("filelist", (1, 1), klass, doubles)
        )
    deep, cell = (
        b"",
        element(6, struct.pack("<II", 1, 0))
        + element(5, struct.pack("<2i", 1, 1))
        + element(1, b"a"),
    )
    for _ in range(5000):
        deep = element(14, cell + deep)
    yield Bad.of("cells in cells", HEAD + deep)
    yield Bad.of("a text of type 99", HEAD + matrix("filelist", (1, 3), 4, element(99, b"abcdef")))
    yield Bad.of(
        "text in UTF-32 beyond", HEAD + matrix("filelist", (1, 3), 4, element(18, b"\xff" * 12))
    )
    yield Bad.of("a name of 10 MB", HEAD + matrix("x" * 10_000_000, (1, 1), 6, doubles))
    cells = np.empty((4, 1), object)
    names = [
        f"1_{person:03d}_{view}_{n:02d}.png" for person in (1, 2) for view, n in ((1, 1), (2, 6))
    ]
    cells[:, 0] = names

    def saved(**changed: Any) -> bytes:
        file = io.BytesIO()
        scipy_io.savemat(
            file,
            {
                "filelist": cells,
                "train_idx": np.array([[1], [2]]),
                "query_idx": np.array([[3]]),
                "gallery_idx": np.array([[4]]),
                **changed,
            },
        )
        return file.getvalue()

    for name, value in (
        ("0", [[0]]),
        ("-1", [[-1]]),
        ("99", [[99]]),
        ("10^18", [[10**18]]),
        ("1.5", [[1.5]]),
        ("NaN", [[np.nan]]),
        ("infinite", [[np.inf]]),
        ("complex", [[1j]]),
        ("text", "abc"),
        ("empty", np.zeros((0, 0))),
        ("cells", cells),
    ):
        yield Bad.of(f"indices {name}", saved(train_idx=np.asarray(value)))
    for name, value in (
        ("numbers", np.zeros((4, 1))),
        ("a text", "abc"),
        ("empty", np.zeros((0, 0), object)),
        ("a structure", {"a": 1}),
        ("cells of numbers", np.array([[1], [2], [3], [4]], object)),
        ("cells of cells", np.array([[cells], [cells]], object)),
    ):
        yield Bad.of(f"names that are {name}", saved(filelist=value))
    for name in (
        "../../etc/passwd",
        "",
        "a\0b",
        "x" * 5000,
        "1_1.png",
        "1_٣_1_1.png",
        "99999999999999999999_1_1_01.png",
    ):
        other = cells.copy()
        other[0, 0] = name
        yield Bad.of(f"a name {name[:20]!r}", saved(filelist=other))
    draw = np.random.default_rng(0)
    for i in range(60):  # the ones that take scipy down are among such as these
        position = int(draw.integers(128, len(valid)))
        yield Bad.of(
            f"byte {position} is {i % 256:#x}",
            flipped(valid, position, int(draw.integers(0, 256))),
            refused=False,
        )


def mat73(valid: bytes) -> Iterator[Bad]:
    import h5py

    def made(change: Any) -> bytes:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.mat"
            path.write_bytes(valid)
            with h5py.File(path, "r+") as file:
                change(file)
            return path.read_bytes()

    def refs(file: Any, name: str, shape: Any, value: Any) -> None:
        del file[name]
        data = file.create_dataset(name, shape, h5py.ref_dtype)
        if value is not None:
            data[...] = value

    def plain(file: Any, name: str, value: Any) -> None:
        del file[name]
        file.create_dataset(name, data=value)

    def huge(file: Any, name: str, shape: tuple[int, ...], kind: Any = np.uint8) -> None:
        del file[name]
        file.create_dataset(
            name, shape, kind, chunks=tuple(min(n, 64) for n in shape), compression="gzip"
        )

    for name in ("labeled", "testsets"):
        yield Bad.of(f"no {name}", made(lambda file, n=name: file.__delitem__(n)))
        yield Bad.of(
            f"{name} of null references", made(lambda file, n=name: refs(file, n, (1, 1), None))
        )
        yield Bad.of(
            f"{name} of numbers", made(lambda file, n=name: plain(file, n, np.zeros((1, 1))))
        )
        yield Bad.of(f"{name} of texts", made(lambda file, n=name: plain(file, n, "abc")))
        yield Bad.of(f"{name} empty", made(lambda file, n=name: refs(file, n, (0, 0), None)))
        yield Bad.of(
            f"{name} a group",
            made(lambda file, n=name: (file.__delitem__(n), file.create_group(n))),
        )
        yield Bad.of(
            f"{name} that refers to the file",
            made(lambda file, n=name: refs(file, n, (1, 1), file.ref)),
        )
        yield Bad.of(
            f"{name} that refers to itself",
            made(lambda file, n=name: file[n].__setitem__((0, 0), file[n].ref)),
        )
        yield Bad.of(
            f"{name} of 10^10 references",
            made(lambda file, n=name: huge(file, n, (10**5, 10**5), h5py.ref_dtype)),
        )
        yield Bad.of(
            f"{name} a link outside",
            made(
                lambda file, n=name: (
                    file.__delitem__(n),
                    file.__setitem__(n, h5py.ExternalLink("/etc/passwd", "/x")),
                )
            ),
        )
        yield Bad.of(
            f"{name} a soft link to itself",
            made(
                lambda file, n=name: (
                    file.__delitem__(n),
                    file.__setitem__(n, h5py.SoftLink(f"/{n}")),
                )
            ),
        )
    for name, value in (
        ("floats", np.zeros((3, 8, 16))),
        ("four colors", np.zeros((4, 8, 16), np.uint8)),
        ("grey", np.zeros((8, 16), np.uint8)),
        ("16 bits", np.zeros((3, 8, 16), np.uint16)),
        ("no size", np.zeros((3, 0, 0), np.uint8)),
        ("texts", np.array([[["a"]]], object)),
        ("complex", np.zeros((3, 8, 16), complex)),
        ("records", np.zeros((3, 8, 16), [("a", "u1")])),
    ):

        def change(file: Any, value: Any = value) -> None:
            del file["#refs#/p"]
            kind = h5py.string_dtype() if value.dtype == object else None
            picture = file.create_dataset("#refs#/p2", data=value, dtype=kind).ref
            file["#refs#/labeled"][0, :] = picture

        yield Bad.of(f"pictures of {name}", made(change), refused=name != "grey")
    for shape in ((3, 60_000, 60_000), (3, 10**6, 10**6), (3, 1, 10**9)):

        def bomb(file: Any, shape: Any = shape) -> None:
            picture = file.create_dataset(
                "#refs#/b", shape, np.uint8, chunks=(1, 1, 64), compression="gzip"
            ).ref
            file["#refs#/labeled"][0, :] = picture

        yield Bad.of(f"pictures of {shape}", made(bomb))
    for name, value in (
        ("negative", [[-1.0], [-2.0]]),
        ("NaN", [[np.nan], [np.nan]]),
        ("huge", [[1e300], [1e300]]),
        ("three", [[1.0], [2.0], [3.0]]),
        ("one dimension", [1.0]),
    ):
        yield Bad.of(
            f"test sets {name}",
            made(
                lambda file, v=value: (
                    file.__delitem__("#refs#/t"),
                    file["testsets"].__setitem__(
                        (0, slice(None)), file.create_dataset("#refs#/t2", data=np.array(v)).ref
                    ),
                )
            ),
        )
    draw = np.random.default_rng(0)
    for i in range(40):
        position = int(draw.integers(512, len(valid)))
        yield Bad.of(
            f"byte {position}, the {i}th",
            flipped(valid, position, int(draw.integers(0, 256))),
            refused=False,
        )
