"""Who wears what: garments of a world, and the people who share them.

A wardrobe is much smaller than the number of people, so that single garments do not give a person
away. Upper garments come in pairs that differ in nothing but the pattern.
"""

import colorsys
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from partreid.data.synthetic.streams import Stream
from partreid.data.synthetic.world import World

Color = tuple[float, float, float]  # RGB in [0, 1], gamma-encoded

# hue, saturation, value, how common
_CLOTH: Final[tuple[tuple[float, float, float, float], ...]] = (
    (0.62, 0.10, 0.15, 5), (0.60, 0.06, 0.35, 4), (0.58, 0.04, 0.60, 3), (0.10, 0.05, 0.88, 4),
    (0.62, 0.55, 0.28, 4), (0.60, 0.55, 0.52, 3), (0.56, 0.35, 0.70, 2), (0.98, 0.70, 0.48, 2),
    (0.00, 0.75, 0.68, 2), (0.04, 0.50, 0.38, 2), (0.08, 0.45, 0.60, 2), (0.11, 0.30, 0.76, 2),
    (0.13, 0.68, 0.80, 1), (0.25, 0.35, 0.36, 2), (0.37, 0.50, 0.38, 2), (0.47, 0.50, 0.50, 1),
    (0.78, 0.32, 0.40, 1), (0.92, 0.35, 0.74, 1), (0.06, 0.72, 0.78, 1),
)  # fmt: skip
_DENIM: Final = ((0.61, 0.50, 0.40), (0.61, 0.35, 0.58), (0.62, 0.55, 0.26), (0.60, 0.20, 0.70))
_DULL: Final = (
    (0.0, 0.0, 0.12), (0.60, 0.10, 0.24), (0.10, 0.16, 0.48), (0.11, 0.28, 0.64),
    (0.08, 0.35, 0.34), (0.25, 0.26, 0.34), (0.60, 0.04, 0.50), (0.62, 0.50, 0.24),
    (0.10, 0.07, 0.80),
)  # fmt: skip
SKINS: Final[tuple[Color, ...]] = (
    (0.93, 0.76, 0.66), (0.87, 0.68, 0.55), (0.78, 0.58, 0.44), (0.64, 0.45, 0.33),
    (0.48, 0.32, 0.23), (0.35, 0.23, 0.17),
)  # fmt: skip
HAIRS: Final[tuple[Color, ...]] = (
    (0.09, 0.075, 0.07), (0.20, 0.13, 0.09), (0.36, 0.23, 0.13), (0.64, 0.49, 0.29),
    (0.46, 0.22, 0.11), (0.58, 0.57, 0.56),
)  # fmt: skip
STYLES: Final = ("bald", "crop", "short", "swept", "bob", "long", "ponytail", "bun", "afro")
UPPERS: Final = ("tee", "shirt", "sweater", "hoodie", "jacket", "coat", "puffer", "tank")
LOWERS: Final = ("jeans", "slim", "shorts", "skirt", "wide", "jeans", "slim", "shorts", "jeans",
                 "long skirt", "wide", "skirt")  # fmt: skip
PATTERNS: Final = (
    "plain",
    "stripes",
    "check",
    "block",
    "print",
    "raglan",
    "band",
    "dots",
    "vertical",
)


@dataclass(frozen=True)
class Upper:
    kind: str
    pattern: str
    color: Color
    second: Color
    inner: Color  # what an open jacket shows
    scale: float  # size of the pattern, 1 = usual
    sleeve: str  # "none", "short" or "long"


@dataclass(frozen=True)
class Lower:
    kind: str
    pattern: str  # "plain", "side" (a stripe down the seam) or "check"
    color: Color
    second: Color


@dataclass(frozen=True)
class Shoe:
    kind: str  # "sneaker", "leather" or "boot"
    color: Color
    sole: Color


@dataclass(frozen=True)
class Bag:
    kind: str  # "none", "backpack", "handbag", "tote" or "crossbody"
    color: Color
    second: Color
    side: int  # 0 left, 1 right


@dataclass(frozen=True)
class Wardrobe:
    uppers: tuple[Upper, ...]
    lowers: tuple[Lower, ...]
    shoes: tuple[Shoe, ...]
    bags: tuple[Bag, ...]  # the first is "none"


@dataclass(frozen=True)
class Attributes:
    """One person. The first seven are indices; the distance of two people counts how many of
    them differ.
    """

    upper: int
    lower: int
    shoes: int
    bag: int
    hat: int  # 0 none, 1 cap, 2 beanie, 3 brimmed, 4 turned cap
    style: int
    hair: int
    skin: int
    female: bool
    height: float  # metres
    width: float
    belly: float  # metres

    def distance(self, other: "Attributes") -> int:
        """How many of upper, lower, shoes, bag, hat, hair style and hair color differ: 0..7."""
        return sum(a != b for a, b in zip(self.look(), other.look(), strict=True))

    def look(self) -> tuple[int, int, int, int, int, int, int]:
        """The seven attributes that can be seen and counted."""
        return (self.upper, self.lower, self.shoes, self.bag, self.hat, self.style, self.hair)


def _cloth(stream: Stream, saturation: float) -> Color:
    h, s, v, _ = stream.choice(_CLOTH, [c[3] for c in _CLOTH])
    return _hsv(stream, (h, s, v), saturation)


def _hsv(stream: Stream, color: tuple[float, float, float], saturation: float = 1.0) -> Color:
    h, s, v = color
    return colorsys.hsv_to_rgb(
        (h + stream.normal(0, 0.012)) % 1.0,
        min(0.85, s * saturation * stream.uniform(0.85, 1.15)),
        min(0.92, v * stream.uniform(0.88, 1.12)),
    )


def _contrast(stream: Stream, with_color: Color, saturation: float) -> Color:
    second = with_color
    for _ in range(12):
        second = _cloth(stream, saturation)
        if sum(abs(a - b) for a, b in zip(second, with_color, strict=True)) > 0.55:
            break
    return second


@lru_cache(maxsize=4)
def wardrobe(world: World) -> Wardrobe:
    """The garments of a world."""
    uppers: list[Upper] = []
    for index in range(world.uppers):
        base = Stream(world.seed, "upper", index // 2)  # a pair shares kind and colors
        kind = base.choice(UPPERS, (5, 3, 4, 3, 3, 2, 2, 1))
        color = _cloth(base, world.saturation)
        second, inner = (
            _contrast(base, color, world.saturation),
            _contrast(base, color, world.saturation),
        )
        allowed = (
            PATTERNS
            if kind in ("tee", "shirt", "sweater")
            else ("plain", "block", "band", "raglan", "vertical")
        )
        patterns = base.shuffled(allowed)
        sleeve = {"tank": "none", "tee": "short"}.get(kind, "long")
        scale = base.uniform(0.7, 1.5)
        uppers.append(Upper(kind, patterns[index % 2], color, second, inner, scale, sleeve))
    lowers = []
    for index in range(world.lowers):
        s = Stream(world.seed, "lower", index)
        kind = LOWERS[index % len(LOWERS)]
        color = _hsv(s, s.choice(_DENIM if kind == "jeans" or s.chance(0.2) else _DULL))
        pattern = (
            s.choice(("plain", "side", "check"), (0.76, 0.14, 0.10)) if kind != "jeans" else "plain"
        )
        lowers.append(Lower(kind, pattern, color, _contrast(s, color, world.saturation)))
    shoes = []
    for index in range(world.shoes):
        s = Stream(world.seed, "shoes", index)
        kind = ("sneaker", "leather", "sneaker", "boot")[index % 4]
        color = _cloth(s, world.saturation) if kind == "sneaker" else _hsv(s, s.choice(_DULL[:5]))
        shoes.append(
            Shoe(kind, color, (0.86, 0.85, 0.82) if kind == "sneaker" else (0.10, 0.09, 0.09))
        )
    bags = [Bag("none", (0, 0, 0), (0, 0, 0), 0)]
    for index in range(world.bags):
        s = Stream(world.seed, "bag", index)
        kind = ("backpack", "handbag", "backpack", "tote", "crossbody", "backpack")[index % 6]
        color = _cloth(s, world.saturation)
        bags.append(Bag(kind, color, _contrast(s, color, world.saturation), s.integer(0, 2)))
    return Wardrobe(tuple(uppers), tuple(lowers), tuple(shoes), tuple(bags))


def _draw(world: World, stream: Stream) -> Attributes:
    female = stream.chance(0.5)
    clothes = wardrobe(world)
    lower = stream.integer(0, world.lowers)
    for _ in range(8):
        if female or "skirt" not in clothes.lowers[lower].kind:
            break
        lower = stream.integer(0, world.lowers)
    weights = (
        (0.3, 1, 1.5, 1.2, 2.5, 3, 2.5, 1.2, 0.5)
        if female
        else (1.2, 3, 4, 2.5, 0.2, 0.2, 0.2, 0.1, 0.6)
    )
    skin = stream.choice(range(6), (3, 4, 3, 2, 2, 2))
    dark_hair = (7, 4, 1.5, 0.2, 0.2, 1.5)
    return Attributes(
        upper=stream.integer(0, world.uppers),
        lower=lower,
        shoes=stream.integer(0, world.shoes),
        bag=stream.integer(1, world.bags + 1) if stream.chance(world.bag_p) else 0,
        hat=stream.integer(1, 5) if stream.chance(world.hat_p) else 0,
        style=STYLES.index(stream.choice(STYLES, weights)),
        hair=stream.choice(range(6), dark_hair if skin >= 2 else (2, 3, 3.5, 3, 1.5, 2)),
        skin=skin,
        female=female,
        height=min(1.98, max(1.48, stream.normal(1.65 if female else 1.77, 0.065))),
        width=min(1.32, max(0.84, stream.normal(0.97 if female else 1.06, 0.10))),
        belly=max(0.0, stream.normal(0.0, 0.03)),
    )


def _twin(world: World, model: Attributes, stream: Stream) -> Attributes:
    """Somebody who differs from `model` only in pattern, shoes or bag."""
    values = dict(model.__dict__)
    what = stream.choice(("upper", "shoes", "bag"))
    if what == "upper":
        values["upper"] = min(model.upper ^ 1, world.uppers - 1)
    elif what == "shoes":
        values["shoes"] = (model.shoes + stream.integer(1, world.shoes)) % world.shoes
    else:
        values["bag"] = (model.bag + stream.integer(1, world.bags + 1)) % (world.bags + 1)
    values["height"] = model.height + stream.normal(0, 0.02)
    return Attributes(**values)


@lru_cache(maxsize=64)
def roster(world: World, group: int, count: int) -> tuple[Attributes, ...]:
    """The first `count` people of a group (0 train, 1 test, 2 distractors, 3 passers-by).

    No two of a group look alike in all seven attributes, unless the wardrobe is too small to avoid
    it.
    """
    people: list[Attributes] = []
    for index in range(count):
        stream = Stream(world.seed, "person", group, index)
        twin = index % 2 == 1 and stream.chance(2 * world.twin_p)
        drawn = _draw(world, stream)
        for _ in range(50):
            person = _twin(world, people[-1], stream) if twin else drawn
            needed = 1 if twin else world.min_distance
            if all(person.distance(other) >= needed for other in people):
                break
            drawn = _draw(world, stream)
        people.append(person)
    return tuple(people)
