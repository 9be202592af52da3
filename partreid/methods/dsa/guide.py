"""DSA-reID's guiding stream (Sec. 3.2.1, Table 1): 24 part images of one person to features that
are aligned.

Every part has a branch of its own. Branches lie side by side in the channels, so that one grouped
convolution does the work of 24 (13, 8) small ones: [B, n C, h, w] holds n branches of C channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from partreid.errors import ShapeError
from partreid.layers.warp import MERGE_FB, MERGE_LR


class Guide(nn.Module):
    """Tiles float [B, 24, 3, S, S] -> the vectors of its heads: "global" d_G [B, D], "parts" d_L
    [B, 8, P].

    width: c = ``width`` channels of each of the 8 merged feature maps D_i (128 in the paper);
    earlier layers have a half and a quarter of it. dim: D (2048 there). heads: which of the two to
    build. part_dim: P, by default D / 8 as in the paper. Tiles of 32 x 32 become maps of 8 x 8.
    From scratch; BN and ReLU follow each convolution as in ResNet-18, whose basic block this is
    made of.
    """

    def __init__(
        self,
        width: int,
        dim: int,
        heads: Sequence[str] = ("global", "parts"),
        part_dim: int | None = None,
    ) -> None:
        super().__init__()
        c, half, quarter = width, max(1, width // 2), max(1, width // 4)
        self.width, local = width, part_dim or dim // 8
        self.stem = nn.Sequential(
            *_unit(24, 3, quarter, 5),
            nn.ReLU(inplace=True),  # conv1
            *_unit(24, quarter, half, 3),
            nn.ReLU(inplace=True),
        )  # conv2
        self.single = nn.Sequential(Block(24, half, half, 2), Block(24, half, half))  # conv3_x
        self.paired = nn.Sequential(Block(13, half, c, 2), Block(13, c, c))  # conv4_x
        built = {
            "global": nn.Sequential(Block(1, 8 * c, dim), Block(1, dim, dim)),  # conv5_g
            "parts": nn.Sequential(Block(8, c, local), Block(8, local, local)),
        }  # conv5_l
        self.heads = nn.ModuleDict({name: built[name] for name in heads})

    def forward(self, tiles: Tensor) -> dict[str, Tensor]:
        d = self.features(tiles)
        # d_G, Eq. 1; d_L,i, Eq. 2
        vectors = {name: head(d).mean((2, 3)) for name, head in self.heads.items()}
        if "parts" in vectors:
            vectors["parts"] = vectors["parts"].unflatten(1, (8, -1))
        return vectors

    def features(self, tiles: Tensor) -> Tensor:
        """D = [D_1, ..., D_8], float [B, 8 c, S / 4, S / 4], in the order of ``REGIONS``."""
        if tiles.ndim != 5 or tuple(tiles.shape[1:3]) != (24, 3):
            raise ShapeError(f"the guide sees tiles [B, 24, 3, S, S], got {list(tiles.shape)}")
        x = self.single(self.stem(tiles.flatten(1, 2)))
        x = self.paired(merge(x, MERGE_LR))
        return merge(x, MERGE_FB)


class Block(nn.Module):
    """ResNet-18's basic block in ``branches`` branches: [B, n C, h, w] -> [B, n D, h / stride, w
    / stride].
    """

    def __init__(self, branches: int, C: int, D: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_unit(branches, C, D, 3, stride), nn.ReLU(inplace=True), *_unit(branches, D, D, 3)
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or C != D:
            self.shortcut = nn.Sequential(*_unit(branches, C, D, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(self.body(x).add_(self.shortcut(x)))


def merge(x: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Adds up the branches of each group (Fig. 4): [B, n C, h, w] -> [B, len(groups) C, h, w].

    groups: neighbours, in order, that together are all n branches. Sums, not means; one that is
    alone is copied.
    """
    sizes = [len(group) for group in groups]
    branches = x.unflatten(1, (sum(sizes), -1)).split(sizes, 1)
    return torch.stack([together.sum(1) for together in branches], 1).flatten(1, 2)


def _unit(
    branches: int, C: int, D: int, kernel: int, stride: int = 1
) -> tuple[nn.Module, nn.Module]:
    """Convolution and BN of ``branches`` branches; He-initialised as one branch alone would be."""
    convolution = nn.Conv2d(
        branches * C, branches * D, kernel, stride, kernel // 2, groups=branches, bias=False
    )
    nn.init.normal_(convolution.weight, std=(2 / (D * kernel**2)) ** 0.5)
    return convolution, nn.BatchNorm2d(branches * D)
