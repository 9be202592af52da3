"""Image and cues move together: every function takes a view and gives a view, driven by a seeded
generator.

Pixels stay uint8 until :func:`to_batch` normalises a whole batch at once, which is where the time
goes otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from partreid.types import MEAN, STD
from partreid.utils.arguments import door, require
from partreid.utils.images import Pixels
from partreid.utils.registry import Registry

MEAN_PIXEL = (124, 116, 104)  # becomes about 0 when normalised


@dataclass(frozen=True)
class View:
    """An image uint8 [H, W, 3] and the cues that move with it, each with its own way of being
    mirrored.

    spatial cues are uint8 [H, W] or [H, W, C] maps on the image's grid; the others are left alone
    by crop and erase. another: a training image of somebody else with its cues, as it was read;
    None where there are no others.
    """

    image: Pixels
    cues: Mapping[str, NDArray[np.generic]]
    mirrors: Mapping[str, Callable[[NDArray[np.generic]], NDArray[np.generic]]]
    spatial: frozenset[str]
    another: "Callable[[Random], View] | None" = None

    def with_spatial(
        self, move: Callable[[NDArray[np.generic]], NDArray[np.generic]], image: Pixels
    ) -> "View":
        return replace(
            self,
            image=image,
            cues={
                name: move(cue) if name in self.spatial else cue for name, cue in self.cues.items()
            },
        )


Random = np.random.Generator
Scalar = TypeVar("Scalar", bound=np.generic)
Transform = Callable[[View, Random], View]


def crop(pad: int = 10) -> Transform:
    """Pad with ``pad`` pixels of black (cues: background) on every side, then cut the old size
    out at random.
    """

    def move(view: View, random: Random) -> View:
        top, left = random.integers(0, 2 * pad + 1, 2)
        h, w = view.image.shape[:2]

        def cut(a: NDArray[Scalar]) -> NDArray[Scalar]:
            padded = np.pad(a, ((pad, pad), (pad, pad), *[(0, 0)] * (a.ndim - 2)))
            return padded[top : top + h, left : left + w]

        return view.with_spatial(cut, cut(view.image))

    return move


def zoom(p: float = 0.5, by: float = 1.125) -> Transform:
    """With probability ``p`` enlarge by the factor ``by`` and cut the old size out at random (DSA
    Sec. 4.2).

    The image is enlarged bilinearly; of its cues every pixel takes what lies under its center.
    """

    def move(view: View, random: Random) -> View:
        if random.random() >= p:
            return view
        h, w = view.image.shape[:2]
        size = round(h * by), round(w * by)
        top, left = (
            int(random.integers(0, size[0] - h + 1)),
            int(random.integers(0, size[1] - w + 1)),
        )

        def cut(a: NDArray[np.generic]) -> NDArray[np.generic]:
            return resize_nearest(a, size)[top : top + h, left : left + w]

        large = Image.fromarray(view.image).resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return view.with_spatial(cut, np.asarray(large)[top : top + h, left : left + w])

    return move


def mirror(p: float = 0.5) -> Transform:
    """Left becomes right, in the image and in every cue (part labels swap sides by their
    scheme).
    """

    def move(view: View, random: Random) -> View:
        if random.random() >= p:
            return view
        return replace(
            view,
            image=view.image[:, ::-1],
            cues={name: view.mirrors[name](cue) for name, cue in view.cues.items()},
        )

    return move


def erase(
    p: float = 0.5,
    sides: tuple[float, float] | None = None,
    area: tuple[float, float] = (0.02, 0.4),
    aspect: float = 0.3,
    fill: Literal["mean", "released"] = "mean",
    cues: bool = True,
) -> Transform:
    """Random erasing (Zhong et al., AAAI 2020): one rectangle becomes the mean color, its labels
    background.

    area, aspect: share of the image and least height/width ratio (1/aspect the greatest). sides:
    instead, height and width are each this share of theirs, drawn apart (BPBreID's released code).
    fill "released": the value that code leaves in normalised space, (0.485, 0.456, 0.406), a light
    grey. cues: False leaves them as they were.
    """
    color = (
        MEAN_PIXEL
        if fill == "mean"
        else tuple(round(255 * (m * s + m)) for m, s in zip(MEAN, STD, strict=True))
    )

    def move(view: View, random: Random) -> View:
        if random.random() >= p:
            return view
        h, w = view.image.shape[:2]
        for _ in range(100):
            if sides is not None:
                tall, wide = (
                    int(round(side * u))
                    for side, u in zip((h, w), random.uniform(*sides, 2), strict=True)
                )
            else:
                space = h * w * random.uniform(*area)
                ratio = random.uniform(aspect, 1 / aspect)
                tall, wide = int(round((space * ratio) ** 0.5)), int(round((space / ratio) ** 0.5))
            if 0 < tall < h and 0 < wide < w:
                break
        else:
            return view
        top, left = int(random.integers(0, h - tall + 1)), int(random.integers(0, w - wide + 1))
        image = view.image.copy()
        image[top : top + tall, left : left + wide] = color

        def blank(a: NDArray[np.generic]) -> NDArray[np.generic]:
            a = a.copy()
            a[top : top + tall, left : left + wide] = 0
            return a

        return view.with_spatial(blank, image) if cues else replace(view, image=image)

    return move


def jitter(p: float = 0.5, brightness: float = 0.2, contrast: float = 0.15) -> Transform:
    """Brightness and contrast each scaled by a random factor around 1."""

    def move(view: View, random: Random) -> View:
        if random.random() >= p:
            return view
        bright, sharp = 1 + random.uniform(-1, 1, 2) * (brightness, contrast)
        pixels = view.image.astype(np.float32) * bright
        grey = pixels.mean()
        return replace(view, image=(grey + (pixels - grey) * sharp).clip(0, 255).astype(np.uint8))

    return move


TRANSFORMS: Registry[Callable[..., Transform]] = Registry(
    "transform",
    "partreid.transforms",
    {
        "crop": crop,
        "zoom": zoom,
        "mirror": mirror,
        "erase": erase,
        "jitter": jitter,
        "paste": "partreid.data.pasting:paste",
    },
)


@door
def resize_nearest(labels: NDArray[np.generic], size: tuple[int, int]) -> NDArray[np.generic]:
    """Labels [h, w] on the grid of an image [H, W], each pixel taking the label under its
    center.
    """
    h, w = labels.shape[:2]
    if (h, w) == size:
        return labels
    rows = ((np.arange(size[0]) + 0.5) * h / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * w / size[1]).astype(int)
    return labels[rows[:, None], columns]


@door
def to_batch(images: Sequence[Pixels]) -> Tensor:
    """Images uint8 [H, W, 3] as one float32 tensor [B, 3, H, W], ImageNet-normalised."""
    require(
        len(images) > 0
        and all(isinstance(image, np.ndarray) and image.ndim == 3 for image in images)
        and len({image.shape for image in images}) == 1,
        "a batch",
        "one or more images uint8 [H, W, 3], all of one size",
        images,
    )
    pixels = np.stack(images).transpose(0, 3, 1, 2).astype(np.float32, order="C")
    pixels *= np.array([1 / (255 * s) for s in STD], np.float32)[:, None, None]
    pixels -= np.array([m / s for m, s in zip(MEAN, STD, strict=True)], np.float32)[:, None, None]
    return torch.from_numpy(pixels)
