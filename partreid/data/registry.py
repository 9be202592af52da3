"""Data sets: files to samples. ``BENCHMARKS`` names them; status and licence are said in plain
words.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from partreid.data import (
    cuhk01,
    cuhk03,
    dukemtmc,
    market1501,
    msmt17,
    occluded_duke,
    occluded_reid,
    own,
    p_dukemtmc,
)
from partreid.data.folders import UNSEEN, Counts, count_note, counts
from partreid.errors import DataError, RecipeError
from partreid.types import DISTRACTOR, Benchmark, Sample
from partreid.utils.arguments import door
from partreid.utils.registry import Registry

WITHDRAWN = (
    "withdrawn in 2019 by its authors' institution because the people recorded had not agreed; "
    "this loader is for those who hold the data already. Prefer another data set for new work."
)
FREE = "made-up people drawn by this package; nobody's picture, no licence needed."
ACADEMIC = (
    "academic use only, by the terms of its authors; shows real people, most of whom do not know "
    "of it."
)
ON_REQUEST = (
    "handed out by its authors against a signed agreement, for academic use only, and not to be "
    "passed on; shows real people, most of whom do not know of it."
)
OWN = "yours: you answer for the consent of the people it shows and for the law where you are."


@dataclass(frozen=True)
class Size:
    """Of everything that is read, training, query and gallery together; people without
    distractors.
    """

    images: int
    identities: int
    cameras: int


@dataclass(frozen=True)
class DataSet:
    """How to read a data set, what it should hold and what one may do with it.

    load: of the root; with ``splits`` > 1 it also takes the number of the split. counts:
    (identities, images) of each split. size: None where nobody can know. layout: a short tree.
    protocol: a name in ``partreid.metrics.PROTOCOLS``, the rule by which it is scored.
    numbers_apart: training and test number their people apart, so that a number in both is not one
    person. preset: of :mod:`partreid.data.synthetic`, where the people are made up by it.
    """

    load: Callable[..., Benchmark]
    counts: Mapping[str, Counts]
    status: str
    licence: str
    size: Size | None
    layout: str
    protocol: str = "market1501"
    splits: int = 1
    numbers_apart: bool = False
    preset: str | None = None

    @property
    def withdrawn(self) -> bool:
        return self.status == WITHDRAWN

    @property
    def people(self) -> str:
        """What its people are: "drawn", "real" (photographed), or "unknown" for crops of one's
        own.
        """
        return "drawn" if self.preset else "unknown" if self.status == OWN else "real"


@dataclass(frozen=True)
class Problem:
    """What is wrong, and the one thing to do about it. grave: it makes training or scoring
    impossible.
    """

    what: str
    fix: str
    grave: bool = False

    @classmethod
    def read(cls, message: str) -> "Problem":
        """From a sentence of the form 'what; fix'."""
        what, _, fix = message.partition("; ")
        return cls(what, fix, True)

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"


class Table(Registry[DataSet]):
    """Data sets by name. ``cuhk01`` is its split 0, ``cuhk01-3`` its split 3; only the first is
    listed.
    """

    def __getitem__(self, name: str) -> DataSet:
        if super().__contains__(name):
            return self._checked(name)
        base, _, number = name.rpartition("-")
        if not super().__contains__(base) or not number.isdecimal():
            raise KeyError(name)
        row, split = self._checked(base), int(number)
        if row.splits == 1 or split >= row.splits or str(split) != number:
            raise KeyError(name)

        def load(root: Path) -> Benchmark:
            return replace(row.load(root, split=split), name=name)

        return replace(row, load=load, splits=1)

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return True
        try:
            return isinstance(name, str) and bool(self[name])
        except KeyError:
            return False

    def register(self, name: str, item: DataSet | str) -> None:
        """Adds a data set. RecipeError if the name is taken, also by a numbered split."""
        if not isinstance(item, DataSet | str):
            raise RecipeError(
                f"a data set is registered as a DataSet, got a {type(item).__name__}; make a record"
            )
        if isinstance(name, str) and name in self:
            raise RecipeError(
                f"there is a data set '{name}' already; register yours under another name"
            )
        super().register(name, item)

    def _checked(self, name: str) -> DataSet:
        row = super().__getitem__(name)
        if not isinstance(row, DataSet):
            raise RecipeError(
                f"the data set '{name}' must be a DataSet, got a {type(row).__name__}; repair or "
                "remove the package that brings it"
            )
        return row


@door
def load_synthetic(root: Path) -> Benchmark:
    """A world written by :mod:`partreid.data.synthetic`; its query sets are called holistic and
    occluded.
    """
    benchmark = market1501.load(root, "synthetic")
    if not (root / "world.json").is_file():
        raise DataError(
            f"there is no world.json in {root}, so this is no synthetic world; draw one with "
            "partreid data synth, or say with --dataset which data set lies there"
        )
    return replace(
        benchmark,
        queries={
            {"query": "holistic"}.get(name, name): samples
            for name, samples in benchmark.queries.items()
        },
    )


_MARKET_TERMS = "research only; no commercial use, no redistribution (readme of the release)"
_CUHK03_TERMS = (
    "by CUHK's regulations, respecting the privacy of the students shown (readme of the release)"
)
_DUKE_TERMS = "the DukeMTMC licence, non-commercial, withdrawn with the data"
_ZHUO_TERMS = "academic use only (page of the release)"
# kinds and their images
_CUHK03: tuple[tuple[cuhk03.Kind, int], ...] = (("labeled", 14096), ("detected", 14097))
_MSMT_TERMS = "academic use only, by the signed release agreement"

BENCHMARKS: Table = Table(
    "data set",
    "partreid.datasets",
    {
        "market1501": DataSet(
            market1501.load,
            market1501.COUNTS,
            ACADEMIC,
            _MARKET_TERMS,
            Size(32217, 1501, 6),
            market1501.LAYOUT,
        ),
        "market1501_500k": DataSet(
            market1501.load_500k,
            market1501.COUNTS_500K,
            ACADEMIC,
            _MARKET_TERMS,
            Size(532217, 1501, 6),
            market1501.LAYOUT_500K,
        ),
        "dukemtmc": DataSet(
            dukemtmc.load,
            dukemtmc.COUNTS,
            WITHDRAWN,
            _DUKE_TERMS,
            Size(36411, 1812, 8),
            dukemtmc.LAYOUT,
        ),
        **{
            f"cuhk03_{kind}": DataSet(
                partial(cuhk03.load, kind=kind),
                cuhk03.COUNTS[kind],
                ACADEMIC,
                _CUHK03_TERMS,
                Size(images, 1467, 2),
                cuhk03.LAYOUT.format(kind=kind),
            )
            for kind, images in _CUHK03
        },
        **{
            f"cuhk03_{kind}_classic": DataSet(
                partial(cuhk03.load_classic, kind=kind),
                cuhk03.COUNTS_CLASSIC,
                ACADEMIC,
                _CUHK03_TERMS,
                Size(images, 1467, 2),
                cuhk03.LAYOUT_CLASSIC,
                "single_shot",
                cuhk03.SPLITS,
            )
            for kind, images in _CUHK03
        },
        "cuhk03_pair1": DataSet(
            cuhk03.load_pair1,
            cuhk03.COUNTS_PAIR1,
            ACADEMIC,
            _CUHK03_TERMS,
            Size(8177, 843, 2),
            cuhk03.LAYOUT_PAIR1,
            numbers_apart=True,
        ),
        "cuhk01": DataSet(
            cuhk01.load,
            cuhk01.COUNTS,
            ACADEMIC,
            "as came with your copy",
            Size(3884, 971, 2),
            cuhk01.LAYOUT,
            "single_shot",
            cuhk01.SPLITS,
        ),
        "occluded_duke": DataSet(
            occluded_duke.load,
            occluded_duke.COUNTS,
            WITHDRAWN,
            _DUKE_TERMS,
            Size(35489, 1812, 8),
            occluded_duke.LAYOUT,
        ),
        "occluded_reid": DataSet(
            occluded_reid.load,
            occluded_reid.COUNTS,
            ACADEMIC,
            _ZHUO_TERMS,
            Size(2000, 200, 0),
            occluded_reid.LAYOUT,
            "no_camera",
        ),
        "occluded_reid_half": DataSet(
            occluded_reid.load_half,
            occluded_reid.COUNTS_HALF,
            ACADEMIC,
            _ZHUO_TERMS,
            Size(2000, 200, 0),
            occluded_reid.LAYOUT,
            "no_camera",
            occluded_reid.HALVES,
        ),
        "p_dukemtmc": DataSet(
            p_dukemtmc.load,
            p_dukemtmc.COUNTS,
            WITHDRAWN,
            _DUKE_TERMS,
            Size(24143, 1299, 0),
            p_dukemtmc.LAYOUT,
            "no_camera",
        ),
        "msmt17": DataSet(
            msmt17.load,
            msmt17.COUNTS,
            ON_REQUEST,
            _MSMT_TERMS,
            Size(126441, 4101, 15),
            msmt17.LAYOUT,
            numbers_apart=True,
        ),
        "msmt17_without_val": DataSet(
            partial(msmt17.load, val=False),
            msmt17.COUNTS_WITHOUT_VAL,
            ON_REQUEST,
            _MSMT_TERMS,
            Size(124068, 4101, 15),
            msmt17.LAYOUT,
            numbers_apart=True,
        ),
        "folders": DataSet(
            own.load_folders, {}, OWN, "whatever you have agreed", None, own.FOLDERS_LAYOUT
        ),
        "table": DataSet(
            own.load_table, {}, OWN, "whatever you have agreed", None, own.TABLE_LAYOUT
        ),
        **{
            f"synthetic-{preset}": DataSet(
                load_synthetic,
                {},
                FREE,
                "none needed",
                None,
                f"written by: partreid data synth {preset} FOLDER",
                preset=preset,
            )
            for preset in ("tiny", "demo", "full")
        },
    },
)


@door
def protocol_of(name: str, benchmark: Benchmark) -> str:
    """Name of the rule by which a loaded data set is scored: its own, or no_camera where no test
    crop has a camera.
    """
    test = (*benchmark.gallery, *(s for query in benchmark.queries.values() for s in query))
    if test and all(s.camera == UNSEEN for s in test):
        return "no_camera"
    return BENCHMARKS[name].protocol if name in BENCHMARKS else "market1501"


@door
def problems(name: str, benchmark: Benchmark) -> list[Problem]:
    """Everything about a loaded data set that does not look right, without a look into its
    files; empty if all is.
    """
    data_set = BENCHMARKS.get(name)
    split_counts = {"gallery": counts(benchmark.gallery)}
    if benchmark.train:
        split_counts["train"] = counts(benchmark.train)
    if "query" in benchmark.queries:
        split_counts["query"] = counts(benchmark.queries["query"])
    notes = [
        replace(Problem.read(note), grave=False)
        for note in count_note(name, split_counts, dict(data_set.counts) if data_set else {})
    ]
    query_identities = {s.identity for query in benchmark.queries.values() for s in query}
    if DISTRACTOR in query_identities | {s.identity for s in benchmark.train}:
        notes.append(
            Problem(
                "identity 0, which means a distractor, is among those that train or ask",
                "number people from 1 in the file names",
            )
        )
    both = {s.identity for s in benchmark.train} & query_identities - {DISTRACTOR}
    if both and not (data_set and data_set.numbers_apart):
        notes.append(
            Problem(
                f"{len(both)} identities are in training and in test ({_some(both)}), so that "
                "scores come out too good",
                "take them out of one of the two, or undo the renumbering",
            )
        )
    for kind, query in benchmark.queries.items():
        notes += _unanswerable(kind, query, benchmark.gallery, protocol_of(name, benchmark))
    return notes


@door
def check(name: str, benchmark: Benchmark) -> list[str]:
    """:func:`problems` as sentences."""
    return [str(problem) for problem in problems(name, benchmark)]


def _unanswerable(
    kind: str, query: tuple[Sample, ...], gallery: tuple[Sample, ...], protocol: str
) -> list[Problem]:
    """Queries that no gallery image can answer."""
    seen: dict[int, set[int]] = {}
    for s in gallery:
        if s.identity != DISTRACTOR:
            seen.setdefault(s.identity, set()).add(s.camera)
    if not seen.keys() & {s.identity for s in query}:
        return [
            Problem(
                f"{kind}: no identity of the query is in the gallery, so nothing can be found",
                "check that both are of one release and that identities were not renumbered apart",
                True,
            )
        ]
    if protocol in ("any_camera", "no_camera"):
        alone = [s for s in query if s.identity not in seen]
    elif len({s.camera for s in (*query, *gallery)}) == 1:
        return [
            Problem(
                f"{kind}: all crops are of one camera, and matches of the query's own camera do "
                "not count",
                "give the crops their camera numbers (_c1, _c2, ...), or leave the camera out of "
                "all of them",
                True,
            )
        ]
    else:
        alone = [s for s in query if not seen.get(s.identity, set()) - {s.camera}]
    if not alone:
        return []
    elsewhere = "" if protocol in ("any_camera", "no_camera") else " from another camera"
    return [
        Problem(
            f"{kind}: {len(alone)} of {len(query)} queries have no right answer{elsewhere} in the "
            f"gallery and are skipped, first {alone[0].path.name}",
            "add such images to the gallery, or take the queries out",
        )
    ]


def _some(identities: set[int]) -> str:
    return ", ".join(map(str, sorted(identities)[:3])) + (", ..." if len(identities) > 3 else "")
