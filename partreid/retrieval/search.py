"""The k nearest of a gallery for each query, from tiles of distances that are looked at once and
thrown away.

**Ties.** Of two images at the same distance the one that comes first in the gallery is nearer, as
in a stable sort of the whole row; what shares no part (+inf) comes last, by the same rule.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partreid.distance import PartDistance, PreparedGallery
from partreid.errors import DataError
from partreid.types import Embeddings
from partreid.utils.arguments import door, integer, require

Integers = NDArray[np.int64]
Distances = NDArray[np.floating]

# times k entries of a row on average: from there on a tile's own k-th distance is worth finding
_MANY = 4


@door
def nearest(
    distance: PartDistance, query: Embeddings, gallery: Embeddings | PreparedGallery, k: int
) -> tuple[Integers, Distances]:
    """Gallery rows and distances of the k nearest (or of all, if there are fewer), nearest first.

    The result is that of sorting whole rows of the distance matrix, which never exists: memory is
    that of a tile and of the result.

    Args:
        distance: how two images are compared.
        query: Nq embeddings.
        gallery: Ng embeddings, or what ``distance.prepare`` made of them, for queries that come one
            after the other.
        k: how many of the gallery.

    Returns:
        (index int64 [Nq, k], distance float32 [Nq, k], or float64 if the vectors are).

    Raises:
        DataError: a distance is NaN.
        ArgumentError: the gallery was prepared for another distance.
        ShapeError: the embeddings differ.

    Examples:
        >>> import torch
        >>> from partreid import Embeddings, PartDistance
        >>> from partreid.retrieval import nearest
        >>> e = Embeddings.single("global", torch.tensor([[0.0], [1.0], [5.0]]))
        >>> index, far = nearest(PartDistance("euclidean"), e, e, k=2)
        >>> index.tolist(), far[:, 1].tolist()
        ([[0, 1], [1, 0], [2, 1]], [1.0, 1.0, 4.0])
    """
    k = min(integer("k", k, 1), len(gallery))
    if isinstance(gallery, PreparedGallery):
        require(
            gallery.distance == distance,
            "the gallery",
            f"prepared for {distance}",
            gallery.distance,
        )
    index = np.zeros((len(query), k), np.int64)
    tiles = (
        gallery.tiles(query)
        if isinstance(gallery, PreparedGallery)
        else distance.tiles(query, gallery)
    )
    far = np.full((len(query), k), np.inf, np.float64 if _double(query, gallery) else np.float32)
    for rows, columns, tile in tiles:
        held = min(k, columns.start)
        index[rows], far[rows] = _merged(index[rows], far[rows], held, columns.start, tile, rows)
    return index, far


def _merged(
    index: Integers, far: Distances, held: int, start: int, tile: Tensor, rows: slice
) -> tuple[Integers, Distances]:
    """The k nearest among the first ``held`` columns, nearest first, and a tile that begins at
    column ``start``.
    """
    if tile.numel() and bool(tile.amin().isnan()):  # the minimum hands NaN on
        raise DataError(
            f"distances of queries {rows.start} to {rows.stop} are not all numbers; the embeddings "
            "hold NaN, so the model has diverged or its weights are broken"
        )
    n, k = far.shape
    row, column, value = _near(
        tile, torch.from_numpy(far[:, -1]).to(tile) if held == k else None, k
    )
    count = np.bincount(row, minlength=n)
    place = held + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    width = max(k, held + int(count.max(initial=0)))
    values, where = np.full((n, width), np.inf, far.dtype), np.zeros((n, width), np.int64)
    values[:, :held], where[:, :held] = far[:, :held], index[:, :held]
    values[row, place], where[row, place] = value, column + start
    # What is held comes from earlier columns and new entries come in their order, so a stable sort
    # settles ties. Empty places are +inf and come last; there are none among the first k once k
    # columns have been seen.
    order = np.argsort(values, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(where, order, 1), np.take_along_axis(values, order, 1)


def _near(tile: Tensor, limit: Tensor | None, k: int) -> tuple[Integers, Integers, Distances]:
    """Entries that can be among the k nearest: rows, ascending, columns, ascending in each row, and
    distances.

    limit: [rows], of the k that are held, whom a later entry at the same distance does not replace;
    None: fewer are.
    """
    close = torch.ones_like(tile, dtype=torch.bool) if limit is None else tile < limit[:, None]
    if k < tile.shape[1] and int(close.count_nonzero()) > _MANY * k * len(tile):
        kth = tile.topk(k, dim=1, largest=False, sorted=False).values.amax(1, keepdim=True)
        close &= tile <= kth
        # many at the k-th distance: the first of them
        if int(close.count_nonzero()) > _MANY * k * len(tile):
            tied = tile == kth
            close &= ~tied | (tied.cumsum(1, dtype=torch.int32) <= k)
    flat = close.flatten().nonzero()[:, 0]
    row, column = np.divmod(flat.cpu().numpy(), tile.shape[1])
    return row, column, tile.flatten()[flat].cpu().numpy()


def _double(query: Embeddings, gallery: Embeddings | PreparedGallery) -> bool:
    if isinstance(gallery, PreparedGallery):
        return gallery.dtype == torch.float64
    return torch.float64 in (query.vectors.dtype, gallery.vectors.dtype)
