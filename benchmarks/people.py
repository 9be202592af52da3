"""Made-up feature maps of people: what the label benchmarks and tests run on, with the truth
beside them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# where the parts of a standing person begin and end, in image heights
BANDS = (0.08, 0.22, 0.5, 0.75, 0.9, 0.98)


def person(
    n: int = 17,
    channels: int = 256,
    size: tuple[int, int] = (64, 32),
    cameras: int = 4,
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Features float32 [n, C, h, w] >= 0 like a trunk's, truth uint8 [n, h, w] (0 background, 1..5)
    and cameras [n].

    Each part has a prototype, as have the cameras' backgrounds, which respond less; a soft
    silhouette that shifts, scales and is now and then hidden from below mixes them; smooth noise on
    top; negative values are cut off.
    """
    draw = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=draw)

    h, w = size
    camera = (torch.arange(n) * cameras) // n
    rows, columns = torch.meshgrid(
        (torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w, indexing="ij"
    )
    prototypes = rand(len(BANDS) - 1, channels) ** 3 * 3
    behind = rand(cameras, channels) ** 3 * 1.2
    truth = torch.zeros(n, h, w, dtype=torch.uint8)
    features = torch.empty(n, channels, h, w)
    for i in range(n):
        shift, middle, scale = 0.06 * (rand(3) - 0.5) * torch.tensor([1.0, 2.0, 2.0])
        y = (rows - shift) / (1 + scale)
        width = 0.13 + 0.12 * torch.exp(-(((y - 0.4) / 0.2) ** 2)) + 0.04 * torch.sin(9 * y + i)
        inside = (
            torch.sigmoid((width - (columns - 0.5 - middle).abs()) * 40)
            * (y > BANDS[0])
            * (y < BANDS[-1])
        )
        if i % 6 == 5:
            inside = inside * (y < 0.6)  # legs behind something
        part = torch.bucketize(y, torch.tensor(BANDS[1:-1]))
        truth[i] = ((part + 1) * (inside > 0.5)).to(torch.uint8)
        noise = F.interpolate(
            torch.randn(1, channels, h // 4, w // 4, generator=draw), size=size, mode="bilinear"
        )[0]
        mixed = prototypes[part].permute(2, 0, 1) * inside + behind[camera[i], :, None, None] * (
            1 - inside
        )
        features[i] = (mixed + 0.35 * noise).clamp_min(0)
    return features, truth, camera


def oddities() -> dict[str, tuple[Tensor, Tensor]]:
    """What may be wrong with a person: features and cameras by name."""
    f, _, cameras = person(6, 24, (16, 8), 2)
    one, _, _ = person(1, 24, (16, 8), 1)
    blank = f.clone()
    blank[2:] = 0
    hidden = f.clone()
    hidden[3] = torch.rand(24, 1, 1)  # the same response everywhere
    return {
        "one image": (one, cameras[:1]),
        "one camera": (f, torch.zeros(6)),
        "camera each": (f, torch.arange(6)),
        "blank images": (blank, cameras),
        "all blank": (torch.zeros_like(f), cameras),
        "one hidden": (hidden, cameras),
        "all alike": (torch.ones_like(f), cameras),
        "not finite": (f.clone().index_fill_(0, torch.tensor([1]), torch.nan), cameras),
        "few pixels": (
            torch.zeros(2, 24, 16, 8).index_fill_(3, torch.tensor([4]), 1.0),
            cameras[:2],
        ),
        "tiny map": (f[:, :, :2, :2], cameras),
    }
