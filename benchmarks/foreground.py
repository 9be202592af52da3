"""Ways to a foreground in the features of a trunk that started from nothing: how well ISP's and
HCGA's labels fit the exact surfaces of drawn people, beside labels that look at nothing.

    partreid train synthetic/demo/isp --data partreid-demo/world-demo --out runs/isp
    python -m benchmarks.foreground runs/isp --data partreid-demo/world-demo [--json FILE]

The network of one run labels the same people in every way, as in a first round. Ways: the
activation (the papers); the activation under a bell, the outermost two cells taken for those inside
them (central, rim=2), or with images mirrored beyond their border instead (central, margin=16); a
discriminant seeded by a bell (seeded), without and with that margin.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.about import about
from partreid import build
from partreid.evaluation.parts import bell, label_quality, stripes
from partreid.experiments.demo.labels import surfaces
from partreid.inference import load
from partreid.labels.pseudo import Labelled
from partreid.methods.hcga.coparsing import parse_person as co_parse
from partreid.methods.isp.labels import parse_person as cluster
from partreid.train.features import features_by_identity
from partreid.utils import ui
from partreid.utils.files import write_json

PEOPLE = 30
MARGIN = 16  # pixels
WAYS: dict[str, tuple[int, dict[str, Any]]] = {  # the margin, and what the labeller is told
    "activation": (0, {}),
    "central, rim=2": (0, {"central": True, "rim": 2}),
    "central, margin=16": (MARGIN, {"central": True}),
    "seeded": (0, {"seeded": True}),
    "seeded, margin=16": (MARGIN, {"seeded": True}),
}
LABELLERS = {
    "ISP": partial(cluster, parts=5, height=1.0),
    "HCGA": partial(co_parse, parts=3, height=1.0),
}
BLIND = {"bell": bell, "stripes": stripes}
Label = Callable[[Tensor, Tensor], Tensor]  # features and cameras of a person to labels


def found_by(labeller: Callable[..., Labelled], ways: Mapping[str, Any]) -> Label:
    return lambda maps, cameras: labeller(maps, cameras, None, **ways).labels


def alike(labels: NDArray[np.uint8]) -> Label:
    """The same labels for every image."""
    return lambda maps, cameras: torch.from_numpy(labels.copy()).expand(len(maps), -1, -1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load(options.run)
    benchmark = build.benchmark(model.recipe.train, options.data)
    everyone = sorted({s.identity for s in benchmark.train})
    chosen = {everyone[i] for i in np.linspace(0, len(everyone) - 1, options.people).astype(int)}
    samples = [s for s in benchmark.train if s.identity in chosen]
    exact = surfaces(options.data)

    def stream(margin: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        ids = [s.identity for s in samples]
        return list(
            features_by_identity(model.method, samples, ids, model.recipe.size, "cpu", margin)
        )

    features = {margin: stream(margin) for margin in (0, MARGIN)}
    size = tuple(features[0][0][2].shape[2:])
    rows: dict[str, dict[str, float]] = {}

    def measure(name: str, margin: int, label: Label) -> None:
        labels = np.zeros((len(samples), *size), np.uint8)
        for indices, cameras, maps in features[margin]:
            labels[indices.numpy()] = label(maps, cameras).numpy()
        quality = label_quality(labels, samples, exact)
        rows[name] = {key: round(value, 4) for key, value in quality.items()}

    for name, labeller in LABELLERS.items():
        for way, (margin, ways) in WAYS.items():
            measure(f"{name}: {way}", margin, found_by(labeller, ways))
    for name, blind in BLIND.items():
        measure(name, 0, alike(blind(5, (size[0], size[1]))))
    ui.table(
        f"Overlap with the exact surfaces in %, {len(samples)} images of {len(chosen)} people",
        ("labels", *next(iter(rows.values()))),
        [(name, *(f"{100 * v:.1f}" for v in row.values())) for name, row in rows.items()],
    )
    if options.json:
        write_json(
            options.json,
            {
                **about("python -m benchmarks.foreground RUN --data WORLD"),
                "row": model.recipe.name,
                "images": len(samples),
                "people": len(chosen),
                "labels": rows,
            },
        )


if __name__ == "__main__":
    main()
