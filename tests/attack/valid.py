"""A good example of every kind of picture, label and dump, made anew: what the attacks start
from.
"""

import base64
import io
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image

from partreid.labels.cached import write_cache
from partreid.labels.schemes import SURFACES, find, scheme_of
from partreid.labels.tools.importing import encode_classes
from partreid.types import Benchmark, Sample

HIGH, WIDE = 64, 32  # a crop
SPLIT, STEM = "bounding_box_train", "0001_c1s1_000001_00"
IMAGE = f"{SPLIT}/{STEM}.jpg"
STANDING = (
    (32, 14),
    (34, 12),
    (30, 12),
    (37, 13),
    (27, 13),
    (43, 28),
    (21, 28),
    (48, 46),
    (16, 46),
    (50, 62),
    (14, 62),
    (38, 64),
    (26, 64),
    (39, 90),
    (25, 90),
    (39, 114),
    (25, 114),
)  # in a crop of 64 x 128


def put(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@cache
def photo(
    kind: str = "JPEG", seed: int = 0, size: tuple[int, int] = (WIDE, HIGH), mode: str = "RGB"
) -> bytes:
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
    return tuple(
        Sample(path, i, 1) for i, path in enumerate(sorted((root / SPLIT).glob("*.jpg")), 1)
    )


def crops(root: Path) -> Benchmark:
    return Benchmark("crops", root, known(root), {}, ())


def own_folders(root: Path) -> None:
    """A data set of the kind ``folders`` with three people."""
    for i, name in enumerate(("anna", "ben", "cleo")):
        for j, place in enumerate(
            (
                f"train/{name}/t_c1_1.jpg",
                f"train/{name}/t_c2_1.jpg",
                f"query/{name}/q_c1_1.jpg",
                f"gallery/{name}/g_c2_1.jpg",
            )
        ):
            put(root / place, photo(seed=10 * i + j))


def classes(highest: int = 19) -> np.ndarray:
    """Class indices uint8 [HIGH, WIDE]."""
    return (
        np.random.default_rng(1)
        .integers(0, highest + 1, (8, 4), np.uint8)
        .repeat(8, 0)
        .repeat(8, 1)
    )


def label_png(highest: int = 19) -> bytes:
    return encode_classes(classes(highest))


def iuv_png() -> bytes:
    labels = classes(24)
    uv = np.random.default_rng(2).integers(0, 256, (HIGH, WIDE, 2), np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.concatenate([labels[..., None], uv * (labels[..., None] > 0)], 2)).save(
        file, "PNG"
    )
    return file.getvalue()


def ids_png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(HIGH, dtype=np.uint8)[:, None].repeat(WIDE, 1) // 32).save(
        file, "PNG"
    )
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
    return {
        "keypoints": [v for x, y in STANDING for v in (x / 2, y / 2, 0.9)],
        "score": 0.8,
        **more,
    }


def coco() -> dict[str, Any]:
    flagged = person()
    flagged["keypoints"][2::3] = [2] * 17
    return {
        "images": [{"id": i, "file_name": f"{SPLIT}/{i:04d}{STEM[4:]}.jpg"} for i in (1, 2)],
        "annotations": [{"image_id": i, **flagged} for i in (1, 2)],
    }


def results() -> list[dict[str, Any]]:
    return [person(image_id=f"{SPLIT}/{i:04d}{STEM[4:]}.jpg") for i in (1, 2)]


def label_cache(root: Path) -> Path:
    every = samples(root)
    table = find(SURFACES, "five", "surface grouping")
    write_cache(
        root / "labels.safetensors",
        [classes(4) for _ in every],
        [f"{SPLIT}/{s.path.name}" for s in every],
        (HIGH, WIDE),
        scheme_of(table),
    )
    return root / "labels.safetensors"


# DensePose


@contextmanager
def installed() -> Iterator[Any]:
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
    """One person in the first crop. form: labels, uint8, png, raw or old. write: zip, legacy or
    pickle.
    """
    size = (48, 20)
    draw = torch.Generator().manual_seed(5)
    labels = (
        torch.randint(0, 25, (6, 4), generator=draw).repeat_interleave(8, 0).repeat_interleave(5, 1)
    )
    uv = torch.rand(2, *size, generator=draw) * (labels > 0)
    packed = torch.cat([labels[None], (uv * 255).long()]).to(torch.uint8)
    box = torch.tensor([[4.0, 8.0, 24.0, 56.0]])
    file = io.BytesIO()
    Image.fromarray(packed.permute(1, 2, 0).numpy()).save(file, "PNG")
    text = base64.encodebytes(file.getvalue()).decode()
    home = "densepose.structures.chart_result"
    with installed() as make:
        chart: Any = {
            "labels": lambda: [make(home, "DensePoseChartResult", labels=labels, uv=uv)],
            "uint8": lambda: [make(home, "DensePoseChartResultQuantized", labels_uv_uint8=packed)],
            "png": lambda: [
                make(
                    home, "DensePoseChartResultCompressed", shape_chw=(3, *size), labels_uv_str=text
                )
            ],
            "raw": lambda: make(
                "densepose.structures",
                "DensePoseChartPredictorOutput",
                **{
                    name: torch.rand(1, depth, 14, 14, generator=draw)
                    for name, depth in (("coarse_segm", 2), ("fine_segm", 25), ("u", 25), ("v", 25))
                },
            ),
            "old": lambda: make(
                "densepose.structures",
                "DensePoseResult",
                results=[((3, *size), text)],
                boxes_xywh=torch.tensor([[4.0, 8.0, 20.0, 48.0]]),
            ),
        }[form]()
        content = [
            {
                "file_name": f"images/{SPLIT}/{STEM}.jpg",
                "scores": torch.tensor([0.9]),
                "pred_boxes_XYXY": box,
                "pred_densepose": chart,
            }
        ]
        file = io.BytesIO()
        if write == "pickle":
            pickle.dump(content, file)
        else:
            torch.save(content, file, _use_new_zipfile_serialization=write == "zip")
    return file.getvalue()
