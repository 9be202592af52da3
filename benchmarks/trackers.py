"""Trackers of other projects over drawn scenes, with and without parts: identity switches and IDF1.

    partreid data synth scenes SCENES
    python -m benchmarks.trackers SCENES RUN [--calibrate OTHERS] [--json FILE]
        [--trackers boxmot ultralytics trackers tracklab]
    python -m benchmarks.trackers --page results/trackers.json

Boxes are the exact ones of everybody of whom a fifth is visible, so that what differs is who is
taken for whom. Each camera is a video of its own. Every way has the tracker's defaults; *flat* are
our vectors as the tracker compares them, *by parts* compared part by part. By default BoT-SORT asks
for appearance only where two boxes overlap by half; *anywhere* lifts this, and *strict* takes in
place of its threshold the distance below which one in a hundred pairs of different people of one
camera lies in OTHERS, scenes of other people. TrackLab's tracker always asks for vectors: *boxes
alone* are crops that are all alike.

--page prints the table of docs/trackers.md.
"""

import argparse
import csv
import json
import os
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.optimize import linear_sum_assignment

from benchmarks.about import about
from partreid import load
from partreid.integrations import BoxMOT, Encoder, Supervision, Ultralytics
from partreid.layers.trunks import import_timm
from partreid.runtime.types import Embeddings as Plain
from partreid.types import Embeddings

VISIBLE = 0.2


@dataclass(frozen=True)
class Seen:
    """One frame: RGB uint8 [H, W, 3], boxes float32 [N, 4] as xyxy, who is in each."""

    frame: int
    image: Any
    boxes: Any
    people: list[int]


def films(root: Path) -> Iterator[tuple[str, list[Seen]]]:
    """Frames with their exact boxes, camera by camera."""
    for truth in sorted(root.glob("*/gt/gt.txt")):
        rows = defaultdict(list)
        with truth.open() as lines:
            for row in csv.reader(lines):
                if float(row[8]) >= VISIBLE:
                    rows[int(row[0])].append((int(row[1]), *map(float, row[2:6])))
        frames = []
        for picture in sorted((truth.parent.parent / "img1").iterdir()):
            here = rows[int(picture.stem)]
            boxes = np.array([r[1:] for r in here], np.float32).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            image = np.asarray(Image.open(picture).convert("RGB"))
            frames.append(Seen(int(picture.stem), image, boxes, [r[0] for r in here]))
        yield truth.parent.parent.name, frames


Tracked = Callable[[Seen], list[int]]
"""The tracker's number of each box of a frame, -1 for none."""


def boxmot(model: Any, way: str, far: float | None) -> tuple[Tracked, Any]:
    from boxmot import BotSort
    from boxmot.pipelines import TrackingPipeline
    from boxmot.structures import Boxes, Detections, Frame

    encoder = BoxMOT(model)
    tracker = BotSort(
        use_cmc=False,
        use_embeddings=way != "boxes alone",
        # 1 less the overlap that appearance needs
        proximity_thresh=1.0 if ANYWHERE in way else 0.5,
        appearance_thresh=0.25 if far is None else far,
    )
    pipeline = TrackingPipeline(None, tracker, reid=None if way == "boxes alone" else encoder)

    def step(seen: Seen) -> list[int]:
        detections = Detections(
            Boxes(torch.from_numpy(seen.boxes)),
            torch.full((len(seen.boxes),), 0.9),
            torch.zeros(len(seen.boxes), dtype=torch.int64),
            str(seen.frame),
        )
        image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(seen.image, -1, 0)))
        tracks = pipeline.step_detections(Frame(image, str(seen.frame)), detections).tracks
        numbers = [-1] * len(seen.boxes)
        for index, number in zip(tracks.detection_indices.tolist(), tracks.track_ids.tolist()):
            numbers[index] = number
        return numbers

    return step, encoder.by_parts() if way.startswith("by parts") else nullcontext()


def ultralytics(model: Any, way: str, far: float | None) -> tuple[Tracked, Any]:
    from ultralytics.engine.results import Boxes
    from ultralytics.trackers.bot_sort import BOTSORT

    settings = SimpleNamespace(
        track_high_thresh=0.25, track_low_thresh=0.1, new_track_thresh=0.25, track_buffer=30,
        match_thresh=0.8, fuse_score=True, gmc_method="none",
        proximity_thresh=0.0 if ANYWHERE in way else 0.5,  # the overlap that appearance needs
        appearance_thresh=0.8 if far is None else 1 - far / 2,
        with_reid=False, model="auto",
    )  # fmt: skip
    tracker = BOTSORT(settings)
    if way != "boxes alone":
        tracker = Ultralytics(model).into(tracker, by_parts=way.startswith("by parts"))

    def step(seen: Seen) -> list[int]:
        n = len(seen.boxes)
        rows = np.concatenate([seen.boxes, np.full((n, 1), 0.9), np.zeros((n, 1))], 1)
        boxes = Boxes(rows.astype(np.float32), seen.image.shape[:2])
        numbers = [-1] * n
        for row in tracker.update(boxes, np.ascontiguousarray(seen.image[..., ::-1])):
            numbers[int(row[-1])] = int(row[4])
        return numbers

    return step, nullcontext()


def trackers(model: Any, way: str, far: float | None) -> tuple[Tracked, Any]:
    import supervision
    from trackers import BoTSORTTracker

    tracker, adapter = BoTSORTTracker(enable_cmc=False), Supervision(model, "RGB")

    def step(seen: Seen) -> list[int]:
        detections = supervision.Detections(
            xyxy=seen.boxes.copy(),
            confidence=np.full(len(seen.boxes), 0.9, np.float32),
            class_id=np.zeros(len(seen.boxes), int),
            data={"box": np.arange(len(seen.boxes))},
        )
        if way != "boxes alone":
            detections = adapter.into(detections, seen.image)
        out = tracker.update(detections)
        if way != "boxes alone" and len(out):
            assert len(adapter.of(out)) == len(out)  # they travel along
        numbers = [-1] * len(seen.boxes)
        for index, number in zip(out.data.get("box", []), out.tracker_id):
            numbers[int(index)] = int(number)
        return numbers

    return step, nullcontext()


def tracklab(model: Any, way: str, film: list[Seen], far: float | None) -> list[list[int]]:
    """TrackLab goes through whole films: its engine drives our module and its tracker of parts."""
    from hydra.utils import instantiate
    from omegaconf import OmegaConf
    from tracklab import configs
    from tracklab.datastruct import TrackerState
    from tracklab.engine import OfflineTrackingEngine
    from tracklab.pipeline import Pipeline

    settings = Path(next(iter(configs.__path__))) / "modules" / "track" / "bpbreid_strong_sort.yaml"
    common = {"device": "cpu", "tracking_dataset": None}  # as its main program tells every module
    described = {"boxes alone": Same, "flat": Flat}.get(way, lambda model: model)(model)
    ours = {"_target_": "partreid.integrations.TrackLab"}
    pipeline = Pipeline(
        [
            instantiate(ours, model=described, **common),
            instantiate(OmegaConf.load(settings), **common),
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        films = tracking_set(film, Path(folder))
        state = TrackerState(films, pipeline=pipeline, load_from_groundtruth=True)
        with warnings.catch_warnings():  # of pandas, which prints whole tables in them
            warnings.simplefilter("ignore", FutureWarning)
            OfflineTrackingEngine(pipeline, state, num_workers=0).track_dataset()
    numbers = iter(state.detections_pred.sort_index()["track_id"])
    return [[-1 if np.isnan(n := next(numbers)) else int(n) for _ in seen.people] for seen in film]


def tracking_set(film: list[Seen], folder: Path) -> Any:
    """One film as TrackLab's data set, its frames in a folder; detections in the order of boxes."""
    import pandas
    from tracklab.datastruct import TrackingSet

    height, width = film[0].image.shape[:2]
    images, boxes = [], []
    for number, seen in enumerate(film):
        file = folder / f"{number:06}.png"
        # Without loss, so that all trackers see the same; hard compression takes longer than
        # tracking.
        Image.fromarray(seen.image).save(file, compress_level=1)
        images.append({"id": number, "video_id": 1, "frame": number, "file_path": str(file)})
        for box, person in zip(seen.boxes, seen.people, strict=True):
            ltwh = np.concatenate([box[:2], box[2:] - box[:2]])
            boxes.append(
                {"image_id": number, "video_id": 1, "track_id": person, "bbox_ltwh": ltwh,
                 "bbox_conf": 0.9}
            )  # fmt: skip
    video = {"id": 1, "name": "film", "nframes": len(film), "im_width": width, "im_height": height}
    frames = pandas.DataFrame(images).set_index("id", drop=False)
    return TrackingSet(
        pandas.DataFrame([video]).set_index("id", drop=False),
        frames,
        pandas.DataFrame(boxes),
        frames.copy(),
    )


class Same:
    """A model to which all crops are alike."""

    def __init__(self, model: Any) -> None:
        self.model, self.method, self.names = model, model.method, ("whole",)

    def embed(self, crops: Any, batch: int = 64) -> Embeddings:
        return Embeddings(torch.ones(len(crops), 1, 8), torch.ones(len(crops), 1), self.names)


class Flat(Same):
    """A model's parts as one vector, which is always visible."""

    def embed(self, crops: Any, batch: int = 64) -> Embeddings:
        packing = Encoder(self.model).packing
        e = self.model.embed(crops, batch)
        flat = torch.from_numpy(packing(Plain(e.vectors.numpy(), e.visibility.numpy(), e.names)))
        return Embeddings(flat[:, None], torch.ones(len(crops), 1), self.names)


Track = Callable[[Any, str, list[Seen], float | None], list[list[int]]]
"""Of a model, a way, a film and a threshold, None for the tracker's: what each box is called."""


def by_frames(start: Callable[[Any, str, float | None], tuple[Tracked, Any]]) -> Track:
    """A tracker that takes frame after frame."""

    def tracked(model: Any, way: str, film: list[Seen], far: float | None) -> list[list[int]]:
        step, around = start(model, way, far)
        with around:
            return [step(seen) for seen in film]

    return tracked


ANYWHERE, STRICT = ", anywhere", ", strict"
FULL = ("boxes alone", "flat", "by parts")
BOTSORT = (*FULL, *(f"{of}{ANYWHERE}{then}" for then in ("", STRICT) for of in FULL[1:]))
WAYS: dict[str, tuple[Track, tuple[str, ...]]] = {
    "boxmot": (by_frames(boxmot), BOTSORT),
    "ultralytics": (by_frames(ultralytics), BOTSORT),
    "trackers": (by_frames(trackers), ("boxes alone", "carried along")),
    "tracklab": (tracklab, FULL),
}
FALSE = 0.01  # share of pairs of different people that a strict threshold takes for one


def thresholds(model: Any, scenes: Path) -> dict[str, float]:
    """Distances of flat vectors, and by parts, below which FALSE of the pairs of different people
    of one camera lie.
    """
    with (scenes / "crops.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    crops = [np.asarray(Image.open(scenes / row["path"]).convert("RGB")) for row in rows]
    e, packing = model.embed(crops), Encoder(model).packing
    flat = packing(Plain(e.vectors.numpy(), e.visibility.numpy(), e.names))
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    who, camera = (np.array([row[name] for row in rows]) for name in ("identity", "camera"))
    others = (who[:, None] != who) & (camera[:, None] == camera)
    every = {"flat": 1 - unit @ unit.T, "by parts": packing.compare(flat, flat)}
    return {way: float(np.quantile(far[others], FALSE)) for way, far in every.items()}


def scores(people: list[list[int]], numbers: list[list[int]]) -> tuple[int, int, int, int]:
    """(right, boxes, boxes with a number, switches) of one film."""
    pairs: dict[tuple[int, int], int] = defaultdict(int)
    last: dict[int, int] = {}
    switches = given = total = 0
    for who, number in zip(people, numbers, strict=True):
        for person, track in zip(who, number, strict=True):
            total += 1
            if track < 0:
                continue
            given += 1
            pairs[person, track] += 1
            switches += last.get(person, track) != track
            last[person] = track
    rows, columns = (sorted({key[i] for key in pairs}) for i in (0, 1))
    table = np.zeros((len(rows), len(columns)), int)
    for (person, track), many in pairs.items():
        table[rows.index(person), columns.index(track)] = many
    right = int(table[linear_sum_assignment(-table)].sum())
    return right, total, given, switches


CALLED = {
    "boxmot": "BoxMOT's BoT-SORT",
    "ultralytics": "Ultralytics' BoT-SORT",
    "trackers": "Roboflow's BoT-SORT",
    "tracklab": "TrackLab's BPBReIDStrongSORT",
}


def page(record: dict[str, Any]) -> list[str]:
    """The table of docs/trackers.md."""
    lines = ["| tracker | way | IDF1 | identity switches |", "|---|---|---|---|"]
    before = ""
    for row in record["rows"]:
        name = "" if row["tracker"] == before else CALLED[row["tracker"]]
        before = row["tracker"]
        lines.append(f"| {name} | {row['way']} | {100 * row['IDF1']:.1f} | {row['switches']} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenes", type=Path, nargs="?")
    parser.add_argument("run", nargs="?")
    parser.add_argument("--calibrate", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--trackers", nargs="+", default=list(WAYS), choices=list(WAYS))
    options = parser.parse_args()
    if options.page is not None:
        print("\n".join(page(json.loads(options.page.read_text(encoding="utf-8")))))
        return
    if options.scenes is None or options.run is None:
        parser.error("give scenes and a run, or --page with a file of results")
    import_timm()  # beside a torchvision of another torch, too
    os.environ.setdefault("YOLO_OFFLINE", "true")
    model, rows = load(options.run, "cpu"), []
    every = list(films(options.scenes))
    if not every:
        raise SystemExit(
            f"{options.scenes} holds no CAMERA/gt/gt.txt; give a folder that "
            "partreid data synth scenes has written"
        )
    strict = {} if options.calibrate is None else thresholds(model, options.calibrate)
    print(f"{'tracker':12} {'way':26} {'IDF1':>6} {'switches':>8} {'boxes':>6} {'tracked':>7}")
    for name in options.trackers:
        track, ways = WAYS[name]
        for way in ways:
            if STRICT in way and not strict:
                continue
            far = strict[way.split(",")[0]] if STRICT in way else None
            sums = np.zeros(4, int)
            for _, film in every:
                numbers = track(model, way, film, far)
                sums += scores([seen.people for seen in film], numbers)
            right, total, given, switches = sums.tolist()
            rows.append(
                {
                    "tracker": name,
                    "way": way,
                    "IDF1": round(2 * right / (total + given), 4),
                    "switches": switches,
                    "boxes": total,
                    "tracked": given,
                }
            )
            print(
                f"{name:12} {way:26} {200 * right / (total + given):6.1f} {switches:8} {total:6} "
                f"{given:7}",
                flush=True,
            )
    if options.json:
        drawn = json.loads((options.scenes / "scenes.json").read_text(encoding="utf-8"))
        words = f"python -m benchmarks.trackers {options.scenes} {options.run}"
        if options.calibrate is not None:
            words += f" --calibrate {options.calibrate}"
        named = {
            **about(words),
            "versions": {name: version(name) for name in options.trackers},
            "recipe": model.recipe.name,
            "scenes": drawn["scenes"],
            "strict": {way: round(far, 4) for way, far in strict.items()},
        }
        options.json.write_text(json.dumps({**named, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
