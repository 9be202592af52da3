"""DSA-reID: Zhang et al., Densely Semantically Aligned Person Re-Identification, CVPR 2019."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from partreid.distance import PartDistance
from partreid.errors import RecipeError, ShapeError
from partreid.layers.heads import IdHead, Reduce, necked
from partreid.layers.split import split
from partreid.layers.warp import REGIONS, as_tiles, covered
from partreid.losses import hard_triplet, id_loss
from partreid.methods.base import Method
from partreid.methods.dsa.guide import Guide
from partreid.types import NO_CUES, Batch, Embeddings, Output
from partreid.utils.arguments import Count, door

BRANCHES = ("global", "parts")  # f_G; f_L,1..f_L,8


class DSA(Method):
    """A trunk with a global and eight part branches, taught beside a guide that sees the person's
    surface unwrapped.

    The guide sees the cue ``uv_tiles`` (see :func:`partreid.layers.warp.as_tiles`); its vectors are
    added to the trunk's own, and losses on the sums make the trunk's vectors aligned too. At test
    time the guide is gone. What is built follows from the terms: a branch that no term names is
    left out, the guide if none is fused.

    fusion: "add" them, or a linear layer on both end to end ("concat", Table 5). local_input: a
    part branch starts from the "full" feature map, or from its eighth of the channels ("slice").
    head_init: the global branch starts at "random" or, as the trunk does, from "imagenet". part_id:
    identity losses of the eight parts count as their "sum" or "mean". missing: where nothing is
    known of the surface the guide sees blank tiles ("mean": the mean color), or is not asked, and
    the fused vectors are the trunk's own ("skip"). guide_share: what counts of a loss on fused
    vectors; the rest is the same loss, with the same classifier, on the trunk's own, so that these
    have to tell people apart without the guide. 1 is the paper's; at 0 there is no guide, though
    the cue is asked for all the same. part_share: a part branch has 1/``part_share`` of the trunk's
    channels on each layer. neck: a BN-neck and one layer classify, as in BoT, instead of two
    layers; the vectors behind it are described. described: what a gallery stores, of global, parts,
    fused_global, fused_parts; the first two by default, as far as built. tile: S of tiles that are
    made here, from a cue of maps. hidden: width between the two layers of a classifier, at most the
    trunk's.
    """

    needs = frozenset({"uv_tiles"})
    # the paper does not say; it says neither that features are normalised
    distance = PartDistance("unit_euclidean")
    TERMS = (
        "id_global",
        "id_parts",
        "id_fused_global",
        "id_fused_parts",
        "triplet_global",
        "triplet_parts",
        "triplet_fused_global",
        "triplet_fused_parts",
    )

    def __init__(
        self,
        trunk: nn.Module,
        identities: int,
        terms: Sequence[str],
        *,
        fusion: Literal["add", "concat"] = "add",
        local_input: Literal["full", "slice"] = "full",
        head_init: Literal["random", "imagenet"] = "random",
        part_id: Literal["sum", "mean"] = "sum",
        missing: Literal["mean", "skip"] = "mean",
        guide_share: float = 1.0,
        part_share: int = 8,
        neck: bool = False,
        described: Sequence[str] | None = None,
        tile: int = 32,
        hidden: int = 512,
        smoothing: float = 0.1,
        margin: float = 0.3,
    ) -> None:
        self.check_arguments(locals())
        super().__init__()
        if guide_share > 1:
            raise RecipeError(f"guide_share={guide_share:g} is no share; it lies from 0 to 1")
        halves, N = split(trunk), len(REGIONS)
        C, D = halves.early.channels, halves.channels
        P = D // part_share  # of one part's vector
        built = [name for name in BRANCHES if any(term.endswith(name) for term in terms)]
        fused = [f"fused_{name}" for name in built if any("fused" in term for term in terms)]
        is_guided = bool(fused) and guide_share > 0
        known = (*built, *fused) if is_guided else tuple(built)
        self.described = tuple(built if described is None else described)
        for name in self.described:
            if name not in known:
                raise RecipeError(
                    f"dsa has no embedding '{name}': its loss terms build {', '.join(known)}"
                )
        self.needs = self.needed(terms) if is_guided else frozenset()
        self.needs_at_test = frozenset(
            {"uv_tiles"} if any("fused" in name for name in self.described) else {}
        )
        self.terms, self.local_input, self.part_id, self.missing = (
            tuple(terms),
            local_input,
            part_id,
            missing,
        )
        self.guide_share, self.neck = guide_share, neck
        self.tile, self.smoothing, self.margin = tile, smoothing, margin
        if local_input == "slice" and C % N:
            raise RecipeError(
                f"local_input='slice' cuts a feature map of {C} channels into {N}; choose a trunk "
                "where this divides, or local_input='full'"
            )

        self.trunk = halves.early
        self.heads = nn.ModuleDict()
        if "global" in built:
            self.heads["global"] = halves.tail() if head_init == "imagenet" else halves.fresh()
        if "parts" in built:
            inputs = C // N if local_input == "slice" else C
            self.heads["parts"] = nn.ModuleList(halves.fresh(part_share, inputs) for _ in REGIONS)
        self.guide = Guide(max(1, C // N), D, built, P) if is_guided else None
        width = {"global": D, "parts": N * P, "fused_global": D, "fused_parts": N * P}
        self.fuse = nn.ModuleDict(
            {
                name: nn.Linear(2 * width[name], width[name])
                for name in built
                if is_guided and fusion == "concat"
            }
        )

        def classifiers(M: int, inputs: int) -> nn.Module:
            if neck:
                return IdHead(M, inputs, identities)
            return Classifiers(M, inputs, min(hidden, D), identities)

        self.id = nn.ModuleDict(
            {
                name: classifiers(N, P) if name == "parts" else classifiers(1, width[name])
                for name in (*built, *fused)
                if f"id_{name}" in terms
            }
        )

    @classmethod
    def needed(cls, terms: Sequence[str]) -> frozenset[str]:
        return cls.needs if any("fused" in term for term in terms) else frozenset()

    def forward(self, images: Tensor, cues: Mapping[str, Tensor] = NO_CUES) -> Output:
        f = self.trunk(images)  # F [B, c_A, h, w]
        pooled = {name: self._pooled(name, f) for name in self.heads}  # f_G [B, D], f_L [B, 8, P]
        groups = {name: _embeddings(name, x) for name, x in pooled.items()}
        if self.guide is not None and "uv_tiles" in cues:
            groups |= {
                f"fused_{name}": _embeddings(f"fused_{name}", z)
                for name, z in self._fused(pooled, cues["uv_tiles"], self.guide).items()
            }
        return Output(f, None, groups)

    # Sec. 3.2.4, weighed by the recipe
    def losses(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        terms = {}
        for term in self.terms:
            kind, _, name = term.partition("_")
            share = self.guide_share if name.startswith("fused") else 1.0
            weighed = [(share, self._group(out, name))] if share > 0 else []
            if share < 1:
                weighed.append((1 - share, out.groups[name.removeprefix("fused_")]))
            terms[term] = torch.stack(
                [weight * self._loss(kind, name, e, batch) for weight, e in weighed]
            ).sum()
        return terms

    def embed(self, out: Output) -> Embeddings:  # Sec. 4.4: f_G and f_L end to end
        embeddings = []
        for name in self.described:
            e = self._laid(name, self._group(out, name))
            embeddings.append(necked(self.id, name, e) if self.neck and name in self.id else e)
        return Embeddings.single("all", torch.cat([e.vectors.flatten(1) for e in embeddings], 1))

    def strip_for_inference(self) -> "DSA":
        """Without classifiers, save those that hold a neck of what is described, and without
        every branch that is not described; the guide too, unless it is.
        """
        fused = {
            name.removeprefix("fused_") for name in self.described if name.startswith("fused_")
        }
        _keep(self.heads, fused | set(self.described))
        _keep(self.fuse, fused)
        if self.guide is not None:
            _keep(self.guide.heads, fused)
        self.guide = self.guide if fused else None
        _keep(self.id, self.described if self.neck else ())
        return self

    def _pooled(self, name: str, f: Tensor) -> Tensor:
        """Eq. 1 and 2 on the trunk's side: f_G float [B, D] or f_L [B, 8, P]."""
        if name == "global":
            pooled: Tensor = self.heads[name](f).mean((2, 3))
            return pooled
        maps = f.chunk(len(REGIONS), 1) if self.local_input == "slice" else (f,) * len(REGIONS)
        heads: Any = self.heads[name]  # a list of them, to mypy a module of any kind
        return torch.stack([head(x).mean((2, 3)) for head, x in zip(heads, maps)], 1)

    def _loss(self, kind: str, name: str, e: Embeddings, batch: Batch) -> Tensor:
        if kind == "triplet":
            return hard_triplet(e.joined(), batch.ids, self.margin)
        loss = id_loss(self.id[name](self._laid(name, e)), batch.ids, self.smoothing)
        return loss * len(REGIONS) if name == "parts" and self.part_id == "sum" else loss

    def _fused(self, pooled: Mapping[str, Tensor], cue: Tensor, guide: Guide) -> dict[str, Tensor]:
        """z_G and z_L of Sec. 3.2.3, of the shapes of f_G and f_L."""
        if self.missing == "mean":
            return {
                name: self._join(name, pooled[name], d)
                for name, d in guide(as_tiles(cue, self.tile)).items()
            }
        there = covered(cue)
        fused = {}
        for name, d in guide(as_tiles(cue[there], self.tile)).items():
            z = pooled[name].clone()
            z[there] = self._join(name, pooled[name][there], d).to(z.dtype)
            fused[name] = z
        return fused

    def _join(self, name: str, f: Tensor, d: Tensor) -> Tensor:
        if name in self.fuse:
            joined: Tensor = self.fuse[name](torch.cat([f.flatten(1), d.flatten(1)], 1)).view_as(f)
            return joined
        return f + d  # z = f + d

    def _laid(self, name: str, e: Embeddings) -> Embeddings:
        """The group as its classifiers take it: the fused parts as one vector."""
        return e.joined() if name == "fused_parts" else e

    def _group(self, out: Output, name: str) -> Embeddings:
        if name not in out.groups:
            raise ShapeError(
                f"this model uses '{name}', the vectors of trunk and guide together: it needs the "
                "cue 'uv_tiles' with every image"
                + (", also at test time" if self.needs_at_test else "")
            )
        return out.groups[name]


class Classifiers(nn.ModuleList):
    """Two fully connected layers for each of M embeddings (Sec. 3.2.4), BN and ReLU between them.

    Embeddings of M vectors -> logits float [N, M, identities].
    """

    @door
    def __init__(self, M: Count, D: Count, hidden: Count, identities: Count) -> None:
        super().__init__(
            nn.Sequential(Reduce(D, hidden), nn.Linear(hidden, identities)) for _ in range(M)
        )

    def forward(self, e: Embeddings) -> Tensor:
        return torch.cat([layers(e.vectors[:, m : m + 1]) for m, layers in enumerate(self)], 1)


def _keep(table: nn.ModuleDict, names: Collection[str]) -> None:
    for name in [name for name in table if name not in names]:
        del table[name]


def _embeddings(name: str, x: Tensor) -> Embeddings:
    return Embeddings.single(name, x) if x.ndim == 2 else Embeddings.visible(x, REGIONS)
