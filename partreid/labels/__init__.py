"""Cues: what a training image is known to show. ``CUES`` names the sources; each gives an
indexed, mirrored cue.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from partreid.utils.registry import Registry

if TYPE_CHECKING:
    from partreid.labels.base import Cue

CUES: "Registry[Callable[..., Cue]]" = Registry(
    "cue",
    "partreid.labels",
    {
        "surfaces": "partreid.labels.parsing:surface_labels",
        "parsing": "partreid.labels.parsing:parsing_labels",
        "densepose": "partreid.labels.densepose:densepose_labels",
        "pifpaf": "partreid.labels.pifpaf:pifpaf_labels",
        "keypoints": "partreid.labels.keypoints:keypoint_labels",
        "stripes": "partreid.labels.stripes:stripe_labels",
        "isp_clusters": "partreid.methods.isp.labels:isp_clusters",
        "hcga_coparsing": "partreid.methods.hcga.coparsing:hcga_coparsing",
        "cached": "partreid.labels.cached:cached_labels",
        "uv_tiles": "partreid.labels.uv_tiles:uv_tiles",
    },
)

__all__ = ["CUES"]
