"""What the README shows works: Python is run, commands are parsed, settings and recipe names exist."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from partreid.build import benchmark
from partreid.cli import app
from partreid.methods import METHODS
from partreid.recipes import ROWS, find, override

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
FENCE = re.compile(r"(?:<!--\s*(?P<mark>\w+):[^>]*-->\s*\n)?```(?P<kind>python|bash)\n(?P<text>.*?)```", re.DOTALL)


class Block(NamedTuple):
    kind: str
    text: str
    line: int
    only_parsed: bool


def readme() -> str:
    assert README.is_file(), "there is no README.md beside pyproject.toml; these tests read the examples in it"
    return README.read_text(encoding="utf-8")


def blocks(text: str) -> Iterator[Block]:
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        yield Block(match["kind"], match["text"], line, match["mark"] == "needs")


def commands(text: str) -> list[list[str]]:
    """The words of every ``partreid`` call in bash blocks, comments left out, lines that end in \\ joined."""
    found = []
    for block in blocks(text):
        if block.kind == "bash":
            for line in block.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["partreid"]:
                    found.append(words[1:])
    return found


def test_the_finder_finds() -> None:
    text = ("```python\na = 1\n```\n<!-- needs: a GPU -->\n```bash\npartreid demo \\\n  --quick  # toy\nmake demo\n"
            "```\n```text\nnot code\n```\n")
    assert [(b.kind, b.only_parsed) for b in blocks(text)] == [("python", False), ("bash", True)]
    assert commands(text) == [["demo", "--quick"]]


def test_every_command_is_one_the_program_understands() -> None:
    shown = commands(readme())
    assert shown
    for words in shown:
        app.parse_args(words, exit_on_error=False, print_error=False)  # raises on an unknown option or a wrong type


@pytest.mark.parametrize("line", ["partreid compare a.jpg", "partreid train x --data d --epochs 3", "partreid fly",
                                  "partreid data synth huge d"])
def test_a_command_that_does_not_exist_would_be_caught(line: str) -> None:
    (words,) = commands(f"```bash\n{line}\n```\n")
    with pytest.raises(Exception, match=r"(?i)unknown|requires|invalid|unused"):
        app.parse_args(words, exit_on_error=False, print_error=False)


def test_recipes_and_settings_that_are_shown_exist() -> None:
    text = readme()
    for words in commands(text):
        if words[0] == "train":
            find(words[1])
        if words[0] == "recipes" and "--filter" in words:
            assert any(words[words.index("--filter") + 1] in r.name for r in ROWS), words
    settings = [s.rstrip(".,;`") for s in re.findall(r"--set[ =]'?([\w.]+=[^\s'`]+)", text)]
    override(find("synthetic/demo/bpbreid"), settings)


def test_commands_in_running_text_exist() -> None:
    text = re.sub(r"```.*?```", "", readme(), flags=re.DOTALL)
    inline = [words.split() for words in re.findall(r"`partreid ([^`]+)`", text)]
    for words in inline:
        command = app[words[0]]
        if words[0] == "data" and len(words) > 1:
            command = command[words[1]]
        known = {name for argument in command.assemble_argument_collection() for name in argument.names}
        assert {w.split("=")[0] for w in words if w.startswith("--")} <= known, words


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    wanted = {line.split()[1] for block in blocks(readme()) if block.kind == "bash"
              for line in block.text.splitlines() if line.startswith("make ")}
    wanted |= set(re.findall(r"`make (\w+)", readme()))
    assert {target for target in wanted if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()


def test_pictures_and_links_into_the_repository_exist() -> None:
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", readme())]
    assert [link for link in links if link and "://" not in link and not (ROOT / link).exists()] == []


def test_no_placeholder_is_left() -> None:
    """A word in capitals alone on a line, or where a number belongs, is one that waits for a measurement."""
    assert re.findall(r"^[A-Z]{4,}$|\b[A-Z]{4,}(?= (?:minutes|seconds|points)\b)", readme(), re.MULTILINE) == []


def test_every_method_is_in_the_table() -> None:
    assert {name for name in METHODS if f"`{name}`" not in readme()} == set()


@pytest.mark.slow  # needs the quick demo
def test_python_runs(quick_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks in one namespace, in a folder with the demo's output, two crops a.jpg and b.jpg, and crops/."""
    shown = [block for block in blocks(readme()) if block.kind == "python"]
    assert any(not block.only_parsed for block in shown)
    shutil.copytree(quick_demo / "partreid-demo", tmp_path / "partreid-demo")
    data = benchmark("synthetic-tiny", tmp_path / "partreid-demo" / "world-tiny")
    for name, sample in zip(("a.jpg", "b.jpg"), data.query):
        shutil.copy(sample.path, tmp_path / name)
    (tmp_path / "crops").mkdir()
    for sample in data.gallery[:8]:
        shutil.copy(sample.path, tmp_path / "crops")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "readme"}
    for block in shown:
        code = compile("\n" * (block.line - 1) + block.text, str(README), "exec")  # tracebacks name README's lines
        if not block.only_parsed:
            exec(code, namespace)
