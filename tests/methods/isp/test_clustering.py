"""Clustering against loops, and on all that is degenerate."""

import pytest
import torch
from torch import Tensor

from partreid.methods.isp.clustering import Pixels, kmeans, norms, ranked, split_in_two


def variance_inside(values: Tensor, upper: Tensor) -> float:
    return sum(
        float((side - side.mean()).square().sum())
        for side in (values[upper], values[~upper])
        if len(side)
    )


@pytest.mark.parametrize("seed", range(8))
def test_split_in_two_is_the_best_of_all_cuts(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    values = torch.cat(
        [torch.rand(20, generator=draw), 2 * torch.rand(9, generator=draw) + seed % 3]
    )
    values = (values * 10).round() / 10 if seed % 2 else values  # with ties and without
    upper = split_in_two(values)
    cuts = values.unique()[1:]
    best = min(variance_inside(values, values >= cut) for cut in cuts)
    assert variance_inside(values, upper) == pytest.approx(best, abs=1e-4)
    assert values[upper].min() > values[~upper].max()


def test_split_of_what_is_all_alike_has_no_upper_side() -> None:
    for values in (torch.full((3, 4), 0.7), torch.zeros(1), torch.zeros(0)):
        assert not split_in_two(values).any()


def test_norms_in_both_layouts() -> None:
    maps = torch.randn(3, 7, 5, 4)
    expected = maps.square().sum(1).sqrt().flatten(1)
    for form in (torch.contiguous_format, torch.channels_last):
        torch.testing.assert_close(norms(maps.contiguous(memory_format=form).flatten(2)), expected)


def blobs(
    k: int = 4, n: int = 3, p: int = 50, C: int = 6, spread: float = 0.05
) -> tuple[Pixels, Tensor]:
    """Unit vectors about k directions, a tenth of the pixels left out; and which direction each
    has.
    """
    draw = torch.Generator().manual_seed(3)
    truth = torch.randint(k, (n, p), generator=draw)
    maps = torch.eye(C)[truth].permute(0, 2, 1) + spread * torch.randn(n, C, p, generator=draw)
    active = torch.rand(n, p, generator=draw) > 0.1
    return Pixels(maps, active / maps.norm(dim=1)), truth.masked_fill(~active, -1)


def points(pixels: Pixels) -> Tensor:
    return (
        (pixels.maps * pixels.scale[:, None]).transpose(1, 2).flatten(0, 1)[pixels.active.flatten()]
    )


def naive_lloyd(x: Tensor, centers: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    for _ in range(steps):
        labels = torch.cdist(x, centers).argmin(1)
        centers = torch.stack(
            [
                x[labels == j].mean(0) if (labels == j).any() else centers[j]
                for j in range(len(centers))
            ]
        )
    return torch.cdist(x, centers).argmin(1), centers


def test_passes_are_lloyd_s() -> None:
    pixels, _ = blobs(spread=0.6)
    start = torch.nn.functional.normalize(torch.randn(4, 6), dim=1)
    clusters = kmeans(pixels, 4, start, steps=3)
    labels, _ = naive_lloyd(points(pixels), start, 3)
    assert not clusters.cold
    assert torch.equal(clusters.labels[pixels.active], labels)
    assert clusters.counts.tolist() == torch.bincount(labels, minlength=4).tolist()
    members = [points(pixels)[labels == j].mean(0) for j in range(4)]
    torch.testing.assert_close(clusters.centers, torch.stack(members))


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_finds_what_is_there_and_leaves_out_what_takes_no_part(form: torch.memory_format) -> None:
    pixels, truth = blobs()
    maps = pixels.maps.unflatten(2, (5, 10)).contiguous(memory_format=form).flatten(2)
    clusters = kmeans(Pixels(maps, pixels.scale), 4)
    assert clusters.cold and int(clusters.counts.sum()) == int(pixels.active.sum())
    assert (clusters.labels[~pixels.active] == -1).all()
    pairs = {(int(a), int(b)) for a, b in zip(clusters.labels.flatten(), truth.flatten())}
    assert len(pairs) == 5  # one name for each direction, and -1 for -1


def test_the_same_seed_gives_the_same_bits() -> None:
    pixels, _ = blobs(spread=0.8)
    one, two = kmeans(pixels, 4, seed=5), kmeans(pixels, 4, seed=5)
    assert torch.equal(one.labels, two.labels) and torch.equal(one.centers, two.centers)
    state = torch.get_rng_state()
    kmeans(pixels, 4)
    assert torch.equal(state, torch.get_rng_state())  # training's own random numbers are left alone


def test_a_start_that_loses_a_cluster_is_given_up() -> None:
    pixels, _ = blobs()
    start = torch.eye(6)[[0, 1, 2, 5]].clone()
    start[3] = -100  # nobody's nearest
    clusters = kmeans(pixels, 4, start)
    assert clusters.cold and (clusters.counts > 0).all()


def test_fewer_different_pixels_than_clusters() -> None:
    maps = torch.eye(3)[torch.tensor([[0, 0, 0, 1, 1, 1]])].permute(0, 2, 1)
    clusters = kmeans(Pixels(maps, torch.ones(1, 6)), 4)
    assert sorted(clusters.counts.tolist()) == [0, 0, 3, 3]
    assert clusters.centers.isfinite().all()
    with pytest.raises(ValueError, match="no pixel takes part"):
        kmeans(Pixels(maps, torch.zeros(1, 6)), 2)


def test_ranked_goes_by_the_mean_with_the_empty_last_and_ties_in_order() -> None:
    labels = torch.tensor([[3, 3, 0, -1], [1, 1, 3, 0]])
    by = torch.tensor([5.0, 7.0, 1.0, 100.0])  # means: 0 -> 50.5, 1 -> 6, 2 empty, 3 -> 13/3
    assert ranked(labels, by, 4).tolist() == [3, 1, 0, 2]
    assert ranked(torch.tensor([2, 1, 0]), torch.ones(3), 3).tolist() == [0, 1, 2]
