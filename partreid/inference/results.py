"""What a comparison and a search give: evidence, and the decision where there is one."""

from dataclasses import dataclass
from math import isnan

from PIL import Image

from partreid.evaluation import decision
from partreid.explain.evidence import Evidence
from partreid.explain.overlays import Shown
from partreid.explain.sheets import compare_picture
from partreid.metrics.calibration import Calibration
from partreid.runtime import types


@dataclass(frozen=True, kw_only=True)
class Comparison(types.Comparison):
    """Two crops side by side: the evidence and, drawn on demand, the picture that shows it.

    Args:
        evidence: Their distance and what each part says about it.
        probability: That both are one person, in (0, 1); None where nothing is known, see
            ``reason``.
        same: Whether they are called one person at the calibrated rate of false matches; None where
            nothing is decided.
        reason: Why there is no probability: there is no calibration, a crop does not look like
            those it was made of, or no part is shared.
        a: The first crop with its part maps.
        b: The second.
        verdict: The decision in words; None without a calibration.

    Examples:
        >>> pair = load("runs/bpbreid", device="cpu").compare("a.jpg", "b.jpg")
        >>> pair.shared_evidence == int(pair.evidence.shared.sum()), pair.picture().mode
        (True, 'RGB')
    """

    a: Shown
    b: Shown
    verdict: str | None = None

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
    pair = (evidence.distance, int(evidence.shared.sum()))
    probability, same = float(calibration.probability(*pair, prior)), calibration.same(*pair)
    if isnan(probability):
        return None, bool(same), decision.verdict(calibration, None, None)
    return probability, bool(same), None
