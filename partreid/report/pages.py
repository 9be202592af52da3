"""The report: results, training, answers and their reasons in one HTML file that needs nothing
else.

Data in, file out. Sections whose data is absent are left out.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from partreid.explain.evidence import addends, spoken
from partreid.explain.overlays import Shown, color, part_cutout, part_overlay, photo
from partreid.explain.sheets import Match, number
from partreid.report.charts import INKS, bars, curve, drawn, shades
from partreid.report.content import (
    Example,
    Forest,
    Heat,
    Item,
    LabelStory,
    Plot,
    Report,
    Section,
    Table,
)
from partreid.report.rows import Row
from partreid.report.sections import title
from partreid.utils.files import write_atomically
from partreid.utils.text import printable

THUMB, PORTRAIT = 160, 256  # heights of embedded pictures in pixels
_ORACLE = "exact masks"  # parts that nobody knows outside a benchmark
_RULES = {"visible parts": "visible parts only", _ORACLE: "exact masks (oracle)"}
_MEASURES = {"rank1": "R1", "rank5": "R5", "mAP": "mAP", "mINP": "mINP"}


def write(report: Report, path: Path) -> Path:
    """Write the report as one HTML file and return its path. DataError if a crop or the disk
    refuses.

    The file appears whole or not at all; an older one stays until then.
    """
    write_atomically(Path(path), render(report).encode())
    return Path(path)


def render(report: Report) -> str:
    """The report as HTML text."""
    env = Environment(
        loader=PackageLoader("partreid.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_readable,
    )
    env.filters |= {
        "percent": percent,
        "color": color,
        "spoken": spoken,
        "p_value": p_value,
        "signed": signed,
        "fine": fine,
    }
    env.globals["round"] = round
    curves = [
        c for c in (curve(method, rows) for method, rows in report.curves.items()) if c is not None
    ]
    return env.get_template("report.html.j2").render(
        report=report,
        palette=_palette(),
        sections=_sections(report.sections),
        score_groups=_score_groups(report.scores),
        curves=curves,
        examples=[_example(e) for e in report.examples],
        parts=_parts(report),
        leak=_leak(report.leak),
        lessons=[
            {
                "title": lesson.title,
                "story": lesson.story,
                "pictures": [
                    (caption, _data(picture, "PNG")) for caption, picture in lesson.pictures
                ],
            }
            for lesson in report.lessons
        ],
        stories=_stories(report.labels),
        regions=_regions(report.label_quality),
        intervals=any({"R1", "mAP"} & set(row.intervals) for row in report.scores),
        seeds=any(len(row.seeds) > 1 for row in report.scores),
        has_oracle=any(map(_is_oracle, report.scores)),
    )


def _readable(value: Any) -> Any:
    """Every text of the page in printable characters; what the page itself marks as safe, and
    numbers, as they are.
    """
    return printable(value) if type(value) is str else value


def percent(value: float) -> str:
    """0.4237 -> ``42.4``."""
    return f"{100 * value:.1f}"


def p_value(p: float) -> str:
    """As papers print it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def fine(value: float) -> str:
    """The same with two digits where one place is too few: 0.000834 -> ``0.083``."""
    return percent(value) if value == 0 or abs(value) >= 0.01 else f"{100 * value:.2g}"


def signed(value: float) -> str:
    """0.0423 -> ``+4.2``, with a minus that is as wide as the plus."""
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def _palette() -> str:
    """The colors and dashes of series as CSS, for light pages and dark ones."""
    light, dark = (
        " ".join(f".s{i} {{ --ink-of: {ink[tone]}; }}" for i, ink in enumerate(INKS))
        for tone in (0, 1)
    )
    dashed = " ".join(
        f".line.s{i} {{ stroke-dasharray: {ink[2]}; }}" for i, ink in enumerate(INKS) if ink[2]
    )
    return f"{light} {dashed} @media screen and (prefers-color-scheme: dark) {{ {dark} }}"


def _sections(sections: Sequence[Section]) -> list[dict[str, Any]]:
    names = {
        s.name
        for section in sections
        for block in section.blocks
        for item in block.items
        if isinstance(item, Plot)
        for s in item.series
    }
    return [_section(section, len(names) > 1) for section in sections]


def _section(section: Section, several: bool) -> dict[str, Any]:
    """A section with its plots drawn; what has nothing to draw is left out. several: lines need
    their names.
    """
    blocks = []
    for block in section.blocks:
        legend = {
            s.name: s.slot for item in block.items if isinstance(item, Plot) for s in item.series
        }
        items = [shown for item in block.items if (shown := _item(item)) is not None]
        if items:
            blocks.append(
                {
                    "title": block.title,
                    "read": block.read,
                    "shown": items,
                    "legend": list(legend.items()) if several else [],
                }
            )
    return {
        "id": section.id,
        "title": section.title,
        "story": section.story,
        "foot": section.foot,
        "blocks": blocks,
    }


def _item(item: Item) -> dict[str, Any] | None:
    made: dict[str, Any] = {"kind": type(item).__name__, "title": item.title}
    if isinstance(item, Plot):
        picture = drawn(item)
        return None if picture is None else {**made, "drawn": picture, "x": item.x, "y": item.y}
    if isinstance(item, Forest):
        return {**made, "bars": bars(item)} if item.gains else None
    if isinstance(item, Heat):
        return {
            **made,
            "corner": item.corner,
            "columns": item.columns,
            "rows": item.rows,
            "counts": item.counts,
            "shades": shades(item),
        }
    assert isinstance(item, Table)
    return (
        {**made, "head": item.head, "columns": item.columns, "rows": item.rows}
        if item.rows
        else None
    )


def _score_groups(scores: Sequence[Row]) -> list[dict[str, Any]]:
    """A table for every query set, the best of each measure marked among the fair rows."""
    groups: dict[str, list[Row]] = {}
    for row in scores:
        groups.setdefault(row.queries, []).append(row)
    made = []
    for queries, rows in groups.items():
        fair = [row for row in rows if not _is_oracle(row)]
        best = {
            m: max((row.scores[name] for row in fair), default=math.inf)
            for m, name in _MEASURES.items()
        }
        made.append(
            {
                "title": title(queries),
                "setting": rows[0].setting,
                "timed": any(row.seconds is not None for row in rows),
                "rows": [
                    {
                        "method": row.method,
                        "rule": _RULES.get(row.matching.words, row.matching.words),
                        "seeds": len(row.seeds),
                        "seconds": row.seconds,
                        "oracle": _is_oracle(row),
                        "score": {m: row.scores[name] for m, name in _MEASURES.items()},
                        "interval": {m: row.intervals.get(name) for m, name in _MEASURES.items()},
                        "best": {
                            m: len(fair) > 1 and not _is_oracle(row) and row.scores[name] == best[m]
                            for m, name in _MEASURES.items()
                        },
                    }
                    for row in rows
                ],
            }
        )
    return made


def _is_oracle(row: Row) -> bool:
    """Whether a row was told what nobody can know outside a benchmark."""
    return row.matching.parts == _ORACLE


def _example(example: Example) -> dict[str, Any]:
    drawn = any(m.shown.probs is not None for r in example.rankings.values() for m in r)
    explained = [
        (method, r) for method, r in example.rankings.items() if r and len(r[0].evidence.names) > 1
    ]
    # the first is open, and maps explain most
    explained.sort(key=lambda of: of[1][0].shown.probs is None)
    return {
        "title": example.title,
        "story": example.story,
        "query": _thumb(example.query),
        "query_identity": example.query.identity,
        "query_camera": example.query.camera,
        "query_map": _thumb_map(example.query)
        if drawn and example.query.probs is not None
        else None,
        "rankings": [
            {
                "method": method,
                "verdict": _verdict(ranking),
                "matches": [
                    {
                        "image": _thumb(m.shown),
                        "map": _thumb_map(m.shown) if m.shown.probs is not None else None,
                        "right": m.right,
                        "distance": number(m.distance),
                        "identity": m.shown.identity,
                        "camera": m.shown.camera,
                    }
                    for m in ranking
                ],
            }
            for method, ranking in example.rankings.items()
        ],
        "panels": [
            _panel(method, example.views.get(method, example.query), ranking)
            for method, ranking in explained
        ],
    }


def _verdict(ranking: Sequence[Match]) -> str:
    ranks = [i for i, m in enumerate(ranking, 1) if m.right]
    if not ranks:
        return f"no right answer among the first {len(ranking)}"
    return "right at once" if ranks[0] == 1 else f"first right answer at rank {ranks[0]}"


def _panel(method: str, query: Shown, ranking: Sequence[Match]) -> dict[str, Any]:
    """Why the first answer came first: its parts beside those of the nearest answer of the
    opposite kind.
    """
    top = ranking[0]
    rank, other = next(
        ((i, m) for i, m in enumerate(ranking, 1) if m.right != top.right), (0, None)
    )
    against = (
        ""
        if other is None
        else f"the {'right' if other.right else 'nearest wrong'} person (rank {rank})"
    )
    columns = [_column(top, 1)] + ([_column(other, rank)] if other is not None else [])
    longest = max((c["total"] for c in columns if c["total"] is not None), default=1.0) or 1.0
    for c in columns:
        for segment in c["segments"]:
            segment["width"] = 100 * segment["value"] / longest
    finite = np.concatenate(
        [e.parts[np.isfinite(e.parts)] for e in (m.evidence for m in (top, other) if m)]
    )
    return {
        "method": method,
        "right": top.right,
        "columns": columns,
        "deciding": top.evidence.deciding(other.evidence if other else None),
        "sentence": top.evidence.sentence(other.evidence if other else None, against),
        "rows": [
            _part_row(name, m, query, top, other, max(float(finite.max(initial=0.0)), 1e-9))
            for m, name in enumerate(top.evidence.names)
        ],
        "rule": _adding_up(top),
        "query": _portrait(query),
        "query_map": _portrait_map(query),
        "legend": [] if query.probs is None else list(query.names),
        "has_hidden": any(
            s.hidden(n) for s in (query, *(m.shown for m in (top, other) if m)) for n in s.names
        ),
    }


def _column(match: Match, rank: int) -> dict[str, Any]:
    e = match.evidence
    counted = [m for m in range(len(e.names)) if e.counted[m]]
    printed, total = addends(e.share[counted]) if counted else ([], "")
    return {
        "rank": rank,
        "right": match.right,
        "image": _portrait(match.shown),
        "map": _portrait_map(match.shown),
        "total": e.distance if counted else None,
        "printed_total": total,
        "segments": [
            {
                "name": e.names[m],
                "value": max(0.0, float(e.share[m])),
                "printed": printed[i],
                "percent": percent(e.percent[m]),
            }
            for i, m in enumerate(counted)
        ],
    }


def _adding_up(match: Match) -> str:
    e = match.evidence
    n = int(e.shared.sum())
    if e.shrink:
        return (
            "What a part adds to the total is its distance, weighed by how visible it is in both "
            "pictures, and its part of the evidence that is missing; hidden parts add that alone."
        )
    if n and np.allclose(e.share[e.shared], e.parts[e.shared] / n, atol=1e-9):
        return (
            "What a part adds to the total is its distance divided by the number of parts that "
            "both pictures show."
        )
    return (
        "What a part adds to the total is its distance, weighed by how visible it is in both "
        "pictures."
    )


def _part_row(
    name: str, m: int, query: Shown, top: Match, other: Match | None, longest: float
) -> dict[str, Any]:
    def cell(match: Match) -> dict[str, Any]:
        e = match.evidence
        seen = float(e.match_visibility[m])
        return {
            "image": _cutout(match.shown, name),
            "visible": seen > 0,
            "faint": _faint(seen),
            "shared": bool(e.shared[m]),
            "distance": number(e.parts[m], 2) if e.shared[m] else "",
            "length": 100 * max(0.0, float(e.parts[m])) / longest if e.shared[m] else 0.0,
        }

    seen = float(top.evidence.query_visibility[m])
    return {
        "name": name,
        "query": {"image": _cutout(query, name), "visible": seen > 0, "faint": _faint(seen)},
        "cells": [cell(match) for match in (top, other) if match is not None],
    }


def _faint(visibility: float) -> str:
    """How visible a part is where that is neither not at all nor fully; it counts that much
    less.
    """
    return f"{100 * visibility:.0f} % visible" if 0 < visibility < 1 else ""


def _parts(report: Report) -> list[dict[str, Any]]:
    iou, seen = report.part_iou or {}, report.visibility_accuracy or {}
    # the mean stands last, as a sum does
    names = sorted(dict.fromkeys([*iou, *seen]), key=lambda name: name == "mean")
    return [{"name": name, "iou": iou.get(name), "visibility": seen.get(name)} for name in names]


def _leak(leak: Mapping[str, float] | None) -> dict[str, Any] | None:
    if not leak:
        return None
    return {"chance": leak.get("chance"), "sets": {k: v for k, v in leak.items() if k != "chance"}}


def _stories(labels: Sequence[LabelStory]) -> dict[str, list[dict[str, Any]]]:
    """By method, a row for each image: its photograph, then a picture for each round."""
    by_method: dict[str, list[dict[str, Any]]] = {}
    for story in labels:
        by_method.setdefault(story.method, []).append(
            {
                "image": _thumb(story.rounds[0][1]),
                "rounds": [
                    {"caption": caption, "map": _thumb_map(shown)}
                    for caption, shown in story.rounds
                ],
            }
        )
    return by_method


def _regions(quality: Mapping[str, Mapping[str, float]]) -> dict[str, Any] | None:
    """Regions as columns, methods as rows."""
    names = list(dict.fromkeys(name for row in quality.values() for name in row))
    return {"names": names, "rows": quality} if names else None


def _thumb(shown: Shown) -> str:
    return _data(photo(shown.source, THUMB), "JPEG")


def _thumb_map(shown: Shown) -> str:
    return _data(part_overlay(shown, THUMB), "JPEG")


def _portrait(shown: Shown) -> str:
    return _data(photo(shown.source, PORTRAIT), "JPEG")


def _portrait_map(shown: Shown) -> str | None:
    return None if shown.probs is None else _data(part_overlay(shown, PORTRAIT), "JPEG")


def _cutout(shown: Shown, name: str) -> str | None:
    image = part_cutout(shown, name, PORTRAIT)
    return None if image is None else _data(image, "PNG")


def _data(image: Image.Image, kind: str) -> str:
    """The picture as a data URI, so that the page needs no other file."""
    buffer = io.BytesIO()
    image.save(
        buffer,
        kind,
        **({"quality": 84, "optimize": True} if kind == "JPEG" else {"optimize": True}),
    )
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
