"""Models that label crops, by way of transformers: parsers of clothes (semantic segmentation) and
ViTPose.

Weights are safetensors, from a folder or, if that is said, from the hub; no code of a repository is
run.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from partreid.data.folders import optional
from partreid.errors import DataError, RecipeError
from partreid.labels.keypoints import Person
from partreid.labels.schemes import JOINTS
from partreid.labels.sources import SOURCES
from partreid.layers.trunks import import_timm
from partreid.recipes.base import unknown


@dataclass(frozen=True)
class Known:
    """A model with a short name. about: size and licence, as its card says."""

    repository: str
    about: str


MODELS: Mapping[str, Known] = {
    "clothes": Known(
        "mattmdjaga/segformer_b2_clothes",
        "110 MB; its card says MIT, and its trunk began as NVIDIA's SegFormer, whose own licence "
        "allows research only",
    ),
    "keypoints": Known("usyd-community/vitpose-base-simple", "344 MB, Apache-2.0"),
}


class Parser:
    """A semantic segmentation model of people. source: the row of
    :data:`partreid.labels.sources.SOURCES` whose classes it has.
    """

    def __init__(self, model: Any, processor: Any, source: str, device: str) -> None:
        self.model, self.processor, self.source, self.device = (
            model.eval().to(device),
            processor,
            source,
            device,
        )

    def __call__(self, images: Sequence[Image.Image]) -> list[NDArray[np.uint8]]:
        """RGB crops to class labels uint8 [H, W], each of its crop's size."""
        pixels = self.processor(images=list(images), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            # a quarter of the input
            logits = self.model(pixel_values=pixels.to(self.device)).logits.float().cpu()
        return [
            interpolate(
                one[None], (image.height, image.width), mode="bilinear", align_corners=False
            )[0]
            .argmax(0)
            .to(torch.uint8)
            .numpy()
            for one, image in zip(logits, images, strict=True)
        ]


class Pose:
    """ViTPose, given the whole crop as the box of its person."""

    def __init__(self, model: Any, processor: Any, device: str) -> None:
        self.model, self.processor, self.device = model.eval().to(device), processor, device
        # ViTPose+: 0 is COCO's expert
        self.experts = getattr(model.config.backbone_config, "num_experts", 1) > 1

    def __call__(self, images: Sequence[Image.Image]) -> list[Person]:
        """RGB crops to their persons: 17 keypoints in pixels of the crop, confidences in [0, 1]."""
        boxes = [[[0.0, 0.0, float(image.width), float(image.height)]] for image in images]
        pixels = self.processor(images=list(images), boxes=boxes, return_tensors="pt")[
            "pixel_values"
        ].to(self.device)
        more = (
            {"dataset_index": torch.zeros(len(images), dtype=torch.long, device=self.device)}
            if self.experts
            else {}
        )
        with torch.inference_mode():
            out = self.model(pixel_values=pixels, **more)
        out.heatmaps = out.heatmaps.float().cpu()
        people = []
        for (pose,) in self.processor.post_process_pose_estimation(out, boxes=boxes):
            points = np.zeros((JOINTS, 3))
            points[pose["labels"].numpy(), :2] = pose["keypoints"].numpy()
            points[pose["labels"].numpy(), 2] = pose["scores"].numpy().reshape(-1).clip(0, 1)
            people.append(Person(points, float(points[:, 2].mean())))
        return people


def load(
    model: str, device: str = "cpu", download: bool = False, parser: str | None = None
) -> Parser | Pose:
    """A model by a short name of ``MODELS``, a folder that ``save_pretrained`` wrote, or a name on
    the hub.

    download: fetch what is not on this machine; without it nothing is. parser: whose classes a
    parser has, if the names in its configuration do not tell. DataError if transformers is not
    installed or the files are not there, not whole, or not safetensors; RecipeError for a model of
    another kind.
    """
    transformers = optional("transformers", "labels", "making labels with a model")
    # ViTPose's processor needs it and does not say so
    optional("scipy", "labels", "making keypoints")
    import_timm()  # and with it torchvision, which transformers' image processors need too
    name = MODELS[model].repository if model in MODELS else model
    if (
        model not in MODELS
        and not Path(name).is_dir()
        and (Path(name).exists() or name.count("/") != 1)
    ):
        raise RecipeError(
            unknown("model", model, MODELS)
            + "; or give a folder with a model, or the name of one on "
            "the hub, owner/name"
        )
    with _quiet(transformers), _load_errors(name, MODELS.get(model), download):
        config = transformers.AutoConfig.from_pretrained(name, local_files_only=not download)
        pose = config.model_type == "vitpose"
        kind = (
            transformers.VitPoseForPoseEstimation
            if pose
            else transformers.AutoModelForSemanticSegmentation
        )
        source = None if pose else source_of_model(name, config.id2label, parser)
        if pose and (parser is not None or config.num_labels != JOINTS):
            raise RecipeError(
                f"{name} is a pose model with {config.num_labels} keypoints; labels need COCO's "
                f"{JOINTS}, and --parser goes with human parsers only"
            )
        if (
            not pose
            and type(config) not in transformers.AutoModelForSemanticSegmentation._model_mapping
        ):
            raise RecipeError(
                f"{name} is a model of the kind {config.model_type}; expected one for semantic "
                "segmentation, such as SegFormer, or ViTPose"
            )
        loaded, info = kind.from_pretrained(
            name, local_files_only=not download, use_safetensors=True, output_loading_info=True
        )
        processor = transformers.AutoImageProcessor.from_pretrained(
            name, local_files_only=not download
        )
    missing = sorted(info["missing_keys"])
    if missing:
        raise DataError(
            f"{name} lacks {len(missing)} of the model's tensors ({missing[0]}, ...), so what it "
            "says would be chance; give a model that was trained to the end, not a bare trunk"
        )
    return (
        Pose(loaded, processor, device)
        if source is None
        else Parser(loaded, processor, source, device)
    )


def source_of_model(name: str, id2label: Mapping[int, str], parser: str | None) -> str:
    """Whose classes a parser has, told by their names. RecipeError if nobody's, or if ``parser``
    says otherwise.
    """

    def plain(text: str) -> str:
        return re.sub(r"[^a-z]", "", text.lower())

    if parser is not None and parser not in SOURCES:
        raise RecipeError(unknown("parsing source", parser, SOURCES))
    names = [plain(str(id2label[i])) for i in sorted(id2label)]
    owner = next(
        (source for source, row in SOURCES.items() if [plain(c) for c in row.classes] == names),
        None,
    )
    if owner is not None and parser in (None, owner):
        return owner
    if owner is None and parser is not None and len(names) == len(SOURCES[parser].classes):
        return parser
    if parser is None:
        raise RecipeError(
            f"{name} has the classes {', '.join(list(id2label.values())[:4])}, ... ({len(names)} "
            "in all), which are those of no parser known here; if only the names differ, say whose "
            f"they are with --parser, one of {', '.join(SOURCES)}"
        )
    raise RecipeError(
        f"{name} has {f'the classes of {owner}' if owner else f'{len(names)} classes'}, --parser "
        f"says {parser} with {len(SOURCES[parser].classes)}; leave --parser out or name the right "
        "one"
    )


@contextmanager
def _load_errors(name: str, known: Known | None, download: bool) -> Iterator[None]:
    """What the hub's client raises, as one sentence."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, DataError | RecipeError):
            raise
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if Path(name).is_dir():
            raise DataError(
                f"{name} is not a whole model ({first}); expected what save_pretrained writes: "
                "config.json, model.safetensors and preprocessor_config.json"
            ) from None
        about = f" ({known.about})" if known else ""
        if not download:
            raise DataError(
                f"{name} is not on this machine and nothing is fetched unasked: say --download to "
                f"fetch it from huggingface.co{about}, or give the folder of a copy with --model"
            ) from None
        raise DataError(
            f"{name} could not be fetched from huggingface.co ({first}); check the name and the "
            "network, or copy the model from a machine that has it and give its folder with --model"
        ) from None


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """transformers without its own bars and advice while it loads."""
    log: Any = transformers.utils.logging
    level, shown = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if shown:
            log.enable_progress_bar()
