"""HCGA's co-parsing, label reassignment, guided alignment, matching and losses against its
released code's numbers.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from partreid.distance import PartDistance
from partreid.losses import hard_triplet, id_loss, part_loss
from partreid.methods.hcga.coparsing import (
    AXES,
    DIAGONALS,
    Decoder,
    Weights,
    adjacent,
    background_labels,
    background_loss,
    descent,
    local_loss,
    reassign,
    semantic_loss,
    total_loss,
)
from partreid.methods.hcga.model import HCGA
from partreid.metrics import rank
from partreid.metrics.official import hcga_official, trapezoid_ap
from partreid.recipes import find
from partreid.types import Embeddings, PartScheme

HERE = Path(__file__).parent
TERMS = ("id_global", "triplet_global", "id_foreground", "id_joined", "parsing")
SCHEME = PartScheme(("part1", "part2", "part3"))
OURS = {"part": "joined", "global": "global", "fore": "foreground"}


def golden(name: str) -> dict[str, Any]:
    return dict(np.load(HERE / f"{name}.npz"))


def tensor(a: Any) -> Tensor:
    return torch.from_numpy(np.asarray(a).copy())


@pytest.mark.parametrize(
    "key, norm, window", [("l1_r3", "l1", 3), ("l2_r3", "l2", 3), ("l1_r5", "l1", 5)]
)
def test_consistency_losses(key: str, norm: Any, window: int) -> None:
    z = golden("hcga_d_hcnet_losses")
    y = tensor(z["pred"]).requires_grad_()
    listed = adjacent(tensor(z["camids"]), same_camera=False)
    axes = sum(
        float(z[f"{key}_{name}"])
        for name in ("l_h", "l_v", *(("l_h2", "l_v2") if window == 5 else ()))
    )
    slants = float(z[f"{key}_l_diag1"]) + float(z[f"{key}_l_diag2"])
    assert local_loss(y, norm, AXES[window]).item() == pytest.approx(axes, abs=1e-5)
    assert local_loss(y, norm, DIAGONALS).item() == pytest.approx(slants, abs=1e-5)
    assert background_loss(y, listed, norm).item() == pytest.approx(
        float(z[f"{key}_l_img"]), abs=1e-5
    )
    assert semantic_loss(y).item() == pytest.approx(float(z[f"{key}_ce"]), abs=1e-5)
    weights = Weights(
        float(z["pixel_weight"]), float(z["image_weight"]), float(z["diag_weight"]), norm, window
    )
    total = total_loss(y, listed, weights)
    total.backward()
    assert total.item() == pytest.approx(float(z[f"{key}_total_ref"]), abs=1e-5)
    np.testing.assert_allclose(y.grad, z[f"{key}_grad"], atol=1e-5)
    gradient, labels = descent(y.detach(), listed, weights)
    np.testing.assert_allclose(gradient, z[f"{key}_grad"], atol=1e-5)
    np.testing.assert_array_equal(labels, z["pred"].argmax(1))


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_background_loss_on_one_camera(norm: Any) -> None:
    z = golden("hcga_d_hcnet_losses")
    pairs = adjacent(tensor(z["camids"]))
    assert pairs.tolist() == [[0, 1], [2, 3]]
    loss = background_loss(tensor(z["pred"]), pairs, norm).item()
    assert loss == pytest.approx(float(z[f"{norm}_l_img_same_camera_proposed"]), abs=1e-5)


def test_decoder() -> None:
    z = golden("hcga_d_hcnet_decoder")
    net = Decoder(12, wide=6, labels=5).train()
    state = {
        f"{key.removeprefix('w_seq_').replace('_', '.', 1)}": tensor(z[key])
        for key in z
        if key.startswith("w_")
    }
    _, surplus = net.load_state_dict(state, strict=False)
    # the batch norms take them away
    assert set(surplus) == {"0.bias", "3.bias", "6.bias", "9.bias"}
    x = tensor(z["x"])
    np.testing.assert_allclose(net(x).detach(), z["output_step0"], atol=1e-4)
    net.load_state_dict(state, strict=False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    weights = Weights(local=2.0, background=1.0, diagonal=0.0)
    pairs = adjacent(torch.zeros(4), same_camera=False)
    losses = []
    for _ in range(3):
        y = net(x)
        losses.append(total_loss(y, pairs, weights).item())
        optimizer.zero_grad()
        y.backward(descent(y.detach(), pairs, weights)[0])
        optimizer.step()
    np.testing.assert_allclose(losses, z["loss_3_steps_l1_pw2_iw1_dw0"], atol=1e-4)


def test_label_reassignment() -> None:
    z = golden("hcga_e_cplr")
    labels = tensor(z["labels"])
    assert background_labels(labels) == z["background_labels_ref"].tolist()
    for name in ("structure_K4", "structure_K6", "mean_K4", "mean_K6"):
        how, C = name.split("_K")
        assignment, front = reassign(labels, int(C) - 1, how)  # type: ignore[arg-type]
        np.testing.assert_array_equal(assignment, z[name])
        assert front == 9


@pytest.mark.parametrize("case, front", [("few", 1), ("two", 2)])
@pytest.mark.parametrize("how", ["structure", "mean"])
def test_label_reassignment_of_few(case: str, front: int, how: Any) -> None:
    z = golden("hcga_e_cplr")
    assignment, count = reassign(tensor(z[case]), 3, how)
    np.testing.assert_array_equal(assignment, z[f"{case}_{how}_K4"])
    assert count == front


@pytest.mark.parametrize("how", ["structure", "mean"])
def test_all_background_is_said_and_not_raised(how: Any) -> None:
    assignment, front = reassign(torch.zeros(2, 64, 32, dtype=torch.int64), 3, how)
    assert front == 0 and not assignment.any()


class Features(nn.Module):
    channels, stride = 8, 1

    def forward(self, x: Tensor) -> Tensor:
        return x


def built(z: dict[str, Any], **options: Any) -> HCGA:
    method = HCGA(Features(), 5, SCHEME, TERMS, **options)
    state = method.state_dict()
    state["part_head.classifier.weight"] = tensor(z["head_weight"])[..., None, None]
    state["part_head.classifier.bias"] = tensor(z["head_bias"])
    for theirs, ours in OURS.items():
        state[f"id.{ours}.norm.running_mean"] = tensor(z[f"bn_{theirs}_mean"])
        state[f"id.{ours}.norm.running_var"] = tensor(z[f"bn_{theirs}_var"])
        state[f"id.{ours}.norm.weight"] = tensor(z[f"bn_{theirs}_weight"])
    method.load_state_dict(state)
    return method


@pytest.mark.parametrize("t", [2, 3, 4])
def test_guided_alignment(t: int) -> None:
    z = golden("hcga_f_gam")
    method = built(z, t=t, kept=0.5)
    out = method.train()(tensor(z["M"]))
    np.testing.assert_allclose(out.parts.probs.detach(), z["part_prob"], atol=1e-5)
    np.testing.assert_allclose(
        out.groups["parts"].vectors.detach().flatten(1), z[f"y_part_train_T{t}"], atol=1e-5
    )
    out = method.eval()(tensor(z["M"]))
    np.testing.assert_allclose(
        out.groups["parts"].vectors.detach().flatten(1), z[f"y_part_eval_part_t_T{t}"], atol=1e-5
    )
    np.testing.assert_allclose(
        out.groups["global"].vectors.detach()[:, 0], z["y_global"], atol=1e-5
    )
    np.testing.assert_allclose(
        out.groups["foreground"].vectors.detach()[:, 0], z["y_fore"], atol=1e-5
    )


def test_description() -> None:
    z = golden("hcga_f_gam")
    bare = built(z, t=None).eval()(tensor(z["M"]))
    np.testing.assert_allclose(
        bare.groups["parts"].vectors.detach().flatten(1), z["y_part_eval_nogam"], atol=1e-5
    )
    options = {"t": 4, "kept": 0.5, "visibility": "argmax"}
    method = built(z, **options).eval()
    e = method.embed(method(tensor(z["M"])))
    np.testing.assert_allclose(e.vectors.detach()[:, 0], z["test_arm_fore"], atol=1e-5)
    np.testing.assert_allclose(e.vectors.detach()[:, 1:], z["test_arm_part"], atol=1e-5)
    np.testing.assert_array_equal(e.visibility[:, 1:], z["test_arm_visible"])
    joined = built(
        z, **options, matching="concat", described=("global", "foreground", "parts")
    ).eval()
    vectors = joined.embed(joined(tensor(z["M"]))).vectors.detach()[:, 0]
    np.testing.assert_allclose(vectors, z["test_concat_global_fore_part"], atol=1e-5)


def test_matching() -> None:
    z = golden("hcga_g_distance")
    n = int(z["num_query"])
    e = Embeddings.cat(
        Embeddings.single("foreground", tensor(z["fore"])),
        Embeddings(tensor(z["part"]), tensor(z["visible"]).float(), SCHEME.names),
    )
    q, g = e.rows(slice(0, n)), e.rows(slice(n, None))
    np.testing.assert_allclose(-hcga_official(q, g), z["score"], atol=1e-5)
    np.testing.assert_array_equal(hcga_official(q, g).argsort(dim=1, stable=True), z["ranking"])
    ids, cameras = z["pids"], z["camids"]
    ranking = rank(
        [(slice(0, n), hcga_official(q, g))],
        q_ids=ids[:n],
        q_cams=cameras[:n],
        g_ids=ids[n:],
        g_cams=cameras[n:],
    )
    np.testing.assert_allclose(
        [trapezoid_ap(ranks) for ranks in ranking.ranks], z["ap_trapezoid"], atol=1e-6
    )
    method = HCGA(Features(), 5, SCHEME, TERMS)
    np.testing.assert_allclose(
        1 - method.distance(q, g), z["sim_eq10_proposed"], atol=1e-5
    )  # Eq. 10
    even = HCGA(Features(), 5, SCHEME, TERMS, matching="even").distance
    assert even == PartDistance("cosine")
    np.testing.assert_allclose(1 - even(q, g) / 2, z["sim_normalised_proposed"], atol=1e-5)


def test_losses() -> None:
    z = golden("hcga_h_prnet_losses")
    ids = tensor(z["target"])
    weights = find("hcga/table1/occluded_duke").stages[0].weights
    terms = {
        f"id_{ours}": id_loss(tensor(z[f"score_{theirs}"]), ids, 0.1)
        for theirs, ours in OURS.items()
    }
    terms["triplet_global"] = hard_triplet(
        Embeddings.single("global", tensor(z["y_global"])), ids, 0.3
    )
    terms["parsing"] = part_loss(tensor(z["part_logits"]), tensor(z["part_target"]).to(torch.uint8))
    assert set(terms) == set(weights)
    total = sum(weights[name] * term for name, term in terms.items())
    assert float(total) == pytest.approx(float(z["total"]), abs=1e-5)  # Eq. 9
