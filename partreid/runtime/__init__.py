"""Exported models at work, without torch: numpy, Pillow and onnxruntime.

``load(FILE)`` gives a model that embeds, compares and ranks crops, in the words of the Python API
and with its numbers. ``partreid export`` writes the file.

    model = runtime.load("bpbreid.onnx")
    model.compare("a.jpg", "b.jpg").same
"""

from partreid.runtime.decision import Decision
from partreid.runtime.distance import PartDistance
from partreid.runtime.evidence import Evidence
from partreid.runtime.model import Model, load
from partreid.runtime.types import Comparison, Embeddings, Hit

__all__ = [
    "Comparison",
    "Decision",
    "Embeddings",
    "Evidence",
    "Hit",
    "Model",
    "PartDistance",
    "load",
]
