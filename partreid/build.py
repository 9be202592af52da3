"""Recipe to objects: the only place that looks names up, and every check that can fail before
the first batch.
"""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from partreid.data.findings import misplacement
from partreid.data.registry import BENCHMARKS, protocol_of
from partreid.data.transforms import TRANSFORMS, Transform
from partreid.distance import PartDistance
from partreid.errors import DataError, RecipeError
from partreid.labels import CUES
from partreid.labels.base import Cue
from partreid.labels.masks import PartMasks
from partreid.layers.memory import guard
from partreid.layers.trunks import BACKBONES, Sized
from partreid.methods import METHODS
from partreid.methods.base import Method
from partreid.metrics import PROTOCOLS, Protocol
from partreid.recipes.base import Recipe, Spec, unknown
from partreid.recipes.checks import SEEDS
from partreid.recipes.papers import label_sources
from partreid.types import Benchmark, PartScheme, Sample
from partreid.utils.arguments import door, fits, quoted, words

T = typing.TypeVar("T")
Progress = Callable[[int, int], None]
SHARE = (0, 1)
RANGES: Mapping[str, tuple[float, float]] = {  # of arguments, wherever one of that name is taken
    "p": SHARE,
    "smoothing": SHARE,
    "threshold": SHARE,
    "visible_above": SHARE,
    "kept": SHARE,
    "area": SHARE,
    "aspect": (1e-3, 1),
    "brightness": SHARE,
    "contrast": SHARE,
    "drop": SHARE,
    "swap": SHARE,
    "by": (1, 4),
    "pad": (0, 512),
    "stride": (1, 32),
    "upsample": (1, 16),
    "last_stride": (1, 2),
    "levels": (-64, 64),
    "tile": (1, 512),
    "size": (1, 512),
    "width": (1, 4096),
    "dim": (1, 16384),
    "hidden": (1, 16384),
    "reduce": (1, 16384),
    "mask_width": (1, 16384),
    "stripes": (1, 256),
    "parts": (1, 254),
    "t": (1, 254),
    "keep": (1, 254),
    "window": (1, 255),
    "every": (1, 100_000),
    "steps": (1, 100_000),
    "images": (1, 100_000),
    "dimensions": (1, 16384),
    "seed": (0, SEEDS),
}
OTHERS = (0, 1e6)  # no argument means anything below zero
LARGEST = 2**30  # numbers in a model: 4 GiB, forty times the largest of the papers'


@door
def look_up(what: str, table: Mapping[str, T], name: str) -> T:
    """What stands under ``name``; RecipeError with the nearest name and the choices otherwise."""
    if name not in table:
        raise RecipeError(unknown(what, name, table))
    return table[name]


@door
def call(what: str, function: Callable[..., T], spec: Spec, **given: Any) -> T:
    """``function(**given, **spec.args)`` after checking the arguments' names and types against
    its signature.
    """
    known = {
        name: p for name, p in inspect.signature(function).parameters.items() if name not in given
    }
    hints = typing.get_type_hints(
        # mypy forbids reading __init__ of an instance's class; here it is a class
        function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
    )
    for name, value in spec.args.items():
        if name not in known:
            raise RecipeError(unknown(f"argument of {what} '{spec.name}'", name, known))
        if name in hints and not fits(value, hints[name]):
            raise RecipeError(
                f"argument '{name}' of {what} '{spec.name}': expected {words(hints[name])}, got "
                f"{quoted(value)}"
            )
        low, high = RANGES.get(name, OTHERS)
        for number in value if isinstance(value, tuple | list) else (value,):
            if type(number) in (int, float) and not low <= number <= high:
                raise RecipeError(
                    f"argument '{name}' of {what} '{spec.name}' must lie from {low:g} to {high:g}, "
                    f"got {quoted(number)}"
                )
    return function(**given, **spec.args)


@door
def settings(what: str, table: Mapping[str, Callable[..., Any]], spec: Spec) -> dict[str, Any]:
    """Every argument that has a default in what ``spec`` names, with its value: the spec's, or the
    default. RecipeError for a name that the table does not have.
    """
    made_by = inspect.signature(look_up(what, table, spec.name))
    defaults = {
        name: p.default for name, p in made_by.parameters.items() if p.default is not p.empty
    }
    return defaults | dict(spec.args)


@door
def benchmark(name: str, root: Path) -> Benchmark:
    """The data set ``name`` as it lies below ``root``. RecipeError for a name, DataError for
    files.
    """
    data_set = look_up("data set", BENCHMARKS, name)
    if not root.exists():
        raise DataError(f"there is no folder {root}; say where {name} lies with --data")
    try:
        return data_set.load(root)
    except DataError:
        # what lies elsewhere explains more than what is missing here
        misplaced = misplacement(name, root)
        if misplaced is None:
            raise
        raise DataError(str(misplaced)) from None


@door
def protocol(of: Benchmark) -> Protocol:
    """The rule by which a data set is scored."""
    return PROTOCOLS[protocol_of(of.name, of)]


@door
def cues(recipe: Recipe, of: Benchmark, progress: Progress | None = None) -> dict[str, Cue]:
    """The recipe's cues for the training images, after checking that the method gets what it needs.

    progress: called with (images done, images in all) by cues that prepare something.
    """
    needs = look_up("method", METHODS, recipe.method.name).needed(recipe.terms)
    for missing in sorted(needs - set(recipe.cues)):
        kinds = [name for name, source in label_sources().items() if missing in source.gives]
        add = (
            f"add one of {', '.join(kinds)}: --set cues.{missing}={kinds[0]}"
            if kinds
            else ("no registered label source gives one; register it with partreid.labels.register")
        )
        raise RecipeError(
            f"{recipe.method.name} needs the cue '{missing}' and the recipe gives none; {add}"
        )
    built = {name: cue(spec, of, progress) for name, spec in recipe.cues.items()}
    for name, made in built.items():
        if isinstance(made, PartMasks) and name not in METHODS[recipe.method.name].takes_masks:
            raise RecipeError(
                f"{recipe.method.name} takes labels as its cue '{name}', not soft masks; leave "
                f"cues.{name}.masks out"
            )
        if name == "masks" and "parts" in built and made.scheme != built["parts"].scheme:
            shown = ", ".join(made.scheme.names) if made.scheme else "none"
            raise RecipeError(
                f"the cue 'masks' has the parts {shown} and the cue 'parts' others; give both the "
                "same set, e.g. --set cues.masks.parts=..."
            )
    return built


@door
def cue(
    spec: Spec,
    of: Benchmark,
    progress: Progress | None = None,
    samples: Sequence[Sample] | None = None,
) -> Cue:
    """One cue for images of a data set: ``samples``, or None for its training images."""
    make = look_up("cue", CUES, spec.name)
    options = {"progress": progress} if label_sources()[spec.name].reports else {}
    return call(
        "cue", make, spec, root=of.root, samples=of.train if samples is None else samples, **options
    )


@door
def empty(name: str) -> Benchmark:
    """A data set without images, whose cues still know their parts."""
    return Benchmark(name, Path(), (), {}, ())


@door
def method(recipe: Recipe, identities: int, scheme: PartScheme | None) -> Method:
    """The method on its trunk, freshly initialised. ``scheme``: of its part cue, None if it
    needs none.
    """
    kind = look_up("method", METHODS, recipe.method.name)
    for term in recipe.terms:
        if term not in kind.TERMS:
            raise RecipeError(unknown(f"loss term of {recipe.method.name}", term, kind.TERMS))
    widths = [
        n for spec in (recipe.method, recipe.backbone) for n in spec.args.values() if type(n) is int
    ]
    # odd: counted before any memory is asked for
    if identities > 50_000 or max(widths, default=0) > 512:
        bare = dataclasses.replace(recipe, backbone=unfetched(recipe.backbone))
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            size = sum(p.numel() for p in _assembled(kind, bare, identities, scheme).parameters())
        if size > LARGEST:
            raise RecipeError(
                f"{recipe.name or 'the recipe'} describes a model of {size:,} numbers for "
                f"{identities:,} identities; at most {LARGEST:,} are built. Give smaller widths"
            )
    built = _assembled(kind, recipe, identities, scheme)
    for missing in sorted(built.needs_at_test - set(recipe.cues)):
        raise RecipeError(
            f"{recipe.name}: with these settings {recipe.method.name} needs the cue '{missing}' "
            "with every image at test time and the recipe gives none; name its source, e.g. --set "
            f"cues.{missing}=parsing, or take back the setting"
        )
    if recipe.distance is not None:  # what it does not say stays as the method has it
        kept = {f.name: getattr(built.distance, f.name) for f in dataclasses.fields(PartDistance)}
        kept = {name: value for name, value in kept.items() if name not in recipe.distance.args}
        try:
            built.distance = call("distance", PartDistance, recipe.distance, **kept)
        except ValueError as error:
            raise RecipeError(f"distance of the recipe: {error}") from None
    return guard(built)


def _assembled(
    kind: type[Method], recipe: Recipe, identities: int, scheme: PartScheme | None
) -> Method:
    trunk = call("backbone", look_up("backbone", BACKBONES, recipe.backbone.name), recipe.backbone)
    if isinstance(trunk, Sized):
        trunk.set_size(*recipe.size)
    given: dict[str, Any] = {"trunk": trunk, "identities": identities, "terms": recipe.terms}
    if kind.takes_scheme:
        if scheme is None:
            raise RecipeError(f"{recipe.method.name} needs a part scheme; give it the cue 'parts'")
        given["scheme"] = scheme
    return call("method", kind, recipe.method, **given)


@door
def unfetched(backbone: Spec) -> Spec:
    """The same backbone, with no ImageNet weights fetched for it."""
    known = settings("backbone", BACKBONES, backbone)
    return backbone.but(pretrained=False) if "pretrained" in known else backbone


@door
def augment(recipe: Recipe) -> list[Transform]:
    """The recipe's transforms in order."""
    return [
        call("transform", look_up("transform", TRANSFORMS, spec.name), spec)
        for spec in recipe.augment
    ]


@door
def device(name: str) -> str:
    """ "cpu" or "cuda"; "auto" takes a GPU if there is one. DataError if one is asked for and
    absent.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise RecipeError(f"--device must be auto, cpu or cuda, got '{name}'")
    if name == "cuda" and not torch.cuda.is_available():
        raise DataError(
            "this machine has no GPU that PyTorch can use; leave --device out, or say --device cpu"
        )
    return name
