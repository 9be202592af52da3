"""What trackers call, on stand-ins of their interfaces; ``make integrations`` drives the real
ones.
"""

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import partreid
from partreid.distance import PartDistance
from partreid.errors import DataError, ShapeError
from partreid.integrations import BoxMOT, Encoder, Supervision, TrackLab, Ultralytics
from partreid.integrations.packing import FAR
from partreid.types import Embeddings

FRAME = np.zeros((60, 90, 3), np.uint8)
FRAME[:, :30], FRAME[:30, 30:60], FRAME[30:, 30:60] = (200, 40, 10), (10, 200, 40), (40, 10, 200)
BOXES = np.array([[0, 0, 30, 60], [30, 0, 60, 60], [95, 0, 99, 9]], np.float32)


class Colors:
    """A model whose parts are the mean colors of the upper and the lower half; black is hidden."""

    names = ("upper", "lower")
    method = SimpleNamespace(distance=PartDistance("cosine"))

    def __init__(self) -> None:
        self.batches: list[int] = []

    def embed(self, crops: list[Any], batch: int = 64) -> Embeddings:
        self.batches.append(len(crops))
        halves = [np.stack([h.mean((0, 1)) for h in np.array_split(c, 2)]) for c in crops]
        vectors = torch.from_numpy(np.stack(halves)).float()
        return Embeddings(vectors, (vectors.amax(2) > 0).float(), self.names)


def test_boxes_become_embeddings_and_those_outside_show_nothing() -> None:
    model = Colors()
    e = Encoder(model)(FRAME, BOXES)
    assert e.visibility.tolist() == [[1, 1], [1, 1], [0, 0]]
    np.testing.assert_allclose(e.vectors[1], [[10, 200, 40], [40, 10, 200]])
    turned = Encoder(model, "BGR")(FRAME[..., ::-1], BOXES)
    np.testing.assert_array_equal(turned.vectors, e.vectors)
    assert len(Encoder(model)(FRAME, [])) == 0
    with pytest.raises(ShapeError, match="2 frames need as many lists of boxes, got 1"):
        Encoder(model).many([FRAME, FRAME], [BOXES])


def test_crops_of_several_frames_go_through_the_network_together() -> None:
    model = Colors()
    encoder = Encoder(model)
    _ = encoder.packing
    many = encoder.many([FRAME, FRAME, FRAME], [BOXES, [], BOXES[:1]])
    assert [len(e) for e in many] == [3, 0, 1] and model.batches[1:] == [3]
    np.testing.assert_array_equal(many[2].vectors, many[0].vectors[:1])


def test_runs_and_exported_files_describe_alike(
    trained: Callable[[str], Path], exported: Callable[[str], Path]
) -> None:
    draw = np.random.default_rng(0).integers(0, 255, FRAME.shape).astype(np.uint8)
    run, file = (Encoder(of("bpbreid")) for of in (trained, exported))
    np.testing.assert_allclose(run.flat(draw, BOXES[:2]), file.flat(draw, BOXES[:2]), atol=1e-4)
    assert run.packing.distance == file.packing.distance


@pytest.fixture
def boxmot(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    reid, tracker = ModuleType("boxmot.reid"), ModuleType("boxmot.trackers.box.botsort.tracker")
    reid.EncoderRequirements = lambda: "boxes alone"  # type: ignore[attr-defined]
    tracker.embedding_distance = lambda t, d, metric="cosine": "theirs"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "boxmot", ModuleType("boxmot"))
    for name in ("trackers", "trackers.box", "trackers.box.botsort"):
        monkeypatch.setitem(sys.modules, f"boxmot.{name}", ModuleType(f"boxmot.{name}"))
    monkeypatch.setitem(sys.modules, reid.__name__, reid)
    monkeypatch.setitem(sys.modules, tracker.__name__, tracker)
    return tracker


def test_boxmot(boxmot: ModuleType) -> None:
    encoder = BoxMOT(Colors())
    assert encoder.embedding_dim == 6 and encoder.requirements == "boxes alone"
    frame = SimpleNamespace(image=torch.from_numpy(np.moveaxis(FRAME, -1, 0)))
    rows = np.concatenate([BOXES, np.ones((3, 2))], 1)
    one, none = (
        SimpleNamespace(to_aabb_rows=lambda r=r: torch.from_numpy(r)) for r in (rows, rows[:0])
    )
    vectors, empty = encoder.encode([frame, frame], [one, none])
    assert vectors.dtype == torch.float32 and vectors.shape == (3, 6) and empty.shape == (0, 6)
    assert not vectors[2].any() and vectors[0].norm() == pytest.approx(2**0.5)

    tracks = [SimpleNamespace(smooth_feat=v.numpy()) for v in vectors[:2]] + [SimpleNamespace()]
    boxes = [SimpleNamespace(curr_feat=v.numpy()) for v in vectors]
    with encoder.by_parts():
        far = boxmot.embedding_distance(tracks, boxes)
        assert far.shape == (3, 3) and far[0, 0] == pytest.approx(0, abs=1e-6)
        assert far[0, 1] > 0.3 and (far[2] == FAR).all() and (far[:, 2] == FAR).all()
    assert boxmot.embedding_distance([], []) == "theirs"
    with pytest.raises(ZeroDivisionError), encoder.by_parts():
        raise ZeroDivisionError
    assert boxmot.embedding_distance([], []) == "theirs"


def test_without_the_tracker_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("boxmot", "tracklab"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DataError, match="this needs BoxMOT"):
        _ = BoxMOT(Colors()).requirements
    with pytest.raises(DataError, match="this needs TrackLab"):
        TrackLab(Colors())
    with pytest.raises(DataError, match=r"object has no encoder, args, .* ultralytics 8\.4"):
        Ultralytics(Colors()).into(object())


class Botsort:
    """What an adapter touches of Ultralytics' BOTSORT."""

    encoder, appearance_thresh, proximity_thresh = None, 0.8, 0.5

    def __init__(self, args: Any = None) -> None:
        self.args = args or SimpleNamespace(with_reid=False, model="auto")

    def update(self, boxes: Any, image: Any) -> Any:
        """Its encoder is asked of the frame unless the detector is to give vectors, "auto"."""
        if self.args.with_reid and self.args.model != "auto":
            assert self.encoder is not None
            return self.encoder(image, boxes)
        return []

    def get_dists(self, tracks: list[Any], detections: list[Any]) -> Any:
        assert not self.args.with_reid  # or it would compare flat vectors
        return np.full((len(tracks), len(detections)), 0.7)


def test_ultralytics() -> None:
    encoder = Ultralytics(Colors())
    center = np.concatenate([(BOXES[:, :2] + BOXES[:, 2:]) / 2, BOXES[:, 2:] - BOXES[:, :2]], 1)
    one, two, outside = encoder(
        FRAME[..., ::-1], np.concatenate([center, np.arange(3)[:, None]], 1)
    )
    assert outside is None and one.shape == (6,) and encoder(FRAME, np.zeros((0, 5))) == []
    args = SimpleNamespace(with_reid=False, model="auto")
    tracker = encoder.into(Botsort(args))
    assert tracker.args.with_reid and tracker.encoder is encoder
    assert len(tracker.update(center, FRAME[..., ::-1])) == 3
    assert not args.with_reid and args.model == "auto"  # another tracker may be made of them

    def holder(box: Any, name: str, vector: Any) -> Any:
        return SimpleNamespace(xyxy=np.array(box), **{name: vector})

    tracks = [holder(BOXES[0], "smooth_feat", one), holder(BOXES[1], "smooth_feat", two)]
    detections = [
        holder(BOXES[0] + 2, "curr_feat", one),
        holder(BOXES[0], "curr_feat", two),
        holder(BOXES[1], "curr_feat", None),
    ]
    far = tracker.get_dists(tracks, detections)
    assert far[0, 0] == pytest.approx(0, abs=1e-6)  # near and alike
    assert far[0, 1] == far[1, 0] == 0.7  # near and unlike; alike and elsewhere
    assert far[1, 2] == 0.7 and tracker.args.with_reid  # no vector yet
    assert tracker.get_dists([], detections).shape == (0, 3)
    plain = Botsort()
    before = plain.get_dists
    assert encoder.into(plain, by_parts=False).get_dists == before and plain.args.with_reid


def test_supervision_carries_parts_along() -> None:
    supervision = Supervision(Colors(), "RGB")
    boxes = SimpleNamespace(xyxy=BOXES, data={})
    assert supervision.into(boxes, FRAME) is boxes
    e = supervision.of(boxes)
    assert e.names == Colors.names and e.visibility[2].tolist() == [0, 0]
    boxes.data = {name: value[[1, 0]] for name, value in boxes.data.items()}  # a tracker's order
    np.testing.assert_array_equal(supervision.of(boxes).vectors, e.vectors[[1, 0]])
    flat = supervision.extract_embeddings(boxes, FRAME, batch_size=2)
    assert flat.shape == (3, 6) and supervision.encoder.batch == 2


def test_tracklab(monkeypatch: pytest.MonkeyPatch) -> None:
    class Base:
        def __init__(self, batch_size: int) -> None:
            self.batch_size = batch_size

    class Table:
        def __init__(self, rows: Any, index: Any, columns: list[str]) -> None:
            self.rows, self.index, self.columns = rows, index, columns

    home, pandas = ModuleType("tracklab.pipeline.detectionlevel_module"), ModuleType("pandas")
    home.DetectionLevelModule, pandas.DataFrame = Base, Table  # type: ignore[attr-defined]
    for name in ("tracklab", "tracklab.pipeline"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, home.__name__, home)
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    tracker, matching = (ModuleType(f"bpbreid_strong_sort{name}") for name in ("", ".sort"))
    tracker.__spec__ = ModuleSpec("bpbreid_strong_sort", None)
    of_parts = ModuleType("bpbreid_strong_sort.sort.nn_matching")
    for m in (tracker, matching, of_parts):
        monkeypatch.setitem(sys.modules, m.__name__, m)
    # as its main program makes modules, and its loaders collate samples
    module = TrackLab(Colors(), 8, device="cpu", tracking_dataset=object())
    ltwh = [np.array([*b[:2], *(b[2:] - b[:2])]) for b in BOXES]
    indices, crops = type(module).collate_fn(
        [(i, module.preprocess(FRAME, {"bbox_ltwh": b}, None)) for i, b in enumerate(ltwh, 7)]
    )
    assert indices == [7, 8, 9]
    table = module.process(crops, SimpleNamespace(index=[7, 8, 9]), None)
    assert table.index == [7, 8, 9] and table.columns == list(module.output_columns)
    assert [row[1].tolist() for row in table.rows] == [[1, 1], [1, 1], [0, 0]]
    assert table.rows[0][0].shape == (2, 3) and module.batch_size == 8
    one, other, none = (tuple(map(torch.from_numpy, row)) for row in table.rows)
    compare = of_parts.compute_distance_matrix_using_bp_features  # as its tracker calls it
    both = (torch.stack(x) for x in zip(one, other, none))
    vectors, seen = both
    (far,) = compare(one[0][None], vectors, one[1][None], seen, use_gpu=False)
    wanted = np.mean([1 - _cosine(a, b) for a, b in zip(one[0].numpy(), other[0].numpy())])
    np.testing.assert_allclose(far, [[0, wanted, 2]], atol=1e-6)


def _cosine(a: Any, b: Any) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_loss_without_visibility_is_what_the_page_says() -> None:
    """docs/trackers.md: one person with ever fewer parts in common, flat and by parts."""
    draw = np.random.default_rng(0)
    e = partreid.runtime.Embeddings(draw.normal(size=(1, 6, 64)), np.ones((1, 6)), tuple("abcdef"))
    from partreid.integrations import Packing

    pack = Packing(e.names, 64, partreid.runtime.PartDistance("cosine"))
    for shared, wanted in ((6, 0.0), (3, 0.29), (1, 0.59)):
        seen = np.zeros((1, 6))
        seen[:, :shared] = 1
        a, b = pack(e)[0], pack(partreid.runtime.Embeddings(e.vectors, seen, e.names))[0]
        flat = 1 - float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        assert flat == pytest.approx(wanted, abs=0.005)
        assert pack.compare(a[None], b[None])[0, 0] == pytest.approx(0, abs=1e-5)
