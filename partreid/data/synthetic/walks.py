"""Who walks where and when in a scene: places, cameras, things to hide behind, and paths. Nothing
is drawn here.

Ground coordinates of a place are metres from its middle. A camera that is turned by `azimuth` sees
them as (across, towards itself), see `Eye.in_view`.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from partreid.data.synthetic.streams import Stream
from partreid.data.synthetic.world import FIRST_TEST, World
from partreid.errors import DataError
from partreid.utils.arguments import check_fields, number

FloatArray = NDArray[np.float64]
FASTEST: Final = 1.7  # metres a second; nobody walks faster, which bounds travel times from below
_RADIUS: Final = 8.5  # of a place, metres: nobody at its rim is seen by a camera of it
_WALL: Final = 6.0  # metres behind the middle, where a camera's backdrop stands
_STEP: Final = 0.05  # of a path in metres, of its clock in seconds
_APART: Final = 0.6  # metres that two people keep
_TRIES: Final = 60

TALL: Final = ("wall", "hedge", "board", "column")
LOW: Final = ("bin", "car", "low wall", "pole")
# What looks alike from all sides, for a place that two cameras see.
ROUND: Final = ("hedge", "column", "bin", "pole")
# width and height in metres; a pole hides a strip of a person, a tall thing all of one
SIZES: Final[dict[str, tuple[float, float]]] = {
    "wall": (1.9, 2.2), "hedge": (2.2, 2.2), "board": (1.5, 2.15), "column": (1.15, 2.7),
    "bin": (0.75, 1.05), "car": (4.2, 1.35), "low wall": (2.4, 1.0), "pole": (0.32, 3.4),
}  # fmt: skip


@dataclass(frozen=True)
class Scenes:
    """Everything that decides what a set of scenes shows. Two equal ones give equal files.

    Args:
        seed: Of people, places and walks.
        people: Who are filmed.
        cameras: 2 to 9. The first two look at one place, each of the others at one of its own.
        seconds: How long all cameras film.
        fps: Frames a second.
        width, height: Pixels of a frame.
        supersample: Drawn this much larger, then averaged.
        every: One frame in so many gives crops.
        lost: Visible share of a person below which a tracker does not see him.
        patience: Frames that a tracker waits for a person it does not see; then the tracklet ends.

    Raises:
        DataError: A number lies out of its range.
    """

    seed: int = 1
    people: int = 30
    cameras: int = 4
    seconds: float = 60.0
    fps: int = 5
    width: int = 640
    height: int = 360
    supersample: int = 2
    every: int = 3
    lost: float = 0.1
    patience: int = 2

    def __post_init__(self) -> None:
        check_fields(self)
        for name, least, most in (
            ("seed", 0, 2**63 - 1),
            ("people", 1, 64),
            ("cameras", 2, 9),
            ("fps", 1, 30),
            ("width", 160, 1920),
            ("height", 90, 1080),
            ("supersample", 1, 4),
            ("every", 1, 1000),
            ("patience", 0, 1000),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise DataError(f"{name} of scenes must be {least} to {most}, got {value}")
        number("the seconds of scenes", self.seconds, 1, 3600)
        number("the share below which a person is lost", self.lost, 0, 1)

    @property
    def frames(self) -> int:
        """How many each camera takes."""
        return int(self.seconds * self.fps)

    @property
    def world(self) -> World:
        """Where the people and the cameras' looks come from."""
        return World(
            "scenes", seed=self.seed, supersample=self.supersample, train_identities=0,
            test_identities=self.people, cameras=self.cameras, query_per_identity=1,
            occluded_query_per_identity=1,
        )  # fmt: skip

    def place(self, camera: int) -> int:
        """The place, from 0, that a camera, from 1, looks at."""
        return max(0, camera - 2) if self.cameras > 2 else camera - 1

    @property
    def places(self) -> int:
        return self.place(self.cameras) + 1

    def looking_at(self, place: int) -> tuple[int, ...]:
        """The cameras of a place."""
        return tuple(c for c in range(1, self.cameras + 1) if self.place(c) == place)


SCENES: Final[dict[str, Scenes]] = {
    "tiny": Scenes(
        people=6, cameras=3, seconds=24.0, fps=2, width=320, height=180, supersample=1, every=1
    ),
    "demo": Scenes(),
}


@dataclass(frozen=True)
class Thing:
    """Something that stands in a place and hides people; x, z in metres on the ground."""

    kind: str
    x: float
    z: float
    width: float
    height: float
    number: int  # within its place

    def near(self, points: FloatArray, round_: bool) -> float:
        """Least distance in metres of points [n, 2] from it; negative inside."""
        dx, dz = np.abs(points[:, 0] - self.x), np.abs(points[:, 1] - self.z)
        if round_:
            return float((np.hypot(dx, dz) - self.width / 2).min())
        return float(np.maximum(dx - self.width / 2, dz - 0.15).min())


@dataclass(frozen=True)
class Eye:
    """Where a camera of a scene stands and looks. azimuth: radians around its place."""

    azimuth: float
    pitch: float  # radians
    distance: float  # metres
    focal: float  # pixels of a drawn, supersampled frame

    def in_view(self, ground: FloatArray) -> FloatArray:
        """[n, 2] on the ground -> [n, 2] metres to the right and towards the camera."""
        c, s = np.cos(self.azimuth), np.sin(self.azimuth)
        x, z = ground[:, 0], ground[:, 1]
        return np.stack([x * c - z * s, x * s + z * c], 1)

    def stand(self) -> FloatArray:
        """[2] where on the ground the camera stands."""
        far = self.distance * np.cos(self.pitch)
        return np.array([far * np.sin(self.azimuth), far * np.cos(self.azimuth)])


@dataclass(frozen=True)
class Walk:
    """One person's walk through a place.

    identity: as in the world. clock [n]: seconds. ground [n, 2]: metres. heading [n, 2]: unit
    vectors. walked [n]: metres so far. pace [n]: 1 at the person's usual speed, 0 standing.
    """

    identity: int
    place: int
    clock: FloatArray
    ground: FloatArray
    heading: FloatArray
    walked: FloatArray
    pace: FloatArray

    @property
    def start(self) -> float:
        return float(self.clock[0])

    @property
    def end(self) -> float:
        return float(self.clock[-1])

    def moment(self, time: float) -> tuple[FloatArray, FloatArray, float, float]:
        """Ground, heading, metres walked and pace at a time between start and end."""
        k = (time - self.clock[0]) / _STEP
        i = min(int(k), len(self.clock) - 2)
        f = min(1.0, k - i)

        def between(values: FloatArray) -> FloatArray:
            out: FloatArray = values[i] * (1 - f) + values[i + 1] * f
            return out

        return (
            between(self.ground),
            between(self.heading),
            float(between(self.walked)),
            float(between(self.pace)),
        )


def eye(scenes: Scenes, camera: int) -> Eye:
    """Where a camera, from 1, stands; its look is that of the world's camera with its number."""
    s = Stream(scenes.seed, "scene eye", camera)
    pitch, distance = np.radians(s.uniform(9, 19)), s.uniform(8.5, 11)
    turned = s.uniform(20, 28) * (1 if camera == 1 else -1)
    azimuth = np.radians(turned) if len(scenes.looking_at(scenes.place(camera))) > 1 else 0.0
    focal = 0.205 * scenes.height * scenes.supersample * distance
    return Eye(float(azimuth), float(pitch), distance, focal)


def wall(scenes: Scenes) -> float:
    """Metres behind the middle of a place at which a backdrop stands."""
    return _WALL


@lru_cache(maxsize=64)
def things(scenes: Scenes, place: int) -> tuple[Thing, ...]:
    """What stands in a place: something tall first, then low and narrow things."""
    s = Stream(scenes.seed, "things", place)
    shared = len(scenes.looking_at(place)) > 1
    kinds = [s.choice([k for k in TALL if not shared or k in ROUND])]
    kinds += s.shuffled([k for k in (*LOW, *TALL) if not shared or k in ROUND])[: s.integer(2, 4)]
    out: list[Thing] = []
    for kind in kinds:
        wide, tall = SIZES[kind]
        wide = wide * s.uniform(0.9, 1.15)
        tall = tall * s.uniform(0.97, 1.05)
        for _ in range(40):
            x, z = s.uniform(-3.2, 3.2), s.uniform(-2.2, 1.6)
            if all(abs(x - t.x) > (wide + t.width) / 2 + 0.9 for t in out):
                out.append(Thing(kind, x, z, wide, tall, len(out)))
                break
    return tuple(out)


def travel(scenes: Scenes, a: int, b: int) -> float:
    """Metres of the way from place a to place b, outside all cameras; symmetric."""
    low, high = sorted((a, b))
    reach = (6.0, 12.0) if scenes.seconds < 40 else (8.0, 18.0)
    return Stream(scenes.seed, "travel", low, high).uniform(*reach)


def least_seconds(scenes: Scenes, first: int, second: int) -> float:
    """No one leaves the one camera's picture and enters the other's in less time; 0 for two that
    see one place.
    """
    a, b = scenes.place(first), scenes.place(second)
    return 0.0 if a == b else float(np.floor(10 * travel(scenes, a, b) / FASTEST) / 10)


@lru_cache(maxsize=8)
def walks(scenes: Scenes) -> tuple[Walk, ...]:
    """All walks, each group of people after the other."""
    done: list[Walk] = []
    number_ = 0
    while number_ < scenes.people:
        s = Stream(scenes.seed, "group", number_)
        many = 2 if s.chance(0.25) and number_ + 1 < scenes.people else 1
        members = [FIRST_TEST + number_ + i for i in range(many)]
        speed = s.uniform(1.1, 1.55)
        time = s.uniform(-8.0, 0.4 * scenes.seconds)
        place = s.integer(0, scenes.places)
        while time < scenes.seconds:
            walk = _free(scenes, s, members, place, time, speed, done)
            done += walk
            others = [p for p in range(scenes.places) if p != place]
            again = not others or s.chance(0.15)
            after = place if again else s.choice(others)
            time = walk[0].end + travel(scenes, place, after) / speed * s.uniform(1.0, 1.4)
            place = after
        number_ += many
    return tuple(done)


def _free(
    scenes: Scenes, s: Stream, members: list[int], place: int, time: float, speed: float,
    done: list[Walk],
) -> list[Walk]:  # fmt: skip
    """Walks of a group that keep clear of things and of those who walk already; after some tries
    the ones that come least near.
    """
    there = [w for w in done if w.place == place]
    best: tuple[float, list[Walk]] = (-np.inf, [])
    for _ in range(_TRIES):
        group = _walk(scenes, s, members, place, time, speed)
        clear = min(
            min((_between(w, other) for w in group for other in there), default=9.0) - _APART,
            min(
                thing.near(w.ground, len(scenes.looking_at(place)) > 1) - 0.28
                for w in group
                for thing in things(scenes, place)
            ),
        )
        if clear > best[0]:
            best = (clear, group)
        if clear >= 0:
            break
    return best[1]


def _between(a: Walk, b: Walk) -> float:
    """Least distance in metres of two walks at one time."""
    first, last = max(a.start, b.start), min(a.end, b.end)
    if last <= first:
        return 9.0
    clock = np.arange(first, last, 0.2)
    spots = [
        np.stack([np.interp(clock, w.clock, w.ground[:, k]) for k in (0, 1)], 1) for w in (a, b)
    ]
    return float(np.hypot(*(spots[0] - spots[1]).T).min())


def _walk(
    scenes: Scenes, s: Stream, members: list[int], place: int, time: float, speed: float
) -> list[Walk]:
    shared = len(scenes.looking_at(place)) > 1
    side = -1.0 if s.chance(0.5) else 1.0
    hides, waits, returns = s.chance(0.6), s.chance(0.55), s.chance(0.3)
    entry = _rim(s, side, shared)
    leave = _rim(s, side if returns else -side, shared)
    wait = s.uniform(1.5, 4.0)
    if hides:
        middle = _behind(scenes, s, place)
    else:
        middle, waits = np.array([s.uniform(-1.5, 1.5), s.uniform(-2.6, 2.4)]), False
    beside = 0.65 if len(members) > 1 else 0.0
    path = _smooth(np.stack([entry, middle, leave]))
    steps = np.diff(path, axis=0)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])
    stop = float(along[np.argmin(np.hypot(*(path - middle).T))])
    seconds = along[-1] / speed + (wait if waits else 0.0)
    clock: FloatArray = time + _STEP * np.arange(int(seconds / _STEP) + 1, dtype=np.float64)
    pace = np.ones(len(clock))
    if waits:
        first = int(stop / speed / _STEP)
        pace[first : first + int(wait / _STEP)] = 0.0
        ramp = np.ones(13) / 13
        pace = np.convolve(np.pad(pace, 6, mode="edge"), ramp, mode="valid")
    walked: FloatArray = np.minimum(
        np.concatenate([[0.0], np.cumsum(pace[:-1]) * _STEP * speed]), along[-1]
    )
    ground = np.stack([np.interp(walked, along, path[:, k]) for k in (0, 1)], 1)
    ahead = np.stack([np.interp(walked + 0.15, along, path[:, k]) for k in (0, 1)], 1)
    back = np.stack([np.interp(walked - 0.15, along, path[:, k]) for k in (0, 1)], 1)
    heading = ahead - back
    heading = heading / np.maximum(np.hypot(heading[:, 0], heading[:, 1]), 1e-9)[:, None]
    across = np.array([0.35, -0.94])  # companions walk abreast, one nearer to the camera
    return [
        Walk(
            who,
            place,
            clock,
            ground + beside * (k - (len(members) - 1) / 2) * across,
            heading,
            walked + 0.37 * k,
            pace,
        )
        for k, who in enumerate(members)
    ]


def _rim(s: Stream, side: float, shared: bool) -> FloatArray:
    """A point at the left (-1) or right rim; where two cameras look, one that both lose."""
    tilt = np.radians(s.uniform(-7, 7) if shared else s.uniform(-15, 12))
    return _RADIUS * np.array([side * np.cos(tilt), np.sin(tilt)])


def _behind(scenes: Scenes, s: Stream, place: int) -> FloatArray:
    """A point behind a thing, as a camera of the place sees it."""
    camera = s.choice(scenes.looking_at(place))
    there = things(scenes, place)
    thing = s.choice(there, [3.0 if t.height > 1.9 else 1.0 for t in there])
    position = np.array([thing.x, thing.z])
    away = position - eye(scenes, camera).stand()
    away /= np.hypot(away[0], away[1])
    thick = thing.width / 2 if len(scenes.looking_at(place)) > 1 else 0.2
    out: FloatArray = position + away * (thick + s.uniform(0.5, 0.8))
    return out


def _smooth(corners: FloatArray) -> FloatArray:
    """A path [n, 2] through the corners [m, 2] that takes its turns in about a metre."""
    pieces = []
    for a, b in zip(corners[:-1], corners[1:], strict=True):
        many = max(2, int(np.hypot(*(b - a)) / _STEP))
        pieces.append(a + (b - a) * (np.arange(many) / many)[:, None])
    line = np.concatenate([*pieces, corners[-1:]])
    for _ in range(2):
        padded = np.pad(line, ((9, 9), (0, 0)), mode="edge")
        line = np.stack([np.convolve(padded[:, k], np.ones(19) / 19, "valid") for k in (0, 1)], 1)
    return line
