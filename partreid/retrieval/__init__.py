"""After the first ranking: re-ranking, query expansion, several images of one query, the nearest
of very many.
"""

from partreid.retrieval.k_reciprocal import KReciprocal
from partreid.retrieval.query_expansion import Expansion

__all__ = ["Expansion", "KReciprocal"]
