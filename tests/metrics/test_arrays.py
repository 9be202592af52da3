"""What a caller may hand in: numpy, torch or lists, ids by keyword, and no identity special unless
asked.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import partreid
from partreid.errors import ArgumentError, DataError, PartReidError, ShapeError
from partreid.metrics import (
    ANY_CAMERA,
    MARKET,
    OpenSetAccumulator,
    PairAccumulator,
    Protocol,
    evaluate,
    evaluate_embeddings,
    rank,
    roc_curve,
    searches,
)
from partreid.metrics.arrays import as_floats, as_int64
from partreid.types import Embeddings

FAR = np.random.default_rng(0).random((20, 60))
Q_IDS, G_IDS = np.arange(20) % 10, np.arange(60) % 12
Q_CAMS, G_CAMS = np.arange(20) % 2, np.arange(60) % 3


def test_identity_0_is_a_person_like_the_others() -> None:
    """2 of 20 queries are of identity 0, as in a training batch: they once vanished."""
    pairs, open_set = PairAccumulator(), OpenSetAccumulator(q_ids=Q_IDS, g_ids=G_IDS, absent=1.0)
    ranking = evaluate(FAR, q_ids=Q_IDS, g_ids=G_IDS, accumulators=[pairs, open_set])
    assert ranking.skipped == 0 and ranking.scored.sum() == 20
    assert open_set.absent.tolist() == list(range(10))
    assert len(pairs.result().genuine) == 20 * 5
    moved = evaluate(FAR, q_ids=Q_IDS + 7, g_ids=G_IDS + 7)
    below = evaluate(FAR, q_ids=Q_IDS - 5, g_ids=G_IDS - 5)  # -1 is nobody's sign either
    assert ranking.scores == moved.scores == below.scores
    for other in (roc_curve, searches):
        plain, shifted = (other(FAR, q_ids=Q_IDS - by, g_ids=G_IDS - by).scores for by in (0, 1))
        assert plain == shifted or all(map(np.isnan, plain.values()))


def test_distractors_and_junk_are_what_the_caller_says() -> None:
    wrong = evaluate(FAR, q_ids=Q_IDS, g_ids=G_IDS, distractor=0)
    assert wrong.skipped == 2 and wrong.size.tolist() == [60] * 20
    unseen = evaluate(FAR, q_ids=Q_IDS, g_ids=G_IDS, junk={0, 11})
    assert unseen.skipped == 2 and unseen.size.tolist() == [50] * 20
    both = evaluate(FAR, q_ids=Q_IDS, g_ids=G_IDS, distractor=[1, 2], junk=np.int64(0))
    assert both.skipped == 6 and both.size.tolist() == [55] * 20
    # an unseen image is as if it were not there
    kept = ~np.isin(G_IDS, (0, 11))
    alone = evaluate(FAR[:, kept], q_ids=Q_IDS, g_ids=G_IDS[kept])
    assert unseen.scores == alone.scores
    gone = roc_curve(FAR, q_ids=Q_IDS, g_ids=G_IDS, junk=(0, 11))
    assert gone.impostors + len(gone.genuine) == 20 * 50
    assert len(gone.genuine) == 18 * 5
    assert searches(FAR, q_ids=Q_IDS, g_ids=G_IDS, junk=0).mated.sum() == 18


@pytest.mark.parametrize(
    "form",
    [
        np.asarray,
        lambda a: a.tolist(),
        torch.from_numpy,
        lambda a: torch.from_numpy(a).to(torch.int32 if a.dtype.kind == "i" else torch.float64),
        lambda a: a.astype(np.uint8) if a.dtype.kind == "i" else a,
        lambda a: torch.from_numpy(a).requires_grad_() if a.dtype.kind == "f" else a,
    ],
)
def test_arrays_tensors_and_lists_score_alike(form: Callable[[Any], Any]) -> None:
    ids = {"q_ids": Q_IDS, "g_ids": G_IDS, "q_cams": Q_CAMS, "g_cams": G_CAMS}
    want = evaluate(FAR, **ids)
    given = {name: form(values) for name, values in ids.items()}
    assert evaluate(form(FAR), **given).scores == want.scores
    assert roc_curve(form(FAR), **given).scores == roc_curve(FAR, **ids).scores
    if not isinstance(form(FAR), list):
        assert rank([(slice(0, 20), form(FAR))], **given).scores == want.scores


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int16])
def test_any_type_of_number_keeps_its_value(dtype: torch.dtype) -> None:
    far = (torch.from_numpy(FAR) * 100).to(dtype)
    want = evaluate(far.double(), q_ids=Q_IDS, g_ids=G_IDS)
    ranking = evaluate(far, q_ids=Q_IDS, g_ids=G_IDS)
    assert ranking.scores == want.scores
    exact = as_floats("distances", far)
    assert exact.dtype in (np.float32, np.float64) and (exact == far.double().numpy()).all()


def test_cameras_choose_the_rule() -> None:
    ids = {"q_ids": Q_IDS, "g_ids": G_IDS}
    cams = {"q_cams": Q_CAMS, "g_cams": G_CAMS}
    assert evaluate(FAR, **ids).protocol == "no_camera"
    across = evaluate(FAR, **ids, **cams)
    assert across.protocol == "market1501" and set(across.size.tolist()) == {55, 60}
    everything = evaluate(FAR, **ids, **cams, protocol=ANY_CAMERA)
    assert everything.scores == evaluate(FAR, **ids).scores
    mine = Protocol("mine", "nothing", lambda i, c, ids, cams: cams == c, needs_cameras=True)
    for protocol in (MARKET, mine):
        with pytest.raises(ArgumentError, match=f"'{protocol.name}' asks which camera saw"):
            evaluate(FAR, **ids, protocol=protocol)
    with pytest.raises(ArgumentError, match="both sides or for none; got q_cams alone"):
        evaluate(FAR, **ids, q_cams=Q_CAMS)


def test_ids_go_by_name() -> None:
    """q_ids, q_cams, g_ids, g_cams in a row is what other code does not do: nothing to guess."""
    with pytest.raises(TypeError, match="positional"):
        evaluate(FAR, Q_IDS, G_IDS)  # type: ignore[misc]
    one = Embeddings.single("global", torch.eye(3))
    with pytest.raises(TypeError, match="positional"):
        evaluate_embeddings(partreid.PartDistance("cosine"), one, one, [1] * 3, [1] * 3)  # type: ignore[misc]


@pytest.mark.parametrize("door", [evaluate, roc_curve, searches])
@pytest.mark.parametrize(
    ("far", "change", "error", "words"),
    [
        (FAR, {"q_ids": Q_IDS[:-1]}, ShapeError, r"q_ids must be \[20\], one per row .* \[19\]"),
        (FAR, {"g_ids": Q_IDS}, ShapeError, r"g_ids must be \[60\], one per column .* \[20\]"),
        (FAR, {"q_ids": Q_IDS + 0.5}, ShapeError, "q_ids must be integers, .* got float64"),
        (FAR, {"q_ids": Q_IDS > 3}, ShapeError, "q_ids must be integers, .* got bool"),
        (FAR, {"g_ids": ["a"] * 60}, ShapeError, "g_ids must be integers"),
        (FAR, {"q_ids": np.uint64([2**64 - 1] * 20)}, ShapeError, "must fit into 64 bits"),
        (FAR, {"q_cams": [1], "g_cams": G_CAMS}, ShapeError, r"q_cams must be \[20\]"),
        (FAR, {"distractor": 0.5}, ArgumentError, "distractor must be .* got 0.5"),
        (FAR, {"junk": "0"}, ArgumentError, "junk must be .* got '0'"),
        (FAR + 1j, {}, ArgumentError, r"distances must be real numbers, got .*complex128"),
        (FAR > 0.5, {}, ArgumentError, "distances must be real numbers, got .*bool"),
        (np.where(FAR > 0.5, np.nan, FAR), {}, DataError, "not all numbers: some are NaN"),
        (FAR[0], {}, ShapeError, r"distances must be \[Nq, Ng\], got \[60\]"),
        ([[0.5], [0.5, 1.0]], {}, ArgumentError, "distances must be real numbers"),
        ("far", {}, PartReidError, "distances"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(
    door: Callable[..., Any],
    far: Any,
    change: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        door(far, **{"q_ids": Q_IDS, "g_ids": G_IDS, **change})


def test_empty_lists_are_lists_of_nobody() -> None:
    assert as_int64("ids", []).tolist() == [] and as_int64("ids", []).dtype == np.int64
    with pytest.raises(DataError, match="the query set is empty"):
        evaluate(np.empty((0, 3)), q_ids=[], g_ids=[1, 2, 3])
