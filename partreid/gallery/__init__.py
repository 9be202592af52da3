"""A gallery that remembers: crops enrolled for months in PostgreSQL, searched without error."""

from partreid.gallery.decide import Answers, decide
from partreid.gallery.exchange import Exported, Imported
from partreid.gallery.forget import Forgotten
from partreid.gallery.renew import Renewed
from partreid.gallery.rows import Enrolled, Found
from partreid.gallery.store import BUDGET, Gallery, open_gallery
