"""ISP's labels of one person: what they find, how steady they are, and whoever comes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.people import oddities, person
from partreid.errors import RecipeError
from partreid.methods.hcga.coparsing import hcga_coparsing
from partreid.methods.isp.clustering import inside
from partreid.methods.isp.labels import isp_clusters, parse_person
from partreid.types import Sample


def test_labels_find_the_people() -> None:
    overlaps = []
    for seed in range(3):
        f, truth, cameras = person(8, 128, (64, 32), 3, seed)
        labels = parse_person(f, cameras, None, parts=5).labels
        overlaps.append(
            float(((labels > 0) & (truth > 0)).sum() / ((labels > 0) | (truth > 0)).sum())
        )
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

    def overlap(labels: torch.Tensor) -> float:
        return float(((labels > 0) & (truth > 0)).sum() / ((labels > 0) | (truth > 0)).sum())

    assert overlap(ignored) > 0.7 > overlap(seen)
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


@pytest.mark.parametrize("make", [isp_clusters, hcga_coparsing])
def test_a_negative_rim_is_refused(make: Any) -> None:
    with pytest.raises(RecipeError, match="rim is a number of cells from 0, got -1"):
        make(Path(), [Sample(Path("a.jpg"), 1, 1)], rim=-1)
