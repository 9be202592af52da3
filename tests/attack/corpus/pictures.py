"""Bad pictures: bombs, damage, kinds nobody asked for, and pictures that are no crop of anybody."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from tests.attack.corpus.base import POSTSCRIPT, Bad, sparse, zlib_zeros


def chunk(name: bytes, data: bytes, crc: int | None = None) -> bytes:
    """A chunk of a PNG."""
    checksum = zlib.crc32(name + data) if crc is None else crc
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def png(
    width: int,
    height: int,
    depth: int = 8,
    color: int = 2,
    data: bytes | None = None,
    between: bytes = b"",
    interlace: int = 0,
) -> bytes:
    """A PNG that says what it likes; without data one that holds a few rows of nothing."""
    packed = zlib.compress(bytes(min((width * 3 + 1) * height, 100_000))) if data is None else data
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + between
        + chunk(b"IDAT", packed)
        + chunk(b"IEND", b"")
    )


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def jpeg_of(width: int, height: int) -> bytes:
    """A small JPEG whose header says another size."""
    data = bytearray(saved(Image.new("RGB", (16, 16), (90, 20, 20)), "JPEG"))
    position = data.index(b"\xff\xc0")
    data[position + 5 : position + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def bmp(width: int, height: int, bits: int = 24, compression: int = 0) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 54 + 64, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
        + bytes(64)
    )


def tiff(width: int, height: int, **tags: int) -> bytes:
    """A little-endian TIFF of one strip."""
    named = {
        "BitsPerSample": 258,
        "Compression": 259,
        "StripOffsets": 273,
        "SamplesPerPixel": 277,
        "StripByteCounts": 279,
        "SampleFormat": 339,
        "RowsPerStrip": 278,
    }
    entries = {
        256: width,
        257: height,
        258: 8,
        259: 1,
        262: 1,
        273: 200,
        277: 1,
        278: height,
        279: 64,
        **{named[name]: value for name, value in tags.items()},
    }
    body = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, 4, 1, value & 0xFFFFFFFF)
        for tag, value in sorted(entries.items())
    )
    head = b"II*\x00" + struct.pack("<I", 8) + body + struct.pack("<I", 0)
    return head.ljust(200, b"\0") + bytes(64)


def looped_tiff() -> bytes:
    """Whose directory follows itself."""
    data = bytearray(tiff(8, 8))
    position = 8 + 2 + 12 * struct.unpack_from("<H", data, 8)[0]
    data[position : position + 4] = struct.pack("<I", 8)
    return bytes(data)


def bombs() -> Iterator[Bad]:
    """More pixels or text than anybody has room for."""
    yield Bad.of("PNG of 50,000 x 50,000", png(50_000, 50_000))
    yield Bad.of("PNG of 50,000 x 50,000 greys", png(50_000, 50_000, color=0))
    yield Bad.of("PNG of 2^31 x 2^31", png(2**31 - 1, 2**31 - 1))
    yield Bad.of("PNG of 0 x 0", png(0, 0))
    yield Bad.of("PNG of 0 x 10", png(0, 10))
    yield Bad.of("PNG of 13,000 x 13,000 at 1 bit", png(13_000, 13_000, depth=1, color=0))
    yield Bad.of("PNG of 20,000 x 20,000, interlaced", png(20_000, 20_000, interlace=1))
    yield Bad.of(
        "PNG with 2 GiB of zeros packed", png(64, 32, data=zlib_zeros(2048)), refused=False
    )
    text = zlib_zeros(2048)
    yield Bad.of(
        "PNG with text that unpacks to 2 GiB",
        png(2, 2, data=zlib.compress(bytes(14)), between=chunk(b"zTXt", b"Comment\0\0" + text)),
        refused=False,
    )
    yield Bad.of(
        "PNG with 2,000 texts of a MiB",
        png(
            2,
            2,
            data=zlib.compress(bytes(14)),
            between=chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**20), 9)) * 2000,
        ),
        refused=False,
    )
    yield Bad.of(
        "PNG with a color profile of 2 GiB",
        png(2, 2, data=zlib.compress(bytes(14)), between=chunk(b"iCCP", b"icc\0\0" + text)),
        refused=False,
    )
    yield Bad.of(
        "PNG with international text of 2 GiB",
        png(
            2, 2, data=zlib.compress(bytes(14)), between=chunk(b"iTXt", b"Comment\0\1\0\0\0" + text)
        ),
        refused=False,
    )
    yield Bad.of("JPEG of 65,500 x 65,500", jpeg_of(65_500, 65_500))
    yield Bad.of("JPEG of 0 x 65,500", jpeg_of(65_500, 0))
    yield Bad.of("BMP of 40,000 x 40,000", bmp(40_000, 40_000))
    yield Bad.of("BMP of -1 x 1", bmp(-1, 1))
    yield Bad.of("BMP of 1 x -2^31", bmp(1, -(2**31)))
    yield Bad.of("TIFF of 50,000 x 50,000", tiff(50_000, 50_000))
    yield Bad.of("TIFF of 2^32 x 2^32", tiff(2**32 - 1, 2**32 - 1))
    yield Bad.of("TIFF whose strip lies outside", tiff(8, 8, StripOffsets=2**31), refused=False)
    yield Bad.of("TIFF of 4,000,000,000 samples", tiff(8, 8, SamplesPerPixel=2**32 - 1))
    yield Bad.of("TIFF that follows itself", looped_tiff(), refused=False)
    yield Bad.of(
        "GIF of 65,535 x 65,535",
        b"GIF89a"
        + struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0)
        + bytes(6)
        + b","
        + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0)
        + b"\x02\x02\x44\x01\x00;",
    )
    yield Bad.of(
        "WEBP of 16,383 x 16,383",
        b"RIFF"
        + struct.pack("<I", 22)
        + b"WEBPVP8L"
        + struct.pack("<I", 10)
        + b"\x2f"
        + struct.pack("<I", 16_382 | 16_382 << 14)
        + bytes(5),
    )


def shapes() -> Iterator[Bad]:
    """Whole pictures of no use; a result may be as good as a word."""
    yield Bad.of("1 x 100,000", saved(Image.new("RGB", (1, 100_000)), "PNG"), refused=False)
    yield Bad.of("100,000 x 1", saved(Image.new("RGB", (100_000, 1)), "PNG"), refused=False)
    yield Bad.of("1 x 1", saved(Image.new("RGB", (1, 1)), "PNG"), refused=False)
    draw = np.random.default_rng(0)
    for mode in ("1", "L", "LA", "P", "RGBA", "I;16", "I", "F", "CMYK", "YCbCr", "LAB"):
        values = draw.integers(0, 256, (16, 8), np.uint8)
        picture = (
            Image.fromarray(
                values.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode])
            )
            if mode in ("I;16", "I", "F")
            else Image.fromarray(values).convert("RGB").convert(mode)
            if mode != "LAB"
            else Image.new("LAB", (8, 16))
        )
        yield Bad.of(f"a TIFF in {mode}", saved(picture, "TIFF"), refused=False)
    nan = np.full((16, 8), np.nan, np.float32)
    yield Bad.of("a TIFF of NaN", saved(Image.fromarray(nan), "TIFF"))
    yield Bad.of("a TIFF of infinity", saved(Image.fromarray(nan * 0 + np.inf), "TIFF"))
    yield Bad.of(
        "a TIFF of 1e38",
        saved(Image.fromarray(np.full((16, 8), 1e38, np.float32)), "TIFF"),
        refused=False,
    )
    frames = [Image.new("RGB", (8, 16), (i, 0, 0)) for i in range(3)]
    yield Bad.of(
        "a GIF that moves",
        saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        refused=False,
    )
    yield Bad.of(
        "a WEBP that moves",
        saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        refused=False,
    )
    exif = Image.Exif()
    exif[274] = 6
    yield Bad.of("turned on its side", saved(frames[0], "JPEG", exif=exif), refused=False)
    exif[274] = 999
    yield Bad.of("turned by 999", saved(frames[0], "JPEG", exif=exif), refused=False)
    for name, data in (
        ("EXIF of noise", b"Exif\0\0" + draw.bytes(200)),
        (
            "EXIF that points outside",
            b"Exif\0\0II*\0"
            + struct.pack("<I", 8)
            + struct.pack("<HHHII", 1, 274, 3, 2**30, 2**31),
        ),
        (
            "EXIF that points at itself",
            b"Exif\0\0II*\0"
            + struct.pack("<I", 8)
            + struct.pack("<HHHII", 1, 34665, 4, 1, 8)
            + struct.pack("<I", 8),
        ),
    ):
        yield Bad.of(name, saved(frames[0], "JPEG", exif=data), refused=False)
    info = PngImagePlugin.PngInfo()
    info.add_text("\x1b[31mred", "\x1b]0;title\x07" * 10)
    yield Bad.of("escapes in its texts", saved(frames[0], "PNG", pnginfo=info), refused=False)


def others() -> Iterator[Bad]:
    """Kinds of pictures that no crop is, some of which start other programs or read other files."""
    yield Bad.of("PostScript behind a JPEG's first bytes", b"\xff\xd8\xff\xe0" + POSTSCRIPT)
    yield Bad.of(
        "PostScript of DOS",
        b"\xc5\xd0\xd3\xc6"
        + struct.pack("<6IH", 30, len(POSTSCRIPT), 0, 0, 0, 0, 0xFFFF)
        + POSTSCRIPT,
    )
    yield Bad.of("SVG", '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>')
    yield Bad.of("PDF", b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n")
    yield Bad.of(
        "FITS",
        b"SIMPLE  =                    T".ljust(80)
        + b"BITPIX  =                    8".ljust(80)
        + b"NAXIS   =                    2".ljust(80)
        + b"NAXIS1  =               999999".ljust(80)
        + b"NAXIS2  =               999999".ljust(80)
        + b"END".ljust(2880),
    )
    yield Bad.of(
        "XBM of 30,000 x 30,000",
        "#define im_width 30000\n#define im_height 30000\nstatic char im_bits[] = {\n0x00 };\n",
    )
    yield Bad.of("PPM of 99,999 x 99,999", b"P6 99999 99999 255\n" + bytes(64))
    yield Bad.of("PPM whose numbers never end", b"P5 " + b"9" * 5000)
    yield Bad.of(
        "ICO in ICO",
        b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, 2**31 - 1, 22) + bytes(20),
    )
    yield Bad.of(
        "PSD of 30,000 x 30,000",
        b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 30_000, 30_000, 8, 3) + bytes(64),
    )
    yield Bad.of(
        "WMF",
        b"\xd7\xcd\xc6\x9a\x00\x00" + struct.pack("<hhhhHI", 0, 0, 999, 999, 96, 0) + bytes(40),
    )
    yield Bad.of(
        "MPO of many", b"\xff\xd8\xff\xe2\x00\x10MPF\x00MM\x00*\x00\x00\x00\x08" + bytes(20)
    )
    yield Bad.of(
        "DDS of 60,000 x 60,000",
        b"DDS " + struct.pack("<7I", 124, 0x1007, 60_000, 60_000, 0, 0, 0) + bytes(100),
    )
    yield Bad.of("QOI of 2^31", b"qoif" + struct.pack(">IIBB", 2**31, 2**31, 3, 0) + bytes(16))
    yield Bad("a JPEG of 32 GiB", sparse(2**35, b"\xff\xd8\xff\xe0" + bytes(16)))


def damaged(valid: bytes) -> Iterator[Bad]:
    """A PNG or JPEG with one thing wrong."""
    if valid.startswith(b"\x89PNG"):
        yield Bad.of("PNG with a wrong checksum", valid[:30] + b"\0" + valid[31:], refused=False)
        yield Bad.of("PNG that ends in its data", valid[: valid.index(b"IDAT") + 12], refused=False)
        yield Bad.of(
            "PNG with a chunk of 2 GiB",
            valid[:33] + struct.pack(">I", 2**31 - 1) + valid[37:],
            refused=False,
        )
        yield Bad.of("PNG without data", valid[:33] + chunk(b"IEND", b""), refused=False)
        yield Bad.of("PNG with two headers", valid[:33] + valid[8:33] + valid[33:], refused=False)
    yield Bad.of("a bad depth", png(8, 8, depth=7))
    yield Bad.of("a bad color type", png(8, 8, color=9))
    yield Bad.of(
        "a palette of nothing", png(8, 8, color=3, data=zlib.compress(bytes(72))), refused=False
    )
    yield Bad.of("data that is not packed", png(8, 8, data=b"\x00" * 64), refused=False)


def crop(valid: bytes) -> Iterator[Bad]:
    yield from bombs()
    yield from shapes()
    yield from others()
    yield from damaged(saved(Image.new("RGB", (8, 16), (9, 9, 9)), "PNG"))


def classes(valid: bytes) -> Iterator[Bad]:
    """Label pictures: besides all that, values and modes that are no classes."""
    yield from bombs()
    yield from others()
    yield from damaged(valid)
    size = (32, 64)
    draw = np.random.default_rng(0)
    for name, picture in (
        ("colors", Image.fromarray(draw.integers(0, 256, (64, 32, 3), np.uint8))),
        ("classes that nobody has", Image.new("L", size, 254)),
        ("classes in 16 bits beyond", Image.fromarray(np.full((64, 32), 60_000, np.uint16))),
        ("classes in 32 bits below zero", Image.fromarray(np.full((64, 32), -5, np.int32))),
        ("classes that are floats", Image.fromarray(np.full((64, 32), 0.5, np.float32))),
        ("classes that are NaN", Image.fromarray(np.full((64, 32), np.nan, np.float32))),
        ("grey and alpha", Image.new("LA", size)),
        ("CMYK", Image.new("CMYK", size)),
    ):
        yield Bad.of(name, saved(picture, "TIFF"))
    yield Bad.of(
        "lossy",
        saved(Image.fromarray(draw.integers(0, 5, (64, 32), np.uint8)), "JPEG"),
        refused=False,
    )
    for name, other in (
        ("1 x 1", (1, 1)),
        ("1 x 100,000", (1, 100_000)),
        ("100,000 x 1", (100_000, 1)),
        ("half as wide", (16, 64)),
    ):
        yield Bad.of(
            f"labels of {name}", saved(Image.new("L", other, 1), "PNG"), refused=name != "1 x 1"
        )


def iuv(valid: bytes) -> Iterator[Bad]:
    yield from (bad for bad in classes(valid) if not bad.name.startswith("labels of"))
    yield Bad.of("greys", saved(Image.new("L", (32, 64), 3), "PNG"))
    yield Bad.of("a palette", saved(Image.new("P", (32, 64), 3), "PNG"))


def ids(valid: bytes) -> Iterator[Bad]:
    yield from bombs()
    yield from others()
    yield from damaged(valid)
    yield Bad.of("another size", saved(Image.new("L", (31, 64), 1), "PNG"))
    yield Bad.of("1 x 100,000", saved(Image.new("L", (1, 100_000), 1), "PNG"))
