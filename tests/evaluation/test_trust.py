"""Risk over coverage is of the very answers given; a calibration is judged on people it was not
fitted on.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from partreid.evaluation import trust as module
from partreid.evaluation.trust import measure_trust
from partreid.metrics import Interval
from partreid.metrics.calibration import Check, Reliability, Slice, risk_coverage
from partreid.types import Embeddings
from tests.evaluation.made_up import BENCHMARK, DISTANCE, result

RESULT = result("parts")
CHECK = Check(
    Slice(10, 5, 20, 100, 3),
    Interval(0.0008, 0.0002, 0.002),
    Interval(0.4, 0.3, 0.5),
    Reliability((0.0, 0.5), (0.1, 0.6), (0.5, 0.5), (0.05, 0.55), (0.10, 0.50), (70, 50)),
)


class Settled:
    """What of a calibration is asked for: probabilities that fall with the distance, and a
    check.
    """

    rate, checked = 0.001, CHECK

    def __init__(self, images):
        self.source = type("Source", (), {"images": images})
        self.pairs = None

    def probability(self, distance, shared):
        assert (np.asarray(shared) >= 1).all()
        return np.exp(-np.asarray(distance))

    def check(self, pairs):
        self.pairs = pairs
        return replace(CHECK, fmr=Interval(0.5, 0.4, 0.6))


def test_without_a_calibration_the_distance_of_the_first_answer_is_what_counts():
    trust = measure_trust(RESULT, None)
    assert trust.check is None and set(trust.answers) == {"holistic", "occluded"}
    ranking, q = RESULT.query_sets[0].ranking, RESULT.described.queries["holistic"]
    far = DISTANCE(q, RESULT.described.gallery).numpy()
    sure = [-far[i, ranking.top[i, 0]] for i in range(len(q))]
    expected = risk_coverage(sure, ranking.first == 1)
    assert trust.answers["holistic"].risk == pytest.approx(expected.risk, abs=1e-12)
    assert trust.answers["holistic"].risk[-1] == pytest.approx(1 - ranking.cmc[1])


def test_a_calibration_is_checked_on_these_data_unless_they_are_its_own(monkeypatch):
    monkeypatch.setattr(module, "hash_of_images", lambda queries, gallery: "these")
    own_trust = measure_trust(RESULT, Settled("these"))
    assert own_trust.own_data and own_trust.check is CHECK and own_trust.rate == 0.001
    other = Settled("others")
    trust = measure_trust(RESULT, other)
    assert not trust.own_data and trust.check.fmr.value == 0.5
    # all pairs but those of the query's own person and camera
    assert len(other.pairs) == 2 * 36 * (72 - 2)
    plain = measure_trust(RESULT, None)
    # it falls with distance
    assert trust.answers["holistic"].risk == pytest.approx(plain.answers["holistic"].risk)


def test_of_many_pairs_the_sampled_people_keep_their_embeddings(monkeypatch):
    fewer = replace(
        BENCHMARK,
        queries={n: s[5:9] for n, s in BENCHMARK.queries.items()},
        gallery=BENCHMARK.gallery[4:40],
    )
    seen = {}

    def known(distance, queries, gallery, benchmark, protocol):
        seen.update(queries, gallery=gallery)
        return "pairs"

    monkeypatch.setattr(module, "sampled", lambda benchmark: (fewer, 0.5))
    monkeypatch.setattr(module, "hash_of_images", lambda queries, gallery: "these")
    monkeypatch.setattr(module, "known_pairs", known)
    measure_trust(RESULT, Settled("others"))

    def same(a: Embeddings, b: Embeddings) -> bool:
        return bool((a.vectors == b.vectors).all()) and bool((a.visibility == b.visibility).all())

    assert same(seen["holistic"], RESULT.described.queries["holistic"].rows(slice(5, 9)))
    assert same(seen["gallery"], RESULT.described.gallery.rows(slice(4, 40)))


def test_plain_values_are_ready_for_json(monkeypatch):
    monkeypatch.setattr(module, "hash_of_images", lambda queries, gallery: "these")
    trust = measure_trust(RESULT, Settled("these"))
    values = json.loads(json.dumps(trust.plain(), allow_nan=False))
    assert values["sure_by"] == "probability" and values["calibration"]["ece"] == pytest.approx(
        0.05
    )
    assert len(values["calibration"]["reliability"]) == 2
    assert "calibration" not in measure_trust(RESULT, None).plain()
