"""Pictures and bytes that the tests of the service send."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    """A picture of noise, RGB."""
    draw = np.random.default_rng(seed)
    return Image.fromarray(draw.integers(0, 256, (height, width, 3), np.uint8))


def person(seed: int, shot: int = 0) -> Image.Image:
    """A crop of somebody who is four bands of color, RGB 64 x 32."""
    bands = np.repeat(np.random.default_rng(seed).uniform(0, 255, (4, 1, 3)), 16, axis=0)
    image = bands + np.random.default_rng([seed, shot, 7]).normal(0, 25.0, (64, 32, 3))
    return Image.fromarray(image.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def bomb(side: int) -> bytes:
    """A whole and small PNG that claims to be a black square of this side; up to 30,000 it is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8) if side <= 30_000 else b"\0"
    rows = b"".join(packer.compress(row) for _ in range(side if side <= 30_000 else 1))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)),
            chunk(b"IDAT", rows + packer.flush()),
            chunk(b"IEND", b""),
        )
    )
