"""One training scored in several ways: as another row, by other embeddings, with weights that
only training keeps.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from partreid.cli.base import app
from partreid.errors import DataError, RecipeError
from partreid.evaluation import Options, evaluate_runs
from partreid.evaluation.ledger import ours, read
from partreid.evaluation.variant import as_recipe, variant_of
from partreid.inference import load
from partreid.recipes import Recipe, find, override, to_plain
from partreid.train.checkpoint import load_tensors, save_tensors
from partreid.train.loop import train
from partreid.types import Benchmark

Trained = Callable[[str], Path]


def test_a_run_is_described_by_what_is_asked_for(trained: Trained, benchmark: Benchmark) -> None:
    run = trained("bpbreid")
    model = load(run, "cpu")
    paths = [sample.path for sample in benchmark.gallery[:3]]
    whole = model.embed(paths)
    for names in (("head",), ("arms", "foreground"), ("foreground", "parts")):
        other = variant_of(model, run, names)
        assert other.recipe == override(model.recipe, [f"method.described={json.dumps(names)}"])
        embeddings = other.embed(paths)
        assert embeddings.names == (whole.names if "parts" in names else names)
        torch.testing.assert_close(embeddings.vectors, whole.select(*embeddings.names).vectors)
    assert variant_of(model, run) is model and model.embed(paths).names == whole.names
    with pytest.raises(
        RecipeError, match="bpbreid has no embedding 'tail'; choose of global, foreground"
    ):
        variant_of(model, run, ("tail",))
    with pytest.raises(RecipeError, match="unknown argument of method 'bot': 'described'"):
        variant_of(load(trained("bot"), "cpu"), trained("bot"), ("global",))


def test_a_model_is_taken_as_a_recipe_of_its_training_and_no_other(
    trained: Trained, benchmark: Benchmark
) -> None:
    run = trained("bpbreid")
    model = load(run, "cpu")
    paths = [sample.path for sample in benchmark.queries["occluded"][:4]]
    blind = as_recipe(model, run, override(model.recipe, ["method.visibility=none"]))
    assert as_recipe(model, run, model.recipe) is model
    shown, all_seen = model.embed(paths), blind.embed(paths)
    torch.testing.assert_close(shown.vectors, all_seen.vectors)
    assert shown.visibility.min() < 1 and all_seen.visibility.min() == 1
    with pytest.raises(RecipeError, match="which is another training than that of"):
        as_recipe(model, run, override(model.recipe, ["stages.epochs=7"]))


def test_a_run_is_scored_as_a_row_of_its_training_and_no_other(
    trained: Trained,
    tmp_path: Path,
    world: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tensors, meta = load_tensors(trained("bpbreid") / "model.safetensors")
    toy = override(load(trained("bpbreid"), "cpu").recipe, ["seed=3"])
    save_tensors(tmp_path / "run" / "model.safetensors", tensors, meta | {"recipe": to_plain(toy)})
    hidden = replace(
        override(toy, ["method.visibility=none", "seed=1"]), name="toy/hidden", scores=toy.name
    )
    other = replace(
        override(toy, ["stages.lr=1", "size=[32,32]"]), name="toy/other", scores="toy/else"
    )
    known = {row.name: row for row in (hidden, other)}
    monkeypatch.setattr("partreid.evaluation.variant.find", known.__getitem__)
    ledger = tmp_path / "ledger.jsonl"
    app(
        [
            "eval",
            str(tmp_path / "run"),
            "--data",
            str(world),
            "--row",
            "toy/hidden",
            "--ledger",
            str(ledger),
            "--device",
            "cpu",
        ],
        result_action="return_value",
    )
    (line,) = {(entry.recipe, entry.seed, entry.digest) for entry in read(ledger)}
    assert line == ("toy/hidden", 3, replace(hidden, seed=3).digest)
    assert set(ours(hidden, read(ledger))) == {"holistic", "occluded"} and not ours(
        toy, read(ledger)
    )
    app(
        [
            "eval",
            str(tmp_path / "run"),
            "--data",
            str(world),
            "--described",
            "head,torso",
            "--described",
            "global",
            "--ledger",
            str(ledger),
            "--device",
            "cpu",
        ],
        result_action="return_value",
    )
    described = override(toy, ['method.described=["head","torso","global"]'])
    assert set(ours(described, read(ledger))) == {"holistic", "occluded"}
    capsys.readouterr()
    with pytest.raises(
        RecipeError,
        match=r"another training than that of toy/other \(they differ in size, stages\); "
        "train toy/else",
    ):
        evaluate_runs([tmp_path / "run"], world, options=Options(row="toy/other", device="cpu"))


def test_what_a_finished_run_left_away_comes_from_its_checkpoint(
    benchmark: Benchmark, toy: Callable[..., Recipe], tmp_path: Path
) -> None:
    """DSA's guide is not kept for its own row, but three rows of its Table 3 match by what it
    sees.
    """
    few = replace(
        benchmark,
        train=tuple(
            s for s in benchmark.train if s.identity in {t.identity for t in benchmark.train[:12]}
        ),
    )
    run = tmp_path / "run"
    train(
        toy(
            "dsa",
            "stages.epochs=1",
            "stages.batch=[2,2]",
            "cues.uv_tiles.size=8",
            "cues.uv_tiles.cache=false",
            "method.tile=8",
        ),
        few,
        run,
    )
    model = load(run, "cpu")
    assert not any(name.startswith("guide") for name in model.method.state_dict())
    other = variant_of(model, run, ("fused_global",))
    assert any(name.startswith("guide") for name in other.method.state_dict())
    kept = load_tensors(run / "checkpoint.safetensors")[0]
    for name, tensor in other.method.state_dict().items():
        assert torch.equal(tensor, kept[f"model/{name}"]), name
    tensors, header = load_tensors(run / "checkpoint.safetensors")
    save_tensors(
        run / "checkpoint.safetensors", tensors, header | {"place": header["place"] | {"epoch": 0}}
    )
    with pytest.raises(
        DataError, match="did not keep what this needs .* no checkpoint of its end beside it; train"
    ):
        variant_of(model, run, ("fused_global",))


@pytest.mark.parametrize("target", ["soft", "hard"])
def test_a_model_that_is_told_its_target_is_scored_with_the_masks_of_the_test_images(
    world: Path, trained: Trained, tmp_path: Path, target: str
) -> None:
    tensors, meta = load_tensors(trained("bpbreid") / "model.safetensors")
    toy = load(trained("bpbreid"), "cpu").recipe
    recipe = override(
        toy, [f"method.target={target}", "cues.masks=surfaces", "cues.masks.parts=five"]
    )
    save_tensors(
        tmp_path / "run" / "model.safetensors", tensors, meta | {"recipe": to_plain(recipe)}
    )
    guided, plain = (
        evaluate_runs([run], world, options=Options(device="cpu"))
        for run in (tmp_path / "run", trained("bpbreid"))
    )
    scores = [[q.scores["mAP"] for q in result.query_sets] for (result,) in (guided, plain)]
    assert all(0 < score <= 1 for score in scores[0]) and scores[0] != scores[1]


def test_a_target_without_a_source_is_refused_before_training(
    benchmark: Benchmark, toy: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = toy("bpbreid", "method.target=hard")
    with pytest.raises(
        RecipeError, match="needs the cue 'masks' with every image at test time.*--set cues.masks="
    ):
        train(recipe, replace(benchmark, train=benchmark.train[:8]), tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_train_of_a_row_that_scores_another_says_what_to_do(
    capsys: pytest.CaptureFixture[str], world: Path
) -> None:
    for more, again in (((), ""), (("--set", "seed=2"), " with the same --set")):
        with pytest.raises(SystemExit):
            app(
                ["train", "bpbreid/table3/head", "--data", str(world), *more],
                result_action="return_value",
            )
        message = capsys.readouterr().err
        assert (
            f"partreid train bpbreid/table3/foreground+parts{again}, then partreid eval RUN --row"
            in message
        )
        assert "--set scores=null" in message
    assert (
        find("bpbreid/table3/head").scores
        and override(find("bpbreid/table3/head"), ["scores=null"]).scores is None
    )
