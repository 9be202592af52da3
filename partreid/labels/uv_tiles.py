"""DSA-reID's cue: the surface of every training image unwrapped to 24 part images (Sec. 3.1,
DSAP-images).
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from partreid.errors import DataError, RecipeError
from partreid.labels.base import Cue, FeatureStream
from partreid.labels.surfaced import NOISE, Read, Surfaced, among
from partreid.layers.warp import ALIGN, LEFT_RIGHT, Align, Collision, coarse, mirrored, warp
from partreid.recipes.base import unknown
from partreid.types import PartScheme, Sample
from partreid.utils.files import write_atomically

Source = Literal["dense", "coarse"]
Progress = Callable[[int, int], None]
T = TypeVar("T")
CHUNK = 32  # images warped together


def uv_tiles(
    root: Path,
    samples: Sequence[Sample],
    folder: str = "iuv",
    source: Source = "dense",
    align: Align = "lr",
    collision: Collision = "mean",
    sync: Literal["flip_only", "geometric"] = "flip_only",
    erasing: bool = False,
    missing: Literal["empty", "error"] = "empty",
    size: int = 32,
    noise: Literal["none", "moderate", "heavy"] = "none",
    drop: float | None = None,
    jitter: float | None = None,
    swap: float | None = None,
    seed: int = 0,
    cache: bool = True,
    progress: Progress | None = None,
) -> Cue:
    """Tiles from IUV pictures (:func:`partreid.labels.densepose.surfaces_of` says where) and the
    crops they are of.

    source: "coarse" cuts the parts out instead (CSA, Table 4) and aligns nothing. align, collision,
    size: see
    :mod:`partreid.layers.warp`; the paper's are "none", "last", 32. sync: "flip_only" makes fixed
    tiles of the whole images (:class:`UvTiles`), which do not see crop and erase; "geometric"
    leaves the warp to the method, after crop, mirror and erase (:class:`UvMaps`). erasing: that
    erased pixels go from the tiles too; so it is with the second and cannot be with the first, and
    has to be said. missing: whether images in which DensePose found nobody get empty tiles or are
    an error. noise: a row of :data:`partreid.labels.surfaced.NOISE`, or instead of its numbers
    ``drop``, ``jitter``, ``swap``, drawn from ``seed``. cache: keep fixed tiles in ``root/cache``
    if that can be written. progress: called with (images done, images in all).
    """
    for what, name, known in (("align", align, ALIGN), ("noise", noise, NOISE)):
        if name not in known:
            raise RecipeError(unknown(what, name, known))
    given = {
        name: value
        for name, value in (("drop", drop), ("jitter", jitter), ("swap", swap))
        if value is not None
    }
    wrong = replace(NOISE[noise], **given)
    if not (0 <= wrong.drop <= 1 and 0 <= wrong.swap <= 1 and wrong.jitter >= 0):
        raise RecipeError(
            f"drop and swap are shares from 0 to 1 and jitter is not negative, got {wrong}"
        )
    if not 1 <= size <= 256:
        raise RecipeError(f"size must be 1 to 256, got {size}")
    if sync == "geometric" and (source != "dense" or collision != "mean"):
        raise RecipeError(
            "sync='geometric' warps in the method, densely and to the mean; got "
            f"source='{source}', collision='{collision}'. Take sync='flip_only' for these"
        )
    if erasing != (sync == "geometric"):
        raise RecipeError(
            "with sync='geometric' what is erased in the image is erased in the tiles: say "
            "erasing=True"
            if sync == "geometric"
            else "tiles of whole images (sync='flip_only') cannot know what will "
            "be erased: say erasing=False, or sync='geometric'"
        )
    images = Surfaced(root, samples, folder, align if source == "dense" else "none", wrong, seed)
    cue: UvTiles | UvMaps
    if sync == "geometric":
        cue = UvMaps(images, progress)
    else:
        cue = UvTiles(
            images, source, collision, size, root / "cache" if cache and samples else None, progress
        )
    lost = [
        sample.path
        for sample, detected in zip(samples, cue.detected.tolist(), strict=True)
        if not detected
    ]
    if lost and missing == "error":
        raise DataError(
            f"DensePose found nobody in {len(lost)} of {len(samples)} training images; the first "
            f"is {lost[0]}. Run it on them again, or give them empty tiles with missing='empty'"
        )
    return cue


class _Fixed:
    """What does not change while training: no part scheme, nothing to refresh or to save."""

    scheme: PartScheme | None = None
    detected: NDArray[np.bool_]  # [N], whether anything was found, before noise
    known: NDArray[np.bool_]  # [N], whether anything is in the item

    @property
    def coverage(self) -> float:
        """Share of the training images with a surface."""
        return float(self.known.mean()) if len(self.known) else 0.0

    def sentence(self) -> str:
        """How much is known, for a log."""
        return (
            f"The surface of {int(self.known.sum()):,} of {len(self.known):,} training images is "
            f"known ({100 * self.coverage:.1f} %)."
        )

    def example(self, count: int, size: tuple[int, int]) -> Tensor:
        """Made-up tiles uint8 [count, 24, 4, 16, 16], three tenths of whose cells are known."""
        draw = torch.Generator().manual_seed(1)
        tiles = torch.randint(256, (count, 24, 4, 16, 16), generator=draw, dtype=torch.uint8)
        tiles[:, :, 3] = torch.rand(count, 24, 16, 16, generator=draw) < 0.3
        return tiles

    def refresh(self, epoch: int, features: FeatureStream) -> None:
        """Fixed tiles do not change."""

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold: nothing, the images lie on disk."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Nothing to put back."""


class UvTiles(_Fixed):
    """Ready tiles, uint8 [24, 4, S, S] per image: R, G, B and 1 where known. Crop and erase leave
    them alone.

    All are made at once and kept without their empty cells: some 10 KB an image at S = 32. The bank
    is plain tensors that nobody writes to, so loader workers share it, forked or spawned.
    """

    spatial = False

    def __init__(
        self,
        images: Surfaced,
        source: Source = "dense",
        collision: Collision = "mean",
        size: int = 32,
        cache: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        flips = (
            (frozenset[int](), frozenset(range(1, 25)))
            if source == "coarse"
            else mirrored(images.align)
        )
        self.size, self._flips = size, among(flips)[:, 1:]
        path = (
            cache
            / f"uv_tiles-{images.digest(source=source, collision=collision, size=size)}.safetensors"
            if cache
            else None
        )
        bank = _cached(path, len(images), size)
        if bank is None:
            bank = _build(images, source, collision, size, progress)
            if path is not None:
                # a data set that cannot be written to is no reason to stop
                with contextlib.suppress(DataError):
                    write_atomically(path, save(bank))
        elif progress:
            progress(len(images), len(images))
        self._seen, self._colors, self._ends = bank["seen"], bank["colors"], bank["ends"]
        self.detected = bank["detected"].numpy().astype(bool)
        self.known = np.diff(self._ends.numpy()) > 0

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        item = np.zeros((24, 4, self.size**2), np.uint8)
        item[:, 3] = np.unpackbits(self._seen[index].numpy(), count=24 * self.size**2).reshape(
            24, -1
        )
        seen = item[:, 3].astype(bool)
        begin, end = self._ends[index : index + 2].tolist()
        for c in range(3):
            item[:, c][seen] = self._colors[c, begin:end].numpy()
        return item.reshape(24, 4, self.size, self.size)

    def mirror(self, item: NDArray[np.generic]) -> NDArray[np.generic]:
        # as mirror_tiles and mirror_coarse do, but without torch's threads, which cost more than
        # they bring here
        out: NDArray[np.generic] = item[np.array(LEFT_RIGHT[1:]) - 1]
        out[self._flips[0]] = out[self._flips[0], :, ::-1]
        out[self._flips[1]] = out[self._flips[1], :, :, ::-1]
        return out

    def sentence(self) -> str:
        """How much is known, for a log."""
        cells = int(self._ends[-1]) / max(int(self.known.sum()) * 24 * self.size**2, 1)
        return (
            f"{super().sentence()[:-1]}; {100 * cells:.1f} % of the cells of their tiles "
            "are filled."
        )


class UvMaps(_Fixed):
    """Maps to be warped after augmentation, uint8 [H, W, 6] per image: chart, U, V in 0..255, R, G,
    B.

    They move with crop, mirror and erase, so that what the image does not show any more is not in
    the tiles either.
    """

    spatial = True

    def __init__(self, images: Surfaced, progress: Progress | None = None) -> None:
        self.images = images
        self._flips = among(mirrored(images.align))

        def look(chunk: range) -> list[tuple[bool, bool]]:
            return [
                (detected, bool(labels.any())) for detected, labels, _ in map(images.surface, chunk)
            ]

        flags = [row for rows in _chunked(look, len(images), progress) for row in rows]
        self.detected, self.known = np.array(flags, bool).reshape(-1, 2).T

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        pixels, labels, uv, _ = self.images.read(index)
        valid = np.isfinite(uv).all(0)
        uv = np.where(valid, uv, 0).clip(0, 1)
        return np.concatenate(
            [np.where(valid, labels, 0)[..., None], np.rint(uv * 255).transpose(1, 2, 0), pixels], 2
        ).astype(np.uint8)

    def mirror(self, item: NDArray[np.generic]) -> NDArray[np.generic]:
        out = item[:, ::-1].copy()
        labels = out[..., 0].astype(np.uint8)
        out[..., 1:3] = np.where(
            self._flips[:, labels].transpose(1, 2, 0), 255 - out[..., 1:3], out[..., 1:3]
        )
        out[..., 0] = np.asarray(LEFT_RIGHT, np.uint8)[labels]
        return out


@contextlib.contextmanager
def _one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """Threads to decode and warp in, in which torch starts no more of them: with those it takes
    ten times as long.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _chunked(job: Callable[[range], T], count: int, progress: Progress | None) -> Iterator[T]:
    """``job`` of every ``CHUNK`` indices, in their order, by threads."""
    chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    with _one_thread_each() as pool:
        for chunk, values in zip(chunks, pool.map(job, chunks), strict=True):
            yield values
            if progress:
                progress(chunk.stop, count)


def _build(
    images: Surfaced, source: Source, collision: Collision, size: int, progress: Progress | None
) -> dict[str, Tensor]:
    """All tiles without their empty cells: seen uint8 [N, bytes], a bit for each cell; colors
    uint8 [3, M] of the cells that are seen; ends int64 [N + 1], where the colors of each image
    begin and end; detected uint8 [N].
    """

    def unwrap(chunk: range) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows = [images.read(i) for i in chunk]
        pixels, labels, uv = _batched(rows)
        tiles, count = (
            coarse(pixels, labels, size)
            if source == "coarse"
            else warp(pixels, labels, uv, size, collision)
        )
        here = count > 0
        colors = tiles.permute(0, 1, 3, 4, 2)[here].round_().to(torch.uint8)
        return (
            torch.from_numpy(np.packbits(here.flatten(1).numpy(), axis=1)),
            colors,
            here.flatten(1).sum(1),
            torch.tensor([row[3] for row in rows], dtype=torch.uint8),
        )

    pieces = list(_chunked(unwrap, len(images), progress))
    none = torch.zeros(0, dtype=torch.uint8)
    return {
        "seen": torch.cat([none.view(0, -(-24 * size**2 // 8)), *(f[0] for f in pieces)]),
        "colors": torch.cat([none.view(0, 3), *(f[1] for f in pieces)]).T.contiguous(),
        "ends": torch.cat([torch.zeros(1, dtype=torch.int64), *(f[2] for f in pieces)]).cumsum(0),
        "detected": torch.cat([none, *(f[3] for f in pieces)]),
    }


def _batched(chunk: Sequence[Read]) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of :meth:`Surfaced.read` as pixels uint8 [B, 3, H, W], labels uint8 [B, H, W] and uv
    float32 [B, 2, H, W], smaller images with background to the right and below.
    """
    h, w = (max(row[1].shape[axis] for row in chunk) for axis in (0, 1))
    pixels = np.zeros((len(chunk), 3, h, w), np.uint8)
    labels, uv = np.zeros((len(chunk), h, w), np.uint8), np.zeros((len(chunk), 2, h, w), np.float32)
    for i, (photo, charts, places, _) in enumerate(chunk):
        tall, wide = charts.shape
        pixels[i, :, :tall, :wide], labels[i, :tall, :wide] = photo.transpose(2, 0, 1), charts
        uv[i, :, :tall, :wide] = places
    return torch.from_numpy(pixels), torch.from_numpy(labels), torch.from_numpy(uv)


def _cached(path: Path | None, images: int, size: int) -> dict[str, Tensor] | None:
    """The bank of an earlier run, None if there is none or it is broken."""
    if path is None or not path.is_file():
        return None
    try:
        bank = load_file(path)
        seen, colors, ends, detected = (
            bank[name] for name in ("seen", "colors", "ends", "detected")
        )
        fits = (
            ends.dtype == torch.int64
            and {seen.dtype, colors.dtype, detected.dtype} == {torch.uint8}
            and tuple(seen.shape) == (images, -(-24 * size**2 // 8))
            and tuple(detected.shape) == (images,)
            and tuple(ends.shape) == (images + 1,)
            and tuple(colors.shape) == (3, int(ends[-1]))
            and ends[0] == 0
            and np.array_equal(np.diff(ends.numpy()), _set_bits(seen.numpy()))
            and bool((detected <= 1).all())
        )
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError, MemoryError):
        return None
    return bank if fits else None


def _set_bits(rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many bits are set in each row of uint8 [N, bytes]: int64 [N]."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1).astype(np.uint8)
    return bits[rows].sum(1, dtype=np.int64)
