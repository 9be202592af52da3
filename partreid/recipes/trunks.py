"""Trunks that several papers share, and which ImageNet weights they start from."""

from dataclasses import replace

from partreid.recipes.base import Recipe, Spec

RESNET50 = Spec("resnet50", weights="tv_in1k")
_OTHERS = "--set backbone.weights= takes another tag of timm's or a file."
_STARTS = {
    "resnet50": "the trunk starts from torchvision's first ImageNet weights (tv_in1k in timm), "
    "those of the papers' "
    f"time, not from timm's default of 2021. {_OTHERS}",
    "seresnet50": "the trunk starts from a1_in1k: timm has four sets of weights for this "
    "SE-ResNet-50, none of the "
    f"papers' time, and the paper does not say which it took. {_OTHERS}",
    "resnet50_ibn_a": "the trunk needs a file of ImageNet weights (IBN-Net's authors publish one): "
    "partreid convert "
    "FILE --layout trunk --out FOLDER, then --set backbone.weights=FOLDER/trunk.safetensors.",
}


def noted(recipe: Recipe) -> Recipe:
    """The recipe with a note on the weights that its trunk starts from, where there is a choice."""
    spec = recipe.backbone
    note = _STARTS.get(spec.name) if spec.args.get("pretrained", True) else None
    return (
        recipe
        if note is None or note in recipe.notes
        else replace(recipe, notes=(*recipe.notes, note))
    )
