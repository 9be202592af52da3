"""How good parts are: labels that a network made for itself and the maps that it predicts, against
exact surfaces or a parser's labels (ISP Table 3).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from partreid.data.transforms import resize_nearest
from partreid.metrics import Interval, bootstrap_sums
from partreid.metrics.arrays import Ids
from partreid.types import UNKNOWN, Output, PartScheme, Sample

# Regions of the exact label images. Belongings (25 backpack, 26 handbag) are foreground too:
# whoever looks for a person looks for the bag as well, which is ISP's point.
REGIONS = {"head": (23, 24, 27), "legs": (7, 8, 9, 10, 11, 12, 13, 14), "shoes": (5, 6)}
BELONGINGS = (25, 26)
PERSON = tuple(range(1, 28))
# share of the crop that a part must cover to count as visible: 16 pixels at 128 x 64
SHOWN_PIXELS = 1 / 512

Named = Mapping[str, Sequence[int]]  # the parts that stand for each region


def label_quality(
    labels: NDArray[np.uint8],
    samples: Sequence[Sample],
    exact: Callable[[Sample], NDArray[np.uint8]],
) -> dict[str, float]:
    """:func:`overlap_quality` of :func:`label_overlaps`."""
    return overlap_quality(label_overlaps(labels, samples, exact))


def label_overlaps(
    labels: NDArray[np.uint8],
    samples: Sequence[Sample],
    exact: Callable[[Sample], NDArray[np.uint8]],
) -> list["Overlap"]:
    """Labels of every image against foreground, head, legs, shoes and bags.

    labels: uint8 [N, h, w], 0 background, 1..K parts, 255 unknown. exact: surfaces uint8 [H, W] of
    a sample, 1..27 the person with hat and bags.
    """
    K = int(labels[labels != UNKNOWN].max(initial=0))
    overlaps = []
    for label_map, sample in zip(labels, samples, strict=True):
        surfaces = exact(sample)
        one = Overlap(K, ("foreground", *REGIONS, "bags"))
        one.add(label_map, {**region_masks(surfaces), "bags": np.isin(surfaces, BELONGINGS)})
        overlaps.append(one)
    return overlaps


def overlap_quality(overlaps: Sequence["Overlap"]) -> dict[str, float]:
    """IoU in 0..1 of foreground, head, legs and shoes, and the share of bags that the foreground
    keeps, from :func:`label_overlaps`.

    Every part stands for the region of head, legs, shoes, bags or anything else that it covers most
    of all over the set; a region without a part has IoU 0.
    """
    whole = Overlap.total(overlaps)
    agreement = whole.agreement(whole.by_overlap())
    bags = whole.regions.index("bags")
    kept, there = int(whole.hits[1:, bags].sum()), int(whole.reference[bags])
    return {
        **{name: agreement[name].inside or 0.0 for name in ("foreground", *REGIONS)},
        "bags kept": kept / there if there else 0.0,
    }


def region_masks(surfaces: NDArray[np.uint8]) -> dict[str, NDArray[np.bool_]]:
    """Foreground, head, legs and shoes in exact surfaces uint8 [H, W]: bool [H, W] each."""
    return {
        "foreground": (surfaces >= min(PERSON)) & (surfaces <= max(PERSON)),
        **{name: np.isin(surfaces, members) for name, members in REGIONS.items()},
    }


@dataclass(frozen=True)
class Agreement:
    """How well a region agrees with the reference, each an intersection over union in 0..1, None
    where neither has any.

    inside: of the region, what ISP's Table 3 says it shows. outside: of everything else. mean: of
    the two, what its released code prints under that name.
    """

    inside: float | None
    outside: float | None

    @property
    def mean(self) -> float | None:
        return (
            None
            if self.inside is None or self.outside is None
            else (self.inside + self.outside) / 2
        )


class Overlap:
    """Counts of K parts against reference regions that may overlap and leave gaps, over any number
    of images.

    regions: names, the first the whole foreground, then others inside it.
    """

    def __init__(self, K: int, regions: Sequence[str]) -> None:
        self.K, self.regions = K, tuple(regions)
        self.hits = np.zeros((K + 1, len(regions)), np.int64)  # [part, region], pixels on both
        self.areas = np.zeros(K + 1, np.int64)
        self.reference = np.zeros(len(regions), np.int64)

    def add(self, labels: NDArray[np.uint8], masks: Mapping[str, NDArray[np.bool_]]) -> None:
        """Labels uint8 [h, w], 0 background, 1..K, 255 unknown, which count nowhere; masks bool
        [H, W] by region.
        """
        height, width = masks[self.regions[0]].shape
        resized = resize_nearest(labels, (height, width))
        known = resized != UNKNOWN
        self.areas += np.bincount(resized[known], minlength=self.K + 1)
        for i, name in enumerate(self.regions):
            there = masks[name] & known
            self.hits[:, i] += np.bincount(resized[there], minlength=self.K + 1)
            self.reference[i] += there.sum()

    @classmethod
    def total(cls, some: Sequence["Overlap"]) -> "Overlap":
        """All of them as one; at least one, of the same parts and regions."""
        whole = cls(some[0].K, some[0].regions)
        for one in some:
            whole.hits += one.hits
            whole.areas += one.areas
            whole.reference += one.reference
        return whole

    def by_order(self) -> dict[str, tuple[int, ...]]:
        """Parts of head, legs and shoes as ISP's released code takes them, from above: the first;
        the one or, of six, two before the last; the last.
        """
        return {
            "head": (1,),
            "legs": (4,) if self.K == 5 else tuple(range(4, self.K)),
            "shoes": (self.K,),
        }

    def by_overlap(self) -> dict[str, tuple[int, ...]]:
        """Each part with the region, or with the rest of the foreground, that it covers most of."""
        inner = self.hits[1:, 1:]
        rest = np.maximum(self.hits[1:, 0] - inner.sum(1), 0)
        best = np.column_stack([inner, rest]).argmax(1)
        return {
            name: tuple((1 + np.flatnonzero((best == i) & (self.areas[1:] > 0))).tolist())
            for i, name in enumerate(self.regions[1:])
        }

    def pixels(self, region: int, parts: Sequence[int]) -> tuple[int, int]:
        """In both and in either of a region, from 0, and what stands for it: these parts, or every
        part for the first region.
        """
        mine = list(range(1, self.K + 1)) if region == 0 else list(parts)
        both = int(self.hits[mine, region].sum())
        return both, int(self.areas[mine].sum() + self.reference[region]) - both

    def agreement(self, stands_for: Named) -> dict[str, Agreement]:
        """By region; stands_for: the parts of each but the first, which is every part."""
        agreements, total = {}, int(self.areas.sum())
        for i, name in enumerate(self.regions):
            both, either = self.pixels(i, stands_for.get(name, ()))
            agreements[name] = Agreement(
                both / either if either else None,
                (total - either) / (total - both) if total > both else None,
            )
        return agreements


def overlap_gains(
    mine: Sequence[Overlap],
    than: Sequence[Overlap],
    ids: Ids,
    named: tuple[Named, Named] | None = None,
) -> dict[str, Interval]:
    """How much higher the IoU inside each region is than that of others of the same images, and the
    range of it when people are drawn anew. Regions that neither has are left out.

    mine, than: one for each image; ids: the person in it; named: what the parts of either stand
    for, by default what they cover most of. It is kept in every draw.
    """
    wholes = [Overlap.total(side) for side in (mine, than)]
    named = named or (wholes[0].by_overlap(), wholes[1].by_overlap())
    agreements = [whole.agreement(names) for whole, names in zip(wholes, named, strict=True)]
    regions = [
        (i, name)
        for i, name in enumerate(mine[0].regions)
        if all(agreement[name].inside is not None for agreement in agreements)
    ]
    if not regions:
        return {}

    def pixels(overlap: Overlap, names: Named) -> list[int]:
        """In both and in either, region by region."""
        return [n for i, name in regions for n in overlap.pixels(i, names.get(name, ()))]

    rows = [
        pixels(one, named[0]) + pixels(other, named[1])
        for one, other in zip(mine, than, strict=True)
    ]

    def gain(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        both, either = sums[:, ::2], sums[:, 1::2]
        iou = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
        iou = iou.reshape(len(sums), 2, len(regions))
        return {name: iou[:, 0, k] - iou[:, 1, k] for k, (_, name) in enumerate(regions)}

    return bootstrap_sums(np.array(rows, np.float64), ids, gain)


def bell(K: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Labels uint8 [h, w] that look at nothing: a bell in the middle, cut off as an ellipse half as
    wide as the crop and nine tenths as high, in K rows. Whoever does no better has learned nothing.
    """
    y, x = ((np.arange(n) + 0.5) / n - 0.5 for n in size)
    inside = (x[None] / 0.25) ** 2 + (y[:, None] / 0.45) ** 2 <= 1
    rows = np.clip(((y + 0.45) / 0.9 * K).astype(int), 0, K - 1) + 1
    return np.where(inside, rows[:, None], 0).astype(np.uint8)


def stripes(K: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Labels uint8 [h, w] of K rows as wide as the crop, without background."""
    return np.broadcast_to((np.arange(size[0]) * K // size[0] + 1)[:, None], size).astype(np.uint8)


class Truth:
    """Confusion of labels at image resolution, and of visibility per part.

    labels: exact part labels uint8 [h, w] of a sample, 0 background, 1..K. Pass :meth:`see` to
    ``extract``.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        scheme: PartScheme,
        size: tuple[int, int],
        labels: Callable[[Sample], NDArray[np.uint8]],
    ) -> None:
        self.samples, self.scheme, self.size, self.labels = samples, scheme, size, labels
        self.confusion = np.zeros((scheme.K + 1, scheme.K + 1), np.int64)  # [truth, predicted]
        self.visibility = np.zeros((scheme.K, 2, 2), np.int64)  # [part, truth, predicted]

    def see(self, rows: slice, out: Output) -> None:
        """Count one batch of outputs, which stand for ``samples[rows]``."""
        if out.parts is None:
            return
        K = self.scheme.K
        predicted = (
            F.interpolate(out.parts.logits.float().cpu(), size=self.size, mode="bilinear")
            .argmax(1)
            .numpy()
        )
        shown = (out.groups["parts"].visibility.cpu() > 0).numpy().astype(int)
        for row, sample in enumerate(self.samples[rows]):
            truth = resize_nearest(self.labels(sample), self.size).astype(np.uint8)
            self.confusion += np.bincount(
                truth.ravel().astype(int) * (K + 1) + predicted[row].ravel(), minlength=(K + 1) ** 2
            ).reshape(K + 1, K + 1)
            there = exact_visibility(truth, K).astype(int)
            np.add.at(self.visibility, (np.arange(K), there, shown[row]), 1)

    def iou(self) -> dict[str, float]:
        """Intersection over union of every part, of the foreground as a whole, and their mean
        over parts.
        """
        hit = self.confusion.diagonal()
        union = self.confusion.sum(0) + self.confusion.sum(1) - hit
        parts = {
            name: float(hit[k] / max(union[k], 1)) for k, name in enumerate(self.scheme.names, 1)
        }
        both, none = self.confusion[1:, 1:].sum(), self.confusion[0, 0]
        return {
            **parts,
            "mean": float(np.mean(list(parts.values()))),
            "foreground": float(both / max(self.confusion.sum() - none, 1)),
        }

    def visibility_accuracy(self) -> dict[str, float]:
        """Share of images in which a part's predicted visibility is right, by part and on
        average.
        """
        right = self.visibility[:, [0, 1], [0, 1]].sum(1) / np.maximum(
            self.visibility.sum((1, 2)), 1
        )
        parts = {name: float(r) for name, r in zip(self.scheme.names, right, strict=True)}
        return {**parts, "mean": float(right.mean())}


def exact_visibility(labels: NDArray[np.uint8], K: int) -> NDArray[np.bool_]:
    """Bool [K]: the parts that cover at least :data:`SHOWN_PIXELS` of a label map [H, W]."""
    return np.bincount(labels.ravel(), minlength=K + 1)[1 : K + 1] >= SHOWN_PIXELS * labels.size


def exact_visibilities(
    samples: Sequence[Sample], K: int, labels: Callable[[Sample], NDArray[np.uint8]]
) -> torch.Tensor:
    """Float32 [N, K] of :func:`exact_visibility` for every sample."""
    return torch.from_numpy(np.stack([exact_visibility(labels(s), K) for s in samples])).float()
