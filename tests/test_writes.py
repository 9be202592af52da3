"""Nothing is written that nobody names: every command in an empty folder, with an empty home and an
empty folder for temporary files, leaves what its options name and nothing else.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.attack import runs, valid
from tests.banded import banded_people
from tests.test_cli import commands

# Runs command lines one after the other; says what lies where at first and after each, and how it
# ended.
RUN = """
import json, sys
from pathlib import Path
from partreid.cli import main

lines, *watched = sys.argv[1:]

def there():
    return sorted(str(p) for root in watched for p in Path(root).rglob("*") if p.is_file())

told = [(0, there())]
for words in json.loads(lines):
    sys.argv[1:] = words
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code
    told.append((code, there()))
print("\\n" + json.dumps(told))
"""
TINY = ("--set", "stages.epochs=1", "--set", "size=[64,32]", "--set", "backbone.width=8")
# command line, exit status, what it names; {} is the folder of what is given
EVERY: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("train synthetic/tiny/bot --data {}/world --out made/run --device cpu", 0, ("made/run",)),
    ("train synthetic/tiny/bot --smoke --data {}/world", 0, ()),
    ("eval {}/run --data {}/world", 0, ()),
    (
        "eval {}/run --data {}/world --rerank --report e.html --json e.json --csv e.csv --latex "
        "e.tex --ledger made/l.jsonl",
        0,
        ("e.html", "e.json", "e.csv", "e.tex", "made/l.jsonl"),
    ),
    ("embed {}/run {}/world/query --out made/kept", 0, ("made/kept",)),
    ("convert {}/x.pth --out made/converted --layout trunk", 2, ()),  # of no known release
    (
        "calibrate {}/run --data {}/crops --dataset folders --rate 0.05 --out c.json",
        0,
        ("c.json",),
    ),
    ("compare {}/run {}/a.jpg {}/a.jpg", 0, ()),
    ("compare {}/run {}/a.jpg {}/a.jpg --picture p.png", 0, ("p.png",)),
    ("rank {}/run {}/a.jpg {}/world/query --sheet s.png", 0, ("s.png",)),
    ("link {}/run {}/crops.csv --out made/linked", 2, ()),  # without a calibration
    ("export {}/run --out made.onnx", 0, ("made.onnx", "made.json")),
    # what these do before there is a server; tests/test_gallery_cli.py has the rest
    ("gallery add gone/people {}/crops --run {}/run", 2, ()),
    ("gallery search gone {}/run {}/a.jpg", 2, ()),
    ("gallery info gone", 2, ()),
    ("gallery forget gone anna", 2, ()),
    ("gallery verify gone", 2, ()),
    ("gallery export gone made/people", 2, ()),
    ("gallery import gone made/people", 2, ()),
    ("serve {}/run --gallery gone/people --host 0.0.0.0", 2, ()),  # without a key
    (
        "data synth scenes made/film --tiny --people 2 --cameras 2 --seconds 2",
        0,
        ("made/film",),
    ),
    ("recipes", 0, ()),
    ("recipes --table --out made/recipes.md", 0, ("made/recipes.md",)),
    ("data list", 0, ()),
    ("data check synthetic-tiny {}/world", 0, ()),
    ("data synth tiny {}/world", 0, ()),
    ("data sheet {}/world sheet.png --rows 1", 0, ("sheet.png",)),
    ("data occlude folders {}/crops made/occluded --people 0", 0, ("made/occluded",)),
    (
        "labels import keypoints {}/keypoints.json --data {}/labelled --out made/keypoints",
        0,
        ("made/keypoints",),
    ),
    ("labels check --data {}/world --cue surfaces --dataset synthetic-tiny", 0, ()),
    ("labels stats --data {}/world --cue surfaces --dataset synthetic-tiny", 0, ()),
    (
        "labels preview --data {}/world --cue surfaces --dataset synthetic-tiny --rows 1 --out "
        "l.png",
        0,
        ("l.png",),
    ),
    (
        "labels cache --data {}/world --cue surfaces --dataset synthetic-tiny --size 64 32 "
        "--out made/l.safetensors",
        0,
        ("made/l.safetensors",),
    ),
    ("labels quality {}/run --data {}/world --against surfaces", 0, ()),
    # what these do before minutes of work, or without a network
    ("labels make {}/labelled --model clothes --out made/labels --device tpu", 2, ()),
    ("claims --papers nobody --out made/claims", 2, ()),
    ("demo --quick --seed -1 --out made/demo", 2, ("made/demo",)),
)


@pytest.mark.slow  # every command once
def test_only_what_is_named_is_written(
    world: Path,
    trained: Callable[[str], Path],
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    given, here, home, temporary = (
        tmp_path / name for name in ("given", "here", "home", "temporary")
    )
    for folder in (given, here, home, temporary):
        folder.mkdir()
    shutil.copytree(world, given / "world")
    shutil.copytree(trained("bpbreid"), given / "run")
    shutil.copy(next((world / "query").iterdir()), given / "a.jpg")
    banded_people(given / "crops")
    for crop in (given / "crops" / "query").rglob("*.png"):
        mask = given / "crops" / "masks" / crop.relative_to(given / "crops" / "query")
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", Image.open(crop).size, 255).save(mask)
    valid.samples(given / "labelled")
    valid.put(given / "keypoints.json", json.dumps(valid.coco()))
    valid.put(given / "x.pth", runs.weights("zip"))
    lines = [[w.format(given) for w in words.split()] for words, _, _ in EVERY]
    lines = [[*words, *TINY] if words[0] == "train" else words for words in lines]
    places = {"HOME": home, "XDG_CACHE_HOME": home / ".cache", "TMPDIR": temporary}
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(lines), given, here, home, temporary],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=here,
        env={**environment, **{name: str(place) for name, place in places.items()}},
    )
    assert done.returncode == 0, done.stderr
    first, *outcomes = json.loads(done.stdout.splitlines()[-1])
    # what importing the packages and their modules leaves is not ours, and is no result of a
    # command
    before = set(first[1])
    assert {Path(p) for p in before if Path(p).is_relative_to(here)} == set()
    for (words, wanted, names), (code, there) in zip(EVERY, outcomes, strict=True):
        assert code == wanted, f"partreid {words}: {done.stderr[-3000:]}"
        named = [here / name for name in names]
        stray = [
            p for p in set(there) - before if not any(Path(p).is_relative_to(n) for n in named)
        ]
        assert not stray, f"partreid {words} wrote {sorted(stray)}"
        assert wanted or all(n.exists() for n in named), f"partreid {words} wrote not all it names"
        before |= set(there)


def test_every_command_is_among_them() -> None:
    lines = [line for line, _, _ in EVERY]
    missing = {
        " ".join(path)
        for path, _ in commands()
        if not any(
            line == " ".join(path) or line.startswith(" ".join(path) + " ") for line in lines
        )
    }
    assert missing == set()


@pytest.mark.slow  # needs the quick demo
def test_the_demo_leaves_its_folder_and_the_numbers_that_are_named(quick_demo: Path) -> None:
    # said.txt is what the fixture keeps of its output
    assert {p.name for p in quick_demo.iterdir()} == {"partreid-demo", "demo.json", "said.txt"}
