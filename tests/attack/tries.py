"""What a user would do with a tree in which one file is bad: the readings behind the doors, and
what is sound.
"""

import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from partreid import build
from partreid.bulk import Job, embed_shards, load_shards
from partreid.convert.reading import read as read_checkpoint
from partreid.data.findings import explain
from partreid.data.loader import image_batches
from partreid.data.occluded_duke import convert_occluded_duke
from partreid.data.synthetic import contact_sheet
from partreid.evaluation import ledger
from partreid.experiments.claims import _outcome
from partreid.inference import Model, crop_paths, listed, load
from partreid.labels.imported import import_dump
from partreid.labels.tools.check import check
from partreid.labels.tools.importing import import_labels
from partreid.labels.tools.models import Parser
from partreid.labels.tools.predict import make
from partreid.labels.tools.preview import preview
from partreid.recipes.base import Spec, from_plain
from partreid.report.tables import chosen, lines, mean, page
from partreid.train.journal import Journal, read, write_csv
from partreid.train.loop import Options, train
from partreid.train.start import start_from
from partreid.types import Benchmark
from partreid.utils.files import read_json
from tests.attack import runs, valid
from tests.attack.harness import Unsound

# Sound


def parts(items: Any) -> None:
    """Part labels are uint8 [H, W] of the cue's parts, 0 and 255."""
    for item, scheme in items:
        if item.dtype != np.uint8 or item.ndim != 2 or item.size == 0:
            raise Unsound(f"labels are {item.dtype} {item.shape}")
        strange = set(np.unique(item).tolist()) - {*range(scheme.K + 1), 255}
        if strange:
            raise Unsound(f"labels hold {sorted(strange)[:5]}, there are {scheme.K} parts")


def finite(values: Any) -> None:
    for value in values:
        array = (
            value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        )
        if not np.isfinite(array).all():
            raise Unsound("numbers that are not finite")


# Crops


@cache
def model() -> Model:
    with tempfile.TemporaryDirectory() as folder:
        runs.run(Path(folder))
        return load(folder, "cpu")


def embedded(root: Path) -> Any:
    e = model().embed([root / "a.jpg"])
    return [e.vectors, e.visibility]


def compared(root: Path) -> Any:
    comparison = model().compare(root / "a.jpg", root / "b.jpg")
    return [[comparison.distance], np.asarray(comparison.picture())]


def data_checked(root: Path) -> Any:
    return [str(problem) for problem in explain("folders", root).problems]


def loaded_for_training(root: Path) -> Any:
    return list(image_batches(valid.known(root), (64, 32), 2))


def labels_made(root: Path) -> Any:
    class Fake(Parser):
        def __init__(self) -> None:
            self.source = "lip"

        def __call__(self, images: Any) -> Any:
            return [np.ones((image.height, image.width), np.uint8) for image in images]

    return make(Fake(), root / valid.SPLIT, root / "made", overwrite=True).sentence


def previewed(root: Path, name: str) -> Any:
    return [np.asarray(preview(Spec(name), valid.crops(root)))]


# Labels


def labels(root: Path, name: str, **args: Any) -> Any:
    """All labels of a cue, as training reads them."""
    cue: Any = build.cue(Spec(name, **args), valid.crops(root))
    return [(cue[i], cue.scheme) for i in range(len(valid.known(root)))]


def imported(root: Path, kind: Any, given: str, **options: Any) -> Any:
    """What ``labels import`` writes, read again."""
    out = root / ("masks/new" if kind == "pifpaf" else "new")
    written = import_labels(kind, root / given, valid.crops(root), out, overwrite=True, **options)
    return labels(root, written.cue.name, **written.cue.args)


def imported_again(root: Path) -> Any:
    """An import into a folder that already holds labels of ours."""
    return import_labels(
        "parsing", root / "given", valid.crops(root), root / "new", parser="lip"
    ).sentence


def labels_checked(root: Path) -> Any:
    return [str(problem) for problem in check(Spec("parsing"), valid.crops(root)).problems]


def tiled(root: Path) -> Any:
    cue: Any = build.cue(Spec("uv_tiles", cache=False), valid.crops(root))
    return [cue[0]]


def dump_imported(root: Path) -> Any:
    return import_dump(
        root / "dump.pkl", valid.known(root)[:1], root / "iuv", overwrite=True
    ).sentence()


# Runs, ours and others'


def converted(root: Path, name: str) -> Any:
    tensors = read_checkpoint(root / name)
    if not tensors:
        raise Unsound("no tensors and no word")
    return [(key, value.shape) for key, value in tensors.items()][:50]


def loaded(root: Path) -> Any:
    """A model is loaded and used."""
    one = load(root, "cpu")
    comparison = one.compare(root / "a.jpg", root / "b.jpg")
    e = one.embed([root / "a.jpg", root / "b.jpg"])
    return [[comparison.distance], e.vectors, e.visibility, np.asarray(comparison.picture())]


def decided(root: Path) -> Any:
    comparison = load(root, "cpu").compare(root / "a.jpg", root / "b.jpg")
    if comparison.probability is None:
        if not comparison.reason or comparison.same:
            raise Unsound(f"nothing decided for no reason, or called one person: {comparison.same}")
        return comparison.reason
    if not 0 <= comparison.probability <= 1:
        raise Unsound(f"a probability of {comparison.probability}")
    return comparison.probability, comparison.same


def resumed(root: Path) -> Any:
    benchmark = build.benchmark("folders", root / "data")
    return train(
        runs.recipe("bot"), benchmark, root / "run", Options(device="cpu", resume=True)
    ).name


def started(root: Path) -> Any:
    torch.manual_seed(0)
    method = build.method(runs.recipe("bot"), 5, None)
    start_from(method, root / "model.safetensors")
    return list(method.state_dict().values())


def claimed_again(root: Path) -> Any:
    return from_plain(read_json(root / "recipe.json")).name


def journalled(root: Path) -> Any:
    entries = read(root / "journal.jsonl")
    write_csv(entries, root / "metrics.csv")
    seconds = ledger.trained_for(root)
    Journal(root / "journal.jsonl").rewind(2)
    return len(entries), seconds


def ledgered(root: Path) -> Any:
    entries = ledger.read(root / "ledger.jsonl")
    rows = chosen("synthetic/tiny", None, None, None)
    shown = [mean(line.ours("mAP"), len(line.runs)) for line in lines(rows, entries)]
    if any(not 0 <= v <= 1 for entry in entries for v in entry.scores.values()):
        raise Unsound("a score that is none")
    return shown, len(page(rows, entries))


def appended(root: Path) -> Any:
    one = replace(ledger.read(runs.ledger(root / "other"))[0], seed=9)
    ledger.append(root / "ledger.jsonl", [one])
    return len(ledger.read(root / "ledger.jsonl"))


def scored_again(root: Path) -> Any:
    """What ``partreid claims`` left of an earlier time."""
    outcome = _outcome(runs.recipe("bot"), Benchmark("x", root, (), {}, ()), root, "cpu")
    return [*outcome.ap.values(), *outcome.first.values()]


# Data sets


def read_set(root: Path, name: str) -> Any:
    dataset = build.benchmark(name, root)
    return len(dataset.train), len(dataset.query), len(dataset.gallery)


def unpacked(root: Path) -> Any:
    shutil.rmtree(root / "images_labeled", ignore_errors=True)
    return read_set(root, "cuhk03_labeled_classic")


def occluded_duke(root: Path) -> Any:
    shutil.rmtree(root / "out", ignore_errors=True)
    return convert_occluded_duke(root / "duke", root / "lists", root / "out")


def shards_embedded(root: Path) -> Any:
    shutil.rmtree(root / "out", ignore_errors=True)
    job = Job(root, root / "out", "cpu", strict=True)
    return embed_shards(job, [root / "shards" / "s.parquet"])


def shards_loaded(root: Path) -> Any:
    e = load_shards(root / "out").saved.embeddings
    return e.vectors, e.visibility


def crops_listed(root: Path) -> Any:
    return len(crop_paths(listed(root / "crops.txt")))


def sheet_drawn(root: Path) -> Any:
    return contact_sheet(root / "world", root / "sheet.png", show="labels", identities=2).name
