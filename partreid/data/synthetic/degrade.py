"""Making perfect labels as imperfect as those of a parsing network."""

import numpy as np
from numpy.typing import NDArray

from partreid.data.synthetic.streams import Stream
from partreid.data.synthetic.surfaces import RIGHT_LEFT

# Surfaces that a parser loses together.
LIMBS: tuple[tuple[int, ...], ...] = (
    (3, 20, 22), (4, 19, 21), (16, 18), (15, 17), (7, 9), (8, 10), (6, 11, 13), (5, 12, 14),
    (23, 24), (25, 26, 27),
)  # fmt: skip


def degrade(
    labels: NDArray[np.uint8],
    seed: int,
    *,
    drop: float = 0.05,
    swap: float = 0.08,
    lose: float = 0.20,
    grow: float = 0.30,
    reach: int = 2,
) -> NDArray[np.uint8]:
    """A noisy copy of a label map; the same seed gives the same noise.

    labels: uint8 [H, W], as in the files. Independent chances, each in [0, 1]: drop: nobody is
    detected, all labels become 0; swap: left and right are exchanged; lose: one limb, the head or
    the belongings are missing; grow: all labels spill over the background by 1 .. reach pixels.
    """
    stream = Stream(seed, "degrade")
    dropped, swapped, lost, grown = (stream.chance(p) for p in (drop, swap, lose, grow))
    limb, radius = stream.choice(LIMBS), stream.integer(1, reach + 1)
    if dropped:
        return np.zeros_like(labels)
    table = np.arange(256, dtype=np.uint8)
    if swapped:
        for right, left in RIGHT_LEFT:
            table[right], table[left] = left, right
    out = table[labels]
    if lost:
        out[np.isin(out, limb)] = 0
    if grown:
        for _ in range(radius):
            out = _spread(out)
    return out


def _spread(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One pixel further into the background, from the four neighbours."""
    padded = np.pad(labels, 1)
    out = labels.copy()
    for neighbour in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        # Only the person spreads: obstacles and other pedestrians (30, 31) stay where they are.
        out = np.where((out == 0) & (neighbour < 28), neighbour, out)
    return out
