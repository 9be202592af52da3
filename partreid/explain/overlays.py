"""Part maps drawn over a crop, so that a person can see where the model saw which part."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageColor
from torch.nn.functional import interpolate

from partreid.errors import ShapeError
from partreid.types import Embeddings, PartMaps, Sample
from partreid.utils.arguments import door
from partreid.utils.images import read_image

Array = NDArray[np.float64]

# One color per part name, the same in every picture. Chosen so that all pairs of a scheme stay
# apart under protanopia, deuteranopia and tritanopia (CIELAB distance > 20), by lightness where hue
# no longer helps.
PALETTE: Mapping[str, str] = {
    "head": "#f2c14b",
    "torso": "#2a5cb8",
    "upper": "#2a5cb8",
    "arms": "#7ccbee",
    "lower": "#7ccbee",
    "legs": "#d2649a",
    "upper_legs": "#d2649a",
    "lower_legs": "#6b3158",
    "feet": "#8a8f2a",
    "left_arm": "#7ccbee",
    "right_arm": "#3f96c4",
    "left_leg": "#d2649a",
    "right_leg": "#a33a72",
    "left_foot": "#6b3158",
    "right_foot": "#8a8f2a",
    "chest": "#2a5cb8",
    "upper_arm": "#b5dc92",
    "lower_arm": "#7ccbee",
    "upper_leg": "#d2649a",
    "lower_leg": "#6b3158",
    "foot": "#8a8f2a",
    "hand": "#e0763c",
    "body": "#2a5cb8",
    "person": "#2a5cb8",
    "foreground": "#8f8f88",
    "global": "#8f8f88",
    "joined": "#8f8f88",
    "mean": "#8f8f88",
}
_SPARE = ("#f2c14b", "#2a5cb8", "#7ccbee", "#d2649a", "#6b3158", "#8a8f2a", "#3f96c4", "#a33a72")
_WASH = 232  # the light grey to which the background fades
STRONG = 0.8  # opacity of a part of probability 1


@dataclass(frozen=True, eq=False)
class Shown:
    """A crop with what the model made of it.

    source: its file, or an RGB picture if it has none. names: K parts. probs: float [K+1, h, w],
    background first, or None if the method has no part maps. visibility: float [K] in [0, 1] of
    these parts, or None: all count as visible.
    """

    source: Path | Image.Image
    identity: int
    camera: int
    probs: Array | None = None
    names: tuple[str, ...] = ()
    visibility: Array | None = None

    def __post_init__(self) -> None:
        if self.probs is not None and (
            self.probs.ndim != 3 or len(self.probs) != len(self.names) + 1
        ):
            raise ShapeError(
                f"part maps of {len(self.names)} parts must be [{len(self.names) + 1}, h, w], got "
                f"{list(self.probs.shape)}"
            )
        if self.visibility is not None and self.visibility.shape != (len(self.names),):
            raise ShapeError(
                f"visibility of {len(self.names)} parts must be [{len(self.names)}], got "
                f"{list(self.visibility.shape)}"
            )

    @classmethod
    def of(
        cls,
        crop: Sample | Path | Image.Image,
        maps: PartMaps | None = None,
        embeddings: Embeddings | None = None,
        row: int = 0,
    ) -> "Shown":
        """Row ``row`` of part maps and of the embeddings that came with them, as numpy arrays.

        crop: a sample, or a file or picture of whom nothing is known.
        """
        whose = (
            (crop.path, crop.identity, crop.camera) if isinstance(crop, Sample) else (crop, 0, 0)
        )
        if maps is None:
            return cls(*whose)
        seen = None
        if embeddings is not None and set(maps.names) <= set(embeddings.names):
            seen = (
                embeddings.rows([row])
                .select(*maps.names)
                .visibility[0]
                .detach()
                .cpu()
                .double()
                .numpy()
            )
        probs = maps.probs[row].detach().cpu().double().numpy()
        return cls(*whose, probs, maps.names, seen)

    def hidden(self, name: str) -> bool:
        """Whether the model calls this part invisible."""
        return (
            self.visibility is not None
            and name in self.names
            and self.visibility[self.names.index(name)] == 0
        )


@door
def color(name: str) -> str:
    """``#rrggbb`` of a part, fixed by its name alone."""
    if name in PALETTE:
        return PALETTE[name]
    digits = name[len(name.rstrip("0123456789")) :]  # stripe1, stripe2, ... follow each other
    return _SPARE[(int(digits) - 1 if digits else crc32(name.encode())) % len(_SPARE)]


def photo(source: Path | Image.Image, height: int = 256) -> Image.Image:
    """The crop, a file or an RGB picture, as RGB, upright, ``height`` pixels high in its own
    proportions. DataError if it cannot be read.
    """
    rgb = source if isinstance(source, Image.Image) else read_image(source)
    return rgb.resize(
        (max(1, round(rgb.width * height / rgb.height)), height), Image.Resampling.BICUBIC
    )


@door
def part_overlay(shown: Shown, height: int = 256) -> Image.Image:
    """The crop in grey with each part in its color, the stronger the surer; RGB, ``height`` pixels
    high.

    Parts that the model calls invisible are hatched in grey: what it suspected there, but does not
    use. A crop without part maps comes back as it is.
    """
    image = photo(shown.source, height)
    if shown.probs is None:
        return image
    probs = upsampled(shown.probs, (image.height, image.width))
    grey = np.asarray(image.convert("L"), np.float64)[..., None].repeat(3, 2)
    # A quiet picture to draw on: less contrast, and lighter still where nobody is.
    canvas = 0.55 * grey + 0.45 * _WASH
    canvas += (_WASH - canvas) * 0.45 * probs[0][..., None]
    for k, name in enumerate(shown.names):
        alpha = STRONG * np.clip(probs[k + 1] * 1.3 - 0.1, 0, 1)[..., None]
        if shown.hidden(name):
            paint = np.full(3, 110.0)
            alpha = (
                np.clip(3 * probs[k + 1] - 0.4, 0, 0.8)[..., None]
                * _hatch(image.height, image.width)[..., None]
            )
        else:
            paint = np.array(ImageColor.getrgb(color(name)), np.float64)
        canvas += (paint - canvas) * alpha
    return Image.fromarray(np.clip(np.round(canvas), 0, 255).astype(np.uint8))


@door
def part_cutout(shown: Shown, name: str, height: int = 256) -> Image.Image | None:
    """The piece of the photograph that one part was read from: RGBA, transparent where it was not
    looked at.

    ``foreground`` is the union of all parts. None if there are no maps, no such part, or too little
    to see.
    """
    if shown.probs is None:
        return None
    if name == "foreground":
        weight = shown.probs[1:].max(0)
    elif name in shown.names:
        weight = shown.probs[1 + shown.names.index(name)]
    else:
        return None
    image = photo(shown.source, height)
    weight = upsampled(weight[None], (image.height, image.width))[0]
    alpha = np.clip((weight - 0.15) / 0.5, 0, 1)
    rows, columns = np.nonzero(alpha.max(1) > 0.3)[0], np.nonzero(alpha.max(0) > 0.3)[0]
    if len(rows) < 2 or len(columns) < 2:
        return None
    rgba = np.dstack([np.asarray(image), np.round(alpha * 255).astype(np.uint8)])
    rgba[rgba[..., 3] == 0] = 0  # nothing hides under transparent pixels, and the file gets smaller
    return Image.fromarray(rgba).crop(
        (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    )


@door
def upsampled(maps: Array, size: tuple[int, int]) -> Array:
    """Maps float [C, h, w] -> [C, H, W] by bilinear interpolation between cell centers."""
    tensor = torch.from_numpy(np.ascontiguousarray(maps, np.float64))[None]
    return interpolate(tensor, size=size, mode="bilinear", align_corners=False)[0].numpy()


@lru_cache(maxsize=8)
def _hatch(height: int, width: int) -> Array:
    """Diagonal stripes, 1 on and 0 off, float [height, width]."""
    y, x = np.mgrid[:height, :width]
    period = max(6, height // 28)
    return ((x + y) % period < period / 3).astype(np.float64)
