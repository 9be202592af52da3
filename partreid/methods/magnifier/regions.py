"""Body regions as MagnifierNet uses them: weight maps from labels or a head, pooling by maximum,
hiding some of them.

A region is a channel of weight maps float [B, K+1, h, w]; 0 is the background, which the paper
counts as a region.
"""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from partreid.errors import RecipeError
from partreid.layers.pooling import max_pool
from partreid.types import PartMaps, PartScheme
from partreid.utils.arguments import door


def label_regions(labels: Tensor, size: tuple[int, int], regions: int) -> Tensor:
    """Labels uint8 [B, H, W] as weight maps float32 [B, regions, h, w], bilinear between one-hot
    pixels.

    Corners are not aligned and nothing is smoothed before: a cell takes the four pixels about its
    center, whatever lies beside them. What is unknown (255) there belongs to no region; elsewhere
    the maps sum to 1.
    """
    (top, bottom, down), (left, right, across) = (
        _neighbours(n, m, labels.device) for n, m in zip(labels.shape[1:], size, strict=True)
    )
    region = torch.arange(regions, device=labels.device)[:, None, None]
    maps = torch.zeros((), device=labels.device)
    for rows, tall in ((top, 1 - down), (bottom, down)):
        for columns, wide in ((left, 1 - across), (right, across)):
            maps = maps + (labels[:, None, rows[:, None], columns] == region) * (
                tall[:, None] * wide
            )
    return maps


def _neighbours(n: int, m: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Of m cell centers on a line of n pixels: the pixel before and after each, and the share of
    the second.
    """
    position = ((torch.arange(m, device=device) + 0.5) * (n / m) - 0.5).clamp(0, n - 1)
    before = position.floor().long()
    return before, (before + 1).clamp_max(n - 1), position - before


@door
def predicted_regions(
    parts: PartMaps, size: tuple[int, int], how: Literal["hard", "soft"] = "hard"
) -> Tensor:
    """Part maps as weight maps float [B, K+1, h, w] that sum to 1: the likeliest region of every
    pixel, or "soft" its probabilities, bilinear to h x w. No gradient passes: the mask loss alone
    teaches the head.
    """
    logits = parts.logits.detach()
    if how == "hard":
        maps = F.one_hot(logits.argmax(1), logits.shape[1]).permute(0, 3, 1, 2).to(logits.dtype)
    else:
        maps = parts.probs.detach()
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


class MaskHead(nn.Module):
    """Predicts the region of every pixel at twice the resolution: [B, C, h, w] -> PartMaps [B, K+1,
    2h, 2w].

    A transposed 3x3 convolution of stride 2 to ``width`` channels, BN, ReLU and a 1x1 convolution.
    """

    def __init__(self, channels: int, scheme: PartScheme, width: int = 256) -> None:
        super().__init__()
        self.scheme = scheme
        self.up = nn.Sequential(
            nn.ConvTranspose2d(
                channels, width, 3, stride=2, padding=1, output_padding=1, bias=False
            ),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.classifier = nn.Conv2d(width, scheme.K + 1, 1)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 4:
                nn.init.normal_(parameter, std=0.001)

    def forward(self, f: Tensor) -> PartMaps:
        return PartMaps(self.classifier(self.up(f)), self.scheme)


def region_max(f: Tensor, w: Tensor) -> Tensor:
    """Maximum of w f over the pixels: f [B, C, h, w], w [B, M, h, w], both >= 0 -> [B, M, C].

    The same numbers as :func:`partreid.layers.pooling.max_pool`. That one keeps M maps of f's size
    for its gradient, this one where each maximum lies: the gradient goes to one pixel each, also
    where several share it.
    """
    if not torch.is_grad_enabled():
        return max_pool(f, w)
    with torch.no_grad():
        index = torch.stack(
            [(f * w[:, m, None]).flatten(2).argmax(2) for m in range(w.shape[1])], 1
        )  # [B, M, C]
    value = f.flatten(2).gather(2, index.transpose(1, 2)).transpose(1, 2)
    return value * w.flatten(2).gather(2, index).to(value.dtype)


def kept_sets(
    groups: Sequence[Sequence[int]], keep: int, always: Sequence[int] = ()
) -> list[tuple[int, ...]]:
    """Every set of regions that :class:`RegionDropout` can keep, each ascending and with
    ``always``.
    """
    each = (combinations(group, keep // len(groups)) for group in groups)
    return sorted(
        tuple(sorted((*always, *(k for part in chosen for k in part)))) for chosen in product(*each)
    )


class RegionDropout(nn.Module):
    """Keeps ``keep`` regions at random, as many of each group, and zeroes the others; like
    nn.Dropout, does nothing in eval and remembers nothing. [B, K+1, h, w] -> the same (MagnifierNet
    Sec. 3.2).

    groups: of regions; those in none go, unless they are in ``always``. scope: one draw for the
    "batch", or one for each "image". Draws come from torch's global generator on the CPU.
    RecipeError if ``keep`` cannot be shared out evenly, or asks for more than a group has.
    """

    @door
    def __init__(
        self,
        groups: Sequence[Sequence[int]],
        keep: int,
        always: Sequence[int] = (),
        scope: Literal["batch", "image"] = "batch",
    ) -> None:
        super().__init__()
        most = min(len(group) for group in groups)
        if keep % len(groups) or not 0 < keep // len(groups) <= most:
            n = len(groups)
            choose = f"a multiple of {n} from {n} to {n * most}" if n > 1 else f"1 to {most}"
            raise RecipeError(
                f"keep={keep} regions cannot be shared out among {n} group{'s' * (n > 1)} evenly "
                f"with at most {most} of each; choose {choose}"
            )
        self.groups, self.keep = tuple(map(tuple, groups)), keep
        self.always, self.scope = tuple(always), scope

    def draw(self, rows: int, regions: int) -> Tensor:
        """Independent draws: float32 [rows, regions], 1 for a region that is kept and 0 for one
        that is not.
        """
        kept = torch.zeros(rows, regions)
        kept[:, list(self.always)] = 1
        for group in self.groups:
            order = torch.rand(rows, len(group)).argsort(1)[:, : self.keep // len(self.groups)]
            kept.scatter_(1, torch.tensor(group)[order], 1.0)
        return kept

    def forward(self, masks: Tensor) -> Tensor:
        if not self.training:
            return masks
        kept = self.draw(1 if self.scope == "batch" else len(masks), masks.shape[1])
        return masks * kept.to(masks)[:, :, None, None]  # k not in O-hat, Eq. 2


def upper_and_lower(
    scheme: PartScheme, upper: Sequence[str] | None = None
) -> tuple[list[int], list[int]]:
    """U_torso and L_torso of Sec. 4.1 as channels: parts named in ``upper`` and the others. None
    tells them by their names: {head, chest, upper arm, lower arm} and {upper leg, lower leg, foot}.
    RecipeError if it cannot.
    """
    if upper is None:
        low = [
            name for name in scheme.names if {"leg", "legs", "foot", "feet"} & set(name.split("_"))
        ]
        high = [
            name
            for name in scheme.names
            if {"head", "chest", "torso", "arm", "arms"} & set(name.split("_"))
        ]
        strange = [name for name in scheme.names if (name in low) == (name in high)]
        if strange:
            raise RecipeError(
                f"sampling='random_torso' cannot tell whether {', '.join(strange)} belongs to the "
                "upper or the lower body; say upper=[...] with part names, or "
                "sampling='random_baseline'"
            )
        upper = high
    for name in upper:
        if name not in scheme.names:
            raise RecipeError(f"upper names '{name}', the parts are {', '.join(scheme.names)}")
    if not 0 < len(set(upper)) < scheme.K:
        raise RecipeError(
            "sampling='random_torso' needs parts of the upper and of the lower body, the parts are "
            f"{', '.join(scheme.names)}; choose other labels, or sampling='random_baseline'"
        )
    channels = range(1, scheme.K + 1)
    return (
        [k for k in channels if scheme.names[k - 1] in upper],
        [k for k in channels if scheme.names[k - 1] not in upper],
    )
