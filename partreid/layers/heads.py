"""Heads: pixels to part maps, pooled features to embeddings, embeddings to identities."""

import torch
from torch import Tensor, nn

from partreid.errors import ArgumentError, ShapeError
from partreid.types import Embeddings, PartMaps, PartScheme, Vectors
from partreid.utils.arguments import Count, door, quoted, require


class PartHead(nn.Module):
    """Classifies every pixel as background or one of K parts: (BN and) a 1x1 convolution with bias.

    float [B, C, h, w] -> PartMaps with logits [B, K+1, h, w]. BPBreID Eq. 1, ISP Eq. 5.

    Args:
        channels: C.
        scheme: The names of the K parts.
        norm: Puts the batch norm of BPBreID's released code in front.

    Examples:
        >>> head = PartHead(16, PartScheme(("upper", "lower")))
        >>> head(torch.zeros(2, 16, 8, 4)).logits.shape
        torch.Size([2, 3, 8, 4])
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
    """Linear + BN + ReLU from C to D channels, shared by all embeddings of a group: float
    [N, M, C] -> [N, M, D].

    The batch norm sees the M embeddings of an image as M samples, as BPBreID's released code has
    it.

    Args:
        channels: C.
        dim: D.

    Examples:
        >>> Reduce(16, 4)(torch.zeros(2, 3, 16)).shape
        torch.Size([2, 3, 4])
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
    """1x1 convolution + BN + ReLU on the feature map: float [B, C, h, w] -> [B, D, h, w].

    Args:
        channels: C.
        dim: D.

    Examples:
        >>> ReduceMap(16, 4)(torch.zeros(2, 16, 8, 4)).shape
        torch.Size([2, 4, 8, 4])
    """

    @door
    def __init__(self, channels: Count, dim: Count) -> None:
        convolution = nn.Conv2d(channels, dim, 1)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(convolution.bias if convolution.bias is not None else torch.empty(0))
        super().__init__(convolution, nn.BatchNorm2d(dim), nn.ReLU())


class IdHead(nn.Module):
    """BN-neck and identity classifier for a group of M embeddings of width D (BoT Sec. 3.5).

    It takes embeddings or a plain tensor, float [N, D] (M = 1) or [N, M, D], and gives logits
    [N, M, C] of one classifier per embedding. The neck has no shift, the classifier no bias.

    Args:
        M: Embeddings per image.
        D: Numbers in each.
        identities: C.
        joint: One classifier over the M embeddings laid end to end; logits [N, C].
        shared: One neck and classifier that all M embeddings pass; logits [N, M, C].

    Raises:
        ArgumentError: Both forms are asked for.
        ShapeError: What comes has another M or D.

    Examples:
        >>> head = IdHead(M=3, D=16, identities=10)
        >>> head(torch.randn(4, 3, 16)).shape
        torch.Size([4, 3, 10])
    """

    @door
    def __init__(
        self, M: Count, D: Count, identities: Count, joint: bool = False, shared: bool = False
    ) -> None:
        require(not (joint and shared), "a head", "joint or shared, not both", (joint, shared))
        super().__init__()
        self.joint, self.shared, self.takes = joint, shared, (M, D)
        # per-channel, so M necks are one of M * D channels
        self.norm = nn.BatchNorm1d(D if shared else M * D)
        self.norm.bias.requires_grad_(False)
        shape = (identities, M * D) if joint else (identities, D) if shared else (M, identities, D)
        self.classifier = nn.Parameter(torch.empty(shape))
        nn.init.normal_(self.classifier, std=0.001)

    def neck(self, e: Vectors) -> Embeddings:
        """The same group after the batch norm; visibility is untouched."""
        e = Embeddings.of(e)
        if tuple(e.vectors.shape[1:]) != self.takes:
            raise ShapeError(
                f"this head takes {self.takes[0]} embedding(s) of {self.takes[1]} numbers, got "
                f"{list(e.vectors.shape)}"
            )
        flat = e.vectors.flatten(0, 1) if self.shared else e.vectors.flatten(1)
        return Embeddings(self.norm(flat).view_as(e.vectors), e.visibility, e.names)

    def forward(self, e: Vectors) -> Tensor:
        x = self.neck(e).vectors
        if self.joint:
            return x.flatten(1) @ self.classifier.t()
        if self.shared:
            return x @ self.classifier.t()
        return torch.einsum("nmd,mcd->nmc", x, self.classifier)


@door
def necked(heads: nn.ModuleDict, name: str, e: Vectors) -> Embeddings:
    """Embeddings after the neck of one of several heads, see :meth:`IdHead.neck`.

    Args:
        heads: :class:`IdHead` by name.
        name: Whose neck.
        e: Embeddings or float [N, M, D], as that head takes them.

    Returns:
        The same group after the batch norm; visibility is untouched.

    Raises:
        ArgumentError: No head has that name.
        ShapeError: What comes has another M or D than that head takes.

    Examples:
        >>> heads = nn.ModuleDict({"id_parts": IdHead(M=3, D=16, identities=10)})
        >>> necked(heads, "id_parts", torch.randn(4, 3, 16)).vectors.shape
        torch.Size([4, 3, 16])
    """
    head = dict(heads.items()).get(name)
    if not isinstance(head, IdHead):
        raise ArgumentError(f"name must be a head's, of {', '.join(heads)}, got {quoted(name)}")
    return head.neck(e)
