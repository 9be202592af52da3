"""What labels show and what is wrong with them: counted against loops, told in sentences, drawn,
kept in one file.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from partreid import build
from partreid.data.transforms import resize_nearest
from partreid.errors import DataError, RecipeError
from partreid.labels.base import Cue
from partreid.labels.tools.base import in_order
from partreid.labels.tools.caching import cache
from partreid.labels.tools.check import check
from partreid.labels.tools.preview import preview, spread
from partreid.labels.tools.stats import measure
from partreid.recipes import Spec
from partreid.types import Benchmark, Sample

EIGHT = Spec("surfaces", parts="eight")


def rebuilt(root: Path) -> Benchmark:
    return build.benchmark("synthetic-tiny", root)


def labels_of(root: Path) -> list[Path]:
    return sorted((root / "labels" / "bounding_box_train").iterdir())


def test_statistics_match_loops(benchmark: Benchmark) -> None:
    cue = build.cue(EIGHT, benchmark)
    done: list[tuple[int, int]] = []
    stats = measure(cue, benchmark.train, lambda d, n: done.append((d, n)))
    items = [cue[i] for i in range(len(benchmark.train))]
    assert done[-1] == (len(items), len(items)) == (stats.images, stats.labelled)
    for k, part in enumerate(stats.parts, 1):
        shares = [(item == k).mean() for item in items if (item == k).any()]
        assert part.images == len(shares) and part.pixels == pytest.approx(np.mean(shares))
    left, right = (sum((item == k).mean() for item in items) for k in (2, 3))
    assert stats.balance["arm"] == pytest.approx(left / (left + right))
    assert stats.person == pytest.approx(np.mean([(item > 0).mean() for item in items]))
    assert not stats.nobody and not stats.unknown and not stats.broken and not stats.stretched
    assert json.loads(json.dumps(stats.to_dict()))["coverage"] == 1


def test_tiles_are_counted_by_surface(benchmark: Benchmark) -> None:
    spec = Spec("uv_tiles", size=8, cache=False)
    cue = build.cue(spec, benchmark)
    stats = measure(cue, benchmark.train)
    assert len(stats.parts) == 24 and stats.parts[1].name == "torso_front"
    seen = [cue[i][1, 3].mean() for i in range(stats.images)]
    assert stats.parts[1].images == sum(s > 0 for s in seen)
    assert stats.person == pytest.approx(
        np.mean([cue[i][:, 3].mean() for i in range(stats.images)])
    )
    maps = measure(
        build.cue(Spec("uv_tiles", sync="geometric", erasing=True), benchmark), benchmark.train
    )
    assert maps.labelled == stats.labelled and 0.1 < maps.person < 0.6
    assert check(spec, benchmark).sound


def test_sound_labels_have_no_findings(benchmark: Benchmark) -> None:
    for spec in (EIGHT, Spec("densepose", parts="seven"), Spec("stripes")):
        findings = check(spec, benchmark)
        assert findings.sound and "48 of 48 images (100.0 %) show" in findings.sentence(), (
            findings.problems
        )


def test_each_fault_is_found_and_told(own_world: Path) -> None:
    files = labels_of(own_world)
    files[3].write_bytes(files[3].read_bytes()[:40])
    Image.new("L", (64, 64)).save(files[5])
    Image.new("L", (64, 128)).save(files[7])  # nobody
    for path in files[8:]:
        labels = np.asarray(Image.open(path)).copy()
        labels[np.isin(labels, (5, *range(3, 24, 2)))] = 0  # no left foot, hardly a right limb
        Image.fromarray(labels).save(path)
    for path in files[:3] + files[4:5] + files[6:7]:
        labels = np.asarray(Image.open(path)).copy()
        labels[labels == 5] = 0
        Image.fromarray(labels).save(path)
    findings = check(EIGHT, rebuilt(own_world))
    messages = [str(problem) for problem in findings.problems]
    assert any(
        "2 of 48 labels cannot be used, the first is that of" in s and files[3].stem in s
        for s in messages
    )
    assert any("1 of 48 images show no part at all" in s and files[7].stem in s for s in messages)
    assert any(
        s.startswith("left_foot occurs in no image; take a part set without") for s in messages
    )
    assert any("of what shows arms is left: sides look mixed up" in s for s in messages), messages
    assert (
        all("; " in s for s in messages)
        and findings.stats is not None
        and findings.stats.labelled == 45
    )


def test_missing_labels_are_a_finding_and_the_rest_is_read(own_world: Path) -> None:
    iuv = sorted((own_world / "iuv" / "bounding_box_train").iterdir())
    for path in iuv[:2]:
        path.unlink()
    findings = check(Spec("densepose", parts="five"), rebuilt(own_world))
    messages = [str(problem) for problem in findings.problems]
    assert any("found nobody in 2 of 48 training images" in s for s in messages)
    assert len(messages) == 1  # not told twice
    unknown = check(Spec("densepose", parts="five", missing="unknown"), rebuilt(own_world))
    assert "of 2 of 48 images nothing is known" in str(unknown.problems[0])
    assert findings.stats is not None and findings.stats.labelled == 46
    nothing = check(Spec("parsing", source="lip"), rebuilt(own_world))
    assert nothing.stats is None and nothing.sentence() == "No label of 48 images could be read."
    (problem,) = nothing.problems
    assert problem.what.startswith("48 of 48 training images have no label in")
    assert "stripes in their place are --set cues.parts=stripes" in problem.fix


def test_parts_that_a_source_cannot_give(own_world: Path) -> None:
    for path in labels_of(own_world):
        labels = np.minimum(np.asarray(Image.open(path)), 19)
        (own_world / "parsing" / "bounding_box_train").mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(own_world / "parsing" / "bounding_box_train" / path.name)
    findings = check(Spec("parsing", source="lip", parts="seven"), rebuilt(own_world))
    assert findings.problems[0].what == "source 'lip' cannot give upper_arm of the part set 'seven'"
    assert "another source (sapiens, densepose24, densepose14)" in findings.problems[0].fix
    assert findings.stats is not None and any(
        "upper_arm occurs in no image" in p.what for p in findings.problems
    )


def test_labels_of_other_proportions(own_world: Path) -> None:
    folder = own_world / "masks" / "pifpaf_maskrcnn_filtering" / "bounding_box_train"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for i, sample in enumerate(rebuilt(own_world).train):
        np.save(
            folder / f"{sample.path.stem}.npy",
            random.random((36, 9, 17 if i == 4 else 5)).astype(np.float32),
        )
    findings = check(Spec("pifpaf", parts="six"), rebuilt(own_world))
    assert any(
        "1 of 48 labels have other proportions than their crops" in p.what
        for p in findings.problems
    )


def test_names_that_do_not_exist_are_mistakes(benchmark: Benchmark) -> None:
    with pytest.raises(RecipeError, match="unknown cue: 'surface'. Did you mean 'surfaces'"):
        check(Spec("surface"), benchmark)
    with pytest.raises(RecipeError, match="unknown surface grouping: 'nine'"):
        check(Spec("surfaces", parts="nine"), benchmark)
    with pytest.raises(RecipeError, match="made while training.*none to look at before"):
        check(Spec("isp_clusters", parts=5), benchmark)


# One file for all


def test_a_cache_is_the_cue_itself(benchmark: Benchmark, tmp_path: Path) -> None:
    direct = build.cue(EIGHT, benchmark)
    written = cache(EIGHT, benchmark, (48, 20), tmp_path / "c.safetensors")
    cached: Cue = build.cue(written.cue, benchmark)
    assert cached.scheme == direct.scheme
    for i in range(len(benchmark.train)):
        small = resize_nearest(direct[i], (48, 20))
        np.testing.assert_array_equal(cached[i], small)
        np.testing.assert_array_equal(cached.mirror(cached[i]), direct.mirror(small))
    stored = load_file(tmp_path / "c.safetensors")["labels"]  # by the library's own reader
    assert stored.shape == (48, 48, 20) and stored.dtype == np.uint8
    again = cache(EIGHT, benchmark, (48, 20), tmp_path / "d.safetensors")
    assert again.cue.args["digest"] == written.cue.args["digest"]
    other = cache(EIGHT.but(parts="six"), benchmark, (48, 20), tmp_path / "e.safetensors")
    assert other.cue.args["digest"] != written.cue.args["digest"]
    assert check(written.cue, benchmark).sound
    few = Benchmark(benchmark.name, benchmark.root, benchmark.train[7:9], {}, ())
    np.testing.assert_array_equal(build.cue(written.cue, few)[1], cached[8])


def test_a_cache_that_does_not_fit_is_refused(own_world: Path) -> None:
    of = rebuilt(own_world)
    with pytest.raises(
        DataError, match=r"there is no .*labels\.safetensors; write it with 'partreid labels cache'"
    ):
        build.cue(Spec("cached"), of)
    written = cache(EIGHT, of, (16, 8))
    assert set(written.cue.args) == {"digest"} and "48 images at 16 x 8" in written.sentence
    path = own_world / "labels.safetensors"
    with pytest.raises(DataError, match="has the digest sha256-.*these are other labels"):
        build.cue(written.cue.but(digest="sha256-1"), of)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError, match="is not a readable safetensors file"):
        build.cue(written.cue, of)
    path.write_bytes(whole)
    sample = of.train[0].path
    sample.rename(sample.with_name("0001_c1s1_999999_00.jpg"))
    with pytest.raises(
        DataError,
        match=r"no labels for 1 of 48 training images; the first is bounding_box_train/0001",
    ):
        build.cue(written.cue, rebuilt(own_world))
    with pytest.raises(
        RecipeError,
        match="'isp_clusters' has no part labels that could be kept: it makes them while",
    ):
        cache(Spec("isp_clusters", parts=5), of)


def test_a_broken_label_leaves_no_cache(own_world: Path) -> None:
    labels_of(own_world)[30].write_text("no picture")
    with pytest.raises(DataError, match="cannot be read as an image"):
        cache(EIGHT, rebuilt(own_world), (16, 8))
    assert not [p for p in own_world.iterdir() if "safetensors" in p.name]


def test_threads_keep_the_order() -> None:
    assert list(in_order(lambda i: i * i, 200)) == [i * i for i in range(200)]


# Sheets


def test_a_sheet_shows_parts_unknowns_and_faults(own_world: Path) -> None:
    of = rebuilt(own_world)
    sheet = np.asarray(preview(EIGHT, of, 2)).astype(int)
    assert 900 < sheet.shape[1] < 1200
    yellow = (np.abs(sheet - (242, 193, 75)).sum(2) < 3).sum()  # the head's color in the legend
    assert yellow > 60
    for path in labels_of(own_world):
        path.write_text("no picture")
    faulty = np.asarray(preview(EIGHT, of, 2)).astype(int)
    assert (
        faulty.shape == sheet.shape and (np.abs(faulty - (198, 56, 44)).sum(2) < 3).sum() > 60
    )  # told in red
    (
        own_world / "iuv" / "bounding_box_train" / f"{of.train[spread(48, 10)[0]].path.stem}.png"
    ).unlink()
    known, unknown = (
        preview(Spec("densepose", missing=m), of, 2) for m in ("background", "unknown")
    )
    assert np.abs(np.asarray(known).astype(int) - np.asarray(unknown)).sum() > 0


def test_tiles_are_drawn_a_crop_a_row(benchmark: Benchmark) -> None:
    heights = [
        preview(Spec("uv_tiles", size=8, cache=False), benchmark, rows).height for rows in (1, 2)
    ]
    assert heights[1] - 44 == 2 * (heights[0] - 44)
    with pytest.raises(RecipeError, match="cannot be drawn before"):
        preview(Spec("uv_tiles", sync="geometric", erasing=True), benchmark)


def test_images_are_chosen_evenly() -> None:
    assert spread(48, 4) == [6, 18, 30, 42] and spread(3, 9) == [0, 1, 2]


def test_crops_of_which_size_does_not_tell_the_turn_are_named(tmp_path: Path) -> None:
    samples = []
    for name, turn, size in (("plain", 1, (8, 16)), ("half", 3, (8, 16)), ("side", 6, (16, 8))):
        path = tmp_path / "train" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = turn
        Image.new("RGB", size).save(path, exif=exif)
        samples.append(Sample.of_nobody(path))
        (tmp_path / "parsing" / "train").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.tile(np.arange(4, dtype=np.uint8), (16, 2))).save(
            tmp_path / "parsing" / "train" / path.name
        )
    of = Benchmark("mine", tmp_path, tuple(samples), {}, ())
    messages = [
        str(problem)
        for problem in check(Spec("parsing", source="parts", parts="three"), of).problems
    ]
    assert (
        len(messages) == 1
        and "1 of 3 images are turned or mirrored" in messages[0]
        and "half.png" in messages[0]
    )
    # one is upright, the size of the other tells
    assert "plain.png" not in messages[0] and "side.png" not in messages[0]


def test_a_cache_does_not_replace_a_device_and_keeps_a_link(
    tmp_path: Path, benchmark: Benchmark
) -> None:
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    cache(EIGHT, benchmark, (8, 4), tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").stat().st_size > 0
    with pytest.raises(DataError, match="is a device"):
        cache(EIGHT, benchmark, (8, 4), Path("/dev/null"))
    assert Path("/dev/null").is_char_device()


def test_a_cue_is_asked_for_any_images(benchmark: Benchmark) -> None:
    some, every = benchmark.train[3:5], build.cue(EIGHT, benchmark)
    cue = build.cue(EIGHT, benchmark, samples=some)
    for i in range(len(some)):
        np.testing.assert_array_equal(cue[i], every[3 + i])
