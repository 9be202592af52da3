"""A crop beside its unwrapped surface: where DensePose saw which chart, and the 24 part images
made of it.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

from partreid.errors import ShapeError
from partreid.explain.overlays import PALETTE
from partreid.explain.overlays import photo as read_photo
from partreid.explain.sheets import INK, PAPER, QUIET, _font

# Rows of pairs from the head downwards: title, color, and the two charts. What lies right on the
# person stands left, as on somebody who faces the camera.
PAIRS = (
    (
        ("head", "head", (23, 24)),
        ("torso", "torso", (2, 1)),
        ("hands", "hand", (3, 4)),
        ("feet", "foot", (6, 5)),
    ),
    (
        ("upper arms, front", "upper_arm", (16, 15)),
        ("upper arms, back", "upper_arm", (18, 17)),
        ("lower arms, front", "lower_arm", (20, 19)),
        ("lower arms, back", "lower_arm", (22, 21)),
    ),
    (
        ("upper legs, front", "upper_leg", (9, 10)),
        ("upper legs, back", "upper_leg", (7, 8)),
        ("lower legs, front", "lower_leg", (13, 14)),
        ("lower legs, back", "lower_leg", (11, 12)),
    ),
)
EMPTY, FAINT = "#e6e6e1", "#85857e"


def tiles_picture(
    photo: Path | Image.Image, labels: NDArray[np.uint8], tiles: NDArray[np.uint8], cell: int = 96
) -> Image.Image:
    """The crop, its charts, and its 24 tiles in pairs of right and left (torso: front and back), as
    an RGB picture.

    labels: uint8 [H, W], charts 1..24, on any grid. tiles: uint8 [24, 4, S, S], R, G, B and 1 where
    known, U downwards and V to the right; cells that are not known are grey. cell: width of a tile
    in pixels.
    """
    if tiles.ndim != 4 or tiles.shape[:2] != (24, 4) or tiles.dtype != np.uint8:
        raise ShapeError(
            f"tiles must be uint8 [24, 4, S, S], got {tiles.dtype} {list(tiles.shape)}"
        )
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise ShapeError(f"labels must be uint8 [H, W], got {labels.dtype} {list(labels.shape)}")
    edge, near, far, head, foot, line = 28, 6, 30, 26, 24, 26
    block = head + cell + foot
    height = 3 * block + 2 * line - foot + 18
    crop = (
        read_photo(photo, height)
        if isinstance(photo, Path)
        else photo.convert("RGB").resize(
            (max(1, round(photo.width * height / photo.height)), height), Image.Resampling.BICUBIC
        )
    )
    charts = _tinted(crop, labels)
    left = edge + 2 * crop.width + 10 + far
    sheet = Image.new(
        "RGB", (left + 4 * (2 * cell + near) + 3 * far + edge, edge + height + 44), PAPER
    )
    sheet.paste(crop, (edge, edge))
    sheet.paste(charts, (edge + crop.width + 10, edge))
    draw = ImageDraw.Draw(sheet)
    for i, row in enumerate(PAIRS):
        for j, (title, region, pair) in enumerate(row):
            x, y = left + j * (2 * cell + near + far), edge + i * (block + line)
            draw.text((x, y - 4), title, INK, _font(16))
            for chart, side in zip(
                pair, ("front", "back") if region == "torso" else ("right", "left"), strict=True
            ):
                tile = tiles[chart - 1]
                sheet.paste(_tile(tile, cell), (x, y + head))
                under = y + head + cell + 5
                draw.ellipse((x, under + 4, x + 9, under + 13), fill=_tint(chart))
                draw.text((x + 15, under), side, QUIET, _font(13))
                if not tile[3].any():
                    draw.text(
                        (x + cell / 2, y + head + cell / 2),
                        "not seen",
                        FAINT,
                        _font(13),
                        anchor="mm",
                    )
                x += cell + near
    seen = tiles[:, 3].reshape(24, -1) > 0
    summary = (
        f"{int(seen.any(1).sum())} of 24 surfaces seen, {100 * seen.mean():.0f} % of all cells "
        "filled"
    )
    draw.text(
        (left, edge + height + 14), f"{summary}. Rows of a tile are U, columns V.", QUIET, _font(14)
    )
    draw.text((edge, edge + height + 14), "crop", QUIET, _font(14))
    draw.text((edge + crop.width + 10, edge + height + 14), "surfaces on it", QUIET, _font(14))
    return sheet


def _tile(tile: NDArray[np.uint8], width: int) -> Image.Image:
    """One tile [4, S, S] enlarged without smoothing, what is not known in grey."""
    pixels = np.where(tile[3:] > 0, tile[:3], np.array(ImageColor.getrgb(EMPTY))[:, None, None])
    return Image.fromarray(pixels.transpose(1, 2, 0).astype(np.uint8)).resize(
        (width, width), Image.Resampling.NEAREST
    )


def _tinted(crop: Image.Image, labels: NDArray[np.uint8]) -> Image.Image:
    """The crop in pale grey with every chart in its color."""
    shown = np.asarray(Image.fromarray(labels).resize(crop.size, Image.Resampling.NEAREST))
    grey = 0.5 * np.asarray(crop.convert("L"), np.float64) + 0.5 * 235
    table = np.full((256, 3), 235.0)
    table[1:25] = [ImageColor.getrgb(_tint(chart)) for chart in range(1, 25)]
    alpha = np.where((shown >= 1) & (shown <= 24), 0.72, 0.25)[..., None]
    return Image.fromarray(
        np.round(grey[..., None] * (1 - alpha) + table[shown] * alpha).astype(np.uint8)
    )


def _tint(chart: int) -> str:
    """``#rrggbb`` of a chart: its region's color, lighter for the second of a pair."""
    region, second = next(
        (region, pair[1] == chart) for row in PAIRS for _, region, pair in row if chart in pair
    )
    shade = [round(c + (255 - c) * 0.45 * second) for c in ImageColor.getrgb(PALETTE[region])[:3]]
    return "#" + "".join(f"{c:02x}" for c in shade)
