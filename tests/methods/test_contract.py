"""What every method promises, asked of each of them and of every recipe that uses it."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from partreid import build
from partreid import inference as api
from partreid.errors import ShapeError
from partreid.labels.schemes import PIFPAF, SETS, SURFACES, scheme_of
from partreid.methods import METHODS
from partreid.methods.base import Method
from partreid.recipes import RECIPES, ROWS, Recipe, Spec
from partreid.train import bundle
from partreid.train.loop import weighted_sum
from partreid.types import Batch, Benchmark, Embeddings, PartScheme

IDENTITIES, SIZE = 4, (96, 32)
EVERY = [pytest.param(r, id=r.name) for r in ROWS]
FIRST = [
    pytest.param(
        next(r for r in ROWS if r.name.startswith(name) and r.method.name == name), id=name
    )
    for name in METHODS
]  # the first row of its own paper


def scheme(recipe: Recipe) -> PartScheme | None:
    """The part scheme of a recipe's cue, without the data set it belongs to."""
    if "parts" not in recipe.cues:
        return None
    spec = recipe.cues["parts"]
    if spec.name == "parsing":
        return PartScheme(SETS[spec.args["parts"]])
    named = {
        "surfaces": (SURFACES, "five"),
        "pifpaf": (PIFPAF, "eight"),
        "densepose": (SURFACES, "five"),
    }
    if spec.name in named:
        table, default = named[spec.name]
        return scheme_of(table[spec.args.get("parts", default)])
    return PartScheme(
        tuple(f"part{k + 1}" for k in range(spec.args.get("parts", spec.args.get("stripes", 6))))
    )


def built(recipe: Recipe) -> Method:
    """The recipe's method on a trunk of a few thousand parameters, with a part head that is sure
    of most pixels.
    """
    torch.manual_seed(0)
    method = build.method(
        replace(recipe, backbone=Spec("small", width=4)), IDENTITIES, scheme(recipe)
    )
    if getattr(method, "part_head", None) is not None:
        torch.nn.init.normal_(method.part_head.classifier.weight)  # type: ignore[union-attr, arg-type]
    return method


def batch(recipe: Recipe) -> Batch:
    """Two crops of each of four people, with labels in which every part appears."""
    draw = torch.Generator().manual_seed(1)
    cues: dict[str, Tensor] = {}
    parts = scheme(recipe)
    if parts is not None:
        rows = torch.arange(SIZE[0]) * (parts.K + 1) // SIZE[0]
        cues["parts"] = rows.to(torch.uint8)[None, :, None].expand(8, *SIZE).clone()
    if "uv_tiles" in recipe.cues:
        tiles = torch.randint(256, (8, 24, 4, 16, 16), generator=draw, dtype=torch.uint8)
        tiles[:, :, 3] = torch.rand(8, 24, 16, 16, generator=draw) < 0.3
        cues["uv_tiles"] = tiles
    return Batch(
        torch.randn(8, 3, *SIZE, generator=draw), torch.arange(8) // 2, torch.arange(8) % 2, cues
    )


def pools_given_maps(recipe: Recipe) -> bool:
    return recipe.method.args.get("attention") == "given"


def asks_at_test(recipe: Recipe) -> bool:
    """Whether a description needs cues: given part maps, or DSA's fused vectors."""
    return pools_given_maps(recipe) or any(
        "fused" in name for name in recipe.method.args.get("described") or ()
    )


def described(method: Method, images: Tensor) -> Embeddings:
    with torch.inference_mode():
        return method.describe(method(images))


@pytest.mark.parametrize("recipe", EVERY)
class TestEveryRecipe:
    def test_terms_are_the_recipe_s_weights_and_every_parameter_learns(
        self, recipe: Recipe
    ) -> None:
        method, some = built(recipe).train(), batch(recipe)
        terms = method.losses(method(some.images, some.cues), some)
        assert list(terms) == list(recipe.terms)
        assert all(t.ndim == 0 and t.isfinite() for t in terms.values()), terms
        weighted_sum(terms, recipe.stages[-1].weights).backward()
        learning = {n: p for n, p in method.named_parameters() if p.requires_grad}
        # DDP would wait for it forever
        assert [n for n, p in learning.items() if p.grad is None] == []
        assert [
            n for n, p in learning.items() if not p.grad.isfinite().all() or not p.grad.any()
        ] == []

    def test_needs_are_given(self, recipe: Recipe) -> None:
        assert METHODS[recipe.method.name].needed(recipe.terms) <= set(recipe.cues)
        assert set(recipe.terms) <= set(METHODS[recipe.method.name].TERMS)

    def test_its_distance_fits_what_it_describes(self, recipe: Recipe) -> None:
        method, some = built(recipe).eval(), batch(recipe)
        with torch.inference_mode():
            e = method.describe(method(some.images, some.cues if asks_at_test(recipe) else {}))
            far = method.distance(e, e)
        assert far.shape == (8, 8) and not far.isnan().any()


@pytest.mark.parametrize("recipe", FIRST)
class TestEveryMethod:
    def test_describes_without_cues(self, recipe: Recipe) -> None:
        e = described(built(recipe).eval(), batch(recipe).images)
        assert len(e) == 8 and len(set(e.names)) == len(e.names) > 0
        assert e.vectors.isfinite().all() and e.vectors.any()
        assert ((e.visibility >= 0) & (e.visibility <= 1)).all()

    def test_describing_is_repeatable_and_knows_no_batch(self, recipe: Recipe) -> None:
        method, images = built(recipe).eval(), batch(recipe).images
        e = described(method, images)
        again = described(method, images)
        assert torch.equal(e.vectors, again.vectors) and torch.equal(e.visibility, again.visibility)
        order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
        for rows in (order, torch.tensor([5]), torch.tensor([2, 2])):
            part = described(method, images[rows])
            torch.testing.assert_close(part.vectors, e.vectors[rows], atol=1e-5, rtol=1e-4)
            assert torch.equal(part.visibility, e.visibility[rows])

    def test_describing_changes_no_weight(self, recipe: Recipe) -> None:
        method = built(recipe).eval()
        before = {n: t.clone() for n, t in method.state_dict().items()}
        described(method, batch(recipe).images)
        assert all(torch.equal(t, before[n]) for n, t in method.state_dict().items())

    def test_losses_do_not_depend_on_the_order_of_the_batch(self, recipe: Recipe) -> None:
        method, some = built(recipe).eval(), batch(recipe)
        order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
        turned = Batch(
            some.images[order],
            some.ids[order],
            some.cameras[order],
            {n: c[order] for n, c in some.cues.items()},
        )
        with torch.no_grad():
            one, two = (method.losses(method(b.images, b.cues), b) for b in (some, turned))
        for name in one:
            torch.testing.assert_close(one[name], two[name], atol=1e-5, rtol=1e-4)

    def test_optimisers_move_every_learning_parameter_once(self, recipe: Recipe) -> None:
        for name in ("adam", "adamw", "sgd"):
            method = built(recipe)
            moved = [
                id(p)
                for o in method.optimisers(name, 0.1, 0.0)
                for g in o.param_groups
                for p in g["params"]
            ]
            assert len(moved) == len(set(moved))
            assert set(moved) == {id(p) for p in method.parameters() if p.requires_grad}

    def test_weights_come_back_exactly(self, recipe: Recipe) -> None:
        method = built(recipe).eval()
        bare = replace(recipe, backbone=Spec("small", width=4))
        torch.manual_seed(99)
        again = bundle.restore(
            bare, IDENTITIES, scheme(recipe), deepcopy(method).at_test().state_dict()
        ).eval()
        images = batch(recipe).images
        assert torch.equal(described(again, images).vectors, described(method, images).vectors)

    def test_what_is_kept_at_test_time_describes_the_same(self, recipe: Recipe) -> None:
        method, images = built(recipe).eval(), batch(recipe).images
        e = described(method, images)
        kept = method.at_test()
        assert torch.equal(described(kept, images).vectors, e.vectors)
        assert kept.at_test() is kept and torch.equal(described(kept, images).vectors, e.vectors)


@pytest.mark.parametrize("recipe", [p for p in EVERY if pools_given_maps(p.values[0])])  # type: ignore[arg-type]
def test_a_method_that_pools_given_maps_says_that_it_needs_them(recipe: Recipe) -> None:
    with pytest.raises(
        ShapeError, match="needs the cue 'parts' or 'masks' with every image, also at test time"
    ):
        described(built(recipe).eval(), batch(recipe).images)


@pytest.mark.parametrize("name", [name for name in METHODS if f"synthetic/tiny/{name}" in RECIPES])
def test_trains_loads_and_embeds(
    name: str, trained: Callable[[str], Path], benchmark: Benchmark
) -> None:
    model = api.load(trained(name))
    e = model.embed([s.path for s in benchmark.query[:3]])
    assert e.vectors.isfinite().all() and e.names == model.names and len(e) == 3


def test_every_method_has_a_recipe() -> None:
    assert {r.method.name for r in ROWS} == set(METHODS)
