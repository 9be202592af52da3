"""ISP's feature map, pooling, matching, clustering, losses and schedule against numbers made
with its released code.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from partreid.data.transforms import resize_nearest
from partreid.distance import PartDistance
from partreid.layers import trunks as backbones
from partreid.losses import center_loss, hard_triplet, id_loss, part_loss, resize_labels
from partreid.methods.base import Method
from partreid.methods.isp.clustering import norms
from partreid.methods.isp.labels import parse_person, sharpened
from partreid.methods.isp.model import ISP
from partreid.metrics import evaluate_embeddings, rank
from partreid.metrics.official import isp_official, trapezoid_ap, trapezoid_mAP
from partreid.recipes import find
from partreid.retrieval import KReciprocal
from partreid.train.schedule import factor
from partreid.types import Batch, Embeddings, Output, PartScheme

HERE = Path(__file__).parent
TERMS = (
    "id_global",
    "triplet_global",
    "id_foreground",
    "triplet_foreground",
    "id_joined",
    "triplet_joined",
    "parsing",
)
OURS = {"part": "joined", "global": "global", "fore": "foreground"}


def golden(name: str) -> dict[str, Any]:
    return dict(np.load(HERE / f"{name}.npz"))


def tensor(a: Any) -> Tensor:
    return torch.from_numpy(np.asarray(a).copy())


class Features(nn.Module):
    """A trunk that hands the feature map through."""

    stride = 1

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return x


def scheme(K: int) -> PartScheme:
    return PartScheme(tuple(f"part{k}" for k in range(1, K + 1)))


def load_small(method: Method, z: dict[str, Any]) -> None:
    """The weights of a small golden case into a method with the three identity heads."""
    state = method.state_dict()
    state["part_head.classifier.weight"] = tensor(z["head_weight"])[..., None, None]
    state["part_head.classifier.bias"] = tensor(z["head_bias"])
    for theirs, ours in OURS.items():
        state[f"id.{ours}.norm.running_mean"] = tensor(z[f"bn_{theirs}_mean"])
        state[f"id.{ours}.norm.running_var"] = tensor(z[f"bn_{theirs}_var"])
        state[f"id.{ours}.norm.weight"] = tensor(z[f"bn_{theirs}_weight"])
        classifier = tensor(z[f"fc_{theirs}_weight"])
        state[f"id.{ours}.classifier"] = classifier if ours == "joined" else classifier[None]
    method.load_state_dict(state)


def small(z: dict[str, Any], **options: Any) -> ISP:
    method = ISP(Features(8), 5, scheme(3), TERMS, **options)
    load_small(method, z)
    return method


def test_pooling_and_description() -> None:
    z = golden("isp_a_pool_small")
    method = small(z).eval()
    out = method(tensor(z["M"]))
    assert out.parts is not None
    np.testing.assert_allclose(out.parts.logits.detach(), z["part_logits"], atol=1e-5)
    np.testing.assert_allclose(out.parts.probs.detach(), z["part_prob"], atol=1e-5)
    np.testing.assert_allclose(
        out.groups["parts"].vectors.detach().flatten(1), z["y_part"], atol=1e-5
    )
    np.testing.assert_allclose(
        out.groups["global"].vectors.detach()[:, 0], z["y_global"], atol=1e-5
    )
    np.testing.assert_allclose(
        out.groups["foreground"].vectors.detach()[:, 0], z["y_fore"], atol=1e-5
    )
    e = method.embed(out)
    assert e.names == ("global", "foreground", "part1", "part2", "part3")
    np.testing.assert_allclose(e.vectors.detach()[:, 2:], z["test_arm_part"], atol=1e-5)
    np.testing.assert_array_equal(e.visibility[:, 2:], z["test_arm_visible"])
    released = small(z, matching="released").eval().embed(out)
    np.testing.assert_allclose(
        released.vectors.detach()[:, 0], z["test_arm_global_fore"], atol=1e-5
    )
    joined = small(z, matching="concat").eval().embed(out)
    np.testing.assert_allclose(
        joined.vectors.detach()[:, 0], z["test_concat_part_global_fore"], atol=1e-5
    )


def test_training_scores() -> None:
    z = golden("isp_a_pool_small")
    method = small(z).train()
    out = method(tensor(z["M"]))
    assert out.parts is not None
    np.testing.assert_allclose(out.parts.logits.detach(), z["train_part_logits"], atol=1e-5)
    for theirs, ours in OURS.items():
        e = out.groups["parts" if ours == "joined" else ours]
        np.testing.assert_allclose(
            e.joined().vectors.detach()[:, 0], z[f"train_y_{theirs}"], atol=1e-5
        )
        scores = method.id[ours](e).detach()
        np.testing.assert_allclose(scores.flatten(1), z[f"train_score_{theirs}"], atol=1e-4)


class Stages(nn.Module):
    """HRNet's four outputs, given."""

    def __init__(self, maps: list[Tensor]) -> None:
        super().__init__()
        self.maps = maps
        self.feature_info = SimpleNamespace(channels=lambda: [m.shape[1] for m in maps])

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.maps


@pytest.mark.parametrize("global_from", ["features", "trunk"])
def test_head_at_full_size(monkeypatch: pytest.MonkeyPatch, global_from: str) -> None:
    z = golden("isp_a_tail_full")
    stages = Stages([tensor(z[f"stage4_{i}"]) for i in range(4)])
    monkeypatch.setattr(backbones, "create_timm", lambda *a, **k: stages)
    trunk = backbones.HRNetTrunk()
    method = ISP(trunk, 5, scheme(6), TERMS, dim=256, mask=True, global_from=global_from)  # type: ignore[arg-type]
    renamed = {
        "cls_head_0": "reduce.0",
        "cls_head_1": "reduce.1",
        "attn_conv1_conv": "mask.look",
        "attn_conv1_bn": "mask.norm",
        "attn_conv2_conv": "mask.weigh",
        "attn_conv2_bn": "mask.weigh_norm",
        "part_cls_layer": "part_head.classifier",
    }
    state = {
        ours + key.removeprefix(theirs).replace("_", ".", 1): tensor(value)
        for key, value in z.items()
        for theirs, ours in renamed.items()
        if key.startswith(theirs)
    }
    assert len(state) == 2 + 5 + 2 + 5 + 2 + 5 + 2
    missing, unexpected = method.load_state_dict(state, strict=False)
    assert not unexpected and all(name.startswith("id.") for name in missing)
    out = method.eval()(torch.zeros(1, 3, 8, 4))
    assert out.parts is not None
    np.testing.assert_allclose(out.features.detach(), z["M"], atol=1e-4)
    np.testing.assert_allclose(out.parts.logits.detach(), z["part_logits"], atol=1e-4)
    np.testing.assert_allclose(
        out.groups["parts"].vectors.detach().flatten(1), z["y_part"], atol=1e-4
    )
    np.testing.assert_allclose(
        out.groups["foreground"].vectors.detach()[:, 0], z["y_fore"], atol=1e-4
    )
    expected = z["y_global"] if global_from == "features" else z["y_global_bigG"]
    np.testing.assert_allclose(out.groups["global"].vectors.detach()[:, 0], expected, atol=1e-4)


def ranked_by(distance: Any, e: Embeddings, z: dict[str, Any]) -> Any:
    n = int(z["num_query"])
    ids, cameras = z["pids"].tolist(), z["camids"].tolist()
    return evaluate_embeddings(
        distance,
        e.rows(slice(0, n)),
        e.rows(slice(n, None)),
        q_ids=ids[:n],
        g_ids=ids[n:],
        q_cams=cameras[:n],
        g_cams=cameras[n:],
    )


def test_released_matching_and_eq10() -> None:
    z = golden("isp_b_distance")
    n = int(z["num_query"])
    parts, visible = tensor(z["part"]), tensor(z["visible"]).float()
    names = tuple(f"part{k}" for k in range(1, 5))
    e = Embeddings.cat(
        Embeddings.single("global+foreground", tensor(z["global_fore"])),
        Embeddings(parts, visible, names),
    )
    q, g = e.rows(slice(0, n)), e.rows(slice(n, None))
    np.testing.assert_allclose(1 - isp_official(q, g), z["score"], atol=1e-5)
    np.testing.assert_array_equal(isp_official(q, g).argsort(dim=1, stable=True), z["ranking"])
    ranking = ranked_by(PartDistance("cosine"), e, z)
    assert trapezoid_mAP(ranking) == pytest.approx(float(z["mAP_trapezoid"]), abs=1e-6)
    assert ranking.mAP == pytest.approx(float(z["mAP_standard"]), abs=1e-6)
    assert [ranking.cmc[k] for k in (1, 5, 10)] == pytest.approx(
        [z["cmc_standard"][k - 1] for k in (1, 5, 10)]
    )
    np.testing.assert_allclose(
        [trapezoid_ap(ranks) for ranks in ranking.ranks], z["ap_trapezoid"], atol=1e-6
    )
    full = rank(
        [(slice(0, n), isp_official(q, g))],
        q_ids=z["pids"][:n],
        g_ids=z["pids"][n:],
        q_cams=z["camids"][:n],
        g_cams=z["camids"][n:],
        ks=range(1, 81),
        top=80,
    )
    np.testing.assert_allclose(list(full.cmc.values())[:50], z["cmc_standard"], atol=1e-6)
    np.testing.assert_array_equal(full.first[:, None] <= np.arange(1, 81), z["cmc_per_query"])
    np.testing.assert_allclose(list(full.cmc.values()), z["cmc"], atol=1e-6)
    for top, listed, query in zip(full.top, z["ranking"], range(n)):
        excluded = (z["pids"][n:] == z["pids"][query]) & (z["camids"][n:] == z["camids"][query])
        np.testing.assert_array_equal(
            top[top >= 0], [image for image in listed if not excluded[image]]
        )
    two = [
        Embeddings.single(name, tensor(z["global_fore"])[:, columns])
        for name, columns in (("global", slice(0, 8)), ("foreground", slice(8, 16)))
    ]
    paper = Embeddings.cat(*two, Embeddings(parts, visible, names))
    distances = PartDistance("cosine")(paper.rows(slice(0, n)), paper.rows(slice(n, None)))
    np.testing.assert_allclose(distances, z["dist_eq10_proposed"], atol=1e-5)


def test_matching_without_visibility() -> None:
    z = golden("isp_b_noarm_eval")
    n = int(z["num_query"])
    e = Embeddings.single("all", tensor(z["feat"]))
    far = PartDistance("cosine")(e.rows(slice(0, n)), e.rows(slice(n, None)))
    np.testing.assert_allclose(2 * far, z["distmat"], atol=1e-5)
    ranking = ranked_by(PartDistance("cosine"), e, z)
    assert ranking.mAP == pytest.approx(float(z["mAP"]), abs=1e-6)
    assert [ranking.cmc[k] for k in (1, 5, 10)] == pytest.approx(
        [z["cmc"][k - 1] for k in (1, 5, 10)]
    )


def test_re_ranking_without_visibility() -> None:
    z = golden("isp_b_noarm_eval")
    n = int(z["num_query"])
    e = Embeddings.single("all", tensor(z["feat"]))
    rerank = KReciprocal(k1=6, k2=3, weight=0.3)  # released: on squared Euclid of unit vectors
    blocks = rerank(
        PartDistance("unit_euclidean"), e.rows(slice(0, n)), e.rows(slice(n, None)), rows=30
    )
    distances = torch.cat([block for _, block in blocks])
    # made in half precision
    np.testing.assert_allclose(distances, z["rerank_k1_6_k2_3_l03"], atol=5e-3)


def test_activation() -> None:
    z = golden("isp_c_clustering")
    length = norms(tensor(z["feats"]).flatten(2))
    energy = (length / length.amax(1, keepdim=True)).view(z["activation"].shape)
    np.testing.assert_allclose(energy, z["activation"], atol=1e-5)
    np.testing.assert_allclose(sharpened(energy), z["activation_enhanced"], atol=1e-5)


@pytest.mark.parametrize("enhance", [True, False])
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_clustering(enhance: bool, form: torch.memory_format) -> None:
    z = golden("isp_c_clustering")
    features = tensor(z["feats"]).contiguous(memory_format=form)
    labels = parse_person(
        features, torch.zeros(4), None, parts=int(z["K"]) - 1, enhance=enhance
    ).labels
    np.testing.assert_array_equal(labels, z["labels" if enhance else "labels_enhanced_off"])
    np.testing.assert_array_equal(labels, z["truth_ref"])
    ramp = parse_person(
        tensor(z["ramp_feats"]), torch.zeros(1), None, parts=int(z["K"]) - 1, enhance=enhance
    ).labels
    kind = "enhanced" if enhance else "plain"
    assert ((ramp > 0).numpy() != (z[f"ramp_labels_{kind}"] > 0)).sum() <= 2
    lowest = z["ramp_activation"][(ramp > 0).numpy()].min()
    assert lowest == pytest.approx(float(z[f"ramp_fg_min_activation_{kind}"]), abs=2 / 2048)


def batch(z: dict[str, Any]) -> tuple[Output, Batch]:
    """The losses' inputs as an output and a batch; three parts of eight numbers."""
    groups = {
        "global": Embeddings.single("global", tensor(z["y_global"])),
        "foreground": Embeddings.single("foreground", tensor(z["y_fore"])),
        "parts": Embeddings.visible(
            tensor(z["y_part"]).view(12, 3, 8), ("part1", "part2", "part3")
        ),
    }
    from partreid.types import PartMaps

    parts = PartMaps(tensor(z["part_logits"]), scheme(3))
    ids = tensor(z["target"])
    labels = tensor(z["part_target"]).to(torch.uint8)
    return (
        Output(torch.zeros(12, 8, 8, 4), parts, groups),
        Batch(torch.zeros(12, 3, 8, 4), ids, torch.ones(12, dtype=torch.int64), {"parts": labels}),
    )


def test_losses() -> None:
    z = golden("isp_h_losses")
    ids = tensor(z["target"])
    total = torch.zeros(())
    for theirs in OURS:
        xent = id_loss(tensor(z[f"score_{theirs}"]), ids, 0.1)
        triplet = hard_triplet(Embeddings.single("e", tensor(z[f"y_{theirs}"])), ids, 0.3)
        assert xent.item() == pytest.approx(float(z[f"xent_{theirs}"]), abs=1e-5)
        assert triplet.item() == pytest.approx(float(z[f"triplet_{theirs}"]), abs=1e-5)
        total = total + xent + triplet
    parsing = part_loss(tensor(z["part_logits"]), tensor(z["part_target"]).to(torch.uint8))
    assert parsing.item() == pytest.approx(float(z["parsing"]), abs=1e-5)
    weights = find("isp/table1/dukemtmc").stages[0].weights
    assert (total + weights["parsing"] * parsing).item() == pytest.approx(
        float(z["total"]), abs=1e-5
    )
    out, given = batch(z)
    terms = ISP(Features(8), 9, scheme(3), tuple(t for t in TERMS if "id" not in t)).losses(
        out, given
    )
    for theirs, ours in OURS.items():
        assert terms[f"triplet_{ours}"].item() == pytest.approx(
            float(z[f"triplet_{theirs}"]), abs=1e-5
        )
    assert terms["parsing"].item() == pytest.approx(float(z["parsing"]), abs=1e-5)


def test_center_loss_of_the_released_code() -> None:
    """Its loss is 5e-4 times the plain mean of squares; its centers follow that mean with rate
    0.5.
    """
    z = golden("isp_h_losses")
    method = ISP(Features(8), 9, scheme(3), ("id_global", "center_global"))
    f, ids = tensor(z["y_global"]).requires_grad_(), tensor(z["target"])
    centers = nn.Parameter(tensor(z["centers"]))
    center_loss(f, centers, ids, method.center_weight).backward()
    plain_f, plain_centers = f.detach().clone().requires_grad_(), nn.Parameter(tensor(z["centers"]))
    plain = (plain_f - plain_centers[ids]).square().sum(1).mean()
    assert plain.item() == pytest.approx(float(z["center_global"]), rel=1e-5)
    (5e-4 * plain).backward()
    assert f.grad is not None and plain_f.grad is not None
    assert centers.grad is not None and plain_centers.grad is not None
    np.testing.assert_allclose(f.grad, plain_f.grad, atol=1e-8)
    np.testing.assert_allclose(
        method.center_lr * centers.grad, 0.5 * plain_centers.grad / 5e-4, atol=1e-6
    )


def test_learning_rate() -> None:
    stage = find("isp/released/dukemtmc").stages[0]
    expected = golden("isp_i_schedule_aug")["lr_epoch1_to_120"]
    # the released code counts epochs from 1
    rates = [stage.lr * factor(stage, epoch) for epoch in range(1, 121)]
    np.testing.assert_allclose(rates, expected, rtol=1e-9)


def test_erasing_moves_labels_by_the_box_not_by_its_image_coordinates() -> None:
    """Ours lies between the cells wholly inside the box and the outward rounding that the
    specification proposes.
    """
    z = golden("isp_i_schedule_aug")
    for (_, top, left, tall, wide), proposed in zip(
        z["erase_seed_row_col_h_w"], z["erase_label_scaled_proposed"]
    ):
        labels = resize_nearest(np.ones((64, 32), np.uint8), (256, 128)).copy()
        labels[top : top + tall, left : left + wide] = 0
        ours = resize_labels(torch.from_numpy(labels)[None], (64, 32), 2)[0].numpy()
        whole = labels.reshape(64, 4, 32, 4).max((1, 3))
        assert (proposed <= ours).all() and (ours <= whole).all()
