"""PCB: stripes that cover the map once, each with a reducer and classifier of its own."""

import pytest
import torch
from torch import nn

from partreid.errors import ShapeError
from partreid.layers.pooling import mean_pool
from partreid.losses import id_loss
from partreid.methods.pcb.model import PCB, stripe_maps
from partreid.types import Batch


class Trunk(nn.Module):
    """Hands images through as features."""

    channels, stride = 3, 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize(("stripes", "h"), [(6, 24), (6, 16), (4, 7), (3, 3), (1, 5)])
def test_stripes_cover_every_row_once_and_pool_to_their_mean(stripes: int, h: int) -> None:
    maps = stripe_maps(stripes, h, 2)
    on = maps > 0
    assert on.sum(0).eq(1).all()
    heights = on[:, :, 0].sum(1)
    assert heights.max() - heights.min() <= 1
    f = torch.randn(2, 3, h, 2)
    pooled = mean_pool(f, maps[None].expand(2, -1, -1, -1))
    for p in range(stripes):
        rows = on[p, :, 0]
        torch.testing.assert_close(pooled[:, p], f[:, :, rows].mean((2, 3)))
    first = [int(on[p, :, 0].nonzero()[0]) for p in range(stripes)]
    assert first == sorted(first)  # from the top


def test_more_stripes_than_rows_are_refused() -> None:
    with pytest.raises(
        ShapeError, match="6 stripes need a feature map of at least that many rows, this one has 4"
    ):
        stripe_maps(6, 4, 2)


def test_a_stripe_sees_only_its_own_rows() -> None:
    method = PCB(Trunk(), 4, ("id_parts",), stripes=3, dim=8).eval()
    images = torch.randn(2, 3, 9, 2)
    other = images.clone()
    other[:, :, 3:6] += 1
    one, two = (method.embed(method(x)) for x in (images, other))
    same = [bool(torch.equal(one.vectors[:, p], two.vectors[:, p])) for p in range(3)]
    assert same == [True, False, True]
    assert one.names == ("stripe1", "stripe2", "stripe3") and one.visibility.eq(1).all()


def test_the_identity_loss_is_the_sum_over_stripes() -> None:
    method = PCB(Trunk(), 4, ("id_parts",), stripes=3, dim=8).train()
    some = Batch(torch.randn(4, 3, 9, 2), torch.arange(4), torch.zeros(4, dtype=torch.long))
    out = method(some.images)
    logits = method.id(out.groups["parts"])
    want = sum(id_loss(logits[:, p], some.ids, 0.0) for p in range(3))
    torch.testing.assert_close(method.losses(out, some)["id_parts"], want)
