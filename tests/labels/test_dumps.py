"""Every form of detectron2's dumps, written here with classes of the right names and read
without them.
"""

import base64
import io
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from partreid.errors import DataError
from partreid.labels.dumps import chart_result, read_dump

BOXES = torch.tensor([[1.6, 2.2, 4.7, 7.9], [0.0, 0.0, 2.5, 4.0]])
SIZES = [(5, 3), (4, 2)]  # h, w of the boxes


@contextmanager
def installed() -> Iterator[Callable[..., Any]]:
    """Gives ``make(module, class, **attributes)`` while DensePose and detectron2 seem to be
    there.
    """
    made: dict[str, ModuleType] = {}

    def make(module: str, name: str, **attributes: Any) -> Any:
        for i in range(1, module.count(".") + 2):
            package = ".".join(module.split(".")[:i])
            made.setdefault(package, ModuleType(package))
            sys.modules[package] = made[package]
        if not hasattr(made[module], name):
            setattr(made[module], name, type(name, (), {"__module__": module}))
        thing = getattr(made[module], name)()
        vars(thing).update(attributes)
        return thing

    assert "densepose" not in sys.modules and "detectron2" not in sys.modules
    try:
        yield make
    finally:
        for package in made:
            del sys.modules[package]


def truth(seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Labels int64 [h, w] and uv float32 [2, h, w] of the two boxes."""
    random = torch.Generator().manual_seed(seed)
    detections = []
    for size in SIZES:
        labels = torch.randint(0, 25, size, generator=random)
        detections.append((labels, torch.rand(2, *size, generator=random) * (labels > 0)))
    return detections


def quantised(labels: Tensor, uv: Tensor) -> Tensor:
    return torch.cat([labels[None].to(torch.uint8), (uv * 255).clamp(0, 255).byte()])


def png(packed: Tensor) -> str:
    file = io.BytesIO()
    Image.fromarray(packed.permute(1, 2, 0).numpy()).save(file, "PNG", optimize=True)
    return base64.encodebytes(file.getvalue()).decode()


CHART = "densepose.structures.chart_result"
Make = Callable[..., Any]


def with_confidences(make: Make, truth: list[tuple[Tensor, Tensor]]) -> Any:
    return [
        make(
            CHART,
            "DensePoseChartResultWithConfidences",
            labels=labels,
            uv=uv,
            sigma_1=torch.ones(labels.shape),
            sigma_2=None,
            kappa_u=None,
            kappa_v=None,
            fine_segm_confidence=None,
            coarse_segm_confidence=None,
        )
        for labels, uv in truth
    ]


def plain(make: Make, truth: list[tuple[Tensor, Tensor]]) -> Any:
    return [make(CHART, "DensePoseChartResult", labels=labels, uv=uv) for labels, uv in truth]


def uint8(make: Make, truth: list[tuple[Tensor, Tensor]]) -> Any:
    return [
        make(CHART, "DensePoseChartResultQuantized", labels_uv_uint8=quantised(*t)) for t in truth
    ]


def compressed(make: Make, truth: list[tuple[Tensor, Tensor]]) -> Any:
    return [
        make(
            CHART,
            "DensePoseChartResultCompressed",
            shape_chw=(3, *t[0].shape),
            labels_uv_str=png(quantised(*t)),
        )
        for t in truth
    ]


def result_2019(
    make: Make, truth: list[tuple[Tensor, Tensor]], module: str = "densepose.structures"
) -> Any:
    boxes = BOXES.clone()
    boxes[:, 2:] -= boxes[:, :2]
    return make(
        module,
        "DensePoseResult",
        boxes_xywh=boxes.tolist(),
        results=[((3, *t[0].shape), png(quantised(*t))) for t in truth],
    )


def result_2020(make: Make, truth: list[tuple[Tensor, Tensor]]) -> Any:
    return result_2019(make, truth, "densepose.data.structures")


def dicts(make: Make, truth: list[tuple[Tensor, Tensor]]) -> Any:
    return [{"labels": labels, "uv": uv} for labels, uv in truth]


def save(value: Any, path: Path) -> None:
    torch.save(value, path)


def dump(value: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(value))


FORMS = [with_confidences, plain, uint8, compressed, result_2019, result_2020, dicts]


def entry(**more: Any) -> dict[str, Any]:
    return {
        "file_name": "data/a.jpg",
        "scores": torch.tensor([0.75, 0.5]),
        "pred_boxes_XYXY": BOXES,
        **more,
    }


@pytest.mark.parametrize("write", [save, dump])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_labels_and_uv(
    tmp_path: Path, form: Callable[..., Any], write: Callable[[Any, Path], None]
) -> None:
    path = tmp_path / "results.pkl"

    @settings(max_examples=15)
    @given(st.integers(0, 2**31))
    def holds(seed: int) -> None:
        with installed() as make:
            write([entry(pred_densepose=form(make, truth(seed)))], path)
        detections = read_dump(path)["data/a.jpg"]
        assert [d.score for d in detections] == [0.75, 0.5]
        np.testing.assert_allclose([d.box for d in detections], BOXES, rtol=1e-6)
        step = 0 if form in (with_confidences, plain, dicts) else 1 / 255
        for detection, (labels, uv) in zip(detections, truth(seed), strict=True):
            assert detection.labels.dtype == np.uint8 and detection.uv.dtype == np.float32
            np.testing.assert_array_equal(detection.labels, labels)
            error = uv.numpy() - detection.uv  # truncated, so never above
            assert error.min() >= -1e-6 and error.max() <= step + 1e-6

    holds()


def logits(seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    shapes = {"coarse_segm": 15, "fine_segm": 25, "u": 25, "v": 25}
    return {
        key: torch.randn(2, channels, 4, 3, generator=random) for key, channels in shapes.items()
    }


def by_loops(raw: Mapping[str, Tensor], n: int) -> tuple[Tensor, Tensor]:
    """Bilinear sampling at pixel centers, one pixel at a time."""
    (H, W), (h, w) = SIZES[n], raw["u"].shape[2:]

    def bilinear(x: Tensor, row: int, column: int) -> Tensor:
        y = min(max((row + 0.5) * h / H - 0.5, 0), h - 1)
        z = min(max((column + 0.5) * w / W - 0.5, 0), w - 1)
        i, j = int(y), int(z)
        below, right = min(i + 1, h - 1), min(j + 1, w - 1)
        top = x[:, i, j] * (1 - (z - j)) + x[:, i, right] * (z - j)
        bottom = x[:, below, j] * (1 - (z - j)) + x[:, below, right] * (z - j)
        return top * (1 - (y - i)) + bottom * (y - i)

    labels, uv = torch.zeros(H, W, dtype=torch.long), torch.zeros(2, H, W)
    for row in range(H):
        for column in range(W):
            if bilinear(raw["coarse_segm"][n], row, column).argmax() > 0:
                label = int(bilinear(raw["fine_segm"][n], row, column).argmax())
                labels[row, column] = label
                if label:
                    uv[0, row, column] = bilinear(raw["u"][n], row, column)[label]
                    uv[1, row, column] = bilinear(raw["v"][n], row, column)[label]
    return labels, uv


def predictor_output(make: Make, raw: dict[str, Tensor]) -> Any:
    return entry(
        pred_densepose=make("densepose.structures.chart", "DensePoseChartPredictorOutput", **raw)
    )


def output_2019(make: Make, raw: dict[str, Tensor]) -> Any:
    old = dict(zip(("S", "I", "U", "V"), raw.values(), strict=True))
    return entry(
        pred_densepose=make("densepose.structures", "DensePoseOutput", **old, confidences={})
    )


def instances(make: Make, raw: dict[str, Tensor]) -> Any:
    fields = {
        "pred_boxes": make("detectron2.structures.boxes", "Boxes", tensor=BOXES),
        "scores": torch.tensor([0.75, 0.5]),
        "pred_classes": torch.zeros(2, dtype=torch.long),
        "pred_densepose": make(
            "densepose.structures.chart", "DensePoseChartPredictorOutput", **raw
        ),
    }
    return {
        "file_name": "data/a.jpg",
        "instances": make(
            "detectron2.structures.instances", "Instances", _image_size=(9, 6), _fields=fields
        ),
    }


def torchscript(make: Make, raw: dict[str, Tensor]) -> Any:
    return {
        "file_name": "data/a.jpg",
        "image_size": torch.tensor([9, 6]),
        "pred_boxes": BOXES,
        "scores": torch.tensor([0.75, 0.5]),
        **{f"pred_densepose_{key}": value for key, value in raw.items()},
    }


@pytest.mark.parametrize("write", [save, dump])
@pytest.mark.parametrize("form", [predictor_output, output_2019, instances, torchscript])
def test_the_network_s_output_is_resampled_to_the_box(
    tmp_path: Path, form: Callable[..., Any], write: Callable[[Any, Path], None]
) -> None:
    with installed() as make:
        write([form(make, logits())], tmp_path / "a.pkl")
    detections = read_dump(tmp_path / "a.pkl")["data/a.jpg"]
    assert len(detections) == 2 and detections[0].score == 0.75
    for n, detection in enumerate(detections):
        labels, uv = by_loops(logits(), n)
        assert (labels > 0).any()
        np.testing.assert_array_equal(detection.labels, labels)
        np.testing.assert_allclose(detection.uv, uv, atol=1e-6)


def test_half_precision_and_tiny_boxes() -> None:
    raw = [value[:1].half() for value in logits().values()]
    labels, uv = chart_result(*raw, torch.tensor([3.0, 3.0, 3.2, 3.9]))
    assert labels.shape == (1, 1) and uv.shape == (2, 1, 1) and uv.dtype == torch.float32


def test_a_mapping_of_entries_and_a_lone_one_are_named(tmp_path: Path) -> None:
    lone = {key: value for key, value in torchscript(None, logits()).items() if key != "file_name"}
    save({"x/a.jpg": lone, "x/b.jpg": lone}, tmp_path / "two.pt")
    assert list(read_dump(tmp_path / "two.pt")) == ["x/a.jpg", "x/b.jpg"]
    for value in (lone, [lone]):
        save(value, tmp_path / "0001_c1.pt")
        by_image = read_dump(tmp_path / "0001_c1.pt")
        assert list(by_image) == ["0001_c1"] and len(by_image["0001_c1"]) == 2


@pytest.mark.parametrize("write", [save, dump])
def test_nobody_is_an_empty_list_whichever_way_it_is_said(
    tmp_path: Path, write: Callable[[Any, Path], None]
) -> None:
    none = {"scores": torch.zeros(0), "pred_boxes_XYXY": torch.zeros(0, 4)}
    with installed() as make:
        write(
            [
                {"file_name": "key_absent.jpg", **none},
                {"file_name": "list.jpg", **none, "pred_densepose": []},
                {"file_name": "nothing.jpg"},
                {
                    "file_name": "old.jpg",
                    **none,
                    "pred_densepose": make(
                        "densepose.structures", "DensePoseResult", boxes_xywh=[], results=[]
                    ),
                },
                {
                    "file_name": "raw.jpg",
                    **none,
                    "pred_densepose": make(
                        "densepose.structures.chart",
                        "DensePoseChartPredictorOutput",
                        **{key: value[:0] for key, value in logits().items()},
                    ),
                },
            ],
            tmp_path / "a.pkl",
        )
    by_image = read_dump(tmp_path / "a.pkl")
    assert len(by_image) == 5 and all(by_image[name] == [] for name in by_image)


@pytest.mark.parametrize("aslist", [True, False])
def test_embeddings_are_refused_in_plain_words(tmp_path: Path, aslist: bool) -> None:
    with installed() as make:
        cse = make(
            "densepose.structures.cse",
            "DensePoseEmbeddingPredictorOutput",
            embedding=torch.ones(2, 16, 4, 4),
            coarse_segm=torch.ones(2, 2, 4, 4),
        )
        save([entry(pred_densepose=[cse, cse] if aslist else cse)], tmp_path / "cse.pkl")
    with pytest.raises(
        DataError,
        match=r"cse\.pkl, image data/a\.jpg: it comes from a CSE model.*use a chart-based",
    ):
        read_dump(tmp_path / "cse.pkl")["data/a.jpg"]


def broken() -> dict[str, tuple[dict[str, Any], str]]:
    labels, uv = truth()[0]

    def one(labels: Any, uv: Any, box: Any = BOXES[:1]) -> dict[str, Any]:
        return {
            "file_name": "data/a.jpg",
            "pred_boxes_XYXY": box,
            "pred_densepose": [{"labels": labels, "uv": uv}],
        }

    return {
        "another chart": (one(labels + 24, uv), r"charts \d+ to 4\d, DensePose has 1 to 24"),
        "a box of another size": (
            one(labels, uv, BOXES[:1] * 2),
            "do not fill their box of 6 x 11 pixels",
        ),
        "uv of another size": (
            one(labels, uv[:, 1:]),
            r"labels \(5, 3\) and uv \(2, 4, 3\) do not fill",
        ),
        "fewer boxes": (one(labels, uv, BOXES[:0]), "1 surfaces for 0 boxes with 0 scores"),
        "a box of nothing": (one(labels, uv, BOXES[:1] * torch.nan), "a box is not finite"),
        "no boxes": (
            {"file_name": "data/a.jpg", "pred_densepose": [{"labels": labels, "uv": uv}]},
            "not stored as DensePose does .KeyError: 'pred_boxes'",
        ),
        "no labels": (one("labels", uv), "not stored as DensePose does .AttributeError"),
        "no surfaces": (
            entry(pred_densepose=[{}, {}]),
            "not stored as DensePose does .KeyError: 'labels'",
        ),
        "a drawing": (
            entry(
                pred_densepose=[
                    {"labels_uv_str": png(quantised(labels, uv)), "shape_chw": (3, 9, 9)}
                ]
                * 2
            ),
            r"a PNG \(5, 3, 3\) where \(3, 9, 9\) was announced",
        ),
        "no PNG": (
            entry(pred_densepose=[{"labels_uv_str": "bm8=", "shape_chw": (3, 5, 3)}] * 2),
            "cannot be read as an image",
        ),
    }


@pytest.mark.parametrize("case", list(broken()))
def test_what_is_wrong_with_an_image_is_said_of_that_image(tmp_path: Path, case: str) -> None:
    value, message = broken()[case]
    save([value, {"file_name": "fine.jpg"}], tmp_path / "a.pkl")
    by_image = read_dump(tmp_path / "a.pkl")
    assert by_image["fine.jpg"] == []
    with pytest.raises(DataError, match=r"a\.pkl, image data/a\.jpg: .*" + message):
        by_image["data/a.jpg"]


def test_an_empty_dump_is_one(tmp_path: Path) -> None:
    save([], tmp_path / "a.pkl")
    assert len(read_dump(tmp_path / "a.pkl")) == 0


@pytest.mark.parametrize(
    "value",
    [
        {},
        [1, 2],
        {"backbone.weight": torch.ones(2)},
        "dump",
        [{"scores": 1}],
        [{"file_name": "a.jpg"}, {"pred_boxes": 1}],
    ],
    ids=str,
)
def test_other_files_are_told_what_a_dump_is(tmp_path: Path, value: Any) -> None:
    save(value, tmp_path / "a.pkl")
    with pytest.raises(
        DataError, match=r"holds no DensePose results but a \w+; expected what 'apply_net\.py dump'"
    ):
        read_dump(tmp_path / "a.pkl")
