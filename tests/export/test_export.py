"""Exported files say what their runs say, for every method, and what misses its tolerance is not
written.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import partreid
from partreid.errors import DataError
from partreid.export import export
from partreid.export import main as module
from partreid.export.main import drawn_crops
from partreid.export.proof import FLOAT, Tolerance
from partreid.export.quantise import LEAST
from partreid.methods import METHODS

Files = Callable[[str], Path]


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_says_the_same_at_every_batch(
    method: str, exported: Files, trained: Files
) -> None:
    file = exported(method)
    report = json.loads(file.with_suffix(".json").read_text())
    assert report["holds"] and report["batches"] == [1, 7] and report["missed"] == []
    assert all(row["difference"] <= 1e-4 and row["flips"] == 0 for row in report["rows"])
    assert report["nearest"] == report["crops"] == 18

    from partreid import runtime

    model, crops = runtime.load(file), [np.asarray(c.picture) for c in drawn_crops()]
    there = partreid.load(trained(method), "cpu").embed(crops)
    assert model.names == there.names == tuple(row["name"] for row in report["rows"])
    many = model.embed((crops * 4)[:64], batch=64)  # more than any that it was traced or proved on
    for row in range(64):
        mine = np.abs(many.vectors[row] - there.vectors[row % 18].numpy()).max()
        assert mine <= 1e-4 * np.abs(there.vectors.numpy()).max()
    assert np.array_equal(many.visibility[:18] > 0, there.visibility.numpy() > 0)


def test_a_file_that_misses_its_tolerance_is_not_there(
    exported: Files, trained: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported("bot")
    out = tmp_path / "bot.onnx"
    out.write_bytes(b"an older file")
    monkeypatch.setattr(module, "FLOAT", Tolerance(-1.0, FLOAT.cosine, 0.0, 1.0, 0.0))
    with pytest.raises(DataError, match=r"not the model: global differs by .* Nothing lies under"):
        export(trained("bot"), out)
    assert not out.exists()
    report = json.loads(out.with_suffix(".json").read_text())
    assert not report["holds"] and "global differs" in report["missed"][0]


def test_int8_is_smaller_and_near(
    exported: Files, trained: Files, world: Path, tmp_path: Path
) -> None:
    exported("bpbreid")
    crops = sorted(world.rglob("*.png"))[: 2 * LEAST] or sorted(world.rglob("*.jpg"))[: 2 * LEAST]
    with pytest.raises(DataError, match=rf"needs {LEAST} crops or more, got 3"):
        export(trained("bpbreid"), tmp_path / "few.onnx", int8=crops[:3])
    done = export(trained("bpbreid"), tmp_path / "int8.onnx", int8=crops)
    assert done.card.precision == "int8" and done.card.calibration is None
    assert done.file.stat().st_size < 0.6 * exported("bpbreid").stat().st_size
    assert all(row.mean_cosine >= 0.99 for row in done.proof.rows)
    assert any(row.difference > 1e-4 for row in done.proof.rows)  # or nothing was quantised

    import onnx

    nodes = onnx.load(done.file).graph.node
    quantised = {name for n in nodes if n.op_type == "QuantizeLinear" for name in n.input}
    assert quantised and not any(
        o in quantised for n in nodes if n.op_type == "Softmax" for o in n.output
    )


def test_what_cannot_be_exported_is_refused_before_the_work(trained: Files, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"exporting needs {package}: partreid[export]")
    with pytest.raises(DataError, match=r"name it \.onnx"):
        export(trained("bot"), tmp_path / "bot.pt")
    with pytest.raises(DataError, match="needs two crops or more"):
        export(trained("bot"), tmp_path / "bot.onnx", check=np.zeros((64, 32, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []
