"""A contact sheet of crops with their labels drawn over them, so that a person can see whether
they are right.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from partreid import build
from partreid.data.transforms import resize_nearest
from partreid.errors import DataError, RecipeError
from partreid.explain.fonts import Font, written
from partreid.explain.overlays import Shown, color, part_overlay, photo
from partreid.explain.sheets import INK, LINE, PAPER, QUIET, WRONG, _font
from partreid.explain.surfaces import tiles_picture
from partreid.labels.base import Cue
from partreid.labels.densepose import read_iuv, surfaces_of
from partreid.labels.tools.base import as_labels
from partreid.labels.tools.stats import names_of
from partreid.labels.uv_tiles import UvMaps, UvTiles
from partreid.recipes.base import Spec
from partreid.types import UNKNOWN, Benchmark, Sample

EDGE, GAP, NEAR, CAPTION = 28, 22, 3, 24
TALL, WIDE = 176, 1180  # height of a crop, and about the width of a sheet, in pixels
TILE = 64  # width of a tile


def preview(spec: Spec, of: Benchmark, rows: int = 4) -> Image.Image:
    """Training crops, evenly chosen, each beside itself with the labels of a cue on: an RGB picture
    with a legend.

    What is unknown is hatched; what cannot be read says so in its place. For ``uv_tiles`` a crop
    takes a row.
    """
    cue, samples = build.cue(as_labels(spec), of), of.train
    names = names_of(cue)
    settings = (f"{name} {value}" for name, value in spec.args.items() if name != "digest")
    title = f"{of.name}: {', '.join([spec.name, *settings])}"
    if isinstance(cue, UvTiles):
        return _tiles(
            cue, samples, surfaces_of(of.root, samples, spec.args.get("folder", "iuv")), title, rows
        )
    if isinstance(cue, UvMaps):
        raise RecipeError(
            "tiles that are warped after augmentation cannot be drawn before; draw those of "
            "sync=flip_only, they come from the same surfaces"
        )
    width = max(photo(sample.path, TALL).width for sample in samples[:8])
    columns = min(max(1, (WIDE - 2 * EDGE + GAP) // (2 * width + NEAR + GAP)), len(samples))
    chosen = spread(len(samples), rows * columns)
    rows = -(-len(chosen) // columns)
    step = 2 * width + NEAR + GAP
    top = EDGE + 40
    sheet = Image.new(
        "RGB", (2 * EDGE + columns * step - GAP, top + rows * (TALL + CAPTION + 8) + 44), PAPER
    )
    draw = ImageDraw.Draw(sheet)
    text, font = written(title, 20)
    draw.text((EDGE, EDGE - 6), text, INK, font)
    hatched = False
    for place, index in enumerate(chosen):
        x, y = EDGE + place % columns * step, top + place // columns * (TALL + CAPTION + 8)
        sample = samples[index]
        try:
            crop = photo(sample.path, TALL)
            sheet.paste(crop.resize((width, TALL)) if crop.width > width else crop, (x, y))
            drawn, unknown = _labelled(cue, index, sample, names)
            sheet.paste(
                drawn.resize((width, TALL)) if drawn.width > width else drawn, (x + width + NEAR, y)
            )
            hatched |= unknown
            caption, ink = sample.path.stem, QUIET
        except DataError:
            draw.rectangle((x, y, x + 2 * width + NEAR - 1, y + TALL - 1), outline=LINE)
            draw.text((x + width, y + TALL / 2), "cannot be read", WRONG, _font(13), anchor="mm")
            caption, ink = sample.path.stem, WRONG
        text, font = written(caption, 12)
        draw.text((x, y + TALL + 4), _fitted(text, font, 2 * width), ink, font)
    x, y = EDGE, top + rows * (TALL + CAPTION + 8) + 6
    for name in names:
        wide = 34 + int(_font(14).getlength(name.replace("_", " ")))
        draw.ellipse((x, y + 3, x + 11, y + 14), fill=color(name))
        draw.text((x + 18, y), name.replace("_", " "), QUIET, _font(14))
        x += wide
    if hatched:
        sheet.paste(
            Image.fromarray(_hatch(np.full((14, 20, 3), 200, np.uint8), np.ones((14, 20), bool))),
            (x, y + 2),
        )
        draw.text((x + 27, y), "unknown", QUIET, _font(14))
    return sheet


def spread(count: int, wanted: int) -> list[int]:
    """At most ``wanted`` of 0..count-1, evenly spread, the same every time."""
    return sorted({int((i + 0.5) * count / min(wanted, count)) for i in range(min(wanted, count))})


def _labelled(
    cue: Cue, index: int, sample: Sample, names: tuple[str, ...]
) -> tuple[Image.Image, bool]:
    """The crop with its parts in color, and whether anything is unknown."""
    item = cue[index]
    labels = item.astype(np.int64)
    probs = np.stack([labels == k for k in range(len(names) + 1)]).astype(float)
    probs[0] += labels == UNKNOWN
    drawn = part_overlay(Shown(sample.path, sample.identity, sample.camera, probs, names), TALL)
    unknown = resize_nearest(item == UNKNOWN, (drawn.height, drawn.width))
    return Image.fromarray(_hatch(np.asarray(drawn), unknown.astype(bool))), bool(unknown.any())


def _hatch(picture: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A picture uint8 [H, W, 3] with dark diagonal lines where asked."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    lines = where & ((x + y) % 7 < 2)
    out = picture.copy()
    out[lines] = (0.35 * out[lines] + 0.65 * 96).astype(np.uint8)
    return out


def _fitted(text: str, font: Font, width: float) -> str:
    """Text that is cut where it does not fit."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


def _tiles(
    cue: UvTiles, samples: Sequence[Sample], surfaces: Sequence[Path | None], title: str, rows: int
) -> Image.Image:
    """Crops with their 24 tiles, one below the other."""
    indices = [i for i in range(len(samples)) if cue.known[i]]
    if not indices:
        raise DataError("not one image has a surface to draw; check where the IUV pictures lie")
    pictures = []
    for i in (indices[j] for j in spread(len(indices), rows)):
        path = surfaces[i]
        charts = read_iuv(path).labels if path else np.zeros((2, 1), np.uint8)
        pictures.append(tiles_picture(samples[i].path, charts, cue[i], TILE))
    top = 44
    sheet = Image.new(
        "RGB", (max(p.width for p in pictures), top + sum(p.height for p in pictures)), PAPER
    )
    text, font = written(title, 20)
    ImageDraw.Draw(sheet).text((EDGE, EDGE - 6), text, INK, font)
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet
