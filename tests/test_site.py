"""The documentation as a site: it builds strictly and without a network, and no page fetches
anything.
"""

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from partreid.metrics import PROTOCOLS
from tests.conftest import alone

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers.python")


def installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


with_tools = pytest.mark.skipif(
    not all(map(installed, TOOLS)),
    reason="the documentation tools (extra 'docs') are not installed",
)
OFFLINE = """
import socket, sys

def refuse(*where, **rest):
    raise OSError(f"the build asked for the network: {where}")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from mkdocs.__main__ import cli
cli(sys.argv[1:])
"""
FETCHES = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "link": ("href",),
    "use": ("href", "xlink:href"),
    "image": ("href", "xlink:href"),
    "input": ("src",),
    "form": ("action",),
}
ELSEWHERE = re.compile(r"\s*(?:https?:)?//")
IN_STYLE = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])((?:https?:)?//[^'\")\s]+)")


class Fetched(HTMLParser):
    """Everything that a browser would fetch from another place when it shows a page; links to
    follow are not.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)
        self.addresses += IN_STYLE.findall(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [
            f"<{tag} {name}={value}>"
            for name, value in attrs
            if name in FETCHES.get(tag, ()) and ELSEWHERE.match(value or "")
        ]


def build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """MkDocs without a network. Never with --quiet: it then counts no warnings, and --strict
    means nothing.
    """
    return subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            OFFLINE,
            "build",
            "--strict",
            "--config-file",
            str(config),
            "--site-dir",
            str(out),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )


@pytest.fixture(scope="module")
def site(common: Path) -> Path:
    """The site, built once per session."""
    with alone(common, "site") as folder:
        if not (folder / "sitemap.xml").is_file():
            done = build(ROOT / "mkdocs.yml", folder)
            assert done.returncode == 0, done.stdout + done.stderr
        return folder


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pages", ROOT / "tools" / "pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@with_tools
class TestTheSite:
    def test_builds_strictly_without_a_network(self, site: Path) -> None:
        pages = {
            p.relative_to(ROOT / "docs").with_suffix(".html") for p in (ROOT / "docs").rglob("*.md")
        }
        assert pages <= {p.relative_to(site) for p in site.rglob("*.html")}

    def test_no_page_fetches_anything_from_elsewhere(self, site: Path) -> None:
        by_page = {
            str(page.relative_to(site)): Fetched(page.read_text(encoding="utf-8")).addresses
            for page in site.rglob("*.html")
        }
        assert len(by_page) > 20 and {page: what for page, what in by_page.items() if what} == {}

    def test_nor_does_a_style_or_a_picture(self, site: Path) -> None:
        files = [*site.rglob("*.css"), *site.rglob("*.svg")]
        by_file = {
            p.name: IN_STYLE.findall(text) + re.findall(r"href=[\"'](?:https?:)?//[^\"']*", text)
            for p in files
            for text in [p.read_text(encoding="utf-8")]
        }
        assert len(files) > 3 and {name: what for name, what in by_file.items() if what} == {}

    def test_the_reference_is_made_from_docstrings(self, site: Path) -> None:
        reference = "".join(
            page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html")
        )
        for anchor in (
            "partreid.distance.PartDistance.terms",
            "partreid.metrics.ranking.evaluate",
            "partreid.methods.bpbreid.model.BPBreID",
            "partreid.build.method",
            "partreid.train.loop.train",
        ):
            assert f'id="{anchor}"' in reference, anchor
        assert "Distance of each part of row i in both" in reference
        assert not re.search(r":(?:func|class|meth|mod|data):", reference)

    def test_linked_source_files_have_pages(self, site: Path) -> None:
        page = (site / "papers" / "bpbreid.html").read_text(encoding="utf-8")
        assert "../source/partreid/methods/bpbreid/model.py.html" in page
        assert "class" in (
            site / "source" / "partreid" / "methods" / "bpbreid" / "model.py.html"
        ).read_text(encoding="utf-8")

    def test_a_broken_link_fails(self, tmp_path: Path) -> None:
        (tmp_path / "docs").mkdir()
        config = tmp_path / "mkdocs.yml"
        config.write_text(
            f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nnav: [index.md]\nplugins: [search]\n"
            f"hooks: []\nextra_css: []\n"
        )
        for text, code in (
            ("# Fine\n\n[here](#fine)\n", 0),
            ("# Broken\n\n[gone](gone.md)\n", 1),
            ("# Broken\n\n[no heading](#gone)\n", 1),
        ):
            (tmp_path / "docs" / "index.md").write_text(text)
            done = build(config, tmp_path / "site")
            assert done.returncode == code, done.stdout + done.stderr


def test_the_finder_of_fetches_finds() -> None:
    page = (
        '<link rel="stylesheet" href="https://a/b.css"><script src="//c/d.js"></script><img '
        'src="e.png">'
        '<a href="https://f">g</a><style>h { background: url(https://i/j.png) }</style>'
    )
    assert Fetched(page).addresses == [
        "<link href=https://a/b.css>",
        "<script src=//c/d.js>",
        "https://i/j.png",
    ]


@with_tools
def test_links_out_of_the_docs_lead_to_pages_of_the_files(hooks: ModuleType) -> None:
    assert hooks.outside("papers/isp.md", "../../partreid/losses.py") == "partreid/losses.py"
    assert hooks.outside("extend.md", "../CONTRIBUTING.md") == "CONTRIBUTING.md"
    assert hooks.outside("papers/isp.md", "hcga.md") is None
    # left as it is, so that the build fails
    assert hooks.outside("papers/isp.md", "../../partreid/gone.py") is None
    links = hooks.LINK.findall("[a](b.py#L3) [c](https://d) ![e](f.png) [g](#h)")
    assert links == [("b.py", "#L3"), ("f.png", "")]


@with_tools
def test_docstrings_become_markdown(hooks: ModuleType) -> None:
    assert hooks.tidy("See :func:`rank`: query_<name>, `a < b`, ``c <d>``") == (
        "See `rank`: query_&lt;name>, `a < b`, ``c <d>``"
    )


def test_every_protocol_is_explained_in_its_own_words() -> None:
    page = " ".join((ROOT / "docs" / "protocols.md").read_text(encoding="utf-8").split()).lower()
    for name, protocol in PROTOCOLS.items():
        assert f"## {name} *{protocol.sentence.split(';')[0]}" in page, name


def test_the_tools_are_in_the_lock() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    for package in ("mkdocs", "mkdocs-material", "mkdocstrings", "mkdocstrings-python"):
        assert re.search(rf"^{package}==", lock, re.MULTILINE), (
            f"{package} is not in requirements.lock; run make lock"
        )
