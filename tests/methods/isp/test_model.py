"""ISP's equations against loops; its options; its recipes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from partreid.distance import PartDistance
from partreid.layers.spatial import SpatialMask
from partreid.losses import center_loss, hard_triplet, id_loss, part_loss
from partreid.methods.isp.model import ISP
from partreid.recipes import RECIPES, find
from partreid.types import Batch, Embeddings, PartScheme

TERMS = (
    "id_global",
    "triplet_global",
    "id_foreground",
    "triplet_foreground",
    "id_joined",
    "triplet_joined",
    "parsing",
)
SCHEME = PartScheme(("part1", "part2", "part3"))


class Features(nn.Module):
    channels, stride = 6, 1

    def forward(self, x: Tensor) -> Tensor:
        return x


def isp(terms: Sequence[str] = TERMS, **options: Any) -> ISP:
    method = ISP(Features(), 4, SCHEME, terms, **options)
    nn.init.normal_(method.part_head.classifier.weight)
    return method


def features(n: int = 8) -> Tensor:
    return torch.rand(n, 6, 8, 4)


def batch(n: int = 8) -> Batch:
    labels = (torch.arange(8) // 2).to(torch.uint8)[None, :, None].expand(n, 8, 4).clone()
    return Batch(
        torch.zeros(n, 3, 8, 4),
        torch.arange(n) // 2,
        torch.ones(n, dtype=torch.int64),
        {"parts": labels},
    )


def test_eq2_and_eq8_pixel_by_pixel() -> None:
    method, f = isp().eval(), features(2)
    out = method(f)
    assert out.parts is not None
    logits = out.parts.logits.detach().double()
    for i in range(2):
        pooled, visible, foreground = (
            torch.zeros(3, 6).double(),
            torch.zeros(3),
            torch.zeros(6).double(),
        )
        for y in range(8):
            for x in range(4):
                p = logits[i, :, y, x].exp() / logits[i, :, y, x].exp().sum()  # Eq. 5
                for k in range(3):
                    pooled[k] += p[k + 1] * f[i, :, y, x] / 32  # Eq. 2
                    foreground += p[k + 1] * f[i, :, y, x] / 32
                if p.argmax() > 0:
                    visible[p.argmax() - 1] = 1  # Eq. 8
        torch.testing.assert_close(out.groups["parts"].vectors[i].detach().double(), pooled)
        torch.testing.assert_close(
            out.groups["foreground"].vectors[i, 0].detach().double(), foreground
        )
        torch.testing.assert_close(out.groups["global"].vectors[i, 0].detach(), f[i].mean((1, 2)))
        assert torch.equal(out.groups["parts"].visibility[i], visible)
    assert (isp(visibility="none").eval()(f).groups["parts"].visibility == 1).all()


def test_eq10_by_hand() -> None:
    method = isp().eval()
    e = method.embed(method(features(5)))
    assert e.names == (
        "global",
        "foreground",
        "part1",
        "part2",
        "part3",
    ) and method.distance == PartDistance("cosine")
    e = Embeddings(
        e.vectors.detach(),
        torch.tensor(
            [[1, 1, *row] for row in ((1, 0, 1), (0, 0, 0), (1, 1, 1), (0, 1, 0), (1, 1, 0))]
        ).float(),
        e.names,
    )
    far = method.distance(e, e)
    for q in range(5):
        for g in range(5):
            d = [
                1 - float(torch.cosine_similarity(e.vectors[q, m], e.vectors[g, m], dim=0))
                for m in range(5)
            ]
            shared = [float(e.visibility[q, m] * e.visibility[g, m]) for m in range(2, 5)]
            expected = (sum(s * x for s, x in zip(shared, d[2:])) + d[0] + d[1]) / (sum(shared) + 2)
            assert float(far[q, g]) == pytest.approx(expected, abs=1e-5)


def test_eq7_takes_the_three_groups() -> None:
    method, given = isp().train(), batch()
    out = method(features())
    terms = method.losses(out, given)
    assert tuple(terms) == TERMS
    joined = out.groups["parts"].joined()
    torch.testing.assert_close(terms["triplet_joined"], hard_triplet(joined, given.ids, 0.3))
    torch.testing.assert_close(
        terms["triplet_foreground"], hard_triplet(out.groups["foreground"], given.ids, 0.3)
    )
    torch.testing.assert_close(
        terms["id_joined"], id_loss(method.id["joined"](out.groups["parts"]), given.ids, 0.1)
    )
    assert out.parts is not None
    torch.testing.assert_close(terms["parsing"], part_loss(out.parts.logits, given.cues["parts"]))
    assert method.id["joined"].classifier.shape == (4, 18)  # one classifier on all parts end to end


def test_released_terms() -> None:
    method, given = isp(("id_global", "center_joined", "triplet_all")).train(), batch()
    out = method(features())
    terms = method.losses(out, given)
    parts = out.groups["parts"].vectors.flatten(1)
    torch.testing.assert_close(
        terms["center_joined"], center_loss(parts, method.centers["joined"], given.ids, 1e-3)
    )
    every = torch.cat(
        [out.groups["global"].vectors[:, 0], out.groups["foreground"].vectors[:, 0], parts], 1
    )
    torch.testing.assert_close(
        terms["triplet_all"], hard_triplet(Embeddings.single("all", every), given.ids, 0.3)
    )
    adam, sgd = method.optimizers("adam", 1e-3, 0.0)
    assert [p is method.centers["joined"] for p in sgd.param_groups[0]["params"]] == [True]
    assert (
        sum(len(g["params"]) for g in adam.param_groups) == len(list(method.parameters())) - 2
    )  # and the shift


def test_joined_matching_ignores_visibility() -> None:
    method = isp(matching="concat").eval()
    e = method.embed(method(features(3)))
    assert e.names == ("all",) and e.vectors.shape == (3, 1, 6 * 5) and (e.visibility == 1).all()


def test_spatial_mask_only_dims() -> None:
    mask, f = SpatialMask(6).eval(), features(2)
    shares = mask(f).detach() / f
    assert shares.amin() > 0 and shares.amax() < 1
    np.testing.assert_allclose(shares.std(1), 0, atol=1e-5)  # the same for all channels of a place


def test_recipes_hold_the_papers_numbers() -> None:
    duke = find("isp/table1/dukemtmc")
    assert duke.cues["parts"].args["parts"] == 6  # the paper's K = 7 with background
    assert dict(duke.stages[0].weights)["parsing"] == 0.1 and duke.stages[0].drop_at == (40, 70)
    names = [name for name in RECIPES if name.startswith("isp/table4/")]
    assert len(names) == 20
    for name in names:
        assert RECIPES[name].cues["parts"].args["parts"] == int(name[-1]) - 1
        assert RECIPES[name].expect is not None
    released = find("isp/released/dukemtmc").cues["parts"].args
    assert (released["every"], released["until"], released["aligned"], released["enhance"]) == (
        2,
        101,
        False,
        True,
    )
    assert find("isp/released/occluded_duke").cues["parts"].args["enhance"] is False
