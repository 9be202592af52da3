"""The one formula against loops in double precision, and what else the losses and the gallery
rely on.
"""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from partreid import build
from partreid import distance as module
from partreid.distance import Metric, PartDistance, shared, typical
from partreid.errors import ShapeError
from partreid.recipes import find, override
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


def by_loops(
    metric: str,
    weights: tuple[float, ...] | None,
    q: Embeddings,
    g: Embeddings,
    shrink: float = 0,
    far: float = 0,
) -> Tensor:
    """BPBreID Eq. 9, ISP Eq. 10 and HCGA Eq. 10, one pair and one part at a time; then shrunk."""
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
            if shrink:
                known = bottom * float(result[i, j]) if bottom else 0.0
                result[i, j] = (known + shrink * far) / (bottom + shrink)
    return result


FAR = {"cosine": 1.0, "unit_euclidean": math.sqrt(2), "euclidean": 3.0}


def shrunk(
    metric: Metric,
    shrink: float = 1.0,
    weights: tuple[float, ...] | None = None,
    far: float | None = None,
) -> PartDistance:
    return PartDistance(
        metric, weights, shrink, FAR[metric] if metric == "euclidean" and far is None else far
    )


@pytest.mark.parametrize("seen", ["all", "mixed", "soft"])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("metric", METRICS)
class TestFormula:
    def test_matches_loops(
        self, metric: Metric, weights: tuple[float, ...] | None, seen: str
    ) -> None:
        q, g = some(6, 1, seen), some(9, 2, seen)
        far = PartDistance(metric, weights)(q, g)
        assert far.shape == (6, 9) and far.dtype == torch.float32
        torch.testing.assert_close(
            far.double(), by_loops(metric, weights, q, g), atol=1e-5, rtol=1e-5
        )
        assert torch.equal(far.isinf(), shared(q, g) == 0)

    def test_same_with_gradients(
        self, metric: Metric, weights: tuple[float, ...] | None, seen: str
    ) -> None:
        q, g = some(6, 1, seen), some(9, 2, seen)
        plain = PartDistance(metric, weights)(q, g)
        q.vectors.requires_grad_()
        far = PartDistance(metric, weights)(q, g)
        torch.testing.assert_close(far, plain, atol=1e-5, rtol=1e-5)
        far[far.isfinite()].sum().backward()
        assert (
            q.vectors.grad is not None and q.vectors.grad.isfinite().all() and q.vectors.grad.any()
        )

    def test_terms_add_up(
        self, metric: Metric, weights: tuple[float, ...] | None, seen: str
    ) -> None:
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

    def test_tiles_and_blocks_change_nothing(
        self,
        metric: Metric,
        weights: tuple[float, ...] | None,
        seen: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        q, g = some(23, 6, seen), some(31, 7, seen)
        measure = PartDistance(metric, weights)
        whole = measure(q, g)
        for rows in (1, 5, 23, 100):
            parts = list(measure.blocks(q, g, rows))
            assert [span.start for span, _ in parts] == list(range(0, 23, rows))
            torch.testing.assert_close(
                torch.cat([block for _, block in parts]), whole, atol=2e-6, rtol=1e-6
            )
        monkeypatch.setattr(module, "TILE_CPU", (7, 4))
        torch.testing.assert_close(measure(q, g), whole, atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("seen", ["all", "mixed", "soft"])
@pytest.mark.parametrize(("shrink", "far"), [(0.25, None), (1.0, None), (1.0, 0.7), (8.0, 0.0)])
@pytest.mark.parametrize("metric", METRICS)
class TestShrunk:
    """Every path on the same definition: distances of little evidence, drawn towards ``far``."""

    def test_matches_loops(
        self, metric: Metric, shrink: float, far: float | None, seen: str
    ) -> None:
        for weights in WEIGHTS:
            q, g = some(6, 1, seen), some(9, 2, seen)
            measure = shrunk(metric, shrink, weights, far)
            want = by_loops(metric, weights, q, g, shrink, FAR[metric] if far is None else far)
            torch.testing.assert_close(measure(q, g).double(), want, atol=1e-5, rtol=1e-5)
            assert measure(q, g).dtype == torch.float32
            q, g = (replace(e, vectors=e.vectors.double()) for e in (q, g))
            want = by_loops(metric, weights, q, g, shrink, FAR[metric] if far is None else far)
            torch.testing.assert_close(measure(q, g), want, atol=1e-9, rtol=1e-9)
            torch.testing.assert_close(
                measure.within(g),
                by_loops(metric, weights, g, g, shrink, FAR[metric] if far is None else far),
                atol=1e-7,
                rtol=1e-9,
            )

    def test_same_with_gradients(
        self, metric: Metric, shrink: float, far: float | None, seen: str
    ) -> None:
        for weights in WEIGHTS:
            q, g = some(6, 1, seen), some(9, 2, seen)
            measure = shrunk(metric, shrink, weights, far)
            plain = measure(q, g)
            q = replace(
                q, vectors=q.vectors.requires_grad_(), visibility=q.visibility.requires_grad_()
            )
            value = measure(q, g)
            torch.testing.assert_close(value, plain, atol=1e-5, rtol=1e-5)
            for each in (value, measure.within(q)):
                vectors, visibility = torch.autograd.grad(each.sum(), (q.vectors, q.visibility))
                assert vectors.isfinite().all() and vectors.any() and visibility.isfinite().all()

    def test_terms_add_up(
        self, metric: Metric, shrink: float, far: float | None, seen: str
    ) -> None:
        for weights in WEIGHTS:
            q, g = (
                replace(e, vectors=e.vectors.double())
                for e in (some(40, 3, seen), some(40, 4, seen))
            )
            measure = shrunk(metric, shrink, weights, far)
            terms = measure.terms(q, g)
            torch.testing.assert_close(terms.sum(1), measure(q, g).diagonal(), atol=1e-9, rtol=1e-9)
            both = q.visibility * g.visibility
            each = (
                (measure.missing / 4 / (both.sum(1, keepdim=True) + shrink))
                .expand_as(both)
                .double()
            )
            # lambda / M for each
            torch.testing.assert_close(terms[both == 0], each[both == 0], atol=1e-6, rtol=1e-6)
            assert torch.equal(measure.parts(q, g).isnan(), both == 0)

    def test_tiles_and_blocks_change_nothing(
        self,
        metric: Metric,
        shrink: float,
        far: float | None,
        seen: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        q, g = some(23, 6, seen), some(31, 7, seen)
        measure = shrunk(metric, shrink, None, far)
        whole = measure(q, g)
        parts = torch.cat([block for _, block in measure.blocks(q, g, 5)])
        torch.testing.assert_close(parts, whole, atol=2e-6, rtol=1e-6)
        monkeypatch.setattr(module, "TILE_CPU", (7, 4))
        torch.testing.assert_close(measure(q, g), whole, atol=2e-6, rtol=1e-6)

    def test_what_shares_nothing_is_at_far(
        self, metric: Metric, shrink: float, far: float | None, seen: str
    ) -> None:
        q, g = some(6, 1, seen), some(9, 2, seen)
        blind = replace(q, visibility=torch.zeros_like(q.visibility))
        measure = shrunk(metric, shrink, None, far)
        expected = FAR[metric] if far is None else far
        for value in (measure(blind, g), measure.within(blind), measure.terms(blind, q).sum(1)):
            torch.testing.assert_close(
                value, torch.full_like(value, expected), atol=1e-5, rtol=1e-5
            )
        assert not measure(q, g).isnan().any() and measure(q, g).isfinite().all()


_LAMBDA = st.floats(0.01, 50)
_MANY = settings(max_examples=40, deadline=None, derandomize=True)


@_MANY
@given(
    st.sampled_from(METRICS),
    _LAMBDA,
    st.floats(0, 5),
    st.integers(0, 2**16),
    st.permutations(range(4)),
    st.sampled_from(("all", "mixed", "soft")),
    st.sampled_from(WEIGHTS),
)
def test_shrinking_lies_between_and_ignores_the_order_of_parts(
    metric: Metric,
    shrink: float,
    far: float,
    seed: int,
    order: list[int],
    seen: str,
    weights: tuple[float, ...] | None,
) -> None:
    q, g = (
        replace(e, vectors=e.vectors.double())
        for e in (some(5, seed, seen), some(7, seed + 1, seen))
    )
    plain, value = (
        PartDistance(metric, weights)(q, g),
        PartDistance(metric, weights, shrink, far)(q, g),
    )
    plain = plain.masked_fill(plain.isinf(), far)  # where it lies that shares nothing
    low, high = plain.clamp(max=far), plain.clamp(min=far)
    assert ((value >= low - 1e-6) & (value <= high + 1e-6)).all()
    more = PartDistance(metric, weights, 2 * shrink, far)(q, g)
    assert ((more - far).abs() <= (value - far).abs() + 1e-6).all()  # more lambda, nearer to far
    moved = tuple(weights[m] for m in order) if weights else None
    names = [NAMES[m] for m in order]
    again = PartDistance(metric, moved, shrink, far)
    torch.testing.assert_close(
        again(q.select(*names), g.select(*names)), value, atol=1e-9, rtol=1e-9
    )
    paired = PartDistance(metric, weights, shrink, far).terms(q, g.rows(slice(0, 5)))
    torch.testing.assert_close(
        again.terms(q.select(*names), g.rows(slice(0, 5)).select(*names)),
        paired[:, order],
        atol=1e-9,
        rtol=1e-9,
    )


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("metric", METRICS)
def test_the_ends_of_shrinking(metric: Metric, weights: tuple[float, ...] | None) -> None:
    """lambda = 0 is the papers bit for bit, whatever far; a huge lambda makes all pairs equally
    far.
    """
    q, g = some(30, 1, "soft"), some(40, 2, "soft")
    papers, none, much = (
        PartDistance(metric, weights),
        PartDistance(metric, weights, 0.0, 0.3),
        PartDistance(metric, weights, 1e6, 0.3),
    )
    assert papers.missing == none.missing == 0
    for run in (
        lambda d: d(q, g),
        lambda d: d.within(q),
        lambda d: d.terms(q, g.rows(slice(0, 30))),
        lambda d: torch.cat([block for _, block in d.blocks(q, g, 7)]),
    ):
        assert torch.equal(run(none), run(papers))
        value = run(much)
        constant = 0.3 / 4 if value.shape == (30, 4) else 0.3  # spread over the terms
        torch.testing.assert_close(value, torch.full_like(value, constant), atol=1e-4, rtol=0)


def test_luck_with_one_part_no_longer_wins() -> None:
    """By hand: 0.3 on one part, 0.4 on each of three. The mean prefers the first, lambda = 1 the
    second.
    """
    names = ("head", "torso", "legs")
    q = Embeddings(torch.zeros(1, 3, 1), torch.ones(1, 3), names)
    g = Embeddings(
        torch.tensor([[0.3, 9.0, 9.0], [0.4, 0.4, 0.4]])[..., None],
        torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]),
        names,
    )
    assert PartDistance("euclidean")(q, g)[0].tolist() == pytest.approx([0.3, 0.4])
    assert PartDistance("euclidean", shrink=1, far=1)(q, g)[0].tolist() == pytest.approx(
        [1.3 / 2, 2.2 / 4]
    )
    terms = PartDistance("euclidean", shrink=1, far=1).terms(q.rows([0, 0]), g)
    assert terms[0].tolist() == pytest.approx([(0.3 + 1 / 3) / 2, 1 / 6, 1 / 6])
    assert terms[1].tolist() == pytest.approx([(0.4 + 1 / 3) / 4] * 3)


def test_one_vector_for_all_is_ranked_alike_however_much_is_shrunk() -> None:
    """Where all evidence is there, shrinking moves all distances by one rule: the methods of one
    vector keep theirs.
    """
    q, g = some(9, 1, "all"), some(40, 2, "all")
    for metric in METRICS:
        assert torch.equal(
            shrunk(metric, 4.0)(q, g).argsort(1), PartDistance(metric)(q, g).argsort(1)
        )


def test_typical_is_the_median_of_different_images() -> None:
    e = some(12, 3, "soft")
    for metric in METRICS:
        far = PartDistance(metric, (1.0, 0.5, 0.5, 0.0))(e, e)
        every = far[~torch.eye(12, dtype=torch.bool) & far.isfinite()]
        near, high = every.quantile(0.45).item(), every.quantile(0.55).item()
        measure = PartDistance(metric, (1.0, 0.5, 0.5, 0.0))
        assert near <= typical(measure, e, 20_000) <= high
        assert typical(measure, e) == typical(measure, e, seed=0)
        # of the papers' distance
        assert typical(replace(measure, shrink=2.0, far=9.0), e) == typical(measure, e)
    two = Embeddings.visible(torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]]]), ("legs",))
    assert typical(PartDistance("euclidean"), two) == pytest.approx(5)  # never an image and itself
    blind = replace(two, visibility=torch.zeros(2, 1))
    with pytest.raises(ValueError, match="none shares a part"):
        typical(PartDistance("euclidean"), blind)
    for wrong in (two.rows([0]), two.rows([])):
        with pytest.raises(ValueError, match="at least 2 images"):
            typical(PartDistance("euclidean"), wrong)


def test_a_recipe_can_say_it() -> None:
    row = find("synthetic/demo/bpbreid")
    recipe = override(
        row, ["distance=shrunk", "distance.metric=unit_euclidean", "distance.shrink=1"]
    )
    assert recipe.distance is not None and recipe.digest != row.digest
    measure = build.call("distance", PartDistance, recipe.distance)
    assert measure == PartDistance("unit_euclidean", shrink=1)
    given_far = override(recipe, ["distance.metric=euclidean", "distance.far=2.5"])
    assert given_far.distance is not None
    assert build.call("distance", PartDistance, given_far.distance).missing == 2.5
    with pytest.raises(ValueError, match="expected a number, got 'much'"):
        wrong = override(recipe, ["distance.shrink=much"]).distance
        assert wrong is not None
        build.call("distance", PartDistance, wrong)


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
        torch.testing.assert_close(
            far.double(), by_loops(metric, weights, q, g), atol=1e-5, rtol=1e-5
        )


def test_parts_are_the_distances_of_what_both_show() -> None:
    q, g = some(20, 8, "soft"), some(20, 9, "soft")
    for metric in METRICS:
        parts = PartDistance(metric, (1.0, 0.5, 0.5, 0.0)).parts(q, g)  # weights do not enter
        for m, name in enumerate(NAMES):
            alone = by_loops(metric, None, q.select(name), g.select(name)).diagonal()
            hidden = q.visibility[:, m] * g.visibility[:, m] == 0
            assert parts[hidden, m].isnan().all()
            torch.testing.assert_close(
                parts[~hidden, m].double(), alone[~hidden], atol=1e-5, rtol=1e-5
            )
        diagonal = PartDistance(metric).per_part(q, g).diagonal(dim1=1, dim2=2).T
        torch.testing.assert_close(
            diagonal[~parts.isnan()], parts[~parts.isnan()], atol=1e-5, rtol=1e-5
        )


def test_one_part_in_common_decides_alone() -> None:
    """By hand: they share the legs (3-4-5 triangle) and nothing else."""
    q = Embeddings(
        torch.tensor([[[9.0, 9.0], [0.0, 0.0]]]), torch.tensor([[1.0, 1.0]]), ("head", "legs")
    )
    g = Embeddings(
        torch.tensor([[[0.0, 0.0], [3.0, 4.0]]]), torch.tensor([[0.0, 1.0]]), ("head", "legs")
    )
    assert PartDistance("euclidean")(q, g).item() == pytest.approx(5)
    assert PartDistance("euclidean", (1.0, 0.5))(q, g).item() == pytest.approx(2.5)
    assert PartDistance("euclidean").terms(q, g).tolist() == [[0, 5]]


def test_hcga_weights_leave_an_image_apart_from_itself() -> None:
    """HCGA Eq. 10 with foreground 1 and parts 1/2: all visible, M = 3, so d(x, x) = 1 - (1 + .5
    + .5) / 3.
    """
    e = Embeddings.visible(torch.randn(2, 3, 4), ("foreground", "head", "legs"))
    far = PartDistance("cosine", (1.0, 0.5, 0.5))(e, e)
    torch.testing.assert_close(far.diagonal(), torch.full((2,), 1 / 3))


def test_narrower_embeddings_may_be_padded() -> None:
    wide, narrow = torch.randn(4, 8), torch.randn(4, 3)
    padded = Embeddings.cat(Embeddings.single("a", wide), Embeddings.single("b", narrow))
    for metric in METRICS:
        measure = PartDistance(metric)
        one, two = Embeddings.single("a", wide), Embeddings.single("b", narrow)
        torch.testing.assert_close(
            measure(padded, padded),
            (measure(one, one) + measure(two, two)) / 2,
            # both have rounded roots of 0 on the diagonal
            atol=2e-3,
            rtol=0,
        )


def test_gradient_is_right() -> None:
    for metric in METRICS:
        q, g = some(3, 1, "soft"), some(4, 2, "soft")
        near = shared(q, g) > 0

        def value(
            x: Tensor,
            v: Tensor,
            q: Embeddings = q,
            g: Embeddings = g,
            near: Tensor = near,
            metric: Metric = metric,
        ) -> Tensor:
            measure = PartDistance(metric, (1.0, 0.5, 0.5, 2.0))
            other = Embeddings(g.vectors.double(), g.visibility.double(), NAMES)
            return measure(Embeddings(x, v, NAMES), other)[near]

        def inner(x: Tensor, metric: Metric = metric) -> Tensor:
            return PartDistance(metric).within(Embeddings.visible(x, NAMES))[
                torch.tril_indices(3, 3, -1).unbind()
            ]

        def soft(x: Tensor, v: Tensor, g: Embeddings = g, metric: Metric = metric) -> Tensor:
            other = Embeddings(g.vectors.double(), g.visibility.double(), NAMES)
            return shrunk(metric, 0.7, (1.0, 0.5, 0.5, 2.0))(Embeddings(x, v, NAMES), other)

        x, v = q.vectors.double().requires_grad_(), (q.visibility.double() + 0.1).requires_grad_()
        assert torch.autograd.gradcheck(value, (x, v)) and torch.autograd.gradcheck(soft, (x, v))
        assert torch.autograd.gradcheck(inner, (x,))


def test_gradient_at_distance_zero_is_zero() -> None:
    for metric in METRICS:
        vectors = torch.randn(4, 4, 6, generator=torch.Generator().manual_seed(0))
        vectors[1] = vectors[0]  # the same image twice
        vectors[3] = 0  # pooled from nothing
        vectors.requires_grad_()
        far = PartDistance(metric).within(Embeddings.visible(vectors, NAMES))
        assert far[0, 1].item() == (0 if metric == "euclidean" else pytest.approx(0, abs=1e-3))
        far.sum().backward()
        assert vectors.grad is not None and vectors.grad.isfinite().all()
        if metric == "euclidean":
            assert far.diagonal().eq(0).all()
            (lone,) = torch.autograd.grad(
                PartDistance(metric).within(Embeddings.visible(vectors, NAMES))[0, 1], vectors
            )
            assert lone.eq(0).all()


def test_diverged_embeddings_show() -> None:
    e = Embeddings.visible(torch.full((2, 4, 3), torch.nan), NAMES)
    for metric in METRICS:
        assert (
            PartDistance(metric)(e, e).isnan().all()
            and PartDistance(metric).within(e)[0, 1].isnan()
        )


def test_low_precision_comes_back_as_float32() -> None:
    q, g = some(5, 1), some(6, 2)
    half_q, half_g = (
        Embeddings(e.vectors.bfloat16(), e.visibility.bfloat16(), NAMES) for e in (q, g)
    )
    exact_q, exact_g = (
        Embeddings(e.vectors.float(), e.visibility.float(), NAMES) for e in (half_q, half_g)
    )
    for metric in METRICS:
        measure = PartDistance(metric)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            far, inside = measure(half_q, half_g), measure.within(exact_q)
        assert far.dtype == inside.dtype == torch.float32
        torch.testing.assert_close(far, measure(exact_q, exact_g))
        torch.testing.assert_close(inside, measure.within(exact_q))


def test_double_stays_double() -> None:
    q, g = (
        Embeddings(e.vectors.double(), e.visibility.double(), NAMES)
        for e in (some(5, 1), some(6, 2))
    )
    for metric in METRICS:
        far = PartDistance(metric)(q, g)
        assert far.dtype == torch.float64
        torch.testing.assert_close(far, by_loops(metric, None, q, g))


def test_shared_evidence() -> None:
    q, g = some(3, 1, "soft"), some(4, 2, "soft")
    for i in range(3):
        for j in range(4):
            assert shared(q, g)[i, j] == pytest.approx(
                float((q.visibility[i] * g.visibility[j]).sum())
            )


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
    with pytest.raises(ValueError, match="block must be a whole number of at least 1"):
        next(PartDistance("cosine").blocks(q, q, 0))
    with pytest.raises(ValueError, match="'unit_euclidean', got 'manhattan'"):
        PartDistance("manhattan")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"weights.*>= 0, got \(1.0, -1.0\)"):
        PartDistance("cosine", (1.0, -1.0))
    for wrong in (-0.5, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"shrink.*>= 0"):
            PartDistance("cosine", shrink=wrong)
        with pytest.raises(ValueError, match=r"far.*>= 0"):
            PartDistance("cosine", far=wrong)
    with pytest.raises(ValueError, match=r"needs far.*typical.*or take unit_euclidean"):
        PartDistance("euclidean", shrink=1.0)
    PartDistance("euclidean", far=2.0)  # waits for a shrink


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("shrink", [0.0, 1.0])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("metric", METRICS)
def test_gpu_equals_cpu(
    metric: Metric,
    weights: tuple[float, ...] | None,
    shrink: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    q, g = some(300, 1, "soft", 64), some(500, 2, "soft", 64)
    measure, (x, y) = shrunk(metric, shrink, weights), (q.to("cuda"), g.to("cuda"))
    close: dict[str, Any] = {"atol": 1e-4, "rtol": 1e-5, "check_device": False}
    want = measure(q, g)
    torch.testing.assert_close(measure(x, y), want, **close)
    torch.testing.assert_close(
        torch.cat([block for _, block in measure.blocks(x, y, 77)]), want, **close
    )
    monkeypatch.setattr(module, "TILE_GPU", (128, 200))
    torch.testing.assert_close(measure(x, y), want, **close)
    within = (measure.within(x).cpu(), measure.within(q))
    apart = ~torch.eye(300, dtype=torch.bool)  # the root of a rounded 0 on the diagonal may be 1e-3
    torch.testing.assert_close(within[0][apart], within[1][apart], **close)
    torch.testing.assert_close(within[0], within[1], atol=2e-3, rtol=1e-5)
    torch.testing.assert_close(measure.terms(x, x), measure.terms(q, q), **close)
    one, other = g.rows(slice(0, 300)), y.rows(slice(0, 300))
    torch.testing.assert_close(measure.terms(x, other), measure.terms(q, one), **close)
    torch.testing.assert_close(
        measure.parts(x, other), measure.parts(q, one), equal_nan=True, **close
    )
    assert typical(measure, y) == pytest.approx(typical(measure, g), abs=1e-4)
    value = measure(replace(x, vectors=x.vectors.requires_grad_()), y)
    torch.testing.assert_close(value.detach(), want, **close)
    (slope,) = torch.autograd.grad(value[value.isfinite()].sum(), x.vectors)
    assert slope.isfinite().all()


@pytest.mark.parametrize("metric", METRICS)
def test_plain_tensors_are_embeddings(metric: Metric) -> None:
    q, g, measure = some(4, 1), some(6, 2), PartDistance(metric)
    far = measure(q.vectors, g.vectors, q_visibility=q.visibility, g_visibility=g.visibility)
    assert torch.equal(far, measure(q, g))
    assert torch.equal(measure(q.vectors, g.vectors), measure(q.all_visible(), g.all_visible()))
    assert torch.equal(measure(q, g.vectors), measure(q, g.all_visible()))  # takes its names
    assert torch.equal(measure.within(q.vectors, visibility=q.visibility), measure.within(q))
    assert torch.equal(measure.terms(q.vectors, q), measure.terms(q.all_visible(), q))
    one = measure(q.vectors[:, 0], g.vectors[:, 0])
    assert torch.equal(
        one, measure(q.select("global").all_visible(), g.select("global").all_visible())
    )
    blocks = [block for _, block in measure.blocks(q.vectors, g.vectors, 3)]
    torch.testing.assert_close(torch.cat(blocks), measure(q.vectors, g.vectors))


def test_what_is_no_embedding_is_refused() -> None:
    cosine, x = PartDistance("cosine"), torch.rand(2, 3, 4)
    for call, words in (
        (lambda: cosine(x, torch.rand(2, 4)), "must have the same embeddings"),
        (lambda: cosine(x, x.numpy()), "embeddings or a tensor, float .* got ndarray"),
        (lambda: cosine(x[0, 0], x), r"must be \[N, D\] or \[N, M, D\], got \(4,\)"),
        (lambda: cosine(x.long(), x.long()), "vectors must be floats"),
        (lambda: cosine(x, x, q_visibility=torch.full((2, 3), math.nan)), "got nan"),
        (lambda: cosine(x, x, g_visibility=torch.full((2, 3), 1.5)), "got 1.5"),
        (lambda: cosine(x, x, g_visibility=torch.ones(2)), r"visibility must be \[2, 3\]"),
        (lambda: cosine(x, x.to("meta")), "must lie on one device, got cpu and meta"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.parametrize("shrink", [0.0, 1.5])
@pytest.mark.parametrize("metric", METRICS)
def test_a_prepared_gallery_gives_the_numbers_of_a_call(
    metric: Metric, shrink: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TILE_CPU", (3, 4))  # several tiles of a small gallery
    for weights in WEIGHTS:
        distance = PartDistance(metric, weights, shrink, 1.2 if shrink else None)
        q, g = some(7, 1, "soft"), some(11, 2)
        ready = distance.prepare(g)
        assert torch.equal(ready(q), distance(q, g))
        assert torch.equal(ready(q.rows([4])), distance(q.rows([4]), g))
        whole = torch.full((7, 11), torch.nan)
        for rows, columns, tile in ready.tiles(q):
            whole[rows, columns] = tile
        assert torch.equal(whole, distance(q, g))
        g.vectors.zero_()  # a prepared gallery holds its own numbers
        assert torch.equal(whole, ready(q))
    plain = PartDistance("cosine").prepare(torch.eye(3, dtype=torch.float64))
    assert plain.dtype == torch.float64 and plain(torch.eye(3)).dtype == torch.float64
    with pytest.raises(ShapeError, match="query and gallery must have the same embeddings"):
        plain(torch.ones(2, 4))
    empty = PartDistance("cosine").prepare(torch.empty(0, 3))
    assert len(empty) == 0 and empty(torch.ones(2, 3)).shape == (2, 0)


@pytest.mark.parametrize("shrink", [0.0, 0.7])
@pytest.mark.parametrize("weights", [None, (1.0, 0.5, 0.1)])
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "unit_euclidean"])
def test_distances_to_some_rows_are_those_in_float64(
    metric: Metric, weights: tuple[float, ...] | None, shrink: float
) -> None:
    """Also between nearly equal vectors, of which a product of matrices keeps half the digits."""
    distance = PartDistance(metric, weights, shrink, 2.0 if shrink else None)
    draw = torch.Generator().manual_seed(0)
    x = torch.ones(3, 16) + 0.001 * torch.randn(5000, 3, 16, generator=draw)
    v = torch.rand(5000, 3, generator=draw)
    v = v * (v > 0.5)
    q, g = Embeddings.of(x[:1], v[:1].clamp_min(0.6)), Embeddings.of(x, v)
    ready = distance.prepare(g)
    rows = [4999, 3, 0, 2048, 3]
    distances = ready.closely(q, rows)
    both = (
        Embeddings(e.vectors.double(), e.visibility, e.names)
        for e in (q.rows([0] * 5), g.rows(rows))
    )
    assert distances.dtype == torch.float64
    torch.testing.assert_close(distances, distance.terms(*both).sum(1), atol=2e-6, rtol=0)
    assert ready.closely(q, torch.tensor([], dtype=torch.int64)).shape == (0,)
    with pytest.raises(ShapeError, match="those of one query, got 2"):
        ready.closely(g.rows([0, 1]), rows)
