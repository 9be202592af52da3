"""HCGA: Dou et al., Human Co-parsing Guided Alignment for Occluded Person Re-identification, TIP
2023.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from partreid.distance import PartDistance
from partreid.errors import RecipeError
from partreid.layers.heads import IdHead, PartHead, ReduceMap, necked
from partreid.layers.pooling import mean_pool
from partreid.layers.spatial import SpatialMask
from partreid.layers.trunks import width_of
from partreid.losses import center_loss, hard_triplet, id_loss, part_loss
from partreid.methods.base import Method, center_optimizer, make_optimizer
from partreid.types import NO_CUES, Batch, Embeddings, Output, PartScheme

GROUPS = ("global", "foreground", "joined")  # F_Image, F_Fore and all F_part end to end


class GuidedAlignment(nn.Module):
    """GAM: in training, part probabilities below 1/t become 0; at test time those from 1 - 1/t on
    become ``value`` and all others 0, or with None all stay as they are. [B, K, h, w] -> the same.
    """

    def __init__(self, t: int, value: float | None = 1.0) -> None:
        super().__init__()
        self.t, self.value = t, value

    def forward(self, p: Tensor) -> Tensor:
        if self.training:
            return p * (p >= 1 / self.t)  # Eq. 7
        if self.value is None:
            return p
        return self.value * (p >= 1 - 1 / self.t).to(p.dtype)  # Eq. 8


class HCGA(Method):
    """K part maps, taught by labels that a co-parsing net makes, pass the guided alignment module
    and pool.

    Our K is the paper's C - 1: it never counts the background. The labels are the cue ``parts``,
    see
    :mod:`partreid.methods.hcga.coparsing`.

    t: of the guided alignment module, None leaves it out; kept: what it makes of a sure pixel at
    test time (the released code 0.5), None drops it there (released, DukeMTMC). dim, mask: as in
    ISP, a 1x1 convolution to C channels and the released code's spatial mask. part_norm: ours, see
    :class:`~partreid.methods.isp.model.ISP`. visibility: "kept"
    asks for a part that wins a pixel and passes the module somewhere, "argmax" only the former
    (released), "none" sees everything. described: what a gallery stores, of global, foreground and
    parts. matching: "parts" is Eq. 10 with 1/2 before the parts, "even" weighs all alike, "concat"
    joins everything into one.
    """

    needs = frozenset({"parts"})
    takes_scheme = True
    takes_masks = frozenset({"parts"})
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
        "parsing",
    )

    def __init__(
        self,
        trunk: nn.Module,
        identities: int,
        scheme: PartScheme,
        terms: Sequence[str],
        *,
        t: int | None = 4,
        kept: float | None = 1.0,
        dim: int | None = None,
        mask: bool = False,
        part_norm: bool = False,
        global_from: Literal["features", "trunk"] = "features",
        visibility: Literal["kept", "argmax", "none"] = "kept",
        described: Sequence[str] = ("foreground", "parts"),
        matching: Literal["parts", "even", "concat"] = "parts",
        smoothing: float = 0.1,
        margin: float = 0.3,
        center_lr: float = 1.0,
        center_weight: float = 1e-3,
    ) -> None:
        self.check_arguments(locals())
        super().__init__()
        wide, K = width_of(trunk), scheme.K
        D = dim or wide
        for name in described:
            if name not in ("global", "foreground", "parts"):
                raise RecipeError(
                    f"hcga has no embedding '{name}'; choose of global, foreground, parts"
                )
        self.trunk, self.scheme, self.terms = trunk, scheme, tuple(terms)
        self.global_from, self.visibility = global_from, visibility
        self.described, self.matching = tuple(described), matching
        self.smoothing, self.margin = smoothing, margin
        self.center_lr, self.center_weight = center_lr, center_weight
        self.reduce: nn.Module = nn.Identity() if dim is None else ReduceMap(wide, dim)
        self.mask: nn.Module = SpatialMask(D) if mask else nn.Identity()
        self.part_head = PartHead(D, scheme, norm=part_norm)
        self.guide: nn.Module = nn.Identity() if t is None else GuidedAlignment(t, kept)
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
        weights = tuple(
            a for name in self.described for a in ((0.5,) * K if name == "parts" else (1.0,))
        )
        self.distance = PartDistance("cosine", weights if matching == "parts" else None)  # Eq. 10

    def forward(self, images: Tensor, cues: Mapping[str, Tensor] = NO_CUES) -> Output:
        raw = self.trunk(images)
        f = self.mask(self.reduce(raw))  # [B, D, h, w]
        parts = self.part_head(f)  # CM_0..CM_K [B, K+1, h, w]
        p = parts.probs[:, 1:].to(f.dtype)
        whole = p.sum(1, keepdim=True)  # CM_fore, Eq. 6; it does not pass the module
        guided = self.guide(p)  # CM_part, Eq. 7 in training, Eq. 8 at test time
        visible = parts.visible_by_argmax()
        if self.visibility == "kept":
            visible = visible * (guided.detach().amax((2, 3)) > 0)
        elif self.visibility == "none":
            visible = torch.ones_like(visible)
        return Output(
            f,
            parts,
            {
                "global": Embeddings.single(
                    "global", (raw if self.global_from == "trunk" else f).mean((2, 3))
                ),
                "foreground": Embeddings.visible(mean_pool(f, whole), ("foreground",)),  # F_Fore
                "parts": Embeddings(mean_pool(f, guided), visible, parts.names),  # F_part
            },
        )

    # weighed by the recipe
    def losses(self, out: Output, batch: Batch) -> dict[str, Tensor]:  # Eq. 9
        groups = {name: out.groups["parts" if name == "joined" else name] for name in GROUPS}
        terms = {}
        for term in self.terms:
            kind, _, name = term.partition("_")
            if term == "parsing":
                if out.parts is not None:
                    terms[term] = part_loss(out.parts.logits, batch.cues["parts"])  # L_Parsing
            elif kind == "id":
                terms[term] = id_loss(
                    self.id[name](groups[name]), batch.ids, self.smoothing
                )  # in all three
            elif kind == "triplet":
                terms[term] = hard_triplet(groups[name].joined(), batch.ids, self.margin)  # L_Image
            else:
                terms[term] = center_loss(
                    groups[name].vectors.flatten(1),
                    self.centers[name],
                    batch.ids,
                    self.center_weight,
                )
        return terms

    # Sec. III-D: F_Fore and F_part, behind their BN-necks
    def embed(self, out: Output) -> Embeddings:
        embeddings = [
            self._neck("joined" if name == "parts" else name, out.groups[name])
            for name in self.described
        ]
        if self.matching == "concat":
            return Embeddings.single(
                "all", torch.cat([e.vectors.flatten(1) for e in embeddings], 1)
            )
        return Embeddings.cat(*embeddings)

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
