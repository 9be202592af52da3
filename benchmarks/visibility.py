"""What does visibility buy? One trained BPBreID under every rule that the paper and its released
code allow.

    python -m benchmarks.visibility [--demo partreid-demo] [--run RUN] [--json FILE]

Rows: the learned part maps with each visibility rule, with the exact visibility bits of the
synthetic truth, and the exact part maps, with and without visibility. Same weights throughout;
nothing is trained here.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from partreid import build
from partreid.evaluation.extract import Labels, extract, on_grid
from partreid.evaluation.parts import exact_visibilities
from partreid.evaluation.result import Embedded
from partreid.evaluation.score import embed_benchmark, score
from partreid.inference import load
from partreid.labels.parsing import label_path, read_labels
from partreid.labels.schemes import SURFACES, lookup
from partreid.types import Embeddings
from partreid.utils.files import write_json

RULES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("all parts", {"visibility": "none"}),
    *(
        (f"max > {t}", {"visibility": "threshold", "visible_above": t})
        for t in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    ),
    ("arg-max", {"visibility": "argmax"}),
    ("soft", {"visibility": "soft"}),
)


def study(run: Path, world: Path) -> list[dict[str, Any]]:
    """Rows of maps, rule and, per query set, Rank-1 and mAP in 0..1."""
    model = load(run)
    benchmark = build.benchmark(model.recipe.train, world)
    table = lookup(SURFACES[model.recipe.cues["parts"].args.get("parts", "five")])
    K = model.method.K
    rows: list[dict[str, Any]] = []

    def labels(sample: Any) -> Any:
        return read_labels(label_path(world, sample.path), table)

    def add(maps: str, rule: str, described: Embedded) -> None:
        row: dict[str, Any] = {"maps": maps, "rule": rule}
        for s in score(model.method.distance, described, benchmark):
            row[s.queries] = {
                "rank1": s.ranking.cmc[1],
                "mAP": s.ranking.mAP,
                "mAP_interval": [s.intervals["mAP"].low, s.intervals["mAP"].high],
            }
        rows.append(row)
        print(
            f"{maps:8} {rule:12} "
            + "  ".join(
                f"{q}: R-1 {100 * row[q]['rank1']:5.1f}  mAP {100 * row[q]['mAP']:5.1f}"
                for q in benchmark.queries
            )
        )

    def described(options: dict[str, Any], given: Labels | None = None) -> Embedded:
        variant = model.method.with_visibility(**options)
        known = {"parts": on_grid(given, model.recipe.size)} if given is not None else None
        return embed_benchmark(
            benchmark, lambda s: extract(variant, s, model.recipe.size, cues=known)
        )

    for rule, options in RULES:
        add("learned", rule, described(options))

    def embedded(samples: Any) -> Embeddings:
        e = extract(model.method, samples, model.recipe.size)
        exact = e.visibility.clone()
        exact[:, -K:] = exact_visibilities(samples, K, labels)
        return replace(e, visibility=exact)

    add("learned", "exact bits", embed_benchmark(benchmark, embedded))
    exact = {"attention": "given", "visibility": "threshold"}
    add("exact", "all parts", described(exact | {"visibility": "none"}, labels))
    add("exact", "exact bits", described(exact | {"visible_above": 0.0}, labels))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", type=Path, default=Path("partreid-demo"))
    parser.add_argument("--run", type=Path)
    parser.add_argument("--world", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = study(
        options.run or options.demo / "runs" / "bpbreid",
        options.world or options.demo / "world-demo",
    )
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
