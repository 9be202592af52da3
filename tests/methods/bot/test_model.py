"""BoT: losses before and behind the neck, and centers with an optimizer of their own."""

import torch
from torch import nn

from partreid.losses import hard_triplet, id_loss
from partreid.methods.bot.model import BoT
from partreid.types import Batch, Embeddings


class Trunk(nn.Module):
    channels, stride = 6, 1

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(x)


def batch() -> Batch:
    return Batch(
        torch.randn(6, 3, 4, 2), torch.tensor([0, 0, 1, 1, 2, 2]), torch.zeros(6, dtype=torch.long)
    )


def test_identity_behind_the_neck_triplet_before_it() -> None:
    method, some = BoT(Trunk(), 3, ("id_global", "triplet_global")).train(), batch()
    out = method(some.images)
    f = out.features.mean((2, 3))
    torch.testing.assert_close(out.groups["global"].vectors[:, 0], f)
    terms = method.losses(out, some)
    necked = nn.functional.batch_norm(f, None, None, method.id.norm.weight, None, True)
    logits = necked @ method.id.classifier[0].T
    torch.testing.assert_close(terms["id_global"], id_loss(logits, some.ids, 0.1))
    torch.testing.assert_close(
        terms["triplet_global"], hard_triplet(Embeddings.single("global", f), some.ids, 0.3)
    )


def test_describes_what_leaves_the_neck() -> None:
    method, some = BoT(Trunk(), 3, ("id_global", "triplet_global")), batch()
    method.train()
    method.losses(method(some.images), some)  # moves the neck's statistics
    method.eval()
    out = method(some.images)
    e = method.embed(out)
    assert e.names == ("global",) and e.visibility.eq(1).all()
    torch.testing.assert_close(e.vectors, method.id.neck(out.groups["global"]).vectors)
    assert not torch.allclose(e.vectors, out.groups["global"].vectors)


def test_centers_have_their_own_sgd() -> None:
    method = BoT(
        Trunk(), 3, ("id_global", "triplet_global", "center"), center_lr=0.5, center_weight=5e-4
    )
    assert method.centers is not None
    main, sgd = method.optimizers("adam", 1e-3, 5e-4)
    assert isinstance(sgd, torch.optim.SGD) and sgd.param_groups[0]["lr"] == 0.5
    assert sgd.param_groups[0]["weight_decay"] == 0 and sgd.param_groups[0]["params"] == [
        method.centers
    ]
    assert not any(p is method.centers for g in main.param_groups for p in g["params"])


def test_centers_move_towards_their_people_at_full_strength() -> None:
    method, some = BoT(Trunk(), 3, ("center",), center_weight=5e-4).train(), batch()
    assert method.centers is not None
    before = method.centers.detach().clone()
    (_, sgd) = method.optimizers("adam", 1e-3, 0.0)
    out = method(some.images)
    sum(method.losses(out, some).values()).backward()  # type: ignore[union-attr]
    sgd.step()
    f = out.groups["global"].vectors[:, 0].detach()
    for c in range(3):
        pull = (before[c] - f[some.ids == c]).sum(0) / 6
        torch.testing.assert_close(method.centers[c].detach(), before[c] - 0.5 * pull)


def test_without_the_term_there_are_no_centers() -> None:
    method = BoT(Trunk(), 3, ("id_global", "triplet_global"))
    assert method.centers is None and len(method.optimizers("adam", 1e-3, 0.0)) == 1
    assert "centers" not in method.state_dict()
