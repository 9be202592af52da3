"""Part labels before training: import other tools' files, check, count and draw them, cache them, make them."""

from partreid.labels.base import crops
from partreid.labels.caching import cache
from partreid.labels.findings import check
from partreid.labels.importing import import_labels
from partreid.labels.sheet import preview
from partreid.labels.stats import measure
