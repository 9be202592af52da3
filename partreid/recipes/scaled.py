"""Any row of any paper at the size of the synthetic benchmark: what makes the row a row stays, all
else is made small.

A row is its paper's main row with something changed: another pooling, a term less, a cue of another
kind. The same change is made to the paper's recipe of the synthetic benchmark. Changes of data set,
trunk and image size do not survive; a row that changes nothing else becomes the synthetic recipe
itself.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from partreid.errors import RecipeError
from partreid.recipes.base import Frozen, Recipe, Spec, Stage, unknown
from partreid.recipes.papers import label_sources
from partreid.recipes.synthetic import SIZES
from partreid.utils.arguments import door

# two ways to shift an image; a synthetic recipe has one that suits its size
_CROPS = {"crop", "zoom"}


@door
def scaled(recipe: Recipe, main: Recipe, base: Recipe) -> Recipe:
    """``base``, a synthetic recipe, changed in the way in which ``recipe`` differs from
    ``main``.
    """
    method = Spec(
        recipe.method.name, **_changed(recipe.method.args, main.method.args, base.method.args)
    )
    small = replace(
        base,
        name=f"{recipe.name}@{base.name.split('/')[1]}",
        method=method,
        cues=Frozen(
            {
                name: _cue(spec, main.cues.get(name), base.cues.get(name))
                for name, spec in recipe.cues.items()
            }
        ),
        stages=_stages(recipe, main, base),
        augment=_augmented(recipe, main, base),
        distance=recipe.distance,
        notes=(f"{recipe.name} at the size of {base.train}", *base.notes),
        expect=None,
    )
    return replace(small, notes=(small.notes[0], *_merged(recipe, main, small, base), *base.notes))


def _merged(recipe: Recipe, main: Recipe, small: Recipe, base: Recipe) -> tuple[str, ...]:
    """What sets the row apart from the main one and is not seen at this size."""
    notes = [
        f"{what} {name} = {value} is what {base.name} has anyway"
        for what, row, usual, made in (
            ("the method's", recipe.method, main.method, base.method),
            *(
                (f"the cue's {cue}:", spec, main.cues.get(cue), base.cues.get(cue))
                for cue, spec in recipe.cues.items()
            ),
        )
        if usual is not None and made is not None
        for name, value in row.args.items()
        if usual.args.get(name) != value and made.args.get(name) == value
    ]
    for cue, spec in recipe.cues.items():
        here = small.cues[cue].args
        notes += [
            f"the cue's {cue}: {name} is {here[name]} at this size, not {value}"
            for name, value in spec.args.items()
            if name in here and here[name] != value
        ]
    lost = [
        field
        for field in ("train", "test", "backbone", "size")
        if getattr(recipe, field) != getattr(main, field)
    ]
    if lost:
        notes.append(f"{' and '.join(lost)} of the row do not survive")
    if small.digest == base.digest and recipe.digest != main.digest:
        notes.append(f"so this row and {main.name} are one and the same at this size")
    return tuple(notes)


def _augmented(row: Recipe, main: Recipe, base: Recipe) -> tuple[Spec, ...]:
    """The base's transforms less those that the row leaves out. What the row changes in one is
    changed here if the base has it as the main row does; what was set for the size stays.
    """
    dropped = _augments(main) - _augments(row)
    rows, usual = ({spec.name: spec for spec in recipe.augment} for recipe in (row, main))
    return tuple(
        rows[spec.name] if spec == usual.get(spec.name) else spec
        for spec in base.augment
        if spec.name not in dropped
    )


def _augments(recipe: Recipe) -> set[str]:
    names = {spec.name for spec in recipe.augment}
    return names | _CROPS if names & _CROPS else names


def _changed(
    row: Mapping[str, Any], main: Mapping[str, Any], base: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments of ``base`` with what ``row`` has otherwise than ``main``; what the row drops
    goes.
    """
    kept = {name: value for name, value in base.items() if name in row or name not in main}
    return kept | {
        name: value for name, value in row.items() if name not in main or main[name] != value
    }


def _cue(spec: Spec, main: Spec | None, base: Spec | None) -> Spec:
    """The row's cue for the synthetic benchmark, whose exact surfaces stand for any parser."""
    sources = label_sources()
    source = sources.get(spec.name)
    if source is not None and source.stand_in is not None:
        parts = spec.args.get("parts", source.stand_in)
        if main is not None and base is not None and main.args.get("parts") == parts:
            return base
        return source.small(spec)
    other = sources.get(base.name) if base is not None else None
    if (
        base is not None
        and base.name != spec.name
        and source is not None
        and other is not None
        and source.learns
        and other.learns
    ):
        shared = {n: base.args[n] for n in source.tuned if n in other.tuned and n in base.args}
        return Spec(spec.name, **shared).but(**spec.args)
    if main is None or base is None or spec.name != main.name:
        return spec
    return Spec(base.name, **_changed(spec.args, main.args, base.args))


def _stages(row: Recipe, main: Recipe, base: Recipe) -> tuple[Stage, ...]:
    """As many stages as the row has, and as many epochs in all as the base has."""
    plans = list(base.stages[: len(row.stages)])
    plans[-1] = replace(
        plans[-1], epochs=sum(stage.epochs for stage in base.stages[len(plans) - 1 :])
    )
    plans += plans[-1:] * (len(row.stages) - len(plans))
    return tuple(
        _stage(stage, main.stages[min(i, len(main.stages) - 1)], plan)
        for i, (stage, plan) in enumerate(zip(row.stages, plans, strict=True))
    )


def _stage(row: Stage, main: Stage, base: Stage) -> Stage:
    """The base's plan with the row's terms; a weight that the row keeps is the base's, one it
    scales is scaled.
    """
    weights = {}
    for term, weight in row.weights.items():
        known = main.weights.get(term)
        weights[term] = base.weights.get(term, weight) * (weight / known) if known else weight
    return replace(base, weights=Frozen(weights))


@door
def split_size(name: str) -> tuple[str, str | None]:
    """``dsa/table4/csa@demo`` -> (``dsa/table4/csa``, ``demo``). RecipeError for a size that
    there is not.
    """
    plain, mark, size = name.partition("@")
    if mark and size not in SIZES:
        raise RecipeError(unknown("size", size, SIZES))
    return plain, size or None
