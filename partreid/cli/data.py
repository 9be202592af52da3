"""Commands about data sets: draw, look at, check and list them."""

from pathlib import Path
from typing import Literal

from partreid import ui
from partreid.cli.base import Count, Picture, data

Preset = Literal["tiny", "demo", "full"]


@data.command
def synth(preset: Preset, folder: Path, *, iuv: bool = False, seed: int | None = None,
          train_occluded: float | None = None) -> None:
    """Draw the synthetic benchmark: made-up people with exact truth, in Market-1501's layout.

    Args:
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

    Args:
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

    Args:
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
