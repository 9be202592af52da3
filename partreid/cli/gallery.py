"""Commands of a gallery that lasts: add, search, info, forget, verify, export, import."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from partreid.cli.base import Count, Picture, Share, Words, gallery
from partreid.utils import ui

if TYPE_CHECKING:
    from partreid.gallery import Answers, Gallery
    from partreid.inference import Model

Numbers = Annotated[tuple[int, ...], Parameter(consume_multiple=1, negative="")]


@gallery.command
def add(
    where: str,
    crops: Path,
    *,
    run: Path | None = None,
    table: Path | None = None,
    names: Literal["market"] | None = None,
    thumbnails: Annotated[bool, Parameter(negative="")] = False,
    on: Words = (),
    device: str = "auto",
) -> None:
    """Enrol crops; the gallery is made if there is none. Given again, it goes on where it was.

    Args:
        where: Folder of the gallery, or postgresql://user@host/database.
        crops: Crops that --run embeds: a folder, an image or a text file that lists images. Without
            --run the output folder of partreid embed.
        run: Run folder or model.safetensors.
        table: What is known of them: a .csv or .parquet with the columns file, camera, time,
            person; all but file may be missing. Files are seen from the table's folder, times are
            ISO 8601 with their zone.
        names: market reads person and camera from names such as 0002_c1s1_000451_03.jpg.
        thumbnails: Keep a small picture of each crop, too.
        on: Where the gallery is made: addresses of empty databases on other servers, over which its
            crops are spread; each postgresql://user@host/database.
        device: auto, cpu or cuda.
    """
    from os.path import abspath

    from partreid.gallery import open_gallery
    from partreid.gallery.enrol import enrol
    from partreid.gallery.known import from_market_names, read_table
    from partreid.inference import crop_paths, listed, load, load_embeddings

    if table is not None and names is not None:
        ui.fail("--table and --names both say who is on the crops; leave one away")
    facts = {} if table is None else read_table(table)
    model = None if run is None else load(run, device)
    given = load_embeddings(crops) if model is None else crop_paths(listed(crops))
    paths = given if isinstance(given, list) else given.paths
    if names is not None:
        known = from_market_names(paths)
        facts = {abspath(p): one for p, one in zip(paths, known) if p is not None}
    like = given if model is None else model
    assert not isinstance(like, list), "files come with a model"
    with open_gallery(where, like, budget=0, on=on) as opened:
        with ui.progress("enrolling") as step:
            done = enrol(opened, given, facts, model, thumbnails, step)
        size = len(opened)
    ui.say(f"{done.added} crops enrolled; the gallery holds {size}")
    if done.known:
        ui.say(f"{done.known} were there already and are not enrolled twice")
    if done.forgotten:
        ui.say(f"{done.forgotten} show people who were forgotten, and are not enrolled again")
    if table is not None and done.untold:
        ui.say(f"note: {table} says nothing of {done.untold} of the crops enrolled")


@gallery.command
def search(
    where: str,
    run: Path,
    query: Path,
    *,
    top: Count = 10,
    cameras: Numbers = (),
    since: str | None = None,
    until: str | None = None,
    person: str | None = None,
    sheet: Picture | None = None,
    calibration: Path | None = None,
    prior: Share = 0.5,
    json: bool = False,
    device: str = "auto",
) -> None:
    """Search a gallery for the person in a query, and say if nobody in it is near enough.

    Args:
        where: Folder of the gallery, or postgresql://user@host/database.
        run: Run folder or model.safetensors: the gallery's model.
        query: A crop, a folder of crops or a text file that lists them.
        top: How many of the nearest to show.
        cameras: Only crops of these cameras, by number.
        since: Only crops taken at this time or later, such as 2026-11-26T14:00:00+01:00.
        until: Only crops taken before.
        person: Only crops of this person.
        sheet: Draw each query with its answers to this PNG; a tick marks who is called the same
            person.
        calibration: What decides; default calibration.json beside the model, see: partreid
            calibrate
        prior: How likely one person was beforehand, between 0 and 1, e.g. 1 / people in the
            gallery.
        json: Print the answers as JSON.
        device: auto, cpu or cuda.
    """
    from partreid.cli.decide import show_answers
    from partreid.gallery import decide, open_gallery
    from partreid.gallery.known import as_time
    from partreid.inference import crop_paths, listed, load
    from partreid.utils.files import writable

    writable(sheet)
    after, before = as_time(since), as_time(until)
    model = load(run, device, calibration)
    decides = model.calibration
    queries = crop_paths(listed(query))
    with open_gallery(where) as opened:
        size = len(opened)
        q = model.index(queries)
        nearest = opened.search(
            q, top, cameras=cameras or None, since=after, until=before, person=person
        )
        answers = decide(opened, model, q, nearest, prior)
        known = [
            [
                {
                    "id": hit.id,
                    "person": hit.enrolled.person,
                    "camera": hit.enrolled.camera,
                    "time": None if (t := hit.enrolled.time) is None else t.isoformat(),
                }
                for hit in hits
            ]
            for hits in nearest
        ]
        show_answers(
            queries, answers.hits, answers.called, size, decides, answers.doubt, prior, json, known
        )
        if sheet is not None:
            _draw(opened, model, queries, answers, sheet)
            ui.say(f"sheet: {sheet}")


@gallery.command
def info(where: str, *, people: bool = False, json: bool = False) -> None:
    """What a gallery holds, and what was removed from it.

    Args:
        where: Folder of the gallery, or postgresql://user@host/database.
        people: List the people, too.
        json: Print it as JSON.
    """
    from dataclasses import asdict
    from json import dumps

    from partreid.gallery import open_gallery

    with open_gallery(where, budget=0) as opened:
        size, bound = len(opened), opened.bound
        cameras, persons, journal = opened.cameras(), opened.people(), opened.journal()
        recipe, spread = opened.recipe, opened.shares()
    if json:
        contents = {
            "crops": size,
            "recipe": recipe,
            "weights": bound.weights,
            "digest": bound.digest,
            "distance": asdict(bound.distance),
            "names": bound.names,
            "width": bound.width,
            "cameras": cameras,
            "people": persons if people else len(persons),
            "shares": spread,
            "journal": [{**asdict(one), "when": one.when.isoformat()} for one in journal],
        }
        ui.show(dumps(contents))
        return
    ui.show(
        f"{size:,} crops, {sum(persons.values()):,} of them of {len(persons):,} people with a name",
        f"model: {recipe}, weights {bound.weights[:12]}, recipe {bound.digest}; "
        f"{len(bound.names)} embeddings of {bound.width} numbers, {bound.distance.metric}",
        *([f"spread over {spread} other servers"] if spread else []),
    )
    if cameras:
        ui.table("", ("camera", "crops"), [(str(c), f"{n:,}") for c, n in cameras.items()])
    if people and persons:
        ui.table("", ("person", "crops"), [(p, f"{n:,}") for p, n in persons.items()])
    if journal:
        ui.table(
            "",
            ("removed", "why", "crops", "thumbnails", "person (salted digest)"),
            [
                (
                    f"{one.when:%Y-%m-%d %H:%M} UTC",
                    one.reason,
                    f"{one.crops:,}",
                    f"{one.thumbnails:,}",
                    "-" if one.person is None else one.person[:12],
                )
                for one in journal
            ],
            left=2,
        )


@gallery.command
def forget(
    where: str,
    person: str | None = None,
    *,
    keep_days: float | None = None,
    purge: bool = True,
) -> None:
    """Remove all crops of a person, or all that are older than some days, with every trace of them
    in the gallery's files.

    Args:
        where: Folder of the gallery, or postgresql://user@host/database.
        person: Who.
        keep_days: Remove what was taken more days ago (enrolled, if nobody knows when it was
            taken).
        purge: Write the tables anew, so that no byte stays; needs as much room again as they take.
            --no-purge leaves that to the next time.
    """
    from partreid.gallery import open_gallery

    if (person is None) == (keep_days is None):
        ui.fail("forget needs PERSON or --keep-days, and not both")
    with open_gallery(where, budget=0) as opened:
        if person is not None:
            done = opened.forget(person)
        else:
            assert keep_days is not None, "one of the two is given"
            older = opened.forget_older(keep_days)
            if older is None:
                ui.say(f"nothing is older than {keep_days:g} days")
                return
            done = older
        ui.say(
            f"{done.crops} crops and {done.thumbnails} thumbnails removed; the gallery holds "
            f"{len(opened)}, and its journal says so without a name"
        )
        if not purge:
            ui.say("their bytes stay in the server's files until the next purge")
            return
        left = opened.purge()
    for sentence in left:
        ui.say(f"note: {sentence}")
    if not left:
        ui.say(
            "no byte of them is left in the gallery's files; exports and backups are yours to mend"
        )


@gallery.command
def verify(where: str) -> None:
    """Hold every row against itself, counts against rows, and indexes against tables.

    Args:
        where: Folder of the gallery, or postgresql://user@host/database.
    """
    from partreid.gallery import open_gallery

    with open_gallery(where, budget=0) as opened:
        size = len(opened)
        with ui.progress("verifying") as step:
            faults = opened.verify(step)
    for fault in faults:
        ui.show(fault)
    if faults:
        ui.fail(f"{len(faults)} fault(s) in {size} crops; restore an export into a new gallery")
    ui.say(f"{size} crops, no fault")


@gallery.command
def export(where: str, out: Path) -> None:
    """Write all crops to a folder, from which nothing is lost.

    Args:
        where: Folder of the gallery, or postgresql://user@host/database.
        out: A new or empty folder. It holds names in the clear.
    """
    from partreid.gallery import open_gallery

    with open_gallery(where, budget=0) as opened, ui.progress("exporting") as step:
        done = opened.export(out, step)
    ui.say(f"{done.crops} crops in {done.folders} folder(s) of embeddings: {out}")


@gallery.command(name="import")
def import_(where: str, folder: Path, *, on: Words = ()) -> None:
    """Enrol what partreid gallery export wrote: all of it, or nothing. People who were forgotten
    stay away.

    Args:
        where: Folder of the gallery, or postgresql://user@host/database; made if there is none.
        folder: What was exported.
        on: Where the gallery is made: addresses of empty databases on other servers, over which its
            crops are spread; each postgresql://user@host/database.
    """
    from partreid.gallery import open_gallery
    from partreid.gallery.exchange import first

    with (
        open_gallery(where, first(folder), budget=0, on=on) as opened,
        ui.progress("importing") as step,
    ):
        done = opened.import_(folder, step)
        size = len(opened)
    ui.say(f"{done.crops} crops imported; the gallery holds {size}")
    if done.known:
        ui.say(f"{done.known} were there already and are not enrolled twice")
    if done.forgotten:
        ui.say(f"{done.forgotten} show people who were forgotten here, and stay away")


def _draw(
    opened: "Gallery", model: "Model", queries: list[Path], answers: "Answers", sheet: Path
) -> None:
    """The sheet of rank. Where a crop's file is gone, its thumbnail stands in."""
    from dataclasses import replace
    from tempfile import TemporaryDirectory

    from partreid.report.examples import answers_picture
    from partreid.utils.images import save_image

    with TemporaryDirectory() as folder:
        drawn = []
        for hits in answers.hits:
            shown = []
            for hit in hits:
                if hit.path is None or not hit.path.is_file():
                    small = opened.thumbnail(hit.row)
                    if small is None:
                        ui.fail(
                            f"crop {hit.row} cannot be drawn, as its file is gone and it has no "
                            "thumbnail; search without --sheet, or enrol with --thumbnails"
                        )
                        return
                    path = Path(folder) / f"{hit.row}.jpg"
                    path.write_bytes(small)
                    hit = replace(hit, path=path)
                shown.append(hit)
            drawn.append(shown)
        save_image(answers_picture(model, queries, drawn), sheet)
