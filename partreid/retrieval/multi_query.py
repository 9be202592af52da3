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
from partreid.metrics.arrays import Ids, as_int64
from partreid.metrics.protocols import Special, special
from partreid.types import Embeddings
from partreid.utils.arguments import door

How = Literal["mean", "max"]


@door
def pooled(
    query: Embeddings,
    *,
    q_ids: Ids,
    q_cams: Ids,
    multi_query: Embeddings | None = None,
    multi_query_ids: Ids = (),
    multi_query_cams: Ids = (),
    how: How = "mean",
    unit: bool = False,
    distractor: Special = None,
    junk: Special = None,
) -> Embeddings:
    """The queries, each made of all further images of its person from its camera.

    The visibility of a part is the highest among its images, not the mean: the pooled vector is
    made of those that show it, so one good look is evidence as good as before, and images that hide
    it take nothing away. Of a part that no image shows, vector and visibility stay the query's.
    (Market-1501, ICCV 2015, has no parts: there this is its multi-query pooling.)

    Args:
        query: Nq embeddings.
        q_ids: integers [Nq].
        q_cams: integers [Nq].
        multi_query: the data set's further images, embedded like the queries (Market-1501's hold
            the queries too). None: the queries themselves are grouped, so those of one person from
            one camera become equal, and each still counts.
        multi_query_ids: integers, one for each further image.
        multi_query_cams: integers, one for each further image.
        how: ``mean`` over the images, weighted by visibility, or ``max`` of each number over the
            images that show the part.
        unit: scale vectors to length 1 first, so that no image outweighs another; right for the
            metrics that look at directions alone, cosine and unit_euclidean, and wrong for
            euclidean.
        distractor: an identity, or several, that names no person: such a query asks alone.
        junk: likewise.

    Returns:
        Nq embeddings [Nq, M, D] as before. A query of which there is no further image is unchanged.

    Raises:
        ShapeError: ids or cameras are no integers or not one per image, or the embeddings differ.

    Examples:
        >>> import torch
        >>> from partreid import Embeddings
        >>> from partreid.retrieval import pooled
        >>> e = Embeddings.single("global", torch.tensor([[1.0, 0.0], [0.0, 1.0], [4.0, 4.0]]))
        >>> pooled(e, q_ids=[7, 7, 8], q_cams=[1, 1, 1]).vectors[:, 0].tolist()
        [[0.5, 0.5], [0.5, 0.5], [4.0, 4.0]]
    """
    groups = _groups("q", query, q_ids, q_cams)
    if multi_query is None:
        multi_query, given = query, groups
    else:
        given = _groups("multi_query", multi_query, multi_query_ids, multi_query_cams)
    if query.names != multi_query.names or query.vectors.shape[2] != multi_query.vectors.shape[2]:
        raise ShapeError(
            "queries and further images must have the same embeddings; queries have "
            f"{', '.join(query.names)}, {query.vectors.shape[2]} wide; the others "
            f"{', '.join(multi_query.names)}, {multi_query.vectors.shape[2]} wide"
        )
    nobody = special("distractor", distractor) | special("junk", junk)
    people = np.unique(groups[~np.isin(groups[:, 0], sorted(nobody))], axis=0)
    device = query.vectors.device
    mine, theirs = (torch.from_numpy(_index(people, rows)).to(device) for rows in (groups, given))
    used = torch.nonzero(theirs >= 0)[:, 0]
    if not len(used):
        return query
    vectors, visibility = query.vectors.detach().clone(), query.visibility.detach().clone()
    dtype = torch.promote_types(vectors.dtype, torch.float32)
    theirs, person = theirs[used], mine.clamp_min(0)
    for m in range(vectors.shape[1]):  # one part at a time, for memory
        e, v = (
            x.detach()[used.to(x.device), m].to(device, dtype)
            for x in (multi_query.vectors, multi_query.visibility)
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
        new = torch.nonzero((mine >= 0) & (best[person] > 0))[:, 0]
        vectors[new, m] = together[person[new]].to(vectors.dtype)
        visibility[new, m] = best[person[new]].to(visibility.dtype)
    return Embeddings(vectors, visibility, query.names)


def _groups(name: str, e: Embeddings, ids: Ids, cams: Ids) -> NDArray[np.int64]:
    """(identity, camera) of each image, int64 [N, 2]."""
    columns = [as_int64(f"{name}_ids", ids), as_int64(f"{name}_cams", cams)]
    for column, what in zip(columns, ("ids", "cams")):
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
