"""HCGA's guided alignment and matching against loops; its options; its recipes."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from partreid.errors import RecipeError
from partreid.losses import hard_triplet, id_loss
from partreid.methods.hcga.model import HCGA, GuidedAlignment
from partreid.recipes import RECIPES, find
from partreid.types import Batch, Embeddings, PartScheme

TERMS = ("id_global", "triplet_global", "id_foreground", "id_joined", "parsing")
SCHEME = PartScheme(("part1", "part2", "part3"))


class Features(nn.Module):
    channels, stride = 6, 1

    def forward(self, x: Tensor) -> Tensor:
        return x


def hcga(**options: Any) -> HCGA:
    method = HCGA(Features(), 4, SCHEME, options.pop("terms", TERMS), **options)
    nn.init.normal_(method.part_head.classifier.weight, std=3)
    return method


def features(n: int = 8) -> Tensor:
    return torch.rand(n, 6, 8, 4)


@pytest.mark.parametrize("t", [2, 3, 4])
def test_eq7_and_eq8(t: int) -> None:
    p = torch.rand(2, 3, 8, 4)
    module = GuidedAlignment(t)
    kept, sure = module.train()(p), module.eval()(p)
    for before, during, after in zip(
        p.flatten().tolist(), kept.flatten().tolist(), sure.flatten().tolist()
    ):
        assert during == (before if before >= 1 / t else 0)  # Eq. 7
        assert after == (1 if before >= 1 - 1 / t else 0)  # Eq. 8
    assert GuidedAlignment(t, 0.5).eval()(p).max() == 0.5
    dropped = GuidedAlignment(t, None)
    assert torch.equal(dropped.eval()(p), p) and torch.equal(dropped.train()(p), kept)


def test_the_released_row_of_dukemtmc_trains_with_the_module_and_is_tested_without() -> None:
    row = find("hcga/released/dukemtmc")
    options = {
        name: value
        for name, value in row.method.args.items()
        if name in ("t", "kept", "visibility")
    }
    method, bare = hcga(**options), hcga(t=None, visibility="argmax")
    bare.load_state_dict(method.state_dict())
    f = features(3)
    with torch.no_grad():
        assert torch.equal(
            method.eval()(f).groups["parts"].vectors, bare.eval()(f).groups["parts"].vectors
        )
        assert not torch.equal(
            method.train()(f).groups["parts"].vectors, bare.train()(f).groups["parts"].vectors
        )


def test_gradient_flows_where_the_module_keeps() -> None:
    p = torch.tensor([0.1, 0.3, 0.9], requires_grad=True)
    GuidedAlignment(4).train()(p.view(1, 1, 1, 3)).sum().backward()
    assert p.grad is not None and p.grad.tolist() == [0, 1, 1]


def test_the_module_touches_the_parts_alone() -> None:
    f = features(3)
    method = hcga().eval()
    out = method(f)
    assert out.parts is not None
    p = out.parts.probs[:, 1:]
    torch.testing.assert_close(
        out.groups["foreground"].vectors[:, 0], torch.einsum("bchw,bhw->bc", f, p.sum(1)) / 32
    )  # Eq. 6
    sure = (p >= 0.75).float()
    torch.testing.assert_close(
        out.groups["parts"].vectors, torch.einsum("bchw,bkhw->bkc", f, sure) / 32
    )
    bare = hcga(t=None)
    bare.load_state_dict(method.state_dict())
    torch.testing.assert_close(
        bare.eval()(f).groups["parts"].vectors, torch.einsum("bchw,bkhw->bkc", f, p) / 32
    )


def test_visibility_asks_for_a_sure_pixel() -> None:
    f = features(16)
    kept = hcga().eval()
    argmax, every = (hcga(visibility=v).eval() for v in ("argmax", "none"))
    for other in (argmax, every):
        other.load_state_dict(kept.state_dict())
    a, b, c = (m(f).groups["parts"] for m in (kept, argmax, every))
    empty = b.vectors.abs().sum(2) == 0
    # what the released rule calls visible without a pixel to show
    assert (empty & (b.visibility == 1)).any()
    assert torch.equal(a.visibility, b.visibility * ~empty) and (c.visibility == 1).all()


def test_eq10_by_hand() -> None:
    method = hcga().eval()
    e = method.embed(method(features(4)))
    assert e.names == ("foreground", "part1", "part2", "part3")
    visible = torch.tensor(
        [[1, *row] for row in ((1, 0, 1), (0, 0, 0), (1, 1, 1), (0, 1, 1))]
    ).float()
    e = Embeddings(e.vectors.detach() + 0.1, visible, e.names)
    far = method.distance(e, e)
    for q in range(4):
        for g in range(4):
            cos = [
                float(torch.cosine_similarity(e.vectors[q, m], e.vectors[g, m], dim=0))
                for m in range(4)
            ]
            shared = [float(visible[q, m] * visible[g, m]) for m in range(1, 4)]
            similar = (cos[0] + 0.5 * sum(s * c for s, c in zip(shared, cos[1:]))) / (
                1 + sum(shared)
            )
            assert float(1 - far[q, g]) == pytest.approx(similar, abs=1e-5)


def test_eq9_has_one_triplet_and_three_classifiers() -> None:
    method = hcga().train()
    labels = (torch.arange(8) // 2).to(torch.uint8)[None, :, None].expand(8, 8, 4).clone()
    given = Batch(
        torch.zeros(8, 3, 8, 4),
        torch.arange(8) // 2,
        torch.ones(8, dtype=torch.int64),
        {"parts": labels},
    )
    out = method(features())
    terms = method.losses(out, given)
    assert tuple(terms) == TERMS
    torch.testing.assert_close(
        terms["triplet_global"], hard_triplet(out.groups["global"], given.ids, 0.3)
    )
    torch.testing.assert_close(
        terms["id_joined"], id_loss(method.id["joined"](out.groups["parts"]), given.ids, 0.1)
    )


@pytest.mark.parametrize(
    "described, weights",
    [
        (("foreground",), (1.0,)),
        (("parts",), (0.5,) * 3),
        (("global", "foreground"), (1.0, 1.0)),
        (("global", "foreground", "parts"), (1.0, 1.0, 0.5, 0.5, 0.5)),
    ],
)
def test_table8_describes_what_it_names(
    described: tuple[str, ...], weights: tuple[float, ...]
) -> None:
    method = hcga(described=described).eval()
    assert method.distance.weights == weights
    assert len(method.embed(method(features(2))).names) == len(weights)


def test_unknown_description_is_said() -> None:
    with pytest.raises(
        RecipeError, match="has no embedding 'joined'; choose of global, foreground, parts"
    ):
        hcga(described=("joined",))


def test_recipes_hold_the_papers_numbers() -> None:
    full = find("hcga/table1/occluded_duke")
    assert full.cues["parts"].args["parts"] == 3  # the paper's C = 4 with background
    assert full.expect is not None and full.expect.rank1 == 70.2
    assert [name for name in RECIPES if name.startswith("hcga/table8/")] == [
        "hcga/table8/f",
        "hcga/table8/p",
        "hcga/table8/f+p",
        "hcga/table8/i+f",
        "hcga/table8/i+f+p",
        "hcga/table8/gam-t2",
        "hcga/table8/gam-t3",
        "hcga/table8/gam-t4",
    ]
    released = find("hcga/released/market1501").cues["parts"].args
    assert (released["parts"], released["how"], released["same_camera"], released["images"]) == (
        5,
        "structure",
        False,
        None,
    )
