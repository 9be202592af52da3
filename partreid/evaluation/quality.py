"""How good the parts are that a run found, against a parser's labels: ISP's Table 3 for any run
and data.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from partreid import build
from partreid.errors import DataError, RecipeError
from partreid.evaluation.extract import extract
from partreid.evaluation.parts import (
    PERSON,
    Agreement,
    Overlap,
    bell,
    overlap_gains,
    region_masks,
    stripes,
)
from partreid.inference import Model, load
from partreid.labels.parsing import class_files, read_classes, read_labels
from partreid.labels.places import label_path
from partreid.labels.sources import ISP_MASKS, find_source, isp_masks
from partreid.metrics import Interval
from partreid.recipes.base import Spec
from partreid.train.checkpoint import load_tensors
from partreid.types import Output, Sample
from partreid.utils import ui

Masks = Mapping[str, NDArray[np.bool_]]
Reference = Callable[[Sample], Masks]
On = Literal["train", "test"]
LABELS, PREDICTED = "labels it made", "parts it predicts"
BELL = "bell that looks at nothing"


@dataclass(frozen=True)
class Quality:
    """Agreement by what is judged, then by region. images: how many were compared. left_out: how
    many have no reference. stands_for: parts of each region, by what is judged; how: how these were
    told. over_bell: IoU of each region less the bell's, of what the run made and predicts, with
    95 % intervals from drawing the people anew.
    """

    agreement: Mapping[str, Mapping[str, Agreement]]
    images: int
    left_out: int
    stands_for: Mapping[str, Mapping[str, Sequence[str]]]
    how: str
    over_bell: Mapping[str, Mapping[str, Interval]]

    def plain(self) -> dict[str, Any]:
        """For JSON: numbers in 0..1."""
        return {
            "images": self.images,
            "left_out": self.left_out,
            "parts_by": self.how,
            "parts": {
                what: {region: list(names) for region, names in of.items()}
                for what, of in self.stands_for.items()
            },
            "iou": {
                what: {
                    region: {"inside": a.inside, "outside": a.outside, "mean": a.mean}
                    for region, a in of.items()
                }
                for what, of in self.agreement.items()
            },
            "over_bell": {
                what: {region: [g.value, g.low, g.high] for region, g in of.items()}
                for what, of in self.over_bell.items()
            },
        }

    def show(self) -> None:
        """A table: three lines for whatever is judged."""
        measures = {
            "of the region (the paper)": "inside",
            "of all else": "outside",
            "mean of both (the released code)": "mean",
        }
        ui.table(
            "Intersection over union with the reference, in %",
            ("", "IoU", *ISP_MASKS),
            [
                (what, measure, *(_percent(getattr(of[region], name)) for region in ISP_MASKS))
                for what, of in self.agreement.items()
                for measure, name in measures.items()
            ],
            left=2,
        )
        ui.table(
            "Of the region, over the bell, in points [95 % when the people are drawn anew]",
            ("", *ISP_MASKS),
            [
                (what, *(_gain(of.get(region)) for region in ISP_MASKS))
                for what, of in self.over_bell.items()
            ],
        )
        ui.say(
            f"{self.images:,} images"
            + (f"; {self.left_out:,} without a reference were left out" if self.left_out else "")
        )
        for what, of in self.stands_for.items():
            listing = "; ".join(
                f"{region}: {', '.join(names) or 'none'}" for region, names in of.items()
            )
            ui.say(f"{what}, {listing} ({self.how})")


def quality(
    run: Path,
    root: Path,
    against: Spec,
    name: str | None = None,
    on: On = "train",
    device: str = "auto",
) -> Quality:
    """Compare the parts of a run with reference labels of the training or test images below
    ``root``.

    Judged are the labels that the run made for itself while training (ISP, HCGA; training images
    only), the parts that it predicts, and two that look at nothing,
    :func:`~partreid.evaluation.parts.bell` and
    :func:`~partreid.evaluation.parts.stripes`. against: ``parsing`` with source, folder and
    missing as in training, or ``surfaces`` of made-up people. RecipeError for another reference,
    DataError for a run without part maps, for labels of other images and for a missing reference.
    """
    model = load(run, device)
    if model.scheme is None:
        raise DataError(
            f"{run} ({model.recipe.method.name}) has no part maps that could be compared; take a "
            "run of BPBreID, ISP, HCGA or MagnifierNet"
        )
    recipe = model.recipe
    of = build.benchmark(name or (recipe.train if on == "train" else recipe.test[0]), root)
    samples = (
        of.train if on == "train" else (*(s for q in of.queries.values() for s in q), *of.gallery)
    )
    reference, there = _reference(against, root, samples)
    judged: dict[str, Callable[[int], NDArray[np.uint8]]] = {}
    made = labels_made(run, len(samples)) if on == "train" else None
    if made is not None:
        judged[LABELS] = made.__getitem__
    kept = [i for i, known in enumerate(there) if known]
    predicted = dict(zip(kept, _predicted(model, [samples[i] for i in kept]), strict=True))
    judged[PREDICTED] = predicted.__getitem__
    K, size = model.scheme.K, predicted[kept[0]].shape
    judged[BELL] = lambda index: bell(K, (size[0], size[1]))
    judged["stripes"] = lambda index: stripes(K, (size[0], size[1]))
    of_image: dict[str, list[Overlap]] = {what: [] for what in judged}
    with ui.progress("comparing") as step:
        for done, i in enumerate(kept, 1):
            masks = reference(samples[i])
            for what, labels in judged.items():
                one = Overlap(K, ISP_MASKS)
                one.add(labels(i), masks)
                of_image[what].append(one)
            step(done, len(kept))
    counts = {what: Overlap.total(some) for what, some in of_image.items()}
    ordered = made is not None or all(n.startswith("part") for n in model.scheme.names)
    by_order = ordered and K in (5, 6)
    stands_for = {what: c.by_order() if by_order else c.by_overlap() for what, c in counts.items()}
    called = {
        what: model.scheme.names
        if what in (LABELS, PREDICTED)
        else [f"row{k + 1}" for k in range(K)]
        for what in judged
    }
    names = {
        what: {region: [called[what][k - 1] for k in parts] for region, parts in s.items()}
        for what, s in stands_for.items()
    }
    return Quality(
        {what: c.agreement(stands_for[what]) for what, c in counts.items()},
        len(kept),
        len(samples) - len(kept),
        names,
        "parts from above, as the released code" if by_order else "by what a part covers most of",
        {
            what: overlap_gains(
                of_image[what],
                of_image[BELL],
                [samples[i].identity for i in kept],
                (stands_for[what], stands_for[BELL]),
            )
            for what in judged
            if what in (LABELS, PREDICTED)
        },
    )


def _reference(spec: Spec, root: Path, samples: Sequence[Sample]) -> tuple[Reference, list[bool]]:
    """Masks by region of a sample, and which samples have any."""
    if spec.name == "surfaces":
        return build.call("reference", _surfaces, spec, root=root), [True] * len(samples)
    if spec.name != "parsing":
        raise RecipeError(
            "the reference must be parsing, the class images of a human parser, or surfaces; got "
            f"'{spec.name}'"
        )
    source = spec.args.get("source", "lip")
    find_source(source)
    known = {"source", "folder", "missing"}
    for argument in spec.args:
        if argument not in known:
            raise RecipeError(
                f"the reference 'parsing' takes {', '.join(sorted(known))}, not '{argument}'"
            )
    files = class_files(root, samples, **{"source": source, **spec.args})
    file_of = {sample.path: file for sample, file in zip(samples, files, strict=True)}

    def masks(sample: Sample) -> Masks:
        file = file_of[sample.path]
        assert file is not None
        return isp_masks(read_classes(file, source, image=sample.path), source)

    return masks, [file is not None for file in files]


def _surfaces(root: Path, folder: str = "labels") -> Reference:
    """Exact surfaces of made-up people, whose bags are foreground and nothing else."""
    table = np.arange(256, dtype=np.uint8)
    table[max(PERSON) + 1 :] = 0

    def masks(sample: Sample) -> Masks:
        return region_masks(read_labels(label_path(root, sample.path, folder), table, sample.path))

    return masks


def labels_made(run: Path, images: int) -> NDArray[np.uint8] | None:
    """The labels that a run ended with, uint8 [N, h, w], if it made any."""
    path = (run if run.is_dir() else run.parent) / "checkpoint.safetensors"
    if not path.is_file():
        return None
    tensor = load_tensors(path)[0].get("cue/parts/labels")
    if tensor is None:
        return None
    if len(tensor) != images:
        raise DataError(
            f"{path} holds labels of {len(tensor)} images, the training set has {images}; give the "
            "data that the run was trained on"
        )
    labels: NDArray[np.uint8] = tensor.numpy()
    return labels


def _predicted(model: Model, samples: Sequence[Sample]) -> list[NDArray[np.uint8]]:
    """The most probable part of each cell, uint8 [h, w] by sample."""
    labels: list[NDArray[np.uint8]] = []

    def see(rows: slice, out: Output) -> None:
        if out.parts is None:
            raise DataError(f"{model.recipe.method.name} gives no part maps of its images")
        labels.extend(out.parts.logits.argmax(1).to("cpu").numpy().astype(np.uint8))

    with ui.progress("predicting parts") as step:
        extract(
            model.method, samples, model.recipe.size, device=model.device, progress=step, see=see
        )
    return labels


def _gain(gain: Interval | None) -> str:
    return "–" if gain is None else gain.points()


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
