"""Any network of the user's as a trunk, and images in the mean and deviation that a network was
trained with.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from partreid.errors import ShapeError
from partreid.types import MEAN, STD
from partreid.utils.arguments import Count, door, require


class Renormalize(nn.Module):
    """Images normalised by ImageNet's mean and deviation -> the same images normalised by others.

    images float32 [B, 3, H, W] -> [B, 3, H, W]. mean, std: of RGB in [0, 1]. Both numbers of a
    channel are kept among the weights, so that a file of weights says what it was trained with.

    Examples:
        >>> import torch
        >>> half = Renormalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        >>> black = -torch.tensor(MEAN) / torch.tensor(STD)
        >>> half(black[None, :, None, None]).flatten().tolist()
        [-1.0, -1.0, -1.0]
    """

    @door
    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for what, given, least in (("mean", mean, 0.0), ("std", std, 1e-6)):
            require(
                len(given) == 3 and all(least <= one <= 1 for one in given),
                what,
                "three numbers, of red, green and blue from 0 to 1",
                given,
            )
        # (x s + m - m') / s', x as it comes, m and s ImageNet's
        scale = [s / spread for s, spread in zip(STD, std, strict=True)]
        shift = [(m - center) / spread for m, center, spread in zip(MEAN, mean, std, strict=True)]
        self.register_buffer("scale", torch.tensor(scale)[:, None, None])
        self.register_buffer("shift", torch.tensor(shift)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        scale, shift = self.get_buffer("scale"), self.get_buffer("shift")
        return images * scale.to(images.dtype) + shift.to(images.dtype)


def renormalize(mean: Sequence[float], std: Sequence[float]) -> nn.Module:
    """:class:`Renormalize`, or nothing where the numbers are ImageNet's own."""
    if (tuple(mean), tuple(std)) == (MEAN, STD):
        return nn.Identity()
    return Renormalize(mean, std)


class OwnTrunk(nn.Module):
    """What :func:`as_trunk` makes."""

    def __init__(self, net: nn.Module, channels: int, stride: int, before: nn.Module) -> None:
        super().__init__()
        self.before, self.net = before, net
        self.channels, self.stride = channels, stride

    def forward(self, images: Tensor) -> Tensor:
        f = self.net(self.before(images))
        if not isinstance(f, Tensor) or f.ndim != 4 or f.shape[1] != self.channels:
            came = list(f.shape) if isinstance(f, Tensor) else f"a value of type {type(f).__name__}"
            raise ShapeError(
                f"the trunk {type(self.net).__name__} must give one feature map "
                f"[B, {self.channels}, h, w], got {came}; cut it before its pooling, and say its "
                "number of channels"
            )
        return f


@door
def as_trunk(
    module: nn.Module,
    *,
    channels: Count,
    stride: Count,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
) -> nn.Module:
    """A trunk made of any network that gives a feature map.

    Args:
        module: images float32 [B, 3, H, W] -> one map float32 [B, C, h, w].
        channels: C of the map.
        stride: H / h, about.
        mean, std: of the RGB in [0, 1] that the network was trained with; ImageNet's by default.
            Images come in ImageNet's, and are brought to these.

    Returns:
        A module with ``.channels`` and ``.stride``, which every method takes that does not branch
        inside the trunk (all but DSA and MagnifierNet).

    Raises:
        ArgumentError: for what is not of these types.
        ShapeError: in its forward pass, if the module gives anything but [B, C, h, w].

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> trunk = as_trunk(nn.Conv2d(3, 64, 8, stride=8), channels=64, stride=8)
        >>> list(trunk(torch.zeros(2, 3, 256, 128)).shape)
        [2, 64, 32, 16]
    """
    return OwnTrunk(module, channels, stride, renormalize(mean, std))
