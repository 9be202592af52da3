"""What MagnifierNet's adversarial branch sees in training: a crop with the regions that a draw
hid under a veil.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from partreid.errors import ShapeError
from partreid.explain.evidence import spoken
from partreid.explain.overlays import color
from partreid.explain.sheets import INK, PAPER

Pixels = NDArray[np.uint8]

_VEIL = np.array((236, 236, 232), float)  # a light grey, a little darker than the paper
_STRIPE = np.array((214, 214, 208), float)


def hidden_regions(
    image: Pixels,
    labels: Pixels,
    names: Sequence[str],
    draws: Sequence[Sequence[int]],
    height: int = 288,
) -> Image.Image:
    """The crop, its regions, and for each draw the crop with what it hid under a veil, side by
    side; RGB.

    image: uint8 [H, W, 3]. labels: uint8 [h, w] on any grid of the same crop (0 background, 1..K,
    255 unknown). names: the K parts. draws: for each picture the channels that are kept, 0..K (see
    :func:`partreid.methods.magnifier.regions.kept_sets`). height: of the crops in pixels. Below
    each picture stand all regions, a full dot for those that are kept. ShapeError if labels or
    draws know regions that have no name.
    """
    regions = ("background", *names)
    known = {int(k) for k in np.unique(labels) if k != 255} | {k for kept in draws for k in kept}
    if known and max(known) >= len(regions):
        raise ShapeError(
            f"labels and draws know regions up to {max(known)}, names are given for 1 to "
            f"{len(names)}"
        )
    size = (max(1, round(image.shape[1] * height / image.shape[0])), height)
    photo = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    where = np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
    present = {int(k) for k in np.unique(where)}

    cell, gap, edge, line, head = max(size[0], 124), 20, 24, 21, 26
    sheet = Image.new(
        "RGB",
        (
            2 * edge + (2 + len(draws)) * (cell + gap) - gap,
            2 * edge + head + height + 14 + line * len(regions),
        ),
        PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    columns = [
        ("photo", photo, None),
        ("regions", _painted(photo, where, names), set(range(len(regions)))),
        *(
            (f"draw {i}", _veiled(photo, where, set(kept)), set(kept))
            for i, kept in enumerate(draws, 1)
        ),
    ]
    for i, (title, picture, kept) in enumerate(columns):
        x, y = edge + i * (cell + gap), edge
        draw.text((x, y), title, INK, ImageFont.load_default(16))
        sheet.paste(picture, (x, y + head))
        y += head + height + 14
        for k, name in enumerate(regions if kept is not None else ()):
            _entry(draw, x, y + line * k, name, kept is not None and k in kept, k in present)
    return sheet


def _entry(draw: ImageDraw.ImageDraw, x: int, y: int, name: str, kept: bool, present: bool) -> None:
    """One region in the list below a picture: a dot, full or hollow, and its name; in brackets
    if it is not there.
    """
    paint = "#b9b9b2" if name == "background" else color(name)
    draw.ellipse(
        (x + 1, y + 3, x + 12, y + 14),
        fill=paint if kept else None,
        outline=paint if kept else "#c4c4bd",
        width=2,
    )
    draw.text(
        (x + 20, y),
        spoken(name) if present else f"({spoken(name)})",
        INK if kept else "#7a7a74",
        ImageFont.load_default(14),
    )


def _painted(photo: Image.Image, where: Pixels, names: Sequence[str]) -> Image.Image:
    """The crop in grey with every region in its color."""
    canvas = 0.5 * np.asarray(photo.convert("L"), float)[..., None].repeat(3, 2) + 0.5 * _VEIL
    for k, name in enumerate(names, 1):
        paint = np.array([int(color(name)[i : i + 2], 16) for i in (1, 3, 5)], float)
        canvas[where == k] += 0.72 * (paint - canvas[where == k])
    return Image.fromarray(canvas.round().astype(np.uint8))


def _veiled(photo: Image.Image, where: Pixels, kept: set[int]) -> Image.Image:
    """The crop as it is where a region is kept; elsewhere stripes of grey through which it
    hardly shows.
    """
    pixels = np.asarray(photo, float)
    y, x = np.mgrid[: where.shape[0], : where.shape[1]]
    period = max(6, where.shape[0] // 28)
    veil = np.where((((x + y) % period) < period / 3)[..., None], _STRIPE, _VEIL)
    shown = np.isin(where, sorted(kept))[..., None]
    return Image.fromarray(
        np.where(shown, pixels, 0.9 * veil + 0.1 * pixels).round().astype(np.uint8)
    )
