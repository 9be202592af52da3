"""What a calibration says about the answers of a gallery, and why.

Whether its crops are like those of the calibration is asked of every crop, once: the scores are kept
in a table of their own until another calibration comes.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from partreid.evaluation import decision
from partreid.evaluation.doubt import Doubt, seen, weighed
from partreid.explain.evidence import explain_pairs
from partreid.gallery.rows import Found
from partreid.gallery.schema import Bound, named
from partreid.gallery.store import Gallery
from partreid.inference import Hit, Model, SavedEmbeddings, decided
from partreid.metrics.calibration import Calibration, require_prior
from partreid.metrics.likeness import Likeness
from partreid.types import Embeddings
from partreid.utils.arguments import door

_SOME = 1000  # crops whose distances are held against those of the calibration


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
    found: Sequence[Sequence[Found]],
    prior: float = 0.5,
) -> Answers:
    """Evidence and decisions for what :meth:`Gallery.search` found.

    Args:
        gallery: Where it was found.
        model: The gallery's model, with its calibration.
        query: The queries that were asked.
        found: What was found for each.
        prior: In (0, 1), how likely one person was beforehand; moves the probability, never the
            decision.

    Raises:
        DataError: The model is not the gallery's, or the calibration not the model's.
        ArgumentError: The prior lies outside (0, 1).
    """
    require_prior(prior)
    gallery.bound.require(Bound.of(model), named(model))
    calibration = model.calibration
    ids = list(dict.fromkeys(hit.id for hits in found for hit in hits))
    e, at = gallery.embeddings(ids), {number: i for i, number in enumerate(ids)}
    if calibration is None:
        doubt, odd = None, set[int]()
    else:
        doubt, odd = _doubt(gallery, model, calibration, query)
    answers = []
    for i, hits in enumerate(found):
        rows = [at[hit.id] for hit in hits]
        reasons = explain_pairs(gallery.distance, query.embeddings, e, [i] * len(rows), rows)
        answers.append(
            [
                Hit(
                    place,
                    hit.id,
                    hit.source,
                    evidence,
                    *decided(calibration, evidence, prior, _why(doubt, odd, i, hit.id)),
                )
                for place, (hit, evidence) in enumerate(zip(hits, reasons, strict=True), 1)
            ]
        )
    if calibration is None or doubt is None or doubt.every is not None:
        return Answers(answers, [None] * len(query), doubt)
    return Answers(answers, _called(gallery, calibration, query, doubt, odd), doubt)


def _doubt(
    gallery: Gallery, model: Model, calibration: Calibration, query: SavedEmbeddings
) -> tuple[Doubt, set[int]]:
    """Doubt about the queries and the whole gallery, and ids of the crops that are unlike."""
    likeness = calibration.likeness
    if likeness is None:
        ids, scores, asked = np.empty(0, np.int64), np.empty(0), np.zeros(len(query))
    else:
        ids, scores = likeness_of(gallery, likeness)
        asked = _scores(likeness, query)
    some = gallery.sample(_SOME)
    run = "RUN" if model.run is None else str(model.run)
    doubt = weighed(calibration, gallery.distance, (query.embeddings, some), (asked, scores), run)
    return doubt, set(ids[scores > 1].tolist())


def likeness_of(
    gallery: Gallery, likeness: Likeness
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Ids and scores of all crops, in the order of the ids; those not asked yet are asked now."""
    made = json.dumps(decision.plain(likeness), sort_keys=True).encode()
    mark = hashlib.sha256(made).hexdigest()
    return gallery.likeness(mark, lambda crops: _scores(likeness, crops))


def _scores(likeness: Likeness, crops: SavedEmbeddings) -> NDArray[np.float64]:
    looks = None if crops.looks is None else crops.looks.double().numpy()
    return likeness.score(seen(crops.embeddings, looks))


def _why(doubt: Doubt | None, odd: set[int], query: int, crop: int) -> str | None:
    if doubt is None:
        return None
    one = replace(doubt, gallery=np.array([crop in odd]))
    return one.of(query, 0)


def _called(
    gallery: Gallery,
    calibration: Calibration,
    query: SavedEmbeddings,
    doubt: Doubt,
    odd: set[int],
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
