"""One identity over all cameras: which tracklets show one person, and how sure that is.

    tracklets = read_crops("crops.csv")                    # or read_tracks("scenes", "cut")
    model = partreid.load("runs/bpbreid")
    linked = link(tracklets, model.index(tracklets.paths), model.calibration)
    linked.identity, linked.probability

A tracklet is what a tracker gives: crops of one person in one camera, one after the other. The
number of people is not given. No identity is ever at two places of one camera at a time, or at two
cameras faster than the way between them takes.
"""

from partreid.link.associate import Join, Linked, link
from partreid.link.constraints import CameraPairs, conflicts, read_cameras, violations
from partreid.link.evidence import RULES, estimate_prior, log_ratios, pair_ratios, summarize
from partreid.link.page import write_page
from partreid.link.score import LinkScores, right_crops, score
from partreid.link.solve import agglomerate
from partreid.link.tables import write_identities
from partreid.link.tracklets import TrackedCrop, Tracklets, read_crops, read_tracks
from partreid.link.truth import people_of

__all__ = [
    "RULES",
    "CameraPairs",
    "Join",
    "LinkScores",
    "Linked",
    "TrackedCrop",
    "Tracklets",
    "agglomerate",
    "conflicts",
    "estimate_prior",
    "link",
    "log_ratios",
    "pair_ratios",
    "people_of",
    "read_cameras",
    "read_crops",
    "read_tracks",
    "right_crops",
    "score",
    "summarize",
    "violations",
    "write_identities",
    "write_page",
]
