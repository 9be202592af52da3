"""More crops than memory holds: Parquet shards in, Parquet shards of embeddings out, and back."""

from partreid.bulk.job import embed_shards
from partreid.bulk.on_ray import embed_on_ray
from partreid.bulk.shards import Known, load_shards, read_shards, shards_of
from partreid.bulk.worker import Done, Job

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
