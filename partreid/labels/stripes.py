"""Part labels that need no labels: horizontal stripes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from partreid.errors import RecipeError
from partreid.labels.base import PartLabels
from partreid.types import PartScheme, Sample


def stripe_labels(root: Path, samples: Sequence[Sample], stripes: int = 6) -> PartLabels:
    """Every image cut into ``stripes`` rows of (nearly) equal height, whatever it shows."""
    if not 1 <= stripes <= 64:
        raise RecipeError(f"stripes must be 1 to 64, got {stripes}")
    rows = np.arange(stripes * 8)[:, None] // 8 + 1
    labels = np.repeat(rows, 8, 1).astype(np.uint8)
    return PartLabels(
        PartScheme(tuple(f"stripe{i + 1}" for i in range(stripes))), lambda index: labels
    )
