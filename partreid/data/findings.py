"""What lies in a folder that should be a data set, what is wrong with it and the one thing to do
about each.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from partreid.data import msmt17, occluded_duke, own
from partreid.data.folders import UNSEEN, is_folder, is_image
from partreid.data.inspection import Kept, Progress, alike, inspect
from partreid.data.registry import BENCHMARKS, Problem, problems, protocol_of
from partreid.errors import DataError, RecipeError
from partreid.recipes.base import unknown
from partreid.types import Sample

MARKET_FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
BODIES = ("occluded_body_images", "whole_body_images")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
UNFINISHED = (".part", ".crdownload", ".download")
NAMES = (  # whose file names these are; the first that fits
    (re.compile(r"-?\d{4}_c\ds\d_\d{6}_\d{2}\.jpg"), ("market1501", "market1501_500k")),
    (re.compile(r"\d{4}_c\d_f\d{7}\.jpg"), ("dukemtmc", "occluded_duke")),
    (re.compile(r"\d{4}_c[12]_\d+\.png"), ("cuhk03_labeled", "cuhk03_detected")),
)
MOST_FOLDERS = 200  # below or above a root in which to look for the data set


@dataclass(frozen=True)
class Split:
    """What a split holds; cameras that nobody knows are not counted."""

    name: str
    identities: int
    images: int
    cameras: int


@dataclass(frozen=True)
class Findings:
    """What :func:`explain` found. splits: empty if the folder could not be read.

    files: images whose headers were read; looked_at: those that were decoded too.
    """

    name: str
    root: Path
    splits: tuple[Split, ...]
    problems: tuple[Problem, ...]
    protocol: str
    files: int = 0
    looked_at: int = 0

    @property
    def sound(self) -> bool:
        return not self.problems

    @property
    def usable(self) -> bool:
        """Whether nothing makes training or scoring impossible."""
        return not any(problem.grave for problem in self.problems)


def explain(
    name: str, root: Path, images: int | None = 64, progress: Progress | None = None
) -> Findings:
    """Whether ``root`` is the data set ``name``, whole and as documented.

    images: how many, evenly spread, to decode as well, None for all; of the others the header is
    read. progress: called with (files looked at, all). RecipeError for an unknown name; everything
    else is a finding. Nothing below ``root`` is changed, but that the images of cuhk-03.mat are
    unpacked, as on loading.
    """
    if name not in BENCHMARKS:
        raise RecipeError(unknown("data set", name, BENCHMARKS))
    data_set = BENCHMARKS[name]
    try:
        misplaced = misplacement(name, root)
        if misplaced is not None:
            return Findings(name, root, (), (misplaced,), data_set.protocol)
        benchmark = data_set.load(root)
    except DataError as error:
        return Findings(name, root, (), (_unreadable(name, root, error),), data_set.protocol)
    except OSError as error:
        closed = Problem(
            f"{error.filename or root} cannot be looked at ({error.strerror})",
            "check the path and its permissions",
            True,
        )
        return Findings(name, root, (), (closed,), data_set.protocol)
    splits = {"train": benchmark.train, **benchmark.queries, "gallery": benchmark.gallery}
    rows = own.listed_rows(name, root)
    below, meant = own.split_folders(root) if name == "folders" else ([], [])
    seen = inspect(
        splits, images, progress, Kept(root, frozenset(row.path for row in rows), tuple(below))
    )
    damage = [
        *seen.problems,
        *alike((row.identity for row in rows), "people"),
        *alike((row.camera for row in rows), "cameras"),
    ]
    if meant:
        damage.append(
            Problem(
                f"the folders {', '.join(meant)} beside the splits are not read",
                "rename those that are meant to train, query, query_<name> or gallery",
            )
        )
    wrong = problems(name, benchmark)
    packed = _archives(root)
    if packed and any(str(p).startswith(f"{name}: ") for p in wrong):  # a split is short
        damage.append(
            Problem(
                f"{packed[0]} lies there and some of the images do not", f"unpack {packed[0]} again"
            )
        )
    return Findings(
        name,
        root,
        tuple(_split(n, s) for n, s in splits.items() if s),
        (*wrong, *damage),
        protocol_of(name, benchmark),
        seen.files,
        seen.decoded,
    )


def looks_like(root: Path) -> tuple[str, ...]:
    """Names of the data sets whose layout lies directly in ``root``, by its folders and first
    file names.
    """
    if not root.is_dir():
        return ()

    def has(*names: str) -> bool:
        return all((root / name).exists() for name in names)

    if has("world.json"):
        return tuple(name for name in BENCHMARKS if name.startswith("synthetic-"))
    if sum(has(folder) for folder in MARKET_FOLDERS) >= 2:
        return _by_file_names(root)
    if any(
        (root / kind / folder).is_dir()
        for kind in ("labeled", "detected")
        for folder in MARKET_FOLDERS
    ):
        return ("cuhk03_labeled", "cuhk03_detected")
    if any(
        has(name) for name in ("cuhk-03.mat", "cuhk03_release", "images_labeled", "images_detected")
    ):
        return tuple(name for name in BENCHMARKS if name.startswith("cuhk03"))
    signs = {
        ("cuhk01",): ["campus"],
        ("msmt17", "msmt17_without_val"): ["list_train.txt", *msmt17.RELEASES],
        ("p_dukemtmc",): [f"{split}/{body}" for split in ("train", "test") for body in BODIES],
        ("occluded_reid", "occluded_reid_half"): [*BODIES],
        ("table",): [*own.TABLES],
    }
    for names, any_of in signs.items():
        if any(has(sign) for sign in any_of):
            return names
    return ("folders",) if has("query", "gallery") else ()


def _by_file_names(root: Path) -> tuple[str, ...]:
    """Which of the data sets in Market's layout; the two that share names are told apart by
    their queries.
    """
    folders = [root / folder for folder in MARKET_FOLDERS if (root / folder).is_dir()]
    first = [path.name for folder in folders for path in islice(_any_images(folder), 20)]
    for pattern, names in NAMES:
        if first and sum(pattern.fullmatch(name) is not None for name in first) > len(first) / 2:
            if "dukemtmc" in names and (root / "query").is_dir():
                queries = sum(1 for _ in _any_images(root / "query"))
                by_queries = {
                    2228: ("dukemtmc",),
                    occluded_duke.COUNTS["query"][1]: ("occluded_duke",),
                }
                return by_queries.get(queries, names)
            if "cuhk03_labeled" in names and root.name in ("labeled", "detected"):
                return (f"cuhk03_{root.name}",)
            return names
    return ()


def misplacement(name: str, root: Path) -> Problem | None:
    """Why ``root`` is not the place of the data set, if it can be told from outside."""
    problem = _misplaced(name, root)
    return None if problem is None else replace(problem, grave=True)


def _misplaced(name: str, root: Path) -> Problem | None:
    if root.is_file() and name.partition("-")[0] != "table":
        if root.suffix.lower() in ARCHIVES:
            return Problem(f"{root} is an archive", "unpack it and give the folder that comes out")
        return Problem(f"{root} is a file and no folder", f"give {root.parent}")
    if not root.exists():
        near = next(place for place in (root, *root.parents) if place.is_dir())
        return Problem(f"there is no folder {root}", f"check the spelling; {near} is there")
    wanted, here = _base(name), looks_like(root)
    if wanted in here:
        return None
    if wanted == "cuhk01" and any(
        re.fullmatch(r"\d{7}\.png", path.name) for path in islice(_any_images(root), 20)
    ):
        if root.absolute().name == "campus":
            return Problem(
                f"{root} is the folder of CUHK01's images, not its root",
                f"give {root.absolute().parent}",
            )
        return Problem(
            f"CUHK01's images lie directly in {root}",
            f"move them into {root / 'campus'} and give {root}",
        )
    for place in _around(root):
        if wanted in looks_like(place):
            level = "below" if root in place.parents else "above"
            return Problem(f"{wanted} does not lie in {root} but {level} it", f"give {place}")
    if here:
        remedy = f"read it as {here[0]}, or give the folder of {wanted}"
        if (wanted, here) == ("occluded_duke", ("dukemtmc",)):
            remedy = (
                "make Occluded-Duke from it with partreid.data.occluded_duke.convert_occluded_duke"
            )
        return Problem(f"this looks like {here[0]}, not {wanted}", remedy)
    names = sorted(os.listdir(root)) if root.is_dir() else []
    unfinished = [name for name in names if name.lower().endswith(UNFINISHED)]
    if unfinished:
        return Problem(
            f"{unfinished[0]} is a download that was not finished", "finish it, then unpack it"
        )
    packed = _archives(root)
    if packed and not _folders(root):
        return Problem(
            f"{root} holds {packed[0]} and nothing unpacked", f"unpack {packed[0]} there"
        )
    return None


def _unreadable(name: str, root: Path, error: DataError) -> Problem:
    """The loader's reason; for a folder that is missing beside others, what that means."""
    missing = [folder for folder in MARKET_FOLDERS if not (root / folder).is_dir()]
    if 0 < len(missing) < 3 and "there is no folder" in str(error):
        beside = next(folder for folder in MARKET_FOLDERS if folder not in missing)
        packed = _archives(root)
        return Problem(
            f"the folder '{missing[0]}' is missing beside '{beside}'",
            f"unpack {packed[0]} again"
            if packed
            else f"copy '{missing[0]}' from the release to {root}",
            True,
        )
    return Problem.read(str(error))


def _base(name: str) -> str:
    """The listed name: cuhk01-3 is a split of cuhk01."""
    return name if name in list(BENCHMARKS) else name.rpartition("-")[0]


def _around(root: Path) -> Iterator[Path]:
    """Folders one and two levels below, then two above."""
    below = _folders(root)
    yield from below
    for folder in below:
        yield from _folders(folder)
    yield from root.absolute().parents[:2]


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    with os.scandir(root) as listing:
        entries = islice(
            (
                e.name
                for e in listing
                if not e.name.startswith(".") and not is_image(e.name) and is_folder(e)
            ),
            MOST_FOLDERS,
        )
        return [root / name for name in sorted(entries)]


def _any_images(folder: Path) -> Iterator[Path]:
    """Images of a folder in the order of the disk, so that a few of many are had at once."""
    with os.scandir(folder) as listing:
        yield from (folder / entry.name for entry in listing if is_image(entry.name))


def _archives(root: Path) -> list[str]:
    return (
        sorted(p.name for p in root.iterdir() if p.suffix.lower() in ARCHIVES)
        if root.is_dir()
        else []
    )


def _split(name: str, samples: Sequence[Sample]) -> Split:
    return Split(
        name,
        len({s.identity for s in samples}),
        len(samples),
        len({s.camera for s in samples} - {UNSEEN}),
    )
