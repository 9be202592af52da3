"""A method as an ONNX graph: images in, vectors and visibility out.

Input ``images`` is uint8 [N, H, W, 3] in RGB, already of the model's size; normalisation is in the
graph, resizing is not. Resizing stays with Pillow (bilinear, antialiased, after upright decoding,
see :mod:`partreid.utils.images`): no operator of ONNX gives its numbers, and decoding a large JPEG
at a fraction of its size cannot be put into a graph at all. Outputs are ``vectors`` float32
[N, M, D], ``visibility`` float32 [N, M] and, if asked for, ``parts`` float32 [N, K + 1, h, w].
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from partreid.data.folders import optional
from partreid.errors import DataError
from partreid.methods.base import Method
from partreid.runtime.model import onnxruntime
from partreid.types import MEAN, STD, Embeddings
from partreid.utils.text import reason

OPSET = 20
INPUT, OUTPUTS = "images", ("vectors", "visibility", "parts")
_EXTRA, _PURPOSE = "export", "exporting a model"
_TRACED = 2  # images while tracing: of one, PyTorch would take the batch for a constant


class Graph(nn.Module):
    """A method with its normalisation, for the tracer: uint8 [N, H, W, 3] -> a tuple of tensors.

    Its weights are held here under numbers. In the method's own names a branch may be called
    ``global``, which no traced program can spell, for it is a keyword of Python; and they are in
    state dicts, so that they must stay.
    """

    def __init__(self, method: Method, with_parts: bool) -> None:
        super().__init__()
        self.methods, self.with_parts = (method,), with_parts  # a tuple: no module of this one
        self.names: list[str] = []
        for name, tensor in (*method.named_parameters(), *method.named_buffers()):
            self.register_buffer(f"weight{len(self.names)}", tensor.detach())
            self.names.append(name)
        for name, values in (
            ("scale", [1 / (255 * s) for s in STD]),
            ("shift", [m / s for m, s in zip(MEAN, STD, strict=True)]),
        ):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = images.permute(0, 3, 1, 2).float()
        x = x * self.get_buffer("scale") - self.get_buffer("shift")  # as to_batch has it
        weights = {name: getattr(self, f"weight{i}") for i, name in enumerate(self.names)}
        (method,) = self.methods
        out = functional_call(method, weights, (x,))
        e = method.embed(out)
        tensors = e.vectors.float(), e.visibility.float()
        return (*tensors, out.parts.probs.float()) if self.with_parts else tensors


def require_packages() -> None:
    """DataError unless what exporting needs is installed."""
    onnxruntime()  # before any other imports it, see there
    for package in ("onnx", "onnxscript"):
        optional(package, _EXTRA, _PURPOSE)


def traced(method: Method, size: tuple[int, int], with_parts: bool = False) -> bytes:
    """The ONNX model of a method without any metadata, as bytes.

    Args:
        method: In eval mode, on the CPU, with its trained weights.
        size: (H, W) of its images.
        with_parts: Whether part maps are a third output.

    Raises:
        DataError: The method has no part maps, or cannot be traced.
    """
    images = torch.zeros(_TRACED, *size, 3, dtype=torch.uint8)
    names = OUTPUTS if with_parts else OUTPUTS[:2]
    with torch.no_grad(), _quietly(), _any_visibility():
        try:
            program = torch.export.export(
                Graph(method, with_parts).eval(),
                (images,),
                dynamic_shapes={INPUT: {0: torch.export.Dim("N")}},
                strict=False,
            )
            onnx_program: Any = torch.onnx.export(
                program,
                (),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=list(names),
                external_data=False,
                optimize=True,
                verbose=False,
            )
        except Exception as error:  # PyTorch raises in as many ways as there are layers
            raise DataError(
                f"{type(method).__name__} cannot be exported by PyTorch {torch.__version__} "
                f"({reason(error)}); a trunk or method of your own must be traceable: see "
                "torch.export"
            ) from error
    return plain(onnx_program.model_proto)


def plain(model: Any) -> bytes:
    """An ONNX model as bytes, less names of source lines and all other metadata."""
    model.ClearField("metadata_props")
    graph = model.graph
    for holder in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        holder.ClearField("metadata_props")
    for weight in graph.initializer:
        weight.ClearField("metadata_props")
    model.producer_name, model.producer_version = "partreid", ""
    data: bytes = model.SerializeToString(deterministic=True)
    return data


@contextmanager
def _any_visibility() -> Iterator[None]:
    """Without the check that visibilities lie in 0..1: it hangs on numbers, and a traced program
    has none yet. The runtime looks at those that come out.
    """
    check = Embeddings.require_visibilities
    # mypy dislikes a method changed, which is what this is for
    Embeddings.require_visibilities = lambda self: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Embeddings.require_visibilities = check  # type: ignore[method-assign]


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what PyTorch's exporter has to say about itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
