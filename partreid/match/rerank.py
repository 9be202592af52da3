"""Re-ranking by k-reciprocal neighbours (Zhong et al., CVPR 2017), on any distance, without an all-pairs matrix.

Who is near whom decides: two images are alike if each other's mutual neighbours are the same people. The definition is
the dense one; only the k1 + 1 nearest of every image and the sparse sets that follow from them are kept, and distances
are computed twice (those of queries three times), some rows at a time, instead of stored. Re-ranked distances of
different queries cannot be compared with each other, so no threshold may be put on them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partreid.distance import PartDistance
from partreid.errors import DataError
from partreid.types import Embeddings

Rows = Callable[[slice], NDArray[np.float32]]
Integers = NDArray[np.int64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class KReciprocal:
    """k1: neighbours that count as near. k2: neighbours whose sets are averaged (1 = none). weight: of the original
    distance in the result, 0..1. power: distances are raised to it first; 2 is the paper's Mahalanobis form on Euclid.

    DataError if the numbers make no sense.
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3
    power: int = 2

    def __post_init__(self) -> None:
        if self.k1 < 1 or not 1 <= self.k2 <= self.k1 + 1 or not 0 <= self.weight <= 1 or self.power < 1:
            raise DataError(f"re-ranking needs k1 >= 1, 1 <= k2 <= k1 + 1, 0 <= weight <= 1 and power >= 1, got {self}")

    def __call__(self, distance: PartDistance, query: Embeddings, gallery: Embeddings, rows: int = 512,
                 progress: Progress | None = None) -> Iterator[tuple[slice, Tensor]]:
        """Re-ranked distances as (slice of queries, float32 [<= rows, Ng]), ready for :func:`partreid.match.rank`.

        progress: called with (rows done, rows in all) of the two passes together.
        """
        everyone = Embeddings.stack([query, gallery])

        def far(at: slice) -> NDArray[np.float32]:
            return distance(everyone.rows(at), everyone).detach().cpu().numpy()

        for at, block in self.blocks(far, len(query), len(everyone), rows, progress):
            yield at, torch.from_numpy(block)

    def blocks(self, far: Rows, queries: int, n: int, rows: int = 512,
               progress: Progress | None = None) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """The same from ``far(slice)``, distances float [rows, n] of some images, queries first, to all n."""
        k = min(self.k1 + 1, n)
        near = np.empty((n, k), np.int64)
        for at in _slices(n, rows):
            near[at] = _nearest(self._normal(far(at)), k)
            if progress is not None:
                progress(at.stop, 2 * n)
        sets = self._expanded(near)
        weights = []
        for at in _slices(n, rows):
            for i, row in enumerate(self._normal(far(at)), at.start):
                w = np.exp(-row[sets[i]])
                weights.append(w / w.sum())
            if progress is not None:
                progress(n + at.stop, 2 * n)
        if self.k2 > 1:
            sets, weights = _averaged(sets, weights, near[:, :self.k2])
        for at, jaccard in _jaccard(sets, weights, queries, rows):
            yield at, (1 - self.weight) * jaccard + self.weight * self._normal(far(at))[:, queries:]

    def _normal(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Powers of the distances over the largest finite one of the row; what shares no part counts as that far."""
        block = block.astype(np.float32) ** self.power
        block[~np.isfinite(block)] = np.nan
        largest = np.nanmax(block, axis=1, keepdims=True)
        return np.nan_to_num(block / np.maximum(largest, 1e-12), nan=1.0)

    def _expanded(self, near: Integers) -> list[Integers]:
        """R*(i): mutual neighbours of i, with those of each member whose own (half as many) mostly are i's too."""
        half = int(np.around(self.k1 / 2)) + 1
        mutual, halves = _mutual(near), _mutual(near[:, :half])
        found = []
        for own in mutual:
            members = set(own.tolist())
            grown = set(members)
            for candidate in own.tolist():
                theirs = halves[candidate].tolist()
                if sum(j in members for j in theirs) > 2 / 3 * len(theirs):
                    grown.update(theirs)
            found.append(np.array(sorted(grown), np.int64))
        return found


def _slices(n: int, rows: int) -> Iterator[slice]:
    return (slice(i, min(i + rows, n)) for i in range(0, n, rows))


def _nearest(block: NDArray[np.float32], k: int) -> Integers:
    """Indices of the k nearest of each row, nearest first, ties by index."""
    cut = np.partition(block, k - 1, axis=1)[:, k - 1]
    found = np.empty((len(block), k), np.int64)
    for i, row in enumerate(block):
        close = np.flatnonzero(row <= cut[i])
        found[i] = close[np.argsort(row[close], kind="stable")[:k]]
    return found


def _mutual(near: Integers) -> list[Integers]:
    """R(i): the neighbours j of i that have i among theirs, nearest first."""
    found: list[Integers] = []
    for at in _slices(len(near), 1024):
        back = (near[near[at]] == np.arange(at.start, at.stop)[:, None, None]).any(2)
        found.extend(row[keep] for row, keep in zip(near[at], back, strict=True))
    return found


def _averaged(sets: list[Integers], weights: list[NDArray[np.float32]],
              near: Integers) -> tuple[list[Integers], list[NDArray[np.float32]]]:
    """Local query expansion: every image takes the mean of the weighted sets of its k2 nearest."""
    new_sets, new_weights = [], []
    for row in near.tolist():
        members, at = np.unique(np.concatenate([sets[j] for j in row]), return_inverse=True)
        total = np.bincount(at, np.concatenate([weights[j] for j in row]), len(members))
        new_sets.append(members)
        new_weights.append((total / len(row)).astype(np.float32))
    return new_sets, new_weights


def _jaccard(sets: list[Integers], weights: list[NDArray[np.float32]], queries: int,
             rows: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """1 - the shared weight of every query's and every gallery image's set over their united weight."""
    n = len(sets)
    owner = np.repeat(np.arange(n), [len(s) for s in sets])
    member, value = np.concatenate(sets), np.concatenate(weights)
    order = np.argsort(member, kind="stable")  # who has image j in his set, and how much of it
    owner, value = owner[order], value[order]
    starts = np.searchsorted(member[order], np.arange(n + 1))
    for at in _slices(queries, rows):
        shared = np.zeros((at.stop - at.start, n), np.float32)
        for row, i in zip(shared, range(at.start, at.stop), strict=True):
            for j, w in zip(sets[i].tolist(), weights[i].tolist(), strict=True):
                span = slice(starts[j], starts[j + 1])
                row[owner[span]] += np.minimum(w, value[span])  # nobody has an image twice, so no index repeats
        yield at, 1 - shared[:, queries:] / (2 - shared[:, queries:])
