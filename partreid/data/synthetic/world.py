"""The settings of a synthetic world, its presets, and the list of its images."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from partreid.data.synthetic.streams import Stream
from partreid.errors import DataError

GENERATOR_VERSION: Final = 1  # part of every world.json: raise it when the pictures change
SPLITS: Final = ("bounding_box_train", "bounding_box_test", "query", "query_occluded")
FIRST_TEST: Final = 5001
FIRST_DISTRACTOR: Final = 8001  # numbers inside the world; their files all begin with 0000


@dataclass(frozen=True)
class World:
    """Everything that decides how a world looks. Two equal worlds give equal files.

    Probabilities and shares are in [0, 1]; sizes in pixels; angles in degrees; distances in metres.
    """

    name: str
    seed: int = 1
    height: int = 256
    width: int = 128
    supersample: int = 1  # drawn this much larger, then averaged

    train_identities: int = 150
    test_identities: int = 150
    distractors: int = 0  # further people in the gallery who match no query
    cameras: int = 6  # 1..9
    train_per_camera: int = 2
    gallery_per_camera: int = 1
    distractor_images: int = 2  # per distractor, in random cameras
    query_per_identity: int = 2  # in as many cameras
    occluded_query_per_identity: int = 3

    uppers: int = 24
    lowers: int = 12
    shoes: int = 6
    bags: int = 8
    bag_p: float = 0.5
    hat_p: float = 0.12
    twin_p: float = 0.12  # share of people who differ from one other only in pattern, shoes or bag
    min_distance: int = 2  # attributes of seven in which any other two people differ at least
    saturation: float = 1.15

    # share of images with any yaw; others follow the camera's two main directions
    yaw_uniform: float = 0.35
    walking: float = 0.82
    truncation_p: float = 0.10
    bystander_p: float = 0.25
    light_spread: float = 0.20  # deviation of log brightness from image to image
    tint_limit: float = 0.08  # largest chroma shift of a camera

    train_occluded: float = 0.09
    gallery_occluded: float = 0.10
    # share of the person an occluder hides (to 0.5 % if supersampled)
    coverage: tuple[float, float] = (0.30, 0.70)
    pedestrian_occluder_p: float = 0.30

    def __post_init__(self) -> None:
        if type(self.seed) is not int or not 0 <= self.seed < 2**63:
            raise DataError(
                f"the seed of a world must be a whole number from 0 to {2**63 - 1}, not {self.seed}"
            )
        if not 0 <= self.train_occluded <= 1:
            raise DataError(
                f"the share of occluded images must lie from 0 to 1, not {self.train_occluded}"
            )
        if not 1 <= self.cameras <= 9:
            raise ValueError(
                f"a world has 1 to 9 cameras (one digit in the file name), not {self.cameras}"
            )
        if (
            self.train_identities > FIRST_TEST - 1
            or self.test_identities > FIRST_DISTRACTOR - FIRST_TEST
        ):
            raise ValueError("file names hold 5000 training and 3000 test identities at most")
        if not 0.0 < self.coverage[0] < self.coverage[1] <= 0.9:
            raise ValueError(f"coverage must rise within (0, 0.9], not {self.coverage}")
        if max(self.query_per_identity, self.occluded_query_per_identity) > self.cameras:
            raise ValueError("an identity has at most one query per camera and query set")


PRESETS: Final[dict[str, World]] = {
    "tiny": World(
        "tiny", height=128, width=64, train_identities=8, test_identities=8, distractors=2,
        cameras=3, uppers=8, lowers=6, shoes=4, bags=6, bag_p=0.7, hat_p=0.3, train_occluded=0.2,
        gallery_occluded=0.2, occluded_query_per_identity=2,
    ),
    "demo": World("demo", seed=61, height=128, width=64, supersample=2, distractors=30),
    "full": World(
        "full", seed=71, train_identities=700, test_identities=300, distractors=400, cameras=8,
        train_per_camera=3, gallery_per_camera=2, distractor_images=6, query_per_identity=4,
        occluded_query_per_identity=5, uppers=44, lowers=22, shoes=10, bags=14,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Shot:
    """One image to be: render(world, identity, camera, index, occluded) draws it."""

    split: str
    identity: int  # 1.. train, 5001.. test, 8001.. distractors
    camera: int  # 1..9
    index: int  # 0.., unique within identity, camera
    occluded: bool

    @property
    def stem(self) -> str:
        """File name without its ending, as Market-1501 has it; distractors are named 0000."""
        if self.identity >= FIRST_DISTRACTOR:
            frame = (self.identity - FIRST_DISTRACTOR) * 100 + self.index
            return f"0000_c{self.camera}s1_{frame:06d}_00"
        return f"{self.identity:04d}_c{self.camera}s1_{self.index:06d}_00"


def plan(world: World) -> Iterator[Shot]:
    """All images of a world, in the order in which annotations.jsonl lists them."""
    cameras = range(1, world.cameras + 1)
    train, test = (
        range(1, world.train_identities + 1),
        range(FIRST_TEST, FIRST_TEST + world.test_identities),
    )
    for identity in train:
        for camera in cameras:
            for index in range(world.train_per_camera):
                chance = Stream(world.seed, "occluded?", identity, camera, index).uniform()
                yield Shot(SPLITS[0], identity, camera, index, chance < world.train_occluded)
    for identity in test:
        for camera in cameras:
            for index in range(world.gallery_per_camera):
                chance = Stream(world.seed, "occluded?", identity, camera, index).uniform()
                yield Shot(SPLITS[1], identity, camera, index, chance < world.gallery_occluded)
    for identity in range(FIRST_DISTRACTOR, FIRST_DISTRACTOR + world.distractors):
        stream = Stream(world.seed, "distractor", identity)
        for index in range(world.distractor_images):
            camera = stream.integer(1, world.cameras + 1)
            yield Shot(SPLITS[1], identity, camera, index, stream.chance(world.gallery_occluded))
    for split, count, first, occluded in (
        (SPLITS[2], world.query_per_identity, 100, False),
        (SPLITS[3], world.occluded_query_per_identity, 200, True),
    ):
        for identity in test:
            chosen = Stream(world.seed, split, identity).shuffled(cameras)[:count]
            for camera in sorted(chosen):
                yield Shot(split, identity, camera, first, occluded)
