"""PCB: what is known of the paper."""

from partreid.methods.pcb import recipes
from partreid.recipes.papers import Paper

PAPER = Paper(
    "pcb",
    title="PCB",
    citation="Sun et al., Beyond Part Models: Person Retrieval with Refined Part Pooling, ECCV "
    "2018",
    year=2018,
    method="partreid.methods.pcb.model:PCB",
    main=recipes.MARKET,
    rows=recipes.ROWS,
    synthetic=recipes.synthetic,
    core=True,
)
