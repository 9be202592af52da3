"""Cues: what a training image is known to show. ``CUES`` names the sources; each gives an
indexed, mirrored cue.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from partreid.errors import RecipeError
from partreid.recipes.labels import LABEL_SOURCES, LabelSource, as_source
from partreid.recipes.papers import label_sources
from partreid.utils.registry import resolve

if TYPE_CHECKING:
    from partreid.labels.base import Cue
    from partreid.labels.schemes import PartSet


class Cues(Mapping[str, "Callable[..., Cue]"]):
    """The function of every label source, imported when it is asked for."""

    def __getitem__(self, name: str) -> "Callable[..., Cue]":
        return cast("Callable[..., Cue]", resolve(label_sources()[name].make))

    def __iter__(self) -> Iterator[str]:
        return iter(label_sources())

    def __len__(self) -> int:
        return len(label_sources())


CUES = Cues()


def register(name: str, source: LabelSource | Callable[..., Any]) -> None:
    """Makes a source of labels known: ``--set cues.parts=NAME`` takes it.

    An installed package does the same without a call, by an entry point of the group
    ``partreid.labels`` that names the record or the function: ``belts = "my_package:belt_labels"``.

    Args:
        name: As recipes write it; it must be free.
        source: The function ``(root, samples, **arguments) -> Cue``, or a record of it where it
            makes no labels of parts, reports progress, or has a stand-in on the synthetic
            benchmark.

    Raises:
        RecipeError: The name is taken, or ``source`` is neither.

    Examples:
        >>> from partreid.labels.stripes import stripe_labels
        >>> register("bands", stripe_labels)
        >>> CUES["bands"] is stripe_labels
        True
        >>> del LABEL_SOURCES["bands"]  # and it is gone again
    """
    if name in label_sources():
        raise RecipeError(f"there is a cue '{name}' already; register yours under another name")
    LABEL_SOURCES.register(name, as_source(name, source))


def register_scheme(name: str, parts: "PartSet") -> None:
    """Makes a set of parts known to the sources that it has rows for: ``--set
    cues.parts.parts=NAME`` takes it.

    An installed package does the same without a call, by an entry point of the group
    ``partreid.schemes`` that names the set: ``halves = "my_package:HALVES"``.

    Args:
        name: As recipes write it; no source may have a set of this name.
        parts: Names of the parts, and for each source which of its labels make up each.

    Raises:
        RecipeError: The name is taken.

    Examples:
        >>> from partreid.labels.schemes import SCHEMES, SURFACES, PartSet
        >>> arms = {"head": (23, 24), "hands": (3, 4)}
        >>> register_scheme("ends", PartSet(("head", "hands"), {"surfaces": arms}))
        >>> SURFACES["ends"]["hands"]
        (3, 4)
        >>> del SCHEMES["ends"]  # and it is gone again
    """
    from partreid.labels.schemes import register_set

    register_set(name, parts)


__all__ = ["CUES", "LABEL_SOURCES", "LabelSource", "register", "register_scheme"]
