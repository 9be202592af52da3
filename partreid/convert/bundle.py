"""A checkpoint to a model that every command accepts, or to a trunk that training starts from."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from partreid import build
from partreid.convert.layouts import BASE, LAYOUTS, TRUNK, TRUNKS, Layout, canonical, root, trunk_of
from partreid.convert.mapping import first, match
from partreid.convert.reading import read
from partreid.convert.report import Conversion, Matched, share, some
from partreid.errors import DataError, RecipeError
from partreid.layers.timm_trunk import TimmTrunk
from partreid.layers.trunks import BACKBONES
from partreid.recipes import Recipe, find, to_plain
from partreid.recipes.base import Spec, unknown
from partreid.train.bundle import unallocated
from partreid.train.checkpoint import save_tensors
from partreid.types import PartScheme
from partreid.utils.arguments import door
from partreid.utils.files import write_json
from partreid.utils.lock import alone_in

TIMM = "timm:"  # and a model's name: the layout of its trunk in timm's own names
_CLASSES = 1000  # of ImageNet
_TIMES, _SPARE = 10, 2**26  # how many more numbers than its checkpoint a model may have


@door
def detect(tensors: Mapping[str, Tensor]) -> str:
    """The layout whose names these are: a key of LAYOUTS, or "trunk". DataError if none or
    several fit.
    """
    names = canonical(tensors)
    fitting = [
        name
        for name, layout in LAYOUTS.items()
        if all(any(re.match(mark, n) for n in names) for mark in layout.marks)
        and not any(re.match(pattern, n) for n in names for pattern in layout.foreign)
    ]
    last = re.compile(r"base\.(fc|classifier|last_linear)\.weight")
    head = next((t for name, t in names.items() if last.fullmatch(name)), None)
    bare = trunk_of(names) is not None and all(name.startswith(BASE) for name in names)
    if bare and (head is None or len(head) == _CLASSES) and fitting in ([], ["torchreid"]):
        return TRUNK
    if len(fitting) > 1:
        raise DataError(f"the checkpoint could be {' or '.join(fitting)}; say which with --layout")
    if not fitting:
        raise DataError(
            f"the checkpoint is of no known release (its first names: {some(list(tensors))}); "
            f"known are {', '.join(f'{name}: {layout.of}' for name, layout in LAYOUTS.items())}; "
            f"and {TRUNK}: a trunk alone. {_other_network(tensors)}If it is one of them, say which "
            "with --layout"
        )
    return fitting[0]


def _other_network(tensors: Mapping[str, Tensor]) -> str:
    """A sentence for a checkpoint without a trunk of this toolkit's, such as torchreid's other
    networks.
    """
    if trunk_of(canonical(tensors)) is not None:
        return ""
    osnet = any(re.search(r"conv2[abcd]\.", name) for name in tensors)  # its four streams
    return (
        f"This one is {'an OSNet' if osnet else 'neither a ResNet-50 nor an HRNet-W32'}: of "
        "torchreid's networks only resnet50 is read. "
    )


@door
def convert(
    checkpoint: Path,
    out: Path,
    layout: str | None = None,
    recipe: Recipe | None = None,
    least: float = 0.95,
    identities: int | None = None,
) -> Conversion:
    """Write ``out/model.safetensors`` and ``out/recipe.json`` like a finished run, and
    ``out/conversion.json``.

    layout: a key of LAYOUTS, or "trunk" for ``out/trunk.safetensors`` alone, which a recipe's
    ``backbone.weights`` accepts, "timm:MODEL" for that of a timm model in timm's names; None: see
    :func:`detect`. recipe: how the model matches; what tensors decide
    (widths, modules, number of parts found by clustering) follows the tensors. None: the release's
    own. least: share of both sides' numbers that must find a counterpart, in [0, 1]; whatever
    matching reads must be there in any case. identities: if the checkpoint has no classifier to
    count them by. DataError, RecipeError before anything is written.
    """
    if not 0 <= least <= 1:
        raise RecipeError(f"the least share must lie between 0 and 1, got {least}")
    is_timm = layout is not None and layout.startswith(TIMM)
    if layout is not None and layout not in (*LAYOUTS, TRUNK) and not is_timm:
        raise RecipeError(unknown("layout", layout, (*LAYOUTS, TRUNK, f"{TIMM}MODEL")))
    with alone_in(out):
        for taken in (
            "model.safetensors",
            "checkpoint.safetensors",
            "trunk.safetensors",
            "journal.jsonl",
        ):
            if os.path.lexists(out / taken):
                raise DataError(f"{out} already holds {taken}; choose another folder with --out")
        tensors = read(checkpoint)
        name = layout or detect(tensors)
        done = (
            _trunk(checkpoint, tensors, out, least, name)
            if name == TRUNK or is_timm
            else _model(checkpoint, tensors, name, out, recipe, least, identities)
        )
        write_json(out / "conversion.json", done.to_dict())
        return done


@door
def trunk_weights(path: Path, trunk: nn.Module, least: float = 0.95) -> Matched:
    """Fill a trunk of BACKBONES from a file by the names of timm, torchvision, HRNet or IBN-Net, in
    place; one of timm's models by timm's names alone.

    Reducers of our own stay as they are. DataError if less than ``least`` of the trunk or of the
    file finds its place.
    """
    mapping = _matched_trunk(path, read(path), trunk, least)
    trunk.load_state_dict({**trunk.state_dict(), **mapping.tensors})
    return mapping


def _matched_trunk(
    path: Path, theirs: Mapping[str, Tensor], trunk: nn.Module, least: float
) -> Matched:
    if isinstance(trunk, TimmTrunk):
        return _matched_timm(path, theirs, trunk, least)
    tensors = canonical(theirs)
    kind = trunk_of(tensors)
    if kind is None:
        raise DataError(
            f"{path} is no ResNet-50, no SE-ResNet-50 and no HRNet-W32 (its first names: "
            f"{some(list(theirs))})"
        )
    ours = {f"trunk.{name}": value for name, value in trunk.state_dict().items()}
    heads = (
        (
            r"base\.(?:fc|classifier|last_linear|downsamp_modules|final_layer)\..*",
            "ImageNet's own head",
        ),
    )
    mapping = match(tensors, ours, TRUNKS[kind], heads, (r"trunk\.reduce\..*",)).calling(
        BASE, root(theirs)
    )
    _check(path, TRUNK, mapping, least)
    return replace(
        mapping, tensors={name.removeprefix("trunk."): t for name, t in mapping.tensors.items()}
    )


def _matched_timm(
    path: Path, theirs: Mapping[str, Tensor], trunk: TimmTrunk, least: float
) -> Matched:
    """A file with timm's names against timm's model: both have the same, but for its head."""
    ours = {name: t for name, t in trunk.state_dict().items() if not name.startswith("before.")}
    modules = {name.split(".")[1] for name in ours if name.startswith("net.")}
    unused = {name for name in trunk.known if f"net.{name}" not in ours}
    heads = (
        (rf"(?!(?:{'|'.join(map(re.escape, sorted(modules)))})(?:\.|$)).*", "the model's own head"),
        (r".*\.(?:relative_position_index|attn_mask)", "made anew for the size of the images"),
        (
            "|".join(re.escape(name) for name in sorted(unused)) or r"(?!)",
            "behind the levels chosen",
        ),
    )
    mapping = match(theirs, ours, ((r"(.+)", r"net.\1"),), heads, (r"reduce\..*",))
    _check(path, f"{TIMM}{trunk.model}", mapping, least)
    return mapping


def _trunk(
    checkpoint: Path, tensors: Mapping[str, Tensor], out: Path, least: float, layout: str
) -> Conversion:
    backbone = (
        Spec(trunk_of(canonical(tensors)) or "resnet50")
        if layout == TRUNK
        else Spec("timm", model=layout.removeprefix(TIMM))
    )
    mapping = _matched_trunk(checkpoint, tensors, _bare(backbone), least)
    path = out / "trunk.safetensors"
    save_tensors(
        path,
        {f"trunk.{name}": value for name, value in mapping.tensors.items()},
        {"trunk": backbone.name, **backbone.args, "converted": _origin(checkpoint, layout)},
    )
    chosen = " ".join(f"--set backbone.{name}={value}" for name, value in backbone.args.items())
    notes: tuple[str, ...] = (
        f"start training from it: --set backbone={backbone.name}{' ' * bool(chosen)}{chosen} --set "
        f"backbone.weights={path}",
    )
    if layout == TRUNK and any(".se_module." in name for name in tensors):
        notes += (
            "the first SE-ResNet has its strides in the first convolution of a block, this one in "
            "the second: its weights are a start, the network is not the same",
        )
    return Conversion(checkpoint, layout, None, 0, mapping, path, notes)


def _model(
    checkpoint: Path,
    tensors: Mapping[str, Tensor],
    name: str,
    out: Path,
    recipe: Recipe | None,
    least: float,
    identities: int | None,
) -> Conversion:
    layout = LAYOUTS[name]
    fitted, people, scheme = plan(layout, canonical(tensors), recipe, identities)
    _require_filled(checkpoint, tensors, unallocated(fitted, people, scheme, len(tensors)))
    method = build.method(
        replace(fitted, backbone=build.unfetched(fitted.backbone)), people, scheme
    )
    mapping = matched(layout, tensors, method)
    _check(checkpoint, name, mapping, least)
    fitted = replace(
        fitted, notes=(*fitted.notes, f"weights converted from {checkpoint.name} ({name})")
    )
    path = out / "model.safetensors"
    save_tensors(
        path,
        {**method.state_dict(), **mapping.tensors},
        {
            "recipe": to_plain(fitted),
            "identities": people,
            "steps": 0,
            "converted": _origin(checkpoint, name),
            "parts": None if scheme is None else {"names": scheme.names, "flip": scheme.flip},
        },
    )
    write_json(out / "recipe.json", to_plain(fitted))
    return Conversion(checkpoint, name, fitted, people, mapping, path, layout.notes)


@door
def plan(
    layout: Layout,
    tensors: Mapping[str, Tensor],
    recipe: Recipe | None = None,
    identities: int | None = None,
) -> tuple[Recipe, int, PartScheme | None]:
    """The recipe that these tensors (canonical names) need, their number of identities and their
    parts.

    DataError if they hold what this toolkit does not compute, RecipeError if ``recipe`` cannot hold
    them.
    """
    for tensor in tensors:
        reason = first(tensor, layout.refused)
        if reason is not None:
            raise DataError(
                f"the checkpoint has {reason} ({tensor.removeprefix(BASE)}), which this toolkit "
                "does not compute; its embeddings would be others than its authors'"
            )
    try:
        K = layout.parts(tensors)
    except KeyError as error:
        raise DataError(f"the checkpoint is no {layout.of}: it has no {error.args[0]}") from None
    people = _identities(layout, tensors, identities)
    fitted = layout.fit(_recipe(layout, tensors, K, people, recipe), tensors)
    return fitted, people, _scheme(fitted, K)


@door
def matched(layout: Layout, tensors: Mapping[str, Tensor], method: nn.Module) -> Matched:
    """These tensors (names as in the file) against a method's."""
    theirs = canonical(tensors)
    rules = (*TRUNKS.get(trunk_of(theirs) or "", ()), *layout.rules)
    mapping = match(theirs, method.state_dict(), rules, layout.dropped, layout.optional)
    return mapping.calling(BASE, root(tensors))


def _identities(layout: Layout, tensors: Mapping[str, Tensor], given: int | None) -> int:
    """Rows of the classifier; without one the number given, or 1."""
    counts = {
        len(t)
        for name, t in tensors.items()
        if any(re.fullmatch(c, name) for c in layout.classifiers)
    }
    if len(counts) > 1:
        raise DataError(
            f"the checkpoint's classifiers know {' and '.join(map(str, sorted(counts)))} "
            "identities; they should agree"
        )
    count = counts.pop() if counts else None
    if count is not None and given is not None and count != given:
        raise RecipeError(
            f"the checkpoint's classifier knows {count} identities, not {given}; leave the number "
            "out"
        )
    return count or given or 1


def _recipe(
    layout: Layout, tensors: Mapping[str, Tensor], K: int, people: int, given: Recipe | None
) -> Recipe:
    default = layout.recipe(K, people, trunk_of(tensors) or "")
    if given is None and default is None:
        raise RecipeError(
            f"no released model of {layout.of} has {K} parts, so their names are not known; name "
            "their set, e.g. for 6: --recipe bpbreid/released --set cues.parts.parts=six_new"
        )
    if given is None:
        return find(default or "")
    like = find(default).method.name if default else "bpbreid"
    if given.method.name != like:
        raise RecipeError(
            f"{given.name} is a recipe of {given.method.name}, and a checkpoint of {layout.of} "
            f"needs one of {like}; list them with: partreid recipes --filter {like}/released"
        )
    return given


def _scheme(recipe: Recipe, K: int) -> PartScheme | None:
    """The recipe's parts, which must be as many as the checkpoint's."""
    if K == 0:
        return None
    if "parts" not in recipe.cues:
        raise RecipeError(
            f"{recipe.name} names no parts and the checkpoint has {K}; give it the cue 'parts'"
        )
    scheme = build.cue(recipe.cues["parts"], build.empty(recipe.train)).scheme
    if scheme is None or scheme.K != K:
        raise RecipeError(
            f"{recipe.name} has {0 if scheme is None else scheme.K} parts and the checkpoint {K}; "
            f"leave --recipe out, or choose one with {K}"
        )
    return scheme


def _require_filled(checkpoint: Path, tensors: Mapping[str, Tensor], method: nn.Module) -> None:
    """DataError if shapes of a file, which may repeat one number, ask for a model that its
    numbers cannot fill.
    """
    ours, theirs = (sum(t.numel() for t in of.values()) for of in (method.state_dict(), tensors))
    if ours > _TIMES * theirs + _SPARE:
        raise DataError(
            f"{checkpoint} holds {theirs:,} numbers, and the model that its shapes ask for has "
            f"{ours:,}; it is damaged or no model: fetch it again"
        )


def _check(checkpoint: Path, layout: str, mapping: Matched, least: float) -> None:
    lowest = min(mapping.share_of_ours, mapping.share_of_theirs)
    if not mapping.missing and not mapping.misshaped and lowest >= least:
        for name, tensor in mapping.tensors.items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise DataError(
                    f"{checkpoint} holds numbers that are not finite ({name}); fetch it again"
                )
        return
    raise DataError(
        f"{checkpoint} does not fit layout {layout}: {share(mapping.share_of_ours)} of the model's "
        f"numbers and {share(mapping.share_of_theirs)} of the checkpoint's find a counterpart, "
        f"{share(least)} are asked for and all that matching reads. " + ". ".join(mapping.lines())
    )


def _bare(backbone: Spec) -> nn.Module:
    with torch.device("meta"):  # only names and shapes are wanted
        return build.call("backbone", BACKBONES[backbone.name], build.unfetched(backbone))


def _origin(checkpoint: Path, layout: str) -> dict[str, str]:
    with open(checkpoint, "rb") as file:
        digest = (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else hashlib.sha256(file.read()).hexdigest()
        )
    return {"file": checkpoint.name, "sha256": digest, "layout": layout}
