"""Cues: what a training image is known to show. ``CUES`` names the sources; each gives an indexed, mirrored cue."""

from collections.abc import Callable

from partreid.cues.base import Cue, FeatureStream, PartLabels
from partreid.cues.hcga_labels import hcga_coparsing
from partreid.cues.isp_labels import isp_clusters
from partreid.cues.parsing import surface_labels
from partreid.cues.pose import pifpaf_labels
from partreid.cues.stripes import stripe_labels

CUES: dict[str, Callable[..., Cue]] = {"surfaces": surface_labels, "pifpaf": pifpaf_labels,
                                     "stripes": stripe_labels, "isp_clusters": isp_clusters,
                                     "hcga_coparsing": hcga_coparsing}

__all__ = ["CUES", "Cue", "FeatureStream", "PartLabels"]
