"""ISP: Zhu et al., Identity-Guided Human Semantic Parsing for Person Re-Identification, ECCV
2020.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from partreid.distance import PartDistance
from partreid.layers.heads import IdHead, PartHead, ReduceMap, necked
from partreid.layers.pooling import mean_pool
from partreid.layers.spatial import SpatialMask
from partreid.layers.trunks import width_of
from partreid.losses import center_loss, hard_triplet, id_loss, part_loss
from partreid.methods.base import Method, center_optimizer, make_optimizer
from partreid.types import NO_CUES, Batch, Embeddings, Output, PartScheme

GROUPS = ("global", "foreground", "joined")  # F_g, F_f and all F_k end to end


class ISP(Method):
    """K part maps, taught by labels that clustering finds in the same features, pool K + 2
    embeddings.

    Our K is the paper's K - 1: it never counts the background. The labels are the cue ``parts``,
    see
    :mod:`partreid.methods.isp.labels`.

    dim: C of the feature map, by a 1x1 convolution if the trunk gives another (None: as it comes).
    mask: the released code's spatial mask on it. part_norm: ours, a batch norm before the part
    head, as BPBreID's released code has it. global_from: F_g is the mean of the "features", or
    of the "trunk" before ``dim`` (released, CUHK03). visibility: "argmax" is Eq. 8, "none" sees
    everything. matching: what a gallery stores; "parts" is Eq. 10, "released" joins global and
    foreground into one embedding, "concat" everything. center_lr, center_weight: of the released
    code's center losses, which lack our loss's factor 1/2: twice its 0.5 and 5e-4.
    """

    needs = frozenset({"parts"})
    takes_scheme = True
    takes_masks = frozenset({"parts"})
    distance = PartDistance("cosine")  # Eq. 9, 10
    TERMS = (
        "id_global",
        "triplet_global",
        "center_global",
        "id_foreground",
        "triplet_foreground",
        "center_foreground",
        "id_joined",
        "triplet_joined",
        "center_joined",
        "triplet_all",
        "parsing",
    )

    def __init__(
        self,
        trunk: nn.Module,
        identities: int,
        scheme: PartScheme,
        terms: Sequence[str],
        *,
        dim: int | None = None,
        mask: bool = False,
        part_norm: bool = False,
        global_from: Literal["features", "trunk"] = "features",
        visibility: Literal["argmax", "none"] = "argmax",
        matching: Literal["parts", "released", "concat"] = "parts",
        smoothing: float = 0.1,
        margin: float = 0.3,
        center_lr: float = 1.0,
        center_weight: float = 1e-3,
    ) -> None:
        self.check_arguments(locals())
        super().__init__()
        wide, K = width_of(trunk), scheme.K
        D = dim or wide
        self.trunk, self.scheme, self.terms = trunk, scheme, tuple(terms)
        self.global_from, self.visibility, self.matching = global_from, visibility, matching
        self.smoothing, self.margin = smoothing, margin
        self.center_lr, self.center_weight = center_lr, center_weight
        self.reduce: nn.Module = nn.Identity() if dim is None else ReduceMap(wide, dim)
        self.mask: nn.Module = SpatialMask(D) if mask else nn.Identity()
        self.part_head = PartHead(D, scheme, norm=part_norm)  # Eq. 5
        widths = {"global": wide if global_from == "trunk" else D, "foreground": D, "joined": K * D}
        heads = {
            "global": IdHead(1, widths["global"], identities),
            "foreground": IdHead(1, D, identities),
            "joined": IdHead(K, D, identities, joint=True),
        }
        self.id = nn.ModuleDict(
            {name: head for name, head in heads.items() if f"id_{name}" in terms}
        )
        self.centers = nn.ParameterDict(
            {
                name: nn.Parameter(torch.randn(identities, widths[name]))
                for name in GROUPS
                if f"center_{name}" in terms
            }
        )

    def forward(self, images: Tensor, cues: Mapping[str, Tensor] = NO_CUES) -> Output:
        raw = self.trunk(images)
        f = self.mask(self.reduce(raw))  # M_g [B, C, h, w], Eq. 1
        parts = self.part_head(f)  # P_0..P_K [B, K+1, h, w], Eq. 5
        p = parts.probs[:, 1:].to(f.dtype)
        whole = p.sum(1, keepdim=True)  # M_f = sum of M_k over the parts
        visible = parts.visible_by_argmax()  # l_k, Eq. 8
        return Output(
            f,
            parts,
            {
                "global": Embeddings.single(
                    "global", (raw if self.global_from == "trunk" else f).mean((2, 3))
                ),  # F_g
                "foreground": Embeddings.visible(mean_pool(f, whole), ("foreground",)),  # F_f
                "parts": Embeddings(
                    mean_pool(f, p),
                    visible if self.visibility == "argmax" else torch.ones_like(visible),
                    parts.names,
                ),  # F_k = GAP(P_k o M_g), Eq. 2
            },
        )

    # weighed by the recipe
    def losses(self, out: Output, batch: Batch) -> dict[str, Tensor]:  # Eq. 7
        groups = {name: out.groups["parts" if name == "joined" else name] for name in GROUPS}
        terms = {}
        for term in self.terms:
            kind, _, name = term.partition("_")
            if term == "parsing":
                if out.parts is not None:
                    terms[term] = part_loss(
                        out.parts.logits, batch.cues["parts"]
                    )  # L_parsing, Eq. 6
            elif kind == "id":
                terms[term] = id_loss(
                    self.id[name](groups[name]), batch.ids, self.smoothing
                )  # in L_g, L_f, L_p
            elif name == "all":
                e = Embeddings.single(
                    "all", torch.cat([groups[n].vectors.flatten(1) for n in GROUPS], 1)
                )
                terms[term] = hard_triplet(e, batch.ids, self.margin)
            elif kind == "triplet":
                terms[term] = hard_triplet(
                    groups[name].joined(), batch.ids, self.margin
                )  # in L_g, L_f, L_p
            else:
                terms[term] = center_loss(
                    groups[name].vectors.flatten(1),
                    self.centers[name],
                    batch.ids,
                    self.center_weight,
                )
        return terms

    # Sec. 3.4: F_g, F_f and F_1..F_K, behind their BN-necks
    def embed(self, out: Output) -> Embeddings:
        g, f, parts = (
            self._neck(name, out.groups["parts" if name == "joined" else name]) for name in GROUPS
        )
        if self.matching == "parts":
            return Embeddings.cat(g, f, parts)
        if self.matching == "released":
            both = torch.cat([g.vectors, f.vectors], 2)[:, 0]
            return Embeddings.cat(Embeddings.single("global+foreground", both), parts)
        return Embeddings.single("all", torch.cat([e.vectors.flatten(1) for e in (parts, g, f)], 1))

    def optimizers(self, optimizer: str, lr: float, weight_decay: float) -> list[Optimizer]:
        rest = [
            p
            for name, p in self.named_parameters()
            if p.requires_grad and not name.startswith("centers.")
        ]
        optimizers = [make_optimizer(optimizer, rest, lr, weight_decay)]
        if self.centers:
            optimizers.append(center_optimizer(list(self.centers.parameters()), self.center_lr))
        return optimizers

    def _neck(self, name: str, e: Embeddings) -> Embeddings:
        if name not in self.id:
            return e
        return necked(self.id, name, e)
