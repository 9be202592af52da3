"""Expansion: every image is averaged with its nearest images from other cameras, before anything is
compared.

Average query expansion (Chum et al., ICCV 2007), done to the gallery as well (database-side
augmentation, Arandjelovic and Zisserman, CVPR 2012), on part embeddings: who is near is said by the
part distance, and a part is averaged over the images that show it. Unlike re-ranked distances,
distances after it are still distances between embeddings: the gallery is expanded once, and a query
costs one search more.

**What is fair.** A protocol that takes images of the query's own identity and camera out of its
list must not let them in again as neighbours. Who is whom is not known here, so cameras decide: an
image is never averaged with one from its own camera. A gallery image may still be averaged with
images from the query's camera; :meth:`Expansion.blocks`, for scores, leaves that camera out of all
averages of a query.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from partreid.distance import PartDistance
from partreid.errors import DataError, ShapeError
from partreid.metrics.arrays import Ids, as_int64
from partreid.retrieval.neighbors import Floats, Integers, Nearest, slices
from partreid.types import Embeddings
from partreid.utils.arguments import check_fields, door

_AT_ONCE = 2**22  # numbers of neighbours that are averaged together


@dataclass(frozen=True)
class Expansion:
    """Averaging every image with its nearest from other cameras.

    k: images that each image is averaged with, at least 1. self_weight: how much the image itself
    counts, where each of them counts 1, above 0. Both were chosen on synthetic people with seed 1
    and confirmed on seeds 2 and 3.

    Raises:
        DataError: unless k >= 1 and self_weight > 0.

    Examples:
        >>> import torch
        >>> from partreid import Embeddings, PartDistance
        >>> from partreid.retrieval import Expansion
        >>> e = Embeddings.single("global", torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> expand = Expansion(k=1, self_weight=1.0)
        >>> distance = PartDistance("euclidean")
        >>> expand(distance, e, e, cams=[1, 2], source_cams=[1, 2]).vectors[:, 0].tolist()
        [[0.5, 0.5], [0.5, 0.5]]
    """

    k: int = 3
    self_weight: float = 2.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.k < 1 or not 0 < self.self_weight < float("inf"):
            raise DataError(
                "expansion needs k >= 1 images to average with and a finite weight of its own > 0, "
                f"got {self}"
            )

    @door
    def __call__(
        self,
        distance: PartDistance,
        e: Embeddings,
        sources: Embeddings,
        *,
        cams: Ids,
        source_cams: Ids,
    ) -> Embeddings:
        """Every image averaged with its nearest among ``sources`` from other cameras.

        Visibility stays: a part that an image does not show is not filled in, and who shares no
        part with it is no neighbour.

        Args:
            distance: how near images are.
            e: N embeddings.
            sources: what they are averaged with; for a gallery that is itself.
            cams: integers [N].
            source_cams: integers, one per source.

        Returns:
            N embeddings, vectors float32 [N, M, D], scaled to length 1 before they are averaged
            where the metric does so.

        Raises:
            ShapeError: there are not as many cameras as images.
            DataError: a distance is NaN.
        """
        return self._averaged(
            distance, e, sources, *_nearest(distance, e, cams, sources, source_cams, self.k)
        )

    @door
    def blocks(
        self,
        distance: PartDistance,
        query: Embeddings,
        gallery: Embeddings,
        *,
        q_cams: Ids,
        g_cams: Ids,
        rows: int = 1024,
    ) -> Iterator[tuple[slice, Tensor]]:
        """Distances of expanded queries to the expanded gallery, for :func:`partreid.metrics.rank`,
        in which nothing was averaged with an image from the query's camera.

        Args:
            distance: how near images are.
            query: Nq embeddings in the order of their cameras, for each of which the gallery is
                averaged once.
            gallery: Ng embeddings.
            q_cams: integers [Nq], ascending.
            g_cams: integers [Ng].
            rows: queries at a time.

        Yields:
            (slice of queries, float32 [at most rows, Ng]).

        Raises:
            ShapeError: there are not as many cameras as images.
            DataError: the queries are not in the order of their cameras, or a distance is NaN.
        """
        cameras, places = as_int64("q_cams", q_cams), as_int64("g_cams", g_cams)
        if (np.diff(cameras) < 0).any():
            raise DataError(
                "queries to be expanded must come in the order of their cameras; sort them by "
                "camera, with their identities, first"
            )
        index, far = _nearest(distance, gallery, places, gallery, places, self.k)
        # as in the second dimension of index
        seen_by = np.unique(places)
        expanded = self(distance, query, gallery, cams=cameras, source_cams=places)
        for camera in np.unique(cameras).tolist():
            others = seen_by != camera
            against = self._averaged(distance, gallery, gallery, index[:, others], far[:, others])
            first, last = np.searchsorted(cameras, [camera, camera + 1]).tolist()
            for span, block in distance.blocks(expanded.rows(slice(first, last)), against, rows):
                yield slice(first + span.start, first + span.stop), block

    def _averaged(
        self,
        distance: PartDistance,
        e: Embeddings,
        sources: Embeddings,
        index: Integers,
        far: Floats,
    ) -> Embeddings:
        """The k nearest over all cameras, int64 and float32 [N, cameras, k], taken into the mean
        of every image.
        """
        each = (len(e), index.shape[1] * index.shape[2])
        index, far = index.reshape(each), far.reshape(each)
        order = np.lexsort((index, far))[:, : self.k]
        near = torch.from_numpy(np.take_along_axis(index, order, 1))
        real = torch.from_numpy(np.isfinite(np.take_along_axis(far, order, 1)))

        def ready(vectors: Tensor) -> Tensor:
            vectors = vectors.detach().float()
            return (
                vectors if distance.metric == "euclidean" else normalize(vectors, dim=-1, eps=1e-12)
            )

        vectors = torch.empty(e.vectors.shape, device=e.vectors.device)
        for span in slices(len(e), max(1, _AT_ONCE // max(1, self.k * e.vectors[:1].numel()))):
            friends = sources.rows(near[span].flatten())
            shown = (
                friends.visibility.float().unflatten(0, near[span].shape)
                * real[span].to(vectors)[:, :, None]
            )
            itself = self.self_weight * e.visibility[span].float()
            mean = (
                torch.einsum(
                    "nkm,nkmd->nmd", shown, ready(friends.vectors).unflatten(0, near[span].shape)
                )
                + itself[:, :, None] * ready(e.vectors[span])
            ) / (itself + shown.sum(1)).clamp_min(1e-12)[:, :, None]
            vectors[span] = torch.where(itself[:, :, None] > 0, mean, ready(e.vectors[span]))
        return Embeddings(vectors, e.visibility, e.names)


def _nearest(
    distance: PartDistance,
    e: Embeddings,
    cams: Ids,
    sources: Embeddings,
    source_cams: Ids,
    k: int,
) -> tuple[Integers, Floats]:
    """Indices of sources and their distances, int64 and float32 [N, cameras, k]: the k nearest of
    every camera in ascending order of cameras, +inf in an image's own camera and where a camera has
    no more.
    """
    mine, other = as_int64("cams", cams), as_int64("source_cams", source_cams)
    for name, images, given in (("images", e, mine), ("sources", sources, other)):
        if given.shape != (len(images),):
            raise ShapeError(
                f"expansion needs a camera for each of {len(images)} {name}, got "
                f"{list(given.shape)}"
            )
    everywhere = np.unique(other)
    index = np.zeros((len(e), len(everywhere), k), np.int64)
    far = np.full(index.shape, np.inf, np.float32)
    for c, camera in enumerate(everywhere.tolist()):
        there, rows = np.flatnonzero(other == camera), np.flatnonzero(mine != camera)
        near = Nearest(len(rows), min(k, len(there)))
        for span, block in distance.blocks(
            e.rows(torch.from_numpy(rows)), sources.rows(torch.from_numpy(there))
        ):
            near.update(span, slice(0, len(there)), block)
        index[rows, c, : min(k, len(there))] = there[near.index]
        far[rows, c, : min(k, len(there))] = near.distance
    return index, far
