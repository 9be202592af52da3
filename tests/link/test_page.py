"""The page and the table: what they hold, and that they need nothing else."""

import csv
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from PIL import Image

from partreid.distance import PartDistance
from partreid.errors import DataError
from partreid.link import Linked, TrackedCrop, Tracklets, link, score, write_identities, write_page
from partreid.metrics.calibration import Calibration
from partreid.types import Embeddings
from tests.link.made_up import angles

D = PartDistance("cosine")


@pytest.fixture()
def result(tmp_path: Path, calibration: Calibration) -> tuple[Tracklets, Linked]:
    """Four tracklets, two people; one has no time, and its name is markup."""
    crops = []
    for t, (name, camera, time, who) in enumerate(
        [
            ("1", "yard", 0.0, "A"),
            ("2", "yard", 3.0, "B"),
            ("3", "door", 9.0, "A"),
            ("<b>4", "door", np.nan, "B"),
        ]
    ):
        for k in range(3):
            Image.new("RGB", (20, 48), (60 * t, 9, 9)).save(tmp_path / f"{t}-{k}.jpg")
            crops.append(TrackedCrop(tmp_path / f"{t}-{k}.jpg", name, camera, time + k, who))
    t = Tracklets.of(crops)
    e = Embeddings.of(torch.from_numpy(angles(0, 80, 5, 40)[t.crop_of]))
    return t, link(t, e, calibration, D, prior=0.5)


def test_the_page_holds_every_identity_and_the_unsure_first(
    result: tuple[Tracklets, Linked], tmp_path: Path
) -> None:
    t, linked = result
    file = write_page(
        t, linked, tmp_path / "p.html", notes=("a <limit>",), facts={"model": "x"},
        scores=score(t, linked, samples=10),
    )  # fmt: skip
    html = file.read_text()
    assert html.count('<article id="identity-') == linked.people
    chances = [float(p) for p in re.findall(r'class="label"><b>([\d.]+) %', html)]
    assert len(chances) == len(linked.joins) > 1
    assert [abs(p - 50) for p in chances] == sorted(abs(p - 50) for p in chances)
    assert html.count("data:image/jpeg;base64,") >= 2 * len(t) and html.count("<rect") == 3
    assert "&lt;b&gt;4" in html and "<b>4" not in html and "a &lt;limit&gt;" in html
    assert "time unknown" in html and "IDF1" in html
    assert not re.search(r'(src|href)="(?!data:|#)', html) and "<script" not in html


def test_a_long_page_shows_the_least_sure_and_says_what_it_leaves_out(
    result: tuple[Tracklets, Linked], tmp_path: Path
) -> None:
    t, linked = result
    html = write_page(t, linked, tmp_path / "p.html", most=1).read_text()
    least = int(linked.identity[linked.probability.argmin()])
    assert re.findall(r'<article id="identity-(\d+)"', html) == [str(least)]
    assert f"{linked.people - 1} surer ones are not shown" in html


def test_a_crop_that_is_gone_is_named_and_leaves_no_page(
    result: tuple[Tracklets, Linked], tmp_path: Path
) -> None:
    t, linked = result
    t.paths[0].unlink()
    with pytest.raises(DataError, match="0-0.jpg"):
        write_page(t, linked, tmp_path / "p.html")
    assert not (tmp_path / "p.html").exists()


def test_the_table_has_a_line_for_every_tracklet(
    result: tuple[Tracklets, Linked], tmp_path: Path
) -> None:
    t, linked = result
    rows = list(
        csv.DictReader(write_identities(t, linked, tmp_path / "i.csv").read_text().splitlines())
    )
    assert sorted(row["tracklet"] for row in rows) == sorted(t.names)
    row_of = {name: k for k, name in enumerate(t.names)}
    for row in rows:
        k = row_of[row["tracklet"]]
        assert int(row["identity"]) == linked.identity[k] and int(row["crops"]) == 3
        assert float(row["probability"]) == pytest.approx(linked.probability[k], abs=1e-6)
        assert row["start"] == ("" if np.isnan(t.start[k]) else str(t.start[k]))
    again = parquet.read_table(write_identities(t, linked, tmp_path / "i.parquet")).to_pylist()
    assert [str(row["identity"]) for row in again] == [row["identity"] for row in rows]
    assert [row["start"] for row in again if row["tracklet"] == "<b>4"] == [None]
