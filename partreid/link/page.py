"""The page of a result: the unsure joins first, then every identity's way over the cameras. One
HTML file that needs nothing else, in the looks of the reports.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from partreid.evaluation.decision import percent
from partreid.link.associate import Join, Linked
from partreid.link.score import LinkScores
from partreid.link.tracklets import Tracklets
from partreid.utils.arguments import Count, door
from partreid.utils.files import write_atomically
from partreid.utils.images import read_image
from partreid.utils.text import printable

_HEIGHT: Final = 112  # of a crop on the page, pixels
_OF_SIDE, _OF_TRACKLET = 4, 5  # crops shown of a join's side, of a tracklet
_JOINS: Final = 40
_WIDE: Final = 1000  # of a timeline's own pixels


@dataclass(frozen=True)
class _Pictures:
    """Crops as data for the page, each read once."""

    paths: tuple[Path, ...]
    known: dict[int, str]

    def __call__(self, crop: int) -> str:
        if crop not in self.known:
            picture = read_image(self.paths[crop])
            wide = max(1, round(picture.width * _HEIGHT / picture.height))
            out = io.BytesIO()
            picture.resize((wide, _HEIGHT)).save(out, "JPEG", quality=80)
            data = base64.b64encode(out.getvalue()).decode()
            self.known[crop] = f"data:image/jpeg;base64,{data}"
        return self.known[crop]


@door
def write_page(
    tracklets: Tracklets,
    linked: Linked,
    file: str | Path,
    *,
    title: str = "Who is who over the cameras",
    notes: Sequence[str] = (),
    facts: Mapping[str, str] | None = None,
    scores: LinkScores | None = None,
    most: Count = 200,
) -> Path:
    """Write the page.

    Args:
        tracklets: T of them; their crops are read.
        linked: What was found.
        file: Where to, as HTML.
        title: The heading.
        notes: Sentences on what limits the result.
        facts: How it was made, in words.
        scores: Against the truth, where that is known.
        most: Identities that are shown, those with the least sure tracklet first; the page says how
            many it leaves out.

    Returns:
        The file.

    Raises:
        DataError: A crop cannot be read, or the file not be written.

    Examples:
        >>> from partreid.link import TrackedCrop
        >>> crops = [TrackedCrop("a.jpg", "1", "c1", 0), TrackedCrop("b.jpg", "1", "c2", 9)]
        >>> two = Tracklets.of(crops)
        >>> page = write_page(two, Linked.alone(2), "link.html")
        >>> "2 tracklets" in page.read_text()
        True
    """
    file = Path(file)
    env = Environment(
        loader=ChoiceLoader([PackageLoader("partreid.link"), PackageLoader("partreid.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    env.filters["percent"] = percent
    pictures = _Pictures(tracklets.paths, {})
    clock = _Clock.of(tracklets)
    shown, left_out = _identities(linked, most)
    html = env.get_template("link.html.j2").render(
        title=title,
        headline=_headline(tracklets, linked),
        joins=[_join(tracklets, linked, join, pictures) for join in linked.joins[:_JOINS]],
        more=max(0, len(linked.joins) - _JOINS),
        identities=[_identity(tracklets, linked, who, clock, pictures) for who in shown],
        left_out=left_out,
        scores=scores,
        notes=notes,
        facts=dict(facts or {}),
    )
    write_atomically(file, html.encode())
    return file


def _headline(tracklets: Tracklets, linked: Linked) -> str:
    cameras = len(set(tracklets.cameras))
    return (
        f"{len(tracklets):,} tracklets of {cameras} camera{'s' if cameras != 1 else ''} are taken "
        f"for {linked.people:,} {'people' if linked.people != 1 else 'person'}."
    )


def _identities(linked: Linked, most: int) -> tuple[list[int], int]:
    """Which identities are shown, in their order, and how many are not."""
    every = np.unique(linked.identity).tolist()
    unsure = {who: float(linked.probability[linked.identity == who].min()) for who in every}
    chosen = sorted(every, key=lambda who: (unsure[who], who))[:most]
    return sorted(chosen), len(every) - len(chosen)


@dataclass(frozen=True)
class _Clock:
    """Times to places on a timeline."""

    first: float
    last: float

    @classmethod
    def of(cls, tracklets: Tracklets) -> "_Clock":
        if tracklets.timeless == len(tracklets):
            return cls(0.0, 1.0)
        first, last = float(np.nanmin(tracklets.start)), float(np.nanmax(tracklets.end))
        return cls(first, max(last, first + 1e-9))

    def bar(self, start: float, end: float) -> tuple[float, float]:
        """Left end and width in the timeline's pixels."""
        left, right = (_WIDE * (t - self.first) / (self.last - self.first) for t in (start, end))
        wide = max(right - left, 5.0)
        return round(min(left, _WIDE - wide), 1), round(wide, 1)


def _identity(
    tracklets: Tracklets, linked: Linked, who: int, clock: _Clock, pictures: _Pictures
) -> dict[str, Any]:
    rows = np.flatnonzero(linked.identity == who).tolist()
    rows.sort(key=lambda t: (np.isnan(tracklets.start[t]), tracklets.start[t], t))
    cameras = sorted({tracklets.cameras[t] for t in rows})
    lanes: dict[str, list[dict[str, Any]]] = {camera: [] for camera in cameras}
    for t in rows:
        if not np.isnan(tracklets.start[t]):
            left, wide = clock.bar(float(tracklets.start[t]), float(tracklets.end[t]))
            lanes[tracklets.cameras[t]].append(
                {
                    "left": left,
                    "wide": wide,
                    "solid": round(0.25 + 0.75 * float(linked.probability[t]), 2),
                    "title": f"{tracklets.names[t]}: {_when(tracklets, t)}",
                }
            )
    return {
        "number": who,
        "sure": float(linked.probability[rows].min()),
        "cameras": cameras,
        "lanes": list(lanes.items()),
        "timed": any(lanes.values()),
        "tracklets": [
            {
                "name": tracklets.names[t],
                "camera": tracklets.cameras[t],
                "when": _when(tracklets, t),
                "probability": float(linked.probability[t]),
                "crops": [pictures(crop) for crop in _some(tracklets, t, _OF_TRACKLET)],
            }
            for t in rows
        ],
    }


def _join(tracklets: Tracklets, linked: Linked, join: Join, pictures: _Pictures) -> dict[str, Any]:
    sides = []
    for rows in (join.a, join.b):
        crops = [crop for t in rows for crop in _some(tracklets, t, _OF_SIDE)]
        step = max(1, -(-len(crops) // _OF_SIDE))
        names = [f"{tracklets.names[t]} in {tracklets.cameras[t]}" for t in rows]
        several = f" and {len(names) - 2} more" if len(names) > 2 else ""
        sides.append(
            {
                "crops": [pictures(crop) for crop in crops[::step]],
                "names": ", ".join(names[:2]) + several,
                "when": _when(tracklets, rows[0]),
            }
        )
    return {
        "probability": join.probability,
        "made": join.made,
        "sides": sides,
        "identities": sorted({int(linked.identity[t]) for t in (join.a[0], join.b[0])}),
    }


def _some(tracklets: Tracklets, t: int, most: int) -> list[int]:
    """Crops of a tracklet, evenly over its time."""
    rows = np.flatnonzero(tracklets.crop_of == t)
    rows = rows[np.argsort(tracklets.times[rows], kind="stable")]
    places = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(np.int64)
    out: list[int] = rows[places].tolist()
    return out


def _when(tracklets: Tracklets, t: int) -> str:
    start, end = float(tracklets.start[t]), float(tracklets.end[t])
    if start != start:
        return "time unknown"
    return f"at {start:g}" if start == end else f"{start:g} to {end:g}"
