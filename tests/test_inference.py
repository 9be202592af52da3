"""The Python API on a toy run: load, embed, compare, rank."""

import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import partreid
from partreid.errors import ArgumentError, DataError, ShapeError
from partreid.evaluation import decision
from partreid.evaluation.extract import extract
from partreid.inference import Model, crop_paths, listed
from partreid.metrics import Interval
from partreid.metrics.calibration import Calibration, Check, Slice, Source, reliability
from partreid.metrics.pairs import Curve
from partreid.train.checkpoint import load_tensors, save_tensors
from partreid.types import Benchmark, Embeddings, Sample
from partreid.utils.tensors import read_tensors
from tests.anything import anything

PARTS = ("head", "torso", "arms", "upper_legs", "lower_legs")


@pytest.fixture(scope="module")
def model(trained: Callable[[str], Path]) -> Model:
    return partreid.load(trained("bpbreid"))


@pytest.fixture()
def crops(benchmark: Benchmark, tmp_path: Path) -> Path:
    """A folder of six crops, two of them one level down."""
    for i, sample in enumerate(benchmark.gallery[:6]):
        to = tmp_path / "crops" / ("sub" if i > 3 else "") / f"{i}.jpg"
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sample.path, to)
    return tmp_path / "crops"


def test_a_run_loads_from_its_folder_or_its_file(
    trained: Callable[[str], Path], model: Model
) -> None:
    other = partreid.load(trained("bpbreid") / "model.safetensors", device="cpu")
    assert other.recipe == model.recipe and other.names == model.names == ("foreground", *PARTS)
    weights = load_tensors(trained("bpbreid") / "model.safetensors")[0]
    assert all(torch.equal(t, weights[n]) for n, t in model.method.state_dict().items())
    assert not model.method.training


def test_a_run_without_parts_loads_too(
    trained: Callable[[str], Path], benchmark: Benchmark
) -> None:
    bot = partreid.load(trained("bot"))
    assert bot.scheme is None and bot.names == ("global",)
    pair = bot.compare(benchmark.query[0].path, benchmark.query[1].path)
    assert pair.picture().width > 100 and len(pair.evidence.parts) == 1


def test_embed_takes_a_folder_a_file_or_a_list(model: Model, crops: Path) -> None:
    whole = model.embed(crops)
    assert whole.vectors.shape[:2] == (6, 6) and whole.names == model.names
    torch.testing.assert_close(
        model.embed(str(crops / "2.jpg")).vectors, whole.vectors[2:3], atol=1e-5, rtol=1e-4
    )
    chosen = model.embed([crops / "3.jpg", str(crops / "1.jpg")], batch=1)
    torch.testing.assert_close(chosen.vectors, whole.vectors[[3, 1]], atol=1e-5, rtol=1e-4)
    assert [p.name for p in crop_paths(crops)] == [f"{i}.jpg" for i in range(6)]


def test_embed_is_what_evaluation_sees(model: Model, benchmark: Benchmark) -> None:
    samples: list[Sample] = list(benchmark.query[:4])
    same = extract(model.method, samples, model.recipe.size)
    assert torch.equal(model.embed([s.path for s in samples]).vectors, same.vectors)


def test_compare_adds_up_to_the_distance_of_the_embeddings(model: Model, crops: Path) -> None:
    e = model.embed([crops / "0.jpg", crops / "sub" / "5.jpg"])
    pair = model.compare(crops / "0.jpg", crops / "sub" / "5.jpg")
    assert math.fsum(pair.evidence.share) == pair.distance
    assert pair.distance == pytest.approx(float(model.method.distance(e, e)[0, 1]), abs=1e-4)
    assert pair.evidence.names == model.names
    assert pair.evidence.share[~pair.evidence.shared].tolist() == [0] * int(
        (~pair.evidence.shared).sum()
    )
    assert pair.evidence.sentence()
    picture = pair.picture()
    assert picture.mode == "RGB" and picture.width > 200 and picture.height > 100


def test_an_image_is_no_distance_from_itself(model: Model, crops: Path) -> None:
    pair = model.compare(crops / "0.jpg", str(crops / "0.jpg"))
    assert pair.distance == pytest.approx(0, abs=1e-5)


def test_rank_is_the_order_of_distances(model: Model, crops: Path, benchmark: Benchmark) -> None:
    queries = [s.path for s in benchmark.query[:3]]
    results = model.rank(queries, crops, top=4)
    far = model.method.distance(model.embed(queries), model.embed(crops))
    paths = crop_paths(crops)
    for row, hits in enumerate(results):
        assert [hit.place for hit in hits] == [1, 2, 3, 4]
        order = torch.argsort(far[row], stable=True)[:4].tolist()
        assert [hit.path for hit in hits] == [paths[i] for i in order]
        for hit, i in zip(hits, order):
            assert hit.distance == pytest.approx(float(far[row, i]), abs=1e-4)
    assert len(model.rank(queries[0], crops)[0]) == 6  # no more than there are
    assert model.rank(crops / "3.jpg", crops, top=1)[0][0].path == crops / "3.jpg"


def test_ties_keep_the_gallery_s_order(model: Model, crops: Path) -> None:
    twice = [crops / "1.jpg", crops / "0.jpg", crops / "0.jpg", crops / "1.jpg"]
    assert [hit.path.name for hit in model.rank(crops / "0.jpg", twice)[0]] == [
        "0.jpg",
        "0.jpg",
        "1.jpg",
        "1.jpg",
    ]


def test_without_a_calibration_nothing_is_decided(model: Model, crops: Path) -> None:
    assert model.calibration is None
    pair = model.compare(crops / "0.jpg", crops / "1.jpg")
    assert pair.probability is None and pair.same is None
    assert pair.shared_evidence == int(pair.evidence.shared.sum()) > 0
    assert [(h.probability, h.same) for h in model.rank(crops / "0.jpg", crops)[0]] == [
        (None, None)
    ] * 6


@pytest.fixture()
def calibrated(trained: Callable[[str], Path], model: Model, tmp_path: Path) -> Path:
    """A copy of the run with a calibration: with n shared parts the threshold lies at distance n
    / 4.
    """
    run = Path(shutil.copytree(trained("bpbreid"), tmp_path / "run"))
    many = Slice(100, 20, 50, 1000, 0)
    rate = Interval(0.01, 0.005, 0.02)
    curves = tuple(
        Curve((0.0, n / 2), (float(n), -float(n))) for n in range(1, len(model.names) + 1)
    )
    source = Source(
        **vars(model.bound),
        data="made",
        queries=("q",),
        images="i",
        gallery="g",
        version="0",
        date="d",
    )
    diagram = reliability([0.5], [True])
    decision.save(
        Calibration(
            curves,
            "line_by_parts",
            {"line": 0.5},
            0.0,
            0.01,
            rate,
            rate,
            many,
            Check(many, rate, rate, diagram),
            (0.0, 1.0),
            0.05,
            0.5,
            0,
            source,
            anything(*partreid.load(run).embed(np.zeros((64, 32, 3), np.uint8)).vectors.shape[1:]),
        ),
        run / decision.FILE,
    )
    return run


def test_a_calibration_beside_the_model_decides(calibrated: Path, crops: Path) -> None:
    model = partreid.load(calibrated)
    assert model.calibration is not None and model.calibration.source.data == "made"
    assert partreid.load(calibrated / "model.safetensors").calibration == model.calibration
    for hit in model.rank(crops / "0.jpg", crops)[0]:
        n = hit.shared_evidence
        assert hit.same == (hit.distance <= n / 4)
        assert hit.probability == pytest.approx(1 / (1 + math.exp(-max(n - 4 * hit.distance, -n))))
    pair, rare = (model.compare(crops / "0.jpg", crops / "1.jpg", prior) for prior in (0.5, 0.1))
    assert pair.same == rare.same and pair.probability is not None and rare.probability is not None
    assert rare.probability / (1 - rare.probability) == pytest.approx(
        pair.probability / (1 - pair.probability) / 9
    )


@pytest.mark.parametrize("prior", [0, 1, -1, "0.5", math.nan, None, True])
def test_a_prior_is_judged_before_any_work(model: Model, crops: Path, prior: Any) -> None:
    """Without a calibration, too: it was believed until there was one."""
    with pytest.raises(ArgumentError, match="a prior must be a probability between 0 and 1"):
        model.compare(crops / "0.jpg", crops / "gone.jpg", prior)
    with pytest.raises(ArgumentError, match="a prior must be a probability between 0 and 1"):
        model.rank(crops / "gone.jpg", crops, prior=prior)


@pytest.mark.parametrize("top", [0, -1, 2.5, "3", None])
def test_a_list_has_at_least_one_place(model: Model, crops: Path, top: Any) -> None:
    """rank(top=-1) gave all but the last."""
    with pytest.raises(ArgumentError, match="top must be a whole number of at least 1"):
        model.rank(crops / "gone.jpg", crops, top=top)
    e = Embeddings(torch.ones(2, len(model.names), 4), torch.ones(2, len(model.names)), model.names)
    with pytest.raises(ArgumentError, match="top must be a whole number of at least 1"):
        model.search(e, e, [Path("a"), Path("b")], top)


def test_a_gallery_has_a_path_for_each_row(model: Model) -> None:
    e = Embeddings(torch.ones(2, len(model.names), 4), torch.ones(2, len(model.names)), model.names)
    with pytest.raises(ShapeError, match="a gallery of 2 embeddings needs as many paths, got 1"):
        model.search(e, e, [Path("a")])


def test_a_model_that_gives_no_numbers_says_so_and_names_the_crop(
    model: Model, crops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = model.method.embed

    def broken(out: Any) -> Embeddings:
        e = embed(out)
        return Embeddings(e.vectors * torch.nan, e.visibility, e.names)

    monkeypatch.setattr(model.method, "embed", broken)
    words = r"gives NaN or infinity for .*0\.jpg: its training diverged or its weights are broken"
    for call in (
        lambda: model.embed(crops),
        lambda: model.compare(crops / "0.jpg", crops / "1.jpg"),
        lambda: model.rank(crops / "0.jpg", crops),
    ):
        with pytest.raises(DataError, match=words):
            call()


def test_crops_that_share_no_part_are_unknown_and_not_the_same(calibrated: Path) -> None:
    model = partreid.load(calibrated)
    vectors = torch.ones_like(model.embed(np.zeros((2, 64, 32, 3), np.uint8)).vectors)
    e = Embeddings(vectors, torch.eye(2, len(model.names)), model.names)
    (hit,) = model.search(e.rows([0]), e.rows([1]), [Path("b.jpg")])[0]
    assert hit.reason is not None and hit.reason.startswith("unknown: the two show no part")
    assert (hit.distance, hit.shared_evidence, hit.probability, hit.same) == (
        math.inf,
        0,
        None,
        False,
    )


def test_a_calibration_of_another_model_is_refused_where_it_would_decide(
    calibrated: Path, crops: Path, trained: Callable[[str], Path]
) -> None:
    file = Path(shutil.copy(calibrated / decision.FILE, calibrated.parent / "other.json"))
    words = (
        "was made for another model .* not the same weights .* partreid calibrate, or remove "
        "the file"
    )
    with pytest.raises(DataError, match=r"other\.json " + words):  # named: at once
        partreid.load(trained("bot"), calibration=file)
    tensors, meta = load_tensors(calibrated / "model.safetensors")
    tensors = {
        name: t + 0.01 if t.is_floating_point() else t for name, t in tensors.items()
    }  # trained on
    save_tensors(calibrated / "model.safetensors", tensors, meta)
    model = partreid.load(calibrated)
    assert len(model.embed(crops)) == 6  # that decides nothing
    for decides in (
        lambda: model.compare(crops / "0.jpg", crops / "1.jpg"),
        lambda: model.rank(crops, crops),
    ):
        with pytest.raises(DataError, match=words):
            decides()
    with pytest.raises(DataError, match=r"there is no calibration gone\.json"):
        partreid.load(calibrated, calibration="gone.json")


def test_lists_of_files(tmp_path: Path, crops: Path) -> None:
    text = tmp_path / "some.txt"
    text.write_text(f"crops/2.jpg\n\n{crops / '0.jpg'}\n")
    assert listed(text) == [tmp_path / "crops" / "2.jpg", crops / "0.jpg"]
    assert listed(crops) == crops and listed(crops / "0.jpg") == crops / "0.jpg"
    for encoding in ("utf-8-sig", "utf-16"):
        text.write_text(f"crops/2.jpg\n-dash.jpg\n{crops / 'ä.jpg'}\n", encoding=encoding)
        assert listed(text) == [
            tmp_path / "crops" / "2.jpg",
            tmp_path / "-dash.jpg",
            crops / "ä.jpg",
        ]
    text.write_text("crops/ä.jpg\n", encoding="latin-1")
    with pytest.raises(DataError, match=r"some\.txt is not UTF-8 .*iconv"):
        listed(text)
    text.write_text("\n \n")
    with pytest.raises(DataError, match=r"some\.txt lists no images; write one path a line"):
        listed(text)


def test_lists_name_regular_files(model: Model, tmp_path: Path, crops: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe.txt")
    for names, words in (
        ([tmp_path / "pipe.jpg"], "pipe.jpg is a named pipe"),
        ([crops / "0.jpg", crops], "is a folder, where a crop"),
        (["/dev/zero"], "is a device"),
        (["\0"], "there is no image|cannot be reached|null"),
    ):
        with pytest.raises(DataError, match=words):
            model.embed(names)
    with pytest.raises(DataError, match="pipe.txt is a named pipe"):
        listed(tmp_path / "pipe.txt")


def test_what_is_missing_is_named(model: Model, crops: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no image .*gone\.jpg"):
        model.embed([crops / "0.jpg", crops / "gone.jpg"])
    with pytest.raises(DataError, match=r"there is no image .*gone\.jpg"):
        model.compare(crops / "gone.jpg", crops / "0.jpg")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no images"):
        model.embed(tmp_path / "empty")
    (crops / "bad.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"bad\.jpg cannot be read as an image"):
        model.embed(crops)


def test_what_is_no_finished_model_is_refused(
    trained: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"there is no .*gone"):
        partreid.load(tmp_path / "gone")
    with pytest.raises(DataError, match=r"there is no .*model\.safetensors; a run folder holds"):
        partreid.load(tmp_path)
    with pytest.raises(DataError, match="is not a finished model .*--resume"):
        partreid.load(trained("bpbreid") / "checkpoint.safetensors")
    save_tensors(
        tmp_path / "embeddings.safetensors", {"vectors": torch.zeros(1, 1, 1)}, {"recipe": "x"}
    )
    with pytest.raises(DataError, match="is not a finished model"):
        partreid.load(tmp_path / "embeddings.safetensors")


@pytest.fixture()
def exact(crops: Path) -> list[Path]:
    """The crops as PNG: a large JPEG is decoded at a fraction of its size, a picture is not."""
    paths = crop_paths(crops)
    for path in paths:
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    return [path.with_suffix(".png") for path in paths]


def kinds(paths: list[Path]) -> list[Any]:
    """One file, one picture, one array and one tensor."""
    array = np.asarray(Image.open(paths[2]))
    tensor = torch.from_numpy(np.array(Image.open(paths[3]))).permute(2, 0, 1)
    return [paths[0], Image.open(paths[1]), array, tensor]


def test_pictures_arrays_and_tensors_are_crops(
    model: Model, crops: Path, exact: list[Path]
) -> None:
    paths = exact[:4]
    e = model.embed(kinds(paths))
    assert torch.equal(e.vectors, model.embed(paths).vectors)
    results = model.rank(kinds(paths)[1:], kinds(paths), top=4)
    for row, hits in enumerate(results, 1):
        assert [hit.path for hit in hits] == [paths[0] if h.row == 0 else None for h in hits]
        assert hits[0].row == row and hits[0].distance == pytest.approx(0, abs=1e-3)
    (near,) = (h for h in results[0] if h.row == 1)
    with pytest.raises(DataError, match="row 1 of the gallery is a picture in memory"):
        _ = near.file
    _, picture, array, tensor = kinds(paths)
    pair, same = model.compare(picture, tensor), model.compare(paths[1], paths[3])
    assert pair.distance == same.distance
    assert np.array_equal(np.asarray(pair.picture()), np.asarray(same.picture()))
    for several in ([paths[0], paths[1]], np.stack([array, array]), crops):
        with pytest.raises(ArgumentError, match="each of the crops|must be one crop"):
            model.compare(several, array)  # type: ignore[arg-type]


def test_a_crop_in_memory_for_which_there_are_no_numbers_is_named(
    model: Model, crops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = model.method.embed
    monkeypatch.setattr(
        model.method,
        "embed",
        lambda out: Embeddings(embed(out).vectors * torch.nan, embed(out).visibility, model.names),
    )
    with pytest.raises(DataError, match=r"gives NaN or infinity for crop 1 \(a picture\)"):
        model.embed([Image.open(crop_paths(crops)[0])])


def test_what_was_saved_is_read_back_and_ranked(
    model: Model, exact: list[Path], tmp_path: Path
) -> None:
    paths = exact
    saved = partreid.save_embeddings(model, [*paths, Image.open(paths[0])], tmp_path / "e")
    kept = partreid.load_embeddings(str(tmp_path / "e"))
    assert (kept.paths, kept.distance, kept.model) == (saved.paths, saved.distance, saved.model)
    assert kept.paths == (*paths, None) and len(kept) == 7
    assert torch.equal(kept.embeddings.vectors, model.embed([*paths, paths[0]]).vectors)
    assert torch.equal(kept.embeddings.visibility, saved.embeddings.visibility)
    assert partreid.load_embeddings(tmp_path / "e" / "embeddings.safetensors").paths == kept.paths
    want = [[(h.row, h.path, h.distance) for h in hits] for hits in model.search(kept, kept, top=3)]
    for results in (
        model.search(kept.embeddings, kept.embeddings, kept.paths, top=3),
        partreid.rank(kept, kept, top=3),
        partreid.rank(kept.embeddings, saved, top=3),
    ):
        assert [[(h.row, h.path, h.distance) for h in hits] for hits in results] == want
    assert [h.path for h in partreid.rank(kept, kept.embeddings, top=2)[0]] == [None, None]


def test_embeddings_of_two_models_are_refused(
    model: Model, trained: Callable[[str], Path], crops: Path, tmp_path: Path
) -> None:
    other = partreid.load(trained("bpbreid"))
    with torch.no_grad():
        next(iter(other.method.parameters())).add_(0.01)  # trained on
    mine = partreid.save_embeddings(model, crops, tmp_path / "mine")
    theirs = partreid.save_embeddings(other, crops, tmp_path / "theirs")
    for call in (
        lambda: model.search(mine, theirs),
        lambda: other.search(mine.embeddings, mine),
        lambda: partreid.rank(mine, theirs),
        lambda: partreid.rank(mine, theirs, model.method.distance),
    ):
        with pytest.raises(DataError, match="of another model .* embed both with one model"):
            call()
    with pytest.raises(ArgumentError, match="distance must say how plain embeddings are compared"):
        partreid.rank(mine.embeddings, mine.embeddings)
    changed = replace(mine, distance=partreid.PartDistance("cosine"))
    with pytest.raises(DataError, match="say which counts with distance="):
        partreid.rank(mine, changed)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, m: t.update(more=torch.ones(1)), "holds .*, not vectors and visibility"),
        (lambda t, m: t["vectors"].fill_(torch.nan), "vectors must be finite numbers"),
        (lambda t, m: t.update(vectors=t["vectors"].double()), "vectors must be .*float32"),
        (lambda t, m: t["visibility"].fill_(2), "visibilities lie between .* got 2"),
        (lambda t, m: t.update(visibility=t["visibility"][:1]), "visibility must be"),
        (lambda t, m: m.update(names=["a"]), "6 embeddings need 6 names"),
        (lambda t, m: m.update(names="abcdef"), "names must be a list of texts"),
        (lambda t, m: m["crops"].pop(), "a gallery of 6 embeddings needs as many paths, got 5"),
        (lambda t, m: m.update(crops=[1] * 6), "crops must be a list of texts"),
        (lambda t, m: m.update(weights=7), "weights must be a text, got 7"),
        (lambda t, m: m.update(distance="cosine"), "distance must be a table"),
        (lambda t, m: m["distance"].update(metric="manhattan"), "metric must be one of"),
        (lambda t, m: m.pop("weights"), "does not say which model"),
    ],
)
def test_embeddings_that_were_changed_are_refused(
    change: Callable[[Any, Any], Any], words: str, model: Model, crops: Path, tmp_path: Path
) -> None:
    partreid.save_embeddings(model, crops, tmp_path / "e")
    file = tmp_path / "e" / "embeddings.safetensors"
    tensors, meta = read_tensors(file, "")
    record = json.loads(meta["partreid"])
    change(tensors, record)
    save_tensors(file, tensors, record)
    with pytest.raises(DataError, match=words + r".*embed the crops again"):
        partreid.load_embeddings(tmp_path / "e")


def test_what_is_no_file_of_embeddings_is_refused(
    trained: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="there is no file of embeddings"):
        partreid.load_embeddings(tmp_path)
    with pytest.raises(DataError, match="does not say which model its embeddings are of"):
        partreid.load_embeddings(trained("bpbreid") / "model.safetensors")
    (tmp_path / "embeddings.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(
        DataError, match="not a readable safetensors file .*; embed the crops again"
    ):
        partreid.load_embeddings(tmp_path)
