"""The small Python API: load a trained run, embed crops, compare two, rank a gallery, keep what was
embedded.
"""

from partreid.data.crops import crop_paths
from partreid.inference.files import load_embeddings, save_embeddings
from partreid.inference.loading import load
from partreid.inference.model import Model
from partreid.inference.ranking import rank
from partreid.inference.results import Comparison, decided
from partreid.inference.saved import SavedEmbeddings
from partreid.runtime.types import Hit
from partreid.utils.crops import listed

__all__ = [
    "Comparison",
    "Hit",
    "Model",
    "SavedEmbeddings",
    "crop_paths",
    "decided",
    "listed",
    "load",
    "load_embeddings",
    "rank",
    "save_embeddings",
]
