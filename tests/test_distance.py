"""The one formula against loops in double precision, and what else the losses and the gallery rely on."""

import math

import pytest
import torch
from torch import Tensor

from partreid import distance as module
from partreid.distance import Metric, PartDistance, shared
from partreid.types import Embeddings

METRICS: tuple[Metric, ...] = ("cosine", "euclidean", "unit_euclidean")
WEIGHTS = (None, (1.0, 0.5, 0.5, 0.0))
NAMES = ("global", "head", "torso", "legs")


def some(n: int, seed: int, seen: str = "mixed", width: int = 5) -> Embeddings:
    """Visibilities: "all", "mixed" 0 and 1 with row 0 blind, or "soft" in [0, 1] with zeros."""
    draw = torch.Generator().manual_seed(seed)
    vectors = torch.randn(n, len(NAMES), width, generator=draw)
    visibility = torch.rand(n, len(NAMES), generator=draw)
    if seen == "all":
        visibility = torch.ones_like(visibility)
    elif seen == "mixed":
        visibility = (visibility > 0.5).float()
        visibility[:1] = 0
    else:
        visibility = visibility * (visibility > 0.3)
    return Embeddings(vectors, visibility, NAMES)


def by_loops(metric: str, weights: tuple[float, ...] | None, q: Embeddings, g: Embeddings) -> Tensor:
    """BPBreID Eq. 9, ISP Eq. 10 and HCGA Eq. 10, one pair and one part at a time."""
    result = torch.empty(len(q), len(g), dtype=torch.float64)
    for i in range(len(q)):
        for j in range(len(g)):
            top = bottom = 0.0
            for m in range(len(q.names)):
                x, y = q.vectors[i, m].double(), g.vectors[j, m].double()
                both = float(q.visibility[i, m]) * float(g.visibility[j, m])
                weight = weights[m] if weights else 1.0
                if metric != "euclidean":
                    x, y = x / max(float(x.norm()), 1e-12), y / max(float(y.norm()), 1e-12)
                top += weight * both * float(x @ y if metric == "cosine" else (x - y).norm())
                bottom += both
            mean = top / bottom if bottom else math.inf
            result[i, j] = 1 - mean if metric == "cosine" and bottom else mean
    return result


@pytest.mark.parametrize("seen", ["all", "mixed", "soft"])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("metric", METRICS)
class TestFormula:
    def test_matches_loops(self, metric: Metric, weights: tuple[float, ...] | None, seen: str) -> None:
        q, g = some(6, 1, seen), some(9, 2, seen)
        far = PartDistance(metric, weights)(q, g)
        assert far.shape == (6, 9) and far.dtype == torch.float32
        torch.testing.assert_close(far.double(), by_loops(metric, weights, q, g), atol=1e-5, rtol=1e-5)
        assert torch.equal(far.isinf(), shared(q, g) == 0)

    def test_same_with_gradients(self, metric: Metric, weights: tuple[float, ...] | None, seen: str) -> None:
        q, g = some(6, 1, seen), some(9, 2, seen)
        plain = PartDistance(metric, weights)(q, g)
        q.vectors.requires_grad_()
        far = PartDistance(metric, weights)(q, g)
        torch.testing.assert_close(far, plain, atol=1e-5, rtol=1e-5)
        far[far.isfinite()].sum().backward()
        assert q.vectors.grad is not None and q.vectors.grad.isfinite().all() and q.vectors.grad.any()

    def test_terms_add_up(self, metric: Metric, weights: tuple[float, ...] | None, seen: str) -> None:
        q, g = some(40, 3, seen), some(40, 4, seen)
        measure = PartDistance(metric, weights)
        terms = measure.terms(q, g)
        torch.testing.assert_close(terms.sum(1), measure(q, g).diagonal(), atol=1e-5, rtol=1e-5)
        hidden = q.visibility * g.visibility == 0
        assert (terms[hidden & ~hidden.all(1, keepdim=True)] == 0).all()
        assert terms[hidden.all(1)].isinf().all()

    def test_within(self, metric: Metric, weights: tuple[float, ...] | None, seen: str) -> None:
        e = some(7, 5, seen)
        far = PartDistance(metric, weights).within(e)
        want = by_loops(metric, weights, e, e).float()
        torch.testing.assert_close(far, want, atol=1e-5, rtol=1e-5)
        if weights is None:
            assert (far.diagonal()[shared(e, e).diagonal() > 0] == 0).all()

    def test_tiles_and_blocks_change_nothing(self, metric: Metric, weights: tuple[float, ...] | None, seen: str,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
        q, g = some(23, 6, seen), some(31, 7, seen)
        measure = PartDistance(metric, weights)
        whole = measure(q, g)
        for rows in (1, 5, 23, 100):
            parts = list(measure.blocks(q, g, rows))
            assert [at.start for at, _ in parts] == list(range(0, 23, rows))
            torch.testing.assert_close(torch.cat([block for _, block in parts]), whole, atol=2e-6, rtol=1e-6)
        monkeypatch.setattr(module, "_TILE_CPU", (7, 4))
        torch.testing.assert_close(measure(q, g), whole, atol=2e-6, rtol=1e-6)


def test_many_random_cases_match_loops() -> None:
    draw = torch.Generator().manual_seed(0)
    for seed in range(150):
        n, k, width = torch.randint(0, 5, (3,), generator=draw).tolist()
        metric, weights = METRICS[seed % 3], WEIGHTS[seed % 2]
        seen = ("all", "mixed", "soft")[seed % 7 % 3]
        q, g = some(n, seed, seen, width + 1), some(k, -seed - 1, seen, width + 1)
        if seed % 5 == 0:  # empty vectors, as from an empty mask
            q.vectors[:, 1] = 0
        far = PartDistance(metric, weights)(q, g)
        torch.testing.assert_close(far.double(), by_loops(metric, weights, q, g), atol=1e-5, rtol=1e-5)


def test_parts_are_the_distances_of_what_both_show() -> None:
    q, g = some(20, 8, "soft"), some(20, 9, "soft")
    for metric in METRICS:
        parts = PartDistance(metric, (1.0, 0.5, 0.5, 0.0)).parts(q, g)  # weights do not enter
        for m, name in enumerate(NAMES):
            alone = by_loops(metric, None, q.select(name), g.select(name)).diagonal()
            hidden = q.visibility[:, m] * g.visibility[:, m] == 0
            assert parts[hidden, m].isnan().all()
            torch.testing.assert_close(parts[~hidden, m].double(), alone[~hidden], atol=1e-5, rtol=1e-5)
        diagonal = PartDistance(metric).per_part(q, g).diagonal(dim1=1, dim2=2).T
        torch.testing.assert_close(diagonal[~parts.isnan()], parts[~parts.isnan()], atol=1e-5, rtol=1e-5)


def test_one_part_in_common_decides_alone() -> None:
    """By hand: they share the legs (3-4-5 triangle) and nothing else."""
    q = Embeddings(torch.tensor([[[9.0, 9.0], [0.0, 0.0]]]), torch.tensor([[1.0, 1.0]]), ("head", "legs"))
    g = Embeddings(torch.tensor([[[0.0, 0.0], [3.0, 4.0]]]), torch.tensor([[0.0, 1.0]]), ("head", "legs"))
    assert PartDistance("euclidean")(q, g).item() == pytest.approx(5)
    assert PartDistance("euclidean", (1.0, 0.5))(q, g).item() == pytest.approx(2.5)
    assert PartDistance("euclidean").terms(q, g).tolist() == [[0, 5]]


def test_hcga_weights_leave_an_image_apart_from_itself() -> None:
    """HCGA Eq. 10 with foreground 1 and parts 1/2: all visible, M = 3, so d(x, x) = 1 - (1 + .5 + .5) / 3."""
    e = Embeddings.seen(torch.randn(2, 3, 4), ("foreground", "head", "legs"))
    far = PartDistance("cosine", (1.0, 0.5, 0.5))(e, e)
    torch.testing.assert_close(far.diagonal(), torch.full((2,), 1 / 3))


def test_narrower_embeddings_may_be_padded() -> None:
    wide, narrow = torch.randn(4, 8), torch.randn(4, 3)
    padded = Embeddings.cat(Embeddings.one("a", wide), Embeddings.one("b", narrow))
    for metric in METRICS:
        measure = PartDistance(metric)
        one, two = Embeddings.one("a", wide), Embeddings.one("b", narrow)
        torch.testing.assert_close(measure(padded, padded), (measure(one, one) + measure(two, two)) / 2,
                                   atol=2e-3, rtol=0)  # both have rounded roots of 0 on the diagonal


def test_gradient_is_right() -> None:
    for metric in METRICS:
        q, g = some(3, 1, "soft"), some(4, 2, "soft")
        near = shared(q, g) > 0

        def value(x: Tensor, v: Tensor, q: Embeddings = q, g: Embeddings = g, near: Tensor = near,
                  metric: Metric = metric) -> Tensor:
            measure = PartDistance(metric, (1.0, 0.5, 0.5, 2.0))
            other = Embeddings(g.vectors.double(), g.visibility.double(), NAMES)
            return measure(Embeddings(x, v, NAMES), other)[near]

        def inner(x: Tensor, metric: Metric = metric) -> Tensor:
            return PartDistance(metric).within(Embeddings.seen(x, NAMES))[torch.tril_indices(3, 3, -1).unbind()]

        x, v = q.vectors.double().requires_grad_(), (q.visibility.double() + 0.1).requires_grad_()
        assert torch.autograd.gradcheck(value, (x, v))
        assert torch.autograd.gradcheck(inner, (x,))


def test_gradient_at_distance_zero_is_zero() -> None:
    for metric in METRICS:
        vectors = torch.randn(4, 4, 6, generator=torch.Generator().manual_seed(0))
        vectors[1] = vectors[0]  # the same image twice
        vectors[3] = 0  # pooled from nothing
        vectors.requires_grad_()
        far = PartDistance(metric).within(Embeddings.seen(vectors, NAMES))
        assert far[0, 1].item() == (0 if metric == "euclidean" else pytest.approx(0, abs=1e-3))
        far.sum().backward()
        assert vectors.grad is not None and vectors.grad.isfinite().all()
        if metric == "euclidean":
            assert far.diagonal().eq(0).all()
            (lone,) = torch.autograd.grad(PartDistance(metric).within(Embeddings.seen(vectors, NAMES))[0, 1], vectors)
            assert lone.eq(0).all()


def test_diverged_embeddings_show() -> None:
    e = Embeddings.seen(torch.full((2, 4, 3), torch.nan), NAMES)
    for metric in METRICS:
        assert PartDistance(metric)(e, e).isnan().all() and PartDistance(metric).within(e)[0, 1].isnan()


def test_low_precision_comes_back_as_float32() -> None:
    q, g = some(5, 1), some(6, 2)
    half_q, half_g = (Embeddings(e.vectors.bfloat16(), e.visibility.bfloat16(), NAMES) for e in (q, g))
    exact_q, exact_g = (Embeddings(e.vectors.float(), e.visibility.float(), NAMES) for e in (half_q, half_g))
    for metric in METRICS:
        measure = PartDistance(metric)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            far, inside = measure(half_q, half_g), measure.within(exact_q)
        assert far.dtype == inside.dtype == torch.float32
        torch.testing.assert_close(far, measure(exact_q, exact_g))
        torch.testing.assert_close(inside, measure.within(exact_q))


def test_double_stays_double() -> None:
    q, g = (Embeddings(e.vectors.double(), e.visibility.double(), NAMES) for e in (some(5, 1), some(6, 2)))
    for metric in METRICS:
        far = PartDistance(metric)(q, g)
        assert far.dtype == torch.float64
        torch.testing.assert_close(far, by_loops(metric, None, q, g))


def test_shared_evidence() -> None:
    q, g = some(3, 1, "soft"), some(4, 2, "soft")
    for i in range(3):
        for j in range(4):
            assert shared(q, g)[i, j] == pytest.approx(float((q.visibility[i] * g.visibility[j]).sum()))


def test_errors_name_both_sides() -> None:
    q = some(2, 1)
    renamed = Embeddings(q.vectors, q.visibility, ("global", "head", "torso", "feet"))
    with pytest.raises(ValueError, match=r"head, torso, legs, 5 wide.*head, torso, feet, 5 wide"):
        PartDistance("cosine")(q, renamed)
    with pytest.raises(ValueError, match=r"5 wide.*8 wide"):
        PartDistance("cosine")(q, some(2, 1, width=8))
    with pytest.raises(ValueError, match="2 weights"):
        PartDistance("cosine", (1.0, 2.0)).within(q)
    with pytest.raises(ValueError, match="2 and 3"):
        PartDistance("cosine").terms(q, some(3, 1))
    with pytest.raises(ValueError, match="at least 1 row"):
        next(PartDistance("cosine").blocks(q, q, 0))
    with pytest.raises(ValueError, match="unit_euclidean, got 'manhattan'"):
        PartDistance("manhattan")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=">= 0"):
        PartDistance("cosine", (1.0, -1.0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("metric", METRICS)
def test_gpu_equals_cpu(metric: Metric) -> None:
    q, g = some(300, 1, "soft", 64), some(500, 2, "soft", 64)
    measure = PartDistance(metric, (1.0, 0.5, 0.5, 0.0))
    torch.testing.assert_close(measure(q.to("cuda"), g.to("cuda")).cpu(), measure(q, g), atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(measure.within(q.to("cuda")).cpu(), measure.within(q), atol=2e-3, rtol=1e-5)
    torch.testing.assert_close(measure.terms(q.to("cuda"), q.to("cuda")).cpu(), measure.terms(q, q),
                               atol=2e-5, rtol=1e-5)
