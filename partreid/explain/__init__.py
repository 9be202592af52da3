"""Explaining an answer: distances taken apart into parts, part maps over photographs, ranking
sheets.
"""

from partreid.explain.evidence import Evidence, explain_pair, explain_pairs
from partreid.explain.overlays import Shown, color, part_cutout, part_overlay
from partreid.explain.sheets import Match, compare_picture, ranking_sheet
