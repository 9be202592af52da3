"""Label images to parts: through the tables, through the two rules of geometry, and every way to
be wrong.
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from partreid.errors import ArgumentError, DataError, RecipeError, ShapeError
from partreid.labels.parsing import (
    Mapper,
    grey_palette,
    palette,
    parsing_labels,
    read_classes,
    read_labels,
    squared_distance,
    surface_labels,
    to_parts,
)
from partreid.labels.places import label_path
from partreid.labels.schemes import SURFACES, lookup
from partreid.labels.sources import ACCESSORIES, SOURCES, Accessories, mirrored, report
from partreid.labels.stripes import stripe_labels
from partreid.types import UNKNOWN, Benchmark, Sample

TABLE = lookup(SURFACES["five"])


def crop(root: Path, stem: str = "0001_c1s1_000000_00", size: tuple[int, int] = (16, 32)) -> Sample:
    path = root / "bounding_box_train" / f"{stem}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)
    return Sample(path, 1, 1)


def label(root: Path, sample: Sample, values: np.ndarray, mode: str = "P") -> Path:
    path = label_path(root, sample.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values.astype(np.uint8))
    if mode == "P":
        image.putpalette([255 - i // 3 for i in range(768)])
    image.convert(mode).save(path) if mode not in ("P", "L") else image.save(path)
    return path


def test_labels_lie_beside_their_split(tmp_path: Path) -> None:
    assert (
        label_path(tmp_path, tmp_path / "query" / "a.jpg")
        == tmp_path / "labels" / "query" / "a.png"
    )
    assert (
        label_path(tmp_path, tmp_path / "query" / "a.jpg", "mine")
        == tmp_path / "mine" / "query" / "a.png"
    )


@pytest.mark.parametrize("mode", ["P", "L"])
def test_values_are_classes_and_go_through_the_table(tmp_path: Path, mode: str) -> None:
    sample = crop(tmp_path)
    values = np.arange(32 * 16).reshape(32, 16) % 28
    label(tmp_path, sample, values, mode)
    cue = surface_labels(tmp_path, [sample], "five")
    np.testing.assert_array_equal(cue[0], TABLE[values])
    assert cue.spatial and cue.scheme.names == tuple(SURFACES["five"])
    assert cue.state() == {}


def test_the_synthetic_world_s_labels_are_read(benchmark: Benchmark) -> None:
    cue = surface_labels(benchmark.root, benchmark.train, "eight")
    seen = set()
    for i in range(0, len(benchmark.train), 6):
        assert cue[i].shape == (128, 64) and cue[i].dtype == np.uint8
        seen |= set(np.unique(cue[i]).tolist())
    assert seen == set(range(9))


def test_missing_labels_are_counted_and_the_first_named(tmp_path: Path) -> None:
    samples = [crop(tmp_path, f"000{i}_c1s1_000000_00") for i in (1, 2, 3)]
    label(tmp_path, samples[0], np.zeros((32, 16)))
    with pytest.raises(
        DataError,
        match=r"2 of 3 training images have no label; the first missing is "
        r".*labels/bounding_box_train/0002_c1s1_000000_00\.png",
    ):
        surface_labels(tmp_path, samples)


@pytest.mark.parametrize("size", [(31, 16), (16, 8), (64, 32)])
def test_the_same_crop_at_another_scale_passes(tmp_path: Path, size: tuple[int, int]) -> None:
    sample = crop(tmp_path)
    label(tmp_path, sample, np.ones(size))
    assert surface_labels(tmp_path, [sample])[0].shape == size


@pytest.mark.parametrize("size", [(16, 32), (32, 32), (32, 10)])
def test_a_label_of_another_shape_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    sample = crop(tmp_path)
    label(tmp_path, sample, np.ones(size))
    with pytest.raises(
        DataError, match=rf"is {size[1]} x {size[0]} but its image is 16 x 32.*make the label again"
    ):
        surface_labels(tmp_path, [sample])[0]


def test_colors_are_not_classes(tmp_path: Path) -> None:
    sample = crop(tmp_path)
    label(tmp_path, sample, np.zeros((32, 16)), "RGB")
    with pytest.raises(
        DataError, match="is a RGB picture; a label image holds one class per pixel"
    ):
        surface_labels(tmp_path, [sample])[0]


def test_whichever_file_is_broken_is_the_one_named(tmp_path: Path) -> None:
    sample = crop(tmp_path)
    path = label(tmp_path, sample, np.zeros((32, 16)))
    sample.path.write_text("no picture")
    with pytest.raises(DataError, match=r"000000_00\.jpg cannot be read as an image"):
        surface_labels(tmp_path, [sample])[0]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(
        DataError, match=r"000000_00\.png cannot be read as an image.*remove the file"
    ):
        read_labels(path, TABLE)


def test_unknown_groupings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unknown surface grouping: 'nine'"):
        surface_labels(tmp_path, [], "nine")


def test_stripes_need_no_files(tmp_path: Path) -> None:
    cue = stripe_labels(tmp_path, [Sample(tmp_path / "gone.jpg", 1, 1)], stripes=6)
    assert cue.scheme.names == tuple(f"stripe{i}" for i in range(1, 7))
    rows = cue[0][:, 0]
    assert (np.diff(rows.astype(int)) >= 0).all() and np.bincount(rows)[1:].tolist() == [8] * 6
    np.testing.assert_array_equal(cue.mirror(cue[0]), cue[0])
    for wrong in (0, 65):
        with pytest.raises(RecipeError, match=f"stripes must be 1 to 64, got {wrong}"):
            stripe_labels(tmp_path, [], wrong)


# --- classes of parsers to parts

every = pytest.mark.parametrize(
    ("source", "parts"),
    [(name, parts) for name, source in SOURCES.items() for parts in source.sets],
)
masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9))


def drawn(source: str, seed: int, shape: tuple[int, int] = (12, 7)) -> NDArray[np.uint8]:
    """A patchwork of a few classes, so that a side may be missing."""
    random = np.random.default_rng(seed)
    few = random.integers(0, len(SOURCES[source].classes), 5)
    return few[random.integers(0, 5, shape)].astype(np.uint8)


def flipped(labels: NDArray[np.uint8], mapper: Mapper) -> NDArray[np.uint8]:
    table = np.arange(256, dtype=np.uint8)
    table[: mapper.scheme.K + 1] = mapper.scheme.flip
    return table[labels[:, ::-1]]


@pytest.mark.parametrize(
    ("source", "parts", "accessories"),
    [
        (name, parts, accessories)
        for name, source in SOURCES.items()
        for parts in source.sets
        for accessories in (ACCESSORIES if source.accessories else ACCESSORIES[:1])
    ],
)
def test_mirror_and_mapping_commute(source: str, parts: str, accessories: Accessories) -> None:
    mapper = Mapper(source, parts, accessories, allow_missing_parts=True)
    for seed in range(12):
        labels = drawn(source, seed, (12, 7 + seed % 2))
        uv = np.random.default_rng(seed).uniform(0, 1, (2, *labels.shape)).astype(np.float32)
        for where in (None, uv):
            mapped = mapper(labels, where)
            again = mapper(mirrored(labels, source), None if where is None else where[..., ::-1])
            np.testing.assert_array_equal(again, flipped(mapped, mapper))


@every
def test_the_person_stays_the_person(source: str, parts: str) -> None:
    """Whatever is guessed, nobody becomes background and background becomes nobody; bags are as
    asked for.
    """
    table = SOURCES[source]
    for accessories in ACCESSORIES if table.accessories else ACCESSORIES[:1]:
        mapper = Mapper(source, parts, accessories, True)
        for seed in range(6):
            labels = drawn(source, seed)
            hung = np.isin(labels, table.accessories)
            mapped = mapper(labels)
            np.testing.assert_array_equal(
                mapped > 0, (labels > 0) & ~(hung & (accessories == "background"))
            )
            if accessories == "own":
                np.testing.assert_array_equal(mapped == mapper.scheme.K, hung)
            elif accessories == "torso" and parts != "five_v":
                torso = {"three": "upper", "seven": "chest"}.get(parts, "torso")
                assert {mapper.scheme.names[p - 1] for p in mapped[hung]} <= {torso}


@every
def test_missing_parts_are_never_labelled(source: str, parts: str) -> None:
    mapper = Mapper(source, parts, allow_missing_parts=True)
    seen = {
        mapper.scheme.names[p - 1]
        for seed in range(25)
        for p in np.unique(mapper(drawn(source, seed)))
        if 0 < p < UNKNOWN
    }
    assert seen == set(mapper.scheme.names) - set(report(source, parts).missing)


def test_pascal_knows_no_sides() -> None:
    mapped = to_parts(
        np.arange(7, dtype=np.uint8)[None], "pascal", "eight", allow_missing_parts=True
    )
    assert mapped.tolist() == [[0, 1, 4, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]]
    with pytest.raises(RecipeError, match="source 'pascal' cannot give left_arm, right_arm"):
        to_parts(np.zeros((1, 1), np.uint8), "pascal", "eight")


def test_a_torso_is_cut_at_half_the_height_of_its_box() -> None:
    labels = np.zeros((9, 3), np.uint8)
    labels[2:7, 1], labels[0, 0], labels[7:, 2] = 5, 11, 5  # clothes in rows 2 to 8, a scarf above
    mapped = to_parts(labels, "lip", "five_v")
    assert (
        mapped[:, 1].tolist() == [0, 0, 2, 2, 2, 3, 3, 0, 0]
        and mapped[0, 0] == 2
        and (mapped[7:, 2] == 3).all()
    )
    labels[8, 2] = 0  # an even number of rows
    assert to_parts(labels, "lip", "five_v")[:, 1].tolist() == [0, 0, 2, 2, 2, 3, 3, 0, 0]


def test_the_24_surfaces_are_cut_by_u() -> None:
    labels = np.array([[1, 2, 1, 15, 19, 23]], np.uint8)
    uv = np.zeros((2, 1, 6), np.float32)
    uv[0] = 0.49, 0.5, np.nan, 0.9, 0.1, 0.9
    assert to_parts(labels, "densepose24", "five_v", uv).tolist() == [[2, 3, 3, 2, 3, 1]]
    tall = np.array([[1], [2], [2], [1]], np.uint8)
    assert to_parts(tall, "densepose24", "five_v").ravel().tolist() == [2, 2, 3, 3]
    coarse, u = np.ones((4, 1), np.uint8), np.zeros((2, 4, 1))
    # 14 parts: U is of no chart
    assert to_parts(coarse, "densepose14", "five_v", u).ravel().tolist() == [2, 2, 3, 3]


def test_a_bag_hangs_on_the_half_of_the_torso_that_it_is_beside() -> None:
    labels = np.zeros((8, 2), np.uint8)
    labels[2:6, 0], labels[:, 1] = 4, 16
    assert (
        to_parts(labels, "atr", "five_v", accessories="torso")[:, 1].tolist() == [2] * 4 + [3] * 4
    )
    labels[:, 0] = 0  # the bag alone is its own box
    labels[:2, 1] = 0
    assert to_parts(labels, "atr", "five_v", accessories="torso")[:, 1].tolist() == [
        0,
        0,
        2,
        2,
        2,
        3,
        3,
        3,
    ]


def test_trousers_go_to_the_nearer_leg_and_gloves_to_the_nearer_arm() -> None:
    labels = np.zeros((5, 8), np.uint8)
    labels[0], labels[4, 1], labels[4, 6] = 9, 17, 18  # trousers above a right leg and a left shoe
    assert to_parts(labels, "lip", "eight")[0].tolist() == [6, 6, 6, 6, 5, 5, 5, 5]
    labels[4, 1] = 0  # the left one alone is the nearer everywhere
    assert (to_parts(labels, "lip", "eight")[0] == 5).all()
    labels[0], labels[2, 0] = 3, 15  # gloves do not care for legs
    assert (to_parts(labels, "lip", "eight")[0] == 3).all()


@pytest.mark.parametrize(("width", "expected"), [(4, [6, 6, 5, 5]), (5, [6, 6, UNKNOWN, 5, 5])])
def test_trousers_without_legs_are_split_at_the_middle(width: int, expected: list[int]) -> None:
    """As if the person faced the camera: the image's left is the body's right."""
    assert to_parts(np.full((1, width), 9, np.uint8), "lip", "eight").tolist() == [expected]


def test_sides_match_loops() -> None:
    for seed in range(8):
        labels = drawn("atr", seed, (9, 8 + seed % 2))
        labels[seed % 9] = 6
        mapped = to_parts(labels, "atr", "eight")
        table = lookup(SOURCES["atr"].sets["eight"])
        for y, x in np.argwhere(np.isin(labels, (5, 6, 8))):
            least = [
                min(
                    (
                        (y - r) ** 2 + (x - c) ** 2
                        for r, c in np.argwhere(np.isin(table[labels], side))
                    ),
                    default=np.inf,
                )
                for side in ((5, 7), (6, 8))
            ]
            half = 2 * x + 1 - labels.shape[1]
            order = np.sign(least[1] - least[0]) if least[0] != least[1] else np.sign(half)
            assert mapped[y, x] == {1: 5, -1: 6, 0: UNKNOWN}[int(order)]


@given(masks)
def test_distances_match_loops(mask: NDArray[np.bool_]) -> None:
    got = squared_distance(mask)
    hits = np.argwhere(mask)
    for y, x in np.ndindex(mask.shape):
        if len(hits):
            assert got[y, x] == ((hits - (y, x)) ** 2).sum(1).min()
        else:
            assert got[y, x] > sum(n * n for n in mask.shape)


@given(st.integers(0, 255))
def test_classes_that_a_source_lacks_are_refused(value: int) -> None:
    labels = np.full((2, 2), value, np.uint8)
    if value < 18:
        assert to_parts(labels, "atr", "three").max() <= 3
    else:
        with pytest.raises(DataError, match=f"class {value} in labels of classes 0 to 17"):
            to_parts(labels, "atr", "three")


def test_wrong_shapes() -> None:
    with pytest.raises(ShapeError, match=r"must be uint8 \[H, W\], got int64 \(2, 2\)"):
        to_parts(np.zeros((2, 2), np.int64), "lip", "five")  # type: ignore[arg-type]
    for uv in (np.zeros((2, 2, 3), np.float32), np.zeros((2, 2, 2), np.uint8)):
        with pytest.raises(ShapeError, match=r"uv must be float \[2, 2, 2\] like the labels"):
            to_parts(np.zeros((2, 2), np.uint8), "densepose24", "five_v", uv)


# --- files of parsers


def parsed(
    root: Path, sample: Sample, name: str, values: NDArray[np.generic], colors: bool = True
) -> Path:
    path = root / "parsing" / sample.path.parent.name / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".npy"):
        np.save(path, values)
    else:
        image = Image.fromarray(values.astype(np.uint8))
        if colors:
            image.putpalette(palette(256).ravel().tolist())
        image.save(path)
    return path


CLASSES = np.arange(32 * 16).reshape(32, 16) % 20


@pytest.mark.parametrize("name", ["{stem}.png", "{stem}.npy", "logits"])
def test_every_form_of_a_parser_s_output_is_read(tmp_path: Path, name: str) -> None:
    sample = crop(tmp_path)
    values: NDArray[np.generic] = CLASSES
    if name == "logits":
        values = np.where(np.arange(20) == CLASSES[..., None], 3.0, -1.0).astype(
            np.float32
        )  # [H, W, C]
    parsed(
        tmp_path, sample, name.replace("logits", "{stem}.npy").format(stem=sample.path.stem), values
    )
    cue = parsing_labels(tmp_path, [sample], "lip", "five")
    np.testing.assert_array_equal(cue[0], to_parts(CLASSES.astype(np.uint8), "lip", "five"))
    assert cue.scheme.names == ("head", "arms", "torso", "legs", "feet") and cue.spatial


def test_sapiens_ids_lie_beside_a_foreground_mask(tmp_path: Path) -> None:
    sample = crop(tmp_path)
    parsed(tmp_path, sample, f"{sample.path.stem}.npy", CLASSES > 0)
    parsed(tmp_path, sample, f"{sample.path.stem}_seg.npy", CLASSES.astype(np.int32))
    mapped = parsing_labels(tmp_path, [sample], "sapiens", "seven")[0]
    np.testing.assert_array_equal(mapped, to_parts(CLASSES.astype(np.uint8), "sapiens", "seven"))
    with pytest.raises(
        DataError, match=r"npy is bool \(32, 16\); source 'lip' needs class indices"
    ):
        parsing_labels(tmp_path, [sample], "lip")[0]


def test_schp_s_names_for_jpeg_files(tmp_path: Path) -> None:
    """It cuts four characters off, whatever they are."""
    sample = crop(tmp_path)
    longer = Sample(sample.path.rename(sample.path.with_suffix(".jpeg")), 1, 1)
    parsed(tmp_path, longer, f"{longer.path.name[:-4]}.png", CLASSES)
    assert parsing_labels(tmp_path, [longer])[0].max() == 5


def test_identity_folders_may_be_dropped_or_kept(tmp_path: Path) -> None:
    for place in ("occluded_body_images/001", "occluded_body_images", "001"):
        root = tmp_path / place.replace("/", "_")
        path = root / "occluded_body_images" / "001" / "001_01.tif"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (16, 32)).save(path)
        (root / "parsing" / place).mkdir(parents=True)
        np.save(root / "parsing" / place / "001_01.npy", CLASSES)
        assert parsing_labels(root, [Sample(path, 1, 1)])[0].max() == 5


def test_images_already_in_parts(tmp_path: Path) -> None:
    sample = crop(tmp_path)
    parsed(tmp_path, sample, f"{sample.path.stem}.png", CLASSES % 8, colors=False)
    cue = parsing_labels(tmp_path, [sample], "parts", "seven")
    np.testing.assert_array_equal(cue[0], CLASSES % 8)
    with pytest.raises(DataError, match=r"holds class 7; source 'parts' has 0 to 5"):
        parsing_labels(tmp_path, [sample], "parts", "five")[0]


def test_refused_before_any_file_is_looked_for(tmp_path: Path) -> None:
    nowhere = [Sample(tmp_path / "gone" / "a.jpg", 1, 1)]
    with pytest.raises(RecipeError, match="source 'lip' cannot give upper_arm"):
        parsing_labels(tmp_path, nowhere, "lip", "seven")
    with pytest.raises(
        ArgumentError, match="missing must be one of 'error', 'unknown', got 'skip'"
    ):
        parsing_labels(tmp_path, nowhere, missing="skip")  # type: ignore[arg-type]
    with pytest.raises(
        DataError,
        match="1 of 1 training images have no label in .*parsing; the first is gone/a.jpg",
    ):
        parsing_labels(tmp_path, nowhere, missing="unknown")  # all of them is no way to train


def test_missing_files_are_counted_or_unknown(tmp_path: Path) -> None:
    samples = [crop(tmp_path, stem) for stem in ("a", "b", "c")]
    parsed(tmp_path, samples[1], "b.png", CLASSES)
    with pytest.raises(
        DataError,
        match=r"2 of 3 training images have no label in .*parsing; the first is "
        r"bounding_box_train/a\.jpg.*missing=unknown",
    ):
        parsing_labels(tmp_path, samples)
    cue = parsing_labels(tmp_path, samples, missing="unknown")
    assert (
        cue[0].shape == (32, 16)
        and (cue[0] == UNKNOWN).all()
        and (cue.mirror(cue[0]) == UNKNOWN).all()
    )
    assert cue[1].max() == 5


def test_the_palette_trap(tmp_path: Path) -> None:
    """Classes seen as grey levels of their colors are recognised as what they are, in OpenCV's
    rounding and PIL's.
    """
    sample = crop(tmp_path)
    stem = sample.path.stem
    good = parsed(tmp_path, sample, f"{stem}.png", CLASSES)
    for grey in (
        np.array(grey_palette(20))[CLASSES],
        np.asarray(Image.open(good).convert("RGB").convert("L")),
    ):
        bad = parsed(tmp_path, sample, f"{stem}.png", grey, colors=False)
        with pytest.raises(
            DataError,
            match=r"grey levels of SCHP's palette \(up to 15\d\), not classes.*cv2.imread",
        ):
            read_classes(bad, "lip")
    bad = parsed(tmp_path, sample, f"{stem}.png", 20 + CLASSES, colors=False)
    with pytest.raises(
        DataError, match=r"png holds class 39; source 'lip' has 0 to 19.*no parser known here"
    ):
        read_classes(bad, "lip")


def test_another_parser_s_classes(tmp_path: Path) -> None:
    sample = crop(tmp_path)
    path = parsed(tmp_path, sample, "a.png", CLASSES)
    with pytest.raises(
        DataError,
        match=r"a\.png holds class 19; source 'atr' has 0 to 17.*cues\.parts\.source.*its "
        r"values fit lip, sapiens, densepose24",
    ):
        read_classes(path, "atr")
    path = parsed(tmp_path, sample, "b.npy", np.zeros((4, 2, 18), np.float32))
    with pytest.raises(
        DataError, match=r"b\.npy is float32 \(4, 2, 18\).*18 classes are those of atr"
    ):
        read_classes(path, "lip")
    path = parsed(tmp_path, sample, "c.npy", CLASSES - 1)
    with pytest.raises(DataError, match=r"c\.npy holds class -1; source 'lip' has 0 to 19"):
        read_classes(path, "lip")


def test_arrays_are_never_unpickled(tmp_path: Path) -> None:
    sample = crop(tmp_path)
    path = parsed(tmp_path, sample, "a.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="holds object, not numbers"):
        read_classes(path, "lip")


def test_parser_labels_of_another_crop_are_refused(tmp_path: Path) -> None:
    sample = crop(tmp_path)
    parsed(tmp_path, sample, f"{sample.path.stem}.npy", np.zeros((16, 32), np.int64))
    with pytest.raises(DataError, match="is 32 x 16 but its image is 16 x 32"):
        parsing_labels(tmp_path, [sample])[0]
