"""A good example of everything that a run leaves, and of other projects' weights."""

import io
import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from partreid import build
from partreid.distance import PartDistance
from partreid.evaluation import decision
from partreid.evaluation.ledger import INTERVALS, SCORES, Entry
from partreid.inference import load
from partreid.layers.trunks import BACKBONES
from partreid.metrics import MARKET
from partreid.metrics.calibration import Source, calibrate
from partreid.recipes import Recipe, find, override, to_plain
from partreid.train.checkpoint import save_tensors
from partreid.train.loop import Options, train
from partreid.types import Benchmark, Embeddings, PartScheme, Sample
from tests.anything import anything
from tests.attack.valid import installed, own_folders, photo, put

PEOPLE = 3
SMALL = ("stages.epochs=2", "stages.batch=[2,2]", "size=[64,32]", "backbone.width=8")


@cache
def recipe(method: str = "bpbreid") -> Recipe:
    stripes = ("cues.parts=stripes",) if method == "bpbreid" else ()
    return override(find(f"synthetic/tiny/{method}"), (*SMALL, *stripes))


@cache
def scheme() -> PartScheme:
    part_scheme = build.cue(recipe().cues["parts"], Benchmark("crops", Path(), (), {}, ())).scheme
    assert part_scheme is not None
    return part_scheme


@cache
def model(method: str = "bpbreid") -> bytes:
    """A finished model, never trained."""
    torch.manual_seed(6)
    of = recipe(method)
    parts = scheme() if "parts" in of.cues else None
    built = build.method(of, PEOPLE, parts)
    return _saved(
        built.strip_for_inference().state_dict(),
        {
            "recipe": to_plain(of),
            "identities": PEOPLE,
            "steps": 4,
            "parts": {"names": parts.names, "flip": parts.flip} if parts else None,
        },
    )


def _saved(tensors: Any, meta: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        save_tensors(path, tensors, meta)
        return path.read_bytes()


@cache
def weights(kind: str) -> bytes:
    """A checkpoint of another project: a ResNet-50 of torchvision's names, one number in each
    tensor but its shape.
    """
    with torch.device("meta"):
        state = BACKBONES["small"](width=8).state_dict()
    tensors = {
        f"module.{name}": torch.zeros(t.shape, dtype=t.dtype)
        for name, t in list(state.items())[:12]
    }
    file = io.BytesIO()
    if kind == "safetensors":
        return save(tensors)
    torch.save(
        {"state_dict": tensors, "epoch": 3}, file, _use_new_zipfile_serialization=kind == "zip"
    )
    return file.getvalue()


@cache
def whole_module(kind: str) -> bytes:
    """``torch.save(model)`` of a class that is not there."""
    with installed() as make:
        inner = make("reid.models", "Part")
        vars(inner).update(
            _parameters={"weight": torch.nn.Parameter(torch.ones(3, 2))}, _buffers={}, _modules={}
        )
        outer = make("reid.models", "Net")
        vars(outer).update(
            _parameters={}, _buffers={"mean": torch.zeros(4)}, _modules={"part": inner}
        )
        file = io.BytesIO()
        torch.save(outer, file, _use_new_zipfile_serialization=kind == "zip")
    return file.getvalue()


@cache
def calibration() -> bytes:
    """A calibration of :func:`model`, made on made-up people."""
    draw, people = np.random.default_rng(7), 24
    who = np.repeat(np.arange(people), 3)
    places = draw.normal(0, 1, (people, 2, 8))
    query, gallery = (
        tuple(Sample(Path(f"{side}{i}"), int(w) + 1, camera) for i, w in enumerate(who))
        for side, camera in (("q", 1), ("g", 2))
    )

    def seen() -> Embeddings:
        vectors = torch.tensor(
            places[who] + draw.normal(0, 0.6, (len(who), 2, 8)), dtype=torch.float32
        )
        return Embeddings(
            vectors, torch.tensor(draw.random((len(who), 2)) > 0.2).float(), ("a", "b")
        )

    pairs = decision.known_pairs(
        PartDistance("euclidean"),
        {"query": seen()},
        seen(),
        Benchmark("made", Path(), (), {"query": query}, gallery),
        MARKET,
    )
    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder) / "model.safetensors", model())
        whose = load(folder, "cpu")
        bound = whose.bound
        parts, length = whose.embed(np.zeros((64, 32, 3), np.uint8)).vectors.shape[1:]
        source = Source(
            **vars(bound),
            data="folders",
            queries=("query",),
            images="i" * 64,
            gallery="g" * 64,
            version="0.1.0",
            date="2026-01-01",
        )
        file = Path(folder) / decision.FILE
        made = replace(calibrate(pairs, source, rate=0.02), likeness=anything(parts, length))
        decision.save(made, file)
        return file.read_bytes()


def run(root: Path, method: str = "bpbreid") -> Path:
    """A run folder with a model, and two crops to ask about."""
    put(root / "model.safetensors", model(method))
    put(root / "recipe.json", json.dumps(to_plain(recipe(method))))
    put(root / "a.jpg", photo(seed=1))
    put(root / "b.jpg", photo(seed=2))
    return root


def journal(root: Path) -> Path:
    lines = [
        {
            "step": i,
            "stage": 0,
            "epoch": 0,
            "lr": 0.01,
            "loss": 2.5,
            "id_global": 1.0,
            "seconds": 0.1,
        }
        for i in range(1, 4)
    ]
    return put(root / "journal.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def ledger(root: Path) -> Path:
    entry = Entry(
        recipe().name,
        recipe().digest,
        1,
        "synthetic-tiny",
        "market1501",
        "query",
        False,
        True,
        dict.fromkeys(SCORES, 0.5),
        dict.fromkeys(INTERVALS, (0.4, 0.6)),
        8,
        8,
        20,
        12.5,
        "cpu",
        "0.1.0",
        None,
        "2026-01-01T00:00:00+00:00",
    )
    lines = [json.dumps({**vars(entry), "seed": seed}) + "\n" for seed in (1, 2)]
    return put(root / "ledger.jsonl", "".join(lines))


@cache
def trained(root: Path) -> Path:
    """A run that stopped in the middle: its checkpoint, in ``root``, with the data it was
    trained on.
    """
    own_folders(root / "data")
    train(
        recipe("bot"),
        build.benchmark("folders", root / "data"),
        root / "run",
        Options(device="cpu", stop_after=2, save_every=1),
    )
    return root / "run"
