"""What the crops of a calibration are like, fitted on some people and counted on others; see
:mod:`partreid.runtime.likeness`, which holds crops against it.
"""

import base64
from math import ceil

import numpy as np

from partreid.errors import ArgumentError
from partreid.metrics.arrays import Doubles, Mask
from partreid.runtime.likeness import ALARMS as ALARMS
from partreid.runtime.likeness import RANK, USUAL, Crops, Likeness, numbers, unit
from partreid.utils.arguments import door, require

LEAST = 0.03  # deviation of looks, in their own units: parts of 1, or of a logarithm
_SHRINK = 0.1  # of the covariance of the looks, towards its diagonal
_STEADY = 0.05  # deviation that norms (logarithmic) and visibilities count as at least


@door
def fit_likeness(fit: Crops, held: Crops, statistics: tuple[str, ...]) -> Likeness:
    """What crops of some people are like, and how far out crops of others lie.

    Args:
        fit: crops of the people who are fitted on, with looks [n, F]; 2 at least.
        held: crops of other people, with looks and people.
        statistics: names of the F looks.

    Returns:
        A :class:`Likeness`.

    Raises:
        ArgumentError: there are too few crops, or looks are missing.

    Examples:
        >>> draw = np.random.default_rng(0)
        >>> def some(n, center):
        ...     vectors, seen = draw.normal(center, 1, (n, 2, 5)), np.ones((n, 2))
        ...     return Crops(vectors, seen, draw.normal(center, 1, (n, 3)), np.arange(n))
        >>> made = fit_likeness(some(300, 0), some(300, 0), ("light", "color", "edges"))
        >>> bool((made.score(some(200, 0)) > 1).mean() < 0.05)
        True
        >>> bool((made.score(some(9, 9)) > 1).all())
        True
    """
    require(
        len(fit) > 1 and len(held) > 0, "crops", "2 to fit on and 1 held out, at least", len(fit)
    )
    if fit.looks is None or held.looks is None or held.people is None:
        raise ArgumentError("a likeness is made of crops with their looks and people")
    f = len(statistics)
    mean = fit.looks.mean(0)
    covariance = np.cov(fit.looks.T, ddof=0).reshape(f, f)
    diagonal = np.diag(np.diag(covariance))
    covariance = (1 - _SHRINK) * covariance + _SHRINK * diagonal + LEAST**2 * np.eye(f)
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    directions = np.stack([_basis(fit, m) for m in range(fit.vectors.shape[1])])
    directions = directions.astype("<f2")
    some = numbers(fit, directions.astype(np.float64))
    with np.errstate(invalid="ignore"):
        known = np.isfinite(some)
        many = np.maximum(known.sum(0), 1)
        middle = np.where(known, some, 0).sum(0) / many
        spread = np.sqrt(np.where(known, np.square(some - middle), 0).sum(0) / many)

    many_people = len(np.unique(held.people))

    def made(scale_looks: float, scale_vectors: float, limit: float, usual: float) -> Likeness:
        return Likeness(
            statistics,
            _listed(mean),
            _listed(whiten),
            fit.vectors.shape[1],
            fit.vectors.shape[2],
            base64.b64encode(directions.tobytes()).decode(),
            _listed(middle),
            _listed(np.maximum(spread, _STEADY)),
            scale_looks,
            scale_vectors,
            limit,
            usual,
            len(held),
            many_people,
        )

    raw = made(1.0, 1.0, 1.0, 0.0)
    by_looks, by_vectors = raw.of_looks(held.looks), raw.of_vectors(held)
    scales = _exceeded(by_looks), _exceeded(by_vectors)
    both = np.maximum(by_looks / scales[0], by_vectors / scales[1])
    limit = _exceeded(both)
    return made(*scales, limit, float(np.quantile(both / limit, 1 - USUAL)))


def _exceeded(scores: Doubles) -> float:
    """The score that ``ALARMS`` of further crops exceed, by those of the crops held out; above
    0.
    """
    place = ceil((len(scores) + 1) * (1 - ALARMS))
    return max(float(np.sort(scores)[min(place, len(scores)) - 1]), 1e-9)


def _listed(values: Doubles) -> tuple[float, ...]:
    """With six digits, which is more than crops can tell."""
    return tuple(float(f"{value:.6g}") for value in np.ravel(values))


def _basis(crops: Crops, m: int) -> Doubles:
    """Mean and main directions of the vectors of part m where it is seen, [1 + RANK, D]; zeros
    where there are fewer.
    """
    length = crops.vectors.shape[2]
    basis = np.zeros((1 + RANK, length))
    seen: Mask = crops.visibility[:, m] > 0
    if not seen.any():
        return basis
    vectors = unit(crops.vectors[seen, m].astype(np.float64))
    basis[0] = vectors.mean(0)
    if len(vectors) > 1:
        main = np.linalg.svd(vectors - basis[0], full_matrices=False)[2][:RANK]
        basis[1 : 1 + len(main)] = main
    return basis
