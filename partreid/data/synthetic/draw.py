"""From a person to pixels: posing, projecting, boxing, shading, and the backdrop behind."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partreid.data.synthetic.body import REST_HEIGHT
from partreid.data.synthetic.people import Person
from partreid.data.synthetic.poses import joints, pose, skin, turn
from partreid.data.synthetic.raster import rasterise
from partreid.data.synthetic.scene import PIXELS_PER_METRE, Camera
from partreid.data.synthetic.streams import Stream
from partreid.data.synthetic.textures import SIZE
from partreid.data.synthetic.world import World

FloatArray = NDArray[np.float64]
Picture = NDArray[np.float32]  # [h, w, 3] linear light
LINEAR: Final[NDArray[np.float32]] = ((np.arange(256) / 255) ** 2).astype(
    np.float32
)  # gamma 2, whose inverse is a cheap square root


@dataclass(frozen=True)
class View:
    """From body space to the pixels of a box."""

    pitch: float  # radians
    distance: float
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def __call__(self, points: FloatArray) -> FloatArray:
        """[N, 3] metres, already turned by the yaw -> [N, 3] column, row, depth."""
        y = points[:, 1] - 0.9
        up = y * np.cos(self.pitch) - points[:, 2] * np.sin(self.pitch)
        depth = self.distance - y * np.sin(self.pitch) - points[:, 2] * np.cos(self.pitch)
        columns = points[:, 0] / depth * self.scale[0] + self.offset[0]
        rows = -up / depth * self.scale[1] + self.offset[1]
        return np.stack([columns, rows, depth], 1)


@dataclass(frozen=True)
class Figure:
    """A posed person in body space, turned by the yaw."""

    who: Person
    points: FloatArray
    normals: FloatArray
    joints: FloatArray


@dataclass(frozen=True)
class Layer:
    """A drawn person: P covered pixels."""

    pixel: NDArray[np.intp]
    color: NDArray[np.float32]  # [P, 3] linear
    label: NDArray[np.uint8]
    coords: NDArray[np.float32]  # [P, 2] along, across
    depth: NDArray[np.float32]


def posed(
    who: Person, stream: Stream, yaw: float, walking: float, phase: float | None = None
) -> Figure:
    motions = pose(stream, who.manner, stream.chance(walking), phase)
    points, normals = skin(who.mesh, motions)
    scale, rotation = who.attributes.height / REST_HEIGHT, turn(np.radians(yaw)).T
    lowest = points[:, 1].min()
    ground = np.array([0.0, lowest, 0.0])
    marks = (joints(motions) - ground) * scale
    return Figure(who, (points - ground) * scale @ rotation, normals @ rotation, marks @ rotation)


def _lit(figure: Figure, view: View, eye: Camera) -> FloatArray:
    """The light that each vertex sends to the camera: linear [N, 3]."""
    normals, shade = figure.normals, figure.who.mesh.shade
    facing = normals[:, 1] * np.sin(view.pitch) + normals[:, 2] * np.cos(view.pitch)
    normals = np.where(facing[:, None] < -0.3, -normals, normals)  # the inside of thin cloth
    sun = np.maximum(normals @ eye.sun + 0.12, 0) * eye.sun_strength * (0.4 + 0.6 * shade)
    sky = (0.72 + 0.28 * normals[:, 1] + 0.10 * np.abs(facing)) * shade
    out: FloatArray = sky[:, None] * eye.ambient + sun[:, None]
    return out


def drawn(figure: Figure, view: View, eye: Camera, height: int, width: int) -> Layer:
    """Draws a person on a screen of height x width pixels."""
    mesh, atlas = figure.who.mesh, figure.who.atlas
    hits = rasterise(view(figure.points), mesh.triangles, mesh.two_sided, height, width)
    attributes = np.concatenate(
        [mesh.coords, _lit(figure, view, eye)], 1, dtype=np.float32, casting="same_kind"
    )
    corners = mesh.triangles[hits.triangle]
    mixed = attributes[corners[:, 0]] * hits.weights[:, 0, None]
    mixed += attributes[corners[:, 1]] * hits.weights[:, 1, None]
    mixed += attributes[corners[:, 2]] * hits.weights[:, 2, None]
    coords = np.clip(mixed[:, :2], 0.0, 1.0)
    texel = np.minimum((coords * SIZE).astype(np.int32), SIZE - 1)
    texel_index = (mesh.page[hits.triangle].astype(np.int32) * SIZE + texel[:, 0]) * SIZE + texel[
        :, 1
    ]
    painted = atlas.labels.reshape(-1)[texel_index]
    label = np.where(painted > 0, painted, mesh.surface[hits.triangle])
    albedo = LINEAR[atlas.colors.reshape(-1, 3)[texel_index]]
    return Layer(hits.pixel, albedo * mixed[:, 2:], label, coords, hits.depth)


def box(stream: Stream, world: World, spot: FloatArray) -> tuple[View, float, str | None]:
    """An imperfect detection box around the projected points: scale, offset, and what it cuts
    off.
    """
    low, high = spot[:, :2].min(0), spot[:, :2].max(0)
    tall = high[1] - low[1]
    top, bottom, cut = low[1], high[1], None
    if stream.chance(world.truncation_p):
        cut = "legs" if stream.chance(0.75) else "head"
        if cut == "legs":
            bottom = low[1] + tall * stream.uniform(0.52, 0.80)
        else:
            top = low[1] + tall * stream.uniform(0.06, 0.16)
    pad = stream.uniform(1.03, 1.16)
    extra = (bottom - top) * (pad - 1)
    shift = stream.normal(0, 0.022)
    top = (
        top
        - (0 if cut == "head" else extra * stream.uniform(0.3, 0.7))
        + shift * tall * (cut is None)
    )
    bottom = (
        bottom
        + (0 if cut == "legs" else extra * stream.uniform(0.3, 0.7))
        + shift * tall * (cut is None)
    )
    wide = (bottom - top) * stream.uniform(0.43, 0.54)
    middle = (low[0] + high[0]) / 2 + stream.normal(0, 0.035) * wide
    h, w = world.height * world.supersample, world.width * world.supersample
    scale = (w / wide, h / (bottom - top))
    offset = (w / 2 - middle * scale[0], -top * scale[1])
    return View(0.0, 0.0, scale, offset), float(tall), cut


def backdrop(
    stream: Stream, eye: Camera, feet: float, person_rows: float, h: int, w: int, aspect: float
) -> Picture:
    """The piece of the camera's canvas behind the person, linear [H, W, 3]."""
    # canvas pixels per image row
    scale = stream.uniform(0.92, 1.12) * 1.72 * PIXELS_PER_METRE / person_rows
    tall, wide = h * scale, h * scale * aspect
    foot = stream.uniform(
        eye.ground + 0.12 * tall, max(eye.ground + 0.2 * tall, eye.canvas.height - 6)
    )
    top = min(max(0.0, foot - feet * scale), eye.canvas.height - tall)
    left = stream.uniform(0, eye.canvas.width - wide)
    piece = eye.canvas.resize(
        (w, h),
        Image.Resampling.BILINEAR,
        box=(left, max(0.0, top), left + wide, max(0.0, top) + tall),
    )
    out: Picture = LINEAR[np.asarray(piece)]
    return out


def shadow(
    ground: Picture, eye: Camera, row: float, column: float, scale: float, width: float
) -> None:
    """Darkens the floor under and beside a person."""
    h, w = ground.shape[:2]
    flat = max(0.10, np.sin(np.radians(eye.pitch)) * 0.9)
    y, x = (np.arange(h) - row) / (scale * flat), (np.arange(w) - column) / (scale * width)
    under = 0.55 * np.outer(np.exp(-((y / 0.24) ** 2)), np.exp(-((x / 0.26) ** 2)))
    cast_y = np.exp(-((y + 0.4 * eye.sun[2]) ** 2) / 0.30)
    cast = 0.35 * eye.sun_strength * np.outer(cast_y, np.exp(-((x + eye.sun[0] * 0.5) ** 2) / 0.16))
    ground *= ((1 - under) * (1 - cast)).astype(np.float32)[..., None]
