"""A graph with convolutions of 8 bits, by onnxruntime's own quantiser.

Weights are signed, with a scale for each channel and one bit to spare (``reduce_range``): on a
processor without VNNI the products of 8-bit numbers are summed in 16 bits, which overflow without
it, and a vector is bent where they do. Heads and pooling stay in float: a softmax of 8 bits moves
visibilities.
"""

import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partreid.errors import DataError
from partreid.export.graph import INPUT, plain
from partreid.runtime.model import onnxruntime
from partreid.utils.crops import Crop
from partreid.utils.text import reason

LEAST = 16  # crops that ranges of activations are taken from
MOST = 512  # more of them change nothing and take memory
_BATCH = 16


def quantised(model: bytes, crops: Sequence[Crop], size: tuple[int, int]) -> bytes:
    """The model with convolutions of 8 bits.

    Args:
        model: In float, of :func:`partreid.export.graph.traced`.
        crops: What ranges of activations are taken from, like those that it is to see.
        size: (H, W) that they are resized to.

    Raises:
        DataError: There are too few crops, one cannot be read, or the graph cannot be quantised.
    """
    import onnx

    onnxruntime()  # before any other imports it, see there
    quantization: Any = import_module("onnxruntime.quantization")
    base: Any = quantization.CalibrationDataReader
    shapes = import_module("onnxruntime.quantization.shape_inference")

    if len(crops) < LEAST:
        raise DataError(
            f"--calibrate-on needs {LEAST} crops or more, got {len(crops)}; give crops like those "
            "that the model is to see, some hundred are enough"
        )
    some = [crops[i] for i in np.linspace(0, len(crops) - 1, min(MOST, len(crops))).astype(int)]

    # onnxruntime has no types, so its class is of any kind to mypy
    class Reader(base):  # type: ignore[misc]
        """Batches of crops, as onnxruntime asks for them."""

        def __init__(self) -> None:
            self.batches = _batches(some, size)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            pixels = next(self.batches, None)
            return None if pixels is None else {INPUT: pixels}

    with tempfile.TemporaryDirectory() as folder:
        whole, ready, out = (Path(folder, f"{name}.onnx") for name in ("whole", "ready", "out"))
        whole.write_bytes(model)
        try:
            shapes.quant_pre_process(str(whole), str(ready), skip_symbolic_shape=True)
            graph: Any = onnx.load(ready)
            quantization.quantize_static(
                str(ready),
                str(out),
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=_of_part_heads(graph),
            )
            return plain(onnx.load(out))
        except DataError:
            raise
        except Exception as error:  # of the quantiser, which has no errors of its own
            raise DataError(
                f"onnxruntime cannot quantise this model ({reason(error)}); export it without "
                "--int8"
            ) from error


def _batches(crops: Sequence[Crop], size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(crops), _BATCH):
        yield np.stack([crop.pixels(size) for crop in crops[start : start + _BATCH]])


def _of_part_heads(model: Any) -> list[str]:
    """Convolutions that give what a softmax or an arg-max over channels takes: part logits."""
    made = {name: node for node in model.graph.node for name in node.output}
    names = []
    for node in model.graph.node:
        if node.op_type in ("Softmax", "ArgMax"):
            before = made.get(node.input[0])
            # what lies between only moves numbers about
            while before is not None and before.op_type in ("Transpose", "Reshape", "Flatten"):
                before = made.get(before.input[0])
            if before is not None and before.op_type == "Conv":
                names.append(before.name)
    return sorted(set(names))
