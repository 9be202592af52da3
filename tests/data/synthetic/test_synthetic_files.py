"""Writing a world: layout, resuming, reuse and refusal."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partreid.data.synthetic import PRESETS, Shot, contact_sheet, render, write
from partreid.data.synthetic.benchmark import iuv_image
from partreid.errors import DataError

TINY = PRESETS["tiny"]
SMALL = replace(TINY, train_identities=4, test_identities=2, distractors=1, cameras=2)
LONGER = replace(TINY, test_identities=3, distractors=0, cameras=2)  # three chunks of work
MARKET = re.compile(r"(-?\d{4})_c(\d)s\d_\d{6}_\d{2}\.jpg")


def _bytes(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
    }


def _annotations(root: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (root / "annotations.jsonl").read_text().splitlines()]


def test_layout_is_market_1501s(tiny_root: Path, tiny_plan: list[Shot]) -> None:
    lines = _annotations(tiny_root)
    assert [e["file"] for e in lines] == [f"{s.split}/{s.stem}.jpg" for s in tiny_plan]
    assert len({e["file"] for e in lines}) == len(lines)
    for entry in lines:
        match = MARKET.fullmatch(Path(str(entry["file"])).name)
        assert match and int(match[1]) == entry["identity"] and int(match[2]) == entry["camera"]
        assert (tiny_root / str(entry["file"])).is_file()
    on_disk = {str(p.relative_to(tiny_root)) for p in tiny_root.glob("[bq]*/*")}
    assert on_disk == {e["file"] for e in lines}
    ids = {
        split: {e["identity"] for e in lines if e["split"] == split}
        for split in {e["split"] for e in lines}
    }
    assert ids["bounding_box_train"] == set(range(1, 9))
    assert ids["bounding_box_test"] == {0, *range(5001, 5009)}
    assert ids["query"] == ids["query_occluded"] == set(range(5001, 5009))


def test_labels_and_iuv_are_those_of_the_rendered_image(
    tiny_root: Path, tiny_plan: list[Shot]
) -> None:
    entries = _annotations(tiny_root)
    for shot, entry in list(zip(tiny_plan, entries, strict=True))[::13]:
        r = render(TINY, shot.identity, shot.camera, shot.index, shot.occluded)
        with Image.open(tiny_root / "labels" / shot.split / f"{shot.stem}.png") as file:
            assert file.mode == "P"
            labels = np.asarray(file)
        with Image.open(tiny_root / "iuv" / shot.split / f"{shot.stem}.png") as file:
            iuv = np.asarray(file.convert("RGB"))
        np.testing.assert_array_equal(labels, r.labels)
        np.testing.assert_array_equal(iuv, iuv_image(r))
        assert iuv[..., 0].max() <= 24
        np.testing.assert_array_equal(iuv[..., 1], np.trunc(r.uv[..., 0] * 255))
        counts = np.bincount(labels.ravel(), minlength=32)
        assert entry["visible"] == {k: int(counts[int(k)]) for k in entry["amodal"]}  # type: ignore[attr-defined]
        assert entry["occlusion"] == pytest.approx(r.occlusion, abs=1e-4)
        assert [k[2] for k in entry["keypoints"]] == r.joints[:, 2].tolist()  # type: ignore[attr-defined]


def test_jpegs_show_the_rendered_image(tiny_root: Path, tiny_plan: list[Shot]) -> None:
    shot = tiny_plan[0]
    with Image.open(tiny_root / shot.split / f"{shot.stem}.jpg") as file:
        written = np.asarray(file.convert("RGB"), np.int16)
    image = render(TINY, shot.identity, shot.camera, shot.index, shot.occluded).image
    assert np.abs(written - image).mean() < 8


def test_world_json_is_complete_and_counts(tiny_root: Path, tiny_plan: list[Shot]) -> None:
    state = json.loads((tiny_root / "world.json").read_text())
    assert state["complete"] is True and state["iuv"] is True
    assert sum(state["images"].values()) == len(tiny_plan)
    assert state["world"]["seed"] == TINY.seed
    assert not (tiny_root / ".annotations").exists()


def test_shares_of_occluded_images(tiny_plan: list[Shot]) -> None:
    train = [s.occluded for s in tiny_plan if s.split == "bounding_box_train"]
    assert 0.05 < np.mean(train) < 0.40
    assert not any(s.occluded for s in tiny_plan if s.split == "query")
    assert all(s.occluded for s in tiny_plan if s.split == "query_occluded")


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    alone = write(SMALL, tmp_path / "alone", workers=1)
    together = write(SMALL, tmp_path / "together", workers=2)
    assert _bytes(alone) == _bytes(together)


def test_an_interrupted_run_continues(tmp_path: Path) -> None:
    whole = write(LONGER, tmp_path / "whole", workers=1)

    class Interrupt(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise Interrupt

    root = tmp_path / "half"
    with pytest.raises(Interrupt):
        write(LONGER, root, workers=1, progress=stop)
    assert json.loads((root / "world.json").read_text())["complete"] is False
    before = {p: p.stat().st_mtime_ns for p in root.glob("[bq]*/*.jpg")}
    first = sorted(before)[0]
    first.unlink()  # its chunk is drawn again
    counts: list[tuple[int, int]] = []
    write(LONGER, root, workers=1, progress=lambda done, total: counts.append((done, total)))
    assert counts[-1][0] == counts[-1][1] and [c[0] for c in counts] == sorted(c[0] for c in counts)
    assert sum(p.stat().st_mtime_ns == t for p, t in before.items()) > len(before) / 3
    assert _bytes(root) == _bytes(whole)


def test_a_finished_world_is_reused(tiny_root: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in tiny_root.rglob("*")}
    counts: list[tuple[int, int]] = []
    assert (
        write(TINY, tiny_root, progress=lambda done, total: counts.append((done, total)))
        == tiny_root
    )
    assert {p: p.stat().st_mtime_ns for p in tiny_root.rglob("*")} == before
    assert len(counts) == 1 and counts[0][0] == counts[0][1]


def test_iuv_can_be_added_later(tmp_path: Path) -> None:
    root = write(SMALL, tmp_path / "w", workers=1)
    assert not (root / "iuv").exists()
    write(SMALL, root, iuv=True, workers=1)
    images = list(root.glob("[bq]*/*.jpg"))
    assert {p.stem for p in root.glob("iuv/*/*.png")} == {p.stem for p in images}


def test_other_contents_are_refused(tmp_path: Path, tiny_root: Path) -> None:
    with pytest.raises(DataError, match="another synthetic world.*seed: there 1, wanted 2"):
        write(replace(TINY, seed=2), tiny_root)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        write(TINY, tmp_path / "full")
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"
    with pytest.raises(DataError, match="is a file"):
        write(TINY, tmp_path / "full" / "thesis.txt")
    (tmp_path / "full" / "world.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        write(TINY, tmp_path / "full")


@pytest.mark.parametrize("show", ["image", "labels", "iuv"])
def test_contact_sheets_are_drawn(tiny_root: Path, tmp_path: Path, show: str) -> None:
    path = contact_sheet(
        tiny_root, tmp_path / "a" / "sheet.png", show=show, identities=2, tile_height=128
    )  # type: ignore[arg-type]
    with Image.open(path) as sheet:
        assert sheet.height > 2 * 128 and sheet.width > 6 * 64
        assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > 500


def test_contact_sheets_need_a_finished_world(tiny_root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no synthetic world"):
        contact_sheet(tmp_path, tmp_path / "s.png")
    part = tmp_path / "part"
    part.mkdir()
    shutil.copy(tiny_root / "annotations.jsonl", part)
    state = json.loads((tiny_root / "world.json").read_text())
    (part / "world.json").write_text(json.dumps({**state, "complete": False}))
    with pytest.raises(DataError, match="not finished"):
        contact_sheet(part, tmp_path / "s.png")
    (part / "world.json").write_text(json.dumps({**state, "iuv": False}))
    with pytest.raises(DataError, match="without IUV"):
        contact_sheet(part, tmp_path / "s.png", show="iuv")
