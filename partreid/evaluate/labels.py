"""How good part labels are that a network made for itself, against exact surfaces (ISP Table 3's form)."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from partreid.cues.schemes import lookup
from partreid.data.transforms import resize_nearest
from partreid.types import UNKNOWN, Sample

# Regions of the exact label images. Belongings (25 backpack, 26 handbag) are foreground too: whoever looks for a person
# looks for the bag as well, which is ISP's point.
REGIONS = {"head": (23, 24, 27), "legs": (7, 8, 9, 10, 11, 12, 13, 14), "shoes": (5, 6)}
BELONGINGS = (25, 26)
PERSON = tuple(range(1, 28))


def label_quality(labels: NDArray[np.uint8], samples: Sequence[Sample],
                  exact: Callable[[Sample], NDArray[np.uint8]]) -> Mapping[str, float]:
    """IoU in 0..1 of foreground, head, legs and shoes, and the share of bags that the foreground keeps.

    labels: uint8 [N, h, w], 0 background, 1..K parts, 255 unknown. exact: surfaces uint8 [H, W] of a sample, 1..27 the
    person with hat and bags. Every part stands for the region of head, legs, shoes or anything else that it covers
    most of all over the set; a region without a part has IoU 0.
    """
    K = int(labels[labels != UNKNOWN].max(initial=0))
    regions = lookup({**REGIONS, "bags": BELONGINGS, "rest": tuple(
        s for s in PERSON if s not in {*BELONGINGS, *(x for r in REGIONS.values() for x in r)})})
    names = (*REGIONS, "bags", "rest")
    count = np.zeros((K + 1, len(names) + 1), np.int64)  # [label, exact region], 0 = background
    for found, sample in zip(labels, samples, strict=True):
        truth = regions[exact(sample)]
        own = resize_nearest(found, (truth.shape[0], truth.shape[1]))
        known = own != UNKNOWN
        np.add.at(count, (own[known], truth[known]), 1)
    stands_for = count[1:, 1:].argmax(1) if K else np.zeros(0, int)
    total, own_total = count.sum(0), count.sum(1)
    quality = {"foreground": _ratio(count[1:, 1:].sum(), count.sum() - count[0, 0])}
    for i, name in enumerate(REGIONS):
        mine = 1 + np.flatnonzero(stands_for == i)
        hit = count[mine, i + 1].sum()
        quality[name] = _ratio(hit, own_total[mine].sum() + total[i + 1] - hit)
    at = 1 + names.index("bags")
    return quality | {"bags kept": _ratio(count[1:, at].sum(), total[at])}


def _ratio(part: np.integer | int, whole: np.integer | int) -> float:
    return float(part) / float(whole) if whole else 0.0
