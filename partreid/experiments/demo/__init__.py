"""``partreid demo``: from nothing to trained, evaluated and explained models, in one command."""

from partreid.experiments.demo.main import run

__all__ = ["run"]
