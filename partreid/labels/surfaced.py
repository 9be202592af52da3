"""Training images with DensePose's surfaces on them, as a method is to see them: aligned, or
made worse on purpose.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partreid.labels.densepose import read_iuv, surfaces_of
from partreid.labels.places import fitted
from partreid.layers.warp import ALIGN, LEFT_RIGHT, Align
from partreid.types import Sample
from partreid.utils.images import read_image

TILES = "; nothing else can stand in for surfaces here, but bot and pcb need no labels"
FORMAT = 1  # to be raised when the same files shall give other tiles
Flips = tuple[frozenset[int], frozenset[int]]
Read = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32], bool]
"""Pixels uint8 [H, W, 3], charts uint8 [H, W], u and v float32 [2, H, W], and whether anything
was detected.
"""


@dataclass(frozen=True)
class Noise:
    """How wrong the surfaces are made, each image by its own draw.

    drop: how likely nothing of an image was found. jitter: standard deviation of what is added to u
    and to v: one number for each chart of an image, and half as much again for each pixel. swap:
    how likely all left charts of an image are called right and the right ones left.
    """

    drop: float = 0.0
    jitter: float = 0.0
    swap: float = 0.0


# The paper sees no surface on more than 20 % of Duke's images (Sec. 4.1); the other numbers are
# ours.
NOISE = {"none": Noise(), "moderate": Noise(0.2, 0.05, 0.1), "heavy": Noise(0.4, 0.15, 0.3)}


class Surfaced:
    """Training images with the charts and the aligned, perhaps disturbed, U and V of their pixels.

    Looks for all files at once; DataError if there is none.
    """

    def __init__(
        self,
        root: Path,
        samples: Sequence[Sample],
        folder: str = "iuv",
        align: Align = "none",
        noise: Noise = NOISE["none"],
        seed: int = 0,
    ) -> None:
        self.root, self.align, self.noise, self.seed = root, align, noise, seed
        self.paths, self.iuv = (
            tuple(sample.path for sample in samples),
            surfaces_of(root, samples, folder, TILES),
        )

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Read:
        """An image on the larger grid of the crop's and the IUV picture's; one pixel of background
        if nothing is known of it.
        """
        detected, labels, uv = self.surface(index)
        if not labels.any():
            return np.zeros((1, 1, 3), np.uint8), labels[:1, :1], uv[:, :1, :1], detected
        path, iuv = self.paths[index], self.iuv[index]
        if iuv is not None:
            both = fitted(np.concatenate([labels[..., None], uv.transpose(1, 2, 0)], 2), iuv, path)
            labels, uv = both[..., 0].astype(np.uint8), both[..., 1:].transpose(2, 0, 1)
        photo, (h, w) = read_image(path), labels.shape
        if photo.width * photo.height < w * h:
            photo = photo.resize((w, h), Image.Resampling.BILINEAR)
        elif photo.size != (w, h):
            rows = ((np.arange(photo.height) + 0.5) * h / photo.height).astype(int)[:, None]
            columns = ((np.arange(photo.width) + 0.5) * w / photo.width).astype(int)
            labels, uv = labels[rows, columns], uv[:, rows, columns]
        return np.asarray(photo), labels, uv, detected

    def surface(self, index: int) -> tuple[bool, NDArray[np.uint8], NDArray[np.float32]]:
        """Whether anything was detected; charts and U, V after noise and alignment, on the IUV
        image's own grid.
        """
        path = self.iuv[index]
        if path is None:
            return False, np.zeros((1, 1), np.uint8), np.zeros((2, 1, 1), np.float32)
        picture = read_iuv(path)
        labels, uv, detected = picture.labels, picture.uv, picture.has_body
        if self.noise != NOISE["none"]:
            random = np.random.Generator(
                np.random.Philox(np.random.SeedSequence([self.seed, 41, index]))
            )
            labels, uv = disturbed(labels, uv, self.noise, random)
        if self.align != "none":
            uv = np.where(among(ALIGN[self.align])[:, labels], 1 - uv, uv)
        return detected, labels, uv

    def digest(self, **settings: object) -> str:
        """A name for what these files give with these settings; moving ``root`` does not change
        it.
        """
        about: list[object] = [FORMAT, settings, self.align, asdict(self.noise)]
        about.append(None if self.noise == NOISE["none"] else self.seed)
        for photo, iuv in zip(self.paths, self.iuv, strict=True):
            people = (
                None if iuv is None else iuv.with_name(iuv.name.replace("_IUV.png", "_INDS.png"))
            )
            for path in dict.fromkeys((photo, iuv, people)):
                if path is not None and path.is_file():
                    inside, state = (
                        path.relative_to(self.root) if path.is_relative_to(self.root) else path,
                        path.stat(),
                    )
                    about.append([inside.as_posix(), state.st_size, state.st_mtime_ns])
            about.append("and")
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def disturbed(
    labels: NDArray[np.uint8], uv: NDArray[np.float32], noise: Noise, random: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Charts uint8 [H, W] and their u, v float32 [2, H, W] as a poorer detector might have given
    them.
    """
    dropped, swapped = random.random(2) < (noise.drop, noise.swap)
    if dropped:
        return np.zeros_like(labels), uv
    if noise.jitter:
        shift = random.normal(0, noise.jitter, (2, 25))[:, labels] + random.normal(
            0, noise.jitter / 2, uv.shape
        )
        uv = (uv + shift).clip(0, 1).astype(np.float32)
    return np.asarray(LEFT_RIGHT, np.uint8)[labels] if swapped else labels, uv


def among(flips: Flips) -> NDArray[np.bool_]:
    """Bool [2, 25]: for u and for v, the charts that are flipped."""
    return np.array([[p in charts for p in range(25)] for charts in flips])
