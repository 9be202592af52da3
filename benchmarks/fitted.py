"""Surfaces fitted to keypoints, in place of DensePose where there is none: rough IUV pictures.

Each limb is a capsule between two joints; along it runs U, across it V. Left and right shoulder
tell whether the front or the back is seen. This is no DensePose: hands, depth and the seams of
surfaces are not there. The DSA paper trains on wrong surfaces for a fifth of DukeMTMC.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partreid.labels.keypoints import SEEN, choose_target
from partreid.labels.people import people_in
from partreid.types import Sample
from partreid.utils.files import read_json, write_atomically

L_SHOULDER, R_SHOULDER, L_HIP, R_HIP = 5, 6, 11, 12
HEAD = (0, 1, 2, 3, 4)
# (joint, joint, half width over the body's height, chart seen from the front, from behind), those
# in front last
LIMBS = (
    (14, 16, 0.033, 13, 11),
    (13, 15, 0.033, 14, 12),
    (12, 14, 0.045, 9, 7),
    (11, 13, 0.045, 10, 8),
    (8, 10, 0.028, 22, 20),
    (7, 9, 0.028, 21, 19),
    (6, 8, 0.030, 18, 16),
    (5, 7, 0.030, 17, 15),
)
FEET = ((16, 14, 6), (15, 13, 5))  # ankle, knee, chart
TORSO_FRONT, TORSO_BACK, HEAD_RIGHT, HEAD_LEFT = 2, 1, 23, 24


def surfaces(points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.uint8]:
    """IUV uint8 [H, W, 3] of keypoints [17, 3] in pixels: I the chart 1..24, U and V x 255; 0 where
    no limb is.
    """
    h, w = size
    out = np.zeros((h, w, 3), np.uint8)
    seen = points[:, 2] > SEEN
    xy = points[:, :2]
    if seen.sum() < 4:
        return out
    tall = max(float(np.ptp(xy[seen, 1])) * 1.12, 8.0)
    y, x = np.mgrid[:h, :w] + 0.5
    trunk = (L_SHOULDER, R_SHOULDER, L_HIP, R_HIP)
    front = xy[R_SHOULDER, 0] <= xy[L_SHOULDER, 0] if seen[[5, 6]].all() else True

    def capsule(a: NDArray[np.float64], b: NDArray[np.float64], half: float, chart: int) -> None:
        along = b - a
        length = max(float(np.hypot(*along)), 1.0)
        t = ((x - a[0]) * along[0] + (y - a[1]) * along[1]) / length**2
        s = ((x - a[0]) * along[1] - (y - a[1]) * along[0]) / length / half
        over = half / length / 2
        there = (np.abs(s) <= 1) & (t >= -over) & (t <= 1 + over)
        values = [np.full_like(t, chart), t.clip(0, 1) * 255, (s.clip(-1, 1) + 1) / 2 * 255]
        out[there] = np.stack(values, 2)[there].round().astype(np.uint8)

    for joint, knee, chart in FEET:
        if seen[joint] and seen[knee]:
            down = xy[joint] - xy[knee]
            down = down / max(float(np.hypot(*down)), 1.0)
            capsule(xy[joint], xy[joint] + down * 0.05 * tall, 0.042 * tall, chart)
    legs = [limb for limb in LIMBS if limb[0] >= L_HIP]
    for a, b, half, chart, behind in legs:
        if seen[a] and seen[b]:
            capsule(xy[a], xy[b], half * tall, chart if front else behind)
    if seen[list(trunk)].all():
        top, bottom = xy[[5, 6]].mean(0), xy[[11, 12]].mean(0)
        wide = max(0.55 * float(np.hypot(*(xy[5] - xy[6]))), 0.085 * tall)
        capsule(top, bottom, wide, TORSO_FRONT if front else TORSO_BACK)
    face = [j for j in HEAD if seen[j]]
    if face:
        center, radius = xy[face].mean(0), 0.062 * tall
        off_x, off_y = (x - center[0]) / radius, (y - center[1]) / (1.25 * radius)
        there = off_x**2 + off_y**2 <= 1
        # a person who faces us has the right half of the head on our left
        right = (off_x < 0) == front
        values = [
            np.where(right, HEAD_RIGHT, HEAD_LEFT),
            (off_x.clip(-1, 1) + 1) / 2 * 255,
            (off_y.clip(-1, 1) + 1) / 2 * 255,
        ]
        out[there] = np.stack(values, 2)[there].round().astype(np.uint8)
    for a, b, half, chart, behind in LIMBS[len(legs) :]:
        if seen[a] and seen[b]:
            capsule(xy[a], xy[b], half * tall, chart if front else behind)
    return out


def write(
    samples: Sequence[Sample],
    keypoints: Callable[[Sample], Path],
    place: Callable[[Sample], Path],
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """An IUV picture for every sample that has keypoints; how many there are. What is there
    stays.
    """
    done = 0
    for i, sample in enumerate(samples, 1):
        file, out = keypoints(sample), place(sample)
        if file.is_file():
            done += 1
            if not out.is_file():
                with Image.open(sample.path) as image:
                    width, height = image.size
                person = choose_target(people_in(read_json(file), file), (width, height))
                if person is not None:
                    data = io.BytesIO()
                    Image.fromarray(surfaces(person.keypoints, (height, width))).save(data, "PNG")
                    out.parent.mkdir(parents=True, exist_ok=True)
                    write_atomically(out, data.getvalue())
        if progress:
            progress(i, len(samples))
    return done
