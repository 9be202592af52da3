"""Trunks that several papers share, and which weights they start from."""

from dataclasses import replace

from partreid.recipes.base import Recipe, Spec

RESNET50 = Spec("resnet50", weights="tv_in1k")
_OTHERS = "--set backbone.weights= takes another tag of timm's or a file."
# A trunk's name: the weights that the note speaks of (None: none are named), and the note.
_STARTS = {
    "resnet50": (
        "tv_in1k",
        "the trunk starts from torchvision's first ImageNet weights (tv_in1k in timm), "
        "those of the papers' "
        f"time, not from timm's default of 2021. {_OTHERS}",
    ),
    "seresnet50": (
        "a1_in1k",
        "the trunk starts from a1_in1k: timm has four sets of weights for this "
        "SE-ResNet-50, none of the "
        f"papers' time, and the paper does not say which it took. {_OTHERS}",
    ),
    "resnet50_ibn_a": (
        None,
        "the trunk needs a file of ImageNet weights (IBN-Net's authors publish one): "
        "partreid convert "
        "FILE --layout trunk --out FOLDER, then --set backbone.weights=FOLDER/trunk.safetensors.",
    ),
}
# What brings a trunk's map to a quarter of the image's sides, where it does not come so.
_QUARTER = {"small": {"stride": 4}, "resnet50": {"upsample": 4}, "seresnet50": {"upsample": 4}}
_TIMM = "the trunk is timm's "
_FROM = "the trunk starts from the weights "


def quarter(trunk: Spec) -> Spec:
    """A trunk whose map has a quarter of the image's height and width, as HRNet's has: labels that
    a network finds in its features need it. One that is not known stays as it is.
    """
    return trunk.but(**_QUARTER.get(trunk.name, {}))


def noted(recipe: Recipe) -> Recipe:
    """The recipe with a note on the weights that its trunk starts from, where there is a choice,
    and without one on those of another trunk.
    """
    note = _note(recipe.backbone)
    if note is not None and note in recipe.notes:
        return recipe
    starts = [start for _, start in _STARTS.values()]
    kept = tuple(n for n in recipe.notes if n not in starts and not n.startswith((_TIMM, _FROM)))
    return replace(recipe, notes=kept if note is None else (*kept, note))


def _note(spec: Spec) -> str | None:
    weights, pretrained = spec.args.get("weights"), spec.args.get("pretrained", True)
    if spec.name == "timm":
        if not pretrained or spec.args.get("weights", "default") in (None, "none"):
            start = "starts from nothing: no weights are read"
        elif weights in (None, "default"):
            start = "starts from the weights that timm takes for it by default"
        else:
            start = f"starts from the weights {weights}"
        return f"{_TIMM}{spec.args.get('model', '')}; it {start}."
    if not pretrained or spec.name not in _STARTS:
        return None
    usual, note = _STARTS[spec.name]
    return note if weights in (None, usual) else f"{_FROM}{weights}."
