"""The command line: strange words and strange names end in an answer or in one sentence and exit
status 2.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.attack import runs, valid
from tests.attack.corpus.pictures import png
from tests.attack.harness import Warden
from tests.attack.share import share

NUMBERS = (
    "-1",
    "0",
    "9223372036854775808",
    "1" + "0" * 400,
    "nan",
    "inf",
    "-inf",
    "1e400",
    "",
    "text",
    "0x10",
    "1,5",
    "٣",
    "2.5",
)
TEXTS = (
    "",
    " ",
    "[/red]",
    "[bold]x",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "-",
    "--",
    "-x",
    "--help-me",
    "x" * 120,
    "x" * 5000,
    "a\nb",
    "caf\udce9",
    "中文",
    "~",
    "*",
    "{}",
    "null",
    "a=b",
)
STRANGE = (
    "\x1b[31mred",
    "[/red]",
    "[cam1]anna",
    "-rf",
    "caf\udce9",
    "x" * 120,
    "中文",
    "a b",
    "=1+1",
    "a\nb",
    "\u202egpj",
    "%s%n",
    "'\"",
    "anna{}",
    "{{7*7}}",
    "<script>",
)
PATHS = (
    "missing",
    "",
    "a pipe",
    "a folder",
    "empty.txt",
    "no such/place",
    "x" * 300,
    "a link to itself",
    "caf\udce9",
    "-x.jpg",
)
# tried only inside the fence
OUTSIDE = ("/", "..", "../../../x", "/dev/null", "/dev/zero", "/dev/full")
COMMANDS: Mapping[str, tuple[str, ...]] = {  # in a folder with what _lay leaves there
    "train": (
        "train",
        "synthetic/tiny/bot",
        "--data",
        "data",
        "--out",
        "out",
        "--set",
        "train=folders",
        "--set",
        "stages.epochs=1",
        "--set",
        "stages.batch=[2,2]",
        "--set",
        "size=[64,32]",
        "--set",
        "backbone.width=8",
        "--device",
        "cpu",
    ),
    "eval": (
        "eval",
        "run",
        "--data",
        "data",
        "--dataset",
        "folders",
        "--json",
        "e.json",
        "--csv",
        "e.csv",
        "--ledger",
        "l.jsonl",
        "--device",
        "cpu",
    ),
    "embed": ("embed", "run", "crops", "--out", "kept", "--device", "cpu"),
    "convert": ("convert", "x.pth", "--out", "converted", "--least", "0.9", "--identities", "3"),
    "calibrate": (
        "calibrate",
        "run",
        "--data",
        "data",
        "--dataset",
        "folders",
        "--rate",
        "0.1",
        "--fit-fraction",
        "0.5",
        "--seed",
        "1",
        "--out",
        "c.json",
        "--device",
        "cpu",
    ),
    "compare": (
        "compare",
        "run",
        "crops/a.jpg",
        "crops/b.jpg",
        "--picture",
        "p.png",
        "--prior",
        "0.5",
    ),
    "rank": (
        "rank",
        "run",
        "crops/a.jpg",
        "crops",
        "--top",
        "2",
        "--sheet",
        "s.png",
        "--prior",
        "0.5",
        "--device",
        "cpu",
    ),
    "data synth": ("data", "synth", "tiny", "world", "--seed", "0", "--train-occluded", "0.5"),
    "data sheet": ("data", "sheet", "data", "sheet.png", "--rows", "2"),
    "data check": ("data", "check", "folders", "data"),
    "labels import": (
        "labels",
        "import",
        "keypoints",
        "keypoints.json",
        "--data",
        "labelled",
        "--out",
        "labelled/keypoints",
        "--overwrite",
    ),
    "labels check": (
        "labels",
        "check",
        "--data",
        "labelled",
        "--cue",
        "stripes",
        "--set",
        "parts=4",
    ),
    "labels stats": ("labels", "stats", "--data", "labelled", "--cue", "stripes"),
    "labels preview": (
        "labels",
        "preview",
        "--data",
        "labelled",
        "--cue",
        "stripes",
        "--out",
        "l.png",
        "--rows",
        "1",
    ),
    "labels cache": (
        "labels",
        "cache",
        "--data",
        "labelled",
        "--cue",
        "stripes",
        "--size",
        "64",
        "32",
        "--out",
        "l.st",
    ),
    "recipes": ("recipes", "--filter", "tiny", "--paper", "isp", "--ledger", "l.jsonl"),
    "claims": ("claims", "--papers", "nobody", "--seeds", "1", "--size", "tiny", "--out", "claims"),
    "demo": ("demo", "--out", "run", "--quick", "--seed", "-1"),
}
# Trainings and worlds take seconds, so of these fewer words are tried.
SLOW = ("train", "data synth", "calibrate", "eval", "claims", "demo")
COST = 60  # milliseconds of a command line, about


def _lay(folder: Path) -> None:
    import json

    runs.run(folder / "run")
    valid.own_folders(folder / "data")
    valid.samples(folder / "labelled")
    valid.put(folder / "keypoints.json", json.dumps(valid.coco()))
    valid.put(folder / "x.pth", runs.weights("zip"))
    valid.put(folder / "empty.txt", "")
    for i, name in enumerate(("a.jpg", "b.jpg")):
        valid.put(folder / "crops" / name, valid.photo(seed=i))
    (folder / "a folder").mkdir()
    os.mkfifo(folder / "a pipe")
    (folder / "a link to itself").symlink_to("a link to itself")
    valid.put(folder / "bomb.png", png(50_000, 50_000))


def variants(words: tuple[str, ...], outside: bool) -> Iterator[tuple[str, ...]]:
    """The command with each word in turn replaced by strange ones, and with one more or less."""
    places = (*TEXTS, *PATHS, *(OUTSIDE if outside else ()))
    for index in range(1, len(words)):
        is_option, value = words[index].startswith("--"), words[index].replace(".", "").isdigit()
        for strange in NUMBERS if value else () if is_option else places:
            yield (*words[:index], strange, *words[index + 1 :])
        if is_option:
            yield words[: index + 1]
            yield (*words, words[index])
            yield (*words[:index], words[index] + "x", *words[index + 1 :])
    for more in ("--nonsense", "--device", "-h0", "\udce9", "[/red]", "=", "--=x"):
        yield (*words, more)


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    _lay(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_strange_words(warden: Warden, folder: Path, command: str) -> None:
    wrong = []
    every = list(dict.fromkeys(variants(COMMANDS[command], warden.fenced)))
    for words in share(
        every[::7] if command in SLOW else every, COST * (10 if command in SLOW else 1)
    ):
        outcome = warden.command(words, folder)
        if not outcome.good:
            wrong.append(f"{[w[:60] for w in words]}: {outcome.kind}\n{outcome.message[-500:]}")
    assert not wrong, f"{len(wrong)} of {len(every)} wrong:\n" + "\n".join(wrong[:15])


NAMED: Mapping[str, tuple[str, ...]] = {  # {} is the strange name, of a picture or a folder
    "a crop to ask with": ("rank", "run", "./{}.jpg", "crops", "--device", "cpu"),
    "a crop in the gallery": ("rank", "run", "crops/a.jpg", "strange", "--device", "cpu"),
    "crops to compare": (
        "compare",
        "run",
        "./{}.jpg",
        "crops/b.jpg",
        "--picture",
        "p.png",
    ),
    "as JSON": ("compare", "run", "./{}.jpg", "crops/b.jpg", "--json"),
    "crops on a sheet": (
        "rank",
        "run",
        "./{}.jpg",
        "strange",
        "--sheet",
        "s.png",
        "--device",
        "cpu",
    ),
    "crops to embed": ("embed", "run", "strange", "--out", "kept", "--device", "cpu"),
    "labels of crops": ("labels", "check", "--data", "strange", "--cue", "stripes"),
    "labels drawn": (
        "labels",
        "preview",
        "--data",
        "strange",
        "--cue",
        "stripes",
        "--out",
        "p.png",
    ),
    "labels kept": ("labels", "cache", "--data", "strange", "--cue", "stripes", "--out", "kept.st"),
    "people": ("data", "check", "folders", "people"),
    "people scored": (
        "eval",
        "run",
        "--data",
        "people",
        "--dataset",
        "folders",
        "--report",
        "r.html",
        "--json",
        "r.json",
        "--csv",
        "r.csv",
        "--latex",
        "r.tex",
        "--device",
        "cpu",
    ),
    "a run": ("embed", "{}", "crops", "--out", "kept", "--device", "cpu"),
    "a folder to write to": ("embed", "run", "crops", "--out", "new/{}", "--device", "cpu"),
}


@pytest.mark.parametrize("what", NAMED)
def test_strange_names_of_files(warden: Warden, folder: Path, what: str) -> None:
    """All of these are names that a file may have: they are read, and shown without what a
    terminal would obey.
    """
    wrong = []
    for name in share(STRANGE, 5 * COST):
        for place in (
            f"{name}.jpg",
            f"strange/{name}.jpg",
            f"people/train/{name}/t_c1_1.jpg",
            f"people/query/{name}/q_c1_1.jpg",
            f"people/gallery/{name}/g_c2_1.jpg",
            f"people/query/anna/{name}_c1_1.jpg",
            f"people/gallery/anna/{name}_c2_1.jpg",
        ):
            valid.put(folder / place, valid.photo(seed=len(place)))
        runs.run(folder / name)
        words = tuple(word.format(name) if "{}" in word else word for word in NAMED[what])
        outcome = warden.command(
            [f"./{w}" if w == name and w.startswith("-") else w for w in words], folder
        )
        if outcome.kind != "result":
            wrong.append(f"{name[:40]!r}: {outcome.kind}\n{outcome.message[-500:]}")
    assert not wrong, f"{len(wrong)} of {len(STRANGE)} wrong:\n" + "\n".join(wrong[:8])
