"""The command line: a thin skin over the library. Nothing heavy is imported before a command runs."""

import os
import sys
from errno import ENOSPC
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter, validators

from partreid import __version__, ui
from partreid.errors import PartReidError

app = App(name="partreid", version=__version__, help="Part-aligned person re-identification: train, evaluate, compare, "
          "explain. Start with: partreid demo", help_format="plaintext", suppress_keyboard_interrupt=False)
data = App(name="data", help="Make, check and look at data sets.")
app.command(data)

Assignments = Annotated[tuple[str, ...], Parameter(name="--set", negative="")]
Preset = Literal["tiny", "demo", "full"]
Picture = Annotated[Path, Parameter(validator=validators.Path(ext=("png", "jpg", "jpeg")))]
Count = Annotated[int, Parameter(validator=validators.Number(gte=1))]


@app.command
def demo(*, out: Path = Path("partreid-demo"), quick: bool = False, json: Path | None = None, seed: int = 1,
         methods: Literal["core", "all"] = "core") -> None:
    """Train and explain a part-based model against a global one, on made-up people, from nothing.

    Parameters
    ----------
    out: Folder for the pictures, runs and the report; an interrupted demo goes on where it stopped.
    quick: Everything at toy size, in under a minute; the scores then mean nothing.
    json: Also write the numbers to this file.
    seed: Of the training.
    methods: core is BoT, PCB and BPBreID; all adds ISP and HCGA, which find their part labels themselves.
    """
    from partreid.demo import run

    run(out, quick=quick, results=json, seed=seed, every=methods == "all")


@app.command
def recipes(name: str | None = None, *, filter: str = "", json: bool = False) -> None:
    """List the recipes: one for every row of the papers' tables, with the published numbers.

    Parameters
    ----------
    name: Show this recipe in full.
    filter: Only names that contain this text.
    json: Print as JSON.
    """
    from json import dumps

    from partreid.recipes import ROWS, Expected, find, to_plain

    if name is not None:
        print(dumps(to_plain(find(name)), indent=1))
        return
    rows = [r for r in ROWS if filter in r.name]
    if json:
        print(dumps([to_plain(r) for r in rows]))
        return

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.1f}"

    unknown = Expected("")
    shown = [(r.name, r.train, number((r.expect or unknown).rank1), number((r.expect or unknown).mAP),
              (r.expect or unknown).where) for r in rows]
    ui.table("", ("recipe", "trains on", "paper R-1", "paper mAP", "source"), shown, left=2)
    if any("duke" in r.train for r in rows):
        ui.say("dukemtmc, occluded_duke and p_dukemtmc were withdrawn by their authors' institution; see: "
               "partreid data list")


@app.command
def train(recipe: str, *, data: Path, out: Path | None = None, set_: Assignments = (), resume: bool = False,
          device: str = "auto", devices: Count = 1, workers: int = 0, save_every: Count = 200,
          tensorboard: bool = False) -> None:
    """Train a recipe.

    Parameters
    ----------
    recipe: Its name, see: partreid recipes
    data: Root folder of its training data.
    out: Run folder; default runs/<recipe>.
    set_: Change a field of the recipe, e.g. --set stages.epochs=60
    resume: Go on from the last checkpoint in the run folder.
    device: auto, cpu or cuda.
    devices: Number of GPUs or CPU processes.
    workers: Processes that load images.
    save_every: Steps between checkpoints.
    tensorboard: Also log for TensorBoard.
    """
    from partreid.recipes import find, override

    chosen = override(find(recipe), set_)
    from partreid import build
    from partreid.data.benchmarks import check
    from partreid.train.loop import Options
    from partreid.train.loop import train as run

    where = out or Path("runs") / recipe
    benchmark = build.benchmark(chosen.train, data)
    for note in check(chosen.train, benchmark):
        ui.say(f"note: {note}")
    with ui.training(f"training {chosen.name}") as shown:
        model = run(chosen, benchmark, where, Options(device, devices, workers, save_every, resume,
                                                      tensorboard=tensorboard, progress=shown))
    ui.say(f"trained: {model}")


@app.command(name="eval")
def evaluate(run: Path, *, data: Path, name: str | None = None, report: Path | None = None, json: Path | None = None,
             visibility: bool = True, rerank: bool = False, device: str = "auto", devices: Count = 1) -> None:
    """Score a trained run on the test images of a data set.

    Parameters
    ----------
    run: Run folder or model.safetensors.
    data: Root folder of the test data.
    name: Which data set that is; default what the recipe names.
    report: Write an HTML report to this file.
    json: Write the scores to this file.
    visibility: Compare only what both images show, where the method knows.
    rerank: Also score after k-reciprocal re-ranking (k1 20, k2 6, 0.3).
    device: auto, cpu or cuda.
    devices: Number of processes that share the images out.
    """
    from partreid.reporting import evaluate_run

    rows = evaluate_run(run, data, name, report, visibility, device, devices, rerank)
    if rows and json is not None:
        from partreid.files import write_json

        write_json(json, {"results": rows})
    if report is not None:
        ui.say(f"report: {report}")


@app.command
def embed(run: Path, crops: Path, *, out: Path, device: str = "auto") -> None:
    """Embed crops: a folder, an image or a text file that lists images.

    Parameters
    ----------
    run: Run folder or model.safetensors.
    crops: The crops.
    out: Folder for embeddings.safetensors (vectors [N, M, D], visibility [N, M]) and index.json (paths, names).
    device: auto, cpu or cuda.
    """
    from partreid.api import crop_paths, listed, load, save_embeddings

    paths = crop_paths(listed(crops))
    e = save_embeddings(load(run, device), paths, out)
    ui.say(f"{len(paths)} crops -> {out}: {len(e.names)} embeddings of {e.vectors.shape[2]} numbers each")


@app.command
def compare(a: Path, b: Path, *, run: Path = Path("partreid-demo/runs/bpbreid"), picture: Picture | None = None,
            json: bool = False) -> None:
    """Compare two crops: the distance, and what every body part says about it.

    Parameters
    ----------
    a: One crop.
    b: The other.
    run: Run folder or model.safetensors; default the demo's.
    picture: Draw both crops, their part maps and the table to this PNG.
    json: Print the evidence as JSON instead of a table.
    """
    from json import dumps

    from partreid.api import load
    from partreid.explain.evidence import addends
    from partreid.explain.sheets import number

    found = load(run).compare(a, b)
    e = found.evidence
    if json:
        print(dumps({"a": str(a), "b": str(b), **e.to_dict()}))
    else:
        adds, total = addends(e.share[e.shared]) if e.shared.any() else ([], number(e.distance))
        rows = [(name, f"{e.query_visibility[m]:.2f}", f"{e.match_visibility[m]:.2f}",
                 number(e.parts[m]) if e.shared[m] else "-", adds.pop(0) if e.shared[m] else "-")
                for m, name in enumerate(e.names)]
        rows.append(("total", "", "", "", total))
        ui.table("", ("part", "visible in a", "in b", "distance", "adds"), rows)
        print(e.sentence(hidden_in=("a", "b")))
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        found.picture().save(picture)
        ui.say(f"picture: {picture}")


@data.command
def synth(preset: Preset, folder: Path, *, iuv: bool = False, seed: int | None = None,
          train_occluded: float | None = None) -> None:
    """Draw the synthetic benchmark: made-up people with exact truth, in Market-1501's layout.

    Parameters
    ----------
    preset: tiny (seconds), demo (under a minute on two cores) or full (about 1000 people, for a GPU).
    folder: Where to; an interrupted run goes on, a finished one is left alone.
    iuv: Also write DensePose-style surface coordinates.
    seed: Another world of the same kind.
    train_occluded: Share of training images with an occluder, 0 to 1, instead of the preset's.
    """
    from dataclasses import replace

    from partreid.data.synthetic import PRESETS, write

    world = PRESETS[preset] if seed is None else replace(PRESETS[preset], seed=seed)
    if train_occluded is not None:
        if not 0 <= train_occluded <= 1:
            ui.fail(f"--train-occluded must be between 0 and 1, got {train_occluded}")
        world = replace(world, train_occluded=train_occluded)
    with ui.progress(f"drawing {preset}") as step:
        write(world, folder, iuv=iuv, progress=step)
    ui.say(f"synthetic benchmark '{preset}': {folder}")


@data.command
def sheet(folder: Path, picture: Picture, *, show: Literal["image", "labels", "iuv"] = "image",
          rows: Count = 8) -> None:
    """Draw a contact sheet of a synthetic benchmark.

    Parameters
    ----------
    folder: The benchmark.
    picture: PNG or JPEG to write.
    show: The images, their labels and joints, or their surface coordinates.
    rows: Number of people.
    """
    from partreid.data.synthetic import contact_sheet

    picture.parent.mkdir(parents=True, exist_ok=True)
    ui.say(f"contact sheet: {contact_sheet(folder, picture, show=show, identities=rows)}")


@data.command(name="check")
def check_data(name: str, folder: Path) -> None:
    """Say what is in a data set's folder, and what looks wrong.

    Parameters
    ----------
    name: Which data set it should be, see: partreid data list
    folder: Its root.
    """
    from partreid import build
    from partreid.data.benchmarks import BENCHMARKS, check, counts

    found = build.benchmark(name, folder)
    splits = {"train": found.train, **found.queries, "gallery": found.gallery}
    ui.table(f"{name}: {BENCHMARKS[name].status}", ("split", "identities", "images", "cameras"),
             [(split, *map(str, counts(s)), str(len({x.camera for x in s}))) for split, s in splits.items()])
    notes = check(name, found)
    for note in notes:
        print(note)
    print("nothing looks wrong" if not notes else f"{len(notes)} thing(s) to look at")


@data.command(name="list")
def list_data() -> None:
    """List the data sets that can be read, with their status."""
    from partreid.data.benchmarks import BENCHMARKS

    ui.table("", ("data set", "status"), [(name, d.status) for name, d in BENCHMARKS.items()], left=2)


def main() -> None:
    """Run a command. A user's mistake is one sentence and exit status 2; a bug keeps its traceback."""
    # OpenMP's threads spin while they wait for each other, which on cores that others use too made training 3.5 times
    # slower than letting them sleep; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app(exit_on_error=False, print_error=False)
    except CycloptsError as error:
        ui.fail(f"{str(error).rstrip('.')}; see: partreid --help")
    except PartReidError as error:
        ui.fail(str(error))
    except OSError as error:  # the ones that name a file or a full disk; any other is a bug
        if error.filename is None and error.errno != ENOSPC:
            raise
        ui.fail(f"{error.filename or 'the disk'}: {error.strerror}; nothing written before was touched: mend that or "
                f"choose another folder, then give the same command again (train: with --resume)")
    except RuntimeError as error:  # of several processes, one stopped and has said why
        if not any(sign in str(error) for sign in ("closed by peer", "reset by peer", "Broken pipe")):
            raise
        ui.fail("stopped, because another process of this run did; its own message says why")
    except KeyboardInterrupt:
        print("partreid: interrupted; nothing saved so far is lost, go on with the same command (train: --resume)",
              file=sys.stderr)
        raise SystemExit(130) from None
