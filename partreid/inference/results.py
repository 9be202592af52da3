"""What a comparison and a search give: evidence, and the decision where there is one."""

from dataclasses import dataclass
from math import isnan
from pathlib import Path

from PIL import Image

from partreid.errors import DataError
from partreid.evaluation import decision
from partreid.explain.evidence import Evidence
from partreid.explain.overlays import Shown
from partreid.explain.sheets import compare_picture
from partreid.metrics.calibration import Calibration


@dataclass(frozen=True)
class Hit:
    """One entry of a ranked list.

    Args:
        place: From 1, the nearest.
        row: Of the gallery, from 0.
        path: The gallery's file; None for a crop that is none.
        evidence: The distance and what each part says about it.
        probability: That both are one person, in (0, 1); None where nothing is known, see ``reason``.
        same: Whether it is called one person at the calibrated rate of false matches; None where
            nothing is decided.
        reason: Why there is no probability: there is no calibration, a crop does not look like those
            it was made of, or no part is shared.

    Examples:
        >>> hit = load("runs/bpbreid", device="cpu").rank("a.jpg", "crops", top=1)[0][0]
        >>> hit.place, hit.path.parent, hit.same is None and hit.reason.startswith("no decision")
        (1, PosixPath('crops'), True)
    """

    place: int
    row: int
    path: Path | None
    evidence: Evidence
    probability: float | None = None
    same: bool | None = None
    reason: str | None = None

    @property
    def distance(self) -> float:
        """Of the query to this crop."""
        return self.evidence.distance

    @property
    def shared_evidence(self) -> int:
        """How many parts both images show."""
        return int(self.evidence.shared.sum())

    @property
    def file(self) -> Path:
        """The path. DataError if the crop is no file."""
        if self.path is None:
            raise DataError(f"row {self.row} of the gallery is a picture in memory and has no file")
        return self.path


@dataclass(frozen=True)
class Comparison:
    """Two crops side by side: the evidence and, drawn on demand, the picture that shows it.

    Args:
        a: The first crop with its part maps.
        b: The second.
        evidence: Their distance and what each part says about it.
        probability: See :class:`Hit`.
        same: See :class:`Hit`.
        reason: See :class:`Hit`.
        verdict: The decision in words; None without a calibration.

    Examples:
        >>> pair = load("runs/bpbreid", device="cpu").compare("a.jpg", "b.jpg")
        >>> pair.shared_evidence == int(pair.evidence.shared.sum()), pair.picture().mode
        (True, 'RGB')
    """

    a: Shown
    b: Shown
    evidence: Evidence
    probability: float | None = None
    same: bool | None = None
    reason: str | None = None
    verdict: str | None = None

    @property
    def distance(self) -> float:
        """Between the two crops."""
        return self.evidence.distance

    @property
    def shared_evidence(self) -> int:
        """How many parts both images show."""
        return int(self.evidence.shared.sum())

    def picture(self) -> Image.Image:
        """Both crops with their part maps, the table of parts and what is decided, as an RGB
        picture.
        """
        return compare_picture(self.a, self.b, self.evidence, decision=self.verdict or "")


def decided(
    calibration: Calibration | None, evidence: Evidence, prior: float, doubt: str | None
) -> tuple[float | None, bool | None, str | None]:
    """(probability, same, reason) of a pair: what a calibration says, or why it says nothing.

    doubt: why nothing is decided about these two crops; None if it is.
    """
    if calibration is None:
        return None, None, decision.NONE
    if doubt is not None:
        return None, None, doubt
    asked = (evidence.distance, int(evidence.shared.sum()))
    probability, same = float(calibration.probability(*asked, prior)), calibration.same(*asked)
    if isnan(probability):
        return None, bool(same), decision.verdict(calibration, None, None)
    return probability, bool(same), None
