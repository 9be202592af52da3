"""Labels by models: real classes of transformers with random weights, saved to folders and
loaded as a user's are.
"""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from partreid import build
from partreid.data.folders import optional
from partreid.errors import DataError, RecipeError
from partreid.labels.keypoints import read_people
from partreid.labels.sources import ATR, SOURCES
from partreid.labels.tools.models import MODELS, Parser, Pose, load, source_of_model
from partreid.labels.tools.predict import make
from partreid.layers.trunks import import_timm
from partreid.types import Benchmark, Sample

missing = [name for name in ("transformers", "scipy") if importlib.util.find_spec(name) is None]
needs = pytest.mark.skipif(
    bool(missing), reason=f"needs {' and '.join(missing)}: pip install 'partreid[labels]'"
)


def transformers() -> Any:
    import_timm()
    return optional("transformers", "labels", "this test")


@pytest.fixture(scope="module")
def clothes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SegFormer of 18 classes by ATR's names, as save_pretrained writes it."""
    t, folder = transformers(), tmp_path_factory.mktemp("clothes")
    torch.manual_seed(1)
    config = t.SegformerConfig(
        depths=[1] * 4,
        hidden_sizes=[8] * 4,
        num_attention_heads=[1] * 4,
        decoder_hidden_size=8,
        id2label=dict(enumerate(ATR.classes)),
    )
    t.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    t.SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViTPose of 17 keypoints; its last layer is biased so that joints are seen."""
    t, folder = transformers(), tmp_path_factory.mktemp("pose")
    torch.manual_seed(1)
    trunk = t.VitPoseBackboneConfig(
        image_size=[64, 48],
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        out_indices=[1],
    )
    model = t.VitPoseForPoseEstimation(t.VitPoseConfig(backbone_config=trunk, num_labels=17))
    model.head.conv.bias.data[:12] = 0.9
    model.save_pretrained(folder)
    t.VitPoseImageProcessor(size={"height": 64, "width": 48}).save_pretrained(folder)
    return folder


@pytest.fixture()
def photos(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    sizes = {
        "train/anna/a_c1.jpg": (16, 32),
        "train/ben/a_c1.jpg": (20, 30),
        "query/b.png": (8, 24),
    }
    for name, (w, h) in sizes.items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (h, w, 3), dtype=np.uint8)).save(path)
    return tmp_path / "mine"


@needs
def test_a_parser_labels_crops_and_the_cue_reads_them(clothes: Path, photos: Path) -> None:
    model = load(str(clothes))
    assert isinstance(model, Parser) and model.source == "atr"
    seen: list[tuple[int, int]] = []
    out = photos / "parsing"
    made = make(
        model, photos, out, "tiny", target="all", batch=2, progress=lambda d, n: seen.append((d, n))
    )
    assert seen == [(2, 3), (3, 3)] and made.sentence.startswith(
        "Labels for 3 of 3 crops (100.0 %)"
    )
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.png")) == [
        "query/b.png",
        "train/anna/a_c1.png",
        "train/ben/a_c1.png",
    ]
    assert (
        made.settings
        == "--set cues.parts=parsing --set cues.parts.source=atr --set cues.parts.parts=five"
    )
    image = Image.open(photos / "query" / "b.png")
    labels = Image.open(out / "query" / "b.png")
    assert labels.mode == "P" and labels.size == image.size
    # by hand: the processor's pixels, logits at a quarter, bilinear to the crop, the highest
    with torch.no_grad():
        pixels = model.processor(images=[image.convert("RGB")], return_tensors="pt")["pixel_values"]
        logits = model.model(pixel_values=pixels).logits
        expected = torch.nn.functional.interpolate(logits, (24, 8), mode="bilinear")[0].argmax(0)
    assert logits.shape == (1, 18, 16, 16)
    np.testing.assert_array_equal(np.asarray(labels), expected.numpy())
    of = Benchmark("folders", photos, (Sample(photos / "train/anna/a_c1.jpg", 1, 0),), {}, ())
    np.testing.assert_array_equal(
        build.cue(made.cue, of)[0] > 0,
        np.isin(
            np.asarray(Image.open(out / "train/anna/a_c1.png")),
            [c for group in ATR.sets["five"].values() for c in group],
        ),
    )


@needs
def test_making_goes_on_and_never_mixes_models(
    clothes: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, whole, out = load(str(clothes)), tmp_path / "whole", tmp_path / "out"
    make(model, photos, whole, "tiny", target="all")
    broken = photos / "train/ben/a_c1.jpg"
    data = broken.read_bytes()
    broken.write_bytes(data[:100])
    with pytest.raises(
        DataError, match=r"ben/a_c1\.jpg cannot be read as an image.*replace or remove"
    ):
        make(model, photos, out, "tiny", target="all", batch=1)
    done = {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    assert len(done) == 2
    broken.write_bytes(data)
    make(model, photos, out, "tiny", target="all", batch=1)
    assert {p: p.stat().st_mtime_ns for p in done} == done
    for path in whole.rglob("*.png"):
        assert path.read_bytes() == (out / path.relative_to(whole)).read_bytes()
    with pytest.raises(
        DataError, match=r"already holds other labels \(from 'tiny' and not 'other'\).*--overwrite"
    ):
        make(model, photos, out, "other", target="all")
    make(model, photos, out, "other", target="all", overwrite=True)
    assert json.loads((out / "origin.json").read_text())["from"] == "other"


@needs
def test_a_pose_model_s_joints_are_pixels_of_the_crop(
    pose: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(str(pose))
    assert isinstance(model, Pose)
    made = make(model, photos, photos / "keypoints", "tiny")
    assert made.settings == "--set cues.parts=keypoints --set cues.parts.parts=eight"
    (person,) = read_people(photos / "keypoints" / "query" / "b.json")
    assert ((person.keypoints[:, 2] > 0.3) == (np.arange(17) < 12)).all()  # the biased ones
    of = Benchmark("folders", photos, (Sample(photos / "query/b.png", 1, 0),), {}, ())
    assert build.cue(made.cue, of)[0].shape == (24, 8)

    y, x = np.mgrid[:16, :12]
    peaks = torch.zeros(1, 17, 16, 12)
    peaks[0, 3] = torch.from_numpy(1.2 * np.exp(-((x - 5) ** 2 + (y - 7) ** 2) / 2))
    monkeypatch.setattr(model.model, "forward", lambda **given: SimpleNamespace(heatmaps=peaks))
    (person,) = model([Image.new("RGB", (8, 24))])
    # The box is the crop, 8 x 24, widened to the model's 48 : 64 and then by a quarter; cells lie
    # from edge to edge.
    wide, tall = 24 * 48 / 64 * 1.25, 24 * 1.25
    expected = 4 - wide / 2 + 5 * wide / 11, 12 - tall / 2 + 7 * tall / 15
    np.testing.assert_allclose(person.keypoints[3, :2], expected, atol=0.05)
    assert person.keypoints[3, 2] == 1 and not person.keypoints[:3, 2].any()


@needs
def test_nobody_is_no_label(pose: Path, photos: Path) -> None:
    model = load(str(pose))
    assert isinstance(model, Pose)
    model.model.head.conv.bias.data[:] = -1.0
    made = make(model, photos, photos / "keypoints", "tiny")
    assert (
        "Labels for 0 of 3 crops (0.0 %)" in made.sentence
        and "Nobody was found in b.png, a_c1.jpg" in made.sentence
    )
    assert made.settings.endswith("--set cues.parts.missing=unknown")
    assert [path.name for path in photos.rglob("*.json")] == ["origin.json"]


@needs
def test_nothing_is_fetched_unasked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    t = transformers()
    flags: list[Any] = []

    def absent(name: str, **options: Any) -> Any:
        flags.append(options["local_files_only"])
        raise OSError("We couldn't connect to 'https://huggingface.co'")

    monkeypatch.setattr(t.AutoConfig, "from_pretrained", absent)
    for model, known in MODELS.items():
        with pytest.raises(
            DataError, match="not on this machine.*nothing is fetched unasked: say --download"
        ) as error:
            load(model)
        assert known.repository in str(error.value) and known.about in str(error.value)
    with pytest.raises(DataError, match="owner/name is not on this machine"):
        load("owner/name")
    with pytest.raises(
        DataError, match="could not be fetched from huggingface.co.*copy the model from a machine"
    ):
        load("owner/name", download=True)
    assert flags == [True, True, True, False]
    with pytest.raises(RecipeError, match="unknown model: 'cloths'. Did you mean 'clothes'"):
        load("cloths")


@needs
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "is not a whole model"),
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            "is not a whole model",
        ),  # never unpickled
        (lambda f: (f / "config.json").unlink(), "is not a whole model"),
        (lambda f: (f / "preprocessor_config.json").unlink(), "is not a whole model"),
    ],
)
def test_folders_that_are_no_model(
    clothes: Path, tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in clothes.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    assert isinstance(load(str(folder)), Parser)
    spoil(folder)
    with pytest.raises(DataError, match=message):
        load(str(folder))


@needs
def test_a_bare_trunk_and_models_of_another_kind_are_refused(
    clothes: Path, pose: Path, tmp_path: Path
) -> None:
    t = transformers()
    config = t.AutoConfig.from_pretrained(clothes)
    t.SegformerModel(config).save_pretrained(tmp_path)
    t.SegformerImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(DataError, match="lacks .* of the model's tensors.*not a bare trunk"):
        load(str(tmp_path))
    with pytest.raises(RecipeError, match="--parser goes with human parsers only"):
        load(str(pose), parser="atr")


def test_whose_classes_a_parser_has() -> None:
    for source, row in SOURCES.items():
        assert source_of_model("m", dict(enumerate(row.classes)), None) == source
    loose = {i: name.replace("-", " ").upper() for i, name in enumerate(ATR.classes)}
    assert source_of_model("m", loose, None) == source_of_model("m", loose, "atr") == "atr"
    nameless = {i: f"LABEL_{i}" for i in range(20)}
    with pytest.raises(
        RecipeError, match=r"has the classes LABEL_0, .*\(20 in all\).*--parser, one of lip, atr"
    ):
        source_of_model("m", nameless, None)
    assert source_of_model("m", nameless, "lip") == "lip"
    with pytest.raises(RecipeError, match="has 20 classes, --parser says atr with 18"):
        source_of_model("m", nameless, "atr")
    with pytest.raises(RecipeError, match="has the classes of atr, --parser says lip"):
        source_of_model("m", loose, "lip")
    with pytest.raises(RecipeError, match="unknown parsing source: 'lips'"):
        source_of_model("m", loose, "lips")


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("partreid.data.folders.importlib.import_module", absent)
    with pytest.raises(
        DataError, match=r"needs transformers, which is not installed.*'partreid\[labels\]'"
    ):
        load("clothes")
