"""Part labels from keypoints: COCO's 17 joints of a pose estimator, drawn as blobs (KPR) or as
limbs.

Files, below ``root/<folder>``: one per image, ``<split>/<stem>.json`` (also
``<name>_keypoints.json`` of KPR and ``<name>.predictions.json`` of OpenPifPaf), or one for all,
``<split>.json`` or the folder's name itself. A file for one image holds a list of people or one; a
file for all is COCO's: {"images", "annotations"}, or a list of results whose ``image_id`` is a file
name. A person has ``keypoints``, 17 times x, y, confidence, in pixels of the crop as it lies on
disk, maybe ``score`` and ``is_target``. Whether third numbers are confidences or COCO's flags is
told by the whole file, see :mod:`partreid.labels.people`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from partreid.errors import RecipeError
from partreid.labels.base import PartLabels
from partreid.labels.people import Person, coco_in, in_pixels, people_in
from partreid.labels.pifpaf import never_first, part_masks
from partreid.labels.places import MISSING, Missing, find_file, image_size, require_files
from partreid.labels.schemes import JOINTS, KEYPOINTS, LIMBS, PIFPAF, find, scheme_of
from partreid.recipes.base import unknown
from partreid.types import UNKNOWN, Sample
from partreid.utils.files import read_json

Shape = Literal["limbs", "gauss"]
NAMES = (
    "{stem}.json",
    "{name}_keypoints.json",
    "{stem}.jpg_keypoints.json",
    "{name}.predictions.json",
)
SEEN = 0.3  # a joint counts above this confidence (KPR)
TALL = 128  # labels are drawn no higher than this; no part head has a finer grid

# Lengths of limbs over the height of the body (Drillis and Contini, 1966), by field: shins, thighs,
# hips, sides of the trunk, shoulders, upper arms, forearms. The height is what the longest of them,
# so scaled, tells.
LENGTHS = {
    17: 0.246,
    18: 0.245,
    19: 0.246,
    20: 0.245,
    21: 0.191,
    22: 0.288,
    23: 0.288,
    24: 0.259,
    25: 0.186,
    26: 0.186,
    27: 0.146,
    28: 0.146,
}
# Half widths over that height, ours: they fit the exact labels of the synthetic world best, to
# about a tenth.
_HEAD, _NECK, _ARM, _SIDE, _THIGH, _SHIN, _FOOT = 0.058, 0.020, 0.030, 0.060, 0.045, 0.033, 0.042
WIDTHS = (
    *[_HEAD] * 5,
    *[_ARM] * 6,
    *[_THIGH] * 2,
    *[_SHIN] * 2,
    *[_FOOT] * 2,
    _SHIN,
    _THIGH,
    _SHIN,
    _THIGH,
    *[_SIDE] * 4,
    *[_ARM] * 4,
    *[_HEAD] * 5,
    _NECK,
    _NECK,
)
TRUNK = 0.8  # the highest value of fields 21 to 24: an arm in front of the trunk is worth more


def keypoint_labels(
    root: Path,
    samples: Sequence[Sample],
    parts: str = "eight",
    folder: str = "keypoints",
    shape: Shape = "limbs",
    threshold: float = 0.5,
    missing: Missing = "error",
) -> PartLabels:
    """Labels drawn from the target's keypoints, at most 128 rows high; see the file forms above.

    parts: with shape "limbs" a row of :data:`partreid.labels.schemes.PIFPAF`, with "gauss" (KPR's
    blobs, one per joint) a row of :data:`~partreid.labels.schemes.KEYPOINTS`. A pixel that no part
    reaches with ``threshold`` is background. missing: "error" or "unknown", for images without a
    file; an image in which nobody was found is always unknown. RecipeError for rows and names that
    do not exist; DataError names the first image without a file.
    """
    if shape not in get_args(Shape):
        raise RecipeError(unknown("shape of keypoints", shape, get_args(Shape)))
    if missing not in MISSING:
        raise RecipeError(unknown("rule for missing labels", missing, MISSING))
    groups = find(PIFPAF if shape == "limbs" else KEYPOINTS, parts, "keypoint grouping")
    order = (
        groups if shape == "limbs" else dict(sorted(groups.items(), key=lambda item: len(item[1])))
    )
    if covered := never_first(order):
        raise RecipeError(
            f"the keypoint grouping '{parts}' cannot be labels: every joint of "
            f"{', '.join(covered)} belongs to a part before it. Choose another row, e.g. 'eight'"
        )
    numbers = np.array([0, *(1 + list(groups).index(name) for name in order)], np.uint8)
    people = _find_people(root, samples, folder, missing)

    def read(index: int) -> NDArray[np.uint8]:
        width, height = image_size(samples[index].path)
        size = min(height, TALL), max(1, round(width * min(height, TALL) / height))
        candidates = in_pixels(_read_one(people[index]), samples[index].path, (width, height))
        person = choose_target(candidates, (width, height))
        if person is None:
            return np.full(size, UNKNOWN, np.uint8)
        draw = limbs if shape == "limbs" else blobs
        return numbers[
            part_masks(
                draw(person.keypoints, (width, height), size), order, threshold=threshold
            ).argmax(0)
        ]

    return PartLabels(scheme_of(groups), read)


def choose_target(people: Sequence[Person], size: tuple[int, int]) -> Person | None:
    """Whom the crop of ``size`` (width, height) shows, or None if nobody was found.

    The first whom the file calls its target; else the highest score x area x nearness, where area
    is that of the box around the seen joints inside the crop and nearness falls from 1 in the
    middle of the crop to 0 in its corners.
    """
    seen = [p for p in people if (p.keypoints[:, 2] > SEEN).any()]
    flagged = next((p for p in people if p.is_target), None)
    if flagged is not None:
        return flagged if (flagged.keypoints[:, 2] > SEEN).any() else None

    def weight(person: Person) -> float:
        points = person.keypoints[person.keypoints[:, 2] > SEEN, :2].clip(0, size)
        low, high = points.min(0), points.max(0)
        off = np.hypot(*((low + high - size) / 2)) / (np.hypot(*size) / 2)
        return float(person.score * np.prod(high - low + 1) * (1 - off))

    return max(seen, key=weight, default=None)


def in_crop(
    keypoints: NDArray[np.float64], box: tuple[float, float, float, float]
) -> NDArray[np.float64]:
    """Keypoints [17, 3] of a picture in the crop ``box`` (left, top, width, height); those
    outside become 0, 0, 0.
    """
    moved = keypoints - np.array([*box[:2], 0])
    inside = (keypoints[:, 2] > 0) & (moved[:, :2] >= 0).all(1) & (moved[:, :2] < box[2:]).all(1)
    return np.where(inside[:, None], moved, 0)


def blobs(
    keypoints: NDArray[np.float64],
    image: tuple[int, int],
    size: tuple[int, int],
    radius: int | None = None,
    weighted: bool = False,
) -> NDArray[np.float32]:
    """KPR's heat maps float32 [17, h, w]: a Gaussian per joint seen, peak 1 (or its confidence, if
    ``weighted``).

    image: (width, height) that the keypoints are pixels of. radius: in pixels of the map, by
    default w // 11; the kernel is 2 radius + 1 wide with a standard deviation of a quarter of that.
    0 marks the joints' pixels alone.
    """
    height, width = size
    radius = width // 11 if radius is None else radius
    maps = np.zeros((JOINTS, height, width), np.float32)
    for one, (x, y, confidence) in zip(maps, keypoints, strict=True):
        if confidence > (0 if weighted else SEEN):
            column, row = int(x * width / image[0]), int(y * height / image[1])
            down, across = np.arange(height)[:, None] - row, np.arange(width) - column
            near = (np.abs(down) <= radius) & (np.abs(across) <= radius)
            one[:] = near * np.exp(-(down**2 + across**2) / (2 * ((2 * radius + 1) / 4) ** 2))
            if weighted:
                one *= confidence
    return maps


def limbs(
    keypoints: NDArray[np.float64], image: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Keypoints [17, 3] as 36 fields float32 [36, h, w] in PifPaf's order, to be grouped as
    PifPaf's are.

    A joint is a disc, a limb a capsule between two seen joints: 1 on the bone, half of it at the
    half width. The trunk, which arms may cross, has 0.8 instead; it is filled between shoulders and
    hips, its upper half in the field between the shoulders, the lower half in its two sides.
    """
    height, width = size
    scale = np.array([width / image[0], height / image[1]])
    joints, seen = keypoints[:, :2], keypoints[:, 2] > SEEN
    tall = body_height(keypoints) or image[1]
    # [1, w], pixels of the image
    x = ((np.arange(width) + 0.5) / scale[0]).astype(np.float32)[None]
    y = ((np.arange(height) + 0.5) / scale[1]).astype(np.float32)[:, None]  # [h, 1]
    maps = np.zeros((JOINTS + len(LIMBS), height, width), np.float32)
    ends = [(j, j) for j in range(JOINTS)] + list(LIMBS)
    for field, (a, b) in enumerate(ends):
        if seen[a] and seen[b]:
            start, stop = joints[a], joints[b]
            if field in (15, 16):  # the foot lies below the ankle
                start = stop = start + np.array([0, 0.02 * tall])
            elif field in (17, 19):  # and the shin ends above it
                start = start + 0.15 * (stop - start)
            elif field in (34, 35):  # the neck ends before the shoulder
                stop = start + 0.5 * (stop - start)
            maps[field] = np.exp2(
                -_squared_distance(x, y, start, stop) / np.float32(WIDTHS[field] * tall) ** 2
            )
            if field in (21, 22, 23, 24):  # hips, sides, shoulders
                maps[field] *= TRUNK
    if seen[[5, 6, 11, 12]].all():
        upper, lower = joints[[5, 6]], joints[[12, 11]]
        waist = (upper + lower[::-1]) / 2
        for fields, corners in (((24,), (*upper, *waist[::-1])), ((22, 23), (*waist, *lower))):
            inside = _inside(x, y, np.array(corners))
            for field in fields:
                maps[field] = np.maximum(maps[field], TRUNK * inside)
    return maps


def body_height(keypoints: NDArray[np.float64]) -> float:
    """How tall the body is in pixels, told by its least foreshortened limb; 0 if no limb has
    both ends seen.
    """
    heights = [
        np.hypot(*(keypoints[a, :2] - keypoints[b, :2])) / LENGTHS[JOINTS + i]
        for i, (a, b) in enumerate(LIMBS)
        if JOINTS + i in LENGTHS and min(keypoints[a, 2], keypoints[b, 2]) > SEEN
    ]
    return float(max(heights, default=0))


def _squared_distance(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    start: NDArray[np.float64],
    stop: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Squared distance [h, w] of the points at x [1, w], y [h, 1] to the segment between two
    points.
    """
    ax, ay = (stop - start).astype(np.float32)
    dx, dy = x - np.float32(start[0]), y - np.float32(start[1])
    share = ((dx * ax + dy * ay) / np.float32(max(ax * ax + ay * ay, 1e-12))).clip(0, 1)
    distance: NDArray[np.float32] = (dx - share * ax) ** 2 + (dy - share * ay) ** 2
    return distance


def _inside(
    x: NDArray[np.float32], y: NDArray[np.float32], corners: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which points at x [1, w], y [h, 1] a polygon [n, 2] holds: a ray to the right crosses its
    edges an odd number of times.
    """
    odd = np.zeros((y.size, x.size), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        if y0 != y1:
            odd ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return odd


def read_people(path: Path) -> list[Person]:
    """The people in a file that belongs to one image. DataError if it is not such a file."""
    return people_in(read_json(path, what="label"), path)


def read_coco(path: Path) -> dict[str, list[Person]]:
    """People by image, from one file for all: keys are ``folder/name`` where the file says so, and
    bare names.

    A bare name that several images share is left out. DataError if it is not such a file.
    """
    return coco_in(read_json(path, what="label"), path)


def _find_people(
    root: Path, samples: Sequence[Sample], folder: str, missing: Missing
) -> list[Path | list[Person] | None]:
    """What is known of each sample: a file of its own, its people out of a file for all, or
    nothing.
    """
    shared: dict[Path, dict[str, list[Person]]] = {}
    sources: list[Path | list[Person] | None] = []
    for image in (sample.path for sample in samples):
        split = root / folder / f"{image.parent.name}.json"
        path = next(
            (p for p in (root / folder, root / f"{folder}.json", split) if p.is_file()), None
        )
        if path is None:
            sources.append(find_file(root, folder, image, NAMES))
            continue
        if path not in shared:
            shared[path] = read_coco(path)
        sources.append(
            shared[path].get(f"{image.parent.name}/{image.name}", shared[path].get(image.name))
        )
    require_files(sources, samples, root / folder, missing)
    return sources


def _read_one(known: Path | list[Person] | None) -> list[Person]:
    return read_people(known) if isinstance(known, Path) else known or []
