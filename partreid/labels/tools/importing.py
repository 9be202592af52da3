"""Other tools' label files to ours: every file is read before the first is written, names are
matched, gaps counted.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partreid.data.folders import is_image
from partreid.errors import DataError, RecipeError
from partreid.labels.densepose import encode_iuv, read_iuv
from partreid.labels.imported import Select, fault_of, faults, import_dump
from partreid.labels.keypoints import read_coco, read_people
from partreid.labels.parsing import palette, read_classes
from partreid.labels.people import Person, in_pixels
from partreid.labels.pifpaf import read_fields
from partreid.labels.places import MISSING, Missing, fitted, image_size
from partreid.labels.schemes import PIFPAF, SURFACES, find
from partreid.labels.sources import SOURCES, names_of, require
from partreid.labels.tools.base import (
    Progress,
    Written,
    claim,
    in_order,
    place_of,
    refuse_shared,
    some,
)
from partreid.recipes.base import Spec, unknown
from partreid.types import Benchmark
from partreid.utils.arguments import Axes, door
from partreid.utils.files import real, write_atomically

Kind = Literal["densepose", "pifpaf", "keypoints", "parsing", "parts"]
Where: TypeAlias = dict[str, Any]  # the folder in a cue's arguments, if it is not the usual one


@door
def import_labels(
    kind: Kind,
    given: Path,
    of: Benchmark,
    out: Path | None = None,
    *,
    parser: str | None = None,
    parts: str | None = None,
    missing: Missing = "error",
    select: Select = "target",
    overwrite: bool = False,
    checking: Progress | None = None,
    writing: Progress | None = None,
) -> Written:
    """Writes a label for every training image of ``of`` that ``given`` has one for, under the
    image's own name.

    given: a file (a dump of detectron2, COCO's JSON for all) or a folder of files. out: default
    ``HOME[kind]`` below the data set's root. parser: whose classes the images of kind "parsing"
    hold. parts: the part set to train with. missing: what to do about files that cannot be used,
    "error", or "unknown": leave their images unlabelled and count them. select: whom of several
    people in a dump, see :func:`partreid.labels.imported.choose`. Labels that are there are kept
    unless ``overwrite``, so an interrupted import goes on. Nothing is written before every file has
    been read. DataError counts those that are broken and names the first few, or says that none
    belongs here.
    """
    if missing not in MISSING:
        raise RecipeError(unknown("rule for missing labels", missing, MISSING))
    if kind not in get_args(Kind):
        raise RecipeError(unknown("kind of labels", kind, get_args(Kind)))
    if not given.exists():
        raise DataError(f"there is no {given}; give the labels' file or folder")
    out = out or of.root / HOME[kind]
    cue = cue_of(kind, of.root, out, parser, parts or KINDS[kind].parts)
    about = {"kind": kind, "from": given.name, "parser": parser}
    if KINDS[kind].dumps and given.is_file() and given.suffix.lower() != ".png":
        dump_coverage = import_dump(
            given,
            of.train,
            out,
            select,
            overwrite,
            missing,
            writing,
            checking,
            before=lambda: claim(out, about, overwrite),
        )
        return Written(
            dump_coverage.sentence(), cue.but(missing="unknown") if dump_coverage.missing else cue
        )
    labels, extra = _found(kind, given, of, cue)
    lost = [sample.path.name for sample in of.train if sample.path not in labels]
    if not labels:
        raise DataError(
            f"none of the {len(of.train)} images has a label in {given}: the first image is "
            f"{of.train[0].path.name}, the first label "
            f"{extra[0] if extra else 'not there'}. Give the labels of these images, named "
            "as they are"
        )
    targets = {
        image: out / KINDS[kind].place(of.root, image) / f"{image.stem}{KINDS[kind].suffix}"
        for image in labels
    }
    refuse_shared(list(targets.values()), list(targets))
    todo = [image for image in labels if overwrite or not targets[image].is_file()]
    broken = {
        todo[i]: fault
        for i, fault in enumerate(
            in_order(lambda i: fault_of(labels[todo[i]]), len(todo), checking)
        )
        if fault
    }
    if broken and (missing == "error" or len(broken) == len(labels)):
        raise DataError(
            f"{faults(broken, len(todo))} Nothing was written. Mend or remove these files"
            + (
                ", or leave their images without a label with --missing unknown"
                if missing == "error"
                else "; not one label is left"
            )
        )
    todo = [image for image in todo if image not in broken]
    lost += [image.name for image in broken]
    claim(out, about, overwrite)
    for _ in in_order(
        lambda i: write_atomically(targets[todo[i]], labels[todo[i]]()), len(todo), writing
    ):
        pass
    for image in broken:
        targets[image].unlink(missing_ok=True)  # with --overwrite: what was there before was to go
    if lost:
        cue = cue.but(missing="unknown")
    text = coverage(len(labels) - len(broken), len(of.train), out, lost, extra)
    return Written(f"{text} {faults(broken, len(labels))}" if broken else text, cue)


@door
def coverage(
    labelled: int, images: int, out: Path, lost: Sequence[str], extra: Sequence[str] = ()
) -> str:
    """How many images have a label now, which have none, and which files were for none."""
    text = (
        f"Labels for {labelled:,} of {images:,} images ({100 * labelled / images:.1f} %) in {out}."
    )
    text += f" None for {some(lost)}." if lost else ""
    return text + (f" For no image here: {some(extra)}." if extra else "")


@door
def cue_of(kind: Kind, root: Path, out: Path, parser: str | None, parts: str) -> Spec:
    """The cue that will read the labels. RecipeError if the source cannot give these parts."""
    folder = out.relative_to(root).as_posix() if out.is_relative_to(root) else str(real(out))
    where = {} if folder == HOME[kind] else {"folder": folder}
    if parser is not None and not KINDS[kind].takes_parser:
        raise RecipeError(f"--parser goes with labels of a human parser (parsing), not with {kind}")
    return KINDS[kind].cue(parts, where, parser, root, out)


def _found(
    kind: Kind, given: Path, of: Benchmark, cue: Spec
) -> tuple[dict[Path, Callable[[], bytes]], tuple[str, ...]]:
    """For every image that has a label, what reads, checks and rewrites it; and the names of
    labels for no image.
    """
    images = [sample.path for sample in of.train]
    if KINDS[kind].of_all and given.is_file():
        people = read_coco(given)
        names = {Path(name): _without_image_ending(name) for name in people}
        placed = {name.name for name in names if len(name.parts) > 1}  # these have a bare name too
        pairs = pair(
            {
                name: crop
                for name, crop in names.items()
                if len(name.parts) > 1 or name.name not in placed
            },
            images,
            of.root,
        )
        return (
            {
                image: partial(_people, people[name.as_posix()], given, image)
                for image, name in pairs.items()
            },
            tuple(sorted({name.name for name in names} - {name.name for name in pairs.values()})),
        )
    files = dict(_files(kind, given, cue))
    read = KINDS[kind].read
    pairs = pair(files, images, of.root)
    return (
        {image: partial(read, cue, file, image) for image, file in pairs.items()},
        tuple(sorted(file.name for file in files.keys() - set(pairs.values()))),
    )


def _files(kind: Kind, given: Path, cue: Spec) -> Iterator[tuple[Path, Path]]:
    """Label files and the names of the crops they seem to belong to, folders included."""
    home = real(given)
    if home == Path(home.anchor):
        raise DataError(f"{given} is the whole file system; name the folder that holds the labels")
    for file in [given] if given.is_file() else sorted(given.rglob("*")):
        ending = next((e for e in KINDS[kind].endings if file.name.endswith(e)), None)
        if (
            ending is None
            or file.name.startswith(".")
            or file.name.endswith("_INDS.png")
            or not file.is_file()
        ):
            continue
        if ending == ".npy" and "{stem}.npy" not in names_of(cue.args.get("source", "")):
            continue  # as Sapiens' foreground mask; its classes are in ..._seg.npy
        inside = (
            Path(file.parent.name)
            if file.parent == given or file == given
            else file.parent.relative_to(given)
        )
        yield file, inside / _without_image_ending(file.name[: -len(ending)]).name


def _without_image_ending(name: str) -> Path:
    path = Path(name)
    return (
        path.with_suffix("")
        if is_image(path.name)
        else path.with_name(path.name.rstrip(".") or path.name)
    )


@door
def pair(labels: Mapping[Path, Path], images: Sequence[Path], root: Path) -> dict[Path, Path]:
    """Image to label. labels: label to the crop that its name speaks of, without ending, with what
    folders are known.

    An image takes the label that agrees in all its folders below ``root``, else in those without
    the last, else in the last alone, else in none. DataError where two fit, or one would be taken
    twice.
    """
    tails: dict[tuple[str, ...], list[Path]] = {}
    for label, crop in labels.items():
        for n in range(1, len(crop.parts) + 1):
            tails.setdefault(crop.parts[-n:], []).append(label)
    pairs: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    for image in images:
        steps = place_of(root, image)
        # DensePose cuts names at the first dot
        stems = dict.fromkeys((image.stem, image.name.split(".")[0]))
        known = (
            tails.get((*folders, stem), [])
            for stem in stems
            for folders in (steps.parts, steps.parent.parts, steps.parts[-1:], ())
        )
        fits = next((candidates for candidates in known if candidates), [])
        if len(fits) > 1:
            raise DataError(
                f"{image} may have {fits[0]} or {fits[1]} for a label; give one folder of labels, "
                "laid out as the images are"
            )
        for label in fits:
            if label in taken:
                raise DataError(
                    f"{label} fits {taken[label]} and {image}; lay the labels out in folders as "
                    "the images are"
                )
            pairs[image], taken[label] = label, image
    return pairs


def _iuv(cue: Spec, file: Path, image: Path) -> bytes:
    surfaces = read_iuv(file)
    fitted(surfaces.labels, file, image)
    return encode_iuv(surfaces)


def _fields(cue: Spec, file: Path, image: Path) -> bytes:
    data = io.BytesIO()
    np.save(data, read_fields(file), allow_pickle=False)
    return data.getvalue()


def _classes(cue: Spec, file: Path, image: Path) -> bytes:
    return encode_classes(read_classes(file, cue.args["source"], cue.args["parts"], image))


@door
def encode_classes(labels: Annotated[NDArray[np.uint8], Axes("H W")]) -> bytes:
    """A PNG of class indices uint8 [H, W] in PASCAL VOC's colors, as SCHP writes it."""
    picture, data = Image.fromarray(labels), io.BytesIO()
    picture.putpalette(palette(256).tobytes())
    picture.save(data, "PNG")
    return data.getvalue()


def _file_of_people(cue: Spec, file: Path, image: Path) -> bytes:
    return _people(read_people(file), file, image)


def _people(people: Sequence[Person], file: Path, image: Path) -> bytes:
    """JSON that the cue ``keypoints`` reads. DataError if the joints are pixels of another
    picture.
    """
    return encode_people(in_pixels(people, image, image_size(image), file))


@door
def encode_people(people: Sequence[Person]) -> bytes:
    """People as JSON: keypoints as 51 numbers, score, and who is the target."""
    rows = [
        {
            "keypoints": np.round(person.keypoints, 3).reshape(-1).tolist(),
            "score": round(person.score, 4),
            **({"is_target": True} if person.is_target else {}),
        }
        for person in people
    ]
    return (json.dumps(rows) + "\n").encode()


def _surfaces(parts: str, where: Where, parser: str | None, root: Path, out: Path) -> Spec:
    find(SURFACES, parts, "surface grouping")
    return Spec("densepose", parts=parts, **where)


def _of_fields(parts: str, where: Where, parser: str | None, root: Path, out: Path) -> Spec:
    find(PIFPAF, parts, "PifPaf grouping")
    if not out.is_relative_to(root / "masks") or out == root / "masks":
        raise RecipeError(
            f"fields are read from a folder below {root / 'masks'}, --out is {out}; leave it "
            "out, or name a folder there"
        )
    return Spec("pifpaf", parts=parts, folder=out.relative_to(root / "masks").as_posix())


def _of_joints(parts: str, where: Where, parser: str | None, root: Path, out: Path) -> Spec:
    find(PIFPAF, parts, "PifPaf grouping")
    return Spec("keypoints", parts=parts, **where)


def _of_classes(parts: str, where: Where, parser: str | None, root: Path, out: Path) -> Spec:
    if parser is None:
        raise RecipeError(f"whose classes are these? Say --parser, one of {', '.join(SOURCES)}")
    require(parser, parts)
    return Spec("parsing", source=parser, parts=parts, **where)


def _of_parts(parts: str, where: Where, parser: str | None, root: Path, out: Path) -> Spec:
    require("parts", parts)
    return Spec("parsing", source="parts", parts=parts, **where)


@dataclass(frozen=True)
class LabelFiles:
    """What is known of one kind of label files.

    home: where its labels go, below the data set's root. parts: the part set unless another is
    named. endings: of files, the longer first; what is before them is the crop's name. suffix: of
    what is written. cue: the cue that reads it, from the part set, where the labels are, the
    parser, the root and the folder. read: one file as it is written. place: the folder of an
    image's label. dumps: one file may be a dump of detectron2. of_all: one file may speak of all
    images. takes_parser: a parser must be named, whose classes these are.
    """

    home: str
    parts: str
    endings: tuple[str, ...]
    suffix: str
    cue: Callable[[str, Where, str | None, Path, Path], Spec]
    read: Callable[[Spec, Path, Path], bytes]
    place: Callable[[Path, Path], Path] = place_of
    dumps: bool = False
    of_all: bool = False
    takes_parser: bool = False


KINDS: dict[str, LabelFiles] = {
    "densepose": LabelFiles(
        "iuv", "five", ("_IUV.png", ".png"), ".png", _surfaces, _iuv,
        place=lambda root, image: Path(image.parent.name), dumps=True,
    ),
    "pifpaf": LabelFiles(
        "masks/pifpaf", "eight", (".confidence_fields.npy", ".npy", ".npz"), ".npy", _of_fields,
        _fields,
    ),
    "keypoints": LabelFiles(
        "keypoints", "eight", ("_keypoints.json", ".predictions.json", ".json"), ".json",
        _of_joints, _file_of_people, of_all=True,
    ),
    "parsing": LabelFiles(
        "parsing", "five", ("_seg.npy", ".png", ".npy"), ".png", _of_classes, _classes,
        takes_parser=True,
    ),
    "parts": LabelFiles(
        "parsing", "seven", (".png", ".npy"), ".png", _of_parts, _classes
    ),
}  # fmt: skip
HOME: dict[str, str] = {name: files.home for name, files in KINDS.items()}
