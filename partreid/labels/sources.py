"""Human parsers and their classes as tables, and what each can give of each part set.

A parser names clothes and limbs, a paper wants parts. Every source has one row per set of
:data:`partreid.labels.schemes.SETS`: part -> classes. Where a row alone cannot say it, two rules of
geometry do: a torso is cut at half its height, and trousers go to the nearer leg. What cannot be
had at all is refused by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from partreid.errors import RecipeError
from partreid.labels.schemes import HALVED, SETS, SIDED, SURFACES, Groups, Rows, scheme_of
from partreid.recipes.base import unknown

Accessories = Literal["background", "torso", "own"]
ACCESSORIES: tuple[Accessories, ...] = ("background", "torso", "own")
# what ISP is scored by; they overlap and leave gaps
ISP_MASKS = ("foreground", "head", "legs", "shoes")


@dataclass(frozen=True)
class Source:
    """A parser's class table.

    classes: names, background first. swap: pairs that a mirror exchanges. sets: part set -> part ->
    classes. torso: classes of clothes or body that sets in ``HALVED`` cut across. sideless: classes
    on both sides of the body that sets in ``SIDED`` must take apart, by limb. accessories: bags and
    the like. isp: head, legs and shoes of ISP's scores. lossy: set -> why its parts are not quite
    those of the paper. files: under which names an image's classes are looked for, first found.
    has_u: whether a body coordinate U comes with the classes.
    """

    classes: tuple[str, ...]
    swap: tuple[tuple[int, int], ...]
    sets: Mapping[str, Groups]
    isp: Groups
    torso: tuple[int, ...]
    sideless: dict[str, tuple[int, ...]] = field(default_factory=dict)
    accessories: tuple[int, ...] = ()
    lossy: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ("{stem}.png", "{stem}.npy", "{cut}.png")
    has_u: bool = False

    @property
    def flip(self) -> tuple[int, ...]:
        """Class after mirroring, one per class."""
        flip = list(range(len(self.classes)))
        for a, b in self.swap:
            flip[a], flip[b] = b, a
        return tuple(flip)


_SLEEVES = "sleeves are clothes: only bare arms count as arms"
_WORN = "clothes hide limbs: sleeves count as torso, trousers and skirts as upper legs"

LIP = Source(
    (
        "Background",
        "Hat",
        "Hair",
        "Glove",
        "Sunglasses",
        "Upper-clothes",
        "Dress",
        "Coat",
        "Socks",
        "Pants",
        "Jumpsuits",
        "Scarf",
        "Skirt",
        "Face",
        "Left-arm",
        "Right-arm",
        "Left-leg",
        "Right-leg",
        "Left-shoe",
        "Right-shoe",
    ),
    swap=((14, 15), (16, 17), (18, 19)),
    sets={
        "three": {
            "head": (1, 2, 4, 13),
            "upper": (3, 5, 6, 7, 10, 11, 14, 15),
            "lower": (8, 9, 12, 16, 17, 18, 19),
        },
        "five": {
            "head": (1, 2, 4, 13),
            "arms": (3, 14, 15),
            "torso": (5, 6, 7, 10, 11),
            "legs": (8, 9, 12, 16, 17),
            "feet": (18, 19),
        },
        "five_v": {
            "head": (1, 2, 4, 13),
            "upper": (5, 6, 7, 10, 11),
            "lower": (3, 14, 15),
            "legs": (8, 9, 12, 16, 17),
            "feet": (18, 19),
        },
        "seven": {
            "head": (1, 2, 4, 13),
            "chest": (5, 6, 7, 10, 11),
            "upper_arm": (),
            "lower_arm": (3, 14, 15),
            "upper_leg": (9, 12),
            "lower_leg": (8, 16, 17),
            "foot": (18, 19),
        },
        "eight": {
            "head": (1, 2, 4, 13),
            "left_arm": (14,),
            "right_arm": (15,),
            "torso": (5, 6, 7, 10, 11),
            "left_leg": (16,),
            "right_leg": (17,),
            "left_foot": (18,),
            "right_foot": (19,),
        },
    },
    isp={"head": (1, 2, 4, 13), "legs": (8, 9, 16, 17), "shoes": (18, 19)},
    torso=(5, 6, 7, 10),
    sideless={"arm": (3,), "leg": (8, 9, 12)},
    lossy={"five": _SLEEVES, "five_v": _SLEEVES, "seven": _WORN, "eight": _SLEEVES},
)
ATR = Source(
    (
        "Background",
        "Hat",
        "Hair",
        "Sunglasses",
        "Upper-clothes",
        "Skirt",
        "Pants",
        "Dress",
        "Belt",
        "Left-shoe",
        "Right-shoe",
        "Face",
        "Left-leg",
        "Right-leg",
        "Left-arm",
        "Right-arm",
        "Bag",
        "Scarf",
    ),
    swap=((9, 10), (12, 13), (14, 15)),
    sets={
        "three": {
            "head": (1, 2, 3, 11),
            "upper": (4, 7, 14, 15, 17),
            "lower": (5, 6, 8, 9, 10, 12, 13),
        },
        "five": {
            "head": (1, 2, 3, 11),
            "arms": (14, 15),
            "torso": (4, 7, 17),
            "legs": (5, 6, 8, 12, 13),
            "feet": (9, 10),
        },
        "five_v": {
            "head": (1, 2, 3, 11),
            "upper": (4, 7, 17),
            "lower": (14, 15),
            "legs": (5, 6, 8, 12, 13),
            "feet": (9, 10),
        },
        "seven": {
            "head": (1, 2, 3, 11),
            "chest": (4, 7, 17),
            "upper_arm": (),
            "lower_arm": (14, 15),
            "upper_leg": (5, 6, 8),
            "lower_leg": (12, 13),
            "foot": (9, 10),
        },
        "eight": {
            "head": (1, 2, 3, 11),
            "left_arm": (14,),
            "right_arm": (15,),
            "torso": (4, 7, 17),
            "left_leg": (12,),
            "right_leg": (13,),
            "left_foot": (9,),
            "right_foot": (10,),
        },
    },
    isp={"head": (1, 2, 3, 11), "legs": (6, 12, 13), "shoes": (9, 10)},
    torso=(4, 7),
    sideless={"leg": (5, 6, 8)},
    accessories=(16,),
    lossy={"five": _SLEEVES, "five_v": _SLEEVES, "seven": _WORN, "eight": _SLEEVES},
)
PASCAL = Source(
    ("Background", "Head", "Torso", "Upper Arms", "Lower Arms", "Upper Legs", "Lower Legs"),
    swap=(),
    sets={
        "three": {"head": (1,), "upper": (2, 3, 4), "lower": (5, 6)},
        "five": {"head": (1,), "arms": (3, 4), "torso": (2,), "legs": (5, 6), "feet": ()},
        "five_v": {"head": (1,), "upper": (2, 3), "lower": (4,), "legs": (5, 6), "feet": ()},
        "seven": {
            "head": (1,),
            "chest": (2,),
            "upper_arm": (3,),
            "lower_arm": (4,),
            "upper_leg": (5,),
            "lower_leg": (6,),
            "foot": (),
        },
        "eight": {
            "head": (1,),
            "left_arm": (),
            "right_arm": (),
            "torso": (2,),
            "left_leg": (),
            "right_leg": (),
            "left_foot": (),
            "right_foot": (),
        },
    },
    isp={"head": (1,), "legs": (5, 6), "shoes": ()},
    torso=(2,),
    sideless={"arm": (3, 4), "leg": (5, 6)},
)
SAPIENS = Source(
    (
        "Background",
        "Apparel",
        "Face_Neck",
        "Hair",
        "Left_Foot",
        "Left_Hand",
        "Left_Lower_Arm",
        "Left_Lower_Leg",
        "Left_Shoe",
        "Left_Sock",
        "Left_Upper_Arm",
        "Left_Upper_Leg",
        "Lower_Clothing",
        "Right_Foot",
        "Right_Hand",
        "Right_Lower_Arm",
        "Right_Lower_Leg",
        "Right_Shoe",
        "Right_Sock",
        "Right_Upper_Arm",
        "Right_Upper_Leg",
        "Torso",
        "Upper_Clothing",
        "Lower_Lip",
        "Upper_Lip",
        "Lower_Teeth",
        "Upper_Teeth",
        "Tongue",
    ),
    swap=((4, 13), (5, 14), (6, 15), (7, 16), (8, 17), (9, 18), (10, 19), (11, 20)),
    sets={
        "three": {
            "head": (2, 3, 23, 24, 25, 26, 27),
            "upper": (5, 6, 10, 14, 15, 19, 21, 22),
            "lower": (4, 7, 8, 9, 11, 12, 13, 16, 17, 18, 20),
        },
        "five": {
            "head": (2, 3, 23, 24, 25, 26, 27),
            "arms": (5, 6, 10, 14, 15, 19),
            "torso": (21, 22),
            "legs": (7, 11, 12, 16, 20),
            "feet": (4, 8, 9, 13, 17, 18),
        },
        "five_v": {
            "head": (2, 3, 23, 24, 25, 26, 27),
            "upper": (10, 19, 21, 22),
            "lower": (5, 6, 14, 15),
            "legs": (7, 11, 12, 16, 20),
            "feet": (4, 8, 9, 13, 17, 18),
        },
        "seven": {
            "head": (2, 3, 23, 24, 25, 26, 27),
            "chest": (21, 22),
            "upper_arm": (10, 19),
            "lower_arm": (5, 6, 14, 15),
            "upper_leg": (11, 12, 20),
            "lower_leg": (7, 16),
            "foot": (4, 8, 9, 13, 17, 18),
        },
        "eight": {
            "head": (2, 3, 23, 24, 25, 26, 27),
            "left_arm": (5, 6, 10),
            "right_arm": (14, 15, 19),
            "torso": (21, 22),
            "left_leg": (7, 11),
            "right_leg": (16, 20),
            "left_foot": (4, 8, 9),
            "right_foot": (13, 17, 18),
        },
    },
    isp={
        "head": (2, 3, 23, 24, 25, 26, 27),
        "legs": (7, 9, 11, 12, 16, 18, 20),
        "shoes": (4, 8, 13, 17),
    },
    torso=(21, 22),
    sideless={"leg": (12,)},
    accessories=(1,),
    lossy={"five": _SLEEVES, "five_v": _SLEEVES, "seven": _WORN, "eight": _SLEEVES},
    files=("{stem}_seg.npy", "{stem}.png"),
)


def _body(groups: Groups) -> Groups:
    """DensePose's 24 surfaces without the belongings that only our own label images carry."""
    return {part: tuple(c for c in classes if c <= 24) for part, classes in groups.items()}


_BODY = {name: _body(SURFACES[name]) for name in ("three", "seven", "eight", "regions")}
DENSEPOSE24 = Source(
    (
        "background",
        "torso_back",
        "torso_front",
        "right_hand",
        "left_hand",
        "left_foot",
        "right_foot",
        "right_upper_leg_back",
        "left_upper_leg_back",
        "right_upper_leg_front",
        "left_upper_leg_front",
        "right_lower_leg_back",
        "left_lower_leg_back",
        "right_lower_leg_front",
        "left_lower_leg_front",
        "left_upper_arm_front",
        "right_upper_arm_front",
        "left_upper_arm_back",
        "right_upper_arm_back",
        "left_lower_arm_front",
        "right_lower_arm_front",
        "left_lower_arm_back",
        "right_lower_arm_back",
        "head_right",
        "head_left",
    ),
    swap=tuple((c, c + 1) for c in range(3, 25, 2)),
    sets={
        **_BODY,
        "five": {
            "head": (23, 24),
            "arms": (3, 4, *range(15, 23)),
            "torso": (1, 2),
            "legs": tuple(range(7, 15)),
            "feet": (5, 6),
        },
        "five_v": {
            "head": (23, 24),
            "upper": (1, 2, 15, 16, 17, 18),
            "lower": (3, 4, 19, 20, 21, 22),
            "legs": tuple(range(7, 15)),
            "feet": (5, 6),
        },
    },
    isp={"head": (23, 24), "legs": tuple(range(7, 15)), "shoes": (5, 6)},
    torso=(1, 2),
    has_u=True,
)
# surface -> of the 14
COARSE = (0, 1, 1, 2, 3, 4, 5, 6, 7, 6, 7, 8, 9, 8, 9, 10, 11, 10, 11, 12, 13, 12, 13, 14, 14)


def _coarse(groups: Groups) -> Groups:
    return {part: tuple(sorted({COARSE[c] for c in classes})) for part, classes in groups.items()}


DENSEPOSE14 = Source(
    (
        "background",
        "torso",
        "right_hand",
        "left_hand",
        "left_foot",
        "right_foot",
        "right_upper_leg",
        "left_upper_leg",
        "right_lower_leg",
        "left_lower_leg",
        "left_upper_arm",
        "right_upper_arm",
        "left_lower_arm",
        "right_lower_arm",
        "head",
    ),
    swap=tuple((c, c + 1) for c in range(2, 14, 2)),
    sets={name: _coarse(groups) for name, groups in DENSEPOSE24.sets.items()},
    isp=_coarse(DENSEPOSE24.isp),
    torso=(1,),
)

_ALONE = {"lip": LIP, "atr": ATR, "pascal": PASCAL, "sapiens": SAPIENS}
_ROWS24 = Rows("densepose24", DENSEPOSE24.sets, (SURFACES, _body))
SOURCES: dict[str, Source] = {
    **{name: replace(source, sets=Rows(name, source.sets)) for name, source in _ALONE.items()},
    "densepose24": replace(DENSEPOSE24, sets=_ROWS24),
    "densepose14": replace(
        DENSEPOSE14, sets=Rows("densepose14", DENSEPOSE14.sets, (_ROWS24, _coarse))
    ),
}


def source_of(name: str, parts: str) -> Source:
    """The row of :data:`SOURCES`; "parts" are label images that hold the parts themselves,
    numbered as in their set.
    """
    if name == "parts":
        groups: Groups = {part: (i,) for i, part in enumerate(_set(parts), 1)}
        swap = tuple((a, b) for a, b in enumerate(scheme_of(groups).flip) if a < b)
        return Source(("background", *groups), swap, {parts: groups}, isp={}, torso=())
    if name not in SOURCES:
        raise RecipeError(unknown("parsing source", name, [*SOURCES, "parts"]))
    return SOURCES[name]


def _set(parts: str) -> tuple[str, ...]:
    if parts not in SETS:
        raise RecipeError(unknown("part set", parts, SETS))
    return SETS[parts]


@dataclass(frozen=True)
class Report:
    """What a source gives of a part set.

    missing: parts that no pixel will ever have. guessed: parts with a border that geometry draws,
    not the parser. lossy: why the others are not quite the paper's, or "". absent: the source has
    no row for the set at all.
    """

    missing: tuple[str, ...]
    guessed: tuple[str, ...]
    lossy: str
    absent: bool = False

    @property
    def verdict(self) -> Literal["exact", "lossy", "cannot"]:
        if self.missing or self.absent:
            return "cannot"
        return "lossy" if self.guessed or self.lossy else "exact"


def report(
    source: str, parts: str, accessories: Accessories = "background", uv: bool = False
) -> Report:
    """What ``source`` gives of the set ``parts``. uv: DensePose's U and V are there to cut the
    torso by.

    RecipeError if either is unknown.
    """
    table, names = source_of(source, parts), _set(parts)
    if parts not in table.sets:
        return Report(names, (), "", absent=True)
    groups = table.sets[parts]
    missing = tuple(name for name in names if not groups[name])
    if accessories == "own" and not table.accessories:
        missing += ("accessories",)
    guessed: tuple[str, ...] = ()
    if parts in HALVED and table.torso and not (uv and table.has_u):
        guessed = ("upper", "lower")
    if parts in SIDED:
        guessed = tuple(
            f"{side}_{limb}"
            for limb in table.sideless
            for side in ("left", "right")
            if groups[f"{side}_{limb}"]
        )
    return Report(missing, guessed, table.lossy.get(parts, ""))


def require(
    source: str,
    parts: str,
    accessories: Accessories = "background",
    allow_missing_parts: bool = False,
) -> Report:
    """:func:`report`, or a RecipeError that names the parts which cannot be had and what to do
    instead.
    """
    if accessories not in ACCESSORIES:
        raise RecipeError(unknown("place for accessories", accessories, ACCESSORIES))
    table, summary = source_of(source, parts), report(source, parts, accessories)
    if accessories == "torso" and not table.accessories:
        raise RecipeError(
            f"source '{source}' knows no bags or other accessories that could count as torso; "
            f"leave accessories at 'background', or take a source that does ({_with_accessories()})"
        )
    if summary.absent or (summary.missing and not allow_missing_parts):
        sets = [name for name in table.sets if not report(source, name, accessories).missing]
        sources = [name for name in SOURCES if not report(name, parts, accessories).missing]
        ways = [f"another set that it gives in full ({', '.join(sets)})"] if sets else []
        ways += [f"another source ({', '.join(sources)})"] if sources else []
        ways += (
            []
            if summary.absent
            else ["allow_missing_parts=true, and these parts are never labelled"]
        )
        raise RecipeError(
            f"source '{source}' cannot give {', '.join(summary.missing)} of the part set "
            f"'{parts}': none of its classes shows them. Choose {'; or '.join(ways)}"
        )
    return summary


def _with_accessories() -> str:
    return ", ".join(name for name, source in SOURCES.items() if source.accessories)


def mirrored(labels: NDArray[np.uint8], source: str) -> NDArray[np.uint8]:
    """Class labels uint8 [H, W] of the mirrored image: turned around, left and right classes
    swapped.
    """
    table = np.arange(256, dtype=np.uint8)
    flip = find_source(source).flip
    table[: len(flip)] = flip
    return table[labels[:, ::-1]]


def isp_masks(labels: NDArray[np.uint8], source: str) -> dict[str, NDArray[np.bool_]]:
    """The masks bool [H, W] that ISP's part maps are scored against (its Table 3), from class
    labels uint8 [H, W].

    foreground: every class but the background. Skirts and dresses are in none of the others.
    """
    rows = find_source(source).isp
    return {
        "foreground": labels > 0,
        **{name: np.isin(labels, rows[name]) for name in ISP_MASKS[1:]},
    }


def names_of(source: str) -> tuple[str, ...]:
    """Under which names an image's classes are looked for; those of "parts" are as of most."""
    return SOURCES[source].files if source in SOURCES else Source.files


def find_source(name: str) -> Source:
    """The row of :data:`SOURCES`, or a RecipeError that lists the rows."""
    if name not in SOURCES:
        raise RecipeError(unknown("parsing source", name, SOURCES))
    return SOURCES[name]
