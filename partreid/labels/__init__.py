"""Cues: what a training image is known to show. ``CUES`` names the sources; each gives an indexed, mirrored cue."""

from collections.abc import Callable

from partreid.labels.base import Cue, FeatureStream, PartLabels
from partreid.labels.cached import cached_labels
from partreid.labels.densepose import densepose_labels
from partreid.labels.keypoints import keypoint_labels
from partreid.labels.parsing import parsing_labels, surface_labels
from partreid.labels.pifpaf import pifpaf_labels
from partreid.labels.stripes import stripe_labels
from partreid.labels.uv_tiles import uv_tiles
from partreid.methods.hcga.coparsing import hcga_coparsing
from partreid.methods.isp.labels import isp_clusters

CUES: dict[str, Callable[..., Cue]] = {
    "surfaces": surface_labels, "parsing": parsing_labels, "densepose": densepose_labels, "pifpaf": pifpaf_labels,
    "keypoints": keypoint_labels, "stripes": stripe_labels, "isp_clusters": isp_clusters,
    "hcga_coparsing": hcga_coparsing, "cached": cached_labels, "uv_tiles": uv_tiles,
}

__all__ = ["CUES", "Cue", "FeatureStream", "PartLabels"]
