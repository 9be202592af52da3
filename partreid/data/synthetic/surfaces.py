"""The label map's numbers, and how DensePose's charts lie on the body.

Labels of a pixel: 0 background · 1..24 body surfaces, numbered as DensePose does · 25 backpack · 26
handbag · 27 hat (25..27 belong to the person) · 30 object in front of the person · 31 other
pedestrian, in front or behind.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

SURFACES: Final[tuple[str, ...]] = (
    "torso back", "torso front", "right hand", "left hand", "left foot", "right foot",
    "right upper leg back", "left upper leg back", "right upper leg front", "left upper leg front",
    "right lower leg back", "left lower leg back", "right lower leg front", "left lower leg front",
    "left upper arm front", "right upper arm front", "left upper arm back", "right upper arm back",
    "left lower arm front", "right lower arm front", "left lower arm back", "right lower arm back",
    "head right", "head left",
)  # fmt: skip
BACKPACK, HANDBAG, HAT, OBSTACLE, PEDESTRIAN = 25, 26, 27, 30, 31
LABEL_NAMES: Final[dict[int, str]] = {
    0: "background",
    **{i + 1: name for i, name in enumerate(SURFACES)},
    BACKPACK: "backpack",
    HANDBAG: "handbag",
    HAT: "hat",
    OBSTACLE: "obstacle",
    PEDESTRIAN: "other pedestrian",
}
TARGET_LABELS: Final = 28  # labels 1 .. 27 are the person to be recognised

# feet and arms: DensePose numbers the left one first
RIGHT_LEFT: Final[tuple[tuple[int, int], ...]] = (
    (3, 4), (6, 5), (7, 8), (9, 10), (11, 12), (13, 14), (16, 15), (18, 17), (20, 19), (22, 21),
    (23, 24),
)  # fmt: skip

JOINTS: Final[tuple[str, ...]] = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
BONES: Final[tuple[tuple[int, int], ...]] = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12),
    (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip

# On the body a surface is drawn with two plain coordinates: `along` (head to toe, or shoulder to
# fingers) and `across` (torso: the person's left to right; limbs: outside to inside; head: face to
# nape). DensePose turns some charts: U = along or 1 - along, V = across or 1 - across, and hands,
# feet and head have U across and V along.
_U_REVERSED = (9, 10, 11, 12, 19, 20)
_V_REVERSED = (9, 10, 19, 20)
_TURNED = (3, 4, 5, 6, 23, 24)
_TURNED_U_REVERSED = (4, 5, 24)  # left and right mirror in U here


def _chart_matrix() -> NDArray[np.float32]:
    matrix = np.zeros((TARGET_LABELS, 2, 3), np.float32)
    for label in range(1, len(SURFACES) + 1):
        if label in _TURNED:
            matrix[label, 0] = (0, -1, 1) if label in _TURNED_U_REVERSED else (0, 1, 0)
            matrix[label, 1] = (-1, 0, 1) if label >= 23 else (1, 0, 0)
        else:
            matrix[label, 0] = (-1, 0, 1) if label in _U_REVERSED else (1, 0, 0)
            matrix[label, 1] = (0, -1, 1) if label in _V_REVERSED else (0, 1, 0)
    return matrix


CHARTS: Final = _chart_matrix()  # float32 [28, 2, 3]: (U, V) = CHARTS[label] @ (along, across, 1)


def label_palette() -> NDArray[np.uint8]:
    """Colors of the label map: uint8 [256, 3]. Warm on the person's left, cool on the right,
    background black.
    """
    palette = np.zeros((256, 3), np.uint8)
    named = {
        1: (128, 70, 60), 2: (120, 220, 130), 3: (70, 60, 190), 4: (250, 200, 60),
        5: (255, 120, 60), 6: (60, 110, 255), 7: (60, 90, 140), 8: (170, 110, 60),
        9: (70, 150, 200), 10: (220, 150, 80), 11: (50, 60, 120), 12: (160, 60, 50),
        13: (90, 170, 240), 14: (240, 110, 110), 15: (230, 190, 40), 16: (40, 190, 210),
        17: (180, 140, 20), 18: (20, 130, 160), 19: (250, 160, 190), 20: (130, 140, 250),
        21: (200, 90, 150), 22: (90, 80, 200), 23: (110, 60, 200), 24: (210, 60, 160),
        25: (175, 165, 70), 26: (140, 215, 235), 27: (215, 110, 130), 30: (110, 110, 110),
        31: (200, 30, 30),
    }  # fmt: skip
    for label, color in named.items():
        palette[label] = color
    return palette
