"""Evidence of embeddings: one distance, taken apart into what each body part adds to it, see
:mod:`partreid.runtime.evidence`.
"""

import math
from collections.abc import Sequence

import torch

from partreid.distance import PartDistance
from partreid.errors import ShapeError
from partreid.runtime.evidence import Evidence, addends, is_plural, listed, spoken
from partreid.types import Embeddings
from partreid.utils.arguments import door

__all__ = [
    "Evidence",
    "addends",
    "explain_pair",
    "explain_pairs",
    "is_plural",
    "listed",
    "spoken",
]


@door
def explain_pairs(
    distance: PartDistance,
    q: Embeddings,
    g: Embeddings,
    rows_q: Sequence[int],
    rows_g: Sequence[int],
) -> list[Evidence]:
    """Evidence of the pairs (rows_q[i], rows_g[i]). ValueError if q and g hold other embeddings.

    Worked out in float64, so that the shares sum to the distance to about 1e-15 and agree with
    float32 rankings.
    """
    if len(rows_q) != len(rows_g):
        raise ShapeError(
            f"pairs need as many queries as matches, got {len(rows_q)} and {len(rows_g)}"
        )
    query, match = _double(q, rows_q), _double(g, rows_g)
    with torch.no_grad():
        parts, share = (
            distance.parts(query, match).cpu().numpy(),
            distance.terms(query, match).cpu().numpy(),
        )
    seen = (query.visibility.cpu().numpy(), match.visibility.cpu().numpy())
    return [
        Evidence(
            q.names,
            math.fsum(share[i]),
            parts[i],
            share[i],
            seen[0][i],
            seen[1][i],
            distance.shrink,
            distance.missing,
        )
        for i in range(len(rows_q))
    ]


@door
def explain_pair(
    distance: PartDistance, q: Embeddings, g: Embeddings, row_q: int = 0, row_g: int = 0
) -> Evidence:
    """Evidence of query ``row_q`` and match ``row_g``; see ``explain_pairs``."""
    return explain_pairs(distance, q, g, [row_q], [row_g])[0]


def _double(e: Embeddings, rows: Sequence[int]) -> Embeddings:
    taken = e.rows(torch.as_tensor(list(rows), dtype=torch.int64, device=e.vectors.device))
    return Embeddings(taken.vectors.double(), taken.visibility.double(), taken.names)
