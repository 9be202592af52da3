"""What every method promises, asked of each of them and of every recipe that uses it."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from partreid import inference as api
from partreid.errors import ShapeError
from partreid.methods import METHODS, contract
from partreid.methods.base import Method
from partreid.methods.bot.model import BoT
from partreid.recipes import PAPERS, ROWS, Recipe
from partreid.types import Batch, Benchmark, Embeddings, Output

EVERY = [pytest.param(r, id=r.name) for r in ROWS]
MAIN = [pytest.param(PAPERS[name].main, id=name) for name in METHODS]
PROMISE = {"ids": lambda promise: promise.__name__}


@pytest.mark.parametrize("recipe", EVERY)
@pytest.mark.parametrize("promise", contract.OF_ROWS, **PROMISE)
def test_every_row(promise: contract.Check, recipe: Recipe) -> None:
    promise(recipe)


@pytest.mark.parametrize("recipe", MAIN)
@pytest.mark.parametrize("promise", contract.OF_METHODS, **PROMISE)
def test_every_method(promise: contract.Check, recipe: Recipe) -> None:
    promise(recipe)


@pytest.mark.parametrize("recipe", MAIN)
def test_the_main_row_describes_without_cues(recipe: Recipe) -> None:
    assert contract.built(recipe).needs_at_test == frozenset()


class Forgetful(BoT):
    """Breaks one promise after another."""

    def losses(self, out: Output, batch: Batch) -> dict[str, torch.Tensor]:
        return {"id_global": out.groups["global"].vectors[0].sum()}

    def embed(self, out: Output) -> Embeddings:
        e = out.groups["global"]
        return Embeddings.single("global", (e.vectors - e.vectors.mean(0))[:, 0])

    def optimizers(
        self, optimizer: str, lr: float, weight_decay: float
    ) -> list[torch.optim.Optimizer]:
        return super().optimizers(optimizer, lr, weight_decay) * 2

    def strip_for_inference(self) -> Method:
        torch.nn.init.normal_(next(self.trunk.parameters()))
        return self


@pytest.mark.parametrize(
    ("promise", "message"),
    [
        (contract.losses_are_the_recipe_s_and_move_every_parameter, "must be named id_global, tri"),
        (contract.description_is_repeatable, "alike whatever else is in its batch"),
        (contract.optimizers_move_every_parameter_once, "every parameter that learns, once"),
        (contract.weights_come_back, "must describe images as before"),
    ],
)
def test_a_broken_promise_is_found(
    promise: contract.Check, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partreid.methods.bot.model.BoT", Forgetful)
    with pytest.raises(AssertionError, match=f"bot/bpbreid-table1/market1501: .*{message}"):
        promise(PAPERS["bot"].main)


@pytest.mark.parametrize(
    "recipe",
    [p for p in EVERY if p.values[0].method.args.get("attention") == "given"],  # type: ignore[attr-defined]
)
def test_a_method_that_pools_given_maps_says_that_it_needs_them(recipe: Recipe) -> None:
    with pytest.raises(
        ShapeError, match="needs the cue 'parts' or 'masks' with every image, also at test time"
    ):
        contract.described(contract.built(recipe).eval(), contract.batch(recipe).images, {})


@pytest.mark.parametrize("name", list(METHODS))
def test_trains_loads_and_embeds(
    name: str, trained: Callable[[str], Path], benchmark: Benchmark
) -> None:
    model = api.load(trained(name))
    e = model.embed([s.path for s in benchmark.query[:3]])
    assert e.vectors.isfinite().all() and e.names == model.names and len(e) == 3


def test_every_row_s_method_is_a_paper_s() -> None:
    assert {r.method.name for r in ROWS} == set(METHODS)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_s_page_names_no_argument_that_is_gone(name: str) -> None:
    """Arguments of two words, as prose has none with an underscore before a colon."""
    named = set(
        re.findall(r"(?<![\w`.])([a-z]+(?:_[a-z]+)+): ", inspect.getdoc(METHODS[name]) or "")
    )
    assert named <= set(inspect.signature(METHODS[name]).parameters)
    assert named or name not in ("dsa", "hcga", "isp", "magnifier")
