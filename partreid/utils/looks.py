"""How a crop looks, in a dozen numbers: light, colors, edges and shape, whoever it shows.

They tell one kind of pictures from another (drawn from photographed, sharp from blurred, day from
night), and nothing about the person.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ShapeError
from partreid.utils.arguments import door
from partreid.utils.images import Pixels

Floats = NDArray[np.floating]
LOOKS: Final = (
    "brightness",
    "contrast",
    "dark",
    "bright",
    "saturation",
    "red",
    "blue",
    "color spread",
    "edges",
    "sharpness",
    "grain",
    "color edges",
    "shape",
)
_LEAST = 1 / 1024  # a quarter of a step of 8 bits: what is flat has a logarithm, too


@door
def looks(pixels: Pixels, height: int, width: int) -> NDArray[np.float64]:
    """Statistics of one crop.

    Args:
        pixels: uint8 RGB [H, W, 3], as the model takes them; at least 3 x 3.
        height: Of the crop before it was resized; with ``width`` it gives the shape.
        width: The same.

    Returns:
        float64 [13], in the order of ``LOOKS``. Brightness, contrast, saturation, red and blue
        (less green) and color spread are means and deviations of values in 0..1; dark and bright
        are roots of the shares of pixels near black and white; edges (gradient), sharpness
        (curvature by gradient), grain (median curvature) and color edges (gradient of colors by
        that of light) are logarithms, as is shape, height by width.

    Raises:
        ShapeError: The picture is smaller, or no RGB.

    Examples:
        >>> grey = looks(np.full((128, 64, 3), 128, np.uint8), 128, 64)
        >>> dict(zip(LOOKS, grey.round(2).tolist()))["brightness"]
        0.5
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or min(pixels.shape[:2]) < 3:
        raise ShapeError(f"pixels must be [H, W, 3], 3 x 3 at least, got {list(pixels.shape)}")
    rgb = pixels.astype(np.float32) / 255
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    light: Floats = 0.299 * red + 0.587 * green + 0.114 * blue
    warm: Floats = red - green
    cold: Floats = blue - green
    curved = np.abs(
        4 * light[1:-1, 1:-1]
        - light[:-2, 1:-1]
        - light[2:, 1:-1]
        - light[1:-1, :-2]
        - light[1:-1, 2:]
    )
    slope = _slope(light) + _LEAST
    return np.array(
        [
            light.mean(),
            light.std(),
            np.sqrt((light < 1 / 16).mean()),
            np.sqrt((light > 15 / 16).mean()),
            (rgb.max(2) - rgb.min(2)).mean(),
            warm.mean(),
            cold.mean(),
            np.hypot(warm.std(), cold.std()),
            np.log(slope),
            np.log((curved.mean() + _LEAST) / slope),
            np.log(np.median(curved) + _LEAST),
            np.log((_slope(warm) + _slope(cold) + _LEAST) / slope),
            np.log(height / width),
        ],
        np.float64,
    )


def _slope(channel: Floats) -> float:
    """Mean step from a pixel to the next, down and across."""
    return float(np.abs(np.diff(channel, axis=0)).mean() + np.abs(np.diff(channel, axis=1)).mean())
