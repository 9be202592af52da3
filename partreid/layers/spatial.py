"""A learned mask over the places of a feature map."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SpatialMask(nn.Module):
    """f times a sigmoid mask: [B, C, h, w] -> the same. In the released code of ISP and HCGA, in
    neither paper.

    A 3x3 convolution of stride 2 to one channel, BN, ReLU, bilinear back to h x w, a 1x1
    convolution, BN, sigmoid.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(channels, 1, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(1)
        self.weigh = nn.Conv2d(1, 1, 1)
        self.weigh_norm = nn.BatchNorm2d(1)
        for convolution in (self.look, self.weigh):
            nn.init.kaiming_normal_(convolution.weight)
            nn.init.zeros_(convolution.bias if convolution.bias is not None else torch.empty(0))

    def forward(self, f: Tensor) -> Tensor:
        seen = F.relu(self.norm(self.look(f)))
        seen = F.interpolate(seen, size=f.shape[2:], mode="bilinear", align_corners=True)
        return f * torch.sigmoid(self.weigh_norm(self.weigh(seen)))
