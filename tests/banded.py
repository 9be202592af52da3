"""People who are four bands of color, whom any model tells apart: crops with labels, in a
moment.
"""

from pathlib import Path

import numpy as np
from PIL import Image

PEOPLE = 24


def banded_people(
    root: Path, people: int = PEOPLE, noise: float = 25.0, seed: int = 0, dark: float = 1.0
) -> Path:
    """Crops of people who are four bands of color: two to ask with from camera 1, three in the
    gallery from 2.
    """
    draw = np.random.default_rng(seed)
    for person in range(people):
        bands = np.repeat(draw.uniform(0, 255, (4, 1, 3)), 16, axis=0)
        for split, camera, many in (("query", 1, 2), ("gallery", 2, 3)):
            folder = root / split / f"p{seed}{person:02d}"
            folder.mkdir(parents=True)
            for i in range(many):
                image = (bands + draw.normal(0, noise, (64, 32, 3))) * dark
                Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(
                    folder / f"a_c{camera}_{i}.png"
                )
    return root
