"""HalfSeen: no paper's, but made here of what five papers contribute, for people who are half
hidden.

From BPBreID it has learned part maps with two kinds of supervision and GiLt; from ISP and HCGA that
the maps come from more than the pixel itself; from MagnifierNet that training hides regions on
purpose, here in the image and with exact knowledge of what was hidden
(:mod:`partreid.data.pasting`).
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from partreid.distance import PartDistance
from partreid.errors import RecipeError
from partreid.layers.heads import IdHead, PartHead, Reduce, ReduceMap, necked
from partreid.layers.pooling import weighted_pool
from partreid.layers.trunks import width_of
from partreid.losses import gilt_terms, part_loss
from partreid.methods.base import Method
from partreid.types import (
    NO_CUES,
    UNKNOWN,
    Batch,
    Embeddings,
    Output,
    PartMaps,
    PartScheme,
    Vectors,
)
from partreid.utils.arguments import integer, number

Visibility = Literal["threshold", "soft", "none"]
HOLISTIC = ("global", "foreground")
SHOWS = 0.002  # share of an image that a part must cover to count as shown


class HalfSeen(Method):
    """K part maps that know what is in front pool a feature map into K + 2 embeddings; identity
    losses on the holistic ones, one triplet loss on the parts that training knows to show.

    dim: D of every embedding; ``reduce`` from the trunk's C to D "after" pooling, or "none".
    layers, width: 3x3 convolutions of the part head, each looking twice as far as the one before,
    and their channels; 0 layers leave the 1x1 convolution of BPBreID's Eq. 1. power: pixels are
    pooled by the probability of a part to this power. Above 1 the many pixels that are a little
    likely, all of the background, no longer outweigh the few that are very likely.
    part_smoothing: of the labels that teach the part head; BPBreID smooths them by 0.1, which
    teaches that every pixel of the background is a little of every part. hide: parts that the
    labels do not show leave the losses. visibility: "threshold" is BPBreID's Eq. 4 with
    ``visible_above``, "soft" the highest probability itself, "none" sees everything. described:
    what a gallery stores, of global, foreground, parts and the parts' own names.
    """

    needs = frozenset({"parts"})
    takes_scheme = True
    distance = PartDistance("unit_euclidean")  # BPBreID Eq. 9
    TERMS = (
        "id_global",
        "id_foreground",
        "id_joined",
        "triplet_parts",
        "parsing",
        "visibility",
    )

    def __init__(
        self,
        trunk: nn.Module,
        identities: int,
        scheme: PartScheme,
        terms: Sequence[str],
        *,
        dim: int = 512,
        reduce: Literal["after", "none"] = "after",
        layers: int = 3,
        width: int = 32,
        power: float = 2.0,
        part_smoothing: float = 0.0,
        hide: bool = True,
        visibility: Visibility = "soft",
        visible_above: float = 0.4,
        described: Sequence[str] = ("parts",),
        smoothing: float = 0.1,
        margin: float = 0.3,
    ) -> None:
        self.check_arguments({**locals(), "layers": max(layers, 1)})
        integer("HalfSeen: layers", layers, 0, 6)
        number("HalfSeen: power", power, 1)
        for name, share in (
            ("part_smoothing", part_smoothing),
            ("visible_above", visible_above),
            ("smoothing", smoothing),
        ):
            number(f"HalfSeen: {name}", share, 0, 1)
        super().__init__()
        C, K = width_of(trunk), scheme.K
        D = C if reduce == "none" else dim
        self.trunk, self.scheme, self.terms, self.K = trunk, scheme, tuple(terms), K
        self.power, self.part_smoothing, self.hide = power, part_smoothing, hide
        self.visibility, self.visible_above = visibility, visible_above
        self.described, self.smoothing, self.margin = tuple(described), smoothing, margin
        for name in self.described:
            if name not in (*HOLISTIC, "parts", *scheme.names):
                raise RecipeError(
                    f"halfseen has no embedding '{name}'; choose of {', '.join(HOLISTIC)}, parts, "
                    f"{', '.join(scheme.names)}"
                )
        self.part_head = ContextHead(C, scheme, layers, width)
        self.after = nn.ModuleDict(
            {
                group: Reduce(C, D) if reduce == "after" else nn.Identity()
                for group in (*HOLISTIC, "parts")
            }
        )
        heads = {
            "id_global": IdHead(1, D, identities),
            "id_foreground": IdHead(1, D, identities),
            "id_joined": IdHead(K, D, identities, joint=True),
        }
        self.id = nn.ModuleDict({name: head for name, head in heads.items() if name in terms})

    def forward(self, images: Tensor, cues: Mapping[str, Tensor] = NO_CUES) -> Output:
        f = self.trunk(images)  # G [B, C, h, w]
        parts: PartMaps = self.part_head(f)
        p = parts.probs[:, 1:].to(f.dtype) ** self.power  # [B, K, h, w]
        whole = p.amax(1, keepdim=True)
        pooled = {
            "global": Embeddings.visible(f.mean((2, 3))[:, None], ("global",)),
            "foreground": Embeddings.visible(weighted_pool(f, whole), ("foreground",)),
            "parts": Embeddings(weighted_pool(f, p), self._visible(parts), parts.names),
        }
        return Output(
            f,
            parts,
            {
                name: Embeddings(self.after[name](e.vectors), e.visibility, e.names)
                for name, e in pooled.items()
            },
        )

    def losses(self, out: Output, batch: Batch) -> dict[str, Tensor]:
        assert out.parts is not None
        labels, parts = batch.cues["parts"], out.groups["parts"]
        shown = (
            self._shown(labels, parts.vectors) if self.hide else torch.ones_like(parts.visibility)
        )
        parts = Embeddings(parts.vectors, shown, parts.names)
        groups: dict[str, Vectors] = {**out.groups, "parts": parts}
        # what is hidden says nothing, rather than what is in front of it
        joined = Embeddings.visible(parts.vectors * shown[..., None], parts.names)
        logits = {}
        for term, head in self.id.items():
            name = term.partition("_")[2]
            logits[name] = head(joined if name == "joined" else groups[name])
        gilt = [term for term in self.terms if term not in ("parsing", "visibility")]
        terms = gilt_terms(
            logits, groups, batch.ids, gilt, smoothing=self.smoothing, margin=self.margin
        )
        if "parsing" in self.terms:
            terms["parsing"] = part_loss(out.parts.logits, labels, self.part_smoothing)
        if "visibility" in self.terms:
            terms["visibility"] = visibility_loss(
                out.parts.visible_softly(), self._shown(labels, parts.vectors)
            )
        return {term: terms[term] for term in self.terms}

    def embed(self, out: Output) -> Embeddings:
        embeddings = []
        for name in self.described:
            e = out.groups["parts" if name in self.scheme.names else name]
            if f"id_{name}" in self.id:  # holistic ones leave through their BN-neck
                e = necked(self.id, f"id_{name}", e)
            embeddings.append(e.select(name) if name in self.scheme.names else e)
        return Embeddings.cat(*embeddings)

    def _visible(self, parts: PartMaps) -> Tensor:
        if self.visibility == "threshold":
            return parts.visible_above(self.visible_above)
        soft = parts.visible_softly()
        return soft if self.visibility == "soft" else torch.ones_like(soft)

    def _shown(self, labels: Tensor, like: Tensor) -> Tensor:
        """Which parts the labels uint8 [B, H, W] show: 0 or 1, float [B, K]. All of them in an
        image of which nothing is known.
        """
        share = torch.stack(
            [(labels == k).flatten(1).float().mean(1) for k in range(1, self.K + 1)], 1
        )
        unknown = (labels == UNKNOWN).flatten(1).all(1)
        return ((share > SHOWS) | unknown[:, None]).to(like.dtype)


class ContextHead(nn.Module):
    """Part maps from every pixel and from what is around it: a person in front is told from the one
    meant by where they stand.

    float [B, C, h, w] -> PartMaps with logits [B, K+1, h, w]: those of BPBreID's head, and on top
    what ``layers`` 3x3 convolutions on ``width`` channels add, dilated by 1, 2, 4, ...

    Examples:
        >>> head = ContextHead(16, PartScheme(("upper", "lower")), layers=2, width=8)
        >>> head(torch.zeros(2, 16, 8, 4)).logits.shape
        torch.Size([2, 3, 8, 4])
    """

    def __init__(self, channels: int, scheme: PartScheme, layers: int = 3, width: int = 32) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.pixel = PartHead(channels, scheme)
        self.narrow: nn.Module = ReduceMap(channels, width) if layers else nn.Identity()
        self.around = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, 1, 2**k, 2**k, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            )
            for k in range(layers)
        )
        self.add = nn.Conv2d(width, scheme.K + 1, 1) if layers else None

    def forward(self, f: Tensor) -> PartMaps:
        f = self.norm(f)
        parts: PartMaps = self.pixel(f)
        if self.add is None:
            return parts
        x = self.narrow(f)
        for layer in self.around:
            x = x + layer(x)
        return PartMaps(parts.logits + self.add(x), parts.scheme)


def visibility_loss(visibility: Tensor, shown: Tensor) -> Tensor:
    """Binary cross-entropy of how visible parts are said to be: what makes 0.8 mean that four of
    five such parts show.

    Args:
        visibility: float [N, K] in [0, 1].
        shown: float [N, K], 0 or 1.

    Returns:
        A scalar, the mean.

    Examples:
        >>> visibility_loss(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]]))
        tensor(0.6931)
    """
    v = visibility.float().clamp(1e-4, 1 - 1e-4)
    return nn.functional.binary_cross_entropy(v, shown.float())
