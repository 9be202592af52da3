"""Ranking what is embedded already, without a model."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from partreid.distance import PartDistance
from partreid.errors import ArgumentError, DataError
from partreid.explain.evidence import explain_pairs
from partreid.inference.saved import SavedEmbeddings, of_others, require_paths
from partreid.retrieval.neighbors import slices
from partreid.retrieval.search import nearest
from partreid.runtime.types import Hit
from partreid.types import Embeddings, Vectors
from partreid.utils.arguments import Count, door, integer

_PAIRS = 4096  # explained together


@door
def rank(
    query: Vectors | SavedEmbeddings,
    gallery: Vectors | SavedEmbeddings,
    distance: PartDistance | None = None,
    top: Count = 10,
) -> list[list[Hit]]:
    """For every query the nearest of a gallery, without a model; ties keep the gallery's order.

    Args:
        query: Embeddings, saved ones, or a tensor float [Nq, D] or [Nq, M, D].
        gallery: The same.
        distance: How they are compared; None: as the model did whose saved embeddings they are.
        top: How many to give, at least 1; all if there are fewer.

    Returns:
        A list for each query, nearest first.

    Raises:
        ArgumentError: There is no distance, as neither side was saved, or no such ``top``.
        DataError: Saved embeddings are of two models.
        ShapeError: Query and gallery have not the same embeddings.

    Examples:
        >>> import torch
        >>> query, gallery = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [2.0, 0.1]])
        >>> [hit.row for hit in rank(query, gallery, PartDistance("cosine"))[0]]
        [1, 0]
    """
    kept = [e for e in (query, gallery) if isinstance(e, SavedEmbeddings)]
    if len({(e.weights, e.digest) for e in kept}) > 1:
        raise of_others("the query", kept[0].model, "the gallery", kept[1].model)
    if distance is None:
        if not kept:
            raise ArgumentError(
                "rank: distance must say how plain embeddings are compared, e.g. "
                "PartDistance('cosine'), got None"
            )
        distance = kept[0].distance
        if any(e.distance != distance for e in kept):
            raise DataError(
                f"the query was saved with {kept[0].distance} and the gallery with "
                f"{kept[1].distance}; say which counts with distance="
            )
    return list(ranked(distance, query, gallery, None, top))


def ranked(
    distance: PartDistance,
    query: Vectors | SavedEmbeddings,
    gallery: Vectors | SavedEmbeddings,
    paths: Sequence[Path | None] | None,
    top: int,
) -> Iterator[list[Hit]]:
    """Hits of one query after the other, without a decision."""
    integer("top", top, 1)
    if paths is None and isinstance(gallery, SavedEmbeddings):
        paths = gallery.paths
    q, g = (
        e.embeddings if isinstance(e, SavedEmbeddings) else Embeddings.of(e)
        for e in (query, gallery)
    )
    if paths is None:
        paths = [None] * len(g)
    require_paths(paths, g)
    index, _ = nearest(distance, q, g, top)
    for some in slices(len(q), max(1, _PAIRS // max(1, index.shape[1]))):
        rows = np.repeat(np.arange(some.start, some.stop), index.shape[1]).tolist()
        places = index[some].ravel().tolist()
        every = iter(zip(places, explain_pairs(distance, q, g, rows, places), strict=True))
        for _ in range(some.start, some.stop):
            yield [
                Hit(evidence, place=place, row=i, path=paths[i])
                for place, (i, evidence) in enumerate(islice(every, index.shape[1]), 1)
            ]
