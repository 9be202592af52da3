"""Part labels from pose: the 36 PifPaf confidence fields that BPBreID distributes for its data
sets.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError, RecipeError
from partreid.labels.base import PartLabels
from partreid.labels.masks import PartMasks
from partreid.labels.places import MISSING, QUARTER, Missing, find_file, image_size, require_files
from partreid.labels.schemes import JOINTS, LIMBS, PIFPAF, Groups, find, scheme_of
from partreid.recipes.base import unknown
from partreid.types import UNKNOWN, Sample
from partreid.utils.arguments import door
from partreid.utils.arrays import read_array, read_arrays
from partreid.utils.images import orientation, turned

Background = Literal["threshold", "diff_from_max", "sum"]
# The three spellings in circulation, then KPR's for the .tif crops of Occluded-REID, then raw
# outputs of OpenPifPaf.
SUFFIXES = ("{stem}.npy", "{name}.npy", "{name}.confidence_fields.npy")
OTHERS = ("{stem}.jpg.confidence_fields.npy", "{stem}.npz", "{name}.npz")
OVER = 1.01  # confidences may exceed 1 by rounding
FIELDS = JOINTS + len(LIMBS)
# names of the two heads' outputs, before and after OpenPifPaf 0.12
RAW = (("pif", "paf"), ("cif", "caf"))


@door
def pifpaf_labels(
    root: Path,
    samples: Sequence[Sample],
    parts: str = "eight",
    folder: str = "pifpaf_maskrcnn_filtering",
    background: Background = "threshold",
    threshold: float = 0.5,
    missing: Missing = "error",
    masks: tuple[int, int] | None = None,
    swap: bool = True,
) -> PartLabels | PartMasks:
    """Labels from fields float [36, h, w] in ``root/masks/<folder>/<split>/``, or raw outputs
    (.npz) in their place.

    parts: a row of :data:`partreid.labels.schemes.PIFPAF`. background: which pixels belong to
    nobody. Fields are found under any name that BPBreID and KPR use, also with the identity's
    folder dropped or, as for Partial-REID, beside the image. missing: "error" or "unknown", for
    images without a file. masks: None for labels; else the size (H, W) of the recipe's images, for
    soft masks by the rule of the released code (:class:`~partreid.labels.masks.PartMasks`). swap:
    whether mirroring exchanges left and right parts; in the released code it does not. RecipeError
    for a row with parts that no pixel could have, and for masks where some may be unknown.
    DataError counts the images without a file and names the first.
    """
    groups = find(PIFPAF, parts, "PifPaf grouping")
    if covered := never_first(groups):
        raise RecipeError(
            f"the PifPaf grouping '{parts}' cannot be labels: every field of {', '.join(covered)} "
            "belongs to a part before it, so no pixel would be theirs. Choose another row, e.g. "
            "'eight'"
        )
    if background not in get_args(Background):
        raise RecipeError(unknown("background rule", background, get_args(Background)))
    if missing not in MISSING:
        raise RecipeError(unknown("rule for missing labels", missing, MISSING))
    if masks is not None and missing != "error":
        raise RecipeError("soft masks cannot say that nothing is known; leave missing or masks out")
    paths = [_find(root, folder, sample.path) for sample in samples]
    require_files(paths, samples, root / "masks" / folder, missing, SUFFIXES[::2])

    def soft(index: int) -> NDArray[np.float32]:
        path = paths[index]
        assert path is not None
        return grouped(turned_fields(read_fields(path), samples[index].path), groups).astype(
            np.float32
        )

    def finish(parts: NDArray[np.float32]) -> NDArray[np.float32]:
        return with_background(parts, background, threshold)

    def read(index: int) -> NDArray[np.uint8]:
        if paths[index] is None:
            width, height = image_size(samples[index].path)
            return np.full((height, width), UNKNOWN, np.uint8)
        return finish(soft(index)).argmax(0).astype(np.uint8)

    if masks is not None:
        return PartMasks(scheme_of(groups), soft, masks, finish, swap)
    return PartLabels(scheme_of(groups), read, swap)


def _find(root: Path, folder: str, image: Path) -> Path | None:
    beside = image.with_name(f"{image.name}.confidence_fields.npy")
    return find_file(root, f"masks/{folder}", image, SUFFIXES + OTHERS) or (
        beside if beside.exists() else None
    )


def turned_fields(fields: NDArray[np.float32], image: Path) -> NDArray[np.float32]:
    """Fields [36, h, w] turned along with an image that its EXIF turns to the side, if they lie as
    it is stored: if they are wide where the upright image is tall, or tall where it is wide.
    """
    turn = orientation(image)
    if turn in QUARTER:
        width, height = image_size(image)
        if (fields.shape[1] - fields.shape[2]) * (height - width) < 0:
            return turned(fields.transpose(1, 2, 0), turn).transpose(2, 0, 1)
    return fields


@door
def never_first(groups: Groups) -> tuple[str, ...]:
    """Parts whose fields all belong to earlier parts, which win where values are equal."""
    taken: set[int] = set()
    covered = []
    for name, members in groups.items():
        if taken.issuperset(members):
            covered.append(name)
        taken.update(members)
    return tuple(covered)


@door
def read_fields(path: Path) -> NDArray[np.float32]:
    """Confidence fields float32 [36, h, w] in [0, 1] from a .npy, or from the .npz of both heads'
    outputs.

    DataError for everything else. Up to 1.01 confidences are taken for rounded ones and cut.
    """
    if path.suffix == ".npz":
        arrays = read_arrays(path)
        pair = next((names for names in RAW if set(names) <= set(arrays)), None)
        if pair is None:
            raise DataError(
                f"{path} should hold the arrays 'pif' and 'paf' (or 'cif' and 'caf'), it has "
                f"{', '.join(arrays)[:200]}"
            )
        return confidence_fields(arrays[pair[0]], arrays[pair[1]], str(path))
    fields: NDArray[Any] = read_array(path)
    if fields.ndim != 3 or fields.shape[0] != FIELDS:
        raise DataError(f"{path} should hold 36 confidence fields [36, h, w], it is {fields.shape}")
    if not np.issubdtype(fields.dtype, np.floating):
        raise DataError(f"{path} should hold confidences, floats in [0, 1], it is {fields.dtype}")
    low, high = float(fields.min()), float(fields.max())
    if not 0 <= low <= high <= OVER:  # NaN fails too
        raise DataError(
            f"{path} should hold confidences in [0, 1], it has {low:.3g} to {high:.3g}; export the "
            "confidence fields, not the regressed vectors and not a picture of them"
        )
    return fields.astype(np.float32, copy=False).clip(0, 1)


@door
def confidence_fields(
    pif: NDArray[np.generic], paf: NDArray[np.generic], where: str = "pif, paf"
) -> NDArray[np.float32]:
    """OpenPifPaf's raw joints [17, 5, h, w] and limbs [19, 9, h, w] as confidences float32 [36, h,
    w].

    Confidence is plane 0 in old releases and plane 1 in later ones; it is the one whose values all
    lie in [0, 1] in both heads. DataError if that is true of neither or both.
    """
    if (
        pif.ndim != 4
        or paf.ndim != 4
        or (len(pif), len(paf)) != (JOINTS, len(LIMBS))
        or pif.shape[2:] != paf.shape[2:]
        or min(pif.shape[1], paf.shape[1]) < 2
    ):
        raise DataError(
            f"{where}: expected joints [17, 5, h, w] and limbs [19, 9, h, w] of one size, got "
            f"{pif.shape} and {paf.shape}"
        )
    if not all(np.issubdtype(head.dtype, np.floating) for head in (pif, paf)):
        raise DataError(f"{where}: expected floats, got {pif.dtype} and {paf.dtype}")
    planes = [np.concatenate([pif[:, i], paf[:, i]]).astype(np.float32) for i in (0, 1)]
    within = [plane for plane in planes if plane.size and plane.min() >= 0 and plane.max() <= OVER]
    if len(within) != 1:
        raise DataError(
            f"{where}: {'both' if within else 'neither'} of the planes 0 and 1 lie in [0, 1] "
            "throughout, so it cannot be told which is confidence. Save the confidences alone, "
            "float [36, h, w], as .npy"
        )
    return within[0].clip(0, 1)


@door
def part_masks(
    fields: NDArray[np.floating],
    groups: Groups,
    background: Background = "threshold",
    threshold: float = 0.5,
    sharpness: float = 15.0,
) -> NDArray[np.float32]:
    """Fields [36, h, w] as soft masks float32 [K+1, h, w], background first (BPBreID's released
    recipe).
    """
    return with_background(grouped(fields, groups), background, threshold, sharpness)


@door
def grouped(fields: NDArray[np.floating], groups: Groups) -> NDArray[np.floating]:
    """Fields [36, h, w] as parts [K, h, w]: the maximum over a part's fields, clamped to [0, 1]."""
    parts: NDArray[np.floating] = np.stack(
        [fields[list(members)].max(0) for members in groups.values()]
    ).clip(0, 1)
    return parts


@door
def with_background(
    parts: NDArray[np.floating],
    background: Background = "threshold",
    threshold: float = 0.5,
    sharpness: float = 15.0,
) -> NDArray[np.float32]:
    """Parts [K, h, w] as soft masks float32 [K+1, h, w].

    background "threshold": 1 where no part reaches ``threshold``; "diff_from_max": 1 - the highest
    part; "sum": 1 - the sum of the parts. Then a softmax over the channels times ``sharpness``, or
    with 0 a division by their sum.
    """
    top = parts.max(0)
    empty = {
        "threshold": (top < threshold).astype(parts.dtype),
        "diff_from_max": (1 - top).clip(0, 1),
        "sum": (1 - parts.sum(0)).clip(0, 1),
    }[background]
    masks = np.concatenate([empty[None], parts])
    if sharpness > 0:
        masks = np.exp(sharpness * (masks - masks.max(0)))
    return (masks / np.maximum(masks.sum(0), 1e-12)).astype(np.float32)
