"""Quality of labels and part maps, on maps small enough to count by hand or by loops."""

from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.evaluation.parts import (
    SHOWN_PIXELS,
    Overlap,
    Truth,
    bell,
    exact_visibilities,
    exact_visibility,
    label_overlaps,
    label_quality,
    overlap_gains,
    stripes,
)
from partreid.metrics import Interval
from partreid.types import Embeddings, Output, PartMaps, PartScheme, Sample

SAMPLE = Sample(Path("x.jpg"), 1, 1)
# head, torso and bag, legs, feet
EXACT = np.array([[0, 23, 24, 0], [0, 2, 2, 25], [0, 9, 10, 0], [0, 5, 6, 0]], np.uint8)


def quality(labels: list[list[int]]) -> dict[str, float]:
    return dict(label_quality(np.array([labels], np.uint8), [SAMPLE], lambda sample: EXACT))


def test_perfect_labels_score_one_everywhere() -> None:
    scores = quality([[0, 1, 1, 0], [0, 2, 2, 2], [0, 3, 3, 0], [0, 4, 4, 0]])
    assert scores == {"foreground": 1, "head": 1, "legs": 1, "shoes": 1, "bags kept": 1}


def test_a_part_over_legs_and_shoes_stands_for_one_of_them() -> None:
    scores = quality([[0, 1, 1, 0], [0, 2, 2, 0], [0, 3, 3, 0], [0, 3, 3, 3]])
    assert scores["bags kept"] == 0  # the bag was called background
    assert scores["foreground"] == pytest.approx(8 / 10)  # 8 pixels right, 1 missed, 1 too many
    # a tie goes to the upper region
    assert scores["legs"] == pytest.approx(2 / 5) and scores["shoes"] == 0


def test_unknown_pixels_do_not_count() -> None:
    scores = quality([[0, 1, 1, 0], [0, 2, 2, 255], [0, 3, 3, 0], [0, 4, 4, 255]])
    assert scores["foreground"] == 1 and scores["bags kept"] == 0  # nothing is known of the bag


def test_labels_on_a_coarser_grid_are_spread() -> None:
    scores = label_quality(np.array([[[1], [2]]], np.uint8), [SAMPLE], lambda sample: EXACT)
    assert scores["foreground"] == pytest.approx(9 / 16)


def test_background_alone_scores_zero() -> None:
    assert set(quality([[0] * 4] * 4).values()) == {0.0}


def test_gains_are_differences_of_overlaps_and_people_are_drawn() -> None:
    draw = np.random.default_rng(0)
    samples = [Sample(Path(f"{i}.jpg"), i // 3, 1) for i in range(24)]
    good = np.broadcast_to(lookup_of(EXACT), (24, 4, 4)).copy()
    good[draw.random(good.shape) < 0.1] = 0
    poor = np.where(draw.random(good.shape) < 0.4, 0, good).astype(np.uint8)
    gains = label_gains(good, poor, samples)
    better, worse = (label_quality(side, samples, lambda sample: EXACT) for side in (good, poor))
    assert set(gains) == {*REGION_NAMES, "bags"}
    for name in REGION_NAMES:
        assert gains[name].value == pytest.approx(better[name] - worse[name])
        assert 0 < gains[name].low < gains[name].value < gains[name].high
    back = label_gains(poor, good, samples)["head"]
    assert back.value == pytest.approx(-gains["head"].value) and back.high < 0
    level = label_gains(good, good, samples)
    assert all((g.value, g.low, g.high) == (0, 0, 0) for g in level.values())


def test_gains_compare_labels_of_unlike_numbers_of_parts() -> None:
    samples = [SAMPLE, Sample(Path("y.jpg"), 2, 1)]
    parts, one = (np.stack([side] * 2) for side in (lookup_of(EXACT), EXACT > 0))
    gains = label_gains(parts, one.astype(np.uint8), samples)
    # the one part covers all 9 pixels and stands for the head, which has 2 of them
    assert gains["foreground"].value == 0
    assert gains["head"].value == pytest.approx(7 / 9) and gains["legs"].value == 1


def label_gains(mine: np.ndarray, than: np.ndarray, samples: list[Sample]) -> dict[str, Interval]:
    sides = (label_overlaps(side, samples, lambda sample: EXACT) for side in (mine, than))
    return overlap_gains(*sides, [s.identity for s in samples])


def lookup_of(truth: np.ndarray) -> np.ndarray:
    """Head 1, torso and bag 2, legs 3, feet 4."""
    parts = {23: 1, 24: 1, 2: 2, 25: 2, 9: 3, 10: 3, 5: 4, 6: 4}
    return np.vectorize(lambda surface: parts.get(surface, 0))(truth).astype(np.uint8)


REGION_NAMES = ("foreground", "head", "legs", "shoes")


def masks(truth: np.ndarray) -> dict[str, np.ndarray]:
    """0 background, 1 head, 2 neither, 3 legs, 4 shoes."""
    return {"foreground": truth > 0, "head": truth == 1, "legs": truth == 3, "shoes": truth == 4}


def test_gains_of_overlaps_are_those_of_the_agreement() -> None:
    random = np.random.default_rng(5)
    truth = random.integers(0, 5, (12, 12, 6)).astype(np.uint8)
    named = {"head": (1,), "legs": (3,), "shoes": (4,)}
    sides: list[list[Overlap]] = []
    for wrong in (0.1, 0.5):
        labels = np.where(random.random(truth.shape) < wrong, 0, truth).astype(np.uint8)
        sides.append([])
        for a, b in zip(labels, truth, strict=True):
            sides[-1].append(Overlap(4, REGION_NAMES))
            sides[-1][-1].add(a, masks(b))
    gains = overlap_gains(*sides, np.arange(12) // 2, (named, named))
    better, worse = (Overlap.total(side).agreement(named) for side in sides)
    for name in REGION_NAMES:
        want = (better[name].inside or 0) - (worse[name].inside or 0)
        assert gains[name].value == pytest.approx(want) and 0 < gains[name].low < gains[name].high
    nobody = [Overlap(4, REGION_NAMES) for _ in range(2)]
    for one in nobody:
        one.add(np.zeros((4, 4), np.uint8), masks(np.zeros((4, 4), np.uint8)))
    assert overlap_gains(nobody, nobody, [1, 2], ({}, {})) == {}


@pytest.mark.parametrize("unknown", [0.0, 0.2])
def test_agreement_counts_what_a_loop_counts(unknown: float) -> None:
    random = np.random.default_rng(3)
    truth = random.integers(0, 5, (4, 12, 6)).astype(np.uint8)
    labels = np.where(
        random.random(truth.shape) < 0.6, truth + (truth == 4), random.integers(0, 6, truth.shape)
    )
    labels = np.where(random.random(truth.shape) < unknown, 255, labels).astype(np.uint8)
    counts = Overlap(5, REGION_NAMES)
    for a, b in zip(labels, truth, strict=True):
        counts.add(a, masks(b))
    parts = {"foreground": {1, 2, 3, 4, 5}, "head": {1}, "legs": {3, 4}, "shoes": {5}}
    agreement = counts.agreement(
        {name: tuple(k) for name, k in parts.items() if name != "foreground"}
    )
    for name, members in parts.items():
        both = either = neither = inside = 0
        for a, b in zip(
            labels.ravel(), np.stack([masks(t)[name] for t in truth]).ravel(), strict=True
        ):
            if a != 255:
                both += int(a in members and b)
                inside += int(a in members or b)
                neither += int(a not in members and not b)
                either += int(not (a in members and b))
        assert agreement[name].inside == pytest.approx(both / inside)
        assert agreement[name].outside == pytest.approx(neither / either)
        assert agreement[name].mean == pytest.approx((both / inside + neither / either) / 2)


def test_parts_stand_for_regions_by_their_order_or_by_what_they_cover() -> None:
    assert Overlap(5, REGION_NAMES).by_order() == {"head": (1,), "legs": (4,), "shoes": (5,)}
    assert Overlap(6, REGION_NAMES).by_order() == {"head": (1,), "legs": (4, 5), "shoes": (6,)}
    counts = Overlap(5, REGION_NAMES)
    truth = np.array([[1, 1, 2, 2], [3, 3, 4, 4], [0, 0, 0, 2]], np.uint8)
    counts.add(np.array([[4, 4, 5, 1], [2, 2, 3, 3], [0, 0, 0, 5]], np.uint8), masks(truth))
    # 1 and 5 lie on none of them
    assert counts.by_overlap() == {"head": (4,), "legs": (2,), "shoes": (3,)}
    coarse = Overlap(5, REGION_NAMES)
    coarse.add(np.array([[5], [1]], np.uint8), masks(truth[:2]))  # brought to the reference's size
    assert coarse.areas.tolist() == [0, 4, 0, 0, 0, 4]


def test_what_nobody_has_agrees_with_nothing() -> None:
    counts = Overlap(1, REGION_NAMES)
    counts.add(np.ones((2, 2), np.uint8), masks(np.full((2, 2), 2, np.uint8)))
    agreement = counts.agreement({"head": ()})
    assert (
        agreement["foreground"].inside,
        agreement["foreground"].outside,
        agreement["foreground"].mean,
    ) == (
        1.0,
        None,
        None,
    )
    assert (agreement["head"].inside, agreement["head"].outside) == (None, 1.0)


def test_baselines_look_at_nothing_and_have_every_part() -> None:
    for K in (3, 5, 6):
        a, b = bell(K, (64, 32)), stripes(K, (64, 32))
        assert set(np.unique(a)) == set(range(K + 1)) and set(np.unique(b)) == set(range(1, K + 1))
        assert (np.diff(a[:, 16][a[:, 16] > 0].astype(int)) >= 0).all() and (a == a[:, ::-1]).all()
        assert 0.3 < (a > 0).mean() < 0.4


# Part maps and visibility against exact labels

SCHEME = PartScheme(("head", "torso", "legs"))
SIZE = (12, 8)
SAMPLES = [Sample(Path(f"{i}.jpg"), i, 1) for i in range(5)]
DRAWN = np.random.default_rng(0).integers(0, 4, (5, *SIZE)).astype(np.uint8)
DRAWN[1][DRAWN[1] == 2] = 0  # no torso in image 1


def output(predicted: np.ndarray, visible: np.ndarray) -> Output:
    logits = (
        9
        * torch.nn.functional.one_hot(torch.from_numpy(predicted).long(), 4)
        .permute(0, 3, 1, 2)
        .float()
    )
    e = Embeddings(
        torch.zeros(len(predicted), 3, 2), torch.from_numpy(visible).float(), SCHEME.names
    )
    return Output(logits, PartMaps(logits, SCHEME), {"parts": e})


def truth(labels: np.ndarray = DRAWN) -> Truth:
    return Truth(SAMPLES, SCHEME, SIZE, lambda sample: labels[sample.identity])


def test_numbers_match_loops_over_pixels() -> None:
    predicted = np.random.default_rng(1).integers(0, 4, DRAWN.shape)
    visible = np.random.default_rng(2).integers(0, 2, (5, 3))
    counted = truth()
    counted.see(slice(0, 3), output(predicted[:3], visible[:3]))
    counted.see(slice(3, 5), output(predicted[3:], visible[3:]))

    pairs = list(zip(DRAWN.ravel().tolist(), predicted.ravel().tolist()))
    iou = counted.iou()
    for k, name in enumerate(SCHEME.names, 1):
        both, either = sum(a == b == k for a, b in pairs), sum(k in pair for pair in pairs)
        assert iou[name] == pytest.approx(both / either)
    assert iou["mean"] == pytest.approx(sum(iou[n] for n in SCHEME.names) / 3)
    assert iou["foreground"] == pytest.approx(
        sum(a > 0 and b > 0 for a, b in pairs) / sum(a > 0 or b > 0 for a, b in pairs)
    )
    accuracy = counted.visibility_accuracy()
    for m, name in enumerate(SCHEME.names):
        right = [bool(visible[i, m]) == bool((DRAWN[i] == m + 1).any()) for i in range(5)]
        assert accuracy[name] == pytest.approx(sum(right) / 5)
    assert accuracy["mean"] == pytest.approx(sum(accuracy[n] for n in SCHEME.names) / 3)


def test_what_is_exactly_right_scores_one() -> None:
    counted = truth()
    seen = np.stack([[(labels == k).any() for k in (1, 2, 3)] for labels in DRAWN])
    counted.see(slice(0, 5), output(DRAWN, seen))
    assert set(counted.iou().values()) == {1.0} and set(counted.visibility_accuracy().values()) == {
        1.0
    }


def test_coarser_maps_and_labels_meet_at_the_image_s_size() -> None:
    # four bands on a 4 x 4 grid
    coarse = np.repeat(np.arange(4, dtype=np.uint8), 1)[:, None].repeat(4, 1)
    counted = truth(np.stack([coarse] * 5))
    fine = coarse.repeat(3, 0).repeat(2, 1)
    counted.see(slice(0, 1), output(fine[None], np.ones((1, 3))))
    assert counted.iou()["mean"] == 1
    # interpolated: only edges may differ
    counted.see(slice(1, 2), output(coarse[None], np.ones((1, 3))))
    assert counted.iou()["mean"] > 0.7


def test_an_image_counts_where_its_row_stands() -> None:
    """Also every second row, as one of two processes sees them."""
    counted = truth()
    seen = np.stack([[(labels == k).any() for k in (1, 2, 3)] for labels in DRAWN])
    counted.see(slice(1, 5, 2), output(DRAWN[1::2], seen[1::2]))
    assert counted.iou()["mean"] == 1 and counted.confusion.sum() == 2 * DRAWN[0].size


def test_a_method_without_part_maps_counts_nothing() -> None:
    counted = truth()
    counted.see(slice(0, 5), Output(torch.zeros(5, 1, 1, 1), None, {}))
    assert not counted.confusion.any() and not counted.visibility.any()


def test_a_part_is_there_from_its_least_share_on() -> None:
    labels = np.zeros((128, 64), np.uint8)
    least = int(SHOWN_PIXELS * labels.size)
    assert least == 16
    labels.ravel()[:least] = 1
    labels.ravel()[least : 2 * least - 1] = 2
    assert exact_visibility(labels, 3).tolist() == [True, False, False]
    both = exact_visibilities(SAMPLES[:2], 3, lambda sample: labels)
    assert both.tolist() == [[1, 0, 0]] * 2 and both.dtype == torch.float32
