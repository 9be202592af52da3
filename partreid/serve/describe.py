"""Pictures to what a search needs of them and what a page shows of them, in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from partreid.data.transforms import to_batch
from partreid.evaluation.decision import Bound
from partreid.evaluation.extract import require_finite
from partreid.explain.overlays import Shown
from partreid.inference import Model, SavedEmbeddings
from partreid.layers.memory import FORMAT
from partreid.serve.pictures import Picture
from partreid.types import Embeddings


@dataclass(frozen=True, eq=False)
class Described:
    """One picture.

    Args:
        embeddings: float32 [1, M, D].
        looks: float32 [1, F], see :func:`partreid.utils.looks.looks`.
        shown: It with its part maps.
    """

    embeddings: Embeddings
    looks: Tensor
    shown: Shown


class Steady(Model):
    """A model whose weights no longer change, so that its hashes are computed once: a gallery asks
    for them at every answer.

    Args:
        model: The model.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(
            model.recipe, model.method, model.scheme, model.device, model.decides_by, model.run
        )
        self._bound = super().bound

    @property
    def bound(self) -> Bound:
        """Hashes of weights and distance, as they were at the start."""
        return self._bound


class Describer:
    """A model as the service asks it: pictures in, all that is known of them out.

    Args:
        model: The model.
    """

    def __init__(self, model: Model) -> None:
        self.model, self._bound = model, model.bound

    def __call__(self, pictures: Sequence[Picture]) -> list[Described]:
        """Pictures, described together.

        Raises:
            DataError: The model gives anything but numbers for one.
        """
        images = to_batch([picture.pixels for picture in pictures])
        with torch.inference_mode():
            out = self.model.method(images.to(self.model.device, memory_format=FORMAT), {})
            e = self.model.method.embed(out)
        require_finite(e, [f"crop {i}" for i in range(1, len(pictures) + 1)])
        vectors, seen = e.vectors.float().cpu().clone(), e.visibility.float().cpu().clone()
        return [
            Described(
                Embeddings(vectors[i : i + 1], seen[i : i + 1], e.names),
                torch.from_numpy(picture.looks).float()[None],
                Shown.of(picture.small, out.parts, out.groups.get("parts"), i),
            )
            for i, picture in enumerate(pictures)
        ]

    def saved(self, described: Sequence[Described]) -> SavedEmbeddings:
        """Descriptions as a gallery takes them."""
        return SavedEmbeddings(
            Embeddings.stack([d.embeddings for d in described]),
            (None,) * len(described),
            self.model.recipe.name,
            self._bound.recipe,
            self._bound.weights,
            self.model.method.distance,
            torch.cat([d.looks for d in described]),
        )
