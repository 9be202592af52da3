"""What became of every tensor of a conversion, in numbers, names and sentences."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from partreid.recipes.base import Recipe
from partreid.utils.arguments import door

SHOWN = 4  # names in a sentence; to_dict() has all


@dataclass(frozen=True)
class Matched:
    """Their tensors against ours.

    tensors: ours that were filled, by our names. used: pairs (their name, our name). missing: ours
    that nothing fills although matching reads them. fresh: ours that nothing fills and matching
    does not read, or that stay as they are on purpose. dropped: theirs left out on purpose, with
    the reason. unexpected: theirs that no rule knows. misshaped: (their name, their shape, our
    name, our shape). share_of_ours: numbers filled over numbers that matching reads;
    share_of_theirs: numbers used over numbers not left out on purpose; both in [0, 1].
    """

    tensors: Mapping[str, Tensor]
    used: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    fresh: tuple[str, ...]
    dropped: Mapping[str, str]
    unexpected: tuple[str, ...]
    misshaped: tuple[tuple[str, tuple[int, ...], str, tuple[int, ...]], ...]
    share_of_ours: float
    share_of_theirs: float

    def calling(self, old: str, new: str) -> "Matched":
        """The same with ``new`` for ``old`` at the start of their names."""

        def back(name: str) -> str:
            return new + name.removeprefix(old) if name.startswith(old) else name

        return replace(
            self,
            used=tuple((back(theirs), ours) for theirs, ours in self.used),
            dropped={back(name): reason for name, reason in self.dropped.items()},
            unexpected=tuple(map(back, self.unexpected)),
            misshaped=tuple(
                (back(theirs), ours, was, is_) for theirs, ours, was, is_ in self.misshaped
            ),
        )

    def lines(self) -> list[str]:
        """The report, one sentence a line: what was used, then whatever was not."""
        lines = [
            f"{len(self.used)} tensors used: {share(self.share_of_ours)} of this model's numbers, "
            f"{share(self.share_of_theirs)} of the checkpoint's"
        ]
        reasons: dict[str, list[str]] = {}
        for name, reason in self.dropped.items():
            reasons.setdefault(reason, []).append(name)
        lines += [
            f"{len(names)} left out ({reason}): {some(names)}" for reason, names in reasons.items()
        ]
        groups = (
            ("without a counterpart here", self.unexpected),
            ("kept as initialised", self.fresh),
            ("missing", self.missing),
        )
        lines += [f"{len(names)} {what}: {some(names)}" for what, names in groups if names]
        wrong = [
            f"{theirs} {list(a)} for {ours} {list(b)}" for theirs, a, ours, b in self.misshaped
        ]
        return [*lines, f"{len(wrong)} of another shape: {some(wrong)}"] if wrong else lines

    def to_dict(self) -> dict[str, Any]:
        """Everything but the tensors, ready for JSON."""
        return {
            "used": [list(pair) for pair in self.used],
            "missing": list(self.missing),
            "fresh": list(self.fresh),
            "dropped": dict(self.dropped),
            "unexpected": list(self.unexpected),
            "misshaped": [[t, list(a), o, list(b)] for t, a, o, b in self.misshaped],
            "share_of_ours": self.share_of_ours,
            "share_of_theirs": self.share_of_theirs,
        }


@dataclass(frozen=True)
class Conversion:
    """A finished conversion.

    source: the checkpoint. layout: its name in LAYOUTS. recipe: of the model, None for a trunk
    alone. identities: of the classifier, 0 for a trunk. model: the file that was written. notes:
    what differs from the release.
    """

    source: Path
    layout: str
    recipe: Recipe | None
    identities: int
    matched: Matched
    model: Path
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """The report, one sentence a line."""
        what = (
            "a trunk"
            if self.recipe is None
            else f"{self.recipe.name}, {self.identities} identities"
        )
        return [
            f"{self.source.name} read as {self.layout}: {what}",
            *self.matched.lines(),
            *(f"note: {note}" for note in self.notes),
        ]

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {
            "source": self.source.name,
            "layout": self.layout,
            "identities": self.identities,
            "recipe": None if self.recipe is None else self.recipe.name,
            "notes": list(self.notes),
            **self.matched.to_dict(),
        }


@door
def share(part: float) -> str:
    """A share in percent that says 100 only if nothing is left out."""
    return "100 %" if part >= 1 else f"{min(100 * part, 99.99):.2f} %"


@door
def some(names: list[str] | tuple[str, ...]) -> str:
    """The first names and how many more."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
