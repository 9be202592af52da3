"""Bad .npy and .npz: headers that lie, zips that bomb, values that are no labels."""

import io
import zipfile
from collections.abc import Iterator

import numpy as np

from tests.attack.corpus.base import Bad, packed_zeros, runs, sparse, zipped
from tests.attack.valid import npy as saved


def header(
    text: str, body: bytes = b"", version: tuple[int, int] = (1, 0), length: int | None = None
) -> bytes:
    data = text.encode("latin1", "replace")
    data += b" " * (-(len(data) + 11) % 64) + b"\n"
    size = (len(data) if length is None else length).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + bytes(version) + size + data + body


def described(dtype: str, shape: str, body: bytes = b"", order: str = "False") -> bytes:
    return header(f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}", body)


def headers() -> Iterator[Bad]:
    for name, shape in (
        ("10^12 numbers", "(1000000, 1000000)"),
        ("10^30 numbers", "(10**15, 10**15)"),
        ("10^18 numbers", "(1000000000, 1000000000)"),
        ("a negative size", "(-1, 5)"),
        ("minus 10^12", "(-1000000, -1000000)"),
        ("2^63 and none", "(9223372036854775808, 0)"),
        ("none by 10^12", "(0, 1000000000000)"),
        ("no size", "()"),
        ("nothing", "(0,)"),
        ("a size that is text", "('a',)"),
        ("a size that is true", "(True, 2)"),
        ("a size of floats", "(1e3, 2.0)"),
        ("size None", "None"),
        ("70 dimensions", "(1,) * 70"),
        ("70 dimensions written out", "(" + "1," * 70 + ")"),
        ("a list", "[2, 2]"),
    ):
        for kind in ("'|u1'", "'<f4'"):
            yield Bad.of(f"{name}, {kind}", described(kind, shape, bytes(64)))
    for kind in (
        "'|O'",
        "'<U1000000000'",
        "'|V1000000000'",
        "'<M8[ns]'",
        "'<c16'",
        "'|b1'",
        "'|S3'",
        "'>f8'",
        "'<f2'",
        "'<g'",
        "[('a', '<f4'), ('b', '|O')]",
        "'no such type'",
        "None",
        "3",
        "'|u1' * 10**9",
        "'<f4,<f4'",
        "{'names': ['a'], 'formats': ['<f4']}",
        "'<i8'",
        "'<u8'",
    ):
        yield Bad.of(
            f"numbers of type {kind}",
            described(kind, "(64, 32)", bytes(64 * 32 * 16)),
            refused=False,
        )
    yield Bad.of("a deep header", header("(" * 5000 + ")" * 5000, version=(2, 0)))
    yield Bad.of("a header of brackets", header("[" * 9000, version=(2, 0)))
    yield Bad.of("a header of minus signs", header("-" * 9000 + "1", version=(2, 0)))
    yield Bad.of("a header of 4 GiB", header("{}", version=(2, 0), length=2**32 - 1))
    yield Bad.of("version 9", header("{}", version=(9, 0)))
    yield Bad.of("version 3, not UTF-8", header("{'descr': '\xff', }", version=(3, 0)))
    yield Bad.of("a header with code", header("__import__('os').mkdir('RAN')"))
    yield Bad.of("a header with other keys", header("{'descr': '<f4', 'shape': (2,), 'x': 1}"))
    yield Bad.of("a header that is a set", header("{1, 2}"))
    yield Bad.of("pickled objects", described("'|O'", "(1,)", runs("mkdir")))
    yield Bad(
        "10^10 numbers of zeros", sparse(10**10 + 128, described("'|u1'", "(100000, 100000)"))
    )


def zips(names: tuple[str, ...]) -> Iterator[Bad]:
    """Under whatever name: numpy tells a zip by its first bytes."""

    def packed(content: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", kind) as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        return file.getvalue()

    head = described("'<f4'", "(17, 5, 2000, 2000)")
    bomb = zipped(
        {f"{name}.npy": (*packed_zeros(1360, head), len(head) + 1360 * 2**20) for name in names}
    )
    zeros = head + bytes(2**22)
    yield Bad.of("a zip of nothing", packed({}))
    yield Bad.of(
        "a zip of other names", packed({"a.txt": b"hello", "../../evil.npy": saved(np.zeros(3))})
    )
    yield Bad.of("a zip bomb", bomb)
    yield Bad.of(
        "a zip of arrays of 10^12",
        packed({f"{name}.npy": described("'<f4'", "(17, 5, 200000, 200000)") for name in names}),
    )
    yield Bad.of(
        "a zip of pickles",
        packed({f"{name}.npy": described("'|O'", "(1,)", runs("mkdir")) for name in names}),
    )
    yield Bad.of("a zip of text", packed({f"{name}.npy": b"hello" for name in names}))
    yield Bad.of(
        "a zip packed by LZMA", packed({f"{name}.npy": zeros for name in names}, zipfile.ZIP_LZMA)
    )
    file = io.BytesIO()
    np.savez(file, **{name: np.zeros((17, 5, 9, 5), np.float32) for name in names})
    data = file.getvalue()
    yield Bad.of("a zip cut short", data[:-40])
    yield Bad.of("a zip of wrong sums", data.replace(bytes(64), b"\1" * 64, 1))
    yield Bad.of(
        "a zip that lies about sizes",
        data.replace(
            len(saved(np.zeros((17, 5, 9, 5), np.float32))).to_bytes(4, "little"),
            (2**31 - 1).to_bytes(4, "little"),
        ),
        refused=False,
    )
    yield Bad.of(
        "a zip that is locked",
        data.replace(b"PK\1\2\x14\x03\x14\x00\x00", b"PK\1\2\x14\x03\x14\x00\x01"),
        refused=False,
    )
    for name in names:
        yield Bad.of(
            f"a zip without {name}",
            packed({f"{n}.npy": saved(np.zeros(3)) for n in names if n != name}),
        )


def npy(valid: bytes) -> Iterator[Bad]:
    yield from headers()
    yield from zips(("arr_0",))
    like = np.load(io.BytesIO(valid))
    floating = np.issubdtype(like.dtype, np.floating)
    for value in (
        (np.nan, np.inf, -np.inf, -1, 255, 300, 1e9, 1.5) if floating else (-1, 20, 255, 256, 2**31)
    ):
        wrong = like.astype(np.float32 if floating else np.int64)
        wrong.flat[5] = value
        # Logits may be any finite numbers; confidences lie in 0..1; a class is one of twenty.
        logits = floating and like.ndim == 3 and len(like) != 36
        yield Bad.of(f"one {value}", saved(wrong), refused=not (logits and np.isfinite(value)))
    for name, array in (
        ("of bool", like.astype(bool)),
        ("complex", like.astype(complex)),
        ("of text", like.astype("U1")),
        ("of dates", np.zeros(like.shape, "M8[s]")),
        ("flat", like.ravel()),
        ("one dimension more", like[None]),
        ("empty", like[:0]),
        ("without columns", like[..., :0]),
        ("one number", np.float32(1)),
        ("float64 huge", like.astype(np.float64) * 1e300 if floating else like[:1].astype(float)),
    ):
        yield Bad.of(name, saved(np.asarray(array)), refused=True)


def npz(valid: bytes) -> Iterator[Bad]:
    yield from headers()
    yield from zips(("cif", "caf"))
    with np.load(io.BytesIO(valid)) as file:
        cif, caf = file["cif"], file["caf"]

    def both(a: np.ndarray, b: np.ndarray) -> bytes:
        data = io.BytesIO()
        np.savez(data, cif=a, caf=b)
        return data.getvalue()

    nan = cif.copy()
    nan[0, 1, 0, 0] = np.nan
    yield Bad.of("NaN in the joints", both(nan, caf))
    yield Bad.of("joints of another size", both(cif[..., :-1], caf))
    yield Bad.of("joints without planes", both(cif[:, :0], caf))
    yield Bad.of("joints of no size", both(cif[..., :0, :0], caf[..., :0, :0]))
    yield Bad.of("joints of text", both(cif.astype("U1"), caf))
    yield Bad.of("joints complex", both(cif.astype(complex), caf))
    yield Bad.of("joints of dates", both(np.zeros(cif.shape, "M8[s]"), caf))
    yield Bad.of("joints of pixels", both(cif * 255, caf * 255), refused=False)
