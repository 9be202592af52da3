"""What a calibration says about the answers of a gallery, and why.

Whether its crops are like those of the calibration is asked of every crop, once: the scores are
kept in a table of their own until another calibration comes.
"""

import hashlib
import json
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from partreid.evaluation import decision
from partreid.evaluation.doubt import Crowd, Doubt, as_crops, weighed
from partreid.explain.evidence import explain_pairs
from partreid.gallery.rows import Found
from partreid.gallery.schema import Bound
from partreid.gallery.store import Gallery
from partreid.inference import Hit, Model, SavedEmbeddings, decided
from partreid.metrics.calibration import Calibration, require_prior
from partreid.metrics.likeness import Likeness
from partreid.types import Embeddings
from partreid.utils.arguments import door

_SOME = 1000  # crops whose distances are held against those of the calibration
_GROWTH = 0.01  # share of new crops before these are chosen anew
_marked: tuple[Calibration | None, str] = (None, "")


@dataclass(frozen=True)
class Answers:
    """What a gallery answers, with reasons and decisions.

    Args:
        hits: Of each query, nearest first. ``row`` is the id of the crop.
        called: How many crops of the gallery are called the same person as each query; None where
            nothing is decided.
        doubt: Which crops the calibration decides nothing about, and why; None without one.
    """

    hits: list[list[Hit]]
    called: list[int | None]
    doubt: Doubt | None


@door
def decide(
    gallery: Gallery,
    model: Model,
    query: SavedEmbeddings,
    results: Sequence[Sequence[Found]],
    prior: float = 0.5,
) -> Answers:
    """Evidence and decisions for what :meth:`Gallery.search` found.

    Args:
        gallery: Where it was found.
        model: The gallery's model, with its calibration.
        query: The queries that were asked.
        results: What was found for each.
        prior: In (0, 1), how likely one person was beforehand; moves the probability, never the
            decision.

    Raises:
        DataError: The model is not the gallery's, or the calibration not the model's.
        ArgumentError: The prior lies outside (0, 1).

    Examples:
        >>> query = model.index("crops/2.jpg")
        >>> answers = decide(gallery, model, query, gallery.search(query, top=3))
        >>> [hit.row for hit in answers.hits[0]][0], answers.called  # this run has no calibration
        (3, [None])
    """
    require_prior(prior)
    gallery.bound.require(Bound.of(query), query.model)
    gallery.bound.require_model(model)
    calibration = model.calibration
    if calibration is None:
        with gallery.snapshot():
            return Answers(_hits(gallery, None, query, results, prior), [None] * len(query), None)
    # New crops are scored before the snapshot, in which nothing can be written.
    mark, likeness = _mark(calibration), calibration.likeness
    if likeness is None:
        ids, scores, query_scores = np.empty(0, np.int64), np.empty(0), np.zeros(len(query))
    else:
        ids, scores = gallery.likeness(mark, lambda crops: _scores(likeness, crops))
        query_scores = _scores(likeness, query)
    odd = set(ids[scores > 1].tolist())
    with gallery.snapshot():
        crowd = gallery.memo(
            ("crowd", mark, len(query)),
            lambda: Crowd(calibration, gallery.distance, gallery.sample(_SOME), len(query)),
            _GROWTH,
        )
        run = "RUN" if model.run is None else str(model.run)
        apart = partial(crowd.unlike, query.embeddings)
        doubt = weighed(calibration, apart, (query_scores, scores), run)
        hits = _hits(gallery, calibration, query, results, prior, doubt, odd)
        if doubt.every is not None:
            return Answers(hits, [None] * len(query), doubt)
        return Answers(hits, _called(gallery, calibration, query, doubt, odd), doubt)


def _hits(
    gallery: Gallery,
    calibration: Calibration | None,
    query: SavedEmbeddings,
    results: Sequence[Sequence[Found]],
    prior: float,
    doubt: Doubt | None = None,
    odd: AbstractSet[int] = frozenset(),
) -> list[list[Hit]]:
    """Evidence and decision about each crop that was found; ``odd``: ids of those that are unlike
    the calibration's.
    """
    ids = list(dict.fromkeys(hit.id for hits in results for hit in hits))
    e, index = gallery.embeddings(ids), {number: i for i, number in enumerate(ids)}
    answers = []
    for i, hits in enumerate(results):
        rows = [index[hit.id] for hit in hits]
        reasons = explain_pairs(gallery.distance, query.embeddings, e, [i] * len(rows), rows)
        answers.append(
            [
                Hit(
                    evidence,
                    *decided(calibration, evidence, prior, _why(doubt, odd, i, hit.id)),
                    place=place,
                    row=hit.id,
                    path=hit.source,
                )
                for place, (hit, evidence) in enumerate(zip(hits, reasons, strict=True), 1)
            ]
        )
    return answers


def _mark(calibration: Calibration) -> str:
    """A digest of it, which is computed once: it is long."""
    global _marked
    of, mark = _marked
    if of is not calibration:
        made = json.dumps(decision.plain(calibration), sort_keys=True).encode()
        mark = hashlib.sha256(made).hexdigest()
        _marked = calibration, mark
    return mark


def _scores(likeness: Likeness, crops: SavedEmbeddings) -> NDArray[np.float64]:
    looks = None if crops.looks is None else crops.looks.double().numpy()
    return likeness.score(as_crops(crops.embeddings, looks))


def _why(doubt: Doubt | None, odd: AbstractSet[int], query: int, crop: int) -> str | None:
    if doubt is None:
        return None
    one = replace(doubt, gallery=np.array([crop in odd]))
    return one.of(query, 0)


def _called(
    gallery: Gallery,
    calibration: Calibration,
    query: SavedEmbeddings,
    doubt: Doubt,
    odd: AbstractSet[int],
) -> list[int | None]:
    limits = [far for far in calibration.distances if far is not None]
    if not limits:
        return [None if is_odd else 0 for is_odd in doubt.query]
    called: list[int | None] = []
    for i, near in enumerate(gallery.within(query, max(limits))):
        ids = [hit.id for hit in near if hit.id not in odd]
        one: Embeddings = query.embeddings.rows([i])
        shared = decision.shown_by_both(one, gallery.embeddings(ids))[0]
        far = np.array([hit.distance for hit in near if hit.id not in odd])
        same = calibration.same(far, shared)
        called.append(None if doubt.query[i] else int(np.sum(same)))
    return called
