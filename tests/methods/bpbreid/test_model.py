"""BPBreID on part maps that the test draws: what is visible, pooled, described and taught."""

from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from partreid.errors import RecipeError, ShapeError
from partreid.losses import hard_triplet, id_loss, label_shares
from partreid.methods.bpbreid.model import BPBreID
from partreid.types import Batch, PartMaps, PartScheme

SCHEME = PartScheme(("head", "torso", "legs"))
IDS = torch.tensor([0, 0, 1, 1, 2, 2])
TERMS = ("id_global", "id_foreground", "id_joined", "triplet_parts", "parsing")


class Trunk(nn.Module):
    """Hands images through as features, so that a test knows every pixel."""

    channels, stride = 3, 1

    def forward(self, x: Tensor) -> Tensor:
        return x


def method(terms: tuple[str, ...] = TERMS, **options: Any) -> BPBreID:
    torch.manual_seed(0)
    return BPBreID(Trunk(), 3, SCHEME, terms, **{"dim": 5, **options}).eval()


def masks(seed: int = 0, n: int = 6) -> Tensor:
    """Soft maps float [n, K+1, 6, 4], in image 0 the legs are nowhere."""
    logits = 3 * torch.randn(n, 4, 6, 4, generator=torch.Generator().manual_seed(seed))
    logits[0, 3] = -30
    return logits.softmax(1)


def images(seed: int = 1, n: int = 6) -> Tensor:
    return torch.randn(n, 3, 6, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rule", ["threshold", "argmax", "soft", "none"])
def test_visibility_rules_match_loops(rule: str) -> None:
    p = masks()
    given = method(TERMS[:-1], attention="given", visibility=rule, visible_above=0.9)
    seen = given(images(), {"masks": p}).groups["parts"].visibility
    for b in range(6):
        for k in range(1, 4):
            peak = max(float(p[b, k, i, j]) for i in range(6) for j in range(4))
            wins = any(int(p[b, :, i, j].argmax()) == k for i in range(6) for j in range(4))
            want = {
                "threshold": float(peak > 0.9),
                "argmax": float(wins),
                "soft": peak,
                "none": 1.0,
            }[rule]
            assert float(seen[b, k - 1]) == pytest.approx(want, abs=1e-6)
    assert rule == "none" or seen[0, 2] < 1e-6
    assert rule == "none" or 0 < seen.mean() < 1


def test_eq4_uses_the_recipe_s_threshold() -> None:
    p = torch.full((1, 4, 6, 4), 0.0)
    # at the threshold is not above it
    p[:, 1, 2, 2], p[:, 2, 0, 0], p[:, 3, 5, 3] = 0.39, 0.41, 0.4
    given = method(TERMS[:-1], attention="given")
    assert given(images(n=1), {"masks": p}).groups["parts"].visibility.tolist() == [[0, 1, 0]]


def test_eq3_pools_by_the_maps_and_the_foreground_by_their_maximum() -> None:
    p, f = masks(), images()
    groups = method(TERMS[:-1], attention="given", reduce="none")(f, {"masks": p}).groups

    def pooled(w: Tensor) -> Tensor:
        top = sum(
            (w[:, i, j, None] * f[:, :, i, j] for i in range(6) for j in range(4)),
            torch.zeros(6, 3),
        )
        return top / w.sum((1, 2))[:, None].clamp_min(1e-6)

    for k in range(3):
        torch.testing.assert_close(
            groups["parts"].vectors[:, k], pooled(p[:, k + 1]), atol=1e-5, rtol=1e-4
        )
    torch.testing.assert_close(groups["foreground"].vectors[:, 0], pooled(p[:, 1:].amax(1)))
    torch.testing.assert_close(groups["global"].vectors[:, 0], f.mean((2, 3)))
    assert groups["foreground"].visibility.eq(1).all() and groups["global"].visibility.eq(1).all()


def test_fixed_attention_has_nothing_to_learn_and_pools_labels_by_area() -> None:
    given = method(TERMS[:-1], attention="given", reduce="none")
    assert given.part_head is None and not any("part_head" in n for n in given.state_dict())
    labels = torch.randint(0, 4, (6, 12, 8)).to(torch.uint8)  # twice the grid
    out = given(images(), {"parts": labels})
    assert out.parts is not None
    torch.testing.assert_close(out.parts.probs, label_shares(labels, (6, 4), 4))
    for cues in ({}, {"other": labels}):
        with pytest.raises(ShapeError, match="needs the cue 'parts' or 'masks'"):
            given(images(), cues)


def test_learned_attention_needs_no_cue_and_is_taught_twice() -> None:
    """By the labels (Eq. 2), and through the pooling by the losses on the embeddings."""
    labels = torch.randint(0, 4, (6, 6, 4)).to(torch.uint8)
    batch = Batch(images(), IDS, IDS * 0, {"parts": labels})
    for terms in (("parsing",), ("triplet_parts",), ("id_foreground",)):
        model = method(terms).train()
        sum(model.losses(model(batch.images), batch).values()).backward()  # type: ignore[union-attr]
        assert model.part_head is not None and model.part_head.classifier.weight.grad is not None
        assert model.part_head.classifier.weight.grad.any()


@pytest.mark.parametrize(("name", "D"), [
    ("global", 5), ("foreground", 5), ("joined", 15), ("head", 5), ("torso", 5), ("legs", 5),
])  # fmt: skip
def test_each_embedding_of_table_3_alone(name: str, D: int) -> None:
    model = method(described=(name,))
    out = model(images())
    e = model.embed(out)
    assert e.vectors.shape == (6, 1, D)
    if name in SCHEME.names:
        k = SCHEME.names.index(name)
        assert e.names == (name,) and torch.equal(
            e.vectors[:, 0], out.groups["parts"].vectors[:, k]
        )
        assert torch.equal(e.visibility[:, 0], out.groups["parts"].visibility[:, k])
    else:
        group = "parts" if name == "joined" else name
        necked = model.id[f"id_{name}"].neck(out.groups[group]).vectors.flatten(1)  # type: ignore[operator]
        assert torch.equal(e.vectors[:, 0], necked) and e.visibility.eq(1).all()


def test_the_paper_s_description_is_the_necked_foreground_and_raw_parts() -> None:
    model = method()
    out = model(images())
    e = model.embed(out)
    assert e.names == ("foreground", "head", "torso", "legs")
    assert torch.equal(
        e.vectors[:, :1], model.id["id_foreground"].neck(out.groups["foreground"]).vectors
    )  # type: ignore[operator]
    assert torch.equal(e.vectors[:, 1:], out.groups["parts"].vectors)
    untaught = method(("triplet_parts",))  # no identity loss there, so no neck
    out = untaught(images())
    assert torch.equal(untaught.embed(out).vectors[:, :1], out.groups["foreground"].vectors)


def test_what_cannot_be_described_is_refused() -> None:
    with pytest.raises(
        RecipeError,
        match="has no embedding 'feet'; choose of global, foreground, joined, parts, head",
    ):
        method(described=("feet",))


def test_only_the_heads_of_the_recipe_s_terms_exist() -> None:
    assert set(method(("triplet_parts",)).id) == set()
    assert set(method(TERMS).id) == {"id_global", "id_foreground", "id_joined"}
    assert set(method(("id_parts", "id_joined")).id) == {"id_parts", "id_joined"}


def test_hidden_parts_count_in_training_only_where_the_recipe_says() -> None:
    p = masks()
    terms = ("id_parts", "triplet_parts")
    batch = Batch(images(), IDS, IDS * 0, {})
    for in_training in (False, True):
        model = method(
            terms, attention="given", visible_above=0.9, visibility_in_training=in_training
        )
        out = model(batch.images, {"masks": p})
        e = out.groups["parts"]
        assert 0 < e.visibility.mean() < 1
        got = model.losses(out, batch)
        logits = model.id["id_parts"](e)
        seen = e.visibility if in_training else None
        torch.testing.assert_close(got["id_parts"], id_loss(logits, IDS, 0.1, seen))
        torch.testing.assert_close(
            got["triplet_parts"], hard_triplet(e if in_training else e.all_visible(), IDS)
        )


def test_seeing_otherwise_shares_the_weights_and_leaves_the_method_alone() -> None:
    model = method()
    exact = model.with_visibility(attention="given", visibility="threshold", visible_above=0.0)
    assert (model.attention, model.visibility, model.visible_above) == ("learned", "threshold", 0.4)
    assert all(a is b for a, b in zip(model.parameters(), exact.parameters(), strict=True))
    labels = torch.zeros(6, 6, 4, dtype=torch.uint8)
    labels[1, 0, 0], labels[2, 3:] = 1, 3  # one pixel of head; legs over half the image
    out = exact(images(), {"parts": labels})
    assert out.groups["parts"].visibility.tolist() == [
        [0, 0, 0],
        [1, 0, 0],
        [0, 0, 1],
        *[[0, 0, 0]] * 3,
    ]
    plain = model.with_visibility(visibility="none")
    assert plain(images()).groups["parts"].visibility.eq(1).all()
    assert torch.equal(
        plain(images()).groups["parts"].vectors, model(images()).groups["parts"].vectors
    )


def test_part_maps_sum_to_one_and_have_the_scheme_s_names() -> None:
    parts = method()(images()).parts
    assert isinstance(parts, PartMaps) and parts.names == SCHEME.names
    torch.testing.assert_close(parts.probs.sum(1), torch.ones(6, 6, 4))


@pytest.mark.parametrize("target", ["soft", "hard"])
def test_a_target_may_be_given_as_labels_and_leaves_alone_what_is_unknown(
    target: Literal["soft", "hard"],
) -> None:
    model = method(TERMS, target=target).eval()
    f, labels = images(n=2), torch.full((2, 6, 4), 255, dtype=torch.uint8)
    labels[0] = 1
    with torch.no_grad():
        plain = method(TERMS).eval()
        plain.load_state_dict(model.state_dict())
        confined, free = (
            model(f, {"masks": labels}).groups["parts"].vectors,
            plain(f).groups["parts"].vectors,
        )
        soft = (
            model(f[:1], {"masks": torch.eye(4)[1].view(1, 4, 1, 1).expand(1, 4, 6, 4)})
            .groups["parts"]
            .vectors
        )
    torch.testing.assert_close(confined[1], free[1])  # nothing is known of the second image
    torch.testing.assert_close(confined[:1], soft)  # labels are masks of 0 and 1
    with pytest.raises(ShapeError, match="masks of 7 parts were given, the model has 3"):
        model(f, {"masks": torch.rand(2, 8, 6, 4)})
