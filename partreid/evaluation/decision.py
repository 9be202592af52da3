"""Making, keeping and guarding the decision of a model: labelled images to a calibration, and its
file.

A calibration holds for the weights, the distance and the parts that it was made with, and for
images like those that it was made on. The first is checked by a hash and refused. The second is
told from statistics of its crops: about crops that are unlike them nothing is decided.
"""

import hashlib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime, timezone
from math import isfinite, sqrt
from os.path import isdir, lexists
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partreid import __version__
from partreid.data.registry import BENCHMARKS
from partreid.distance import PartDistance
from partreid.errors import ArgumentError, DataError
from partreid.methods.base import Method
from partreid.metrics import Protocol
from partreid.metrics.calibration import Calibration, Source, divided, require_enough
from partreid.metrics.pairs import KnownPairs
from partreid.metrics.protocols import Lists, require_matches
from partreid.recipes.base import Frozen, Recipe, unknown
from partreid.runtime.decision import FORMAT, NOTHING_SHARED, bound_model, seal
from partreid.types import DISTRACTOR, JUNK, Benchmark, Embeddings, Sample
from partreid.utils.arguments import door
from partreid.utils.files import MIB, read_bytes, read_json, write_json

FILE = "calibration.json"  # beside model.safetensors
MOST = 4_000_000  # pairs; of larger slices a seeded sample of the people is taken
NONE = (
    "no decision: this run has no calibration; make one with partreid calibrate, on crops whose "
    "people you know"
)
FEW = 100  # pairs of crops from which on their distances are held against those of the calibration
APART = 0.15  # chosen on the synthetic worlds: crops of 20 other people raised no alarm
CROPS = 4000  # of which statistics are kept; of larger slices an even share
_LIMIT = 4 * MIB
_IMAGE_LIMIT = 1024 * MIB


@dataclass(frozen=True)
class Bound:
    """What a calibration is bound to: the SHA-256 of a model, of its weights alone, and its
    distance in words.
    """

    model: str
    weights: str
    distance: str
    names: tuple[str, ...]
    recipe: str


@door
def bound_to(method: Method, recipe: Recipe, names: tuple[str, ...]) -> Bound:
    """Of weights (names, types, shapes and bytes, in order), distance, part names and recipe."""
    weights = hashlib.sha256()
    for name, tensor in sorted(method.state_dict().items()):
        plain = tensor.detach().cpu().contiguous()
        weights.update(f"{name} {plain.dtype} {tuple(plain.shape)};".encode())
        weights.update(plain.reshape(-1).view(torch.uint8).numpy())
    d = method.distance
    rule = f"metric {d.metric}, weights {d.weights or 1}, shrink {d.shrink:g}, far {d.far}"
    whole = bound_model(weights.hexdigest(), rule, names, recipe.digest)
    return Bound(whole, weights.hexdigest(), rule, names, recipe.digest)


@door
def require_bound(calibration: Calibration, to: Bound, file: Path | str) -> None:
    """DataError, with what differs, if a calibration was made for another model."""
    source = calibration.source
    if source.model == to.model:
        return
    different = [
        f"{what} ({mine} here, {theirs} there)"
        for what, mine, theirs in (
            ("weights", to.weights[:12], source.weights[:12]),
            ("distance", to.distance, source.distance),
            ("parts", ", ".join(to.names), ", ".join(source.names)),
            ("recipe", to.recipe, source.recipe),
        )
        if mine != theirs
    ]
    raise DataError(
        f"{file} was made for another model ({source.model[:12]}, this one is {to.model[:12]}): "
        f"not the same {'; '.join(different)}. Its threshold means nothing here: make a new one "
        "with partreid calibrate, or remove the file"
    )


@door
def hash_of_images(queries: Mapping[str, Sequence[Sample]], gallery: Sequence[Sample]) -> str:
    """SHA-256 of the images' bytes with role, person and camera, wherever they lie and in
    whatever order.
    """
    lines = []
    for role, samples in (*(("query", s) for s in queries.values()), ("gallery", gallery)):
        for sample in samples:
            digest = hashlib.sha256(read_bytes(sample.path, _IMAGE_LIMIT, "image")).hexdigest()
            lines.append(f"{role} {sample.identity} {sample.camera} {digest}")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


@door
def chosen(benchmark: Benchmark, queries: str | None) -> Benchmark:
    """A data set with one of its query sets, or all. DataError names the sets there are."""
    if queries is None:
        return benchmark
    if queries not in benchmark.queries:
        raise DataError(unknown("query set", queries, benchmark.queries))
    return replace(benchmark, queries={queries: benchmark.queries[queries]})


@door
def sampled(benchmark: Benchmark, most: int = MOST, seed: int = 0) -> tuple[Benchmark, float]:
    """Some of the people, with all of their images, so that there are at most ``most`` pairs;
    and their share.
    """
    queries = sum(map(len, benchmark.queries.values()))
    share = min(1.0, sqrt(most / max(queries * len(benchmark.gallery), 1)))
    if share == 1:
        return benchmark, share
    draw = np.random.default_rng([seed, 3])
    everyone = sorted(
        {
            s.identity
            for samples in (*benchmark.queries.values(), benchmark.gallery)
            for s in samples
        }
        - {DISTRACTOR, JUNK}
    )
    kept = set(draw.permutation(everyone)[: int(share * len(everyone))].tolist())

    def some(samples: Sequence[Sample]) -> tuple[Sample, ...]:
        lucky = draw.random(len(samples)) < share  # every distractor is a person of its own
        return tuple(
            s
            for s, luck in zip(samples, lucky)
            if s.identity in kept or (s.identity == DISTRACTOR and luck)
        )

    return replace(
        benchmark,
        queries={name: some(samples) for name, samples in benchmark.queries.items()},
        gallery=some(benchmark.gallery),
    ), share


@door
def known_pairs(
    distance: PartDistance,
    queries: Mapping[str, Embeddings],
    gallery: Embeddings,
    benchmark: Benchmark,
    protocol: Protocol,
) -> KnownPairs:
    """All pairs that a protocol compares. Every distractor counts as a person of its own.

    queries, gallery: embeddings of the data set's images, in their order. DataError if no query has
    a right answer.
    """
    query_samples = [s for samples in benchmark.queries.values() for s in samples]
    ids, cameras = (
        np.array([getattr(s, name) for s in benchmark.gallery], np.int64)
        for name in ("identity", "camera")
    )
    own_ids, own_cameras = (
        np.array([getattr(s, name) for s in query_samples], np.int64)
        for name in ("identity", "camera")
    )
    special = {"distractor": DISTRACTOR, "junk": JUNK}
    require_matches(
        protocol, q_ids=own_ids, g_ids=ids, q_cams=own_cameras, g_cams=cameras, **special
    )
    people, images = people_of(query_samples, benchmark.gallery)
    lists = Lists(protocol, g_ids=ids, g_cams=cameras, **special)
    by_query: list[tuple[Any, ...]] = []
    start = 0
    for e in queries.values():
        for rows, block in distance.blocks(e, gallery):
            shared = shown_by_both(e.rows(rows), gallery)
            for row, far, count in zip(
                range(start + rows.start, start + rows.stop), block.cpu().numpy(), shared
            ):
                if own_ids[row] == JUNK:
                    continue
                right, removed = lists.of(int(own_ids[row]), int(own_cameras[row]))
                valid, same = ids != JUNK, np.zeros(len(ids), np.bool_)
                valid[removed], same[right] = False, True
                by_query.append(
                    (
                        far[valid],
                        count[valid],
                        same[valid],
                        np.full(int(valid.sum()), people[row]),
                        people[len(query_samples) :][valid],
                    )
                )
        start += len(e)
    far, count, same, query, other = (np.concatenate(column) for column in zip(*by_query))
    if np.isnan(far).any():
        raise DataError(
            "distances are not all numbers; the embeddings hold NaN, so the model has diverged or "
            "its weights are broken"
        )
    return KnownPairs(far.astype(np.float32), count, same, query, other, images)


@door
def shown_by_both(q: Embeddings, g: Embeddings) -> Any:
    """The number of parts that both images show, int64 [Nq, Ng]."""
    return ((q.visibility > 0).float() @ (g.visibility > 0).float().T).round().long().cpu().numpy()


@door
def people_of(queries: Sequence[Sample], gallery: Sequence[Sample]) -> tuple[Any, Any]:
    """A number from 0 for every image, query images first, and how many images each has. Junk
    shares the last one.
    """
    numbers: dict[tuple[int, int], int] = {}
    keys = [
        (s.identity, 0)
        if s.identity > DISTRACTOR
        else (s.identity, i if s.identity == DISTRACTOR else 0)
        for i, s in enumerate((*queries, *gallery))
    ]
    for key in keys:
        numbers.setdefault(key, len(numbers))
    people = np.array([numbers[key] for key in keys], np.int64)
    images = np.bincount(people, minlength=len(numbers))
    if (JUNK, 0) in numbers:
        images[numbers[JUNK, 0]] = 0
    return people, images


@door
def require_slice(
    benchmark: Benchmark, protocol: Protocol, rate: float, share: float, seed: int = 0
) -> None:
    """DataError if a data set is too small for a rate, said before anything is embedded."""

    def blank(samples: Sequence[Sample]) -> Embeddings:
        return Embeddings.single("nothing", torch.zeros(len(samples), 1))

    pairs = known_pairs(
        PartDistance("euclidean"),
        {name: blank(s) for name, s in benchmark.queries.items()},
        blank(benchmark.gallery),
        benchmark,
        protocol,
    )
    require_enough(*divided(pairs, share, seed), rate)


@door
def source_of(to: Bound, benchmark: Benchmark, name: str) -> Source:
    """What a calibration made now on these images, of the data set ``name``, is to say about
    itself.
    """
    images, gallery = (
        hash_of_images(benchmark.queries, benchmark.gallery),
        hash_of_images({}, benchmark.gallery),
    )
    samples = [s for some in (*benchmark.queries.values(), benchmark.gallery) for s in some]
    return Source(
        to.model,
        to.weights,
        to.distance,
        to.names,
        to.recipe,
        name,
        tuple(benchmark.queries),
        images,
        gallery,
        __version__,
        datetime.now(timezone.utc).date().isoformat(),
        BENCHMARKS[name].people if name in BENCHMARKS else "unknown",
        len({s.identity for s in samples} - {DISTRACTOR, JUNK}),
        len({s.camera for s in samples if s.camera > 0}),
    )


@door
def verdict(
    calibration: Calibration, probability: float | None, same: bool | None, prior: float = 0.5
) -> str:
    """A decision in words, with the chance that the threshold asks for beside that of the pair."""
    if probability is None:
        return NOTHING_SHARED
    return (
        f"{'' if same else 'not '}called the same person: the chance that it is one is "
        f"{percent(probability)}, and {percent(calibration.least(prior))} is asked for"
    )


@door
def percent(p: float) -> str:
    """A probability as printed: never as certain."""
    return "over 99.9 %" if p > 0.999 else "under 0.1 %" if p < 0.001 else f"{100 * p:.3g} %"


@door
def save(calibration: Calibration, file: Path) -> None:
    """Plain JSON, whole or not at all, with a digest of itself. Infinity and NaN, which JSON has
    not, become null.
    """
    write_json(file, sealed(calibration))


@door
def sealed(calibration: Calibration) -> dict[str, Any]:
    """What :func:`save` writes."""
    values = plain(calibration)
    return {"partreid_calibration": FORMAT, "sha256": seal(values), **values}


@door
def read(file: Path) -> Calibration:
    """What :func:`save` wrote. DataError if there is no such file, it was changed since or
    something else stands in it.

    A decision about people hangs on it, so every number must be the one that was written, and lie
    where it can.
    """
    if not lexists(file) and isdir(file.parent):
        raise DataError(f"there is no calibration {file}; make one with partreid calibrate")
    return parsed(read_json(file, _LIMIT, "calibration"), file)


@door
def parsed(values: Any, file: Path | str) -> Calibration:
    """A calibration of the JSON value that :func:`sealed` gave. DataError, which calls it ``file``,
    as of :func:`read`.
    """
    values = dict(values) if isinstance(values, dict) else None
    version = values.pop("partreid_calibration", None) if isinstance(values, dict) else None
    if version == 1:
        raise DataError(
            f"{file} was made by an older version of partreid, which did not seal it against "
            "changes; make it again with partreid calibrate"
        )
    if type(version) is not int or version not in (2, 3, FORMAT):
        raise DataError(
            f"{file} is no calibration of this version; make one with partreid calibrate"
        )
    if values.pop("sha256", None) != seal(values):
        raise DataError(
            f"{file} was changed after partreid calibrate had written it, so what it decides "
            "cannot be trusted; make it again with partreid calibrate"
        )
    if version == 2:
        values = _renamed(values)
    if version != FORMAT:
        values = _without_statistics(values)
    try:
        calibration: Calibration = _read(Calibration, values, file, "calibration")
    except ArgumentError as error:
        raise DataError(
            f"{file} is damaged ({error}); make the calibration again with partreid calibrate"
        ) from None
    return calibration


_FORMER = {"same": "genuine", "strangers": "impostors"}  # as format 2 called them


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    """What format 2 holds under today's names."""

    def of(part: Any) -> Any:
        return {_FORMER.get(k, k): v for k, v in part.items()} if isinstance(part, dict) else part

    checked = values.get("checked")
    if isinstance(checked, dict):
        values = {**values, "checked": {**checked, "slice": of(checked.get("slice"))}}
    return {**of(values), "fitted": of(values.get("fitted"))}


def _without_statistics(values: dict[str, Any]) -> dict[str, Any]:
    """What formats 2 and 3 hold, with all they cannot say as unknown."""
    source = values.get("source")
    if isinstance(source, dict):
        source = {**source, "kind": "unknown", "people": 0, "cameras": 0}
    return {**values, "source": source, "likeness": None}


def plain(value: Any) -> Any:
    """Dataclasses, mappings and tuples as what JSON has; infinity and NaN become None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _read(kind: Any, value: Any, file: Path | str, where: str) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:  # X | None
        return None if value is None else _read(inner[0], value, file, where)
    if is_dataclass(kind) and isinstance(kind, type) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        if set(hints) == set(value):
            return kind(
                **{
                    name: _read(hint, value[name], file, f"{where}.{name}")
                    for name, hint in hints.items()
                }
            )
    elif origin is tuple and isinstance(value, list):
        return tuple(_read(inner[0], one, file, where) for one in value)
    elif origin is not None and isinstance(value, dict):
        return Frozen({str(name): _read(inner[1], one, file, where) for name, one in value.items()})
    elif kind is float and (value is None or type(value) in (int, float)):
        return float("inf") if value is None else float(value)
    elif kind in (int, str) and type(value) is kind:
        return value
    raise DataError(
        f"{file} is damaged at {where}; make the calibration again with partreid calibrate"
    )
