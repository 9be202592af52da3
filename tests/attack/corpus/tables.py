"""Bad tables and lists: encodings, sizes, types that no name of a crop has, names that are none."""

from collections.abc import Callable, Iterator
from typing import Any

from tests.attack.corpus.base import Bad

ENCODINGS = (
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "utf-8-sig",
    "latin-1",
    "cp1252",
    "utf-7",
)
NAMES = (
    "",
    " ",
    ".",
    "..",
    "/",
    "/etc/passwd",
    "../" * 50 + "etc/passwd",
    "a\0b.jpg",
    "\x1b[31mred.jpg",
    "[/red].jpg",
    "[bold]x.jpg",
    "-rf.jpg",
    "=1+1.jpg",
    "x" * 300 + ".jpg",
    "x" * 100_000 + ".jpg",
    "a\nb.jpg",
    "\ufeffa.jpg",
    "\u202egpj.a",
    "C:\\a.jpg",
    "\\\\host\\a.jpg",
    "file:///a.jpg",
    "http://a/b.jpg",
    "~/a.jpg",
    "con.jpg",
    "*.jpg",
    "NaN",
    "null",
)


def texts(valid: bytes) -> Iterator[Bad]:
    """Any text in another encoding or with other ends of lines."""
    text = valid.decode()
    for encoding in ENCODINGS:
        yield Bad.of(f"in {encoding}", text.encode(encoding), refused=False)
        yield Bad.of(
            f"in {encoding}, with umlauts", (text + "händel.jpg\n").encode(encoding), refused=False
        )
    for name, other in (
        ("\\r\\n", "\r\n"),
        ("\\r", "\r"),
        ("U+2028", "\u2028"),
        ("form feeds", "\f"),
        ("NUL", "\0"),
        ("nothing", ""),
    ):
        yield Bad.of(f"lines that end in {name}", text.replace("\n", other), refused=False)
    yield Bad.of("a line of 10 MB", "x" * 10_000_000)
    yield Bad.of("a million empty lines", "\n" * 1_000_000)
    yield Bad.of("300,000 lines", text + "x\n" * 300_000)  # linear: ten microseconds each
    yield Bad.of("blanks", " \t\n" * 100)


def listed(valid: bytes) -> Iterator[Bad]:
    yield from texts(valid)
    first = valid.decode().splitlines()[0]
    for name in NAMES:
        yield Bad.of(
            f"{name[:20]!r} in it",
            f"{name}\n".encode("utf-8", "surrogatepass") + valid,
            refused=False,
        )
        yield Bad.of(
            f"{name[:20]!r} alone", f"{name}\n".encode("utf-8", "surrogatepass"), refused=False
        )
    yield Bad.of("a line twice", f"{first}\n".encode() + valid, refused=False)
    for more in ("-1", "99999999999999999999999", "1e400", "²", "٣", "abc", "0 0"):
        yield Bad.of(f"numbered {more}", f"{first.split()[0]} {more}\n".encode(), refused=False)


def csv(valid: bytes) -> Iterator[Bad]:
    yield from texts(valid)
    header, *rows = valid.decode().splitlines()
    below, wide = "\n".join(rows), ",".join([header, *[f"c{i}" for i in range(10_000)]])
    for name, text in (
        ("no header", below),
        ("a header alone", header),
        ("a header twice", f"{header}\n{header}\n{below}"),
        ("a column twice", f"{header},path\n{below}"),
        ("10,000 columns", f"{wide}\n{below}"),
        ("a column less", f"{header.replace(',split', '')}\n{below}"),
        ("quotes never closed", f'{header}\n"{below}'),
        ("a million cells", header + "\n" + "," * 10**6),
        ("a cell of 200,000", f"{header}\n{'x' * 200_000},a,c1,train"),
        ("semicolons", valid.decode().replace(",", ";")),
        ("tabs", valid.decode().replace(",", "\t")),
        ("bars", valid.decode().replace(",", "|")),
    ):
        yield Bad.of(name, text, refused=False)
    good = rows[0].split(",")
    for column in range(4):
        for value in NAMES:
            cells = [*good[:column], '"' + value.replace('"', '""') + '"', *good[column + 1 :]]
            yield Bad.of(
                f"{header.split(',')[column]} {value[:20]!r}",
                "\n".join([header, ",".join(cells), *rows[1:]]),
                refused=False,
            )
    for value in (
        "-1",
        "99999999999999999999999999",
        "1e400",
        "3.0",
        "²",
        "٣",
        "junk",
        "distractor",
    ):
        yield Bad.of(
            f"identity {value}",
            "\n".join([header, ",".join([good[0], value, *good[2:]]), *rows[1:]]),
            refused=False,
        )


def parquet(valid: bytes) -> Iterator[Bad]:
    import pyarrow as pa
    from pyarrow import parquet as format_

    good = format_.read_table(pa.BufferReader(valid))
    count = good.num_rows

    def with_(
        name: str, column: str, make: Callable[[], Any], refused: bool = False
    ) -> Iterator[Bad]:
        try:
            array = make()
            file = pa.BufferOutputStream()
            format_.write_table(
                good.set_column(good.column_names.index(column), column, array), file
            )
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError, TypeError):
            return
        yield Bad.of(f"{column} {name}", bytes(file.getvalue().to_pybytes()), refused)

    def packed(values: list[bytes]) -> Any:
        raw = pa.array(values, pa.binary())
        return pa.Array.from_buffers(pa.string(), len(values), raw.buffers())

    for column in good.column_names:
        yield from with_("of null", column, lambda: pa.nulls(count))
        yield from with_("of bool", column, lambda: pa.array([True] * count))
        yield from with_(
            "of floats",
            column,
            lambda: pa.array([1e308, float("nan"), float("inf")] * count)[:count],
        )
        yield from with_(
            "of 128-bit numbers", column, lambda: pa.array([10**30] * count, pa.decimal128(38, 0))
        )
        yield from with_(
            "of 256-bit numbers", column, lambda: pa.array([10**70] * count, pa.decimal256(76, 0))
        )
        yield from with_(
            "of dates out of range",
            column,
            lambda: pa.array([2**31 - 1] * count, pa.int32()).cast(pa.date32()),
        )
        yield from with_(
            "of times out of range",
            column,
            lambda: pa.array([2**62] * count).cast(pa.timestamp("s")),
        )
        yield from with_(
            "of times in a zone",
            column,
            lambda: pa.array([0] * count).cast(pa.timestamp("s", "Nowhere/X")),
        )
        yield from with_("of bytes", column, lambda: pa.array([b"\xff\xfe\x00"] * count))
        yield from with_(
            "of text that is not UTF-8", column, lambda: packed([b"\xff\xfe\x80"] * count)
        )
        yield from with_("of lists", column, lambda: pa.array([[1, 2]] * count))
        yield from with_("of tables", column, lambda: pa.array([{"a": 1}] * count))
        yield from with_(
            "of dictionaries", column, lambda: pa.array(["a"] * count).dictionary_encode()
        )
        yield from with_("of months", column, lambda: pa.array([1] * count, pa.duration("s")))
        yield from with_("of escapes", column, lambda: pa.array(["\x1b[31m[/red]\0"] * count))
        yield from with_("of 2^63", column, lambda: pa.array([2**64 - 1] * count, pa.uint64()))

    def repeated(text: str, rows: int) -> bytes:
        """A table that says one text in every cell, which takes next to no room."""
        column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [text])
        file = pa.BufferOutputStream()
        format_.write_table(
            pa.table({name: column for name in good.column_names}), file, compression="zstd"
        )
        return bytes(file.getvalue().to_pybytes())

    yield Bad.of("a bomb of 3 GB of text", repeated("x" * 2_000_000, 400))
    yield Bad.of("a bomb of 3,000,000 rows", repeated("x", 3_000_000))
    file = pa.BufferOutputStream()
    format_.write_table(pa.table({f"c{i}": [1] for i in range(3000)}), file)
    yield Bad.of("3,000 columns", bytes(file.getvalue().to_pybytes()))
    file = pa.BufferOutputStream()
    format_.write_table(pa.table({"path": ["a"], "PATH": ["b"]}), file)
    yield Bad.of("a column twice", bytes(file.getvalue().to_pybytes()))
    file = pa.BufferOutputStream()
    format_.write_table(good.slice(0, 0), file)
    yield Bad.of("no rows", bytes(file.getvalue().to_pybytes()))
    length = int.from_bytes(valid[-8:-4], "little")
    yield Bad.of("a footer of 4 GiB", valid[:-8] + b"\xff\xff\xff\xff" + valid[-4:])
    yield Bad.of("a footer of nothing", valid[:-8] + bytes(4) + valid[-4:])
    yield Bad.of(
        "a footer of noise", valid[: -8 - length] + b"\x15\x19" * (length // 2) + valid[-8:]
    )
    yield Bad.of("locked", valid[:-4] + b"PARE")
