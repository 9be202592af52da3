"""``calibrate``, ``compare`` and ``rank`` as commands: what they say, what they keep, what they
refuse.
"""

import contextlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

import partreid
from partreid.bulk import Job, embed_shards, load_shards, shards_of
from partreid.cli import main
from partreid.evaluation import decision
from partreid.utils.text import printable
from tests.banded import PEOPLE, banded_people


class Said(NamedTuple):
    code: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture()
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Run a command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["partreid", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return Said(code, *capsys.readouterr())

    return run


def assert_refused(outcome: Said, *words: str) -> None:
    assert outcome.code == 2 and outcome.out == ""
    (line,) = outcome.err.splitlines()
    assert line.startswith("partreid: ") and "Traceback" not in line
    for word in words:
        assert word in line, line


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return banded_people(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="module")
def run(
    trained: Callable[[str], Path], labelled: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run that is calibrated."""
    copy = Path(shutil.copytree(trained("bpbreid"), tmp_path_factory.mktemp("runs") / "run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sys,
            "argv",
            [
                "partreid",
                "calibrate",
                str(copy),
                "--data",
                str(labelled),
                "--dataset",
                "folders",
                "--rate",
                "0.05",
            ],
        )
        with contextlib.suppress(SystemExit):
            main()
    assert (copy / "calibration.json").is_file()
    return copy


def first(root: Path, split: str, person: int = 0) -> Path:
    return next((root / split / f"p0{person:02d}").iterdir())


def test_calibrate_says_what_it_found_and_keeps_it(
    cli: Cli, trained: Callable[[str], Path], labelled: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(trained("bpbreid"), tmp_path / "run"))
    command = ("calibrate", copy, "--data", labelled, "--dataset", "folders", "--rate", "0.05")
    outcome = cli(*command)
    assert outcome.code == 0 and f"calibration: {copy / 'calibration.json'}" in outcome.err
    assert (
        "fitted on 12 people of folders (query): 72 genuine pairs, 792 impostor pairs"
        in outcome.out
    )
    assert (
        "5 false matches in 100 impostor pairs" in outcome.out
        and "A threshold is no proof" in outcome.out
    )
    assert "checked on the 12 people that were not fitted" in outcome.out
    kept = decision.read(copy / "calibration.json")
    assert (
        kept.rate == 0.05 and kept.source.data == "folders" and 0.04 < kept.true_rate.value <= 0.05
    )
    assert kept.expected.low <= kept.checked.fmr.value <= kept.expected.high  # other people
    assert str(tmp_path) not in (copy / "calibration.json").read_text()
    outcome = cli(
        *command, "--json", "--out", tmp_path / "other.json", "--seed", "3", "--device", "cpu"
    )
    printed = json.loads(outcome.out)
    assert printed["seed"] == 3 and printed["checked"]["slice"]["people"] == 12
    assert decision.read(tmp_path / "other.json").seed == 3
    assert decision.read(copy / "calibration.json") == kept


def test_compare_says_whether_it_is_one_person(cli: Cli, run: Path, labelled: Path) -> None:
    mine, same, other = (
        first(labelled, "query"),
        first(labelled, "gallery"),
        first(labelled, "gallery", 5),
    )
    pair = json.loads(cli("compare", run, mine, same, "--json").out)
    assert set(pair) == {
        "a",
        "b",
        "distance",
        "parts",
        "probability",
        "same",
        "reason",
        "shared_evidence",
    }
    outcome = cli("compare", run, mine, mine)
    assert outcome.code == 0 and re.search(
        r"^called the same person: the chance that it is one is (over )?[\d.]+ %, and [\d.]+ % is "
        r"asked for, if it was as likely as not beforehand; threshold for 5 false matches in 100 "
        r"impostor pairs \[[\d.]+, [\d.]+\], calibrated on 24 people of folders, seen by 2 "
        r"cameras$",
        outcome.out,
        re.M,
    ), outcome.out

    def compared(b: Path) -> dict[str, float]:
        answer: dict[str, float] = json.loads(cli("compare", run, mine, b, "--json").out)
        return answer

    apart = [compared(b) for b in (mine, other)]
    assert apart[0]["same"] and apart[0]["probability"] > apart[1]["probability"]
    rare = cli("compare", run, mine, mine, "--prior", "0.01").out
    assert "if it was 1 % beforehand" in rare
    far = next(
        b for p in range(1, PEOPLE) if not compared(b := first(labelled, "gallery", p))["same"]
    )
    assert (
        "not called the same person: the chance that it is one is "
        in cli("compare", run, mine, far).out
    )


def test_without_a_calibration_one_line_says_how_to_get_one(
    cli: Cli, trained: Callable[[str], Path], labelled: Path
) -> None:
    outcome = cli(
        "compare", trained("bpbreid"), first(labelled, "query"), first(labelled, "gallery")
    )
    (line,) = [x for x in outcome.out.splitlines() if "partreid calibrate" in x]
    assert outcome.code == 0 and line.startswith("no decision: ")
    pair = json.loads(
        cli(
            "compare",
            trained("bpbreid"),
            first(labelled, "query"),
            first(labelled, "gallery"),
            "--json",
        ).out
    )
    assert pair["probability"] is None and pair["same"] is None
    outcome = cli(
        "rank", trained("bpbreid"), first(labelled, "query"), labelled / "gallery", "--top", "3"
    )
    assert outcome.code == 0 and "no decision: " in outcome.out and "nobody" not in outcome.out
    assert (
        json.loads(
            cli(
                "rank", trained("bpbreid"), first(labelled, "query"), labelled / "gallery", "--json"
            ).out
        )[0]["called_same"]
        is None
    )


def test_rank_marks_who_is_near_enough(cli: Cli, run: Path, labelled: Path, tmp_path: Path) -> None:
    query = first(labelled, "query")
    outcome = cli(
        "rank",
        run,
        query,
        labelled / "gallery",
        "--top",
        "4",
        "--sheet",
        tmp_path / "new" / "sheet.png",
    )
    assert outcome.code == 0 and "warning" not in outcome.err
    assert Image.open(tmp_path / "new" / "sheet.png").width > 200
    assert (
        "72 crops of other people alone would hold 3.6 false matches on average for each query ["
        in outcome.out
    )
    hits = json.loads(cli("rank", run, query, labelled / "gallery", "--top", "4", "--json").out)[0]
    rows = [line.split() for line in outcome.out.splitlines() if re.match(r"[1-4] ", line)]
    assert [row[-1] for row in rows] == [
        "yes" if hit["same"] else "no" for hit in hits["hits"]
    ] and len(rows) == 4
    assert [row[1] for row in rows] == [hit["path"] for hit in hits["hits"]]
    assert (
        f"{hits['called_same']} of 72 crops are near enough" in outcome.out
        and hits["called_same"] > 0
    )


def test_rank_says_if_nobody_is_near_enough(
    cli: Cli, run: Path, labelled: Path, tmp_path: Path
) -> None:
    query = first(labelled, "query")
    hits = json.loads(cli("rank", run, query, labelled / "gallery", "--top", "72", "--json").out)[
        0
    ]["hits"]
    others = tmp_path / "others.txt"
    others.write_text("\n".join(hit["path"] for hit in hits if not hit["same"]))
    outcome = cli("rank", run, query, others, "--top", "2")
    assert (
        outcome.code == 0
        and "nobody in this gallery is near enough to be called the same person" in outcome.out
    )
    two = tmp_path / "two.txt"
    two.write_text(f"{query}\n{first(labelled, 'query', 3)}\n")
    answers = json.loads(cli("rank", run, two, others, "--json", "--top", "1").out)
    assert [len(a["hits"]) for a in answers] == [1, 1] and answers[0]["called_same"] == 0


def test_nothing_is_decided_about_crops_of_another_kind_and_much_about_other_people(
    cli: Cli, run: Path, tmp_path: Path
) -> None:
    others = banded_people(tmp_path / "others", seed=1)
    answers = json.loads(
        cli("rank", run, others / "query", others / "gallery", "--json", "--top", "1").out
    )
    assert sum(a["hits"][0]["same"] is None for a in answers) < 5 and len(answers) == 48
    dark = banded_people(tmp_path / "dark", seed=1, dark=0.15)
    answers = json.loads(
        cli("rank", run, dark / "query", dark / "gallery", "--json", "--top", "1").out
    )
    for answer in answers:
        (hit,) = answer["hits"]
        assert answer["called_same"] is hit["same"] is hit["probability"] is None
        assert hit["reason"].startswith("nothing is decided: these crops do not look like those of")
    outcome = cli("rank", run, dark / "query", dark / "gallery", "--top", "1")
    assert outcome.out.splitlines()[-1].startswith("nothing is decided: ")
    assert f"partreid calibrate {run} --data FOLDER" in outcome.out and " yes" not in outcome.out
    one, other = (next((dark / split / "p100").iterdir()) for split in ("query", "gallery"))
    pair = cli("compare", run, one, other, "--picture", tmp_path / "pair.png")  # of a single pair
    assert pair.code == 0 and "%" not in pair.out.splitlines()[-1]
    assert "the first crop and the second crop do not look like" in pair.out


def test_nothing_is_decided_about_shards_of_another_kind_either(run: Path, tmp_path: Path) -> None:
    """From the looks in a shard as from the crops themselves."""
    model, reasons = partreid.load(run, "cpu"), []
    for name, dark in (("light", 1.0), ("dark", 0.15)):
        crops = sorted((banded_people(tmp_path / name, seed=1, dark=dark) / "query").rglob("*.*"))
        (tmp_path / f"{name}-in").mkdir()
        table = {"id": list(range(len(crops))), "path": list(map(str, crops))}
        parquet.write_table(pyarrow.table(table), tmp_path / f"{name}-in" / "s.parquet")
        embed_shards(Job(run, tmp_path / f"{name}-out", "cpu"), shards_of(tmp_path / f"{name}-in"))
        shard, whole = load_shards(tmp_path / f"{name}-out").saved, model.index(crops)
        doubts = [model.doubt(saved, saved) for saved in (shard, whole)]
        assert doubts[0] is not None and doubts[1] is not None
        assert doubts[0].every == doubts[1].every
        reasons.append(doubts[0].every)
    assert reasons[0] is None and reasons[1] is not None
    assert "do not look like those of" in reasons[1]


def test_check_measures_on_other_people(cli: Cli, run: Path, tmp_path: Path) -> None:
    others = banded_people(tmp_path / "others", seed=1)
    before = (run / "calibration.json").read_bytes()
    outcome = cli("calibrate", run, "--data", others, "--dataset", "folders", "--check")
    assert (
        outcome.code == 0 and "checked on folders, other images than it was made on" in outcome.out
    )
    check = json.loads(
        cli("calibrate", run, "--data", others, "--dataset", "folders", "--check", "--json").out
    )
    assert (
        check["slice"]["people"] == 24
        and 0 <= check["fmr"]["low"] <= check["fmr"]["value"] <= check["fmr"]["high"]
    )
    dark = banded_people(tmp_path / "dark", seed=1, dark=0.15)
    outcome = cli("calibrate", run, "--data", dark, "--dataset", "folders", "--check")
    assert "ABOVE the range to be expected" in outcome.out and "calibrate on them" in outcome.out
    assert (run / "calibration.json").read_bytes() == before


# What goes wrong


def test_what_calibrate_refuses(
    cli: Cli, run: Path, trained: Callable[[str], Path], labelled: Path, world: Path, tmp_path: Path
) -> None:
    other = trained("bpbreid")
    given = ("calibrate", run, "--data", labelled, "--dataset", "folders")
    assert_refused(
        cli(*given), "needs 10000 impostor pairs to be fitted on, there are 792", "--rate 0.02"
    )
    assert_refused(
        cli("calibrate", other, "--data", world), "4 people with", "it takes 10 of either"
    )
    assert_refused(
        cli(*given, "--check"), "the very gallery that the calibration was made on", "--data"
    )
    assert_refused(cli(*given, "--check", "--out", "x.json"), "--check writes nothing")
    assert_refused(cli(*given, "--calibration", "x.json"), "--check", "--out")
    assert_refused(
        cli("calibrate", other, "--data", labelled, "--dataset", "folders", "--check"),
        "no calibration beside",
    )
    assert_refused(cli(*given, "--queries", "hidden"), "unknown query set: 'hidden'", "query")
    assert_refused(cli(*given, "--rate", "2"), "--rate")
    assert_refused(cli(*given, "--fit-fraction", "0"), "--fit-fraction")
    assert_refused(cli("calibrate", run, "--data", tmp_path / "gone"), "there is no folder")
    assert_refused(cli("calibrate", tmp_path / "gone", "--data", labelled), "there is no")
    assert not (other / "calibration.json").exists()


def test_other_weights_are_refused(
    cli: Cli, run: Path, trained: Callable[[str], Path], labelled: Path, tmp_path: Path
) -> None:
    a, b = first(labelled, "query"), first(labelled, "gallery")
    words = ("was made for another model", "not the same weights", "partreid calibrate")
    file = run / "calibration.json"
    assert_refused(cli("compare", trained("bot"), a, b, "--calibration", file), *words)
    assert_refused(
        cli("rank", trained("bot"), a, labelled / "gallery", "--calibration", file), *words
    )
    assert_refused(
        cli(
            "calibrate",
            trained("bot"),
            "--data",
            labelled,
            "--dataset",
            "folders",
            "--check",
            "--calibration",
            file,
        ),
        *words,
    )
    copy = Path(shutil.copytree(trained("bot"), tmp_path / "bot"))
    shutil.copy(file, copy)
    assert_refused(cli("compare", copy, a, b), *words)
    made = cli("calibrate", copy, "--data", labelled, "--dataset", "folders", "--rate", "0.05")
    assert made.code == 0 and "up to distance 0" in made.out  # the old one is in nobody's way
    assert cli("compare", copy, a, b).code == 0


def test_what_compare_and_rank_refuse(
    cli: Cli, run: Path, trained: Callable[[str], Path], labelled: Path, tmp_path: Path
) -> None:
    a, gallery = first(labelled, "query"), labelled / "gallery"
    assert_refused(cli("rank", run, tmp_path / "gone.png", gallery), "there is no image")
    assert_refused(cli("rank", run, a, tmp_path), "holds no images")
    assert_refused(cli("rank", run, a, gallery, "--prior", "1"), "--prior")
    assert_refused(cli("rank", run, a, gallery, "--top", "0"), "--top")
    assert_refused(cli("rank", run, a, gallery, "--sheet", "sheet.doc"), "sheet.doc", "png")
    # without a decision
    plain = cli("rank", trained("bpbreid"), a, gallery, "--sheet", tmp_path / "plain.png")
    assert plain.code == 0 and (tmp_path / "plain.png").is_file()
    assert_refused(
        cli("compare", run, a, a, "--calibration", tmp_path / "gone.json"),
        "gone.json",
        "partreid calibrate",
    )
    (tmp_path / "bad.json").write_text("[]")
    assert_refused(
        cli("compare", run, a, a, "--calibration", tmp_path / "bad.json"),
        "is no calibration",
    )


HOSTILE = (
    "[cam1]anna.png",
    "[/red]b.png",
    "c\x1b[2J.png",
    "d\u202e.png",
    "=e.png",
    "王.png",
    "-f.png",
    "caf\udce9.png",
)


def test_any_name_of_a_crop_is_ranked_and_printed_and_does_nothing(
    cli: Cli, run: Path, labelled: Path, tmp_path: Path
) -> None:
    crops = tmp_path / "crops"
    crops.mkdir()
    for name in HOSTILE:
        try:
            shutil.copy(first(labelled, "gallery"), crops / name)
        except OSError:  # a file system that takes Unicode alone
            continue
    there = sorted(crops.iterdir())
    outcome = cli("rank", run, crops, crops, "--top", "3", "--sheet", tmp_path / "sheet.png")
    assert outcome.code == 0, outcome.err
    for path in there:
        assert printable(path) in outcome.out
    assert "\x1b" not in outcome.out + outcome.err and "\u202e" not in outcome.out + outcome.err
    assert Image.open(tmp_path / "sheet.png").width > 200
    answers = json.loads(cli("rank", run, crops, crops, "--json", "--top", "1").out)
    assert [Path(a["query"]) for a in answers] == there  # every name comes back whole
    long = crops / ("x" * 120 + ".png")
    there[0].rename(long)
    assert str(long) in cli("rank", run, crops, crops, "--top", "1").out  # a path is not cut either


def test_an_output_that_cannot_be_written_is_said_before_any_work(
    cli: Cli, labelled: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    below = tmp_path / "file" / "x.png"
    a, gone = first(labelled, "query"), tmp_path / "no-such-run"
    for command in (
        ("compare", gone, a, a, "--picture", below),
        ("rank", gone, a, a, "--sheet", below),
        ("calibrate", gone, "--data", labelled, "--out", below),
        ("embed", gone, a, "--out", below),
        ("eval", gone, "--data", labelled, "--report", below),
        ("eval", gone, "--data", labelled, "--csv", below),
        ("demo", "--json", below),
        ("claims", "--json", below),
        ("labels", "preview", "--data", gone, "--out", below),
        ("data", "sheet", gone, below),
    ):
        assert_refused(cli(*command), "cannot be written")
    same = ("--json", tmp_path / "x", "--csv", tmp_path / "y" / ".." / "x")
    assert_refused(
        cli("eval", gone, "--data", labelled, *same), "two outputs would be written to one file"
    )
    assert (tmp_path / "file").read_text() == "mine"
