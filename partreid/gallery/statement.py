"""The distance as SQL, and how far half precision can move it.

A table has a ``halfvec`` and a visibility for each part. The statement computes the distance of
:class:`partreid.distance.PartDistance` from them, less what rounding can have added: a lower bound.
"""

import torch
from torch import Tensor

from partreid.distance import PartDistance
from partreid.types import Embeddings


def stored(distance: PartDistance, e: Embeddings) -> Tensor:
    """Vectors as they are kept, float64 [N, M, D]: of length 1 where the metric scales them."""
    x = e.vectors.double()
    return x if distance.metric == "euclidean" else torch.nn.functional.normalize(x, dim=2)


def half(part: Tensor) -> str:
    """A vector [D] as the text of a halfvec."""
    return str(part.half().tolist())


def slack(distance: PartDistance, x: Tensor) -> Tensor:
    """How far rounding one side of a pair can move its distance, float64 [N].

    A number loses at most 2^-11 of itself, or 2^-25 near 0, and pgvector adds D products in single
    precision. The distance is a mean over parts, so it moves no further than its worst part.

    Args:
        distance: How images are compared.
        x: What :func:`stored` gave, [N, M, D].
    """
    width = x.shape[2]
    weight = x.new_tensor(distance.weights or (1.0,) * x.shape[1])
    norm = torch.linalg.vector_norm(x, dim=2)
    lost = norm * (2**-11 + (width + 8) * 2**-23) + width**0.5 * 2**-25
    return ((lost + lost.square()) * weight).amax(1) + 2**-24


def lower_bound(distance: PartDistance, parts: int) -> str:
    """An SQL expression for the least that a row's distance to the query can be.

    The query's vectors are ``%(q0)s``, its visibilities ``%(w0)s``, its slack ``%(slack)s``.
    """
    weights = distance.weights or (1.0,) * parts
    both = [f"(%(w{m})s::float8 * v{m})" for m in range(parts)]
    cosine = distance.metric == "cosine"
    far = [f"(p{m} {'<#>' if cosine else '<->'} %(q{m})s::halfvec)" for m in range(parts)]
    # <#> is the negative inner product: 1 - a cos = 1 + a <#>
    cost = [f"({int(cosine)} + {a!r} * {d})" for a, d in zip(weights, far, strict=True)]
    top = " + ".join(f"{b} * {c}" for b, c in zip(both, cost, strict=True))
    under = " + ".join(both)
    if distance.shrink:
        mean = f"({top} + {distance.missing!r}) / ({under} + {distance.shrink!r})"
    else:
        # BPBreID Eq. 9. CASE, as servers of shares are sent neither coalesce nor nullif.
        mean = f"(CASE WHEN ({under}) > 0 THEN ({top}) / ({under}) ELSE 'Infinity' END)"
    return f"({mean} - slack - %(slack)s::float8)"
