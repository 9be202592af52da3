"""Mean and spread over several demos, as the table of the README.

partreid demo --seed 2 --out demo-2 --json results/demo-seed2.json      (and so on)
python -m benchmarks.seeds results/demo-seed*.json
"""

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path

RULES = {True: "visible parts", False: "all parts", "oracle": "exact masks"}


def table(demos: list[dict]) -> list[str]:
    """Markdown rows of mean +- half the range over the demos, in percent."""
    numbers: dict[tuple[str, str], dict[tuple[str, str], list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for demo in demos:
        for row in demo["results"]:
            rule = RULES[row["visibility"]] if row["method"] not in ("BoT", "PCB") else ""
            for score in ("rank1", "mAP"):
                numbers[row["method"], rule][row["queries"], score].append(100 * row[score])
    lines = [
        "| method | compares | holistic Rank-1 | holistic mAP | occluded Rank-1 | occluded mAP |",
        "|---|---|---|---|---|---|",
    ]
    for (method, rule), scores in numbers.items():
        cells = [f"{statistics.mean(v):.1f} ± {(max(v) - min(v)) / 2:.1f}" for v in scores.values()]
        lines.append(f"| {method} | {rule} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("demo", nargs="+", type=Path)
    demos = [json.loads(path.read_text(encoding="utf-8")) for path in parser.parse_args().demo]
    print("\n".join(table(demos)))
    gains = [100 * demo["gain_over_bot"]["occluded"]["mAP"] for demo in demos]
    print(
        f"\nBPBreID over BoT on occluded queries, mAP: {', '.join(f'+{g:.1f}' for g in gains)} "
        f"(seeds {', '.join(str(demo['seed']) for demo in demos)})"
    )


if __name__ == "__main__":
    main()
