"""Losses, pooling and learning rate against numbers made with the released code of BPBreID."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from partreid.distance import PartDistance
from partreid.layers.pooling import max_pool, mean_pool, weighted_pool
from partreid.losses import gilt_loss, hard_triplet, id_loss, mine_hardest, part_loss
from partreid.recipes import Frozen, Stage
from partreid.train.schedule import factor
from partreid.types import Embeddings

HERE = Path(__file__).parent
TRIPLET = np.load(HERE / "bpb_triplet.npz")
GILT = np.load(HERE / "bpb_gilt.npz")
POOL = np.load(HERE / "bpb_pooling.npz")
ATTENTION = np.load(HERE / "bpb_body_part_attention_loss.npz")
COMBINE = {
    "avg": "mean",
    "individual": "each",
    "max": "max",
    "min": "min",
    "max_min": "max_min",
    "global": "mean",
}
NAMES = tuple(f"part{m}" for m in range(5))


def parameter(a: np.ndarray) -> Tensor:
    return torch.from_numpy(a.copy()).requires_grad_()


CASES = sorted(k.removesuffix("/loss") for k in TRIPLET.files if k.endswith("/loss") and "/m" in k)


@pytest.mark.parametrize("key", CASES)
def test_triplet(key: str) -> None:
    how, margin, seen = key.split("/")
    e = parameter(TRIPLET["emb"])
    ids = torch.from_numpy(TRIPLET["labels"])
    vectors = e[:, :1] if how == "global" else e
    if seen == "none":
        group = Embeddings.visible(vectors, NAMES[: vectors.shape[1]])
    else:
        weights = torch.from_numpy(TRIPLET[f"vis_{seen}"]).float()
        # released: sqrt(v v') for continuous visibilities
        weights = weights.sqrt() if seen == "cont" else weights
        group = Embeddings(vectors, weights, NAMES)
    loss = hard_triplet(group, ids, float(margin[1:]), COMBINE[how])  # type: ignore[arg-type]
    loss.backward()
    assert loss.item() == pytest.approx(float(TRIPLET[f"{key}/loss"]), abs=1e-5)
    expected = TRIPLET[f"{key}/grad"]
    assert e.grad is not None
    got = e.grad.numpy()
    if how == "global":
        got, expected = got[:, :1], expected.reshape(len(got), 1, -1)
    # images 0 and 1 are equal, so either may stand for both as the hardest negative
    np.testing.assert_allclose(got[0] + got[1], expected[0] + expected[1], atol=1e-4)
    np.testing.assert_allclose(got[2:], expected[2:], atol=1e-4)


def test_triplet_ratios() -> None:
    group = Embeddings(
        torch.from_numpy(TRIPLET["emb"]), torch.from_numpy(TRIPLET["vis_bool"]).float(), NAMES
    )
    ids = torch.from_numpy(TRIPLET["labels"])
    positive, negative = mine_hardest(PartDistance("euclidean").within(group), ids)
    assert len(positive) / len(ids) == pytest.approx(float(TRIPLET["avg/m0.3/bool/valid_ratio"]))
    trivial = (positive - negative + 0.3 <= 0).float().mean().item()
    assert trivial == pytest.approx(float(TRIPLET["avg/m0.3/bool/trivial_ratio"]), abs=1e-6)


def test_pairwise_distances() -> None:
    e = Embeddings.visible(torch.from_numpy(TRIPLET["emb"]), NAMES)
    np.testing.assert_allclose(
        PartDistance("euclidean").within(e), TRIPLET["pairwise_mean"], atol=2e-4
    )
    seen = Embeddings(e.vectors, torch.from_numpy(TRIPLET["vis_bool"]).float(), NAMES)
    got = PartDistance("euclidean").within(seen)
    np.testing.assert_allclose(
        torch.where(got.isinf(), -1.0, got), TRIPLET["pairwise_mean_bool"], atol=2e-4
    )


ROWS = {
    "gilt": ("gfc", "p"),
    "all": ("gfcp", "gfcp"),
    "id_only": ("gfc", ""),
    "tri_only": ("", "p"),
    "id_parts_too": ("gfcp", "p"),
    "pcb_style": ("p", ""),
    "bot_style": ("g", "g"),
    "market_cfg": ("gfc", "fp"),
}
GROUPS = {"g": "globl", "f": "foreg", "c": "conct", "p": "parts"}


@pytest.mark.parametrize("seen", ["novis", "vis"])
@pytest.mark.parametrize("row", list(ROWS))
def test_gilt(row: str, seen: str) -> None:
    ids = torch.from_numpy(GILT["pids"])
    e = {name: parameter(GILT[f"emb/{name}"]) for name in GROUPS.values()}
    scores = {name: parameter(GILT[f"scores/{name}"]) for name in GROUPS.values()}
    visible = (
        torch.from_numpy(GILT["vis/parts"]).float()
        if seen == "vis"
        else torch.ones(e["parts"].shape[:2])
    )
    total = torch.zeros(())
    for letter in ROWS[row][0]:
        total = total + id_loss(
            scores[GROUPS[letter]], ids, 0.1, visible if letter == "p" else None
        )
    for letter in ROWS[row][1]:
        vectors = e[GROUPS[letter]]
        group = (
            Embeddings(vectors, visible, ("1", "2", "3", "4"))
            if letter == "p"
            else Embeddings.single("e", vectors)
        )
        total = total + hard_triplet(group, ids, 0.3)
    if row == "gilt":
        logits = {name: scores[name] for name in ("globl", "foreg", "conct")}
        assert gilt_loss(logits, e["parts"], ids, visibility=visible).item() == total.item()
    total.backward()
    assert total.item() == pytest.approx(float(GILT[f"{seen}/{row}/loss"]), abs=1e-5)
    checked = 0
    for kind, tensors in (("grad_emb", e), ("grad_scores", scores)):
        for name, tensor in tensors.items():
            key = f"{seen}/{row}/{kind}/{name}"
            if key in GILT:
                np.testing.assert_allclose(tensor.grad, GILT[key], atol=1e-4)
                checked += 1
    assert checked


@pytest.mark.parametrize(
    "name, pool", [("gwap", weighted_pool), ("gap", mean_pool), ("gmp", max_pool)]
)
def test_pooling(name: str, pool) -> None:  # type: ignore[no-untyped-def]
    f, w = parameter(POOL["feat"]), parameter(POOL["masks"])
    out = pool(f, w)
    out.square().sum().backward()
    np.testing.assert_allclose(out.detach(), POOL[f"{name}/out"], atol=1e-5)
    np.testing.assert_allclose(f.grad, POOL[f"{name}/grad_feat"], atol=1e-4)
    kept = np.ones(POOL["masks"].shape[:2], bool)
    if name == "gwap":
        kept[0, 1] = kept[1, 2] = False  # below the clamp, where only the numerator has a gradient
    np.testing.assert_allclose(w.grad.numpy()[kept], POOL[f"{name}/grad_masks"][kept], atol=1e-4)


def test_foreground() -> None:
    f, masks = torch.from_numpy(POOL["feat"]), torch.from_numpy(POOL["masks"])
    whole = masks.amax(1, keepdim=True) if POOL["foreground_mask"].ndim == 3 else masks
    np.testing.assert_allclose(whole[:, 0], POOL["foreground_mask"])
    np.testing.assert_allclose(
        weighted_pool(f, whole)[:, 0], POOL["foreground_as_in_paper"], atol=1e-5
    )
    np.testing.assert_allclose(mean_pool(f, whole)[:, 0], POOL["foreground_as_coded"], atol=1e-5)


@pytest.mark.parametrize(
    "key, smoothing, keep",
    [
        ("bpbreid/eps0.1", 0.1, 1.0),
        ("bpbreid/eps0.0", 0.0, 1.0),
        ("kpr/ratio1.0", 0.1, 1.0),
        ("kpr/ratio0.7", 0.1, 0.7),
    ],
)
def test_attention_loss(key: str, smoothing: float, keep: float) -> None:
    logits = parameter(ATTENTION["logits"])
    masks = torch.from_numpy(ATTENTION["masks"])
    resized = torch.nn.functional.interpolate(
        masks, size=logits.shape[2:], mode="bilinear", align_corners=True
    )
    labels = resized.argmax(1).to(torch.uint8)
    np.testing.assert_array_equal(labels, ATTENTION["targets"])
    loss = part_loss(logits, labels, smoothing, keep)
    loss.backward()
    assert loss.item() == pytest.approx(float(ATTENTION[f"{key}/loss"]), abs=1e-5)
    np.testing.assert_allclose(logits.grad, ATTENTION[f"{key}/grad"], atol=1e-4)


def test_learning_rate() -> None:
    stage = Stage(
        epochs=120,
        weights=Frozen({"x": 1.0}),
        lr=3.5e-4,
        warmup=10,
        warmup_from=0.01,
        drop_at=(40, 70),
    )
    expected = np.load(HERE / "bpb_lr_schedule.npz")["lr_per_epoch"]
    np.testing.assert_allclose(
        [stage.lr * factor(stage, epoch) for epoch in range(120)], expected, rtol=1e-9
    )
