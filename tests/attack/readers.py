"""The doors: every place at which the package reads a file that somebody else wrote, each with a
good example.

A door lays a small tree out with a good file at ``place``; the attacks put a bad one there, and
``read`` does what a user would do with the tree.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from partreid.data.cuhk03 import TESTSETS
from partreid.data.mot import read_mot
from partreid.link import read_cameras, read_crops
from tests.attack import runs, sets, tries, valid


@dataclass(frozen=True)
class Door:
    """A way in.

    kind: of file, a key of the corpus. place: of the file below the root. lay: writes the tree,
    good file and all. read: what is tried. sound: raises Unsound for a result that should have been
    refused. tolerant: whether a damaged file may count as none. fresh: whether reading changes the
    tree, so that every file needs a new one. cost: milliseconds of one reading, about; it decides
    how often the fuzzer comes by. fine: names of bad files that are none at this door.
    """

    kind: str
    place: str
    lay: Callable[[Path], object]
    read: Callable[[Path], Any]
    sound: Callable[[Any], object] = lambda output: None
    tolerant: bool = False
    fresh: bool = False
    cost: int = 5
    fine: frozenset[str] = frozenset()


# A start copies what fits and notes what does not.
UNFITTING = frozenset(
    {
        "a tensor that nobody knows",
        "one weight missing",
        "one weight too many",
        "a weight of another shape",
        "a weight of no size",
        "a weight that is flat",
        "a weight with one dimension more",
        *(f"a weight of {kind}" for kind in ("float64", "float16", "int64", "uint8", "bool")),
    }
)
LABEL = f"{valid.SPLIT}/{valid.STEM}"
FIELDS = "masks/pifpaf_maskrcnn_filtering"
CLAIMS = f"{runs.recipe('bot').name.replace('/', '.')}/seed{runs.recipe('bot').seed}/claims.json"


def of_crops(
    place: str,
    data: Callable[[], bytes | str],
    read: Callable[..., Any],
    kind: str,
    many: int = 1,
    **more: Any,
) -> Door:
    """A door whose tree is crops and one file."""

    def lay(root: Path) -> None:
        valid.samples(root, many)
        valid.put(root / place, data())

    return Door(kind, place, lay, read, **more)


def of_a_crop(read: Callable[..., Any], **more: Any) -> Door:
    """A door at which one of two crops is bad."""
    return Door("picture", valid.IMAGE, valid.samples, read, **more)


def labels(name: str, **args: Any) -> Callable[[Path], Any]:
    return partial(tries.labels, name=name, **args)


def imported(kind: str, given: str = "given", **options: Any) -> Callable[[Path], Any]:
    return partial(tries.imported, kind=kind, given=given, **options)


def in_json(make: Callable[[], Any]) -> Callable[[], str]:
    return lambda: json.dumps(make())


def _crop_with(place: str, data: bytes | str) -> Callable[[Path], object]:
    """One crop and a good label."""

    def lay(root: Path) -> None:
        valid.samples(root, 1)
        valid.put(root / place, data)

    return lay


def _iuv_and_ids(root: Path) -> None:
    valid.samples(root, 1)
    valid.put(root / f"iuv/{LABEL}_IUV.png", valid.iuv_png())
    valid.put(root / f"iuv/{LABEL}_INDS.png", valid.ids_png())


def _calibrated(root: Path) -> None:
    runs.run(root)
    valid.put(root / "calibration.json", runs.calibration())


def _imported_before(root: Path) -> None:
    valid.samples(root, 1)
    valid.put(root / f"given/{LABEL}.png", valid.label_png())
    tries.imported(root, "parsing", "given", parser="lip")


def _scored_before(root: Path) -> None:
    valid.put(
        root / CLAIMS,
        json.dumps(
            {
                "digest": runs.recipe("bot").digest,
                "queries": {"holistic": {"ap": [0.5, 1.0], "first": [1, 2], "identities": [1, 2]}},
            }
        ),
    )


def _unpacked_before(root: Path) -> None:
    sets.mat5(root)
    valid.put(root / "images_labeled" / TESTSETS, json.dumps([[[1, 1]]] * 20))


def _crops_and_list(root: Path) -> None:
    runs.run(root)
    valid.put(root / "crops.txt", "a.jpg\nb.jpg\n")


PICTURES = {
    "embed": Door("picture", "a.jpg", runs.run, tries.embedded, tries.finite, cost=16),
    "compare": Door("picture", "b.jpg", runs.run, tries.compared, tries.finite, cost=50),
    "data check": Door(
        "picture",
        "gallery/anna/g_c2_1.jpg",
        valid.own_folders,
        tries.data_checked,
        tolerant=True,
        cost=8,
    ),
    "preview": of_a_crop(partial(tries.previewed, name="stripes"), tolerant=True, cost=30),
    "labels make": of_a_crop(tries.labels_made, cost=25),
    "loader": of_a_crop(tries.loaded_for_training, sound=tries.finite, cost=2),
    "size of a crop": Door(
        "picture",
        valid.IMAGE,
        _crop_with(f"keypoints/{LABEL}.json", json.dumps([valid.person()])),
        labels("keypoints"),
        tries.parts,
        cost=6,
    ),
    "tiles' crop": Door(
        "picture",
        valid.IMAGE,
        _crop_with(f"iuv/{LABEL}.png", valid.iuv_png()),
        tries.tiled,
        tries.finite,
    ),
}
LABELS = {
    "parsing png": of_crops(
        f"parsing/{LABEL}.png",
        valid.label_png,
        labels("parsing"),
        "classes",
        sound=tries.parts,
        cost=2,
    ),
    "surfaces png": of_crops(
        f"labels/{LABEL}.png",
        valid.label_png,
        labels("surfaces"),
        "classes",
        sound=tries.parts,
        cost=2,
    ),
    "parsing import": of_crops(
        f"given/{LABEL}.png",
        valid.label_png,
        imported("parsing", parser="lip"),
        "classes",
        sound=tries.parts,
        cost=25,
    ),
    "parsing drawn": of_crops(
        f"parsing/{LABEL}.png",
        valid.label_png,
        partial(tries.previewed, name="parsing"),
        "classes",
        sound=tries.finite,
        tolerant=True,
        cost=15,
    ),
    "labels check": of_crops(
        f"parsing/{LABEL}.png",
        valid.label_png,
        tries.labels_checked,
        "classes",
        tolerant=True,
        cost=3,
    ),
    "iuv": of_crops(
        f"iuv/{LABEL}.png", valid.iuv_png, labels("densepose"), "iuv", sound=tries.parts, cost=2
    ),
    "iuv import": of_crops(
        f"given/{LABEL}.png",
        valid.iuv_png,
        imported("densepose"),
        "iuv",
        sound=tries.parts,
        cost=25,
    ),
    "tiles": of_crops(f"iuv/{LABEL}.png", valid.iuv_png, tries.tiled, "iuv", sound=tries.finite),
    "person ids": Door(
        "ids", f"iuv/{LABEL}_INDS.png", _iuv_and_ids, labels("densepose"), tries.parts, cost=2
    ),
    "parsing npy": of_crops(
        f"parsing/{LABEL}.npy",
        lambda: valid.npy(valid.classes()),
        labels("parsing"),
        "npy",
        sound=tries.parts,
        cost=2,
    ),
    "logits": of_crops(
        f"parsing/{LABEL}.npy",
        lambda: valid.npy(np.eye(20, dtype=np.float32)[valid.classes()]),
        labels("parsing"),
        "npy",
        sound=tries.parts,
        cost=3,
    ),
    "pifpaf": of_crops(
        f"{FIELDS}/{LABEL}.npy",
        lambda: valid.npy(valid.fields()),
        labels("pifpaf"),
        "npy",
        sound=tries.parts,
        cost=2,
    ),
    "pifpaf import": of_crops(
        f"given/{LABEL}.npy",
        lambda: valid.npy(valid.fields()),
        imported("pifpaf"),
        "npy",
        sound=tries.parts,
        cost=25,
    ),
    "pifpaf raw": of_crops(
        f"{FIELDS}/{LABEL}.npz",
        valid.raw_fields,
        labels("pifpaf"),
        "npz",
        sound=tries.parts,
        cost=3,
    ),
    "keypoints": of_crops(
        f"keypoints/{LABEL}.json",
        in_json(lambda: [valid.person(), valid.person(is_target=True)]),
        labels("keypoints"),
        "people",
        sound=tries.parts,
        cost=4,
    ),
    "keypoints import": of_crops(
        f"given/{LABEL}.json",
        in_json(lambda: [valid.person()]),
        imported("keypoints"),
        "people",
        sound=tries.parts,
        cost=25,
    ),
    "coco": of_crops(
        "keypoints.json",
        in_json(valid.coco),
        labels("keypoints"),
        "coco",
        2,
        sound=tries.parts,
        cost=8,
    ),
    "coco results": of_crops(
        "keypoints.json",
        in_json(valid.results),
        labels("keypoints", shape="gauss"),
        "results",
        2,
        sound=tries.parts,
        cost=8,
    ),
    "coco import": of_crops(
        "given.json",
        in_json(valid.coco),
        imported("keypoints", "given.json"),
        "coco",
        2,
        sound=tries.parts,
        cost=40,
    ),
    "label cache": Door(
        "cache", "labels.safetensors", valid.label_cache, labels("cached"), tries.parts, cost=2
    ),
    "origin": Door(
        "json", "new/origin.json", _imported_before, tries.imported_again, tolerant=True, cost=4
    ),
    **{
        f"dump {form} {write}": of_crops(
            "dump.pkl",
            partial(valid.dump, form, write),
            tries.dump_imported,
            f"dump {write}",
            cost=15,
        )
        for form, write in (
            ("labels", "zip"),
            ("raw", "legacy"),
            ("labels", "pickle"),
            ("png", "pickle"),
            ("old", "pickle"),
            ("uint8", "zip"),
        )
    },
}
RUNS = {
    "checkpoint safetensors": of_crops(
        "x.safetensors",
        partial(runs.weights, "safetensors"),
        partial(tries.converted, name="x.safetensors"),
        "checkpoint safetensors",
        cost=2,
    ),
    **{
        f"{what} {kind}": of_crops(
            "x.pth",
            partial(make, kind),
            partial(tries.converted, name="x.pth"),
            f"{what} {kind}",
            cost=3,
        )
        for what, make in (("checkpoint", runs.weights), ("module", runs.whole_module))
        for kind in ("zip", "legacy")
    },
    "model": Door("model", "model.safetensors", runs.run, tries.loaded, tries.finite, cost=120),
    "global model": Door(
        "model",
        "model.safetensors",
        partial(runs.run, method="bot"),
        tries.loaded,
        tries.finite,
        cost=90,
    ),
    "start": Door(
        "weights",
        "model.safetensors",
        partial(runs.run, method="bot"),
        tries.started,
        tries.finite,
        cost=20,
        fine=UNFITTING,
    ),
    "checkpoint": Door(
        "weights", "run/checkpoint.safetensors", runs.trained, tries.resumed, fresh=True, cost=250
    ),
    "calibration": Door("calibration", "calibration.json", _calibrated, tries.decided, cost=30),
    "recipe": Door(
        "recipe",
        "recipe.json",
        partial(runs.run, method="bot"),
        tries.claimed_again,
        fresh=True,
        cost=12,
    ),
    "journal": Door(
        "lines", "journal.jsonl", runs.journal, tries.journalled, tolerant=True, cost=8
    ),
    "ledger": Door(
        "ledger", "ledger.jsonl", runs.ledger, tries.ledgered, cost=2, fine=frozenset({"empty"})
    ),
    "ledger append": Door(
        "ledger",
        "ledger.jsonl",
        runs.ledger,
        tries.appended,
        fresh=True,
        cost=3,
        fine=frozenset({"empty"}),
    ),
    "claims": Door("json", CLAIMS, _scored_before, tries.scored_again, tries.finite, cost=2),
}
SETS = {
    "table csv": Door(
        "csv",
        "table.csv",
        lambda root: valid.put(root / "table.csv", sets.csv(sets.table(root))),
        partial(tries.read_set, name="table"),
        cost=2,
    ),
    "table parquet": Door(
        "parquet",
        "table.parquet",
        lambda root: valid.put(root / "table.parquet", sets.parquet(sets.table(root))),
        partial(tries.read_set, name="table"),
        cost=400,
    ),
    "tracklets csv": Door(
        "csv",
        "crops.csv",
        lambda root: valid.put(root / "crops.csv", sets.csv(sets.tracklets())),
        lambda root: read_crops(root / "crops.csv"),
        cost=2,
    ),
    "tracklets parquet": Door(
        "parquet",
        "crops.parquet",
        lambda root: valid.put(root / "crops.parquet", sets.parquet(sets.tracklets())),
        lambda root: read_crops(root / "crops.parquet"),
        cost=400,
    ),
    "camera pairs": Door(
        "list",
        "cameras.csv",
        lambda root: valid.put(
            root / "cameras.csv", "first,second,seconds\na,b,2.5\na,c,overlap\n"
        ),
        lambda root: read_cameras(root / "cameras.csv", ["a", "b"]),
        cost=2,
    ),
    "mot": Door(
        "list",
        "tracks.txt",
        lambda root: valid.put(root / "tracks.txt", "1,1,0,0,9,9,1,1,1\n2,1,1.5,0,9,9,1,1,0.25\n"),
        lambda root: read_mot(root / "tracks.txt"),
        cost=2,
        fine=frozenset({"empty", "blanks", "a million empty lines"}),
    ),
    "shard": Door(
        "parquet",
        "shards/s.parquet",
        sets.shard,
        tries.shards_embedded,
        cost=800,
        fine=frozenset({"no rows"}),  # what a filter has left of it
    ),
    "embedded shard": Door(
        "parquet",
        "out/s.parquet",
        sets.embedded_shard,
        tries.shards_loaded,
        tries.finite,
        cost=800,
        fine=frozenset({"no rows"}),
    ),
    "list of crops": Door("list", "crops.txt", _crops_and_list, tries.crops_listed, cost=2),
    "msmt17": Door(
        "list", "list_query.txt", sets.msmt, partial(tries.read_set, name="msmt17"), cost=2
    ),
    "occluded duke": Door(
        "list", "lists/query.list", sets.occluded_lists, tries.occluded_duke, cost=6
    ),
    # SciPy takes the cell in a cell apart: the names are right.
    "protocol mat": Door(
        "mat5",
        "cuhk03_new_protocol_config_labeled.mat",
        sets.mat5,
        partial(tries.read_set, name="cuhk03_labeled"),
        cost=600,
        fine=frozenset({"names that are cells of cells"}),
    ),
    "images mat": Door("mat73", "cuhk-03.mat", sets.mat73, tries.unpacked, cost=400),
    "test sets": Door(
        "json",
        f"images_labeled/{TESTSETS}",
        _unpacked_before,
        partial(tries.read_set, name="cuhk03_labeled_classic"),
        cost=2,
    ),
    "world": Door(
        "json",
        "world/world.json",
        lambda root: sets.world(root / "world"),
        tries.sheet_drawn,
        tolerant=True,
        cost=200,
    ),
    "annotations": Door(
        "lines",
        "world/annotations.jsonl",
        lambda root: sets.world(root / "world"),
        tries.sheet_drawn,
        tolerant=True,
        cost=200,
    ),
}
DOORS: dict[str, Door] = {**PICTURES, **LABELS, **RUNS, **SETS}
