"""A good example of every kind of file that is read, made anew: what the attacks start from."""

import base64
import io
import json
import pickle
import sys
from contextlib import contextmanager
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image

from partreid import build
from partreid.cues.cached import write_cache
from partreid.cues.schemes import PIFPAF, SURFACES, find, scheme_of
from partreid.distance import PartDistance
from partreid.evaluate import decision
from partreid.labels.importing import encode_classes
from partreid.ledger import INTERVALS, SCORES, Entry
from partreid.match import MARKET
from partreid.match.calibration import Source, calibrate
from partreid.recipes import Recipe, override, to_plain
from partreid.recipes import find as find_recipe
from partreid.train.checkpoint import save_tensors
from partreid.types import Benchmark, Embeddings, PartScheme, Sample

HIGH, WIDE = 64, 32  # a crop
SPLIT, STEM = "bounding_box_train", "0001_c1s1_000001_00"
IMAGE = f"{SPLIT}/{STEM}.jpg"
STANDING = (
    (32, 14), (34, 12), (30, 12), (37, 13), (27, 13), (43, 28), (21, 28), (48, 46), (16, 46), (50, 62), (14, 62),
    (38, 64), (26, 64), (39, 90), (25, 90), (39, 114), (25, 114))  # in a crop of 64 x 128
PEOPLE = 3


def put(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@cache
def photo(kind: str = "JPEG", seed: int = 0, size: tuple[int, int] = (WIDE, HIGH), mode: str = "RGB") -> bytes:
    """A crop with some structure, as a file of this kind."""
    soft = np.random.default_rng(seed).integers(0, 256, (8, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(soft).resize(size, Image.Resampling.BICUBIC).convert(mode).save(file, kind)
    return file.getvalue()


def samples(root: Path, count: int = 2) -> tuple[Sample, ...]:
    """Crops in Market's layout, one person each."""
    paths = [root / SPLIT / f"{i + 1:04d}{STEM[4:]}.jpg" for i in range(count)]
    return tuple(Sample(put(path, photo(seed=i)), i + 1, 1) for i, path in enumerate(paths))


def known(root: Path) -> tuple[Sample, ...]:
    """The same crops, when they lie there."""
    return tuple(Sample(path, i, 1) for i, path in enumerate(sorted((root / SPLIT).glob("*.jpg")), 1))


def crops(root: Path) -> Benchmark:
    return Benchmark("crops", root, known(root), {}, ())


def own_folders(root: Path) -> None:
    """A data set of the kind ``folders`` with three people."""
    for i, name in enumerate(("anna", "ben", "cleo")):
        for j, place in enumerate((f"train/{name}/t_c1_1.jpg", f"train/{name}/t_c2_1.jpg", f"query/{name}/q_c1_1.jpg",
                                   f"gallery/{name}/g_c2_1.jpg")):
            put(root / place, photo(seed=10 * i + j))


def classes(highest: int = 19) -> np.ndarray:
    """Class indices uint8 [HIGH, WIDE]."""
    return np.random.default_rng(1).integers(0, highest + 1, (8, 4), np.uint8).repeat(8, 0).repeat(8, 1)


def label_png(highest: int = 19) -> bytes:
    return encode_classes(classes(highest))


def iuv_png() -> bytes:
    labels = classes(24)
    uv = np.random.default_rng(2).integers(0, 256, (HIGH, WIDE, 2), np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.concatenate([labels[..., None], uv * (labels[..., None] > 0)], 2)).save(file, "PNG")
    return file.getvalue()


def ids_png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(HIGH, dtype=np.uint8)[:, None].repeat(WIDE, 1) // 32).save(file, "PNG")
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def fields() -> np.ndarray:
    return np.random.default_rng(3).random((36, 9, 5)).astype(np.float32)


def raw_fields() -> bytes:
    draw = np.random.default_rng(4)
    joints, limbs = draw.normal(0, 9, (17, 5, 9, 5)), draw.normal(0, 9, (19, 9, 9, 5))
    joints[:, 1], limbs[:, 1] = draw.random((17, 9, 5)), draw.random((19, 9, 5))
    return npz(cif=joints.astype(np.float32), caf=limbs.astype(np.float32))


def person(**more: Any) -> dict[str, Any]:
    """COCO's 17 joints in a crop of WIDE x HIGH."""
    return {"keypoints": [v for x, y in STANDING for v in (x / 2, y / 2, 0.9)], "score": 0.8, **more}


def coco() -> dict[str, Any]:
    flagged = person()
    flagged["keypoints"][2::3] = [2] * 17
    return {"images": [{"id": i, "file_name": f"{SPLIT}/{i:04d}{STEM[4:]}.jpg"} for i in (1, 2)],
            "annotations": [{"image_id": i, **flagged} for i in (1, 2)]}


def results() -> list[dict[str, Any]]:
    return [person(image_id=f"{SPLIT}/{i:04d}{STEM[4:]}.jpg") for i in (1, 2)]


# DensePose


@contextmanager
def _installed() -> Iterator[Any]:
    """``make(module, class, **attributes)`` while DensePose and detectron2 seem to be there."""
    made: dict[str, ModuleType] = {}

    def make(module: str, name: str, **attributes: Any) -> Any:
        for i in range(1, module.count(".") + 2):
            package = ".".join(module.split(".")[:i])
            sys.modules[package] = made.setdefault(package, ModuleType(package))
        if not hasattr(made[module], name):
            setattr(made[module], name, type(name, (), {"__module__": module}))
        thing = getattr(made[module], name)()
        vars(thing).update(attributes)
        return thing

    try:
        yield make
    finally:
        for package in made:
            del sys.modules[package]


@cache
def dump(form: str, write: str) -> bytes:
    """One person in the first crop. form: labels, uint8, png, raw or old. write: zip, legacy or pickle."""
    size = (48, 20)
    draw = torch.Generator().manual_seed(5)
    labels = torch.randint(0, 25, (6, 4), generator=draw).repeat_interleave(8, 0).repeat_interleave(5, 1)
    uv = torch.rand(2, *size, generator=draw) * (labels > 0)
    packed = torch.cat([labels[None], (uv * 255).long()]).to(torch.uint8)
    box = torch.tensor([[4.0, 8.0, 24.0, 56.0]])
    file = io.BytesIO()
    Image.fromarray(packed.permute(1, 2, 0).numpy()).save(file, "PNG")
    text = base64.encodebytes(file.getvalue()).decode()
    home = "densepose.structures.chart_result"
    with _installed() as make:
        chart: Any = {
            "labels": lambda: [make(home, "DensePoseChartResult", labels=labels, uv=uv)],
            "uint8": lambda: [make(home, "DensePoseChartResultQuantized", labels_uv_uint8=packed)],
            "png": lambda: [make(home, "DensePoseChartResultCompressed", shape_chw=(3, *size), labels_uv_str=text)],
            "raw": lambda: make("densepose.structures", "DensePoseChartPredictorOutput", **{
                name: torch.rand(1, depth, 14, 14, generator=draw)
                for name, depth in (("coarse_segm", 2), ("fine_segm", 25), ("u", 25), ("v", 25))}),
            "old": lambda: make("densepose.structures", "DensePoseResult", results=[((3, *size), text)],
                                boxes_xywh=torch.tensor([[4.0, 8.0, 20.0, 48.0]])),
        }[form]()
        found = [{"file_name": f"images/{SPLIT}/{STEM}.jpg", "scores": torch.tensor([0.9]), "pred_boxes_XYXY": box,
                  "pred_densepose": chart}]
        file = io.BytesIO()
        if write == "pickle":
            pickle.dump(found, file)
        else:
            torch.save(found, file, _use_new_zipfile_serialization=write == "zip")
    return file.getvalue()


# Runs


@cache
def recipe(method: str = "bpbreid") -> Recipe:
    return override(find_recipe(f"synthetic/tiny/{method}"), (
        "stages.epochs=2", "stages.batch=[2,2]", "size=[64,32]", "backbone.width=8", "cues.parts=stripes")
        if method == "bpbreid" else ("stages.epochs=2", "stages.batch=[2,2]", "size=[64,32]", "backbone.width=8"))


@cache
def scheme() -> PartScheme:
    found = build.cue(recipe().cues["parts"], Benchmark("crops", Path(), (), {}, ())).scheme
    assert found is not None
    return found


@cache
def model(method: str = "bpbreid") -> bytes:
    """A finished model, never trained."""
    torch.manual_seed(6)
    of = recipe(method)
    parts = scheme() if "parts" in of.cues else None
    built = build.method(of, PEOPLE, parts)
    return _saved(built.at_test().state_dict(), {
        "recipe": to_plain(of), "identities": PEOPLE, "steps": 4,
        "parts": {"names": parts.names, "flip": parts.flip} if parts else None})


def _saved(tensors: Any, meta: Any) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        save_tensors(path, tensors, meta)
        return path.read_bytes()


@cache
def weights(kind: str) -> bytes:
    """A checkpoint of another project: a ResNet-50 of torchvision's names, one number in each tensor but its shape."""
    from partreid.layers.backbones import BACKBONES

    with torch.device("meta"):
        own = BACKBONES["small"](width=8).state_dict()
    tensors = {f"module.{name}": torch.zeros(t.shape, dtype=t.dtype) for name, t in list(own.items())[:12]}
    file = io.BytesIO()
    if kind == "safetensors":
        from safetensors.torch import save

        return save(tensors)
    torch.save({"state_dict": tensors, "epoch": 3}, file, _use_new_zipfile_serialization=kind == "zip")
    return file.getvalue()


@cache
def whole_module(kind: str) -> bytes:
    """``torch.save(model)`` of a class that is not there."""
    with _installed() as make:
        inner = make("reid.models", "Part")
        vars(inner).update(_parameters={"weight": torch.nn.Parameter(torch.ones(3, 2))}, _buffers={}, _modules={})
        outer = make("reid.models", "Net")
        vars(outer).update(_parameters={}, _buffers={"mean": torch.zeros(4)}, _modules={"part": inner})
        file = io.BytesIO()
        torch.save(outer, file, _use_new_zipfile_serialization=kind == "zip")
    return file.getvalue()


@cache
def calibration() -> bytes:
    """A calibration of :func:`model`, made on made-up people."""
    import tempfile

    from partreid.api import load

    draw, people = np.random.default_rng(7), 24
    who = np.repeat(np.arange(people), 3)
    places = draw.normal(0, 1, (people, 2, 8))
    query, gallery = (tuple(Sample(Path(f"{side}{i}"), int(w) + 1, camera) for i, w in enumerate(who))
                      for side, camera in (("q", 1), ("g", 2)))

    def seen() -> Embeddings:
        vectors = torch.tensor(places[who] + draw.normal(0, 0.6, (len(who), 2, 8)), dtype=torch.float32)
        return Embeddings(vectors, torch.tensor(draw.random((len(who), 2)) > 0.2).float(), ("a", "b"))

    pairs = decision.known_pairs(PartDistance("euclidean"), {"query": seen()}, seen(),
                                 Benchmark("made", Path(), (), {"query": query}, gallery), MARKET)
    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder) / "model.safetensors", model())
        bound = load(folder, "cpu").bound
        source = Source(**vars(bound), data="folders", queries=("query",), images="i" * 64, gallery="g" * 64,
                        version="0.1.0", date="2026-01-01")
        file = Path(folder) / decision.FILE
        decision.save(calibrate(pairs, source, rate=0.02), file)
        return file.read_bytes()


def run(root: Path, method: str = "bpbreid") -> Path:
    """A run folder with a model, and two crops to ask about."""
    put(root / "model.safetensors", model(method))
    put(root / "recipe.json", json.dumps(to_plain(recipe(method))))
    put(root / "a.jpg", photo(seed=1))
    put(root / "b.jpg", photo(seed=2))
    return root


def journal(root: Path) -> Path:
    lines = [{"step": i, "stage": 0, "epoch": 0, "lr": 0.01, "loss": 2.5, "id_global": 1.0, "seconds": 0.1}
             for i in range(1, 4)]
    return put(root / "journal.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def ledger(root: Path) -> Path:
    entry = Entry(recipe().name, recipe().digest, 1, "synthetic-tiny", "market1501", "query", False, True,
                  dict.fromkeys(SCORES, 0.5), dict.fromkeys(INTERVALS, (0.4, 0.6)), 8, 8, 20, 12.5, "cpu", "0.1.0",
                  None, "2026-01-01T00:00:00+00:00")
    lines = [json.dumps({**vars(entry), "seed": seed}) + "\n" for seed in (1, 2)]
    return put(root / "ledger.jsonl", "".join(lines))


@cache
def trained(root: Path) -> Path:
    """A run that stopped in the middle: its checkpoint, in ``root``, with the data it was trained on."""
    from partreid.train.loop import Options, train

    own_folders(root / "data")
    train(recipe("bot"), build.benchmark("folders", root / "data"), root / "run",
          Options(device="cpu", stop_after=2, save_every=1))
    return root / "run"


def label_cache(root: Path) -> Path:
    every = samples(root)
    table = find(SURFACES, "five", "surface grouping")
    write_cache(root / "labels.safetensors", [classes(4) for _ in every], [f"{SPLIT}/{s.path.name}" for s in every],
                (HIGH, WIDE), scheme_of(table))
    return root / "labels.safetensors"


# Tables and data sets


def table(root: Path) -> list[tuple[str, str, str, str]]:
    own_folders(root)
    rows = [(str(p.relative_to(root)), p.parent.name, p.name.split("_")[1], p.parent.parent.name)
            for p in sorted(root.rglob("*.jpg"))]
    return [("path", "identity", "camera", "split"), *rows]


def csv(rows: Sequence[Sequence[str]]) -> str:
    return "".join(",".join(row) + "\n" for row in rows)


def parquet(rows: Sequence[Sequence[str]]) -> bytes:
    import pyarrow
    from pyarrow import parquet as format_

    header, *lines = rows
    file = pyarrow.BufferOutputStream()
    format_.write_table(pyarrow.table({name: [line[i] for line in lines] for i, name in enumerate(header)}), file)
    return bytes(file.getvalue().to_pybytes())


def msmt(root: Path) -> None:
    for name, folder, text in (
            ("list_train.txt", "train", "0000/0000_000_01_0303morning_0008_0.jpg 0\n0001/0001_000_15_0303noon_0008_0.jpg 1\n"),
            ("list_val.txt", "train", "0000/0000_001_02_0303morning_0009_0.jpg 0\n"),
            ("list_query.txt", "test", "0000/0000_000_03_0303morning_0008_0.jpg 0\n"),
            ("list_gallery.txt", "test", "0000/0000_001_04_0303morning_0008_0.jpg 0\n")):
        put(root / name, text)
        for line in text.splitlines():
            put(root / folder / line.split()[0], photo())


def occluded_lists(root: Path) -> None:
    for split, name in (("bounding_box_train", "0001_c2_f0046182.jpg"), ("query", "0005_c2_f0046985.jpg"),
                        ("bounding_box_test", "0005_c1_f0044158.jpg")):
        put(root / "duke" / split / name, photo())
        word = {"bounding_box_train": "train", "bounding_box_test": "gallery"}.get(split, split)
        put(root / "lists" / f"{word}.list", f"{name}\n")


def mat5(root: Path) -> Path:
    """CUHK03's new protocol, MATLAB 5, beside unpacked images."""
    from scipy import io as scipy_io

    names = [f"1_{person:03d}_{view}_{n:02d}.png" for person in (1, 2) for view, n in ((1, 1), (2, 6))]
    for name in names:
        put(root / "images_labeled" / name, photo("PNG"))
    cells = np.empty((len(names), 1), object)
    cells[:, 0] = names
    file = root / "cuhk03_new_protocol_config_labeled.mat"
    scipy_io.savemat(file, {"filelist": cells, "train_idx": np.array([[1], [2]]), "query_idx": np.array([[3]]),
                            "gallery_idx": np.array([[4]])})
    return file


def mat73(root: Path) -> Path:
    """CUHK03's images, MATLAB 7.3: one pair of cameras, two people, two views."""
    import h5py

    root.mkdir(parents=True, exist_ok=True)
    path = root / "cuhk-03.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        pixels = np.random.default_rng(8).integers(0, 256, (3, 8, 16), np.uint8)
        picture = file.create_dataset("#refs#/p", data=pixels).ref
        empty = file.create_dataset("#refs#/e", data=np.zeros(2, np.uint64)).ref
        for kind in ("labeled", "detected"):
            people = file.create_dataset(f"#refs#/{kind}", (10, 2), h5py.ref_dtype)
            for n in range(10):
                for person in range(2):
                    people[n, person] = picture if n in (0, 5) else empty
            file.create_dataset(kind, (1, 1), h5py.ref_dtype)[0, 0] = people.ref
        tests = file.create_dataset("testsets", (1, 20), h5py.ref_dtype)
        pairs = file.create_dataset("#refs#/t", data=np.array([[1.0], [2.0]])).ref
        for i in range(20):
            tests[0, i] = pairs
    return path


def world(root: Path) -> Path:
    """A tiny synthetic world: two people, as they are written."""
    from partreid.data.synthetic import PRESETS, write

    return write(replace(PRESETS["tiny"]), root, iuv=True, workers=1)


def bytes_of(root: Path, place: str) -> bytes:
    return (root / place).read_bytes()


_ = PIFPAF
