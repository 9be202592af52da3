"""The command line: what it does at toy size, and that every mistake is one sentence that loses
nothing.
"""

import errno
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from cyclopts import App
from PIL import Image
from safetensors.torch import save_file

from partreid.cli import app, main
from partreid.recipes import ROWS
from partreid.train.checkpoint import load_tensors
from partreid.train.journal import read
from partreid.types import Benchmark
from partreid.utils.lock import LOCK

TRAIN = ("train", "synthetic/tiny/bpbreid")


class Said(NamedTuple):
    code: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture()
def cli(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Cli:
    """Run a command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))

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


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def assert_refused(done: Said, *words: str) -> None:
    """Exit status 2, nothing on standard output, one line on standard error that holds
    ``words``.
    """
    assert done.code == 2 and done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("partreid: ") and "Traceback" not in line
    for word in words:
        assert word in line, line


# What commands do


def commands(
    group: App = app, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Callable[..., object]]]:
    for name in group:
        if not name.startswith("-"):
            command = group[name]
            if command.default_command is None:
                yield from commands(command, (*path, name))
            else:
                yield (*path, name), command.default_command


@pytest.mark.parametrize(
    ("path", "function"), [pytest.param(p, f, id=" ".join(p)) for p, f in commands()]
)
def test_help_explains_every_argument(
    cli: Cli, path: tuple[str, ...], function: Callable[..., object]
) -> None:
    described = dict(re.findall(r"^ {8}(\w+): (.+)$", function.__doc__ or "", re.M))
    named = {name.rstrip("_") for name in inspect.signature(function).parameters}
    assert set(name.rstrip("_") for name in described) == named
    page = cli(*path, "--help")
    assert page.code == 0 and page.err == "" and "Usage" in page.out
    text = " ".join(re.sub(r"[│─╭╮╰╯]", " ", page.out).split())
    for name, words in described.items():
        assert " ".join(words.split()[:2]) in text, name


def test_nothing_asked_is_help_and_version_is_a_number(cli: Cli) -> None:
    assert cli().code == 0
    assert cli("--version").out.strip().count(".") == 2


def test_recipes_are_listed_filtered_and_shown(cli: Cli) -> None:
    listed = cli("recipes").out
    assert [r.name for r in ROWS if r.name not in listed] == []
    table = cli("recipes", "--filter", "bpbreid/table2").out
    assert "52.6" in table and "45.3" in table and "table1" not in table
    assert json.loads(cli("recipes", "bpbreid/table2/full").out)["expect"]["mAP"] == 54.1
    assert len(json.loads(cli("recipes", "--json").out)) == len(ROWS)
    assert "withdrawn" in cli("recipes", "--filter", "occluded_duke").err


def test_data_is_checked_listed_and_shown(cli: Cli, world: Path, tmp_path: Path) -> None:
    done = cli("data", "check", "synthetic-tiny", world)
    assert done.code == 0 and "nothing looks wrong" in done.out and "occluded" in done.out
    assert "1 thing(s) to look at" not in done.out
    assert (
        "protocol market1501: images of the query's identity" in done.out
        and "licence: none needed" in done.out
    )
    noted = cli("data", "check", "market1501", world)
    assert noted.code == 2 and "looks like synthetic-tiny, not market1501" in noted.out
    assert "1 thing(s) to look at" in noted.out
    listed = cli("data", "list").out
    assert (
        "dukemtmc (WITHDRAWN)" in listed and "agreed" in listed and "cuhk01-0 to cuhk01-9" in listed
    )
    assert (
        "bounding_box_train" in cli("data", "list", "--layouts").out
        and "bounding_box_train" not in listed
    )
    assert cli("data", "sheet", world, tmp_path / "new" / "sheet.png", "--rows", "2").code == 0
    assert Image.open(tmp_path / "new" / "sheet.png").width > 100
    # finished: left alone
    assert "synthetic benchmark 'tiny'" in cli("data", "synth", "tiny", world).err


def test_train_eval_embed_and_compare(
    cli: Cli, world: Path, toy_options: tuple[str, ...], benchmark: Benchmark, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = cli(*TRAIN, "--data", world, "--out", run, *toy_options)
    assert done.code == 0 and f"trained: {run / 'model.safetensors'}" in done.err
    done = cli(
        "eval",
        run,
        "--data",
        world,
        "--json",
        tmp_path / "s.json",
        "--report",
        tmp_path / "report.html",
    )
    assert done.code == 0 and "holistic" in done.out and "occluded" in done.out
    rows = json.loads((tmp_path / "s.json").read_text())["results"]
    assert [(r["method"], r["queries"], r["visibility"]) for r in rows] == [
        ("bpbreid", "holistic", True),
        ("bpbreid", "occluded", True),
    ]
    assert "<html" in (tmp_path / "report.html").read_text()
    blind = cli("eval", run, "--data", world, "--json", tmp_path / "b.json", "--no-visibility")
    assert blind.code == 0
    assert json.loads((tmp_path / "b.json").read_text())["results"][0]["visibility"] is False
    scored = cli(
        "eval",
        run,
        "--data",
        world,
        "--csv",
        tmp_path / "s.csv",
        "--latex",
        tmp_path / "s.tex",
        "--rerank",
        "--shrink",
        "1",
        "--multi-query",
        "--rule",
        "official",
    )
    assert (
        scored.code == 0
        and "re-ranked" in scored.out
        and "official rule" in scored.out
        and "evidence shrunk by 1" in scored.out
        and "EER" in scored.out
    )
    assert "multi-query changes nothing" in scored.err and "ledger" not in scored.err
    # five rules on two query sets, and the head
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 11
    assert (tmp_path / "s.tex").read_text().count("bpbreid (") == 10

    done = cli("embed", run, world / "query", "--out", tmp_path / "embedded")
    tensors, meta = load_tensors(tmp_path / "embedded" / "embeddings.safetensors")
    index = json.loads((tmp_path / "embedded" / "index.json").read_text())
    assert done.code == 0 and index == meta and len(index["crops"]) == len(tensors["vectors"]) == 16
    assert tensors["visibility"].shape == (16, len(index["names"]))

    a, b = (s.path for s in benchmark.query[:2])
    done = cli("compare", run, a, b, "--json", "--picture", tmp_path / "why.png")
    evidence = json.loads(done.out)
    assert done.code == 0 and Image.open(tmp_path / "why.png").width > 200
    table = cli("compare", run, a, b).out
    total = float(next(line for line in table.splitlines() if line.startswith("total")).split()[-1])
    assert total == pytest.approx(evidence["distance"], abs=1e-3)
    assert all(name in table for name in index["names"])


def test_runs_are_compared_with_the_first(
    cli: Cli, world: Path, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    done = cli(
        "eval",
        trained("bot"),
        trained("bpbreid"),
        "--data",
        world,
        "--json",
        tmp_path / "s.json",
        "--report",
        tmp_path / "report.html",
        "--ledger",
        tmp_path / "ledger.jsonl",
    )
    assert (
        done.code == 0
        and "bot, bpbreid on synthetic-tiny" in done.out
        and "Against bot, points" in done.out
    )
    assert "ledger: 4 new line(s)" in done.err
    summary = json.loads((tmp_path / "s.json").read_text())
    assert [r["method"] for r in summary["results"]] == ["bot", "bpbreid"] * 2 and summary[
        "reference"
    ] == "bot"
    assert {d["score"] for d in summary["differences"]} >= {"R1", "mAP", "mINP"}
    assert "bot and bpbreid, compared" in (tmp_path / "report.html").read_text()


# What goes wrong


def test_evaluations_that_make_no_sense(
    cli: Cli, world: Path, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    run, data = trained("bpbreid"), ("--data", world)
    assert_refused(cli("eval", *data), "eval needs a run folder", "--help")
    assert_refused(
        cli("eval", run, trained("bot"), run, *data), "hold the same model", "name each run once"
    )
    assert_refused(
        cli("eval", run, *data, "--shrink", "-1"),
        "--shrink is a number of parts, 0 or more, got -1",
    )
    assert_refused(cli("eval", run, *data, "--shrink", "much"), "--shrink")
    assert_refused(cli("eval", run, tmp_path / "gone", *data), "gone")
    (tmp_path / "calibration.json").write_text("{}")
    assert_refused(
        cli("eval", run, *data, "--calibration", tmp_path / "calibration.json"), "calibration"
    )
    assert_refused(
        cli("eval", run, trained("bot"), *data, "--calibration", tmp_path / "calibration.json"),
        "belongs to one model, and there are 2 runs",
    )
    file = tmp_path / "file"
    file.write_text("mine")
    for option in ("--csv", "--latex", "--json", "--report"):
        done = cli("eval", run, *data, option, file / "below")
        assert done.code == 2 and "cannot be written" in done.err and "Traceback" not in done.err
    assert file.read_text() == "mine"


def test_unknown_words(cli: Cli, world: Path) -> None:
    assert_refused(cli("trian"), "Unknown command", "Did you mean", "train", "--help")
    assert_refused(cli("recipes", "bpbreid/tabel1"), "unknown recipe", "partreid recipes")
    assert_refused(
        cli("train", "nothing", "--data", world), "unknown recipe: 'nothing'", "list them with"
    )
    assert_refused(cli(*TRAIN, "--data", world, "--sed", "3"), "--sed", "--help")
    assert_refused(cli(*TRAIN), "--data", "--help")
    assert_refused(
        cli("data", "check", "market", world), "unknown data set", "Did you mean 'market1501'"
    )
    assert_refused(cli("data", "synth", "huge", world), "huge", "tiny", "--help")
    assert_refused(cli("compare", "a.jpg"), "--help")


@pytest.mark.parametrize(("change", "words"), [
    ("stages.epoch=3", ("unknown recipe field: 'epoch'", "Did you mean 'epochs'")),
    ("stages.epochs=many", ("stages.0.epochs", "expected a whole number, got 'many'")),
    ("seed", ("needs the form field=value",)),
    ("method.dimension=3", ("unknown argument of method 'bpbreid'", "Known: ")),
    ("method.visibility=1", ("expected one of 'threshold'",)),
    ("cues.parts.parts=nine", ("unknown surface grouping: 'nine'", "Known: ")),
    ("stages.batch=[64,2]", ("the training set has 8", "--set stages.batch=[8,2]")),
    ("backbone=vit", ("unknown backbone: 'vit'", "Known: ")),
    ("stages.weights.id_head=1.0", ("unknown loss term of bpbreid: 'id_head'",)),
])  # fmt: skip
def test_wrong_settings(
    change: str, words: tuple[str, ...], cli: Cli, world: Path, tmp_path: Path
) -> None:
    assert_refused(cli(*TRAIN, "--data", world, "--out", tmp_path / "run", "--set", change), *words)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    "option", [("--devices", "0"), ("--devices", "two"), ("--save-every", "0"), ("--device", "tpu")]
)
def test_wrong_options(option: tuple[str, str], cli: Cli, world: Path, tmp_path: Path) -> None:
    assert_refused(cli(*TRAIN, "--data", world, "--out", tmp_path / "run", *option), option[0])


def test_absent_gpu(
    cli: Cli,
    world: Path,
    trained: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = ("no GPU that PyTorch can use", "--device cpu")
    assert_refused(
        cli(*TRAIN, "--data", world, "--out", tmp_path / "run", "--device", "cuda"), *words
    )
    assert_refused(cli("eval", trained("bpbreid"), "--data", world, "--device", "cuda"), *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_corrupt_image_in_training(
    workers: str, cli: Cli, own_world: Path, toy_options: tuple[str, ...], tmp_path: Path
) -> None:
    """The run stops, whatever process reads the image; once mended it goes on where it was."""
    image = sorted((own_world / "bounding_box_train").iterdir())[10]
    whole = image.read_bytes()
    image.write_bytes(whole[:300])
    command = (
        *TRAIN,
        "--data",
        own_world,
        "--out",
        tmp_path / "run",
        "--workers",
        workers,
        "--save-every",
        "1",
        *toy_options,
    )
    assert_refused(
        cli(*command), image.name, "cannot be read as an image", "replace or remove the file"
    )
    before = [e for e in read(tmp_path / "run" / "journal.jsonl") if "loss" in e]
    image.write_bytes(whole)
    assert cli(*command, "--resume").code == 0
    after = [e for e in read(tmp_path / "run" / "journal.jsonl") if "loss" in e]
    assert after[: len(before)] == before and len(after) > len(before)


def test_corrupt_image_at_test_time(
    cli: Cli, own_world: Path, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    image = sorted((own_world / "query").iterdir())[3]
    image.write_text("no picture")
    words = (image.name, "cannot be read as an image", "replace or remove the file")
    assert_refused(
        cli("eval", trained("bpbreid"), "--data", own_world, "--json", tmp_path / "s.json"), *words
    )
    assert_refused(
        cli("embed", trained("bpbreid"), own_world / "query", "--out", tmp_path / "e"), *words
    )
    assert_refused(cli("compare", trained("bpbreid"), image, image), *words)
    assert list(tmp_path.glob("[se]*")) == []


def test_missing_label_and_label_of_another_size(
    cli: Cli, own_world: Path, toy_options: tuple[str, ...], tmp_path: Path
) -> None:
    label = sorted((own_world / "labels" / "bounding_box_train").iterdir())[5]
    command = (*TRAIN, "--data", own_world, "--out", tmp_path / "run", *toy_options)
    Image.open(label).resize((64, 64), Image.Resampling.NEAREST).save(label)
    assert_refused(
        cli(*command), label.name, "is 64 x 64 but its image is 64 x 128", "make the label again"
    )
    label.unlink()
    assert_refused(
        cli(*command),
        "1 of 48 training images have no label",
        label.name,
        "choose a method that needs none (bot, pcb)",
    )


def test_empty_and_missing_folders(
    cli: Cli, own_world: Path, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    run = trained("bpbreid")
    assert_refused(
        cli(*TRAIN, "--data", tmp_path / "gone", "--out", tmp_path / "r"),
        "there is no folder",
        "--data",
    )
    assert_refused(
        cli(*TRAIN, "--data", empty, "--out", tmp_path / "r"), "there is no folder", "--data"
    )
    assert_refused(
        cli("embed", run, empty, "--out", tmp_path / "e"),
        "empty holds no images",
        "give a folder of crops",
    )
    assert_refused(
        cli("embed", run, tmp_path / "gone.jpg", "--out", tmp_path / "e"), "there is no image"
    )
    for image in (own_world / "query").iterdir():
        image.unlink()
    assert_refused(cli("eval", run, "--data", own_world), "query holds no images", "unpacked")


def test_query_and_gallery_that_share_nothing(
    cli: Cli, own_world: Path, trained: Callable[[str], Path]
) -> None:
    for folder in ("query", "query_occluded"):
        for image in list((own_world / folder).iterdir()):
            image.rename(image.with_name(image.name.replace("50", "99", 1)))
    assert_refused(
        cli("eval", trained("bpbreid"), "--data", own_world),
        "query and gallery share no identity",
        "Check that both come from the same data set",
    )


def test_missing_broken_and_foreign_models(
    cli: Cli, world: Path, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    run = trained("bpbreid")
    assert_refused(cli("eval", tmp_path / "gone", "--data", world), "there is no", "partreid demo")
    assert_refused(
        cli("eval", tmp_path, "--data", world), "model.safetensors once training has ended"
    )
    assert_refused(
        cli("eval", run / "checkpoint.safetensors", "--data", world),
        "not a finished model",
        "--resume",
    )
    save_file({"w": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    assert_refused(
        cli("eval", tmp_path / "foreign.safetensors", "--data", world),
        "was not written by partreid",
    )
    torch.save({"w": torch.zeros(2)}, tmp_path / "foreign.pth")
    assert_refused(
        cli("eval", tmp_path / "foreign.pth", "--data", world), "not a readable safetensors file"
    )
    (tmp_path / "cut.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:1000])
    assert_refused(
        cli("compare", tmp_path / "cut.safetensors", "a.jpg", "b.jpg"),
        "cut.safetensors is not",
    )


def test_a_run_folder_in_use(
    cli: Cli,
    world: Path,
    toy_options: tuple[str, ...],
    trained: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    run = Path(shutil.copytree(trained("bpbreid"), tmp_path / "run"))
    before = files(run)
    command = (*TRAIN, "--data", world, "--out", run, *toy_options)
    assert_refused(
        cli(*command), "already holds a run of synthetic/tiny/bpbreid", "--resume", "--out"
    )
    assert_refused(
        cli(*command, "--resume", "--set", "stages.lr=0.1"), "begun with another recipe", "--out"
    )
    assert files(run) == before


def test_full_disk_while_saving(
    cli: Cli,
    world: Path,
    toy_options: tuple[str, ...],
    trained: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The disk fills up at the third checkpoint; with space again, the run ends as if nothing
    had happened.
    """
    run = tmp_path / "run"
    command = (*TRAIN, "--data", world, "--out", run, "--save-every", "2", *toy_options)
    real = os.fsync
    saved: list[dict[str, bytes]] = []

    def fill(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if f"{zlib.crc32(b'checkpoint.safetensors'):08x}" in name:
            saved.append({k: v for k, v in files(run).items() if "part" not in k and k != LOCK})
            if len(saved) == 3:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fill)
        assert_refused(
            cli(*command),
            "the disk is full",
            "checkpoint.safetensors",
            "free some space",
            "--resume",
        )
    assert files(run) == saved[-1]  # nothing lost, nothing half-written
    # after that of the beginning
    assert load_tensors(run / "checkpoint.safetensors")[1]["place"]["step"] == 2
    assert cli(*command, "--resume").code == 0
    mine, whole = (
        load_tensors(folder / "model.safetensors")[0] for folder in (run, trained("bpbreid"))
    )
    assert all(torch.equal(mine[name], whole[name]) for name in whole)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_full_disk_while_writing_results(
    cli: Cli, world: Path, trained: Callable[[str], Path], benchmark: Benchmark, tmp_path: Path
) -> None:
    (tmp_path / "why.png").symlink_to("/dev/full")
    a, b = (s.path for s in benchmark.query[:2])
    done = cli("compare", trained("bpbreid"), a, b, "--picture", tmp_path / "why.png")
    assert done.code == 2 and "total" in done.out  # the numbers are there, only the picture is not
    assert len(done.err.splitlines()) == 1 and "the disk is full: why.png" in done.err


def test_places_that_cannot_be_written(
    cli: Cli, world: Path, trained: Callable[[str], Path], benchmark: Benchmark, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    run, a = trained("bpbreid"), benchmark.query[0].path
    assert_refused(
        cli(*TRAIN, "--data", world, "--out", file / "run"), "cannot be written", "--out"
    )
    assert_refused(
        cli("data", "synth", "tiny", file), "is a file; a synthetic world needs a folder"
    )
    assert_refused(cli("data", "synth", "tiny", file / "below"), "below", "choose another folder")
    assert_refused(
        cli("data", "synth", "tiny", tmp_path),
        "is not empty and holds no synthetic world",
        "new folder",
    )
    assert_refused(
        cli("embed", run, a, "--out", file / "e"), "cannot be written", "choose another name"
    )
    assert_refused(cli("compare", run, a, a, "--picture", "why.doc"), "why.doc", "png")
    assert file.read_text() == "mine"


def test_a_bug_keeps_its_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **named: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("partreid.utils.ui.table", broken)
    with pytest.raises(ZeroDivisionError, match="ours"):
        cli("recipes")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "m.safetensors"),
            ("m.safetensors", "permissions", "owner"),
        ),
        (OSError(errno.ENOSPC, "No space left on device"), ("the disk", "free some space")),
        (OSError(errno.EMFILE, "Too many open files"), ("ulimit -n",)),
        (OSError(errno.EROFS, "Read-only file system", "x"), ("x: ", "can be written")),
        (MemoryError(), ("memory", "stages.batch")),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
            ("memory is used up", "stages.batch"),
        ),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you "
                "tried"
            ),
            ("memory is used up", "stages.batch"),
        ),
    ],
)
def test_what_the_system_refuses_has_its_own_remedy(
    error: Exception, words: tuple[str, ...], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise error

    monkeypatch.setattr("partreid.utils.ui.table", refuse)
    assert_refused(cli("recipes"), *words)


def test_an_interrupt_says_how_to_go_on(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("partreid.utils.ui.table", interrupt)
    done = cli("recipes")
    assert done.code == 130 and "interrupted" in done.err and "--resume" in done.err


def test_as_a_process_of_its_own(
    partreid: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = partreid("eval", tmp_path / "gone", "--data", tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("partreid: there is no")


def test_share_of_occluded_training_images(cli: Cli, tmp_path: Path) -> None:
    assert_refused(
        cli("data", "synth", "tiny", tmp_path / "w", "--train-occluded", "2"), "between 0 and 1"
    )
    assert cli("data", "synth", "tiny", tmp_path / "w", "--train-occluded", "0.5").code == 0
    lines = [
        json.loads(line) for line in (tmp_path / "w" / "annotations.jsonl").read_text().splitlines()
    ]
    hidden = [
        line["occluder"] is not None for line in lines if line["split"] == "bounding_box_train"
    ]
    assert 0.3 < sum(hidden) / len(hidden) < 0.7
