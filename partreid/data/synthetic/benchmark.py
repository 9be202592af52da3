"""Writing a synthetic world to disk in Market-1501's layout.

root/bounding_box_train, bounding_box_test, query, query_occluded   JPEG, 0001_c1s1_000000_00.jpg
root/labels/<split>/<stem>.png   label map: palette PNG, index = label root/iuv/<split>/<stem>.png
on request: RGB PNG of I, trunc(255 U), trunc(255 V); I is 1..24 or 0 root/annotations.jsonl
one line per image root/world.json                  settings, counts; "complete": true is written
last
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from partreid.data.synthetic.files import Progress, over_processes, save, write_text
from partreid.data.synthetic.render import Rendered, render
from partreid.data.synthetic.surfaces import (
    JOINTS,
    LABEL_NAMES,
    SURFACES,
    TARGET_LABELS,
    label_palette,
)
from partreid.data.synthetic.world import (
    FIRST_DISTRACTOR,
    GENERATOR_VERSION,
    SPLITS,
    Shot,
    World,
    plan,
)
from partreid.errors import DataError
from partreid.utils.files import read_json
from partreid.utils.lock import LOCK, alone_in
from partreid.utils.text import brief

_PALETTE: Final = label_palette().ravel().tolist()
# images of one person are drawn together, because building a person costs two images
_CHUNK: Final = 24


def write(
    world: World,
    root: str | Path,
    *,
    iuv: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Writes the world to `root` and gives `root` back.

    iuv: also write DensePose-style IUV maps. workers: processes; None = one per core, 1 = none but
    this one. progress: called with (images done, images in all). Processes are spawned, so a script
    must call this under `if __name__ == "__main__":` unless workers=1. An interrupted run continues
    where it stopped; a finished root with the same settings is left as it is. Raises DataError if
    `root` holds anything else.
    """
    root = Path(root)
    shots = list(plan(world))
    header = _header(world, shots)
    state = _state(root, header)
    if state.get("complete") and (state.get("iuv") or not iuv):
        if progress:
            progress(len(shots), len(shots))
        return root
    with alone_in(root):
        _draw(world, root, shots, header, iuv or bool(state.get("iuv")), workers, progress)
    return root


def _draw(
    world: World,
    root: Path,
    shots: list[Shot],
    header: dict[str, Any],
    iuv: bool,
    workers: int | None,
    progress: Progress | None,
) -> None:
    for split in SPLITS:
        for folder in (split, f"labels/{split}", *((f"iuv/{split}",) if iuv else ())):
            (root / folder).mkdir(parents=True, exist_ok=True)
    write_text(root / "world.json", json.dumps({**header, "iuv": iuv, "complete": False}, indent=1))

    scratch = root / ".annotations"
    scratch.mkdir(exist_ok=True)
    by_person = sorted(shots, key=lambda shot: shot.identity)
    chunks = [(k, by_person[k : k + _CHUNK]) for k in range(0, len(shots), _CHUNK)]
    job = partial(_write_chunk, world, root, iuv)
    done = 0
    for count in over_processes(job, chunks, workers):
        done += count
        if progress:
            progress(done, len(shots))
    lines: dict[tuple[str, str], str] = {}
    for start, members in chunks:
        text = (scratch / f"{start:07d}.jsonl").read_text().splitlines(keepends=True)
        lines.update(
            {(shot.split, shot.stem): line for shot, line in zip(members, text, strict=True)}
        )
    write_text(root / "annotations.jsonl", "".join(lines[shot.split, shot.stem] for shot in shots))
    for path in scratch.iterdir():
        path.unlink()
    scratch.rmdir()
    write_text(root / "world.json", json.dumps({**header, "iuv": iuv, "complete": True}, indent=1))


def _header(world: World, shots: list[Shot]) -> dict[str, Any]:
    counts = {split: sum(shot.split == split for shot in shots) for split in SPLITS}
    labels = {str(label): name for label, name in LABEL_NAMES.items()}
    settings = json.loads(json.dumps(asdict(world)))
    return {"generator_version": GENERATOR_VERSION, "world": settings, "images": counts,
            "labels": labels, "joints": list(JOINTS)}  # fmt: skip


def _state(root: Path, header: dict[str, Any]) -> dict[str, Any]:
    """What an earlier run left in `root`; empty if nothing. DataError if it is something else."""
    if not root.exists():
        return {}
    if not root.is_dir():
        raise DataError(f"{root} is a file; a synthetic world needs a folder")
    record = root / "world.json"
    if not record.exists():
        if any(path.name != LOCK for path in root.iterdir()):
            raise DataError(
                f"{root} is not empty and holds no synthetic world. Give an empty or a new folder"
            )
        return {}
    state = read_json(record)
    if not isinstance(state, dict):
        raise DataError(
            f"{record} does not describe a synthetic world. Give an empty or a new folder"
        )
    for key in ("generator_version", "world"):
        if state.get(key) != header[key]:
            raise DataError(
                f"{root} holds another synthetic world "
                f"({brief(_difference(state.get(key), header[key]), 300)}). Remove it or give "
                "another folder"
            )
    return state


def _difference(there: Any, wanted: Any) -> str:
    if isinstance(there, dict) and isinstance(wanted, dict):
        keys = [k for k in wanted if there.get(k) != wanted[k]]
        return ", ".join(f"{k}: there {there.get(k)!r}, wanted {wanted[k]!r}" for k in keys[:3])
    return f"generator version there {there!r}, wanted {wanted!r}"


Chunk = tuple[int, list[Shot]]


def _write_chunk(world: World, root: Path, iuv: bool, chunk: Chunk) -> int:
    start, shots = chunk
    record = root / ".annotations" / f"{start:07d}.jsonl"
    if not (record.exists() and _all_there(root, shots, iuv)):
        lines = [_write_shot(world, root, iuv, shot) for shot in shots]
        write_text(record, "".join(lines))
    return len(shots)


def _all_there(root: Path, shots: Iterable[Shot], iuv: bool) -> bool:
    return all(path.exists() for shot in shots for path in _paths(root, shot, iuv))


def _paths(root: Path, shot: Shot, iuv: bool) -> list[Path]:
    paths = [
        root / shot.split / f"{shot.stem}.jpg",
        root / "labels" / shot.split / f"{shot.stem}.png",
    ]
    return [*paths, root / "iuv" / shot.split / f"{shot.stem}.png"] if iuv else paths


def _write_shot(world: World, root: Path, iuv: bool, shot: Shot) -> str:
    rendered = render(world, shot.identity, shot.camera, shot.index, shot.occluded)
    paths = _paths(root, shot, iuv)
    save(
        Image.fromarray(rendered.image),
        paths[0],
        "JPEG",
        quality=rendered.jpeg_quality,
        subsampling=2,
    )
    labels = Image.fromarray(rendered.labels)
    labels.putpalette(_PALETTE)
    save(labels, paths[1], "PNG", optimize=False)
    if iuv:
        save(Image.fromarray(iuv_image(rendered)), paths[2], "PNG", optimize=False)
    return json.dumps(annotation(shot, rendered), separators=(",", ":")) + "\n"


def iuv_image(rendered: Rendered) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """DensePose's PNG form: uint8 [H, W, 3] of I (1..24, else 0), trunc(255 U), trunc(255 V)."""
    surface = np.where(rendered.labels <= len(SURFACES), rendered.labels, 0).astype(np.uint8)
    return np.concatenate([surface[..., None], (rendered.uv * 255).astype(np.uint8)], 2)


def annotation(shot: Shot, rendered: Rendered) -> dict[str, Any]:
    """One line of annotations.jsonl. `identity` is 0 for distractors, as in the file names."""
    visible, amodal = rendered.visible_pixels, rendered.amodal_pixels
    seen = [label for label in range(1, TARGET_LABELS) if amodal[label]]
    return {
        "file": f"{shot.split}/{shot.stem}.jpg",
        "split": shot.split,
        "identity": 0 if shot.identity >= FIRST_DISTRACTOR else shot.identity,
        "camera": shot.camera,
        "keypoints": [
            [round(float(x), 1), round(float(y), 1), int(v)] for x, y, v in rendered.joints
        ],
        "yaw": round(rendered.yaw, 1),
        "occlusion": round(rendered.occlusion, 4),
        "occluder": rendered.occluder,
        "truncated": rendered.truncated,
        "visible": {str(label): int(visible[label]) for label in seen},
        "amodal": {str(label): int(amodal[label]) for label in seen},
    }
