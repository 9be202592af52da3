"""Unwrapped training images: what is in them, how they are kept, and every way in which they can
be wrong.
"""

import os
from io import BytesIO
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from partreid.data.loader import TrainSet, collate, train_loader
from partreid.data.sampler import IdentitySampler
from partreid.data.transforms import erase
from partreid.errors import DataError, RecipeError
from partreid.labels.uv_tiles import uv_tiles
from partreid.layers.warp import (
    FLIP_U,
    FLIP_V,
    LEFT_RIGHT,
    align_tiles,
    as_tiles,
    coarse,
    covered,
    mirror_coarse,
    mirror_tiles,
    warp,
)
from partreid.types import Sample

N = 40  # two chunks


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Sample, ...]]:
    """Images of 24 x 12, PNG so that nothing is lost, whose charts and colors are noise; number 3
    is undetected, 4 has an empty picture, 5 is drawn at half its size and 6 at twice.
    """
    root = tmp_path_factory.mktemp("people")
    random = np.random.default_rng(0)
    for folder in ("train", "iuv/train"):
        (root / folder).mkdir(parents=True)
    samples = []
    for i in range(N):
        photo, iuv = random.integers(0, 256, (2, 24, 12, 3), np.uint8)
        iuv[..., 0] = random.integers(0, 25, (24, 12)) * (i != 4)
        iuv = {5: iuv[::2, ::2], 6: iuv.repeat(2, 0).repeat(2, 1)}.get(i, iuv)
        samples.append(Sample(root / "train" / f"{i:04d}.png", i // 2, 1 + i % 2))
        Image.fromarray(photo).save(samples[-1].path)
        if i != 3:
            Image.fromarray(iuv).save(root / "iuv" / "train" / f"{i:04d}.png")
    return root, tuple(samples)


def loaded(root: Path, sample: Sample) -> tuple[torch.Tensor, ...]:
    photo = np.asarray(Image.open(sample.path)).transpose(2, 0, 1)[None]
    iuv = np.asarray(Image.open(root / "iuv" / "train" / sample.path.name)).transpose(2, 0, 1)[None]
    return tuple(torch.from_numpy(np.ascontiguousarray(m)) for m in (photo, iuv[:, 0], iuv[:, 1:]))


@pytest.mark.parametrize("align", ["none", "lr", "lr_fb"])
@pytest.mark.parametrize("collision", ["mean", "last"])
def test_tiles_are_the_warp_of_the_whole_image(people: Any, align: Any, collision: Any) -> None:
    root, samples = people
    cue = uv_tiles(root, samples, align=align, collision=collision, size=8, cache=False)
    assert not cue.spatial and cue.scheme is None and cue.state() == {}
    for i in (0, 31, 32, 39):
        tiles, count = warp(*loaded(root, samples[i]), 8, collision)
        want = align_tiles(torch.cat([tiles.round(), (count > 0)[:, :, None]], 2), align)[0]
        assert cue[i].dtype == np.uint8
        np.testing.assert_array_equal(cue[i], want)


def test_grids_of_another_size(people: Any) -> None:
    """The larger of both grids is warped: charts are copied, colors mixed."""
    root, samples = people
    cue = uv_tiles(root, samples, align="none", cache=False)
    photo, charts, uv = loaded(root, samples[5])
    tiles, count = warp(
        photo,
        charts.repeat_interleave(2, 1).repeat_interleave(2, 2),
        uv.repeat_interleave(2, 2).repeat_interleave(2, 3),
    )
    np.testing.assert_array_equal(cue[5][:, :3], tiles[0].round())
    big = np.asarray(
        Image.open(samples[6].path).resize((24, 48), Image.Resampling.BILINEAR)
    ).transpose(2, 0, 1)
    tiles, count = warp(torch.from_numpy(big.copy())[None], *loaded(root, samples[6])[1:])
    np.testing.assert_array_equal(cue[6][:, :3], tiles[0].round())
    np.testing.assert_array_equal(cue[6][:, 3], count[0] > 0)


@pytest.mark.parametrize(
    "options", [{}, {"sync": "geometric", "erasing": True}, {"source": "coarse", "size": 8}]
)
def test_whoever_was_not_found_is_empty(people: Any, options: Any) -> None:
    root, samples = people
    cue = uv_tiles(root, samples, cache=False, **options)
    assert (
        not cue.detected[3:5].any() and cue.detected.sum() == N - 2 and cue.coverage == (N - 2) / N
    )
    assert cue.sentence().startswith("The surface of 38 of 40 training images is known (95.0 %)")
    items = [torch.from_numpy(cue[i])[None] for i in (2, 3, 4)]
    assert [bool(covered(item)) for item in items] == [True, False, False]
    assert not as_tiles(items[1]).any()
    with pytest.raises(
        DataError, match=r"nobody in 2 of 40 training images; the first is .*0003\.png"
    ):
        uv_tiles(root, samples, cache=False, missing="error", **options)


def mirrored_people(root: Path, sample: Sample, to: Path) -> Sample:
    """The mirrored image with its mirrored IUV picture."""
    photo, charts, uv = (m[0].numpy()[..., ::-1] for m in loaded(root, sample))
    uv = uv.copy()
    for axis, flips in enumerate((FLIP_U, FLIP_V)):
        uv[axis] = np.where(np.isin(charts, list(flips)), 255 - uv[axis], uv[axis])
    for folder, image in (
        ("train", photo),
        ("iuv/train", np.stack([np.array(LEFT_RIGHT, np.uint8)[charts], *uv])),
    ):
        (to / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(
            to / folder / sample.path.name
        )
    return Sample(to / "train" / sample.path.name, sample.identity, sample.camera)


@pytest.mark.parametrize(
    "options", [{"align": "none"}, {}, {"align": "lr_fb"}, {"source": "coarse", "size": 8}]
)
@pytest.mark.parametrize("sync", ["flip_only", "geometric"])
def test_mirroring_is_that_of_the_image(
    people: Any, tmp_path: Path, options: Any, sync: Any
) -> None:
    root, samples = people
    if sync == "geometric":
        if "source" in options:
            return
        options = options | {"sync": sync, "erasing": True}
    other = [mirrored_people(root, sample, tmp_path) for sample in samples[:3]]
    cue, turned = (
        uv_tiles(folder, some, cache=False, **options)
        for folder, some in ((root, samples[:3]), (tmp_path, other))
    )
    for i in range(3):
        item = cue[i]
        if sync == "flip_only":
            tiles = torch.from_numpy(item)
            rule = (
                mirror_coarse(tiles)
                if "source" in options
                else mirror_tiles(tiles, options.get("align", "lr"))
            )
            np.testing.assert_array_equal(cue.mirror(item), rule)
        apart = np.abs(cue.mirror(item).astype(int) - turned[i])
        assert apart.max() <= ("source" in options)  # what is resized may be rounded another way
        np.testing.assert_array_equal(cue.mirror(cue.mirror(item)), item)


def test_maps_give_the_tiles_of_the_bank(people: Any) -> None:
    """Where nothing is cropped or erased, both forms feed a guide the same, but for rounding."""
    root, samples = people
    fixed = uv_tiles(root, samples, cache=False)
    maps = uv_tiles(root, samples, sync="geometric", erasing=True)
    assert maps.spatial and maps[0].shape == (24, 12, 6) and maps[0].dtype == np.uint8
    some = [0, 5, 6, 39]
    for i in some:
        both = [as_tiles(torch.from_numpy(c[i])[None]) for c in (fixed, maps)]
        torch.testing.assert_close(*both, atol=0.51 / 255 / 0.224, rtol=0)
    assert as_tiles(torch.from_numpy(maps[0])[None], 16).shape == (1, 24, 3, 16, 16)


def test_what_is_erased_or_cut_off_leaves_the_maps_but_not_the_tiles(people: Any) -> None:
    root, samples = people
    always = erase(p=1.0, area=(0.3, 0.4))
    both = {
        "fixed": uv_tiles(root, samples, cache=False),
        "maps": uv_tiles(root, samples, sync="geometric", erasing=True),
    }
    plain, less = (
        TrainSet(samples, [s.identity for s in samples], (24, 12), a, both, 0)
        for a in ([], [always])
    )
    before, after = (collate([data[0, 0, 0]]).cues for data in (plain, less))
    assert torch.equal(before["fixed"], after["fixed"])
    seen = [int((as_tiles(cues["maps"]) != 0).sum()) for cues in (before, after)]
    assert 0 < seen[1] < 0.85 * seen[0]
    lost = (before["maps"] != after["maps"]).any(3)
    assert not after["maps"][lost].any() and 0.2 < lost.float().mean() < 0.5


def test_coarse_pieces(people: Any) -> None:
    root, samples = people
    cue = uv_tiles(root, samples[:2], source="coarse", size=16, cache=False)
    photo, charts, _ = loaded(root, samples[0])
    tiles, count = coarse(photo, charts, 16)
    np.testing.assert_array_equal(cue[0], torch.cat([tiles.round(), count[:, :, None]], 2)[0])


# ---- the bank on disk


def calls() -> tuple[list[tuple[int, int]], Any]:
    seen: list[tuple[int, int]] = []
    return seen, lambda done, of: seen.append((done, of))


def test_the_bank_is_kept_and_made_anew_when_anything_changed(people: Any, tmp_path: Path) -> None:
    source, samples = people
    root = tmp_path / "own"
    some = tuple(mirrored_people(source, sample, root) for sample in samples[:3])
    seen, progress = calls()
    first = uv_tiles(root, some, progress=progress)
    assert seen == [(3, 3)] and len(list((root / "cache").iterdir())) == 1
    (kept,) = (root / "cache").iterdir()
    stamp = kept.stat().st_mtime_ns

    again = uv_tiles(root, some)
    assert kept.stat().st_mtime_ns == stamp and [p for p in (root / "cache").iterdir()] == [kept]
    assert (
        all((first[i] == again[i]).all() for i in range(3)) and first.sentence() == again.sentence()
    )
    assert uv_tiles(root, some, seed=5).sentence() == first.sentence()  # without noise no seed
    assert len(list((root / "cache").iterdir())) == 1

    moved = root.rename(tmp_path / "moved")
    there = tuple(Sample(moved / s.path.relative_to(root), s.identity, s.camera) for s in some)
    uv_tiles(moved, there)
    assert len(list((moved / "cache").iterdir())) == 1

    for n, options in enumerate(
        (
            {"size": 16},
            {"align": "none"},
            {"collision": "last"},
            {"noise": "heavy"},
            {"noise": "heavy", "seed": 1},
            {"source": "coarse"},
        ),
        2,
    ):
        uv_tiles(moved, there, **options)
        assert len(list((moved / "cache").iterdir())) == n, options
    uv_tiles(moved, there[:2])
    assert len(list((moved / "cache").iterdir())) == 8

    old = uv_tiles(moved, there)[0]
    picture = moved / "iuv" / "train" / there[0].path.name
    pixels = np.asarray(Image.open(picture)).copy()
    pixels[..., 0] = 2
    Image.fromarray(pixels).save(picture)
    os.utime(picture, ns=(1, 1))
    new = uv_tiles(moved, there)[0]
    assert len(list((moved / "cache").iterdir())) == 9
    assert new[1, 3].any() and not new[2:, 3].any() and old[2:, 3].any()


def test_a_broken_or_impossible_cache_is_no_harm(people: Any, tmp_path: Path) -> None:
    source, samples = people
    root = tmp_path / "own"
    some = tuple(mirrored_people(source, sample, root) for sample in samples[:3])
    want = uv_tiles(root, some, cache=False)
    assert not (root / "cache").exists()
    uv_tiles(root, some)
    (kept,) = (root / "cache").iterdir()
    whole = kept.read_bytes()
    for broken in (b"", whole[:100], whole[:-5]):
        kept.write_bytes(broken)
        assert (uv_tiles(root, some)[1] == want[1]).all() and kept.read_bytes() == whole
    kept.unlink()
    (root / "cache").rmdir()
    # as a folder without permission, which root would not notice
    (root / "cache").write_text("in the way")
    assert (uv_tiles(root, some)[1] == want[1]).all()


def test_loader_workers_share_the_bank(people: Any) -> None:
    root, samples = people
    cue = uv_tiles(root, samples, cache=False)
    data = TrainSet(samples, [s.identity for s in samples], (24, 12), [], {"uv_tiles": cue}, 0)

    def epoch(workers: int) -> torch.Tensor:
        sampler = IdentitySampler(data.ids, 4, 2)
        return torch.cat([batch.cues["uv_tiles"] for batch in train_loader(data, sampler, workers)])

    assert torch.equal(epoch(0), epoch(2))
    file = BytesIO()
    ForkingPickler(file, 2).dump(cue)  # as a spawned worker gets it
    assert file.tell() < 20_000 and cue._colors.is_shared() and cue._seen.is_shared()


def test_the_same_whatever_the_number_of_threads(
    people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, samples = people
    threads = torch.get_num_threads()
    one = uv_tiles(root, samples, cache=False, noise="heavy")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    two = uv_tiles(root, samples, cache=False, noise="heavy")
    assert torch.equal(one._colors, two._colors) and torch.equal(one._seen, two._seen)
    assert torch.get_num_threads() == threads


def test_noise_is_a_row_of_the_table_or_numbers_and_follows_its_seed(people: Any) -> None:
    root, samples = people

    def made(**options: Any) -> Any:
        return uv_tiles(root, samples, cache=False, **options)

    clean, first, again, other = (
        made(),
        made(noise="heavy"),
        made(noise="heavy"),
        made(noise="heavy", seed=1),
    )
    assert all((first[i] == again[i]).all() for i in range(N))
    assert not np.array_equal(first.known, other.known) and (first.detected == clean.detected).all()
    assert first.coverage < 0.85 < clean.coverage
    for i in np.nonzero(first.known)[0]:  # jitter moves nearly every cell
        assert (first[i] != clean[i]).any()
    assert (
        made(noise="heavy", drop=1.0).coverage == 0
        and made(noise="heavy", drop=0.0).coverage == clean.coverage
    )
    swapped = made(swap=1.0, align="none")
    twins = [p - 1 for p in LEFT_RIGHT[1:]]
    assert all((swapped[i] == made(align="none")[i][twins]).all() for i in (0, 1))
    maps = uv_tiles(root, samples, sync="geometric", erasing=True, noise="heavy")
    assert np.array_equal(maps.known, first.known)  # the same draws in both forms
    detected = samples[:3]
    # what we lost ourselves is no error
    uv_tiles(root, detected, cache=False, drop=1.0, missing="error")


def test_progress_ends_with_all(people: Any) -> None:
    root, samples = people
    for options in ({"cache": False}, {"sync": "geometric", "erasing": True}):
        seen, progress = calls()
        uv_tiles(root, samples, progress=progress, **options)
        assert seen == [(32, N), (N, N)]


def test_no_images_no_tiles(tmp_path: Path) -> None:
    for options in ({}, {"sync": "geometric", "erasing": True}):
        cue = uv_tiles(tmp_path, (), **options)
        assert cue.coverage == 0 and cue.sentence().startswith("The surface of 0 of 0")


# ---- mistakes


@pytest.mark.parametrize(
    "options, words",
    [
        ({"sync": "geometric"}, "say erasing=True"),
        ({"erasing": True}, "cannot know what will be erased"),
        (
            {"sync": "geometric", "erasing": True, "collision": "last"},
            "warps in the method.*collision='last'",
        ),
        ({"sync": "geometric", "erasing": True, "source": "coarse"}, "source='coarse'"),
        ({"drop": 1.5}, "shares from 0 to 1"),
        ({"swap": -0.1}, "shares from 0 to 1"),
        ({"jitter": -1.0}, "not negative"),
        ({"size": 0}, "size must be 1 to 256"),
        ({"align": "fb"}, "unknown align: 'fb'"),
        ({"noise": "light"}, "unknown noise: 'light'"),
        ({"collision": "max"}, "collision must be one of"),
    ],
)
def test_settings_that_do_not_go_together(people: Any, options: Any, words: str) -> None:
    root, samples = people
    with pytest.raises(RecipeError, match=words):
        uv_tiles(root, samples, cache=False, **options)


def test_files_that_are_not_there_or_not_what_they_should_be(people: Any, tmp_path: Path) -> None:
    source, samples = people
    some = [mirrored_people(source, sample, tmp_path) for sample in samples[:3]]
    with pytest.raises(DataError, match="none of 3 images has a DensePose picture"):
        uv_tiles(tmp_path, some, folder="surfaces")
    Image.new("RGB", (24, 24)).save(some[1].path)
    with pytest.raises(
        DataError, match=r"0001\.png is 12 x 24 but its image is 24 x 24.*make the label again"
    ):
        uv_tiles(tmp_path, some)
    some[1].path.write_text("no picture")
    with pytest.raises(DataError, match=r"0001\.png cannot be read as an image"):
        uv_tiles(tmp_path, some)
    (tmp_path / "iuv" / "train" / "0000.png").write_text("no picture")
    for options in ({}, {"sync": "geometric", "erasing": True}):
        with pytest.raises(DataError, match=r"iuv/train/0000\.png cannot be read"):
            uv_tiles(tmp_path, some, **options)
    assert not (tmp_path / "cache").exists()
