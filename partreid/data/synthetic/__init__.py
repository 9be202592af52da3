"""A procedural world of walking, clothed people, with exact truth about every pixel.

    write(PRESETS["demo"], "datasets/synthetic")     # Market-1501 layout + label maps + annotations
    render(PRESETS["demo"], identity=1, camera=2, index=0, occluded=True)
    write_scenes(SCENES["demo"], "datasets/scenes")  # films of several cameras, with exact tracks

It ranks design choices for alignment and occlusion; it does not predict scores on photographs.
"""

from partreid.data.synthetic.benchmark import write
from partreid.data.synthetic.degrade import degrade
from partreid.data.synthetic.leak import background_color
from partreid.data.synthetic.render import Rendered, render
from partreid.data.synthetic.scenes import write_scenes
from partreid.data.synthetic.sheets import contact_sheet
from partreid.data.synthetic.surfaces import JOINTS, LABEL_NAMES, SURFACES
from partreid.data.synthetic.walks import SCENES, Scenes
from partreid.data.synthetic.world import PRESETS, Shot, World, plan

__all__ = [
    "JOINTS",
    "LABEL_NAMES",
    "PRESETS",
    "SCENES",
    "SURFACES",
    "Rendered",
    "Scenes",
    "Shot",
    "World",
    "background_color",
    "contact_sheet",
    "degrade",
    "plan",
    "render",
    "write",
    "write_scenes",
]
