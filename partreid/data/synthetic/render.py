"""Drawing one image of the synthetic world, together with the exact truth about it."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from partreid.data.synthetic import occluders
from partreid.data.synthetic import scene as scenes
from partreid.data.synthetic.body import JOINT_RADII
from partreid.data.synthetic.draw import (
    LINEAR,
    Figure,
    Layer,
    Picture,
    View,
    backdrop,
    box,
    drawn,
    posed,
    shadow,
)
from partreid.data.synthetic.people import PASSERS_BY, passer_by, person
from partreid.data.synthetic.scene import Camera
from partreid.data.synthetic.streams import Stream
from partreid.data.synthetic.surfaces import CHARTS, OBSTACLE, PEDESTRIAN, SURFACES, TARGET_LABELS
from partreid.data.synthetic.world import World

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Rendered:
    """An image and everything that is true of it."""

    image: NDArray[np.uint8]  # [H, W, 3] RGB, before JPEG compression
    # [H, W] what is visible: 0, 1..27, 30 or 31 (see surfaces.LABEL_NAMES)
    labels: NDArray[np.uint8]
    amodal: NDArray[np.uint8]  # [H, W] 0..27: the person as if nothing stood in front
    uv: NDArray[np.float32]  # [H, W, 2] DensePose's U, V in [0, 1]; 0 where the label is not 1..24
    # [17, 3] x, y in pixels and v: 2 visible, 1 hidden, 0 outside the image
    joints: NDArray[np.float32]
    # degrees [0, 360): 0 faces the camera, 90 faces the image's right, 180 shows the back
    yaw: float
    occlusion: float  # share of the amodal silhouette that is hidden, [0, 1]
    occluder: str | None  # "board" "car" "plant" "wall" "pole" "bin" "pedestrian", or None
    truncated: str | None  # "legs" or "head" cut off by the box, or None
    jpeg_quality: int

    @property
    def visible_pixels(self) -> NDArray[np.int64]:
        """int64 [28]: visible pixels of each label; entry 0 is not counted."""
        return _counts(self.labels)

    @property
    def amodal_pixels(self) -> NDArray[np.int64]:
        """int64 [28]: pixels of each label as if nothing stood in front; entry 0 is not counted."""
        return _counts(self.amodal)


def _counts(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    counts = np.bincount(labels.ravel(), minlength=TARGET_LABELS)[:TARGET_LABELS]
    counts[0] = 0
    return counts


def render(world: World, identity: int, camera: int, index: int, occluded: bool) -> Rendered:
    """Draws one image. The result depends on nothing but the arguments.

    identity: 1.. train, 5001.. test, 8001.. distractors; camera: 1 .. world.cameras.
    Raises IndexError if the world has no such identity.
    """
    who, eye = person(world, identity), scenes.camera(world, camera)
    stream = Stream(world.seed, "image", identity, camera, index, int(occluded))
    yaw = _yaw(stream, world, eye)
    target = posed(who, stream, yaw, world.walking)
    view = View(
        np.radians(eye.pitch + stream.normal(0, 1.0)), eye.distance * stream.uniform(0.85, 1.2)
    )
    placed, tall, truncated = box(stream, world, view(target.points))
    view = replace(view, scale=placed.scale, offset=placed.offset)
    h, w = world.height * world.supersample, world.width * world.supersample
    feet = view(np.array([[0.0, 0.0, 0.0]]))[0]
    rows = tall * view.scale[1]
    scene = backdrop(stream, eye, float(feet[1]), rows, h, w, view.scale[1] / view.scale[0] * w / h)
    labels = np.zeros((h, w), np.uint8)
    if stream.chance(world.bystander_p):
        _bystander(stream, world, eye, view, scene, labels)
    shadow(scene, eye, float(feet[1]), float(feet[0]), rows / 1.7, view.scale[0] / view.scale[1])
    layer = drawn(target, view, eye, h, w)
    _lay(scene, labels, layer, None)
    amodal, coords, depth = (
        np.zeros((h, w), np.uint8),
        np.zeros((h, w, 2), np.float32),
        np.full((h, w), np.inf),
    )
    amodal.reshape(-1)[layer.pixel] = layer.label
    coords.reshape(-1, 2)[layer.pixel] = layer.coords
    depth.reshape(-1)[layer.pixel] = layer.depth
    kind = _occlude(stream, world, eye, view, scene, labels, amodal) if occluded else None
    quality = int(np.clip(eye.jpeg_quality + stream.normal(0, 6), 45, 95))
    size = (world.width, world.height)
    image = photograph(stream, eye, scene, size, world.light_spread, world.height)

    step, first = world.supersample, world.supersample // 2
    centers = (slice(first, None, step), slice(first, None, step))
    labels, amodal = np.ascontiguousarray(labels[centers]), np.ascontiguousarray(amodal[centers])
    whole = int((amodal > 0).sum())
    hidden = int(((amodal > 0) & (labels != amodal)).sum())
    return Rendered(
        image=image,
        labels=labels,
        amodal=amodal,
        uv=_uv(labels, coords[centers]),
        joints=_joints(view, target, labels, depth[centers], step),
        yaw=yaw,
        occlusion=hidden / max(1, whole),
        occluder=kind,
        truncated=truncated,
        jpeg_quality=quality,
    )


def _yaw(stream: Stream, world: World, eye: Camera) -> float:
    anywhere = stream.uniform(0, 360)
    along_a_path = stream.choice(eye.directions) + stream.normal(0, eye.spread)
    return (anywhere if stream.chance(world.yaw_uniform) else along_a_path) % 360.0


def _lay(scene: Picture, labels: NDArray[np.uint8], layer: Layer, label: int | None) -> None:
    scene.reshape(-1, 3)[layer.pixel] = layer.color
    labels.reshape(-1)[layer.pixel] = layer.label if label is None else label


def _bystander(
    stream: Stream, world: World, eye: Camera, view: View, scene: Picture, labels: NDArray[np.uint8]
) -> None:
    """Somebody further back, beside the person."""
    other = passer_by(world, stream.integer(0, PASSERS_BY))
    figure = posed(other, stream, stream.uniform(0, 360), 0.85)
    side = -1.0 if stream.chance(0.5) else 1.0
    away = np.array([side * stream.uniform(0.35, 0.75), 0.0, -stream.uniform(0.6, 3.0)])
    figure = replace(figure, points=figure.points + away)
    h, w = labels.shape
    foot = view(away[None])[0]
    # A person's height is about 1.7 metres wherever he stands, which gives the pixels of a metre at
    # his depth.
    shadow(
        scene,
        eye,
        float(foot[1]),
        float(foot[0]),
        view.scale[1] / foot[2],
        view.scale[0] / view.scale[1],
    )
    _lay(scene, labels, drawn(figure, view, eye, h, w), PEDESTRIAN)


def _occlude(
    stream: Stream,
    world: World,
    eye: Camera,
    view: View,
    scene: Picture,
    labels: NDArray[np.uint8],
    amodal: NDArray[np.uint8],
) -> str:
    """Puts a pedestrian or an object in front; gives its kind."""
    if stream.chance(world.pedestrian_occluder_p) and _walk_past(
        stream, world, eye, view, scene, labels, amodal
    ):
        return "pedestrian"
    kind, picture = occluders.place(stream, amodal > 0, world.coverage)
    covered = picture[..., 3] > 0
    scene[covered] = lit(stream, eye, picture)[covered]
    labels[covered] = OBSTACLE
    return kind


def lit(stream: Stream, eye: Camera, picture: NDArray[np.uint8]) -> Picture:
    """The light that an object sends to the camera: uint8 [h, w, 4] RGBA -> linear [h, w, 3]."""
    rough = 1 + 0.10 * _grain(stream, eye, picture.shape[:2])
    color = LINEAR[picture[..., :3]] * rough[..., None]
    level = stream.uniform(0.75, 1.05) * (0.55 * eye.ambient + 0.55 * eye.sun_strength)
    out: Picture = color * level.astype(np.float32)
    return out


def _walk_past(
    stream: Stream,
    world: World,
    eye: Camera,
    view: View,
    scene: Picture,
    labels: NDArray[np.uint8],
    amodal: NDArray[np.uint8],
) -> bool:
    """Tries to let a pedestrian hide a share of the person within bounds; False if no place was
    found.
    """
    other = passer_by(world, stream.integer(0, PASSERS_BY))
    figure = posed(other, stream, stream.uniform(0, 360), 0.8)
    figure = replace(figure, points=figure.points + np.array([0.0, 0.0, stream.uniform(0.35, 0.9)]))
    h, w = labels.shape
    # Drawn once on a screen three times as wide, then moved sideways until the hidden share fits.
    wide = replace(view, offset=(view.offset[0] + w, view.offset[1]))
    layer = drawn(figure, wide, eye, h, 3 * w)
    row, column = np.divmod(layer.pixel, 3 * w)
    person_, whole = amodal > 0, int((amodal > 0).sum())
    low, high = world.coverage
    for _ in range(14):
        moved = column - w + int(stream.normal(0, 0.28) * w)
        inside = (moved >= 0) & (moved < w)
        pixel = row[inside] * w + moved[inside]
        if low <= person_.reshape(-1)[pixel].sum() / max(1, whole) <= high:
            scene.reshape(-1, 3)[pixel] = layer.color[inside]
            labels.reshape(-1)[pixel] = PEDESTRIAN
            return True
    return False


def _grain(stream: Stream, eye: Camera, shape: tuple[int, ...]) -> NDArray[np.float32]:
    top = stream.integer(0, eye.grain.shape[0] - min(shape[0], 383))
    left = stream.integer(0, eye.grain.shape[1] - min(shape[1], 383))
    rows = np.arange(top, top + shape[0]) % eye.grain.shape[0]
    columns = np.arange(left, left + shape[1]) % eye.grain.shape[1]
    out: NDArray[np.float32] = eye.grain[rows][:, columns]
    return out


def photograph(
    stream: Stream,
    eye: Camera,
    scene: Picture,
    size: tuple[int, int],
    light_spread: float,
    person_rows: int,
    sensor: Stream | None = None,
) -> NDArray[np.uint8]:
    """Exposure, white balance, haze, optics and sensor: linear [h, w, 3] -> uint8 RGB [H, W, 3].

    size: W, H. person_rows: height of a person's crop in pixels, to which the blur is related.
    sensor: draws the noise; None: the stream that draws all else. A camera that films has the same
    light and lens in every frame, and other noise.
    """
    exposure = np.exp(stream.normal(0.05, light_spread))
    slope = 1 + np.linspace(-1, 1, scene.shape[1])[:, None] * stream.normal(0, 0.10)
    shift = 1 + np.array([1.0, 0.0, -1.0]) * np.clip(stream.normal(0, 0.02), -0.04, 0.04)
    linear = scene * (slope * (exposure * eye.gain * shift * (1 - eye.haze))).astype(np.float32)
    linear += np.float32(0.5 * eye.haze)
    linear *= np.float32(1.15) / (1 + np.float32(0.15) * linear)  # highlights roll off
    grey = np.minimum(np.sqrt(linear) * 255, 255).astype(np.uint8)
    picture = Image.fromarray(grey)
    detail = float(np.clip(eye.resolution * stream.uniform(0.75, 1.1), 0.38, 1.0))
    small = (max(8, round(size[0] * detail)), max(16, round(size[1] * detail)))
    picture = picture.resize(small, Image.Resampling.BOX).resize(size, Image.Resampling.BICUBIC)
    blur = eye.blur * stream.uniform(0.5, 1.3) * person_rows / 256
    if blur > 0.2:
        picture = picture.filter(ImageFilter.GaussianBlur(blur))
    pixels = np.asarray(picture, np.float32)
    sensor = stream if sensor is None else sensor
    noise = _grain(sensor, eye, pixels.shape[:2])[..., None] * 0.7
    color_noise = (
        _grain(sensor, eye, (pixels.shape[0], pixels.shape[1] * 3)).reshape(pixels.shape) * 0.5
    )
    strength = np.float32(eye.noise * stream.uniform(0.7, 1.3))
    out: NDArray[np.uint8] = np.clip(
        pixels + (noise + color_noise) * strength + 0.5, 0, 255
    ).astype(np.uint8)
    return out


def _uv(labels: NDArray[np.uint8], coords: NDArray[np.float32]) -> NDArray[np.float32]:
    uv = np.zeros((*labels.shape, 2), np.float32)
    on_body = (labels > 0) & (labels <= len(SURFACES))
    chart, body_coords = CHARTS[labels[on_body]], coords[on_body]
    uv[on_body] = np.clip(
        chart[..., 0] * body_coords[:, :1] + chart[..., 1] * body_coords[:, 1:] + chart[..., 2],
        0.0,
        1.0,
    )
    return uv


def _joints(
    view: View, target: Figure, labels: NDArray[np.uint8], depth: FloatArray, step: int
) -> NDArray[np.float32]:
    """Projects the joints; one is visible if the person's surface is drawn there and no thicker
    than the flesh.
    """
    spots = view(target.joints)
    columns, rows = spots[:, 0] / step, spots[:, 1] / step
    h, w = labels.shape
    inside = (columns >= 0) & (columns < w) & (rows >= 0) & (rows < h)
    i = np.clip(rows, 0, h - 1).astype(np.intp)
    j = np.clip(columns, 0, w - 1).astype(np.intp)
    on_person = (labels[i, j] > 0) & (labels[i, j] < TARGET_LABELS)
    flesh = JOINT_RADII * target.who.attributes.width * 1.25 + 0.02
    near = spots[:, 2] - depth[i, j] <= flesh
    seen = np.where(inside, np.where(on_person & near, 2, 1), 0)
    return np.stack([columns, rows, seen], 1).astype(np.float32)
