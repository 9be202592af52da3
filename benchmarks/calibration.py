"""How well calibration does on people it was not fitted on: many ways to split them, each query
set, two rates.

    python -m benchmarks.calibration RUN... --data WORLD [--splits 30] [--json FILE]

The same fit and check as ``partreid calibrate RUN --data WORLD --queries SET --rate RATE --seed N``
for each split, on embeddings that are computed once.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.about import about
from partreid import build
from partreid.evaluation import decision
from partreid.evaluation.extract import extract
from partreid.evaluation.score import embed_benchmark
from partreid.inference import load
from partreid.metrics import pairs as curves
from partreid.metrics.calibration import Calibration, calibrate
from partreid.metrics.pairs import KnownPairs
from partreid.types import Sample

RATES = (1e-2, 1e-3)


def split_often(
    pairs: KnownPairs, source: decision.Source, rate: float, splits: int
) -> dict[str, Any]:
    """Means over splits, of the curves that were chosen and of one line alone."""

    def every() -> Sequence[Calibration]:
        # slow, and not asked for here
        with patch("partreid.metrics.calibration.usual_shift", return_value=0.0):
            return [calibrate(pairs, source, rate, seed=seed) for seed in range(splits)]

    calibrations = every()
    with patch.dict(curves.CANDIDATES, {"line": curves.line}, clear=True):
        lines = every()

    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values))

    return {
        "rate": rate,
        "realised": mean([c.checked.fmr.value for c in calibrations]),
        "in_range": mean(
            [c.expected.low <= c.checked.fmr.value <= c.expected.high for c in calibrations]
        ),
        "found": mean([c.checked.tpr.value for c in calibrations]),
        "found_by_one_line": mean([c.checked.tpr.value for c in lines]),
        "ece": mean([c.checked.ece for c in calibrations]),
        "ece_of_one_line": mean([c.checked.ece for c in lines]),
        "log_loss": {
            name: mean([c.losses[name] for c in calibrations]) for name in curves.CANDIDATES
        },
        "chosen": {name: sum(c.kind == name for c in calibrations) for name in curves.CANDIDATES},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=30)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    rows = []
    print(
        f"{'model':8} {'queries':10} {'aim':>6} {'realised':>9} {'in range':>9} {'found':>6} "
        f"{'ECE':>6}  log loss: line, by parts, steps"
    )
    for run in options.run:
        model = load(run, "cpu")
        whole = build.benchmark(model.recipe.test[0], options.data)

        def embed(samples: Sequence[Sample], model: Any = model) -> Any:
            return extract(model.method, samples, model.recipe.size)

        described = embed_benchmark(whole, embed)
        for queries in whole.queries:
            some = decision.chosen(whole, queries)
            source = decision.source_of(model.bound, some, model.recipe.test[0])
            pairs = decision.known_pairs(
                model.method.distance,
                {queries: described.queries[queries]},
                described.gallery,
                some,
                build.protocol(some),
            )
            for rate in RATES:
                r = split_often(pairs, source, rate, options.splits)
                rows.append(
                    {
                        "method": model.recipe.method.name,
                        "seed": model.recipe.seed,
                        "queries": queries,
                        **r,
                    }
                )
                print(
                    f"{model.recipe.method.name:8} {queries:10} {1000 * rate:6g} "
                    f"{1000 * r['realised']:9.2f} {r['in_range']:9.0%} {r['found']:6.1%} "
                    f"{100 * r['ece']:6.1f}  "
                    f"{', '.join(format(x, '.3f') for x in r['log_loss'].values())}",
                    flush=True,
                )
    if options.json:
        command = f"python -m benchmarks.calibration RUN... --data WORLD --splits {options.splits}"
        options.json.write_text(
            json.dumps({**about(command), "splits": options.splits, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
