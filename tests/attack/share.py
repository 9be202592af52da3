"""How much of the corpus is tried: all of it by ``make attack``, an even share of it otherwise."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
WHOLE = bool(os.environ.get("PARTREID_ATTACK"))
SECONDS = 0.25  # of work for one test
LEAST = 3
tried: Counter[str] = Counter()  # what this process tried, and what there was


def share(cases: Sequence[T], cost: float, seconds: float = SECONDS) -> Sequence[T]:
    """All cases, or as many as ``seconds`` are enough for, evenly spread and always the same ones.

    cost: milliseconds of one case, about.
    """
    most = max(LEAST, int(1000 * seconds / cost))
    some = cases
    if not WHOLE and len(cases) > most:
        some = [cases[i * len(cases) // most] for i in range(most)]
    tried["tried"] += len(some)
    tried["all"] += len(cases)
    return some
