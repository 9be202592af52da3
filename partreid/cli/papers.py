"""Commands about the papers: the demo, their recipes, their claims."""

from pathlib import Path
from typing import Literal

from partreid import ui
from partreid.cli.base import Papers, Seeds, app


@app.command
def demo(*, out: Path = Path("partreid-demo"), quick: bool = False, json: Path | None = None, seed: int = 1,
         methods: Literal["core", "all"] = "core") -> None:
    """Train and explain a part-based model against a global one, on made-up people, from nothing.

    Args:
        out: Folder for the pictures, runs and the report; an interrupted demo goes on where it stopped.
        quick: Everything at toy size, in under a minute; the scores then mean nothing.
        json: Also write the numbers to this file.
        seed: Of the training.
        methods: core is BoT, PCB and BPBreID; all adds ISP, HCGA, DSA-reID and MagnifierNet.
    """
    from partreid.demo import run

    run(out, quick=quick, results=json, seed=seed, every=methods == "all")


@app.command
def recipes(name: str | None = None, *, filter: str = "", json: bool = False) -> None:
    """List the recipes: one for every row of the papers' tables, with the published numbers.

    Args:
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
def claims(*, papers: Papers = (), seeds: Seeds = (1, 2, 3), out: Path = Path("partreid-claims"),
           size: Literal["tiny", "demo", "full"] = "demo", json: Path | None = None, device: str = "auto") -> None:
    """Check what the papers' tables say of their own variants, on made-up people.

    Trains every variant with every seed (a minute or two each at demo size on two cores), then prints which orderings
    hold. Interrupted or repeated, it goes on with what is there.

    Args:
        papers: Only these, e.g. --papers dsa magnifier
        seeds: Seeds of the trainings.
        out: Folder for the people and the runs.
        size: Of the synthetic benchmark.
        json: Also write the numbers to this file.
        device: auto, cpu or cuda.
    """
    from partreid.claims import run

    run(papers, seeds, out, size, json, device)
