"""Trackers of other projects with embeddings of this one. Nothing here depends on them.

Each adapter takes a model and gives what one tracker calls: :class:`BoxMOT`, :class:`Ultralytics`,
:class:`Supervision` (with Roboflow's ``reid`` and ``trackers``) and :class:`TrackLab`. Trackers
take one flat vector for each box; :class:`Packing` makes it of parts so that those can be found
again in it. The names are imported on first use. See docs/trackers.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partreid.integrations.boxmot import BoxMOT
    from partreid.integrations.encoder import Encoder
    from partreid.integrations.frames import cut
    from partreid.integrations.packing import Packing
    from partreid.integrations.supervision import Supervision
    from partreid.integrations.tracklab import TrackLab
    from partreid.integrations.ultralytics import Ultralytics

_HOME_OF = {
    "BoxMOT": "boxmot",
    "Encoder": "encoder",
    "Packing": "packing",
    "Supervision": "supervision",
    "TrackLab": "tracklab",
    "Ultralytics": "ultralytics",
    "cut": "frames",
}

__all__ = ["BoxMOT", "Encoder", "Packing", "Supervision", "TrackLab", "Ultralytics", "cut"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
