"""Which of several people in a crop its labels are for."""

import numpy as np
from numpy.typing import NDArray


def only_target(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Class labels uint8 [H, W], 0 background, of the person whom the crop is of; everybody else
    becomes background.

    Pieces of foreground are what is connected (eight neighbours). To each belongs every other of
    which at least half the columns are columns of that one: an occluder cuts a person into pieces
    above each other, while other people stand beside. Of these groups the one is kept with the
    highest area x nearness, where nearness falls from 1 for a mean column in the middle of the crop
    to 0 at its sides. People who touch are one piece and stay one.
    """
    pieces = components(labels > 0)
    count = int(pieces.max(initial=0))
    if count < 2:
        return labels
    # [pieces, W], pixels in each column
    per = np.stack([(pieces == k).sum(0) for k in range(1, count + 1)])
    spans = (per > 0).astype(np.int64)
    # [i, j]: half of the columns of j are columns of i
    joined = 2 * (spans @ spans.T) >= spans.sum(1)
    areas = joined @ per
    kept = np.concatenate([[False], joined[int(prominence(areas).argmax())]])
    return np.where(kept[pieces], labels, 0).astype(np.uint8)


def prominence(columns: NDArray[np.integer]) -> NDArray[np.float64]:
    """Area x nearness of people by their pixels in each column of the crop, [n, W]: float64 [n], 0
    without pixels.

    Nearness falls from 1 for a mean column in the middle of the crop to 0 at its sides. Whoever has
    the most is the one whom the crop shows: the rule for class labels, DensePose's dumps and its
    pictures with several people.
    """
    width, area = columns.shape[1], columns.sum(1)
    mean = columns @ (np.arange(width) + 0.5) / np.maximum(area, 1)
    return np.asarray(area * (1 - np.abs(mean - width / 2) / (width / 2)), np.float64)


def components(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Connected pieces of mask bool [H, W], eight neighbours: int64 [H, W], 0 outside, 1.. in
    reading order.

    Runs of a row are joined to the runs of the row above that they touch.
    """
    parent: list[int] = [0]
    runs: list[tuple[int, int, int, int]] = []  # row, begin, end, piece

    def root(piece: int) -> int:
        while parent[piece] != piece:
            parent[piece] = parent[parent[piece]]
            piece = parent[piece]
        return piece

    above: list[tuple[int, int, int]] = []
    for row, line in enumerate(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8)):
        edges = np.flatnonzero(np.diff(line)).tolist()
        here = []
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            touching = [root(piece) for b, e, piece in above if b <= end and begin <= e]
            piece = min(touching, default=len(parent))
            if piece == len(parent):
                parent.append(piece)
            for other in touching:
                parent[other] = piece
            here.append((begin, end, piece))
            runs.append((row, begin, end, piece))
        above = here
    out = np.zeros(mask.shape, np.int64)
    numbers: dict[int, int] = {}
    for row, begin, end, piece in runs:
        out[row, begin:end] = numbers.setdefault(root(piece), len(numbers) + 1)
    return out
