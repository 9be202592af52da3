"""The tables of docs/real.md from the results of benchmarks/real.py.

python -m benchmarks.real_table results/real-seed1.json results/real-cuhk01.json \
    results/real-dsa-seed1.json results/real-hcga-seed1.json
python -m benchmarks.real_table results/real-dsa-seed2.json

Of several files the last counts where two say something of a method; of a baseline the first.
"""

import argparse
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.real import BASELINES, CONTROLS
from partreid.recipes import papers

TITLES = {paper.name: paper.title.split(":")[0] for paper in papers()} | {
    "bot": "BoT",
    "bot_fine": "BoT, joined map",
    "dsa_unguided": "DSA-reID's two branches, no guide",
    "dsa_no_guide": "DSA-reID's losses, no guide",
    "hcga_module": "HCGA, its module also at test time",
}
REGIONS = ("foreground", "head", "legs")
SOURCES = ("bell", "stripes", "labels it made", "predicted")


def scores(record: dict[str, Any]) -> list[str]:
    """Rank-1 and mAP of every method, best first on occluded queries."""
    lines = [
        "| method | compares | whole Rank-1 | whole mAP | occluded Rank-1 | occluded mAP "
        "| over BoT on the same map | training |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, numbers in _best_first(record):
        for index, (compares, rows) in enumerate(_rules(numbers)):
            gain = numbers.get("gain_over_bot", {}).get("occluded") if index == 0 else None
            by = {row["queries"]: row for row in rows}
            cells = [
                TITLES[name] if index == 0 else "",
                compares,
                *(
                    cell
                    for queries in ("whole", "occluded")
                    for cell in (_percent(by[queries]["rank1"]), _with_interval(by[queries]))
                ),
                ""
                if gain is None
                else f"{100 * gain[0]:+.1f} [{100 * gain[1]:+.1f}, {100 * gain[2]:+.1f}]",
                f"{numbers['training_seconds'] / 60:.0f} min" if index == 0 else "",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    for name, rows in record.get("others", {}).items():
        by = {row["queries"]: row for row in rows}
        cells = [
            name,
            "",
            *(
                cell
                for queries in ("whole", "occluded")
                for cell in (_percent(by[queries]["rank1"]), _with_interval(by[queries]))
            ),
            "",
            "elsewhere",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def labels(record: dict[str, Any]) -> list[str]:
    """IoU of labels with the reference regions, learned ones beside those that look at nothing."""
    lines = [
        "| method | parts | " + " | ".join(REGIONS) + " | pictures in which a part wins |",
        "|---|---|" + "---|" * (len(REGIONS) + 1),
    ]
    for name, numbers in _best_first(record):
        if name in CONTROLS:  # the parts of the method itself
            continue
        for source in SOURCES:
            if source not in numbers["iou"]:
                continue
            iou = numbers["iou"][source]
            wins = iou.get("images_in_which_a_part_wins")
            cells = [
                TITLES[name],
                source,
                *("" if iou.get(region) is None else _percent(iou[region]) for region in REGIONS),
                "" if wins is None else f"{100 * wins:.0f} %",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def cuhk01(record: dict[str, Any]) -> list[str]:
    """CUHK01 over its draws: not trained on, and trained on after CUHK03."""
    lines = [
        "| method | not trained on, Rank-1 | mAP | fine-tuned, Rank-1 | Rank-5 | draws |",
        "|---|---|---|---|---|---|",
    ]
    for name, numbers in _best_first(record):
        if "cuhk01_not_trained_on" not in numbers:
            continue
        direct, fine = numbers["cuhk01_not_trained_on"], numbers.get("cuhk01_fine_tuned")
        cells = [TITLES[name], *(_spread(direct[score]) for score in ("rank1", "mAP"))]
        cells += (
            [_spread(fine["rank1"]), _spread(fine["rank5"]), str(fine["splits"])]
            if fine
            else ["", "", ""]
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _best_first(record: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    def of(item: tuple[str, dict[str, Any]]) -> float:
        return next(-row["mAP"] for row in item[1]["scores"] if row["queries"] == "occluded")

    return sorted(record["methods"].items(), key=of)


def _rules(numbers: dict[str, Any]) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    rows = numbers["scores"]
    yield rows[0]["compares"] if "all_parts" in numbers else "", rows
    if "all_parts" in numbers:
        yield "all parts", numbers["all_parts"]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _with_interval(row: dict[str, Any]) -> str:
    low, high = (100 * v for v in row["mAP_interval"])
    return f"{100 * row['mAP']:.1f} [{low:.1f}, {high:.1f}]"


def _spread(values: Sequence[float]) -> str:
    half = (max(values) - min(values)) / 2
    return f"{100 * statistics.mean(values):.1f} ± {100 * half:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="+", type=Path)
    files = [json.loads(file.read_text(encoding="utf-8")) for file in parser.parse_args().file]
    record = files[0]
    for other in files[1:]:
        for name, numbers in other["methods"].items():
            known = record["methods"].get(name, {})
            record["methods"][name] = known | numbers if name not in BASELINES else numbers | known
    tables = [part(record) for part in (scores, labels, cuhk01)]
    print("\n\n".join("\n".join(lines) for lines in tables if len(lines) > 2))  # heads alone


if __name__ == "__main__":
    main()
