"""Part schemes as tables: which labels or channels of a source make up each part, from the head
downwards.

``SETS`` names the part sets of the papers once, for every source. ``SURFACES`` are DensePose's 24
body surfaces as label images carry them, with belongings 25 backpack, 26 handbag, 27 hat;
``PIFPAF`` are the 36 confidence fields that BPBreID's labels come in, 17 joints then 19 limbs;
``KEYPOINTS`` are the 17 joints of COCO alone. Label images of human parsers are in
:mod:`partreid.labels.sources`. A :class:`PartSet` adds a row to all of them at once.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partreid.errors import RecipeError
from partreid.recipes.base import unknown
from partreid.types import PartScheme
from partreid.utils.arguments import check_fields, door
from partreid.utils.registry import Registry

Groups = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class PartSet:
    """A set of parts, and which labels of which source make up each.

    names: from the head downwards; left_x and right_x swap when mirrored. rows: source -> part ->
    its labels, for "surfaces" (DensePose's 24 surfaces, with belongings), "pifpaf", "keypoints" and
    the parsers of :data:`partreid.labels.sources.SOURCES`; what is said of "surfaces" holds for
    DensePose's own label images too. Every row has every part; one that the source cannot tell has
    no labels, ().

    RecipeError for rows that name other parts.

    Examples:
        >>> PartSet(("upper", "lower"), {"keypoints": {"upper": (5, 6), "lower": (15, 16)}}).names
        ('upper', 'lower')
    """

    names: tuple[str, ...]
    rows: Mapping[str, Groups]

    def __post_init__(self) -> None:
        check_fields(self)
        for source, row in self.rows.items():
            if set(row) != set(self.names) or len(set(self.names)) != len(self.names):
                raise RecipeError(
                    f"the row of '{source}' has the parts {', '.join(row)} and the set "
                    f"{', '.join(self.names)}; give every part once in both"
                )

    def row(self, source: str) -> Groups | None:
        """The row of a source, in the order of the parts; None if there is none."""
        row = self.rows.get(source)
        return None if row is None else {name: tuple(row[name]) for name in self.names}


SCHEMES: "Registry[PartSet]" = Registry("part set", "partreid.schemes", {})


def added() -> dict[str, PartSet]:
    """The part sets that a program registered or installed packages bring. RecipeError for one
    that is none, or whose name is taken.
    """
    part_sets = {name: SCHEMES[name] for name in SCHEMES}
    for name, parts in part_sets.items():
        if not isinstance(parts, PartSet):
            raise RecipeError(
                f"the part set '{name}' must be a PartSet, got a {type(parts).__name__}; repair or "
                "remove the package that brings it"
            )
        if name in _TAKEN:
            raise RecipeError(
                f"there is a part set '{name}' already; register yours under another name"
            )
    return part_sets


class Rows(Mapping[str, Groups]):
    """The rows of one source by part set: what stands here, then what is added.

    follows: another source's rows, and how a row that only they have becomes one of this source.
    """

    @door
    def __init__(
        self,
        source: str,
        rows: Mapping[str, Groups],
        follows: "tuple[Rows, Callable[[Groups], Groups]] | None" = None,
    ) -> None:
        self.source, self._rows, self._follows = source, dict(rows), follows
        _TAKEN.update(self._rows)
        _TABLES.add(source)

    def __getitem__(self, name: str) -> Groups:
        if name in self._rows:
            return self._rows[name]
        row = self._of(added()[name])
        if row is None:
            raise KeyError(name)
        return row

    def __iter__(self) -> Iterator[str]:
        more = (name for name, parts in added().items() if self._of(parts) is not None)
        return iter([*self._rows, *more])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _of(self, parts: PartSet) -> Groups | None:
        row = parts.row(self.source)
        if row is None and self._follows is not None:
            other = self._follows[0]._of(parts)
            row = None if other is None else self._follows[1](other)
        return row


class Sets(Mapping[str, tuple[str, ...]]):
    """The parts of every set: of those that stand here, then of what is added."""

    @door
    def __init__(self, names: Mapping[str, tuple[str, ...]]) -> None:
        self._names = dict(names)
        _TAKEN.update(names)

    def __getitem__(self, name: str) -> tuple[str, ...]:
        return self._names[name] if name in self._names else added()[name].names

    def __iter__(self) -> Iterator[str]:
        return iter([*self._names, *added()])

    def __len__(self) -> int:
        return len(self._names) + len(added())


_TAKEN: set[str] = set()  # names of part sets that stand in a table
_TABLES: set[str] = set()  # sources that have one

_SETS: dict[str, tuple[str, ...]] = {
    "three": ("head", "upper", "lower"),  # HCGA
    "five": ("head", "arms", "torso", "legs", "feet"),  # BPBreID
    # BPBreID on Market-1501; upper and lower of torso and arms
    "five_v": ("head", "upper", "lower", "legs", "feet"),
    "seven": (
        "head",
        "chest",
        "upper_arm",
        "lower_arm",
        "upper_leg",
        "lower_leg",
        "foot",
    ),  # MagnifierNet
    "eight": (
        "head",
        "left_arm",
        "right_arm",
        "torso",
        "left_leg",
        "right_leg",
        "left_foot",
        "right_foot",
    ),  # BPBreID
    "regions": (
        "torso",
        "hand",
        "foot",
        "upper_leg",
        "lower_leg",
        "upper_arm",
        "lower_arm",
        "head",
    ),  # DSA, its order
}

# What a table of classes alone cannot say of a set, geometry does, see partreid.labels.parsing:
HALVED = frozenset({"five_v"})  # sets that cut the torso at half its height
SIDED = frozenset({"eight"})  # sets that take apart what a parser has once for both sides

# DensePose: odd/even pairs are the two sides of the body, see its chart table; 5 is the left foot,
# 6 the right one.
_SURFACES: dict[str, Groups] = {
    "five": {
        "head": (23, 24, 27),
        "torso": (1, 2, 25, 26),
        "arms": (3, 4, 15, 16, 17, 18, 19, 20, 21, 22),
        "upper_legs": (7, 8, 9, 10),
        "lower_legs": (5, 6, 11, 12, 13, 14),
    },
    "six": {
        "head": (23, 24, 27),
        "torso": (1, 2, 25, 26),
        "arms": (3, 4, 15, 16, 17, 18, 19, 20, 21, 22),
        "upper_legs": (7, 8, 9, 10),
        "lower_legs": (11, 12, 13, 14),
        "feet": (5, 6),
    },
    "eight": {
        "head": (23, 24, 27),
        "left_arm": (4, 15, 17, 19, 21),
        "right_arm": (3, 16, 18, 20, 22),
        "torso": (1, 2, 25, 26),
        "left_leg": (8, 10, 12, 14),
        "right_leg": (7, 9, 11, 13),
        "left_foot": (5,),
        "right_foot": (6,),
    },
    "six_new": {  # BPBreID's Table 3
        "head": (23, 24, 27),
        "torso": (1, 2, 25, 26),
        "left_arm": (4, 15, 17, 19, 21),
        "right_arm": (3, 16, 18, 20, 22),
        "legs": tuple(range(7, 15)),
        "feet": (5, 6),
    },
    "seven": {  # MagnifierNet; hands count as lower arms
        "head": (23, 24, 27),
        "chest": (1, 2, 25, 26),
        "upper_arm": (15, 16, 17, 18),
        "lower_arm": (3, 4, 19, 20, 21, 22),
        "upper_leg": (7, 8, 9, 10),
        "lower_leg": (11, 12, 13, 14),
        "foot": (5, 6),
    },
    "three": {  # HCGA
        "head": (23, 24, 27),
        "upper": (1, 2, 3, 4, 15, 16, 17, 18, 19, 20, 21, 22, 25, 26),
        "lower": tuple(range(5, 15)),
    },
    "regions": {  # DSA's eight, in its order
        "torso": (1, 2, 25, 26),
        "hand": (3, 4),
        "foot": (5, 6),
        "upper_leg": (7, 8, 9, 10),
        "lower_leg": (11, 12, 13, 14),
        "upper_arm": (15, 16, 17, 18),
        "lower_arm": (19, 20, 21, 22),
        "head": (23, 24, 27),
    },
    "foreground": {"person": tuple(range(1, 28))},
}

# COCO's joints: 0 nose, 1 2 eyes, 3 4 ears, 5 6 shoulders, 7 8 elbows, 9 10 wrists, 11 12 hips, 13
# 14 knees, 15 16 ankles; the first of a pair is the left one.
JOINTS = 17
LIMBS: tuple[tuple[int, int], ...] = (  # field 17 + i lies between these joints
    (15, 13),
    (13, 11),
    (16, 14),
    (14, 12),
    (11, 12),
    (5, 11),
    (6, 12),
    (5, 6),
    (5, 7),
    (6, 8),
    (7, 9),
    (8, 10),
    (1, 2),
    (0, 1),
    (0, 2),
    (1, 3),
    (2, 4),
    (3, 5),
    (4, 6),
)

_FACE, _HEAD = (0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 29, 30, 31, 32, 33, 34, 35)
_LEFT_ARM, _RIGHT_ARM = (5, 7, 9, 25, 27), (6, 8, 10, 26, 28)
_ARMS = _LEFT_ARM + _RIGHT_ARM
_TORSO, _CHEST, _HIPS = (11, 12, 21, 22, 23, 24), (22, 23, 24), (11, 12, 21)
_LEGS, _FEET = (11, 12, 13, 14, 17, 18, 19, 20), (15, 16)
_FOUR_LIMBS: Groups = {
    "left_upper_arm": (5, 7, 25),
    "left_lower_arm": (9, 27),
    "right_upper_arm": (6, 8, 26),
    "right_lower_arm": (10, 28),
    "chest": _CHEST,
    "hips": _HIPS,
    "left_leg": (13, 18, 21),
    "right_leg": (14, 20),
}

# Facts of the released labels, oddities included: "five_v" misses fields 21 and 22, "eight" has the
# hips in the left leg. A field may belong to several parts: of equal values the part that comes
# first wins, so the order counts.
_PIFPAF: dict[str, Groups] = {
    "full": {"body": tuple(range(36))},
    "two_v": {"upper": (*_HEAD, *_ARMS, *_CHEST), "legs": tuple(range(11, 22))},
    "three_v": {"head": _HEAD, "upper": (*_ARMS, *_CHEST), "legs": tuple(range(11, 22))},
    "four": {"head": _HEAD, "arms": _ARMS, "torso": (5, 6, *_TORSO), "legs": tuple(range(11, 22))},
    "four_no": {
        "head": _HEAD,
        "arms": (7, 8, 9, 10, 25, 26, 27, 28),
        "torso": (5, 6, *_TORSO),
        "legs": tuple(range(13, 22)),
    },
    "four_v": {"head": _HEAD, "upper": (*_ARMS, *_TORSO), "legs": _LEGS, "feet": _FEET},
    "four_v_pif": {
        "head": _FACE,
        "upper": (5, 6, 7, 8, 9, 10, 11, 12),
        "legs": (11, 12, 13, 14),
        "feet": _FEET,
    },
    "five": {"head": _HEAD, "arms": _ARMS, "torso": _TORSO, "legs": (*_LEGS, 21), "feet": _FEET},
    "five_v": {
        "head": _HEAD,
        "upper": (5, 6, 7, 8, 24, 25, 26),
        "lower": (9, 10, 11, 12, 23, 27, 28),
        "legs": _LEGS,
        "feet": _FEET,
    },
    "six": {
        "head": _HEAD,
        "left_arm": _LEFT_ARM,
        "right_arm": _RIGHT_ARM,
        "torso": _TORSO,
        "left_leg": (13, 15, 17, 18, 21),
        "right_leg": (14, 16, 19, 20),
    },
    "six_v": {
        "head": _HEAD,
        "arms": _ARMS,
        "chest": _CHEST,
        "hips": _HIPS,
        "legs": _LEGS,
        "feet": _FEET,
    },
    "six_new": {
        "head": _HEAD,
        "torso": _TORSO,
        "left_arm": _LEFT_ARM,
        "right_arm": _RIGHT_ARM,
        "legs": (13, 14, 17, 18, 19, 20, 21),
        "feet": _FEET,
    },
    "seven_v": {
        "head": _HEAD,
        "shoulders": (5, 6, 24),
        "elbows": (7, 8),
        "wrists": (9, 10),
        "hips": _HIPS,
        "knees": (13, 14),
        "ankles": _FEET,
    },
    "seven_new": {
        "head": _HEAD,
        "left_arm": _LEFT_ARM,
        "right_arm": _RIGHT_ARM,
        "chest": _CHEST,
        "hips": _HIPS,
        "legs": (13, 14, 17, 18, 19, 20, 21),
        "feet": _FEET,
    },
    "eight": {
        "head": _HEAD,
        "left_arm": _LEFT_ARM,
        "right_arm": _RIGHT_ARM,
        "torso": _TORSO,
        "left_leg": (13, 17, 18, 21),
        "right_leg": (14, 19, 20),
        "left_foot": (15,),
        "right_foot": (16,),
    },
    "eleven": {"head": _HEAD, **_FOUR_LIMBS, "left_foot": (15, 17), "right_foot": (16, 19)},
    "fourteen": {
        "head": _HEAD[:-2],
        "neck": (34, 35),
        **_FOUR_LIMBS,
        "left_shin": (17,),
        "right_shin": (19,),
        "left_foot": (15,),
        "right_foot": (16,),
    },
    "cc6": {
        "head": _FACE,
        "torso": (5, 6, 11, 12),
        "left_arm": (5, 7, 9),
        "right_arm": (6, 8, 10),
        "left_leg": (11, 13, 15),
        "right_leg": (12, 14, 16),
    },
}
_PIFPAF |= {  # the released table's other names, and its one row of overlapping scales
    "one": _PIFPAF["full"],
    "eight_v": _PIFPAF["eight"],
    "ten_ms": {
        **_PIFPAF["eight"],
        "upper": (*_HEAD, *_ARMS, *_TORSO),
        "lower": tuple(range(13, 22)),
    },
}

# KPR's groups of joints (its cck1 to cck8). Joints that two parts share go to the part with fewer
# of them.
_KEYPOINTS: dict[str, Groups] = {
    "one": {"body": tuple(range(JOINTS))},
    "two": {"legs": (13, 14, 15, 16), "upper": tuple(range(13))},
    "three": {"head": _FACE, "legs": (13, 14, 15, 16), "upper": tuple(range(5, 13))},
    "four": {
        "head": _FACE,
        "arms": (7, 8, 9, 10),
        "legs": (13, 14, 15, 16),
        "torso": (5, 6, 11, 12),
    },
    "six": {
        "head": _FACE,
        "left_arm": (7, 9),
        "right_arm": (8, 10),
        "left_leg": (13, 15),
        "right_leg": (14, 16),
        "torso": (5, 6, 11, 12),
    },
    "eight": {
        "head": _FACE,
        "left_arm": (5, 7, 9),
        "right_arm": (6, 8, 10),
        "torso": (5, 6, 11, 12),
        "left_leg": (13, 15),
        "right_leg": (14, 16),
        "left_foot": (15,),
        "right_foot": (16,),
    },
}

SETS = Sets(_SETS)
SURFACES = Rows("surfaces", _SURFACES)
PIFPAF = Rows("pifpaf", _PIFPAF)
KEYPOINTS = Rows("keypoints", _KEYPOINTS)


@door
def register_set(name: str, parts: PartSet) -> None:
    """See :func:`partreid.labels.register_scheme`."""
    from partreid.labels import sources  # noqa: F401  (its tables have names of their own)

    if name in _TAKEN:
        raise RecipeError(
            f"there is a part set '{name}' already; register yours under another name"
        )
    for source in parts.rows:
        if source not in _TABLES:
            raise RecipeError(unknown("source of part labels", source, _TABLES))
    SCHEMES.register(name, parts)


@door
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


@door
def lookup(groups: Groups) -> NDArray[np.uint8]:
    """Source label -> part, uint8 [256]; everything the table does not name is background."""
    table = np.zeros(256, np.uint8)
    for part, members in enumerate(groups.values(), 1):
        table[list(members)] = part
    return table


@door
def find(table: Mapping[str, Groups], name: str, what: str) -> Groups:
    """The row of a table, or a RecipeError that lists the rows; for a set that only other
    sources give, it says so.
    """
    if name not in table and name in SETS:
        raise RecipeError(
            f"there is no {what} '{name}': the parts of that set ({', '.join(SETS[name])}) need "
            "labels that tell them apart, such as a human parser's (cues.parts=parsing). The rows "
            f"here are {', '.join(table)}"
        )
    if name not in table:
        raise RecipeError(unknown(what, name, table))
    return table[name]
