"""What is kept of a calibration, what it is bound to, and which pairs it is made of."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from partreid import build
from partreid.distance import PartDistance
from partreid.errors import DataError
from partreid.evaluation import decision
from partreid.evaluation.decision import Bound
from partreid.evaluation.doubt import Crowd, Doubt, doubt_about, matches, unlike
from partreid.inference import Model, load
from partreid.metrics import ANY_CAMERA, MARKET
from partreid.metrics.calibration import Calibration, Source, calibrate
from partreid.metrics.pairs import KnownPairs
from partreid.types import DISTRACTOR, JUNK, Benchmark, Embeddings, Sample

BOUND = Bound("model", "weights", "metric euclidean", ("a", "b"), "recipe")
SOURCE = Source(
    **vars(BOUND),
    data="made",
    queries=("query",),
    images="i",
    gallery="g",
    version="0",
    date="today",
)


def slice_of(
    people: int = 24,
    images: int = 3,
    noise: float = 0.6,
    hidden: float = 0.2,
    seed: int = 0,
    offset: int = 0,
) -> tuple[Benchmark, dict[str, Embeddings], Embeddings]:
    """People as places in 8 dimensions, seen with noise from cameras 1 and 2; two parts,
    sometimes hidden.
    """
    draw = np.random.default_rng(seed)
    places = draw.normal(0, 1, (people, 2, 8))

    def seen(who: np.ndarray) -> Embeddings:
        vectors = torch.tensor(
            places[who] + draw.normal(0, noise, (len(who), 2, 8)), dtype=torch.float32
        )
        visible = torch.tensor(draw.random((len(who), 2)) >= hidden, dtype=torch.float32)
        return Embeddings(vectors, visible, ("a", "b"))

    who = np.repeat(np.arange(people), images)
    query, gallery = (
        tuple(Sample(Path(f"{side}{i}"), int(w) + 1 + offset, camera) for i, w in enumerate(who))
        for side, camera in (("q", 1), ("g", 2))
    )
    return (
        Benchmark("made", Path("."), (), {"query": query}, gallery),
        {"query": seen(who)},
        seen(who),
    )


def pairs_of(
    benchmark: Benchmark, queries: dict[str, Embeddings], gallery: Embeddings
) -> KnownPairs:
    return decision.known_pairs(PartDistance("euclidean"), queries, gallery, benchmark, MARKET)


@pytest.fixture(scope="module")
def made() -> Calibration:
    return calibrate(pairs_of(*slice_of()), SOURCE, rate=0.02)


# Pairs


def test_pairs_are_those_that_the_protocol_compares() -> None:
    """One pair at a time: junk is out, the own camera's images too; every distractor is another
    person.
    """
    names = [(1, 1), (2, 1), (0, 1), (-1, 1)]
    others = [(1, 1), (1, 2), (2, 2), (0, 3), (0, 3), (-1, 2)]
    query, gallery = (
        tuple(Sample(Path(f"{i}"), *name) for i, name in enumerate(side))
        for side in (names, others)
    )
    benchmark = Benchmark("made", Path("."), (), {"one": query[:1], "two": query[1:]}, gallery)
    torch.manual_seed(0)
    q, g = torch.rand(4, 2, 3), torch.rand(6, 2, 3)
    seen_q, seen_g = (
        torch.tensor([[1, 1], [1, 0], [1, 1], [1, 1]]),
        torch.tensor([[1, 1], [0, 1], [0, 1]] * 2),
    )
    first, e = (Embeddings(v, s.float(), ("a", "b")) for v, s in ((q, seen_q), (g, seen_g)))
    distance = PartDistance("euclidean")
    pairs = decision.known_pairs(
        distance,
        {"one": first.rows(slice(1)), "two": first.rows(slice(1, 4))},
        e,
        benchmark,
        MARKET,
    )
    far, n = distance(first, e), 0
    for i, (person, camera) in enumerate(names):
        for j, (other, other_camera) in enumerate(others):
            if JUNK in (person, other) or (person == other and camera == other_camera):
                continue
            assert pairs.distance[n] == pytest.approx(float(far[i, j]))
            assert pairs.shared[n] == int((seen_q[i] * seen_g[j]).sum())
            assert pairs.same[n] == (person == other and person != DISTRACTOR)
            n += 1
    # three queries see five images, but for one of its own person and camera
    assert n == len(pairs) == 3 * 5 - 1
    assert len(set(pairs.gallery[-5:])) == 4  # persons 1 (twice), 2 and the two distractors
    assert pairs.images.sum() == 3 + 5 and pairs.query[-1] not in pairs.gallery


def test_without_a_right_answer_there_are_no_pairs() -> None:
    benchmark, queries, gallery = slice_of(people=3)
    alone = replace(
        benchmark, gallery=tuple(replace(s, identity=s.identity + 50) for s in benchmark.gallery)
    )
    with pytest.raises(DataError, match="query and gallery share no identity"):
        pairs_of(alone, queries, gallery)


def test_large_slices_are_sampled_by_people() -> None:
    benchmark, _, _ = slice_of(people=60, images=4)
    some, share = decision.sampled(benchmark, most=15_000)
    assert len(some.query) * len(some.gallery) <= 15_000 and share == pytest.approx(
        math.sqrt(15_000 / 240**2)
    )
    people = {s.identity for s in some.query}
    assert people == {s.identity for s in some.gallery} and len(some.gallery) == 4 * len(people)
    assert decision.sampled(benchmark, most=15_000)[0] == some
    assert decision.sampled(benchmark) == (benchmark, 1.0)
    pool = tuple(Sample(Path(f"d{i}"), DISTRACTOR, 1) for i in range(1000))
    fewer, share = decision.sampled(replace(benchmark, gallery=pool), most=60_000)
    assert share == 0.5 and 440 < len(fewer.gallery) < 560


def test_too_small_a_slice_is_told_from_the_lists_alone() -> None:
    benchmark, _, _ = slice_of()
    decision.require_slice(benchmark, MARKET, 0.01, 0.5)
    with pytest.raises(
        DataError, match=r"needs 100000 impostor pairs .* there are 1188: .*--rate 0\.009"
    ):
        decision.require_slice(benchmark, MARKET, 1e-4, 0.5)
    with pytest.raises(DataError, match="4 people with 36 genuine pairs to be fitted on"):
        decision.require_slice(slice_of(people=8)[0], MARKET, 0.1, 0.5)


def test_query_sets_are_chosen_by_name() -> None:
    benchmark, _, _ = slice_of()
    both = replace(benchmark, queries={"query": benchmark.query, "hidden": benchmark.query})
    assert decision.chosen(both, None) is both
    assert list(decision.chosen(both, "hidden").queries) == ["hidden"]
    with pytest.raises(DataError, match="unknown query set: 'hiden'. Did you mean 'hidden'"):
        decision.chosen(both, "hiden")


# Files


def test_a_file_gives_back_what_was_saved(made: Calibration, tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    decision.save(made, file)
    again = decision.read(file)
    assert again == made
    assert math.inf in made.impostors and "Infinity" not in file.read_text()
    far = np.linspace(0, 5, 9)
    assert again.probability(far, 2).tolist() == made.probability(far, 2).tolist()


def sealed(values: dict[str, Any]) -> dict[str, Any]:
    """What an attacker would write who knows how a calibration is sealed."""
    rest = {k: v for k, v in values.items() if k not in ("partreid_calibration", "sha256")}
    return {
        **values,
        "sha256": hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest(),
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda v: v.update(threshold=-1e9),
            "threshold .* within the log odds that its curves can give",
        ),
        (lambda v: v.update(threshold=None), "threshold .* got inf"),
        (lambda v: v.update(rate=0), "rate .* got 0.0"),
        (lambda v: v.update(rate=2.0), "rate of a calibration must be"),
        (lambda v: v.update(share=-1), "share of people"),
        (lambda v: v["curves"][0].update(logits=[0.0, 5.0]), "log odds that do not rise"),
        (lambda v: v["curves"][0].update(distances=[1.0]), "a curve must be"),
        (lambda v: v.update(curves=[]), "one at"),
        (lambda v: v["checked"]["fmr"].update(high=7), "fmr of a calibration must be"),
        (lambda v: v["fitted"].update(people=-3), "number of people must be"),
        (lambda v: v.update(impostors=[2, 1]), "distances of impostor pairs must be ascending"),
        (lambda v: v.update(seed=10**15), None),
        (lambda v: v["source"].update(date=[]), r"damaged at calibration.source"),
        (lambda v: v.pop("threshold"), "damaged at calibration;"),
        (lambda v: v.update(threshold="high"), "damaged at calibration.threshold"),
        (
            lambda v: v["checked"]["fmr"].update(low=[]),
            r"damaged at calibration\.checked\.fmr\.low",
        ),
        (lambda v: v.update(curves=3), "damaged at calibration.curves"),
        (lambda v: v.update(more=1), "damaged at calibration"),
        (lambda v: v.update(partreid_calibration=99), "no calibration of this version"),
        (lambda v: v.clear(), "no calibration of this version"),
    ],
)
def test_damaged_files_are_refused(change, words: str, made: Calibration, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "calibration.json"
    decision.save(made, file)
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))
    with pytest.raises(
        DataError,
        match="was changed after partreid calibrate had written it|no calibration of this",
    ):
        decision.read(file)
    file.write_text(json.dumps(sealed(values)))
    if words is None:
        assert decision.read(file) != made
    else:
        with pytest.raises(DataError, match=words):
            decision.read(file)


def test_a_calibration_of_the_version_without_a_seal_is_to_be_made_again(
    made: Calibration, tmp_path: Path
) -> None:
    (tmp_path / "old.json").write_text(
        json.dumps({"partreid_calibration": 1, **decision.plain(made)})
    )
    with pytest.raises(DataError, match="older version .* make it again with partreid calibrate"):
        decision.read(tmp_path / "old.json")


def test_a_calibration_of_before_the_renames_is_read(made: Calibration, tmp_path: Path) -> None:
    """Format 2 said same and strangers for genuine and impostors."""
    former = {"genuine": "same", "impostors": "strangers"}

    def of(values: dict[str, Any]) -> dict[str, Any]:
        return {former.get(name, name): value for name, value in values.items()}

    values = of(decision.plain(made))
    values["fitted"] = of(values["fitted"])
    values["checked"] = {**values["checked"], "slice": of(values["checked"]["slice"])}
    assert "strangers" in values and "same" in values["fitted"]
    file = tmp_path / "calibration.json"
    del values["likeness"]
    for name in ("kind", "people", "cameras"):
        del values["source"][name]
    file.write_text(json.dumps(sealed({"partreid_calibration": 2, **values})))
    calibration = decision.read(file)
    assert replace(calibration, source=made.source) == made and calibration.source.kind == "unknown"
    assert calibration.source.made_of == "people of made"
    e = Embeddings.of(torch.ones(1, 2, 8))
    sentence = doubt_about(calibration, PartDistance("euclidean"), e, e).of(0, 0)
    assert sentence is not None and "keeps no statistics of its crops" in sentence


def test_missing_files_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"there is no calibration .*gone\.json; make one with partreid calibrate"
    ):
        decision.read(tmp_path / "gone.json")
    (tmp_path / "text.json").write_text("{")
    with pytest.raises(DataError, match=r"text\.json is not JSON"):
        decision.read(tmp_path / "text.json")


# What it is bound to


@pytest.fixture(scope="module")
def model(trained) -> Model:  # type: ignore[no-untyped-def]
    return load(trained("bpbreid"))


def test_a_model_is_what_its_weights_and_its_distance_are(model: Model) -> None:
    method, recipe, names = model.method, model.recipe, model.names
    first = decision.bound_to(method, recipe, names)
    assert (
        first == decision.bound_to(method, recipe, names) == model.bound and len(first.model) == 64
    )
    other = decision.bound_to(method, recipe, tuple(reversed(names)))
    assert other.weights == first.weights and other.model != first.model
    rule = method.distance
    try:
        for changed in (
            replace(rule, metric="cosine"),
            replace(rule, weights=(0.5,) * len(names)),
            replace(rule, shrink=1.0, far=0.7),
        ):
            method.distance = changed
            again = decision.bound_to(method, recipe, names)
            assert again.weights == first.weights and again.model != first.model
    finally:
        method.distance = rule
    weight = next(method.parameters())
    with torch.no_grad():
        weight.view(-1)[0] += 1e-3
        assert decision.bound_to(method, recipe, names).weights != first.weights
        weight.view(-1)[0] -= 1e-3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": "0123456789abcdef"}, r"the same weights \(0123456789ab here, weights there\)"),
        (
            {"distance": "metric cosine"},
            r"the same distance \(metric cosine here, metric euclidean there\)",
        ),
        ({"names": ("a", "c")}, r"the same parts \(a, c here, a, b there\)"),
    ],
)
def test_another_model_is_refused_with_what_differs(
    change: dict[str, str], words: str, made: Calibration
) -> None:
    decision.require_bound(made, BOUND, "file")
    with pytest.raises(
        DataError,
        match=rf"file was made for another model \(model, this one is other\).*{words}.*"
        "partreid calibrate, or remove the file",
    ):
        decision.require_bound(made, replace(BOUND, model="other", **change), "file")


def test_images_are_known_again_wherever_they_lie(tmp_path: Path) -> None:
    def draw(folder: str, shade: int, identity: int = 1, camera: int = 1) -> Sample:
        path = tmp_path / folder / f"{shade}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4), shade).save(path)
        return Sample(path, identity, camera)

    def digest(*gallery: Sample) -> str:
        return decision.hash_of_images({"query": (draw("q", 9),)}, gallery)

    here = digest(draw("a", 1), draw("a", 2))
    assert digest(draw("b", 2), draw("b", 1)) == here
    others = {
        digest(draw("a", 1)),
        digest(draw("a", 1), draw("a", 3)),
        digest(draw("a", 1), draw("a", 2, 5)),
        digest(draw("a", 1), draw("a", 2, 1, 2)),
        decision.hash_of_images({}, [draw("a", 1), draw("a", 2)]),
    }
    assert len(others) == 5 and here not in others
    with pytest.raises(DataError, match=r"there is no image .*gone\.png"):
        digest(Sample(tmp_path / "gone.png", 1, 1))


def test_a_source_says_what_it_was_made_on(benchmark: Benchmark) -> None:
    source = decision.source_of(
        BOUND, build.benchmark("synthetic-tiny", benchmark.root), "synthetic-tiny"
    )
    assert (
        source.data == "synthetic-tiny"
        and source.queries == tuple(benchmark.queries)
        and source.model == "model"
    )
    assert source.images != source.gallery and len(source.date) == 10


# Crops of whoever


def test_other_people_raise_no_alarm_and_another_world_does(made: Calibration) -> None:
    distance = PartDistance("euclidean")
    for seed in range(1, 9):
        _, _, crops = slice_of(people=15, images=4, seed=seed)
        assert unlike(made, distance, crops) is None, seed
    _, _, noisy = slice_of(people=15, images=4, noise=2.0, seed=1)
    sentence = unlike(made, distance, noisy)
    assert sentence is not None and "not like those between crops of people of made" in sentence
    _, _, hidden = slice_of(people=15, images=4, hidden=0.7, seed=1)  # many pairs share no part
    assert unlike(made, distance, hidden) is not None
    assert unlike(made, distance, noisy.rows(slice(12))) is None  # 66 pairs say too little


@pytest.mark.parametrize(("queries", "people"), [(1, 15), (5, 15), (1, 300), (40, 300), (1, 2)])
def test_a_crowd_says_what_all_distances_say(made: Calibration, queries: int, people: int) -> None:
    """Those between the crops of the gallery are computed once, those to a query anew."""
    distance = PartDistance("euclidean")
    sentences = set()
    for change in ({}, {"noise": 2.0}, {"hidden": 0.7}):
        _, _, crops = slice_of(people=people, images=4, seed=1, **change)
        crowd = Crowd(made, distance, crops, queries)
        for seed in (2, 3):
            _, _, others = slice_of(people=15, images=4, seed=seed, noise=3.0)
            query = others.rows(slice(queries))
            sentences.add(crowd.unlike(query))
            assert crowd.unlike(query) == unlike(made, distance, query, crops)
    assert len(sentences) > 1 or people == 2


def test_matches_are_counted_over_the_whole_gallery(made: Calibration) -> None:
    benchmark, queries, gallery = slice_of(people=6, seed=3)
    distance = PartDistance("euclidean")
    far = distance(queries["query"], gallery).numpy()
    shared = (queries["query"].visibility @ gallery.visibility.T).numpy()
    slow = [sum(bool(made.same(d, int(s))) for d, s in zip(*row)) for row in zip(far, shared)]
    n, m = len(queries["query"]), len(gallery)
    like = Doubt(None, np.zeros(n, bool), np.zeros(m, bool), "made", "calibrate")
    counts = matches(made, distance, queries["query"], gallery, like)
    assert counts == slow and sum(slow) > 0
    odd = replace(like, query=np.arange(n) == 0, gallery=np.arange(m) == 1)
    assert matches(made, distance, queries["query"], gallery, odd) == [
        None,
        *(
            sum(bool(made.same(d, int(s))) for j, (d, s) in enumerate(zip(*row)) if j != 1)
            for row in list(zip(far, shared))[1:]
        ),
    ]
    none = replace(like, every="nothing is decided")
    assert matches(made, distance, queries["query"], gallery, none) == [None] * n
    assert len(decision.known_pairs(distance, queries, gallery, benchmark, ANY_CAMERA)) == 18 * 18
