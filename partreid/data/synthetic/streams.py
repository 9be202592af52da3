"""Random numbers that depend on nothing but their names.

Every draw of the synthetic world comes from a stream that is keyed by the world's seed, a tag and
integers. Only `Generator.random` is used below, because NumPy may change its other distributions
between releases.
"""

import zlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
FloatArray = NDArray[np.float64]


class Stream:
    """A named sequence of random numbers: the same `(seed, tag, *ids)` gives the same draws, in
    any process.
    """

    def __init__(self, seed: int, tag: str, *ids: int) -> None:
        key = [seed, zlib.crc32(tag.encode()), *ids]
        self._generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """One number in [low, high)."""
        return low + (high - low) * float(self._generator.random())

    def chance(self, probability: float) -> bool:
        """True with the given probability; always uses one draw."""
        return float(self._generator.random()) < probability

    def integer(self, low: int, high: int) -> int:
        """One integer in low .. high - 1."""
        return low + int(self._generator.random() * (high - low))

    def choice(self, items: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """One of `items`, with probability proportional to `weights` (equal if None)."""
        if weights is None:
            return items[self.integer(0, len(items))]
        edges = np.cumsum(np.asarray(weights, np.float64))
        return items[int(np.searchsorted(edges, self.uniform() * edges[-1], side="right"))]

    def normal(self, mean: float = 0.0, deviation: float = 1.0) -> float:
        """One normal number (Box-Muller)."""
        radius = np.sqrt(-2.0 * np.log(1.0 - self._generator.random()))
        return mean + deviation * float(radius * np.cos(2.0 * np.pi * self._generator.random()))

    def array(self, *shape: int) -> FloatArray:
        """Numbers in [0, 1), float64 of the given shape."""
        return self._generator.random(shape)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """`items` in random order."""
        order = np.argsort(self._generator.random(len(items)), kind="stable")
        return [items[int(i)] for i in order]


def value_noise(
    stream: Stream, shape: tuple[int, int], cells: tuple[int, int], octaves: int = 3
) -> FloatArray:
    """Smooth noise: float64 of `shape`, mean about 0, mostly within [-1, 1].

    `cells` counts the coarsest lattice cells along each axis; each further octave doubles them and
    halves its weight.
    """
    total = np.zeros(shape)
    weight, sum_of_squares = 1.0, 0.0
    for octave in range(octaves):
        rows, columns = cells[0] << octave, cells[1] << octave
        lattice = stream.array(rows + 2, columns + 2) * 2.0 - 1.0
        y = np.linspace(0.0, rows, shape[0], endpoint=False)
        x = np.linspace(0.0, columns, shape[1], endpoint=False)
        i, j = y.astype(np.intp), x.astype(np.intp)
        fy, fx = y - i, x - j
        fy, fx = (fy * fy * (3.0 - 2.0 * fy))[:, None], (fx * fx * (3.0 - 2.0 * fx))[None, :]
        upper = lattice[i][:, j] * (1.0 - fx) + lattice[i][:, j + 1] * fx
        lower = lattice[i + 1][:, j] * (1.0 - fx) + lattice[i + 1][:, j + 1] * fx
        total += weight * (upper * (1.0 - fy) + lower * fy)
        sum_of_squares += weight * weight
        weight *= 0.5
    return total * float(1.6 / np.sqrt(sum_of_squares))
