"""What stands in a name reaches neither a terminal nor a spreadsheet as more than text."""

import csv
import io
import unicodedata

import pytest

from partreid.utils.text import cell, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.jpg", "plain name.jpg"),
        ("[cam1]anna[/red].png", "[cam1]anna[/red].png"),
        ("Ünal 王 محمد", "Ünal 王 محمد"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb\tc\rd\x00", "a\\nb\\tc\\rd\\x00"),
        ("a\x7f\x9bb", "a\\x7f\\x9bb"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("\u2066a\u2069\u200f", "\\u2066a\\u2069\\u200f"),
        ("a\u2028b", "a\\u2028b"),
        ("caf\udce9.jpg", "caf\\xe9.jpg"),
        ("\ud800", "\\ud800"),
        ("a\U000e0041", "a\\U000e0041"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        (7, "7"),
        ("", ""),
    ],
)
def test_what_hides_or_moves_is_spelled_out(text, shown):
    assert printable(text) == shown and printable(shown) == shown
    shown.encode()


def test_no_character_at_all_moves_a_cursor_or_breaks_a_line():
    every = "".join(printable(chr(code)) for code in range(0x110000))
    every.encode()
    assert len(every.splitlines()) == 1
    assert not {unicodedata.bidirectional(c) for c in every} & {
        "RLO",
        "LRO",
        "RLE",
        "LRE",
        "RLI",
        "LRI",
        "FSI",
        "PDI",
    }
    assert {unicodedata.category(c) for c in every} >= {"Lo", "So"} and "Cc" not in map(
        unicodedata.category, every
    )


@pytest.mark.parametrize(
    "text", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1", "＝1"]
)
def test_a_cell_is_never_a_formula(text):
    assert cell(text).startswith("'") and cell(text)[1:] == printable(text)
    file = io.StringIO()
    csv.writer(file).writerow([cell(text), cell("a=1"), cell("bpbreid")])
    assert next(csv.reader(io.StringIO(file.getvalue()))) == [
        f"'{printable(text)}",
        "a=1",
        "bpbreid",
    ]
