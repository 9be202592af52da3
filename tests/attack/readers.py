"""The doors: every place at which the package reads a file that somebody else wrote, each with a good example.

A door lays a small tree out with a good file at ``place``; the attacks put a bad one there, and ``read`` does what a
user would do with the tree.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partreid import build, ledger
from partreid.api import crop_paths, listed, load
from partreid.convert import convert
from partreid.convert.reading import read as read_checkpoint
from partreid.cues.importing import import_dump
from partreid.data.occluded_duke import convert_occluded_duke
from partreid.labels.importing import import_labels
from partreid.recipes.base import Spec
from partreid.types import Benchmark, Sample
from tests.attack import valid
from tests.attack.harness import Unsound


@dataclass(frozen=True)
class Door:
    """A way in.

    kind: of file, a key of the corpus. place: of the file below the root. lay: writes the tree, good file and all.
    read: what is tried. sound: raises Unsound for a result that should have been refused. owner: of the room. tolerant:
    whether a damaged file may count as none. fresh: whether reading changes the tree, so that every file needs
    a new one. cost: milliseconds of one reading, about; it decides how often the fuzzer
    comes by.
    """

    kind: str
    place: str
    lay: Callable[[Path], object]
    read: Callable[[Path], Any]
    sound: Callable[[Any], object] = lambda found: None
    owner: str = ""
    tolerant: bool = False
    cost: int = 5
    fresh: bool = False


def _parts(found: Any) -> None:
    """Part labels are uint8 [H, W] of the cue's parts, 0 and 255."""
    for item, scheme in found:
        if item.dtype != np.uint8 or item.ndim != 2 or item.size == 0:
            raise Unsound(f"labels are {item.dtype} {item.shape}")
        strange = set(np.unique(item).tolist()) - {*range(scheme.K + 1), 255}
        if strange:
            raise Unsound(f"labels hold {sorted(strange)[:5]}, there are {scheme.K} parts")


def _finite(found: Any) -> None:
    for value in found:
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        if not np.isfinite(array).all():
            raise Unsound("numbers that are not finite")


def _labels(root: Path, name: str, **args: Any) -> Any:
    """All labels of a cue, as training reads them."""
    cue: Any = build.cue(Spec(name, **args), valid.crops(root))
    return [(cue[i], cue.scheme) for i in range(len(valid.known(root)))]


def _import(root: Path, kind: Any, given: str, **options: Any) -> Any:
    """What ``labels import`` writes, read again."""
    out = root / ("masks/new" if kind == "pifpaf" else "new")
    written = import_labels(kind, root / given, valid.crops(root), out, overwrite=True, **options)
    cue: Any = build.cue(written.cue, valid.crops(root))
    return [(cue[i], cue.scheme) for i in range(len(valid.known(root)))]


def _with(name: str, data: Callable[[], bytes | str]) -> Callable[[Path], object]:
    """Two crops, and a file beside them."""
    def lay(root: Path) -> None:
        valid.samples(root, 1 if "keypoints.json" not in name else 2)
        valid.put(root / name, data())

    return lay


@cache
def _model() -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        valid.run(Path(folder))
        return load(folder, "cpu")


def _embed(root: Path) -> Any:
    e = _model().embed([root / "a.jpg"])
    return [e.vectors, e.visibility]


def _compare_drawn(root: Path) -> Any:
    found = _model().compare(root / "a.jpg", root / "b.jpg")
    return [[found.distance], np.asarray(found.picture())]


def _own_data(root: Path) -> Any:
    from partreid.data.findings import explain

    return [str(problem) for problem in explain("folders", root).problems]


def _previewed(root: Path) -> Any:
    from partreid.labels.sheet import preview

    return [np.asarray(preview(Spec("stripes"), valid.crops(root)))]


def _drawn_labels(root: Path) -> Any:
    from partreid.labels.sheet import preview

    return [np.asarray(preview(Spec("parsing"), valid.crops(root)))]


def _checked(root: Path, name: str = "parsing", **args: Any) -> Any:
    from partreid.labels.findings import check

    return [str(problem) for problem in check(Spec(name, **args), valid.crops(root)).problems]


def _made(root: Path) -> Any:
    from partreid.labels.making import make
    from partreid.labels.models import Parser

    class Fake(Parser):
        def __init__(self) -> None:
            self.source = "lip"

        def __call__(self, images: Any) -> Any:
            return [np.ones((image.height, image.width), np.uint8) for image in images]

    return make(Fake(), root / valid.SPLIT, root / "made", overwrite=True).sentence


def _trained_on(root: Path) -> Any:
    """One batch of a data set whose crops and labels lie below root, as training loads it."""
    from partreid.data.transforms import TRANSFORMS  # noqa: F401 - the room is there
    from partreid.data.loader import image_batches

    return [batch for batch in image_batches(valid.known(root), (64, 32), 2)]


def _tiles(root: Path, **args: Any) -> Any:
    cue: Any = build.cue(Spec("uv_tiles", cache=False, **args), valid.crops(root))
    return [cue[0]]


def _loaded(root: Path) -> Any:
    model = load(root, "cpu")
    found = model.compare(root / "a.jpg", root / "b.jpg")
    e = model.embed([root / "a.jpg", root / "b.jpg"])
    return [[found.distance], e.vectors, e.visibility, np.asarray(found.picture())]


def _decided(root: Path) -> Any:
    found = load(root, "cpu").compare(root / "a.jpg", root / "b.jpg")
    if found.probability is None or not 0 <= found.probability <= 1:
        raise Unsound(f"a probability of {found.probability}")
    return found.probability, found.same


def _resumed(root: Path) -> Any:
    from partreid.train.loop import Options, train

    benchmark = build.benchmark("folders", root / "data")
    return train(valid.recipe("bot"), benchmark, root / "run", Options(device="cpu", resume=True)).name


def _started(root: Path) -> Any:
    from partreid.train.run import start_from

    torch.manual_seed(0)
    method = build.method(valid.recipe("bot"), 5, None)
    start_from(method, root / "model.safetensors")
    return list(method.state_dict().values())


def _claimed(root: Path) -> Any:
    from partreid.claims import _outcome

    found = _outcome(valid.recipe("bot"), Benchmark("x", root, (), {}, ()), root, "cpu")
    return [*found.ap.values(), *found.first.values()]


def _lay_claims(root: Path) -> None:
    of = valid.recipe("bot")
    valid.put(root / of.name.replace("/", ".") / f"seed{of.seed}" / "claims.json", json.dumps(
        {"digest": of.digest, "queries": {"holistic": {"ap": [0.5, 1.0], "first": [1, 2], "identities": [1, 2]}}}))


def _sheet(root: Path) -> Any:
    from partreid.data.synthetic import contact_sheet

    return contact_sheet(root / "world", root / "sheet.png", show="labels", identities=2).name


def _converted(root: Path, name: str) -> Any:
    found = read_checkpoint(root / name)
    if not found:
        raise Unsound("no tensors and no word")
    return [value.shape for value in found.values()]


def _turned(root: Path, name: str) -> Any:
    import shutil

    shutil.rmtree(root / "out", ignore_errors=True)
    return convert(root / name, root / "out").layout


def _imported(root: Path) -> Any:
    first = valid.known(root)[:1]
    return import_dump(root / "dump.pkl", first, root / "iuv", overwrite=True).sentence()


def _read_table(root: Path) -> Any:
    found = build.benchmark("table", root)
    return len(found.train), len(found.gallery)


def _ledgered(root: Path) -> Any:
    from partreid.tables import chosen, lines, mean, page

    entries = ledger.read(root / "ledger.jsonl")
    rows = chosen("synthetic/tiny", None, None, None)
    shown = [mean(line.ours("mAP"), len(line.runs)) for line in lines(rows, entries)]
    if any(not 0 <= v <= 1 for entry in entries for v in entry.scores.values()):
        raise Unsound("a score that is none")
    return shown, len(page(rows, entries))


def _appended(root: Path) -> Any:
    one = replace(ledger.read(valid.ledger(root / "other"))[0], seed=9)
    ledger.append(root / "ledger.jsonl", [one])
    return len(ledger.read(root / "ledger.jsonl"))


def _journalled(root: Path) -> Any:
    from partreid.train.journal import Journal, read, write_csv

    entries = read(root / "journal.jsonl")
    write_csv(entries, root / "metrics.csv")
    seconds = ledger.trained_for(root)
    Journal(root / "journal.jsonl").rewind(2)
    return len(entries), seconds


def _run_again(root: Path) -> Any:
    from partreid.train.run import Run

    Run(root, valid.recipe("bot"), resume=True)
    return "claimed"


def _lay_stopped(root: Path) -> None:
    valid.trained(root)


def _lay_cuhk(root: Path) -> None:
    from partreid.data.cuhk03 import TESTSETS

    valid.mat5(root)
    valid.put(root / "images_labeled" / TESTSETS, json.dumps([[[1, 1]]] * 20))


def _unpacked(root: Path) -> Any:
    import shutil

    shutil.rmtree(root / "images_labeled", ignore_errors=True)
    found = build.benchmark("cuhk03_labeled_classic", root)
    return len(found.train), len(found.query)


def _cached(root: Path) -> Any:
    return _labels(root, "cached")


def _sized(root: Path) -> Any:
    """A keypoint label needs the size of its crop alone."""
    return _labels(root, "keypoints")


def _lay_claimed_folder(root: Path) -> None:
    valid.samples(root, 1)
    valid.put(root / "given/bounding_box_train" / f"{valid.STEM}.png", valid.label_png())
    _import(root, "parsing", "given", parser="lip")


def _kept(root: Path) -> Any:
    """An import into a folder that already holds labels of ours."""
    written = import_labels("parsing", root / "given", valid.crops(root), root / "new", parser="lip")
    return written.sentence


LABEL = f"{valid.SPLIT}/{valid.STEM}"
_world = "world"

DOORS: dict[str, Door] = {
    # pictures
    "embed": Door("picture", "a.jpg", valid.run, _embed, _finite, "lead", cost=12),
    "compare": Door("picture", "b.jpg", valid.run, _compare_drawn, _finite, "lead", cost=40),
    "data check": Door("picture", "gallery/anna/g_c2_1.jpg", valid.own_folders, _own_data, owner="pictures", cost=8,
                       tolerant=True),
    "preview": Door("picture", valid.IMAGE, lambda root: valid.samples(root), _previewed, owner="labels", cost=20,
                    tolerant=True),
    "labels make": Door("picture", valid.IMAGE, lambda root: valid.samples(root), _made, owner="labels", cost=5),
    "loader": Door("picture", valid.IMAGE, lambda root: valid.samples(root), _trained_on, _finite, "lead", cost=3),
    "size of a crop": Door("picture", valid.IMAGE, lambda root: (
        valid.samples(root, 1), valid.put(root / f"keypoints/{LABEL}.json", json.dumps([valid.person()]))), _sized,
        _parts, "labels"),
    "tiles' crop": Door("picture", valid.IMAGE, lambda root: (
        valid.samples(root, 1), valid.put(root / f"iuv/{LABEL}.png", valid.iuv_png())), _tiles, _finite, "labels"),
    # label pictures
    "parsing png": Door("classes", f"parsing/{LABEL}.png", _with(f"parsing/{LABEL}.png", valid.label_png),
                        partial(_labels, name="parsing"), _parts, "labels", cost=2),
    "surfaces png": Door("classes", f"labels/{LABEL}.png", _with(f"labels/{LABEL}.png", valid.label_png),
                         partial(_labels, name="surfaces"), _parts, "labels", cost=2),
    "parsing import": Door("classes", f"given/{LABEL}.png", _with(f"given/{LABEL}.png", valid.label_png),
                           partial(_import, kind="parsing", given="given", parser="lip"), _parts, "labels", cost=8),
    "parsing drawn": Door("classes", f"parsing/{LABEL}.png", _with(f"parsing/{LABEL}.png", valid.label_png),
                          _drawn_labels, _finite, "labels", cost=30, tolerant=True),
    "labels check": Door("classes", f"parsing/{LABEL}.png", _with(f"parsing/{LABEL}.png", valid.label_png), _checked,
                         owner="labels", cost=5, tolerant=True),
    "iuv": Door("iuv", f"iuv/{LABEL}.png", _with(f"iuv/{LABEL}.png", valid.iuv_png),
                partial(_labels, name="densepose"), _parts, "labels", cost=3),
    "iuv import": Door("iuv", f"given/{LABEL}.png", _with(f"given/{LABEL}.png", valid.iuv_png),
                       partial(_import, kind="densepose", given="given"), _parts, "labels", cost=6),
    "tiles": Door("iuv", f"iuv/{LABEL}.png", _with(f"iuv/{LABEL}.png", valid.iuv_png), _tiles, _finite, "labels"),
    "person ids": Door("ids", f"iuv/{LABEL}_INDS.png", lambda root: (
        valid.samples(root, 1), valid.put(root / f"iuv/{LABEL}_IUV.png", valid.iuv_png()),
        valid.put(root / f"iuv/{LABEL}_INDS.png", valid.ids_png())), partial(_labels, name="densepose"), _parts,
        "labels", cost=3),
    # arrays
    "parsing npy": Door("npy", f"parsing/{LABEL}.npy", _with(f"parsing/{LABEL}.npy", lambda: valid.npy(
        valid.classes())), partial(_labels, name="parsing"), _parts, "labels", cost=2),
    "logits": Door("npy", f"parsing/{LABEL}.npy", _with(f"parsing/{LABEL}.npy", lambda: valid.npy(
        np.eye(20, dtype=np.float32)[valid.classes()])), partial(_labels, name="parsing"), _parts, "labels", cost=2),
    "pifpaf": Door("npy", f"masks/pifpaf_maskrcnn_filtering/{LABEL}.npy", _with(
        f"masks/pifpaf_maskrcnn_filtering/{LABEL}.npy", lambda: valid.npy(valid.fields())),
        partial(_labels, name="pifpaf"), _parts, "labels", cost=2),
    "pifpaf import": Door("npy", f"given/{LABEL}.npy", _with(f"given/{LABEL}.npy", lambda: valid.npy(valid.fields())),
                          partial(_import, kind="pifpaf", given="given"), _parts, "labels", cost=6),
    "pifpaf raw": Door("npz", f"masks/pifpaf_maskrcnn_filtering/{LABEL}.npz", _with(
        f"masks/pifpaf_maskrcnn_filtering/{LABEL}.npz", valid.raw_fields), partial(_labels, name="pifpaf"), _parts,
        "labels", cost=3),
    # keypoints
    "keypoints": Door("people", f"keypoints/{LABEL}.json", _with(f"keypoints/{LABEL}.json", lambda: json.dumps(
        [valid.person(), valid.person(is_target=True)])), partial(_labels, name="keypoints"), _parts, "labels"),
    "keypoints import": Door("people", f"given/{LABEL}.json", _with(f"given/{LABEL}.json", lambda: json.dumps(
        [valid.person()])), partial(_import, kind="keypoints", given="given"), _parts, "labels", cost=8),
    "coco": Door("coco", "keypoints.json", _with("keypoints.json", lambda: json.dumps(valid.coco())),
                 partial(_labels, name="keypoints"), _parts, "labels", cost=8),
    "coco results": Door("results", "keypoints.json", _with("keypoints.json", lambda: json.dumps(valid.results())),
                         partial(_labels, name="keypoints", shape="gauss", parts="eight"), _parts, "labels", cost=8),
    "coco import": Door("coco", "given.json", lambda root: (valid.samples(root, 2), valid.put(
        root / "given.json", json.dumps(valid.coco()))), partial(_import, kind="keypoints", given="given.json"),
        _parts, "labels", cost=12),
    # dumps of DensePose
    **{f"dump {form} {write}": Door(f"dump {write}", "dump.pkl", _with("dump.pkl", partial(valid.dump, form, write)),
                                    _imported, owner="labels", cost=4)
       for form, write in (("labels", "zip"), ("raw", "legacy"), ("labels", "pickle"), ("png", "pickle"),
                           ("old", "pickle"), ("uint8", "zip"))},
    # checkpoints of others
    **{f"checkpoint {kind}": Door(f"checkpoint {kind}", "x.safetensors" if kind == "safetensors" else "x.pth",
                                  _with("x.safetensors" if kind == "safetensors" else "x.pth",
                                        partial(valid.weights, kind)),
                                  partial(_converted, name="x.safetensors" if kind == "safetensors" else "x.pth"),
                                  owner="bundles", cost=3)
       for kind in ("zip", "legacy", "safetensors")},
    **{f"module {kind}": Door(f"module {kind}", "x.pth", _with("x.pth", partial(valid.whole_module, kind)),
                              partial(_converted, name="x.pth"), owner="bundles", cost=3) for kind in ("zip", "legacy")},
    # files of ours
    "model": Door("model", "model.safetensors", valid.run, _loaded, _finite, "bundles", cost=120),
    "global model": Door("model", "model.safetensors", partial(valid.run, method="bot"), _loaded, _finite, "bundles",
                         cost=120),
    "start": Door("weights", "model.safetensors", partial(valid.run, method="bot"), _started, _finite, "runs", cost=40),
    "checkpoint": Door("weights", "run/checkpoint.safetensors", _lay_stopped, _resumed, owner="runs", cost=250, fresh=True),
    "calibration": Door("calibration", "calibration.json", lambda root: (valid.run(root), valid.put(
        root / "calibration.json", valid.calibration())), _decided, owner="bundles", cost=120),
    "recipe": Door("recipe", "recipe.json", partial(valid.run, method="bot"), _run_again, owner="runs", cost=8, fresh=True),
    "journal": Door("lines", "journal.jsonl", valid.journal, _journalled, owner="runs", tolerant=True, cost=2),
    "ledger": Door("ledger", "ledger.jsonl", valid.ledger, _ledgered, owner="runs", cost=20),
    "ledger append": Door("ledger", "ledger.jsonl", valid.ledger, _appended, owner="runs", cost=5, fresh=True),
    "claims": Door("json", f"{valid.recipe('bot').name.replace('/', '.')}/seed1/claims.json", _lay_claims, _claimed,
                   _finite, "runs", cost=2),
    "label cache": Door("cache", "labels.safetensors", valid.label_cache, _cached, _parts, "labels", cost=2),
    "origin": Door("json", "new/origin.json", _lay_claimed_folder, _kept, owner="labels", tolerant=True, cost=8),
    "test sets": Door("json", "images_labeled/testsets.json", _lay_cuhk, lambda root: len(build.benchmark(
        "cuhk03_labeled_classic", root).query), owner="pictures", cost=2),
    "world": Door("json", "world/world.json", lambda root: valid.world(root / _world), _sheet, owner="pictures",
                  cost=60, tolerant=True),
    "annotations": Door("lines", "world/annotations.jsonl", lambda root: valid.world(root / _world), _sheet,
                        owner="pictures", cost=60, tolerant=True),
    # data sets
    "table csv": Door("csv", "table.csv", lambda root: valid.put(root / "table.csv", valid.csv(valid.table(root))),
                      _read_table, owner="pictures", cost=3),
    "table parquet": Door("parquet", "table.parquet", lambda root: valid.put(
        root / "table.parquet", valid.parquet(valid.table(root))), _read_table, owner="pictures", cost=5),
    "list of crops": Door("list", "crops.txt", lambda root: (valid.run(root), valid.put(
        root / "crops.txt", "a.jpg\nb.jpg\n")), lambda root: len(crop_paths(listed(root / "crops.txt"))),
        owner="bundles", cost=2),
    "msmt17": Door("list", "list_query.txt", valid.msmt, lambda root: len(build.benchmark("msmt17", root).query),
                   owner="pictures", cost=2),
    "occluded duke": Door("list", "lists/query.list", valid.occluded_lists, lambda root: (
        __import__("shutil").rmtree(root / "out", ignore_errors=True),
        convert_occluded_duke(root / "duke", root / "lists", root / "out"))[1], owner="pictures", cost=3),
    "protocol mat": Door("mat5", "cuhk03_new_protocol_config_labeled.mat", valid.mat5, lambda root: len(
        build.benchmark("cuhk03_labeled", root).query), owner="pictures", cost=5),
    "images mat": Door("mat73", "cuhk-03.mat", valid.mat73, _unpacked, owner="pictures", cost=15),
}

_ = Sample, _turned
