"""PCB: Sun et al., Beyond Part Models: Person Retrieval with Refined Part Pooling, ECCV 2018
(without refinement).
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from partreid.distance import PartDistance
from partreid.errors import ShapeError
from partreid.layers.heads import IdHead, Reduce
from partreid.layers.pooling import mean_pool
from partreid.layers.trunks import width_of
from partreid.losses import hard_triplet, id_loss
from partreid.methods.base import Method
from partreid.types import NO_CUES, Batch, Embeddings, Output
from partreid.utils.arguments import Count, door


class PCB(Method):
    """P horizontal stripes, each pooled, reduced to ``dim`` channels and classified on its own.

    stripes: P = 6 in the paper. The reducer is a 1x1 convolution per stripe there; here P linear
    layers with BN and ReLU on the pooled vectors, which is the same thing.
    """

    distance = PartDistance("cosine")
    TERMS = ("id_parts", "triplet_parts")

    def __init__(
        self,
        trunk: nn.Module,
        identities: int,
        terms: Sequence[str],
        *,
        stripes: int = 6,
        dim: int = 256,
        smoothing: float = 0.0,
        margin: float = 0.3,
    ) -> None:
        self.check_arguments(locals())
        super().__init__()
        self.trunk, self.terms = trunk, tuple(terms)
        self.stripes, self.smoothing, self.margin = stripes, smoothing, margin
        self.names = tuple(f"stripe{p + 1}" for p in range(stripes))
        self.reduce = nn.ModuleList(Reduce(width_of(trunk), dim) for _ in range(stripes))
        self.id = IdHead(stripes, dim, identities)

    def forward(self, images: Tensor, cues: Mapping[str, Tensor] = NO_CUES) -> Output:
        f = self.trunk(images)  # [B, C, h, w]
        g = mean_pool(
            f,
            stripe_maps(self.stripes, f.shape[2], f.shape[3])
            .to(f)[None]
            .expand(f.shape[0], -1, -1, -1),
        )
        h = torch.cat(
            [reduce(g[:, p : p + 1]) for p, reduce in enumerate(self.reduce)], 1
        )  # [B, P, dim]
        return Output(f, None, {"parts": Embeddings.visible(h, self.names)})

    def losses(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        e = out.groups["parts"]
        every = {
            "id_parts": lambda: (
                id_loss(self.id(e), batch.ids, self.smoothing) * self.stripes
            ),  # sum over P
            "triplet_parts": lambda: hard_triplet(e, batch.ids, self.margin),
        }
        return {name: every[name]() for name in self.terms}

    def embed(self, out: Output) -> Embeddings:
        return out.groups["parts"]


@door
def stripe_maps(stripes: Count, h: Count, w: Count) -> Tensor:
    """Weight maps float32 [P, h, w]: stripe p is ``h w / its area`` on its rows, so that the mean
    over the map is the mean over the stripe. Where P does not divide h, edges fall on whole rows,
    as even as they can be.
    """
    if stripes > h:
        raise ShapeError(
            f"{stripes} stripes need a feature map of at least that many rows, this one has {h}; "
            "use taller images or a trunk with a smaller stride"
        )
    maps = torch.zeros(stripes, h, w)
    for p in range(stripes):
        top, bottom = round(p * h / stripes), round((p + 1) * h / stripes)
        maps[p, top:bottom] = h / (bottom - top)
    return maps
