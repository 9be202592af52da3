"""BoT: Luo et al., Bag of Tricks and a Strong Baseline for Deep Person Re-identification, CVPR
Workshops 2019.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from partreid.distance import PartDistance
from partreid.layers.heads import IdHead
from partreid.losses import centre_loss, hard_triplet, id_loss
from partreid.methods.base import Method, centre_optimiser, make_optimiser
from partreid.types import NONE, Batch, Embeddings, Output


class BoT(Method):
    """One global embedding: identity loss behind the BN-neck, triplet loss before it, optional
    centre loss.

    centre_lr: rate of the SGD that moves the identity centres. centre_weight: what the embeddings
    feel of them (the weight in the recipe multiplies both; leave it at 1).
    """

    distance = PartDistance("cosine")
    TERMS = ("id_global", "triplet_global", "centre")

    def __init__(
        self,
        trunk: nn.Module,
        identities: int,
        terms: Sequence[str],
        *,
        smoothing: float = 0.1,
        margin: float = 0.3,
        centre_lr: float = 0.5,
        centre_weight: float = 5e-4,
    ) -> None:
        self.check_arguments(locals())
        super().__init__()
        D = int(trunk.channels)  # type: ignore[arg-type]
        self.trunk, self.terms = trunk, tuple(terms)
        self.smoothing, self.margin = smoothing, margin
        self.centre_lr, self.centre_weight = centre_lr, centre_weight
        self.id = IdHead(1, D, identities)
        self.centres = nn.Parameter(torch.randn(identities, D)) if "centre" in terms else None

    def forward(self, images: Tensor, cues: Mapping[str, Tensor] = NONE) -> Output:
        f = self.trunk(images)  # [B, D, h, w]
        return Output(f, None, {"global": Embeddings.one("global", f.mean((2, 3)))})  # f_t [B, D]

    def losses(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        e = out.groups["global"]
        every = {
            # L_ID, on the BN-necked f_i
            "id_global": lambda: id_loss(self.id(e), batch.ids, self.smoothing),
            "triplet_global": lambda: hard_triplet(e, batch.ids, self.margin),  # L_Triplet, on f_t
            "centre": lambda: (
                centre_loss(e.vectors[:, 0], self.centres, batch.ids, self.centre_weight)  # L_C
                if self.centres is not None
                else e.vectors.sum() * 0.0
            ),
        }
        return {name: every[name]() for name in self.terms}

    def describe(self, out: Output) -> Embeddings:
        return self.id.neck(out.groups["global"])  # f_i, Sec. 3.5

    def optimisers(self, optimiser: str, lr: float, weight_decay: float) -> list[Optimizer]:
        rest = [p for name, p in self.named_parameters() if p.requires_grad and name != "centres"]
        found = [make_optimiser(optimiser, rest, lr, weight_decay)]
        if self.centres is not None:
            found.append(centre_optimiser([self.centres], self.centre_lr))
        return found
