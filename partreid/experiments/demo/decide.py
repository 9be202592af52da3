"""The demo's threshold: so that ``partreid compare`` and ``rank`` answer yes or no as soon as
the demo has run.
"""

from pathlib import Path
from typing import Any

from partreid.errors import DataError
from partreid.evaluation import RunResult, decision
from partreid.evaluation.doubt import labelled_crops
from partreid.evaluation.trust import measure_trust
from partreid.metrics.calibration import Calibration, calibrate
from partreid.report.content import Section
from partreid.report.trust import trust_section
from partreid.utils.looks import LOOKS

RATE = 1e-3  # impostor pairs that may be taken for one person


def decided(result: RunResult, run: Path) -> Calibration | None:
    """Fit on half of the test people, check on the others, keep it beside the model. None if
    they are too few.
    """
    benchmark, described, model = result.benchmark, result.described, result.model
    try:
        decision.require_slice(benchmark, result.protocol, RATE, share=0.5)
    except DataError:  # as of the quick demo's eight people
        return None
    pairs = decision.known_pairs(
        result.distance, described.queries, described.gallery, benchmark, result.protocol
    )
    made = calibrate(
        pairs,
        decision.source_of(model.bound, benchmark, model.recipe.test[0]),
        RATE,
        crops=labelled_crops(described.queries, described.gallery, benchmark, model.recipe.size),
        statistics=LOOKS,
    )
    decision.save(made, run / decision.FILE)
    return made


def sentence(name: str, made: Calibration) -> str:
    """What the threshold did to people that it was not put on."""
    fmr, tpr = made.checked.fmr, made.checked.tpr
    return (
        f"Threshold of {name}, put on {made.fitted.people} people for {1000 * made.rate:g} false "
        f"match in 1,000 impostor pairs: on the {made.checked.slice.people} others it makes "
        f"{1000 * fmr.value:.1f} [{1000 * fmr.low:.1f}, {1000 * fmr.high:.1f}] and finds "
        f"{tpr.value:.0%} of the genuine pairs [{tpr.low:.0%}, {tpr.high:.0%}]. partreid "
        "compare and rank decide by it."
    )


def plain(made: Calibration) -> dict[str, Any]:
    """For JSON: shares in 0..1, with ranges."""
    numbers: dict[str, Any] = decision.plain(
        {
            "rate": made.rate,
            "expected": made.expected,
            "fitted": made.fitted,
            "checked": made.checked.slice,
            "fmr": made.checked.fmr,
            "tpr": made.checked.tpr,
            "ece": made.checked.ece,
        }
    )
    return numbers


def section(result: RunResult, made: Calibration) -> Section:
    """The report's section on how sure the answers are, and rightly."""
    return trust_section({result.name: measure_trust(result, made)}, {result.name: 0})
