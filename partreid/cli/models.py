"""Commands that make and use models: train, convert, eval, embed."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from partreid.cli.base import Assignments, Count, app
from partreid.utils import ui


@app.command
def train(
    recipe: str,
    *,
    data: Path | None = None,
    out: Path | None = None,
    set_: Assignments = (),
    resume: bool = False,
    smoke: bool = False,
    device: str = "auto",
    devices: Count = 1,
    workers: int = 0,
    save_every: Count = 200,
    tensorboard: bool = False,
) -> None:
    """Train a recipe.

    Args:
        recipe: Its name, see: partreid recipes
        data: Root folder of its training data. With --smoke a few images of them are enough, or a
            synthetic world; if none is given, one is drawn.
        out: Run folder; default runs/<recipe>.
        set_: Change a field of the recipe, e.g. --set stages.epochs=60
        resume: Go on from the last checkpoint in the run folder.
        smoke: Only build it at full size, without memory, and take two steps of every stage at toy
            size.
        device: auto, cpu or cuda.
        devices: Number of GPUs or CPU processes.
        workers: Processes that load images.
        save_every: Steps between checkpoints.
        tensorboard: Also log for TensorBoard.
    """
    from partreid import build
    from partreid.layers.trunks import BACKBONES
    from partreid.recipes import find, override

    named = find(recipe)
    chosen = override(named, set_)
    if any(note not in named.notes for note in chosen.notes):  # what is told of must be there
        build.look_up("backbone", BACKBONES, chosen.backbone.name)
    for note in chosen.notes:
        if note not in named.notes:
            ui.say(f"note: {note}")
    if smoke:
        from partreid.experiments.smoke import smoked

        ui.show(smoked(chosen, data, out))
        return
    if chosen.scores is not None:
        again = " with the same --set" if set_ else ""
        ui.fail(
            f"{chosen.name} is the training of {chosen.scores}, scored in its own way: say "
            f"partreid train {chosen.scores}{again}, then partreid eval RUN --row {chosen.name}. "
            "To train it on its own all the same add --set scores=null"
        )
    if data is None:
        ui.fail(
            "train needs --data, the root folder of the training data (or --smoke, which does "
            "without); see: partreid train --help"
        )
        return
    from partreid.data.registry import check
    from partreid.train.loop import Options
    from partreid.train.loop import train as run

    where = out or Path("runs") / recipe
    benchmark = build.benchmark(chosen.train, data)
    for note in check(chosen.train, benchmark):
        ui.say(f"note: {note}")
    with ui.training(f"training {chosen.name}") as shown:
        model = run(
            chosen,
            benchmark,
            where,
            Options(
                device,
                devices,
                workers,
                save_every,
                resume,
                tensorboard=tensorboard,
                progress=shown,
            ),
        )
    ui.say(f"trained: {model}")


@app.command(name="eval")
def evaluate(
    *runs: Path,
    data: Path,
    dataset: str | None = None,
    report: Path | None = None,
    json: Path | None = None,
    csv: Path | None = None,
    latex: Path | None = None,
    ledger: Path | None = None,
    visibility: bool = True,
    rerank: bool = False,
    expand: Annotated[bool, Parameter(negative="")] = False,
    shrink: float = 0.0,
    multi_query: Annotated[bool, Parameter(negative="")] = False,
    rule: Literal["paper", "official"] = "paper",
    described: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    row: str | None = None,
    calibration: Path | None = None,
    device: str = "auto",
    devices: Count = 1,
) -> None:
    """Score trained runs on the test images of a data set; several are compared with the first.

    Args:
        runs: Run folders or model.safetensors; those of one recipe with different seeds count as
            one method.
        data: Root folder of the test data.
        dataset: Which data set that is; default what the recipe names.
        report: Write an HTML report to this file.
        json: Write everything that was found to this file.
        csv: Write the scores as a table to this file.
        latex: Write them as rows of a tabular, for a paper, to this file.
        ledger: Add the scores to this file, from which partreid recipes --ledger reads our numbers.
        visibility: Compare only what both images show, where the method knows.
        rerank: Also score after k-reciprocal re-ranking (k1 20, k2 6, 0.3).
        expand: Also score after every image was averaged with its 3 nearest from other cameras.
        shrink: Also score with distances on little evidence drawn towards that of impostor pairs,
            as if so many more parts said so; 0 is the papers.
        multi_query: Also score with all images of a person from a camera as one query.
        rule: official also scores by the rule of the paper's released code, where it departs.
        described: What a gallery stores instead of what the recipe says, e.g. --described head, or
            several with commas.
        row: Score as this row does, one of the same training, see: partreid recipes
        calibration: Judge this file of partreid calibrate on the data; default the one that lies
            beside a model.
        device: auto, cpu or cuda.
        devices: Number of processes that share the images out.
    """
    if not runs:
        ui.fail("eval needs a run folder, or several to compare; see: partreid eval --help")
        return
    from partreid.evaluation import Options, differences, evaluate_runs
    from partreid.evaluation.ledger import append, entries, read
    from partreid.report.evaluation import print_results, write_results
    from partreid.report.rows import rows
    from partreid.utils.files import writable

    writable(report, json, csv, latex, ledger)
    if ledger is not None:
        read(ledger)  # a broken one is said before the work, not after
    results = evaluate_runs(
        runs,
        data,
        dataset,
        Options(
            visibility,
            rerank,
            expand,
            shrink,
            multi_query,
            rule == "official",
            calibration,
            details=bool(report or json),
            embeddings=report is not None,
            described=tuple(name for names in described for name in names.split(",")),
            row=row,
            device=device,
            devices=devices,
        ),
    )
    if not results:  # another process speaks
        return
    shown = results, rows(results), differences(results)
    print_results(*shown)
    for what, path in write_results(*shown, report=report, json=json, csv=csv, latex=latex).items():
        ui.say(f"{what}: {path}")
    if ledger is not None:
        ui.say(f"ledger: {append(ledger, entries(results))} new line(s) in {ledger}")


@app.command
def embed(
    run: Path,
    crops: Path,
    *,
    out: Path,
    device: str = "auto",
    workers: Count = 1,
    batch: Count = 64,
    strict: Annotated[bool, Parameter(negative="")] = False,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    actors: Count | None = None,
) -> None:
    """Embed crops: a folder, an image or a text file that lists images; or Parquet shards.

    Shards are finished one by one: give the same command again after a kill and it goes on. Exit
    status 3 says that all is done but for images that cannot be read, which OUT/bad lists.

    Args:
        run: Run folder, model.safetensors or an exported file.
        crops: The crops; or a folder or pattern of .parquet files, or one: columns id, path or
            image (encoded bytes), and camera and time if there are any.
        out: Folder for embeddings.safetensors (vectors [N, M, D], visibility [N, M]) and index.json
            (paths, names); of shards, for a .parquet file each.
        device: auto, cpu or cuda.
        workers: Threads that read the next crops while the network works.
        batch: Of shards, crops that go through the network together.
        strict: Of shards, end at the first image that cannot be read.
        engine: Of shards, local or ray. With torchrun each process takes its share.
        address: With --engine ray, the cluster; default this machine.
        actors: With --engine ray, how many, with a model each; default one per GPU, or per CPU.
    """
    from partreid.bulk import job as bulk
    from partreid.bulk.shards import is_shards, parquet_in, shards_of
    from partreid.inference import crop_paths, listed, load, save_embeddings
    from partreid.utils.files import writable

    if engine != "ray" and (address is not None or actors is not None):
        ui.fail("--address and --actors belong to --engine ray; add it, or leave them away")
    if is_shards(crops):
        job = bulk.Job(run, out, device, batch, strict, workers)
        with ui.progress("embedding shards") as step:
            if engine == "ray":
                done = bulk.embed_on_ray(job, shards_of(crops), address, actors, step)
            else:
                done = bulk.embed_shards(job, shards_of(crops), step)
        if not bulk.speaks():
            return
        for shard in done:
            if shard.error:
                ui.say(f"no embeddings of {shard.name}: {shard.error}")
        ui.say(f"{bulk.summary(done)} -> {out}")
        if status := bulk.status(done):
            if bulk.under_torchrun():
                ui.say(f"exit status {status}, which torchrun turns into a 1 of its own")
            raise SystemExit(status)
        return
    if strict or engine != "local" or batch != 64:
        ui.fail(
            f"--strict, --engine and --batch are for Parquet shards, and {crops} holds none; leave "
            "them away"
        )
    if crops.is_dir() and parquet_in(crops):
        ui.say(
            f"note: {crops} holds images, which are embedded, and .parquet files, which are not; "
            f"for these give {crops / '*.parquet'}"
        )
    writable(out / "embeddings.safetensors", out / "index.json")
    paths = crop_paths(listed(crops))
    e = save_embeddings(load(run, device), paths, out, workers).embeddings
    ui.say(
        f"{len(paths)} crops -> {out}: {len(e.names)} embeddings of {e.vectors.shape[2]} numbers "
        "each"
    )


@app.command
def convert(
    checkpoint: Path,
    *,
    out: Path,
    layout: str | None = None,
    recipe: str | None = None,
    set_: Assignments = (),
    least: float = 0.95,
    identities: Count | None = None,
) -> None:
    """Turn a released checkpoint into a run folder that eval, embed and compare take.

    Args:
        checkpoint: A .pth, .pt, .tar or .safetensors file. No code in it is run.
        out: Folder for model.safetensors, recipe.json and conversion.json.
        layout: isp, hcga, bpbreid, strong-baseline, torchreid, trunk or timm:MODEL (that model's
            trunk); default told from the names in the file.
        recipe: How the model matches; default the release's own rules.
        set_: Change a field of that recipe, e.g. --set cues.parts.parts=six_new
        least: Share of both sides' numbers that must find a counterpart, 0 to 1.
        identities: Their number, if the checkpoint has no classifier.
    """
    from partreid.recipes import find, override

    if set_ and recipe is None:
        ui.fail("--set changes a recipe; name it with --recipe")
    chosen = None if recipe is None else override(find(recipe), set_)
    from partreid.convert import convert as run

    done = run(checkpoint, out, layout, chosen, least, identities)
    for line in done.lines():
        ui.say(line)
    ui.say(f"converted: {done.model}")
