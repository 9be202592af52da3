"""Occlusion pasted in training, with exact knowledge of what was pasted: things and other people
come in front of a person, and the part labels of what they hide become background.

Everything that is pasted comes out of other training images, so that it works on photographs as on
drawings, and knows nothing of the occluders of any test set.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partreid.data.transforms import Random, Transform, View
from partreid.errors import RecipeError
from partreid.types import UNKNOWN
from partreid.utils.arguments import number, require
from partreid.utils.images import Pixels

Mask = NDArray[np.bool_]
Offer = tuple[Mask, Pixels]  # where something could come in front, and how it looks there

TRIES = 8  # places for what is pasted, until it hides a share within bounds
LEAST = 0.02  # share of an image below which its labels show nobody


def paste(
    p: float = 0.5,
    people: float = 0.4,
    hidden: tuple[float, float] = (0.2, 0.7),
    labels: str = "parts",
) -> Transform:
    """With probability ``p`` something comes in front that hides a share of the person within
    ``hidden``: another person, cut out of another image by its part labels, or a thing, a shape
    filled with a piece of another image or with one color.

    people: how often it is a person, 0..1. labels: the cue whose labels say where people are. In
    every spatial cue the pasted pixels become background. An image is left as it is where its
    labels show nobody, or where no place that is tried hides a share within bounds.
    """
    for name, share in (("p", p), ("people", people)):
        number(f"paste: {name}", share, 0, 1)
    require(
        len(hidden) == 2 and 0 < hidden[0] < hidden[1] <= 1,
        "paste: hidden",
        "two shares of the person, the smaller first, above 0 and at most 1",
        hidden,
    )

    def move(view: View, random: Random) -> View:
        if view.another is None or random.random() >= p:
            return view
        person = _person(view, labels)
        whole = int(person.sum())
        if whole < LEAST * person.size:
            return view
        offers = _people if random.random() < people else _things
        for there, pixels in offers(view.another(random), labels, random):
            if hidden[0] <= int((there & person).sum()) / whole <= hidden[1]:
                return view.with_spatial(
                    lambda cue: _blank(cue, there),  # noqa: B023 - called at once
                    np.where(there[..., None], pixels, view.image),
                )
        return view

    return move


def _blank(cue: NDArray[np.generic], there: Mask) -> NDArray[np.generic]:
    cue = cue.copy()
    cue[there] = 0
    return cue


def _person(view: View, labels: str) -> Mask:
    """Where the labels of a view say that somebody is, bool [H, W]."""
    if labels not in view.cues or labels not in view.spatial:
        raise RecipeError(
            f"paste needs the part labels '{labels}' among the recipe's cues, to know who is "
            f"hidden; there are {', '.join(sorted(view.cues)) or 'none'}. Give the method labels, "
            "or leave paste out of augment"
        )
    cue = np.asarray(view.cues[labels], np.uint8)
    if cue.ndim == 3:  # soft masks, background first
        cue = cue.argmax(-1).astype(np.uint8)
    mask: Mask = (cue > 0) & (cue != UNKNOWN)
    return mask


def _people(other: View, labels: str, random: Random) -> Iterator[Offer]:
    """Another person, nearly as large, somewhere about the middle; none if no labels show them."""
    mask = _person(other, labels)
    h, w = mask.shape
    for _ in range(TRIES if int(mask.sum()) >= LEAST * mask.size else 0):
        size = random.uniform(0.85, 1.25)
        tall, wide = max(2, round(h * size)), max(2, round(w * size))
        cut = np.asarray(
            Image.fromarray(other.image).resize((wide, tall), Image.Resampling.BILINEAR)
        )
        small = np.asarray(Image.fromarray(mask).resize((wide, tall), Image.Resampling.NEAREST))
        if random.random() < 0.5:
            cut, small = cut[:, ::-1], small[:, ::-1]
        x = round((w - wide) / 2 + random.normal(0, 0.35) * w)
        y = round((h - tall) / 2 + random.uniform(-0.1, 0.25) * h)
        yield _placed(small, cut, (y, x), (h, w))


def _placed(mask: Mask, pixels: Pixels, corner: tuple[int, int], size: tuple[int, int]) -> Offer:
    there, layer = np.zeros(size, np.bool_), np.zeros((*size, 3), np.uint8)
    (y, x), (tall, wide) = corner, mask.shape
    top, left, bottom, right = max(y, 0), max(x, 0), min(y + tall, size[0]), min(x + wide, size[1])
    if bottom > top and right > left:
        to, off = np.s_[top:bottom, left:right], np.s_[top - y : bottom - y, left - x : right - x]
        there[to], layer[to] = mask[off], pixels[off]
    return there, layer


def _things(other: View, labels: str, random: Random) -> Iterator[Offer]:
    """A wall, a strip, a board or a round thing, drawn as a shape and filled from another image."""
    h, w = other.image.shape[:2]
    down, right = np.mgrid[:h, :w]
    rows, columns = down / h, right / w
    for _ in range(TRIES):
        kind, slope = random.integers(4), random.normal(0, 0.1)
        if kind == 0:  # from a height downwards: walls, cars, bushes
            edge = random.uniform(0.25, 0.8)
            wave = 0.02 * np.sin(columns * random.uniform(5, 40)) * random.integers(2)
            there = rows > edge + slope * (columns - 0.5) + wave
        elif kind == 1:  # at a side: pillars, doors, trees
            start, wide = random.uniform(-0.2, 0.9), random.uniform(0.15, 0.6)
            shifted = columns - slope * (rows - 0.5)
            there = (shifted > start) & (shifted < start + wide)
        elif kind == 2:  # a board, with something of the person below it
            top, tall = random.uniform(0, 0.75), random.uniform(0.15, 0.5)
            start, wide = random.uniform(-0.2, 0.5), random.uniform(0.4, 1.2)
            there = (rows > top + slope * (columns - 0.5)) & (rows < top + tall)
            there &= (columns > start) & (columns < start + wide)
        else:  # something round: plants, bags, wheels
            y, x = random.uniform(0.1, 1.0), random.uniform(0, 1)
            tall, wide = random.uniform(0.12, 0.4), random.uniform(0.2, 0.6)
            angle = np.arctan2(rows - y, columns - x)
            ragged = 1 + 0.15 * np.sin(angle * random.integers(3, 9) + random.uniform(0, 6.3))
            there = ((rows - y) / tall) ** 2 + ((columns - x) / wide) ** 2 < ragged
        yield there, _filling(other, random)


def _filling(other: View, random: Random) -> Pixels:
    """A piece of another image, enlarged, tinted; or one color with a little noise."""
    h, w = other.image.shape[:2]
    if random.random() < 0.5:
        share = random.uniform(0.1, 0.6)
        tall, wide = max(2, round(h * share)), max(2, round(w * share))
        y, x = random.integers(0, h - tall + 1), random.integers(0, w - wide + 1)
        piece = Image.fromarray(np.ascontiguousarray(other.image[y : y + tall, x : x + wide]))
        filled = np.asarray(piece.resize((w, h), Image.Resampling.BILINEAR)).astype(np.float32)
        filled = filled * random.uniform(0.5, 1.5, 3).astype(np.float32)
    else:
        color = random.uniform(20, 235, 3).astype(np.float32)
        grain = random.normal(0, random.uniform(0, 12), (h, w, 1)).astype(np.float32)
        filled = color + grain
    return filled.clip(0, 255).astype(np.uint8)
