"""BoT: what is known of the paper."""

from partreid.methods.bot import recipes
from partreid.recipes.papers import Paper

PAPER = Paper(
    "bot",
    title="BoT",
    citation="Luo et al., Bag of Tricks and a Strong Baseline for Deep Person Re-identification, "
    "CVPR Workshops 2019",
    year=2019,
    method="partreid.methods.bot.model:BoT",
    main=recipes.MARKET,
    rows=recipes.ROWS,
    core=True,
)
