"""Cues: what a training image is known to show. ``CUES`` names the sources; each gives an indexed, mirrored cue."""

from collections.abc import Callable

from partreid.cues.base import Cue, FeatureStream, PartLabels
from partreid.cues.cached import cached_labels
from partreid.cues.densepose import densepose_labels
from partreid.cues.hcga_labels import hcga_coparsing
from partreid.cues.isp_labels import isp_clusters
from partreid.cues.keypoints import keypoint_labels
from partreid.cues.parsing import parsing_labels, surface_labels
from partreid.cues.pose import pifpaf_labels
from partreid.cues.stripes import stripe_labels
from partreid.cues.tiles import uv_tiles

CUES: dict[str, Callable[..., Cue]] = {
    "surfaces": surface_labels, "parsing": parsing_labels, "densepose": densepose_labels, "pifpaf": pifpaf_labels,
    "keypoints": keypoint_labels, "stripes": stripe_labels, "isp_clusters": isp_clusters,
    "hcga_coparsing": hcga_coparsing, "cached": cached_labels, "uv_tiles": uv_tiles,
}

__all__ = ["CUES", "Cue", "FeatureStream", "PartLabels"]
