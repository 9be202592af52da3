"""Halves: the upper and the lower half of the body, the maximum of each."""

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from partreid.distance import PartDistance
from partreid.layers.heads import IdHead
from partreid.layers.pooling import max_pool, mean_pool
from partreid.losses import hard_triplet, id_loss
from partreid.methods.base import Method
from partreid.types import NO_CUES, Batch, Embeddings, Output


class Halves(Method):
    """Two vectors, of the upper and of the lower half of the feature map."""

    distance = PartDistance("cosine")
    TERMS = ("id_parts", "triplet_parts")  # what `losses` can compute

    def __init__(
        self,
        trunk: nn.Module,
        identities: int,
        terms: Sequence[str],
        *,
        pool: Literal["max", "mean"] = "max",
        margin: float = 0.3,
    ) -> None:
        self.check_arguments(locals())
        super().__init__()
        self.trunk, self.terms, self.margin = trunk, tuple(terms), margin
        self.pool = {"max": max_pool, "mean": mean_pool}[pool]
        self.id = IdHead(2, int(trunk.channels), identities)  # type: ignore[arg-type]

    def forward(self, images: Tensor, cues: Mapping[str, Tensor] = NO_CUES) -> Output:
        f = self.trunk(images)  # [B, C, h, w]
        w = f.new_zeros(len(f), 2, *f.shape[2:])  # two weight maps
        w[:, 0, : f.shape[2] // 2] = 1
        w[:, 1, f.shape[2] // 2 :] = 1
        return Output(f, None, {"parts": Embeddings.visible(self.pool(f, w), ("upper", "lower"))})

    def losses(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        e = out.groups["parts"]
        every = {
            "id_parts": lambda: id_loss(self.id(e), batch.ids),
            "triplet_parts": lambda: hard_triplet(e, batch.ids, self.margin),
        }
        return {name: every[name]() for name in self.terms}

    def embed(self, out: Output) -> Embeddings:
        return self.id.neck(out.groups["parts"])
