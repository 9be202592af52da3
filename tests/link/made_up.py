"""Tracklets and vectors whose answer is plain."""

import numpy as np

from partreid.link import TrackedCrop, Tracklets


def made(
    cameras: str, start: list[float], end: list[float] | None = None, people: str | None = None
) -> Tracklets:
    """Tracklets of two crops each; cameras and people are letters."""
    end = start if end is None else end
    return Tracklets.of(
        TrackedCrop(f"{t}-{k}.jpg", str(t), camera, time, people[t] if people else "")
        for t, (camera, *times) in enumerate(zip(cameras, start, end, strict=True))
        for k, time in enumerate(times)
    )


def angles(*degrees: float) -> "np.ndarray":  # type: ignore[type-arg]
    """Unit vectors float32 [n, 2]."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float32)
