"""Student's t without tables, and the variances it is asked about: of people drawn and of seeds
tried.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from partreid.utils.arguments import door

Integers = NDArray[np.int64]
Doubles = NDArray[np.float64]


@door
def student_t(
    value: float, parts: Sequence[tuple[float, float]], level: float
) -> tuple[float, float]:
    """(half the range, two-sided p) of a value whose variances add up, each known with its degrees
    of freedom.

    Cochran's mean of Student's quantiles (Biometrics 1964). Welch's degrees of freedom would make
    ranges too narrow where most of the doubt comes from three seeds: they hold the truth in 92 of
    100 cases, these in 95 to 97.
    """
    total = sum(variance for variance, _ in parts)
    if total <= 0:
        return 0.0, 1.0 if value == 0 else 0.0
    ps = np.append(1 - level, np.geomspace(1, 1e-9, 4001))
    halves = sum(variance * quantile(freedom, 1 - ps) for variance, freedom in parts) / np.sqrt(
        total
    )
    return float(halves[0]), float(np.interp(abs(value), halves[1:], ps[1:]))


@door
def quantile(freedom: float, level: float | Doubles) -> Doubles:
    """What |t| stays below with probability ``level``; freedom >= 1."""
    angle, inside = _below(freedom)
    return np.asarray(np.sqrt(freedom) * np.tan(np.interp(level, inside, angle)))


@door
def people_of(queries: Integers) -> float:
    """How many people with equally many queries would be as much evidence, at least 2. queries:
    int64 [people].
    """
    return float(max(queries.sum() ** 2 / (queries**2).sum(), 2.0))


@door
def by_people(values: Doubles, identities: Integers) -> tuple[float, float]:
    """(variance of the mean, degrees of freedom) if people are drawn; values, identities: one per
    query.

    What a bootstrap over people comes to, with n / (n - 1).
    """
    _, person, queries = np.unique(identities, return_inverse=True, return_counts=True)
    people = people_of(queries)
    off = np.bincount(person, values - values.mean(), len(queries))
    return float((off**2).sum() / len(values) ** 2 * people / (people - 1)), people - 1


@door
def by_seed(values: Sequence[Doubles], identities: Integers) -> tuple[float, float]:
    """(variance of the mean over runs, degrees of freedom); values: of each run, the same queries.

    Runs differ also by what chance does to single people in each (the interaction of an analysis of
    variance), which
    :func:`by_people` of the mean over runs has already. To subtract it would now and then leave
    nothing of three runs that happen to agree, and too narrow a range; so the variance b between
    runs, a of it by chance, counts b / (a + b).
    """
    runs = np.stack(values)
    means, n = runs.mean(1), len(values)
    between = float(means.var(ddof=1)) / n
    left = runs - runs.mean(0) - (means - means.mean())[:, None]
    alone = np.mean([by_people(row, identities)[0] for row in left]) / (n - 1)
    return between**2 / max(between + float(alone), 1e-300), n - 1.0


@door
def together(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Variances of one kind as one, such as the seeds of two recipes, with Welch's degrees of
    freedom.
    """
    total = sum(variance for variance, _ in parts)
    if total <= 0:
        return 0.0, sum(freedom for _, freedom in parts)
    return total, total**2 / sum(variance**2 / freedom for variance, freedom in parts)


@lru_cache(16)
def _below(freedom: float) -> tuple[Doubles, Doubles]:
    """Angles in 0 .. pi / 2, the share of |t| below each; for t = sqrt(f) tan(a) the density is
    cos(a)^(f - 1).
    """
    angle = np.linspace(0, np.pi / 2, 20001)
    density = np.cos(angle).clip(0) ** (freedom - 1)
    inside = np.append(0, np.cumsum((density[1:] + density[:-1]) / 2))
    return angle, inside / inside[-1]
