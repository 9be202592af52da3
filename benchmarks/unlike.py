"""Does a calibration know its own kind of crops? The share of crops and of single pairs about which
nothing is decided, for crops like those it was made of, for new cameras, and for another kind.

python -m benchmarks.unlike --drawn RUN WORLD --other WORLD2 --real RUN ROOT \
--json results/unlike.json

RUN is a finished training on drawn or on real people; WORLD and WORLD2 two synthetic worlds of
other seeds (partreid data synth demo WORLD2 --seed 99); ROOT the real pictures of
benchmarks/real.py with CUHK03's pair 1 and CUHK01. Real pictures and weights stay where they are;
shares are kept.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import partreid
from benchmarks.about import about
from partreid import build
from partreid.evaluation import decision
from partreid.evaluation.doubt import as_crops, labelled_crops
from partreid.evaluation.extract import extract
from partreid.evaluation.score import embed_benchmark
from partreid.inference import Model, SavedEmbeddings
from partreid.metrics.calibration import Calibration, calibrate
from partreid.types import Sample
from partreid.utils.looks import LOOKS

SURE = 0.6  # no larger probability may be printed for a pair that is unlike the calibration's
MOST = 600  # crops of a place


def calibrated(model: Model, data: str, root: Path) -> Calibration:
    """On half of the people of a test set; checked on the other half."""
    benchmark = build.benchmark(data, root)
    described = embed_benchmark(
        benchmark, lambda samples: extract(model.method, samples, model.recipe.size)
    )
    protocol = build.protocol(benchmark)
    pairs = decision.known_pairs(
        model.method.distance, described.queries, described.gallery, benchmark, protocol
    )
    crops = labelled_crops(described.queries, described.gallery, benchmark, model.recipe.size)
    source = decision.source_of(model.bound, benchmark, data)
    return calibrate(pairs, source, crops=crops, statistics=LOOKS)


def place(data: str, root: Path) -> list[Path]:
    """Crops of a test set, evenly drawn."""
    benchmark = build.benchmark(data, root)
    every: list[Sample] = sorted(
        {*(s for q in benchmark.queries.values() for s in q), *benchmark.gallery},
        key=lambda s: s.path,
    )
    rows = np.linspace(0, len(every) - 1, min(MOST, len(every))).astype(int)
    return [every[i].path for i in dict.fromkeys(rows.tolist())]


def judged(model: Model, made: Calibration, crops: SavedEmbeddings) -> dict[str, Any]:
    """Shares of crops and pairs about which nothing is decided, each pair by itself."""
    assert made.likeness is not None and crops.looks is not None
    e = crops.embeddings
    scores = made.likeness.score(as_crops(e, crops.looks.double().numpy()))
    odd = scores > 1
    i, j = np.triu_indices(len(odd), 1)
    far = model.method.distance(e, e).numpy()[i, j]
    shared = decision.shown_by_both(e, e)[i, j]
    sure = np.nan_to_num(made.probability(far, shared)) > SURE
    decided = ~(odd[i] | odd[j])
    return {
        "crops": len(odd),
        "crops_unlike": round(float(odd.mean()), 4),
        "pairs_withheld": round(float(1 - decided.mean()), 4),
        "all_together_withheld": made.likeness.many(scores),
        f"pairs_above_{SURE:g}_without_the_test": int(sure.sum()),
        f"pairs_above_{SURE:g}_with_it": int((sure & decided).sum()),
        "pairs": len(i),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--drawn", nargs=2, type=Path, required=True, metavar=("RUN", "WORLD"))
    parser.add_argument("--other", type=Path, required=True)
    parser.add_argument("--real", nargs=2, type=Path, required=True, metavar=("RUN", "ROOT"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    root = options.real[1]
    places = {
        "drawn, the same world": place("synthetic-demo", options.drawn[1]),
        "drawn, another world": place("synthetic-demo", options.other),
        "real, CUHK03 pair 1": place("cuhk03_pair1", root),
        "real, CUHK01": place("cuhk01", root / "CUHK01"),
    }
    record: dict[str, Any] = {}
    for kind, run, data, where in (
        ("drawn", options.drawn[0], "synthetic-demo", options.drawn[1]),
        ("real", options.real[0], "cuhk03_pair1", root),
    ):
        model = partreid.load(run, device="cpu")
        made = calibrated(model, data, where)
        record[kind] = {
            "made_of": made.source.made_of,
            "rate": made.rate,
            "expected": [made.expected.low, made.expected.high],
            "checked_on_other_people": made.checked.fmr.value,
            "crops_unlike_to_be_expected": made.likeness.alarms if made.likeness else None,
            "places": {},
        }
        checked = made.checked.fmr.value
        print(
            f"calibrated on {made.source.made_of}: {1000 * checked:.2f} false matches in 1,000 "
            f"pairs of other people, [{1000 * made.expected.low:.2f}, "
            f"{1000 * made.expected.high:.2f}] to be expected",
            flush=True,
        )
        for name, crops in places.items():
            row = judged(model, made, model.index(crops))
            record[kind]["places"][name] = row
            print(
                f"  {name:24} crops unlike {row['crops_unlike']:6.1%}, pairs withheld "
                f"{row['pairs_withheld']:6.1%}, all together: "
                f"{'withheld' if row['all_together_withheld'] else 'decided'}; above {SURE:.0%}: "
                f"{row[f'pairs_above_{SURE:g}_with_it']} of "
                f"{row[f'pairs_above_{SURE:g}_without_the_test']} pairs",
                flush=True,
            )
    if options.json:
        command = "python -m benchmarks.unlike --drawn RUN WORLD --other WORLD2 --real RUN ROOT"
        options.json.write_text(json.dumps({**about(command), **record}, indent=1) + "\n")


if __name__ == "__main__":
    main()
