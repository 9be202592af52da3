"""An exported file at work: without torch, with the numbers of the Python API, and with one clear
sentence for a file that is damaged.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import partreid
from partreid import runtime
from partreid.cli import main
from partreid.distance import PartDistance
from partreid.errors import DataError, ShapeError
from partreid.evaluation import decision
from partreid.export import Labelled, export
from partreid.runtime.file import _METADATA, KEY, SEAL, _entry, _fields, read, written
from partreid.types import Embeddings
from tests.banded import banded_people

Files = Callable[[str], Path]

ALONE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "timm", "cyclopts", "rich", "jinja2", "onnx"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from partreid import runtime
model = runtime.load(sys.argv[1], threads=1)
found = model.compare(*sys.argv[2:4])
hits = model.rank(sys.argv[2], sys.argv[2:])
assert not {"torch", "timm"} & set(sys.modules)
print(found.distance, found.shared_evidence, hits[0][0].place)
"""


@pytest.fixture(scope="module")
def crops(world: Path) -> list[Path]:
    every = sorted(p for p in world.rglob("*") if p.suffix in (".png", ".jpg") and "_c" in p.name)
    assert len(every) > 20
    return every[:: len(every) // 10][:10]


def test_it_runs_where_there_is_no_torch(
    exported: Files, trained: Files, crops: list[Path], environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE, exported("bpbreid"), crops[0], crops[1]],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    far, shared, place = done.stdout.split()
    there = partreid.load(trained("bpbreid"), "cpu").compare(crops[0], crops[1])
    assert float(far) == pytest.approx(there.distance, abs=1e-5)
    assert (int(shared), int(place)) == (there.shared_evidence, 1)


def test_numbers_are_those_of_the_api(exported: Files, trained: Files, crops: list[Path]) -> None:
    model, api = runtime.load(exported("bpbreid")), partreid.load(trained("bpbreid"), "cpu")
    mine, there = model.embed(crops, batch=3, workers=2), api.embed(crops)
    scale = float(there.vectors.abs().max())
    np.testing.assert_allclose(mine.vectors, there.vectors, atol=1e-5 * scale)
    np.testing.assert_allclose(mine.visibility, there.visibility, atol=1e-5)
    # in float64: in float32 an image lies up to 1e-3 from itself by Euclid
    exact = replace(there, vectors=there.vectors.double(), visibility=there.visibility.double())
    far = api.method.distance(exact, exact).numpy()
    np.testing.assert_allclose(model.distance(mine, mine), far, atol=1e-5)
    for a, b in zip(model.rank(crops[:3], crops, top=4), api.rank(crops[:3], crops, top=4)):
        assert [hit.file for hit in a] == [hit.file for hit in b]
        for x, y in zip(a, b):
            np.testing.assert_allclose(x.evidence.share, y.evidence.share, atol=1e-5)
            assert x.probability is y.probability is None
    maps = model.part_maps(crops[:2])
    assert maps.shape[:2] == (2, len(model.card.scheme) + 1)
    np.testing.assert_allclose(maps.sum(1), 1, atol=1e-5)
    with pytest.raises(DataError, match="export the run again with --with-parts"):
        runtime.load(exported("bot")).part_maps(crops[:2])


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "unit_euclidean"])
@pytest.mark.parametrize("shrink", [0.0, 1.5])
def test_distances_are_those_on_tensors(metric: str, shrink: float) -> None:
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(9, 4, 6)).astype(np.float32)
    visibility = draw.integers(0, 2, (9, 4)).astype(np.float32)
    visibility[0], visibility[1] = (1, 1, 0, 0), (0, 0, 1, 1)  # share nothing
    names, weights = ("a", "b", "c", "d"), (1.0, 0.5, 2.0, 0.0)
    mine = runtime.PartDistance(metric, weights, shrink, 2.0)  # type: ignore[arg-type]
    there = PartDistance(metric, weights, shrink, 2.0)  # type: ignore[arg-type]
    e = runtime.Embeddings(vectors, visibility, names)
    # in float64: in float32 an image lies up to 1e-3 from itself by Euclid
    t = Embeddings(*(torch.from_numpy(x).double() for x in (vectors, visibility)), names)
    np.testing.assert_allclose(mine(e, e), there(t, t).numpy(), rtol=1e-5, atol=1e-5)
    assert bool(np.isinf(mine(e, e)[0, 1])) is (shrink == 0)
    for i, evidence in enumerate(mine.explain(e, e, [0, 2], [1, 3])):
        assert evidence.distance == pytest.approx(float(mine(e, e)[2 * i, 2 * i + 1]), abs=1e-5)
    with pytest.raises(ShapeError, match="the same embeddings"):
        mine(e, runtime.Embeddings(vectors[:, :2], visibility[:, :2], ("a", "b")))
    with pytest.raises(ShapeError, match="visibilities lie between"):
        runtime.Embeddings(vectors, visibility + 1, names)


def resealed(file: Path, change: Callable[[dict], None], to: Path) -> Path:
    """The file with other metadata, and a seal that fits them."""
    data, _ = read(file)
    kept = [data[a:b] for n, a, b in _fields(data) if n != _METADATA]
    text = json.dumps(_changed(file, change))
    to.write_bytes(
        b"".join(kept) + _entry(KEY, text) + _entry(SEAL, hashlib.sha256(text.encode()).hexdigest())
    )
    return to


def _changed(file: Path, change: Callable[[dict], None]) -> dict:
    table = json.loads(json.dumps(read(file)[1].plain()))
    change(table)
    return table


def test_damaged_files_are_told_of_in_one_sentence(
    exported: Files, crops: list[Path], tmp_path: Path
) -> None:
    file, bad = exported("bpbreid"), tmp_path / "bad.onnx"
    data = file.read_bytes()

    def refused(content: bytes, words: str) -> None:
        bad.write_bytes(content)
        with pytest.raises(DataError, match=words) as error:
            runtime.load(bad)
        assert "\n" not in str(error.value) and str(bad) in str(error.value)

    for length in (len(data) // 2, len(data) - 1, 200):
        refused(data[:length], "cut short")
    for content in (b"", b"\x89PNG\r\n", crops[0].read_bytes(), b"PK\3\4" + bytes(99)):
        refused(content, "no ONNX file|empty")
    plain = b"".join(data[a:b] for n, a, b in _fields(data) if n != _METADATA)
    refused(plain, "of another program")
    refused(data.replace(b'"metric": "', b'"metric": "x', 1), "cut short|was changed|no ONNX file")
    refused(data.replace(b'"version": "0', b'"version": "9', 1), "its metadata are not those")
    middle = len(plain) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    refused(flipped, "its weights or layers are not those")

    resealed(file, lambda t: t.update(size=[32, 32]), bad)
    with pytest.raises(DataError, match="damaged or was changed"):
        runtime.load(bad)
    with pytest.raises(DataError, match=r"there is no|No such"):
        runtime.load(tmp_path / "gone.onnx")
    with pytest.raises(DataError, match="no provider 'tpu', it has .*cpu"):
        runtime.load(file, providers="tpu")


def test_a_machine_that_computes_otherwise_is_found_out(exported: Files, tmp_path: Path) -> None:
    data, card = read(exported("bot"))
    plain = b"".join(data[a:b] for n, a, b in _fields(data) if n != _METADATA)
    assert card.checks.cosine > 0.99 and len(card.checks.pictures) == 4
    turned = replace(card.checks, vectors=-card.checks.vectors)
    (file := tmp_path / "other.onnx").write_bytes(written(plain, replace(card, checks=turned)))
    with pytest.raises(DataError, match="other embeddings on this machine"):
        runtime.load(file)
    with pytest.warns(UserWarning, match="other embeddings on this machine"):
        assert runtime.load(file, check="warn").names == card.names


def test_commands_take_a_file_in_place_of_a_run(
    exported: Files,
    crops: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = exported("bpbreid")
    monkeypatch.chdir(tmp_path)

    def output(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["partreid", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
        except SystemExit as end:
            assert end.code in (None, 0), capsys.readouterr().err
        return capsys.readouterr().out

    output("embed", file, crops[0].parent, "--out", "e")
    assert (tmp_path / "e" / "embeddings.safetensors").is_file()
    assert "distance" in output("compare", file, crops[0], crops[1])
    assert crops[0].name in output("rank", file, crops[0], crops[0].parent)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return banded_people(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="module")
def deciding(
    exported: Files, trained: Files, labelled: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A calibrated run, and the file of it."""
    exported("bpbreid")  # skips where the packages are absent
    folder = tmp_path_factory.mktemp("deciding")
    run, file = folder / "run", folder / "run.onnx"
    shutil.copytree(trained("bpbreid"), run)
    made = export(run, folder / "own.onnx", labelled=Labelled(labelled, "folders", 0.05))
    assert made.card.calibration is not None and len(made.scores) == 1
    decision.save(decision.parsed(made.card.calibration, "x"), run / decision.FILE)
    export(run, file)
    return run, file


def test_decisions_and_doubts_are_those_of_the_api(
    deciding: tuple[Path, Path], labelled: Path, crops: list[Path]
) -> None:
    run, file = deciding
    report = json.loads(file.with_suffix(".json").read_text())
    assert report["pairs"] == report["decisions"] == 18 * 17 // 2
    model, api = runtime.load(file), partreid.load(run, "cpu")
    assert model.calibration is not None and model.calibration.verified
    paths = sorted(labelled.rglob("*.png"))
    for mine, there in (
        (model.rank(paths[:4], paths[4:], top=5), api.rank(paths[:4], paths[4:], top=5)),
        (model.rank(crops[:3], crops[3:], top=2), api.rank(crops[:3], crops[3:], top=2)),
        ([[model.compare(paths[0], paths[1])]], [[api.compare(paths[0], paths[1])]]),
        ([[model.compare(paths[0], crops[0])]], [[api.compare(paths[0], crops[0])]]),
    ):
        for a, b in zip(mine, there, strict=True):
            for x, y in zip(a, b, strict=True):
                assert (x.same, x.probability is None) == (y.same, y.probability is None)
                if y.probability is None:
                    assert x.reason is not None and y.reason is not None
                    assert x.reason.split(";")[0] == y.reason.split(";")[0]
                else:
                    assert x.probability == pytest.approx(y.probability, abs=1e-4)
                    assert x.reason is y.reason is None
    assert {hit.same for hits in model.rank(paths[:4], paths[4:], top=20) for hit in hits} >= {True}
    odd = model.compare(paths[0], crops[0])
    assert odd.same is None and "do not look like" in str(odd.reason).replace("does", "do")
    assert "partreid export RUN" in str(odd.reason)


def test_a_calibration_of_other_weights_is_refused_and_one_in_float_not_verified(
    deciding: tuple[Path, Path], exported: Files, labelled: Path, tmp_path: Path
) -> None:
    run, file = deciding
    with pytest.raises(DataError, match="was made for another model .* other weights") as error:
        runtime.load(exported("bot"), calibration=run / decision.FILE)
    assert "\n" not in str(error.value)
    small = export(run, tmp_path / "small.onnx", int8=sorted(labelled.rglob("*.png"))[:32])
    decides = runtime.load(small.file).calibration
    assert decides is not None and not decides.verified
    changed = json.loads((run / decision.FILE).read_text())
    changed["threshold"] = -5.0
    (tmp_path / "c.json").write_text(json.dumps(changed))
    with pytest.raises(DataError, match="was changed after partreid calibrate"):
        runtime.load(file, calibration=tmp_path / "c.json")
