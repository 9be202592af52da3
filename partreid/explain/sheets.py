"""Pictures of answers: a query with its ten nearest crops, and two crops side by side with their
part table.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw

from partreid.errors import ShapeError
from partreid.explain.evidence import Evidence, addends, spoken
from partreid.explain.fonts import font as _font
from partreid.explain.fonts import written
from partreid.explain.overlays import Shown, color, part_overlay, photo
from partreid.utils.arguments import door

PAPER, INK, QUIET, LINE = "#ffffff", "#1c1c1a", "#6b6b66", "#dcdcd6"
RIGHT, WRONG = "#1f8a57", "#c6382c"


@dataclass(frozen=True, eq=False)
class Match:
    """One answer to a query: the crop, whether it shows the same person (None: nobody knows),
    and why it was chosen.
    """

    shown: Shown
    right: bool | None
    evidence: Evidence

    @property
    def distance(self) -> float:
        return self.evidence.distance


@door
def ranking_sheet(
    query: Shown, rankings: Mapping[str, Sequence[Match]], top: int = 10, height: int = 192
) -> Image.Image:
    """Query and nearest crops of each method as an RGB picture; crops are ``height`` pixels high.

    A right answer has a green frame and a tick, a wrong one a red frame and a cross, one of whom
    nothing is known has neither. Methods with part maps get a second row that shows them. Below
    each crop stands its distance.
    """
    if not rankings:
        raise ShapeError("a ranking sheet needs the ranking of at least one method, got none")
    cell = max(photo(s.source, height).width for s in _everyone(query, rankings, top))
    gap, edge, caption, title = 12, 24, 26, 40
    columns = 1 + max(min(top, len(r)) for r in rankings.values())
    blocks = []
    for method, ranking in rankings.items():
        maps = any(m.shown.probs is not None for m in ranking[:top])
        blocks.append((method, list(ranking[:top]), maps))
    tall = sum(
        title + height + caption + ((height + 8) if maps else 0) + gap for _, _, maps in blocks
    )
    parts = list(dict.fromkeys(name for s in _everyone(query, rankings, top) for name in s.names))
    steps = [40 + int(_font(14).getlength(spoken(name))) for name in parts]
    wide = max(columns * (cell + gap) + gap, sum(steps))  # few answers, and many parts to name
    sheet = Image.new("RGB", (2 * edge + wide, 2 * edge + tall + (28 if parts else 0)), PAPER)
    draw = ImageDraw.Draw(sheet)
    y = edge
    for method, ranking, maps in blocks:
        name, font = written(method, 20)
        draw.text((edge, y + 4), name, INK, font)
        y += title
        x = edge
        _place(sheet, query, x, y, cell, height, maps)
        draw.text((x, y + height + 5), "query", QUIET, _font(14))
        x += cell + 2 * gap
        for match in ranking:
            _place(sheet, match.shown, x, y, cell, height, maps)
            if match.right is not None:
                _frame(sheet, x, y, cell, height, match.right)
            draw.text((x, y + height + 5), number(match.distance), INK, _font(14))
            x += cell + gap
        y += height + caption + ((height + 8) if maps else 0) + gap
    x = edge
    for name, step in zip(parts, steps, strict=True):
        draw.ellipse((x, y + 10, x + 11, y + 21), fill=color(name))
        draw.text((x + 18, y + 6), spoken(name), QUIET, _font(14))
        x += step
    return sheet


@door
def compare_picture(
    first: Shown, second: Shown, evidence: Evidence, height: int = 320, decision: str = ""
) -> Image.Image:
    """Two crops with their part maps, the distance of each part, and what each adds, as an RGB
    picture; below the evidence what is decided, if anything.
    """
    images = [
        [photo(s.source, height)] + ([part_overlay(s, height)] if s.probs is not None else [])
        for s in (first, second)
    ]
    edge, gap, line, table = 28, 8, 34, 560
    left = sum(i.width + gap for pair in images for i in pair) + 2 * gap
    words = _wrapped(
        evidence.sentence(hidden_in=("the first picture", "the second picture")), 17, left + table
    )
    if decision:
        words += _wrapped(decision[0].upper() + decision[1:] + ".", 17, left + table)
    top = edge + 40 + 25 * len(words) + 16
    body = max(height + 34, 30 + line * len(evidence.names) + 64)
    sheet = Image.new("RGB", (2 * edge + left + gap + table, top + body + edge), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((edge, edge - 4), f"Distance {number(evidence.distance)}", INK, _font(28))
    for i, text in enumerate(words):
        draw.text((edge, edge + 40 + 25 * i), text, INK, _font(17))
    x = edge
    for title, pair in zip(("first picture", "second picture"), images):
        draw.text((x, top), title, QUIET, _font(14))
        for image in pair:
            sheet.paste(image, (x, top + 24))
            x += image.width + gap
        x += gap
    _part_table(draw, evidence, x + gap, top, table, line)
    return sheet


def _part_table(
    draw: ImageDraw.ImageDraw, evidence: Evidence, x: int, y: int, width: int, line: int
) -> None:
    """Rows of part, distance as a bar and a number, what it adds; below them one bar that adds
    up.
    """
    bar, right = 170, x + width
    draw.text((x, y), "part", QUIET, _font(14))
    draw.text((x + 150, y), "distance", QUIET, _font(14))
    draw.text((right, y), "adds", QUIET, _font(14), anchor="ra")
    shared = [m for m in range(len(evidence.names)) if evidence.shared[m]]
    counted = [m for m in range(len(evidence.names)) if evidence.counted[m]]
    printed, total = addends(evidence.share[counted]) if counted else ([], "")
    longest = max((abs(float(evidence.parts[m])) for m in shared), default=0.0) or 1.0
    y += 24
    for m, name in enumerate(evidence.names):
        draw.line((x, y, right, y), fill=LINE)
        ink = INK if m in shared else QUIET
        draw.ellipse((x, y + 12, x + 11, y + 23), fill=color(name))
        draw.text((x + 20, y + 8), spoken(name), ink, _font(16))
        if m in shared:
            draw.rectangle((x + 150, y + 12, x + 150 + bar, y + 22), fill=LINE)
            length = bar * max(0.0, float(evidence.parts[m])) / longest
            if length >= 1:
                draw.rectangle((x + 150, y + 12, x + 150 + length, y + 22), fill=color(name))
            draw.text((x + 160 + bar, y + 8), f"{evidence.parts[m]:.3f}", INK, _font(16))
        else:
            gone = [
                w
                for w, v in (
                    ("first", evidence.query_visibility),
                    ("second", evidence.match_visibility),
                )
                if v[m] == 0
            ]
            draw.text(
                (x + 150, y + 8),
                f"not compared: hidden in the {' and the '.join(gone)}",
                QUIET,
                _font(15),
            )
        if m in counted:
            draw.text((right, y + 8), printed[counted.index(m)], ink, _font(16), anchor="ra")
        y += line
    draw.line((x, y, right, y), fill=INK)
    draw.text((x, y + 9), "sum" if counted else "no shared part", INK, _font(16))
    draw.text((right, y + 9), total, INK, _font(16), anchor="ra")
    if counted and evidence.distance > 0:
        left = float(x)
        for m in counted:
            step = width * max(0.0, float(evidence.percent[m]))
            if step >= 1:
                draw.rectangle(
                    (left, y + 40, left + step - 1, y + 54), fill=color(evidence.names[m])
                )
            left += step


def _wrapped(text: str, size: int, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _font(size).getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


@door
def number(distance: float, digits: int = 3) -> str:
    """A distance as printed."""
    return f"{distance:.{digits}f}" if math.isfinite(distance) else "no shared part"


def _everyone(query: Shown, rankings: Mapping[str, Sequence[Match]], top: int) -> list[Shown]:
    return [query, *(m.shown for ranking in rankings.values() for m in ranking[:top])]


def _place(
    sheet: Image.Image, shown: Shown, x: int, y: int, cell: int, height: int, maps: bool
) -> None:
    image = photo(shown.source, height)
    sheet.paste(image, (x + (cell - image.width) // 2, y))
    if maps:
        sheet.paste(part_overlay(shown, height), (x + (cell - image.width) // 2, y + height + 34))


def _frame(sheet: Image.Image, x: int, y: int, width: int, height: int, right: bool) -> None:
    """Frame and, for those who do not see its color, a tick or a cross in its corner."""
    ImageDraw.Draw(sheet).rectangle(
        (x - 3, y - 3, x + width + 2, y + height + 2), outline=RIGHT if right else WRONG, width=4
    )
    badge = _badge(right)
    sheet.paste(badge, (x + width - 24, y - 2), badge)


@lru_cache(maxsize=2)
def _badge(right: bool, size: int = 26) -> Image.Image:
    """A tick in a green or a cross in a red disc, RGBA; drawn four times as large for smooth
    edges.
    """
    big = Image.new("RGBA", (4 * size, 4 * size))
    draw = ImageDraw.Draw(big)
    u = 4 * size / 26
    draw.ellipse((0, 0, 26 * u - 1, 26 * u - 1), fill=PAPER)
    draw.ellipse((2 * u, 2 * u, 24 * u - 1, 24 * u - 1), fill=RIGHT if right else WRONG)
    strokes = (
        [[(8, 13.5), (11.5, 17), (18, 9.5)]] if right else [[(9, 9), (17, 17)], [(17, 9), (9, 17)]]
    )
    for stroke in strokes:
        draw.line(
            [(px * u, py * u) for px, py in stroke], fill=PAPER, width=round(2.6 * u), joint="curve"
        )
    return big.resize((size, size), Image.Resampling.LANCZOS)
