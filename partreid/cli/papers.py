"""Commands about the papers: the demo, their recipes, their claims."""

from pathlib import Path
from typing import Literal

from partreid.cli.base import Methods, Papers, Seeds, Words, app
from partreid.utils import ui


@app.command
def demo(
    *,
    out: Path = Path("partreid-demo"),
    quick: bool = False,
    json: Path | None = None,
    seed: int = 1,
    methods: Methods = ("core",),
) -> None:
    """Train and explain a part-based model against a global one, on made-up people, from nothing.

    Args:
        out: Folder for the pictures, runs and the report; an interrupted demo goes on where it
            stopped.
        quick: Everything at toy size, in under a minute; the scores then mean nothing.
        json: Also write the numbers to this file.
        seed: Of the training.
        methods: core is BoT, PCB and BPBreID; all is every method there is; names of methods add
            those to the core.
    """
    from partreid.experiments.demo import run
    from partreid.utils.files import writable

    writable(json, out / "demo.json", out / "report.html")
    run(out, quick=quick, results=json, seed=seed, methods=methods)


@app.command
def recipes(
    name: str | None = None,
    *,
    filter: str = "",
    paper: str | None = None,
    where: str | None = None,
    dataset: str | None = None,
    json: bool = False,
    table: bool = False,
    out: Path | None = None,
    ledger: Path | None = None,
) -> None:
    """List the recipes: one for every row of the papers' tables, with the published numbers and
    ours.

    Args:
        name: Show this recipe in full.
        filter: Only names that contain this text.
        paper: Only this paper's, e.g. --paper isp
        where: Only this table's or figure's, e.g. --where table5
        dataset: Only those that train or test on this data set.
        json: Print as JSON.
        table: Print the tables as Markdown.
        out: Write the Markdown to this file instead.
        ledger: The file of partreid eval --ledger that our numbers come from; without it, none.
    """
    from json import dumps

    from partreid.evaluation.ledger import read
    from partreid.recipes import find, to_plain
    from partreid.recipes.costs import ASSUMED, WITHDRAWN
    from partreid.report.tables import chosen, cost, lines, mean, page, percent, total

    if name is not None:
        print(dumps(to_plain(find(name)), indent=1))
        return
    if out is not None and not table:
        ui.fail("--out is where the Markdown goes; ask for it with --table")
    rows = chosen(filter, paper, where, dataset)
    if json:
        print(dumps([to_plain(r) for r in rows]))
        return
    if ledger is not None and not ledger.exists():
        ui.fail(
            f"there is no ledger {ledger}; partreid eval RUN --data ROOT --ledger FILE makes one"
        )
    entries = [] if ledger is None else read(ledger)
    if table:
        text = page(rows, entries)
        if out is None:
            print(text, end="")
            return
        from partreid.utils.files import write_atomically

        write_atomically(out, text.encode())
        ui.say(f"{len(rows)} recipes -> {out}")
        return
    shown = [
        (
            f"{line.recipe.name}, {line.queries}"
            if line.queries not in (None, "query")
            else line.recipe.name,
            line.recipe.train,
            line.expect.where,
            percent(line.expect.rank1),
            percent(line.expect.mAP),
            mean(line.ours("rank1"), len(line.runs)),
            mean(line.ours("mAP"), len(line.runs)),
            cost(line.recipe),
        )
        for line in lines(rows, entries)
    ]
    ui.table(
        "",
        ("recipe", "trains on", "source", "paper R-1", "mAP", "our R-1", "mAP", "hours"),
        shown,
        left=3,
    )
    ui.say(ASSUMED)
    ui.say(
        f"{total(rows)}; 'shared' hours are those of the row whose training is scored, see: "
        "partreid recipes NAME"
    )
    if any({r.train, *r.test} & set(WITHDRAWN) for r in rows):
        ui.say(
            "dukemtmc, occluded_duke and p_dukemtmc were withdrawn by their authors' institution; "
            "see: partreid data list"
        )


@app.command
def claims(
    *,
    papers: Papers = (),
    seeds: Seeds = (1, 2, 3),
    out: Path = Path("partreid-claims"),
    size: Literal["tiny", "small", "demo", "full"] = "small",
    json: Path | None = None,
    device: str = "auto",
    where: Words = (),
) -> None:
    """Check what the papers' tables say of their own variants, on made-up people.

    Trains every variant with every seed (about a minute each at small size on two cores), then
    prints which orderings hold. Interrupted or repeated, it goes on with what is there.

    Args:
        papers: Only these, e.g. --papers dsa magnifier
        seeds: Seeds of the trainings.
        out: Folder for the people and the runs.
        size: Of the synthetic benchmark.
        json: Also write the numbers to this file.
        device: auto, cpu or cuda.
        where: Only claims whose source, or one of whose rows, contains one of these, e.g.
            --where "Table 2"
    """
    from partreid.experiments.claims import run
    from partreid.utils.files import writable

    writable(json)
    run(papers, seeds, out, size, json, device, where)
