"""BoT: Luo et al., Bag of Tricks and a Strong Baseline for Deep Person Re-identification, CVPR
Workshops 2019.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from partreid.distance import PartDistance
from partreid.layers.heads import IdHead
from partreid.layers.trunks import width_of
from partreid.losses import center_loss, hard_triplet, id_loss
from partreid.methods.base import Method, center_optimizer, make_optimizer
from partreid.types import NO_CUES, Batch, Embeddings, Output


class BoT(Method):
    """One global embedding: identity loss behind the BN-neck, triplet loss before it, optional
    center loss.

    center_lr: rate of the SGD that moves the identity centers. center_weight: what the embeddings
    feel of them (the weight in the recipe multiplies both; leave it at 1).
    """

    distance = PartDistance("cosine")
    TERMS = ("id_global", "triplet_global", "center")

    def __init__(
        self,
        trunk: nn.Module,
        identities: int,
        terms: Sequence[str],
        *,
        smoothing: float = 0.1,
        margin: float = 0.3,
        center_lr: float = 0.5,
        center_weight: float = 5e-4,
    ) -> None:
        self.check_arguments(locals())
        super().__init__()
        D = width_of(trunk)
        self.trunk, self.terms = trunk, tuple(terms)
        self.smoothing, self.margin = smoothing, margin
        self.center_lr, self.center_weight = center_lr, center_weight
        self.id = IdHead(1, D, identities)
        self.centers = nn.Parameter(torch.randn(identities, D)) if "center" in terms else None

    def forward(self, images: Tensor, cues: Mapping[str, Tensor] = NO_CUES) -> Output:
        f = self.trunk(images)  # [B, D, h, w]
        return Output(
            f, None, {"global": Embeddings.single("global", f.mean((2, 3)))}
        )  # f_t [B, D]

    def losses(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        e = out.groups["global"]
        every = {
            # L_ID, on the BN-necked f_i
            "id_global": lambda: id_loss(self.id(e), batch.ids, self.smoothing),
            "triplet_global": lambda: hard_triplet(e, batch.ids, self.margin),  # L_Triplet, on f_t
            "center": lambda: (
                center_loss(e.vectors[:, 0], self.centers, batch.ids, self.center_weight)  # L_C
                if self.centers is not None
                else e.vectors.sum() * 0.0
            ),
        }
        return {name: every[name]() for name in self.terms}

    def embed(self, out: Output) -> Embeddings:
        return self.id.neck(out.groups["global"])  # f_i, Sec. 3.5

    def optimizers(self, optimizer: str, lr: float, weight_decay: float) -> list[Optimizer]:
        rest = [p for name, p in self.named_parameters() if p.requires_grad and name != "centers"]
        optimizers = [make_optimizer(optimizer, rest, lr, weight_decay)]
        if self.centers is not None:
            optimizers.append(center_optimizer([self.centers], self.center_lr))
        return optimizers
