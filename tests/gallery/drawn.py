"""Galleries of drawn vectors, and what a search in them must give."""

from collections.abc import Sequence
from pathlib import Path

import torch

from partreid.distance import PartDistance
from partreid.inference import SavedEmbeddings
from partreid.types import Embeddings
from partreid.utils.looks import LOOKS

DISTANCES = [  # what the methods use, and then some
    PartDistance("cosine"),
    PartDistance("euclidean"),
    PartDistance("unit_euclidean"),
    PartDistance("cosine", weights=(1.0, 0.5, 0.1)),
    PartDistance("unit_euclidean", shrink=0.5),
    PartDistance("euclidean", weights=(2.0, 0.0, 1.0), shrink=1.0, far=3.0),
]


def saved(
    distance: PartDistance, n: int, seed: int = 0, soft: bool = True, names: str = "abc"
) -> SavedEmbeddings:
    """n crops, close together, so that half precision swaps neighbours; some parts are hidden."""
    draw, parts = torch.Generator().manual_seed(seed), len(names)
    x = torch.ones(parts, 16) + 0.02 * torch.randn(n, parts, 16, generator=draw)
    v = torch.rand(n, parts, generator=draw)
    v = v * (v > 0.4) if soft else (v > 0.4).float()
    paths = tuple(Path(f"{i}.jpg") for i in range(n))
    looks = torch.rand(n, len(LOOKS), generator=draw)
    e = Embeddings(x, v, tuple(names))
    return SavedEmbeddings(e, paths, "toy", "0" * 12, "1" * 64, distance, looks)


def brute(query: SavedEmbeddings, gallery: SavedEmbeddings, rows: Sequence[int]) -> list[list[int]]:
    """Rows of the gallery, nearest first, from the whole matrix in float64."""
    q, g = (
        Embeddings(e.embeddings.vectors.double(), e.embeddings.visibility, e.embeddings.names)
        for e in (query, gallery)
    )
    answers = []
    for i in range(len(q)):
        far = gallery.distance.terms(q.rows([i] * len(rows)), g.rows(list(rows))).sum(1)
        answers.append([rows[j] for j in far.argsort(stable=True).tolist()])
    return answers
