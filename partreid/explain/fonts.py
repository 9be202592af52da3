"""Type for pictures: Pillow's own, and for what it lacks, such as a Chinese name, a font of the
machine.

Where no font has a character it stands as its number, ``\\u738b``: two names never look alike as
two rows of boxes.
"""

import os
import sys
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

from partreid.utils.text import printable

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Files that hold Chinese, Japanese or Korean, by preference; then those for most other scripts.
_KNOWN = (
    "NotoSansCJK",
    "NotoSansSC",
    "SourceHanSans",
    "wqy-",
    "DroidSansFallback",
    "PingFang",
    "Hiragino",
    "msyh",
    "simsun",
    "Arial Unicode",
    "ArialUnicode",
    "unifont",
    "NotoSans-",
    "DejaVuSans.",
    "Arial.",
)
_MOST = 4000  # files looked at: enough for any machine's folders
_NOWHERE = "\uffff"  # a character that no font has: what is drawn like it is a box


@lru_cache(maxsize=64)
def font(size: int) -> Font:
    """The usual type."""
    return ImageFont.load_default(size)


def written(text: object, size: int) -> tuple[str, Font]:
    """A text as it can be written, and the type that has its characters."""
    shown = printable(text)
    if _has(None, shown):
        return shown, font(size)
    for path in _candidates():
        if _has(path, shown):
            return shown, _opened(path, size)
    return "".join(c if _has(None, c) else _numbered(c) for c in shown), font(size)


def _numbered(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"


def _has(path: str | None, text: str) -> bool:
    return text.isascii() or all(_drawn(path, c) for c in text if not c.isascii())


@lru_cache(maxsize=4096)
def _drawn(path: str | None, character: str) -> bool:
    """Whether a font has a glyph of its own for a character: it is not drawn as what is in no
    font.
    """
    if character.isspace():
        return True
    type_ = font(24) if path is None else _opened(path, 24)
    return bytes(type_.getmask(character)) != bytes(type_.getmask(_NOWHERE))


@lru_cache(maxsize=64)
def _opened(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


@lru_cache(maxsize=1)
def _candidates() -> tuple[str, ...]:
    """Fonts of this machine that hold many characters, best first; unreadable ones are left out."""
    ranked: list[tuple[int, str]] = []
    for folder in _folders():
        for parent, _, files in os.walk(folder):
            for name in files:
                rank = next((i for i, known in enumerate(_KNOWN) if name.startswith(known)), None)
                if (
                    rank is not None
                    and name.lower().endswith((".ttf", ".ttc", ".otf"))
                    and len(ranked) < _MOST
                ):
                    ranked.append((rank, os.path.join(parent, name)))
    usable = []
    for _, path in sorted(ranked):
        try:
            _opened(path, 24)
        except OSError:
            continue
        usable.append(path)
    return tuple(usable)


def _folders() -> tuple[Path, ...]:
    if sys.platform == "win32":
        return (Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts",)
    if sys.platform == "darwin":
        return Path("/System/Library/Fonts"), Path("/Library/Fonts")
    return (
        Path("/usr/share/fonts"),
        Path("/usr/local/share/fonts"),
        Path.home() / ".local/share/fonts",
    )
