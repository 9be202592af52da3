"""What the documentation site adds to the Markdown in docs/: pages of linked source files, and tidy
docstrings.

``mkdocs.yml`` names this file twice: as hooks of MkDocs and as an extension of griffe, which reads
the docstrings.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<=\]\()(?P<target>(?!\w+:)[^)#\s]+)(?P<anchor>#[^)\s]*)?(?=\))")
NEEDS = re.compile(r"<!--\s*needs:\s*(?P<what>[^>]*?)\s*-->[ \t]*\n")  # see tests/test_docs.py
ROLE = re.compile(r":(?:class|data|func|meth|mod):(?=`)")
SOURCE = """\
---
search: {{exclude: true}}
hide: [navigation, toc]
---
# {path}

````{kind} linenums="1"
{code}````
"""
LANGUAGES = {".py": "python", ".json": "json", ".toml": "toml", ".md": "markdown", ".yml": "yaml"}


def outside(page: str, target: str) -> str | None:
    """The file of the repository, seen from its root, that a link of docs/``page`` means; None for
    one of the docs.

    page, target: as in the Markdown, e.g. ``papers/isp.md`` and ``../../partreid/losses.py``.
    """
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
    return None if path.startswith("docs/") or not (ROOT / path).is_file() else path


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every file outside docs/ that some page links to."""
    linked = {
        outside(file.src_uri, match["target"])
        for file in files.documentation_pages()
        for match in LINK.finditer(Path(str(file.abs_src_path)).read_text(encoding="utf-8"))
    }
    for path in sorted(filter(None, linked)):
        code = (ROOT / path).read_text(encoding="utf-8")
        kind = LANGUAGES.get(posixpath.splitext(path)[1], "text")
        page = File.generated(
            config, f"source/{path}.md", content=SOURCE.format(path=path, kind=kind, code=code)
        )
        page.inclusion = page.inclusion.NOT_IN_NAV
        files.append(page)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files outside docs/ into links to their pages, and show what a block of code
    needs.
    """
    here = page.file.src_uri

    def link(match: re.Match[str]) -> str:
        path = outside(here, match["target"])
        if path is None:
            return match[0]
        return posixpath.relpath(f"source/{path}.md", posixpath.dirname(here) or ".") + (
            match["anchor"] or ""
        )

    if here.startswith("source/"):
        return markdown
    return NEEDS.sub(r"Needs \g<what>:\n{: .needs }\n\n", LINK.sub(link, markdown))


def tidy(docstring: str) -> str:
    """A docstring as Markdown: roles dropped, and < outside of code kept from looking like HTML."""
    pieces = re.split(r"(``.*?``|`[^`]*`)", ROLE.sub("", docstring))
    return "".join(
        piece if piece.startswith("`") else piece.replace("<", "&lt;") for piece in pieces
    )


class Tidy(griffe.Extension):
    """Every docstring through :func:`tidy`."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = tidy(obj.docstring.value)
