"""Commands about data sets: draw, look at, check and list them."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from partreid.cli.base import Count, Picture, data
from partreid.utils import ui

LOOKED_AT = 64  # images that `data check` decodes
Preset = Literal["tiny", "demo", "full", "scenes"]


@data.command
def synth(
    preset: Preset,
    folder: Path,
    *,
    iuv: bool = False,
    seed: int | None = None,
    train_occluded: float | None = None,
    tiny: Annotated[bool, Parameter(negative="")] = False,
    people: Count | None = None,
    cameras: Count | None = None,
    seconds: float | None = None,
) -> None:
    """Draw the synthetic benchmark: made-up people with exact truth, in Market-1501's layout; or
    scenes: films of several cameras that the people walk past, with exact tracks.

    Args:
        preset: tiny (seconds), demo (under a minute on two cores) or full (about 1000 people, for a
            GPU); scenes for films (four cameras, 30 people, one minute).
        folder: Where to; an interrupted run goes on, a finished one is left alone.
        iuv: Also write DensePose-style surface coordinates.
        seed: Another world of the same kind.
        train_occluded: Share of training images with an occluder, 0 to 1, instead of the preset's.
        tiny: Of scenes, small and short ones that are drawn in seconds.
        people: Of scenes, how many are filmed, 1 to 64.
        cameras: Of scenes, 2 to 9; the first two look at one place, the others at one each.
        seconds: Of scenes, how long they last.
    """
    from dataclasses import replace

    from partreid.data.synthetic import PRESETS, write

    changes = {"seed": seed, "people": people, "cameras": cameras, "seconds": seconds}
    if preset == "scenes":
        if iuv or train_occluded is not None:
            ui.fail(
                "--iuv and --train-occluded belong to benchmarks, not to scenes; leave them away"
            )
        _synth_scenes(folder, tiny, {k: v for k, v in changes.items() if v is not None})
        return
    if odd := [f"--{k}" for k, v in {**changes, "tiny": tiny or None}.items() if v and k != "seed"]:
        ui.fail(
            f"{', '.join(odd)} only with scenes; leave it away, or say: partreid data synth scenes"
        )
    world = PRESETS[preset] if seed is None else replace(PRESETS[preset], seed=seed)
    if train_occluded is not None:
        if not 0 <= train_occluded <= 1:
            ui.fail(f"--train-occluded must be between 0 and 1, got {train_occluded}")
        world = replace(world, train_occluded=train_occluded)
    with ui.progress(f"drawing {preset}") as step:
        write(world, folder, iuv=iuv, progress=step)
    ui.say(f"synthetic benchmark '{preset}': {folder}")


def _synth_scenes(folder: Path, tiny: bool, changes: dict[str, Any]) -> None:
    from dataclasses import replace
    from importlib.util import find_spec

    from partreid.data.synthetic import SCENES, write_scenes
    from partreid.utils.files import read_json

    scenes = replace(SCENES["tiny" if tiny else "demo"], **changes)
    with ui.progress("filming") as step:
        write_scenes(scenes, folder, progress=step)
    counts = read_json(folder / "scenes.json")
    ui.say(
        f"scenes: {folder}, {scenes.cameras} cameras with {counts['frames']} frames each, "
        f"{counts['people']} people in {counts['tracklets']} tracklets, {counts['crops']} crops"
    )
    if not (folder / "crops.parquet").exists():
        missing = (
            "" if find_spec("pyarrow") else " (pyarrow is missing: pip install partreid[parquet])"
        )
        ui.say(f"note: the table of crops is there as CSV, not as Parquet{missing}")


@data.command
def sheet(
    folder: Path,
    picture: Picture,
    *,
    show: Literal["image", "labels", "iuv"] = "image",
    rows: Count = 8,
) -> None:
    """Draw a contact sheet of a synthetic benchmark.

    Args:
        folder: The benchmark.
        picture: PNG or JPEG to write.
        show: The images, their labels and joints, or their surface coordinates.
        rows: Number of people.
    """
    from partreid.data.synthetic import contact_sheet
    from partreid.utils.files import writable

    writable(picture)
    picture.parent.mkdir(parents=True, exist_ok=True)
    ui.say(f"contact sheet: {contact_sheet(folder, picture, show=show, identities=rows)}")


@data.command
def occlude(
    name: str,
    folder: Path,
    out: Path,
    *,
    masks: str = "masks",
    seed: int = 0,
    coverage: tuple[float, float] = (0.3, 0.6),
    people: float = 0.3,
) -> None:
    """Give the queries of a data set occlusions: a copy of each with an object or another person in
    front.

    Writes a data set `table` with the query sets whole and occluded and the gallery, to be scored
    by: partreid eval RUN --data OUT --dataset table. Pictures stay where they are. It shows how a
    model takes what hides a person; it is no real occluded benchmark.

    Args:
        name: Which data set it is, see: partreid data list
        folder: Its root.
        out: A new folder.
        masks: Folder below the root with grey pictures, bright where the person is:
            masks/<split>/<stem>.png or <stem>_fg.png. They say what to hide, and people who walk
            past are cut out of training crops by them.
        seed: Other objects at other places.
        coverage: Least and greatest share of the person that is hidden.
        people: Share of the queries that another person hides instead of an object.
    """
    from partreid.build import benchmark
    from partreid.data.occlusion import Settings, write_occluded

    settings = Settings(seed, coverage, people)
    with ui.progress("hiding people") as step:
        occlusions = write_occluded(benchmark(name, folder), out, masks, settings, step)
    counts = Counter(o.kind for o in occlusions.values())
    guessed = sum(o.guessed for o in occlusions.values())
    ui.say(
        f"{out}: {len(occlusions)} queries, whole and occluded, by "
        + ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
        + (f"; where {guessed} people stand was guessed, for they have no mask" if guessed else "")
    )


@data.command(name="check")
def check_data(
    name: str, folder: Path, *, every: Annotated[bool, Parameter("--all", negative="")] = False
) -> None:
    """Say what is in a data set's folder, what is wrong and how to mend it.

    Every file's header is read, and 64 images are decoded. Exit status 0 if one can train and score
    with the data, whatever else is worth a note; 2 if something makes that impossible.

    Args:
        name: Which data set it should be, see: partreid data list
        folder: Its root, or the file of a table.
        every: Decode every image, and compare the pixels of all; takes about as long as embedding
            them.
    """
    from partreid.data.findings import explain
    from partreid.data.registry import BENCHMARKS
    from partreid.metrics import PROTOCOLS

    with ui.progress("looking at files") as step:
        findings = explain(name, folder, None if every else LOOKED_AT, step)
    if findings.splits:
        ui.table(
            f"{name}: {BENCHMARKS[name].status}",
            ("split", "identities", "images", "cameras"),
            [
                (s.name, str(s.identities), str(s.images), str(s.cameras or "unknown"))
                for s in findings.splits
            ],
        )
        ui.show(f"licence: {BENCHMARKS[name].licence}")
        ui.show(f"protocol {findings.protocol}: {PROTOCOLS[findings.protocol].sentence}")
    for problem in sorted(findings.problems, key=lambda problem: not problem.grave):
        ui.show(f"{'wrong' if problem.grave else 'note'}: {problem}")
    looked = (
        f"{findings.files} headers were read, {findings.looked_at} images decoded"
        if findings.files
        else "no image was opened"
    )
    ui.show(
        f"nothing looks wrong; {looked}"
        if findings.sound
        else f"{len(findings.problems)} thing(s) to look at; {looked}"
    )
    if not findings.usable:
        raise SystemExit(2)


@data.command(name="list")
def list_data(*, layouts: bool = False) -> None:
    """List the data sets that can be read: size, protocol, licence and status.

    Args:
        layouts: Also print where each expects its files.
    """
    from partreid.data.registry import BENCHMARKS

    for name, d in BENCHMARKS.items():
        size = (
            f"{d.size.images:,} images, {d.size.identities:,} people, "
            f"{d.size.cameras or 'unknown'} cameras; "
            if d.size
            else ""
        )
        split = f"; {d.splits} splits, {name}-0 to {name}-{d.splits - 1}" if d.splits > 1 else ""
        ui.show(
            f"{name}{' (WITHDRAWN)' if d.withdrawn else ''}",
            f"  {size}protocol {d.protocol}{split}",
            f"  licence: {d.licence}",
            f"  status: {d.status}",
        )
        if layouts:
            ui.show(*(f"    {line}" for line in d.layout.splitlines()))
