"""Part schemes as tables: which labels or channels of a source make up each part, from the head downwards.

Sources: ``SURFACES`` are DensePose's 24 body surfaces as label images carry them, with belongings 25 backpack,
26 handbag, 27 hat; ``PIFPAF`` are the 36 confidence fields that BPBreID's labels come in, 17 joints then 19 limbs.
"""

import numpy as np
from numpy.typing import NDArray

from partreid.errors import RecipeError
from partreid.recipes.base import unknown
from partreid.types import PartScheme

Groups = dict[str, tuple[int, ...]]

# DensePose: odd/even pairs are the two sides of the body, see its chart table; 5 is the left foot, 6 the right one.
SURFACES: dict[str, Groups] = {
    "five": {
        "head": (23, 24, 27), "torso": (1, 2, 25, 26), "arms": (3, 4, 15, 16, 17, 18, 19, 20, 21, 22),
        "upper_legs": (7, 8, 9, 10), "lower_legs": (5, 6, 11, 12, 13, 14),
    },
    "six": {
        "head": (23, 24, 27), "torso": (1, 2, 25, 26), "arms": (3, 4, 15, 16, 17, 18, 19, 20, 21, 22),
        "upper_legs": (7, 8, 9, 10), "lower_legs": (11, 12, 13, 14), "feet": (5, 6),
    },
    "eight": {
        "head": (23, 24, 27), "left_arm": (4, 15, 17, 19, 21), "right_arm": (3, 16, 18, 20, 22),
        "torso": (1, 2, 25, 26), "left_leg": (8, 10, 12, 14), "right_leg": (7, 9, 11, 13),
        "left_foot": (5,), "right_foot": (6,),
    },
    "foreground": {"person": tuple(range(1, 28))},
}

_HEAD = (0, 1, 2, 3, 4, 29, 30, 31, 32, 33, 34, 35)
_LEFT_ARM, _RIGHT_ARM = (5, 7, 9, 25, 27), (6, 8, 10, 26, 28)
_TORSO = (11, 12, 21, 22, 23, 24)
_LEGS, _FEET = (11, 12, 13, 14, 17, 18, 19, 20), (15, 16)

# Facts of the released labels, oddities included: "five_v" misses channels 21 and 22, "eight" has the hips in the left
# leg.
PIFPAF: dict[str, Groups] = {
    "full": {"body": tuple(range(36))},
    "two_v": {"upper": (*_HEAD, 5, 6, 7, 8, 9, 10, 22, 23, 24, 25, 26, 27, 28),
              "legs": tuple(range(11, 22))},
    "three_v": {"head": _HEAD, "upper": (5, 6, 7, 8, 9, 10, 22, 23, 24, 25, 26, 27, 28),
                "legs": tuple(range(11, 22))},
    "four": {"head": _HEAD, "arms": _LEFT_ARM + _RIGHT_ARM, "torso": (5, 6, *_TORSO),
             "legs": tuple(range(11, 22))},
    "five": {"head": _HEAD, "arms": _LEFT_ARM + _RIGHT_ARM, "torso": _TORSO, "legs": (*_LEGS, 21), "feet": _FEET},
    "five_v": {"head": _HEAD, "upper": (5, 6, 7, 8, 24, 25, 26), "lower": (9, 10, 11, 12, 23, 27, 28),
               "legs": _LEGS, "feet": _FEET},
    "six_new": {"head": _HEAD, "torso": _TORSO, "left_arm": _LEFT_ARM, "right_arm": _RIGHT_ARM,
                "legs": (13, 14, 17, 18, 19, 20, 21), "feet": _FEET},
    "eight": {"head": _HEAD, "left_arm": _LEFT_ARM, "right_arm": _RIGHT_ARM, "torso": _TORSO,
              "left_leg": (13, 17, 18, 21), "right_leg": (14, 19, 20), "left_foot": (15,), "right_foot": (16,)},
}


def scheme_of(groups: Groups) -> PartScheme:
    """The part scheme of a table row; parts named left_x and right_x swap when mirrored."""
    names = tuple(groups)
    swap = {"left": "right", "right": "left"}
    flip = [0]
    for name in names:
        side, _, rest = name.partition("_")
        twin = f"{swap[side]}_{rest}" if side in swap else name
        flip.append(1 + (names.index(twin) if twin in names else names.index(name)))
    return PartScheme(names, tuple(flip))


def lookup(groups: Groups) -> NDArray[np.uint8]:
    """Source label -> part, uint8 [256]; everything the table does not name is background."""
    table = np.zeros(256, np.uint8)
    for part, members in enumerate(groups.values(), 1):
        table[list(members)] = part
    return table


def find(table: dict[str, Groups], name: str, what: str) -> Groups:
    """The row of a table, or a RecipeError that lists the rows."""
    if name not in table:
        raise RecipeError(unknown(what, name, table))
    return table[name]
