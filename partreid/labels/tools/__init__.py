"""Part labels before training: import other tools' files, check, count and draw them, cache
them, make them.
"""

from partreid.labels.tools.base import crops
from partreid.labels.tools.caching import cache
from partreid.labels.tools.check import check
from partreid.labels.tools.importing import import_labels
from partreid.labels.tools.preview import preview
from partreid.labels.tools.stats import measure
