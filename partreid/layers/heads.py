"""Heads: pixels to part maps, pooled features to embeddings, embeddings to identities."""

import torch
from torch import Tensor, nn

from partreid.types import Embeddings, PartMaps, PartScheme
from partreid.utils.arguments import Count, door


class PartHead(nn.Module):
    """Classifies every pixel as background or one of K parts: (BN and) a 1x1 convolution with bias.

    [B, C, h, w] -> PartMaps with logits [B, K+1, h, w]. BPBreID Eq. 1, ISP Eq. 5. ``norm`` puts the
    batch norm of BPBreID's released code in front.
    """

    @door
    def __init__(self, channels: Count, scheme: PartScheme, norm: bool = False) -> None:
        super().__init__()
        self.scheme = scheme
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.classifier = nn.Conv2d(channels, scheme.K + 1, 1)
        nn.init.normal_(self.classifier.weight, std=0.001)
        nn.init.zeros_(self.classifier.bias if self.classifier.bias is not None else torch.empty(0))

    def forward(self, f: Tensor) -> PartMaps:
        return PartMaps(self.classifier(self.norm(f)), self.scheme)


class Reduce(nn.Module):
    """Linear + BN + ReLU from C to D channels, shared by all embeddings of a group: [N, M, C] ->
    [N, M, D].

    The batch norm sees the M embeddings of an image as M samples, as BPBreID's released code has
    it.
    """

    @door
    def __init__(self, channels: Count, dim: Count) -> None:
        super().__init__()
        linear = nn.Linear(channels, dim)
        nn.init.normal_(linear.weight, std=0.01)
        nn.init.zeros_(linear.bias)
        self.layers = nn.Sequential(linear, nn.BatchNorm1d(dim), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x.flatten(0, 1))
        return out.unflatten(0, x.shape[:2])


class ReduceMap(nn.Sequential):
    """1x1 convolution + BN + ReLU on the feature map: [B, C, h, w] -> [B, D, h, w]."""

    @door
    def __init__(self, channels: Count, dim: Count) -> None:
        convolution = nn.Conv2d(channels, dim, 1)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(convolution.bias if convolution.bias is not None else torch.empty(0))
        super().__init__(convolution, nn.BatchNorm2d(dim), nn.ReLU())


class IdHead(nn.Module):
    """BN-neck and identity classifier for a group of M embeddings of width D (BoT Sec. 3.5).

    Three forms: one classifier per embedding (default; logits [N, M, C]), ``joint`` over the M
    embeddings laid end to end (logits [N, C]), or ``shared``, one neck and classifier that all M
    embeddings pass (logits [N, M, C]). The neck has no shift, the classifier no bias.
    """

    @door
    def __init__(
        self, M: Count, D: Count, identities: Count, joint: bool = False, shared: bool = False
    ) -> None:
        super().__init__()
        self.joint, self.shared = joint, shared
        # per-channel, so M necks are one of M * D channels
        self.norm = nn.BatchNorm1d(D if shared else M * D)
        self.norm.bias.requires_grad_(False)
        shape = (identities, M * D) if joint else (identities, D) if shared else (M, identities, D)
        self.classifier = nn.Parameter(torch.empty(shape))
        nn.init.normal_(self.classifier, std=0.001)

    def neck(self, e: Embeddings) -> Embeddings:
        """The same group after the batch norm; visibility is untouched."""
        flat = e.vectors.flatten(0, 1) if self.shared else e.vectors.flatten(1)
        return Embeddings(self.norm(flat).view_as(e.vectors), e.visibility, e.names)

    def forward(self, e: Embeddings) -> Tensor:
        x = self.neck(e).vectors
        if self.joint:
            return x.flatten(1) @ self.classifier.t()
        if self.shared:
            return x @ self.classifier.t()
        return torch.einsum("nmd,mcd->nmc", x, self.classifier)
