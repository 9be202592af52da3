"""Does visibility help to link tracklets over cameras? IDF1 on scenes, with exact truth.

python -m benchmarks.link --part RUN --whole RUN --calibrate SCENES0 --scenes SCENES1 \
SCENES2 SCENES3 \
    --json results/link.json

RUN: a finished training of BPBreID and one of BoT (partreid demo). SCENES: folders of partreid data
synth scenes, each of another seed, so that no person, garment or camera is in two of them. Each way
of matching gets a calibration of its own from the pairs of crops in SCENES0; then every scene is
linked with its file of cameras. Intervals are 95 %, by drawing people, of all scenes together;
differences are of the same crops.

python -m benchmarks.link --page results/link.json prints the tables of docs/link.md.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import partreid
from benchmarks.about import about
from partreid import build
from partreid.data.own import load_table
from partreid.evaluation import decision
from partreid.inference import Model, SavedEmbeddings, load_embeddings, save_embeddings
from partreid.link import (
    CameraPairs,
    Linked,
    Tracklets,
    link,
    read_cameras,
    read_crops,
    right_crops,
    score,
)
from partreid.metrics import bootstrap_values
from partreid.metrics.calibration import Calibration, calibrate, reliability
from partreid.types import Embeddings

RATE = 0.01  # of false matches, which the calibration scene is large enough for


@dataclass(frozen=True)
class Way:
    """How crops are matched and tracklets summarized."""

    name: str
    run: str  # part or whole
    flat: bool = False
    rule: str = "pairs"
    cameras: bool = True
    prior: float | None = 0.5


WAYS = (
    Way("parts by visibility", "part"),
    Way("flat: every part counts", "part", flat=True),
    Way("BoT: one global vector", "whole"),
    Way("by visibility, mean of a tracklet", "part", rule="mean"),
    Way("by visibility, best three crops a part", "part", rule="best"),
    Way("flat, mean of a tracklet", "part", flat=True, rule="mean"),
    Way("BoT, mean of a tracklet", "whole", rule="mean"),
    Way("by visibility, the prior told from the pairs", "part", prior=None),
    Way("mean of a tracklet, the prior told from the pairs", "part", rule="mean", prior=None),
    Way("by visibility, nothing said of the cameras", "part", cameras=False),
)


@dataclass(frozen=True)
class Place:
    """A scene's tracklets with both models' embeddings."""

    name: str
    tracklets: Tracklets
    cameras: CameraPairs
    seen: dict[str, SavedEmbeddings]


def place(models: dict[str, Model], folder: Path, kept: Path) -> Place:
    """The scene, its crops embedded, or taken from ``kept`` where they were before."""
    tracklets = read_crops(folder / "crops.csv")
    seen = {}
    for kind, model in models.items():
        there = kept / f"{folder.name}-{kind}"
        if not (there / "embeddings.safetensors").exists():
            save_embeddings(model, list(tracklets.paths), there)
        seen[kind] = load_embeddings(there).of(tracklets.paths)
        print(f"{folder.name}: {len(tracklets.paths):,} crops with {kind}", flush=True)
    pairs = read_cameras(folder / "cameras.csv", sorted(set(tracklets.cameras)))
    return Place(folder.name, tracklets, pairs, seen)


def vectors(way: Way, scene: Place) -> Embeddings:
    e = scene.seen[way.run].embeddings
    return e.all_visible() if way.flat else e


def calibrated(way: Way, model: Model, scene: Place, folder: Path) -> Calibration:
    """From all pairs of crops of the scene: the first crop of each tracklet against the others."""
    benchmark = load_table(folder / "crops.csv")
    row = {str(path): i for i, path in enumerate(scene.tracklets.paths)}
    e = vectors(way, scene)
    queries = {
        name: e.rows([row[str(s.path)] for s in samples])
        for name, samples in benchmark.queries.items()
    }
    gallery = e.rows([row[str(s.path)] for s in benchmark.gallery])
    pairs = decision.known_pairs(
        model.method.distance, queries, gallery, benchmark, build.protocol(benchmark)
    )
    return calibrate(pairs, decision.source_of(model.bound, benchmark, "table"), RATE)


def trusted(scene: Place, linked: Linked) -> dict[str, Any]:
    """Is the probability of two tracklets what it says? Both kinds of pairs weighed equally."""
    assert scene.tracklets.people is not None
    who = np.empty(len(scene.tracklets), np.int64)
    who[scene.tracklets.crop_of] = [int(name) for name in scene.tracklets.people]
    upper = np.triu_indices(len(who), 1)
    possible = ~linked.conflict[upper]
    same = (who[upper[0]] == who[upper[1]])[possible]
    probability = 1 / (1 + np.exp(-linked.ratios[upper][possible]))
    weights = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    r = reliability(probability, same, weights)
    return {
        "ece": round(r.ece, 4),
        "said": [round(p, 3) for p in r.probability],
        "true": [round(p, 3) for p in r.same],
        "pairs": list(r.pairs),
        "true_prior": round(float(same.mean()), 4),
    }


def plain(value: Any) -> list[float]:
    return [round(float(x), 4) for x in (value.value, value.low, value.high)]


def measured(
    way: Way, model: Model, made: Calibration, places: list[Place]
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """A way's row, and which crops carry the right identity, all scenes one after the other."""
    scenes, right = {}, []
    for scene in places:
        linked = link(
            scene.tracklets,
            vectors(way, scene),
            made,
            model.method.distance,
            pairs=scene.cameras if way.cameras else None,
            rule=way.rule,  # type: ignore[arg-type]
            prior=way.prior,
        )
        s = score(scene.tracklets, linked)
        right.append(right_crops(scene.tracklets, linked).astype(np.float64))
        scenes[scene.name] = {
            "idf1": plain(s.idf1),
            "precision": round(s.precision, 4),
            "recall": round(s.recall, 4),
            "bcubed": round(s.bcubed, 4),
            "identities": s.identities,
            "prior": round(linked.prior, 4),
            "violated": linked.violated,
            "trust": trusted(scene, linked),
        }
        print(f"  {way.name:52} {scene.name}: IDF1 {100 * s.idf1.value:.1f}", flush=True)
    row = {
        "crop_pairs_ece": round(made.checked.ece, 4),
        "crop_pairs_found": round(made.checked.tpr.value, 4),
        "scenes": scenes,
    }
    return row, np.concatenate(right)


def page(record: dict[str, Any]) -> list[str]:
    """The tables of docs/link.md."""
    scenes = list(record["scenes"])
    lines = [
        "| tracklets matched by | IDF1 | against the first | "
        + " | ".join(f"scene {i}" for i in range(1, len(scenes) + 1))
        + " | pairs: precision | recall | B-cubed |",
        "|---|" + "---|" * (5 + len(scenes)),
    ]
    for name, row in record["ways"].items():
        value, low, high = (100 * x for x in row["idf1"])
        less = (
            ""
            if row["change"] is None
            else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * x for x in row["change"]))
        )
        each = [row["scenes"][scene] for scene in scenes]
        means = [100 * np.mean([s[key] for s in each]) for key in ("precision", "recall", "bcubed")]
        lines.append(
            f"| {name} | {value:.1f} [{low:.1f}, {high:.1f}] | {less.replace('-', chr(8722))} | "
            + " | ".join(f"{100 * s['idf1'][0]:.1f}" for s in each)
            + " | "
            + " | ".join(f"{m:.1f}" for m in means)
            + " |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", type=Path)
    parser.add_argument("--whole", type=Path)
    parser.add_argument("--calibrate", type=Path)
    parser.add_argument("--scenes", type=Path, nargs="+")
    parser.add_argument("--kept", type=Path, default=Path("link-embeddings"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    if options.page:
        print("\n".join(page(json.loads(options.page.read_text()))))
        return
    models = {
        kind: partreid.load(getattr(options, kind), device="cpu") for kind in ("part", "whole")
    }
    first = place(models, options.calibrate, options.kept)
    places = [place(models, folder, options.kept) for folder in options.scenes]
    ways: dict[str, Any] = {}
    made: dict[tuple[str, bool], Calibration] = {}
    reference: NDArray[np.float64] | None = None
    people = np.unique(
        [f"{scene.name}/{who}" for scene in places for who in scene.tracklets.people or ()],
        return_inverse=True,
    )[1]
    for way in WAYS:
        model = models[way.run]
        if (way.run, way.flat) not in made:
            made[way.run, way.flat] = calibrated(way, model, first, options.calibrate)
        row, right = measured(way, model, made[way.run, way.flat], places)
        row["idf1"] = plain(bootstrap_values({"idf1": right}, people)["idf1"])
        row["change"] = (
            None
            if reference is None
            else plain(bootstrap_values({"change": right - reference}, people)["change"])
        )
        reference = right if reference is None else reference
        ways[way.name] = row
    record = {
        "models": {kind: model.recipe.name for kind, model in models.items()},
        "scenes": {
            scene.name: {
                "people": len(set(scene.tracklets.people or ())),
                "tracklets": len(scene.tracklets),
                "crops": len(scene.tracklets.paths),
            }
            for scene in places
        },
        "ways": ways,
    }
    print("\n".join(page(record)))
    if options.json:
        command = (
            "python -m benchmarks.link --part RUN --whole RUN --calibrate SCENES0 --scenes SCENES1 "
            "SCENES2 SCENES3"
        )
        options.json.write_text(json.dumps({**about(command), **record}, indent=1) + "\n")


if __name__ == "__main__":
    main()
