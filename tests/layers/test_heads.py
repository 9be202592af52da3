"""Heads: what they compute against plain torch, and which of their parameters learn."""

import pytest
import torch
from torch import nn

from partreid.errors import ArgumentError, ShapeError
from partreid.layers.heads import IdHead, PartHead, Reduce, ReduceMap
from partreid.types import Embeddings, PartScheme

SCHEME = PartScheme(("head", "torso", "legs"))
NAMES = SCHEME.names


def parts(n: int = 6, D: int = 5) -> Embeddings:
    return Embeddings(torch.randn(n, 3, D), (torch.rand(n, 3) > 0.5).float(), NAMES)


@pytest.mark.parametrize("norm", [False, True])
def test_a_part_head_classifies_every_pixel_alone(norm: bool) -> None:
    head = PartHead(7, SCHEME, norm).eval()
    f = torch.randn(2, 7, 4, 3)
    maps = head(f)
    assert maps.logits.shape == (2, 4, 4, 3) and maps.names == NAMES
    weight, bias = head.classifier.weight[:, :, 0, 0], head.classifier.bias
    scale = 1 / (1 + 1e-5) ** 0.5 if norm else 1.0  # a fresh batch norm in eval
    for i in range(4):
        for j in range(3):
            torch.testing.assert_close(
                maps.logits[:, :, i, j], f[:, :, i, j] * scale @ weight.T + bias
            )


def test_the_neck_s_shift_is_frozen_and_the_classifier_has_no_bias() -> None:
    head = IdHead(3, 5, 10)
    assert {n for n, p in head.named_parameters() if p.requires_grad} == {
        "norm.weight",
        "classifier",
    }
    assert not head.norm.bias.any() and head.norm.num_features == 15


def test_one_classifier_per_part() -> None:
    head, e = IdHead(3, 5, 10).eval(), parts()
    logits = head(e)
    assert logits.shape == (6, 3, 10)
    for m in range(3):
        torch.testing.assert_close(logits[:, m], head.neck(e).vectors[:, m] @ head.classifier[m].T)


def test_joint_and_shared_forms() -> None:
    e = parts()
    joint, shared = IdHead(3, 5, 10, joint=True).eval(), IdHead(3, 5, 10, shared=True).eval()
    assert joint(e).shape == (6, 10) and shared(e).shape == (6, 3, 10)
    torch.testing.assert_close(joint(e), joint.neck(e).vectors.flatten(1) @ joint.classifier.T)
    torch.testing.assert_close(shared(e)[:, 2], shared.neck(e).vectors[:, 2] @ shared.classifier.T)
    assert shared.norm.num_features == 5


def test_necks_of_parts_keep_separate_statistics_and_a_shared_one_does_not() -> None:
    e = parts(64)
    shifted = Embeddings(e.vectors + torch.tensor([0.0, 10.0, -10.0])[:, None], e.visibility, NAMES)
    separate, shared = IdHead(3, 5, 4).train(), IdHead(3, 5, 4, shared=True).train()
    torch.testing.assert_close(
        separate.neck(shifted).vectors.mean(0), torch.zeros(3, 5), atol=1e-5, rtol=0
    )
    assert shared.neck(shifted).vectors.mean(0).abs().max() > 1
    # visibility passes untouched
    assert torch.equal(separate.neck(shifted).visibility, e.visibility)


def test_reduce_treats_every_embedding_alike() -> None:
    reduce = Reduce(7, 5).eval()
    x = torch.randn(4, 3, 7)
    out = reduce(x)
    assert out.shape == (4, 3, 5) and (out >= 0).all()
    for m in range(3):
        torch.testing.assert_close(out[:, m], reduce(x[:, m : m + 1])[:, 0])
    trained = Reduce(7, 5).train()
    linear, norm, _ = trained.layers
    both = nn.functional.batch_norm(
        linear(x).flatten(0, 1), None, None, norm.weight, norm.bias, True
    )
    torch.testing.assert_close(trained(x), both.relu().view(4, 3, 5))  # M embeddings are M samples


def test_reduce_map_keeps_the_grid() -> None:
    out = ReduceMap(7, 5).eval()(torch.randn(2, 7, 6, 4))
    assert out.shape == (2, 5, 6, 4) and (out >= 0).all()


def test_an_identity_head_takes_plain_tensors_of_its_own_size() -> None:
    e, head = parts(), IdHead(3, 5, 4).eval()
    assert torch.equal(head(e.vectors), head(e))
    one = IdHead(1, 5, 4).eval()
    assert torch.equal(one(e.vectors[:, 0]), one(e.select("head")))
    with pytest.raises(ShapeError, match=r"takes 3 embedding\(s\) of 5 numbers, got \[6, 1, 5\]"):
        head(e.vectors[:, 0])
    with pytest.raises(ArgumentError, match="joint or shared, not both"):
        IdHead(3, 5, 4, joint=True, shared=True)
