"""Drawing one camera's frames of a scene, with the truth about every person in them.

People, cameras, light and optics are those of `render`; depth decides what hides what, pixel by
pixel.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from partreid.data.synthetic import scene
from partreid.data.synthetic.draw import LINEAR, Picture, View, drawn, posed, shadow
from partreid.data.synthetic.occluders import PAINTERS
from partreid.data.synthetic.people import person
from partreid.data.synthetic.render import lit, photograph
from partreid.data.synthetic.streams import Stream
from partreid.data.synthetic.walks import Eye, Scenes, Thing, Walk, eye, things, walks, wall

_CYCLE: Final = 1.5  # metres of a double step of somebody 1.77 m tall
# Which painter draws a thing, and the share of a person in it that it hides.
_PAINTED: Final = {
    "wall": ("wall", 0.96), "low wall": ("wall", 0.92), "board": ("board", 0.86),
    "bin": ("bin", 0.8),
}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """One person in one frame.

    identity: from 1. box: x, y, width, height in pixels of all of him, also outside the frame.
    visible: the share of his silhouette that is in the frame and that nothing hides.
    """

    identity: int
    box: tuple[float, float, float, float]
    visible: float


@dataclass(frozen=True)
class Frame:
    """One frame, number from 1: uint8 [H, W, 3] RGB, and everybody of whom it could show
    anything.
    """

    number: int
    image: NDArray[np.uint8]
    people: tuple[Seen, ...]
    jpeg_quality: int


@dataclass(frozen=True)
class _Set:
    """What a camera sees when nobody is there.

    empty: the backdrop without things, linear [h, w, 3]. depth: float32 [h, w], how far the things
    are, infinite elsewhere. pixel [P], color [P, 3]: where things are drawn, and how.
    """

    empty: Picture
    depth: NDArray[np.float32]
    pixel: NDArray[np.intp]
    color: NDArray[np.float32]


def frames(scenes: Scenes, camera: int, first: int = 1, last: int | None = None) -> Iterator[Frame]:
    """A camera's frames from `first` to `last`, counted from 1. Each depends on the arguments
    alone.
    """
    mine = [w for w in walks(scenes) if w.place == scenes.place(camera)]
    for number in range(first, (scenes.frames if last is None else last) + 1):
        yield frame_of(scenes, camera, number, mine)


def view_of(scenes: Scenes, camera: int) -> View:
    """From metres across, up and towards the camera to pixels of the supersampled frame."""
    viewer = eye(scenes, camera)
    h, w = scenes.height * scenes.supersample, scenes.width * scenes.supersample
    return View(viewer.pitch, viewer.distance, (viewer.focal, viewer.focal), (w / 2, 0.53 * h))


def frame_of(scenes: Scenes, camera: int, number: int, mine: Sequence[Walk]) -> Frame:
    """A camera's frame with these walks through its place."""
    time = (number - 1) / scenes.fps
    look, viewer, view = (
        scene.camera(scenes.world, camera),
        eye(scenes, camera),
        view_of(scenes, camera),
    )
    stage = _stage(scenes, camera)
    picture, depth = stage.empty.copy(), stage.depth.copy()
    h, w = depth.shape
    there = [walk for walk in mine if walk.start <= time <= walk.end]
    spots = [_spot(walk, viewer, time) for walk in there]
    for spot, *_ in spots:
        _shade(picture, look, view, spot)
    picture.reshape(-1, 3)[stage.pixel] = stage.color
    owner = np.zeros((h, w), np.int16)
    whole: dict[int, tuple[int, tuple[float, float, float, float]]] = {}
    for walk, (spot, yaw, phase, pace) in zip(there, spots, strict=True):
        who = person(scenes.world, walk.identity)
        manner = replace(who.manner, stride=who.manner.stride * pace)
        stream = Stream(scenes.seed, "gait", walk.identity, walk.place)
        figure = posed(replace(who, manner=manner), stream, yaw, 1.0, phase)
        figure = replace(figure, points=figure.points + np.array([spot[0], 0.0, spot[1]]))
        marks = view(figure.points)
        left, top = (int(v) for v in np.floor(marks[:, :2].min(0)))
        right, bottom = (int(v) for v in np.ceil(marks[:, :2].max(0)))
        if right <= 0 or bottom <= 0 or left >= w or top >= h:
            continue
        near = replace(view, offset=(view.offset[0] - left, view.offset[1] - top))
        layer = drawn(figure, near, look, bottom - top, right - left)
        rows, columns = np.divmod(layer.pixel, right - left)
        rows, columns = rows + top, columns + left
        label = walk.identity - 5000
        step = scenes.supersample
        box = (
            float(columns.min()) / step,
            float(rows.min()) / step,
            float(columns.max() + 1 - columns.min()) / step,
            float(rows.max() + 1 - rows.min()) / step,
        )
        whole[label] = (len(rows), box)
        inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
        rows, columns = rows[inside], columns[inside]
        wins = layer.depth[inside] < depth[rows, columns]
        rows, columns = rows[wins], columns[wins]
        depth[rows, columns] = layer.depth[inside][wins]
        picture[rows, columns] = layer.color[inside][wins]
        owner[rows, columns] = label
    counts = np.bincount(owner.ravel(), minlength=scenes.people + 1)
    image = photograph(
        Stream(scenes.seed, "film", camera),
        look,
        _averaged(picture, scenes.supersample),
        (scenes.width, scenes.height),
        0.1,
        scenes.height // 3,
        Stream(scenes.seed, "sensor", camera, number),
    )
    seen = tuple(
        Seen(label, box, int(counts[label]) / pixels)
        for label, (pixels, box) in sorted(whole.items())
    )
    return Frame(number, image, seen, max(75, look.jpeg_quality))


def _spot(walk: Walk, viewer: Eye, time: float) -> tuple[NDArray[np.float64], float, float, float]:
    """Where a person is for a camera: metres [2], yaw in degrees, phase in radians, pace."""
    ground, heading, walked, pace = walk.moment(time)
    spot, ahead = viewer.in_view(ground[None])[0], viewer.in_view(heading[None])[0]
    yaw = float(np.degrees(np.arctan2(ahead[0], ahead[1])))
    return spot, yaw, 2 * np.pi * walked / _CYCLE, pace


def _shade(picture: Picture, look: scene.Camera, view: View, spot: NDArray[np.float64]) -> None:
    """Darkens the floor around a person; only the rows and columns that can get darker."""
    h, w = picture.shape[:2]
    column, row, far = view(np.array([[spot[0], 0.0, spot[1]]]))[0]
    metre = view.scale[1] / far
    top, bottom = max(0, int(row - 1.4 * metre)), min(h, int(row + 1.4 * metre))
    left, right = max(0, int(column - 1.8 * metre)), min(w, int(column + 1.8 * metre))
    if top < bottom and left < right:
        shadow(picture[top:bottom, left:right], look, row - top, column - left, metre, 1.0)


@lru_cache(maxsize=9)
def _stage(scenes: Scenes, camera: int) -> _Set:
    """The backdrop and the things of a camera's place; about 25 MB at 640 x 360, drawn twice as
    large.
    """
    look, viewer, view = (
        scene.camera(scenes.world, camera),
        eye(scenes, camera),
        view_of(scenes, camera),
    )
    h, w = scenes.height * scenes.supersample, scenes.width * scenes.supersample
    empty = _backdrop(look, view, wall(scenes), h, w)
    front, depth = empty.copy(), np.full((h, w), np.inf, np.float32)
    for thing in things(scenes, scenes.place(camera)):
        spot = viewer.in_view(np.array([[thing.x, thing.z]]))[0]
        _shade(empty, look, view, spot)
        _stand(scenes, camera, thing, spot, look, view, front, depth)
    pixel = np.flatnonzero(np.isfinite(depth))
    return _Set(empty, depth, pixel, front.reshape(-1, 3)[pixel])


def _averaged(picture: Picture, step: int) -> Picture:
    """Light of step x step pixels together: linear [h, w, 3] -> [h / step, w / step, 3]."""
    pieces = [picture[i::step, j::step] for i in range(step) for j in range(step)]
    out: Picture = sum(pieces[1:], pieces[0]) / np.float32(len(pieces))
    return out


def _backdrop(look: scene.Camera, view: View, behind: float, h: int, w: int) -> Picture:
    """The camera's canvas, its ground from the foot of the wall to the lower edge of the frame."""
    foot = round(view(np.array([[0.0, 0.0, -behind]]))[0][1])
    foot = min(max(foot, 1), h - 1)
    canvas, ground = look.canvas, look.ground
    scale = canvas.width / w
    above = min(float(ground), foot * scale)
    picture = Image.new("RGB", (w, h))
    for box, top, tall in (
        ((0.0, ground - above, float(canvas.width), float(ground)), 0, foot),
        ((0.0, float(ground), float(canvas.width), float(canvas.height)), foot, h - foot),
    ):
        picture.paste(canvas.resize((w, tall), Image.Resampling.BILINEAR, box=box), (0, top))
    out: Picture = LINEAR[np.asarray(picture)]
    return out


def _stand(
    scenes: Scenes,
    camera: int,
    thing: Thing,
    spot: NDArray[np.float64],
    look: scene.Camera,
    view: View,
    front: Picture,
    depth: NDArray[np.float32],
) -> None:
    """Draws an upright thing into `front` and `depth`, behind what stands nearer."""
    h, w = depth.shape
    marks = view(np.array([[spot[0], 0.0, spot[1]], [spot[0], thing.height, spot[1]]]))
    column, foot, far = marks[0]
    top, metre = marks[1, 1], view.scale[0] / far
    wide, tall = max(2, round(thing.width * metre)), max(2, round(foot - top))
    # One stream for all cameras of the place: they see one thing.
    paint = Stream(scenes.seed, "paint thing", scenes.place(camera), thing.number)
    picture = _painted(paint, thing, wide, tall)
    color = lit(Stream(scenes.seed, "light thing", camera, thing.number), look, picture)
    rows, columns = np.nonzero(picture[..., 3] > 0)
    share = (tall - 1 - rows) / max(1, tall - 1)  # of its height above the ground
    away = (far + (marks[1, 2] - far) * share).astype(np.float32)
    down, right = rows + round(foot) - tall, columns + round(column - wide / 2)
    inside = (down >= 0) & (down < h) & (right >= 0) & (right < w)
    inside[inside] = away[inside] < depth[down[inside], right[inside]]
    depth[down[inside], right[inside]] = away[inside]
    front[down[inside], right[inside]] = color[rows[inside], columns[inside]]


def _painted(s: Stream, thing: Thing, wide: int, tall: int) -> NDArray[np.uint8]:
    """uint8 [tall, wide, 4] RGBA with alpha 0 or 255: a thing that fills the picture's height."""
    if thing.kind in _PAINTED:
        painter, share = _PAINTED[thing.kind]
        # The painters hide a share of a person: one who is taller than the thing by what is left.
        rows = round(tall / share) + 2
        picture = Image.new("RGBA", (wide, rows), (0, 0, 0, 0))
        PAINTERS[painter](ImageDraw.Draw(picture), s, np.ones((rows, wide), np.bool_), share)
        pixels = np.array(picture)[rows - tall :]
    else:
        picture = Image.new("RGBA", (wide, tall), (0, 0, 0, 0))
        draw = ImageDraw.Draw(picture)
        if thing.kind == "car":
            size = wide / 420
            scene.car(draw, s, 0, tall - 17 * size, size)
        elif thing.kind == "hedge":
            for y in (0.30, 0.55, 0.82):
                for x in (0.20, 0.35, 0.50, 0.65, 0.80):
                    scene.leaves(draw, s, wide * x, tall * (y + s.normal(0, 0.01)), 0.2 * tall, 70)
        else:  # a column or a pole: the painter fills the width of the person it hides
            PAINTERS["pole"](draw, s, np.ones((tall, wide), np.bool_), 0.94)
        pixels = np.array(picture)
    pixels[..., 3] = np.where(pixels[..., 3] > 127, 255, 0)
    return pixels
