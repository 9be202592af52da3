"""Ranks and scores against vectors made with the released evaluation code of BPBreID."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from partreid.metrics import ANY_CAMERA, MARKET, Protocol, Ranking, Roc, Searches, rank
from partreid.metrics.official import cuhk03_single_shot

GOLDEN = np.load(Path(__file__).with_name("bpb_rank_eval.npz"))


def junk_as_wrong(ids: np.ndarray) -> np.ndarray:
    """The released code knows no junk: identity -1 is one more wrong answer."""
    return np.where(ids == -1, 0, ids)


def market_like(
    prefix: str, ids: np.ndarray, protocol: Protocol = MARKET, top: int = 20
) -> Ranking:
    d, q, g = GOLDEN[prefix + "dist"], GOLDEN[prefix + "q_pids"], ids
    return rank(
        [(slice(0, len(d)), torch.from_numpy(d))],
        q_ids=q,
        g_ids=g,
        q_cams=GOLDEN[prefix + "q_camids"],
        g_cams=GOLDEN[prefix + "g_camids"],
        protocol=protocol,
        distractor=0,
        junk=-1,
        ks=range(1, top + 1),
        top=0,
    )


def test_market_rule_with_junk_removed() -> None:
    result = market_like("", GOLDEN["g_pids"])
    np.testing.assert_allclose(
        list(result.cmc.values()), GOLDEN["market1501_nojunk/cmc"], atol=1e-6
    )
    assert result.mAP == pytest.approx(float(GOLDEN["market1501_nojunk/mAP"]), abs=1e-9)
    assert result.skipped == 2


def test_market_rule_with_junk_as_a_wrong_identity() -> None:
    result = market_like("", junk_as_wrong(GOLDEN["g_pids"]))
    np.testing.assert_allclose(list(result.cmc.values()), GOLDEN["market1501/cmc"], atol=1e-6)
    assert np.flatnonzero(result.scored).tolist() == GOLDEN["market1501/valid_query_index"].tolist()
    np.testing.assert_allclose(
        result.ap[result.scored], GOLDEN["market1501/AP_valid_queries"], atol=1e-9
    )
    np.testing.assert_allclose(
        result.inp[result.scored], GOLDEN["market1501/INP_valid_queries"], atol=1e-9
    )
    assert result.mAP == pytest.approx(float(GOLDEN["market1501/mAP"]), abs=1e-9)
    assert result.mINP == pytest.approx(float(GOLDEN["market1501/mINP"]), abs=1e-9)


def test_any_camera_leaves_nothing_out() -> None:
    result = market_like("", junk_as_wrong(GOLDEN["g_pids"]), ANY_CAMERA, 10)
    np.testing.assert_allclose(
        list(result.cmc.values()), GOLDEN["mot_inter_intra_video/cmc"], atol=1e-6
    )
    assert result.mAP == pytest.approx(float(GOLDEN["mot_inter_intra_video/mAP"]), abs=1e-9)


def test_a_rule_of_ones_own() -> None:
    other = Protocol(
        "intra",
        "images from other cameras are left out",
        lambda identity, camera, identities, cameras: cameras != camera,
    )
    result = market_like("", junk_as_wrong(GOLDEN["g_pids"]), other, 10)
    np.testing.assert_allclose(list(result.cmc.values()), GOLDEN["mot_intra_video/cmc"], atol=1e-6)
    assert result.mAP == pytest.approx(float(GOLDEN["mot_intra_video/mAP"]), abs=1e-9)


@pytest.mark.parametrize(
    "name, sentence, removed",
    [
        ("mot_inter_video", "images from the query's camera are left out", np.equal),
        ("soccernetv3", "images of other actions are left out", np.not_equal),
    ],
)
def test_rules_of_other_fields(
    name: str, sentence: str, removed: Callable[..., np.ndarray]
) -> None:
    """Videos and actions play the camera there."""
    rule = Protocol(
        name, sentence, lambda identity, camera, identities, cameras: removed(cameras, camera)
    )
    result = market_like("", junk_as_wrong(GOLDEN["g_pids"]), rule, 10)
    np.testing.assert_allclose(list(result.cmc.values()), GOLDEN[f"{name}/cmc"], atol=1e-6)
    assert result.mAP == pytest.approx(float(GOLDEN[f"{name}/mAP"]), abs=1e-9)


def test_curves_of_the_same_distances() -> None:
    """The released code has no such curves: pairs counted one by one, and searches as if it were
    told who is there.
    """
    ids, cameras = junk_as_wrong(GOLDEN["g_pids"]), GOLDEN["g_camids"]
    masks = [
        MARKET.masks(i, c, ids, cameras, distractor=0)
        for i, c in zip(GOLDEN["q_pids"].tolist(), GOLDEN["q_camids"].tolist())
    ]
    relevant, valid = (np.stack(side) for side in zip(*masks))
    far = GOLDEN["dist"]
    roc, searches = Roc.of_masks(far, relevant, valid), Searches.of_masks(far, relevant, valid)
    mated, other = far[relevant], far[valid & ~relevant]
    for rate in (0.01, 0.1):
        allowed = [t for t in np.sort(far.ravel()) if np.mean(other <= t) <= rate]
        assert roc.tpr_at(rate) == pytest.approx(np.mean(mated <= max(allowed, default=-1)))
    assert searches.mated.sum() == 12 and np.flatnonzero(~searches.mated).tolist() == [12, 13]
    # Rank-1, told another way
    assert searches.first.sum() == round(12 * float(GOLDEN["market1501/cmc"][0]))


def test_two_queries_by_hand() -> None:
    result = market_like("tiny/", junk_as_wrong(GOLDEN["tiny/g_pids"]), top=5)
    np.testing.assert_allclose(list(result.cmc.values()), GOLDEN["tiny/cmc"], atol=1e-6)
    np.testing.assert_allclose(result.ap, GOLDEN["tiny/AP"], atol=1e-9)
    np.testing.assert_allclose(result.inp, GOLDEN["tiny/INP"], atol=1e-9)
    assert result.mAP == pytest.approx(float(GOLDEN["tiny/mAP"]), abs=1e-9)


def single_shot(draw: np.random.RandomState, ks: range) -> np.ndarray:
    # an ordinary wrong identity of its own
    ids = np.where(GOLDEN["g_pids"] == -1, -2, GOLDEN["g_pids"])
    rows = []
    for row, identity, camera in zip(
        GOLDEN["dist"], GOLDEN["q_pids"].tolist(), GOLDEN["q_camids"].tolist()
    ):
        relevant, valid = MARKET.masks(identity, camera, ids, GOLDEN["g_camids"], distractor=0)
        if relevant.any():
            rows.append(list(cuhk03_single_shot(row, identity, ids, valid, ks, draw).values()))
    return np.mean(rows, 0)


def test_cuhk03_single_shot_with_the_seed_of_the_released_code() -> None:
    got = single_shot(np.random.RandomState(0), range(1, 7))
    np.testing.assert_allclose(got, GOLDEN["cuhk03/seed0/cmc"], atol=1e-6)


def test_cuhk03_single_shot_on_average() -> None:
    draw = np.random.RandomState(1)
    got = np.mean([single_shot(draw, range(1, 7)) for _ in range(40)], 0)
    assert (
        abs(got - GOLDEN["cuhk03/cmc_mean_300_seeds"])
        < 4 * GOLDEN["cuhk03/cmc_std_over_seeds"] / np.sqrt(40)
    ).all()
