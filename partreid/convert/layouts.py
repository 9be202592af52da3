"""The releases whose names are known, one table row each.

Rules are written for names whose trunk stands under ``base.``; :func:`canonical` puts it there.
Trunks keep the names of HRNet, torchvision and IBN-Net, BPBreID's heads those of its state dict. Of
ISP's and HCGA's heads only the kinds (neck, classifier) and the words (part, global, fore) are
certain, so any joining of the two is taken.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from partreid.convert.mapping import Rules
from partreid.errors import DataError
from partreid.recipes.base import Recipe, Spec

Tensors = Mapping[str, Tensor]
BASE = "base."

_HRNET: Rules = (
    (
        r"base\.((?:conv|bn)[12]|layer1|transition\d|stage\d|incre_modules)\.(.+)",
        r"trunk.net.\1.\2",
    ),
)
_RESNET: Rules = (
    (r"base\.conv1\.(.+)", r"trunk.stem.0.\1"),
    (r"base\.bn1\.(.+)", r"trunk.stem.1.\1"),
    (r"base\.(layer[1-4]\.\d+\.bn1)\.IN\.(.+)", r"trunk.\1.instance.\2"),
    (r"base\.(layer[1-4]\.\d+\.bn1)\.BN\.(.+)", r"trunk.\1.batch.\2"),
    (r"base\.(layer[1-4]\..+)", r"trunk.\1"),
)
# SE-ResNet in timm's names, and in those of its first port to PyTorch (pretrainedmodels; layer0 is
# the stem there).
_SE: Rules = (
    (r"base\.(layer[1-4]\.\d+)\.se_module\.(.+)", r"trunk.\1.se.\2"),
    (r"base\.layer0\.conv1\.(.+)", r"trunk.stem.0.\1"),
    (r"base\.layer0\.bn1\.(.+)", r"trunk.stem.1.\1"),
    *_RESNET,
)
TRUNKS: dict[str, Rules] = {
    "hrnet_w32": _HRNET,
    "resnet50": _RESNET,
    "resnet50_ibn_a": _RESNET,
    "seresnet50": _SE,
}


@dataclass(frozen=True)
class Layout:
    """One family of releases.

    of: what it is, for a person. marks: patterns of which each fits the start of some name; no name
    fits one of ``foreign``. rules, dropped: see :func:`partreid.convert.mapping.match`. refused:
    what this toolkit's trunks and heads do not compute. optional: ours that may stay as
    initialised. classifiers: their names, one is enough to count the identities. recipe: the
    default one's name, from number of parts (0: none), identities and trunk. fit: the recipe with
    what the tensors decide, their sizes and modules. notes: where scores differ from the release's.
    """

    of: str
    marks: tuple[str, ...]
    rules: Rules
    recipe: Callable[[int, int, str], str | None]
    fit: Callable[[Recipe, Tensors], Recipe]
    parts: Callable[[Tensors], int] = lambda tensors: 0
    foreign: tuple[str, ...] = ()
    dropped: Rules = ()
    refused: Rules = ()
    optional: tuple[str, ...] = (r"id\..*classifier", r"centers.*")
    classifiers: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def root(tensors: Tensors) -> str:
    """What stands before the trunk's names, "base." if there is no trunk."""
    first = "layer1.0.conv1.weight"
    return min(
        (name.removesuffix(first) for name in tensors if name.endswith(first)),
        key=len,
        default=BASE,
    )


def canonical(tensors: Tensors) -> dict[str, Tensor]:
    """The same tensors with ``base.`` before the trunk's names, wherever the release has put it."""
    old = root(tensors)
    return {
        BASE + name.removeprefix(old) if name.startswith(old) else name: t
        for name, t in tensors.items()
    }


def trunk_of(tensors: Tensors) -> str | None:
    """Name in BACKBONES of the trunk whose tensors these are (canonical names), None if there is
    none.
    """
    if any(name.startswith("base.stage4.") for name in tensors):
        return "hrnet_w32"
    if "base.layer4.2.conv3.weight" not in tensors:
        return None
    if any(".se." in name or ".se_module." in name for name in tensors):
        return "seresnet50"
    return "resnet50_ibn_a" if any(".bn1.IN." in name for name in tensors) else "resnet50"


def _find(tensors: Tensors, pattern: str) -> Tensor | None:
    return next((t for name, t in tensors.items() if re.fullmatch(pattern, name)), None)


# ISP and HCGA: three necks and classifiers, for all parts joined, global and foreground.
_NECK, _CLASSIFIER = r"(?:bn|bnneck|neck|bottleneck)", r"(?:fc|cls|classifier)"
_WORDS = {"joined": "parts?", "global": "global", "foreground": "fore(?:ground)?"}


def _either(kind: str, word: str) -> str:
    return rf"(?:{kind}_{word}|{word}_{kind})"


_HEADS: Rules = tuple(
    rule
    for ours, word in _WORDS.items()
    for rule in (
        (rf"{_either(_NECK, word)}\.(\w+)", rf"id.{ours}.norm.\1"),
        (rf"{_either(_CLASSIFIER, word)}\.weight", f"id.{ours}.classifier"),
    )
)
_ATTENTION = r"base\.(?:spatial_)?attn\."
_IMAGENET = (
    r"base\.(?:downsamp_modules|final_layer|classifier|fc|last_linear)\..*",
    "of ImageNet, or made and never used",
)
_PARSING = Layout(
    of="ISP (HRNet-W32)",
    marks=(r"base\.cls_head|base\.part_cls_layer", r"base\.part_cls_layer"),
    foreign=(r"base\.(?:red[12]|spatial_attn1|thresh)\.",),
    rules=(
        (r"base\.cls_head\.([01])\.(\w+)", r"trunk.reduce.\1.\2|reduce.\1.\2"),
        (_ATTENTION + r"conv1\.conv\.(\w+)", r"mask.look.\1"),
        (_ATTENTION + r"conv1\.bn\.(\w+)", r"mask.norm.\1"),
        (_ATTENTION + r"conv2\.conv\.(\w+)", r"mask.weigh.\1"),
        (_ATTENTION + r"conv2\.bn\.(\w+)", r"mask.weigh_norm.\1"),
        (r"base\.part_cls_layer\.(\w+)", r"part_head.classifier.\1"),
        *_HEADS,
    ),
    dropped=(_IMAGENET,),
    classifiers=tuple(rf"{_either(_CLASSIFIER, word)}\.weight" for word in _WORDS.values()),
    parts=lambda tensors: len(tensors["base.part_cls_layer.weight"]) - 1,
    recipe=lambda K, identities, trunk: {
        751: "isp/released/market1501",
        702: f"isp/released/{'occluded_duke' if K == 5 else 'dukemtmc'}",
        767: f"isp/released/cuhk03_{'detected' if K == 5 else 'labeled'}",
    }.get(identities, "isp/released/market1501"),
    fit=lambda recipe, tensors: _fit_parsing(recipe, tensors),
    notes=("the authors' mAP with visibility is by the trapezoid rule, which is never above ours",),
)


def _fit_parsing(recipe: Recipe, tensors: Tensors) -> Recipe:
    reducer = tensors.get("base.cls_head.0.weight")
    wide = _find(tensors, rf"{_either(_NECK, 'global')}\.running_mean")
    D = tensors["base.part_cls_layer.weight"].shape[1]
    # F_g of the trunk's 1920 channels, before they are reduced
    whole = wide is not None and len(wide) != D
    method = recipe.method.but(
        mask=_find(tensors, _ATTENTION + r".*") is not None,
        global_from="trunk" if whole else "features",
        dim=D if whole and reducer is not None else None,
    )
    backbone = recipe.backbone if whole or reducer is None else recipe.backbone.but(reduce=D)
    if whole or reducer is None:
        backbone = Spec(backbone.name, **{k: v for k, v in backbone.args.items() if k != "reduce"})
    cue = recipe.cues["parts"].but(parts=len(tensors["base.part_cls_layer.weight"]) - 1)
    return replace(recipe, method=method, backbone=backbone, cues=recipe.cues | {"parts": cue})


_COPARSING = replace(
    _PARSING,
    of="HCGA (HRNet-W32)",
    marks=(r"base\.part_cls_layer", r"base\.(?:red[12]|spatial_attn1|thresh)\."),
    foreign=(),
    dropped=(
        _IMAGENET,
        (r"base\.(?:red[12]|spatial_attn1|thresh)\..*", "made by the released code and never used"),
    ),
    recipe=lambda K, identities, trunk: {
        751: "hcga/released/market1501",
        100: "hcga/released/occluded_reid",
    }.get(identities, "hcga/released/occluded_duke"),
    notes=(
        "the authors add similarities up where this model divides by their weight; the undivided "
        "rule is partreid.metrics.official.hcga_official",
        *_PARSING.notes,
        "DukeMTMC and Occluded-Duke have the same shapes: for the former give --recipe "
        "hcga/released/dukemtmc",
    ),
)

# BPBreID.
_GROUPS = {
    "global": "global",
    "foreground": "foreground",
    "concat_parts": "joined",
    "parts": "parts",
}
_BPB_ROWS = {
    (5, 751): "market1501",
    (8, 751): "occluded_reid",
    (5, 702): "dukemtmc",
    (8, 702): "occluded_duke",
    (8, 665): "p_dukemtmc",
    (5, 665): "p_dukemtmc",
}
_BPB_SIZES = {"resnet50": (256, 128), "resnet50_ibn_a": (384, 128), "hrnet_w32": (384, 128)}
_INSIDE = r"base\.(?!(?:stage|layer|transition|incre|downsamp|final))\w+\.{}\.{}"  # HRNet's reducer


def _bpb_parts(tensors: Tensors) -> int:
    pixels = tensors.get("pixel_classifier.classifier.weight")
    if pixels is not None:
        return len(pixels) - 1
    joined, each = (
        tensors.get(f"{name}.bn.weight")
        for name in ("concat_parts_identity_classifier", "global_identity_classifier")
    )
    if joined is None or each is None:
        raise DataError(
            "the checkpoint has neither a pixel classifier nor identity classifiers, so nothing "
            "tells its number of parts; give a whole BPBreID model"
        )
    return len(joined) // len(each)


def _fit_bpb(recipe: Recipe, tensors: Tensors) -> Recipe:
    before, after = (
        tensors.get(f"{name}.layers.0.weight")
        for name in ("before_pooling_dim_reduce", "global_after_pooling_dim_reduce")
    )
    pixels, inside = (
        tensors.get("pixel_classifier.classifier.weight"),
        _find(tensors, _INSIDE.format("0", "weight")),
    )
    reducers = [t for t in (before, after) if t is not None]
    # what leaves the trunk
    G = (reducers or [pixels if pixels is not None else torch.empty(0, 0)])[0].shape[1]
    D = len(reducers[-1]) if reducers else G
    # The release makes reducers that it then skips: its own if the trunk gives D already, HRNet's
    # if it is not asked.
    how = {
        (True, True): "both",
        (True, False): "before",
        (False, True): "after",
        (False, False): "none",
    }
    method = recipe.method.but(
        reduce=how[before is not None and G != D, after is not None],
        shared_id="parts_identity_classifier.classifier.weight" in tensors,
        **({"dim": D} if reducers else {}),
        **({"attention": "given"} if pixels is None else {}),
    )
    trunk = trunk_of(tensors) or recipe.backbone.name
    backbone = recipe.backbone if recipe.backbone.name == trunk else Spec(trunk)
    if inside is not None and len(inside) == G:
        backbone = backbone.but(reduce=G)
    if trunk == "resnet50_ibn_a":
        backbone = backbone.but(stem="unpadded")
    size = recipe.size if recipe.backbone.name == trunk else _BPB_SIZES.get(trunk, recipe.size)
    return replace(recipe, method=method, backbone=backbone, size=size)


_BPBREID = Layout(
    of="BPBreID (ResNet-50, ResNet-50-IBN or HRNet-W32)",
    marks=(
        r"(?:foreground|parts)_(?:after_pooling_dim_reduce|identity_classifier)\.",
        r"global_identity_classifier\.",
    ),
    rules=(
        (_INSIDE.format("([01])", r"(\w+)"), r"trunk.reduce.\1.\2"),
        (r"before_pooling_dim_reduce\.layers\.([01])\.(\w+)", r"before.\1.\2"),
        (r"(global|foreground|parts)_after_pooling_dim_reduce\.(.+)", r"after.\1.\2"),
        (r"pixel_classifier\.bn\.(\w+)", r"part_head.norm.\1"),
        (r"pixel_classifier\.classifier\.(\w+)", r"part_head.classifier.\1"),
        (r"parts_identity_classifier\.(\d+)\.bn\.(\w+)", r"id.id_parts.norm.\2#\1"),
        (r"parts_identity_classifier\.(\d+)\.classifier\.weight", r"id.id_parts.classifier#\1"),
        *(
            (rf"{theirs}_identity_classifier\.bn\.(\w+)", rf"id.id_{ours}.norm.\1")
            for theirs, ours in _GROUPS.items()
        ),
        *(
            (rf"{theirs}_identity_classifier\.classifier\.weight", f"id.id_{ours}.classifier")
            for theirs, ours in _GROUPS.items()
        ),
    ),
    dropped=(
        (r"background_.*", "no loss and no distance uses the background's embedding"),
        _IMAGENET,
    ),
    refused=((r"base\.NL_.*", "non-local blocks"),),
    classifiers=(
        "global_identity_classifier.classifier.weight",
        "foreground_identity_classifier.classifier.weight",
    ),
    optional=(r"id\..*classifier", r"id\.id_parts\..*"),
    parts=_bpb_parts,
    fit=_fit_bpb,
    recipe=lambda K, identities, trunk: (
        f"bpbreid/released/{_BPB_ROWS[K, identities]}"
        if (K, identities) in _BPB_ROWS
        else f"bpbreid/released/{'market1501' if K == 5 else 'occluded_duke'}"
        if K in (5, 8)
        else None
    ),
    notes=(
        "pairs that share no part are infinitely far here, in the release one more than the "
        "largest distance",
    ),
)

# The global baselines.
_GLOBAL = {751: "market1501", 702: "dukemtmc"}


def _global_row(K: int, identities: int, trunk: str) -> str:
    return f"bot/bpbreid-table1/{_GLOBAL.get(identities, 'market1501')}"


_STRONG = Layout(
    of="reid-strong-baseline, BoT (ResNet-50)",
    marks=(r"base\.layer4\.", r"bottleneck\.running_mean"),
    foreign=(r"heads\.", r"global_identity_classifier"),
    rules=((r"bottleneck\.(\w+)", r"id.norm.\1"), (r"classifier\.weight", "id.classifier")),
    dropped=(_IMAGENET,),
    classifiers=(r"classifier\.weight",),
    recipe=_global_row,
    refused=(
        (
            r".*\.bn1\.IN\..*",
            "IBN blocks: whether that release has a ReLU in its stem is not known",
        ),
        (r".*\.(?:se|se_module)\..*", "squeeze-and-excitation blocks"),
    ),
    fit=lambda recipe, tensors: replace(recipe, backbone=Spec("resnet50", stem="no_relu")),
    notes=(
        "the release lacks the ReLU of ResNet's stem (its issues 4 and 117), so this model does "
        "too",
    ),
)
_TORCHREID = Layout(
    of="torchreid (ResNet-50)",
    marks=(r"base\.layer4\.", r"base\.classifier\.weight"),
    foreign=(r"bottleneck\.", r"base\.stage4\.", r".*_identity_classifier\.", r"base\.fc\.\w+$"),
    rules=((r"base\.classifier\.weight", "id.classifier"),),
    dropped=(
        (r"base\.classifier\.bias", "our classifiers have no shift; matching does not use it"),
    ),
    refused=(
        (r"base\.fc\.\d.*", "an embedding layer behind the pooling (resnet50_fc512)"),
        (r".*\.bn1\.IN\..*", "IBN blocks"),
    ),
    optional=(r"id\..*",),
    classifiers=(r"base\.classifier\.weight",),
    recipe=_global_row,
    fit=lambda recipe, tensors: replace(
        recipe,
        backbone=Spec("resnet50", last_stride=2),
        distance=Spec("released", metric="euclidean"),
    ),
    notes=(
        "the release compares pooled features as they are; the BN-neck here passes them through",
    ),
)

LAYOUTS: dict[str, Layout] = {
    "isp": _PARSING,
    "hcga": _COPARSING,
    "bpbreid": _BPBREID,
    "strong-baseline": _STRONG,
    "torchreid": _TORCHREID,
}
# Weights of a trunk alone, by the names of timm, torchvision, HRNet and IBN-Net.
TRUNK = "trunk"
