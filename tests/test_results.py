"""Tables in the pages are the recorded results, word for word."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.bulk import page as bulk
from benchmarks.claims import tables
from benchmarks.evidence import page as evidence
from benchmarks.link import page as link
from benchmarks.trackers import WAYS
from benchmarks.trackers import page as trackers

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"<!-- claims (\S+) (\w+) -->\n(.*?)\n<!-- /claims -->", re.S)
PAGES = [
    page
    for page in sorted((ROOT / "docs").rglob("*.md"))
    if MARKED.search(page.read_text(encoding="utf-8"))
]


def test_there_are_pages_with_claims() -> None:
    assert {"bpbreid.md", "dsa.md", "hcga.md", "isp.md", "magnifier.md"} <= {
        page.name for page in PAGES
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_claims_are_the_recorded_ones(page: Path) -> None:
    for file, paper, shown in MARKED.findall(page.read_text(encoding="utf-8")):
        recorded = json.loads((ROOT / file).read_text(encoding="utf-8"))
        again = f"python -m benchmarks.claims {file} {paper}"
        assert shown.strip() == "\n".join(tables(recorded, paper)), (
            f"{page.name} is not what this prints: {again}"
        )


def test_the_table_on_evidence_is_the_recorded_one() -> None:
    text = (ROOT / "docs" / "algebra.md").read_text(encoding="utf-8")
    ((file, shown),) = re.findall(r"<!-- evidence (\S+) -->\n(.*?)\n<!-- /evidence -->", text, re.S)
    recorded = json.loads((ROOT / file).read_text(encoding="utf-8"))
    assert shown.splitlines() == evidence(recorded), (
        f"see: python -m benchmarks.evidence --page {file}"
    )


def test_the_table_on_linking_is_the_recorded_one() -> None:
    text = (ROOT / "docs" / "link.md").read_text(encoding="utf-8")
    ((file, shown),) = re.findall(r"<!-- link (\S+) -->\n(.*?)\n<!-- /link -->", text, re.S)
    recorded = json.loads((ROOT / file).read_text(encoding="utf-8"))
    assert shown.splitlines() == link(recorded), f"see: python -m benchmarks.link --page {file}"


def test_the_tables_on_shards_are_the_recorded_ones() -> None:
    text = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    ((file, shown),) = re.findall(r"<!-- bulk (\S+) -->\n(.*?)\n<!-- /bulk -->", text, re.S)
    recorded = json.loads((ROOT / file).read_text(encoding="utf-8"))
    assert shown.splitlines() == bulk(recorded), f"see: python -m benchmarks.bulk --page {file}"
    for entry in recorded:
        for row in entry["rows"]:
            assert row["same_bytes"] and row["listed"], (entry["command"], row["engine"])


def test_the_table_on_trackers_is_the_recorded_one() -> None:
    text = (ROOT / "docs" / "trackers.md").read_text(encoding="utf-8")
    ((file, shown),) = re.findall(r"<!-- trackers (\S+) -->\n(.*?)\n<!-- /trackers -->", text, re.S)
    recorded = json.loads((ROOT / file).read_text(encoding="utf-8"))
    assert shown.splitlines() == trackers(recorded), (
        f"see: python -m benchmarks.trackers --page {file}"
    )
    every = [(name, way) for name, (_, ways) in WAYS.items() for way in ways]
    assert [(row["tracker"], row["way"]) for row in recorded["rows"]] == every
