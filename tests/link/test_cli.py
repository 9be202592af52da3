"""`partreid link` and `partreid data synth scenes`, as a user gives them."""

import csv
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import partreid
from partreid.cli import main
from partreid.evaluation import decision
from partreid.metrics.calibration import Calibration, Source
from partreid.types import Benchmark
from tests.anything import anything

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture()
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["partreid", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return run


@pytest.fixture()
def run(trained: Callable[[str], Path], calibration: Calibration, tmp_path: Path) -> Path:
    """A toy run that has a calibration, which takes every crop for one of its own."""
    folder = Path(shutil.copytree(trained("bpbreid"), tmp_path / "run"))
    model = partreid.load(folder, "cpu")
    shape = model.embed(np.zeros((64, 32, 3), np.uint8)).vectors.shape[1:]
    source = Source(
        **vars(model.bound), data="made", queries=("q",), images="i", gallery="g", version="0",
        date="d",
    )  # fmt: skip
    decision.save(
        replace(calibration, source=source, likeness=anything(*shape)), folder / decision.FILE
    )
    return folder


@pytest.fixture()
def table(benchmark: Benchmark, tmp_path: Path) -> Path:
    """Two crops each of six tracklets in two cameras."""
    lines = ["path,tracklet,camera,time,identity"]
    for i, sample in enumerate(benchmark.gallery[:12]):
        who = f"p{sample.identity}"
        lines.append(f"{sample.path},{i // 2},{'ab'[i // 2 % 2]},{10 * (i // 2) + i % 2},{who}")
    (tmp_path / "crops.csv").write_text("\n".join(lines))
    return tmp_path / "crops.csv"


def test_a_table_becomes_identities_and_a_page(cli: Cli, run: Path, table: Path) -> None:
    code, out, err = cli("link", run, table, "--out", "linked", "--apart", "--device", "cpu")
    assert code == 0, err
    assert "6 tracklets of 2 cameras" in out and "0 constraints violated" in out and "IDF1" in out
    rows = list(csv.DictReader(Path("linked/identities.csv").read_text().splitlines()))
    assert {row["tracklet"] for row in rows} == {str(i) for i in range(6)}
    assert all(0 <= float(row["probability"]) <= 1 for row in rows)
    assert "<h2>Identities</h2>" in Path("linked/link.html").read_text()
    # the same from embeddings that were kept, and as JSON
    paths = [row["path"] for row in csv.DictReader(table.read_text().splitlines())]
    Path("crops.txt").write_text("\n".join(reversed(paths)))
    assert cli("embed", run, "crops.txt", "--out", "kept", "--device", "cpu")[0] == 0
    code, out, err = cli(
        "link", run, table, "--out", "again", "--apart", "--embeddings", "kept", "--json",
        "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    report = json.loads(out)
    whole = {row["tracklet"]: int(row["identity"]) for row in rows}
    assert {t["tracklet"]: t["identity"] for t in report["tracklets"]} == whole
    assert report["violated"] == 0 and report["scores"]["tracklets"] == 6


def test_what_nobody_said_of_cameras_is_a_note(cli: Cli, run: Path, table: Path) -> None:
    code, _, err = cli("link", run, table, "--out", "linked", "--device", "cpu")
    assert code == 0 and "note: nothing was said of the cameras" in err
    (table.parent / "cameras.csv").write_text("first,second,seconds\na,b,1000\n")
    code, out, err = cli(
        "link", run, table, "--out", "linked", "--cameras", "cameras.csv", "--prior", "0.99",
        "--json", "--device", "cpu",
    )  # fmt: skip
    assert code == 0 and "note:" not in err
    cameras: dict[int, set[str]] = {}
    for t in json.loads(out)["tracklets"]:
        cameras.setdefault(t["identity"], set()).add(t["camera"])
    assert all(len(c) == 1 for c in cameras.values())  # nobody is that slow


def test_frames_and_tracks_become_identities(cli: Cli, run: Path, tmp_path: Path) -> None:
    for camera in ("c1", "c2"):
        (tmp_path / "film" / camera / "img1").mkdir(parents=True)
        for number in (1, 2, 3):
            picture = Image.new("RGB", (80, 60), (40 * number, 90, 20))
            picture.save(tmp_path / "film" / camera / "img1" / f"{number:06d}.jpg")
        (tmp_path / "film" / camera / "tracks.txt").write_text(
            "1,1,5,5,20,50\n2,1,9,5,20,50\n3,2,9,5,20,50\n"
        )
    words = ("link", run, "film", "--out", "linked", "--apart", "--device", "cpu")
    code, _, err = cli(*words)
    assert code == 2 and "has no seqinfo.ini that says frameRate; give --fps" in err
    code, out, err = cli(*words, "--fps", "2")
    assert code == 0, err
    assert "4 tracklets of 2 cameras" in out
    assert len(list(Path("linked/crops").rglob("*.jpg"))) == 6
    assert "against the truth" not in out
    for camera in ("c1", "c2"):
        (tmp_path / "film" / camera / "truth.txt").write_text("1,8,5,5,20,50\n2,8,9,5,20,50\n")
    code, out, err = cli(*words, "--fps", "2", "--truth", "truth.txt")
    assert code == 0 and "against the truth" in out, err
    assert "2 of 6 crops are left out, as nobody says whom" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--apart", "--cameras", "cameras.csv"), "leave --apart away"),
        (("--cameras", "gone.csv"), "there is no table of cameras gone.csv"),
        (("--truth", "gt/gt.txt"), "--truth is for a folder of tracks"),
        (("--embeddings", "gone"), "there is no file of embeddings"),
        (("--rule", "mode"), '--rule must be one of "pairs", "mean"'),
    ],
)
def test_mistakes_are_one_sentence(
    cli: Cli, run: Path, table: Path, words: tuple[str, ...], message: str
) -> None:
    code, _, err = cli("link", run, table, "--out", "linked", "--device", "cpu", *words)
    last = err.strip().splitlines()[-1]
    assert code == 2 and last.startswith("partreid: "), err
    assert message in last or "--rule" in words and "--rule" in last
    assert not Path("linked/identities.csv").exists()


def test_crops_that_are_not_there_are_told_before_any_is_embedded(
    cli: Cli, run: Path, table: Path
) -> None:
    path = table.read_text().splitlines()[-1].split(",")[0]
    table.write_text(table.read_text().replace(path, "gone.jpg"))
    code, _, err = cli("link", run, table, "--out", "linked", "--device", "cpu")
    assert code == 2 and f"1 of {len(table.read_text().splitlines()) - 1} images that" in err
    assert "gone.jpg; unpack or copy the images again" in err and "embedding" not in err


def test_without_a_calibration_it_says_how_to_get_one(
    cli: Cli, trained: Callable[[str], Path], table: Path
) -> None:
    code, _, err = cli("link", trained("bpbreid"), table, "--out", "linked", "--device", "cpu")
    assert code == 2 and "link needs a calibration" in err and "partreid calibrate" in err


def test_crops_unlike_those_of_the_calibration_are_not_linked_unless_asked(
    cli: Cli, run: Path, table: Path
) -> None:
    file = run / decision.FILE
    made = decision.read(file)
    decision.save(replace(made, likeness=None), file)
    words = ("link", run, table, "--out", "linked", "--apart", "--device", "cpu")
    code, _, err = cli(*words)
    assert code == 2 and "nothing is decided" in err and "--anyway" in err
    code, _, err = cli(*words, "--anyway")
    assert code == 0 and "linked all the same" in err
    assert "linked all the same" in Path("linked/link.html").read_text()


def test_embeddings_of_another_model_are_refused(
    cli: Cli, run: Path, table: Path, trained: Callable[[str], Path]
) -> None:
    paths = [row["path"] for row in csv.DictReader(table.read_text().splitlines())]
    Path("crops.txt").write_text("\n".join(paths))
    assert cli("embed", trained("bot"), "crops.txt", "--out", "kept", "--device", "cpu")[0] == 0
    code, _, err = cli(
        "link", run, table, "--out", "linked", "--embeddings", "kept", "--device", "cpu"
    )
    assert code == 2 and "not of this run" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tiny", "w", "--people", "3"), "--people only with scenes"),
        (("demo", "w", "--tiny"), "--tiny only with scenes"),
        (("scenes", "w", "--iuv"), "belong to benchmarks, not to scenes"),
        (("scenes", "w", "--cameras", "12"), "cameras of scenes must be 2 to 9, got 12"),
        (("scenes", "w", "--seconds", "0"), "the seconds of scenes"),
    ],
)
def test_settings_of_scenes_are_refused_in_one_sentence(
    cli: Cli, words: tuple[str, ...], message: str
) -> None:
    code, _, err = cli("data", "synth", *words)
    assert code == 2 and message in err and not Path("w").exists()


def test_scenes_are_written_as_asked(cli: Cli) -> None:
    code, _, err = cli(
        "data",
        "synth",
        "scenes",
        "film",
        "--tiny",
        "--people",
        "3",
        "--seconds",
        "4",
        "--cameras",
        "2",
    )
    assert code == 0, err
    assert len(list(Path("film").glob("c*/img1/*.jpg"))) == 16
    settings = json.loads(Path("film/scenes.json").read_text())["scenes"]
    assert (settings["people"], settings["seconds"], settings["cameras"]) == (3, 4.0, 2)
