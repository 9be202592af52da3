"""What is wrong with the part labels of a data set, each with the one thing to do about it."""

import re
from dataclasses import dataclass

from partreid import build
from partreid.data.registry import Problem
from partreid.errors import DataError
from partreid.labels import CUES
from partreid.labels.places import either_way_up
from partreid.labels.sources import SOURCES, report
from partreid.labels.tools.base import Progress, as_labels, in_order, some
from partreid.labels.tools.stats import Stats, measure
from partreid.recipes.base import Spec
from partreid.types import Benchmark
from partreid.utils.arguments import door
from partreid.utils.images import orientation

RARE = 0.01  # of the images: a part on fewer is worth a word
LEAN = (0.25, 0.75)  # share of the left one of a pair beyond which sides look mixed up
FITTED = ("stripes", "cached")  # cues whose labels need not have the crop's proportions


@dataclass(frozen=True)
class Findings:
    """What :func:`check` found. stats: None if not one label could be looked for."""

    cue: Spec
    images: int
    stats: Stats | None
    problems: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        return not self.problems

    def sentence(self) -> str:
        """How much is labelled."""
        if self.stats is None:
            return f"No label of {self.images:,} images could be read."
        return (
            f"{self.stats.labelled:,} of {self.images:,} images ({100 * self.stats.coverage:.1f} "
            f"%) show at least one part, on {100 * self.stats.person:.0f} % of their pixels."
        )


@door
def check(spec: Spec, of: Benchmark, progress: Progress | None = None) -> Findings:
    """Builds a cue for the training images and reads every item.

    RecipeError for names and arguments that do not exist; everything else is a finding. Parts that
    the source cannot give and images without a file are counted, then left out, so that the rest is
    looked at too.
    """
    problems: list[Problem] = []
    missing = build.settings("cue", CUES, spec).get("missing")
    spec, cannot = _possible(as_labels(spec))
    problems += cannot
    cue = None
    try:
        cue = build.cue(spec, of)
    except DataError as error:
        problems.append(_split(str(error)))
        if missing == "error":
            try:
                cue = build.cue(spec.but(missing="unknown"), of)  # these images are told of already
            except DataError:
                cue = None
    if cue is None:
        return Findings(spec, len(of.train), None, tuple(problems))
    stats = measure(cue, of.train, progress)
    reported = bool(problems[len(cannot) :])
    problems += _turned(spec, of)
    return Findings(
        spec, len(of.train), stats, (*problems, *_wrong(spec, stats, reported=reported))
    )


def _turned(spec: Spec, of: Benchmark) -> list[Problem]:
    """Images whose EXIF turns them, where nothing tells whether their labels were made of the
    upright picture.
    """
    if spec.name in FITTED:
        return []

    def look(index: int) -> bool:
        try:
            image = of.train[index].path
            return orientation(image) != 1 if spec.name == "keypoints" else either_way_up(image)
        except DataError:  # told of already
            return False

    names = [of.train[i].path.name for i, odd in enumerate(in_order(look, len(of.train))) if odd]
    return (
        []
        if not names
        else [
            Problem(
                f"{len(names):,} of {len(of.train):,} images are turned or mirrored by their EXIF "
                "orientation and the size of a label does not tell whether it is too: "
                f"{some(names)}",
                "their labels are taken to be of the upright picture; if they were made of the "
                "picture as stored, make them again",
            )
        ]
    )


def _possible(spec: Spec) -> tuple[Spec, list[Problem]]:
    """The cue without the parts that its source cannot give, and what these are."""
    source, parts = spec.args.get("source", "lip"), spec.args.get("parts", "five")
    if spec.name != "parsing" or source not in SOURCES or spec.args.get("allow_missing_parts"):
        return spec, []
    summary = report(source, parts, spec.args.get("accessories", "background"))
    if summary.absent or not summary.missing:
        return spec, []
    others = [name for name in SOURCES if not report(name, parts).missing]
    return spec.but(allow_missing_parts=True), [
        Problem(
            f"source '{source}' cannot give {', '.join(summary.missing)} of the part set '{parts}'",
            f"take another source ({', '.join(others)}) or set ({', '.join(_sets(source))}), or "
            "train without these parts: --set cues.parts.allow_missing_parts=true",
        )
    ]


def _sets(source: str) -> list[str]:
    return [name for name in SOURCES[source].sets if not report(source, name).missing]


def _wrong(spec: Spec, stats: Stats, reported: bool) -> list[Problem]:
    """What the numbers say. reported: that there are images without a label was said before."""
    n, problems = stats.images, []
    if stats.broken:
        first = _split(stats.broken[0][1])
        problems.append(
            Problem(
                f"{len(stats.broken):,} of {n:,} labels cannot be used, the first is that of "
                f"{stats.broken[0][0]}: {first.what}",
                first.fix or "make these labels again",
            )
        )
    if stats.stretched and spec.name not in FITTED:
        problems.append(
            Problem(
                f"{len(stats.stretched):,} of {n:,} labels have other proportions than their "
                f"crops: {some(stats.stretched)}",
                "make them again from these crops",
            )
        )
    if stats.unknown and not reported:
        problems.append(
            Problem(
                f"of {len(stats.unknown):,} of {n:,} images nothing is known: "
                f"{some(stats.unknown)}",
                "the part loss leaves them out; make labels for them if they are many",
            )
        )
    if stats.nobody:
        problems.append(
            Problem(
                f"{len(stats.nobody):,} of {n:,} images show no part at all: {some(stats.nobody)}",
                "look at them with 'partreid labels preview'; if they do show a person, label them "
                "again"
                + (
                    " or remove their labels and train with missing=unknown"
                    if "missing" in build.settings("cue", CUES, spec)
                    else ""
                ),
            )
        )
    never = [part.name for part in stats.parts if part.images == 0]
    if never and stats.labelled:
        problems.append(
            Problem(
                f"{', '.join(never)} occur{'s' if len(never) == 1 else ''} in no image",
                "take a part set without, or a source that shows them: a part that is never "
                "labelled is never learned",
            )
        )
    rare = [part for part in stats.parts if 0 < part.images < RARE * stats.labelled]
    if rare:
        shown = ", ".join(f"{part.name} ({part.images})" for part in rare)
        problems.append(
            Problem(f"fewer than 1 % of the images show {shown}", "take a coarser part set")
        )
    problems += [
        Problem(
            f"{100 * share:.0f} % of what shows {name}s is left: sides look mixed up",
            "check that the labels were not mirrored, and that the parser's classes are read as "
            "its own",
        )
        for name, share in stats.balance.items()
        if not LEAN[0] <= share <= LEAN[1]
    ]
    return problems


def _split(message: str) -> Problem:
    """What is wrong and what to do, from a sentence that separates them by a semicolon or a full
    stop.
    """
    for mark in ("; the first", "; expected"):  # more of what is wrong
        message = message.replace(mark, f", {mark[2:]}")
    what, fix = [*re.split(r"; |\. (?=[A-Z])", message, maxsplit=1), ""][:2]
    return Problem(what, fix[:1].lower() + fix[1:])
