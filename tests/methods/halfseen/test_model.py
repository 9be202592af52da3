"""HalfSeen on maps and labels that the test draws: what pools, what is hidden, what is learned."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from partreid.errors import ArgumentError, RecipeError
from partreid.losses import hard_triplet, id_loss, part_loss
from partreid.methods.halfseen.model import ContextHead, HalfSeen, visibility_loss
from partreid.types import UNKNOWN, Batch, Embeddings, PartMaps, PartScheme

SCHEME = PartScheme(("head", "torso", "legs"))
IDS = torch.tensor([0, 0, 1, 1, 2, 2])
TERMS = ("id_global", "id_foreground", "id_joined", "triplet_parts", "parsing", "visibility")


class Trunk(nn.Module):
    """Hands images through as features, so that a test knows every pixel."""

    channels, stride = 3, 1

    def forward(self, x: Tensor) -> Tensor:
        return x


class Given(nn.Module):
    """A part head that says what it was given."""

    def __init__(self, probs: Tensor) -> None:
        super().__init__()
        self.maps = PartMaps.from_probs(probs, SCHEME)

    def forward(self, f: Tensor) -> PartMaps:
        return self.maps


def method(terms: tuple[str, ...] = TERMS, **options: Any) -> HalfSeen:
    torch.manual_seed(0)
    return HalfSeen(Trunk(), 3, SCHEME, terms, **{"reduce": "none", **options}).eval()


def images(n: int = 6) -> Tensor:
    return torch.randn(n, 3, 6, 4, generator=torch.Generator().manual_seed(1))


def probs(n: int = 6) -> Tensor:
    logits = 3 * torch.randn(n, 4, 6, 4, generator=torch.Generator().manual_seed(2))
    return logits.softmax(1)


def labels() -> Tensor:
    """Head, torso and legs in two rows each; image 0 has no legs, image 1 is not known."""
    maps = torch.tensor([1, 1, 2, 2, 3, 3], dtype=torch.uint8)[None, :, None].repeat(6, 1, 4)
    maps[0, 4:] = 0
    maps[1] = UNKNOWN
    return maps


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_pixels_pool_by_a_power_of_their_probability(power: float) -> None:
    model, x, p = method(power=power), images(), probs()
    model.part_head = Given(p)
    groups = model(x).groups
    for b in range(6):
        for k in range(3):
            total, mass = torch.zeros(3), 0.0
            for i in range(6):
                for j in range(4):
                    w = float(p[b, k + 1, i, j]) ** power
                    total, mass = total + w * x[b, :, i, j], mass + w
            assert torch.allclose(groups["parts"].vectors[b, k], total / mass, atol=1e-5)
    whole = (p[:, 1:] ** power).amax(1)
    fore = (x * whole[:, None]).sum((2, 3)) / whole.sum((1, 2))[:, None]
    assert torch.allclose(groups["foreground"].vectors[:, 0], fore, atol=1e-5)
    assert torch.allclose(groups["global"].vectors[:, 0], x.mean((2, 3)), atol=1e-6)


def test_many_pixels_that_are_a_little_likely_no_longer_outweigh_a_few() -> None:
    p = torch.full((1, 4, 6, 4), 0.05)
    p[:, 0] = 0.85
    p[0, :, 0, 0] = torch.tensor([0.05, 0.85, 0.05, 0.05])  # the head is one pixel
    x = torch.zeros(1, 3, 6, 4)
    x[0, :, 0, 0] = 1.0
    pure = {}
    for power in (1.0, 2.0):
        model = method(power=power)
        model.part_head = Given(p)
        pure[power] = float(model(x).groups["parts"].vectors[0, 0, 0])
    assert pure[1.0] < 0.5 < 0.9 < pure[2.0]


@pytest.mark.parametrize("rule", ["threshold", "soft", "none"])
def test_visibility_is_what_the_rule_says(rule: str) -> None:
    model, p = method(visibility=rule, visible_above=0.9), probs()
    model.part_head = Given(p)
    peak = p[:, 1:].flatten(2).amax(2)
    want = {"threshold": (peak > 0.9).float(), "soft": peak, "none": torch.ones(6, 3)}[rule]
    assert torch.equal(model(images()).groups["parts"].visibility, want)


@pytest.mark.parametrize("hide", [True, False])
def test_parts_that_the_labels_do_not_show_leave_the_losses(hide: bool) -> None:
    model, x = method(hide=hide), images()
    model.train()
    out = model(x)
    terms = model.losses(out, Batch(x, IDS, IDS, {"parts": labels()}))
    shown = torch.ones(6, 3)
    shown[0, 2] = 0
    used = shown if hide else torch.ones(6, 3)
    parts = Embeddings(out.groups["parts"].vectors, used, SCHEME.names)
    assert torch.allclose(terms["triplet_parts"], hard_triplet(parts, IDS), atol=1e-6)
    assert out.parts is not None
    assert torch.allclose(terms["parsing"], part_loss(out.parts.logits, labels()))
    peak = out.parts.visible_softly()
    want = -(shown * peak.log() + (1 - shown) * (1 - peak).log()).mean()
    assert torch.allclose(terms["visibility"], want, atol=1e-5)
    assert list(terms) == list(TERMS)


def test_what_is_hidden_says_nothing_to_the_joined_head() -> None:
    model, x = method().train(), images()
    batch = Batch(x, IDS, IDS, {"parts": labels()})
    out = model(x)
    vectors = out.groups["parts"].vectors
    before = model.losses(out, batch)["id_joined"]
    vectors[0, 2] += 100.0  # the legs of image 0, which something hides
    assert torch.equal(model.losses(out, batch)["id_joined"], before)
    vectors[2, 2] += 100.0
    assert not torch.allclose(model.losses(out, batch)["id_joined"], before)


def test_identity_losses_are_those_of_the_heads() -> None:
    model, x = method(), images()
    out = model(x)
    terms = model.losses(out, Batch(x, IDS, IDS, {"parts": labels()}))
    logits = model.id["id_foreground"](out.groups["foreground"])
    assert torch.allclose(terms["id_foreground"], id_loss(logits, IDS))


def test_a_gallery_stores_what_is_described() -> None:
    x = images()
    e = method().embed(method()(x))
    assert e.names == ("head", "torso", "legs")
    only = method(described=("legs", "global"))
    assert only.embed(only(x)).names == ("legs", "global")
    without = method(("triplet_parts", "parsing"), described=("foreground",))  # no BN-neck there
    assert torch.equal(
        without.embed(without(x)).vectors[:, 0], without(x).groups["foreground"].vectors[:, 0]
    )


def test_the_head_sees_what_is_around_a_pixel() -> None:
    for layers, far in ((0, 0), (1, 1), (3, 7)):
        torch.manual_seed(0)
        head = ContextHead(3, SCHEME, layers, 8).eval()
        x = torch.zeros(1, 3, 17, 17)
        moved = x.clone()
        moved[0, :, 8, 8] = 5.0
        differs = (head(x).logits != head(moved).logits).any(1)[0]
        assert bool(differs[8, 8])
        reach = differs.nonzero().sub(8).abs().max()
        assert int(reach) == far


def test_a_calibrated_visibility_costs_least() -> None:
    shown = torch.tensor([[1.0]] * 8 + [[0.0]] * 2)
    losses = [float(visibility_loss(torch.full((10, 1), v), shown)) for v in (0.6, 0.8, 0.95)]
    assert min(losses) == losses[1]
    assert torch.isfinite(visibility_loss(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])))


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"power": 0.5}, "power"),
        ({"layers": 7}, "layers"),
        ({"layers": -1}, "layers"),
        ({"part_smoothing": 1.5}, "part_smoothing"),
        ({"described": ("arms",)}, "arms"),
        ({"visibility": "sof"}, "visibility"),
    ],
)
def test_arguments_that_cannot_be_are_refused(wrong: dict[str, Any], names: str) -> None:
    with pytest.raises((ArgumentError, RecipeError), match=names):
        method(**wrong)
