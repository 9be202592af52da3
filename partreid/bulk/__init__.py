"""More crops than memory holds: Parquet shards in, Parquet shards of embeddings out, and back."""

from partreid.bulk.job import Done, Job, embed_on_ray, embed_shards
from partreid.bulk.shards import Known, load_shards, read_shards, shards_of

__all__ = [
    "Done",
    "Job",
    "Known",
    "embed_on_ray",
    "embed_shards",
    "load_shards",
    "read_shards",
    "shards_of",
]
