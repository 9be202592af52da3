"""The tables of a gallery, and what it is bound to."""

import json
import secrets
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch

from partreid.distance import PartDistance
from partreid.errors import DataError, ShapeError
from partreid.gallery import shares
from partreid.inference import Model, SavedEmbeddings

FORMAT = 1
_PAGE = 7600  # bytes of a row that surely fit one page of 8 kB beside the other columns
_LOCK = 7133041  # one process makes the tables, the others wait


@dataclass(frozen=True)
class Bound:
    """What must be equal for a distance to mean anything.

    weights: SHA-256 of the model's weights. digest: of its recipe. distance: how it compares.
    names: of the M embeddings. width: D.
    """

    weights: str
    digest: str
    distance: PartDistance
    names: tuple[str, ...]
    width: int

    @classmethod
    def of(cls, like: SavedEmbeddings | Model) -> "Bound":
        """Of a model, or of embeddings that one made."""
        if isinstance(like, Model):
            to = like.bound
            with torch.inference_mode():
                blank = torch.zeros(1, 3, *like.recipe.size, device=like.device)
                width = like.method.embed(like.method(blank)).vectors.shape[2]
            return cls(to.weights, to.recipe, like.method.distance, to.names, width)
        e = like.embeddings
        if e.vectors.dtype != torch.float32:
            raise ShapeError(f"a gallery keeps float32 vectors, got {e.vectors.dtype}")
        return cls(like.weights, like.digest, like.distance, e.names, e.vectors.shape[2])

    @classmethod
    def read(cls, text: str) -> "Bound":
        values = json.loads(text)
        rule = values["distance"]
        if rule["weights"] is not None:
            rule["weights"] = tuple(rule["weights"])
        names = tuple(values["names"])
        return cls(**{**values, "distance": PartDistance(**rule), "names": names})

    def require_model(self, model: Model) -> None:
        """DataError, with what differs, if embeddings of a model do not belong here. No crop is
        embedded for it: equal weights give equal widths.
        """
        to = model.bound
        self.require(
            Bound(to.weights, to.recipe, model.method.distance, to.names, self.width), named(model)
        )

    def __str__(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def require(self, other: "Bound", model: str) -> None:
        """DataError, with what differs, if ``other`` is of another model."""
        mine, theirs = asdict(self), asdict(other)
        differ = ", ".join(key for key in mine if mine[key] != theirs[key])
        if differ:
            raise DataError(
                f"the gallery was made for another model than these embeddings are of ({model}): "
                f"{differ} differ; embed with the gallery's model, open another gallery, or take "
                "the gallery over to the new model with Gallery.reembed"
            )


def named(like: SavedEmbeddings | Model) -> str:
    """What an error calls a model."""
    if isinstance(like, SavedEmbeddings):
        return like.model
    to = like.bound
    return f"{like.recipe.name}, weights {to.weights[:12]}, recipe {to.recipe}"


def opened(
    connection: Any, like: SavedEmbeddings | Model | None, on: Sequence[str] = ()
) -> tuple[Bound, str]:
    """What the gallery of a database is bound to, and its recipe's name; its tables are made first
    if there are none and ``like`` says for which model: those of crops in the databases ``on``.
    """
    import psycopg

    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        there = connection.execute("SELECT to_regclass('partreid.gallery')").fetchone()[0]
        if there is None:
            if like is None:
                raise DataError(
                    "there is no gallery in this database; make one with partreid gallery add, or "
                    "with open_gallery and a model"
                )
            try:
                with connection.transaction():
                    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            except psycopg.Error as error:
                raise DataError(
                    f"this server has no pgvector ({type(error).__name__}); have its administrator "
                    "install it and run CREATE EXTENSION vector in this database"
                ) from None
            if connection.execute("SELECT to_regtype('halfvec')").fetchone()[0] is None:
                raise DataError("a gallery needs pgvector 0.7 or newer; have it updated")
            bound = Bound.of(like)
            recipe = like.recipe if isinstance(like, SavedEmbeddings) else like.recipe.name
            for line in _LASTING:
                connection.execute(line)
            with (
                shares.laid_out(connection, on, crops(bound, shares.SHARE)) if on else nullcontext()
            ):
                for line in (*crops(bound, is_spread=bool(on)), *shares.partitions(len(on))):
                    connection.execute(line)
            connection.execute(
                "INSERT INTO gallery (format, bound, recipe, salt) VALUES (%s, %s, %s, %s)",
                (FORMAT, str(bound), recipe, secrets.token_bytes(32)),
            )
            return bound, recipe
        if on:
            raise DataError(
                "this gallery is there already; where its crops lie is chosen when it is made: "
                "export it, and import into a new one"
            )
        made, text, recipe = connection.execute(
            "SELECT format, bound, recipe FROM gallery"
        ).fetchone()
        if made != FORMAT:
            raise DataError(
                f"the gallery has format {made}, this version of partreid reads {FORMAT}; use the "
                "version that made it to export, and import here"
            )
    return Bound.read(text), recipe


_LASTING = (  # tables that do not depend on the model
    "CREATE SCHEMA IF NOT EXISTS partreid",
    # version: of the crops, raised by every change; what was removed up to floor is not listed any
    # more. crops: how many there are. scored_by: the calibration whose scores likeness holds.
    "CREATE TABLE partreid.gallery (format int NOT NULL, bound text NOT NULL, recipe text NOT "
    "NULL, salt bytea NOT NULL, version bigint NOT NULL DEFAULT 0, floor bigint NOT NULL DEFAULT "
    "0, crops bigint NOT NULL DEFAULT 0, scored_by text)",
    # person: a salted digest, never a name
    "CREATE TABLE partreid.journal (id bigserial PRIMARY KEY, reason text NOT NULL, person bytea, "
    "crops bigint NOT NULL, thumbnails bigint NOT NULL, at timestamptz NOT NULL DEFAULT now())",
    "CREATE TABLE partreid.removed (version bigint NOT NULL, crop bigint NOT NULL)",
    "CREATE INDEX removed_version ON partreid.removed (version)",
    "CREATE TABLE partreid.likeness (crop bigint PRIMARY KEY, score float8 NOT NULL)",
    "CREATE SEQUENCE partreid.crop_ids",
)


def crops(bound: Bound, name: str = "crops", is_spread: bool = False) -> list[str]:
    """Statements that make the table of crops; one that is spread has its rows in partitions."""
    parts, width = len(bound.names), bound.width
    columns = "".join(f", p{m} halfvec({width}) NOT NULL, v{m} real NOT NULL" for m in range(parts))
    # Compressed or moved out of the row, a vector costs more to read than to compare.
    plain = "PLAIN" if parts * (2 * width + 16) <= _PAGE else "EXTERNAL"
    storage = {f"p{m}": plain for m in range(parts)}
    storage |= {"vectors": "EXTERNAL", "thumbnail": "EXTERNAL"}
    stored = ", ".join(f"ALTER COLUMN {c} SET STORAGE {kind}" for c, kind in storage.items())
    # Statistics of a column keep some of its values, which forgetting would have to find.
    kept = ["person", "source", "digest", "vectors", "visibility", "looks", "thumbnail"]
    kept += [f"{kind}{m}" for m in range(parts) for kind in "pv"]
    silent = ", ".join(f"ALTER COLUMN {column} SET STATISTICS 0" for column in kept)
    made = (
        f"CREATE TABLE partreid.{name} (id bigint NOT NULL, camera bigint, time timestamptz, "
        "person text, source text, digest bytea, vectors bytea NOT NULL, visibility bytea NOT "
        "NULL, looks bytea, thumbnail bytea, enrolled timestamptz NOT NULL, slack float8 NOT "
        f"NULL{columns})"
    )
    if is_spread:
        return [f"{made} PARTITION BY HASH (id)", f"ALTER TABLE partreid.{name} {silent}"]
    return [
        made,
        f"ALTER TABLE partreid.{name} ADD PRIMARY KEY (id)",
        f"ALTER TABLE partreid.{name} {stored}",
        f"ALTER TABLE partreid.{name} {silent}",
        f"CREATE INDEX {name}_camera_time ON partreid.{name} (camera, time)",
        f"CREATE INDEX {name}_time ON partreid.{name} (time)",
        f"CREATE INDEX {name}_person ON partreid.{name} (person)",
        f"CREATE UNIQUE INDEX {name}_digest ON partreid.{name} (digest)",
    ]
