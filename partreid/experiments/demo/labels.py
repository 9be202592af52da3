"""What the demo says about labels that a network made for itself: how good they are and how they
came about.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.evaluation.extract import Labels
from partreid.evaluation.parts import (
    bell,
    label_overlaps,
    overlap_gains,
    overlap_quality,
    stripes,
)
from partreid.evaluation.quality import labels_made
from partreid.explain.evidence import spoken
from partreid.explain.overlays import Shown
from partreid.labels.parsing import read_labels
from partreid.labels.places import label_path
from partreid.labels.schemes import SURFACES, lookup
from partreid.metrics import Interval
from partreid.report.content import LabelStory
from partreid.train.checkpoint import load_tensors
from partreid.train.journal import read as read_journal
from partreid.types import UNKNOWN, Benchmark, Sample
from partreid.utils import ui

BELL, STRIPES = "bell in the middle, no network", "stripes, no network"
SIZE = (32, 16)  # of labels that look at nothing, in cells


def judged(
    folders: Mapping[str, Path], benchmark: Benchmark, world: Path
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, Interval]]]:
    """How well the labels that runs ended with fit the exact surfaces, and how much better than a
    bell in the middle in five rows, by region; folders: runs by what they are called.

    Beside them stand that bell and five stripes, which look at nothing: a network's labels that are
    no better are no find. Nothing without a run.
    """
    if not folders:
        return {}, {}
    samples, exact = benchmark.train, cache(surfaces(world))
    n = len(samples)
    blind = {BELL: bell(5, SIZE), STRIPES: stripes(5, SIZE)}
    labels = {name: np.broadcast_to(one, (n, *SIZE)) for name, one in blind.items()}
    for name, folder in folders.items():
        made = labels_made(folder, n)
        assert made is not None, folder  # only runs that label for themselves come here
        labels[name] = made
    overlaps = {name: label_overlaps(labels[name], samples, exact) for name in (*folders, *blind)}
    quality = {name: overlap_quality(some) for name, some in overlaps.items()}
    ids = [s.identity for s in samples]
    gains = {name: overlap_gains(overlaps[name], overlaps[BELL], ids) for name in folders}
    return quality, {
        name: {region: g for region, g in gain.items() if region in quality[name]}
        for name, gain in gains.items()
    }


def bell_sentence(method: str, gain: Mapping[str, Interval]) -> str:
    """The gain over the bell in words, without regions of which neither has anything."""
    clauses = [
        f"{spoken(name)} {g.points()}"
        for name, g in gain.items()
        if (g.low, g.value, g.high) != (0, 0, 0)
    ]
    return (
        f"{method}'s labels against the bell, in points, with 95 % intervals from drawing the "
        f"people anew: {', '.join(clauses)}."
    )


def surfaces(world: Path) -> Labels:
    """Exact surfaces and belongings of a sample; occluders and other people are background."""
    table = np.arange(256, dtype=np.uint8)
    table[28:] = 0
    return lambda sample: read_labels(label_path(world, sample.path), table)


def print_quality(quality: Mapping[str, Mapping[str, float]]) -> None:
    """The table of label quality in percent, if there is any."""
    if quality:
        names = list(next(iter(quality.values())))
        ui.table(
            "Labels found without a parser, overlap with the exact truth in %",
            ("method", *names),
            [
                (method, *(f"{100 * row[name]:.1f}" for name in names))
                for method, row in quality.items()
            ],
        )


def rounds(folder: Path) -> list[dict[str, Any]]:
    """The journal's lines on every round of labelling, with the number of people who needed a
    fallback.
    """
    entries = read_journal(folder / "journal.jsonl")
    needed: dict[int, int] = {}
    for entry in entries:
        if entry.get("event") == "fallback":
            needed[entry["epoch"]] = needed.get(entry["epoch"], 0) + entry["people"]
    return [
        {**entry, "fallbacks": needed.get(entry["epoch"], 0)}
        for entry in entries
        if entry.get("event") == "labels"
    ]


def stories(method: str, folder: Path, benchmark: Benchmark, world: Path) -> list[LabelStory]:
    """What a run called parts on a few training images, round by round, and the truth."""
    kept = [load_tensors(path) for path in sorted((folder / "labels").glob("*.safetensors"))]
    if not kept:
        return []
    exact, truth_table = surfaces(world), lookup(SURFACES["five"])
    by_image = []
    for i, row in enumerate(kept[0][0]["rows"].tolist()):
        sample = benchmark.train[row]
        pictures = [
            (
                f"epoch {meta['epoch'] + 1}",
                _as_maps(sample, tensors["labels"][i].numpy(), 0, "part"),
            )
            for tensors, meta in kept
        ]
        pictures.append(("truth", _as_maps(sample, truth_table[exact(sample)], 5, "")))
        by_image.append(LabelStory(method, tuple(pictures)))
    return by_image


def _as_maps(sample: Sample, labels: NDArray[np.uint8], K: int, name: str) -> Shown:
    """Labels drawn as if they were sure part maps."""
    K = K or max(6, int(labels[labels != UNKNOWN].max(initial=0)))
    probs = (labels == np.arange(K + 1)[:, None, None]).astype(np.float64)
    names = tuple(f"{name}{k}" for k in range(1, K + 1)) if name else tuple(SURFACES["five"])
    return Shown(sample.path, sample.identity, sample.camera, probs, names)
