"""The section on where the scores come from: tables and plots that set the slices of methods side
by side.
"""

import math
from collections.abc import Mapping

from partreid.evaluation.slices import Breakdown
from partreid.explain.evidence import spoken
from partreid.metrics.slices import Slice
from partreid.report.content import Block, Cell, Heat, Mark, Plot, Section, Series, Table
from partreid.report.sections import Slots, title

FEW = 10  # queries below which a slice has no interval worth printing


def breakdown_section(
    of: Mapping[str, Mapping[str, Breakdown]], observer: str, colors: Slots, foot: str = ""
) -> Section:
    """The section of all methods, by label and query set; observer: who says what a query shows."""
    sets = dict.fromkeys(q for by_set in of.values() for q in by_set)
    blocks = [
        Block(
            "By cameras",
            "Rows are the query's camera, columns that of a right image, cells the mean precision "
            "at it in percent: light cells are hard to bridge. Small: how many right pairs.",
            _heats(of, sets),
        ),
        Block(
            "By what the query shows",
            f"mAP of queries that show so many body parts, as {observer} sees it, with 95 % "
            f"intervals from {FEW} queries on.",
            _tables(of, sets, "occlusion"),
        ),
        Block(
            "By shared parts",
            "Mean precision at right images that share so many visible body parts with their "
            "query; a line that rises says that little evidence finds little.",
            _lines(of, sets, "shared", colors),
        ),
        Block(
            "By part alone",
            "What the method finds if it compares this part and nothing else: mAP in percent, with "
            "95 % intervals. A query that hides the part still counts.",
            _alone(of, sets),
        ),
        Block(
            "By number of right images",
            "mAP of queries that have so many right images in the gallery, with 95 % intervals "
            f"from {FEW} queries on.",
            _tables(of, sets, "size"),
        ),
        Block(
            "By gallery size",
            "Expected mAP if only so many wrong images were in the gallery, drawn at random; a "
            "line that still falls at its end would fall further in a larger gallery.",
            _lines(of, sets, "gallery", colors),
        ),
    ]
    return Section(
        "breakdowns",
        "Where the score comes from",
        "The same answers, sorted in different ways.",
        tuple(b for b in blocks if b.items),
        foot,
    )


def _heats(of: Mapping[str, Mapping[str, Breakdown]], sets: Mapping[str, None]) -> tuple[Heat, ...]:
    values = [
        s.scores["mAP"]
        for by_set in of.values()
        for b in by_set.values()
        for s in b.slices["cameras"]
    ]
    made = []
    for queries in sets:
        for name, by_set in of.items():
            slices = {s.key: s for s in by_set[queries].slices["cameras"]}
            rows, columns = (sorted({key[i] for key in slices}) for i in (0, 1))
            if len(rows) * len(columns) > 1:
                made.append(
                    Heat(
                        _named(title(queries), name, of),
                        "query ↓",
                        tuple(map(str, columns)),
                        tuple(
                            (
                                str(a),
                                tuple(
                                    slices[a, b].scores["mAP"] if (a, b) in slices else None
                                    for b in columns
                                ),
                            )
                            for a in rows
                        ),
                        tuple(
                            tuple(slices[a, b].pairs if (a, b) in slices else 0 for b in columns)
                            for a in rows
                        ),
                        (min(values), max(values)),
                    )
                )
    return tuple(made)


def _tables(
    of: Mapping[str, Mapping[str, Breakdown]], sets: Mapping[str, None], kind: str
) -> tuple[Table, ...]:
    """mAP of every slice, methods as columns; left out where there is one slice only."""
    made = []
    for queries in sets:
        by_key = {
            name: {s.key: s for s in by_set[queries].slices.get(kind, ())}
            for name, by_set in of.items()
        }
        keys = {key: s for slices in by_key.values() for key, s in slices.items()}
        if len(keys) < 2:
            continue
        rows = []
        for key in sorted(keys):
            cells = [_cell(slices.get(key)) for slices in by_key.values()]
            most = max(
                (c.value for c in cells if c.value is not None and c.interval is not None),
                default=math.nan,
            )
            rows.append(
                (
                    keys[key].name,
                    _queries(keys[key].queries),
                    tuple(
                        Cell(c.value, c.interval, len(cells) > 1 and c.value == most) for c in cells
                    ),
                )
            )
        made.append(
            Table(
                title(queries),
                "Queries with" if kind == "size" else "Queries",
                tuple(by_key),
                tuple(rows),
            )
        )
    return tuple(made)


def _queries(n: int) -> str:
    return f"{n} {'query' if n == 1 else 'queries'}"


def _cell(s: Slice | None, score: str = "mAP") -> Cell:
    if s is None:
        return Cell(None)
    interval = s.intervals.get(score) if s.queries >= FEW else None
    return Cell(s.scores[score], None if interval is None else (interval.low, interval.high))


def _lines(
    of: Mapping[str, Mapping[str, Breakdown]], sets: Mapping[str, None], kind: str, colors: Slots
) -> tuple[Plot, ...]:
    made = []
    for queries in sets:
        series = []
        for name, by_set in of.items():
            slices = by_set[queries].slices.get(kind, ())
            if len(slices) > 1 and name in colors:
                x, y = [float(s.key[0]) for s in slices], [s.scores["mAP"] for s in slices]
                labels = [
                    f"{s.name}, {s.pairs} right pairs" if kind == "shared" else s.name
                    for s in slices
                ]
                series.append(
                    Series(name, tuple(x), tuple(y), colors[name], tuple(map(Mark, x, y, labels)))
                )
        if series:
            shared = kind == "shared"
            made.append(
                Plot(
                    title(queries),
                    "shared visible parts" if shared else "wrong images in the gallery",
                    "precision, %" if shared else "mAP, %",
                    tuple(series),
                    log=not shared,
                    low=0.0 if shared else None,
                    high=1.0 if shared else None,
                )
            )
    return tuple(made)


def _alone(
    of: Mapping[str, Mapping[str, Breakdown]], sets: Mapping[str, None]
) -> tuple[Table, ...]:
    """Parts as rows, query sets as columns; one table for every method that has parts."""
    made = []
    for name, by_set in of.items():
        slices = {
            queries: {s.name: s for s in by_set[queries].slices.get("alone", ())}
            for queries in sets
        }
        names = dict.fromkeys(n for by_name in slices.values() for n in by_name)
        if names:
            made.append(
                Table(
                    name,
                    "Part",
                    tuple(slices),
                    tuple(
                        (
                            spoken(part),
                            "",
                            tuple(_cell(by_name.get(part)) for by_name in slices.values()),
                        )
                        for part in names
                    ),
                )
            )
    return tuple(made)


def _named(what: str, name: str, of: Mapping[str, object]) -> str:
    return f"{name}, {what[:1].lower()}{what[1:]}" if len(of) > 1 else what
