"""Rules of the official code that differ from the papers or from today's definitions. For
comparison only.

Its numbers are shown beside the others, never instead of them: ``partreid eval --rule official``.
"""

from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partreid.distance import PartDistance
from partreid.metrics.arrays import Floats
from partreid.metrics.lists import Ranks
from partreid.metrics.ranking import Ranking
from partreid.types import Embeddings
from partreid.utils.arguments import door


@door
def trapezoid_ap(ranks: Ranks) -> float:
    """AP as the evaluation code of Market-1501 (2015) had it: area under the curve by trapezoids,
    in (0, 1].

    Args:
        ranks: int64 [P], ascending from 1, P > 0.

    Returns:
        Never above :func:`partreid.metrics.average_precision`.

    Examples:
        >>> import numpy as np
        >>> from partreid.metrics.official import trapezoid_ap
        >>> trapezoid_ap(np.array([2]))
        0.25
    """
    hits = np.arange(1, len(ranks) + 1)
    # precision just above each hit
    before = np.where(ranks > 1, (hits - 1) / np.maximum(ranks - 1, 1), 1.0)
    return float(np.mean((hits / ranks + before) / 2))


@door
def trapezoid_mAP(ranking: Ranking) -> float:
    """Mean of ``trapezoid_ap`` over the scored queries: the mAP that ISP and HCGA printed with
    visibility.
    """
    return float(np.mean([trapezoid_ap(ranks) for ranks in ranking.ranks if len(ranks)]))


class TrapezoidRanking(Ranking):
    """A ranking whose average precision, and so its mAP and all intervals of it, is by
    trapezoids.
    """

    @classmethod
    def of(cls, ranking: Ranking) -> "TrapezoidRanking":
        """The same lists under this rule."""
        return cls(**{f.name: getattr(ranking, f.name) for f in fields(ranking)})

    @cached_property
    def ap(self) -> NDArray[np.float64]:
        return np.array([trapezoid_ap(r) if len(r) else np.nan for r in self.ranks], np.float64)


@door
def bpbreid_official(
    q: Embeddings,
    g: Embeddings,
    metric: Literal["cosine", "euclidean"] = "euclidean",
    combine: Literal["mean", "max"] = "mean",
    continuous: bool = False,
) -> Tensor:
    """Distances [Nq, Ng] as the official code of BPBreID combines them, on embeddings of length 1.

    A pair that shares no part is not infinitely far but 1 farther than the largest part distance of
    the whole matrix. ``continuous`` weighs a part by sqrt(v v') instead of v v' and ignores
    ``combine``. Holds M matrices: for small sets.
    """
    far = PartDistance("cosine" if metric == "cosine" else "unit_euclidean").per_part(q, g)
    both = q.visibility.to(far).T[:, :, None] * g.visibility.to(far).T[:, None]
    shown = both > 0
    weight = both.sqrt() if continuous else shown.to(far)
    if combine == "max" and not continuous:
        result = far.masked_fill(~shown, -torch.inf).amax(0)
    else:
        result = (weight * far).sum(0) / weight.sum(0)
    largest = far.max() if continuous else far.masked_fill(~shown, -1).max()
    return torch.where(shown.any(0), result, largest + 1)


@door
def cuhk03_single_shot(
    distances: Floats,
    identity: int,
    identities: NDArray[np.int64],
    valid: NDArray[np.bool_],
    ks: Sequence[int],
    draw: np.random.RandomState,
    repeats: int = 10,
) -> dict[int, float]:
    """CMC of one query against one random image per identity, mean of ``repeats`` draws (CUHK03,
    CVPR 2014).

    distances: float [Ng]; identities: int64 [Ng]; valid: bool [Ng], with a right answer among them.
    Identities are drawn for in the order in which they first appear in the list, as the official
    evaluation does, so that a seed gives the same numbers.
    """
    order = np.argsort(distances, kind="stable")
    listed = identities[order[valid[order]]]
    people = [np.flatnonzero(listed == person) for person in dict.fromkeys(listed.tolist())]
    ranks = []
    for _ in range(repeats):
        kept = np.sort([draw.choice(images) for images in people])
        ranks.append(1 + np.flatnonzero(listed[kept] == identity)[0])
    return {k: float(np.mean(np.array(ranks) <= k)) for k in ks}


@door
def isp_official(q: Embeddings, g: Embeddings) -> Tensor:
    """Distances [Nq, Ng] of ISP's official matching: 1 - mean of (1 + cos) / 2 over what both
    images show.

    Global and foreground are one vector there (``ISP(matching="released")`` joins them, and so does
    this): they count once, where Eq. 10 counts them twice.
    """
    return PartDistance("cosine")(_front_joined(q), _front_joined(g)) / 2


def _front_joined(e: Embeddings) -> Embeddings:
    """Embeddings whose first two, if they are global and foreground, are one of twice the width."""
    if e.names[:2] != ("global", "foreground"):
        return e
    both = Embeddings.single("global+foreground", e.vectors[:, :2].flatten(1))
    rest = Embeddings(e.vectors[:, 2:], e.visibility[:, 2:], e.names[2:])
    return Embeddings.cat(both, rest)


@door
def hcga_official(q: Embeddings, g: Embeddings) -> Tensor:
    """Minus HCGA's official similarity [Nq, Ng]: the *sum* of (1 + cos) / 2 over what both images
    show.

    Eq. 10's division was taken out there, so that whoever shares more parts is more similar. Holds
    M matrices: for small sets.
    """
    similar = 1 - PartDistance("cosine").per_part(q, g) / 2
    both = q.visibility.to(similar).T[:, :, None] * g.visibility.to(similar).T[:, None]
    return -(both * similar).sum(0)
