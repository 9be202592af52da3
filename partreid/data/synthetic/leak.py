"""The leak check: a fair world cannot be solved by looking at the background."""

import numpy as np
from numpy.typing import NDArray


def background_color(image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean and standard deviation of the background's color, to be used as the only feature of an
    image.

    image: uint8 [H, W, 3] RGB; labels: uint8 [H, W], 0 = background. Gives float32 [6] in [0, 1]:
    mean R, G, B, then deviation R, G, B; zeros if no background is visible. Raises ValueError if
    the shapes do not fit.

    Retrieval with it must stay near chance. If it does not, identities can be told apart by where
    they were seen.
    """
    if image.shape != (*labels.shape, 3):
        raise ValueError(
            f"image {image.shape} does not fit labels {labels.shape}; expected [H, W, 3] and [H, W]"
        )
    background = image[labels == 0].astype(np.float64) / 255.0
    if not len(background):
        return np.zeros(6, np.float32)
    return np.concatenate([background.mean(0), background.std(0)]).astype(np.float32)
