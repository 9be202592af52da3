"""Names in other scripts are written, in a font that has them or as numbers, and never as boxes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from partreid.explain import fonts
from partreid.explain.fonts import font, written


@pytest.fixture(autouse=True)
def _anew(monkeypatch):
    """No font of this machine, unless a test brings one."""
    monkeypatch.setattr(fonts, "_folders", lambda: ())
    for cached in (fonts._candidates, fonts._drawn, fonts._opened):
        cached.cache_clear()
    yield
    fonts._candidates.cache_clear()


def inked(text, kind):
    picture = Image.new("L", (600, 60))
    ImageDraw.Draw(picture).text((5, 5), text, 255, kind)
    return np.asarray(picture)


def test_what_the_usual_type_has_is_written_in_it():
    for text in ("0001_c1.png", "[cam1] anna", ""):
        assert written(text, 20) == (text, font(20))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("王小明 1", "\\u738b\\u5c0f\\u660e 1"),
        ("a\x1b[2J\u202e", "a\\x1b[2J\\u202e"),
        ("caf\udce9", "caf\\xe9"),
        ("\U00020bb7", "\\U00020bb7"),
    ],
)
def test_without_a_font_a_name_is_told_by_numbers(text, shown):
    line, kind = written(text, 20)
    assert line == shown and kind == font(20)


def test_two_names_never_look_alike():
    one, other = (inked(*written(name, 20)) for name in ("王小明", "王小红"))
    assert (one != other).any()


def test_a_font_of_the_machine_is_found_and_a_broken_one_is_left(tmp_path, monkeypatch):
    there = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
    if not there.is_file():
        pytest.skip("no font with Cyrillic on this machine")
    shutil.copy(there, tmp_path / "NotoSans-Regular.ttf")
    (tmp_path / "NotoSansCJK-Regular.ttc").write_bytes(b"broken")
    monkeypatch.setattr(fonts, "_folders", lambda: (tmp_path,))
    line, kind = written("Жук_c1.png", 16)
    assert line == "Жук_c1.png" and isinstance(kind, ImageFont.FreeTypeFont) and kind.size == 16
    assert Path(str(kind.path)).name == "NotoSans-Regular.ttf"
    assert written("王", 16)[0] == "\\u738b"  # which that font lacks
