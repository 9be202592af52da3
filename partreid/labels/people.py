"""People in the JSON of pose estimators, checked: whatever other tools write, persons come out
or a sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError
from partreid.labels.schemes import JOINTS

OVER = 1.01  # confidences may exceed 1 by rounding
FAR = 1.25  # of the crop's sides: how far off a joint may lie
FLAGS = (0, 1, 2)  # COCO's: absent, hidden, seen
UNIT = 2.0  # pixels: joints that all lie nearer to the corner are shares of the crop
FARTHEST = 1e6  # pixels of a joint from the corner


@dataclass(frozen=True)
class Person:
    """Keypoints float [17, 3] (x, y in pixels of the crop, confidence in [0, 1]), the detection's
    score, and whether the file says that this is the one whom the crop shows.
    """

    keypoints: NDArray[np.float64]
    score: float = 1.0
    is_target: bool = False


def people_in(content: Any, source: object) -> list[Person]:
    """The people of one image: a list of them, one alone, or COCO's dict with "annotations".
    DataError otherwise.
    """
    rows = content.get("annotations", [content]) if isinstance(content, Mapping) else content
    if not isinstance(rows, list):
        raise DataError(
            f"{source} should hold a list of people or COCO's annotations, it holds {_shown(rows)}"
        )
    points = [_points(row, source) for row in rows]
    flags = _are_flags(points, source)
    return [_person(row, one, flags, source) for row, one in zip(rows, points, strict=True)]


def coco_in(content: Any, source: object) -> dict[str, list[Person]]:
    """People by image out of COCO's file for all, by ``folder/name`` and by bare names that only
    one image has.
    """
    if isinstance(content, Mapping):
        rows, images = content.get("annotations"), content.get("images")
        if not isinstance(images, list) or not isinstance(rows, list):
            raise DataError(
                f"{source} should hold COCO's 'images' and 'annotations', it has "
                f"{', '.join(map(str, content))[:200] or 'nothing'}"
            )
        files = _files(images, source)
    elif isinstance(content, list):
        rows, files = content, None
    else:
        raise DataError(
            f"{source} should hold a list of people or COCO's annotations, it holds "
            f"{_shown(content)}"
        )
    points = [_points(row, source) for row in rows]
    flags = _are_flags(points, source)
    people: dict[str, list[Person]] = {name: [] for name in files.values()} if files else {}
    for row, one in zip(rows, points, strict=True):
        key = row.get("image_id")
        name = key if files is None else files.get(key) if isinstance(key, int | str) else None
        if not _is_name(name):
            why = "names no file" if files is None else "is not among its images"
            raise DataError(
                f"{source}: a result has image_id {_shown(key)}, which {why}. Give image_id the "
                "file's name, or add COCO's 'images' with id and file_name"
            )
        people.setdefault(name, []).append(_person(row, one, flags, source))
    places: dict[str, list[Person]] = {}
    bare: dict[str, set[str]] = {}
    for full, here in people.items():
        place = "/".join(Path(full).parts[-2:])
        places.setdefault(place, []).extend(here)
        bare.setdefault(Path(full).name, set()).add(place)
    return {**{name: places[next(iter(of))] for name, of in bare.items() if len(of) == 1}, **places}


def in_pixels(
    people: Sequence[Person], image: Path, size: tuple[int, int], source: object = None
) -> Sequence[Person]:
    """The same people, if their joints can be pixels of the crop of ``size`` (width, height).
    DataError otherwise.
    """
    source = f"the label of {image.name}" if source is None else source
    for person in people:
        seen = person.keypoints[person.keypoints[:, 2] > 0, :2]
        if not len(seen):
            continue
        outside = ((seen < -0.25 * np.array(size)) | (seen > FAR * np.array(size))).any(1)
        if outside.mean() > 0.5:
            raise DataError(
                f"{source} has joints up to ({seen[:, 0].max():.0f}, {seen[:, 1].max():.0f}) for "
                f"{image.name}, which is {size[0]} x {size[1]}: they are pixels of another "
                "picture; give them in pixels of the crop"
            )
        if len(seen) > 2 and min(size) > 8 and np.abs(seen).max() <= UNIT:
            raise DataError(
                f"{source} has all joints within {np.abs(seen).max():.2f} pixels of the corner of "
                f"{image.name}, which is {size[0]} x {size[1]}: they are shares of its sides; give "
                "them in pixels of the crop"
            )
    return people


def _is_name(name: Any) -> TypeGuard[str]:
    return isinstance(name, str) and Path(name).name.strip(". ") != "" and "\0" not in name


def _files(images: Sequence[Any], source: object) -> dict[int | str, str]:
    files: dict[int | str, str] = {}
    for image in images:
        key, name = (
            (image.get("id"), image.get("file_name"))
            if isinstance(image, Mapping)
            else (None, None)
        )
        if not isinstance(key, int | str) or not _is_name(name):
            raise DataError(
                f"{source}: an image should have an id and a file_name, it is {_shown(image)}; "
                "export it again"
            )
        if files.setdefault(key, name) != name:
            raise DataError(
                f"{source}: the image id {key} stands for {files[key]} and for {name}; export it "
                "again"
            )
    return files


def _points(row: Any, source: object) -> NDArray[np.float64]:
    """Keypoints float [17, 3] as on file."""
    keypoints = row.get("keypoints") if isinstance(row, Mapping) else None
    try:
        flat = (
            [x for joint in keypoints for x in (joint if isinstance(joint, list) else [joint])]
            if isinstance(keypoints, list)
            else []
        )
        if len(flat) == 3 * JOINTS and not any(type(x) not in (int, float) for x in flat):
            if not all(abs(x) < FARTHEST for x in flat):  # NaN is not either
                raise DataError(
                    f"{source}: a joint lies at {max(map(abs, flat)):g} pixels; no picture is so "
                    "large. Export it again"
                )
            return np.array(flat, dtype=float).reshape(JOINTS, 3)
    except OverflowError:
        pass
    raise DataError(
        f"{source}: a person should have 17 keypoints x, y, confidence (51 numbers), got "
        f"{f'{len(flat)} values' if flat else _shown(row)}. Export COCO's 17 joints"
    )


def _are_flags(points: Sequence[NDArray[np.float64]], source: object) -> bool:
    """Whether the third numbers of a whole file are COCO's flags 0, 1, 2 and not confidences.
    DataError if neither.
    """
    third = np.concatenate([one[:, 2] for one in points]) if points else np.zeros(1)
    high, low = float(third.max()), float(third.min())
    if high == 2 and np.isin(third, FLAGS).all():
        return True
    if not 0 <= low <= high <= OVER:
        raise DataError(
            f"{source}: the third numbers of its keypoints run from {low:g} to {high:g}; expected "
            "confidences in [0, 1], or COCO's flags 0, 1 and 2 alone. Export one of these"
        )
    return False


def _person(
    row: Mapping[str, Any], points: NDArray[np.float64], flags: bool, source: object
) -> Person:
    points[:, 2] = points[:, 2] > 1 if flags else points[:, 2].clip(0, 1)
    score = row.get("score")
    score = float(points[:, 2].mean()) if score is None else score
    target = row.get("is_target")
    if type(score) not in (int, float) or not abs(score) < 1e6:
        raise DataError(
            f"{source}: a person has the score {_shown(score)}; expected a number. Export it again"
        )
    if not isinstance(target, bool | int | type(None)):
        raise DataError(
            f"{source}: a person has is_target {_shown(target)}; expected true or false"
        )
    return Person(points, float(score), bool(target))


def _shown(value: Any) -> str:
    """A value in a sentence, however large or deep it is."""
    if isinstance(value, Mapping):
        return f"an object with {', '.join(map(str, list(value)[:4]))[:60] or 'nothing'}"
    return f"a list of {len(value)}" if isinstance(value, list) else f"{value!r:.40}"
