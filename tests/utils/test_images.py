"""Every picture comes out upright, at its own depth, over a stated ground, or is refused in a
sentence.
"""

import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from partreid.errors import DataError
from partreid.utils import images
from partreid.utils.images import (
    UNDER,
    read_channels,
    read_image,
    read_index,
    save_image,
    size_of,
    turned,
)

GREY = np.linspace(0, 255, 24 * 12).round().astype(np.uint8).reshape(24, 12)
COLORS = np.random.default_rng(0).integers(0, 256, (24, 12, 3), dtype=np.uint8)


def pixels(path: Path) -> np.ndarray:
    image = read_image(path)
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize(
    "name, image",
    [
        ("wide.png", Image.fromarray(GREY.astype(np.uint16) * 257)),
        ("wide.tif", Image.fromarray(GREY.astype(np.uint16) * 257)),
        ("wide.pgm", Image.fromarray(GREY.astype(np.uint16) * 257)),
        ("float.tif", Image.fromarray((GREY / 255).astype(np.float32))),
        ("grey.png", Image.fromarray(GREY)),
        ("grey.bmp", Image.fromarray(GREY)),
        ("grey.gif", Image.fromarray(GREY)),
        ("grey.jfif", Image.fromarray(GREY).convert("RGB")),
        ("alpha.png", Image.fromarray(GREY).convert("LA")),
        ("palette.png", Image.fromarray(GREY).convert("P")),
    ],
)
def test_greys_of_any_depth_are_the_same_picture(
    tmp_path: Path, name: str, image: Image.Image
) -> None:
    """16-bit greys once became white and floats black: two people at distance 0."""
    path = tmp_path / name
    image.save(
        path,
        format="JPEG" if name.endswith("jfif") else None,
        **({"quality": 100} if "jf" in name else {}),
    )
    assert np.abs(pixels(path).astype(int) - GREY[..., None]).max() <= (3 if "jf" in name else 0)


@pytest.mark.parametrize(
    "image, why",
    [
        (Image.fromarray(GREY.astype(np.int32) * 1000), "do not say where white is"),
        (Image.fromarray(GREY.astype(np.int32)), "do not say where white is"),
        (Image.fromarray(GREY.astype(np.float32)), "floats from 0 to 255"),
        (Image.fromarray(GREY / np.float32(255) - np.float32(0.2)), "floats from -0.2"),
        (Image.fromarray(np.full((4, 4), np.nan, np.float32)), "floats from nan"),
        (Image.fromarray(GREY.astype(np.uint16)), "16 bits of grey but none above 255"),
        (Image.fromarray(GREY.astype(np.uint16) * 16), "16 bits of grey but none above 4080"),
    ],
)
def test_what_states_no_white_is_refused(tmp_path: Path, image: Image.Image, why: str) -> None:
    path = tmp_path / "deep.tif"
    image.save(path)
    with pytest.raises(DataError, match=why):
        read_image(path)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_is_applied(tmp_path: Path, ending: str, turn: int) -> None:
    """A smooth picture, stored turned in each of the eight ways, is the same picture."""
    rows, columns = np.mgrid[0:48, 0:24]
    upright = np.stack([rows * 5, columns * 10, (rows + columns) * 3], 2).astype(np.uint8)
    stored = upright
    back = {6: 8, 8: 6}.get(turn, turn)  # the quarter turns undo each other, all else undoes itself
    stored = np.ascontiguousarray(turned(upright, back))
    exif = Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / f"turned{ending}"
    Image.fromarray(stored).save(
        path, exif=exif, quality=95, **({"lossless": True} if ending == ".webp" else {})
    )
    assert size_of(path) == (24, 48)
    assert np.abs(pixels(path).astype(int) - upright).max() <= (12 if ending == ".jpg" else 0)
    # decoded smaller, never lying down
    assert read_image(path, (12, 6)).size in ((24, 48), (12, 24), (6, 12))


def test_nothing_shows_through_transparency(tmp_path: Path) -> None:
    """Two files that look alike are alike, whatever lies under a transparent pixel."""
    shapes = np.zeros((24, 12, 1), np.uint8)
    shapes[4:20] = 255
    for name, under in (("a.png", 0), ("b.png", 255)):
        hidden = np.where(shapes > 0, COLORS, np.uint8(under))
        Image.fromarray(np.concatenate([hidden, shapes], 2)).save(tmp_path / name)
    a, b = pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png")
    assert (a == b).all() and (a[0, 0] == UNDER).all() and (a[10] == COLORS[10]).all()
    Image.fromarray(COLORS).save(
        tmp_path / "key.png", transparency=tuple(int(c) for c in COLORS[0, 0])
    )
    assert (pixels(tmp_path / "key.png")[0, 0] == UNDER).all()


def test_only_listed_formats_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript under the name of a JPEG would start Ghostscript."""
    monkeypatch.setattr(
        "PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was started")
    )
    path = tmp_path / "crop.jpg"
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 20\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(DataError, match="none of JPEG, PNG"):
        read_image(path)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    for name, what in (
        ("pipe", "a named pipe"),
        ("folder", "a folder"),
        ("device", "a device"),
        ("gone", "there is no image"),
        ("nothing", "there is no image"),
    ):
        for reader in (read_image, read_index, read_channels, size_of):
            with pytest.raises(DataError, match=what):
                reader(tmp_path / f"{name}.jpg")


def png(width: int, height: int, extra: bytes = b"") -> bytes:
    """A PNG whose header claims a size, followed by chunks."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", b"")
        + chunk(b"IEND", b"")
    )


def test_sizes_are_bounded_before_pixels_are_decoded(tmp_path: Path) -> None:
    for width, height, why in (
        (50_000, 50_000, "more than 64 million pixels"),
        (10_000, 9_000, "more than 64 million"),
        (1, 100_000, "over 256 times"),
        (100_000, 1, "over 256 times"),
    ):
        path = tmp_path / "bomb.png"
        path.write_bytes(png(width, height))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            for reader in (read_image, read_index, size_of):
                with pytest.raises(DataError, match=why):
                    reader(path)


def test_a_file_asks_for_no_more_than_it_has(tmp_path: Path) -> None:
    """A sparse file of 32 GiB, and a small one whose chunk claims 2 GiB."""
    Image.fromarray(COLORS).save(tmp_path / "long.jpg")
    os.truncate(tmp_path / "long.jpg", 2**35)
    with pytest.raises(DataError, match="more than 256 MiB"):
        read_image(tmp_path / "long.jpg")
    code = (
        "import resource, sys; from partreid.utils.images import read_image; import PIL.Image, "
        "numpy\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))\nread_image(sys.argv[1])"
    )
    (tmp_path / "chunk.png").write_bytes(png(4, 8, b"\x7f\xff\xff\xfftEXtabc"))
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "chunk.png"], capture_output=True, text=True
    )
    assert "DataError" in done.stderr and "memory" not in done.stderr


def test_a_bomb_of_texts_is_refused(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    for i in range(80):
        info.add_text(f"t{i}", "x" * 2**20, zip=True)
    Image.fromarray(GREY).save(tmp_path / "texts.png", pnginfo=info)
    with pytest.raises(DataError, match="cannot be read as an image"):
        read_image(tmp_path / "texts.png")


def test_of_several_pictures_none_is_chosen(tmp_path: Path) -> None:
    frames = [Image.fromarray(COLORS), Image.fromarray(COLORS[::-1])]
    for name in ("a.gif", "a.tif", "a.png", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(DataError, match="holds several pictures"):
            read_image(tmp_path / name)


def test_a_damaged_file_is_a_sentence(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "a.tif", "a.webp", "a.gif", "a.bmp", "a.ppm"):
        Image.fromarray(COLORS).resize((60, 120)).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        for data in (b"", whole[:20], whole[: len(whole) // 2], b"\0" * 500):
            (tmp_path / name).write_bytes(data)
            with pytest.raises(DataError, match="cannot be read as an image|pixels"):
                read_image(tmp_path / name)


def test_values_of_label_maps_are_not_scaled(tmp_path: Path) -> None:
    labels = np.arange(24 * 12, dtype=np.uint16).reshape(24, 12) % 7
    Image.fromarray(labels).save(tmp_path / "wide.png")
    small = Image.fromarray(labels.astype(np.uint8))
    small.save(tmp_path / "grey.png")
    small.putpalette([7, 7, 7] * 256)
    small.save(tmp_path / "palette.png")
    for name, mode in (("wide", "I;16"), ("grey", "L"), ("palette", "P")):
        values, form = read_index(tmp_path / f"{name}.png")
        assert form == mode and (values == labels).all()
    Image.fromarray(COLORS).save(tmp_path / "colors.png")
    with pytest.raises(DataError, match="one class per pixel"):
        read_index(tmp_path / "colors.png")
    assert (read_channels(tmp_path / "colors.png") == COLORS).all()
    with pytest.raises(DataError, match="three channels"):
        read_channels(tmp_path / "grey.png")


def test_a_picture_from_memory() -> None:
    data = io.BytesIO()
    Image.fromarray(COLORS).save(data, "PNG")
    assert (np.asarray(read_image(data)) == COLORS).all()


def test_pictures_are_saved_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Image.fromarray(COLORS)
    save_image(picture, tmp_path / "new" / "a.png")
    assert (pixels(tmp_path / "new" / "a.png") == COLORS).all()
    with pytest.raises(DataError, match="no ending of a picture"):
        save_image(picture, tmp_path / "a.eps")
    monkeypatch.setattr(
        images, "write_atomically", lambda *_: (_ for _ in ()).throw(DataError("the disk is full"))
    )
    with pytest.raises(DataError):
        save_image(picture, tmp_path / "b.png")
    assert not (tmp_path / "b.png").exists()
