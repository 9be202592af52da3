"""Whatever a recipe names can be added from outside: by a call, and by an installed package that
names it among its entry points. Nothing of partreid is changed for it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch

import partreid.data
import partreid.labels
import partreid.layers
import partreid.methods
from partreid import build
from partreid.cli.base import app
from partreid.data.registry import BENCHMARKS, OWN, DataSet, load_synthetic
from partreid.data.transforms import mirror
from partreid.errors import RecipeError
from partreid.experiments.claims import run as claims
from partreid.experiments.demo.main import chosen
from partreid.labels import CUES
from partreid.labels.parsing import to_parts
from partreid.labels.schemes import KEYPOINTS, PIFPAF, SETS, SURFACES, PartSet
from partreid.labels.sources import SOURCES
from partreid.layers.trunks import small
from partreid.methods import METHODS, contract
from partreid.recipes import MAIN, PAPERS, RECIPES, ROWS, Paper, Spec, find, override, papers
from partreid.recipes.costs import hours
from partreid.types import Benchmark

HALVES = Path(__file__).parent / "halves"  # the folder of a method, as somebody else keeps it


@pytest.fixture()
def halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paper]:
    """The method's folder in a place of its own, imported and not yet registered."""
    copied(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield import_module("halves.paper").PAPER
    for name in [name for name in sys.modules if name.split(".")[0] == "halves"]:
        del sys.modules[name]


def copied(folder: Path) -> Path:
    """The folder of ``halves`` below ``folder``."""
    (folder / "halves").mkdir()
    for file in HALVES.glob("*.py"):
        (folder / "halves" / file.name).write_text(file.read_text())
    return folder


def call(*words: str) -> None:
    app(list(words), result_action="return_value")


@pytest.mark.usefixtures("own_tables")
class TestMethod:
    def test_its_rows_are_there_once_it_is_registered(
        self, halves: Paper, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "halves" not in METHODS and "halves/market1501" not in RECIPES
        partreid.methods.register(halves)
        assert METHODS["halves"].__name__ == "Halves" and MAIN["halves"] is halves.main
        assert {r.name for r in ROWS if r.name.startswith("halves/")} == {
            "halves/market1501",
            "halves/market1501/mean",
        }
        call("recipes", "--paper", "halves")
        shown = capsys.readouterr()
        assert "halves/market1501/mean" in shown.out and "2 rows are 2 trainings" in shown.err
        call("recipes", "--table", "--filter", "halves")
        page = capsys.readouterr().out
        assert "## Halves\n" in page and "| `synthetic/demo/halves` |" in page
        assert hours(find("halves/market1501")) == hours(find("bot/bpbreid-table1/market1501"))

    def test_it_has_every_size_without_saying_so(self, halves: Paper) -> None:
        partreid.methods.register(halves)
        for size in ("tiny", "small", "demo", "full"):
            derived, bot = (find(f"synthetic/{size}/{m}") for m in ("halves", "bot"))
            assert (derived.train, derived.size, derived.backbone) == (
                bot.train,
                bot.size,
                bot.backbone,
            )
            assert derived.terms == halves.main.terms and derived.method == halves.main.method
            assert sum(s.epochs for s in derived.stages) == sum(s.epochs for s in bot.stages)
        assert find("halves/market1501@tiny").digest == find("synthetic/tiny/halves").digest
        assert find("halves/market1501/mean@tiny").method == Spec("halves", pool="mean")

    def test_it_keeps_what_all_methods_promise(self, halves: Paper) -> None:
        partreid.methods.register(halves)
        contract.check(halves)

    def test_it_smokes_trains_and_describes(
        self, halves: Paper, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        partreid.methods.register(halves)
        call("train", "halves/market1501", "--smoke", "--data", str(world))
        assert "halves/market1501: 2" in capsys.readouterr().out
        run, toy = tmp_path / "run", ("stages.epochs=1", "size=[64,32]", "stages.batch=[4,2]")
        sets = [word for change in toy for word in ("--set", change)]
        call("train", "halves/market1501@tiny", "--data", str(world), "--out", str(run), *sets)
        assert partreid.load(run).names == ("upper", "lower")

    def test_the_demo_takes_it_by_name(self, halves: Paper) -> None:
        partreid.methods.register(halves)
        core = [paper.name for paper in chosen(("core",))]
        assert core == ["pcb", "bot", "bpbreid", "halfseen"]
        assert [p.name for p in chosen(("halves",))] == [*core, "halves"]
        assert chosen(("all",)) == papers() and halves in papers()
        with pytest.raises(RecipeError, match="unknown method: 'halve'. Did you mean 'halves'"):
            chosen(("halve",))

    @pytest.mark.slow  # the demo's three methods are there already, this one is trained
    def test_the_demo_shows_it(self, halves: Paper, quick_demo: Path) -> None:
        import shutil

        from partreid.experiments import demo

        partreid.methods.register(halves)
        out = Path(shutil.copytree(quick_demo / "partreid-demo", quick_demo.parent / "halves"))
        summary = demo.run(out, quick=True, methods=("halves",))
        assert "Halves" in {row["method"] for row in summary["results"]}
        assert set(summary["gains_over_bot"]) == {"BPBreID", "HalfSeen", "Halves"}
        assert "Halves" in (out / "report.html").read_text()

    @pytest.mark.slow  # trains two tiny models
    def test_its_claim_is_checked(self, halves: Paper, tmp_path: Path) -> None:
        partreid.methods.register(halves)
        numbers = claims(("halves",), (1,), tmp_path, "tiny")
        assert [c["better"] for c in numbers["claims"]] == ["halves/market1501"]

    def test_claims_know_it(self, halves: Paper) -> None:
        partreid.methods.register(halves)
        with pytest.raises(Exception, match="choose of .*halves"):
            claims(("bot",), (1,), Path("nowhere"), "tiny")

    def test_a_name_is_taken_once(self, halves: Paper) -> None:
        partreid.methods.register(halves)
        with pytest.raises(RecipeError, match="there is a paper 'halves' already"):
            partreid.methods.register(halves)


def package(folder: Path, points: str) -> Path:
    """An installed distribution in ``folder`` with these entry points."""
    info = folder / "elsewhere-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    return folder


def python(
    folder: Path, *words: str, code: str | None = None
) -> "subprocess.CompletedProcess[str]":
    """A command of partreid, or ``code``, in a process that finds what is installed in
    ``folder``.
    """
    command = ["-c", code] if code is not None else ["-m", "partreid", *words]
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=Path(__file__).parent.parent,
    )


@pytest.mark.slow  # three processes
def test_a_method_lives_in_somebody_else_s_package(tmp_path: Path, world: Path) -> None:
    home = package(copied(tmp_path), "[partreid.methods]\nhalves = halves.paper:PAPER\n")
    listed = python(home, "recipes", "--paper", "halves", "--json")
    assert [row["name"] for row in json.loads(listed.stdout)] == [
        "halves/market1501",
        "halves/market1501/mean",
    ], listed.stderr
    smoked = python(home, "train", "halves/market1501@tiny", "--smoke", "--data", str(world))
    assert "halves/market1501@tiny: " in smoked.stdout, smoked.stderr
    lean = (
        "import sys, partreid.recipes as r; r.find('synthetic/demo/halves'); "
        "print('torch' in sys.modules)"
    )
    assert python(home, code=lean).stdout == "False\n"


EVERYTHING = """
from partreid.data.registry import OWN, DataSet, load_synthetic
from partreid.labels.schemes import PartSet
from partreid.labels.stripes import stripe_labels as bands
from partreid.layers.trunks import small as mine
from partreid.data.transforms import mirror as flip

CORRIDOR = DataSet(load_synthetic, {}, OWN, "internal", None, "corridor/")
ENDS = PartSet(("head", "feet"), {"surfaces": {"head": (23, 24), "feet": (5, 6)}})
"""
POINTS = """
[partreid.datasets]
corridor = everything:CORRIDOR
[partreid.labels]
bands = everything:bands
[partreid.schemes]
ends = everything:ENDS
[partreid.trunks]
mine = everything:mine
[partreid.transforms]
flip = everything:flip
"""


@pytest.mark.slow  # a process that trains
def test_so_does_everything_else_that_is_named(tmp_path: Path, world: Path) -> None:
    (tmp_path / "everything.py").write_text(EVERYTHING)
    home = package(tmp_path, POINTS)
    command = (
        "train", "bpbreid/table2/full@tiny", "--data", str(world), "--out", str(tmp_path / "run"),
        "--set", "train=corridor", "--set", "test=[\"corridor\"]", "--set", "backbone=mine",
        "--set", "backbone.width=4", "--set", "augment=[\"flip\"]", "--set", "stages.epochs=1",
        "--set", "size=[64,32]",
    )  # fmt: skip
    code = (
        "from partreid.labels import CUES; print(CUES['bands'].__name__, *CUES, flush=True)\n"
        "import sys; from partreid.cli import main\n"
        f"sys.argv[1:] = {[*command, '--set', 'cues.parts.parts=ends']!r}; main()"
    )
    done = python(home, code=code)
    assert done.returncode == 0 and (tmp_path / "run" / "model.safetensors").is_file(), done.stderr
    assert done.stdout.startswith("stripe_labels surfaces parsing")


def test_a_broken_package_is_nobody_else_s_fault(tmp_path: Path) -> None:
    home = package(tmp_path, "[partreid.methods]\nbroken = nowhere.paper:PAPER\n")
    listed = python(home, "recipes", "--paper", "pcb")
    assert listed.returncode == 0 and "pcb/market1501" in listed.stdout
    assert "the paper 'broken' of the installed package elsewhere cannot be loaded" in listed.stderr


@pytest.mark.usefixtures("own_tables")
class TestRest:
    def test_a_data_set(self, world: Path) -> None:
        partreid.data.register("corridor", DataSet(load_synthetic, {}, OWN, "none", None, "x/"))
        loaded = build.benchmark("corridor", world)
        assert len(loaded.train) == 48 and BENCHMARKS["corridor"].licence == "none"
        with pytest.raises(RecipeError, match="there is a data set 'cuhk01-3' already"):
            partreid.data.register("cuhk01-3", BENCHMARKS["corridor"])

    def test_a_label_source(self, benchmark: Benchmark) -> None:
        from partreid.labels.stripes import stripe_labels

        partreid.labels.register("bands", stripe_labels)
        recipe = override(find("synthetic/tiny/bpbreid"), ["cues.parts=bands"])
        cue = build.cues(recipe, benchmark)["parts"]
        assert cue.scheme is not None and cue.scheme.K == 6 and "bands" in CUES
        with pytest.raises(RecipeError, match="there is a cue 'isp_clusters' already"):
            partreid.labels.register("isp_clusters", stripe_labels)
        with pytest.raises(RecipeError, match="must be a LabelSource or a function"):
            partreid.labels.register("other", 3)  # type: ignore[arg-type]

    def test_a_trunk(self) -> None:
        partreid.layers.register("mine", small)
        recipe = override(
            find("bot/bpbreid-table1/market1501"), ["backbone=mine", "backbone.width=4"]
        )
        method = build.method(recipe, 3, None)
        assert method(torch.zeros(2, 3, 64, 32)).groups["global"].vectors.shape[0] == 2
        assert hours(recipe) is None  # nobody has counted it, and nothing fails

    def test_a_transform(self) -> None:
        partreid.data.register_transform("flip", mirror)
        assert len(build.augment(override(find("synthetic/tiny/bot"), ['augment=["flip"]']))) == 1

    def test_a_part_scheme(self, benchmark: Benchmark) -> None:
        hands = {"head": (23, 24, 27), "hands": (3, 4)}
        joints = {"hands": (9, 10), "head": (0,)}
        partreid.labels.register_scheme(
            "ends",
            PartSet(("head", "hands"), {"surfaces": hands, "keypoints": joints, "lip": hands}),
        )
        assert SETS["ends"] == ("head", "hands") and SURFACES["ends"] == hands
        assert list(KEYPOINTS["ends"]) == ["head", "hands"] and "ends" not in PIFPAF
        assert SOURCES["densepose24"].sets["ends"] == {"head": (23, 24), "hands": (3, 4)}
        assert SOURCES["densepose14"].sets["ends"] == {"head": (14,), "hands": (2, 3)}
        recipe = override(find("bpbreid/table2/full@tiny"), ["cues.parts.parts=ends"])
        scheme = build.cues(recipe, benchmark)["parts"].scheme
        assert scheme is not None and scheme.names == ("head", "hands")
        classes = torch.tensor([[0, 23], [3, 4]], dtype=torch.uint8).numpy()
        assert to_parts(classes, "densepose24", "ends").tolist() == [[0, 1], [2, 2]]

    @pytest.mark.parametrize(
        ("name", "make", "message"),
        [
            ("five", lambda: PartSet(("a",), {}), "there is a part set 'five' already"),
            (
                "pair",
                lambda: PartSet(("a",), {"lidar": {"a": (1,)}}),
                "unknown source of part labels",
            ),
            (
                "pair",
                lambda: PartSet(("a", "b"), {"lip": {"a": (1,)}}),
                "give every part once in both",
            ),
        ],
    )
    def test_a_part_scheme_that_cannot_be_is_refused(
        self, name: str, make: Callable[[], PartSet], message: str
    ) -> None:
        with pytest.raises(RecipeError, match=message):
            partreid.labels.register_scheme(name, make())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "synthetic"}, "cannot be called 'synthetic'"),
        ({"rows": ()}, "is none of its rows"),
        ({"lesson": "poetry"}, "must be one of surfaces, regions or None"),
        ({"name": "other"}, "need names of their own that begin with 'other/'"),
    ],
)
def test_a_record_that_does_not_hold_together_is_refused(
    change: dict[str, object], message: str
) -> None:
    from dataclasses import replace

    with pytest.raises(RecipeError, match=message):
        replace(PAPERS["pcb"], **change)  # type: ignore[arg-type]
