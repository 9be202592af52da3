"""BPBreID: Somers et al., Body Part-Based Representation Learning for Occluded Person Re-ID,
WACV 2023.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Literal

import torch
from torch import Tensor, nn

from partreid.distance import PartDistance
from partreid.errors import RecipeError, ShapeError
from partreid.layers.heads import IdHead, PartHead, Reduce, ReduceMap, necked
from partreid.layers.pooling import POOLS
from partreid.layers.trunks import width_of
from partreid.losses import Combine, gilt_terms, label_shares, part_loss
from partreid.methods.base import Method
from partreid.types import NO_CUES, Batch, Embeddings, Output, PartMaps, PartScheme, Vectors
from partreid.utils.arguments import door, number

Pool = Literal["weighted", "mean", "max"]
Attention = Literal["learned", "given"]
Visibility = Literal["threshold", "argmax", "soft", "none"]
HOLISTIC = ("global", "foreground", "joined")  # f_g, f_f, f_c


class BPBreID(Method):
    """K learned part maps pool a feature map into K + 3 embeddings; identity losses on the holistic
    ones, one triplet loss on the average over the parts (GiLt); matching by mutually visible parts.

    dim: D of every embedding; ``reduce`` from the trunk's C to D "after" pooling, "before" it,
    "both" or "none". pool, foreground_pool: Eq. 3 is "weighted"; the released code averages the
    foreground over all pixels ("mean"). attention: "learned" maps, or "given" ones from the cue
    ``parts``, else ``masks``. Both may be soft masks float [B, K+1, h, w], as released, or labels.
    visibility: "threshold" is Eq. 4 with ``visible_above`` = lambda_v, "argmax" the released rule,
    "soft" its continuous form, "none" sees everything. visibility_in_training also drops hidden
    parts from the losses. target: at test time the cue ``masks`` may confine the parts to the
    person meant, by a "soft" product or "hard", by leaving out the pixels it calls background
    (released code). described: what a gallery stores, of global, foreground, joined, parts and the
    parts' own names; holistic ones leave through their BN-neck if they have one. triplet: how part
    distances combine.
    """

    needs = frozenset({"parts"})
    takes_scheme = True
    takes_masks = frozenset({"parts", "masks"})
    # the released code normalises each embedding, the text is silent
    distance = PartDistance("unit_euclidean")  # Eq. 9
    TERMS = (
        "id_global",
        "id_foreground",
        "id_joined",
        "id_parts",
        "triplet_global",
        "triplet_foreground",
        "triplet_joined",
        "triplet_parts",
        "triplet_each_part",
        "parsing",
    )

    def __init__(
        self,
        trunk: nn.Module,
        identities: int,
        scheme: PartScheme,
        terms: Sequence[str],
        *,
        dim: int = 512,
        reduce: Literal["after", "before", "both", "none"] = "after",
        pool: Pool = "weighted",
        foreground_pool: Pool = "weighted",
        attention: Attention = "learned",
        visibility: Visibility = "threshold",
        visible_above: float = 0.4,
        visibility_in_training: bool = False,
        target: Literal["none", "soft", "hard"] = "none",
        described: Sequence[str] = ("foreground", "parts"),
        shared_id: bool = False,
        triplet: Combine = "mean",
        smoothing: float = 0.1,
        margin: float = 0.3,
    ) -> None:
        self.check_arguments(locals())
        number("BPBreID: visible_above", visible_above, 0, 1)
        number("BPBreID: smoothing", smoothing, 0, 1)
        super().__init__()
        C, K = width_of(trunk), scheme.K
        D = C if reduce == "none" else dim
        self.trunk, self.scheme, self.terms, self.K = trunk, scheme, tuple(terms), K
        self.pool, self.foreground_pool = POOLS[pool], POOLS[foreground_pool]
        self.attention, self.visibility, self.visible_above = attention, visibility, visible_above
        self.visibility_in_training, self.target, self.described = (
            visibility_in_training,
            target,
            tuple(described),
        )
        self.triplet, self.smoothing, self.margin = triplet, smoothing, margin
        self.needs_at_test = frozenset(
            (
                *(("parts",) if attention == "given" else ()),
                *(("masks",) if target != "none" else ()),
            )
        )

        wide = {"before": D, "both": 2 * D}.get(reduce, C)
        self.before: nn.Module = (
            ReduceMap(C, wide) if reduce in ("before", "both") else nn.Identity()
        )
        self.after = nn.ModuleDict(
            {
                group: Reduce(wide, D) if reduce in ("after", "both") else nn.Identity()
                for group in ("global", "foreground", "parts")
            }
        )
        taught = {term.partition("_")[2] for term in terms}
        for group in {"global", "foreground"} - taught:  # no loss would ever move it
            self.after[group].requires_grad_(False)
        self.part_head = (
            PartHead(wide, scheme, norm=True) if attention == "learned" else None
        )  # Eq. 1
        heads = {
            "id_global": IdHead(1, D, identities),
            "id_foreground": IdHead(1, D, identities),
            "id_joined": IdHead(K, D, identities, joint=True),
            "id_parts": IdHead(K, D, identities, shared=shared_id),
        }
        self.id = nn.ModuleDict({name: head for name, head in heads.items() if name in terms})
        for name in self.described:
            if name not in (*HOLISTIC, "parts", *scheme.names):
                raise RecipeError(
                    f"bpbreid has no embedding '{name}'; choose of {', '.join(HOLISTIC)}, parts, "
                    f"{', '.join(scheme.names)}"
                )

    def forward(self, images: Tensor, cues: Mapping[str, Tensor] = NO_CUES) -> Output:
        f = self.before(self.trunk(images))  # G [B, C, h, w]
        parts = (
            self._given(cues, f)
            if self.part_head is None or self.attention == "given"
            else self.part_head(f)
        )
        if self.target != "none" and not self.training:
            parts, p = self._aim(parts, cues)
        else:
            p = parts.probs[:, 1:]  # M_1..M_K [B, K, h, w]
        p = p.to(f.dtype)
        whole = p.amax(1, keepdim=True)  # M_f = max(M_1, ..., M_K)
        return Output(
            f,
            parts,
            {
                "global": Embeddings.visible(
                    self.after["global"](f.mean((2, 3))[:, None]), ("global",)
                ),  # f_g
                "foreground": Embeddings.visible(
                    self.after["foreground"](self.foreground_pool(f, whole)), ("foreground",)
                ),
                "parts": Embeddings(
                    self.after["parts"](self.pool(f, p)), self._visible(parts), parts.names
                ),  # Eq. 3
            },
        )

    # GiLt: Eq. 5 and 6, weighed by the recipe
    def losses(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        groups: dict[str, Vectors] = {name: e.vectors for name, e in out.groups.items()}
        if self.visibility_in_training:
            groups["parts"] = out.groups["parts"]
        heads = {name.partition("_")[2]: head for name, head in self.id.items()}
        logits = {  # f_c: the head lays the parts end to end
            name: head(groups["parts" if name == "joined" else name])
            for name, head in heads.items()
        }
        groups["joined"] = out.groups["parts"].joined()
        terms = gilt_terms(
            logits,
            groups,
            batch.ids,
            [term for term in self.terms if term != "parsing"],
            smoothing=self.smoothing,
            margin=self.margin,
            combine=self.triplet,
        )
        if "parsing" in self.terms and self.part_head is not None and out.parts is not None:
            terms["parsing"] = part_loss(
                out.parts.logits, batch.cues["parts"], self.smoothing
            )  # L_pa, Eq. 2
        return {term: terms[term] for term in self.terms if term in terms}

    def embed(self, out: Output) -> Embeddings:  # Sec. 3.4: f_f and f_1..f_K
        embeddings = []
        for name in self.described:
            group = "parts" if name in ("joined", *self.scheme.names) else name
            e = out.groups[group]
            if name in HOLISTIC:
                e = necked(self.id, f"id_{name}", e) if f"id_{name}" in self.id else e
                e = e.joined() if name == "joined" else e
            embeddings.append(e.select(name) if name in self.scheme.names else e)
        return Embeddings.cat(*embeddings)

    @door
    def with_visibility(
        self,
        attention: Attention | None = None,
        visibility: Visibility | None = None,
        visible_above: float | None = None,
    ) -> "BPBreID":
        """The same weights under another attention source or visibility rule, e.g. to measure an
        exact oracle.
        """
        number("BPBreID: visible_above", visible_above or 0.0, 0, 1)
        other = copy(self)
        for name, value in (
            ("attention", attention),
            ("visibility", visibility),
            ("visible_above", visible_above),
        ):
            if value is not None:
                setattr(other, name, value)
        return other

    def _visible(self, parts: PartMaps) -> Tensor:
        if self.visibility == "threshold":
            return parts.visible_above(self.visible_above)  # Eq. 4
        if self.visibility == "argmax":
            return parts.visible_by_argmax()
        return (
            parts.visible_softly()
            if self.visibility == "soft"
            else torch.ones_like(parts.visible_softly())
        )

    def _aim(self, parts: PartMaps, cues: Mapping[str, Tensor]) -> tuple[PartMaps, Tensor]:
        """Part maps that decide visibility, and the weights [B, K, h, w] that pool, confined to
        the cue's person.
        """
        if "masks" not in cues:
            raise ShapeError(
                "target segmentation needs the cue 'masks' with every image; use target='none' "
                "without it"
            )
        masks = self._shares(cues["masks"], parts.probs)
        known = masks.sum(1, keepdim=True) > 0  # elsewhere nothing is left out
        p = parts.probs[:, 1:]
        if self.target == "soft":
            return parts, p * torch.where(known, masks[:, 1:], 1.0)
        empty = known & (masks[:, 1:].amax(1, keepdim=True) <= masks[:, :1])
        p = p.masked_fill(empty, 1e-12)
        return PartMaps.from_probs(torch.cat([parts.probs[:, :1], p], 1), self.scheme), p

    def _given(self, cues: Mapping[str, Tensor], f: Tensor) -> PartMaps:
        """Part maps that are not learned."""
        name = next((name for name in ("parts", "masks") if name in cues), None)
        if name is None:
            raise ShapeError(
                "this model pools with given part maps: it needs the cue 'parts' or 'masks' with "
                "every image, also at test time"
            )
        return PartMaps.from_probs(self._shares(cues[name], f), self.scheme)

    def _shares(self, cue: Tensor, like: Tensor) -> Tensor:
        """Soft masks as they come, labels as the share of each cell that they cover: [B, K+1, h,
        w] like a map.
        """
        size = (like.shape[2], like.shape[3])
        masks = (
            nn.functional.interpolate(
                cue.to(like.dtype), size=size, mode="bilinear", align_corners=True
            )
            if cue.ndim == 4
            else label_shares(cue, size, self.K + 1).to(like.dtype)
        )
        if masks.shape[1] != self.K + 1:
            raise ShapeError(
                f"masks of {masks.shape[1] - 1} parts were given, the model has {self.K}"
            )
        return masks
