"""Data: files to samples, samples to batches. The data sets are listed in
:mod:`partreid.data.registry`.

Nothing is imported here, so that the processes that draw synthetic people start without torch.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from partreid.data.registry import DataSet
    from partreid.data.transforms import Transform


def register(name: str, data_set: "DataSet") -> None:
    """Makes a data set known: ``--set train=NAME`` takes it, ``data list`` and ``data check`` know
    it.

    An installed package does the same without a call, by an entry point of the group
    ``partreid.datasets`` that names the record: ``corridor = "my_package:CORRIDOR"``.

    Args:
        name: As recipes write it; it must be free.
        data_set: How to read it, what it should hold, and what one may do with it.

    Raises:
        RecipeError: The name is taken, or ``data_set`` is no :class:`DataSet`.

    Examples:
        >>> from partreid.data.registry import BENCHMARKS, OWN, DataSet, load_synthetic
        >>> register("corridor", DataSet(load_synthetic, {}, OWN, "internal", None, "corridor/"))
        >>> BENCHMARKS["corridor"].licence
        'internal'
        >>> del BENCHMARKS["corridor"]  # and it is gone again
    """
    from partreid.data.registry import BENCHMARKS

    BENCHMARKS.register(name, data_set)


def register_transform(name: str, transform: "Callable[..., Transform]") -> None:
    """Makes a transform known: ``augment`` of a recipe takes it.

    An installed package does the same without a call, by an entry point of the group
    ``partreid.transforms`` that names the function: ``blur = "my_package:blur"``.

    Args:
        name: As recipes write it; it must be free.
        transform: The function ``(**arguments) -> Transform``; a recipe's arguments are checked
            against its signature.

    Raises:
        RecipeError: The name is taken.

    Examples:
        >>> from partreid.data.transforms import TRANSFORMS, mirror
        >>> register_transform("flip", mirror)
        >>> TRANSFORMS["flip"] is mirror
        True
        >>> del TRANSFORMS["flip"]  # and it is gone again
    """
    from partreid.data.transforms import TRANSFORMS

    TRANSFORMS.register(name, transform)


__all__ = ["register", "register_transform"]
