"""The few modules that methods are made of: trunks, heads and pooling."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def register(name: str, trunk: "Callable[..., nn.Module]") -> None:
    """Makes a trunk known: ``--set backbone=NAME`` takes it.

    An installed package does the same without a call, by an entry point of the group
    ``partreid.trunks`` that names the function: ``mine = "my_package:mine"``.

    Args:
        name: As recipes write it; it must be free.
        trunk: The function or class that gives a module with ``channels`` and ``stride``, images
            float32 [B, 3, H, W] -> features float [B, channels, H/stride, W/stride]; a recipe's
            arguments are checked against its signature.

    Raises:
        RecipeError: The name is taken.

    Examples:
        >>> from partreid.layers.trunks import BACKBONES, small
        >>> register("mine", small)
        >>> BACKBONES["mine"](width=4).channels == small(width=4).channels
        True
        >>> del BACKBONES["mine"]  # and it is gone again
    """
    from partreid.layers.trunks import BACKBONES

    BACKBONES.register(name, trunk)


__all__ = ["register"]
