"""The page: what the report looks like, for one question at a time.

Whole pieces are made here and put in by a small script. Nothing is styled or drawn inline but SVG,
so that the browser may be told to run and fetch our own files alone.
"""

import base64
import io
import math
from collections.abc import Sequence
from datetime import timezone
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from partreid.evaluation import decision
from partreid.explain.evidence import Evidence, addends, spoken
from partreid.explain.overlays import color, part_cutout, part_overlay, photo
from partreid.explain.sheets import number
from partreid.serve.answers import why_sentence
from partreid.serve.describe import Described
from partreid.serve.desk import Answer, Desk, Ranked, State, WhyNot
from partreid.serve.pictures import THUMB, jpeg
from partreid.utils.text import printable

_ODDS = 8.0  # log odds at the ends of a bar: 0.03 % and 99.97 %
SHOWN_PEOPLE = 500  # of the list; more are found by searching


class Page:
    """Everything the page shows.

    Args:
        desk: The service.
        needs_key: Whether its reader must give a key first.
    """

    def __init__(self, desk: Desk, needs_key: bool) -> None:
        self._desk, self._needs_key = desk, needs_key
        self._env = Environment(
            loader=PackageLoader("partreid.serve"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=lambda value: printable(value) if type(value) is str else value,
        )
        self._env.filters |= {"color": color, "spoken": spoken, "percent": decision.percent}
        templates = files("partreid.serve") / "templates"
        report = files("partreid.report") / "templates" / "report.css"
        self.style = report.read_text("utf-8") + (templates / "page.css").read_text("utf-8")
        self.script = (templates / "page.js").read_text("utf-8")

    def shell(self) -> str:
        """The page before anything is asked; it tells nothing of anybody."""
        return self._made("page.html.j2", needs_key=self._needs_key, keeps=self._desk.keeps_crops)

    def state(self, state: State) -> str:
        """How much there is of whom, and what decides."""
        people = sorted(state.people.items())
        return self._made(
            "state.html.j2",
            crops=state.crops,
            people=people[:SHOWN_PEOPLE],
            more=max(0, len(people) - SHOWN_PEOPLE),
            cameras=sorted(state.cameras.items()),
            recipe=self._desk.model.recipe.name,
            decides=self._decides(),
        )

    def answers(self, ranked: Ranked, prior: float) -> str:
        """Ranked answers with their reasons."""
        hits = ranked.answers
        following = [a.hit.evidence for a in hits[1:]] + [None]
        longest = _longest([a.hit.evidence for a in hits])
        return self._made(
            "answers.html.j2",
            query=_query(ranked.query),
            withheld=ranked.withheld,
            headline=_headline(len(hits), ranked.crops, ranked.called or 0),
            footing=self._footing(ranked.crops, prior),
            answers=[
                self._answer(a, prior, longest, after, "the next one")
                for a, after in zip(hits, following)
            ],
        )

    def why(self, why: WhyNot, prior: float) -> str:
        """A crop that was expected beside the first answer."""
        both = [a for a in (why.first, why.expected) if a is not None]
        if why.first is not None and why.first.crop.id == why.expected.crop.id:
            both = [why.expected]
        longest = _longest([a.hit.evidence for a in both])
        return self._made(
            "why.html.j2",
            query=_query(why.query),
            expected=self._answer(why.expected, prior, longest),
            columns=[
                self._answer(a, prior, longest, None if a is both[-1] else both[-1].hit.evidence)
                for a in both
            ],
            excluded=why.excluded,
            place=why.expected.hit.place,
            sentence=why_sentence(why),
        )

    def _made(self, template: str, **values: Any) -> str:
        return self._env.get_template(template).render(**values)

    def _decides(self) -> str | None:
        made = self._desk.calibration
        if made is None:
            return None
        return f"{_rate(made.rate)}, calibrated on {made.source.made_of}"

    def _footing(self, crops: int, prior: float) -> str:
        made = self._desk.calibration
        if made is None:
            return ""
        before = "as likely as not" if prior == 0.5 else decision.percent(prior)
        many = crops * made.rate
        return (
            f"The threshold allows {_rate(made.rate)}: {crops:,} crops of other people alone would "
            f"hold {many:.2g} on average. Chances hold if one person was {before} beforehand. A "
            "decision is a pointer and no proof."
        )

    def _answer(
        self,
        answer: Answer,
        prior: float,
        longest: tuple[float, float],
        after: Evidence | None = None,
        other_is: str = "",
    ) -> dict[str, Any]:
        hit, crop, known = answer.hit, answer.crop, answer.crop.enrolled
        e, made = hit.evidence, self._desk.calibration
        small = answer.thumbnail
        utc = None if known.time is None else known.time.astimezone(timezone.utc)
        return {
            "id": crop.id,
            "place": hit.place,
            "person": known.person,
            "camera": known.camera,
            "time": None if utc is None else utc.isoformat(timespec="minutes"),
            "time_said": None if utc is None else f"{utc:%Y-%m-%d %H:%M} UTC",
            "source": None if crop.source is None else str(crop.source),
            "image": None if small is None else _data(small, "jpeg"),
            "distance": number(hit.distance),
            "same": hit.same,
            "probability": hit.probability,
            "likely": None if hit.probability is None else _place(hit.probability),
            "least": None if made is None else _place(made.least(prior)),
            "asked_for": None if made is None else decision.percent(made.least(prior)),
            "verdict": _capital(self._desk.verdict(hit, prior)),
            "sentence": e.sentence(after, other_is, ("the query", "this crop")),
            "deciding": e.deciding(after),
            **_terms(e, longest),
        }


def _query(query: Described) -> dict[str, Any]:
    """The query with its part maps, and the piece of it that each part is."""
    shown, e = query.shown, query.embeddings
    maps = shown.probs is not None
    parts = []
    for m, name in enumerate(e.names):
        seen = float(e.visibility[0, m])
        piece = part_cutout(shown, name, THUMB)
        parts.append(
            {
                "name": name,
                "image": None if piece is None else _png(piece),
                "visible": seen > 0,
                "faint": f"{100 * seen:.0f} % visible" if 0 < seen < 1 else "",
            }
        )
    return {
        "image": _data(jpeg(photo(shown.source, THUMB)), "jpeg"),
        "map": _data(jpeg(part_overlay(shown, THUMB)), "jpeg") if maps else None,
        "parts": parts,
        "single": len(e.names) == 1,
    }


def _terms(e: Evidence, longest: tuple[float, float]) -> dict[str, Any]:
    """The parts of a distance: what each claims, and a bar that adds up."""
    far, total = longest
    counted = [m for m in range(len(e.names)) if e.counted[m]]
    printed, whole = addends(e.share[counted]) if counted else ([], "")
    adds = dict(zip(counted, printed))
    segments, left = [], 0.0
    for m in counted:
        width = 100 * max(0.0, float(e.share[m])) / total
        segments.append(
            {"name": e.names[m], "left": f"{left:.2f}", "width": f"{width:.2f}", "printed": adds[m]}
        )
        left += width
    rows = [
        {
            "name": name,
            "query": _seen(float(e.query_visibility[m])),
            "match": _seen(float(e.match_visibility[m])),
            "shared": bool(e.shared[m]),
            "distance": number(e.parts[m]) if e.shared[m] else "",
            "length": f"{100 * max(0.0, float(e.parts[m])) / far:.1f}" if e.shared[m] else "0",
            "adds": adds.get(m, ""),
        }
        for m, name in enumerate(e.names)
    ]
    return {"segments": segments, "rows": rows, "total": whole}


def _longest(evidence: Sequence[Evidence]) -> tuple[float, float]:
    """The largest distance of a part, and of a crop, among those shown: what is a full bar."""
    parts = [float(e.parts[m]) for e in evidence for m in range(len(e.names)) if e.shared[m]]
    whole = [e.distance for e in evidence if e.counted.any()]
    return max([*parts, 1e-9]), max([*whole, 1e-9])


def _headline(shown: int, crops: int, called: int) -> str:
    if not shown:
        return "No crop passes these filters"
    if not called:
        return "Nobody in this gallery is near enough to be called the same person"
    are = "is" if called == 1 else "are"
    return f"{called:,} of {crops:,} crops {are} called the same person"


def _rate(rate: float) -> str:
    per = 10
    while rate * per < 1 - 1e-9:
        per *= 10
    many = rate * per
    matches = "1 false match" if f"{many:.2g}" == "1" else f"{many:.2g} false matches"
    return f"{matches} in {per:,} impostor pairs"


def _place(probability: float) -> str:
    """Where a chance stands on its bar, in percent: by its odds, as 99 % and 99.9 % are as far
    apart as 90 % and 99 %.
    """
    p = min(max(probability, 1e-9), 1 - 1e-9)
    odds = math.log(p / (1 - p))
    return f"{100 * min(max((odds + _ODDS) / (2 * _ODDS), 0.01), 1.0):.1f}"


def _seen(visibility: float) -> str:
    return "hidden" if visibility == 0 else "" if visibility >= 1 else f"{100 * visibility:.0f} %"


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return _data(file.getvalue(), "png")


def _data(picture: bytes, kind: str) -> str:
    """A picture as a data URI: the page asks for it with no key and keeps it nowhere."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
