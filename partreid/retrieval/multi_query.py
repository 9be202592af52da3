"""Multi-query search as in Market-1501: all images of a person from the query's camera ask as one.

A camera that has tracked somebody has more than one image of him. They are pooled part by part, so
a part that one image hides may come from the next.
"""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from partreid.errors import ShapeError
from partreid.metrics.ranking import Whole, whole
from partreid.types import DISTRACTOR, Embeddings
from partreid.utils.arguments import door

How = Literal["mean", "max"]


@door
def pooled(
    query: Embeddings,
    query_ids: Whole,
    query_cameras: Whole,
    more: Embeddings | None = None,
    more_ids: Whole = (),
    more_cameras: Whole = (),
    how: How = "mean",
    unit: bool = False,
) -> Embeddings:
    """The queries, each made of all images in ``more`` of its person from its camera: [Nq, M, D] as
    before.

    ``more`` are the data set's further images (``Benchmark.more``; Market-1501's hold the queries
    too), described like the queries; None: the queries themselves are grouped, so those of one
    person from one camera become equal, and each still counts. A query of which there is no further
    image, a distractor or junk asks alone, unchanged.

    how: ``mean`` over the images, weighted by visibility, or ``max`` of each number over the images
    that show the part. unit: scale vectors to length 1 first, so that no image outweighs another;
    right for the metrics that look at directions alone, cosine and unit_euclidean, and wrong for
    euclidean.

    The visibility of a part is the highest among its images, not the mean: the pooled vector is
    made of those that show it, so one good look is evidence as good as before, and images that hide
    it take nothing away. Of a part that no image shows, vector and visibility stay the query's.
    (Market-1501, ICCV 2015, has no parts: there this is its multi-query pooling.) ShapeError,
    ArgumentError if the inputs do not fit.
    """
    asked = _groups("query", query, query_ids, query_cameras)
    if more is None:
        more, given = query, asked
    else:
        given = _groups("more", more, more_ids, more_cameras)
    if query.names != more.names or query.vectors.shape[2] != more.vectors.shape[2]:
        raise ShapeError(
            "queries and further images must have the same embeddings; queries have "
            f"{', '.join(query.names)}, {query.vectors.shape[2]} wide; the others "
            f"{', '.join(more.names)}, {more.vectors.shape[2]} wide"
        )
    people = np.unique(asked[asked[:, 0] > DISTRACTOR], axis=0)
    device = query.vectors.device
    mine, theirs = (torch.from_numpy(_index(people, rows)).to(device) for rows in (asked, given))
    used = torch.nonzero(theirs >= 0)[:, 0]
    if not len(used):
        return query
    vectors, visibility = query.vectors.detach().clone(), query.visibility.detach().clone()
    dtype = torch.promote_types(vectors.dtype, torch.float32)
    theirs, at = theirs[used], mine.clamp_min(0)
    for m in range(vectors.shape[1]):  # one part at a time, for memory
        e, v = (
            x.detach()[used.to(x.device), m].to(device, dtype)
            for x in (more.vectors, more.visibility)
        )
        if unit:
            e = normalize(e, dim=1, eps=1e-12)
        best = v.new_zeros(len(people)).scatter_reduce_(0, theirs, v, "amax")
        together = e.new_zeros(len(people), e.shape[1])
        if how == "mean":
            total = v.new_zeros(len(people)).index_add_(0, theirs, v)
            together.index_add_(0, theirs, e * v[:, None]).div_(
                total.masked_fill(total == 0, 1)[:, None]
            )
        else:
            seen = v > 0
            rows = theirs[seen, None].expand(-1, e.shape[1])
            together.scatter_reduce_(0, rows, e[seen], "amax", include_self=False)
        new = torch.nonzero((mine >= 0) & (best[at] > 0))[:, 0]
        vectors[new, m] = together[at[new]].to(vectors.dtype)
        visibility[new, m] = best[at[new]].to(visibility.dtype)
    return Embeddings(vectors, visibility, query.names)


def _groups(name: str, e: Embeddings, ids: Whole, cameras: Whole) -> NDArray[np.int64]:
    """(identity, camera) of each image, int64 [N, 2]."""
    columns = [whole(f"{name}_ids", ids), whole(f"{name}_cameras", cameras)]
    for column, what in zip(columns, ("ids", "cameras")):
        if column.shape != (len(e),):
            raise ShapeError(
                f"{name}_{what} must be [{len(e)}], one per image, got {list(column.shape)}"
            )
    return np.stack(columns, 1)


def _index(people: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The row of ``people`` that each of the rows is, -1 if none."""
    known = {(identity, camera): i for i, (identity, camera) in enumerate(people.tolist())}
    return np.array(
        [known.get((identity, camera), -1) for identity, camera in rows.tolist()], np.int64
    )
