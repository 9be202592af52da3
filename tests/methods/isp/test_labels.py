"""ISP's labels of one person: what they find, how steady they are, and whoever comes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.people import oddities, person
from partreid.errors import RecipeError
from partreid.evaluation.parts import bell
from partreid.methods.hcga.coparsing import hcga_coparsing
from partreid.methods.hcga.coparsing import parse_person as co_parse
from partreid.methods.isp.clustering import ellipse, inside, seeded_foreground
from partreid.methods.isp.labels import isp_clusters, parse_person
from partreid.types import Sample


def overlap(labels: torch.Tensor, truth: torch.Tensor) -> float:
    return float(((labels > 0) & (truth > 0)).sum() / ((labels > 0) | (truth > 0)).sum())


def test_labels_find_the_people() -> None:
    overlaps = []
    for seed in range(3):
        f, truth, cameras = person(8, 128, (64, 32), 3, seed)
        labels = parse_person(f, cameras, None, parts=5).labels
        overlaps.append(overlap(labels, truth))
        rows = torch.arange(64).float()[None, :, None].expand(labels.shape)
        heights = [float(rows[labels == k].mean()) for k in range(1, 6)]
        assert heights == sorted(heights)  # top to bottom, and all there
    assert min(overlaps) > 0.75, overlaps


def test_consecutive_rounds_agree_under_noise() -> None:
    f, _, cameras = person(8, 64, (32, 16))
    first = parse_person(f, cameras, None, parts=6)
    later = f * (1 + 0.1 * torch.randn(f.shape))
    second = parse_person(later, cameras, first.state, parts=6)
    assert (first.labels == second.labels).float().mean() >= 0.98
    assert "restarted" not in second.notes


@pytest.mark.parametrize("clustering", ["cascade", "one_step", "unnormalised"])
@pytest.mark.parametrize("case", list(oddities()))
def test_isp_labels_whoever_comes(case: str, clustering: Any) -> None:
    f, cameras = oddities()[case]
    first = parse_person(f, cameras, None, parts=4, clustering=clustering)
    assert first.labels.shape == (len(f), *f.shape[2:])
    assert set(first.labels.unique().tolist()) <= {0, 1, 2, 3, 4, 255}
    if case in ("all blank", "all alike", "not finite"):
        name = "not_finite" if case == "not finite" else "flat_activation"
        assert first.notes == {name: 1, "unlabelled": 1} and (first.labels == 255).all()
    second = parse_person(f, cameras, first.state, parts=4, clustering=clustering)
    if case in ("all blank", "not finite"):
        assert "kept" in second.notes and torch.equal(first.labels, second.labels)
    if case == "blank images":
        assert not first.labels[2:].any() and first.labels[:2].any()
    if case == "few pixels":
        assert first.notes.get("missing_parts") and first.centers is None


def test_central_looks_at_the_middle() -> None:
    """Where all pixels respond about alike, the window alone decides."""
    f = torch.rand(3, 24, 32, 16) + 1
    labels = parse_person(f, torch.zeros(3), None, parts=2, central=True).labels
    inside = labels[:, 8:24, 6:10] > 0
    rim = torch.cat([labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]], 1) > 0
    assert inside.float().mean() > 0.95 and not rim.any()


def test_a_bright_rim_is_no_foreground_once_it_counts_as_what_is_inside() -> None:
    """What zero padding does: the outermost cells respond most, whatever they show."""
    f, truth, cameras = person(8, 64, (32, 16))
    padded = f.clone()
    for edge in (padded[:, :, 0], padded[:, :, -1], padded[..., 0], padded[..., -1]):
        edge *= 3
    seen, ignored = (parse_person(padded, cameras, None, parts=3, rim=rim).labels for rim in (0, 1))

    assert overlap(ignored, truth) > 0.7 > overlap(seen, truth)
    assert torch.equal(inside(f, 0), f)
    inner = inside(f, 2)
    assert torch.equal(inner[:, :, 2:-2, 2:-2], f[:, :, 2:-2, 2:-2])
    assert torch.equal(inner[:, :, 0, 0], f[:, :, 2, 2]) and inner.shape == f.shape
    assert torch.equal(inside(f[:, :, :4, :4], 2), f[:, :, :4, :4])  # nothing inside: as it is


def test_height_keeps_parts_one_above_the_other() -> None:
    """Two looks that alternate from top to bottom are two clusters by features, and four rows with
    the height.
    """
    f = torch.zeros(4, 8, 32, 16)
    f[:, :, 2:30, 4:12] = torch.eye(8)[(torch.arange(28) // 7) % 2].T[None, :, :, None] + 0.1
    plain, rows = (
        parse_person(f, torch.zeros(4), None, parts=4, height=height) for height in (0.0, 2.0)
    )

    def spread(labels: torch.Tensor) -> float:
        row = torch.arange(32).float()[None, :, None].expand(labels.shape)
        return max(float(row[labels == k].std()) for k in range(1, 5) if (labels == k).any())

    assert spread(rows.labels) < 3 < spread(plain.labels)
    again = parse_person(f, torch.zeros(4), rows.state, parts=4, height=2.0)
    assert torch.equal(again.labels, rows.labels) and "restarted" not in again.notes
    with pytest.raises(RecipeError, match="height is a weight from 0, got -1"):
        isp_clusters(Path(), [Sample(Path("a.jpg"), 1, 1)], height=-1.0)


@pytest.mark.parametrize("size", [(32, 16), (16, 8), (24, 12)])
def test_the_seed_is_the_bell_of_the_tables(size: tuple[int, int]) -> None:
    """A gain over the bell is then the features' work alone."""
    assert np.array_equal((ellipse(*size, torch.zeros(1)) >= 0.5).numpy(), bell(1, size) > 0)


def unlit(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A person who responds no more than what is behind: every cell has length 1."""
    f, truth, cameras = person(8, 64, (32, 16), seed=seed)
    return f / f.norm(dim=1, keepdim=True), truth, cameras


@pytest.mark.parametrize("seed", range(3))
def test_a_seeded_foreground_needs_no_activation(seed: int) -> None:
    """It finds the person where the activation says nothing, and better than the ellipse that it
    started from.
    """
    f, truth, cameras = unlit(seed)
    likely = seeded_foreground(f)
    assert likely is not None and float(likely.min()) >= 0 and float(likely.max()) <= 1
    start = overlap((ellipse(32, 16, f) > 0.5).expand(len(f), -1, -1), truth)
    ends = overlap(likely > 0.5, truth)
    assert ends > 0.8 and ends > start + 0.1
    for labels in (
        parse_person(f, cameras, None, parts=4, seeded=True, height=1.0).labels,
        co_parse(f, cameras, None, parts=3, seeded=True, height=1.0).labels,
    ):
        assert overlap(labels, truth) > start + 0.1
        assert not (labels[likely <= 0.5] > 0).any()
    assert overlap(parse_person(f, cameras, None, parts=4).labels, truth) < start


def test_a_seeded_foreground_is_that_of_the_discriminant_written_out() -> None:
    f, _, _ = unlit()
    n, C, h, w = f.shape
    x = f.permute(0, 2, 3, 1).reshape(-1, C).double()
    x = (x - x.mean(0)) / x.std(0, correction=0)
    prior = ellipse(h, w, f).clamp(0.02, 0.98).flatten().repeat(n).double()
    p = prior
    for _ in range(4):
        person_, beside = (p @ x) / p.sum(), ((1 - p) @ x) / (1 - p).sum()
        scatter = sum(
            ((x - mean) * weight[:, None]).T @ (x - mean)
            for mean, weight in ((person_, p), (beside, 1 - p))
        )
        direction = torch.linalg.solve(
            torch.as_tensor(scatter) / len(x) + 0.1 * torch.eye(C, dtype=x.dtype), person_ - beside
        )
        p = torch.sigmoid((x - (person_ + beside) / 2) @ direction + prior.logit())
    likely = seeded_foreground(f)
    assert likely is not None
    assert torch.allclose(likely.flatten().double(), p, atol=1e-3)


def test_a_seeded_foreground_does_not_depend_on_the_channels_scales() -> None:
    f, _, _ = unlit()
    scales = torch.logspace(-3, 3, f.shape[1])[:, None, None]
    dead = torch.cat([f * scales, torch.full_like(f[:, :2], 7.0)], 1)
    one, other = seeded_foreground(f), seeded_foreground(dead)
    assert one is not None and other is not None and torch.allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("case", list(oddities()))
def test_seeded_labels_whoever_comes(case: str) -> None:
    f, cameras = oddities()[case]
    for parse, K in ((parse_person, 4), (co_parse, 3)):
        first = parse(f, cameras, None, parts=K, seeded=True, height=1.0)
        assert first.labels.shape == (len(f), *f.shape[2:])
        assert set(first.labels.unique().tolist()) <= {*range(K + 1), 255}
        if case in ("all blank", "all alike", "not finite"):
            assert (first.labels == 255).all() and first.notes["unlabelled"] == 1
        again = parse(f, cameras, first.state, parts=K, seeded=True, height=1.0)
        if case in ("all blank", "not finite"):
            assert "kept" in again.notes and torch.equal(again.labels, first.labels)


def test_two_ways_to_a_foreground_are_refused() -> None:
    f, _, cameras = unlit()
    both: dict[str, Any] = {"seeded": True, "central": True}
    for make in (isp_clusters, hcga_coparsing):
        with pytest.raises(RecipeError, match="seeded and central both say how the foreground"):
            make(Path(), [Sample(Path("a.jpg"), 1, 1)], **both)
    for parse in (parse_person, co_parse):
        with pytest.raises(RecipeError, match="set one of them"):
            parse(f, cameras, None, parts=3, **both)


def test_a_seeded_foreground_can_be_enhanced() -> None:
    """As the released code does with the activation: more pixels count as foreground."""
    f, _, cameras = unlit()
    likely = seeded_foreground(f)
    assert likely is not None
    plain, more_of_it = (
        parse_person(f, cameras, None, parts=4, seeded=True, enhance=way).labels > 0
        for way in (False, True)
    )
    assert torch.equal(plain, likely > 0.5)
    assert torch.equal(more_of_it, likely > 0.2) and more_of_it.sum() > plain.sum()


@pytest.mark.parametrize("make", [isp_clusters, hcga_coparsing])
@pytest.mark.parametrize(
    ("name", "what"),
    [("rim", "cells"), ("margin", "pixels")],
)
def test_fewer_cells_or_pixels_than_none_are_refused(make: Any, name: str, what: str) -> None:
    with pytest.raises(RecipeError, match=f"{name} is a number of {what} from 0, got -1"):
        make(Path(), [Sample(Path("a.jpg"), 1, 1)], **{name: -1})
