"""Why two images are as near as they are: one distance, taken apart into what each body part
adds to it. Without torch: an exported model explains itself in the same words.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import ShapeError
from partreid.utils.arguments import check_fields, door

Array = NDArray[np.float64]

_SPOKEN = {"global": "whole image", "foreground": "whole figure", "joined": "all parts joined"}
_PLURAL = ("feet",)  # take a plural verb without ending in s


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one query and one match have in common, part by part.

    names: the M embeddings that were compared. distance: float >= 0, +inf if the two share no part.
    parts: float64 [M], the distance of each part, NaN where it is not visible in both. share:
    float64 [M], what each part adds to ``distance``; 0 where it is not visible in both. The shares
    sum to the distance; where nothing is shared each is +inf, as the distance is. query_visibility,
    match_visibility: float64 [M] in [0, 1]. shrink, missing: of the ``PartDistance``; with
    ``shrink`` above 0 every distance and share is finite, and each part adds missing / (M (S +
    shrink)) for evidence that is not there, seen or not: see ``counted``.
    """

    names: tuple[str, ...]
    distance: float
    parts: Array
    share: Array
    query_visibility: Array
    match_visibility: Array
    shrink: float = 0.0
    missing: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("parts", "share", "query_visibility", "match_visibility"):
            value = np.asarray(getattr(self, name), np.float64)
            if value.shape != (len(self.names),):
                raise ShapeError(
                    f"evidence on {len(self.names)} parts needs {name} [{len(self.names)}], got "
                    f"{list(value.shape)}"
                )
            object.__setattr__(self, name, value)

    @property
    def shared(self) -> NDArray[np.bool_]:
        """Bool [M]: the parts that are visible in both images and so count."""
        return self.query_visibility * self.match_visibility > 0

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Bool [M]: the parts whose shares sum to the distance; the shared ones, or all if
        distances are shrunk.
        """
        return np.ones(len(self.names), np.bool_) if self.shrink else self.shared

    @property
    def percent(self) -> Array:
        """Float64 [M]: each share as a fraction of the distance, 0 where that means nothing."""
        if not math.isfinite(self.distance) or self.distance == 0:
            return np.zeros(len(self.names))
        return self.share / self.distance

    def deciding(self, other: "Evidence | None") -> tuple[str, ...]:
        """One or two parts that most make this candidate nearer than ``other``, evidence of the
        same query.

        Only parts that can be compared with both count; () if this one is not nearer or no part
        says so. The whole figure is named only if no single part is: it explains less.
        """
        if (
            other is None
            or other.names != self.names
            or len(self.names) == 1
            or not self.distance < other.distance
        ):
            return ()
        both = self.shared & other.shared
        gain = np.where(both, other._cost() - self._cost(), -np.inf)
        helpful = [int(m) for m in np.argsort(-gain, kind="stable") if gain[m] > 1e-9]
        single = [m for m in helpful if self.names[m] not in _SPOKEN] or helpful
        return tuple(self.names[m] for m in single[:2] if gain[m] > 0.5 * gain[single[0]])

    def _cost(self) -> Array:
        """What each shared part claims before the mean is taken, weights included; 0 for the
        others.
        """
        both = self.query_visibility * self.match_visibility
        claim = np.where(self.shared, self.share, 0) * (
            both.sum() + self.shrink
        ) - self.missing / len(self.names)
        return np.where(self.shared, claim, 0) / np.where(self.shared, both, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which has neither NaN nor infinity: those become None."""
        return {
            "distance": _plain(self.distance),
            "parts": [
                {
                    "name": name,
                    "distance": _plain(self.parts[m]),
                    "share": _plain(self.share[m]),
                    "query_visibility": float(self.query_visibility[m]),
                    "match_visibility": float(self.match_visibility[m]),
                }
                for m, name in enumerate(self.names)
            ],
        }

    def sentence(
        self,
        other: "Evidence | None" = None,
        other_is: str = "the next candidate",
        hidden_in: tuple[str, str] = ("the query", "the match"),
    ) -> str:
        """The evidence in plain words.

        With ``other``, evidence of the same query and another candidate (called ``other_is``), it
        says which part tells the two candidates apart. ``hidden_in`` are the words for the two
        images.
        """
        if not self.shared.any():
            say = f"; {self.distance:.2f} is what missing evidence counts as" if self.shrink else ""
            return f"The two images show no part in common, so they cannot be compared{say}."
        sentences = [self._against(other, other_is) or self._range(), self._hidden(hidden_in)]
        return " ".join(s for s in sentences if s)

    def _range(self) -> str:
        order = [
            int(m) for m in np.argsort(np.where(self.shared, self.parts, np.inf), kind="stable")
        ]
        order = order[: int(self.shared.sum())]
        if len(self.names) == 1:
            return (
                f"One vector stands for the {spoken(self.names[0])}: distance {self.distance:.2f}, "
                "with no parts to point at."
            )
        near, far = order[0], order[-1]
        if near == far:
            return (
                f"Only the {spoken(self.names[near])} can be compared (distance "
                f"{self.parts[near]:.2f})."
            )
        return (
            f"{_capital(self._named(near))} {_verb(self.names[near], 'match', 'matches')} best "
            f"({self.parts[near]:.2f}), {self._named(far)} least ({self.parts[far]:.2f})."
        )

    def _against(self, other: "Evidence | None", other_is: str) -> str:
        names = self.deciding(other)
        if other is None or not names:
            return ""
        indices = [self.names.index(name) for name in names]
        verb = _verb(names[0], "decide", "decides") if len(indices) == 1 else "decide"
        here, there = ([f"{e.parts[m]:.2f}" for m in indices] for e in (self, other))
        return (
            f"{_capital(listed([self._named(m) for m in indices]))} {verb}: distance "
            f"{listed(here)} here, but {listed(there)} to {other_is}."
        )

    def _hidden(self, hidden_in: tuple[str, str]) -> str:
        query, match = hidden_in
        groups: dict[str, list[str]] = {}
        for m, name in enumerate(self.names):
            gone = [
                where
                for where, v in (
                    (query, self.query_visibility[m]),
                    (match, self.match_visibility[m]),
                )
                if v == 0
            ]
            if gone:
                groups.setdefault(" and in ".join(gone), []).append(name)
        sentences = []
        for where, names in groups.items():
            many = len(names) > 1 or is_plural(names[0])
            sentences.append(
                f"{_capital(listed([spoken(n) for n in names]))} {'are' if many else 'is'} hidden "
                f"in {where} and {'are' if many else 'is'} not compared."
            )
        return " ".join(sentences)

    def _named(self, m: int) -> str:
        return f"the {spoken(self.names[m])}" if self.names[m] in _SPOKEN else spoken(self.names[m])


@door
def addends(values: Sequence[float] | Array, digits: int = 3) -> tuple[list[str], str]:
    """Finite numbers as printed decimals that add up to the printed total: (addends, total).

    Each addend is off by less than one unit in its last place; the total is rounded as usual.
    Rounding each number alone would leave sums that a reader finds wrong with a pencil.
    """
    scale = 10**digits
    exact = [float(v) * scale for v in values]
    total = round(math.fsum(exact))
    units = [math.floor(v) for v in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: units[i] - exact[i])
    for i in by_remainder[: total - sum(units)]:
        units[i] += 1
    return [f"{u / scale:.{digits}f}" for u in units], f"{total / scale:.{digits}f}"


@door
def spoken(name: str) -> str:
    """The name of an embedding as a person would say it: ``left_arm`` -> ``left arm``,
    ``stripe3`` -> ``stripe 3``.
    """
    if name in _SPOKEN:
        return _SPOKEN[name]
    words = name.replace("_", " ").rstrip("0123456789")
    return " ".join(f"{words} {name[len(words) :]}".split())


@door
def is_plural(name: str) -> bool:
    return name.endswith("s") or name.endswith(_PLURAL)


@door
def listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _verb(name: str, plural: str, singular: str) -> str:
    return plural if is_plural(name) else singular


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
