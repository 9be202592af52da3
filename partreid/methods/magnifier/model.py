"""MagnifierNet: Lan, Liu et al., MagnifierNet: Towards Semantic Adversary and Fusion for Person
Re-identification, BMVC 2020.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from partreid.distance import PartDistance
from partreid.errors import RecipeError
from partreid.layers.heads import IdHead, necked
from partreid.layers.split import split
from partreid.losses import diversity_loss, hard_triplet, id_loss, mask_loss
from partreid.methods.base import Method
from partreid.methods.magnifier.regions import (
    MaskHead,
    RegionDropout,
    label_regions,
    predicted_regions,
    region_max,
    upper_and_lower,
)
from partreid.types import NO_CUES, Batch, Embeddings, Output, PartMaps, PartScheme
from partreid.utils.arguments import door

BRANCHES = ("global", "adversarial", "fusion")  # G, SAB, SFB


class GRUFusion(nn.Module):
    """SFB: the regions one after another through a one-layer GRU, whose last output stands for all
    (Sec. 3.3). [B, M, C] -> [B, ``hidden``].
    """

    @door
    def __init__(self, channels: int, hidden: int, order: Sequence[int]) -> None:
        super().__init__()
        self.order = list(order)
        self.gru = nn.GRU(channels, hidden, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        last: Tensor = self.gru(x[:, self.order])[1][0]
        return last


class ConcatFusion(nn.Module):
    """AB, what Fig. 4 compares SFB with: every region is reduced by a 1x1 convolution of its own to
    hidden/M numbers, laid end to end. [B, M, C] -> [B, ``hidden``]. No bias: the triplet loss and
    the BN-neck are blind to it.
    """

    @door
    def __init__(self, channels: int, hidden: int, order: Sequence[int]) -> None:
        super().__init__()
        if hidden % len(order):
            raise RecipeError(
                f"fusion='ablation' shares {hidden} numbers out among {len(order)} regions, "
                f"background included; set hidden to a multiple of {len(order)}"
            )
        self.order = list(order)
        self.reduce = nn.Conv1d(channels * len(order), hidden, 1, groups=len(order), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        laid: Tensor = self.reduce(x[:, self.order].flatten(1)[:, :, None])
        return laid[:, :, 0]


class Magnifier(Method):
    """Three branches on one person: the whole image, all body regions save some hidden at random,
    and the regions one after another through a GRU. Labels cut the regions out in training, a mask
    module does so at test time.

    Our K is the paper's K - 1: it never counts the background, though that is pooled as a region
    like the others. A branch exists if a loss term asks for it.

    tails: the trunk's last layer is copied once for all that looks at regions ("semantic"), for
    each branch ("separate"), is one for all ("shared_all"), or serves the global branch alone
    ("none"). mask_width: channels inside the mask module, None = 1/8 of the trunk's, at least 64.
    balanced: in its loss all regions count alike, else all pixels. keep: regions that the
    adversarial branch sees in training, K-hat; sampling: half of ``upper`` and half of the others
    ("random_torso"), or any ("random_baseline"). upper: None = all but legs and feet, by their
    names. background: "random_torso" drops or keeps it in training. scope: of one draw.
    infer_background: whether that branch sees the background at test time. train_source: "pseudo"
    cuts regions out by the cue where there is one, "predicted" never; infer: the predicted masks
    are "hard" or "soft". fusion: "gru", or the paper's "ablation" without it; hidden: its width,
    None = half the trunk's; order: of the regions, None = background, then as in the scheme.
    skip_absent: whether a region that an image does not show is left out of the region's own
    losses. diagonal: as Eq. 3 is printed. described: branches that a gallery stores, laid end to
    end, None = all.
    """

    needs = frozenset({"parts"})
    takes_scheme = True
    distance = PartDistance("cosine")
    TERMS = (
        "id_global",
        "triplet_global",
        "id_adversarial",
        "triplet_adversarial",
        "id_fusion",
        "triplet_fusion",
        "id_parts",
        "triplet_parts",
        "mask",
        "diversity",
    )

    def __init__(
        self,
        trunk: nn.Module,
        identities: int,
        scheme: PartScheme,
        terms: Sequence[str],
        *,
        tails: Literal["semantic", "shared_all", "separate", "none"] = "semantic",
        global_pool: Literal["mean", "max"] = "mean",
        mask_width: int | None = None,
        balanced: bool = True,
        keep: int = 4,
        sampling: Literal["random_torso", "random_baseline"] = "random_torso",
        upper: Sequence[str] | None = None,
        background: Literal["drop", "keep"] = "drop",
        scope: Literal["batch", "image"] = "batch",
        infer_background: bool = True,
        train_source: Literal["pseudo", "predicted"] = "pseudo",
        infer: Literal["hard", "soft"] = "hard",
        fusion: Literal["gru", "ablation"] = "gru",
        hidden: int | None = None,
        order: Sequence[str] | None = None,
        skip_absent: bool = True,
        diagonal: bool = False,
        described: Sequence[str] | None = None,
        smoothing: float = 0.1,
        margin: float = 0.3,
    ) -> None:
        self.check_arguments(locals())
        super().__init__()
        cut = split(trunk)
        self.scheme, self.terms = scheme, tuple(terms)
        self.names = ("background", *scheme.names)
        self.branches = tuple(b for b in BRANCHES if {f"id_{b}", f"triplet_{b}"} & set(terms))
        self.described = self.branches if described is None else tuple(described)
        self.pools = "fusion" in self.branches or bool(
            {"id_parts", "triplet_parts", "diversity"} & set(terms)
        )
        self._check(order, sampling, background)
        self.global_pool, self.balanced, self.infer_background = (
            global_pool,
            balanced,
            infer_background,
        )
        self.train_source, self.infer = train_source, infer
        self.skip_absent, self.diagonal = skip_absent, diagonal
        self.smoothing, self.margin = smoothing, margin

        semantic = {"semantic": "semantic", "shared_all": "global", "none": "trunk"}.get(tails)
        # whose features it sees
        self.home = {b: "global" if b == "global" else semantic or b for b in self.branches}
        if "mask" in terms:
            self.home["mask"] = semantic or self.branches[-1]
        self.trunk = cut.early
        self.tails = nn.ModuleDict(
            {name: cut.tail() for name in dict.fromkeys(self.home.values()) if name != "trunk"}
        )
        wide = cut.early.channels if tails == "none" else cut.channels
        hidden = hidden or cut.channels // 2
        width = {"global": cut.channels, "adversarial": wide, "fusion": hidden}
        self.part_head = (
            MaskHead(wide, scheme, mask_width or max(64, cut.channels // 8))
            if "mask" in terms
            else None
        )
        self.hide: nn.Module = nn.Identity()
        if "adversarial" in self.branches:
            groups = (
                upper_and_lower(scheme, upper)
                if sampling == "random_torso"
                else [range(len(self.names))]
            )
            self.hide = RegionDropout(groups, keep, (0,) if background == "keep" else (), scope)
        places = [self.names.index(name) for name in order or self.names]
        kind = GRUFusion if fusion == "gru" else ConcatFusion
        self.fusion = kind(wide, hidden, places) if "fusion" in self.branches else None
        self.id = nn.ModuleDict(
            {b: IdHead(1, width[b], identities) for b in self.branches if f"id_{b}" in terms}
        )
        if "id_parts" in terms:
            self.id["parts"] = IdHead(len(self.names), wide, identities)

    def forward(self, images: Tensor, cues: Mapping[str, Tensor] = NO_CUES) -> Output:
        f = {"trunk": self.trunk(images)}
        # F_cnn [B, C, h, w], >= 0
        f |= {name: tail(f["trunk"]) for name, tail in self.tails.items()}
        groups = {}
        if "global" in self.branches:
            whole = f["global"]
            groups["global"] = Embeddings.single(
                "global", whole.mean((2, 3)) if self.global_pool == "mean" else whole.amax((2, 3))
            )
        seen = f[self.home.get("mask", "global")]
        if self.part_head is None:
            return Output(seen, None, groups)
        parts = self.part_head(seen)
        masks = self._masks(parts, cues, seen)  # R_seg [B, K+1, h, w]
        if "adversarial" in self.branches:
            kept = self.hide(masks)
            if not self.training and not self.infer_background:
                kept = kept[:, 1:]
            adversarial = region_max(
                f[self.home["adversarial"]], kept.sum(1, keepdim=True)
            )  # Eq. 2
            groups["adversarial"] = Embeddings.visible(adversarial, ("adversarial",))
        if self.pools:
            vectors = region_max(seen, masks)  # p(x_k), GMP of Eq. 1
            groups["parts"] = Embeddings(
                vectors, (masks.amax((2, 3)) > 0).to(vectors.dtype), self.names
            )
            if self.fusion is not None:
                groups["fusion"] = Embeddings.single("fusion", self.fusion(vectors))
        return Output(seen, parts, groups)

    # weighed by the recipe
    def losses(self, out: Output, batch: Batch) -> dict[str, Tensor]:  # Eq. 4
        terms = {}
        for term in self.terms:
            kind, _, name = term.partition("_")
            if term == "mask":
                if out.parts is not None:
                    terms[term] = mask_loss(
                        out.parts.logits, batch.cues["parts"], self.balanced
                    )  # L_mask
            elif term == "diversity":
                terms[term] = diversity_loss(
                    out.groups["parts"].vectors, self.diagonal
                )  # L_SD, Eq. 3
            else:
                e = out.groups[name]
                e = e if self.skip_absent else e.all_visible()
                terms[term] = (
                    id_loss(self.id[name](e), batch.ids, self.smoothing, e.visibility)  # L_cls
                    if kind == "id"
                    else hard_triplet(e, batch.ids, self.margin, "each")
                )  # L_tri
        return terms

    # Sec. 4.1: "embeddings from all branches are concatenated"
    def embed(self, out: Output) -> Embeddings:
        embeddings = [
            necked(self.id, name, out.groups[name]) if name in self.id else out.groups[name]
            for name in self.described
        ]
        return (
            embeddings[0]
            if len(embeddings) == 1
            else Embeddings.single("joined", torch.cat([e.vectors[:, 0] for e in embeddings], 1))
        )

    def strip_for_inference(self) -> "Magnifier":
        """Without the branches that are not described, what only they need, and the regions' own
        classifiers.
        """
        self.branches, self.pools = self.described, "fusion" in self.described
        regions = set(self.branches) - {"global"}
        if not regions:
            self.part_head = None
            self.home.pop("mask", None)
        kept = {home for b, home in self.home.items() if b in (*self.branches, "mask")}
        for name in set(self.tails) - kept:
            del self.tails[name]
        for name in set(self.id) - set(self.branches):
            del self.id[name]
        if not self.pools:
            self.fusion = None
        return self

    def _masks(self, parts: PartMaps, cues: Mapping[str, Tensor], f: Tensor) -> Tensor:
        size = (f.shape[2], f.shape[3])
        if self.train_source == "pseudo" and "parts" in cues:
            return label_regions(cues["parts"], size, len(self.names)).to(f.dtype)
        return predicted_regions(parts, size, self.infer).to(f.dtype)

    def _check(self, order: Sequence[str] | None, sampling: str, background: str) -> None:
        if not self.branches:
            raise RecipeError(
                "magnifier needs a loss term on a branch, e.g. id_global; got "
                f"{', '.join(self.terms)}"
            )
        if (self.branches != ("global",) or self.pools) and "mask" not in self.terms:
            raise RecipeError(
                "magnifier's regions need the loss term 'mask': without it nothing finds them at "
                "test time; give it a weight, 2.0 in the paper"
            )
        for name in self.described:
            if name not in self.branches:
                raise RecipeError(
                    f"magnifier has no embedding '{name}', its loss terms train "
                    f"{', '.join(self.branches)}; choose of these"
                )
        if not self.described:
            raise RecipeError(
                f"magnifier must describe a branch; choose of {', '.join(self.branches)}"
            )
        if background == "keep" and sampling == "random_baseline":
            raise RecipeError(
                "sampling='random_baseline' draws the background like any region; "
                "background='keep' goes with sampling='random_torso'"
            )
        if order is not None and sorted(order) != sorted(self.names):
            raise RecipeError(
                f"order must name each region once, of {', '.join(self.names)}; got "
                f"{', '.join(order)}"
            )
