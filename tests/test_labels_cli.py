"""``partreid labels``: what each command prints, that its settings train, and that mistakes are
one sentence.
"""

import importlib.util
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from partreid.cli import main
from partreid.train.checkpoint import load_tensors

Said = tuple[int, str, str]


@pytest.fixture()
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["partreid", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return run


def test_import_check_and_train_with_what_it_prints(
    cli: Callable[..., Said], own_world: Path, tmp_path: Path, toy_options: tuple[str, ...]
) -> None:
    given = tmp_path / "schp"
    given.mkdir()
    for path in (own_world / "labels" / "bounding_box_train").iterdir():
        Image.fromarray(np.minimum(np.asarray(Image.open(path)), 24)).save(given / path.name)
    where = ("--data", own_world, "--dataset", "synthetic-tiny")
    code, out, err = cli("labels", "import", "parsing", given, *where, "--parser", "densepose24")
    assert code == 0 and "Labels for 48 of 48 images (100.0 %)" in err
    settings = shlex.split(out)
    assert settings == [
        "--set",
        "cues.parts=parsing",
        "--set",
        "cues.parts.source=densepose24",
        "--set",
        "cues.parts.parts=five",
    ]
    code, out, _ = cli("labels", "check", *where, *settings)
    assert code == 0 and out.splitlines()[-1] == "nothing looks wrong"
    code, out, err = cli("labels", "cache", *where, *settings, "--size", "64", "32")
    assert code == 0 and "Labels of 48 images at 64 x 32" in err
    for chosen in (settings, shlex.split(out)):
        run = tmp_path / chosen[1].split("=")[-1]
        code, _, err = cli(
            "train",
            "synthetic/tiny/bpbreid",
            "--data",
            own_world,
            "--out",
            run,
            *toy_options,
            *chosen,
        )
        assert code == 0, err
    first, second = (
        load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("parsing", "cached")
    )
    # at the recipe's size it is the same training
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_check_tells_and_exits_with_zero(cli: Callable[..., Said], world: Path) -> None:
    code, out, _ = cli(
        "labels", "check", "--data", world, "--dataset", "synthetic-tiny", "--cue", "pifpaf"
    )
    assert (
        code == 0
        and "No label of 48 images could be read." in out
        and "1 thing(s) to look at" in out
    )
    assert "stripes in their place are --set cues.parts=stripes" in out


def test_stats_as_table_and_json(cli: Callable[..., Said], world: Path) -> None:
    where = (
        "labels",
        "stats",
        "--data",
        world,
        "--dataset",
        "synthetic-tiny",
        "--cue",
        "surfaces",
        "--set",
        "parts=eight",
    )
    code, out, _ = cli(*where)
    assert code == 0 and "left_arm" in out and "any part" in out and "% left" in out
    counts = json.loads(cli(*where, "--json")[1])
    assert (
        counts["images"] == 48
        and counts["parts"][0]["name"] == "head"
        and 0.4 < counts["balance"]["leg"] < 0.6
    )


def test_preview_writes_a_picture(cli: Callable[..., Said], world: Path, tmp_path: Path) -> None:
    code, _, err = cli(
        "labels",
        "preview",
        "--data",
        world,
        "--dataset",
        "synthetic-tiny",
        "--cue",
        "surfaces",
        "--rows",
        "1",
        "--out",
        tmp_path / "new" / "sheet.png",
    )
    assert (
        code == 0 and "preview: " in err and Image.open(tmp_path / "new" / "sheet.png").width > 900
    )


def test_stripes_need_no_labels(cli: Callable[..., Said], world: Path) -> None:
    code, out, _ = cli(
        "labels",
        "check",
        "--data",
        world,
        "--dataset",
        "synthetic-tiny",
        "--set",
        "cues.parts=stripes",
    )
    assert code == 0 and "48 of 48 images" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check",), "which labels? Name the cue"),
        (("check", "--cue", "surface"), "Did you mean 'surfaces'"),
        (("check", "--cue", "surfaces", "--set", "parts"), "needs the form key=value"),
        (("check", "--cue", "surfaces", "--set", "a.b=1"), "no argument of a cue"),
        (
            ("check", "--cue", "surfaces", "--set", "part=five"),
            "unknown argument of cue 'surfaces': 'part'",
        ),
        (("stats", "--cue", "isp_clusters"), "made while training"),
        (("preview", "--cue", "surfaces", "--out", "a.txt"), "--out"),
        (("cache", "--cue", "surfaces", "--size", "0", "8"), "--size"),
        (("import", "masks", "x"), "masks"),
        (("import", "parsing", "gone", "--parser", "lip"), "there is no gone"),
    ],
)
def test_mistakes_are_one_sentence(
    cli: Callable[..., Said], world: Path, arguments: tuple[str, ...], words: str
) -> None:
    code, out, err = cli("labels", *arguments, "--data", world, "--dataset", "synthetic-tiny")
    (line,) = err.splitlines()
    assert code == 2 and out == "" and line.startswith("partreid: ") and words in line


@pytest.mark.skipif(
    importlib.util.find_spec("transformers") is not None, reason="transformers is installed"
)
def test_make_without_the_extra(cli: Callable[..., Said], world: Path, tmp_path: Path) -> None:
    code, out, err = cli(
        "labels", "make", world / "query", "--model", "clothes", "--out", tmp_path / "parsing"
    )
    assert (
        code == 2
        and out == ""
        and "pip install 'partreid[labels]'" in err
        and len(err.splitlines()) == 1
    )
    assert not (tmp_path / "parsing").exists()
