"""What a recipe has to know of a source of labels before any of its code is imported."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from partreid.errors import RecipeError
from partreid.recipes.base import Spec
from partreid.utils.arguments import check_fields
from partreid.utils.registry import Registry

# part sets that the exact surfaces of the synthetic benchmark have by another name
_NAMES = {"five_v": "five", "three_v": "three"}


@dataclass(frozen=True, eq=False)
class LabelSource:
    """A source of labels: a name that the ``cues`` of a recipe may say.

    make: the function ``(root, samples, **arguments) -> Cue``, or where it is,
    "package.module:function". gives: the cues that it can be; labels of parts can be "parts" and
    "masks". stand_in: for labels that lie in files which only real data have: on the synthetic
    benchmark exact surfaces take their place, in the recipe's part set, or in this one where the
    recipe names none. None: the source works there too. learns: it labels the training images
    by the network's own features, every ``every`` epochs. tuned: its arguments that suit the size
    of a data set, which a row with another source that learns passes on. reports: ``make`` takes
    ``progress``, a function that is called with (images done, images in all).

    Examples:
        >>> LabelSource("partreid.labels.stripes:stripe_labels").gives
        ('parts', 'masks')
    """

    make: Callable[..., Any] | str
    gives: tuple[str, ...] = ("parts", "masks")
    stand_in: str | None = None
    learns: bool = False
    tuned: tuple[str, ...] = ()
    reports: bool = False

    def __post_init__(self) -> None:
        check_fields(self)

    def small(self, spec: Spec) -> Spec:
        """The cue ``spec`` of this source as the synthetic benchmark has it."""
        if self.stand_in is None:
            return spec
        parts = spec.args.get("parts", self.stand_in)
        return Spec("surfaces", parts=_NAMES.get(parts, parts))


LABEL_SOURCES: "Registry[LabelSource | Callable[..., Any]]" = Registry(
    "cue",
    "partreid.labels",
    {
        "surfaces": LabelSource("partreid.labels.parsing:surface_labels", stand_in="five"),
        "parsing": LabelSource("partreid.labels.parsing:parsing_labels", stand_in="five"),
        "densepose": LabelSource("partreid.labels.densepose:densepose_labels", stand_in="five"),
        "pifpaf": LabelSource("partreid.labels.pifpaf:pifpaf_labels", stand_in="eight"),
        "keypoints": LabelSource("partreid.labels.keypoints:keypoint_labels", stand_in="eight"),
        "stripes": LabelSource("partreid.labels.stripes:stripe_labels"),
        "cached": LabelSource("partreid.labels.cached:cached_labels"),
        "uv_tiles": LabelSource(
            "partreid.labels.uv_tiles:uv_tiles", gives=("uv_tiles",), reports=True
        ),
    },
)


def as_source(name: str, item: Any) -> LabelSource:
    """What was registered under ``name``: a record, or a function that makes labels of parts.
    RecipeError for anything else.
    """
    if isinstance(item, LabelSource):
        return item
    if not callable(item):
        raise RecipeError(
            f"the cue '{name}' must be a LabelSource or a function (root, samples, ...) -> Cue, "
            f"got a {type(item).__name__}; register one of these"
        )
    return LabelSource(item)
