"""What every method is: three verbs, two facts and the optimizers it wants."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from partreid.distance import PartDistance
from partreid.errors import RecipeError
from partreid.types import NO_CUES, Batch, Embeddings, Output
from partreid.utils.arguments import check, door, fits, hints, integer, number, require


class Method(nn.Module):
    """A re-ID method. Subclasses are one paper each and never inherit from one another.

    needs: cues that must come with the images in training; needs_at_test: the ones that must come
    later too; takes_masks: the ones that may be soft part masks, float [B, K+1, h, w], where labels
    are uint8 [B, H, W]. takes_scheme: whether the constructor takes ``scheme``, the part scheme of
    the cue "parts". TERMS: the loss terms it can compute; a recipe weighs some of them, and
    only the heads that those need are built. distance: how its descriptions are compared.
    """

    needs: frozenset[str] = frozenset()
    needs_at_test: frozenset[str] = frozenset()
    takes_masks: frozenset[str] = frozenset()
    takes_scheme: bool = False
    TERMS: tuple[str, ...] = ()
    distance: PartDistance

    @classmethod
    def check_arguments(cls, given: Mapping[str, Any]) -> None:
        """First thing in a constructor: ArgumentError, RecipeError unless it was ``given`` what
        it takes, by name.
        """
        check(cls, given)
        integer("the number of identities", given["identities"], 1)
        require(
            hasattr(given["trunk"], "channels"),
            "a trunk",
            "a module with .channels and .stride, of BACKBONES or made with as_trunk",
            given["trunk"],
        )
        for name, kind in hints(cls).items():
            # sizes are at least 1, shares, rates and margins at least 0
            if fits(given.get(name), float):
                number(f"{cls.__name__}: {name}", given[name], 0 if fits(0.5, kind) else 1)
        for term in given["terms"]:
            if term not in cls.TERMS:
                raise RecipeError(
                    f"{cls.__name__} has no loss term '{term}'; it has {', '.join(cls.TERMS)}"
                )

    @classmethod
    def needed(cls, terms: Sequence[str]) -> frozenset[str]:
        """The cues that training with these loss terms needs: ``needs``, unless some terms do
        without.
        """
        return cls.needs

    def forward(self, images: Tensor, cues: Mapping[str, Tensor] = NO_CUES) -> Output:
        """images float32 [B, 3, H, W] -> Output. Cues change what is computed only where a
        method says so.
        """
        raise NotImplementedError

    def losses(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        """Unweighted scalar losses, named exactly as the recipe's stage weights."""
        raise NotImplementedError

    def embed(self, out: Output) -> Embeddings:
        """What a gallery stores of each image."""
        raise NotImplementedError

    def strip_for_inference(self) -> "Method":
        """The method itself, less whatever only training uses, which is dropped: what a finished
        run keeps.
        """
        return self

    def optimizers(self, optimizer: str, lr: float, weight_decay: float) -> list[Optimizer]:
        """One optimizer over all parameters; a method with parameters that learn otherwise
        overrides this.

        Groups marked ``fixed`` keep their rate, whatever the schedule.
        """
        return [
            make_optimizer(
                optimizer, [p for p in self.parameters() if p.requires_grad], lr, weight_decay
            )
        ]


@door
def make_optimizer(
    name: str, parameters: list[nn.Parameter], lr: float, weight_decay: float
) -> Optimizer:
    """Adam, AdamW or SGD with momentum 0.9."""
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=weight_decay)
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return kind(parameters, lr=lr, weight_decay=weight_decay)


@door
def center_optimizer(centers: list[nn.Parameter], lr: float) -> Optimizer:
    """Plain SGD for the identity centers of a center loss; its rate is ``fixed``: the schedule
    leaves it alone.
    """
    return torch.optim.SGD([{"params": centers, "fixed": True}], lr=lr)
