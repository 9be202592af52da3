"""Foreign weights to finished models: ``LAYOUTS`` names the releases that can be read."""

from partreid.convert.bundle import convert, detect, trunk_weights
from partreid.convert.layouts import LAYOUTS, Layout
from partreid.convert.reading import read
from partreid.convert.report import Conversion, Matched

__all__ = [
    "LAYOUTS",
    "Conversion",
    "Layout",
    "Matched",
    "convert",
    "detect",
    "read",
    "trunk_weights",
]
