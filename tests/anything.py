"""A likeness that takes every crop for one of its own, for tests of what is decided then."""

import base64

import numpy as np

from partreid.metrics.likeness import RANK, Likeness
from partreid.utils.looks import LOOKS


def anything(parts: int, length: int) -> Likeness:
    n = len(LOOKS)
    return Likeness(
        statistics=LOOKS,
        mean=(0.0,) * n,
        whiten=tuple(np.ravel(1e-9 * np.eye(n)).tolist()),
        parts=parts,
        length=length,
        basis=base64.b64encode(np.zeros((parts, 1 + RANK, length), "<f2").tobytes()).decode(),
        middle=(0.0,) * 4 * parts,
        spread=(1e9,) * 4 * parts,
        scale_looks=1.0,
        scale_vectors=1.0,
        limit=1.0,
        usual=1.0,
        crops=100,
        people=100,
    )
