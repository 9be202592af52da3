"""Claims as Markdown tables, for the pages of the papers.

partreid claims --papers dsa --where Table "of ours" --json results/claims-dsa.json
python -m benchmarks.claims results/claims-dsa.json dsa
"""

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

SETS = ("holistic", "occluded")


def tables(record: dict[str, Any], paper: str) -> list[str]:
    """Markdown lines: the variants of a paper, mean and half the range over the seeds in
    percent, then its claims.
    """
    claims = [c for c in record["claims"] if c["better"].startswith(paper)]
    studied = [
        name for rows in record["studies"].values() for name in rows if name.startswith(paper)
    ]
    names = dict.fromkeys([*(n for c in claims for n in (c["worse"], c["better"])), *studied])
    lines = [
        "| variant | " + " | ".join(f"{q} {s}" for q in SETS for s in ("Rank-1", "mAP")) + " |",
        "|---|" + "---|" * (2 * len(SETS)),
    ]
    for name in names:
        row = record["variants"][name]
        lines.append(
            f"| `{name}` | "
            + " | ".join(cell(row[q][s]) for q in SETS for s in ("rank1", "mAP"))
            + " |"
        )
    lines += [
        "",
        "| better | than | paper, mAP | source | queries | gain here, mAP [95 %] | by seed "
        "| here it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for c in claims:
        low, high = c["interval"]
        lines.append(
            f"| `{c['better']}` | `{c['worse']}` | {c['said']} | {c['where']} | {c['queries']} | "
            f"{100 * c['gain']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] | "
            + ", ".join(f"{100 * g:+.1f}" for g in c["by_seed"])
            + f" | {c['verdict']} |"
        )
    return lines


def cell(values: list[float]) -> str:
    spread = f" ± {50 * (max(values) - min(values)):.1f}" if len(values) > 1 else ""
    return f"{100 * mean(values):.1f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("json", type=Path)
    parser.add_argument("paper")
    options = parser.parse_args()
    print("\n".join(tables(json.loads(options.json.read_text(encoding="utf-8")), options.paper)))


if __name__ == "__main__":
    main()
