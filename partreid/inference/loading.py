"""From the folder of a run, or an exported file, to its model."""

import warnings
from os.path import isdir, lexists  # unlike Path's, they never raise
from pathlib import Path

from partreid import build
from partreid.evaluation import decision
from partreid.export.method import ENDING, read_exported
from partreid.inference.model import Model
from partreid.train.bundle import read_model
from partreid.utils.arguments import door


@door
def load(run: str | Path, device: str = "auto", calibration: str | Path | None = None) -> Model:
    """The model of a finished run.

    Args:
        run: Its folder, or its ``model.safetensors``; or a file of ``partreid export``, which
            onnxruntime runs.
        device: "cpu", "cuda", or "auto", which takes a GPU if there is one.
        calibration: A file that ``partreid calibrate`` wrote for this model; default the
            ``calibration.json`` beside the model if there is one, which is read when a decision is
            asked for; of an exported file the one in it.

    Returns:
        The model, ready to embed.

    Raises:
        DataError: There is none, the file is damaged, or the calibration is for another model.

    Examples:
        >>> model = load("runs/bpbreid", device="cpu")
        >>> model.embed("crops").names == model.names
        True
    """
    path = Path(run)
    if path.suffix.lower() == ENDING and not isdir(path):
        return _exported(path, device, calibration)
    recipe, method, scheme = read_model(path / "model.safetensors" if isdir(path) else path)
    beside = (path if isdir(path) else path.parent) / decision.FILE
    file = Path(calibration) if calibration is not None else beside if lexists(beside) else None
    model = Model(recipe, method, scheme, build.device(device), file, path)
    if calibration is not None:
        _ = model.calibration  # one that is named is refused at once
    return model


def _exported(path: Path, device: str, calibration: str | Path | None) -> Model:
    recipe, method = read_exported(path, device)
    made = method.calibration if calibration is None else None
    if made is not None and made.source.model != method.bound.model:
        warnings.warn(
            f"the threshold in {path} is that of the model in float and not verified for its 8 "
            "bits; export it again with --data and labelled crops to put one for the file",
            stacklevel=3,
        )
    file = None if calibration is None else Path(calibration)
    model = Model(recipe, method, method.scheme, "cpu", file)
    if file is not None:
        _ = model.calibration
    return model
