"""Assembling a person: attributes -> mesh and painted atlas, cached."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from partreid.data.synthetic.body import figure
from partreid.data.synthetic.clothes import extras, fit
from partreid.data.synthetic.mesh import Mesh, join
from partreid.data.synthetic.poses import Manner
from partreid.data.synthetic.streams import Stream
from partreid.data.synthetic.textures import Atlas, paint
from partreid.data.synthetic.wardrobe import Attributes, roster, wardrobe
from partreid.data.synthetic.world import FIRST_DISTRACTOR, FIRST_TEST, World

PASSERS_BY: Final = 64  # other pedestrians of a world; none of them has an identity
_FIRST_PASSER_BY: Final = 90001


@dataclass(frozen=True)
class Person:
    attributes: Attributes
    mesh: Mesh
    atlas: Atlas
    manner: Manner


def attributes(world: World, identity: int) -> Attributes:
    """What an identity of the world looks like; IndexError if there is no such identity."""
    for group, first, count in (
        (3, _FIRST_PASSER_BY, PASSERS_BY),
        (2, FIRST_DISTRACTOR, world.distractors),
        (1, FIRST_TEST, world.test_identities),
        (0, 1, world.train_identities),
    ):
        if first <= identity < first + count:
            return roster(world, group, count)[identity - first]
    raise IndexError(f"world {world.name!r} has no identity {identity}")


@lru_cache(maxsize=96)
def person(world: World, identity: int) -> Person:
    """The person with this identity; about 1 MB each."""
    look = attributes(world, identity)
    clothes = wardrobe(world)
    upper, lower = clothes.uppers[look.upper], clothes.lowers[look.lower]
    shoe, bag = clothes.shoes[look.shoes], clothes.bags[look.bag]
    mesh = join([figure(fit(look, upper, lower, shoe)), *extras(look, upper, lower, bag)])
    atlas = paint(Stream(world.seed, "paint", identity), look, upper, lower, shoe, bag)
    narrow = {"skirt": 0.75, "long skirt": 0.6}.get(
        lower.kind, 0.9 if upper.kind == "coat" else 1.0
    )
    carrying = bag.side if bag.kind in ("handbag", "tote") else None
    return Person(look, mesh, atlas, Manner(narrow, carrying, bag.kind == "handbag"))


def passer_by(world: World, number: int) -> Person:
    """One of the pedestrians who only get in the way: number in 0 .. 63."""
    return person(world, _FIRST_PASSER_BY + number)
