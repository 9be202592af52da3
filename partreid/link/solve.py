"""From log odds of pairs to identities.

Average linkage (UPGMA) by scipy: the two groups whose pairs have the highest mean log odds are
joined, again and again, while that mean is above 0. A pair that cannot be one person gets log odds
so far below 0 that no mean with it in can be above: constraints hold by arithmetic, and are
checked.

Why not the sum of log odds (correlation clustering)? Pairs of tracklets of one person are no
independent evidence: they share the person's clothes, and his double's. A sum takes twenty weak
hints for certainty, a mean does not. Average linkage also needs no more than scipy, takes a moment
for thousands of tracklets, always gives the same answer, and its joins come with the mean that made
them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.data.folders import needed
from partreid.link.evidence import Doubles, require_ratios
from partreid.utils.arguments import door

Steps = list[tuple[tuple[int, ...], tuple[int, ...], float]]


@door
def agglomerate(odds: Any, conflict: Any) -> tuple[NDArray[np.int64], Steps]:
    """Groups of tracklets that are taken for one person each.

    Args:
        odds: float64 [T, T], log odds that two are one person, all beforehand included; symmetric.
        conflict: bool [T, T], pairs that cannot be.

    Returns:
        int64 [T], the group of each, numbered from 0 in the order of their first members; and the
        joins in the order made: the members of either side and their mean log odds.

    Raises:
        ShapeError: They are not of one square shape.
        ArgumentError: They are not symmetric, or odds are not finite.
        DataError: scipy is missing.

    Examples:
        >>> odds = np.array([[0.0, 2.0, 1.0], [2.0, 0.0, -4.0], [1.0, -4.0, 0.0]])
        >>> agglomerate(odds, np.zeros((3, 3), bool))
        (array([0, 0, 1]), [((0,), (1,), 2.0)])
    """
    values, apart = require_ratios(odds, conflict)
    many = len(values)
    if many < 2:
        return np.zeros(many, np.int64), []
    needed("scipy", "link", "linking tracklets")
    from scipy.cluster.hierarchy import linkage

    groups: dict[int, tuple[int, ...]] = {t: (t,) for t in range(many)}
    steps: Steps = []
    far, zero = _distances(values, apart)
    for row, (a, b, height, _) in enumerate(linkage(far, "average").tolist()):
        if height >= zero:
            break
        one, other = sorted((groups.pop(int(a)), groups.pop(int(b))))
        groups[many + row] = tuple(sorted((*one, *other)))
        steps.append((one, other, float(zero - height)))
    label = np.empty(many, np.int64)
    for number, members in enumerate(sorted(groups.values())):
        label[list(members)] = number
    together = (label[:, None] == label[None]) & apart
    assert not together.any(), "a constraint is violated"
    return label, steps


def _distances(odds: Doubles, conflict: NDArray[np.bool_]) -> tuple[Doubles, float]:
    """Condensed distances, all >= 0, and the one that stands for log odds of 0.

    With T tracklets a mean goes over at most T^2 / 4 pairs: if one of them is T^2 times as far
    below 0 as any is above it, the mean is below 0.
    """
    upper = np.triu_indices(len(odds), 1)
    values, apart = odds[upper], conflict[upper]
    highest = max(float(values.max(initial=0.0)), 0.0)
    penalty = -(highest + 1.0) * len(odds) ** 2
    values = np.where(apart, penalty, values)
    zero = highest
    out: Doubles = zero - values
    return out, zero
