"""ISP's cascaded clustering: part labels of one person from the feature maps of all their images
(Sec. 3.2).
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from partreid.errors import RecipeError
from partreid.labels.pseudo import Labelled, PseudoLabels, State
from partreid.methods.isp.clustering import (
    Pixels,
    inside,
    kmeans,
    norms,
    ranked,
    seeded_foreground,
    split_in_two,
    window,
)
from partreid.types import UNKNOWN, Sample
from partreid.utils.arguments import door

Clustering = Literal["cascade", "one_step", "unnormalised"]


@door
def isp_clusters(
    root: Path,
    samples: Sequence[Sample],
    parts: int = 6,
    every: int = 1,
    until: int | None = None,
    clustering: Clustering = "cascade",
    enhance: bool = False,
    central: bool = False,
    rim: int = 0,
    height: float = 0.0,
    seeded: bool = False,
    margin: int = 0,
    aligned: bool = True,
) -> PseudoLabels:
    """The cue: labels of ``parts`` parts (the paper's K - 1), clustered anew every ``every`` epochs
    before ``until``.

    clustering, enhance, central, rim, height, seeded: see :func:`parse_person`; margin, aligned:
    see :class:`partreid.labels.pseudo.PseudoLabels`. RecipeError for a negative rim, height or
    margin, and for two ways to a foreground at once.
    """
    require_rim(rim)
    require_height(height)
    require_one_way(seeded, central)
    labeller = partial(
        parse_person,
        parts=parts,
        clustering=clustering,
        enhance=enhance,
        central=central,
        rim=rim,
        height=height,
        seeded=seeded,
    )
    return PseudoLabels(
        samples, parts, labeller, every=every, until=until, aligned=aligned, margin=margin
    )


@door
def require_rim(rim: int) -> None:
    """RecipeError for a rim of fewer than no cells."""
    if rim < 0:
        raise RecipeError(f"rim is a number of cells from 0, got {rim}")


@door
def require_height(height: float) -> None:
    """RecipeError for a negative weight of a pixel's row."""
    if height < 0:
        raise RecipeError(f"height is a weight from 0, got {height:g}")


@door
def require_one_way(seeded: bool, central: bool) -> None:
    """RecipeError for a foreground that is learned and, at once, the activation's."""
    if seeded and central:
        raise RecipeError(
            "seeded and central both say how the foreground comes about; set one of them"
        )


@door
def with_height(maps: Tensor, length: Tensor, height: float) -> Tensor:
    """Maps [n, C, h, w] with one channel more: the row of a pixel, -1 at the top to 1, times
    ``height`` and the length [n, h w] of its features.
    """
    row = torch.linspace(-1, 1, maps.shape[2], device=maps.device, dtype=maps.dtype)
    place = row[:, None] * height * length.view(len(maps), 1, *maps.shape[2:])
    return torch.cat([maps, place], 1)


@door
def parse_person(
    features: Tensor,
    cameras: Tensor,
    state: State | None,
    *,
    parts: int,
    clustering: Clustering = "cascade",
    enhance: bool = False,
    central: bool = False,
    rim: int = 0,
    height: float = 0.0,
    seeded: bool = False,
    plausible: tuple[float, float] = (0.02, 0.95),
    seed: int = 0,
) -> Labelled:
    """Labels uint8 [n, h, w] of one person's n images: 0 background, 1..parts from top to bottom.

    features: float32 [n, C, h, w]. cameras: int64 [n], not used. state: the round before, whose
    centers are followed. clustering: "one_step" and "unnormalised" are the paper's Variants 1 and 2
    (Fig. 5). enhance: the released code sharpens the activation, so that more pixels count as
    foreground; of a seeded foreground those from 0.2, not 0.5. central: ours, activation counts
    for less towards the rim; for trunks that start from nothing, in which the foreground need not
    respond more. rim: ours, so many cells at the rim count as those next to them, for there a trunk
    sees its own padding. height: ours, the second stage also clusters by the row of a pixel, -1 at
    the top to 1, times this and the length of its features: parts that lie one above the other
    keep their order. seeded: ours, instead of the activation a discriminant says what is
    foreground, see :func:`partreid.methods.isp.clustering.seeded_foreground`. plausible: least and
    greatest share of foreground that is believed.
    """
    require_one_way(seeded, central)
    n, _, h, w = features.shape
    framed = inside(features.float(), rim)
    maps = framed.flatten(2)
    length = norms(maps)
    if not bool(length.isfinite().all()):
        return fallback("not_finite", features, state)
    if seeded:
        likely = seeded_foreground(framed)
        if likely is None:
            return fallback("flat_activation", features, state)
        energy = likely.flatten(1)
        front = ((sharpened(energy) if enhance else energy) > 0.5) & (length > 0)
    else:
        energy = length * window(h, w, maps).flatten() if central else length
        energy = energy / energy.amax(1, keepdim=True).clamp_min(1e-12)  # Eq. 3
        # first stage: the brighter cluster
        front = split_in_two(sharpened(energy) if enhance else energy) & (length > 0)
    share = float(front.float().mean())
    notes: dict[str, float] = {}
    if share == 0:
        return fallback("flat_activation", features, state)
    if not plausible[0] <= share <= plausible[1]:
        if state is not None:
            return fallback("implausible_foreground", features, state)
        notes["implausible_foreground"] = 1
    row = torch.arange(h, device=maps.device, dtype=torch.float64).repeat_interleave(w)
    start = (
        state.centers.to(maps.device) if state is not None and state.centers is not None else None
    )
    if height > 0:
        maps = with_height(framed, length, height).flatten(2)
    if clustering == "one_step":  # Variant 1
        pixels = Pixels(maps, (length > 0) / length.clamp_min(1e-12))
        clusters = kmeans(pixels, parts + 1, start, seed=seed)
        dimmest = int(ranked(clusters.labels, energy, parts + 1)[0])
        order = ranked(clusters.labels, row, parts + 1)
        order = torch.cat([order[order == dimmest], order[order != dimmest]])
        first = 0
    else:
        # Variant 2 | Eq. 4
        scale = front.float() if clustering == "unnormalised" else front / length.clamp_min(1e-12)
        clusters = kmeans(Pixels(maps, scale), parts, start, seed=seed)  # second stage
        order = ranked(clusters.labels, row, parts)
        first = 1
    new = torch.empty(len(order) + 1, dtype=torch.uint8, device=maps.device)
    new[order] = torch.arange(
        first, first + len(order), dtype=torch.uint8, device=maps.device
    )  # top to bottom
    new[-1] = 0  # what took no part
    labels = new[clusters.labels].view(n, h, w)
    missing = int((clusters.counts == 0).sum())
    if missing:
        notes["missing_parts"] = 1
    if start is not None and clusters.cold:
        notes["restarted"] = 1
    return Labelled(labels, None if missing else clusters.centers[order], notes)


@door
def sharpened(energy: Tensor) -> Tensor:
    """The released code's sigmoid(10 a - 2): flattens high activations, so that more pixels
    count as foreground.
    """
    return torch.sigmoid(10 * energy - 2)


@door
def fallback(why: str, features: Tensor, state: State | None) -> Labelled:
    """The labels of the round before, or none (255, which no loss counts) in the first."""
    n, _, h, w = features.shape
    if state is not None:
        return Labelled(state.labels, state.centers, {why: 1, "kept": 1})
    unknown = torch.full((n, h, w), UNKNOWN, dtype=torch.uint8, device=features.device)
    return Labelled(unknown, None, {why: 1, "unlabelled": 1})
